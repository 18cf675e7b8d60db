/* SPDX-License-Identifier: Apache-2.0 */
/* store_fix.c - see store_fix.h. */
#include "tests/unit/store_fix.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <xxhash.h>

/* -- a brick's life ------------------------------------------------------- */

/* Of a process that was killed nobody sees a write any more. */
static int write_alive(struct cfs_dev *d, enum cfs_dev_via via, uint64_t off,
                       const struct iovec *iov, int n_iov, size_t len)
{
    struct fix *f = container_of((struct cfs_dev_ops *)(uintptr_t)d->ops,
                                 struct fix, loan.ops);
    int rc = 0;

    pthread_rwlock_rdlock(&f->alive);
    if (!f->dead && atomic_fetch_sub(&f->writes_left, 1) <= 0)
        rc = -EIO;
    else if (!f->dead)
        rc = f->loan.own->write(d, via, off, iov, n_iov, len);
    pthread_rwlock_unlock(&f->alive);
    return rc;
}

static int flush_or_fail(struct cfs_dev *d)
{
    struct fix *f = container_of((struct cfs_dev_ops *)(uintptr_t)d->ops,
                                 struct fix, loan.ops);

    return f->flush_fails ? -EIO : f->loan.own->flush(d);
}

/* Take @dev over; no engine can close it. */
static void take_dev(struct fix *f, struct cfs_dev *dev)
{
    f->dev = dev;
    cfs_dev_lend(&f->loan, dev);
    f->loan.ops.write = write_alive;
    f->loan.ops.flush = flush_or_fail;
    f->dead = false;
    f->writes_left = INT64_MAX;
    f->flush_fails = false;
}

static void free_dev(struct fix *f)
{
    cfs_dev_take_back(&f->loan);
    f->dev->ops->close(f->dev);
}

int fix_start(struct fix *f)
{
    struct cfs_err err = {0};
    int rc;

    assert_false(f->open);
    rc = ops_open(f->loop, f->log, "fix", f->dev, &f->config, &f->ops, &err);
    if (rc < 0) {
        print_message("open: %s\n", err.text);
        return rc;
    }
    f->open = true;
    return 0;
}

static void on_closed(void *ctx, int status)
{
    struct fix *f = ctx;

    f->closed = 1;
    f->open = false;
}

static bool is_closed(void *arg)
{
    return ((struct fix *)arg)->closed;
}

void fix_halt(struct fix *f)
{
    f->closed = 0;
    ops_close(f->ops, on_closed, f);
    cfs_loop_run_until(f->loop, is_closed, f);
}

void fix_kill(struct fix *f)
{
    const size_t step = 1u << 20;
    struct cfs_dev *left;
    uint8_t *buf = aligned_alloc(4096, step);
    struct iovec iov = {buf, step};

    assert_int_equal(cfs_dev_mem(f->dev->size, &left), 0);
    pthread_rwlock_wrlock(&f->alive);
    f->dead = true; /* for the pool is at work while this copies */
    pthread_rwlock_unlock(&f->alive);
    for (uint64_t at = 0; at < f->dev->size; at += step) {
        assert_int_equal(f->dev->ops->read(f->dev, CFS_DEV_BUFFERED, at, buf,
                                           step), 0);
        if (buf[0] == 0 && memcmp(buf, buf + 1, step - 1) == 0)
            continue;
        assert_int_equal(left->ops->write(left, CFS_DEV_BUFFERED, at, &iov,
                                          1, step), 0);
    }
    free(buf);
    if (f->open)
        fix_halt(f);
    free_dev(f);
    take_dev(f, left);
}

static struct cfs_uuid uuid_of(uint8_t n)
{
    return (struct cfs_uuid){{[0] = 0xf1, [15] = n}};
}

