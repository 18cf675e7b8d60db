/* SPDX-License-Identifier: Apache-2.0 */
/* plant.h - bugs that tests plant in the engine, to show that they would be
 * noticed. Only a test that compiles the engine with CFS_PLANT has them, and
 * names the one that is at work; everywhere else PLANTED() is false, and what
 * it guards is not there.
 */
#ifndef CFS_BLOCK_PLANT_H
#define CFS_BLOCK_PLANT_H

#define ENG_PLANTS(X)                                                        \
    X(flush_left_out, "fsync and checkpoints do not flush")                  \
    X(freed_block_reused_early, "at the freeze, not when it is durable")     \
    X(record_before_nodes, "no flush between nodes and their record")        \
    X(journal_reused_early, "from the freeze on")                            \
    X(node_changed_while_frozen, "a leaf is written as it is by then")       \
    X(replay_allocates_before_marking, "blocks that records name are free "  \
                                       "until their turn comes")             \
    X(older_checkpoint_taken, "of the records that are whole")               \
    X(generation_used_twice, "a new life goes on where the record was")      \
    X(failed_flush_ignored, "and its fsync is answered")

#ifdef CFS_PLANT
enum eng_plant {
#define PLANT(name, text) PLANT_##name,
    ENG_PLANTS(PLANT)
#undef PLANT
    PLANT_N
};
extern enum eng_plant eng_planted; /* PLANT_N: none */
#define PLANTED(name) (eng_planted == PLANT_##name)
#else
#define PLANTED(name) false
#endif

#endif
