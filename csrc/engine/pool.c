/*
 * pool.c - see pool.h: leases, waiters, and what a session needs between two
 * users. Opening and replacing sessions is janitor.c.
 */
#include "engine/pool.h"

#include "engine/begin.h"
#include "engine/conninfo.h"
#include "engine/prepared.h"
#include "engine/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An idle session is looked at before use (one system call, no round trip) once
 * it has been idle for so long that the reactor may not have seen its end. */
static const hp_time CHECK_AFTER_IDLE_US = HP_SECOND;

static const hp_time DEFAULT_CANCEL_TIMEOUT_US = 10 * HP_SECOND;
static const hp_time DEFAULT_CLOSE_TIMEOUT_US = 3 * HP_SECOND;

/* What a session gets back to: the state after its start-up packet.
 * DEALLOCATE ALL only where named statements may have been made, since it
 * takes ours as well. */
#define RESET_STATE                                                                                                    \
    "RESET ROLE; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *; "                                \
    "SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES"
static const char ROLLBACK_ONLY[] = "ROLLBACK";
static const char RESET_ONLY[] = RESET_STATE;
static const char ROLLBACK_AND_RESET[] = "ROLLBACK; " RESET_STATE;
static const char RESET_WITH_STATEMENTS[] = RESET_STATE "; DEALLOCATE ALL";
static const char ROLLBACK_AND_RESET_WITH_STATEMENTS[] = "ROLLBACK; " RESET_STATE "; DEALLOCATE ALL";

#define REQUEST_OF(timer_pointer) ((hp_request *)(void *)((char *)(timer_pointer)-offsetof(hp_request, timer)))

/* ---- life ---- */

hp_pool *
hp_pool_new(const hp_pool_config *config, const hp_callbacks *up, void *user)
{
    hp_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        return NULL;
    }
    if (hp_reactor_init(&pool->env.reactor) < 0) {
        free(pool);
        return NULL;
    }
    pool->config = *config;
    pool->env.up = up;
    pool->env.owner = &hp_pool_owner;
    pool->env.user = user;
    pool->env.connect_timeout = HP_NEVER;
    pool->env.cancel_timeout = DEFAULT_CANCEL_TIMEOUT_US;
    pool->env.close_timeout = DEFAULT_CLOSE_TIMEOUT_US;
    hp_janitor_init(pool);
    hp_route_init(pool, config->pipeline);
    return pool;
}

static void
reap(hp_pool *pool)
{
    while (pool->dead != NULL) {
        hp_conn *conn = pool->dead;
        pool->dead = conn->next;
        hp_conn_free(conn);
    }
}

void
hp_pool_free(hp_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    hp_pool_discard(pool, false);
    while (pool->all != NULL) { /* leases that were never given back */
        hp_conn *conn = pool->all;
        pool->all = conn->next;
        hp_conn_free(conn);
    }
    reap(pool);
    hp_targets_free(pool->env.targets, pool->env.ntargets);
    hp_reactor_destroy(&pool->env.reactor);
    free(pool);
}

int
hp_pool_fd(const hp_pool *pool)
{
    return pool->env.reactor.set.fd;
}

void
hp_pool_run_reactor(hp_pool *pool)
{
    if (pool->in_run) {
        return;
    }
    pool->in_run = true;
    hp_env_cork(&pool->env);
    hp_reactor_run(&pool->env.reactor);
    hp_env_uncork(&pool->env);
    pool->in_run = false;
    reap(pool);
}

/* ---- idle stack ---- */

static void
push_idle(hp_pool *pool, hp_conn *conn)
{
    conn->use = HP_USE_IDLE;
    conn->idle_since = hp_pool_time(pool);
    conn->idle_prev = NULL;
    conn->idle_next = pool->idle;
    if (pool->idle != NULL) {
        pool->idle->idle_prev = conn;
    } else {
        pool->idle_last = conn;
    }
    pool->idle = conn;
    pool->idle_count++;
    hp_janitor_parked(conn);
}

