/* SPDX-License-Identifier: Apache-2.0 */
/* err.h - errors: a negative code on the data path; code and message where a
 * person will read it.
 *
 * Codes   -errno, or one of our own (2048 and up) that refines an errno. Our
 *         own travel between our processes; applications see the class.
 */
#ifndef CFS_CORE_ERR_H
#define CFS_CORE_ERR_H

#include "core/base.h"

/* CODE(class, name, number, text) */
#define CFS_ERRCODES(CODE)                                                   \
    CODE(ESTALE, EPOCH, 2048, "the sender's view is not the current one")    \
    CODE(ESTALE, VERSION, 2049, "the inode is at another version")           \
    CODE(EIO, CHECKSUM, 2050, "block checksum mismatch")                     \
    CODE(EAGAIN, CONFLICT, 2051, "somebody else changed it first")           \
    CODE(ENOTCONN, SESSION, 2052, "no such live session")                    \
    CODE(ENOTCONN, NOT_MEMBER, 2053, "this brick is not in the view")        \
    CODE(EAGAIN, MISS, 2054, "a node must be read first")                    \
    CODE(EIO, POISONED, 2055, "the brick has failed and serves nothing")     \
    CODE(EIO, CORRUPT, 2056, "damaged metadata")                             \
    CODE(EBUSY, IN_USE, 2057, "in use already")                              \
    CODE(EIO, BEHIND, 2058, "a syncing brick lacks earlier changes")

#define CFS_ERR_ENUM(class, name, number, text) CFS_E_##name = number,
enum cfs_errcode { CFS_ERRCODES(CFS_ERR_ENUM) };
#undef CFS_ERR_ENUM

#define CFS_ERR_TEXT 512

/* Zero it before use. The first error set stays: later ones are its
 * consequences. */
struct cfs_err {
    int  code; /* 0, or negative */
    char text[CFS_ERR_TEXT];
};

/* Say @code (negative) and why. Returns @code, so that it can be returned.
 * @err may be NULL. */
int cfs_err_set(struct cfs_err *err, int code, const char *fmt, ...)
    CFS_PRINTF(3, 4);

/* Put "what: " before the message, as the error travels upward. Returns its
 * code; 0 when @err is NULL, so a caller that allows NULL returns its own. */
int cfs_err_wrap(struct cfs_err *err, const char *fmt, ...) CFS_PRINTF(2, 3);

/* The errno, positive, that an application sees for @code (negative). */
int cfs_err_class(int code);

/* In words; never NULL, thread safe. */
const char *cfs_err_str(int code);

#endif
