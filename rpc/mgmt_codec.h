/* SPDX-License-Identifier: Apache-2.0 */
/* mgmt_codec.h - the bodies of the management programs as C structs, and the
 * way from them to bytes and back. Generated from rpc/mgmt.def: for MSG
 * (getspec, ...) there are struct mgmt_getspec, mgmt_pack_getspec() and
 * mgmt_unpack_getspec().
 *
 *     struct cfs_blob body = mgmt_pack_getspec(&arena,
 *         &(struct mgmt_getspec){.key = "volume:demo"});
 *
 * Ownership  packed bytes, and the strings of an unpacked message, live in
 *            the arena. Nothing points into the bytes that were unpacked.
 * Limits     str: MGMT_STR_MAX bytes; text: MGMT_TEXT_MAX; blob:
 *            CFS_XATTR_MAX. A longer one is cut by pack, refused by unpack;
 *            whoever answers with a text that may be long checks first.
 * Errors     -EBADMSG, with *ret untouched: not such a message, something
 *            missing, out of bounds, or with a NUL inside. Fuzzed.
 */
#ifndef CFS_RPC_MGMT_CODEC_H
#define CFS_RPC_MGMT_CODEC_H

#include "core/fop.h"

#define MGMT_STR_MAX  4095u
#define MGMT_TEXT_MAX (200u * 1024u)

/* DUMP's answer: programs with the versions that the peer supports. */
#define MGMT_PROGRAMS_MAX 16u

struct mgmt_program {
    uint32_t number;
    uint32_t version_min;
    uint32_t version; /* the highest */
    char     name[32];
};

struct mgmt_programs {
    uint32_t            n;
    struct mgmt_program p[MGMT_PROGRAMS_MAX];
};

/* Types of fields in mgmt.def. Strings end with a NUL; NULL packs as "". */
typedef uint32_t             mgmt_t_u32;
typedef uint64_t             mgmt_t_u64;
typedef const char          *mgmt_t_str;
typedef const char          *mgmt_t_text;
typedef struct cfs_blob      mgmt_t_blob;
typedef struct cfs_uuid      mgmt_t_uuid;
typedef struct cfs_view      mgmt_t_view;
typedef struct cfs_session   mgmt_t_session;
typedef struct cfs_brick     mgmt_t_brick;
typedef struct mgmt_programs mgmt_t_programs;

#define A(type, name) mgmt_t_##type name;
#define O(type, name) A(type, name)
#define MSG(lower, Camel, fields)                                            \
    struct mgmt_##lower {                                                    \
        fields                                                               \
    };                                                                       \
    struct cfs_blob mgmt_pack_##lower(struct cfs_arena *a,                   \
                                      const struct mgmt_##lower *m);         \
    int mgmt_unpack_##lower(struct cfs_arena *a, struct cfs_blob body,       \
                            struct mgmt_##lower *ret);
#include "rpc/mgmt.def"
#undef MSG
#undef A
#undef O

#endif
