/* SPDX-License-Identifier: Apache-2.0 */
/* dlm_lock.c - features/dlm-lock: the place in a client's graph where the
 * right to an inode will be held; see README.md.
 *
 * While a volume has one mount, that mount may do everything, and every
 * operation and event passes on.
 */
#include "core/xlator.h"

static const struct cfs_fops dlm_fops = {0};

const struct cfs_xl_type cfs_xl_type = {
    .name = "features/dlm-lock",
    .children_min = 1,
    .children_max = 1,
    .fops = &dlm_fops,
};
