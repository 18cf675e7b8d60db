/* SPDX-License-Identifier: Apache-2.0 */
/* volume_create.c - clusterfs volume create NAME [replica N] HOST:/BRICK...
 *
 * What is wrong whatever the machines look like is said here; whether hosts,
 * devices and space are there is mgmtd's to say.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/opt.h"

/* HOST alone, or HOST:/PATH, the path without what makes it no other path: "//"
 * and "/" at its end. Malloc'ed; NULL when it is no such thing. */
static char *brick_parse(const char *text)
{
    const char *colon = strstr(text, ":/");
    char *ret, *at;

    if (!*text || (!colon && strpbrk(text, "/:")) ||
        (colon && (colon == text || !colon[2])))
        return NULL;
    ret = strdup(text);
    if (!ret)
        abort();
    if (!colon)
        return ret;
    at = ret + (colon - text) + 1;
    for (const char *s = colon + 1; *s; s++)
        if (*s != '/' || (s[1] != '/' && s[1] != '\0'))
            *at++ = *s;
    *at = '\0';
    return ret;
}

static int add_brick(json_t *bricks, const char *text, struct cfs_err *err)
{
    char *brick = brick_parse(text);
    const json_t *other;
    size_t i;
    int rc = 0;

    if (!brick)
        return cfs_err_set(err, -EINVAL, "'%s' is no brick: expected "
                           "HOST:/PATH, such as localhost:/srv/brick.img, or "
                           "HOST alone", text);
    json_array_foreach(bricks, i, other)
        if (strcmp(json_string_value(other), brick) == 0)
            rc = cfs_err_set(err, -EINVAL, "brick %s is given twice", brick);
    if (rc == 0 && json_array_append_new(bricks, json_string(brick)) < 0)
        rc = cfs_err_set(err, -EINVAL, "brick '%s': the path must be UTF-8",
                         text);
    free(brick);
    return rc;
}

static int check_count(size_t n, uint64_t replica, struct cfs_err *err)
{
    if (n == 0)
        return cfs_err_set(err, -EINVAL, "no bricks are given");
    if (replica == 0 && n > 1)
        return cfs_err_set(err, -EINVAL, "%zu bricks: how many copies of each "
                           "file? For one on each brick: replica %zu", n, n);
    if (replica > 0 && n % replica != 0)
        return cfs_err_set(err, -EINVAL, "%zu brick%s: not a multiple of "
                           "replica %" PRIu64, n, n == 1 ? "" : "s", replica);
    return 0;
}

static int parse_replica(const char *text, uint64_t *ret, struct cfs_err *err)
{
    if (*ret)
        return cfs_err_set(err, -EINVAL, "replica is given twice");
    if (!text)
        return cfs_err_set(err, -EINVAL, "replica needs a number");
    if (cfs_parse_u64(text, ret) < 0 || *ret == 0 || *ret > CFS_SET_MAX)
        return cfs_err_set(err, -EINVAL, "replica %s: expected a number from "
                           "1 to %u", text, CFS_SET_MAX);
    return 0;
}

/* KEY=VALUE; which keys there are, mgmtd knows. */
static int add_option(json_t *options, const char *text, struct cfs_err *err)
{
    size_t len = strcspn(text, "=");
    char *key = strndup(text, len);
    int rc = 0;

    if (!key)
        abort();
    if (len == 0 || !text[len])
        rc = cfs_err_set(err, -EINVAL, "--option %s: expected KEY=VALUE",
                         text);
    else if (json_object_get(options, key))
        rc = cfs_err_set(err, -EINVAL, "--option %s is given twice", key);
    else if (json_object_set_new(options, key,
                                 json_string(text + len + 1)) < 0)
        rc = cfs_err_set(err, -EINVAL, "--option %s: must be UTF-8", text);
    free(key);
    return rc;
}

static void fill(const struct cli_line *l, uint64_t replica, json_t *bricks,
                 json_t *options, json_t *args)
{
    json_object_set_new(args, "name", json_string(l->word[0]));
    json_object_set_new(args, "replica", json_integer((json_int_t)replica));
    json_object_set(args, "bricks", bricks);
    json_object_set(args, "options", options);
    json_object_set_new(args, "brick_size",
                        json_integer((json_int_t)l->brick_size));
    json_object_set_new(args, "sparse",
                        json_boolean(cli_has(l, CLI_OPT_SPARSE)));
    json_object_set_new(args, "force",
                        json_boolean(cli_has(l, CLI_OPT_FORCE)));
}

int cli_create_args(const struct cli_line *l, json_t *args,
                    struct cfs_err *err)
{
    json_t *bricks = json_array(), *options = json_object();
    uint64_t replica = 0;
    int rc = cfs_volume_name_check(l->word[0], err);

    for (unsigned i = 1; i < l->n_words && rc == 0; i++) {
        if (strcmp(l->word[i], "replica") != 0) {
            rc = add_brick(bricks, l->word[i], err);
            continue;
        }
        i++;
        rc = parse_replica(i < l->n_words ? l->word[i] : NULL, &replica, err);
    }
    if (rc == 0)
        rc = check_count(json_array_size(bricks), replica, err);
    for (unsigned i = 0; i < l->n_options && rc == 0; i++)
        rc = add_option(options, l->option[i], err);
    if (rc == 0)
        fill(l, replica, bricks, options, args);
    json_decref(bricks);
    json_decref(options);
    return rc;
}

void cli_create_show(FILE *out, const json_t *answer)
{
    const char *name = json_string_value(json_object_get(answer, "name"));

    if (name)
        fprintf(out, "Volume %s is made. To start it: clusterfs volume start "
                     "%s\n", name, name);
    cli_print_lines(out, answer, "warnings", "Warning: ");
}
