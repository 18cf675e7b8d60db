/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_damage.c - damage of every kind that the checker knows, and what it
 * must say about each. */
#include "tests/unit/fsck_world.h"

#include <stdlib.h>
#include <sys/stat.h>

/* -- planting ------------------------------------------------------------- */

static void touched(struct plant *p, const struct rec_key *k)
{
    assert_int_equal(eng_touch(p->e, rec_key_blob(k)), 0);
    assert_int_equal(eng_begin(p->e, 1, 70000, 1000, 0), 0);
}

static void put(struct plant *p, const struct rec_key *k, const void *v,
                size_t len)
{
    touched(p, k);
    eng_put(p->e, rec_key_blob(k), (struct cfs_blob){v, (uint32_t)len});
}

static void del(struct plant *p, const struct rec_key *k)
{
    struct cfs_blob v;

    assert_int_equal(eng_get(p->e, rec_key_blob(k), &v), 0); /* it is there */
    touched(p, k);
    eng_del(p->e, rec_key_blob(k));
}

/* @ext: blocks that the records in between have named. */
static void commit(struct plant *p, const struct eng_ext *ext, unsigned n)
{
    struct eng_rec rec = {.type = 999, .ext = ext, .n_ext = n};

    eng_commit(p->e, &rec, NULL);
}

static void del_of(struct plant *p, enum rec_table t, struct cfs_gfid g)
{
    struct rec_key k;

    rec_key_gfid(&k, t, g);
    del(p, &k);
}

static struct rec_inode inode(struct plant *p, struct cfs_gfid g)
{
    struct rec_inode i;
    struct rec_key k;
    struct cfs_blob v;

    rec_key_gfid(&k, REC_INODE, g);
    assert_int_equal(eng_get(p->e, rec_key_blob(&k), &v), 0);
    assert_int_equal(rec_inode_unpack(v, &i), 0);
    return i;
}

static void put_inode(struct plant *p, struct cfs_gfid g,
                      const struct rec_inode *i)
{
    uint8_t v[REC_INODE_MAX];
    struct rec_key k;

    rec_key_gfid(&k, REC_INODE, g);
    put(p, &k, v, rec_inode_pack(i, v));
}

static void put_chunk(struct plant *p, struct cfs_gfid g, uint64_t index,
                      const struct rec_chunk *c)
{
    uint8_t v[REC_CHUNK_MAX];
    struct rec_key k;

    rec_key_gfid_u64(&k, REC_CHUNK, g, index);
    put(p, &k, v, rec_chunk_pack(c, v));
}

static struct rec_dirent dirent(struct plant *p, struct cfs_gfid dir,
                                const char *name)
{
    struct rec_dirent d;
    struct rec_key k;
    struct cfs_blob v;

    rec_key_name(&k, REC_DIRENT, dir, cfs_test_name(name));
    assert_int_equal(eng_get(p->e, rec_key_blob(&k), &v), 0);
    assert_int_equal(rec_dirent_unpack(v, &d), 0);
    return d;
}

static void put_dirent(struct plant *p, struct cfs_gfid dir, const char *name,
                       const struct rec_dirent *d)
{
    uint8_t v[REC_DIRENT_MAX];
    struct rec_key k;

    rec_key_name(&k, REC_DIRENT, dir, cfs_test_name(name));
    put(p, &k, v, rec_dirent_pack(d, v));
}

static void put_cookie(struct plant *p, struct cfs_gfid dir, const char *name,
                       const struct rec_dirent *d)
{
    struct rec_cookie c = {d->child, d->type, cfs_test_name(name)};
    uint8_t v[REC_COOKIE_MAX];
    struct rec_key k;

    rec_key_gfid_u64(&k, REC_COOKIE, dir, d->cookie);
    put(p, &k, v, rec_cookie_pack(&c, v));
}

/* Both records of one entry. */
static void put_entry(struct plant *p, struct cfs_gfid dir, const char *name,
                      const struct rec_dirent *d)
{
    put_dirent(p, dir, name, d);
    put_cookie(p, dir, name, d);
}

