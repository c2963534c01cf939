/*
 * janitor.c - opening, replacing and closing the connections of a pool, in the
 * background: never on the path of a caller while another connection can serve.
 *
 * After a failed attempt the next one waits: HP_BACKOFF_FIRST_US, doubled for
 * each failure in a row up to HP_BACKOFF_MOST_US, of which a random half is
 * taken off so that the processes of a service do not knock together. One
 * attempt at a time then; the first success ends it. It never gives up while
 * somebody waits or the pool is below min_size, and while somebody waits the
 * pause is HP_BACKOFF_WAITED_US at most: a caller with little patience shall not
 * sit out the rest of a long one when the server is back.
 *
 * Part of pool.h; called by pool.c and through hp_conn_owner.
 */
#include "engine/route.h"

#include "engine/prepared.h"

#include <stdlib.h>
#include <string.h>

static const hp_time HP_BACKOFF_FIRST_US = 100 * HP_MS;
static const hp_time HP_BACKOFF_MOST_US = 10 * HP_SECOND;
static const hp_time HP_BACKOFF_WAITED_US = HP_SECOND;

#define POOL_OF(pointer, member) ((hp_pool *)(void *)((char *)(pointer)-offsetof(hp_pool, member)))

/* xorshift64*: jitter needs spread, not secrecy. */
static uint64_t
next_random(hp_pool *pool)
{
    uint64_t x = pool->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    pool->random = x;
    return x * 0x2545F4914F6CDD1DULL;
}

/* ---- the set of all connections ---- */

static void
link_conn(hp_pool *pool, hp_conn *conn)
{
    conn->pool = pool;
    conn->prev = NULL;
    conn->next = pool->all;
    if (pool->all != NULL) {
        pool->all->prev = conn;
    }
    pool->all = conn;
    pool->size++;
}

static void
unlink_conn(hp_pool *pool, hp_conn *conn)
{
    if (conn->prev != NULL) {
        conn->prev->next = conn->next;
    } else {
        pool->all = conn->next;
    }
    if (conn->next != NULL) {
        conn->next->prev = conn->prev;
    }
    pool->size--;
    conn->prev = NULL;
    conn->next = pool->dead;
    pool->dead = conn;
}

static bool
any_ready(const hp_pool *pool)
{
    for (const hp_conn *conn = pool->all; conn != NULL; conn = conn->next) {
        if (conn->state == HP_CONN_READY) {
            return true;
        }
    }
    return false;
}

static void
closed_for_good(hp_pool *pool)
{
    pool->state = HP_POOL_CLOSED;
    hp_janitor_stop(pool);
    hp_route_stop(pool);
    pool->env.up->closed(pool->env.user);
}

void
hp_janitor_gone(hp_conn *conn)
{
    hp_pool *pool = conn->pool;
    unlink_conn(pool, conn);
    hp_conn_tell_end(conn); /* before the pool is known to be closed */
    if (pool->state == HP_POOL_CLOSING) {
        if (!any_ready(pool)) {
            hp_error err;
            hp_error_set(&err, HP_ERR_CLOSED, "pool is closing");
            hp_pool_fail_waiters(pool, &err);
        }
        if (pool->size == 0) {
            closed_for_good(pool);
        }
        return;
    }
    hp_janitor_grow(pool);
}

/* ---- opening ---- */

static int
open_one(hp_pool *pool)
{
    hp_conn *conn = hp_conn_new(&pool->env);
    if (conn == NULL) {
        return -1;
    }
    if (hp_conn_open(conn) < 0) {
        hp_conn_free(conn);
        return -1;
    }
    link_conn(pool, conn);
    pool->opening++;
    return 0;
}

static hp_time
backoff(hp_pool *pool)
{
    unsigned doublings = pool->failures > 1 ? pool->failures - 1 : 0;
    hp_time most = HP_BACKOFF_FIRST_US;
    while (doublings-- > 0 && most < HP_BACKOFF_MOST_US) {
        most *= 2;
    }
    if (most > HP_BACKOFF_MOST_US) {
        most = HP_BACKOFF_MOST_US;
    }
    return most / 2 + (hp_time)(next_random(pool) % (uint64_t)(most / 2 + 1));
}

