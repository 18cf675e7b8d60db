/* SPDX-License-Identifier: Apache-2.0 */
/* codec.c - values to fields of messages and back; see codec.h. */
#include "rpc/codec.h"

#include "core/dirent.h"

/* protobuf-c's memory is the arena; nothing of it is freed by hand. */

static void *arena_alloc(void *arena, size_t size)
{
    return cfs_arena_alloc(arena, size);
}

static void arena_free(void *arena, void *p)
{
}

struct cfs_blob codec_pack(struct cfs_arena *a, const ProtobufCMessage *m)
{
    const size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *p = cfs_arena_alloc(a, len);

    protobuf_c_message_pack(m, p);
    return (struct cfs_blob){p, (uint32_t)len};
}

ProtobufCMessage *codec_unpack(struct cfs_arena *a,
                               const ProtobufCMessageDescriptor *desc,
                               struct cfs_blob body)
{
    ProtobufCAllocator alloc = {arena_alloc, arena_free, a};

    return protobuf_c_message_unpack(desc, &alloc, body.len, body.p);
}

static codec_bytes borrow(const void *p, size_t len)
{
    return (codec_bytes){.len = len, .data = (uint8_t *)p};
}

/* A new message of @Type in @a. */
#define NEW(a, Type, type_lower)                                             \
    ({                                                                       \
        Type *new_ = cfs_arena_alloc(a, sizeof *new_);                       \
        type_lower##__init(new_);                                            \
        new_;                                                                \
    })

/* -- numbers and bytes ---------------------------------------------------- */

void codec_put_u32(struct cfs_arena *a, const uint32_t *v, uint32_t *ret)
{
    *ret = *v;
}

int codec_get_u32(struct codec_in *in, const uint32_t *f, uint32_t *ret)
{
    *ret = *f;
    return 0;
}

void codec_put_u64(struct cfs_arena *a, const uint64_t *v, uint64_t *ret)
{
    *ret = *v;
}

int codec_get_u64(struct codec_in *in, const uint64_t *f, uint64_t *ret)
{
    *ret = *f;
    return 0;
}

/* An identity of 16 bytes; null ones are empty. */

static void put_id(const uint8_t id[static 16], codec_bytes *ret)
{
    static const uint8_t null[16];

    *ret = borrow(id, memcmp(id, null, sizeof null) == 0 ? 0 : 16);
}

static int get_id(const codec_bytes *f, uint8_t ret[static 16])
{
    if (f->len != 0 && f->len != 16)
        return -EBADMSG;
    memset(ret, 0, 16);
    if (f->len != 0)
        memcpy(ret, f->data, 16);
    return 0;
}

void codec_put_gfid(struct cfs_arena *a, const struct cfs_gfid *v,
                    codec_bytes *ret)
{
    put_id(v->b, ret);
}

int codec_get_gfid(struct codec_in *in, const codec_bytes *f,
                   struct cfs_gfid *ret)
{
    return get_id(f, ret->b);
}

void codec_put_uuid(struct cfs_arena *a, const struct cfs_uuid *v,
                    codec_bytes *ret)
{
    put_id(v->b, ret);
}

int codec_get_uuid(struct codec_in *in, const codec_bytes *f,
                   struct cfs_uuid *ret)
{
    return get_id(f, ret->b);
}

/* What a name may be depends on what it names: fop_check.c. */

void codec_put_name(struct cfs_arena *a, const struct cfs_name *v,
                    codec_bytes *ret)
{
    *ret = borrow(v->s, v->len);
}

int codec_get_name(struct codec_in *in, const codec_bytes *f,
                   struct cfs_name *ret)
{
    if (f->len == 0 || f->len > CFS_NAME_MAX ||
        memchr(f->data, '\0', f->len) != NULL)
        return -EBADMSG;
    ret->s = (const char *)f->data;
    ret->len = (uint32_t)f->len;
    return 0;
}

void codec_put_blob(struct cfs_arena *a, const struct cfs_blob *v,
                    codec_bytes *ret)
{
    *ret = borrow(v->p, v->len);
}

int codec_get_blob(struct codec_in *in, const codec_bytes *f,
                   struct cfs_blob *ret)
{
    if (f->len > CFS_XATTR_MAX)
        return -EBADMSG;
    ret->p = f->data;
    ret->len = (uint32_t)f->len;
    return 0;
}

