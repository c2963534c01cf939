/*
 * driver.h - the engine driven by a C test: poll() instead of an event loop, a
 * table of callbacks of our own instead of the binding.
 *
 * A `call` is what a caller wants of the engine. It stands for one hp_request,
 * which lies in a block of its own and is freed in released(), so that a
 * sanitizer sees any later use. The callbacks end the program where the engine
 * breaks what request.h promises; driver_check() does so where a pool is not
 * as pool.h says, and runs after every step.
 *
 * Parameters and results are text. HOLISTICPOOL_TEST_DSN names the server.
 */
#ifndef HP_TEST_DRIVER_H
#define HP_TEST_DRIVER_H

#include "engine/conninfo.h"
#include "engine/connect.h"
#include "engine/copy.h"
#include "engine/route.h"

#include "harness.h"

#include <poll.h>

enum { DRIVER_MOST_PARAMS = 4, DRIVER_MOST_STMTS = 128, DRIVER_VALUE_BYTES = 64 };

/* Above 0 while memory is asked for that is the test's own: test_alloc.c spares it. */
static int driver_own_memory;

typedef struct call {
    struct call *next;
    struct driver *driver;
    hp_request *req; /* NULL once released */
    const char *sql;
    int params;
    const char *values[DRIVER_MOST_PARAMS];
    const char *const *sets; /* BATCH: one parameter each */

    /* what our side of the callbacks does */
    hp_bind_result describe_answer;
    hp_bind_result lookup_answer;
    bool refuse_bind;
    bool refuse_renew;
    int (*in_bind)(struct call *call); /* what bind() answers, and does before */
    void (*then)(struct call *call);   /* in done() */
    hp_copy copy;                      /* COPY */
    size_t enough;                     /* ... pauses it after so many bytes */

    /* what has become of it */
    bool abandoned;
    int done, released, described, looked_up, bound, renewed, ready;
    int hungry, parts; /* BATCH: asked for more sets, gave the rows of one */
    size_t copied;     /* COPY: bytes of rows since it was paused last */
    size_t rows_copied;
    int order; /* its done() was the so-manieth of the driver */
    hp_error err;
    hp_conn *lease;
    int rows;
    char value[DRIVER_VALUE_BYTES]; /* first column of the first row */
    int number;                     /* the test's own */
    char tag[DRIVER_VALUE_BYTES];
    char message[256]; /* of the server's error */
} call;

typedef struct driver {
    hp_pool *pool;
    call *calls;
    hp_stmt *stmts[DRIVER_MOST_STMTS]; /* by text, as the binding keeps them */
    int nstmts;
    bool uncached;  /* statements are unnamed */
    bool discarded; /* requests were released without an answer */
    int dones;
    int in_callback;
    int opened, closed, sessions_closed;
    /* for sessions whose `listeners` is set to the driver */
    char news[1024]; /* what they heard, in order: "notice TEXT; " and "CHANNEL PAYLOAD; " and "end; " */
    int listeners_gone;
    int attributes_gone;
    void (*then_heard)(hp_conn *); /* after each */
    hp_error open_error;
    /* host names: answered at once with these addresses, or kept for later */
    const char *const *addresses;
    int naddresses;
    bool resolve_later;
    hp_errand *jobs[16];
    int njobs;
    hp_errand *asked[16]; /* what sessions ask for before they open, to be answered by the test */
    int nasked, withdrawn;
    hp_conn *in_init;               /* a session handed to the init hook */
    bool accept_init;               /* the hook says yes at once */
    void (*then_opened)(hp_conn *); /* in the init hook */
} driver;

/* ---- statements, one for each text ---- */

static inline hp_stmt **
driver_stmt_slot(driver *d, const char *sql)
{
    for (int i = 0; i < d->nstmts; i++) {
        if (strcmp(d->stmts[i]->sql, sql) == 0) {
            return &d->stmts[i];
        }
    }
    return NULL;
}