/* Connections that serve or will: not those on their way out. */
static int
count_live(const hp_pool *pool)
{
    return pool->size - hp_pool_count(pool, HP_USE_GONE);
}

static bool
wants_more(const hp_pool *pool)
{
    if (pool->state != HP_POOL_OPEN || pool->size >= pool->config.max_size || pool->config.dedicated) {
        return false;
    }
    int waiting = hp_route_is_full_of_slow(pool) ? pool->waiters.count : hp_pool_waiting(pool);
    return pool->opening < waiting || count_live(pool) < pool->config.min_size;
}

static void
note_failure(hp_pool *pool, const hp_error *err)
{
    pool->last_error = *err;
    pool->last_error.result = NULL;
    pool->last_error_at = hp_wall_clock();
    pool->last_connect_ok = false;
    pool->failures++;
    pool->failed_at = hp_now();
    pool->pause = backoff(pool);
}

static void
out_of_memory(hp_pool *pool)
{
    hp_error err;
    hp_error_set(&err, HP_ERR_NO_MEMORY, "out of memory");
    note_failure(pool, &err);
}

static void
plan_reopening(hp_pool *pool)
{
    bool waited = hp_pool_waiting(pool) > 0 && pool->pause > HP_BACKOFF_WAITED_US;
    hp_time at = pool->failed_at + (waited ? HP_BACKOFF_WAITED_US : pool->pause);
    if ((pool->reopen.slot == 0 || at < pool->reopen.at) && hp_timer_start(&pool->env.reactor, &pool->reopen, at) < 0) {
        /* Nothing would ever come back to those who wait. */
        hp_error err = pool->last_error;
        hp_pool_fail_waiters(pool, &err);
    }
}

void
hp_janitor_grow(hp_pool *pool)
{
    while (wants_more(pool)) {
        if (pool->failures > 0) {
            if (pool->opening == 0) {
                plan_reopening(pool);
            }
            return;
        }
        if (open_one(pool) < 0) {
            out_of_memory(pool);
        }
    }
}

/* Of the first sessions none could be had, for want of room. PostgreSQL counts those of
 * a role or a database when each has come in, and of several that come at once for one
 * place it may refuse all: so one is tried alone before that is the answer. */
static bool
try_one_alone(hp_pool *pool)
{
    bool came_at_once = pool->opened_at_once > 1;
    pool->opened_at_once = 1;
    if (!came_at_once || strcmp(pool->last_error.sqlstate, "53300") != 0 ||
        hp_timer_start(&pool->env.reactor, &pool->reopen, hp_now() + HP_BACKOFF_FIRST_US) < 0) {
        return false;
    }
    pool->opening_left = 1;
    return true;
}

static void
opening_decided(hp_pool *pool)
{
    if (pool->state != HP_POOL_OPENING || --pool->opening_left > 0) {
        return;
    }
    if (any_ready(pool)) {
        pool->state = HP_POOL_OPEN;
        pool->env.up->opened(pool->env.user, NULL);
        hp_janitor_grow(pool);
        return;
    }
    if (try_one_alone(pool)) {
        return;
    }
    hp_error err = pool->last_error;
    pool->state = HP_POOL_CLOSED;
    hp_janitor_stop(pool);
    hp_pool_fail_waiters(pool, &err);
    pool->env.up->opened(pool->env.user, &err);
}

static void
on_reopen(hp_timer *timer, hp_time now)
{
    hp_pool *pool = POOL_OF(timer, reopen);
    (void)now;
    if (pool->state == HP_POOL_OPENING) {
        if (open_one(pool) < 0) {
            out_of_memory(pool);
            opening_decided(pool);
        }
        return;
    }
    if (wants_more(pool) && pool->opening == 0 && open_one(pool) < 0) {
        out_of_memory(pool);
        hp_janitor_grow(pool);
    }
}

