/* SPDX-License-Identifier: Apache-2.0 */
/* address.c - see address.h. */
#include "mgmtd/address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base.h"

static bool is_usable(const struct ifaddrs *i, int family)
{
    return i->ifa_addr && i->ifa_addr->sa_family == family &&
           (i->ifa_flags & IFF_UP) && !(i->ifa_flags & IFF_LOOPBACK);
}

void address_first(char *ret, size_t len)
{
    static const int families[] = {AF_INET, AF_INET6};
    struct ifaddrs *all;
    bool found = false;

    snprintf(ret, len, "127.0.0.1");
    if (getifaddrs(&all) < 0)
        return;
    for (size_t f = 0; f < CFS_ARRAY_SIZE(families) && !found; f++)
        for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
            socklen_t size = families[f] == AF_INET
                                 ? sizeof(struct sockaddr_in)
                                 : sizeof(struct sockaddr_in6);

            if (is_usable(i, families[f]) &&
                getnameinfo(i->ifa_addr, size, ret, (socklen_t)len, NULL, 0,
                            NI_NUMERICHOST) == 0)
                found = !strchr(ret, '%'); /* no link-local ones */
        }
    if (!found)
        snprintf(ret, len, "127.0.0.1");
    freeifaddrs(all);
}

const char *address_any(void)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof in) == 0;

    if (fd >= 0)
        close(fd);
    return ok ? "::" : "0.0.0.0";
}

bool address_same(const char *a, const char *b)
{
    struct in6_addr x, y;

    if (inet_pton(AF_INET6, a, &x) == 1 && inet_pton(AF_INET6, b, &y) == 1)
        return memcmp(&x, &y, sizeof x) == 0;
    return strcmp(a, b) == 0;
}
