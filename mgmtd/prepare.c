/* SPDX-License-Identifier: Apache-2.0 */
/* prepare.c - see prepare.h. mkfs.clusterfs makes the image files and has the
 * last word on what is overwritten; here is what concerns several bricks, or
 * a file that nothing is known about. */
#include "mgmtd/prepare.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <linux/fs.h>

#include "core/host.h"
#include "mgmtd/mem.h"
#include "mgmtd/launch.h"
#include "xlators/storage/block/engine/format.h"

#define MIB ((uint64_t)1 << 20)

/* -- looking ------------------------------------------------------------- */

/* The folder that @path is in, malloc'ed. */
static char *parent_of(const char *path)
{
    char *copy = mem_str(path);
    char *dir = mem_str(dirname(copy));

    free(copy);
    return dir;
}

static int canonical(struct prep_brick *b, struct cfs_err *err)
{
    char *dir, *real, *copy;

    if (b->exists) {
        b->canonical = realpath(b->path, NULL);
        return b->canonical ? 0
                            : cfs_err_set(err, -errno, "%s: %s", b->path,
                                          strerror(errno));
    }
    dir = parent_of(b->path);
    real = realpath(dir, NULL);
    if (!real) {
        int rc = cfs_err_set(err, -errno, "%s: there is no directory %s to "
                             "make the image file in", b->path, dir);

        free(dir);
        return rc;
    }
    copy = mem_str(b->path);
    b->canonical = mem_printf("%s/%s", strcmp(real, "/") ? real : "",
                              basename(copy));
    free(copy);
    free(dir);
    free(real);
    return 0;
}

/* The path of a brick for which none was named. */
static int choose_path(const struct prep *p, struct prep_brick *b,
                       struct cfs_err *err)
{
    char *dir;
    int rc;

    if (*b->path || !p->dir)
        return 0;
    dir = mem_printf("%s/bricks", p->dir);
    rc = cfs_mkdirs(dir, 0700);
    if (rc < 0) {
        cfs_err_set(err, rc, "%s: %s", dir, cfs_err_str(rc));
    } else {
        free(b->path);
        b->path = mem_printf("%s/%s-%u.img", dir, p->volume, b->index + 1);
    }
    free(dir);
    return rc;
}

static int look(struct prep_brick *b, struct cfs_err *err)
{
    size_t len = strlen(b->path);
    struct stat st;

    if (len == 0 || b->path[len - 1] == '/')
        return cfs_err_set(err, -EINVAL, "%s: name an image file or a block "
                           "device, not a directory", b->path);
    b->exists = stat(b->path, &st) == 0;
    if (!b->exists && errno != ENOENT)
        return cfs_err_set(err, -errno, "%s: %s", b->path, strerror(errno));
    if (b->exists && S_ISDIR(st.st_mode))
        return cfs_err_set(err, -EISDIR, "%s is a directory; a brick is one "
                           "block device or one image file: name a file in "
                           "it, such as %s/brick.img", b->path, b->path);
    if (b->exists && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return cfs_err_set(err, -EINVAL, "%s is neither a block device nor a "
                           "file", b->path);
    return canonical(b, err);
}

int prep_look(struct prep *p, struct cfs_err *err)
{
    for (unsigned i = 0; i < p->n; i++) {
        int rc = choose_path(p, &p->brick[i], err);

        if (rc == 0)
            rc = look(&p->brick[i], err);
        if (rc < 0)
            return rc;
        for (unsigned k = 0; k < i; k++)
            if (strcmp(p->brick[i].canonical, p->brick[k].canonical) == 0)
                return cfs_err_set(err, -EINVAL, "%s stands twice: each brick "
                                   "needs a device of its own",
                                   p->brick[i].path);
    }
    return 0;
}

/* -- what is in a file --------------------------------------------------- */

/* In one word, into @ret; "data" when nobody knows. */
static void contents(const char *path, char *ret, size_t len)
{
    blkid_probe pr = blkid_new_probe_from_filename(path);
    const char *type = NULL;
    uint64_t magic = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    snprintf(ret, len, "data");
    if (fd >= 0 && pread(fd, &magic, sizeof magic, 0) == sizeof magic &&
        magic == FMT_SUPER_MAGIC)
        snprintf(ret, len, "a clusterfs brick that belongs to no volume here");
    if (fd >= 0)
        close(fd);
    if (!pr)
        return;
    blkid_probe_enable_superblocks(pr, 1);
    blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE);
    blkid_probe_enable_partitions(pr, 1);
    if (blkid_do_safeprobe(pr) == 0) {
        if (blkid_probe_lookup_value(pr, "TYPE", &type, NULL) == 0)
            snprintf(ret, len, "a file system or the like (%s)", type);
        else if (blkid_probe_lookup_value(pr, "PTTYPE", &type, NULL) == 0)
            snprintf(ret, len, "a partition table (%s)", type);
    }
    blkid_free_probe(pr);
}

