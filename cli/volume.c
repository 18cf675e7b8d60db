/* SPDX-License-Identifier: Apache-2.0 */
/* volume.c - the verbs of 'clusterfs volume': their arguments. What can be
 * said here without asking mgmtd is said here. */
#include "cli/cli.h"

#include <stdlib.h>

static int put(json_t *args, const char *key, json_t *value,
               struct cfs_err *err)
{
    if (json_object_set_new(args, key, value) < 0)
        return cfs_err_set(err, -EINVAL, "%s: no valid text (UTF-8)", key);
    return 0;
}

static int put_flags(const struct cli_words *w, json_t *args,
                     struct cfs_err *err)
{
    int rc = 0;

    if (w->opt[OPT_FORCE])
        rc = put(args, "force", json_true(), err);
    if (rc == 0 && w->opt[OPT_SPARSE])
        rc = put(args, "sparse", json_true(), err);
    return rc;
}

/* -- create ----------------------------------------------------------------- */

static int put_bricks(const struct cli_words *w, unsigned from, json_t *args,
                      struct cfs_err *err)
{
    json_t *bricks = json_array();

    for (unsigned i = from; i < w->n; i++) {
        const char *text = w->word[i];
        const char *colon = strstr(text, ":/");

        if (!colon || colon == text) {
            json_decref(bricks);
            return cfs_err_set(err, -EINVAL, "'%s': expected a brick, "
                               "HOST:/PATH", text);
        }
        for (unsigned k = from; k < i; k++)
            if (strcmp(w->word[k], text) == 0) {
                json_decref(bricks);
                return cfs_err_set(err, -EINVAL, "brick %s stands twice",
                                   text);
            }
        if (json_array_append_new(bricks, json_string(text)) < 0) {
            json_decref(bricks);
            return cfs_err_set(err, -EINVAL, "brick %s: no valid text (UTF-8)",
                               text);
        }
    }
    return put(args, "bricks", bricks, err);
}

static int check_replica(uint64_t replica, unsigned n, struct cfs_err *err)
{
    if (n == 0)
        return cfs_err_set(err, -EINVAL, "no bricks are named: HOST:/PATH...");
    if (replica == 0 && n > 1)
        return cfs_err_set(err, -EINVAL, "%u bricks, but not how many copies "
                           "there shall be; for one on each brick say: "
                           "replica %u", n, n);
    if (replica > 0 && n % replica != 0)
        return cfs_err_set(err, -EINVAL, "%u bricks are not a multiple of "
                           "replica %llu", n, (unsigned long long)replica);
    return 0;
}

static int put_size(const struct cli_words *w, json_t *args,
                    struct cfs_err *err)
{
    const char *text = w->opt[OPT_BRICK_SIZE];
    uint64_t size;

    if (!text)
        return 0;
    if (cfs_parse_size(text, &size) < 0 || size == 0 || size > INT64_MAX)
        return cfs_err_set(err, -EINVAL, "--brick-size %s: expected a size "
                           "such as 20G", text);
    return put(args, "brick_size", json_integer((json_int_t)size), err);
}

static int create_args(const struct cli_words *w, json_t *args,
                       struct cfs_err *err)
{
    uint64_t replica = 0;
    unsigned at = 1;
    int rc;

    if (w->n == 0)
        return cfs_err_set(err, -EINVAL, "how shall the volume be named?");
    if (w->n > 1 && strcmp(w->word[1], "replica") == 0) {
        if (w->n < 3 || cfs_parse_u64(w->word[2], &replica) < 0 ||
            replica == 0 || replica > CFS_SET_MAX)
            return cfs_err_set(err, -EINVAL, "replica: expected a number from "
                               "1 to %u", CFS_SET_MAX);
        at = 3;
    }
    rc = put(args, "name", json_string(w->word[0]), err);
    if (rc == 0)
        rc = put_bricks(w, at, args, err);
    if (rc == 0)
        rc = check_replica(replica, w->n - at, err);
    if (rc == 0 && replica > 0)
        rc = put(args, "replica", json_integer((json_int_t)replica), err);
    if (rc == 0)
        rc = put_size(w, args, err);
    if (rc == 0 && w->options)
        rc = put(args, "options", json_incref(w->options), err);
    return rc == 0 ? put_flags(w, args, err) : rc;
}

