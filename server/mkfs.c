/* SPDX-License-Identifier: Apache-2.0 */
/* mkfs.c - mkfs.clusterfs: makes an empty brick on a block device or in an
 * image file.
 *
 * What is there is never overwritten by accident: a device that is in use is
 * refused always (O_EXCL, flock), one that holds something known - anything
 * that libblkid knows, or a brick - unless --force says so; then every
 * signature is wiped before the brick is made. An image file that this run
 * made goes again when the run fails.
 */
#include <blkid/blkid.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/opt.h"
#include "server/tool.h"
#include "xlators/storage/block/engine/super.h"

#define PROGRAM "mkfs.clusterfs"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct mkfs {
    const char       *path;
    uint64_t          size; /* 0: all of it */
    struct eng_format format;
    struct cfs_time   now;
    bool              force;
    bool              sparse;
    bool              json;

    bool             made;  /* this run made the file */
    bool             grown; /* it was there, and empty */
    char            *wiped; /* what was there, in words; NULL: nothing */
    struct fmt_super sb;    /* what was made */
};

/* -- the image file ------------------------------------------------------- */

/* The file to remove when a signal ends us; only the handler and what follows
 * here touch it. */
static const char *volatile unfinished;

static void on_signal(int sig)
{
    if (unfinished)
        unlink(unfinished);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void catch_signals(void)
{
    static const int sigs[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction sa = {.sa_handler = on_signal};

    for (size_t i = 0; i < CFS_ARRAY_SIZE(sigs); i++)
        sigaction(sigs[i], &sa, NULL);
}

/* Give the empty file @fd its size. */
static int fill_image(const struct mkfs *m, int fd, struct cfs_err *err)
{
    int rc;

    if (m->sparse)
        rc = ftruncate(fd, (off_t)m->size) < 0 ? errno : 0;
    else
        rc = posix_fallocate(fd, 0, (off_t)m->size);
    if (rc != 0)
        return cfs_err_set(err, -rc, "%s: %s %" PRIu64 " bytes: %s", m->path,
                           m->sparse ? "cannot have" : "no room for", m->size,
                           strerror(rc));
    return 0;
}

static int make_image(struct mkfs *m, struct cfs_err *err)
{
    int fd, rc;

    if (m->size == 0)
        return cfs_err_set(err, -ENOENT,
                           "%s does not exist; to make an image file, say "
                           "how large: --size", m->path);
    fd = open(m->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return cfs_err_set(err, -errno, "%s: %s", m->path, strerror(errno));
    m->made = true;
    unfinished = m->path;
    rc = fill_image(m, fd, err);
    close(fd);
    return rc;
}

/* A file that is there: an empty one is given its size, any other keeps it. */
static int grow_image(struct mkfs *m, const struct stat *st,
                      struct cfs_err *err)
{
    int fd, rc;

    if (st->st_size > 0 && m->size > (uint64_t)st->st_size)
        return cfs_err_set(err, -ENOSPC,
                           "%s has %" PRIu64 " bytes, fewer than --size; "
                           "remove it, or make it larger first", m->path,
                           (uint64_t)st->st_size);
    if (st->st_size > 0)
        return 0;
    if (m->size == 0)
        return cfs_err_set(err, -EINVAL,
                           "%s is an empty file; say how large it shall be: "
                           "--size", m->path);
    fd = open(m->path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return cfs_err_set(err, -errno, "%s: %s", m->path, strerror(errno));
    m->grown = true;
    rc = fill_image(m, fd, err);
    close(fd);
    return rc;
}

/* See to it that there is something to make a brick on. */
static int prepare(struct mkfs *m, struct cfs_err *err)
{
    struct stat st;

    if (stat(m->path, &st) < 0) {
        if (errno == ENOENT)
            return make_image(m, err);
        return cfs_err_set(err, -errno, "%s: %s", m->path, strerror(errno));
    }
    if (S_ISREG(st.st_mode))
        return grow_image(m, &st, err);
    if (!S_ISBLK(st.st_mode))
        return cfs_err_set(err, -EINVAL,
                           "%s is a %s; a brick is made on a block device or "
                           "in an image file", m->path, tool_type(st.st_mode));
    return 0;
}

/* Leave nothing of a run that failed. */
static void undo(const struct mkfs *m)
{
    if (m->made)
        unlink(m->path);
    else if (m->grown && truncate(m->path, 0) < 0)
        fprintf(stderr, PROGRAM ": %s: could not be emptied again: %s\n",
                m->path, strerror(errno));
}

/* -- what is there already ------------------------------------------------ */

/* Add "@what" to the list of what was found. */
static void found(struct mkfs *m, const char *what)
{
    char *all = m->wiped ? tool_format("%s, %s", m->wiped, what)
                         : tool_format("%s", what);

    free(m->wiped);
    m->wiped = all;
}

/* Whether a superblock of ours, whole or not, is in block @lba. */
static bool has_magic(struct cfs_dev *dev, uint64_t lba)
{
    void *block = NULL;
    uint64_t magic;
    int rc;

    if ((lba + 1) * CFS_BLOCK > dev->size ||
        posix_memalign(&block, CFS_BLOCK, CFS_BLOCK) != 0)
        return false;
    rc = dev->ops->read(dev, CFS_DEV_BUFFERED, lba * CFS_BLOCK, block,
                        CFS_BLOCK);
    memcpy(&magic, block, sizeof magic);
    free(block);
    return rc == 0 && magic == FMT_SUPER_MAGIC;
}

static void find_brick(struct mkfs *m, struct cfs_dev *dev)
{
    uint64_t end = dev->size / CFS_BLOCK - AREA_BLOCKS;
    char id[CFS_UUID_STR], *label, *what;
    struct cfs_err ignored = {0};
    struct fmt_super sb;

    if (super_read(dev, true, &sb, &ignored) == 0) {
        cfs_uuid_print(sb.brick, id);
        label = tool_escape(sb.label, strnlen(sb.label, sizeof sb.label));
        what = tool_format("a clusterfs brick (%s%s%s)", id,
                           *label ? ", label " : "", label);
        found(m, what);
        free(label);
        free(what);
    } else if (has_magic(dev, 0) || has_magic(dev, end) ||
               has_magic(dev, SUPER_SPARE)) {
        found(m, "a clusterfs brick that this program cannot read");
    }
}

/* What the prober stands at, in words. */
static void found_signature(struct mkfs *m, blkid_probe pr)
{
    const char *type = NULL, *label = NULL;
    char *text, *what;

    if (blkid_probe_lookup_value(pr, "TYPE", &type, NULL) == 0) {
        blkid_probe_lookup_value(pr, "LABEL", &label, NULL);
        text = tool_escape(label ? label : "", label ? strlen(label) : 0);
        what = tool_format("%s%s%s", type, *text ? " with label " : "", text);
        found(m, what);
        free(text);
        free(what);
    } else if (blkid_probe_lookup_value(pr, "PTTYPE", &type, NULL) == 0) {
        what = tool_format("a partition table (%s)", type);
        found(m, what);
        free(what);
    } else {
        found(m, "something");
    }
}

static blkid_probe prober(int fd)
{
    blkid_probe pr = blkid_new_probe();

    if (!pr || blkid_probe_set_device(pr, fd, 0, 0) != 0) {
        if (pr)
            blkid_free_probe(pr);
        return NULL;
    }
    blkid_probe_enable_superblocks(pr, 1);
    blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_MAGIC |
                                              BLKID_SUBLKS_TYPE |
                                              BLKID_SUBLKS_LABEL |
                                              BLKID_SUBLKS_BADCSUM);
    blkid_probe_enable_partitions(pr, 1);
    blkid_probe_set_partitions_flags(pr, BLKID_PARTS_MAGIC |
                                             BLKID_PARTS_FORCE_GPT);
    return pr;
}

/* Name every signature that libblkid knows; with @wipe, wipe each. */
static int signatures(struct mkfs *m, bool wipe, struct cfs_err *err)
{
    int fd = open(m->path, (wipe ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    blkid_probe pr;
    int rc;

    if (fd < 0)
        return cfs_err_set(err, -errno, "%s: %s", m->path, strerror(errno));
    pr = prober(fd);
    if (!pr) {
        close(fd);
        return cfs_err_set(err, -EIO, "%s: libblkid cannot look at it",
                           m->path);
    }
    while ((rc = blkid_do_probe(pr)) == 0) {
        if (!wipe)
            found_signature(m, pr);
        else if (blkid_do_wipe(pr, 0) != 0)
            break;
    }
    blkid_free_probe(pr);
    if (rc == 1 && wipe && fsync(fd) < 0)
        rc = -1;
    close(fd);
    if (rc != 1) /* 1: there is nothing more */
        return cfs_err_set(err, -EIO, "%s: %s", m->path,
                           wipe ? "a signature could not be wiped"
                                : "it could not be searched for signatures");
    return 0;
}

/* Refuse what holds something, or wipe it. */
static int clear(struct mkfs *m, struct cfs_dev *dev, struct cfs_err *err)
{
    int rc;

    find_brick(m, dev);
    rc = signatures(m, false, err);
    if (rc < 0)
        return rc;
    if (!m->wiped)
        return 0;
    if (!m->force)
        return cfs_err_set(err, -EEXIST,
                           "%s holds %s; --force makes a brick all the same, "
                           "and what it holds is lost", m->path, m->wiped);
    return signatures(m, true, err);
}

/* -- making --------------------------------------------------------------- */

/* Everything that must be so before @dev may be written to. */
static int check(struct mkfs *m, struct cfs_dev *dev, struct cfs_err *err)
{
    if (m->size > dev->size)
        return cfs_err_set(err, -ENOSPC,
                           "%s has %" PRIu64 " bytes, fewer than --size",
                           m->path, dev->size);
    return clear(m, dev, err);
}

static int make_on(struct mkfs *m, struct cfs_dev *dev, struct cfs_err *err)
{
    int rc;

    rc = check(m, dev, err);
    if (rc < 0)
        return rc;
    m->format.size = m->size;
    rc = ops_mkfs(dev, &m->format, m->now, err);
    return rc < 0 ? rc : super_read(dev, true, &m->sb, err);
}

static int make(struct mkfs *m, struct cfs_err *err)
{
    struct cfs_dev *dev;
    int rc;

    rc = prepare(m, err);
    if (rc == 0)
        rc = cfs_dev_open(m->path, 0, &dev, err);
    if (rc == 0) {
        rc = make_on(m, dev, err);
        dev->ops->close(dev);
    }
    if (rc < 0)
        undo(m);
    unfinished = NULL;
    return rc;
}

/* -- what was made -------------------------------------------------------- */

static void print_json(const struct mkfs *m)
{
    char brick[CFS_UUID_STR], cluster[CFS_UUID_STR];
    json_t *j;

    cfs_uuid_print(m->sb.brick, brick);
    cfs_uuid_print(m->sb.cluster, cluster);
    j = json_pack(
        "{s:o, s:s, s:s?, s:s, s:I, s:I, s:I, s:i, s:b, s:b, s:s?}",
        "device", tool_json_path(m->path), "brick", brick,
        "cluster", cfs_uuid_is_null(m->sb.cluster) ? NULL : cluster,
        "label", m->sb.label,
        "size", (json_int_t)(m->sb.size * CFS_BLOCK),
        "journal", (json_int_t)(m->sb.jrn_blocks * CFS_BLOCK),
        "heartbeat", (json_int_t)(m->sb.hb_blocks * CFS_BLOCK),
        "metadata_copies", m->sb.incompat & FMT_TWICE ? 2 : 1,
        "created", m->made, "sparse", m->sparse, "wiped", m->wiped);
    tool_json_show(j);
}

static void print_words(const struct mkfs *m)
{
    char id[CFS_UUID_STR], size[TOOL_SIZE_STR], jrn[TOOL_SIZE_STR];

    if (m->wiped)
        printf("%s: wiped %s\n", m->path, m->wiped);
    cfs_uuid_print(m->sb.brick, id);
    printf("%s: brick %s%s\n", m->path, id,
           m->made ? m->sparse ? ", in a new sparse file"
                               : ", in a new file"
                   : "");
    if (m->sb.label[0])
        printf("  label    %s\n", m->sb.label);
    if (!cfs_uuid_is_null(m->sb.cluster)) {
        cfs_uuid_print(m->sb.cluster, id);
        printf("  cluster  %s\n", id);
    }
    printf("  size     %s (%" PRIu64 " blocks of %u bytes), "
           "journal %s\n",
           tool_size(m->sb.size * CFS_BLOCK, size), m->sb.size, CFS_BLOCK,
           tool_size(m->sb.jrn_blocks * CFS_BLOCK, jrn));
}

/* -- the command line ----------------------------------------------------- */

static const char help[] =
    "usage: " PROGRAM " [OPTION...] DEVICE|FILE\n"
    "Make an empty brick on a block device or in an image file.\n"
    "\n"
    "      --size SIZE      bytes to use (64M, 10G, ...); needed when FILE\n"
    "                       does not exist: it is made\n"
    "      --sparse         do not allocate a new file's space now\n"
    "      --brick-id UUID  the brick's identity (default: random)\n"
    "      --cluster UUID   the cluster that it belongs to (default: none)\n"
    "      --label TEXT     up to 63 bytes to know it by\n"
    "      --time TIME      when its root directory was made, SEC[.NSEC] or\n"
    "                       \"now\": the same for all replicas\n"
    "      --metadata-copies N  of the tree's nodes: 1, or 2, so that a bad one\n"
    "                       is read from the other\n"
    "      --force          also when it holds something: that is wiped\n"
    "      --json           say in JSON what was made\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 made, 1 failed or refused, 2 wrong usage.\n";

enum {
    OPT_SIZE = 256,
    OPT_SPARSE,
    OPT_BRICK,
    OPT_CLUSTER,
    OPT_LABEL,
    OPT_TIME,
    OPT_COPIES,
    OPT_FORCE,
    OPT_JSON,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option options[] = {
    {"size", required_argument, NULL, OPT_SIZE},
    {"sparse", no_argument, NULL, OPT_SPARSE},
    {"brick-id", required_argument, NULL, OPT_BRICK},
    {"cluster", required_argument, NULL, OPT_CLUSTER},
    {"label", required_argument, NULL, OPT_LABEL},
    {"time", required_argument, NULL, OPT_TIME},
    {"metadata-copies", required_argument, NULL, OPT_COPIES},
    {"force", no_argument, NULL, OPT_FORCE},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

static int parse_label(struct mkfs *m, const char *s, struct cfs_err *err)
{
    json_t *utf8;

    if (strlen(s) >= sizeof m->format.label)
        return cfs_err_set(err, -EINVAL, "--label: more than %zu bytes",
                           sizeof m->format.label - 1);
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return cfs_err_set(err, -EINVAL, "--label: control characters");
    utf8 = json_string(s);
    if (!utf8)
        return cfs_err_set(err, -EINVAL, "--label: not UTF-8");
    json_decref(utf8);
    strcpy(m->format.label, s);
    return 0;
}

static int parse_one(struct mkfs *m, int opt, struct cfs_err *err)
{
    switch (opt) {
    case OPT_SIZE:
        if (cfs_parse_size(optarg, &m->size) < 0 || m->size > INT64_MAX)
            return cfs_err_set(err, -EINVAL, "--size: \"%s\" is no size",
                               optarg);
        m->size -= m->size % CFS_BLOCK;
        if (m->size == 0)
            return cfs_err_set(err, -EINVAL, "--size: too small");
        return 0;
    case OPT_BRICK:
        if (cfs_uuid_parse(optarg, &m->format.brick) < 0 ||
            cfs_uuid_is_null(m->format.brick))
            return cfs_err_set(err, -EINVAL, "--brick-id: \"%s\" is no UUID",
                               optarg);
        return 0;
    case OPT_CLUSTER:
        if (cfs_uuid_parse(optarg, &m->format.cluster) < 0)
            return cfs_err_set(err, -EINVAL, "--cluster: \"%s\" is no UUID",
                               optarg);
        return 0;
    case OPT_LABEL:
        return parse_label(m, optarg, err);
    case OPT_TIME:
        if (strcmp(optarg, "now") != 0 &&
            tool_parse_time(optarg, &m->now) < 0)
            return cfs_err_set(err, -EINVAL,
                               "--time: \"%s\" is neither SEC.NSEC nor now",
                               optarg);
        return 0;
    case OPT_COPIES:
        if (strcmp(optarg, "1") != 0 && strcmp(optarg, "2") != 0)
            return cfs_err_set(err, -EINVAL, "--metadata-copies: 1 or 2");
        m->format.copies = (unsigned)(*optarg - '0');
        return 0;
    case OPT_SPARSE:
        m->sparse = true;
        return 0;
    case OPT_FORCE:
        m->force = true;
        return 0;
    case OPT_JSON:
        m->json = true;
        return 0;
    default:
        return cfs_err_set(err, -EINVAL, "see " PROGRAM " --help");
    }
}

/* What is not given: a random identity, this moment. */
static void set_defaults(struct mkfs *m)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    m->now = (struct cfs_time){now.tv_sec, (uint32_t)now.tv_nsec};
    if (getrandom(m->format.brick.b, sizeof m->format.brick.b, 0) !=
        (ssize_t)sizeof m->format.brick.b)
        abort(); /* so few bytes are always there */
    m->format.brick.b[6] = (m->format.brick.b[6] & 0x0f) | 0x40;
    m->format.brick.b[8] = (m->format.brick.b[8] & 0x3f) | 0x80;
}

static int usage(const struct cfs_err *err)
{
    fprintf(stderr, PROGRAM ": %s\n", err->text);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct cfs_err err = {0};
    struct mkfs m = {0};
    int opt, rc;

    set_defaults(&m);
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == OPT_HELP) {
            fputs(help, stdout);
            return 0;
        }
        if (opt == OPT_VERSION) {
            puts(PROGRAM " " CFS_VERSION);
            return 0;
        }
        if (parse_one(&m, opt, &err) < 0)
            return usage(&err);
    }
    if (argc - optind != 1) {
        cfs_err_set(&err, -EINVAL, "one DEVICE or FILE; see --help");
        return usage(&err);
    }
    m.path = argv[optind];
    catch_signals();
    rc = make(&m, &err);
    if (rc < 0)
        fprintf(stderr, PROGRAM ": %s\n",
                err.text[0] ? err.text : cfs_err_str(rc));
    else if (m.json)
        print_json(&m);
    else
        print_words(&m);
    free(m.wiped);
    return rc < 0 ? EXIT_FAILED : 0;
}