void damage_flip(struct world *w, uint64_t lba, unsigned byte)
{
    uint8_t *block = aligned_alloc(4096, 4096);
    struct iovec iov = {block, 4096};

    assert_int_equal(w->f.dev->ops->read(w->f.dev, CFS_DEV_BUFFERED,
                                         lba * 4096, block, 4096), 0);
    block[byte] ^= 0x10;
    assert_int_equal(w->f.dev->ops->write(w->f.dev, CFS_DEV_BUFFERED,
                                          lba * 4096, &iov, 1, 4096), 0);
    free(block);
}

/* -- damage: names -------------------------------------------------------- */

static void plant_nlink(struct plant *p)
{
    struct rec_inode i = inode(p, p->w->small);

    i.nlink = 7;
    put_inode(p, p->w->small, &i);
}

static void plant_dir_nlink(struct plant *p)
{
    struct rec_inode i = inode(p, p->w->dir);

    i.nlink = 2;
    put_inode(p, p->w->dir, &i);
}

static void plant_entries(struct plant *p)
{
    struct rec_inode i = inode(p, p->w->sub);

    i.entries = 3;
    put_inode(p, p->w->sub, &i);
}

static void plant_parent(struct plant *p)
{
    struct rec_inode i = inode(p, p->w->sub);

    i.parent = p->w->other;
    put_inode(p, p->w->sub, &i);
}

static void plant_missing_cookie(struct plant *p)
{
    struct rec_dirent d = dirent(p, p->w->sub, "second");
    struct rec_key k;

    rec_key_gfid_u64(&k, REC_COOKIE, p->w->sub, d.cookie);
    del(p, &k);
}

static void plant_missing_entry(struct plant *p)
{
    struct rec_key k;

    rec_key_name(&k, REC_DIRENT, p->w->sub, cfs_test_name("second"));
    del(p, &k);
}

static void plant_cookie_of_another_name(struct plant *p)
{
    struct rec_dirent d = dirent(p, p->w->sub, "second");

    put_cookie(p, p->w->sub, "third", &d);
}

static void plant_cookie_from_the_future(struct plant *p)
{
    struct rec_inode i = inode(p, p->w->sub);

    i.version.seq = 1;
    put_inode(p, p->w->sub, &i);
}

static void plant_wrong_type(struct plant *p)
{
    struct rec_dirent d = dirent(p, p->w->sub, "second");

    d.type = S_IFIFO;
    put_entry(p, p->w->sub, "second", &d);
}

static void plant_dangling(struct plant *p)
{
    struct rec_dirent d = dirent(p, p->w->sub, "second");

    d.child = cfs_gfid_make(0x123456789);
    put_entry(p, p->w->sub, "second", &d);
}

/* /dir/sub also stands in /other, as "again". */
static void plant_dir_with_two_names(struct plant *p)
{
    struct rec_dirent d = {p->w->sub, S_IFDIR, 1};
    struct rec_inode i = inode(p, p->w->other);

    put_entry(p, p->w->other, "again", &d);
    i.entries++;
    i.nlink++;
    put_inode(p, p->w->other, &i);
}

/* /dir/sub moves into itself. */
static void plant_loop(struct plant *p)
{
    struct rec_dirent d = dirent(p, p->w->dir, "sub");
    struct rec_inode i;
    struct rec_key k;

    rec_key_name(&k, REC_DIRENT, p->w->dir, cfs_test_name("sub"));
    del(p, &k);
    rec_key_gfid_u64(&k, REC_COOKIE, p->w->dir, d.cookie);
    del(p, &k);
    i = inode(p, p->w->dir);
    i.entries--;
    i.nlink--;
    put_inode(p, p->w->dir, &i);
    d.cookie = 8;
    put_entry(p, p->w->sub, "sub", &d);
    i = inode(p, p->w->sub);
    i.entries++;
    i.nlink++;
    i.version.seq = 9;
    i.parent = p->w->sub;
    put_inode(p, p->w->sub, &i);
}

