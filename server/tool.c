/* SPDX-License-Identifier: Apache-2.0 */
/* tool.c - what the off-line tools share; see tool.h. */
#include "server/tool.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "xlators/storage/block/pack.h"
#include "xlators/storage/block/engine/format.h"

#define BATCH 8192u /* records */

void *tool_realloc(void *p, size_t size)
{
    p = realloc(p, size);
    if (!p && size > 0)
        abort();
    return p;
}

char *tool_format(const char *fmt, ...)
{
    va_list ap;
    char *s;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0)
        abort();
    return s;
}

/* -- a brick -------------------------------------------------------------- */

/* Loop and device. There is no log: what there is to say is an error or a
 * finding. */
static int open_device(const char *path, unsigned flags, struct tool_brick *b,
                       struct cfs_dev **ret_dev, struct cfs_err *err)
{
    unsigned dev = flags & (TOOL_REPAIR | TOOL_WRITE) ? 0
                                                      : CFS_DEV_READ_ONLY;
    int rc;

    if (flags & TOOL_LIVE)
        dev |= CFS_DEV_NO_LOCK;
    *b = (struct tool_brick){0};
    rc = cfs_loop_new(&b->loop, err);
    if (rc == 0)
        rc = cfs_dev_open(path, dev, ret_dev, err);
    return rc;
}

int tool_open_on(struct cfs_loop *loop, struct cfs_dev *dev,
                 const char *path, unsigned flags, struct tool_brick *ret,
                 struct cfs_err *err)
{
    struct ops_config config = ops_config_default;
    struct tool_brick b = {.loop = loop};
    int rc;

    config.eng.blocking = true;
    config.eng.read_only = true;
    config.eng.repair = flags & TOOL_REPAIR;
    config.eng.older = flags & TOOL_OLDER;
    rc = ops_open(loop, NULL, path, dev, &config, &b.ops, err);
    if (rc < 0)
        return rc;
    b.e = ops_engine(b.ops);
    *ret = b;
    return 0;
}

int tool_open(const char *path, unsigned flags, struct tool_brick *ret,
              struct cfs_err *err)
{
    struct cfs_dev *dev;
    struct tool_brick b;
    int rc;

    rc = open_device(path, flags, &b, &dev, err);
    if (rc == 0) {
        rc = tool_open_on(b.loop, dev, path, flags, ret, err);
        if (rc < 0)
            dev->ops->close(dev);
    }
    if (rc < 0)
        cfs_loop_free(b.loop);
    return rc;
}

/* Passes records on, and leaves the tree as it is. */
struct pass_on {
    eng_replay *each;
    void       *ctx;
};

static int pass_on(void *ctx, struct eng *e, const struct eng_rec *rec)
{
    const struct pass_on *p = ctx;

    return p->each && rec ? p->each(p->ctx, e, rec) : 0;
}

int tool_bare_on(struct cfs_loop *loop, struct cfs_dev *dev, unsigned flags,
                 eng_replay *each, void *ctx, struct tool_brick *ret,
                 struct cfs_err *err)
{
    struct eng_config config = eng_config_default;
    struct pass_on p = {each, ctx};
    struct tool_brick b = {.loop = loop};
    int rc;

    config.blocking = true;
    config.read_only = true;
    config.repair = flags & TOOL_REPAIR;
    config.no_journal = flags & TOOL_NO_JOURNAL;
    config.older = flags & TOOL_OLDER;
    rc = eng_open(loop, NULL, dev, &config, pass_on, &p, &b.e, err);
    if (rc == 0)
        *ret = b;
    return rc;
}

int tool_open_bare(const char *path, unsigned flags, eng_replay *each,
                   void *ctx, struct tool_brick *ret, struct cfs_err *err)
{
    struct cfs_dev *dev;
    struct tool_brick b;
    int rc;

    rc = open_device(path, flags, &b, &dev, err);
    if (rc == 0) {
        rc = tool_bare_on(b.loop, dev, flags, each, ctx, ret, err);
        if (rc < 0)
            dev->ops->close(dev);
    }
    if (rc < 0)
        cfs_loop_free(b.loop);
    return rc;
}

static void on_closed(void *ctx, int status)
{
    bool *closed = ctx;

    *closed = true;
}

static bool is_set(void *arg)
{
    const bool *b = arg;

    return *b;
}

void tool_close_keep(struct tool_brick *b)
{
    bool closed = false;

    if (b->ops)
        ops_close(b->ops, on_closed, &closed);
    else
        eng_close(b->e, false, on_closed, &closed);
    cfs_loop_run_until(b->loop, is_set, &closed);
}

void tool_close(struct tool_brick *b)
{
    tool_close_keep(b);
    cfs_loop_free(b->loop);
}

/* -- reading it ----------------------------------------------------------- */

/* A batch of a scan. */
struct batch {
    const struct tool_scan *s;
    struct rec_key          last; /* the last record that was given */
    bool                    resumed; /* .last was given in an earlier batch */
    unsigned                n;
};

static int batch_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct batch *b = ctx;
    int rc;

    if (b->resumed && key.len == b->last.len &&
        memcmp(key.p, b->last.b, key.len) == 0)
        return 0;
    assert(key.len <= sizeof b->last.b);
    memcpy(b->last.b, key.p, key.len);
    b->last.len = (uint16_t)key.len;
    b->resumed = true;
    rc = b->s->each(b->s->ctx, key, value);
    if (rc != 0)
        return rc;
    return ++b->n == BATCH ? TOOL_PAUSE : 0;
}

