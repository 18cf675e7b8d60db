/* SPDX-License-Identifier: Apache-2.0 */
/* io_stats.h - what debug/io-stats keeps.
 *
 * Shapes     latencies in a histogram of powers of two: bucket 0 is below
 *            1 us, bucket k is [2^(k-1), 2^k) us, the last takes the rest.
 * Units      ns where measured, us where shown.
 */
#ifndef CFS_IO_STATS_H
#define CFS_IO_STATS_H

#include <stdio.h>

#include "core/xlator.h"
#include "xlators/debug/io-stats/busy_core.h"

#define IOS_BUCKETS 32u

struct ios_counters {
    uint64_t count;
    uint64_t errors;
    uint64_t bytes;
    uint64_t timed;    /* of count: with latency-measurement on */
    uint64_t total_ns; /* of these */
    uint64_t min_ns;
    uint64_t max_ns;
    uint64_t bucket[IOS_BUCKETS];
};

struct ios {
    bool                measure; /* option */
    bool                measured;
    uint32_t            level;      /* option: of the process's log */
    uint32_t            level_then; /* as the process was started */
    uint64_t            since;      /* boot time, ns */
    uint64_t            in_flight;
    struct ios_counters fop[CFS_FOP_N];
    struct busy         busy;
};

/* show.c. Lines of a statedump; and all of it as one JSON object. */
void ios_dump(struct cfs_xl *xl, struct cfs_dump *d);
void ios_report(struct cfs_xl *xl, FILE *out);

#endif
