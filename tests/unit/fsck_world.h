/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_world.h - a small brick with every kind of object in it, and what the
 * checker finds there; the damage that can be planted in it.
 *
 * Life   world_open(), then world_stop() or fix_kill(), then looks and plants;
 *        fix_close() of .f at the end.
 */
#ifndef CFS_TESTS_UNIT_FSCK_WORLD_H
#define CFS_TESTS_UNIT_FSCK_WORLD_H

#include "server/fsck.h"
#include "tests/unit/store_fix.h"
#include "xlators/storage/block/rec.h"

struct world {
    struct fix      f;
    struct cfs_gfid dir;    /* /dir */
    struct cfs_gfid sub;    /* /dir/sub */
    struct cfs_gfid other;  /* /other, a directory */
    struct cfs_gfid small;  /* /dir/small, in line */
    struct cfs_gfid big;    /* /dir/big: two chunks and a bit */
    struct cfs_gfid second; /* /dir/sub/second: one block and a bit */
    struct cfs_gfid link;   /* /link */
    struct cfs_gfid gone;   /* unlinked, and still open */
    struct cfs_gfid purged;
};

void world_open(struct world *w);
void world_open_as(struct world *w, const struct ops_config *config);
/* Stopped with a checkpoint: no journal is left to be applied. */
void world_stop(struct world *w);

/* The engine alone, as the newest checkpoint has it. */
struct eng *world_open_bare(struct world *w, bool read_only);
void        world_close_bare(struct world *w, struct eng *e);

/* Every record of the store, to choose from; .key is malloc'ed. */
struct world_keys {
    struct rec_key *key;
    unsigned        n;
};
void     world_keys(struct eng *e, struct world_keys *ret);
uint32_t world_random(uint64_t *seed);

/* -- what is found -------------------------------------------------------- */

struct found {
    char    *line[64]; /* "kind|path|text" */
    unsigned n;
    unsigned known; /* what a repair has said before */
    struct fsck_result r;
};

/* As the newest checkpoint has it; @journal: one lies behind it. */
void found_check(struct world *w, bool data, bool journal, struct found *ret);
/* With its journal applied in memory. */
void found_check_applied(struct world *w, struct found *ret);
void found_free(struct found *all);
void found_print(const struct found *all);

/* -- damage --------------------------------------------------------------- */

/* What is planted goes through the engine, so that only the records lie. */
struct plant {
    struct world *w;
    struct eng   *e;
};

struct damage {
    const char *name;
    void (*plant)(struct plant *p);
    const char *line[3]; /* findings; "#" in a text stands for a number */
};
extern const struct damage damages[];
extern const size_t        n_damages;

/* Into the store on @w's device, which is stopped. */
void damage_plant(struct world *w, const struct damage *d);
void damage_flip(struct world *w, uint64_t lba, unsigned byte);

#endif