static void plant_unlisted_orphan(struct plant *p)
{
    del_of(p, REC_ORPHAN, p->w->gone);
}

static void plant_named_orphan(struct plant *p)
{
    uint8_t v[REC_ORPHAN_MAX];
    struct rec_key k;

    rec_key_gfid(&k, REC_ORPHAN, p->w->small);
    put(p, &k, v, rec_orphan_pack(1, v));
}

/* -- damage: what belongs to inodes --------------------------------------- */

static void plant_double_block(struct plant *p)
{
    struct rec_chunk from = fix_chunk(p->e, p->w->big, 0);
    struct rec_chunk to = fix_chunk(p->e, p->w->second, 0);
    struct eng_ext was = {to.lba[0], 1};

    to.lba[0] = from.lba[3];
    to.sum[0] = from.sum[3];
    put_chunk(p, p->w->second, 0, &to);
    eng_free(p->e, was); /* or it would be lost */
}

static void plant_lost_blocks(struct plant *p)
{
    struct eng_ext ext;
    unsigned n;

    assert_int_equal(eng_alloc(p->e, 5, 0, 0, &ext, 1, &n), 0);
    commit(p, &ext, 1);
}

static void plant_unmarked_block(struct plant *p)
{
    struct rec_chunk c = fix_chunk(p->e, p->w->big, 1);

    eng_free(p->e, (struct eng_ext){c.lba[2], 1});
}

static void plant_strange_address(struct plant *p)
{
    struct rec_chunk c = fix_chunk(p->e, p->w->big, 1);
    struct eng_ext was = {c.lba[31], 1};

    c.lba[31] = 7; /* in the superblock's area */
    put_chunk(p, p->w->big, 1, &c);
    eng_free(p->e, was);
}

static void plant_flipped_bit(struct plant *p)
{
    damage_flip(p->w, fix_chunk(p->e, p->w->big, 1).lba[4], 1000);
}

static void plant_blocks_behind_end(struct plant *p)
{
    struct rec_inode i = inode(p, p->w->second);

    i.size = 4096;
    put_inode(p, p->w->second, &i);
}

static void plant_bytes_behind_end(struct plant *p)
{
    struct rec_inode i = inode(p, p->w->second);

    i.size = 4999;
    put_inode(p, p->w->second, &i);
}

static void plant_blocks_count(struct plant *p)
{
    struct rec_inode i = inode(p, p->w->big);

    i.blocks -= 2;
    put_inode(p, p->w->big, &i);
}

static void plant_missing_small(struct plant *p)
{
    del_of(p, REC_SMALL, p->w->small);
}

static void plant_small_beside_blocks(struct plant *p)
{
    struct rec_key k;

    rec_key_gfid(&k, REC_SMALL, p->w->big);
    put(p, &k, "x", 1);
}

static void plant_long_small(struct plant *p)
{
    struct rec_inode i = inode(p, p->w->small);

    i.size = 99;
    put_inode(p, p->w->small, &i);
}

static void plant_short_target(struct plant *p)
{
    struct rec_key k;

    rec_key_gfid(&k, REC_SMALL, p->w->link);
    put(p, &k, "dir", 3);
}

static void plant_xattr_count(struct plant *p)
{
    struct rec_inode i = inode(p, p->w->big);

    i.n_xattr = 3;
    put_inode(p, p->w->big, &i);
}

static void plant_xattr_of_nobody(struct plant *p)
{
    struct rec_key k;

    rec_key_name(&k, REC_XATTR, p->w->purged, cfs_test_name("user.x"));
    put(p, &k, "y", 1);
}