/* A file that is there, and not empty, may be anything: even where mkfs knows
 * no signature in it, nobody has said that it may go. */
static int check_file(const struct prep *p, const struct prep_brick *b,
                      struct cfs_err *err)
{
    char what[128];
    struct stat st;

    if (!b->exists || p->force || stat(b->path, &st) < 0 ||
        !S_ISREG(st.st_mode) || st.st_size == 0)
        return 0;
    contents(b->path, what, sizeof what);
    return cfs_err_set(err, -EEXIST, "%s exists already and holds %s; --force "
                       "makes a brick of it all the same, and what it holds "
                       "is lost", b->path, what);
}

/* -- sizes --------------------------------------------------------------- */

/* The file system that a new image file of @b will be in. */
static int fs_of(const struct prep_brick *b, struct statvfs *ret_vfs,
                 dev_t *ret_dev, struct cfs_err *err)
{
    char *dir = parent_of(b->canonical);
    struct stat st;
    int rc = 0;

    if (statvfs(dir, ret_vfs) < 0 || stat(dir, &st) < 0)
        rc = cfs_err_set(err, -errno, "%s: %s", dir, strerror(errno));
    else
        *ret_dev = st.st_dev;
    free(dir);
    return rc;
}

/* Whether this run makes the file, and so chooses its size. */
static bool is_new(const struct prep_brick *b)
{
    struct stat st;

    return !b->exists ||
           (stat(b->path, &st) == 0 && S_ISREG(st.st_mode) &&
            st.st_size == 0);
}

/* Nine tenths of the free space, shared by the new files that are in the same
 * file system. */
static int share(struct prep *p, struct prep_brick *b, struct cfs_err *err)
{
    struct statvfs vfs, other_vfs;
    dev_t dev, other;
    uint64_t users = 0;
    int rc = fs_of(b, &vfs, &dev, err);

    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < p->n; i++) {
        if (!is_new(&p->brick[i]))
            continue;
        rc = fs_of(&p->brick[i], &other_vfs, &other, err);
        if (rc < 0)
            return rc;
        users += other == dev;
    }
    b->size = (uint64_t)vfs.f_bavail * vfs.f_frsize / 10 * 9 / users;
    b->size -= b->size % MIB;
    if (b->size == 0)
        return cfs_err_set(err, -ENOSPC, "%s: there is no free space for it",
                           b->path);
    return 0;
}

static int choose_sizes(struct prep *p, struct cfs_err *err)
{
    uint64_t share_of[CFS_SET_MAX] = {0};

    for (unsigned i = 0; i < p->n; i++) {
        struct prep_brick *b = &p->brick[i];
        int rc = 0;

        if (p->size == 0 && is_new(b))
            rc = share(p, b, err);
        if (rc < 0)
            return rc;
        share_of[i] = p->size ? p->size : b->size;
    }
    for (unsigned i = 0; i < p->n; i++)
        p->brick[i].size = share_of[i];
    return 0;
}

/* -- making -------------------------------------------------------------- */

static void put_arg(char **argv, unsigned *n, const char *a, const char *b)
{
    argv[(*n)++] = mem_str(a);
    if (b)
        argv[(*n)++] = mem_str(b);
}

static char **arguments(const struct prep *p, const struct prep_brick *b,
                        const char *program)
{
    char **argv = mem_new(20 * sizeof *argv);
    char text[128];
    unsigned n = 0;

    put_arg(argv, &n, program, NULL);
    cfs_uuid_print(b->id, text);
    put_arg(argv, &n, "--brick-id", text);
    cfs_uuid_print(p->cluster, text);
    put_arg(argv, &n, "--cluster", text);
    snprintf(text, sizeof text, "%" PRId64 ".%09u", p->now.sec, p->now.nsec);
    put_arg(argv, &n, "--time", text);
    put_arg(argv, &n, "--label", p->volume);
    if (b->size) {
        snprintf(text, sizeof text, "%" PRIu64, b->size);
        put_arg(argv, &n, "--size", text);
    }
    if (p->sparse)
        put_arg(argv, &n, "--sparse", NULL);
    if (p->force)
        put_arg(argv, &n, "--force", NULL);
    if (p->n == 1) /* there is no other brick to heal a bad node from */
        put_arg(argv, &n, "--metadata-copies", "2");
    put_arg(argv, &n, b->path, NULL);
    return argv;
}

