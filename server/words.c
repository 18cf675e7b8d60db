/* SPDX-License-Identifier: Apache-2.0 */
/* words.c - records of the tree in words; see words.h. */
#include "server/words.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "rpc/fop_codec.h"

#define TABLES(TABLE)                                                        \
    TABLE(ANSWER, "answer")                                                  \
    TABLE(BRICK, "brick")                                                    \
    TABLE(COOKIE, "cookie")                                                  \
    TABLE(DIRTY, "dirty")                                                    \
    TABLE(DIRENT, "entry")                                                   \
    TABLE(SMALL, "small")                                                    \
    TABLE(INODE, "inode")                                                    \
    TABLE(CHUNK, "chunk")                                                    \
    TABLE(ORPHAN, "orphan")                                                  \
    TABLE(OPLOG, "oplog")                                                    \
    TABLE(REMOVAL, "removal")                                                \
    TABLE(SESSION, "session")                                                \
    TABLE(TOMB, "tombstone")                                                 \
    TABLE(VIEW, "view")                                                      \
    TABLE(XATTR, "xattr")

#define TABLE_CODE(code, name) REC_##code,
#define TABLE_NAME(code, name) name,
static const uint8_t tables[] = {TABLES(TABLE_CODE)};
const char *const words_tables[] = {TABLES(TABLE_NAME) NULL};

const char *words_table(enum rec_table t)
{
    for (size_t i = 0; i < CFS_ARRAY_SIZE(tables); i++)
        if (tables[i] == t)
            return words_tables[i];
    return "unknown";
}

uint8_t words_table_parse(const char *name)
{
    for (size_t i = 0; i < CFS_ARRAY_SIZE(tables); i++)
        if (strcmp(words_tables[i], name) == 0)
            return tables[i];
    return 0;
}

char *words_bound(struct cfs_blob key)
{
    const uint8_t *b = key.p;
    char gfid[CFS_UUID_STR], *rest, *all;
    struct cfs_gfid g;

    if (key.len == 0)
        return tool_format("the end");
    if (key.len < 1 + sizeof g) {
        rest = tool_escape(b + 1, key.len - 1);
        all = tool_format("%s %s", words_table(b[0]), rest);
    } else {
        memcpy(&g, b + 1, sizeof g);
        cfs_gfid_print(g, gfid);
        rest = tool_escape(b + 1 + sizeof g, key.len - 1 - sizeof g);
        all = tool_format("%s %s%s%s", words_table(b[0]), gfid,
                          *rest ? " " : "", rest);
    }
    free(rest);
    return all;
}

/* -- parts ---------------------------------------------------------------- */

static void put_gfid(FILE *out, struct cfs_gfid g)
{
    char text[CFS_UUID_STR];

    cfs_gfid_print(g, text);
    fputs(text, out);
}

static void put_version(FILE *out, const char *name, struct cfs_version v)
{
    fprintf(out, " %s %" PRIu64 ".%" PRIu64, name, v.epoch, v.seq);
}

static void put_time(FILE *out, const char *name, struct cfs_time t)
{
    char text[TOOL_TIME_STR];

    fprintf(out, " %s %s", name, tool_time(t, text));
}

static void put_bytes(FILE *out, struct cfs_blob b)
{
    fprintf(out, " %u bytes \"", b.len);
    tool_put_escaped(out, b.p, b.len);
    putc('"', out);
}

static void put_name(FILE *out, struct cfs_name n)
{
    fputs(" \"", out);
    tool_put_escaped(out, n.s, n.len);
    putc('"', out);
}

/* -- values: 0, or -CFS_E_CORRUPT with nothing printed -------------------- */

