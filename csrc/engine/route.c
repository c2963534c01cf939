/*
 * route.c - see route.h.
 */
#include "engine/route.h"

static const hp_time LEAST_LIMIT_US = HP_MS;
/* A session is filled up to this while others are idle: together statements cost
 * the client, and the server, a good deal less than each on its own. */
static const hp_time GATHER_US = 250;
/* What a statement takes that is answered faster than the clock and the loop can tell. */
static const hp_time LEAST_LOAD_US = 20;
/* More than twice as long as the longest queue should take. */
static const hp_time STALL_US = 20 * HP_MS;
/* Slow statements make way for others as long as these came so lately. */
static const hp_time RECENT_US = HP_SECOND;
static const hp_time WINDOW_US = 5 * HP_SECOND;
enum { ROUND_TRIP_SPREAD = 4, AUTO_DEPTH = 32, OBSERVED_ENOUGH = 2, MEAN_OF = 16 };
/* What is late by no more than this part of the round trip may be so for the network's sake. */
enum { JITTER_PART = 2 };

#define POOL_OF(pointer, member) ((hp_pool *)(void *)((char *)(pointer)-offsetof(hp_pool, member)))

static void on_look(hp_timer *timer, hp_time now);

void
hp_route_init(hp_pool *pool, int pipeline)
{
    int depth = pipeline == HP_PIPELINE_AUTO ? AUTO_DEPTH : pipeline;
    pool->env.pipeline = depth > HP_PIPELINE_MOST ? HP_PIPELINE_MOST : depth;
    pool->look.fire = on_look;
}

void
hp_route_stop(hp_pool *pool)
{
    hp_timer_stop(&pool->env.reactor, &pool->look);
}

/* ---- what is known ---- */

static hp_time
lowest(const hp_lowest *seen)
{
    return seen->before != 0 && seen->before < seen->window ? seen->before : seen->window;
}

static void
note(hp_lowest *seen, hp_time value, hp_time now)
{
    if (now - seen->since > WINDOW_US) {
        seen->before = seen->window;
        seen->window = value;
        seen->since = now;
    } else if (value < seen->window || seen->window == 0) {
        seen->window = value;
    }
}

static hp_time
round_trip(const hp_pool *pool)
{
    const hp_round_trip *seen = &pool->round_trip;
    hp_time recent = lowest(&seen->recent);
    hp_time most = seen->least * ROUND_TRIP_SPREAD + LEAST_LIMIT_US / 2;
    return recent < most ? recent : most;
}

static hp_time
limit(const hp_pool *pool)
{
    hp_time trip = round_trip(pool);
    return trip > LEAST_LIMIT_US ? trip : LEAST_LIMIT_US;
}

static void
learn_round_trip(hp_pool *pool, hp_time took)
{
    hp_round_trip *seen = &pool->round_trip;
    note(&seen->recent, took, pool->env.reactor.now);
    if (took < seen->least || seen->least == 0) {
        seen->least = took;
    }
}

static void
learn_cost(hp_stmt *stmt, hp_time cost, hp_time now)
{
    if (stmt->observed == 0) {
        stmt->cost = cost;
        stmt->mean_x16 = cost * MEAN_OF;
    } else if (cost > stmt->cost) {
        stmt->cost += (cost - stmt->cost) / 4;
    } else {
        stmt->cost -= (stmt->cost - cost) / 8;
    }
    stmt->mean_x16 += cost - stmt->mean_x16 / MEAN_OF;
    hp_time mean = stmt->mean_x16 / MEAN_OF;
    note(&stmt->least_mean, mean > LEAST_LOAD_US ? mean : LEAST_LOAD_US, now);
    stmt->observed++;
}

/* `before`: the answer in front of it came; `now`: this one was seen, at the latest. */
static hp_time
cost_of(const hp_pool *pool, const hp_request *req, hp_time before, hp_time now)
{
    hp_time trip = round_trip(pool);
    hp_time earliest = req->began + trip; /* an answer that costs nothing */
    if (before >= earliest) {
        return now - before;
    }
    return now - earliest > trip / JITTER_PART ? now - earliest : 0;
}

void
hp_route_learn(hp_pool *pool, hp_conn *conn, const hp_request *req)
{
    /* When the reactor woke up: what we did since, with other answers, is not this one's cost. */
    hp_time now = pool->env.reactor.now;
    hp_time before = conn->answered_at;
    conn->answered_at = now;
    if (req->stmt == NULL || req->kind == HP_REQ_BATCH) {
        return;
    }
    if (req->alone) { /* by the clock: a round trip that is taken too short makes all else look slow */
        learn_round_trip(pool, hp_now() - req->began);
    }
    learn_cost(req->stmt, cost_of(pool, req, before, now), now);
}

