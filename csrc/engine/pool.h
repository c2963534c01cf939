/*
 * pool.h - who gets which connection.
 *
 * States: CLOSED --open--> OPENING --min_size tried--> OPEN --close--> CLOSING
 * --all gone--> CLOSED. terminate() goes to CLOSED at once.
 *
 * Lists, and the `use` of a connection that says on which it is:
 *   all      every connection that counts against max_size, CLOSING ones too
 *   idle     IDLE; a stack: the most recently used is taken first, so that the
 *            rest grow old and the pool shrinks when it can
 *   waiters  QUEUED requests, first come first served, leases and single
 *            statements alike
 *   held     with pipelining: QUEUED slow statements that would take the last
 *            session (route.h); first come first served too
 *   dead     CLOSED and off `all`; freed when nothing of the engine is on the
 *            stack any more
 *
 * Invariants
 *   - size (the length of `all`) never exceeds max_size;
 *   - waiters is empty while idle is not;
 *   - a connection goes to a caller only when it is free (conn.h), outside a
 *     transaction, and reset if its last user may have touched the session;
 *   - a waiter is never left without somebody who will serve it or its timer;
 *   - a session has more than one request only while its use is STATEMENT.
 *
 * pool.c serves callers; route.c says which session a single statement may share;
 * janitor.c opens, replaces and closes connections.
 * Called by the binding.
 */
#ifndef HP_POOL_H
#define HP_POOL_H

#include "engine/conn.h"

typedef enum hp_pool_state { HP_POOL_CLOSED, HP_POOL_OPENING, HP_POOL_OPEN, HP_POOL_CLOSING } hp_pool_state;

typedef enum hp_reset {
    HP_RESET_TOUCHED, /* where the last user may have left something */
    HP_RESET_ALWAYS,  /* after every use */
    HP_RESET_NONE     /* only an open transaction is rolled back */
} hp_reset;

typedef struct hp_pool_config {
    int min_size, max_size;
    int init_size;        /* opened at first; at least min_size */
    int max_waiters;      /* 0: no cap */
    uint64_t max_queries; /* 0: no limit */
    hp_time max_idle;     /* max_inactive_connection_lifetime; HP_NEVER: none */
    hp_time max_lifetime; /* HP_NEVER: none */
    hp_reset reset;
    bool dedicated; /* one session, opened once, never replaced */
    bool init_hook; /* up->session_opened() is to be called */
    int pipeline;   /* statements in flight on a session: a depth, or as route.h says */
} hp_pool_config;

/* The shortest that anything took: ever, and of late. */
typedef struct hp_round_trip {
    hp_time least;
    hp_lowest recent;
} hp_round_trip;

typedef struct hp_pool {
    hp_env env;
    hp_pool_config config;
    hp_pool_state state;
    hp_conn *all;
    int size;
    hp_conn *idle;
    hp_conn *idle_last;
    int idle_count;
    hp_conn *dead;
    hp_request_list waiters;
    hp_request_list held;
    uint64_t leases; /* numbers given out */
    hp_round_trip round_trip;
    hp_time short_at; /* a short statement came last; 0: never */
    hp_timer look;    /* the next look at statements that keep others waiting (route.c) */

    /* opening and reopening (janitor.c) */
    int opening;        /* connections that are CONNECTING or in the init hook */
    int opening_left;   /* of the first min_size: not yet decided */
    int opened_at_once; /* ... so many were asked for */
    unsigned failures;  /* in a row, for back-off */
    hp_time failed_at;  /* the last of them */
    hp_time pause;      /* after it */
    hp_timer reopen;    /* not before: the next attempt after a failure */
    hp_timer sweep;     /* the next look at idle connections */
    uint64_t random;    /* state of the jitter's generator */
    bool last_connect_ok;
    bool tried; /* at least one attempt has ended */
    hp_error last_error;
    double last_error_at; /* wall clock */
    bool in_run;          /* hp_pool_run_reactor() is on the stack */
    bool in_offer;        /* hp_pool_offer() is on the stack */
} hp_pool;

