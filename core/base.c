/* SPDX-License-Identifier: Apache-2.0 */
/* base.c - identities as text and as inode numbers. */
#include "core/base.h"

/* "8-4-4-4-12" digits: there is a dash before these bytes. */
static bool dash_before(unsigned byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

const struct cfs_gfid cfs_gfid_root = {.b = {[15] = 1}};

uint64_t cfs_gfid_ino(struct cfs_gfid g)
{
    uint64_t ino = 0;

    for (unsigned i = 8; i < 16; i++)
        ino = ino << 8 | g.b[i];
    return ino;
}

struct cfs_gfid cfs_gfid_make(uint64_t ino)
{
    struct cfs_gfid g = {0};

    for (unsigned i = 0; i < 8; i++)
        g.b[15 - i] = (uint8_t)(ino >> (8 * i));
    return g;
}

void cfs_uuid_print(struct cfs_uuid u, char ret[static CFS_UUID_STR])
{
    static const char digits[] = "0123456789abcdef";
    char *at = ret;

    for (unsigned i = 0; i < sizeof u.b; i++) {
        if (dash_before(i))
            *at++ = '-';
        *at++ = digits[u.b[i] >> 4];
        *at++ = digits[u.b[i] & 15];
    }
    *at = '\0';
}

int cfs_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int cfs_uuid_parse(const char *s, struct cfs_uuid *ret)
{
    struct cfs_uuid u;

    for (unsigned i = 0; i < sizeof u.b; i++) {
        int hi, lo;

        if (dash_before(i) && *s++ != '-')
            return -EINVAL;
        hi = cfs_hex_digit(s[0]);
        if (hi < 0)
            return -EINVAL;
        lo = cfs_hex_digit(s[1]);
        if (lo < 0)
            return -EINVAL;
        u.b[i] = (uint8_t)(hi << 4 | lo);
        s += 2;
    }
    if (*s != '\0')
        return -EINVAL;
    *ret = u;
    return 0;
}

void cfs_gfid_print(struct cfs_gfid g, char ret[static CFS_UUID_STR])
{
    struct cfs_uuid u;

    memcpy(u.b, g.b, sizeof u.b);
    cfs_uuid_print(u, ret);
}

int cfs_gfid_parse(const char *s, struct cfs_gfid *ret)
{
    struct cfs_uuid u;
    int rc = cfs_uuid_parse(s, &u);

    if (rc < 0)
        return rc;
    memcpy(ret->b, u.b, sizeof ret->b);
    return 0;
}