void
hp_pool_unlink_idle(hp_pool *pool, hp_conn *conn)
{
    if (conn->idle_prev != NULL) {
        conn->idle_prev->idle_next = conn->idle_next;
    } else {
        pool->idle = conn->idle_next;
    }
    if (conn->idle_next != NULL) {
        conn->idle_next->idle_prev = conn->idle_prev;
    } else {
        pool->idle_last = conn->idle_prev;
    }
    conn->idle_prev = conn->idle_next = NULL;
    pool->idle_count--;
}

/* The newest idle session that is alive; the dead found on the way are broken,
 * which replaces them in the background. */
static hp_conn *
pop_idle(hp_pool *pool, hp_time now)
{
    while (pool->idle != NULL) {
        hp_conn *conn = pool->idle;
        if (now - conn->idle_since < CHECK_AFTER_IDLE_US || hp_conn_check(conn)) {
            hp_pool_unlink_idle(pool, conn);
            return conn;
        }
    }
    return NULL;
}

/* ---- handing out ---- */

static void
count_handout(hp_pool *pool, hp_conn *conn)
{
    pool->env.stats.acquisitions++;
    if (conn->served) {
        pool->env.stats.reused++;
    }
    conn->served = true;
    if (pool->config.reset == HP_RESET_ALWAYS) {
        conn->touched = true;
    }
}

static void
start_lease(hp_pool *pool, hp_conn *conn, hp_time now)
{
    count_handout(pool, conn);
    conn->use = HP_USE_LEASED;
    conn->lease = ++pool->leases;
    conn->lease_since = now;
}

hp_conn *
hp_pool_try_acquire(hp_pool *pool)
{
    if (pool->state != HP_POOL_OPEN || pool->idle == NULL) {
        return NULL;
    }
    hp_time now = hp_now();
    hp_conn *conn = pop_idle(pool, now);
    if (conn != NULL) {
        start_lease(pool, conn, now);
        hp_histogram_add(&pool->env.stats.wait, 0);
    }
    return conn;
}

static void
end_request(hp_pool *pool, hp_request *req, const hp_error *err)
{
    hp_timer_stop(&pool->env.reactor, &req->timer);
    req->state = HP_REQ_DONE;
    pool->env.up->done(req, NULL, err);
    pool->env.up->released(req);
}

/* Give a session to a request that is on no list. */
static void
serve(hp_pool *pool, hp_conn *conn, hp_request *req, hp_time now)
{
    hp_timer_stop(&pool->env.reactor, &req->timer);
    hp_histogram_add(&pool->env.stats.wait, now - req->submitted);
    if (req->kind == HP_REQ_LEASE) {
        start_lease(pool, conn, now);
        req->conn = conn;
        end_request(pool, req, NULL);
        return;
    }
    count_handout(pool, conn);
    conn->use = HP_USE_STATEMENT;
    conn->slow = pool->env.pipeline > 0 && hp_route_is_slow(pool, req);
    hp_conn_submit(conn, req);
}

/* Send a request behind those that are in flight on a session. */
static void
share(hp_pool *pool, hp_conn *conn, hp_request *req, hp_time now)
{
    hp_timer_stop(&pool->env.reactor, &req->timer);
    hp_histogram_add(&pool->env.stats.wait, now - req->submitted);
    count_handout(pool, conn);
    pool->env.stats.pipelined++;
    hp_route_watch(pool);
    hp_conn_share(conn, req);
}

/* Serve waiters from a session that has others' statements in flight. */
static void
share_with_waiters(hp_pool *pool, hp_conn *conn)
{
    hp_time now = hp_now();
    while (pool->waiters.first != NULL && conn->inflight.first != NULL) {
        hp_request *req = pool->waiters.first;
        if (!hp_request_may_share(req) || hp_route_is_slow(pool, req) || !hp_route_has_room(pool, conn, req, now)) {
            return;
        }
        hp_request_remove(&pool->waiters, req);
        share(pool, conn, req, now);
    }
}

