/* SPDX-License-Identifier: Apache-2.0 */
/* client_trust.c - HANDSHAKE.TRUST: a client's credentials are kept new.
 *
 *   the list of nodes that are not believed any more, when the client's is
 *   older; and, when half of the life of the certificate that it shows is
 *   over, a new one for the same key, which it has proved to have.
 *
 * The record client/NAME has the newest certificate: whoever comes with an
 * older one for that key is given it, so a file that several processes or
 * machines use is renewed once, and nobody fills the record by asking often.
 * Its serial number is in the record before the client has it, so that "client
 * remove" revokes every certificate that may still be good.
 */
#include <stdio.h>

#include "mgmtd/authority.h"

#define WHO   "trust"
#define TRIES 5u

/* A call under way. */
struct giving {
    struct mgmtd   *m;
    struct rpc_msg *msg;
    uint64_t        known; /* number of the list that the client has */
    char           *name;
    char           *shown; /* the certificate that it came with */
    char           *cert;  /* the new one, until it is recorded */
    unsigned        tries;
};

static void giving_free(struct giving *g)
{
    free(g->name);
    free(g->shown);
    free(g->cert);
    free(g);
}

/* @cert: "": it keeps its own. */
static void give(struct giving *g, const char *cert)
{
    const char *crl = trust_crl(g->m->trust, TRUST_NODES);
    struct mgmt_trust_reply reply = {.crl = "", .cert = cert};
    struct cfs_arena a;

    if (crl && rpc_tls_list_number(crl) > g->known) {
        if (strlen(crl) <= MGMT_TEXT_MAX)
            reply.crl = crl;
        else
            cfs_log_warning(g->m->host.log, WHO, "the list of revoked nodes "
                            "is too long for clients");
    }
    cfs_arena_init(&a);
    rpc_reply(g->msg, mgmt_pack_trust_reply(&a, &reply), (struct cfs_buf){0});
    cfs_arena_fini(&a);
    giving_free(g);
}

/* It is asked again, at the latest with the next connection. */
static void not_now(struct giving *g, const char *why)
{
    cfs_log_info(g->m->host.log, WHO, "the certificate of client %s is to be "
                 "renewed, but: %s", g->name, why);
    give(g, "");
}

static void look(struct giving *g);

static void on_recorded(void *arg, int status, const struct cfs_err *err)
{
    struct giving *g = arg;

    if (status == -CFS_E_CONFLICT && ++g->tries < TRIES) {
        free(g->cert); /* another one's may be there now */
        g->cert = NULL;
        look(g);
        return;
    }
    if (status < 0) {
        not_now(g, err->text);
        return;
    }
    cfs_log_info(g->m->host.log, WHO, "the certificate of client %s was "
                 "renewed", g->name);
    give(g, g->cert);
}

/* The client's record. -ENOENT: it was removed. */
static int read_rec(const struct giving *g, json_t **ret, uint64_t *ret_token)
{
    char *key = mem_printf("client/%s", g->name);
    int rc = store_get(g->m->store, key, ret, ret_token,
                       &(struct cfs_err){0});

    free(key);
    if (rc == 0 && json_is_true(json_object_get(*ret, "removed"))) {
        json_decref(*ret);
        rc = -ENOENT;
    }
    return rc;
}

static void on_signed(void *arg, int status, json_t *result, const char *text)
{
    struct giving *g = arg;
    const char *cert = json_string_value(json_object_get(result, "cert"));
    uint64_t token;
    json_t *rec;
    char *key;

    if (status < 0 || !cert) {
        not_now(g, status < 0 ? text : "no certificate came");
        return;
    }
    if (read_rec(g, &rec, &token) < 0) {
        not_now(g, "it was removed meanwhile");
        return;
    }
    g->cert = mem_str(cert);
    authority_note_serial(rec, cert);
    key = mem_printf("client/%s", g->name);
    store_replace(g->m->store, key, token, rec, on_recorded, g);
    free(key);
}

static bool is_old(const struct giving *g, const char *cert)
{
    return cfs_realtime(g->m->host.loop).sec >= trust_half_life_of(cert);
}

static void look(struct giving *g)
{
    const char *newest;
    uint64_t token;
    json_t *rec;

    if (!is_old(g, g->shown)) {
        give(g, "");
        return;
    }
    if (read_rec(g, &rec, &token) < 0) {
        not_now(g, "no such client is known here");
        return;
    }
    newest = json_string_value(json_object_get(rec, "cert"));
    if (newest && !is_old(g, newest) &&
        trust_same_certified_key(newest, g->shown))
        give(g, newest);
    else
        authority_sign_again(g->m, TRUST_CLIENTS, g->shown, g->name,
                             on_signed, g);
    json_decref(rec);
}

void client_on_trust(struct rpc_msg *msg, void *ctx)
{
    const struct line *line = line_of(msg);
    struct mgmt_trust q;
    struct cfs_arena a;
    struct giving *g;
    char *shown;
    int rc;

    cfs_arena_init(&a);
    rc = mgmt_unpack_trust(&a, msg->body, &q);
    cfs_arena_fini(&a);
    shown = rc == 0 && line ? rpc_conn_peer_cert(line->conn) : NULL;
    if (!shown) {
        rpc_reply_error(msg, rc < 0 ? rc : -EACCES, "a bad request");
        return;
    }
    g = mem_new(sizeof *g);
    g->m = ctx;
    g->msg = msg;
    g->known = q.known;
    g->name = mem_str(line->name);
    g->shown = shown;
    look(g);
}
