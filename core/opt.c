/* SPDX-License-Identifier: Apache-2.0 */
/* opt.c - options from text into a private struct and back; see opt.h. */
#include "core/opt.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* One parsed value, before it is stored. */
struct value {
    uint64_t        num; /* all but the two below */
    char           *str; /* malloc'ed; NULL: unset */
    struct cfs_uuid uuid;
};

struct unit {
    const char *name;
    uint64_t    factor;
};

/* -- single values -------------------------------------------------------- */

/* Decimal digits at *@s, which moves behind them. */
static int take_number(const char **s, uint64_t *ret)
{
    const char *at = *s;
    uint64_t n = 0;

    if (*at < '0' || *at > '9')
        return -EINVAL;
    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');

        if (n > (UINT64_MAX - digit) / 10)
            return -ERANGE;
        n = 10 * n + digit;
    }
    *s = at;
    *ret = n;
    return 0;
}

/* A number and one of @units (ends with a NULL name), in any case. */
static int parse_unit(const char *s, const struct unit *units, uint64_t *ret)
{
    uint64_t n;
    int rc = take_number(&s, &n);

    if (rc < 0)
        return rc;
    while (*s == ' ')
        s++;
    for (; units->name; units++) {
        if (strcasecmp(s, units->name) != 0)
            continue;
        if (n > UINT64_MAX / units->factor)
            return -ERANGE;
        *ret = n * units->factor;
        return 0;
    }
    return -EINVAL;
}

int cfs_parse_size(const char *s, uint64_t *ret)
{
    static const struct unit units[] = {
        {"", 1},
        {"b", 1},
        {"k", 1ull << 10}, {"kb", 1ull << 10}, {"kib", 1ull << 10},
        {"m", 1ull << 20}, {"mb", 1ull << 20}, {"mib", 1ull << 20},
        {"g", 1ull << 30}, {"gb", 1ull << 30}, {"gib", 1ull << 30},
        {"t", 1ull << 40}, {"tb", 1ull << 40}, {"tib", 1ull << 40},
        {"p", 1ull << 50}, {"pb", 1ull << 50}, {"pib", 1ull << 50},
        {NULL, 0},
    };

    return parse_unit(s, units, ret);
}

int cfs_parse_ms(const char *s, uint64_t *ret)
{
    static const struct unit units[] = {
        {"", 1000},
        {"ms", 1},
        {"s", 1000}, {"sec", 1000},
        {"m", 60000}, {"min", 60000},
        {"h", 3600000},
        {"d", 86400000},
        {NULL, 0},
    };

    return parse_unit(s, units, ret);
}

int cfs_parse_u64(const char *s, uint64_t *ret)
{
    static const struct unit units[] = {{"", 1}, {NULL, 0}};

    return parse_unit(s, units, ret);
}

int cfs_volume_name_check(const char *s, struct cfs_err *err)
{
    size_t len = strlen(s);
    bool ok = len > 0 && len <= CFS_VOLUME_NAME_MAX &&
              isalnum((unsigned char)s[0]);

    for (size_t i = 0; i < len && ok; i++)
        ok = isalnum((unsigned char)s[i]) || strchr("-_.", s[i]);
    if (!ok)
        return cfs_err_set(err, -EINVAL, "'%.80s' cannot name a volume: 1 to "
                           "%u letters, digits, '-', '_' and '.', the first "
                           "a letter or digit", s, CFS_VOLUME_NAME_MAX);
    return 0;
}

int cfs_parse_bool(const char *s, bool *ret)
{
    static const char *const on[] = {"on", "yes", "true", "1"};
    static const char *const off[] = {"off", "no", "false", "0"};

    for (size_t i = 0; i < CFS_ARRAY_SIZE(on); i++) {
        if (strcasecmp(s, on[i]) == 0) {
            *ret = true;
            return 0;
        }
        if (strcasecmp(s, off[i]) == 0) {
            *ret = false;
            return 0;
        }
    }
    return -EINVAL;
}

/* -- the nearest word ----------------------------------------------------- */

#define WORD_MAX 64u