static void
ready_for_use(hp_conn *conn)
{
    hp_pool *pool = conn->pool;
    pool->opening--;
    pool->failures = 0; /* not before: an init hook that fails each time is to be tried less and less often */
    hp_pool_settle(conn);
    opening_decided(pool);
    hp_janitor_grow(pool);
}

void
hp_janitor_opened(hp_conn *conn)
{
    hp_pool *pool = conn->pool;
    pool->env.stats.connects++;
    pool->tried = pool->last_connect_ok = true;
    if (conn->outdated) {
        conn->expires_at = 0; /* it was asked for before hp_pool_expire() */
    } else if (pool->config.max_lifetime != HP_NEVER) {
        /* up to a tenth earlier, so that a pool is not replaced all at once */
        hp_time most = pool->config.max_lifetime;
        conn->expires_at = conn->opened_at + most - (hp_time)(next_random(pool) % (uint64_t)(most / 10 + 1));
    }
    if (pool->config.init_hook && pool->state != HP_POOL_CLOSING) {
        conn->use = HP_USE_INIT;
        pool->env.up->session_opened(pool->env.user, conn);
    } else {
        ready_for_use(conn);
    }
}

/* A connection that never came to serve; it is CLOSED. */
static void
attempt_failed(hp_conn *conn, const hp_error *err)
{
    hp_pool *pool = conn->pool;
    pool->opening--;
    if (err->kind != HP_ERR_CLOSED && err->kind != HP_ERR_TERMINATED) { /* not our own doing */
        pool->tried = true;
        note_failure(pool, err);
        pool->env.stats.connection_errors++;
    }
    hp_janitor_gone(conn);
    if (pool->state == HP_POOL_OPENING) {
        opening_decided(pool);
    } else if (hp_error_is_permanent(err) && !any_ready(pool)) {
        /* waiting longer would not help those who wait */
        hp_error down = *err;
        down.kind = HP_ERR_DOWN;
        hp_pool_fail_waiters(pool, &down);
    }
}

void
hp_janitor_failed(hp_conn *conn, const hp_error *err)
{
    attempt_failed(conn, err);
}

void
hp_pool_session_ready(hp_conn *conn, const hp_error *err)
{
    hp_error own;
    if (err == NULL && conn->state == HP_CONN_READY && hp_conn_is_free(conn) && !conn->pipe.open) {
        conn->use = HP_USE_SETTLING;
        hp_prepared_drop_owned(conn);
        conn->touched = conn->prepares = false; /* what the hook has set up is the session's normal state */
        ready_for_use(conn);
        return;
    }
    if (err == NULL) {
        hp_error_set(&own, HP_ERR_CONNECT,
                     "the init hook of a new connection failed: it left the connection closed or busy");
        err = &own;
    }
    if (conn->state == HP_CONN_READY) {
        conn->use = HP_USE_LEASED; /* keeps hp_conn_break() from taking it off the list itself */
        hp_conn_break(conn, err);
    }
    conn->use = HP_USE_GONE;
    attempt_failed(conn, err);
}

/* ---- closing ---- */

bool
hp_janitor_is_due(hp_conn *conn, hp_time now)
{
    hp_pool *pool = conn->pool;
    if (pool->config.dedicated) {
        return false;
    }
    if (pool->config.max_queries > 0 && conn->queries >= pool->config.max_queries) {
        pool->env.stats.recycled[HP_RECYCLE_MAX_QUERIES]++;
        return true;
    }
    if (now >= conn->expires_at) {
        pool->env.stats.recycled[HP_RECYCLE_LIFETIME]++;
        return true;
    }
    return false;
}

void
hp_janitor_retire(hp_conn *conn)
{
    hp_conn_close(conn);
    hp_janitor_grow(conn->pool);
}