static void plant_chunk_of_nobody(struct plant *p)
{
    struct rec_chunk c = {.mapped = 1, .unwritten = 1};
    struct eng_ext ext;
    unsigned n;

    assert_int_equal(eng_alloc(p->e, 1, 0, 0, &ext, 1, &n), 0);
    c.lba[0] = ext.lba;
    put_chunk(p, p->w->purged, 5, &c);
    commit(p, &ext, 1);
}

static void plant_mark(struct plant *p)
{
    uint8_t v[REC_REMOVAL_MAX];
    struct rec_key k;

    rec_key_gfid_u64(&k, REC_REMOVAL, p->w->second, 100);
    put(p, &k, v, rec_removal_pack(50, v));
}

static void plant_overlapping_marks(struct plant *p)
{
    struct rec_inode i = inode(p, p->w->second);
    uint8_t v[REC_REMOVAL_MAX];
    struct rec_key k;

    rec_key_gfid_u64(&k, REC_REMOVAL, p->w->second, 100);
    put(p, &k, v, rec_removal_pack(50, v));
    rec_key_gfid_u64(&k, REC_REMOVAL, p->w->second, 200);
    put(p, &k, v, rec_removal_pack(99, v));
    i.marks = 2;
    put_inode(p, p->w->second, &i);
}

/* Two steps of removals that are under way: no damage. */
static void plant_removal(struct plant *p)
{
    struct rec_inode i = inode(p, p->w->big);
    uint8_t v[REC_REMOVAL_MAX];
    struct rec_key k;

    rec_key_gfid_u64(&k, REC_REMOVAL, p->w->big, CHUNK_END);
    put(p, &k, v, rec_removal_pack(0, v));
    i.size = i.blocks = 0;
    i.marks = 1;
    put_inode(p, p->w->big, &i);
}

static void plant_purge(struct plant *p)
{
    uint8_t v[REC_BRICK_MAX + REC_TOMB_MAX + REC_REMOVAL_MAX];
    struct rec_brick b;
    struct cfs_blob was;
    struct rec_key k;

    rec_key_gfid_u64(&k, REC_REMOVAL, p->w->gone, END_XATTRS);
    put(p, &k, v, rec_removal_pack(0, v));
    rec_key_gfid(&k, REC_TOMB, p->w->gone);
    put(p, &k, v, rec_tomb_pack((struct cfs_version){1, 9}, v));
    del_of(p, REC_ORPHAN, p->w->gone);
    del_of(p, REC_INODE, p->w->gone);
    rec_key_table(&k, REC_BRICK);
    assert_int_equal(eng_get(p->e, rec_key_blob(&k), &was), 0);
    assert_int_equal(rec_brick_unpack(was, &b), 0);
    b.inodes--;
    put(p, &k, v, rec_brick_pack(&b, v));
}

/* -- damage: replication -------------------------------------------------- */

static void plant_not_dirty(struct plant *p)
{
    del_of(p, REC_DIRTY, p->w->small);
}

static void plant_dirty_by_another(struct plant *p)
{
    struct rec_dirty d = {.session = 77, .clean = {1, 1}};
    uint8_t v[REC_DIRTY_MAX];
    struct rec_key k;

    rec_key_gfid(&k, REC_DIRTY, p->w->small);
    put(p, &k, v, rec_dirty_pack(&d, v));
}

static void plant_missing_tombstone(struct plant *p)
{
    del_of(p, REC_TOMB, p->w->purged);
}

static void plant_tombstone_of_the_living(struct plant *p)
{
    uint8_t v[REC_TOMB_MAX];
    struct rec_key k;

    rec_key_gfid(&k, REC_TOMB, p->w->small);
    put(p, &k, v, rec_tomb_pack((struct cfs_version){1, 5}, v));
}

static void plant_extra_oplog(struct plant *p)
{
    static const uint8_t v[] = {REC_FMT, CFS_FOP_CREATE, 1, 2, 3};
    struct rec_key k;

    rec_key_change(&k, REC_OPLOG, 1, 1000000);
    put(p, &k, v, sizeof v);
}