/* New reference; NULL: out of memory. */
static inline hp_stmt *
driver_stmt(driver *d, const char *sql)
{
    hp_stmt **slot = driver_stmt_slot(d, sql);
    if (slot != NULL) {
        hp_stmt_ref(*slot);
        return *slot;
    }
    hp_stmt *stmt = hp_stmt_new(sql, strlen(sql), !d->uncached && d->pool->env.statement_cache_size > 0, true);
    if (stmt != NULL && d->nstmts < DRIVER_MOST_STMTS) {
        d->stmts[d->nstmts++] = stmt;
        hp_stmt_ref(stmt);
    }
    return stmt;
}

static inline void
driver_forget_stmts(driver *d)
{
    while (d->nstmts > 0) {
        hp_stmt_unref(d->stmts[--d->nstmts]);
    }
}

/* ---- callbacks ---- */

static inline hp_bind_result
driver_described(hp_request *req, const PGresult *description)
{
    call *c = req->user;
    REQUIRE(c->done == 0 && !c->abandoned && PQnparams(description) == req->stmt->nparams);
    c->described++;
    if (c->describe_answer == HP_LOOKUP) {
        req->lookup_sql = "SELECT typname FROM pg_catalog.pg_type WHERE typname = $1";
        req->lookup_arg = "int4";
    }
    return c->describe_answer;
}

static inline hp_bind_result
driver_looked_up(hp_request *req, const PGresult *rows)
{
    call *c = req->user;
    REQUIRE(c->done == 0 && !c->abandoned && PQntuples(rows) == 1);
    c->looked_up++;
    return c->lookup_answer;
}

static inline int
driver_bind(hp_request *req, const void *session_user)
{
    call *c = req->user;
    REQUIRE(c->done == 0 && !c->abandoned);
    c->bound++;
    if (c->refuse_bind) {
        return -1;
    }
    if (c->in_bind != NULL) {
        c->driver->in_callback++;
        int answer = c->in_bind(c);
        c->driver->in_callback--;
        if (answer != 0) {
            return answer;
        }
    }
    req->params = (hp_params){.n = c->params, .values = c->values};
    req->result_format = 0;
    req->bound_for = session_user;
    return 0;
}

static inline void
driver_bind_set(hp_request *req, int i)
{
    call *c = req->user;
    REQUIRE(c->released == 0 && i < req->sets);
    c->values[0] = c->sets[i];
    req->params = (hp_params){.n = 1, .values = c->values};
}

static inline void
driver_hungry(hp_request *req)
{
    call *c = req->user;
    REQUIRE(c->done == 0 && c->released == 0 && req->hungry && req->portion_sent == req->sets);
    c->hungry++;
}

static inline hp_bind_result
driver_part(hp_request *req, const PGresult *rows)
{
    call *c = req->user;
    REQUIRE(c->done == 0 && c->released == 0 && !c->abandoned);
    c->parts++;
    c->rows += PQntuples(rows);
    return HP_READY;
}

static inline hp_stmt *
driver_renew(hp_request *req)
{
    call *c = req->user;
    driver *d = c->driver;
    c->renewed++;
    if (c->refuse_renew) {
        return NULL;
    }
    hp_stmt *fresh = hp_stmt_new(req->stmt->sql, strlen(req->stmt->sql), req->stmt->name[0] != '\0', true);
    hp_stmt **slot = driver_stmt_slot(d, req->stmt->sql);
    if (fresh != NULL && slot != NULL) {
        hp_stmt_unref(*slot);
        *slot = fresh;
        hp_stmt_ref(fresh);
    }
    return fresh;
}

