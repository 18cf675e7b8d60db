/* SPDX-License-Identifier: Apache-2.0 */
/* recdev.h - a device in memory that records every write and flush, builds
 * the images that a power cut at any point may leave, and fails on demand.
 *
 * Shapes     an event is one write or one flush; a cut at event n is a power
 *            cut after n events. Pieces of 512 bytes are what a device writes
 *            whole or not at all.
 * Model      a write that was complete before a flush began is there for good
 *            once the flush has ended. Of all later writes any subset of
 *            pieces may be there, and of several writes of one piece any. What
 *            a failed flush should have made durable no later flush will: one
 *            write in two is lost then. A discard is a write of garbage (an
 *            image's: of zeros) of which, flushed or not, any blocks may not
 *            have happened.
 * Threads    the device's own calls: any. The rest: one, with no call of the
 *            device in flight.
 * Ownership  an image outlives the devices that are opened on it.
 */
#ifndef CFS_TESTS_RECDEV_H
#define CFS_TESTS_RECDEV_H

#include "xlators/storage/block/engine/dev.h"

struct recdev;

struct recdev *recdev_new(uint64_t size); /* zeros */
void           recdev_free(struct recdev *r); /* NULL is fine */

/* A device on the image; closing it leaves the image. One at a time. */
struct cfs_dev *recdev_open(struct recdev *r);

/* Be a block device from now on, or (at first) an image file: what is discarded
 * then reads as garbage, not as zeros. */
void recdev_block(struct recdev *r, bool on);

uint8_t *recdev_bytes(struct recdev *r); /* what a read would give */
uint64_t recdev_size(const struct recdev *r);
/* As if the device were replaced by a larger or smaller one with the same
 * bytes; what is new is @fill. Not open, and not recording. */
void recdev_resize(struct recdev *r, uint64_t size, uint8_t fill);

/* Record from here on: what is there now is durable. */
void   recdev_record(struct recdev *r);
size_t recdev_events(struct recdev *r); /* any thread, any time */
bool   recdev_is_flush(const struct recdev *r, size_t event);

/* Its bytes (a discard: NULL); a flush has @ret_len 0. Until the recording
 * ends. */
const uint8_t *recdev_event(const struct recdev *r, size_t event,
                            uint64_t *ret_off, size_t *ret_len);

/* Whether reads of what the page cache has succeed; at first they do not. */
void recdev_cached(struct recdev *r, bool on);

/* Flushes that end from now on began when there were @event events, and cover
 * only these; SIZE_MAX: they begin as they end. */
void recdev_flush_from(struct recdev *r, size_t event);

/* Cuts in ascending order of events. */
struct reccut;
struct reccut *reccut_new(const struct recdev *r);
void           reccut_free(struct reccut *c);
/* The image that a cut at @event leaves, chosen by @seed. */
struct recdev *reccut_image(struct reccut *c, size_t event, uint64_t seed);

/* Blocks of it of which some pieces are as some write left them, and some are
 * not. */
unsigned recdev_torn(const struct recdev *r);

/* What is there when the process was killed at @event, not the power cut. */
struct recdev *reccut_killed(struct reccut *c, size_t event);

/* Faults. The @after-th next operation of a kind (0: the next) fails, and
 * @times - 1 behind it. */
enum recdev_fault {
    RECDEV_READ,
    RECDEV_WRITE,
    RECDEV_FLUSH,
    RECDEV_LOSE,     /* a write that says 0 and does nothing */
    RECDEV_NO_FLUSH, /* a flush that says 0 and does nothing */
    RECDEV_ALLOCATE, /* -ENOSPC */
    RECDEV_DISCARD,  /* -EOPNOTSUPP */
    RECDEV_FAULTS,
};
void recdev_fail(struct recdev *r, enum recdev_fault kind, uint64_t after,
                 uint64_t times);

/* How many have failed, or lied, so far. */
unsigned recdev_failed(struct recdev *r);

/* Bytes that were discarded. */
uint64_t recdev_discarded(struct recdev *r);

/* Operations of @kind (read, write, flush, allocate, discard) do not return
 * while held. */
void recdev_hold(struct recdev *r, enum recdev_fault kind, bool on);

/* The device stalls: what does not end in the page cache does not return.
 * With @file_too, after 200 ms neither does a write to the page cache: an image
 * in a file system that hangs. */
void recdev_stall(struct recdev *r, bool on, bool file_too);

/* The process that had the device is dead: its later writes do nothing. */
void recdev_kill(struct recdev *r);

#endif
