/* SPDX-License-Identifier: Apache-2.0 */
/* volfile.c - parse, print, and make volfiles. See volfile.h. */
#include "volfiles/volfile.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* -- making one by hand -------------------------------------------------- */

struct cfs_volfile *cfs_volfile_new(void)
{
    return calloc(1, sizeof(struct cfs_volfile));
}

static void xl_fini(struct cfs_volfile_xl *xl)
{
    for (size_t i = 0; i < xl->n_opts; i++) {
        free((char *)(uintptr_t)xl->opts[i].key);
        free((char *)(uintptr_t)xl->opts[i].value);
    }
    for (size_t i = 0; i < xl->n_child; i++)
        free(xl->child[i]);
    free(xl->opts);
    free(xl->child);
    free(xl->name);
    free(xl->type);
}

void cfs_volfile_free(struct cfs_volfile *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->n; i++)
        xl_fini(&v->xl[i]);
    free(v->xl);
    free(v);
}

/* Room for one more element in an array that grows by doubling. */
static int grow(void *array, size_t n, size_t size)
{
    void **p = array;
    void *more;

    if (n & (n - 1)) /* not a power of two: there is room */
        return 0;
    more = reallocarray(*p, n ? 2 * n : 1, size);
    if (!more)
        return -ENOMEM;
    *p = more;
    return 0;
}

/* A name of a translator or the key of an option. */
static bool is_name(const char *s)
{
    if (!*s || strlen(s) > CFS_NAME_MAX)
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("-_.:/+@", *s))
            return false;
    return true;
}

/* CATEGORY/NAME: it becomes a path below the translator directory. */
static bool is_type(const char *s)
{
    const char *slash = strchr(s, '/');

    if (strlen(s) > CFS_NAME_MAX || !slash || slash == s || !slash[1])
        return false;
    for (const char *p = s; *p; p++)
        if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) &&
            *p != '-' && p != slash)
            return false;
    return true;
}

const struct cfs_volfile_xl *cfs_volfile_find(const struct cfs_volfile *v,
                                              const char *name)
{
    for (size_t i = 0; i < v->n; i++)
        if (strcmp(v->xl[i].name, name) == 0)
            return &v->xl[i];
    return NULL;
}

/* @type may be NULL while a text is parsed: it is set later. */
static int add_xl(struct cfs_volfile *v, const char *name, const char *type,
                  unsigned line, struct cfs_err *err)
{
    struct cfs_volfile_xl xl = {.line = line};

    if (!is_name(name))
        return cfs_err_set(err, -EINVAL, "'%.80s' is no name of a volume: "
                           "expected letters, digits and -_.:/+@", name);
    if (cfs_volfile_find(v, name))
        return cfs_err_set(err, -EINVAL, "there is a volume '%.80s' already",
                           name);
    if (v->n == CFS_VOLFILE_XLS)
        return cfs_err_set(err, -E2BIG, "more than %u volumes",
                           CFS_VOLFILE_XLS);
    xl.name = strdup(name);
    xl.type = type ? strdup(type) : NULL;
    if (!xl.name || (type && !xl.type) || grow(&v->xl, v->n, sizeof xl) < 0) {
        xl_fini(&xl);
        return cfs_err_set(err, -ENOMEM, "out of memory");
    }
    v->xl[v->n++] = xl;
    return 0;
}

static int bad_type(const char *type, struct cfs_err *err)
{
    return cfs_err_set(err, -EINVAL, "type '%.80s': expected CATEGORY/NAME",
                       type);
}

int cfs_volfile_add(struct cfs_volfile *v, const char *name, const char *type,
                    struct cfs_err *err)
{
    if (!is_type(type))
        return bad_type(type, err);
    return add_xl(v, name, type, 0, err);
}

static struct cfs_volfile_xl *last(struct cfs_volfile *v)
{
    assert(v->n > 0);
    return &v->xl[v->n - 1];
}