void
hp_pool_expire(hp_pool *pool)
{
    if (pool->config.dedicated) {
        return;
    }
    for (hp_conn *conn = pool->all; conn != NULL; conn = conn->next) {
        conn->outdated = true;
        conn->expires_at = 0;
    }
    while (pool->idle != NULL) {
        hp_conn *conn = pool->idle;
        pool->env.stats.recycled[HP_RECYCLE_LIFETIME]++;
        hp_pool_unlink_idle(pool, conn);
        hp_janitor_retire(conn);
    }
}

/* When does this idle connection want attention? */
static hp_time
due_at(const hp_pool *pool, const hp_conn *conn)
{
    hp_time at = conn->expires_at;
    if (pool->config.max_idle != HP_NEVER && count_live(pool) > pool->config.min_size &&
        conn->idle_since + pool->config.max_idle < at) {
        at = conn->idle_since + pool->config.max_idle;
    }
    return at;
}

static void
plan_sweep(hp_pool *pool, hp_time at)
{
    if (at != HP_NEVER && (pool->sweep.slot == 0 || at < pool->sweep.at)) {
        hp_timer_start(&pool->env.reactor, &pool->sweep, at);
    }
}

static void
plan_next_sweep(hp_pool *pool)
{
    hp_time at = HP_NEVER;
    for (const hp_conn *conn = pool->idle; conn != NULL; conn = conn->idle_next) {
        hp_time due = due_at(pool, conn);
        at = due < at ? due : at;
    }
    plan_sweep(pool, at);
}

/* The oldest is at the end of the stack; lifetimes may end anywhere in it. */
static void
on_sweep(hp_timer *timer, hp_time now)
{
    hp_pool *pool = POOL_OF(timer, sweep);
    hp_conn *newer;
    int surplus = count_live(pool) - pool->config.min_size;
    for (hp_conn *conn = pool->idle_last; conn != NULL; conn = newer) {
        newer = conn->idle_prev;
        bool expired = now >= conn->expires_at;
        bool unused =
            pool->config.max_idle != HP_NEVER && surplus > 0 && now >= conn->idle_since + pool->config.max_idle;
        if (!expired && !unused) {
            continue;
        }
        pool->env.stats.recycled[expired ? HP_RECYCLE_LIFETIME : HP_RECYCLE_IDLE]++;
        hp_pool_unlink_idle(pool, conn);
        hp_janitor_retire(conn);
        surplus--;
    }
    plan_next_sweep(pool);
}

/* On the path of every release, so it looks at no more than this connection and
 * the one that is idle longest, and counts those on their way out as live: a
 * sweep that comes too early finds nothing and plans the next. */
void
hp_janitor_parked(hp_conn *conn)
{
    hp_pool *pool = conn->pool;
    hp_time at = conn->expires_at;
    if (pool->config.max_idle != HP_NEVER && pool->size > pool->config.min_size) {
        hp_time due = pool->idle_last->idle_since + pool->config.max_idle;
        at = due < at ? due : at;
    }
    plan_sweep(pool, at);
}

/* ---- the pool as a whole ---- */

void
hp_janitor_init(hp_pool *pool)
{
    pool->reopen.fire = on_reopen;
    pool->sweep.fire = on_sweep;
    pool->random = (uint64_t)hp_now() * 0x9E3779B97F4A7C15ULL ^ (uint64_t)(uintptr_t)pool;
    if (pool->random == 0) {
        pool->random = 1;
    }
}

void
hp_janitor_stop(hp_pool *pool)
{
    hp_timer_stop(&pool->env.reactor, &pool->reopen);
    hp_timer_stop(&pool->env.reactor, &pool->sweep);
}

int
hp_pool_open(hp_pool *pool)
{
    pool->state = HP_POOL_OPENING;
    pool->failures = 0;
    int first = pool->config.init_size > pool->config.min_size ? pool->config.init_size : pool->config.min_size;
    pool->opening_left = pool->opened_at_once = first;
    if (first == 0) {
        pool->state = HP_POOL_OPEN;
        pool->env.up->opened(pool->env.user, NULL);
        return 0;
    }
    for (int i = 0; i < first; i++) {
        if (open_one(pool) < 0) {
            hp_pool_discard(pool, false);
            return -1;
        }
    }
    return 0;
}

