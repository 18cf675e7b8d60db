/* SPDX-License-Identifier: Apache-2.0 */
/* eng_rig.h - an engine on a recording device, beside a plain sorted map that
 * says what must be in it.
 *
 * A change is a list of puts, deletes and frees; its journal record is that
 * list, so that replay can apply it again.
 */
#ifndef CFS_TESTS_ENG_RIG_H
#define CFS_TESTS_ENG_RIG_H

#include "tests/unit/recdev.h"
#include "xlators/storage/block/engine/engine_int.h"

/* -- the plain map --------------------------------------------------------- */

struct model_rec {
    uint32_t klen;
    uint32_t vlen;
    uint8_t *key; /* the value follows it */
};

struct model {
    struct model_rec *v; /* sorted */
    size_t            n;
    size_t            cap;
};

void model_put(struct model *m, struct cfs_blob key, struct cfs_blob val);
void model_del(struct model *m, struct cfs_blob key);
const struct model_rec *model_get(const struct model *m, struct cfs_blob key);
void model_copy(struct model *to, const struct model *from);
void model_clear(struct model *m);

/* -- the rig --------------------------------------------------------------- */

struct rig {
    struct cfs_loop  *loop;
    struct cfs_log   *log;
    struct recdev    *dev;
    const char       *image;   /* or a real one, whose path it borrows */
    struct eng       *eng;
    struct eng_config conf;
    struct model      model; /* of what was committed */
    unsigned          in_flight; /* dones not yet come */
    unsigned          left;    /* of them, when settled */
    int               status;  /* of the last done */
    uint64_t          records; /* replayed at the last open */
    bool              closed;
    struct eng_wait   waits[8];
    unsigned          n_waits;
    bool              ready;
    bool              impatient; /* rig_change() returns -CFS_E_MISS */
};

/* One put, delete (val.p NULL), or freeing of data blocks (key.p NULL). */
struct rig_op {
    struct cfs_blob key;
    struct cfs_blob val;
    struct eng_ext  free;
};

/* With an empty store; @size 0: without any image. */
void rig_init(struct rig *r, uint64_t size);
void rig_fini(struct rig *r);                 /* whatever state it is in */

/* Open; the error, if any, in @err (may be NULL). */
int  rig_open(struct rig *r, struct cfs_err *err);
void rig_close(struct rig *r, bool clean);
/* As if the process were killed now: what is in flight ends, nothing more is
 * written, memory is gone. */
void rig_kill(struct rig *r);
/* The same store on another image. The rig owns it. */
void rig_swap_image(struct rig *r, struct recdev *image);

/* Touch, begin, apply, commit; waits as long as it takes. The model follows
 * when it was admitted. @ext: data that it brings, or NULL. Returns what
 * eng_begin() or eng_touch() said. */
int rig_change(struct rig *r, const struct rig_op *ops, unsigned n,
               const struct eng_rec *with, unsigned flags);
int rig_put(struct rig *r, struct cfs_blob key, struct cfs_blob val);
int rig_del(struct rig *r, struct cfs_blob key);
/* eng_get() that waits for misses. */
int rig_get(struct rig *r, struct cfs_blob key, struct cfs_blob *ret);

/* A done to give to the engine; rig_settle() waits for it. */
struct eng_done *rig_done(struct rig *r);
int rig_sync(struct rig *r);
int rig_checkpoint(struct rig *r);
void rig_settle(struct rig *r); /* until no done is outstanding */
void rig_settle_to(struct rig *r, unsigned left); /* but @left */
void rig_run(struct rig *r, bool *until);

/* What the last call said was missing: wait for it. */
void rig_wait(struct rig *r);
void rig_wait_end(struct rig *r);

/* Whether the tree is exactly @m: by a scan, and a get of some. */
bool rig_matches(struct rig *r, const struct model *m);
/* eng_check() finds nothing, and every block in use is accounted for but
 * @data data blocks. */
bool rig_check(struct rig *r, uint64_t data);

/* Whole blocks of data, written at @ext. */
int rig_write_data(struct rig *r, struct eng_ext ext, const uint8_t *data);
int rig_read_data(struct rig *r, struct eng_ext ext, uint8_t *data);

/* A repeatable random number. */
uint64_t rig_random(uint64_t *seed);

#endif
