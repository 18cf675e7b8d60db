/* SPDX-License-Identifier: Apache-2.0 */
/* warm.h - the nodes that a replay is about to need, read many at once.
 *
 * A replay looks for one record after the other, in the thread that opens the
 * store, and each node that is not in memory costs it a wait for the device.
 * So it looks ahead in the journal: what the next records will be about is
 * said with eng_prefetch(), which collects keys here; then the leaves of all
 * of them are read, level by level, as many at a time as the device takes.
 *
 * These are hints. A node that cannot be read, or is not what it should be, is
 * as if nobody had asked: who needs it reads it once more, and finds out.
 *
 * Threads    the one that opens the store, and no other one meanwhile.
 */
#ifndef CFS_BLOCK_WARM_H
#define CFS_BLOCK_WARM_H

#include "xlators/storage/block/engine/engine.h"

struct warm;

/* From now on, until warm_end(), prefetches are collected. Both may be called
 * again. */
void warm_begin(struct eng *e);
void warm_end(struct eng *e);

/* @key's leaf is likely to be wanted. What there is no room for is left out. */
void warm_add(struct warm *w, struct cfs_blob key);

/* Have all of them in memory, and forget them. */
void warm_read(struct eng *e);

#endif
