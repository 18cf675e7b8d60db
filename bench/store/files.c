/* SPDX-License-Identifier: Apache-2.0 */
/* files.c - the file system on the engine, driven as a client would: numbered
 * changes that name versions, checksums with the data, many in flight; and
 * after each SETTLE changes an fsync and the clearing of what it covers.
 *
 * File @i is named in directory @i / FILES_DIR, which is made with its first
 * file. Versions are remembered as counts, so a file takes nine bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench/store/store.h"
#include "core/xxh3.h"
#include "xlators/storage/block/rec.h"

#define FILES_DIR  4096u
#define IO_MAX     (1024u * 1024u)
#define SETTLE     32768u /* changes between two fsyncs of the client's own */
#define CLEAR_MAX  512u   /* inodes in one clear, as cluster/replicate's */
#define FIRST_INO  ((uint64_t)1 << 32)
#define FIRST_DIR  ((uint64_t)1 << 20)

union any_req {
    struct cfs_req    req;
    struct cfs_create create;
    struct cfs_lookup lookup;
    struct cfs_write  write;
    struct cfs_read   read;
    struct cfs_unlink unlink;
    struct cfs_purge  purge;
    struct cfs_fsync  fsync;
    struct cfs_clear  clear;
};

struct slot {
    union any_req    u;
    struct cfs_call  call;
    struct cfs_change change;
    struct files    *f;
    uint64_t         i;
    uint64_t         began;
    uint32_t         seq;  /* of a file that was unlinked */
    bool             busy; /* a change is in flight */
    struct cfs_buf   data;
    unsigned         same;  /* bench.same of .data */
    char             name[32];
    uint64_t         sums[IO_MAX / CFS_BLOCK];
};

struct touched {
    struct cfs_gfid    gfid;
    struct cfs_version version;
};

struct files {
    struct bench      *b;
    struct cfs_view    view;
    uint32_t           session;
    uint64_t           change_no;
    struct cfs_time    now;
    uint64_t           max;
    uint32_t          *seq;     /* of each file's version; 0: there is none */
    uint32_t          *size;    /* of each file, in blocks */
    uint8_t           *life;    /* how often each was made before */
    uint32_t          *dir_seq;
    uint64_t           root_seq;
    struct slot       *slot;    /* IN_FLIGHT */

    const struct file_spec *spec;
    struct file_result     *ret;
    uint64_t           started, finished, rnd;
    struct slot       *idle[IN_FLIGHT];
    unsigned           n_idle;
    struct cfs_timer   more;

    struct touched    *touched; /* of changes answered and not cleared */
    size_t             n_touched, cap_touched;
    size_t             clear_at, clear_end;
    struct slot        settler;
    bool               settling;
};

/* A number is used for one file only: one that was made again has another. */
static struct cfs_gfid file_gfid(const struct files *f, uint64_t i)
{
    return cfs_gfid_make(FIRST_INO + f->life[i] * (uint64_t)f->max + i);
}

static struct cfs_gfid dir_gfid(uint64_t i)
{
    return cfs_gfid_make(FIRST_DIR + i / FILES_DIR);
}

/* -- one request, waited for ----------------------------------------------- */

struct once {
    bool done;
    int  status;
};

static void once_done(struct cfs_req *req, int status)
{
    struct once *w = req->call->owner;

    w->status = status;
    w->done = true;
}

#define ONCE(type)                                                           \
    static void once_##type(struct cfs_##type *op, int status)               \
    {                                                                        \
        once_done(&op->req, status);                                         \
    }
ONCE(create)
ONCE(fsync)
ONCE(write)
ONCE(brick_info)
ONCE(view_set)
ONCE(session_open)
ONCE(session_attach)
ONCE(session_close)
#undef ONCE

static bool once_is_done(void *arg)
{
    return ((struct once *)arg)->done;
}

static void do_once(struct files *f, struct cfs_req *req, const char *what)
{
    struct cfs_call call = {.loop = f->b->loop};
    struct once w = {0};

    call.owner = &w;
    cfs_arena_init(&call.arena);
    req->call = &call;
    req->epoch = f->view.epoch;
    ops_submit(f->b->ops, req);
    cfs_loop_run_until(f->b->loop, once_is_done, &w);
    cfs_arena_fini(&call.arena);
    if (w.status < 0)
        die(what, w.status, NULL);
}