static int put_inode(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    struct rec_inode i;

    if (rec_inode_unpack(v, &i) < 0)
        return -CFS_E_CORRUPT;
    fprintf(out, ": %s mode %04o uid %" PRIu32 " gid %" PRIu32 " nlink %"
            PRIu32 " size %" PRIu64, tool_type(i.mode), i.mode & 07777, i.uid,
            i.gid, i.nlink, i.size);
    put_version(out, "version", i.version);
    put_time(out, "atime", i.atime);
    put_time(out, "mtime", i.mtime);
    put_time(out, "ctime", i.ctime);
    put_time(out, "btime", i.btime);
    if (i.dirty)
        fprintf(out, " dirty by session %" PRIu32, i.dirty);
    if (i.n_xattr)
        fprintf(out, " xattrs %u", i.n_xattr);
    if (S_ISREG(i.mode))
        fprintf(out, " blocks %" PRIu64 " marks %" PRIu32 "%s%s", i.blocks,
                i.marks, i.flags & REC_INLINE ? " inline" : "",
                i.flags & REC_LOST ? " not-saved-as-a-whole" : "");
    if (S_ISCHR(i.mode) || S_ISBLK(i.mode))
        fprintf(out, " rdev %u:%u", major((dev_t)i.rdev),
                minor((dev_t)i.rdev));
    if (S_ISDIR(i.mode)) {
        fprintf(out, " entries %" PRIu64 " parent ", i.entries);
        put_gfid(out, i.parent);
    }
    return 0;
}

static int put_dirent(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    struct rec_dirent d;

    if (rec_dirent_unpack(v, &d) < 0)
        return -CFS_E_CORRUPT;
    fprintf(out, ": %s ", tool_type(d.type));
    put_gfid(out, d.child);
    fprintf(out, " cookie %" PRIu64, d.cookie);
    return 0;
}

static int put_cookie(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    struct rec_cookie c;

    if (rec_cookie_unpack(v, &c) < 0)
        return -CFS_E_CORRUPT;
    putc(':', out);
    put_name(out, c.name);
    fprintf(out, " %s ", tool_type(c.type));
    put_gfid(out, c.child);
    return 0;
}

/* Blocks that lie behind one another, all written or all not. */
static unsigned put_run(FILE *out, const struct rec_chunk *c, unsigned at)
{
    const bool unwritten = c->unwritten >> at & 1;
    const uint32_t plain = c->mapped & ~c->packed;
    unsigned n = 1;

    while (at + n < CHUNK_BLOCKS && (plain >> (at + n) & 1) &&
           (c->unwritten >> (at + n) & 1) == unwritten &&
           c->lba[at + n] == c->lba[at] + n)
        n++;
    fprintf(out, " [%u+%u at %" PRIu64 "%s", at, n, c->lba[at],
            unwritten ? " unwritten" : "");
    for (unsigned i = at; i < at + n && !unwritten; i++)
        fprintf(out, " %016" PRIx64, c->sum[i]);
    putc(']', out);
    return n;
}

/* Numbers of the blocks in @mask, as ranges. */
static void put_blocks(FILE *out, uint32_t mask)
{
    const char *sep = "";

    for (unsigned i = 0, n; i < CHUNK_BLOCKS; i += n) {
        n = 1;
        if (!(mask >> i & 1))
            continue;
        while (i + n < CHUNK_BLOCKS && (mask >> (i + n) & 1))
            n++;
        fprintf(out, "%s%u+%u", sep, i, n);
        sep = ",";
    }
}

static void put_pack(FILE *out, const struct rec_chunk *c,
                     const struct rec_pack *p)
{
    fputs(" [packed ", out);
    put_blocks(out, p->live);
    fputs(" of ", out);
    put_blocks(out, p->held);
    fprintf(out, " in %" PRIu32 " at %" PRIu64 " bytes %" PRIu32 " %016" PRIx64
            ":", rec_pack_blocks(p), p->lba, p->len, p->sum);
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        if (p->live >> i & 1)
            fprintf(out, " %016" PRIx64, c->sum[i]);
    for (unsigned i = 0; i < c->n_hole; i++)
        if (p->live >> c->hole[i].at & 1)
            fprintf(out, ", in %u zeros from %u to %u", c->hole[i].at,
                    c->hole[i].from, c->hole[i].upto);
    putc(']', out);
}

