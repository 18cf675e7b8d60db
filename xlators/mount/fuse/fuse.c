/* SPDX-License-Identifier: Apache-2.0 */
/* fuse.c - mount/fuse, the top of a client's graph: a mounted file system
 * whose requests are wound into the graph below.
 *
 * Beginning  init mounts, but reads nothing, so that early callers wait. At
 *            the first CHILD_UP the root is read; once that works the device
 *            is served, INIT answered, and CHILD_UP goes up.
 * End        the device says ENODEV when the last user of an unmounted file
 *            system has gone: then, with the last call, CHILD_DOWN (-ENODEV)
 *            goes up. PARENT_DOWN unmounts; whoever still uses the mount is
 *            given grace, then cut off. PARENT_DOWN goes on downward only when
 *            no call is left, so that the session is closed behind the last
 *            change.
 */
#include "xlators/mount/fuse/fm.h"

#include <stdlib.h>
#include <unistd.h>

#define PROBE_AGAIN_NS (200 * CFS_MS)

/* -- the root, read once before anything is served ------------------------- */

struct probe {
    struct fm_op       op;
    struct cfs_getattr w;
};

static void probe_done(struct cfs_getattr *w, int status)
{
    struct probe *p = container_of(w, struct probe, w);
    struct fm *fm = p->op.fm;
    struct cfs_err err = {0};

    if (fm->state != FM_PROBING)
        goto end;
    if (status == 0 && !S_ISDIR(w->attr.mode))
        status = -ENOTDIR;
    if (status < 0) {
        cfs_log_warning(fm->xl->log, fm->xl->name,
                        "the root directory cannot be read: %s; trying again",
                        cfs_err_str(status));
        fm->state = FM_MOUNTED;
        cfs_timer_start(&fm->probe_timer, PROBE_AGAIN_NS);
        goto end;
    }
    fm->state = FM_SERVING;
    if (fm_dev_serve(fm, &err) < 0) {
        cfs_log_error(fm->xl->log, fm->xl->name, "%s", err.text);
        fm_device_gone(fm);
    }
end:
    fm_op_end(&p->op);
}

void fm_probe_root(struct fm *fm)
{
    struct probe *p;

    if (fm->state != FM_MOUNTED || fm->down)
        return;
    fm->state = FM_PROBING;
    p = FM_OP_NEW(fm, NULL, probe);
    p->w.req.call = p->op.call;
    p->w.gfid = cfs_gfid_root;
    cfs_wind_getattr(fm->child, &p->w, probe_done);
}

static void probe_again(struct cfs_timer *t)
{
    fm_probe_root(container_of(t, struct fm, probe_timer));
}

/* -- INIT is answered ------------------------------------------------------ */

static void settle_work(struct cfs_job *j)
{
    struct fm *fm = container_of(j, struct fm, settle);

    fm_read_ahead_set(fm);
    if (fm->utab) {
        fm->in_utab = true; /* read by fini, behind settle_done */
        fm_utab_add(fm);
    }
}

static void settle_done(struct cfs_job *j)
{
    struct fm *fm = container_of(j, struct fm, settle);

    fm->settling = false;
    if (fm->state == FM_SERVING && !fm->ready) {
        fm->ready = true;
        cfs_log_info(fm->xl->log, fm->xl->name, "%s serves", fm->mountpoint);
        cfs_notify_up(fm->xl, (struct cfs_event){.type = CFS_EV_CHILD_UP});
    }
    fm_maybe_finish(fm);
}

void fm_started(struct fm *fm)
{
    fm->settling = true;
    cfs_job_run(fm->xl->loop, &fm->settle, settle_work, settle_done);
}

/* -- the end --------------------------------------------------------------- */

static void finish(struct cfs_task *t)
{
    struct fm *fm = container_of(t, struct fm, finish);
    struct cfs_xl *xl = fm->xl;

    if (fm->state != FM_GONE || fm->settling || fm->umount.running)
        return;
    /* Requests that are still to be answered need the session. */
    if (fm->se != NULL && fm->calls > 0)
        return;
    fm_dev_close(fm);
    if (!fm->told) {
        struct cfs_err err = {0};

        fm->told = true;
        cfs_err_set(&err, -ENODEV, "%s is not mounted any more",
                    fm->mountpoint);
        cfs_notify_up(xl, (struct cfs_event){.type = CFS_EV_CHILD_DOWN,
                                             .err = &err});
    }
    if (fm->down && fm->held && fm->calls == 0) {
        fm->held = false;
        cfs_notify_down(xl, (struct cfs_event){.type = CFS_EV_PARENT_DOWN});
        cfs_graph_release(xl->graph);
    }
}

