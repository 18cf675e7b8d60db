/* SPDX-License-Identifier: Apache-2.0 */
/* dirent.c - readdir's entries as bytes; layouts in dirent.h.
 *
 * Shapes  packed attributes, little-endian: gfid 16, version 8 + 8, mode 4,
 *         nlink 4, uid 4, gid 4, rdev 8, size 8, blocks 8, then atime, mtime,
 *         ctime, btime of 16 each: seconds 8, nanoseconds 4, zero 4.
 */
#include "core/dirent.h"

#include <endian.h>
#include <sys/stat.h>

#define FLAG_ATTR 1u

static uint8_t *put16(uint8_t *at, uint16_t v)
{
    v = htole16(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}

static uint8_t *put32(uint8_t *at, uint32_t v)
{
    v = htole32(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}

static uint8_t *put64(uint8_t *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}

static uint16_t get16(const uint8_t **at)
{
    uint16_t v;

    memcpy(&v, *at, sizeof v);
    *at += sizeof v;
    return le16toh(v);
}

static uint32_t get32(const uint8_t **at)
{
    uint32_t v;

    memcpy(&v, *at, sizeof v);
    *at += sizeof v;
    return le32toh(v);
}

static uint64_t get64(const uint8_t **at)
{
    uint64_t v;

    memcpy(&v, *at, sizeof v);
    *at += sizeof v;
    return le64toh(v);
}

static uint8_t *put_time(uint8_t *at, struct cfs_time t)
{
    at = put64(at, (uint64_t)t.sec);
    at = put32(at, t.nsec);
    return put32(at, 0);
}

/* False: no valid time. */
static bool get_time(const uint8_t **at, struct cfs_time *ret)
{
    ret->sec = (int64_t)get64(at);
    ret->nsec = get32(at);
    return get32(at) == 0 && ret->nsec < 1000000000u;
}

bool cfs_type_valid(uint32_t type)
{
    switch (type) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        return true;
    default:
        return false;
    }
}

void cfs_attr_pack(const struct cfs_attr *a,
                   uint8_t ret[static CFS_ATTR_PACKED])
{
    uint8_t *at = ret;

    memcpy(at, a->gfid.b, sizeof a->gfid.b);
    at += sizeof a->gfid.b;
    at = put64(at, a->version.epoch);
    at = put64(at, a->version.seq);
    at = put32(at, a->mode);
    at = put32(at, a->nlink);
    at = put32(at, a->uid);
    at = put32(at, a->gid);
    at = put64(at, a->rdev);
    at = put64(at, a->size);
    at = put64(at, a->blocks);
    at = put_time(at, a->atime);
    at = put_time(at, a->mtime);
    at = put_time(at, a->ctime);
    at = put_time(at, a->btime);
    assert(at == ret + CFS_ATTR_PACKED);
}

int cfs_attr_unpack(const uint8_t b[static CFS_ATTR_PACKED],
                    struct cfs_attr *ret)
{
    struct cfs_attr a = {0};
    const uint8_t *at = b;
    bool ok;

    memcpy(a.gfid.b, at, sizeof a.gfid.b);
    at += sizeof a.gfid.b;
    a.version.epoch = get64(&at);
    a.version.seq = get64(&at);
    a.mode = get32(&at);
    a.nlink = get32(&at);
    a.uid = get32(&at);
    a.gid = get32(&at);
    a.rdev = get64(&at);
    a.size = get64(&at);
    a.blocks = get64(&at);
    ok = get_time(&at, &a.atime);
    ok = get_time(&at, &a.mtime) && ok;
    ok = get_time(&at, &a.ctime) && ok;
    ok = get_time(&at, &a.btime) && ok;
    ok = ok && cfs_type_valid(a.mode & S_IFMT);
    ok = ok && (a.mode & ~(uint32_t)(S_IFMT | 07777)) == 0;
    ok = ok && a.size <= CFS_FILE_MAX;
    if (!ok)
        return -EBADMSG;
    *ret = a;
    return 0;
}

bool cfs_name_valid(struct cfs_name n)
{
    if (n.len == 0 || n.len > CFS_NAME_MAX)
        return false;
    if (memchr(n.s, '\0', n.len) || memchr(n.s, '/', n.len))
        return false;
    if (n.s[0] == '.' && (n.len == 1 || (n.len == 2 && n.s[1] == '.')))
        return false;
    return true;
}

bool cfs_dirent_put(uint8_t **at, const uint8_t *end,
                    const struct cfs_dirent *e)
{
    size_t need = CFS_DIRENT_FIXED + e->name.len +
                  (e->has_attr ? CFS_ATTR_PACKED : 0);
    uint8_t *p = *at;

    assert(cfs_name_valid(e->name));
    if ((size_t)(end - p) < need)
        return false;
    memcpy(p, e->gfid.b, sizeof e->gfid.b);
    p += sizeof e->gfid.b;
    p = put64(p, e->cookie);
    p = put32(p, e->type);
    p = put16(p, (uint16_t)e->name.len);
    p = put16(p, e->has_attr ? FLAG_ATTR : 0);
    memcpy(p, e->name.s, e->name.len);
    p += e->name.len;
    if (e->has_attr)
        cfs_attr_pack(&e->attr, p);
    *at += need;
    return true;
}

int cfs_dirent_next(const uint8_t **at, const uint8_t *end,
                    struct cfs_dirent *ret)
{
    struct cfs_dirent e = {0};
    const uint8_t *p = *at;
    uint16_t flags;

    if (p == end)
        return 0;
    if ((size_t)(end - p) < CFS_DIRENT_FIXED)
        return -EBADMSG;
    memcpy(e.gfid.b, p, sizeof e.gfid.b);
    p += sizeof e.gfid.b;
    e.cookie = get64(&p);
    e.type = get32(&p);
    e.name.len = get16(&p);
    flags = get16(&p);
    if (!cfs_type_valid(e.type) || (flags & ~FLAG_ATTR) != 0)
        return -EBADMSG;
    if ((size_t)(end - p) < e.name.len)
        return -EBADMSG;
    e.name.s = (const char *)p;
    p += e.name.len;
    if (!cfs_name_valid(e.name))
        return -EBADMSG;
    if (flags & FLAG_ATTR) {
        if (end - p < CFS_ATTR_PACKED || cfs_attr_unpack(p, &e.attr) < 0)
            return -EBADMSG;
        if ((e.attr.mode & S_IFMT) != e.type ||
            !cfs_gfid_eq(e.attr.gfid, e.gfid))
            return -EBADMSG;
        p += CFS_ATTR_PACKED;
        e.has_attr = true;
    }
    *ret = e;
    *at = p;
    return 1;
}