static inline void
driver_done(hp_request *req, PGresult *result, const hp_error *err)
{
    call *c = req->user;
    REQUIRE(c->req == req && c->done == 0 && c->released == 0 && !c->abandoned);
    c->done++;
    c->order = ++c->driver->dones;
    if (err != NULL) {
        REQUIRE(result == NULL && err->kind != HP_ERR_NONE);
        c->err = *err;
        c->err.result = NULL;
        if (err->kind == HP_ERR_SERVER) {
            REQUIRE(err->result != NULL);
            snprintf(c->message, sizeof c->message, "%s", PQresultErrorField(err->result, PG_DIAG_MESSAGE_PRIMARY));
        } else {
            REQUIRE(err->text[0] != '\0');
        }
    } else if (req->kind == HP_REQ_LEASE) {
        REQUIRE(result == NULL && req->conn != NULL && req->conn->use == HP_USE_LEASED);
        c->lease = req->conn;
    } else {
        REQUIRE(result != NULL);
        /* The binding reads such an answer by the description, without looking. */
        REQUIRE(!req->as_described || PQresultStatus(result) != PGRES_TUPLES_OK || hp_stmt_returns(req->stmt, result));
        c->rows = req->collects ? c->rows : PQntuples(result);
        snprintf(c->tag, sizeof c->tag, "%s", PQcmdStatus(result));
        if (c->rows > 0 && PQnfields(result) > 0) {
            snprintf(c->value, sizeof c->value, "%s", PQgetvalue(result, 0, 0));
        }
    }
    PQclear(result);
    if (c->then != NULL) {
        c->driver->in_callback++;
        c->then(c);
        c->driver->in_callback--;
    }
}

static inline void
driver_copy_ready(hp_request *req)
{
    call *c = req->user;
    REQUIRE(c->done == 0 && c->released == 0 && !c->abandoned);
    c->ready++;
}

static inline int
driver_copy_row(hp_request *req, const char *row, size_t len)
{
    call *c = req->user;
    REQUIRE(c->done == 0 && c->released == 0 && !c->abandoned && !c->copy.paused && row[len] == '\0');
    c->rows_copied++;
    c->copied += len;
    return c->enough > 0 && c->copied >= c->enough;
}

static inline void
driver_released(hp_request *req)
{
    call *c = req->user;
    REQUIRE(c->req == req && c->released == 0 && req->state == HP_REQ_DONE);
    REQUIRE(req->timer.slot == 0 && req->result == NULL && req->failure == NULL);
    c->released++;
    c->req = NULL;
    hp_stmt_unref(req->stmt);
    free(req);
}

static inline void
driver_resolve(void *user, hp_errand *job, const char *host, const char *port)
{
    driver *d = user;
    REQUIRE(host != NULL && port != NULL);
    if (d->resolve_later) {
        REQUIRE(d->njobs < 16);
        d->jobs[d->njobs++] = job;
        return;
    }
    hp_errand_addresses(job, d->naddresses, d->addresses, d->naddresses > 0 ? NULL : "no such name");
}

static inline void
driver_answer_jobs(driver *d, int n, const char *const *addresses)
{
    while (d->njobs > 0) {
        hp_errand_addresses(d->jobs[--d->njobs], n, addresses, n > 0 ? NULL : "no such name");
    }
}

static inline void
driver_ask(void *user, hp_errand *errand)
{
    driver *d = user;
    REQUIRE(d->nasked < 16 && errand->asks == d->pool->env.ask);
    d->asked[d->nasked++] = errand;
}

static inline void
driver_withdrawn(void *user, hp_errand *errand)
{
    driver *d = user;
    REQUIRE(errand->conn == NULL);
    d->withdrawn++;
}

static inline void
driver_session_opened(void *user, hp_conn *conn)
{
    driver *d = user;
    REQUIRE(conn->use == HP_USE_INIT);
    d->in_init = conn;
    if (d->then_opened != NULL) {
        d->then_opened(conn);
    } else if (d->accept_init) {
        d->in_init = NULL;
        hp_pool_session_ready(conn, NULL);
    }
}

static inline void
driver_session_closed(void *user, void *session_user)
{
    driver *d = user;
    (void)session_user;
    d->sessions_closed++;
}

static inline void
driver_hear(hp_conn *conn, const char *first, const char *second)
{
    driver *d = conn->listeners;
    size_t used = strlen(d->news);
    snprintf(d->news + used, sizeof d->news - used, "%s%s%s; ", first, second[0] ? " " : "", second);
    if (d->then_heard != NULL) {
        d->then_heard(conn);
    }
}

