/* SPDX-License-Identifier: Apache-2.0 */
/* opt.h - typed options: what a translator understands, with defaults and
 * ranges, parsed from text straight into its private struct.
 *
 * Errors  an unknown key names the nearest known one; a bad value says what
 *         would be accepted. All keys are checked before any is stored.
 */
#ifndef CFS_CORE_OPT_H
#define CFS_CORE_OPT_H

#include "core/err.h"

enum cfs_opt_type {
    CFS_OPT_BOOL, /* bool: on off yes no true false 1 0 */
    CFS_OPT_U32,  /* uint32_t */
    CFS_OPT_U64,  /* uint64_t */
    CFS_OPT_SIZE, /* uint64_t bytes: 4096, 64K, 1M, 10GiB, 2TB (powers of 2) */
    CFS_OPT_MS,   /* uint64_t ms: 200ms, 2s, 5min; plain number: seconds */
    CFS_OPT_STR,  /* char *, malloc'ed, NULL when unset without default */
    CFS_OPT_ENUM, /* uint32_t: index into @words */
    CFS_OPT_UUID, /* struct cfs_uuid */
};

#define CFS_OPT_RECONF   1u /* may change while running */
#define CFS_OPT_REQUIRED 2u

struct cfs_opt {
    const char        *name;
    enum cfs_opt_type  type;
    size_t             at;       /* offsetof in the private struct */
    const char        *def;      /* text, or NULL */
    uint64_t           min, max; /* for numbers; max 0: no bound */
    const char *const *words;    /* for CFS_OPT_ENUM, NULL-terminated */
    unsigned           flags;
    const char        *help; /* one line */
};

struct cfs_kv {
    const char *key;
    const char *value;
};

/* Set every option of @opts (ends with a NULL name) in @priv from @kv or its
 * default. Strings set before are freed. With @running, options without
 * CFS_OPT_RECONF that would change are an error (-EBUSY).
 * Errors: -EINVAL, -ENOENT (unknown), nothing stored; err says which. */
int cfs_opt_load(const struct cfs_opt *opts, void *priv,
                 const struct cfs_kv *kv, size_t n, bool running,
                 const char *who, struct cfs_err *err);

/* Whether @text would be a value of @opt. -EINVAL: err says what would be. */
int cfs_opt_check(const struct cfs_opt *opt, const char *text,
                  const char *who, struct cfs_err *err);
/* In words, what @opt accepts: "off or lz4", "a size like 64K or 1GiB". */
void cfs_opt_expected(const struct cfs_opt *opt, char *buf, size_t len);

/* Free the strings in @priv. */
void cfs_opt_free(const struct cfs_opt *opts, void *priv);

/* The value of @opt in @priv as text into @buf, which is returned. */
const char *cfs_opt_print(const struct cfs_opt *opt, const void *priv,
                          char *buf, size_t len);

/* Single values, as used by command lines too. Errors: -EINVAL, -ERANGE. */
int cfs_parse_size(const char *s, uint64_t *ret);
int cfs_parse_ms(const char *s, uint64_t *ret);
int cfs_parse_bool(const char *s, bool *ret);
int cfs_parse_u64(const char *s, uint64_t *ret);

/* Whether @s may be a volume's name; else -EINVAL, with what may. */
#define CFS_VOLUME_NAME_MAX 63u
int cfs_volume_name_check(const char *s, struct cfs_err *err);

/* The entry of @words (NULL-terminated) that is nearest to @s by edit
 * distance, or NULL when none is near. */
const char *cfs_nearest(const char *s, const char *const *words);

#endif