int cfs_volfile_option(struct cfs_volfile *v, const char *key,
                       const char *value, struct cfs_err *err)
{
    struct cfs_volfile_xl *xl = last(v);
    struct cfs_kv kv;

    if (!is_name(key))
        return cfs_err_set(err, -EINVAL, "'%.80s' is no name of an option",
                           key);
    if (strlen(value) > CFS_VOLFILE_WORD)
        return cfs_err_set(err, -E2BIG, "option %s: its value is longer than "
                           "%u bytes", key, CFS_VOLFILE_WORD);
    if (xl->n_opts == CFS_VOLFILE_OPTIONS)
        return cfs_err_set(err, -E2BIG, "more than %u options",
                           CFS_VOLFILE_OPTIONS);
    for (size_t i = 0; i < xl->n_opts; i++)
        if (strcmp(xl->opts[i].key, key) == 0)
            return cfs_err_set(err, -EEXIST, "option %s stands twice", key);
    if (grow(&xl->opts, xl->n_opts, sizeof kv) < 0)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    kv.key = strdup(key);
    kv.value = strdup(value);
    xl->opts[xl->n_opts++] = kv;
    if (!kv.key || !kv.value)
        return cfs_err_set(err, -ENOMEM, "out of memory");
    return 0;
}

int cfs_volfile_child(struct cfs_volfile *v, const char *name,
                      struct cfs_err *err)
{
    struct cfs_volfile_xl *xl = last(v);
    char *copy;

    if (strcmp(xl->name, name) == 0)
        return cfs_err_set(err, -EINVAL, "'%.80s' is its own subvolume", name);
    if (!cfs_volfile_find(v, name))
        return cfs_err_set(err, -EINVAL, "subvolume '%.80s' is not declared "
                           "above", name);
    if (xl->n_child == CFS_VOLFILE_CHILDREN)
        return cfs_err_set(err, -E2BIG, "more than %u subvolumes",
                           CFS_VOLFILE_CHILDREN);
    for (size_t i = 0; i < xl->n_child; i++)
        if (strcmp(xl->child[i], name) == 0)
            return cfs_err_set(err, -EINVAL, "subvolume '%.80s' stands twice",
                               name);
    copy = strdup(name);
    if (!copy || grow(&xl->child, xl->n_child, sizeof copy) < 0) {
        free(copy);
        return cfs_err_set(err, -ENOMEM, "out of memory");
    }
    xl->child[xl->n_child++] = copy;
    return 0;
}

/* -- parsing ------------------------------------------------------------- */

