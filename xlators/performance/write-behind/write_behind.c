/* SPDX-License-Identifier: Apache-2.0 */
/* write_behind.c - performance/write-behind: the place in a client's graph
 * where small writes will gather; see README.md.
 *
 * Until a mount holds locks, a write is answered only when every replica has
 * it, and every operation and event passes on.
 */
#include "core/xlator.h"

static const struct cfs_fops wb_fops = {0};

const struct cfs_xl_type cfs_xl_type = {
    .name = "performance/write-behind",
    .children_min = 1,
    .children_max = 1,
    .fops = &wb_fops,
};
