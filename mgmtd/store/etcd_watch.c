/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_watch.c - etcd's watch: one long answer, a JSON object a line. First
 * {"result":{"created":true}}, then {"result":{"events":[...]}}; at the end
 * "canceled", an error, or nothing at all: a watch that is cut off is silent,
 * and its owner must notice by other means (store_etcd.c compares revisions).
 *
 * A line is taken when it is whole; what is not is at most ETCD_ANSWER_MAX.
 */
#include "mgmtd/store/etcd_impl.h"

#include <stdio.h>

#include "mgmtd/mem.h"

#define CREATE_NS CFS_SEC /* until etcd must have said "created" */

struct etcd_watch {
    struct cfs_list          link;
    struct etcd_client      *c;
    struct http_call         call;
    struct cfs_timer         timer;
    unsigned                 member;
    bool                     created;
    bool                     ended;
    bool                     inside;  /* of a callback */
    bool                     stopped; /* to be freed when that is over */
    struct etcd_watch_events ev;
    void                    *arg;
};

/* Nothing happens any more; who is inside of a callback takes it away. */
static void watch_free(struct etcd_watch *w)
{
    cfs_list_del(&w->link);
    http_end(&w->call);
    cfs_timer_fini(&w->timer);
    w->stopped = true;
    if (!w->inside)
        free(w);
}

static void next_member(struct etcd_watch *w)
{
    struct etcd_client *c = w->c;

    if (c->watch_at == w->member)
        c->watch_at = (w->member + 1) % c->to.n;
}

/* False: the owner stopped it. */
static bool end(struct etcd_watch *w, int status, const char *why)
{
    struct cfs_err err = {0};

    if (status != -ESTALE)
        next_member(w);
    cfs_timer_stop(&w->timer);
    http_end(&w->call);
    w->ended = true;
    cfs_err_set(&err, status, "the watch at %s: %s",
                etcd_member_name(w->c, w->member), why);
    w->inside = true;
    w->ev.ended(w->arg, status, &err);
    w->inside = false;
    if (!w->stopped)
        return true;
    free(w);
    return false;
}

/* One object of the stream. False: it is over. */
static bool take(struct etcd_watch *w, json_t *line)
{
    json_t *result = json_object_get(line, "result");
    const char *words;
    bool doubt;
    int code, status;

    if (etcd_error(line, &words, &code)) {
        if (etcd_judge(words, code, &status, &doubt))
            status = -EHOSTUNREACH;
        end(w, status, words);
        return false;
    }
    if (!json_is_object(result)) {
        end(w, -EBADMSG, "what it says is not an etcd's");
        return false;
    }
    if (json_is_true(json_object_get(result, "canceled"))) {
        words = json_string_value(json_object_get(result, "cancel_reason"));
        if (etcd_u64(result, "compact_revision") > 0)
            end(w, -ESTALE, "the revision was compacted");
        else
            end(w, -EHOSTUNREACH, words ? words : "canceled");
        return false;
    }
    if (json_is_true(json_object_get(result, "created"))) {
        w->created = true;
        cfs_timer_stop(&w->timer);
    }
    w->inside = true;
    w->ev.event(w->arg, result);
    w->inside = false;
    if (w->stopped) {
        free(w);
        return false;
    }
    return true;
}

/* All whole lines. False: it is over. */
static bool take_lines(struct etcd_watch *w)
{
    size_t at = 0;
    char *nl;

    while ((nl = memchr(w->call.in + at, '\n', w->call.n_in - at))) {
        size_t len = (size_t)(nl - (w->call.in + at));
        json_t *line = json_loadb(w->call.in + at, len,
                                  JSON_REJECT_DUPLICATES, NULL);
        bool on;

        at += len + 1;
        if (len == 0)
            continue;
        if (json_is_object(line))
            on = take(w, line);
        else
            on = end(w, -EBADMSG, "what it says is not JSON") && false;
        json_decref(line);
        if (!on)
            return false;
    }
    http_eat(&w->call, at);
    return true;
}

/* An error instead of a stream is one object without an end of line. */
static void finish(struct etcd_watch *w)
{
    json_t *all = NULL;
    const char *words;
    int code;

    if (w->call.status == -EMSGSIZE) {
        end(w, -EMSGSIZE, w->call.why);
        return;
    }
    if (w->call.n_in > 0)
        all = json_loadb(w->call.in, w->call.n_in, JSON_REJECT_DUPLICATES,
                         NULL);
    if (w->call.status < 0)
        end(w, -EHOSTUNREACH, w->call.why);
    else if (all && etcd_error(all, &words, &code))
        take(w, all);
    else
        end(w, -EHOSTUNREACH, "it ended");
    json_decref(all);
}

static void on_ready(struct http_call *call)
{
    struct etcd_watch *w = cfs_list_entry(call, struct etcd_watch, call);

    if (call->n_in > 0 && !take_lines(w))
        return;
    if (call->over)
        finish(w);
}

static void on_time(struct cfs_timer *t)
{
    end(cfs_list_entry(t, struct etcd_watch, timer), -EHOSTUNREACH,
        "does not answer");
}

/* From NUL to NUL: etcd's words for all keys. */
static json_t *create_request(const char *prefix, uint64_t revision)
{
    json_t *from = *prefix ? etcd_json_b64(prefix) : json_string("AA==");
    json_t *to = *prefix ? etcd_json_end(prefix) : json_string("AA==");

    return mem_ok(json_pack("{s:{s:o,s:o,s:o}}", "create_request",
                            "key", from, "range_end", to,
                            "start_revision", etcd_json_u64(revision)));
}

void etcd_watch_start(struct etcd_client *c, const char *prefix,
                      uint64_t revision, const struct etcd_watch_events *ev,
                      void *arg, struct etcd_watch **ret)
{
    struct etcd_watch *w = mem_new(sizeof *w);
    json_t *body = create_request(prefix, revision);
    char *url;

    w->c = c;
    w->ev = *ev;
    w->arg = arg;
    w->member = c->watch_at % c->to.n;
    w->call.ready = on_ready;
    w->call.max_in = ETCD_ANSWER_MAX;
    cfs_timer_init(c->loop, &w->timer, on_time);
    cfs_timer_start(&w->timer, CREATE_NS);
    cfs_list_add_tail(&c->watches, &w->link);
    url = mem_printf("%s/v3/watch", c->to.url[w->member]);
    http_post(c->http, &w->call, url, &c->tls,
              mem_ok(json_dumps(body, JSON_COMPACT)));
    free(url);
    json_decref(body);
    *ret = w;
}

void etcd_watch_stop(struct etcd_watch *w)
{
    if (w)
        watch_free(w);
}

void etcd_watch_leave(struct etcd_watch *w)
{
    if (!w)
        return;
    next_member(w);
    etcd_watch_stop(w);
}

void etcd_watches_free(struct etcd_client *c)
{
    cfs_list_for_each_safe(l, &c->watches)
        watch_free(cfs_list_entry(l, struct etcd_watch, link));
}
