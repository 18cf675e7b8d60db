/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - clusterfs client add|remove|list. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/table.h"
#include "core/file.h"

/* The file that add writes: opened before anything is asked, so that there is
 * no client whose key is nowhere. */
static struct {
    const char *path;
    int         fd;
} output = {.fd = -1};

static int open_output(const char *path, struct cfs_err *err)
{
    int rc;

    output.path = path;
    if (strcmp(path, "-") == 0)
        return 0;
    output.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (output.fd >= 0)
        return 0;
    rc = -errno;
    return cfs_err_set(err, rc == -EEXIST ? -EINVAL : rc, "%s: %s", path,
                       strerror(-rc));
}

void cli_client_add_failed(void)
{
    if (output.fd >= 0) {
        close(output.fd);
        unlink(output.path);
    }
    output.fd = -1;
}

int cli_client_args(const struct cli_line *l, json_t *args,
                    struct cfs_err *err)
{
    json_object_set_new(args, "name", json_string(l->word[0]));
    return 0;
}

int cli_client_add_args(const struct cli_line *l, json_t *args,
                        struct cfs_err *err)
{
    json_t *volumes = json_array();

    for (unsigned i = 0; i < l->n_volumes; i++)
        json_array_append_new(volumes, json_string(l->volume[i]));
    json_object_set_new(args, "volumes", volumes);
    if (!l->output && !cli_has(l, CLI_OPT_JSON))
        return cfs_err_set(err, -EINVAL, "-o FILE is missing: where the "
                           "client's credentials are written; - is standard "
                           "output");
    cli_client_args(l, args, err);
    return l->output ? open_output(l->output, err) : 0;
}

void cli_client_remove_question(const struct cli_line *l, char *ret,
                                size_t len)
{
    snprintf(ret, len, "Remove client %.100s? What it has mounted breaks.",
             l->word[0]);
}

/* -- answers -------------------------------------------------------------- */

int cli_client_add_finish(const struct cli_line *l, json_t *answer,
                          struct cfs_err *err)
{
    const char *text = cli_str(answer, "credentials");
    int rc;

    if (output.fd < 0)
        return 0; /* it is shown */
    rc = cfs_write_all(output.fd, text, strlen(text));
    if (rc == 0 && fsync(output.fd) < 0)
        rc = -errno;
    if (rc < 0)
        cfs_err_set(err, rc, "%s: %s; remove the client and add it again",
                    output.path, strerror(-rc));
    close(output.fd);
    output.fd = -1;
    json_object_del(answer, "credentials");
    json_object_set_new(answer, "file", json_string(output.path));
    return rc;
}

void cli_client_add_show(FILE *out, const json_t *a)
{
    char *name = safe_text(cli_str(a, "name"));

    if (json_object_get(a, "credentials"))
        fputs(cli_str(a, "credentials"), out);
    else
        fprintf(out, "The credentials of client %s are in %s.\nCopy the file "
                "to /etc/clusterfs/client.pem on it (for root alone), or "
                "mount with\n-o credentials=FILE.\n", name, cli_str(a, "file"));
    free(name);
}

void cli_client_remove_show(FILE *out, const json_t *a)
{
    char *name = safe_text(cli_str(a, "name"));

    fprintf(out, "Client %s is removed.\n", name);
    free(name);
}

void cli_client_list_show(FILE *out, const json_t *a)
{
    static const char *const heads[] = {"CLIENT", "VOLUMES", "SINCE", NULL};
    const json_t *c, *clients = json_object_get(a, "clients");
    struct table *t = table_new(heads);
    size_t i, k;

    json_array_foreach(clients, i, c) {
        const json_t *v, *volumes = json_object_get(c, "volumes");
        time_t when = (time_t)json_integer_value(json_object_get(c, "when"));
        char text[256] = "", day[32];
        struct tm tm;

        json_array_foreach(volumes, k, v) {
            const size_t used = strlen(text);

            snprintf(text + used, sizeof text - used, "%s%s",
                     used ? "," : "", json_string_value(v));
        }
        strftime(day, sizeof day, "%Y-%m-%d", localtime_r(&when, &tm));
        table_put(t, cli_str(c, "name"));
        table_put(t, *text ? text : "all");
        table_put(t, day);
    }
    table_print(t, out, 0);
    table_free(t);
}