bool
hp_route_is_slow(const hp_pool *pool, hp_request *req)
{
    const hp_stmt *stmt = req->stmt;
    if (req->kind == HP_REQ_LEASE) {
        return false; /* what it will do is its own affair */
    }
    if (req->kind == HP_REQ_BATCH || stmt->observed < OBSERVED_ENOUGH) {
        return true;
    }
    req->load = lowest(&stmt->least_mean);
    return stmt->cost > limit(pool);
}

void
hp_route_note_short(hp_pool *pool, hp_time now)
{
    pool->short_at = now;
}

bool
hp_route_is_full_of_slow(const hp_pool *pool)
{
    int slow = 0;
    if (pool->short_at == 0 || hp_pool_time(pool) - pool->short_at > RECENT_US) {
        return false;
    }
    for (const hp_conn *conn = pool->all; conn != NULL; conn = conn->next) {
        slow += conn->use == HP_USE_STATEMENT && conn->slow;
    }
    return slow > 0 && slow >= pool->config.max_size - 1;
}

/* ---- choosing ---- */

bool
hp_route_has_room(const hp_pool *pool, const hp_conn *conn, const hp_request *req, hp_time now)
{
    if (conn->inflight.count >= pool->env.pipeline || !hp_conn_may_share(conn) || conn->slow) {
        return false;
    }
    if (now >= conn->expires_at || (pool->config.max_queries > 0 && conn->queries >= pool->config.max_queries)) {
        return false; /* to be replaced when it is free, which it must become for that */
    }
    if (!req->bound || req->bound_for != conn->user) {
        return false; /* encoding its parameters anew would run code of the user here */
    }
    hp_time most = limit(pool);
    if (pool->config.pipeline == HP_PIPELINE_AUTO && conn->load + req->load > most) {
        return false;
    }
    return now - hp_conn_head_since(conn) <= most + round_trip(pool);
}

hp_conn *
hp_route_find(const hp_pool *pool, hp_request *req, hp_time now)
{
    hp_conn *best = NULL;
    if (!hp_request_may_share(req)) {
        return NULL;
    }
    hp_time most = pool->idle != NULL ? GATHER_US : HP_NEVER;
    for (hp_conn *conn = pool->all; conn != NULL; conn = conn->next) {
        if (conn->load + req->load <= most && (best == NULL || conn->load < best->load) &&
            hp_route_has_room(pool, conn, req, now)) {
            best = conn;
        }
    }
    return best;
}

/* ---- when it takes long ---- */

void
hp_route_watch(hp_pool *pool)
{
    if (pool->look.slot == 0 &&
        hp_timer_start(&pool->env.reactor, &pool->look, hp_now() + STALL_US + round_trip(pool)) < 0) {
        return; /* out of memory: they wait, as they would on a pool that does not look */
    }
}

static bool
is_stalled(const hp_pool *pool, const hp_conn *conn, hp_time now)
{
    return conn->use == HP_USE_STATEMENT && conn->state == HP_CONN_READY && conn->inflight.first != NULL &&
           now - hp_conn_head_since(conn) >= STALL_US + round_trip(pool);
}

/* Nobody waits for what it runs. */
static hp_conn *
find_to_cancel(const hp_pool *pool, hp_time now)
{
    hp_conn *conn = pool->all;
    while (conn != NULL && !(is_stalled(pool, conn, now) && conn->inflight.first->abandoned && conn->cancel == NULL &&
                             !conn->probe_due)) {
        conn = conn->next;
    }
    return conn;
}

static void
on_look(hp_timer *timer, hp_time now)
{
    hp_pool *pool = POOL_OF(timer, look);
    hp_request_list taken = {0};
    bool again = false;
    for (hp_conn *conn = pool->all; conn != NULL; conn = conn->next) {
        if (conn->inflight.count > 1 && is_stalled(pool, conn, now)) {
            hp_conn_split(conn, &taken);
        }
        again = again || (conn->use == HP_USE_STATEMENT && conn->inflight.count > 0 &&
                          (conn->inflight.count > 1 || conn->inflight.first->abandoned));
    }
    if (again) {
        hp_route_watch(pool); /* before anything that calls upwards, where the pool may be ended */
    }
    for (hp_conn *conn = find_to_cancel(pool, now); conn != NULL; conn = find_to_cancel(pool, now)) {
        hp_conn_cancel_first(conn);
    }
    if (taken.first != NULL) {
        hp_pool_requeue(pool, &taken, NULL);
    }
}