static inline void
driver_noticed(hp_conn *conn, const char *fields)
{
    const char *message = "";
    for (; *fields != '\0'; fields += strlen(fields) + 1) {
        message = *fields == 'M' ? fields + 1 : message;
    }
    driver_hear(conn, "notice", message);
}

static inline void
driver_notified(hp_conn *conn, const PGnotify *notification)
{
    driver_hear(conn, notification->relname, notification->extra);
}

static inline void
driver_session_ended(hp_conn *conn)
{
    REQUIRE(conn->state == HP_CONN_CLOSED);
    driver_hear(conn, "end", "");
}

static inline void
driver_listeners_gone(void *user, void *listeners)
{
    driver *d = user;
    REQUIRE(listeners == d);
    d->listeners_gone++;
}

static inline void
driver_attributes_gone(void *user, void *attributes)
{
    driver *d = user;
    REQUIRE(attributes == d);
    d->attributes_gone++;
}

static inline void
driver_opened(void *user, const hp_error *err)
{
    driver *d = user;
    d->opened++;
    if (err != NULL) {
        d->open_error = *err;
    } else {
        hp_error_clear(&d->open_error);
    }
}

static inline void
driver_closed(void *user)
{
    driver *d = user;
    d->closed++;
}

static const hp_callbacks driver_callbacks = {
    .described = driver_described,
    .looked_up = driver_looked_up,
    .bind = driver_bind,
    .bind_set = driver_bind_set,
    .hungry = driver_hungry,
    .part = driver_part,
    .renew = driver_renew,
    .done = driver_done,
    .released = driver_released,
    .copy_ready = driver_copy_ready,
    .copy_row = driver_copy_row,
    .resolve = driver_resolve,
    .ask = driver_ask,
    .withdrawn = driver_withdrawn,
    .session_opened = driver_session_opened,
    .session_closed = driver_session_closed,
    .noticed = driver_noticed,
    .notified = driver_notified,
    .session_ended = driver_session_ended,
    .listeners_gone = driver_listeners_gone,
    .attributes_gone = driver_attributes_gone,
    .opened = driver_opened,
    .closed = driver_closed,
};

/* ---- what must hold ---- */

static inline bool
driver_is_paused(const hp_conn *conn)
{
    const hp_request *req = conn->inflight.first;
    return req != NULL && req->copy != NULL && req->copy->paused;
}