/* The waiter whose turn it is, off its list; NULL: there is none that may have a session. */
static hp_request *
next_waiter(hp_pool *pool)
{
    hp_request *req = pool->waiters.first;
    if (pool->env.pipeline > 0) {
        while (req != NULL && hp_route_is_slow(pool, req) && hp_route_is_full_of_slow(pool)) {
            hp_request_remove(&pool->waiters, req);
            req->queue = &pool->held;
            hp_request_push(&pool->held, req);
            req = pool->waiters.first;
        }
        if (pool->held.first != NULL && (req == NULL || pool->held.first->submitted <= req->submitted) &&
            !hp_route_is_full_of_slow(pool)) {
            req = pool->held.first;
        }
    }
    if (req != NULL) {
        hp_request_remove(req->queue, req);
    }
    return req;
}

/* Give idle sessions to waiters, as far as both go; in a pool that is closing,
 * close what is left. */
static void
serve_waiters(hp_pool *pool)
{
    pool->in_offer = true;
    while (pool->idle != NULL) {
        hp_request *req = next_waiter(pool);
        if (req == NULL) {
            break;
        }
        hp_conn *conn = pool->idle;
        hp_pool_unlink_idle(pool, conn);
        serve(pool, conn, req, hp_now());
        if (pool->env.pipeline > 0 && pool->waiters.first != NULL) {
            share_with_waiters(pool, conn);
        }
    }
    pool->in_offer = false;
    while (pool->idle != NULL && (pool->state == HP_POOL_CLOSING || pool->state == HP_POOL_CLOSED)) {
        hp_conn *conn = pool->idle;
        hp_pool_unlink_idle(pool, conn);
        hp_janitor_retire(conn);
    }
}

/* A request can be over before serve() returns (a parameter that cannot be
 * encoded), which offers the session again: that is taken up by the loop of the
 * first call, so that any number of such requests needs no stack. */
void
hp_pool_offer(hp_conn *conn)
{
    hp_pool *pool = conn->pool;
    if (pool->in_offer) {
        push_idle(pool, conn);
        return;
    }
    push_idle(pool, conn);
    if (hp_pool_waiting(pool) == 0 && pool->state == HP_POOL_OPEN) {
        return;
    }
    serve_waiters(pool);
}

/* ---- waiting ---- */

hp_time
hp_pool_time(const hp_pool *pool)
{
    return pool->in_run ? pool->env.reactor.now : hp_now();
}

int
hp_pool_waiting(const hp_pool *pool)
{
    return pool->waiters.count + pool->held.count;
}

int
hp_pool_count(const hp_pool *pool, hp_conn_use use)
{
    int n = 0;
    for (const hp_conn *conn = pool->all; conn != NULL; conn = conn->next) {
        n += conn->use == use;
    }
    return n;
}

double
hp_pool_longest_lease(const hp_pool *pool)
{
    hp_time now = hp_now();
    hp_time longest = 0;
    for (const hp_conn *conn = pool->all; conn != NULL; conn = conn->next) {
        if (conn->use == HP_USE_LEASED && now - conn->lease_since > longest) {
            longest = now - conn->lease_since;
        }
    }
    return (double)longest / (double)HP_SECOND;
}

int
hp_pool_connected(const hp_pool *pool)
{
    int n = 0;
    for (const hp_conn *conn = pool->all; conn != NULL; conn = conn->next) {
        n += conn->state == HP_CONN_READY && conn->use != HP_USE_OPENING && conn->use != HP_USE_INIT;
    }
    return n;
}

static int
count_busy(const hp_pool *pool)
{
    return hp_pool_count(pool, HP_USE_STATEMENT) + hp_pool_count(pool, HP_USE_SETTLING);
}

/* Exhausted and down are different news: one says "use fewer or wait longer",
 * the other "look at the server". */
static void
describe_wait(const hp_pool *pool, const hp_request *req, hp_error *err)
{
    hp_time limit = req->timer.at == req->deadline ? req->limit : req->acquire_timeout;
    double waited = (double)limit / (double)HP_SECOND;
    if (hp_pool_connected(pool) > 0) {
        hp_error_set(err, HP_ERR_EXHAUSTED,
                     "no connection became free within %.3f s: %d of at most %d are leased, the longest for %.3f s, %d "
                     "are busy with single statements or a reset; waiting besides: %d",
                     waited, hp_pool_count(pool, HP_USE_LEASED), pool->config.max_size, hp_pool_longest_lease(pool),
                     count_busy(pool), hp_pool_waiting(pool));
        return;
    }
    hp_error_set(err, HP_ERR_DOWN, "no connection could be opened within %.3f s: %.400s", waited,
                 pool->tried && !pool->last_connect_ok ? pool->last_error.text : "the server does not answer");
}

