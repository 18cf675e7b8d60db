/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - the bench of the block store alone, in one process: what a brick
 * could do if nothing else cost anything.
 *
 *   main.c     options, the order of the parts
 *   report.c   figures, their aims, the table, JSON; distributions of times
 *   rig.c      an image, a store on it, opening and closing
 *   tree.c     the engine: creates, random updates, lookups as keys and values
 *   files.c    the file system on it: operations on files, many in flight
 *   parts_*.c  what is measured, part by part
 *   rival_*.c  the same records in SQLite and LMDB
 *
 * Units   ns, bytes, unless a name says otherwise.
 * Errors  whatever fails ends the program.
 */
#ifndef CFS_BENCH_STORE_H
#define CFS_BENCH_STORE_H

#include "core/log.h"
#include "core/loop.h"
#include "xlators/storage/block/engine/engine.h"
#include "xlators/storage/block/ops.h"

#define IN_FLIGHT 256u

/* -- figures --------------------------------------------------------------- */

enum aim { AIM_NONE, AIM_MIN, AIM_MAX };

struct figure {
    const char *part;
    char        name[64];
    double      value;
    const char *unit;
    enum aim    kind;
    double      aim;
};

struct report {
    const char    *part;
    struct figure *v;
    size_t         n;
    size_t         cap;
};

void report_part(struct report *r, const char *part);
void report_add(struct report *r, const char *name, double value,
                const char *unit);
/* Also prints whether it is at least, or at most, @aim. */
void report_aim(struct report *r, const char *name, double value,
                const char *unit, enum aim kind, double aim);
/* Aims met, of those there are; and all figures as JSON in @path. */
void report_end(const struct report *r, const char *json);
void report_free(struct report *r);

/* Sorts them. Of ratios of rounds: what others on the same machine disturb
 * least. */
double median(double *v, unsigned n);

/* How long things took: a histogram with steps of a hundredth. */
#define TIMES_STEPS 3200u

struct times {
    uint64_t n;
    uint64_t max;
    uint32_t count[TIMES_STEPS];
};

void     times_add(struct times *t, uint64_t ns);
uint64_t times_at(const struct times *t, double q); /* ns; @q of 1 */
void     times_join(struct times *to, const struct times *t);

/* -- the store ------------------------------------------------------------- */

struct bench {
    struct cfs_loop *loop;
    struct cfs_log  *log;
    const char      *path;
    uint64_t         size;
    uint64_t         files;
    uint64_t         cache;
    struct report    report;

    struct eng      *eng;  /* open, bare; or */
    struct ops      *ops;  /* with files */
    bool             closed;
    uint64_t         small_file; /* 0: what bricks have */
    bool             pack;       /* compress data */
    unsigned         same;       /* bytes of each 128 that LZ4 can save */
    bool             may_stall; /* what is opened from now on */
    bool             stall_checkpoints;
};

_Noreturn void die(const char *what, int rc, const struct cfs_err *err);
void *need(void *p); /* ends the program when NULL */

static inline uint64_t now_ns(struct bench *b)
{
    return cfs_now_fresh(b->loop);
}

void   rig_make(struct bench *b, bool files);
double rig_open(struct bench *b, bool files); /* s */
double rig_close(struct bench *b, bool clean); /* s; either kind */
void   rig_remove(struct bench *b);
/* Forget what the page cache holds of @path. */
void   rig_forget(const char *path);
void   rig_random(uint64_t *state, void *to, size_t len);
uint64_t next_random(uint64_t *s);
/* A checkpoint now; ns until it is durable. */
uint64_t rig_checkpoint(struct bench *b);
/* Bytes of this process that are in memory. */
uint64_t rig_resident(void);
/* ns that the calling thread was ready to run and did not: others ran. */
uint64_t rig_starved(void);
/* The longest that a thread which does nothing but read the clock, for @ns, was
 * stopped, although no other of this machine had its processor. */
uint64_t rig_pause(struct bench *b, uint64_t ns);
/* Bytes that this process has written to devices, read from them; ns that its
 * threads had a processor. */
uint64_t rig_written(void);
uint64_t rig_read(void);
uint64_t rig_processor(void);
uint64_t rig_thread_processor(void); /* the calling thread had it */
struct eng *rig_engine(struct bench *b);
/* A file of @len bytes beside the store, written in whole; its descriptor. */
int    rig_plain(struct bench *b, const char *suffix, uint64_t len,
                 char *ret_path, size_t size);