static inline void
driver_check_conn(const hp_pool *pool, const hp_conn *conn)
{
    REQUIRE(conn->pool == pool && conn->env == &pool->env);
    REQUIRE(conn->state != HP_CONN_CONNECTING || conn->use == HP_USE_OPENING);
    REQUIRE(conn->use != HP_USE_OPENING || conn->state == HP_CONN_CONNECTING || hp_conn_settings(conn) != NULL);
    bool piped = conn->inflight.first != NULL && conn->inflight.first->piped;
    REQUIRE(conn->inflight.count <= 1 || piped ||
            (conn->use == HP_USE_STATEMENT && conn->inflight.count <= conn->env->pipeline + 1));
    REQUIRE(!conn->pipe.advancing && !conn->pipe.gathering);
    hp_time load = 0;
    for (const hp_request *req = conn->inflight.first; req != NULL; req = req->next) {
        REQUIRE(conn->state == HP_CONN_READY && req->state == HP_REQ_SENT && req->conn == conn);
        REQUIRE(req->step < req->nsteps && (req->step == 0 || req == conn->inflight.first));
        REQUIRE(req->piped == piped);
        REQUIRE(!piped || req == conn->inflight.last || req->phase == HP_PHASE_EXECUTE || req->kind == HP_REQ_BEGIN);
        REQUIRE(conn->inflight.count == 1 || piped || req->kind == HP_REQ_STATEMENT || req->kind == HP_REQ_GHOST);
        REQUIRE(req->kind != HP_REQ_GHOST || req->abandoned);
        load += req->load;
    }
    REQUIRE(conn->load == load);
    REQUIRE(!conn->is_unsent || conn->env->corks > 0);
    if (conn->pending.first != NULL) {
        REQUIRE(conn->state == HP_CONN_READY && conn->pending.first->state == HP_REQ_SENT && !hp_conn_is_free(conn));
    }
    switch (conn->state) {
    case HP_CONN_CLOSED:
        REQUIRE(conn->pg == NULL && conn->watch.fd == -1 && conn->timer.slot == 0 && conn->cancel == NULL);
        REQUIRE(conn->use == HP_USE_LEASED || conn->use == HP_USE_INIT);
        break;
    case HP_CONN_CONNECTING:
        break;
    case HP_CONN_READY:
        REQUIRE(conn->pg != NULL && (conn->watch.fd >= 0) != driver_is_paused(conn));
        REQUIRE(conn->use != HP_USE_GONE);
        break;
    case HP_CONN_CLOSING:
        REQUIRE(conn->pg == NULL && conn->closing_fd >= 0 && conn->watch.fd >= 0 && conn->timer.slot != 0);
        REQUIRE(conn->use == HP_USE_GONE);
        break;
    }
    if (conn->use == HP_USE_IDLE) {
        REQUIRE(hp_conn_is_free(conn) && !hp_conn_in_transaction(conn));
        REQUIRE(pool->config.reset == HP_RESET_NONE || (!conn->touched && !conn->prepares));
    }
    if (conn->use == HP_USE_STATEMENT || conn->use == HP_USE_SETTLING) {
        REQUIRE(!hp_conn_is_free(conn)); /* somebody still has to answer, or it would stay so for ever */
    }
}

/* Every call that is not over is on exactly one list of the pool. */
static inline void
driver_check_calls(const driver *d)
{
    int open = 0;
    int listed = hp_pool_waiting(d->pool);
    for (const call *c = d->calls; c != NULL; c = c->next) {
        open += c->req != NULL;
        REQUIRE(c->req != NULL || c->done == 1 || c->abandoned || d->discarded);
        REQUIRE(c->req == NULL || (c->req->state == HP_REQ_QUEUED || c->req->state == HP_REQ_SENT));
    }
    for (const hp_conn *conn = d->pool->all; conn != NULL; conn = conn->next) {
        listed += conn->pending.count;
        for (const hp_request *req = conn->inflight.first; req != NULL; req = req->next) {
            listed += req->kind != HP_REQ_INTERNAL && req->kind != HP_REQ_GHOST;
        }
    }
    REQUIRE(open == listed);
}

static inline void
driver_check_queue(const hp_request_list *queue)
{
    int waiters = 0;
    for (const hp_request *req = queue->first; req != NULL; req = req->next) {
        REQUIRE(req->state == HP_REQ_QUEUED && !req->abandoned && req->queue == queue);
        waiters++;
    }
    REQUIRE(waiters == queue->count);
}

static inline void
driver_check(const driver *d)
{
    const hp_pool *pool = d->pool;
    int all = 0;
    int idle = 0;
    int opening = 0;
    int idle_used = 0;
    int slow = 0;
    const hp_conn *before = NULL;
    if (pool == NULL || d->in_callback > 0) {
        return;
    }
    for (const hp_conn *conn = pool->all; conn != NULL; conn = conn->next) {
        REQUIRE(conn->prev == before);
        before = conn;
        all++;
        idle_used += conn->use == HP_USE_IDLE;
        slow += conn->use == HP_USE_STATEMENT && conn->slow;
        opening += conn->use == HP_USE_OPENING || conn->use == HP_USE_INIT;
        driver_check_conn(pool, conn);
    }
    before = NULL;
    for (const hp_conn *conn = pool->idle; conn != NULL; conn = conn->idle_next) {
        REQUIRE(conn->idle_prev == before && conn->use == HP_USE_IDLE);
        before = conn;
        idle++;
    }
    REQUIRE(pool->idle_last == before);
    REQUIRE(all == pool->size && all <= pool->config.max_size);
    REQUIRE(idle == pool->idle_count && idle == idle_used);
    REQUIRE(opening == pool->opening);
    REQUIRE(pool->waiters.count == 0 || idle == 0);
    REQUIRE(pool->held.count == 0 || slow > 0 || idle == 0); /* who has the place will serve them */
    REQUIRE(pool->state != HP_POOL_CLOSED || pool->look.slot == 0);
    REQUIRE(pool->state != HP_POOL_CLOSED || hp_pool_waiting(pool) == 0);
    REQUIRE(pool->state != HP_POOL_CLOSED || idle == 0);
    REQUIRE(!pool->in_run && !pool->in_offer && pool->env.corks == 0);
    driver_check_queue(&pool->waiters);
    driver_check_queue(&pool->held);
    driver_check_calls(d);
}