static void put_chars(const char *s, size_t max, codec_bytes *ret)
{
    *ret = borrow(s, s != NULL ? strnlen(s, max) : 0);
}

static int get_string(struct codec_in *in, const codec_bytes *f, size_t max,
                      const char **ret)
{
    char *s;

    if (f->len > max || (f->len > 0 && memchr(f->data, '\0', f->len) != NULL))
        return -EBADMSG;
    s = cfs_arena_alloc(in->arena, f->len + 1);
    if (f->len > 0)
        memcpy(s, f->data, f->len);
    *ret = s;
    return 0;
}

void codec_put_str(struct cfs_arena *a, const char *const *v,
                   codec_bytes *ret)
{
    put_chars(*v, MGMT_STR_MAX, ret);
}

int codec_get_str(struct codec_in *in, const codec_bytes *f, const char **ret)
{
    return get_string(in, f, MGMT_STR_MAX, ret);
}

void codec_put_text(struct cfs_arena *a, const char *const *v,
                    codec_bytes *ret)
{
    put_chars(*v, MGMT_TEXT_MAX, ret);
}

int codec_get_text(struct codec_in *in, const codec_bytes *f,
                   const char **ret)
{
    return get_string(in, f, MGMT_TEXT_MAX, ret);
}

/* A string in an array of @size bytes. */
static int get_chars(const codec_bytes *f, char *ret, size_t size)
{
    if (f->len >= size ||
        (f->len > 0 && memchr(f->data, '\0', f->len) != NULL))
        return -EBADMSG;
    memset(ret, 0, size);
    if (f->len > 0)
        memcpy(ret, f->data, f->len);
    return 0;
}

void codec_put_attr(struct cfs_arena *a, const struct cfs_attr *v,
                    codec_bytes *ret)
{
    uint8_t *p;

    if (cfs_gfid_is_null(v->gfid)) {
        *ret = borrow(NULL, 0);
        return;
    }
    p = cfs_arena_alloc(a, CFS_ATTR_PACKED);
    cfs_attr_pack(v, p);
    *ret = borrow(p, CFS_ATTR_PACKED);
}

int codec_get_attr(struct codec_in *in, const codec_bytes *f,
                   struct cfs_attr *ret)
{
    struct cfs_attr attr;

    if (f->len == 0) {
        memset(ret, 0, sizeof *ret);
        return 0;
    }
    if (f->len != CFS_ATTR_PACKED || cfs_attr_unpack(f->data, &attr) < 0 ||
        cfs_gfid_is_null(attr.gfid))
        return -EBADMSG;
    *ret = attr;
    return 0;
}

void codec_put_buf(struct cfs_arena *a, const struct cfs_buf *v,
                   uint32_t *ret)
{
    *ret = v->len;
}

int codec_get_buf(struct codec_in *in, const uint32_t *f, struct cfs_buf *ret)
{
    if (*f != in->payload.len || in->took)
        return -EBADMSG;
    in->took = true;
    *ret = in->payload;
    return 0;
}

/* -- small records -------------------------------------------------------- */

void codec_put_time(struct cfs_arena *a, const struct cfs_time *v,
                    Wire__Time **ret)
{
    Wire__Time *m = NEW(a, Wire__Time, wire__time);

    m->sec = v->sec;
    m->nsec = v->nsec;
    *ret = m;
}

int codec_get_time(struct codec_in *in, Wire__Time *const *f,
                   struct cfs_time *ret)
{
    if ((*f)->nsec >= 1000000000u)
        return -EBADMSG;
    ret->sec = (*f)->sec;
    ret->nsec = (*f)->nsec;
    return 0;
}

void codec_put_version(struct cfs_arena *a, const struct cfs_version *v,
                       Wire__Version **ret)
{
    Wire__Version *m = NEW(a, Wire__Version, wire__version);

    m->epoch = v->epoch;
    m->seq = v->seq;
    *ret = m;
}

int codec_get_version(struct codec_in *in, Wire__Version *const *f,
                      struct cfs_version *ret)
{
    ret->epoch = (*f)->epoch;
    ret->seq = (*f)->seq;
    return 0;
}