struct parser {
    const char         *at;
    const char         *end;
    unsigned            line;
    struct cfs_volfile *v;
    bool                inside; /* between "volume" and "end-volume" */
    bool                has_children;
    char                word[CFS_VOLFILE_WORD + 1];
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The character that \@c stands for, or 0. */
static char escaped(char c)
{
    switch (c) {
    case '"':
    case '\\':
        return c;
    case 'n':
        return '\n';
    case 't':
        return '\t';
    default:
        return 0;
    }
}

static int next_quoted(struct parser *p, struct cfs_err *err)
{
    size_t n = 0;

    for (p->at++;; p->at++) {
        char c;

        if (p->at == p->end || *p->at == '\n')
            return cfs_err_set(err, -EINVAL, "a quote is not closed");
        c = *p->at;
        if (c == '"')
            break;
        if (c == '\\') {
            if (++p->at == p->end || !(c = escaped(*p->at)))
                return cfs_err_set(err, -EINVAL,
                                   "expected \\\" \\\\ \\n or \\t");
        }
        if (n == CFS_VOLFILE_WORD)
            return cfs_err_set(err, -E2BIG, "a word is longer than %u bytes",
                               CFS_VOLFILE_WORD);
        p->word[n++] = c;
    }
    p->at++;
    if (p->at < p->end && !is_blank(*p->at) && *p->at != '\n' &&
        *p->at != '#')
        return cfs_err_set(err, -EINVAL, "a blank is missing after a quote");
    p->word[n] = '\0';
    return 1;
}

/* The next word of this line into p->word. 1: one; 0: the line ends. */
static int next_word(struct parser *p, struct cfs_err *err)
{
    size_t n = 0;

    while (p->at < p->end && is_blank(*p->at))
        p->at++;
    if (p->at < p->end && *p->at == '#')
        while (p->at < p->end && *p->at != '\n')
            p->at++;
    if (p->at == p->end || *p->at == '\n')
        return 0;
    if (*p->at == '"')
        return next_quoted(p, err);
    for (; p->at < p->end && !is_blank(*p->at) && *p->at != '\n'; p->at++) {
        if (*p->at == '"' || *p->at == '#')
            return cfs_err_set(err, -EINVAL, "a word with '%c' in it must "
                               "stand in quotes", *p->at);
        if (n == CFS_VOLFILE_WORD)
            return cfs_err_set(err, -E2BIG, "a word is longer than %u bytes",
                               CFS_VOLFILE_WORD);
        p->word[n++] = *p->at;
    }
    p->word[n] = '\0';
    return 1;
}

/* As next_word(), but there must be one. */
static int need_word(struct parser *p, const char *what, struct cfs_err *err)
{
    int rc = next_word(p, err);

    if (rc == 0)
        return cfs_err_set(err, -EINVAL, "%s is missing", what);
    return rc < 0 ? rc : 0;
}

static int on_volume(struct parser *p, struct cfs_err *err)
{
    int rc;

    if (p->inside)
        return cfs_err_set(err, -EINVAL, "'volume' inside volume '%s': "
                           "end-volume is missing", last(p->v)->name);
    rc = need_word(p, "the volume's name", err);
    if (rc == 0)
        rc = add_xl(p->v, p->word, NULL, p->line, err);
    if (rc < 0)
        return rc;
    p->inside = true;
    p->has_children = false;
    return 0;
}

static int on_type(struct parser *p, struct cfs_err *err)
{
    struct cfs_volfile_xl *xl = last(p->v);
    int rc = need_word(p, "the type", err);

    if (rc < 0)
        return rc;
    if (xl->type)
        return cfs_err_set(err, -EINVAL, "volume '%s' has a type already",
                           xl->name);
    if (!is_type(p->word))
        return bad_type(p->word, err);
    xl->type = strdup(p->word);
    return xl->type ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");
}

static int on_option(struct parser *p, struct cfs_err *err)
{
    char key[CFS_NAME_MAX + 1];
    int rc = need_word(p, "the option's name", err);

    if (rc < 0)
        return rc;
    if (strlen(p->word) > CFS_NAME_MAX)
        return cfs_err_set(err, -EINVAL, "an option's name is longer than %u "
                           "bytes", CFS_NAME_MAX);
    memcpy(key, p->word, strlen(p->word) + 1);
    rc = need_word(p, "the option's value", err);
    if (rc < 0)
        return rc;
    return cfs_volfile_option(p->v, key, p->word, err);
}

static int on_subvolumes(struct parser *p, struct cfs_err *err)
{
    int rc;

    if (p->has_children)
        return cfs_err_set(err, -EINVAL, "subvolumes stands twice");
    p->has_children = true;
    rc = need_word(p, "a subvolume's name", err);
    if (rc < 0)
        return rc;
    do {
        rc = cfs_volfile_child(p->v, p->word, err);
        if (rc < 0)
            return rc;
        rc = next_word(p, err);
    } while (rc > 0);
    return rc;
}

static int on_end(struct parser *p, struct cfs_err *err)
{
    if (!last(p->v)->type)
        return cfs_err_set(err, -EINVAL, "volume '%s' has no type",
                           last(p->v)->name);
    p->inside = false;
    return 0;
}

static int on_line(struct parser *p, struct cfs_err *err)
{
    static const struct {
        const char *word;
        int (*run)(struct parser *, struct cfs_err *);
    } verbs[] = {
        {"volume", on_volume},         {"type", on_type},
        {"option", on_option},         {"subvolumes", on_subvolumes},
        {"end-volume", on_end},
    };
    int rc = next_word(p, err);

    if (rc <= 0)
        return rc;
    for (size_t i = 0; i < CFS_ARRAY_SIZE(verbs); i++) {
        if (strcmp(p->word, verbs[i].word) != 0)
            continue;
        if (i > 0 && !p->inside)
            return cfs_err_set(err, -EINVAL, "'%s' outside a volume",
                               p->word);
        rc = verbs[i].run(p, err);
        if (rc == 0)
            rc = next_word(p, err);
        if (rc > 0)
            rc = cfs_err_set(err, -EINVAL, "'%.80s' is too much on this line",
                             p->word);
        return rc;
    }
    return cfs_err_set(err, -EINVAL, "unknown word '%.80s': expected volume, "
                       "type, option, subvolumes or end-volume", p->word);
}

static int parse(struct parser *p, struct cfs_err *err)
{
    for (;;) {
        int rc = on_line(p, err);

        if (rc < 0)
            return rc;
        if (p->at == p->end)
            break;
        p->at++; /* the newline */
        p->line++;
    }
    if (p->inside)
        return cfs_err_set(err, -EINVAL, "volume '%s' (line %u) has no "
                           "end-volume", last(p->v)->name, last(p->v)->line);
    if (p->v->n == 0)
        return cfs_err_set(err, -EINVAL, "there is no volume in it");
    return 0;
}

int cfs_volfile_parse(const char *text, size_t len, struct cfs_volfile **ret,
                      struct cfs_err *err)
{
    struct cfs_err why = {0};
    struct parser *p;
    int rc;