/* NULL when out of memory or descriptors (errno). Takes `targets`. */
hp_pool *hp_pool_new(const hp_pool_config *config, const hp_callbacks *up, void *user);
/* Only in state CLOSED; whatever is left is discarded. */
void hp_pool_free(hp_pool *pool);

int hp_pool_fd(const hp_pool *pool);
/* The descriptor is readable. */
void hp_pool_run_reactor(hp_pool *pool);

/* Open min_size connections; up->opened() tells the outcome. 0, or -1 out of memory. */
int hp_pool_open(hp_pool *pool);
/* No new requests; up->closed() when the last connection is gone. */
void hp_pool_close(hp_pool *pool);
/* Everything at once: requests fail, sessions are closed, up->closed(). */
void hp_pool_terminate(hp_pool *pool);
/* The loop is gone, or we are a forked child: drop everything, telling nobody. */
void hp_pool_discard(hp_pool *pool, bool forked);

/* A connection for the caller alone if one is free now, else NULL. */
hp_conn *hp_pool_try_acquire(hp_pool *pool);
/* Queue a LEASE, or run a STATEMENT or SCRIPT on any connection. The outcome comes
 * through the callbacks, possibly from inside this call. */
void hp_pool_submit(hp_pool *pool, hp_request *req);
/* The lease is over; the session settles and serves the next. */
void hp_pool_release(hp_conn *conn);
/* The leased session is to be closed instead. */
void hp_pool_release_broken(hp_conn *conn);
/* Run a request on a leased session. */
void hp_pool_run_leased(hp_conn *conn, hp_request *req);
/* The caller of a submitted request has left. Its memory is needed until
 * up->released(), which may come from inside this call. */
void hp_request_abandon(hp_request *req);

/* The init hook of a session has ended; err tells why it failed, NULL: it did not. */
void hp_pool_session_ready(hp_conn *conn, const hp_error *err);

/* Replace every connection that is open or being opened: idle ones now, others
 * when they become free. */
void hp_pool_expire(hp_pool *pool);

/* Seconds that the longest lease has lasted; 0 if there is none. */
double hp_pool_longest_lease(const hp_pool *pool);
int hp_pool_count(const hp_pool *pool, hp_conn_use use);
/* Sessions that are open: neither connecting nor on their way out. */
int hp_pool_connected(const hp_pool *pool);
/* Requests that wait for a session. */
int hp_pool_waiting(const hp_pool *pool);
/* The time, for limits of a second and more: within a run of the reactor that of the run. */
hp_time hp_pool_time(const hp_pool *pool);

/* ---- between pool.c and janitor.c ---- */

extern const hp_conn_owner hp_pool_owner;

/* Give a free, clean connection to the next waiter, or put it on the idle stack. */
void hp_pool_offer(hp_conn *conn);
/* Decide what a free connection needs: reset, retirement, or the next caller. */
void hp_pool_settle(hp_conn *conn);
/* Requests that were under way are to be sent again; `err` says why they cannot
 * where the pool is closed. Empties the list. */
void hp_pool_requeue(hp_pool *pool, hp_request_list *reqs, const hp_error *err);
/* Fail every waiter. */
void hp_pool_fail_waiters(hp_pool *pool, const hp_error *err);
void hp_pool_unlink_idle(hp_pool *pool, hp_conn *conn);

/* Open as many connections as waiters and min_size ask for. */
void hp_janitor_grow(hp_pool *pool);
/* Is this free connection due for replacement? Counts the reason. */
bool hp_janitor_is_due(hp_conn *conn, hp_time now);
/* Close a free connection. */
void hp_janitor_retire(hp_conn *conn);
/* A connection has left `all`. */
void hp_janitor_gone(hp_conn *conn);
void hp_janitor_opened(hp_conn *conn);
void hp_janitor_failed(hp_conn *conn, const hp_error *err);
/* A connection was put on the idle stack. */
void hp_janitor_parked(hp_conn *conn);
void hp_janitor_init(hp_pool *pool);
void hp_janitor_stop(hp_pool *pool);

#endif
