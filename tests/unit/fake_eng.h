/* SPDX-License-Identifier: Apache-2.0 */
/* fake_eng.h - engine.h as a sorted array in memory that misses at random:
 * link it in place of the engine. What would be on the device outlives
 * eng_close(), so that the next eng_open() replays every record since the last
 * checkpoint, which comes at random, too.
 */
#ifndef CFS_TESTS_UNIT_FAKE_ENG_H
#define CFS_TESTS_UNIT_FAKE_ENG_H

#include "xlators/storage/block/engine/engine.h"

/* One chance in @miss for each look at a record, and in @slow for each wish
 * for space, to be put aside (0: never); one checkpoint in @ckpt records. */
void fake_eng_chances(unsigned miss, unsigned slow, unsigned ckpt,
                      uint64_t seed);

/* How many looks and wishes were put aside so far. */
unsigned fake_eng_missed(void);

/* A digest of all records, without @tables' (their first bytes). */
uint64_t fake_eng_digest(const struct eng *e, const char *tables);

void fake_eng_forget(void); /* everything that outlives a close */

#endif