/* -- beginning and end ----------------------------------------------------- */

static void next_view(struct files *f)
{
    struct cfs_brick_info *info = need(calloc(1, sizeof *info));
    struct cfs_view_set set = {.req.fop = CFS_FOP_VIEW_SET};

    info->req.fop = CFS_FOP_BRICK_INFO;
    info->done = once_brick_info;
    do_once(f, &info->req, "brick_info");
    f->view = (struct cfs_view){
        .lineage = 1, .epoch = info->brick.view.epoch + 1, .n_sync = 1};
    f->view.set.b[0] = f->view.id.b[0] = 1;
    f->view.m[0].brick = info->brick.brick;
    f->view.m[0].incarnation = info->brick.incarnation;
    set.view = f->view;
    set.done = once_view_set;
    do_once(f, &set.req, "view_set");
    free(info);
}

static void begin_session(struct files *f)
{
    struct cfs_session_open open = {.req.fop = CFS_FOP_SESSION_OPEN};
    struct cfs_session_attach attach = {.req.fop = CFS_FOP_SESSION_ATTACH};

    open.who = (struct cfs_session){.pid = 1, .dead_ms = 12000,
                                    .node = "here", .service = "bench"};
    open.done = once_session_open;
    do_once(f, &open.req, "session_open");
    attach.session = open.session;
    attach.done = once_session_attach;
    do_once(f, &attach.req, "session_attach");
    f->session = open.session.no;
}

static void slot_init(struct files *f, struct slot *s)
{
    s->f = f;
    s->call = (struct cfs_call){.loop = f->b->loop};
    cfs_arena_init(&s->call.arena);
}

static void on_more(struct cfs_timer *t);

struct files *files_open(struct bench *b, uint64_t max)
{
    struct files *f = need(calloc(1, sizeof *f));

    f->b = b;
    f->max = max;
    f->now = cfs_realtime(b->loop);
    f->seq = need(calloc(max, sizeof *f->seq));
    f->size = need(calloc(max, sizeof *f->size));
    f->life = need(calloc(max, sizeof *f->life));
    f->dir_seq = need(calloc(max / FILES_DIR + 1, sizeof *f->dir_seq));
    f->slot = need(calloc(IN_FLIGHT, sizeof *f->slot));
    for (unsigned i = 0; i < IN_FLIGHT; i++)
        slot_init(f, &f->slot[i]);
    slot_init(f, &f->settler);
    cfs_timer_init(b->loop, &f->more, on_more);
    next_view(f);
    begin_session(f);
    f->root_seq = 1;
    return f;
}

void files_leave(struct files *f)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++)
        cfs_arena_fini(&f->slot[i].call.arena);
    cfs_arena_fini(&f->settler.call.arena);
    cfs_timer_fini(&f->more);
    free(f->seq);
    free(f->size);
    free(f->life);
    free(f->dir_seq);
    free(f->slot);
    free(f->touched);
    free(f);
}

void files_close(struct files *f)
{
    struct cfs_session_close bye = {.req.fop = CFS_FOP_SESSION_CLOSE};

    bye.session = f->session;
    bye.done = once_session_close;
    do_once(f, &bye.req, "session_close");
    files_leave(f);
}

/* -- changes --------------------------------------------------------------- */

static uint64_t oldest_in_flight(const struct files *f)
{
    uint64_t no = f->change_no;

    for (unsigned i = 0; i < IN_FLIGHT; i++)
        if (f->slot[i].busy && f->slot[i].change.no < no)
            no = f->slot[i].change.no;
    return no;
}

static void begin_change(struct files *f, struct slot *s)
{
    f->now.nsec += 1000;
    if (f->now.nsec >= 1000000000u) {
        f->now.nsec -= 1000000000u;
        f->now.sec++;
    }
    s->change.session = f->session;
    s->change.no = ++f->change_no;
    s->change.now = f->now;
    s->change.n = 0;
    s->busy = true;
    s->change.acked_below = oldest_in_flight(f);
    s->u.req.change = &s->change;
}