static int put_chunk(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    struct rec_chunk c;

    if (rec_chunk_unpack(v, &c) < 0)
        return -CFS_E_CORRUPT;
    fputs(": blocks", out);
    for (unsigned i = 0; i < CHUNK_BLOCKS;)
        i += (c.mapped & ~c.packed) >> i & 1 ? put_run(out, &c, i) : 1;
    for (unsigned i = 0; i < c.n_pack; i++)
        put_pack(out, &c, &c.pack[i]);
    return 0;
}

static int put_removal(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    uint64_t start;

    if (rec_removal_unpack(v, &start) < 0)
        return -CFS_E_CORRUPT;
    fprintf(out, ": chunks from %" PRIu64 " on are removed", start);
    return 0;
}

static int put_dirty(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    struct rec_dirty d;

    if (rec_dirty_unpack(v, &d) < 0)
        return -CFS_E_CORRUPT;
    fprintf(out, ": by session %" PRIu32, d.session);
    put_version(out, "since", d.clean);
    return 0;
}

static int put_tomb(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    struct cfs_version t;

    if (rec_tomb_unpack(v, &t) < 0)
        return -CFS_E_CORRUPT;
    put_version(out, ": removed at", t);
    return 0;
}

static int put_orphan(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    uint32_t session;

    if (rec_orphan_unpack(v, &session) < 0)
        return -CFS_E_CORRUPT;
    fprintf(out, ": of session %" PRIu32, session);
    return 0;
}

static int put_view(FILE *out, const struct rec_id *id, struct cfs_blob b)
{
    char text[CFS_UUID_STR];
    struct cfs_view v;

    if (rec_view_unpack(b, &v) < 0)
        return -CFS_E_CORRUPT;
    cfs_uuid_print(v.set, text);
    fprintf(out, ": set %s", text);
    cfs_uuid_print(v.id, text);
    fprintf(out, " id %s", text);
    for (uint32_t i = 0; i < v.n_sync + v.n_syncing; i++) {
        cfs_uuid_print(v.m[i].brick, text);
        fprintf(out, "%s %s incarnation %" PRIu64,
                i == 0          ? " in sync:"
                : i == v.n_sync ? " syncing:"
                                : "",
                text, v.m[i].incarnation);
    }
    return 0;
}

static const char *session_state(uint32_t state)
{
    switch (state) {
    case CFS_SESSION_LIVE:
        return "live";
    case CFS_SESSION_CLOSED:
        return "closed";
    case CFS_SESSION_FENCED:
        return "fenced";
    default:
        return "given";
    }
}

static int put_session(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    char boot[CFS_UUID_STR];
    struct rec_session s;

    if (rec_session_unpack(v, id->session, &s) < 0)
        return -CFS_E_CORRUPT;
    cfs_uuid_print(s.s.boot, boot);
    fprintf(out, ": %s node ", session_state(s.s.state));
    tool_put_escaped(out, s.s.node, strlen(s.s.node));
    fputs(" service ", out);
    tool_put_escaped(out, s.s.service, strlen(s.s.service));
    fprintf(out, " pid %" PRIu32 " started %" PRIu64 " boot %s dead %" PRIu32
            " ms acked below %" PRIu64 " at \"", s.s.pid, s.s.pid_start, boot,
            s.s.dead_ms, s.acked);
    tool_put_escaped(out, s.s.where, strlen(s.s.where));
    putc('"', out);
    if (s.s.owner[0] != '\0') {
        fputs(" of ", out);
        tool_put_escaped(out, s.s.owner, strlen(s.s.owner));
    }
    return 0;
}

static int put_answer(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    struct rec_answer a;

    if (rec_answer_unpack(v, &a) < 0)
        return -CFS_E_CORRUPT;
    fprintf(out, ": %s: %s, at %" PRIu64, cfs_fop_name(a.fop),
            a.status ? cfs_err_str(a.status) : "done", a.pos);
    if (a.copied)
        fprintf(out, " copied %" PRIu32, a.copied);
    for (unsigned i = 0; i < a.n; i++) {
        if (cfs_gfid_is_null(a.attr[i].gfid))
            continue;
        putc(' ', out);
        put_gfid(out, a.attr[i].gfid);
        put_version(out, "version", a.attr[i].version);
    }
    return 0;
}