/* Edit distance; UINT_MAX when a word is too long to care. */
static unsigned distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    unsigned row[WORD_MAX + 1];

    if (la > WORD_MAX || lb > WORD_MAX)
        return UINT32_MAX;
    for (unsigned j = 0; j <= lb; j++)
        row[j] = j;
    for (unsigned i = 1; i <= la; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned j = 1; j <= lb; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);

            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[lb];
}

const char *cfs_nearest(const char *s, const char *const *words)
{
    const char *best = NULL;
    unsigned low = 1 + (unsigned)(strnlen(s, WORD_MAX) / 3);

    for (; *words; words++) {
        unsigned d = distance(s, *words);

        if (d < low || (d == low && !best)) {
            low = d;
            best = *words;
        }
    }
    return best;
}

/* -- tables of options ---------------------------------------------------- */

static const struct cfs_opt *find_opt(const struct cfs_opt *opts,
                                      const char *key)
{
    for (; opts && opts->name; opts++)
        if (strcmp(opts->name, key) == 0)
            return opts;
    return NULL;
}

static size_t count_opts(const struct cfs_opt *opts)
{
    size_t n = 0;

    while (opts && opts[n].name)
        n++;
    return n;
}

static int unknown_key(const struct cfs_opt *opts, const char *who,
                       const char *key, struct cfs_err *err)
{
    size_t n = count_opts(opts);
    const char **names = calloc(n + 1, sizeof *names);
    const char *near = NULL;

    if (names) {
        for (size_t i = 0; i < n; i++)
            names[i] = opts[i].name;
        near = cfs_nearest(key, names);
    }
    if (near)
        cfs_err_set(err, -ENOENT,
                    "%s: unknown option '%s'; do you mean '%s'?", who, key,
                    near);
    else
        cfs_err_set(err, -ENOENT, "%s: unknown option '%s'", who, key);
    free(names);
    return -ENOENT;
}

void cfs_opt_expected(const struct cfs_opt *o, char *buf, size_t len)
{
    static const char *const kinds[] = {
        [CFS_OPT_BOOL] = "on or off",
        [CFS_OPT_U32] = "a number",
        [CFS_OPT_U64] = "a number",
        [CFS_OPT_SIZE] = "a size like 64K or 1GiB",
        [CFS_OPT_MS] = "a time like 200ms, 2s or 5min",
        [CFS_OPT_STR] = "text",
        [CFS_OPT_UUID] = "a UUID",
    };
    size_t at = 0;

    if (o->type != CFS_OPT_ENUM) {
        snprintf(buf, len, "%s", kinds[o->type]);
        return;
    }
    buf[0] = '\0';
    for (size_t i = 0; o->words[i] && at < len; i++) {
        const char *sep = i == 0 ? "" : o->words[i + 1] ? ", " : " or ";
        int n = snprintf(buf + at, len - at, "%s%s", sep, o->words[i]);

        at += n > 0 ? (size_t)n : 0;
    }
}

static const char *number_text(const struct cfs_opt *o, uint64_t v, char *buf,
                               size_t len)
{
    static const char units[] = "KMGTP";

    if (o->type == CFS_OPT_MS && (v == 0 || v % 1000 != 0)) {
        snprintf(buf, len, "%" PRIu64 "ms", v);
    } else if (o->type == CFS_OPT_MS) {
        snprintf(buf, len, "%" PRIu64 "s", v / 1000);
    } else if (o->type == CFS_OPT_SIZE && v != 0 && v % 1024 == 0) {
        unsigned k = 0;

        for (v /= 1024; v % 1024 == 0 && units[k + 1]; k++)
            v /= 1024;
        snprintf(buf, len, "%" PRIu64 "%c", v, units[k]);
    } else {
        snprintf(buf, len, "%" PRIu64, v);
    }
    return buf;
}

static int check_range(const struct cfs_opt *o, uint64_t v, const char *who,
                       const char *text, struct cfs_err *err)
{
    uint64_t max = o->max != 0 ? o->max : UINT64_MAX;
    char lo[32], hi[32];

    if (o->type == CFS_OPT_U32 && max > UINT32_MAX)
        max = UINT32_MAX;
    if (v >= o->min && v <= max)
        return 0;
    number_text(o, o->min, lo, sizeof lo);
    number_text(o, max, hi, sizeof hi);
    if (max == UINT64_MAX)
        return cfs_err_set(err, -EINVAL, "%s: %s = %s: at least %s", who,
                           o->name, text, lo);
    return cfs_err_set(err, -EINVAL, "%s: %s = %s: expected %s to %s", who,
                       o->name, text, lo, hi);
}