static void
waiter_timed_out(hp_timer *timer, hp_time now)
{
    hp_request *req = REQUEST_OF(timer);
    hp_pool *pool = req->pool;
    hp_error err;
    hp_request_remove(req->queue, req);
    pool->env.stats.acquire_timeouts++;
    (void)now;
    describe_wait(pool, req, &err);
    end_request(pool, req, &err);
}

void
hp_pool_fail_waiters(hp_pool *pool, const hp_error *err)
{
    /* Those that come while we answer are not meant. */
    for (int n = hp_pool_waiting(pool); n > 0 && hp_pool_waiting(pool) > 0; n--) {
        hp_request *req = pool->waiters.first != NULL ? pool->waiters.first : pool->held.first;
        hp_request_remove(req->queue, req);
        end_request(pool, req, err);
    }
}

static hp_time
waiter_deadline(const hp_request *req)
{
    hp_time at = req->acquire_timeout == HP_NEVER ? HP_NEVER : req->submitted + req->acquire_timeout;
    return req->deadline < at ? req->deadline : at;
}

static void
wait_in_line(hp_pool *pool, hp_request_list *queue, hp_request *req)
{
    hp_error err;
    if (pool->config.max_waiters > 0 && hp_pool_waiting(pool) >= pool->config.max_waiters) {
        pool->env.stats.rejected++;
        hp_error_set(&err, HP_ERR_TOO_MANY_WAITERS,
                     "max_waiters requests wait already (%d): %d of at most %d connections are leased, the longest for "
                     "%.3f s, %d are busy with single statements or a reset",
                     hp_pool_waiting(pool), hp_pool_count(pool, HP_USE_LEASED), pool->config.max_size,
                     hp_pool_longest_lease(pool), count_busy(pool));
        end_request(pool, req, &err);
        return;
    }
    req->timer.fire = waiter_timed_out;
    if (hp_timer_start(&pool->env.reactor, &req->timer, waiter_deadline(req)) < 0) {
        hp_error_set(&err, HP_ERR_NO_MEMORY, "out of memory");
        end_request(pool, req, &err);
        return;
    }
    req->state = HP_REQ_QUEUED;
    req->queue = queue;
    hp_request_push(queue, req);
    hp_janitor_grow(pool);
}

/* With pipelining. false: it wants a session of its own, as without. */
static bool
route(hp_pool *pool, hp_request *req, hp_time now)
{
    if (pool->waiters.first != NULL) {
        return false; /* nobody goes past those who wait */
    }
    if (hp_route_is_slow(pool, req)) {
        if (hp_route_is_full_of_slow(pool)) {
            wait_in_line(pool, &pool->held, req);
            return true;
        }
        return false;
    }
    hp_route_note_short(pool, now);
    hp_conn *conn = hp_route_find(pool, req, now);
    if (conn == NULL) {
        return false;
    }
    share(pool, conn, req, now);
    return true;
}

static void
requeue_one(hp_pool *pool, hp_request *req, const hp_error *why)
{
    hp_error err;
    hp_error_set(&err, HP_ERR_NO_MEMORY, "out of memory");
    req->timer.fire = waiter_timed_out;
    req->submitted = hp_now();
    pool->env.stats.resent++;
    if (pool->state == HP_POOL_CLOSED) {
        end_request(pool, req, why);
    } else if (hp_timer_start(&pool->env.reactor, &req->timer, waiter_deadline(req)) < 0) {
        end_request(pool, req, &err);
    } else {
        req->queue = &pool->waiters;
        hp_request_unshift(&pool->waiters, req); /* they have waited longer than anybody there */
    }
}