int tool_scan(const struct tool_scan *s, struct cfs_blob lo,
              struct cfs_blob hi)
{
    struct batch b = {.s = s};
    int rc, rc2;

    do {
        b.n = 0;
        rc = eng_sweep(s->e, b.resumed ? rec_key_blob(&b.last) : lo, hi,
                      batch_each, &b);
        eng_trim(s->e);
        rc2 = s->pause ? s->pause(s->ctx) : 0;
        if (rc2 != 0)
            return rc2;
    } while (rc == TOOL_PAUSE);
    return rc;
}

int tool_scan_prefix(const struct tool_scan *s, const struct rec_key *prefix)
{
    struct rec_key hi;

    rec_key_after(&hi, prefix);
    return tool_scan(s, rec_key_blob(prefix), rec_key_blob(&hi));
}

bool tool_usable(const struct eng *e, uint64_t lba, uint32_t n)
{
    const uint64_t first = eng_first_lba(e), end = eng_end_lba(e);
    uint64_t in_group;

    if (n == 0 || lba < first || lba >= end || n > end - lba)
        return false;
    in_group = (lba - first) % GROUP_BLOCKS;
    return in_group >= GROUP_HEAD && in_group + n <= GROUP_BLOCKS;
}

struct one_io {
    struct eng_io io;
    bool          done;
};

static void on_io(struct eng_io *io)
{
    container_of(io, struct one_io, io)->done = true;
}

int tool_read(struct cfs_loop *loop, struct eng *e, uint64_t lba, uint32_t n,
              uint8_t *data)
{
    struct one_io r = {
        .io = {.ext = {lba, n}, .data = data, .done = on_io},
    };

    assert(n > 0 && n <= TOOL_RUN);
    if (!tool_usable(e, lba, n))
        return -CFS_E_CORRUPT;
    eng_data_read(e, &r.io);
    cfs_loop_run_until(loop, is_set, &r.done);
    return r.io.status;
}

int tool_unpack(struct cfs_loop *loop, struct eng *e,
                const struct rec_pack *p, uint8_t *plain)
{
    uint8_t *stored = aligned_alloc(CFS_BLOCK, CHUNK_BYTES);
    int rc;

    if (!stored)
        abort();
    rc = tool_read(loop, e, p->lba, rec_pack_blocks(p), stored);
    if (rc == 0)
        rc = pack_open(p, stored, 31 - (unsigned)__builtin_clz(p->held),
                       plain);
    free(stored);
    return rc;
}

int tool_write(struct cfs_loop *loop, struct eng *e, uint64_t lba, uint32_t n,
               uint8_t *data)
{
    struct one_io r = {
        .io = {.ext = {lba, n}, .data = data, .done = on_io},
    };

    eng_data_write(e, &r.io);
    cfs_loop_run_until(loop, is_set, &r.done);
    return r.io.status;
}

/* -- text ----------------------------------------------------------------- */

void tool_put_escaped(FILE *out, const void *p, size_t len)
{
    const uint8_t *b = p;

    for (size_t i = 0; i < len; i++) {
        if (b[i] > ' ' && b[i] < 0x7f && b[i] != '\\')
            putc(b[i], out);
        else
            fprintf(out, "\\x%02x", b[i]);
    }
}

char *tool_escape(const void *p, size_t len)
{
    size_t size;
    char *text;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        abort();
    tool_put_escaped(out, p, len);
    if (fclose(out) != 0)
        abort();
    return text;
}

json_t *tool_json_path(const char *path)
{
    json_t *j = json_string(path);

    if (!j) {
        char *text = tool_escape(path, strlen(path));

        j = json_string(text);
        free(text);
    }
    if (!j)
        abort();
    return j;
}

void tool_json_show(json_t *j)
{
    if (!j)
        abort(); /* no memory: all text is UTF-8 */
    json_dumpf(j, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(j);
}

const char *tool_size(uint64_t bytes, char buf[static TOOL_SIZE_STR])
{
    static const char *const unit[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    double n = (double)bytes / 1024;
    unsigned i = 0;

    if (bytes < 10240) {
        snprintf(buf, TOOL_SIZE_STR, "%" PRIu64 " bytes", bytes);
        return buf;
    }
    for (; n >= 1024 && i + 1 < CFS_ARRAY_SIZE(unit); i++)
        n /= 1024;
    snprintf(buf, TOOL_SIZE_STR, "%.1f %s", n, unit[i]);
    return buf;
}

const char *tool_type(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "symbolic link";
    case S_IFCHR:
        return "character device";
    case S_IFBLK:
        return "block device";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "socket";
    default:
        return "unknown";
    }
}

int tool_parse_time(const char *s, struct cfs_time *ret)
{
    const char *point = strchr(s, '.');
    struct cfs_time t = {0};
    char *end;

    if (*s != '-' && (*s < '0' || *s > '9'))
        return -EINVAL;
    errno = 0;
    t.sec = strtoll(s, &end, 10);
    if (errno != 0 || end == s || end != (point ? point : s + strlen(s)))
        return -EINVAL;
    if (point) {
        size_t len = strlen(point + 1);

        if (len == 0 || len > 9 || strspn(point + 1, "0123456789") != len)
            return -EINVAL;
        t.nsec = (uint32_t)strtoul(point + 1, NULL, 10);
        for (; len < 9; len++)
            t.nsec *= 10;
    }
    *ret = t;
    return 0;
}

const char *tool_time(struct cfs_time t, char buf[static TOOL_TIME_STR])
{
    snprintf(buf, TOOL_TIME_STR, "%" PRId64 ".%09" PRIu32, t.sec, t.nsec);
    return buf;
}