const struct cli_verb cli_volume_create = {
    .group = "volume",
    .verb = "create",
    .synopsis = "NAME [replica N] HOST:/BRICK... [OPTION...]",
    .about = "Make a volume of bricks.",
    .help =
        "A brick is a block device, or an image file, which is made. With\n"
        "'replica N' each file is on N bricks; name N of them. HOST is this\n"
        "node. Without --brick-size image files share nine tenths of the free\n"
        "space of their file system. What a device or file holds is never\n"
        "overwritten without --force.\n",
    .opts = 1u << OPT_BRICK_SIZE | 1u << OPT_SPARSE | 1u << OPT_FORCE |
            1u << OPT_OPTION,
    .args = create_args,
    .print = show_created,
};

/* -- verbs with a name --------------------------------------------------------- */

static int one_name(const struct cli_words *w, json_t *args,
                    struct cfs_err *err)
{
    int rc;

    if (w->n != 1)
        return cfs_err_set(err, -EINVAL, w->n == 0 ? "which volume?"
                                                   : "one volume at a time");
    rc = put(args, "name", json_string(w->word[0]), err);
    return rc == 0 ? put_flags(w, args, err) : rc;
}

static int maybe_name(const struct cli_words *w, json_t *args,
                      struct cfs_err *err)
{
    return w->n == 0 ? 0 : one_name(w, args, err);
}

static int no_name(const struct cli_words *w, json_t *args,
                   struct cfs_err *err)
{
    if (w->n > 0)
        return cfs_err_set(err, -EINVAL, "'%s' is too much", w->word[0]);
    return 0;
}

const struct cli_verb cli_volume_start = {
    .group = "volume",
    .verb = "start",
    .synopsis = "NAME [--force]",
    .about = "Start a volume's bricks; it can be mounted then.",
    .help = "With --force also when it is started: bricks that were given up\n"
            "(faulty), or whose storage failed, are started again.\n",
    .opts = 1u << OPT_FORCE,
    .args = one_name,
    .print = show_started,
};

static const char *ask_stop(const struct cli_words *w)
{
    return w->opt[OPT_FORCE] ? "Stopping a volume by force breaks its mounts; "
                               "what they still had to write is lost."
                             : NULL;
}

const struct cli_verb cli_volume_stop = {
    .group = "volume",
    .verb = "stop",
    .synopsis = "NAME [--force]",
    .about = "Stop a volume's bricks.",
    .help = "It must not be mounted, except with --force.\n",
    .opts = 1u << OPT_FORCE | 1u << OPT_YES,
    .args = one_name,
    .ask = ask_stop,
    .print = show_stopped,
};

static const char *ask_delete(const struct cli_words *w)
{
    return "The volume will be forgotten; its bricks keep what they hold, but "
           "no volume\nleads to it any more.";
}

const struct cli_verb cli_volume_delete = {
    .group = "volume",
    .verb = "delete",
    .synopsis = "NAME",
    .about = "Forget a stopped volume.",
    .help = "The image files and devices of its bricks stay as they are.\n",
    .opts = 1u << OPT_YES,
    .args = one_name,
    .ask = ask_delete,
    .print = show_deleted,
};

const struct cli_verb cli_volume_list = {
    .group = "volume",
    .verb = "list",
    .synopsis = "",
    .about = "List all volumes.",
    .args = no_name,
    .print = show_list,
};

const struct cli_verb cli_volume_info = {
    .group = "volume",
    .verb = "info",
    .synopsis = "[NAME]",
    .about = "Show what a volume is made of.",
    .args = maybe_name,
    .print = show_info,
};

const struct cli_verb cli_volume_status = {
    .group = "volume",
    .verb = "status",
    .synopsis = "[NAME]",
    .about = "Show how a volume's bricks and clients are.",
    .help =
        "States of a brick: in-sync; out (it lacks changes, is not read, and\n"
        "waits to be healed); starting, restarting, faulty (its process ends\n"
        "again and again); failed (its storage); stopped. With the reason.\n",
    .args = maybe_name,
    .print = show_status,
};
