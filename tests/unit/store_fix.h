/* SPDX-License-Identifier: Apache-2.0 */
/* store_fix.h - storage/block's file system on a device in memory, driven one
 * request at a time, as cluster/replicate would: versions are remembered,
 * changes numbered, time goes on by a millisecond with each.
 *
 * Life   fix_open() makes and opens a brick, with a view that it is in and a
 *        session attached; fix_reopen() closes it cleanly or lets it die
 *        (the page cache stays), and opens it again as the view's new member.
 * Calls  fix_*() are one operation each; their outputs live until the next
 *        fix_begin(), which each of them does. Status: as the operation's.
 */
#ifndef CFS_TESTS_UNIT_STORE_FIX_H
#define CFS_TESTS_UNIT_STORE_FIX_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/cfs_test.h"
#include "xlators/storage/block/ops.h"
#include "xlators/storage/block/rec.h"

#define FIX_SIZE ((uint64_t)96 << 20)

struct fix_known {
    struct cfs_gfid    gfid;
    struct cfs_version version;
};

struct fix {
    struct cfs_loop  *loop;
    struct cfs_log   *log;
    struct cfs_dev   *dev; /* outlives the engine */
    struct cfs_dev_loan loan; /* with a write and a flush of ours; changed
                                 only while no brick is on it */
    pthread_rwlock_t  alive; /* held by who writes */
    bool              dead;  /* what is written now, nobody will see */
    /* Until this device is killed; at any time, since any thread asks. */
    _Atomic int64_t   writes_left; /* then they fail */
    _Atomic bool      flush_fails;
    struct ops_config config;
    struct ops       *ops;
    struct cfs_call   call;
    struct cfs_view   view;
    struct cfs_session session;
    struct fix_known *known;
    unsigned          n_known, cap_known;
    uint64_t          next_ino;
    uint64_t          change_no;
    uint64_t          acked_below; /* of the next change; 0: all are */
    struct cfs_time   now;
    struct cfs_change change; /* the last one */
    bool              open;
    int               closed;
    /* Looks at the brick whenever it is at rest; NULL: nobody does. */
    void (*check)(struct fix *f);
};

void fix_open(struct fix *f, const struct ops_config *config);
void fix_open_on(struct fix *f, const struct ops_config *config,
                 struct cfs_dev *dev);
void fix_close(struct fix *f);

/* The same client (view, session, numbers), with a loop of its own and no
 * brick yet; and a brick for it, which is not open. The old one is closed. */
void fix_twin(struct fix *f, const struct fix *of);
void fix_put_on(struct fix *f, struct cfs_dev *dev);

enum fix_how {
    FIX_CLEAN,  /* session closed, last checkpoint */
    FIX_STOP,   /* last checkpoint, the session lives */
    FIX_KILL,   /* what is in the page cache stays */
};
void fix_reopen(struct fix *f, enum fix_how how);
/* One half of it each; fix_start(): 0 or an error of ops_open(). */
void fix_halt(struct fix *f); /* the last checkpoint */
void fix_kill(struct fix *f);
int  fix_start(struct fix *f);

/* For .check: as fsck.clusterfs (store_fsck.c). Not on the fake engine. */
void fix_fsck(struct fix *f);

/* The next view; this start's incarnation is in it iff @member. */
void fix_next_view(struct fix *f, bool member);
void fix_attach(struct fix *f);

/* Start a fresh call; outputs of the last one are gone. */
void fix_begin(struct fix *f);
/* Submit and wait; fix_post() without waiting. */
int  fix_do(struct fix *f, struct cfs_req *req);
struct fix_wait {
    bool done;
    int  status;
};
void fix_post(struct fix *f, struct cfs_req *req, struct fix_wait *w);
/* In a call of the caller's, which outlives other operations. */
void fix_post_on(struct fix *f, struct cfs_call *call, struct cfs_req *req,
                 struct fix_wait *w);
void fix_wait_all(struct fix *f, struct fix_wait *w, unsigned n);
/* Number, time and touch list of a change; versions from what is known. A
 * null gfid is skipped. */