void fix_next_view(struct fix *f, bool member)
{
    struct cfs_brick *info = calloc(1, sizeof *info);

    fix_info(f, info);
    f->view.set = uuid_of(1);
    f->view.lineage = 1;
    f->view.epoch++;
    f->view.id = uuid_of((uint8_t)(100 + f->view.epoch));
    f->view.n_sync = 1;
    f->view.m[0].brick = info->brick;
    f->view.m[0].incarnation = info->incarnation + !member;
    free(info);
    assert_int_equal(fix_view(f, &f->view), 0);
}

void fix_attach(struct fix *f)
{
    struct cfs_session_attach op = {.req.fop = CFS_FOP_SESSION_ATTACH};

    fix_begin(f);
    op.session = f->session;
    op.req.epoch = f->view.epoch;
    assert_int_equal(fix_do(f, &op.req), 0);
}

static void open_session(struct fix *f)
{
    struct cfs_session_open op = {.req.fop = CFS_FOP_SESSION_OPEN};

    fix_begin(f);
    op.who = (struct cfs_session){
        .pid = 42, .pid_start = 1, .boot = uuid_of(2), .dead_ms = 12000};
    strcpy(op.who.node, "here");
    strcpy(op.who.service, "mount");
    op.req.epoch = f->view.epoch;
    assert_int_equal(fix_do(f, &op.req), 0);
    f->session = op.session;
    f->change_no = 0;
    fix_attach(f);
}

/* What it stands on, but for the device. */
static void set_up(struct fix *f)
{
    struct cfs_err err = {0};

    assert_int_equal(cfs_loop_new(&f->loop, &err), 0);
    assert_int_equal(cfs_log_open(&f->log, NULL, CFS_LOG_ERROR, CFS_LOG_PLAIN,
                                  &err), 0);
    cfs_arena_init(&f->call.arena);
    f->call.loop = f->loop;
}

void fix_open(struct fix *f, const struct ops_config *config)
{
    struct cfs_dev *dev;

    assert_int_equal(cfs_dev_mem(FIX_SIZE, &dev), 0);
    fix_open_on(f, config, dev);
}

void fix_open_on(struct fix *f, const struct ops_config *config,
                 struct cfs_dev *dev)
{
    struct eng_format format = {.brick = uuid_of(9), .cluster = uuid_of(8),
                                .made = 1};
    struct cfs_err err = {0};

    memset(f, 0, sizeof *f);
    f->config = config ? *config : ops_config_default;
    f->config.ahead_min = CFS_BLOCK; /* as many as can be */
    f->now = (struct cfs_time){1000000000, 0};
    f->next_ino = 0x100000000;
    set_up(f);
    if (ops_mkfs(dev, &format, (struct cfs_time){1, 2}, &err) < 0)
        fail_msg("mkfs: %s", err.text);
    take_dev(f, dev);
    assert_int_equal(fix_start(f), 0);
    fix_next_view(f, true);
    open_session(f);
}

void fix_twin(struct fix *f, const struct fix *of)
{
    *f = (struct fix){
        .config = of->config,
        .view = of->view,
        .session = of->session,
        .next_ino = of->next_ino,
        .change_no = of->change_no,
        .now = of->now,
    };
    set_up(f);
}

void fix_put_on(struct fix *f, struct cfs_dev *dev)
{
    assert_false(f->open);
    if (f->dev)
        free_dev(f);
    take_dev(f, dev);
    f->n_known = 0;
}

void fix_close(struct fix *f)
{
    if (f->open)
        fix_halt(f);
    if (f->check)
        f->check(f);
    if (f->dev)
        free_dev(f);
    cfs_arena_fini(&f->call.arena);
    cfs_log_close(f->log);
    cfs_loop_free(f->loop);
    free(f->known);
}

void fix_reopen(struct fix *f, enum fix_how how)
{
    if (how == FIX_CLEAN)
        assert_int_equal(fix_session_close(f, f->session.no), 0);
    if (how == FIX_KILL)
        fix_kill(f);
    else
        fix_halt(f);
    if (f->check)
        f->check(f);
    assert_int_equal(fix_start(f), 0);
    fix_next_view(f, true);
    if (how == FIX_CLEAN)
        open_session(f);
    else
        fix_attach(f);
}