void fm_maybe_finish(struct fm *fm)
{
    if (fm->state == FM_GONE)
        cfs_task_post(fm->xl->loop, &fm->finish);
}

void fm_device_gone(struct fm *fm)
{
    if (fm->state == FM_GONE)
        return;
    fm->state = FM_GONE;
    fm_dev_stop(fm);
    cfs_timer_stop(&fm->probe_timer);
    cfs_timer_stop(&fm->umount.timer);
    fm_maybe_finish(fm);
}

/* -- PARENT_DOWN: unmount -------------------------------------------------- */

static void umount_work(struct cfs_job *j)
{
    struct fm *fm = container_of(j, struct fm, umount.job);
    struct fm_umount *u = &fm->umount;

    u->status = fm_umount_now(fm, u->lazy, &u->busy);
}

static void umount_done(struct cfs_job *j)
{
    struct fm *fm = container_of(j, struct fm, umount.job);
    struct fm_umount *u = &fm->umount;

    u->running = false;
    if (u->status == 0)
        fm->mounted = false;
    else if (fm->state != FM_GONE)
        cfs_log_warning(fm->xl->log, fm->xl->name, "unmounting %s: %s",
                        fm->mountpoint, cfs_err_str(u->status));
    if (fm->state != FM_SERVING) {
        /* Who waits for a mount that never served gets an error now. */
        fm_device_gone(fm);
    } else if (fm->grace_ms == 0) {
        fm_device_gone(fm);
    } else {
        if (u->busy)
            cfs_log_info(fm->xl->log, fm->xl->name,
                         "%s is in use: detached; its users have %llu ms",
                         fm->mountpoint, (unsigned long long)fm->grace_ms);
        cfs_timer_start(&u->timer, fm->grace_ms * CFS_MS);
    }
    fm_maybe_finish(fm);
}

static void grace_over(struct cfs_timer *t)
{
    struct fm *fm = container_of(t, struct fm, umount.timer);

    cfs_log_warning(fm->xl->log, fm->xl->name,
                    "%s is still in use: its users are cut off",
                    fm->mountpoint);
    fm_device_gone(fm);
}

static void stop(struct fm *fm)
{
    if (fm->down)
        return;
    fm->down = true;
    if (fm->state == FM_GONE) {
        fm_maybe_finish(fm);
        return;
    }
    fm->umount.running = true;
    fm->umount.lazy = fm->state != FM_SERVING;
    cfs_job_run(fm->xl->loop, &fm->umount.job, umount_work, umount_done);
}

/* -- the translator -------------------------------------------------------- */

/* A lost session's number still makes identities that nobody else makes:
 * creates go on, and wait below until there is another. */
static void learn_session(struct fm *fm, const struct cfs_session *session)
{
    if (session == NULL || session->no == 0 || session->no == fm->session)
        return;
    fm->session = session->no;
    fm->counter = 0;
}

static void fm_notify(struct cfs_xl *xl, const struct cfs_event *ev)
{
    struct fm *fm = xl->priv;

    switch (ev->type) {
    case CFS_EV_PARENT_UP:
        if (!fm->held)
            cfs_graph_hold(xl->graph);
        fm->held = true;
        cfs_notify_down(xl, *ev);
        break;
    case CFS_EV_PARENT_DOWN:
        stop(fm);
        break;
    case CFS_EV_VIEW:
        cfs_notify_down(xl, *ev);
        break;
    case CFS_EV_CHILD_UP:
        if (fm->ready)
            cfs_notify_up(xl, *ev);
        else
            fm_probe_root(fm);
        break;
    case CFS_EV_SESSION:
        learn_session(fm, ev->session);
        cfs_notify_up(xl, *ev);
        break;
    default:
        cfs_notify_pass(xl, ev);
        break;
    }
}

static int fm_xl_init(struct cfs_xl *xl, struct cfs_err *err)
{
    struct fm *fm = xl->priv;

    fm->xl = xl;
    fm->child = xl->child[0];
    fm->fd = -1;
    fm->inodes = cfs_itable_new();
    cfs_timer_init(xl->loop, &fm->probe_timer, probe_again);
    cfs_timer_init(xl->loop, &fm->umount.timer, grace_over);
    cfs_task_init(&fm->finish, finish);
    cfs_loop_spin(xl->loop, (uint64_t)fm->spin_us * 1000);
    return fm_mount(fm, err);
}

