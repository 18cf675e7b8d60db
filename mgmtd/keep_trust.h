/* SPDX-License-Identifier: Apache-2.0 */
/* keep_trust.h - cluster restore goes back to an older configuration, but not
 * to an older trust: who was removed or detached since the backup stays out.
 *
 * Of the cluster as it runs, as this node's copy of the store has it, is taken
 * over into the backup:
 *
 *   ca/nodes, ca/clients   both sides' revoked ones, the higher number
 *   client/NAME            the record whose credentials are newer: so clients
 *                          that were removed stay so, and those that were
 *                          added keep what they were given
 *   detached/ID            all
 *   node/NAME              members as they are. A node of the backup that was
 *                          detached since is none.
 *   cluster                last_number: numbers of nodes are never used again
 *
 * All else is the backup's.
 */
#ifndef CFS_MGMTD_KEEP_TRUST_H
#define CFS_MGMTD_KEEP_TRUST_H

#include <jansson.h>

#include "core/err.h"

/* Into @doc (a document of the store, checked before, sealed again) from
 * @running. *ret_told: {"clients": [names], "nodes": [names]}: who would have
 * been believed again. */
int keep_trust(json_t *doc, const json_t *running, json_t **ret_told,
               struct cfs_err *err);

#endif
