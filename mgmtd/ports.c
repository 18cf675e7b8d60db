/* SPDX-License-Identifier: Apache-2.0 */
/* ports.c - where bricks elsewhere listened when their homes told of it last,
 * kept over restarts: so that volfiles lead to bricks that run while their
 * homes' mgmtds do not. A port that is not right any more does no harm: a
 * client takes a brick only by its identity.
 *
 * Shape   STATE_DIR/ports.json: {"v": 1, "ports": {"BRICK": PORT...}}, of
 *         volumes that are known. One that is missing or damaged is as one
 *         that is empty; it is made anew when homes are heard.
 * Time    put a second after a change, as bricks often start together.
 */
#include <stdio.h>

#include "mgmtd/file.h"
#include "mgmtd/node.h"

#define WHO     "node"
#define VERSION 1
#define DELAY   CFS_SEC

static char *path_of(const struct mgmtd *m)
{
    return mem_printf("%s/ports.json", m->host.dirs.state);
}

static json_t *describe(struct mgmtd *m)
{
    json_t *ports = mem_ok(json_object());

    cfs_list_for_each(l, &m->volumes) {
        const struct volume *vol = cfs_list_entry(l, struct volume, link);

        for (unsigned i = 0; i < vol->n; i++) {
            const struct brick *b = &vol->brick[i];
            char id[CFS_UUID_STR];

            if (brick_is_local(b) || b->port == 0)
                continue;
            cfs_uuid_print(b->id, id);
            json_object_set_new(ports, id, mem_ok(json_integer(b->port)));
        }
    }
    return mem_ok(json_pack("{s:i,s:o}", "v", VERSION, "ports", ports));
}

static void put(struct mgmtd *m)
{
    json_t *o = describe(m);
    char *text = mem_ok(json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS));
    char *path = path_of(m);
    struct cfs_err err = {0};

    if (file_put(path, text, 0600, &err) < 0)
        cfs_log_warning(m->host.log, WHO, "where bricks of other nodes listen "
                        "is not remembered: %s", err.text);
    free(path);
    free(text);
    json_decref(o);
}

static void on_timer(struct cfs_timer *t)
{
    put(container_of(t, struct mgmtd, ports_timer));
}

void ports_changed(struct mgmtd *m)
{
    if (!cfs_timer_active(&m->ports_timer))
        cfs_timer_start(&m->ports_timer, DELAY);
}

uint16_t ports_remembered(struct mgmtd *m, struct cfs_uuid brick)
{
    char id[CFS_UUID_STR];
    json_int_t port;

    cfs_uuid_print(brick, id);
    port = json_integer_value(json_object_get(m->ports, id));
    return port > 0 && port <= UINT16_MAX ? (uint16_t)port : 0;
}

void ports_load(struct mgmtd *m)
{
    char *path = path_of(m), *text = NULL;
    struct cfs_err err = {0};
    json_t *o = NULL;
    int rc = file_get(path, &text, &err);

    cfs_timer_init(m->host.loop, &m->ports_timer, on_timer);
    if (rc == 0)
        o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (rc == 0 && !o)
        cfs_err_set(&err, -CFS_E_CORRUPT, "%s: damaged", path);
    if (err.code < 0)
        cfs_log_warning(m->host.log, WHO, "%s; it is made anew", err.text);
    m->ports = json_incref(json_object_get(o, "ports"));
    json_decref(o);
    free(text);
    free(path);
}

void ports_close(struct mgmtd *m)
{
    if (cfs_timer_active(&m->ports_timer))
        put(m);
    cfs_timer_fini(&m->ports_timer);
    json_decref(m->ports);
    m->ports = NULL;
}
