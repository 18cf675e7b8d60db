/* SPDX-License-Identifier: Apache-2.0 */
/* show.c - what was counted, for people and programs; see README.md.
 *
 *     {"seconds", "in_flight", "fops": {NAME: {"count", ...}},
 *      "inodes": [{"inode", "ops", ...}]}    most operations first
 */
#include "xlators/debug/io-stats/io_stats.h"

#include <inttypes.h>

#include "core/dump.h"

#define DUMPED 20u /* inodes in a statedump */

/* -- one operation --------------------------------------------------------- */

/* The latency in us below which @part (of 1000) of the operations were: the
 * upper end of its bucket. */
static uint64_t quantile_us(const struct ios_counters *c, uint64_t part)
{
    uint64_t want = (c->timed * part + 999) / 1000, seen = 0;

    for (unsigned k = 0; k < IOS_BUCKETS; k++) {
        seen += c->bucket[k];
        if (seen >= want)
            return (uint64_t)1 << k;
    }
    return c->max_ns / 1000;
}

/* Up to the last bucket that is not empty. */
static void put_histogram(const struct ios_counters *c, FILE *out)
{
    unsigned last = 0;

    for (unsigned k = 0; k < IOS_BUCKETS; k++)
        if (c->bucket[k])
            last = k;
    for (unsigned k = 0; k <= last; k++)
        fprintf(out, "%s%" PRIu64, k ? "," : "[", c->bucket[k]);
    fputc(']', out);
}

static void put_fop(const struct ios_counters *c, FILE *out)
{
    fprintf(out, "{\"count\":%" PRIu64 ",\"errors\":%" PRIu64
            ",\"bytes\":%" PRIu64, c->count, c->errors, c->bytes);
    if (c->timed > 0) {
        fprintf(out, ",\"timed\":%" PRIu64 ",\"mean_us\":%.1f"
                ",\"min_us\":%.1f,\"p50_us\":%" PRIu64 ",\"p99_us\":%" PRIu64
                ",\"max_us\":%.1f,\"log2_us\":", c->timed,
                (double)c->total_ns / (double)c->timed / 1e3,
                (double)c->min_ns / 1e3, quantile_us(c, 500),
                quantile_us(c, 990), (double)c->max_ns / 1e3);
        put_histogram(c, out);
    }
    fputc('}', out);
}

/* -- one inode ------------------------------------------------------------- */

/* How many bytes the UTF-8 character at @s has; 0: it is none. */
static unsigned utf8_len(const unsigned char *s, size_t left)
{
    unsigned n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;

    if (n == 0 || n > left)
        return 0;
    for (unsigned i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
        return 0;
    return n;
}

/* A file's name as a JSON string; bytes that are no UTF-8 become \xNN. */
static void put_name(const struct busy_inode *i, FILE *out)
{
    const unsigned char *s = (const unsigned char *)i->name;
    size_t left = i->name_len;

    fputc('"', out);
    while (left > 0) {
        unsigned n = utf8_len(s, left);

        if (n == 0)
            fprintf(out, "\\\\x%02x", *s);
        else if (*s < 0x20 || *s == 0x7f)
            fprintf(out, "\\u%04x", *s);
        else if (*s == '"' || *s == '\\')
            fprintf(out, "\\%c", *s);
        else
            fwrite(s, 1, n, out);
        s += n ? n : 1;
        left -= n ? n : 1;
    }
    fputc('"', out);
}

static void put_inode(const struct busy_inode *i, FILE *out)
{
    fprintf(out, "{\"inode\":%" PRIu64 ",\"ops\":%" PRIu64 ",\"over\":%" PRIu64
            ",\"reads\":%" PRIu64 ",\"changes\":%" PRIu64
            ",\"read\":%" PRIu64 ",\"written\":%" PRIu64,
            cfs_gfid_ino(i->gfid), i->ops, i->over, i->reads, i->changes,
            i->read, i->written);
    if (i->name_len > 0) {
        fprintf(out, ",\"parent\":%" PRIu64 ",\"name\":",
                cfs_gfid_ino(i->parent));
        put_name(i, out);
    }
    fputc('}', out);
}

/* -- all of it ------------------------------------------------------------- */

static double seconds(const struct cfs_xl *xl)
{
    const struct ios *ios = xl->priv;

    return (double)(cfs_now_fresh(xl->loop) - ios->since) / 1e9;
}

void ios_report(struct cfs_xl *xl, FILE *out)
{
    const struct ios *ios = xl->priv;
    uint8_t order[BUSY_MAX];
    unsigned n = busy_order(&ios->busy, order);
    const char *comma = "";

    fprintf(out, "{\"seconds\":%.3f,\"in_flight\":%" PRIu64 ",\"fops\":{",
            seconds(xl), ios->in_flight);
    for (unsigned f = 0; f < CFS_FOP_N; f++) {
        if (ios->fop[f].count == 0)
            continue;
        fprintf(out, "%s\"%s\":", comma, cfs_fop_name((enum cfs_fop)f));
        put_fop(&ios->fop[f], out);
        comma = ",";
    }
    fprintf(out, "},\"inodes\":[");
    for (unsigned i = 0; i < n; i++) {
        fputs(i ? "," : "", out);
        put_inode(&ios->busy.inode[order[i]], out);
    }
    fprintf(out, "]}");
}

void ios_dump(struct cfs_xl *xl, struct cfs_dump *d)
{
    const struct ios *ios = xl->priv;
    uint8_t order[BUSY_MAX];
    unsigned n = busy_order(&ios->busy, order);

    cfs_dump_put(d, "seconds", "%.3f", seconds(xl));
    cfs_dump_put(d, "in_flight", "%" PRIu64, ios->in_flight);
    for (unsigned f = 0; f < CFS_FOP_N; f++)
        if (ios->fop[f].count > 0) {
            fprintf(d->out, "%s=", cfs_fop_name((enum cfs_fop)f));
            put_fop(&ios->fop[f], d->out);
            fputc('\n', d->out);
        }
    for (unsigned i = 0; i < n && i < DUMPED; i++) {
        fprintf(d->out, "busy=");
        put_inode(&ios->busy.inode[order[i]], d->out);
        fputc('\n', d->out);
    }
}