struct cfs_change *fix_change(struct fix *f, unsigned n,
                              const struct cfs_gfid *gfid);
/* The versions that @c makes are what is known now. */
void fix_learn(struct fix *f, const struct cfs_change *c);
struct cfs_version fix_version(struct fix *f, struct cfs_gfid g);

struct cfs_gfid fix_new_gfid(struct fix *f);
struct cfs_blob fix_sums(struct fix *f, uint64_t offset, const void *data,
                         uint32_t len);

/* -- operations ----------------------------------------------------------- */

int fix_create(struct fix *f, struct cfs_gfid dir, const char *name,
               uint32_t mode, struct cfs_gfid *ret);
int fix_symlink(struct fix *f, struct cfs_gfid dir, const char *name,
                const char *target, struct cfs_gfid *ret);
int fix_lookup(struct fix *f, struct cfs_gfid dir, const char *name,
               struct cfs_attr *ret);
int fix_getattr(struct fix *f, struct cfs_gfid g, struct cfs_attr *ret);
int fix_unlink(struct fix *f, struct cfs_gfid dir, const char *name,
               bool rmdir);
int fix_purge(struct fix *f, struct cfs_gfid g);
int fix_rename(struct fix *f, struct cfs_gfid dir, const char *name,
               struct cfs_gfid newdir, const char *newname, uint32_t flags);
int fix_link(struct fix *f, struct cfs_gfid g, struct cfs_gfid dir,
             const char *name);
int fix_write(struct fix *f, struct cfs_gfid g, uint64_t offset,
              const void *data, uint32_t len);
/* Up to @len bytes, whose checksums are verified; the count, or an error. */
int fix_read(struct fix *f, struct cfs_gfid g, uint64_t offset, void *ret,
             uint32_t len);
int fix_truncate(struct fix *f, struct cfs_gfid g, uint64_t size);
int fix_setattr(struct fix *f, struct cfs_setattr *op);
int fix_fallocate(struct fix *f, struct cfs_gfid g, uint32_t mode,
                  uint64_t offset, uint64_t len);
int fix_copy(struct fix *f, struct cfs_gfid src, uint64_t src_offset,
             struct cfs_gfid dst, uint64_t offset, uint32_t len,
             uint32_t *ret_copied);
int fix_setxattr(struct fix *f, struct cfs_gfid g, const char *name,
                 const void *value, uint32_t len, uint32_t flags);
int fix_getxattr(struct fix *f, struct cfs_gfid g, const char *name,
                 void *ret, uint32_t size);
int fix_removexattr(struct fix *f, struct cfs_gfid g, const char *name);
int fix_lseek(struct fix *f, struct cfs_gfid g, uint64_t offset, int whence,
              uint64_t *ret);
int fix_fsync(struct fix *f, struct cfs_gfid g);
int fix_view(struct fix *f, const struct cfs_view *v);
int fix_session_close(struct fix *f, uint32_t no);
/* Nothing is left to do in the background; and a checkpoint was made. */
void fix_idle(struct fix *f);
void fix_settle(struct fix *f);
void fix_info(struct fix *f, struct cfs_brick *ret);

/* The record of a chunk, which there is. */
struct rec_chunk fix_chunk(struct eng *e, struct cfs_gfid g, uint64_t index);

/* -- shorthands ----------------------------------------------------------- */

/* A file in the root, a directory in @in; they must succeed. */
struct cfs_gfid fix_file(struct fix *f, const char *name);
struct cfs_gfid fix_dir(struct fix *f, struct cfs_gfid in, const char *name);
/* @len bytes, malloc'ed. */
uint8_t *fix_pattern(uint32_t len, unsigned seed);
uint8_t *fix_noise(uint32_t len, unsigned seed); /* LZ4 makes nothing of it */
uint8_t *fix_zeros(uint32_t len);
/* @g holds the @size bytes of @want, and nothing more. */
void fix_expect(struct fix *f, struct cfs_gfid g, const uint8_t *want,
                uint64_t size);

#endif
