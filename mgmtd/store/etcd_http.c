/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_http.c - see etcd_http.h.
 *
 * libcurl calls us back (sockets, timer, bytes) only from inside of its own
 * functions, where none of them may be called again. So callbacks only note
 * what came, and a task tells the owners, who then may start and end calls.
 */
#include "mgmtd/store/etcd_http.h"

#include <curl/curl.h>
#include <unistd.h>
#include <uv.h>

#include "mgmtd/mem.h"

#define LIFETIME_S 600L /* then a kept connection must prove itself again */

struct http {
    struct cfs_loop *loop;
    CURLM           *multi;
    struct cfs_timer timer; /* libcurl's */
    struct cfs_list  ready;
    struct cfs_task  task;
    bool             telling; /* run_ready() is at work */
    bool             freed;   /* meanwhile: it takes the memory away */
};

/* A socket of libcurl's, for as long as libcurl wants it watched. */
struct sock {
    uv_poll_t     poll;
    struct http  *h;
    curl_socket_t fd;
};

static void wake(struct http_call *call)
{
    struct http *h = call->http;

    if (cfs_list_empty(&call->link))
        cfs_list_add_tail(&h->ready, &call->link);
    cfs_task_post(h->loop, &h->task);
}

static void run_ready(struct cfs_task *task)
{
    struct http *h = cfs_list_entry(task, struct http, task);
    struct cfs_list *l;

    h->telling = true;
    while (!h->freed && (l = cfs_list_pop(&h->ready))) {
        struct http_call *call = cfs_list_entry(l, struct http_call, link);

        call->ready(call); /* may free @h */
    }
    h->telling = false;
    if (h->freed)
        free(h);
}

/* -- libcurl on the loop ------------------------------------------------- */

static int status_of(const struct http_call *call, CURLcode rc)
{
    switch (rc) {
    case CURLE_OK:
        return 0;
    case CURLE_COULDNT_CONNECT:
        return -ECONNREFUSED;
    case CURLE_COULDNT_RESOLVE_HOST:
        return -EHOSTUNREACH;
    case CURLE_WRITE_ERROR:
        return -EMSGSIZE;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return -EACCES;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    default:
        return call->sent ? -ECONNRESET : -ECONNREFUSED;
    }
}

static void collect(struct http *h)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(h->multi, &left))) {
        struct http_call *call;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        call->status = status_of(call, msg->data.result);
        if (call->status < 0 && !*call->why)
            snprintf(call->why, sizeof call->why, "%s",
                     curl_easy_strerror(msg->data.result));
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &call->code);
        call->over = true;
        wake(call);
    }
}

static void act(struct http *h, curl_socket_t fd, int what)
{
    int running;

    curl_multi_socket_action(h->multi, fd, what, &running);
    collect(h);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct sock *s = container_of(poll, struct sock, poll);
    int what = 0;

    if (status < 0)
        what = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        what |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        what |= CURL_CSELECT_OUT;
    act(s->h, s->fd, what);
}