void codec_put_space(struct cfs_arena *a, const struct cfs_space *v,
                     Wire__Space **ret)
{
    Wire__Space *m = NEW(a, Wire__Space, wire__space);

    m->total = v->total;
    m->free = v->free;
    m->avail = v->avail;
    m->files = v->files;
    m->ffree = v->ffree;
    *ret = m;
}

int codec_get_space(struct codec_in *in, Wire__Space *const *f,
                    struct cfs_space *ret)
{
    const Wire__Space *m = *f;

    if (m->free > m->total || m->avail > m->total || m->ffree > m->files)
        return -EBADMSG;
    *ret = (struct cfs_space){
        .total = m->total,
        .free = m->free,
        .avail = m->avail,
        .files = m->files,
        .ffree = m->ffree,
    };
    return 0;
}

void codec_put_post(struct cfs_arena *a, const struct cfs_post *v,
                    Wire__Post **ret)
{
    Wire__Post *m = NEW(a, Wire__Post, wire__post);

    m->epoch = v->epoch;
    m->incarnation = v->incarnation;
    m->pos = v->pos;
    m->durable = v->durable;
    m->free = v->free;
    *ret = m;
}

int codec_get_post(struct codec_in *in, Wire__Post *const *f,
                   struct cfs_post *ret)
{
    const Wire__Post *m = *f;

    *ret = (struct cfs_post){
        .epoch = m->epoch,
        .incarnation = m->incarnation,
        .pos = m->pos,
        .durable = m->durable,
        .free = m->free,
    };
    return 0;
}

/* -- session, view, brick ------------------------------------------------- */

void codec_put_session(struct cfs_arena *a, const struct cfs_session *v,
                       Wire__Session **ret)
{
    Wire__Session *m = NEW(a, Wire__Session, wire__session);

    m->no = v->no;
    m->state = v->state;
    m->pid = v->pid;
    m->dead_ms = v->dead_ms;
    m->pid_start = v->pid_start;
    codec_put_uuid(a, &v->boot, &m->boot);
    put_chars(v->node, sizeof v->node - 1, &m->node);
    put_chars(v->service, sizeof v->service - 1, &m->service);
    put_chars(v->where, sizeof v->where - 1, &m->where);
    *ret = m;
}

int codec_get_session(struct codec_in *in, Wire__Session *const *f,
                      struct cfs_session *ret)
{
    const Wire__Session *m = *f;

    if (m->state > CFS_SESSION_FENCED)
        return -EBADMSG;
    if (codec_get_uuid(in, &m->boot, &ret->boot) < 0 ||
        get_chars(&m->node, ret->node, sizeof ret->node) < 0 ||
        get_chars(&m->service, ret->service, sizeof ret->service) < 0 ||
        get_chars(&m->where, ret->where, sizeof ret->where) < 0)
        return -EBADMSG;
    ret->no = m->no;
    ret->state = m->state;
    ret->pid = m->pid;
    ret->dead_ms = m->dead_ms;
    ret->pid_start = m->pid_start;
    return 0;
}

void codec_put_view(struct cfs_arena *a, const struct cfs_view *v,
                    Wire__View **ret)
{
    Wire__View *m = NEW(a, Wire__View, wire__view);
    const uint32_t n = v->n_sync + v->n_syncing;

    assert(n <= CFS_SET_MAX);
    codec_put_uuid(a, &v->set, &m->set);
    codec_put_uuid(a, &v->id, &m->id);
    m->lineage = v->lineage;
    m->epoch = v->epoch;
    m->n_sync = v->n_sync;
    m->n_syncing = v->n_syncing;
    m->n_m = n;
    m->m = cfs_arena_alloc(a, n * sizeof *m->m);
    for (uint32_t i = 0; i < n; i++) {
        m->m[i] = NEW(a, Wire__Member, wire__member);
        codec_put_uuid(a, &v->m[i].brick, &m->m[i]->brick);
        m->m[i]->incarnation = v->m[i].incarnation;
    }
    *ret = m;
}