void
hp_pool_requeue(hp_pool *pool, hp_request_list *reqs, const hp_error *err)
{
    while (reqs->last != NULL) {
        hp_request *req = reqs->last;
        hp_request_remove(reqs, req);
        requeue_one(pool, req, err);
    }
    if (!pool->in_offer) {
        serve_waiters(pool);
    }
    hp_janitor_grow(pool);
}

void
hp_pool_submit(hp_pool *pool, hp_request *req)
{
    hp_time now = hp_now();
    req->pool = pool;
    req->submitted = now;
    if (pool->state != HP_POOL_OPEN && pool->state != HP_POOL_OPENING) {
        hp_error err;
        hp_error_set(&err, HP_ERR_CLOSED, pool->state == HP_POOL_CLOSING ? "pool is closing" : "pool is closed");
        end_request(pool, req, &err);
        return;
    }
    if (pool->env.pipeline > 0 && req->kind != HP_REQ_LEASE && route(pool, req, now)) {
        return;
    }
    hp_conn *conn = pop_idle(pool, now);
    if (conn != NULL) {
        serve(pool, conn, req, now);
    } else {
        wait_in_line(pool, &pool->waiters, req);
    }
}

/* ---- leases ---- */

void
hp_pool_run_leased(hp_conn *conn, hp_request *req)
{
    hp_pool *pool = conn->pool;
    req->pool = pool;
    req->submitted = hp_now();
    if (conn->state != HP_CONN_READY) {
        hp_error err;
        hp_error_set(&err, HP_ERR_CLOSED, "the connection is closed");
        end_request(pool, req, &err);
        return;
    }
    hp_conn_submit(conn, req);
}

/* In flight, and waited for: the last such. */
static hp_request *
last_live(const hp_conn *conn)
{
    hp_request *req = conn->state == HP_CONN_READY ? conn->inflight.last : NULL;
    while (req != NULL && (req->abandoned || req->kind == HP_REQ_INTERNAL)) {
        req = req->prev;
    }
    return req;
}

/* Another task than the one that released may still wait for them. */
static void
withdraw_requests(hp_conn *conn)
{
    hp_error err;
    hp_error_set(&err, HP_ERR_CLOSED, "the connection was released while the operation was in progress");
    while (conn->pending.first != NULL) {
        hp_conn_withdraw(conn, conn->pending.first, &err);
    }
    for (hp_request *req = last_live(conn); req != NULL; req = last_live(conn)) {
        hp_conn_withdraw(conn, req, &err);
    }
}

void
hp_pool_release(hp_conn *conn)
{
    conn->lease = 0;
    if (conn->state != HP_CONN_READY) {
        conn->use = HP_USE_GONE;
        hp_janitor_gone(conn);
        return;
    }
    conn->use = HP_USE_SETTLING;
    conn->pipe.open = false;
    if (conn->pending.first != NULL || last_live(conn) != NULL) {
        withdraw_requests(conn);
    }
    hp_pipe_close(conn);
    hp_begin_drop(conn);
    hp_prepared_drop_owned(conn);
    if (hp_conn_is_free(conn)) {
        hp_pool_settle(conn);
    }
}

void
hp_pool_release_broken(hp_conn *conn)
{
    conn->lease = 0;
    conn->use = HP_USE_GONE;
    if (conn->state != HP_CONN_READY) {
        hp_janitor_gone(conn);
    } else if (hp_conn_is_free(conn)) {
        hp_janitor_retire(conn);
    } else {
        hp_conn_terminate(conn, NULL);
    }
}

static const char *
reset_script(const hp_conn *conn, bool in_transaction)
{
    if (conn->pool->config.reset == HP_RESET_NONE) {
        return in_transaction ? ROLLBACK_ONLY : NULL;
    }
    if (conn->prepares) {
        return in_transaction ? ROLLBACK_AND_RESET_WITH_STATEMENTS : RESET_WITH_STATEMENTS;
    }
    if (conn->touched) {
        return in_transaction ? ROLLBACK_AND_RESET : RESET_ONLY;
    }
    return in_transaction ? ROLLBACK_ONLY : NULL;
}

