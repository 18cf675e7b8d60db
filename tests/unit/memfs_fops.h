/* SPDX-License-Identifier: Apache-2.0 */
/* memfs_fops.h - between memfs_xl.c and memfs_names.c. */
#ifndef CFS_TESTS_UNIT_MEMFS_FOPS_H
#define CFS_TESTS_UNIT_MEMFS_FOPS_H

#include "core/xlator.h"
#include "tests/unit/memfs_node.h"

/* @n changed now; @mtime: its data or entries, too. */
void memfs_touch(struct memfs *m, struct mnode *n, bool mtime);

int memfs_hidden_create(struct memfs *m, struct mnode *dir,
                        struct cfs_name name);
int memfs_hidden_remove(struct memfs *m, struct mnode *dir,
                        struct cfs_name name);

void memfs_lookup(struct cfs_xl *xl, struct cfs_lookup *op);
void memfs_create(struct cfs_xl *xl, struct cfs_create *op);
void memfs_unlink(struct cfs_xl *xl, struct cfs_unlink *op);
void memfs_rename(struct cfs_xl *xl, struct cfs_rename *op);
void memfs_link(struct cfs_xl *xl, struct cfs_link *op);
void memfs_purge(struct cfs_xl *xl, struct cfs_purge *op);

#endif
