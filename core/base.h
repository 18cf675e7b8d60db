/* SPDX-License-Identifier: Apache-2.0 */
/* base.h - the few words that every file here uses: identity, version, time
 * and attributes of an inode; borrowed names and bytes; container_of.
 *
 * Shapes     gfid 16 B: home set (2), reserved (6), ino (8, big-endian).
 * Units      bytes; seconds and nanoseconds in struct cfs_time; st_blocks
 *            of 512 B in struct cfs_attr.
 * Ownership  cfs_name and cfs_blob borrow; they never own.
 */
#ifndef CFS_CORE_BASE_H
#define CFS_CORE_BASE_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#define CFS_BLOCK        4096u               /* unit of checksums and space */
#define CFS_IO_MAX       (1024u * 1024u)     /* bytes in one read or write */
#define CFS_NAME_MAX     255u
#define CFS_XATTR_MAX    65536u              /* bytes in one value */
#define CFS_SYMLINK_MAX  4095u
#define CFS_LINK_MAX     65000u
#define CFS_FILE_MAX     ((uint64_t)1 << 60) /* bytes; far below overflow */
#define CFS_SET_MAX      5u                  /* bricks in a replica set */
#define CFS_OWNER_MAX    256u /* bytes in a client's proven name */
#define CFS_NODE_MAX     64u                 /* bytes in a node's name */

#define container_of(ptr, type, member)                                      \
    ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define CFS_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define CFS_PRINTF(fmt_at, args_at)                                          \
    __attribute__((format(printf, fmt_at, args_at)))

/* A file's identity, for the life of the volume. Never reused. */
struct cfs_gfid {
    uint8_t b[16];
};

/* A brick's, volume's, cluster's or view's identity. */
struct cfs_uuid {
    uint8_t b[16];
};

/* How often an inode has changed: (epoch of the change, its number). Grows
 * with each change and never resets; (0, 0) is "there is no such inode". */
struct cfs_version {
    uint64_t epoch;
    uint64_t seq;
};

struct cfs_time {
    int64_t  sec;
    uint32_t nsec; /* < 1e9 */
};

/* What stat(2) shows, and the version that it belongs to. */
struct cfs_attr {
    struct cfs_gfid    gfid;
    struct cfs_version version;
    uint32_t           mode; /* type and permissions, as st_mode */
    uint32_t           nlink;
    uint32_t           uid;
    uint32_t           gid;
    uint64_t           rdev;
    uint64_t           size;   /* bytes */
    uint64_t           blocks; /* of 512 bytes */
    struct cfs_time    atime;
    struct cfs_time    mtime;
    struct cfs_time    ctime;
    struct cfs_time    btime;
};

/* A directory entry's or xattr's name: any bytes but NUL, and in a directory
 * not '/'. Not NUL-terminated. */
struct cfs_name {
    const char *s;
    uint32_t    len;
};

/* Bytes that belong to somebody else. */
struct cfs_blob {
    const void *p;
    uint32_t    len;
};

/* The root directory: ino 1 of set 0. */
extern const struct cfs_gfid cfs_gfid_root;

static inline bool cfs_gfid_eq(struct cfs_gfid a, struct cfs_gfid b)
{
    return memcmp(a.b, b.b, sizeof a.b) == 0;
}

static inline int cfs_gfid_cmp(struct cfs_gfid a, struct cfs_gfid b)
{
    return memcmp(a.b, b.b, sizeof a.b);
}

static inline bool cfs_gfid_is_null(struct cfs_gfid g)
{
    return cfs_gfid_eq(g, (struct cfs_gfid){0});
}

static inline bool cfs_uuid_eq(struct cfs_uuid a, struct cfs_uuid b)
{
    return memcmp(a.b, b.b, sizeof a.b) == 0;
}

static inline bool cfs_uuid_is_null(struct cfs_uuid u)
{
    return cfs_uuid_eq(u, (struct cfs_uuid){0});
}

static inline int cfs_version_cmp(struct cfs_version a, struct cfs_version b)
{
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    if (a.seq != b.seq)
        return a.seq < b.seq ? -1 : 1;
    return 0;
}

static inline int cfs_time_cmp(struct cfs_time a, struct cfs_time b)
{
    if (a.sec != b.sec)
        return a.sec < b.sec ? -1 : 1;
    if (a.nsec != b.nsec)
        return a.nsec < b.nsec ? -1 : 1;
    return 0;
}

/* st_ino: the last eight bytes of the gfid. */
uint64_t cfs_gfid_ino(struct cfs_gfid g);

/* @ino of set 0. */
struct cfs_gfid cfs_gfid_make(uint64_t ino);

/* What a hexadecimal digit stands for; -1: it is none. */
int cfs_hex_digit(char c);

/* Text forms: 8-4-4-4-12 hexadecimal digits. Parsing accepts exactly that;
 * errors: -EINVAL, @ret untouched. */
#define CFS_UUID_STR 37
void cfs_uuid_print(struct cfs_uuid u, char ret[static CFS_UUID_STR]);
int  cfs_uuid_parse(const char *s, struct cfs_uuid *ret);
void cfs_gfid_print(struct cfs_gfid g, char ret[static CFS_UUID_STR]);
int  cfs_gfid_parse(const char *s, struct cfs_gfid *ret);

#endif