/* ---- the loop ---- */

static inline void
driver_step(driver *d, int timeout_ms)
{
    struct pollfd pfd = {.fd = hp_pool_fd(d->pool), .events = POLLIN};
    if (poll(&pfd, 1, timeout_ms) > 0) {
        hp_pool_run_reactor(d->pool);
    }
    REQUIRE(d->pool->dead == NULL || !d->pool->in_run);
    driver_check(d);
}

enum { DRIVER_LIMIT_S = 40 };

#define WAIT_UNTIL(d, condition)                                                                                       \
    do {                                                                                                               \
        hp_time driver_limit = hp_now() + DRIVER_LIMIT_S * HP_SECOND;                                                  \
        while (!(condition)) {                                                                                         \
            if (hp_now() > driver_limit) {                                                                             \
                harness_note(__FILE__, __LINE__, "never: " #condition);                                                \
                abort();                                                                                               \
            }                                                                                                          \
            driver_step((d), 1000);                                                                                    \
        }                                                                                                              \
    } while (0)

/* ---- calls ---- */

static inline call *
driver_call(driver *d, hp_request_kind kind, const char *sql)
{
    driver_own_memory++;
    call *c = calloc(1, sizeof *c);
    hp_request *req = malloc(sizeof *req);
    REQUIRE(c != NULL && req != NULL);
    c->driver = d;
    c->sql = sql;
    c->req = req;
    hp_request_init(req, kind);
    req->user = c;
    if (kind != HP_REQ_LEASE) {
        req->stmt = driver_stmt(d, sql);
        REQUIRE(req->stmt != NULL);
        req->script = req->stmt->sql;
    }
    driver_own_memory--;
    return c;
}

static inline call *
driver_param(call *c, const char *value)
{
    c->values[c->params++] = value;
    return c;
}

/* Only now it counts: what is not submitted is not the engine's to answer. */
static inline void
driver_enlist(call *c)
{
    c->next = c->driver->calls;
    c->driver->calls = c;
}

/* As the binding does: what is known is encoded before the engine hears of it. */
static inline void
driver_bind_known(call *c)
{
    hp_request *req = c->req;
    if (req->kind == HP_REQ_STATEMENT && req->stmt->described && !c->refuse_bind && c->in_bind == NULL) {
        req->params = (hp_params){.n = c->params, .values = c->values};
        req->bound = true;
    }
}

static inline call *
submit(call *c)
{
    driver_enlist(c);
    driver_bind_known(c);
    hp_pool_submit(c->driver->pool, c->req);
    driver_check(c->driver);
    return c;
}

static inline call *
run_leased(hp_conn *conn, call *c)
{
    driver_enlist(c);
    hp_pool_run_leased(conn, c->req);
    driver_check(c->driver);
    return c;
}

static inline void
leave(call *c)
{
    c->abandoned = c->abandoned || c->done == 0;
    if (c->req != NULL) {
        hp_request_abandon(c->req);
    }
    driver_check(c->driver);
}

static inline call *
wait_for(call *c)
{
    WAIT_UNTIL(c->driver, c->req == NULL);
    return c;
}

static inline call *
statement(driver *d, const char *sql)
{
    return driver_call(d, HP_REQ_STATEMENT, sql);
}

static inline call *
script(driver *d, const char *sql)
{
    return driver_call(d, HP_REQ_SCRIPT, sql);
}

static inline call *
batch(driver *d, const char *sql, int n, const char *const *sets)
{
    call *c = driver_call(d, HP_REQ_BATCH, sql);
    c->req->sets = n;
    c->sets = sets;
    return c;
}

static inline call *
copy_command(driver *d, const char *sql, bool from_stdin)
{
    call *c = driver_call(d, HP_REQ_COPY, sql);
    c->copy.from_stdin = from_stdin;
    c->req->copy = &c->copy;
    return c;
}

static inline hp_conn *
acquire(driver *d)
{
    hp_conn *conn = hp_pool_try_acquire(d->pool);
    if (conn == NULL) {
        call *c = wait_for(submit(driver_call(d, HP_REQ_LEASE, NULL)));
        CHECK_TEXT(c->err.text, "");
        REQUIRE(c->lease != NULL);
        conn = c->lease;
    }
    driver_check(d);
    return conn;
}

static inline void
release(driver *d, hp_conn *conn)
{
    hp_pool_release(conn);
    driver_check(d);
}

/* Run and wait, on any session; the answer must be without error. */
static inline call *
must(call *c)
{
    wait_for(c);
    if (c->err.kind != HP_ERR_NONE) {
        harness_note(__FILE__, __LINE__, c->sql);
        harness_note(__FILE__, __LINE__, c->message[0] ? c->message : c->err.text);
    }
    return c;
}

/* ---- life ---- */

static inline hp_pool_config
driver_config(int min_size, int max_size)
{
    return (hp_pool_config){.min_size = min_size, .max_size = max_size, .max_idle = HP_NEVER, .max_lifetime = HP_NEVER};
}

static inline const char *
driver_dsn(void)
{
    return getenv("HOLISTICPOOL_TEST_DSN");
}

/* A closed pool whose targets come from `dsn` with one more parameter (NULL: none). */
static inline driver *
driver_new(const hp_pool_config *config, const char *dsn, const char *keyword, const char *value)
{
    const char *keywords[] = {"application_name", keyword, NULL};
    const char *values[] = {"hp-engine-test", value, NULL};
    hp_error err;
    driver *d = calloc(1, sizeof *d);
    REQUIRE(d != NULL);
    d->pool = hp_pool_new(config, &driver_callbacks, d);
    REQUIRE(d->pool != NULL);
    d->accept_init = true;
    d->pool->env.statement_cache_size = 20;
    d->pool->env.connect_timeout = 20 * HP_SECOND;
    if (hp_conninfo_resolve(dsn, keywords, values, &d->pool->env.targets, &d->pool->env.ntargets, &err) < 0) {
        harness_note(__FILE__, __LINE__, err.text);
        abort();
    }
    return d;
}

static inline driver *
driver_open(const hp_pool_config *config)
{
    driver *d = driver_new(config, driver_dsn(), NULL, NULL);
    REQUIRE(hp_pool_open(d->pool) == 0);
    WAIT_UNTIL(d, d->opened > 0);
    CHECK_TEXT(d->open_error.text, "");
    return d;
}

/* Everything answered, nothing left. */
static inline void
driver_free(driver *d)
{
    if (d->pool->state != HP_POOL_CLOSED) {
        hp_pool_close(d->pool);
        driver_check(d);
        WAIT_UNTIL(d, d->pool->state == HP_POOL_CLOSED);
        CHECK(d->closed > 0);
        CHECK_INT(d->pool->size, 0);
    }
    hp_pool_free(d->pool);
    d->pool = NULL;
    for (call *c = d->calls; c != NULL;) {
        call *next = c->next;
        CHECK_INT(c->released, 1);
        free(c);
        c = next;
    }
    driver_forget_stmts(d);
    free(d);
}

#endif
