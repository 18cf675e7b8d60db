/* SPDX-License-Identifier: Apache-2.0 */
/* read_core.c - which member serves a read, and who next when that one cannot.
 * No I/O; see replicate_core.h.
 *
 *   no answer (lost, other view)    the next attached in-sync member; when
 *                                   none is left, wait for the set
 *   no use (checksum, -EIO, ...)    the next; when all have said so, that is
 *                                   the result
 *   not at that version             the next; when all have said so, what
 *                                   this session knew is gone: read what is
 *   anything else                   the result
 */
#include "xlators/cluster/replicate/replicate_int.h"

static bool of_no_use(int status)
{
    switch (status) {
    case -EIO:
    case -CFS_E_CHECKSUM:
    case -CFS_E_CORRUPT:
    case -CFS_E_POISONED:
    case -CFS_E_BEHIND:
    case -CFS_E_VERSION:
    case -EBADMSG:
        return true;
    default:
        return false;
    }
}

/* The next member to ask, or c->n. */
static unsigned pick(const struct rep_core *c, const struct rep_read *rd)
{
    unsigned first = c->spread ? rd->subject.b[15] % c->n : 0;

    for (unsigned k = 0; k < c->n; k++) {
        unsigned i = (first + k) % c->n;

        if (c->m[i].in_sync && rep_ready(c, i) && !(rd->failed >> i & 1))
            return i;
    }
    return c->n;
}

static bool all_failed(const struct rep_core *c, const struct rep_read *rd)
{
    unsigned asked = 0;

    for (unsigned i = 0; i < c->n; i++) {
        if (!c->m[i].in_sync)
            continue;
        if (!(rd->failed >> i & 1))
            return false;
        asked++;
    }
    return asked > 0;
}

static void end(struct rep_core *c, struct rep_read *rd, int status)
{
    cfs_list_del(&rd->link);
    cfs_list_del(&rd->waiting);
    assert(c->n_reads > 0);
    c->n_reads--;
    c->io->read_end(c, rd, status);
    rep_check_idle(c);
}

static void wait_for_set(struct rep_core *c, struct rep_read *rd)
{
    if (rd->since == 0)
        rd->since = rep_wait_since(c, rd->started);
    cfs_list_del(&rd->waiting);
    cfs_list_add_tail(&c->reads_waiting, &rd->waiting);
    rep_due(c, rd->since + c->wait);
    rep_want_view(c);
}

static void relax(struct rep_core *c, struct rep_read *rd)
{
    rep_note(c, CFS_LOG_WARNING, "no member has an inode at the version that "
             "this session knew: acknowledged changes are gone");
    rep_versions_forget(c->versions, rd->subject);
    rd->want = (struct cfs_version){0};
    rd->relaxed = true;
    rd->stale = false;
    rd->failed = 0;
    rd->worst = 0;
}

static void advance(struct rep_core *c, struct rep_read *rd)
{
    unsigned m = pick(c, rd);

    if (m == c->n && all_failed(c, rd)) {
        if (!rd->stale || rd->relaxed) {
            end(c, rd, rd->worst);
            return;
        }
        relax(c, rd);
        m = pick(c, rd);
    }
    if (m == c->n) {
        wait_for_set(c, rd);
        return;
    }
    rd->member = m;
    rd->gen = c->m[m].gen;
    c->io->read(c, rd, m);
}

void rep_read_start(struct rep_core *c, struct rep_read *rd, uint64_t now)
{
    c->now = now;
    rd->started = now;
    cfs_list_init(&rd->waiting);
    cfs_list_add_tail(&c->reads, &rd->link);
    c->n_reads++;
    advance(c, rd);
}

void rep_read_answered(struct rep_core *c, struct rep_read *rd, int status,
                       uint64_t now)
{
    c->now = now;
    if (rep_not_an_answer(status)) {
        rep_doubt(c, rd->member, rd->gen, status);
    } else if (of_no_use(status)) {
        rd->failed |= 1u << rd->member;
        if (status == -CFS_E_VERSION)
            rd->stale = true;
        if (rd->worst == 0)
            rd->worst = status;
    } else {
        end(c, rd, status);
        return;
    }
    advance(c, rd);
}

void rep_reads_drive(struct rep_core *c)
{
    struct cfs_list todo;
    struct cfs_list *it;

    cfs_list_init(&todo);
    cfs_list_splice(&todo, &c->reads_waiting);
    while ((it = cfs_list_pop(&todo)) != NULL) {
        advance(c, cfs_list_entry(it, struct rep_read, waiting));
    }
}

void rep_reads_expire(struct rep_core *c)
{
    cfs_list_for_each_safe(it, &c->reads_waiting) {
        struct rep_read *rd = cfs_list_entry(it, struct rep_read, waiting);

        if (c->now >= rd->since + c->wait)
            end(c, rd, rd->worst ? rd->worst : -ENOTCONN);
        else
            rep_due(c, rd->since + c->wait);
    }
}