static void plant_session_never_given(struct plant *p)
{
    struct rec_session s = {.s.no = 4711};
    uint8_t v[REC_SESSION_MAX];
    struct rec_key k;

    rec_key_session(&k, 4711);
    put(p, &k, v, rec_session_pack(&s, v));
}

static void plant_bad_answer(struct plant *p)
{
    struct rec_key k;

    rec_key_change(&k, REC_ANSWER, 1, 1000000);
    put(p, &k, "?", 1);
}

static void plant_view_of_another_epoch(struct plant *p)
{
    uint8_t v[REC_VIEW_MAX];
    struct rec_key k;

    rec_key_view(&k, 1, 99);
    put(p, &k, v, rec_view_pack(&p->w->f.view, v));
}

static void plant_no_brick_record(struct plant *p)
{
    struct rec_key k;

    rec_key_table(&k, REC_BRICK);
    del(p, &k);
}

static void plant_unknown_key(struct plant *p)
{
    struct rec_key k = {.len = 5, .b = "zebra"};

    put(p, &k, "?", 1);
}

static void plant_short_key(struct plant *p)
{
    struct rec_key k = {.len = 5, .b = "Inode"};

    put(p, &k, "?", 1);
}

static void plant_broken_inode(struct plant *p)
{
    struct rec_key k;

    rec_key_gfid(&k, REC_INODE, p->w->second);
    put(p, &k, "?", 1);
}

/* -- and what is found then, as "kind|path|text" -------------------------- */