    if (len > CFS_VOLFILE_MAX)
        return cfs_err_set(err, -E2BIG, "a volfile of more than %u bytes",
                           CFS_VOLFILE_MAX);
    if (len > 0 && memchr(text, '\0', len))
        return cfs_err_set(err, -EINVAL, "there is a NUL byte in it");
    p = calloc(1, sizeof *p);
    if (!p || !(p->v = cfs_volfile_new())) {
        free(p);
        return cfs_err_set(err, -ENOMEM, "out of memory");
    }
    p->at = text;
    p->end = text ? text + len : NULL;
    p->line = 1;
    rc = parse(p, &why);
    if (rc < 0) {
        rc = cfs_err_set(err, rc, "line %u: %s", p->line, why.text);
        cfs_volfile_free(p->v);
    } else {
        *ret = p->v;
    }
    free(p);
    return rc;
}

/* -- printing ------------------------------------------------------------ */

static void print_word(FILE *f, const char *s)
{
    if (*s && !s[strcspn(s, " \t\r\n\"#\\")]) {
        fputs(s, f);
        return;
    }
    fputc('"', f);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else if (*s == '\n')
            fputs("\\n", f);
        else if (*s == '\t')
            fputs("\\t", f);
        else
            fputc(*s, f);
    }
    fputc('"', f);
}

int cfs_volfile_print(const struct cfs_volfile *v, char **ret_text,
                      size_t *ret_len)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    bool failed;

    if (!f)
        return -ENOMEM;
    for (size_t i = 0; i < v->n; i++) {
        const struct cfs_volfile_xl *xl = &v->xl[i];

        fprintf(f, "%svolume %s\n    type %s\n", i ? "\n" : "", xl->name,
                xl->type);
        for (size_t k = 0; k < xl->n_opts; k++) {
            fprintf(f, "    option %s ", xl->opts[k].key);
            print_word(f, xl->opts[k].value);
            fputc('\n', f);
        }
        if (xl->n_child > 0)
            fputs("    subvolumes", f);
        for (size_t k = 0; k < xl->n_child; k++)
            fprintf(f, " %s", xl->child[k]);
        fprintf(f, "%send-volume\n", xl->n_child > 0 ? "\n" : "");
    }
    failed = ferror(f);
    if (fclose(f) != 0 || failed) {
        free(text);
        return -ENOMEM;
    }
    *ret_text = text;
    if (ret_len)
        *ret_len = len;
    return 0;
}
