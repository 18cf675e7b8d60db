/* SPDX-License-Identifier: Apache-2.0 */
/* store_etcd_fix.h - a store on real etcds, and further nodes beside it. */
#ifndef CFS_TESTS_UNIT_STORE_ETCD_FIX_H
#define CFS_TESTS_UNIT_STORE_ETCD_FIX_H

#include "tests/unit/etcd_rig.h"
#include "tests/unit/store_suite.h"

#define LINEAGE 2

struct etcd_rig *rig_of(struct fix *f);

/* Setups: of one member, of three, of one with TLS; an empty store that went
 * from embedded to etcd. *state is NULL where there is no etcd. */
int etcd_setup_one(void **state);
int etcd_setup_three(void **state);
int etcd_setup_tls(void **state);
/* etcd runs; the store is still the embedded one. */
int etcd_setup_before(void **state);
int etcd_teardown(void **state);

#define NEEDS_ETCD(state)                                                    \
    do {                                                                     \
        if (!*(state))                                                       \
            skip();                                                          \
    } while (0)

/* Another node of the cluster: own directory, the same loop. */
struct fix *node_new(struct fix *f, const struct etcd_target *to);
void        node_free(struct fix *n);

void run_for(struct fix *f, uint64_t ms);
/* Runs the loop until @f's record @key is {"n": @n}, or not there when @n is
 * -ENOENT; fails the test after @ms. */
void until_is(struct fix *f, const char *key, int n, uint64_t ms);
void until_current(struct fix *f, uint64_t ms);
/* ... or until @what is in the words for what is wrong with it. */
void until_said(struct fix *f, const char *what, uint64_t ms);

int  mark_ok(void *arg);
/* From the embedded store to etcd; the status, f->text. */
int  go_etcd(struct fix *f, int (*mark)(void *arg));
/* What etcd itself is asked for. The reply is the caller's. */
json_t *ask_etcd(struct fix *f, const char *path, json_t *body);
void raw_put(struct fix *f, const char *key, const char *text);

#endif
