/* SPDX-License-Identifier: Apache-2.0 */
/* sums.h - the checksums that travel with a file's bytes, as fops.def says of
 * read and write.
 *
 * Shapes  little-endian XXH3-64, 8 bytes for each CFS_BLOCK that the data
 *         touches, over the bytes of it that are in the data.
 * Units   bytes; offsets in the file.
 */
#ifndef CFS_CORE_SUMS_H
#define CFS_CORE_SUMS_H

#include "core/base.h"

/* How many blocks @len bytes at @offset touch; 0 for none. */
uint32_t cfs_sums_count(uint64_t offset, uint32_t len);
/* Fill @ret, 8 * cfs_sums_count() bytes. */
void cfs_sums(uint64_t offset, const void *data, uint32_t len, uint8_t *ret);
/* Whether @sums are those of the data: as many, and the same. */
bool cfs_sums_match(uint64_t offset, const void *data, uint32_t len,
                    struct cfs_blob sums);

#endif
