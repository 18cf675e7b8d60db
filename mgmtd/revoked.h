/* SPDX-License-Identifier: Apache-2.0 */
/* revoked.h - the records ca/nodes and ca/clients: who is not believed any
 * more.
 *
 *   {"cert": PEM of the authority, "crl": PEM of the list, "number": its
 *    number, "revoked": [serial numbers], "since": {serial number: s}}
 *
 * An entry goes when no certificate of that number can be good any more: as
 * long after it came ("since") as a certificate lives. The list's number grows
 * with each list and never goes back, whatever happens to the configuration:
 * who has a list takes only ones with higher numbers.
 */
#ifndef CFS_MGMTD_REVOKED_H
#define CFS_MGMTD_REVOKED_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The number of the list in the record. */
uint64_t revoked_number(const json_t *rec);
bool revoked_has(const json_t *list, const char *serial);
/* Into @rec: @serials (an array of strings), without a word since when. */
void revoked_join(json_t *rec, const json_t *serials);
/* Into @rec: @serials (an array of strings), at @now; and those go that are
 * older than @life_s. */
void revoked_add(json_t *rec, const json_t *serials, int64_t now,
                 int64_t life_s);

#endif
