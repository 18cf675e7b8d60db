/* SPDX-License-Identifier: Apache-2.0 */
/* sessions_core.c - see sessions_core.h. */
#include "xlators/features/lock-server/sessions_core.h"

#include <stdlib.h>

void ls_sessions_init(struct ls_sessions *t)
{
    cfs_list_init(&t->all);
    t->n = 0;
}

static void drop(struct ls_sessions *t, struct ls_session *e)
{
    cfs_list_del(&e->link);
    t->n--;
    free(e);
}

void ls_sessions_fini(struct ls_sessions *t)
{
    if (!t->all.next)
        return; /* init had not run */
    cfs_list_for_each_safe(it, &t->all)
        drop(t, cfs_list_entry(it, struct ls_session, link));
}

static struct ls_session *find(struct ls_sessions *t, uint32_t no)
{
    cfs_list_for_each(it, &t->all) {
        struct ls_session *e = cfs_list_entry(it, struct ls_session, link);

        if (e->s.no == no)
            return e;
    }
    return NULL;
}

static int put(struct ls_sessions *t, const struct cfs_session *s,
               bool attached, uint64_t until)
{
    struct ls_session *e = find(t, s->no);

    if (!e) {
        e = calloc(1, sizeof *e);
        if (!e)
            return -ENOMEM;
        cfs_list_add_tail(&t->all, &e->link);
        t->n++;
    }
    e->s = *s;
    e->attached = attached;
    e->until = until;
    return 0;
}

/* Text fields come from outside: they must end. */
static bool valid(const struct cfs_session *s)
{
    return memchr(s->node, '\0', sizeof s->node) &&
           memchr(s->service, '\0', sizeof s->service) &&
           memchr(s->where, '\0', sizeof s->where) &&
           memchr(s->owner, '\0', sizeof s->owner) && s->service[0] != '\0';
}

static bool exclusive(const struct cfs_session *s)
{
    return strcmp(s->service, "mount") == 0;
}

static bool same_process(const struct cfs_session *a,
                         const struct cfs_session *b)
{
    return a->pid == b->pid && a->pid_start == b->pid_start &&
           cfs_uuid_eq(a->boot, b->boot);
}

/* What a client says of its process others can say, too; who it is, it has
 * proved. */
static bool same_owner(const struct cfs_session *a,
                       const struct cfs_session *b)
{
    return strcmp(a->owner, b->owner) == 0;
}

static bool same_opener(const struct cfs_session *a,
                        const struct cfs_session *b)
{
    return same_process(a, b) && same_owner(a, b);
}

static int check_view(const struct cfs_brick *info, uint64_t epoch,
                      bool as_master)
{
    const struct cfs_view *v = &info->view;
    unsigned n = as_master ? 1 : v->n_sync + v->n_syncing;

    if (v->epoch == 0 || v->epoch != epoch)
        return -CFS_E_EPOCH;
    for (unsigned i = 0; i < n && i < CFS_SET_MAX; i++)
        if (cfs_uuid_eq(v->m[i].brick, info->brick) &&
            v->m[i].incarnation == info->incarnation)
            return 0;
    return -CFS_E_NOT_MEMBER;
}

/* The session, other than number @no, that keeps @who out. The brick lists
 * the live ones, and those that are fenced and not closed yet (members may
 * differ in what these changed last), as many as fit; those attached since
 * its start, and the reserved, are here. */
static const struct cfs_session *holder(struct ls_sessions *t,
                                        const struct cfs_brick *info,
                                        const struct cfs_session *who,
                                        uint32_t no, uint64_t now)
{
    if (!exclusive(who))
        return NULL;
    for (unsigned i = 0; i < info->n_sessions && i < CFS_INFO_SESSIONS; i++) {
        const struct cfs_session *s = &info->session[i];

        if (s->no != no && s->state != CFS_SESSION_CLOSED && exclusive(s))
            return s;
    }
    cfs_list_for_each_safe(it, &t->all) {
        struct ls_session *e = cfs_list_entry(it, struct ls_session, link);

        if (!e->attached && now >= e->until)
            drop(t, e);
        else if (e->s.no != no && exclusive(&e->s) &&
                 (e->attached || !same_opener(&e->s, who)))
            return &e->s;
    }
    return NULL;
}

int ls_may_open(struct ls_sessions *t, const struct cfs_brick *info,
                uint64_t epoch, const struct cfs_session *who, uint64_t now,
                struct cfs_session *ret_holder)
{
    const struct cfs_session *h;
    int rc;

    if (!valid(who))
        return -EINVAL;
    rc = check_view(info, epoch, true);
    if (rc < 0)
        return rc;
    h = holder(t, info, who, 0, now);
    if (!h)
        return 0;
    *ret_holder = *h;
    return -CFS_E_IN_USE;
}

/* What this process had reserved before is given up: the answer was lost, or
 * the view changed meanwhile. */
int ls_opened(struct ls_sessions *t, const struct cfs_session *s, uint64_t now)
{
    cfs_list_for_each_safe(it, &t->all) {
        struct ls_session *e = cfs_list_entry(it, struct ls_session, link);

        if (!e->attached && same_opener(&e->s, s) &&
            strcmp(e->s.service, s->service) == 0)
            drop(t, e);
    }
    return put(t, s, false, now + LS_RESERVED);
}

int ls_may_attach(struct ls_sessions *t, const struct cfs_brick *info,
                  uint64_t epoch, const struct cfs_session *s, uint64_t now)
{
    const struct ls_session *e;
    int rc;

    if (!valid(s) || s->no == 0)
        return -EINVAL;
    rc = check_view(info, epoch, false);
    if (rc < 0)
        return rc;
    e = find(t, s->no);
    if (e && !same_process(&e->s, s))
        return -CFS_E_SESSION;
    if (e && !same_owner(&e->s, s))
        return -EACCES;
    return holder(t, info, s, s->no, now) ? -CFS_E_IN_USE : 0;
}

int ls_attached(struct ls_sessions *t, const struct cfs_session *s)
{
    return put(t, s, true, 0);
}

void ls_gone(struct ls_sessions *t, uint32_t no)
{
    struct ls_session *e = find(t, no);

    if (e)
        drop(t, e);
}
