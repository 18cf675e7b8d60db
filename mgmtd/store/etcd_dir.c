/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_dir.c - see etcd_dir.h. */
#include "mgmtd/store/etcd_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "mgmtd/mem.h"

#define WAL_MAX (256u << 20) /* etcd begins a new file at 64 MB */

enum { WAL_METADATA = 1, WAL_ENTRY = 2, WAL_SNAPSHOT = 5 };

/* -- protobuf ------------------------------------------------------------- */

struct bytes {
    const uint8_t *at;
    size_t         len;
};

static bool take_varint(struct bytes *b, uint64_t *ret)
{
    uint64_t n = 0;

    for (unsigned shift = 0; shift < 64 && b->len > 0; shift += 7) {
        uint8_t c = *b->at++;

        b->len--;
        n |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) {
            *ret = n;
            return true;
        }
    }
    return false;
}

/* The next field: its number; a number into @n, bytes into @sub. 0: the end,
 * or nonsense. */
static unsigned take_field(struct bytes *b, uint64_t *n, struct bytes *sub)
{
    uint64_t key;

    *n = 0;
    *sub = (struct bytes){0};
    if (!take_varint(b, &key) || !take_varint(b, n))
        return 0;
    if ((key & 7) == 0)
        return (unsigned)(key >> 3);
    if ((key & 7) != 2 || *n > b->len)
        return 0;
    *sub = (struct bytes){b->at, (size_t)*n};
    b->at += *n;
    b->len -= (size_t)*n;
    return (unsigned)(key >> 3);
}

/* The number in field @wanted; 0 when it is not there. */
static uint64_t number_in(struct bytes b, unsigned wanted)
{
    struct bytes sub;
    uint64_t n;
    unsigned field;

    while ((field = take_field(&b, &n, &sub)))
        if (field == wanted && !sub.at)
            return n;
    return 0;
}

/* -- the log -------------------------------------------------------------- */

static void take_record(struct bytes rec, struct etcd_dir *d)
{
    struct bytes data = {0}, sub;
    uint64_t type = 0, n;
    unsigned field;

    while ((field = take_field(&rec, &n, &sub))) {
        if (field == 1 && !sub.at)
            type = n;
        else if (field == 3 && sub.at)
            data = sub;
    }
    if (type == WAL_METADATA && data.at) {
        d->there = true;
        d->member = number_in(data, 1);
        d->cluster = number_in(data, 2);
    } else if (type == WAL_ENTRY && data.at) {
        d->index = number_in(data, 3);
    } else if (type == WAL_SNAPSHOT && data.at && number_in(data, 1) > d->index)
        d->index = number_in(data, 1);
}

static uint64_t le64(const uint8_t *b)
{
    uint64_t n = 0;

    for (unsigned i = 8; i-- > 0;)
        n = n << 8 | b[i];
    return n;
}

int etcd_wal_read(const uint8_t *bytes, size_t len, const char *name,
                  struct etcd_dir *ret)
{
    struct etcd_dir d = {0};
    uint64_t seq, first = 0;
    size_t at = 0;

    if (sscanf(name, "%16" SCNx64 "-%16" SCNx64, &seq, &first) == 2 &&
        first > 0)
        d.index = first - 1;
    while (len - at >= 8) {
        uint64_t head = le64(bytes + at);
        size_t n = (size_t)(head & 0xffffffffffffff);
        size_t pad = head >> 63 ? (size_t)(head >> 56 & 7) : 0;

        at += 8;
        if (n == 0 || n > len - at || pad > len - at - n)
            break; /* the end, perhaps in the middle of a record */
        take_record((struct bytes){bytes + at, n}, &d);
        at += n + pad;
    }
    if (!d.there || d.member == 0)
        return -CFS_E_CORRUPT;
    *ret = d;
    return 0;
}

/* The newest file's name, malloc'ed: they sort. NULL: none. */
static char *newest(const char *wal)
{
    DIR *d = opendir(wal);
    char *best = NULL;
    struct dirent *e;

    if (!d)
        return NULL;
    while ((e = readdir(d))) {
        size_t len = strlen(e->d_name);

        if (len < 5 || strcmp(e->d_name + len - 4, ".wal") != 0)
            continue;
        if (best && strcmp(best, e->d_name) >= 0)
            continue;
        free(best);
        best = mem_str(e->d_name);
    }
    closedir(d);
    return best;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    return len > 0 && bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* All that is written of the file: it is preallocated, and beyond its last
 * record there are zeros. Our records are text: none has a STEP of them. */
#define STEP (1u << 20)

static int read_file(const char *path, const char *name, struct etcd_dir *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    uint8_t *bytes = NULL;
    size_t len = 0;
    ssize_t n;

    if (fd < 0)
        return -errno;
    do {
        bytes = mem_ok(realloc(bytes, len + STEP));
        n = pread(fd, bytes + len, STEP, (off_t)len);
        if (n < 0)
            rc = -errno;
        else if (len + (size_t)n > WAL_MAX)
            rc = -CFS_E_CORRUPT;
        else
            len += (size_t)n;
    } while (rc == 0 && n > 0 && !all_zero(bytes + len - n, (size_t)n));
    close(fd);
    if (rc == 0)
        rc = etcd_wal_read(bytes, len, name, ret);
    free(bytes);
    return rc;
}

int etcd_dir_look(const char *dir, struct etcd_dir *ret, struct cfs_err *err)
{
    char *wal = mem_printf("%s/member/wal", dir), *name, *path;
    int rc;

    name = newest(wal);
    if (!name) {
        *ret = (struct etcd_dir){0};
        free(wal);
        return 0;
    }
    path = mem_printf("%s/%s", wal, name);
    rc = read_file(path, name, ret);
    if (rc < 0)
        cfs_err_set(err, rc, "%s: %s", path, rc == -CFS_E_CORRUPT
                    ? "is no log of an etcd" : cfs_err_str(rc));
    free(path);
    free(name);
    free(wal);
    return rc;
}