/* Epochs of versions made before this view are those views'. */
static void touch(struct files *f, struct slot *s, struct cfs_gfid g,
                  uint64_t from, uint64_t to)
{
    uint64_t epoch = f->view.epoch;

    if (cfs_gfid_eq(g, cfs_gfid_root) && from == 1)
        epoch = 1; /* as mkfs made it */
    s->change.touch[s->change.n++] = (struct cfs_touch){
        .gfid = g,
        .expect = {from ? epoch : 0, from},
        .make = {to ? f->view.epoch : 0, to},
    };
}

static void remember(struct files *f, const struct cfs_change *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (f->n_touched == f->cap_touched) {
            f->cap_touched = f->cap_touched ? 2 * f->cap_touched : 4096;
            f->touched = need(realloc(f->touched, f->cap_touched *
                                                      sizeof *f->touched));
        }
        f->touched[f->n_touched++] =
            (struct touched){c->touch[i].gfid, c->touch[i].make};
    }
}

/* -- an fsync now and then, and clearing ----------------------------------- */

static void clear_next(struct files *f);

static void settle_over(struct files *f)
{
    memmove(f->touched, f->touched + f->clear_end,
            (f->n_touched - f->clear_end) * sizeof *f->touched);
    f->n_touched -= f->clear_end;
    f->settling = false;
}

static void on_cleared(struct cfs_clear *op, int status)
{
    struct files *f = container_of(op, struct slot, u.clear)->f;

    if (status < 0)
        die("clear", status, NULL);
    clear_next(f);
}

static void clear_next(struct files *f)
{
    struct slot *s = &f->settler;
    size_t n = f->clear_end - f->clear_at;
    uint8_t *p;

    if (n == 0) {
        settle_over(f);
        return;
    }
    if (n > CLEAR_MAX)
        n = CLEAR_MAX;
    cfs_arena_reset(&s->call.arena);
    p = cfs_arena_alloc(&s->call.arena, n * 32);
    s->u.clear = (struct cfs_clear){.req = {.fop = CFS_FOP_CLEAR,
                                            .call = &s->call,
                                            .epoch = f->view.epoch},
                                    .done = on_cleared};
    s->u.clear.session = f->session;
    s->u.clear.below = s->change.no;
    s->u.clear.inodes = (struct cfs_blob){p, (uint32_t)n * 32};
    for (; n > 0; n--, p += 32) {
        const struct touched *t = &f->touched[f->clear_at++];

        memcpy(p, t->gfid.b, 16);
        memcpy(p + 16, &t->version.epoch, 8);
        memcpy(p + 24, &t->version.seq, 8);
    }
    ops_submit(f->b->ops, &s->u.req);
}

static void on_settled(struct cfs_fsync *op, int status)
{
    if (status < 0)
        die("fsync", status, NULL);
    clear_next(container_of(op, struct slot, u.fsync)->f);
}

static void settle(struct files *f)
{
    struct slot *s = &f->settler;

    if (f->settling || f->n_touched < SETTLE)
        return;
    f->settling = true;
    f->clear_at = 0;
    f->clear_end = f->n_touched;
    s->change.no = oldest_in_flight(f);
    s->u.fsync = (struct cfs_fsync){.req = {.fop = CFS_FOP_FSYNC,
                                            .call = &s->call,
                                            .epoch = f->view.epoch},
                                    .done = on_settled};
    s->u.fsync.gfid = cfs_gfid_root;
    ops_submit(f->b->ops, &s->u.req);
}

/* -- operations ------------------------------------------------------------ */

static void slot_ended(struct slot *s, int status, const char *what)
{
    struct files *f = s->f;

    if (status < 0)
        die(what, status, NULL);
    if (s->busy) {
        s->busy = false;
        remember(f, &s->change);
    }
    times_add(&f->ret->waits, now_ns(f->b) - s->began);
    f->finished++;
    f->idle[f->n_idle++] = s;
    if (!cfs_timer_active(&f->more))
        cfs_timer_start(&f->more, 0);
}