/* Members have an identity, and each its own. */
static int get_members(struct codec_in *in, const Wire__View *m,
                       struct cfs_view *ret)
{
    memset(ret->m, 0, sizeof ret->m);
    for (size_t i = 0; i < m->n_m; i++) {
        if (codec_get_uuid(in, &m->m[i]->brick, &ret->m[i].brick) < 0 ||
            cfs_uuid_is_null(ret->m[i].brick))
            return -EBADMSG;
        ret->m[i].incarnation = m->m[i]->incarnation;
        for (size_t j = 0; j < i; j++)
            if (cfs_uuid_eq(ret->m[i].brick, ret->m[j].brick))
                return -EBADMSG;
    }
    return 0;
}

int codec_get_view(struct codec_in *in, Wire__View *const *f,
                   struct cfs_view *ret)
{
    const Wire__View *m = *f;

    if (m->n_sync > CFS_SET_MAX || m->n_syncing > CFS_SET_MAX - m->n_sync ||
        m->n_m != m->n_sync + m->n_syncing)
        return -EBADMSG;
    if (codec_get_uuid(in, &m->set, &ret->set) < 0 ||
        codec_get_uuid(in, &m->id, &ret->id) < 0 ||
        get_members(in, m, ret) < 0)
        return -EBADMSG;
    ret->lineage = m->lineage;
    ret->epoch = m->epoch;
    ret->n_sync = m->n_sync;
    ret->n_syncing = m->n_syncing;
    return 0;
}

static uint32_t sessions_told(const struct cfs_brick *v)
{
    return v->n_sessions < CFS_INFO_SESSIONS ? v->n_sessions
                                             : CFS_INFO_SESSIONS;
}

void codec_put_brick(struct cfs_arena *a, const struct cfs_brick *v,
                     Wire__Brick **ret)
{
    Wire__Brick *m = NEW(a, Wire__Brick, wire__brick);

    codec_put_uuid(a, &v->brick, &m->brick);
    m->incarnation = v->incarnation;
    m->clean = v->clean;
    m->poisoned = v->poisoned;
    codec_put_view(a, &v->view, &m->view);
    m->total = v->total;
    m->free = v->free;
    m->inodes = v->inodes;
    m->pos = v->pos;
    m->durable = v->durable;
    m->dirty = v->dirty;
    m->oplog = v->oplog;
    m->n_sessions = v->n_sessions;
    m->n_session = sessions_told(v);
    m->session = cfs_arena_alloc(a, m->n_session * sizeof *m->session);
    for (size_t i = 0; i < m->n_session; i++) {
        codec_put_session(a, &v->session[i], &m->session[i]);
        m->session[i]->has_owner = true;
        put_chars(v->session[i].owner, sizeof v->session[i].owner - 1,
                  &m->session[i]->owner);
    }
    put_chars(v->reason, sizeof v->reason - 1, &m->reason);
    m->session_max = v->session_max;
    m->has_repaired = true;
    m->repaired = v->repaired;
    m->has_stalled = true;
    m->stalled = v->stalled;
    *ret = m;
}

int codec_get_brick(struct codec_in *in, Wire__Brick *const *f,
                    struct cfs_brick *ret)
{
    const Wire__Brick *m = *f;

    memset(ret, 0, sizeof *ret);
    ret->n_sessions = m->n_sessions;
    if (m->clean > 1 || m->repaired > 1 || m->poisoned > 1 ||
        m->stalled > CFS_STALLED_MAX || m->free > m->total ||
        m->n_session != sessions_told(ret))
        return -EBADMSG;
    if (codec_get_uuid(in, &m->brick, &ret->brick) < 0 ||
        codec_get_view(in, &m->view, &ret->view) < 0 ||
        get_chars(&m->reason, ret->reason, sizeof ret->reason) < 0)
        return -EBADMSG;
    for (size_t i = 0; i < m->n_session; i++)
        if (codec_get_session(in, &m->session[i], &ret->session[i]) < 0 ||
            (m->session[i]->has_owner &&
             get_chars(&m->session[i]->owner, ret->session[i].owner,
                       sizeof ret->session[i].owner) < 0))
            return -EBADMSG;
    ret->incarnation = m->incarnation;
    ret->clean = m->clean;
    ret->repaired = m->repaired;
    ret->stalled = m->stalled;
    ret->poisoned = m->poisoned;
    ret->total = m->total;
    ret->free = m->free;
    ret->inodes = m->inodes;
    ret->pos = m->pos;
    ret->durable = m->durable;
    ret->dirty = m->dirty;
    ret->oplog = m->oplog;
    ret->session_max = m->session_max;
    return 0;
}