static int parse_enum(const char *text, const char *const *words,
                      uint64_t *ret)
{
    for (size_t i = 0; words[i]; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret = i;
            return 0;
        }
    }
    return -EINVAL;
}

/* @text as @o's value; the range is not checked. */
static int parse_text(const struct cfs_opt *o, const char *text,
                      struct value *ret)
{
    bool on;
    int rc;

    switch (o->type) {
    case CFS_OPT_BOOL:
        rc = cfs_parse_bool(text, &on);
        if (rc == 0)
            ret->num = on;
        return rc;
    case CFS_OPT_U32:
    case CFS_OPT_U64:
        return cfs_parse_u64(text, &ret->num);
    case CFS_OPT_SIZE:
        return cfs_parse_size(text, &ret->num);
    case CFS_OPT_MS:
        return cfs_parse_ms(text, &ret->num);
    case CFS_OPT_STR:
        ret->str = strdup(text);
        return ret->str ? 0 : -ENOMEM;
    case CFS_OPT_ENUM:
        return parse_enum(text, o->words, &ret->num);
    case CFS_OPT_UUID:
        return cfs_uuid_parse(text, &ret->uuid);
    }
    return -EINVAL;
}

static bool has_range(const struct cfs_opt *o)
{
    return o->type == CFS_OPT_U32 || o->type == CFS_OPT_U64 ||
           o->type == CFS_OPT_SIZE || o->type == CFS_OPT_MS;
}

/* @text (NULL: unset, without default) as @o's value. */
static int parse_value(const struct cfs_opt *o, const char *text,
                       const char *who, struct value *ret,
                       struct cfs_err *err)
{
    struct value v = {0};
    char words[200];
    int rc;

    if (!text) {
        *ret = v;
        return 0;
    }
    rc = parse_text(o, text, &v);
    if (rc == -ENOMEM)
        return cfs_err_set(err, rc, "%s: out of memory", who);
    if (rc == -ERANGE)
        return cfs_err_set(err, -EINVAL, "%s: %s = %s: too large", who,
                           o->name, text);
    if (rc < 0) {
        cfs_opt_expected(o, words, sizeof words);
        return cfs_err_set(err, -EINVAL, "%s: %s = %s: expected %s", who,
                           o->name, text, words);
    }
    if (has_range(o)) {
        rc = check_range(o, v.num, who, text, err);
        if (rc < 0)
            return rc;
    }
    *ret = v;
    return 0;
}

static void *field(const struct cfs_opt *o, void *priv)
{
    return (char *)priv + o->at;
}

static const void *field_const(const struct cfs_opt *o, const void *priv)
{
    return (const char *)priv + o->at;
}

static uint64_t number_at(const struct cfs_opt *o, const void *priv)
{
    const void *at = field_const(o, priv);

    switch (o->type) {
    case CFS_OPT_BOOL:
        return *(const bool *)at;
    case CFS_OPT_U32:
    case CFS_OPT_ENUM:
        return *(const uint32_t *)at;
    default:
        return *(const uint64_t *)at;
    }
}

static bool is_set_to(const struct cfs_opt *o, const void *priv,
                      const struct value *v)
{
    const void *at = field_const(o, priv);
    const char *str;

    switch (o->type) {
    case CFS_OPT_STR:
        str = *(char *const *)at;
        if (!str || !v->str)
            return str == v->str;
        return strcmp(str, v->str) == 0;
    case CFS_OPT_UUID:
        return cfs_uuid_eq(*(const struct cfs_uuid *)at, v->uuid);
    default:
        return number_at(o, priv) == v->num;
    }
}