/* The last line of what mkfs said, without its name. */
static const char *reason(char *output)
{
    char *line = strrchr(output, '\n');

    line = line ? line + 1 : output;
    if (strncmp(line, "mkfs.clusterfs: ", 16) == 0)
        line += 16;
    return line;
}

static int make_one(const struct prep *p, struct prep_brick *b,
                    const char *program, struct cfs_err *err)
{
    char **argv = arguments(p, b, program);
    char output[2048];
    int rc;

    rc = spawn_wait(argv, output, sizeof output, err);
    for (char **a = argv; *a; a++)
        free(*a);
    free(argv);
    if (rc < 0)
        return rc;
    if (rc > 0)
        return cfs_err_set(err, -EIO, "%s",
                           *output ? reason(output) : "mkfs.clusterfs failed");
    b->made = true;
    return 0;
}

/* The size that a brick on a device, or in a file that was there, has. */
static uint64_t size_of(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t size = 0;
    struct stat st;

    if (fd < 0)
        return 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        size = (uint64_t)st.st_size;
    else if (ioctl(fd, BLKGETSIZE64, &size) < 0)
        size = 0;
    close(fd);
    return size;
}

int prep_make(struct prep *p, struct cfs_err *err)
{
    char *program = NULL;
    int rc = spawn_find("mkfs.clusterfs", &program, err);

    for (unsigned i = 0; i < p->n && rc == 0; i++)
        rc = check_file(p, &p->brick[i], err);
    if (rc == 0)
        rc = choose_sizes(p, err);
    for (unsigned i = 0; i < p->n && rc == 0; i++) {
        struct prep_brick *b = &p->brick[i];

        rc = make_one(p, b, program, err);
        if (rc == 0 && b->size == 0)
            b->size = size_of(b->path);
    }
    if (rc < 0)
        prep_undo(p, NULL);
    free(program);
    return rc;
}

/* Nothing shall take it for a brick. */
static void wipe(const struct prep_brick *b)
{
    static const char zero[CFS_BLOCK];
    int fd = open(b->path, O_WRONLY | O_CLOEXEC);
    uint64_t end = b->size - b->size % CFS_BLOCK;

    if (fd < 0)
        return;
    if (pwrite(fd, zero, sizeof zero, 0) > 0 &&
        pwrite(fd, zero, sizeof zero, SUPER_SPARE * CFS_BLOCK) > 0 &&
        end > AREA_BLOCKS * CFS_BLOCK)
        end = (uint64_t)pwrite(fd, zero, sizeof zero,
                               (off_t)(end - AREA_BLOCKS * CFS_BLOCK));
    fsync(fd);
    close(fd);
}

/* 1: it holds the brick that was to be made; 0: it is empty, or not there;
 * -EBUSY: either, and a mkfs that outlived its mgmtd still has it open, to
 * make it; -EEXIST: something else. */
static int made_here(const struct prep_brick *b)
{
    struct fmt_super super;
    static const struct fmt_super zero;
    int fd = open(b->path, O_RDONLY | O_CLOEXEC);
    bool busy;
    ssize_t n;

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    busy = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    memset(&super, 0, sizeof super);
    n = pread(fd, &super, sizeof super, 0);
    close(fd);
    if (n < 0)
        return -EIO;
    if (super.magic == FMT_SUPER_MAGIC && cfs_uuid_eq(super.brick, b->id))
        return busy ? -EBUSY : 1;
    if (memcmp(&super, &zero, sizeof super) == 0)
        return busy ? -EBUSY : 0;
    return -EEXIST;
}

int prep_undo(struct prep *p, struct cfs_err *err)
{
    int rc = 0;

    for (unsigned i = 0; i < p->n; i++) {
        struct prep_brick *b = &p->brick[i];
        int made = *b->path ? made_here(b) : 0;

        if (made == -EBUSY) {
            rc = cfs_err_set(err, made, "%s: mkfs.clusterfs is still at work "
                             "on it", b->path);
            continue;
        }
        if (made == 1 && b->size == 0)
            b->size = size_of(b->path);
        if (made == 1 && b->exists)
            wipe(b);
        else if (made >= 0 && !b->exists && *b->path &&
                 unlink(b->path) < 0 && errno != ENOENT)
            rc = cfs_err_set(err, -errno, "%s: %s", b->path, strerror(errno));
        b->made = false;
    }
    return rc;
}

void prep_fini(struct prep *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        free(p->brick[i].node);
        free(p->brick[i].path);
        free(p->brick[i].canonical);
    }
}
