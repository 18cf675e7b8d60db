/* SPDX-License-Identifier: Apache-2.0 */
/* rec_impl.h - how every value of a record begins and ends; for rec*.c. */
#ifndef CFS_BLOCK_REC_IMPL_H
#define CFS_BLOCK_REC_IMPL_H

#include "xlators/storage/block/engine/bytes.h"
#include "xlators/storage/block/rec.h"

/* A value's reader, behind its format. */
static inline struct rd open_value(struct cfs_blob v)
{
    struct rd r = rd_open(v);

    if (rd_u8(&r) != REC_FMT)
        r.bad = true;
    return r;
}

static inline uint32_t wrote(const struct wr *w, const uint8_t *from)
{
    return (uint32_t)(w->at - from);
}

#endif