/* -- changes, programs ---------------------------------------------------- */

void codec_put_change(struct cfs_arena *a, const struct cfs_change *v,
                      Wire__Change **ret)
{
    Wire__Change *m = NEW(a, Wire__Change, wire__change);

    assert(v->n <= CFS_TOUCH_MAX);
    m->session = v->session;
    m->no = v->no;
    m->acked_below = v->acked_below;
    codec_put_time(a, &v->now, &m->now);
    m->n_touch = v->n;
    m->touch = cfs_arena_alloc(a, v->n * sizeof *m->touch);
    for (uint32_t i = 0; i < v->n; i++) {
        const struct cfs_touch *t = &v->touch[i];
        Wire__Touch *mt = NEW(a, Wire__Touch, wire__touch);

        codec_put_gfid(a, &t->gfid, &mt->gfid);
        mt->expect_epoch = t->expect.epoch;
        mt->expect_seq = t->expect.seq;
        mt->make_epoch = t->make.epoch;
        mt->make_seq = t->make.seq;
        m->touch[i] = mt;
    }
    *ret = m;
}

/* A version never falls. */
static int get_touch(struct codec_in *in, const Wire__Touch *m,
                     struct cfs_touch *ret)
{
    if (codec_get_gfid(in, &m->gfid, &ret->gfid) < 0 ||
        cfs_gfid_is_null(ret->gfid))
        return -EBADMSG;
    ret->expect = (struct cfs_version){m->expect_epoch, m->expect_seq};
    ret->make = (struct cfs_version){m->make_epoch, m->make_seq};
    return cfs_version_cmp(ret->make, ret->expect) < 0 ? -EBADMSG : 0;
}

int codec_get_change(struct codec_in *in, Wire__Change *const *f,
                     struct cfs_change *ret)
{
    const Wire__Change *m = *f;

    if (m->n_touch == 0 || m->n_touch > CFS_TOUCH_MAX || m->session == 0 ||
        m->acked_below > m->no)
        return -EBADMSG;
    if (codec_get_time(in, &m->now, &ret->now) < 0)
        return -EBADMSG;
    for (size_t i = 0; i < m->n_touch; i++)
        if (get_touch(in, m->touch[i], &ret->touch[i]) < 0)
            return -EBADMSG;
    ret->session = m->session;
    ret->no = m->no;
    ret->acked_below = m->acked_below;
    ret->n = (uint32_t)m->n_touch;
    return 0;
}

void codec_put_programs(struct cfs_arena *a, const struct mgmt_programs *v,
                        Mgmt__Programs **ret)
{
    Mgmt__Programs *m = NEW(a, Mgmt__Programs, mgmt__programs);

    assert(v->n <= MGMT_PROGRAMS_MAX);
    m->n_p = v->n;
    m->p = cfs_arena_alloc(a, v->n * sizeof *m->p);
    for (uint32_t i = 0; i < v->n; i++) {
        const struct mgmt_program *p = &v->p[i];

        m->p[i] = NEW(a, Mgmt__Program, mgmt__program);
        m->p[i]->number = p->number;
        m->p[i]->version_min = p->version_min;
        m->p[i]->version = p->version;
        put_chars(p->name, sizeof p->name - 1, &m->p[i]->name);
    }
    *ret = m;
}

int codec_get_programs(struct codec_in *in, Mgmt__Programs *const *f,
                       struct mgmt_programs *ret)
{
    const Mgmt__Programs *m = *f;

    if (m->n_p > MGMT_PROGRAMS_MAX)
        return -EBADMSG;
    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < m->n_p; i++) {
        struct mgmt_program *p = &ret->p[i];

        if (m->p[i]->version_min > m->p[i]->version ||
            get_chars(&m->p[i]->name, p->name, sizeof p->name) < 0)
            return -EBADMSG;
        p->number = m->p[i]->number;
        p->version_min = m->p[i]->version_min;
        p->version = m->p[i]->version;
    }
    ret->n = (uint32_t)m->n_p;
    return 0;
}
