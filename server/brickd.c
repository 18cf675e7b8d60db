/* SPDX-License-Identifier: Apache-2.0 */
/* brickd.c - clusterfs-brickd: serves one brick. Here its command line; its
 * life is in brick.c. clusterfs-mgmtd starts one for each brick and finds it
 * again by --brick-id and --run-dir in its command line.
 */
#include "server/brickd.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int set_id(void *arg, const char *value, struct cfs_err *err)
{
    struct brickd *b = arg;

    if (cfs_uuid_parse(value, &b->id) < 0 || cfs_uuid_is_null(b->id))
        return cfs_err_set(err, -EINVAL, "expected a UUID");
    return 0;
}

static int set_server(void *arg, const char *value, struct cfs_err *err)
{
    struct brickd *b = arg;
    struct rpc_addr addr;
    int rc = rpc_addr_parse(value, &addr, err);

    if (rc < 0)
        return rc;
    free(b->server);
    b->server = strdup(value);
    return b->server ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");
}

static int set_volfile(void *arg, const char *value, struct cfs_err *err)
{
    struct brickd *b = arg;

    free(b->volfile_path);
    b->volfile_path = cfs_path_absolute(value);
    return b->volfile_path ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");
}

/* bricks/UUID.log; a brick without an identity logs to stderr. */
static char *log_name(struct cfs_host *h)
{
    const struct brickd *b = h->spec->owner;
    char id[CFS_UUID_STR], *name;

    if (cfs_uuid_is_null(b->id))
        return NULL;
    cfs_uuid_print(b->id, id);
    return asprintf(&name, "bricks/%s.log", id) < 0 ? NULL : name;
}

static void on_stop(struct cfs_host *h)
{
    brickd_stop(h->spec->owner);
}

static void on_dump(struct cfs_host *h, struct cfs_dump *d)
{
    brickd_dump(h->spec->owner, d);
}

/* What the command line lacks, or has too much of. */
static int check(const struct brickd *b, struct cfs_err *err)
{
    if (b->host.n_rest > 0)
        return cfs_err_set(err, -EINVAL, "unexpected argument '%s'",
                           b->host.rest[0]);
    if (b->volfile_path && b->server)
        return cfs_err_set(err, -EINVAL,
                           "--volfile and --volfile-server exclude each other");
    if (!b->volfile_path && cfs_uuid_is_null(b->id))
        return cfs_err_set(err, -EINVAL, "which brick? --brick-id is missing");
    return 0;
}

int main(int argc, char **argv)
{
    struct brickd b = {0};
    const struct cfs_arg args[] = {
        {"brick-id", 0, "UUID", "the brick to serve", &b, set_id},
        {"volfile-server", 0, "ADDRESS",
         "clusterfs-mgmtd (unix:RUN_DIR/mgmtd.sock)", &b, set_server},
        {"volfile", 0, "FILE", "serve what FILE says, without mgmtd", &b,
         set_volfile},
        {0},
    };
    const struct cfs_host_spec spec = {
        .program = "clusterfs-brickd",
        .about = "Serve one brick of a clusterfs volume.",
        .args = args,
        .log_name = log_name,
        .on_stop = on_stop,
        .on_dump = on_dump,
        .owner = &b,
    };
    struct cfs_err err = {0};
    int status;

    if (cfs_host_init(&b.host, &spec, argc, argv, &err) < 0) {
        fprintf(stderr, "%s: %s\n", spec.program, err.text);
        return 1;
    }
    if (check(&b, &err) < 0 || brickd_start(&b, &err) < 0) {
        cfs_host_fail(&b.host, &err);
        status = 1;
    } else {
        status = cfs_host_run(&b.host);
    }
    brickd_fini(&b);
    if (b.graph != NULL)
        _exit(status); /* abandoned: nothing may touch the device any more */
    cfs_host_fini(&b.host);
    return status;
}
