/* SPDX-License-Identifier: Apache-2.0 */
/* words_journal.c - requests, and records of the journal, in words. */
#include <inttypes.h>

#include "rpc/fop_codec.h"
#include "server/words.h"
#include "xlators/storage/block/jrec.h"

/* -- a request's inputs, by their types in fops.def ----------------------- */

static void word_gfid(FILE *out, const char *name, const struct cfs_gfid *g)
{
    char text[CFS_UUID_STR];

    cfs_gfid_print(*g, text);
    fprintf(out, " %s %s", name, text);
}

static void word_name(FILE *out, const char *name, const struct cfs_name *n)
{
    fprintf(out, " %s \"", name);
    tool_put_escaped(out, n->s, n->len);
    putc('"', out);
}

static void word_blob(FILE *out, const char *name, const struct cfs_blob *b)
{
    fprintf(out, " %s %u bytes", name, b->len);
}

static void word_buf(FILE *out, const char *name, const struct cfs_buf *b)
{
    fprintf(out, " %s %u bytes", name, b->len);
}

static void word_time(FILE *out, const char *name, const struct cfs_time *t)
{
    char text[TOOL_TIME_STR];

    fprintf(out, " %s %s", name, tool_time(*t, text));
}

static void word_u32(FILE *out, const char *name, const uint32_t *v)
{
    const bool is_mode = strcmp(name, "mode") == 0;

    fprintf(out, is_mode ? " %s %" PRIo32 : " %s %" PRIu32, name, *v);
}

static void word_u64(FILE *out, const char *name, const uint64_t *v)
{
    fprintf(out, " %s %" PRIu64, name, *v);
}

static void word_session(FILE *out, const char *name,
                         const struct cfs_session *s)
{
    fprintf(out, " %s %" PRIu32, name, s->no);
}

static void word_view(FILE *out, const char *name, const struct cfs_view *v)
{
    fprintf(out, " %s epoch %" PRIu64, name, v->epoch);
}

#define A(type, name) word_##type(out, #name, &op->name);
#define FOP(lower, UPPER, class, in, outputs)                                \
    static void words_##lower(FILE *out, const struct cfs_req *req)          \
    {                                                                        \
        const struct cfs_##lower *op = (const struct cfs_##lower *)req;      \
                                                                             \
        (void)op;                                                            \
        in                                                                   \
    }
#include "core/fops.def"
#undef FOP
#undef A

static void (*const words_of[CFS_FOP_N])(FILE *, const struct cfs_req *) = {
#define FOP(lower, UPPER, class, in, outputs) [CFS_FOP_##UPPER] = words_##lower,
#include "core/fops.def"
#undef FOP
};

static void put_change(FILE *out, const struct cfs_change *c)
{
    char gfid[CFS_UUID_STR];

    fprintf(out, " session %" PRIu32 " change %" PRIu64, c->session, c->no);
    word_time(out, "now", &c->now);
    for (uint32_t i = 0; i < c->n; i++) {
        cfs_gfid_print(c->touch[i].gfid, gfid);
        fprintf(out, " touch %s %" PRIu64 ".%" PRIu64 " to %" PRIu64 ".%"
                PRIu64, gfid, c->touch[i].expect.epoch,
                c->touch[i].expect.seq, c->touch[i].make.epoch,
                c->touch[i].make.seq);
    }
}

void words_request(FILE *out, const struct cfs_req *req)
{
    fprintf(out, "%s epoch %" PRIu64, cfs_fop_name(req->fop), req->epoch);
    if (req->change)
        put_change(out, req->change);
    words_of[req->fop](out, req);
}

/* -- the journal ---------------------------------------------------------- */

static void put_packs(FILE *out, const struct jrec_change *c)
{
    struct jrec_pack p[JREC_PACKS];

    jrec_packs_unpack(c, p);
    for (unsigned i = 0; i < c->n_pack; i++)
        fprintf(out, " packed %" PRIu64 "+%u bytes %" PRIu32, p[i].block,
                p[i].n, p[i].len);
}

