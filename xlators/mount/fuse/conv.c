/* SPDX-License-Identifier: Apache-2.0 */
#include "xlators/mount/fuse/conv.h"


void fm_stat(const struct cfs_attr *a, struct stat *ret)
{
    *ret = (struct stat){
        .st_ino = cfs_gfid_ino(a->gfid),
        .st_mode = a->mode,
        .st_nlink = a->nlink,
        .st_uid = a->uid,
        .st_gid = a->gid,
        .st_rdev = a->rdev,
        .st_size = (off_t)a->size,
        .st_blocks = (blkcnt_t)a->blocks,
        .st_blksize = FM_BLKSIZE,
        .st_atim = {.tv_sec = a->atime.sec, .tv_nsec = a->atime.nsec},
        .st_mtim = {.tv_sec = a->mtime.sec, .tv_nsec = a->mtime.nsec},
        .st_ctim = {.tv_sec = a->ctime.sec, .tv_nsec = a->ctime.nsec},
    };
}

uint32_t fm_set_mask(uint32_t valid)
{
    static const struct {
        uint32_t fattr;
        uint32_t set;
    } map[] = {
        {FATTR_MODE, CFS_SET_MODE},
        {FATTR_UID, CFS_SET_UID},
        {FATTR_GID, CFS_SET_GID},
        {FATTR_ATIME_NOW, CFS_SET_ATIME_NOW},
        {FATTR_MTIME_NOW, CFS_SET_MTIME_NOW},
        {FATTR_KILL_SUIDGID, CFS_SET_KILL_SUID},
        /* A truncation to the present size changes the times too. */
        {FATTR_SIZE, CFS_SET_SIZE | CFS_SET_MTIME_NOW},
    };
    uint32_t mask = 0;

    for (size_t i = 0; i < CFS_ARRAY_SIZE(map); i++) {
        if (valid & map[i].fattr)
            mask |= map[i].set;
    }
    /* The kernel says "now" beside "this time", not instead of it. */
    if ((valid & FATTR_ATIME) && !(valid & FATTR_ATIME_NOW))
        mask |= CFS_SET_ATIME;
    if ((valid & FATTR_MTIME) && !(valid & FATTR_MTIME_NOW)) {
        mask |= CFS_SET_MTIME;
        mask &= ~CFS_SET_MTIME_NOW;
    }
    return mask;
}

bool fm_wants_kill(const struct fuse_in_header *in, size_t len)
{
    const void *arg = in + 1;
    size_t n = len - sizeof *in;

    switch (in->opcode) {
    case FUSE_WRITE:
        return n >= sizeof(struct fuse_write_in) &&
               (((const struct fuse_write_in *)arg)->write_flags &
                FUSE_WRITE_KILL_SUIDGID);
    case FUSE_OPEN:
        return n >= sizeof(struct fuse_open_in) &&
               (((const struct fuse_open_in *)arg)->open_flags &
                FUSE_OPEN_KILL_SUIDGID);
    default:
        return false;
    }
}

uint64_t fm_piece(uint64_t offset, uint64_t left, uint64_t max)
{
    uint64_t n = max - offset % CFS_BLOCK;

    assert(max >= CFS_BLOCK && max % CFS_BLOCK == 0);
    return left < n ? left : n;
}

/* -- extended attributes --------------------------------------------------- */

static bool starts_with(struct cfs_name name, const char *prefix)
{
    size_t n = strlen(prefix);

    return name.len > n && memcmp(name.s, prefix, n) == 0;
}

bool fm_xattr_kept(struct cfs_name name)
{
    return starts_with(name, "user.") || starts_with(name, "trusted.") ||
           starts_with(name, "security.");
}

uint32_t fm_xattr_filter(struct cfs_blob names, bool privileged, char *ret)
{
    const char *p = names.p, *end = p + names.len;
    uint32_t used = 0;

    while (p < end) {
        const char *nul = memchr(p, '\0', (size_t)(end - p));
        struct cfs_name name;

        if (nul == NULL)
            break;
        name = (struct cfs_name){p, (uint32_t)(nul - p)};
        p = nul + 1;
        if (!fm_xattr_kept(name))
            continue;
        if (!privileged && starts_with(name, "trusted."))
            continue;
        memcpy(ret + used, name.s, name.len + 1);
        used += name.len + 1;
    }
    return used;
}

/* -- INIT ------------------------------------------------------------------ */

uint64_t fm_init_flags(uint64_t offered)
{
    static const uint64_t wanted =
        FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES |
        FUSE_ATOMIC_O_TRUNC |    /* OPEN says O_TRUNC: no SETATTR of its own */
        FUSE_AUTO_INVAL_DATA |   /* changed mtime or size: pages are dropped */
        FUSE_ASYNC_DIO |         /* O_DIRECT keeps several requests going */
        FUSE_PARALLEL_DIROPS |   /* lookups in a directory side by side */
        FUSE_HANDLE_KILLPRIV_V2 | /* set-user-ID bits go with the change */
        FUSE_CACHE_SYMLINKS |    /* a symlink's text never changes */
        FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
        FUSE_INIT_EXT;

    return wanted & offered;
}

void fm_init_patch(const struct fuse_init_in *in, const struct fm_init *want,
                   struct fuse_init_out *out)
{
    uint64_t offered = in->flags, flags;

    if (in->flags & FUSE_INIT_EXT)
        offered |= (uint64_t)in->flags2 << 32;
    flags = fm_init_flags(offered);
    out->flags = (uint32_t)flags;
    out->flags2 = (uint32_t)(flags >> 32);
    out->max_readahead = in->max_readahead;
    out->max_write = CFS_IO_MAX;
    out->max_background = (uint16_t)want->max_background;
    out->congestion_threshold = (uint16_t)(want->max_background * 3 / 4);
    out->time_gran = 1;
    if (flags & FUSE_MAX_PAGES) {
        out->max_pages = (uint16_t)(CFS_IO_MAX / want->page_size);
    } else {
        out->max_pages = 0;
        out->max_write = 32 * want->page_size;
    }
}
