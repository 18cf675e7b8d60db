/* SPDX-License-Identifier: Apache-2.0 */
/* access.c - who may call what; see access.h. */
#include "mgmtd/access.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/programs.h"

#define L ACCESS_LOCAL
#define N (ACCESS_NODE | ACCESS_MEMBER)
#define M ACCESS_MEMBER
#define C ACCESS_CLIENT
#define S ACCESS_STRANGER

static const struct {
    uint32_t program;
    uint32_t procedure;
    unsigned who;
} rows[] = {
    /* A volume's: line_may_volume() looks which. */
    {RPC_HANDSHAKE, RPC_HANDSHAKE_GETSPEC, L | N | C | S},
    {RPC_VIEW, RPC_VIEW_GET, L | N | C | S},
    {RPC_VIEW, RPC_VIEW_DIFFERS, L | N | C | S},
    {RPC_VIEW, RPC_VIEW_REPORT, L | N | C | S},
    {RPC_PORTMAP, RPC_PORTMAP_CLIENT_SIGNIN, L | N | C | S},
    {RPC_PORTMAP, RPC_PORTMAP_SIGNOUT, L | N | C | S},
    {RPC_PORTMAP, RPC_PORTMAP_PORT_BY_BRICK, L | N | C | S},
    /* Who has a certificate of its own to keep. */
    {RPC_HANDSHAKE, RPC_HANDSHAKE_TRUST, C},
    /* A brick is signed in on its node. */
    {RPC_PORTMAP, RPC_PORTMAP_SIGNIN, L},
    /* Of clients only verbs that change nothing. */
    {RPC_CLI, RPC_CLI_REQUEST, L | C},
    {RPC_PEER, RPC_PEER_GREET, N},
    /* With a token. A joining node has no certificate yet; the one that
     * invites shows none, for the invited one could not check it. */
    {RPC_PEER, RPC_PEER_JOIN, S},
    {RPC_PEER, RPC_PEER_INVITE, S},
    {RPC_PEER, RPC_PEER_LEAVE, M},
    {RPC_PEER, RPC_PEER_SIGN, M},
    {RPC_PEER, RPC_PEER_CA_KEYS, M},
    {RPC_PEER, RPC_PEER_ENGINE_STATUS, M},
    {RPC_PEER, RPC_PEER_ENGINE_PREPARE, M},
    {RPC_PEER, RPC_PEER_PREPARE, M},
    {RPC_PEER, RPC_PEER_UNDO, M},
    {RPC_PEER, RPC_PEER_BRICKS, M},
    {RPC_PEER, RPC_PEER_BRICK_CALL, M},
    {RPC_PEER, RPC_PEER_SILENCE_ASK, M},
    {RPC_PEER, RPC_PEER_SILENCE_REPORT, M},
};

enum access_who access_of(enum rpc_peer_role role, bool trusted, bool greeted)
{
    switch (role) {
    case RPC_PEER_LOCAL:
        return trusted ? L : S;
    case RPC_PEER_NODE:
        return greeted ? M : ACCESS_NODE;
    case RPC_PEER_CLIENT:
        return C;
    case RPC_PEER_STRANGER:
        break;
    }
    return S;
}

const char *access_refusal(enum access_who who, uint32_t program,
                           uint32_t procedure)
{
    for (size_t i = 0; i < CFS_ARRAY_SIZE(rows); i++) {
        if (rows[i].program != program || rows[i].procedure != procedure)
            continue;
        if (rows[i].who & who)
            return NULL;
        break;
    }
    switch (who) {
    case ACCESS_LOCAL:
        return "not on this socket";
    case ACCESS_NODE:
        return "not before a greeting, or not for nodes";
    case ACCESS_MEMBER:
        return "not for nodes";
    case ACCESS_CLIENT:
        return "not for clients";
    case ACCESS_STRANGER:
        break;
    }
    return program == RPC_CLI || program == RPC_PORTMAP
               ? "only root may, on mgmtd's Unix socket"
               : "not without a certificate";
}

/* -- addresses ----------------------------------------------------------- */

struct net {
    int     family;
    uint8_t addr[16];
    unsigned bits;
};

/* "ADDRESS[/BITS]" of @len bytes. */
static bool parse_net(const char *s, size_t len, struct net *ret)
{
    char text[64], *slash, *end;
    unsigned max;
    long bits;

    if (len == 0 || len >= sizeof text)
        return false;
    memcpy(text, s, len);
    text[len] = '\0';
    slash = strchr(text, '/');
    if (slash)
        *slash = '\0';
    ret->family = strchr(text, ':') ? AF_INET6 : AF_INET;
    max = ret->family == AF_INET6 ? 128 : 32;
    if (inet_pton(ret->family, text, ret->addr) != 1)
        return false;
    ret->bits = max;
    if (!slash)
        return true;
    bits = strtol(slash + 1, &end, 10);
    if (slash[1] < '0' || slash[1] > '9' || *end || bits > (long)max)
        return false;
    ret->bits = (unsigned)bits;
    return true;
}

static bool in_net(const struct net *host, const struct net *net)
{
    const unsigned whole = net->bits / 8, rest = net->bits % 8;

    if (host->family != net->family ||
        memcmp(host->addr, net->addr, whole) != 0)
        return false;
    return rest == 0 ||
           (host->addr[whole] ^ net->addr[whole]) >> (8 - rest) == 0;
}

/* The next of @*list's words, without blanks around it; false: no more. */
static bool next_word(const char **list, const char **ret, size_t *ret_len)
{
    const char *p = *list;
    size_t len;

    if (!p)
        return false;
    p += strspn(p, " ");
    len = strcspn(p, ",");
    *list = p[len] ? p + len + 1 : NULL;
    while (len > 0 && p[len - 1] == ' ')
        len--;
    *ret = p;
    *ret_len = len;
    return true;
}

bool access_host_in(const char *host, const char *list)
{
    struct net h, net;
    const char *word;
    size_t len;

    if (!list || !parse_net(host, strlen(host), &h))
        return false;
    while (next_word(&list, &word, &len)) {
        if (len == 1 && *word == '*')
            return true;
        if (parse_net(word, len, &net) && in_net(&h, &net))
            return true;
    }
    return false;
}

int access_list_check(const char *list, struct cfs_err *err)
{
    struct net net;
    const char *word;
    size_t len;

    while (next_word(&list, &word, &len)) {
        if (len == 0 || (len == 1 && *word == '*') ||
            parse_net(word, len, &net))
            continue;
        return cfs_err_set(err, -EINVAL, "'%.*s' is neither an address "
                           "(10.1.2.3) nor a network (10.1.0.0/16) nor *",
                           (int)(len < 60 ? len : 60), word);
    }
    return 0;
}

int access_option_check(const char *key, const char *value,
                        struct cfs_err *err)
{
    return strcmp(key, "auth.allow") == 0 ? access_list_check(value, err) : 0;
}