static struct cfs_name file_name(struct slot *s, uint64_t i)
{
    int n = snprintf(s->name, sizeof s->name, "file-%08llu",
                     (unsigned long long)i);

    return (struct cfs_name){s->name, (uint32_t)n};
}

static void make_dir(struct files *f, uint64_t i)
{
    struct slot *s = need(calloc(1, sizeof *s));

    slot_init(f, s);
    s->u.create = (struct cfs_create){.req.fop = CFS_FOP_CREATE,
                                      .done = once_create};
    snprintf(s->name, sizeof s->name, "dir-%llu",
             (unsigned long long)(i / FILES_DIR));
    s->u.create.name = (struct cfs_name){s->name, (uint32_t)strlen(s->name)};
    s->u.create.parent = cfs_gfid_root;
    s->u.create.gfid = dir_gfid(i);
    s->u.create.mode = S_IFDIR | 0755;
    begin_change(f, s);
    touch(f, s, cfs_gfid_root, f->root_seq, f->root_seq + 1);
    touch(f, s, dir_gfid(i), 0, 1);
    f->root_seq++;
    do_once(f, &s->u.req, "mkdir");
    remember(f, &s->change);
    f->dir_seq[i / FILES_DIR] = 1;
    cfs_arena_fini(&s->call.arena);
    free(s);
}

static void create_done(struct cfs_create *op, int status)
{
    slot_ended(container_of(op, struct slot, u.create), status, "create");
}

static void go_create(struct files *f, struct slot *s)
{
    uint32_t *dir = &f->dir_seq[s->i / FILES_DIR];
    struct cfs_create *r = &s->u.create;

    r->done = create_done;
    r->req.fop = CFS_FOP_CREATE;
    r->parent = dir_gfid(s->i);
    r->name = file_name(s, s->i);
    r->gfid = file_gfid(f, s->i);
    r->mode = S_IFREG | 0644;
    r->uid = r->gid = 1000;
    begin_change(f, s);
    touch(f, s, r->parent, *dir, *dir + 1);
    touch(f, s, r->gfid, 0, 1);
    ++*dir;
    f->seq[s->i] = 1;
    f->size[s->i] = 0;
}

static void lookup_done(struct cfs_lookup *op, int status)
{
    slot_ended(container_of(op, struct slot, u.lookup), status, "lookup");
}

static void go_lookup(struct files *f, struct slot *s)
{
    struct cfs_lookup *r = &s->u.lookup;

    r->done = lookup_done;
    r->req.fop = CFS_FOP_LOOKUP;
    r->parent = dir_gfid(s->i);
    r->name = file_name(s, s->i);
}

static void write_done(struct cfs_write *op, int status)
{
    slot_ended(container_of(op, struct slot, u.write), status, "write");
}

static void go_write(struct files *f, struct slot *s, uint32_t len,
                     uint64_t offset)
{
    struct cfs_write *r = &s->u.write;
    uint32_t n = (len + CFS_BLOCK - 1) / CFS_BLOCK;
    uint32_t *seq = &f->seq[s->i];

    if (s->data.len < len || s->same != f->b->same) {
        cfs_buf_unref(&s->data);
        s->same = f->b->same;
        s->data = cfs_buf_new(len);
        rig_random(&f->rnd, s->data.data, len);
        for (uint32_t k = 0; k < len; k++)
            if (k % 128 < f->b->same)
                s->data.data[k] = 7;
    }
    for (uint32_t k = 0; k < n; k++) {
        uint8_t *p = s->data.data + (size_t)k * CFS_BLOCK;
        size_t part = len - k * CFS_BLOCK < CFS_BLOCK ? len - k * CFS_BLOCK
                                                      : CFS_BLOCK;

        memcpy(p, &f->change_no, sizeof f->change_no);
        s->sums[k] = XXH3_64bits(p, part);
    }
    r->req.fop = CFS_FOP_WRITE;
    r->done = write_done;
    r->gfid = file_gfid(f, s->i);
    r->offset = offset;
    r->data = s->data;
    r->data.len = len;
    r->sums = (struct cfs_blob){s->sums, n * 8};
    begin_change(f, s);
    touch(f, s, r->gfid, *seq, *seq + 1);
    ++*seq;
    if (offset / CFS_BLOCK + n > f->size[s->i])
        f->size[s->i] = (uint32_t)(offset / CFS_BLOCK) + n;
}

