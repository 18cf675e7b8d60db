/* SPDX-License-Identifier: Apache-2.0 */
/* record.h - the records of the configuration store: their keys, and the way
 * between JSON and structs.
 *
 * Keys
 *   cluster                  {"id"}: made with the first volume
 *   volume/NAME              what the volume is, and shall be (started...)
 *   brick/NODE/PATH          {"volume", "brick"}: who uses this device; PATH
 *                            is canonical, with odd bytes as %XX
 *   creating/ID              a volume that is being made (creating.h)
 *   view/SET                 the set's view
 *   node/NAME                a member: id, number, host, port, certificate's
 *                            serial
 *   detached/ID              a node that was a member
 *   token/HASH               {"end", "by"}: one that was given out, not used
 *   engine                   see mgmtd/engine.h
 *   ca/nodes, ca/clients     {"cert", "crl", "revoked": [serials]}
 *   client/NAME              {"serial", "volumes", "generation", "removed"}
 *   deleted-volume/NAME      {"request", "at", "answer"}: what a repeat of that
 *                            request is told; goes after an hour
 *   view-past/SET/EPOCH      {"id"}: every view that the set ever had; EPOCH
 *                            in 20 digits, so that they sort
 *
 * Each record has "v", the version of its form. Fields that are not known are
 * kept: whoever changes a record changes the object that was read.
 *
 * Errors  -CFS_E_CORRUPT: a field that must be there is missing or of the
 *         wrong form; the message names record and field.
 */
#ifndef CFS_MGMTD_RECORD_H
#define CFS_MGMTD_RECORD_H

#include <jansson.h>

#include "core/fop.h"
#include "core/loop.h"

#define REC_VERSION 1

enum vol_state { VOL_CREATED, VOL_STARTED, VOL_STOPPED };

const char *vol_state_str(enum vol_state s);

/* -- keys: malloc'ed ----------------------------------------------------- */

#define REC_CLUSTER "cluster"

char *rec_volume_key(const char *name);
char *rec_brick_key(const char *node, const char *path);
char *rec_view_key(struct cfs_uuid set);
char *rec_view_past_prefix(struct cfs_uuid set);
char *rec_view_past_key(struct cfs_uuid set, uint64_t epoch);

/* -- fields -------------------------------------------------------------- */

/* @what names the record in messages. String results are borrowed. */
int rec_str(const json_t *rec, const char *what, const char *field,
            const char **ret, struct cfs_err *err);
int rec_u64(const json_t *rec, const char *what, const char *field,
            uint64_t *ret, struct cfs_err *err);
int rec_uuid(const json_t *rec, const char *what, const char *field,
             struct cfs_uuid *ret, struct cfs_err *err);
json_t *rec_json_uuid(struct cfs_uuid id);
json_t *rec_json_u64(uint64_t n);

/* -- volumes ------------------------------------------------------------- */

struct rec_brick {
    struct cfs_uuid id;
    const char     *node;
    const char     *path; /* of its device */
    uint64_t        size; /* bytes */
};

/* A view of a record: strings are the record's. */
struct rec_volume {
    const char      *name;
    struct cfs_uuid  id;
    uint64_t         generation;
    enum vol_state   state;
    struct cfs_uuid  set;
    unsigned         n_bricks;
    struct rec_brick brick[CFS_SET_MAX];
    const json_t    *options; /* an object of strings */
};

int rec_volume_read(const json_t *rec, struct rec_volume *ret,
                    struct cfs_err *err);
/* A new record. @created: seconds since 1970. */
json_t *rec_volume_new(const struct rec_volume *v, int64_t created);
/* Set the state in @rec, and raise its generation. */
void rec_volume_set_state(json_t *rec, enum vol_state state);
/* Which request of the CLI changed the volume last: a repeat of it, to a mgmtd
 * that was started since, is known by that. */
void rec_volume_set_request(json_t *rec, struct cfs_uuid id);
bool rec_volume_is_request(const json_t *rec, struct cfs_uuid id);
/* Of a volume that was deleted, what the CLI was told: kept for a while under
 * rec_deleted_key(), for a repeat of that request. */
#define REC_DELETED "deleted-volume/"
char   *rec_deleted_key(const char *name);
json_t *rec_deleted_new(struct cfs_uuid request, int64_t now,
                        const json_t *answer);
/* The answer, borrowed from @rec; NULL: it was another request's. */
json_t *rec_deleted_answer(const json_t *rec, struct cfs_uuid request);
bool    rec_deleted_is_old(const json_t *rec, int64_t now);
/* The volume's secret (rpc/proof.h), in hex, borrowed; NULL: none. */
const char *rec_volume_secret(const json_t *rec);
/* Unless it has one: volumes of older versions have none. */
void rec_volume_need_secret(struct cfs_loop *loop, json_t *rec);
/* It is renewed, so that what was told to clients that were removed long ago
 * need not be remembered: "secret", "secret_number", "secret_list" (the number
 * of the list of revoked clients, ca/clients, that it is younger than); and
 * "secret_before", an object of the same three without the prefix. */
uint64_t    rec_volume_secret_number(const json_t *rec);
const char *rec_volume_secret_before(const json_t *rec); /* NULL: none */
/* Clients that were removed with that list, or before, know no secret that is
 * still good: neither the one, nor (@both) the one before. */
uint64_t rec_volume_secret_list(const json_t *rec, bool both);
/* @keep: the present one stays good for a while, as the one before. */
void rec_volume_renew_secret(struct cfs_loop *loop, json_t *rec, uint64_t list,
                             bool keep);

/* -- views --------------------------------------------------------------- */

int rec_view_read(const json_t *rec, struct cfs_uuid set, uint64_t lineage,
                  struct cfs_view *ret, struct cfs_err *err);
/* Put the lists of @v into @rec (a new or an old record). */
void rec_view_write(json_t *rec, const struct cfs_view *v);

#endif