void
hp_pool_close(hp_pool *pool)
{
    hp_conn *next;
    hp_error err;
    if (pool->state == HP_POOL_CLOSED || pool->state == HP_POOL_CLOSING) {
        return;
    }
    bool was_opening = pool->state == HP_POOL_OPENING;
    pool->state = HP_POOL_CLOSING;
    hp_janitor_stop(pool);
    while (pool->idle != NULL) {
        hp_conn *conn = pool->idle;
        hp_pool_unlink_idle(pool, conn);
        hp_janitor_retire(conn);
    }
    hp_error_set(&err, HP_ERR_CLOSED, "pool is closing");
    for (hp_conn *conn = pool->all; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->state == HP_CONN_CONNECTING) {
            hp_conn_break(conn, &err);
        }
    }
    if (!any_ready(pool)) {
        hp_pool_fail_waiters(pool, &err);
    }
    if (was_opening) {
        pool->env.up->opened(pool->env.user, &err);
    }
    if (pool->state == HP_POOL_CLOSING && pool->size == 0) {
        closed_for_good(pool);
    }
}

/* Ending a session calls upwards, where others may be given back: whoever ends
 * all of them begins anew after each. */
static hp_conn *
first_open(const hp_pool *pool)
{
    hp_conn *conn = pool->all;
    while (conn != NULL && conn->state == HP_CONN_CLOSED) {
        conn = conn->next;
    }
    return conn;
}

void
hp_pool_terminate(hp_pool *pool)
{
    hp_error err;
    if (pool->state == HP_POOL_CLOSED) {
        return;
    }
    bool was_opening = pool->state == HP_POOL_OPENING;
    pool->state = HP_POOL_CLOSED;
    hp_janitor_stop(pool);
    hp_route_stop(pool);
    hp_error_set(&err, HP_ERR_CLOSED, "pool was terminated");
    hp_pool_fail_waiters(pool, &err);
    hp_error cut;
    hp_error_set(&cut, HP_ERR_TERMINATED,
                 "the connection was closed in the middle of the operation: pool was terminated");
    for (hp_conn *conn = first_open(pool); conn != NULL; conn = first_open(pool)) {
        hp_conn_terminate(conn, &cut);
    }
    if (was_opening) {
        pool->env.up->opened(pool->env.user, &err);
    }
    pool->env.up->closed(pool->env.user);
}

void
hp_pool_discard(hp_pool *pool, bool forked)
{
    if (forked) {
        /* Both descriptors share their state with the parent's: nothing may be
         * changed through them, only our copies closed. */
        hp_pollset_close_in_child(&pool->env.reactor.set);
    }
    pool->state = HP_POOL_CLOSED;
    hp_janitor_stop(pool);
    hp_route_stop(pool);
    while (hp_pool_waiting(pool) > 0) {
        hp_request *req = pool->waiters.first != NULL ? pool->waiters.first : pool->held.first;
        hp_request_remove(req->queue, req);
        hp_timer_stop(&pool->env.reactor, &req->timer);
        req->state = HP_REQ_DONE;
        pool->env.up->released(req);
    }
    for (hp_conn *conn = first_open(pool); conn != NULL; conn = first_open(pool)) {
        hp_conn_discard(conn, forked);
    }
    hp_conn *next;
    for (hp_conn *conn = pool->all; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->use == HP_USE_OPENING) {
            pool->opening--;
        }
        if (conn->use == HP_USE_IDLE) {
            hp_pool_unlink_idle(pool, conn);
        }
        if (conn->use != HP_USE_LEASED && conn->use != HP_USE_INIT) {
            unlink_conn(pool, conn);
        }
    }
}