void
hp_pool_settle(hp_conn *conn)
{
    const char *script = reset_script(conn, hp_conn_in_transaction(conn));
    if (script == NULL && conn->settings_due) {
        hp_conn_run_settings(conn);
    } else if (script != NULL) {
        conn->use = HP_USE_SETTLING;
        if (script == RESET_WITH_STATEMENTS || script == ROLLBACK_AND_RESET_WITH_STATEMENTS) {
            hp_conn_forget_statements(conn);
            if (conn->state != HP_CONN_READY) {
                return; /* a finalizer of theirs has ended the session */
            }
        }
        conn->touched = conn->prepares = false;
        conn->settings_due = hp_conn_settings(conn) != NULL && script != ROLLBACK_ONLY;
        conn->pool->env.stats.resets++;
        hp_conn_run_internal(conn, script);
    } else if (hp_janitor_is_due(conn, hp_pool_time(conn->pool))) {
        hp_janitor_retire(conn);
    } else {
        hp_pool_offer(conn);
    }
}

/* ---- leaving ---- */

void
hp_request_abandon(hp_request *req)
{
    hp_pool *pool = req->pool;
    if (req->state == HP_REQ_QUEUED) {
        pool->env.stats.cancellations++;
        hp_request_remove(req->queue, req);
        hp_timer_stop(&pool->env.reactor, &req->timer);
        req->state = HP_REQ_DONE;
        pool->env.up->released(req);
    } else if (req->state == HP_REQ_SENT && !req->abandoned) {
        pool->env.stats.cancellations++;
        hp_conn_abandon(req->conn, req);
    } else {
        req->abandoned = true; /* its answer is there, and about to be given */
    }
}

/* ---- what sessions report ---- */

/* There may be one slow statement less. */
static void
serve_held(hp_pool *pool)
{
    if (pool->held.first != NULL && pool->idle != NULL && !pool->in_offer) {
        serve_waiters(pool);
    }
}

static void
session_idle(hp_conn *conn)
{
    if (conn->use == HP_USE_STATEMENT || conn->use == HP_USE_SETTLING) {
        hp_pool_settle(conn);
        serve_held(conn->pool);
    } else if (conn->use == HP_USE_OPENING) {
        hp_janitor_opened(conn); /* its settings are made */
    }
}

static void
session_lost(hp_conn *conn, const hp_error *err)
{
    hp_pool *pool = conn->pool;
    if (conn->use == HP_USE_OPENING) {
        hp_error failure = *err;
        failure.kind = err->kind == HP_ERR_LOST ? HP_ERR_CONNECT : err->kind;
        hp_janitor_failed(conn, &failure);
        return;
    }
    if (pool->state == HP_POOL_OPEN || pool->state == HP_POOL_OPENING) {
        pool->env.stats.recycled[HP_RECYCLE_BROKEN]++;
    }
    if (conn->use == HP_USE_LEASED || conn->use == HP_USE_INIT) {
        return; /* its holder finds out, and gives it back */
    }
    if (conn->use == HP_USE_IDLE) {
        hp_pool_unlink_idle(pool, conn);
    }
    conn->use = HP_USE_GONE;
    hp_janitor_gone(conn);
    serve_held(pool);
}

static void
session_answered(hp_conn *conn, hp_request *req)
{
    hp_pool *pool = conn->pool;
    hp_route_learn(pool, conn, req);
    /* While sessions are offered, whoever offers them serves the waiters. */
    if (conn->inflight.first != NULL && pool->waiters.first != NULL && !pool->in_offer) {
        pool->in_offer = true;
        share_with_waiters(pool, conn);
        pool->in_offer = false;
        if (pool->idle != NULL) { /* a session has come free from inside, unseen */
            serve_waiters(pool);
        }
    }
}

static void
session_stranded(hp_conn *conn, hp_request_list *reqs, const hp_error *err)
{
    hp_pool_requeue(conn->pool, reqs, err);
}

const hp_conn_owner hp_pool_owner = {
    .opened = hp_janitor_opened,
    .failed = hp_janitor_failed,
    .idle = session_idle,
    .lost = session_lost,
    .closed = hp_janitor_gone,
    .answered = session_answered,
    .stranded = session_stranded,
};