/* -- keys and values (tree.c) --------------------------------------------- */

/* What storage/block makes of a create: six records, as the rivals get them. */
#define CREATE_PUTS 6u

struct key {
    uint8_t  b[64];
    uint32_t len;
};

struct puts {
    struct key key[CREATE_PUTS];
    uint32_t   len[CREATE_PUTS];
    unsigned   n;
};

struct key inode_key(uint64_t i);
void       create_puts(uint64_t i, struct puts *ret);
void       update_puts(uint64_t i, struct puts *ret);

static inline struct cfs_blob blob_of(const struct key *k)
{
    return (struct cfs_blob){k->b, k->len};
}

enum load_kind { LOAD_CREATE, LOAD_UPDATE, LOAD_LOOKUP };

struct load_spec {
    enum load_kind kind;
    uint64_t       first; /* LOAD_CREATE: of the files made */
    uint64_t       files; /* others: that there are */
    uint64_t       count;
    unsigned       syncs; /* in a second, beside */
};

struct load_result {
    double       s;
    struct times waits;
    struct times own; /* the same, less what others had the processor */
    struct times syncs;
    uint64_t     cached_max; /* bytes of nodes, the most that was seen */
    uint64_t     dirty_max;
};

void load_run(struct bench *b, const struct load_spec *spec,
              struct load_result *ret);

/* -- files (files.c) ------------------------------------------------------- */

enum file_act {
    FILE_CREATE,
    FILE_LOOKUP,
    FILE_WRITE,  /* 4 KiB at the start */
    FILE_APPEND, /* .io bytes at the end */
    FILE_READ,   /* .io bytes from .offset on */
    FILE_UNLINK, /* and purge */
};

struct files;

struct files *files_open(struct bench *b, uint64_t max);
void          files_close(struct files *f); /* says goodbye; the store stays */
void files_leave(struct files *f); /* without a word: its session lives on */

struct file_spec {
    enum file_act act;
    uint64_t      first;
    uint64_t      count;
    uint64_t      among;  /* > 0: random ones of so many from .first on */
    uint32_t      io;     /* bytes of a write or read; 0: 4096 */
    unsigned      flight; /* 0: IN_FLIGHT */
    uint64_t      seed;
    bool          same;   /* all on file .first, one behind the other, */
    uint64_t      spread; /* > 0: or at random in so many bytes of it */
    bool           mixed;  /* .io is files_mixed() of each file */
};

struct file_result {
    double       s;
    struct times waits;
};

void files_run(struct files *f, const struct file_spec *spec,
               struct file_result *ret);
/* One fsync; ns. */
uint64_t files_fsync(struct files *f, uint64_t i);
/* An overwrite of 4 KiB of @i and its fsync; ns. */
uint64_t files_write_fsync(struct files *f, uint64_t i);
/* In how many runs on the device file @i lies. */
uint64_t files_runs(struct files *f, uint64_t i);
uint64_t files_size(const struct files *f, uint64_t i);
/* A size for file @i: 64 bytes to 64 KiB, each doubling as frequent. */
uint32_t files_mixed(uint64_t i);

/* -- parts ----------------------------------------------------------------- */

void part_tree(struct bench *b);
void part_fsync(struct bench *b);
void part_rivals(struct bench *b);
void part_files(struct bench *b);
void part_memory(struct bench *b);
void part_start(struct bench *b);
void part_stream(struct bench *b);
void part_age(struct bench *b);
void part_small(struct bench *b);
void part_packs(struct bench *b);

/* Start @path's store, fill its journal while no checkpoint ends, and die. */
_Noreturn void fill_journal_and_die(struct bench *b);

/* A rival: @puts of one create or update after the other, and a commit. */
struct rival {
    const char *name;
    void *(*open)(const char *path, uint64_t cache, uint64_t size);
    void (*begin)(void *h);
    void (*put)(void *h, struct cfs_blob key, struct cfs_blob value);
    bool (*get)(void *h, struct cfs_blob key);
    void (*commit)(void *h); /* durable */
    void (*close)(void *h);
    void (*remove)(const char *path);
};

extern const struct rival rival_sqlite;
extern const struct rival rival_lmdb;

#endif