/* Cannot fail. Takes over a string. */
static void store(const struct cfs_opt *o, void *priv, struct value *v)
{
    void *at = field(o, priv);

    switch (o->type) {
    case CFS_OPT_BOOL:
        *(bool *)at = v->num != 0;
        break;
    case CFS_OPT_U32:
    case CFS_OPT_ENUM:
        *(uint32_t *)at = (uint32_t)v->num;
        break;
    case CFS_OPT_U64:
    case CFS_OPT_SIZE:
    case CFS_OPT_MS:
        *(uint64_t *)at = v->num;
        break;
    case CFS_OPT_STR:
        free(*(char **)at);
        *(char **)at = v->str;
        v->str = NULL;
        break;
    case CFS_OPT_UUID:
        *(struct cfs_uuid *)at = v->uuid;
        break;
    }
}

/* The last value that @kv gives, or the default. */
static const char *text_of(const struct cfs_opt *o, const struct cfs_kv *kv,
                           size_t n)
{
    while (n-- > 0)
        if (strcmp(kv[n].key, o->name) == 0)
            return kv[n].value;
    return o->def;
}

static int check_one(const struct cfs_opt *o, const void *priv,
                     const char *text, bool running, const char *who,
                     struct value *ret, struct cfs_err *err)
{
    int rc;

    if (!text && (o->flags & CFS_OPT_REQUIRED))
        return cfs_err_set(err, -EINVAL, "%s: option '%s' is missing", who,
                           o->name);
    rc = parse_value(o, text, who, ret, err);
    if (rc < 0)
        return rc;
    if (running && !(o->flags & CFS_OPT_RECONF) && !is_set_to(o, priv, ret))
        return cfs_err_set(err, -EBUSY,
                           "%s: option '%s' cannot change while running", who,
                           o->name);
    return 0;
}

int cfs_opt_load(const struct cfs_opt *opts, void *priv,
                 const struct cfs_kv *kv, size_t n, bool running,
                 const char *who, struct cfs_err *err)
{
    size_t n_opts = count_opts(opts);
    struct value *values;
    int rc = 0;

    for (size_t i = 0; i < n; i++)
        if (!find_opt(opts, kv[i].key))
            return unknown_key(opts, who, kv[i].key, err);
    values = calloc(n_opts + 1, sizeof *values);
    if (!values)
        return cfs_err_set(err, -ENOMEM, "%s: out of memory", who);
    for (size_t i = 0; i < n_opts && rc == 0; i++)
        rc = check_one(&opts[i], priv, text_of(&opts[i], kv, n), running, who,
                       &values[i], err);
    for (size_t i = 0; i < n_opts && rc == 0; i++)
        if (!is_set_to(&opts[i], priv, &values[i]))
            store(&opts[i], priv, &values[i]);
    for (size_t i = 0; i < n_opts; i++)
        free(values[i].str);
    free(values);
    return rc;
}

int cfs_opt_check(const struct cfs_opt *opt, const char *text,
                  const char *who, struct cfs_err *err)
{
    struct value v = {0};
    int rc = parse_value(opt, text, who, &v, err);

    if (rc == 0)
        free(v.str);
    return rc;
}

void cfs_opt_free(const struct cfs_opt *opts, void *priv)
{
    for (; opts && opts->name; opts++) {
        if (opts->type == CFS_OPT_STR) {
            char **s = field(opts, priv);

            free(*s);
            *s = NULL;
        }
    }
}

const char *cfs_opt_print(const struct cfs_opt *opt, const void *priv,
                          char *buf, size_t len)
{
    const void *at = field_const(opt, priv);
    char uuid[CFS_UUID_STR];
    const char *str;

    switch (opt->type) {
    case CFS_OPT_BOOL:
        snprintf(buf, len, "%s", *(const bool *)at ? "on" : "off");
        break;
    case CFS_OPT_STR:
        str = *(char *const *)at;
        snprintf(buf, len, "%s", str ? str : "");
        break;
    case CFS_OPT_ENUM:
        snprintf(buf, len, "%s", opt->words[*(const uint32_t *)at]);
        break;
    case CFS_OPT_UUID:
        cfs_uuid_print(*(const struct cfs_uuid *)at, uuid);
        snprintf(buf, len, "%s", uuid);
        break;
    default:
        number_text(opt, number_at(opt, priv), buf, len);
        break;
    }
    return buf;
}
