/* SPDX-License-Identifier: Apache-2.0 */
/* store_suite.h - what the configuration store promises, whatever engine is
 * behind it: tests that each engine's program runs with its own setup.
 */
#ifndef CFS_TESTS_UNIT_STORE_SUITE_H
#define CFS_TESTS_UNIT_STORE_SUITE_H

#include "mgmtd/store/store.h"
#include "tests/unit/cfs_test.h"

struct fix {
    struct cfs_loop *loop;
    struct store    *s;
    char             dir[64];
    uint64_t         lineage;
    int (*open)(struct fix *f, struct cfs_err *err);
    void *engine;  /* the program's own */
    int   pending; /* transactions not answered */
    int   status;  /* of the last one */
    char  text[CFS_ERR_TEXT];
};

/* A loop and an empty directory; the store is the program's affair. */
void fix_init(struct fix *f);
void fix_fini(struct fix *f);
void reopen(struct fix *f);

void on_done(void *arg, int status, const struct cfs_err *err);
bool all_answered(void *arg);
void commit_only(struct fix *f, struct store_txn *t);
int  commit(struct fix *f, struct store_txn *t);
void put_op(struct store_txn *t, const char *key, int n); /* {"n": @n} */
int  put(struct fix *f, const char *key, int n);
/* As who repeats what was not known to be done: an etcd that gets no processor
 * has more than its 5 s. */
int  put_surely(struct fix *f, const char *key, int n);
/* The n of @key, or the negative error. */
int  get(struct fix *f, const char *key, uint64_t *ret_token);
int  current(struct fix *f);

struct list {
    char text[256];
};
const char *keys(struct fix *f, const char *prefix, struct list *l);
int list_one(void *arg, const char *key, json_t *value, uint64_t token,
             struct cfs_err *err);

/* A watcher that writes down "+key" and "-key". */
struct seen {
    struct store_watch w;
    struct fix        *f;
    char               text[256];
    int                pending_then; /* transactions unanswered at the time */
};
void on_change(struct store_watch *w, const char *key, json_t *value,
               uint64_t token);

/* The store.db of a store, changed from outside. */
void sql(struct fix *f, const char *text);

/* NAME(test): */
#define STORE_SUITE(NAME) \
    NAME(what_was_put_is_read_and_survives_a_restart) \
    NAME(a_token_changes_with_each_change_of_its_record) \
    NAME(a_failed_comparison_changes_nothing) \
    NAME(absent_means_absent) \
    NAME(of_two_proposals_one_wins) \
    NAME(a_range_has_its_prefix_only_and_is_in_order) \
    NAME(deleting_a_prefix_leaves_the_others) \
    NAME(watchers_see_changes_under_their_prefix_before_done) \
    NAME(fields_that_we_do_not_know_survive) \
    NAME(bad_shapes_are_refused) \
    NAME(a_current_read_is_answered)

#define STORE_SUITE_DECLARE(name) void name(void **state);
STORE_SUITE(STORE_SUITE_DECLARE)

#endif