static int put_brick(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    struct rec_brick b;

    if (rec_brick_unpack(v, &b) < 0)
        return -CFS_E_CORRUPT;
    fprintf(out, ": inodes %" PRIu64 " dirty %" PRIu64 " oplog %" PRIu64
            " highest session %" PRIu32 "%s", b.inodes, b.dirty, b.oplog,
            b.session_max, b.clean ? " clean" : "");
    return 0;
}

/* What the operation log keeps is a request, as the journal has it. */
static int put_oplog(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    struct cfs_call call = {0};
    struct cfs_blob request;
    struct cfs_req *req;
    enum cfs_fop fop;
    int rc;

    if (rec_oplog_unpack(v, &fop, &request) < 0)
        return -CFS_E_CORRUPT;
    cfs_arena_init(&call.arena);
    rc = cfs_fop_unpack(&call, fop, request, (struct cfs_buf){0}, &req);
    if (rc == 0) {
        fputs(": ", out);
        words_request(out, req);
    }
    cfs_arena_fini(&call.arena);
    return rc < 0 ? -CFS_E_CORRUPT : 0;
}

/* -- whole records -------------------------------------------------------- */

static void put_key(FILE *out, const struct rec_id *id)
{
    fputs(words_table(id->table), out);
    switch (id->table) {
    case REC_BRICK:
        return;
    case REC_VIEW:
        fprintf(out, " lineage %" PRIu64 " epoch %" PRIu64, id->lineage,
                id->n);
        return;
    case REC_SESSION:
        fprintf(out, " %" PRIu32, id->session);
        return;
    case REC_ANSWER:
    case REC_OPLOG:
        fprintf(out, " session %" PRIu32 " change %" PRIu64, id->session,
                id->n);
        return;
    default:
        putc(' ', out);
        put_gfid(out, id->gfid);
    }
    if (id->table == REC_DIRENT || id->table == REC_XATTR)
        put_name(out, id->name);
    else if (id->table == REC_REMOVAL && id->n == END_XATTRS)
        fputs(" to the last, and extended attributes", out);
    else if (id->table == REC_REMOVAL)
        fprintf(out, " to chunk %" PRIu64, id->n);
    else if (id->table == REC_COOKIE || id->table == REC_CHUNK)
        fprintf(out, " %" PRIu64, id->n);
}

static int put_value(FILE *out, const struct rec_id *id, struct cfs_blob v)
{
    switch (id->table) {
    case REC_ANSWER:
        return put_answer(out, id, v);
    case REC_BRICK:
        return put_brick(out, id, v);
    case REC_COOKIE:
        return put_cookie(out, id, v);
    case REC_DIRTY:
        return put_dirty(out, id, v);
    case REC_DIRENT:
        return put_dirent(out, id, v);
    case REC_INODE:
        return put_inode(out, id, v);
    case REC_CHUNK:
        return put_chunk(out, id, v);
    case REC_ORPHAN:
        return put_orphan(out, id, v);
    case REC_OPLOG:
        return put_oplog(out, id, v);
    case REC_REMOVAL:
        return put_removal(out, id, v);
    case REC_SESSION:
        return put_session(out, id, v);
    case REC_TOMB:
        return put_tomb(out, id, v);
    case REC_VIEW:
        return put_view(out, id, v);
    case REC_SMALL:
    case REC_XATTR:
        putc(':', out);
        put_bytes(out, v);
        return 0;
    }
    return -CFS_E_CORRUPT;
}

void words_record(FILE *out, struct cfs_blob key, struct cfs_blob value)
{
    struct rec_id id;

    if (rec_key_parse(key, &id) < 0) {
        fputs("unknown key \"", out);
        tool_put_escaped(out, key.p, key.len);
        fputs("\":", out);
        put_bytes(out, value);
        putc('\n', out);
        return;
    }
    put_key(out, &id);
    if (put_value(out, &id, value) < 0) {
        fputs(": damaged,", out);
        put_bytes(out, value);
    }
    putc('\n', out);
}