static void fm_xl_fini(struct cfs_xl *xl)
{
    struct fm *fm = xl->priv;
    bool busy;

    if (fm->xl == NULL)
        return; /* init was never called */
    cfs_task_cancel(&fm->finish);
    cfs_timer_fini(&fm->probe_timer);
    cfs_timer_fini(&fm->umount.timer);
    /* First the device: with nobody behind it umount(2) waits for nobody. */
    fm_dev_close(fm);
    if (fm->mounted && fm->state != FM_GONE)
        fm_umount_now(fm, true, &busy);
    if (fm->in_utab)
        fm_utab_remove(fm);
    cfs_itable_free(fm->inodes);
}

static int fm_xl_reconfigure(struct cfs_xl *xl, struct cfs_err *err)
{
    struct fm *fm = xl->priv;

    cfs_loop_spin(xl->loop, (uint64_t)fm->spin_us * 1000);
    return 0;
}

static void fm_xl_dump(struct cfs_xl *xl, struct cfs_dump *d)
{
    static const char *const states[] = {"mounted", "probing", "serving",
                                         "gone"};
    const struct fm *fm = xl->priv;

    cfs_dump_put(d, "mountpoint", "%s", fm->mountpoint);
    cfs_dump_put(d, "state", "%s", states[fm->state]);
    cfs_dump_put(d, "device", "%u:%u", fm->dev_major, fm->dev_minor);
    cfs_dump_put(d, "protocol", "%u.%u", fm->init_in.major,
                 fm->init_in.minor);
    cfs_dump_put(d, "calls", "%u", fm->calls);
    cfs_dump_put(d, "inodes", "%zu", cfs_itable_count(fm->inodes));
    cfs_dump_put(d, "session", "%u", fm->session);
    cfs_dump_put(d, "inodes-made", "%u", fm->counter);
}

#define OPT(name_, type_, field, def_, ...)                                  \
    {                                                                        \
        .name = name_, .type = type_, .at = offsetof(struct fm, field),      \
        .def = def_, __VA_ARGS__                                             \
    }

static const struct cfs_opt fm_opts[] = {
    OPT("mountpoint", CFS_OPT_STR, mountpoint, NULL,
        .flags = CFS_OPT_REQUIRED, .help = "directory, absolute"),
    OPT("source", CFS_OPT_STR, source, "clusterfs",
        .help = "what df and mount show as the device"),
    OPT("mount-options", CFS_OPT_STR, mount_options, "",
        .help = "ro, nosuid, nodev, noexec, noatime, ... as in fstab"),
    OPT("fd", CFS_OPT_U32, fd_given, "0",
        .help = "an open /dev/fuse that is mounted already; 0: mount it"),
    OPT("allow-other", CFS_OPT_BOOL, allow_other, "on",
        .help = "serve users other than the one who mounted"),
    OPT("utab", CFS_OPT_BOOL, utab, "on",
        .help = "enter the mount in libmount's table, so that umount(8) "
                "calls umount.fuse.clusterfs"),
    OPT("kernel-lease", CFS_OPT_MS, lease_ms, "1s", .max = 3600000,
        .flags = CFS_OPT_RECONF,
        .help = "how long the kernel may keep names and attributes"),
    OPT("detach-grace", CFS_OPT_MS, grace_ms, "10s", .max = 3600000,
        .flags = CFS_OPT_RECONF,
        .help = "for users of a mount whose client is told to stop"),
    OPT("spin", CFS_OPT_U32, spin_us, "0", .max = 1000,
        .flags = CFS_OPT_RECONF,
        .help = "microseconds to poll before sleeping while requests come"),
    OPT("max-background", CFS_OPT_U32, max_background, "64", .min = 1,
        .max = 65535,
        .help = "requests that the kernel keeps going by itself"),
    OPT("max-calls", CFS_OPT_U32, max_calls, "512", .min = 16, .max = 65535,
        .flags = CFS_OPT_RECONF,
        .help = "requests in flight; at more the device is not read"),
    OPT("read-ahead", CFS_OPT_U32, read_ahead_kb, "1024", .max = 1048576,
        .help = "KiB that the kernel reads ahead; 0: leave its default"),
    {0},
};

__attribute__((visibility("default"))) const struct cfs_xl_type cfs_xl_type = {
    .name = "mount/fuse",
    .children_min = 1,
    .children_max = 1,
    .priv_size = sizeof(struct fm),
    .opts = fm_opts,
    .init = fm_xl_init,
    .fini = fm_xl_fini,
    .reconfigure = fm_xl_reconfigure,
    .notify = fm_notify,
    .dump = fm_xl_dump,
};