/* -- requests ------------------------------------------------------------- */

void fix_begin(struct fix *f)
{
    cfs_arena_fini(&f->call.arena);
    cfs_arena_init(&f->call.arena);
}

/* Requests in flight, and where their ends are told. */
static struct {
    struct cfs_req  *req;
    struct fix_wait *w;
} flying[4096];

static void ended(struct cfs_req *req, int status)
{
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(flying); i++)
        if (flying[i].req == req) {
            flying[i].req = NULL;
            flying[i].w->status = status;
            flying[i].w->done = true;
            return;
        }
    fail_msg("a request ended twice");
}

#define FOP(lower, UPPER, class, in, out)                                    \
    static void done_##lower(struct cfs_##lower *op, int status)             \
    {                                                                        \
        ended(&op->req, status);                                             \
    }
#include "core/fops.def"
#undef FOP

static void set_done(struct cfs_req *req)
{
    switch (req->fop) {
#define FOP(lower, UPPER, class, in, out)                                    \
    case CFS_FOP_##UPPER:                                                    \
        ((struct cfs_##lower *)req)->done = done_##lower;                    \
        break;
#include "core/fops.def"
#undef FOP
    default:
        fail_msg("no such operation");
    }
}

void fix_post(struct fix *f, struct cfs_req *req, struct fix_wait *w)
{
    fix_post_on(f, &f->call, req, w);
}

void fix_post_on(struct fix *f, struct cfs_call *call, struct cfs_req *req,
                 struct fix_wait *w)
{
    unsigned i = 0;

    *w = (struct fix_wait){0};
    while (flying[i].req)
        i++;
    flying[i].req = req;
    flying[i].w = w;
    req->call = call;
    set_done(req);
    ops_submit(f->ops, req);
}

struct waiting {
    struct fix_wait *w;
    unsigned         n;
};

static bool all_done(void *arg)
{
    struct waiting *w = arg;

    for (unsigned i = 0; i < w->n; i++)
        if (!w->w[i].done)
            return false;
    return true;
}

void fix_wait_all(struct fix *f, struct fix_wait *w, unsigned n)
{
    struct waiting waiting = {w, n};

    cfs_loop_run_until(f->loop, all_done, &waiting);
}

int fix_do(struct fix *f, struct cfs_req *req)
{
    struct fix_wait w;

    fix_post(f, req, &w);
    fix_wait_all(f, &w, 1);
    return w.status;
}

/* -- versions ------------------------------------------------------------- */

static struct fix_known *known(struct fix *f, struct cfs_gfid g)
{
    for (unsigned i = 0; i < f->n_known; i++)
        if (cfs_gfid_eq(f->known[i].gfid, g))
            return &f->known[i];
    if (f->n_known == f->cap_known) {
        f->cap_known = f->cap_known ? 2 * f->cap_known : 64;
        f->known = realloc(f->known, f->cap_known * sizeof *f->known);
        assert_non_null(f->known);
    }
    f->known[f->n_known] = (struct fix_known){.gfid = g};
    return &f->known[f->n_known++];
}

struct cfs_version fix_version(struct fix *f, struct cfs_gfid g)
{
    struct fix_known *k = known(f, g);
    struct cfs_attr a;

    if (k->version.seq == 0 && fix_getattr(f, g, &a) == 0)
        k->version = a.version;
    return k->version;
}

void fix_learn(struct fix *f, const struct cfs_change *c)
{
    for (uint32_t i = 0; i < c->n; i++)
        known(f, c->touch[i].gfid)->version = c->touch[i].make;
}

struct cfs_change *fix_change(struct fix *f, unsigned n,
                              const struct cfs_gfid *gfid)
{
    struct cfs_change *c = &f->change;

    *c = (struct cfs_change){.session = f->session.no, .no = ++f->change_no};
    c->acked_below = f->acked_below ? f->acked_below : c->no;
    f->now.nsec += 1000000;
    if (f->now.nsec >= 1000000000) {
        f->now.nsec -= 1000000000;
        f->now.sec++;
    }
    c->now = f->now;
    for (unsigned i = 0; i < n; i++) {
        struct cfs_touch *t = &c->touch[c->n];
        bool twice = false;

        for (unsigned j = 0; j < c->n; j++)
            twice = twice || cfs_gfid_eq(c->touch[j].gfid, gfid[i]);
        if (twice || cfs_gfid_is_null(gfid[i]))
            continue;
        t->gfid = gfid[i];
        t->expect = fix_version(f, gfid[i]);
        t->make = (struct cfs_version){f->view.epoch, t->expect.seq + 1};
        c->n++;
    }
    return c;
}

/* A change with one or more inodes, to its end. */
static int change(struct fix *f, struct cfs_req *req, unsigned n,
                  const struct cfs_gfid *gfid)
{
    struct cfs_change *c = fix_change(f, n, gfid);
    int rc;

    fix_begin(f);
    req->epoch = f->view.epoch;
    req->change = c;
    rc = fix_do(f, req);
    if (rc == 0)
        fix_learn(f, c);
    return rc;
}

/* A read of @req, to its end. */
static int read_op(struct fix *f, struct cfs_req *req)
{
    fix_begin(f);
    req->epoch = f->view.epoch;
    return fix_do(f, req);
}

struct cfs_gfid fix_new_gfid(struct fix *f)
{
    return cfs_gfid_make(f->next_ino++);
}

struct cfs_blob fix_sums(struct fix *f, uint64_t offset, const void *data,
                         uint32_t len)
{
    uint32_t n = (uint32_t)((offset + len + 4095) / 4096 - offset / 4096);
    uint64_t *sums = cfs_arena_alloc(&f->call.arena, n * sizeof *sums);
    const uint8_t *p = data;
    uint64_t at = offset;

    for (uint32_t i = 0; i < n; i++) {
        uint64_t next = (at / 4096 + 1) * 4096;
        uint64_t upto = next < offset + len ? next : offset + len;

        sums[i] = htole64(XXH3_64bits(p, (size_t)(upto - at)));
        p += upto - at;
        at = upto;
    }
    return (struct cfs_blob){sums, n * (uint32_t)sizeof *sums};
}

/* -- operations ----------------------------------------------------------- */

static int create(struct fix *f, struct cfs_gfid dir, const char *name,
                  uint32_t mode, const char *target, struct cfs_gfid *ret)
{
    struct cfs_create op = {.req.fop = CFS_FOP_CREATE};
    int rc;

    op.parent = dir;
    op.name = cfs_test_name(name);
    op.gfid = fix_new_gfid(f);
    op.mode = mode;
    op.uid = 1000;
    op.gid = 1001;
    if (target)
        op.target = (struct cfs_blob){target, (uint32_t)strlen(target)};
    rc = change(f, &op.req, 2, (struct cfs_gfid[]){dir, op.gfid});
    if (rc == 0 && ret)
        *ret = op.gfid;
    return rc;
}

int fix_create(struct fix *f, struct cfs_gfid dir, const char *name,
               uint32_t mode, struct cfs_gfid *ret)
{
    return create(f, dir, name, mode, NULL, ret);
}

int fix_symlink(struct fix *f, struct cfs_gfid dir, const char *name,
                const char *target, struct cfs_gfid *ret)
{
    return create(f, dir, name, S_IFLNK | 0777, target, ret);
}

int fix_lookup(struct fix *f, struct cfs_gfid dir, const char *name,
               struct cfs_attr *ret)
{
    struct cfs_lookup op = {.req.fop = CFS_FOP_LOOKUP};
    int rc;

    op.parent = dir;
    op.name = cfs_test_name(name);
    rc = read_op(f, &op.req);
    if (rc == 0 && ret)
        *ret = op.attr;
    return rc;
}

int fix_getattr(struct fix *f, struct cfs_gfid g, struct cfs_attr *ret)
{
    struct cfs_getattr op = {.req.fop = CFS_FOP_GETATTR};
    int rc;

    op.gfid = g;
    rc = read_op(f, &op.req);
    if (rc == 0 && ret)
        *ret = op.attr;
    return rc;
}

static struct cfs_gfid child_of(struct fix *f, struct cfs_gfid dir,
                                const char *name)
{
    struct cfs_attr a = {0};

    if (fix_lookup(f, dir, name, &a) < 0)
        return (struct cfs_gfid){0};
    return a.gfid;
}

int fix_unlink(struct fix *f, struct cfs_gfid dir, const char *name,
               bool rmdir)
{
    struct cfs_unlink op = {.req.fop = CFS_FOP_UNLINK};

    op.parent = dir;
    op.name = cfs_test_name(name);
    op.child = child_of(f, dir, name);
    op.rmdir = rmdir;
    return change(f, &op.req, 2, (struct cfs_gfid[]){dir, op.child});
}

int fix_purge(struct fix *f, struct cfs_gfid g)
{
    struct cfs_purge op = {.req.fop = CFS_FOP_PURGE};

    op.gfid = g;
    return change(f, &op.req, 1, &g);
}

int fix_rename(struct fix *f, struct cfs_gfid dir, const char *name,
               struct cfs_gfid newdir, const char *newname, uint32_t flags)
{
    struct cfs_rename op = {.req.fop = CFS_FOP_RENAME};

    op.parent = dir;
    op.name = cfs_test_name(name);
    op.newparent = newdir;
    op.newname = cfs_test_name(newname);
    op.flags = flags;
    op.child = child_of(f, dir, name);
    op.victim = child_of(f, newdir, newname);
    return change(f, &op.req, 4,
                  (struct cfs_gfid[]){dir, newdir, op.child, op.victim});
}

int fix_link(struct fix *f, struct cfs_gfid g, struct cfs_gfid dir,
             const char *name)
{
    struct cfs_link op = {.req.fop = CFS_FOP_LINK};

    op.gfid = g;
    op.newparent = dir;
    op.newname = cfs_test_name(name);
    return change(f, &op.req, 2, (struct cfs_gfid[]){dir, g});
}

int fix_write(struct fix *f, struct cfs_gfid g, uint64_t offset,
              const void *data, uint32_t len)
{
    struct cfs_write op = {.req.fop = CFS_FOP_WRITE};
    struct cfs_change *c = fix_change(f, 1, &g);
    int rc;

    fix_begin(f);
    op.gfid = g;
    op.offset = offset;
    op.data = cfs_buf_new(len);
    memcpy(op.data.data, data, len);
    cfs_arena_keep(&f->call.arena, op.data);
    op.sums = fix_sums(f, offset, data, len);
    op.req.epoch = f->view.epoch;
    op.req.change = c;
    rc = fix_do(f, &op.req);
    if (rc == 0)
        fix_learn(f, c);
    return rc;
}

int fix_read(struct fix *f, struct cfs_gfid g, uint64_t offset, void *ret,
             uint32_t len)
{
    struct cfs_read op = {.req.fop = CFS_FOP_READ};
    struct cfs_blob sums;
    int rc;

    op.gfid = g;
    op.offset = offset;
    op.size = len;
    rc = read_op(f, &op.req);
    if (rc < 0)
        return rc;
    if (op.data.len == 0)
        return 0;
    sums = fix_sums(f, offset, op.data.data, op.data.len);
    assert_int_equal(op.sums.len, sums.len);
    assert_memory_equal(op.sums.p, sums.p, sums.len);
    memcpy(ret, op.data.data, op.data.len);
    return (int)op.data.len;
}

int fix_setattr(struct fix *f, struct cfs_setattr *op)
{
    op->req.fop = CFS_FOP_SETATTR;
    return change(f, &op->req, 1, &op->gfid);
}

int fix_truncate(struct fix *f, struct cfs_gfid g, uint64_t size)
{
    struct cfs_setattr op = {.req.fop = CFS_FOP_SETATTR};

    op.gfid = g;
    op.mask = CFS_SET_SIZE;
    op.size = size;
    return fix_setattr(f, &op);
}

int fix_fallocate(struct fix *f, struct cfs_gfid g, uint32_t mode,
                  uint64_t offset, uint64_t len)
{
    struct cfs_fallocate op = {.req.fop = CFS_FOP_FALLOCATE};

    op.gfid = g;
    op.mode = mode;
    op.offset = offset;
    op.size = len;
    return change(f, &op.req, 1, &g);
}

int fix_copy(struct fix *f, struct cfs_gfid src, uint64_t src_offset,
             struct cfs_gfid dst, uint64_t offset, uint32_t len,
             uint32_t *ret_copied)
{
    struct cfs_copy op = {.req.fop = CFS_FOP_COPY};
    struct cfs_change *c = fix_change(
        f, 2, (struct cfs_gfid[]){dst, src});
    int rc;

    if (c->n == 2)
        c->touch[1].make = c->touch[1].expect; /* only read */
    fix_begin(f);
    op.gfid = dst;
    op.offset = offset;
    op.src = src;
    op.src_offset = src_offset;
    op.size = len;
    op.req.epoch = f->view.epoch;
    op.req.change = c;
    rc = fix_do(f, &op.req);
    if (rc == 0)
        fix_learn(f, c);
    if (rc == 0 && ret_copied)
        *ret_copied = op.copied;
    return rc;
}

int fix_setxattr(struct fix *f, struct cfs_gfid g, const char *name,
                 const void *value, uint32_t len, uint32_t flags)
{
    struct cfs_setxattr op = {.req.fop = CFS_FOP_SETXATTR};

    op.gfid = g;
    op.name = cfs_test_name(name);
    op.value = (struct cfs_blob){value, len};
    op.flags = flags;
    return change(f, &op.req, 1, &g);
}

int fix_getxattr(struct fix *f, struct cfs_gfid g, const char *name,
                 void *ret, uint32_t size)
{
    struct cfs_getxattr op = {.req.fop = CFS_FOP_GETXATTR};
    int rc;

    op.gfid = g;
    op.name = cfs_test_name(name);
    rc = read_op(f, &op.req);
    if (rc < 0)
        return rc;
    assert_true(op.value.len <= size);
    if (op.value.len > 0)
        memcpy(ret, op.value.p, op.value.len);
    return (int)op.value.len;
}

int fix_removexattr(struct fix *f, struct cfs_gfid g, const char *name)
{
    struct cfs_removexattr op = {.req.fop = CFS_FOP_REMOVEXATTR};

    op.gfid = g;
    op.name = cfs_test_name(name);
    return change(f, &op.req, 1, &g);
}

int fix_lseek(struct fix *f, struct cfs_gfid g, uint64_t offset, int whence,
              uint64_t *ret)
{
    struct cfs_lseek op = {.req.fop = CFS_FOP_LSEEK};
    int rc;

    op.gfid = g;
    op.offset = offset;
    op.whence = (uint32_t)whence;
    rc = read_op(f, &op.req);
    if (rc == 0)
        *ret = op.found;
    return rc;
}

int fix_fsync(struct fix *f, struct cfs_gfid g)
{
    struct cfs_fsync op = {.req.fop = CFS_FOP_FSYNC};

    op.gfid = g;
    op.req.want = fix_version(f, g);
    return read_op(f, &op.req);
}

int fix_view(struct fix *f, const struct cfs_view *v)
{
    struct cfs_view_set op = {.req.fop = CFS_FOP_VIEW_SET};

    fix_begin(f);
    op.view = *v;
    return fix_do(f, &op.req);
}

int fix_session_close(struct fix *f, uint32_t no)
{
    struct cfs_session_close op = {.req.fop = CFS_FOP_SESSION_CLOSE};

    fix_begin(f);
    op.session = no;
    return fix_do(f, &op.req);
}

struct settling {
    struct eng_done done;
    bool            fired;
};

static void on_checkpoint(struct eng_done *d)
{
    container_of(d, struct settling, done)->fired = true;
}

static bool has_fired(void *arg)
{
    return ((struct settling *)arg)->fired;
}

static bool is_idle(void *arg)
{
    struct ops_stat st;

    ops_stat(((struct fix *)arg)->ops, &st);
    return st.in_flight == 0;
}

void fix_idle(struct fix *f)
{
    cfs_loop_run_until(f->loop, is_idle, f);
}

void fix_settle(struct fix *f)
{
    /* What was freed before one checkpoint's freeze is free after the next. */
    for (unsigned i = 0; i < 2; i++) {
        struct settling s = {.done.done = on_checkpoint};

        fix_idle(f);
        eng_checkpoint(ops_engine(f->ops), &s.done);
        cfs_loop_run_until(f->loop, has_fired, &s);
    }
}

void fix_info(struct fix *f, struct cfs_brick *ret)
{
    ops_info(f->ops, ret);
}

struct rec_chunk fix_chunk(struct eng *e, struct cfs_gfid g, uint64_t index)
{
    struct rec_chunk c;
    struct rec_key k;
    struct cfs_blob v;

    rec_key_gfid_u64(&k, REC_CHUNK, g, index);
    assert_int_equal(eng_get(e, rec_key_blob(&k), &v), 0);
    assert_int_equal(rec_chunk_unpack(v, &c), 0);
    return c;
}

/* -- shorthands ----------------------------------------------------------- */

struct cfs_gfid fix_file(struct fix *f, const char *name)
{
    struct cfs_gfid g;

    assert_int_equal(fix_create(f, cfs_gfid_root, name, S_IFREG | 0644, &g),
                     0);
    return g;
}

struct cfs_gfid fix_dir(struct fix *f, struct cfs_gfid in, const char *name)
{
    struct cfs_gfid g;

    assert_int_equal(fix_create(f, in, name, S_IFDIR | 0755, &g), 0);
    return g;
}

uint8_t *fix_pattern(uint32_t len, unsigned seed)
{
    uint8_t *p = malloc(len);

    for (uint32_t i = 0; i < len; i++)
        p[i] = (uint8_t)(seed + i * 7 + i / 251);
    return p;
}

uint8_t *fix_noise(uint32_t len, unsigned seed)
{
    uint64_t v = UINT64_C(0x9e3779b97f4a7c15) * (seed + 1);
    uint8_t *p = malloc(len);

    for (uint32_t i = 0; i < len; i++, v = v * 0xd1342543de82ef95u + 1)
        p[i] = (uint8_t)(v >> 56);
    return p;
}

uint8_t *fix_zeros(uint32_t len)
{
    uint8_t *p = malloc(len);

    memset(p, 0, len);
    return p;
}

void fix_expect(struct fix *f, struct cfs_gfid g, const uint8_t *want,
                uint64_t size)
{
    uint8_t *got = malloc(CFS_IO_MAX);
    struct cfs_attr a;

    assert_int_equal(fix_getattr(f, g, &a), 0);
    assert_int_equal(a.size, size);
    for (uint64_t at = 0; at < size;) {
        int n = fix_read(f, g, at, got, CFS_IO_MAX);

        assert_true(n > 0);
        assert_memory_equal(got, want + at, (size_t)n);
        at += (uint64_t)n;
    }
    assert_int_equal(fix_read(f, g, size, got, 1), 0);
    free(got);
}