static void read_done(struct cfs_read *op, int status)
{
    slot_ended(container_of(op, struct slot, u.read), status, "read");
}

static void go_read(struct files *f, struct slot *s, uint32_t len,
                    uint64_t offset)
{
    struct cfs_read *r = &s->u.read;

    r->done = read_done;
    r->req.fop = CFS_FOP_READ;
    r->gfid = file_gfid(f, s->i);
    r->offset = offset;
    r->size = len;
}

static void purge_done(struct cfs_purge *op, int status)
{
    slot_ended(container_of(op, struct slot, u.purge), status, "purge");
}

static void unlink_done(struct cfs_unlink *op, int status)
{
    struct slot *s = container_of(op, struct slot, u.unlink);
    struct files *f = s->f;

    if (status < 0)
        die("unlink", status, NULL);
    remember(f, &s->change);
    cfs_arena_reset(&s->call.arena);
    s->u.purge = (struct cfs_purge){.req = {.fop = CFS_FOP_PURGE,
                                            .call = &s->call,
                                            .epoch = f->view.epoch},
                                    .done = purge_done};
    s->u.purge.gfid = file_gfid(f, s->i);
    begin_change(f, s);
    touch(f, s, s->u.purge.gfid, s->seq, s->seq + 1);
    f->life[s->i]++;
    ops_submit(f->b->ops, &s->u.req);
}

static void go_unlink(struct files *f, struct slot *s)
{
    uint32_t *dir = &f->dir_seq[s->i / FILES_DIR];
    struct cfs_unlink *r = &s->u.unlink;

    r->done = unlink_done;
    r->req.fop = CFS_FOP_UNLINK;
    r->parent = dir_gfid(s->i);
    r->name = file_name(s, s->i);
    r->child = file_gfid(f, s->i);
    begin_change(f, s);
    touch(f, s, r->parent, *dir, *dir + 1);
    touch(f, s, r->child, f->seq[s->i], f->seq[s->i] + 1);
    ++*dir;
    s->seq = f->seq[s->i] + 1;
    f->seq[s->i] = 0; /* nobody picks it any more */
}

uint32_t files_mixed(uint64_t i)
{
    uint64_t rnd = next_random(&i);
    uint32_t from = 64u << rnd % 10;

    return from + (uint32_t)(rnd >> 32) % from;
}

static void slot_go(struct files *f, struct slot *s, uint64_t nth)
{
    const struct file_spec *spec = f->spec;
    uint32_t io = spec->io ? spec->io : CFS_BLOCK;
    uint64_t at = spec->same ? nth * io : 0;

    if (spec->spread)
        at = next_random(&f->rnd) % (spec->spread / io) * io;
    if (spec->mixed)
        io = files_mixed(s->i);
    cfs_arena_reset(&s->call.arena);
    memset(&s->u, 0, sizeof s->u);
    switch (spec->act) {
    case FILE_CREATE:
        go_create(f, s);
        break;
    case FILE_LOOKUP:
        go_lookup(f, s);
        break;
    case FILE_WRITE:
        go_write(f, s, io, at);
        break;
    case FILE_APPEND:
        go_write(f, s, io, (uint64_t)f->size[s->i] * CFS_BLOCK);
        break;
    case FILE_READ:
        go_read(f, s, io, at);
        break;
    case FILE_UNLINK:
        go_unlink(f, s);
        break;
    }
    s->u.req.call = &s->call;
    s->u.req.epoch = f->view.epoch;
    ops_submit(f->b->ops, &s->u.req);
}

/* -- runs ------------------------------------------------------------------ */

/* The next file; of random ones, one that is there (or, for creates, not). */
static uint64_t pick(struct files *f)
{
    const struct file_spec *s = f->spec;
    uint64_t i;

    if (s->same)
        return s->first;
    if (s->among == 0)
        return s->first + f->started;
    do
        i = s->first + next_random(&f->rnd) % s->among;
    while ((f->seq[i] == 0) != (s->act == FILE_CREATE));
    return i;
}