static int put_client_change(FILE *out, struct cfs_loop *loop,
                             struct cfs_blob body)
{
    struct cfs_call call = {.loop = loop};
    struct cfs_buf payload = {0};
    struct jrec_change c;
    struct cfs_req *req;
    uint8_t nothing = 0; /* where bytes lie that nobody looks at */
    int rc;

    if (jrec_change_unpack(body, &c) < 0)
        return -CFS_E_CORRUPT;
    if (c.data_len > 0)
        payload = (struct cfs_buf){.data = &nothing, .len = c.data_len};
    cfs_arena_init(&call.arena);
    rc = cfs_fop_unpack(&call, c.fop, c.request, payload, &req);
    if (rc == 0) {
        words_request(out, req);
        if (c.how & JREC_INLINE)
            fprintf(out, " inline %u bytes", c.bytes.len);
        if (c.how & JREC_MARK)
            fprintf(out, " cut %" PRIu64 " blocks", c.cut);
        for (unsigned i = 0; i < c.n_seg; i++)
            fprintf(out, " blocks %" PRIu64 "+%" PRIu32, c.seg[i].block,
                    c.seg[i].n);
        put_packs(out, &c);
    }
    cfs_arena_fini(&call.arena);
    return rc < 0 ? -CFS_E_CORRUPT : 0;
}

/* The record of the tree that a record of the journal puts. */
static void put_as_record(FILE *out, const struct rec_key *k,
                          const uint8_t *v, uint32_t len)
{
    words_record(out, rec_key_blob(k), (struct cfs_blob){v, len});
}

static void put_own(FILE *out, enum jrec_type type, const struct jrec_own *o)
{
    uint8_t v[REC_SESSION_MAX + REC_VIEW_MAX];
    struct rec_key k;

    switch (type) {
    case JREC_GENESIS:
        fputs("genesis", out);
        word_time(out, "now", &o->now);
        break;
    case JREC_CLEAN:
        fputs("stopped cleanly", out);
        break;
    case JREC_VIEW:
        rec_key_view(&k, o->view.lineage, o->view.epoch);
        put_as_record(out, &k, v, rec_view_pack(&o->view, v));
        return;
    case JREC_SESSION:
        rec_key_session(&k, o->session.s.no);
        put_as_record(out, &k, v, rec_session_pack(&o->session, v));
        return;
    case JREC_CLEAR:
        fprintf(out, "clear session %" PRIu32 " below %" PRIu64 ", %u inodes",
                o->session.s.no, o->n, o->inodes.len / 32);
        break;
    case JREC_PURGE:
        fputs("purge", out);
        word_gfid(out, "orphan", &o->gfid);
        fprintf(out, " at %" PRIu64 ".%" PRIu64, o->version.epoch,
                o->version.seq);
        break;
    case JREC_REMOVE:
        fputs("remove", out);
        word_gfid(out, "of", &o->gfid);
        fprintf(out, " mark to %" PRIu64 ", chunks before %" PRIu64, o->n,
                o->upto);
        break;
    case JREC_CHANGE:
        break;
    }
    putc('\n', out);
}

void words_journal(FILE *out, struct cfs_loop *loop,
                   const struct eng_rec *rec)
{
    const enum jrec_type type = (enum jrec_type)rec->type;
    struct jrec_own own;

    fprintf(out, "%" PRIu64 ": ", rec->pos);
    if (type != JREC_CHANGE && jrec_own_unpack(type, rec->body, &own) == 0) {
        put_own(out, type, &own);
        return;
    }
    if (type != JREC_CHANGE || put_client_change(out, loop, rec->body) < 0)
        fprintf(out, "damaged, type %u, %u bytes", rec->type, rec->body.len);
    for (unsigned i = 0; i < rec->n_ext; i++)
        fprintf(out, " [%" PRIu32 " at %" PRIu64 "]", rec->ext[i].n,
                rec->ext[i].lba);
    putc('\n', out);
}
