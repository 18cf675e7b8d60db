/* SPDX-License-Identifier: Apache-2.0 */
/* beat.h - a slot of the heartbeat region: who holds a session, and when he was
 * heard last. It makes membership readable from outside, also off a device
 * whose brick is dead; nobody decides anything by it (the session table is
 * what counts).
 *
 * A slot is one block, written whole. A power cut may tear it, which costs
 * nothing: the next beat writes it anew.
 *
 * Units      ns since 1970, ms.
 * Errors     of what is on the device: -ENOENT, never used since mkfs;
 *            -CFS_E_CORRUPT, torn, of another slot or brick, or made up.
 * Threads    any.
 */
#ifndef CFS_BLOCK_BEAT_H
#define CFS_BLOCK_BEAT_H

#include "xlators/storage/block/engine/engine.h"
#include "xlators/storage/block/engine/format.h"

/* The fields as O2CB's heartbeat has them, and what tells whose they are. */
struct beat {
    uint32_t session;     /* not 0 */
    uint32_t node;        /* its number */
    char     name[CFS_NODE_MAX]; /* the node's, not empty */
    char     service[FMT_SERVICE]; /* "mount", "shd", ... */
    uint64_t generation;  /* of this membership; 0: it left cleanly */
    uint64_t seq;         /* of the beat */
    uint64_t time;        /* of the brick, when it came */
    uint32_t dead_ms;     /* after so long without one it is dead; not 0 */
};

void beat_pack(const struct fmt_super *sb, unsigned slot,
               const struct beat *b, struct fmt_beat *ret);
/* What the device gave is hostile until this returns 0. */
int beat_unpack(const struct fmt_super *sb, unsigned slot,
                const struct fmt_beat *block, struct beat *ret);

/* Slot @slot of eng_hb_slots(). Blocking, for the pool. A failed write is told,
 * and poisons nothing: no answer depends on it. */
int eng_beat_read(struct eng *e, unsigned slot, struct beat *ret);
int eng_beat_write(struct eng *e, unsigned slot, const struct beat *b);

#endif
