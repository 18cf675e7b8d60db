/* SPDX-License-Identifier: Apache-2.0 */
/* tool.h - what the off-line tools share: a brick opened for looking at it,
 * its records read in batches, its blocks; text that is safe to print.
 *
 * Shapes     paths and names are printed with every byte that is no printable
 *            ASCII as \xHH, blanks and backslashes too, so that a field never
 *            holds a blank.
 * Threads    one; the loop runs only inside the functions here.
 * Errors     0 or negative; what a person should read is in cfs_err.
 */
#ifndef CFS_SERVER_TOOL_H
#define CFS_SERVER_TOOL_H

#include <jansson.h>
#include <stdio.h>

#include "xlators/storage/block/ops.h"
#include "xlators/storage/block/rec.h"

/* -- a brick -------------------------------------------------------------- */

/* Open for reading. */
struct tool_brick {
    struct cfs_loop *loop;
    struct ops      *ops; /* NULL: its journal was not applied */
    struct eng      *e;
};

#define TOOL_LIVE       1u /* beside the brickd that has it; else -EBUSY */
#define TOOL_REPAIR     2u /* for eng_repair(): the device can be written */
#define TOOL_NO_JOURNAL 4u /* bare: the journal is not looked at, */
#define TOOL_OLDER      8u /* from the checkpoint before the newest */
#define TOOL_WRITE      16u /* the device can be written; the engine does not */

/* With its journal applied in memory. */
int tool_open(const char *path, unsigned flags, struct tool_brick *ret,
              struct cfs_err *err);

/* As the newest checkpoint has it; @each (or NULL) is given each record of the
 * journal, in order. */
int tool_open_bare(const char *path, unsigned flags, eng_replay *each,
                   void *ctx, struct tool_brick *ret, struct cfs_err *err);

/* The same on a device, which is taken over on success, and a loop, which
 * tool_close() frees. */
int tool_open_on(struct cfs_loop *loop, struct cfs_dev *dev,
                 const char *path, unsigned flags, struct tool_brick *ret,
                 struct cfs_err *err);
int tool_bare_on(struct cfs_loop *loop, struct cfs_dev *dev, unsigned flags,
                 eng_replay *each, void *ctx, struct tool_brick *ret,
                 struct cfs_err *err);

void tool_close(struct tool_brick *b);
/* But the loop stays. */
void tool_close_keep(struct tool_brick *b);

/* -- reading it ----------------------------------------------------------- */

/* Stop a batch early: the scan goes on with the next record in a new one. */
#define TOOL_PAUSE 0x7fffffff

/* As eng_sweep() over [@lo, @hi), in batches, so that the cache keeps its
 * bound. After each @pause (or NULL) is called, which may scan and run the
 * loop itself; what it returns ends the scan unless it is 0. */
struct tool_scan {
    struct eng *e;
    eng_each   *each;
    int (*pause)(void *ctx);
    void       *ctx;
};
int tool_scan(const struct tool_scan *s, struct cfs_blob lo,
              struct cfs_blob hi);

/* All records whose key begins with @prefix's bytes. */
int tool_scan_prefix(const struct tool_scan *s, const struct rec_key *prefix);

/* Whether @n blocks from @lba on can hold nodes or data. */
bool tool_usable(const struct eng *e, uint64_t lba, uint32_t n);

/* All that pack @p holds into @plain (CHUNK_BYTES, aligned): as
 * tool_read(), and -CFS_E_CHECKSUM when it is not what was written. */
int tool_unpack(struct cfs_loop *loop, struct eng *e,
                const struct rec_pack *p, uint8_t *plain);

/* @n <= TOOL_RUN blocks from @lba on into @data (aligned to 4096). Runs the
 * loop: not from within a scan. -CFS_E_CORRUPT: no data can be there. */
#define TOOL_RUN 256u
int tool_read(struct cfs_loop *loop, struct eng *e, uint64_t lba, uint32_t n,
              uint8_t *data);

/* The same of writing, in a repair: blocks that eng_alloc() gave. */
int tool_write(struct cfs_loop *loop, struct eng *e, uint64_t lba, uint32_t n,
               uint8_t *data);

/* -- text ----------------------------------------------------------------- */

/* @len bytes of @p, escaped, malloc'ed. */
char *tool_escape(const void *p, size_t len);
void  tool_put_escaped(FILE *out, const void *p, size_t len);

/* @path as a JSON string; one that is not UTF-8 is escaped. */
json_t *tool_json_path(const char *path);

/* The whole of what the tool has to say on its output; @j is taken over.
 * NULL: there was no memory for it. */
void tool_json_show(json_t *j);

/* "4096 bytes", "1.5 GiB". */
#define TOOL_SIZE_STR 32
const char *tool_size(uint64_t bytes, char buf[static TOOL_SIZE_STR]);

/* "directory", "file", "symbolic link", ... */
const char *tool_type(uint32_t mode);

/* SEC.NSEC with one to nine digits behind the point, or none of it; -EINVAL. */
int tool_parse_time(const char *s, struct cfs_time *ret);
/* SEC.NSEC with nine digits. */
#define TOOL_TIME_STR 40
const char *tool_time(struct cfs_time t, char buf[static TOOL_TIME_STR]);

/* Memory: they end the process when there is none. */
void *tool_realloc(void *p, size_t size);
char *tool_format(const char *fmt, ...) CFS_PRINTF(1, 2); /* malloc'ed */

#endif