static void on_timer(struct cfs_timer *t)
{
    act(cfs_list_entry(t, struct http, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int on_want_timer(CURLM *multi, long ms, void *arg)
{
    struct http *h = arg;

    if (ms < 0)
        cfs_timer_stop(&h->timer);
    else
        cfs_timer_start(&h->timer, (uint64_t)ms * CFS_MS);
    return 0;
}

static void sock_free(uv_handle_t *handle)
{
    free(container_of((uv_poll_t *)handle, struct sock, poll));
}

static int on_want_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
                          void *sock_arg)
{
    struct http *h = arg;
    struct sock *s = sock_arg;
    int events = 0;

    if (what == CURL_POLL_REMOVE) {
        if (s)
            uv_close((uv_handle_t *)&s->poll, sock_free);
        curl_multi_assign(h->multi, fd, NULL);
        return 0;
    }
    if (!s) {
        s = mem_new(sizeof *s);
        s->h = h;
        s->fd = fd;
        if (uv_poll_init(cfs_loop_uv(h->loop), &s->poll, fd) < 0) {
            free(s);
            return -1; /* the transfer fails */
        }
        curl_multi_assign(h->multi, fd, s);
    }
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    return uv_poll_start(&s->poll, events, on_poll) < 0 ? -1 : 0;
}

/* -- one call ------------------------------------------------------------ */

static size_t on_bytes(char *bytes, size_t size, size_t n, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * n;

    if (len > call->max_in - call->n_in) {
        snprintf(call->why, sizeof call->why, "an answer of more than %zu "
                 "bytes", call->max_in);
        return 0;
    }
    if (call->n_in + len >= call->room) {
        call->room = 2 * (call->n_in + len) + 1;
        call->in = mem_ok(realloc(call->in, call->room));
    }
    memcpy(call->in + call->n_in, bytes, len);
    call->n_in += len;
    call->in[call->n_in] = '\0';
    wake(call);
    return len;
}

static int on_send(void *arg, char *remote, char *local, int remote_port,
                   int local_port)
{
    struct http_call *call = arg;

    call->sent++;
    return CURL_PREREQFUNC_OK;
}

/* Nothing of the environment or of the system's defaults matters here. */
static void set_trust(CURL *easy, const struct http_tls *tls)
{
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, *tls->ca ? "https" : "http");
    if (!*tls->ca)
        return;
    curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->cert);
    curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (*tls->crl && access(tls->crl, R_OK) == 0)
        curl_easy_setopt(easy, CURLOPT_CRLFILE, tls->crl);
    /* The files may be others tomorrow. */
    curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, LIFETIME_S);
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
}

static void set_request(CURL *easy, struct http_call *call, const char *url)
{
    struct curl_slist *headers = NULL;

    headers = mem_ok(curl_slist_append(headers,
                                       "Content-Type: application/json"));
    headers = mem_ok(curl_slist_append(headers, "Expect:"));
    call->headers = headers;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     (curl_off_t)strlen(call->body));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->why);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_send);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
}

static_assert(CURL_ERROR_SIZE <= sizeof ((struct http_call *)0)->why,
              "room for libcurl's words");

void http_post(struct http *h, struct http_call *call, const char *url,
               const struct http_tls *tls, char *body)
{
    CURL *easy = mem_ok(curl_easy_init());

    assert(!call->http && call->ready && call->max_in > 0);
    cfs_list_init(&call->link);
    call->http = h;
    call->easy = easy;
    call->body = body;
    call->why[0] = '\0';
    call->n_in = call->room = 0;
    call->over = false;
    call->status = 0;
    call->code = 0;
    call->sent = 0;
    set_trust(easy, tls);
    set_request(easy, call, url);
    if (curl_multi_add_handle(h->multi, easy) != CURLM_OK) {
        call->over = true;
        call->status = -EIO;
        snprintf(call->why, sizeof call->why, "libcurl does not take it");
        wake(call);
    }
}

void http_eat(struct http_call *call, size_t n)
{
    assert(n <= call->n_in);
    if (n == 0)
        return;
    call->n_in -= n;
    memmove(call->in, call->in + n, call->n_in + 1);
}

void http_end(struct http_call *call)
{
    if (!call->http)
        return;
    cfs_list_del(&call->link);
    curl_multi_remove_handle(call->http->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    free(call->body);
    free(call->in);
    call->body = call->in = NULL;
    call->n_in = call->room = 0;
    call->http = NULL;
}

/* -- life ---------------------------------------------------------------- */

int http_new(struct cfs_loop *loop, struct http **ret, struct cfs_err *err)
{
    struct http *h;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return cfs_err_set(err, -EIO, "libcurl does not start");
    h = mem_new(sizeof *h);
    h->loop = loop;
    h->multi = mem_ok(curl_multi_init());
    cfs_timer_init(loop, &h->timer, on_timer);
    cfs_list_init(&h->ready);
    cfs_task_init(&h->task, run_ready);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_want_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_want_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    *ret = h;
    return 0;
}

void http_free(struct http *h)
{
    if (!h)
        return;
    assert(cfs_list_empty(&h->ready));
    curl_multi_cleanup(h->multi); /* closes sockets, hence polls */
    cfs_timer_fini(&h->timer);
    cfs_task_cancel(&h->task);
    h->freed = true;
    if (!h->telling)
        free(h);
    curl_global_cleanup();
}
