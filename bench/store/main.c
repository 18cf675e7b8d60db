/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the block store alone, measured part by part; see store.h.
 *
 *   store FILE|DEVICE [--only PART,...] [--size BYTES] [--files N]
 *         [--cache BYTES] [--json FILE]
 *
 * The file is made anew for each part, its blocks written once before, and
 * removed; a device is overwritten.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/store/store.h"
#include "core/opt.h"

struct part {
    const char *name;
    void (*run)(struct bench *b);
    const char *what;
};

static const struct part parts[] = {
    {"engine", part_tree, "keys and values, journal"},
    {"fsync", part_fsync, "4 KiB and fsync against the bare calls"},
    {"rivals", part_rivals, "the same records in SQLite and LMDB"},
    {"files", part_files, "operations on files, in memory"},
    {"many", part_memory, "--files files: memory, random walks, open"},
    {"start", part_start, "replay of a full journal"},
    {"stream", part_stream, "large files against plain I/O, contiguity"},
    {"small", part_small, "small files, by the bound of what is in line"},
    {"packs", part_packs, "large files, compressed or not"},
    {"age", part_age, "rounds of changes on a nearly full store"},
};

static int usage(void)
{
    fprintf(stderr, "usage: store FILE|DEVICE [--only PART,...] "
                    "[--size BYTES] [--files N] [--cache BYTES]\n"
                    "             [--json FILE]\nparts:\n");
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(parts); i++)
        fprintf(stderr, "  %-8s %s\n", parts[i].name, parts[i].what);
    return 2;
}

static bool is_listed(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = list; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, name, len) == 0 && (p[len] == 0 || p[len] == ','))
            return true;
    }
    return false;
}

struct choice {
    const char *only;
    const char *json;
    uint64_t    die; /* for part start: fill the journal, and go */
};

static bool parse(int argc, char **argv, struct bench *b, struct choice *c)
{
    if (argc < 2 || argc % 2 != 0)
        return false;
    b->path = argv[1];
    for (int i = 2; i < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];
        uint64_t *to = strcmp(key, "--size") == 0    ? &b->size
                       : strcmp(key, "--files") == 0 ? &b->files
                       : strcmp(key, "--cache") == 0 ? &b->cache
                       : strcmp(key, "--die") == 0   ? &c->die
                                                     : NULL;

        if (strcmp(key, "--only") == 0)
            c->only = value;
        else if (strcmp(key, "--json") == 0)
            c->json = value;
        else if (!to || cfs_parse_size(value, to) < 0)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct bench b = {.size = (uint64_t)4 << 30, .files = 1000000,
                      .cache = (uint64_t)256 << 20};
    struct choice c = {0};
    struct cfs_err err = {0};

    if (!parse(argc, argv, &b, &c))
        return usage();
    if (cfs_loop_new(&b.loop, &err) < 0 ||
        cfs_log_open(&b.log, NULL, CFS_LOG_ERROR, CFS_LOG_PLAIN, &err) < 0)
        die("start", err.code, &err);
    if (c.die)
        fill_journal_and_die(&b);
    for (unsigned i = 0; i < CFS_ARRAY_SIZE(parts); i++)
        if (!c.only || is_listed(c.only, parts[i].name))
            parts[i].run(&b);
    rig_remove(&b);
    report_end(&b.report, c.json);
    report_free(&b.report);
    cfs_log_close(b.log);
    cfs_loop_free(b.loop);
    return 0;
}