const struct damage damages[] = {
    {"removal under way", plant_removal, {0}},
    {"purge under way", plant_purge, {0}},
    {"nlink", plant_nlink, {"nlink|/dir/small|has # links, and # names"}},
    {"directory's nlink", plant_dir_nlink,
     {"nlink|/dir|has # directories in it, and # links instead of #"}},
    {"entries", plant_entries,
     {"entries|/dir/sub|counts # more entries than it has"}},
    {"parent", plant_parent,
     {"parent|/dir/sub|says that it is in another directory than it is"}},
    {"missing cookie", plant_missing_cookie,
     {"cookie|/dir/sub|cookie # of entry \"second\" is missing"}},
    {"missing entry", plant_missing_entry,
     {"cookie|/dir/sub|cookie # is of entry \"second\", which is missing",
      "entries|/dir/sub|counts # more entries than it has",
      "nlink|-|has # links, and # names"}},
    {"cookie of another name", plant_cookie_of_another_name,
     {"cookie|/dir/sub|cookie # of entry \"second\" says something else",
      "cookie|/dir/sub|cookie # is of entry \"third\", which is missing"}},
    {"cookie from the future", plant_cookie_from_the_future,
     {"cookie|/dir/sub|entry \"second\" has cookie #, but the directory has "
      "changed only # times"}},
    {"wrong type", plant_wrong_type,
     {"type|/dir/sub|entry \"second\" says that it is a fifo; it is a file"}},
    {"dangling entry", plant_dangling,
     {"dangling|/dir/sub|entry \"second\" names inode #-#-#-#-#, which does "
      "not exist",
      "nlink|-|has # links, and # names"}},
    {"directory with two names", plant_dir_with_two_names,
     {"names|/dir/sub|is a directory with # names"}},
    {"loop", plant_loop,
     {"loop|-|is a directory somewhere below itself"}},
    {"orphan not listed", plant_unlisted_orphan,
     {"orphan|-|has no name, and is not among the orphans"}},
    {"orphan with a name", plant_named_orphan,
     {"orphan|/dir/small|is among the orphans, and has # links"}},
    {"block of two files", plant_double_block,
     {"double|/dir/big|block # of it, at #, belongs to somebody else, too",
      "double|/dir/sub/second|block # of it, at #, belongs to somebody else, "
      "too"}},
    {"lost blocks", plant_lost_blocks,
     {"lost|-|blocks # to # (#) are in use in the space map, and nobody's"}},
    {"block that is marked free", plant_unmarked_block,
     {"unmarked|/dir/big|block # of it, at #, is free in the space map"}},
    {"block where none can be", plant_strange_address,
     {"block|/dir/big|block # of it is at #, where no data can be"}},
    {"flipped bit", plant_flipped_bit,
     {"checksum|/dir/big|block # of it, at #, does not match its checksum"}},
    {"block behind the end", plant_blocks_behind_end,
     {"size|/dir/sub/second|has data in block #, behind its end (# bytes)"}},
    {"bytes behind the end", plant_bytes_behind_end,
     {"size|/dir/sub/second|has bytes other than zero behind its end, in "
      "block #"}},
    {"count of blocks", plant_blocks_count,
     {"blocks|/dir/big|counts # fewer blocks than it has"}},
    {"missing bytes in line", plant_missing_small,
     {"blocks|/dir/small|counts # more blocks than it has",
      "inline|/dir/small|its bytes are missing"}},
    {"bytes in line beside blocks", plant_small_beside_blocks,
     {"inline|/dir/big|has bytes in the tree, and does not say so"}},
    {"bytes in line behind the end", plant_long_small,
     {"size|/dir/small|has # bytes in the tree, and a size of #"}},
    {"target of another length", plant_short_target,
     {"size|/link|says that its target has # bytes; it has #"}},
    {"count of xattrs", plant_xattr_count,
     {"xattr|/dir/big|counts # more extended attributes than it has"}},
    {"xattr of nobody", plant_xattr_of_nobody,
     {"leftover|-|has an extended attribute, but there is no such inode"}},
    {"data of nobody", plant_chunk_of_nobody,
     {"leftover|-|has data, but there is no such inode"}},
    {"mark that is not counted", plant_mark,
     {"mark|/dir/sub/second|counts # fewer removal marks than it has"}},
    {"marks that overlap", plant_overlapping_marks,
     {"mark|/dir/sub/second|two removal marks overlap at chunk #"}},
    {"changed and not dirty", plant_not_dirty,
     {"dirty|/dir/small|was changed by session #, and is not in the dirty "
      "index",
      "brick|-|the brick counts # entries in the dirty index; there are #"}},
    {"dirty by another session", plant_dirty_by_another,
     {"dirty|/dir/small|was changed last by session #; the dirty index says "
      "#"}},
    {"missing tombstone", plant_missing_tombstone,
     {"dirty|-|is in the dirty index, and neither exists nor has a "
      "tombstone"}},
    {"tombstone of the living", plant_tombstone_of_the_living,
     {"tombstone|/dir/small|has a tombstone, and still exists"}},
    {"operation log", plant_extra_oplog,
     {"oplog|-|the operation log's entry of session #, change # is damaged",
      "brick|-|the brick counts # entries in the operation log; there are #"}},
    {"session that nobody gave", plant_session_never_given,
     {"session|-|there is a session #, but # is the highest number ever "
      "given"}},
    {"damaged answer", plant_bad_answer,
     {"answer|-|the stored answer of session #, change # is damaged"}},
    {"view under another key", plant_view_of_another_epoch,
     {"view|-|the record of view #.# is that of #.#"}},
    {"no brick record", plant_no_brick_record,
     {"brick|-|the brick's own record is missing"}},
    {"unknown table", plant_unknown_key,
     {"key|-|there is a record with the key zebra, of no known table"}},
    {"key that cannot be", plant_short_key,
     {"key|-|a record of inodes has the key Inode, which cannot be",
      "key|-|a record of inodes, once more has the key Inode, which cannot "
      "be"}},
    {"damaged inode", plant_broken_inode,
     {"record|/dir/sub/second|the record of its inode is damaged"}},
};

const size_t n_damages = CFS_ARRAY_SIZE(damages);

void damage_plant(struct world *w, const struct damage *d)
{
    struct plant p = {.w = w};

    p.e = world_open_bare(w, false);
    d->plant(&p);
    commit(&p, NULL, 0);
    world_close_bare(w, p.e);
}