static void on_more(struct cfs_timer *t)
{
    struct files *f = container_of(t, struct files, more);

    for (unsigned n = f->n_idle; n > 0 && f->started < f->spec->count; n--) {
        struct slot *s = f->idle[--f->n_idle];
        uint64_t nth = f->started;

        s->i = pick(f);
        f->started++;
        s->began = now_ns(f->b);
        slot_go(f, s, nth);
    }
    settle(f);
}

static bool run_is_done(void *arg)
{
    const struct files *f = arg;

    return f->finished == f->spec->count && !f->settling;
}

static void need_dirs(struct files *f, const struct file_spec *s)
{
    uint64_t n = s->among ? s->among : s->count;

    if (s->act != FILE_CREATE)
        return;
    for (uint64_t d = s->first / FILES_DIR;
         d <= (s->first + n - 1) / FILES_DIR; d++)
        if (f->dir_seq[d] == 0)
            make_dir(f, d * FILES_DIR);
}

void files_run(struct files *f, const struct file_spec *spec,
               struct file_result *ret)
{
    unsigned flight = spec->flight ? spec->flight : IN_FLIGHT;
    uint64_t began;

    *ret = (struct file_result){0};
    f->spec = spec;
    f->ret = ret;
    f->started = f->finished = 0;
    f->rnd = spec->seed + 1;
    f->n_idle = 0;
    for (unsigned i = 0; i < flight; i++)
        f->idle[f->n_idle++] = &f->slot[i];
    began = now_ns(f->b);
    need_dirs(f, spec);
    cfs_timer_start(&f->more, 0);
    cfs_loop_run_until(f->b->loop, run_is_done, f);
    cfs_timer_stop(&f->more);
    ret->s = (double)(now_ns(f->b) - began) / 1e9;
}

uint64_t files_fsync(struct files *f, uint64_t i)
{
    struct cfs_fsync op = {.req.fop = CFS_FOP_FSYNC, .done = once_fsync};
    uint64_t began = now_ns(f->b);

    op.gfid = file_gfid(f, i);
    do_once(f, &op.req, "fsync");
    return now_ns(f->b) - began;
}

uint64_t files_write_fsync(struct files *f, uint64_t i)
{
    struct slot *s = &f->slot[0];
    uint64_t began = now_ns(f->b);

    cfs_arena_reset(&s->call.arena);
    memset(&s->u, 0, sizeof s->u);
    s->i = i;
    go_write(f, s, CFS_BLOCK, 0);
    s->u.write.done = once_write;
    do_once(f, &s->u.req, "write");
    s->busy = false;
    remember(f, &s->change);
    files_fsync(f, i);
    return now_ns(f->b) - began;
}

/* -- looking --------------------------------------------------------------- */

struct runs {
    uint64_t n;
    uint64_t next; /* address behind the last block */
};

static int runs_each(void *ctx, struct cfs_blob key, struct cfs_blob value)
{
    struct runs *r = ctx;
    struct rec_chunk c;

    if (rec_chunk_unpack(value, &c) < 0)
        die("chunk", -CFS_E_CORRUPT, NULL);
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++) {
        if (!((c.mapped & ~c.packed) >> i & 1))
            continue;
        r->n += c.lba[i] != r->next;
        r->next = c.lba[i] + 1;
    }
    for (unsigned i = 0; i < c.n_pack; i++) {
        r->n += c.pack[i].lba != r->next;
        r->next = c.pack[i].lba + rec_pack_blocks(&c.pack[i]);
    }
    return 0;
}

uint64_t files_runs(struct files *f, uint64_t i)
{
    struct rec_key lo, hi;
    struct runs r = {0};
    int rc;

    rec_key_gfid(&lo, REC_CHUNK, file_gfid(f, i));
    rec_key_after(&hi, &lo);
    rc = eng_scan(rig_engine(f->b), rec_key_blob(&lo), rec_key_blob(&hi),
                  runs_each, &r);
    if (rc < 0)
        die("scan", rc, NULL);
    return r.n;
}

uint64_t files_size(const struct files *f, uint64_t i)
{
    return (uint64_t)f->size[i] * CFS_BLOCK;
}
