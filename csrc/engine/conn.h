/*
 * conn.h - one server session as a state machine.
 *
 *   CLOSED --open--> CONNECTING --ok--> READY --close--> CLOSING --EOF--> CLOSED
 *                        |                |  ^
 *                        |                |  +-- READY with requests on
 *                        |                |      `inflight` is busy; with
 *                        |                |      `cancel` it waits for a
 *                        |                |      cancel request to be delivered
 *                        +----failed------+----broken----> CLOSED
 *
 *   CONNECTING  connect.c: resolve, then one address after another
 *   READY       conn.c: requests go out and answers come in
 *   CLOSING     Terminate was sent; the slot counts until the server has closed
 *               its end, so that a replacement never exceeds a connection limit
 *
 * Who has the session (`use`) is the pool's business: see pool.h. A session
 * never goes back to CONNECTING: a replacement is a new hp_conn.
 *
 * Invariants
 *   - the socket is in the reactor while the state is not CLOSED, and no COPY has
 *     paused (copy.h);
 *   - answers are taken in order: each belongs to the current step of the first
 *     request on `inflight`;
 *   - more than one request is in flight only where all are reads, each with a
 *     synchronisation point of its own (share.c; one that begins another phase
 *     goes to the end), or in a pipeline of the caller's (pipe.h);
 *   - a session is free when nothing is in flight, no cancel request is under
 *     way and no probe is due; only then owner->idle() is called.
 *
 * Called by pool.c and janitor.c; calls the pool through hp_conn_owner, so that
 * it can be driven by a test without one.
 */
#ifndef HP_CONN_H
#define HP_CONN_H

#include "engine/pipe.h"
#include "engine/request.h"
#include "engine/stats.h"

typedef enum hp_conn_state { HP_CONN_CLOSED, HP_CONN_CONNECTING, HP_CONN_READY, HP_CONN_CLOSING } hp_conn_state;

/* What the pool has the session for. */
typedef enum hp_conn_use {
    HP_USE_OPENING,   /* being connected */
    HP_USE_INIT,      /* with the init hook */
    HP_USE_IDLE,      /* on pool->idle */
    HP_USE_STATEMENT, /* serves single statements */
    HP_USE_LEASED,    /* with a caller */
    HP_USE_SETTLING,  /* after a lease or statement: cancel, rollback, reset */
    HP_USE_GONE       /* broken or closing */
} hp_conn_use;

/* One place to connect to: libpq's parameters of one host. */
typedef struct hp_target {
    char **keywords; /* NULL-terminated; owned */
    char **values;
    char *host; /* to resolve; NULL: a path, a numeric address or hostaddr is given */
    char *port;
    hp_time attempt_timeout; /* connect_timeout of the DSN; HP_NEVER: none */
    bool prefer_standby;
    /* What `options` asks for, as SQL, for a pooler that refuses the parameter; NULL: cannot be had so. */
    char *settings;
    /* What libpq's environment has taken from `options`, as SQL to run with every start-up; NULL: nothing. */
    char *overridden;
} hp_target;

struct hp_conn;

typedef struct hp_conn_owner {
    void (*opened)(struct hp_conn *conn);
    void (*failed)(struct hp_conn *conn, const hp_error *err); /* CONNECTING -> CLOSED */
    void (*idle)(struct hp_conn *conn);                        /* free, see above */
    void (*lost)(struct hp_conn *conn, const hp_error *err);   /* READY -> CLOSED, nothing in flight any more */
    void (*closed)(struct hp_conn *conn);                      /* CLOSING -> CLOSED */
    /* A request has left `inflight`, answered; with pipelining only. */
    void (*answered)(struct hp_conn *conn, hp_request *req);
    /* The session was lost, for `err`, while these were waiting behind another's
     * statement: they are the owner's now. */
    void (*stranded)(struct hp_conn *conn, hp_request_list *reqs, const hp_error *err);
} hp_conn_owner;

/* Whether the binding is asked before a session is opened, and for what. */
typedef enum hp_ask {
    HP_ASK_NOTHING, /* env->targets says it */
    HP_ASK_TARGETS, /* what to connect to: another password each time, for example */
    HP_ASK_SESSION  /* the session itself, opened somewhere else */
} hp_ask;

/* What all sessions of a pool share. */
typedef struct hp_env {
    hp_reactor reactor;
    hp_stats stats;
    const hp_callbacks *up;
    const hp_conn_owner *owner;
    void *user;         /* for callbacks without a request */
    hp_target *targets; /* not used while `ask` asks */
    int ntargets;
    hp_ask ask; /* of sessions opened from now on */
    int statement_cache_size;
    int pipeline;            /* requests that may be in flight on a session; 0: one, and no estimates are kept */
    int corks;               /* above 0: what goes out behind other requests is gathered */
    struct hp_conn *unsent;  /* sessions with such */
    hp_time connect_timeout; /* of one hp_conn_open(), all addresses together */
    hp_time cancel_timeout;  /* for a cancelled statement to end, then the session is given up */
    hp_time close_timeout;   /* for the server to close its end */
} hp_env;

typedef struct hp_notice hp_notice;       /* news.c */
typedef struct hp_handshake hp_handshake; /* handshake.c */

/* Statements by their names on the server, a reference each. */
typedef struct hp_name_list {
    hp_stmt **items;
    int count, size;
} hp_name_list;

typedef struct hp_conn {
    struct hp_conn *prev, *next;           /* pool->all */
    struct hp_conn *idle_prev, *idle_next; /* pool->idle */
    struct hp_pool *pool;
    hp_env *env;
    PGconn *pg;
    hp_conn_state state;
    hp_conn_use use;
    hp_watch watch;
    hp_timer timer; /* CONNECTING: attempt; cancelling: patience; CLOSING: patience */

    /* CONNECTING */
    hp_target *own_targets; /* those that it was given when it asked; NULL: env->targets */
    int nown_targets;
    int target, address, naddresses;
    char **addresses;
    bool plain_startup; /* without `options`: target->settings is run instead */
    bool settings_due;  /* hp_conn_settings() is to be run */
    bool taken_over;    /* was opened elsewhere, where its settings were made */
    bool second_pass;   /* prefer-standby: no standby was found */
    hp_time open_deadline;
    hp_errand *errand;       /* under way */
    hp_handshake *handshake; /* a thread has the PGconn meanwhile (handshake.h) */
    hp_error connect_error;

    /* READY */
    hp_request_list inflight;
    hp_request_list pending; /* of the lease: wait for a cancel to be over, or for what was sent ahead */
    char *begin;             /* of the lease: the BEGIN that its next request takes along (begin.h); or NULL */
    bool begin_sent;         /* ... and it has not been answered yet */
    hp_pipe pipe;
    hp_time load;        /* sum over inflight */
    hp_time answered_at; /* the last of them was answered */
    bool slow;           /* HP_USE_STATEMENT: with one that is, or may be, slow */
    bool is_unsent;      /* on env->unsent */
    struct hp_conn *next_unsent;
    bool pipeline;       /* libpq's pipeline mode is on */
    bool copy_out;       /* rows of a refused or abandoned COPY TO STDOUT are being dropped */
    bool in_receive;     /* hp_conn_receive() is on the stack */
    bool in_transaction; /* when the request that is in flight was sent: libpq does not tell meanwhile */
    hp_cancel *cancel;   /* under way */
    bool probe_due;      /* a cancel may still hit: one round trip before the next use */
    bool has_backend_key;
    int backend_key;          /* a secret of the session's (backend_key.h) */
    char cancel_failure[256]; /* why the last cancel request could not be delivered */
    hp_stmt_cache stmts;
    uint64_t unnamed; /* id of the statement that the unnamed one is, or 0 */
    hp_name_list to_close;
    hp_name_list owned;              /* prepared here, each with this session as its `home` */
    char fatal[HP_ERROR_TEXT_BYTES]; /* the server's last FATAL message outside a request */
    char fatal_sqlstate[HP_SQLSTATE_BYTES];
    hp_notice *notices, *last_notice; /* not yet told to the listeners */

    /* what the session has been through, for reset and recycling */
    bool touched;
    bool prepares;
    bool served;      /* was handed out before */
    bool odd_strings; /* standard_conforming_strings began off: texts may do what the scanner does not see */
    uint64_t queries;
    bool outdated; /* asked for before hp_pool_expire() */
    hp_time opened_at, expires_at, idle_since, lease_since;
    uint64_t lease; /* number of the current lease, so that an old one cannot use the session */

    int closing_fd;      /* CLOSING: our end of the socket, kept open to see the server's close */
    hp_request internal; /* reset and probe */
    void *user;          /* the binding's, for one session */
    void *listeners;     /* the binding's: somebody wants to hear of notices, notifications and the end; or NULL */
    bool end_told;       /* ... of the end they know */
    void *attributes;    /* the binding's: what its next lease finds of the last one's; or NULL */
} hp_conn;

/* A session in state CLOSED, or NULL: out of memory. */
hp_conn *hp_conn_new(hp_env *env);
/* Only in state CLOSED. */
void hp_conn_free(hp_conn *conn);

/* Start connecting. The outcome comes through owner->opened()/failed(), never
 * from inside this call. 0, or -1 when out of memory (still CLOSED). */
int hp_conn_open(hp_conn *conn);

/* Hand a request to a session (READY; free, or leased by the caller with only
 * abandoned requests under way). The outcome comes through the callbacks, also
 * when sending fails. */
void hp_conn_submit(hp_conn *conn, hp_request *req);

/* ---- several requests in flight (share.c) ---- */

/* May others be in flight in front of and behind this request? */
bool hp_request_may_share(const hp_request *req);
/* Can such a request be sent behind those that are in flight? */
bool hp_conn_may_share(const hp_conn *conn);
/* Send it. The outcome comes as hp_conn_submit()'s. */
void hp_conn_share(hp_conn *conn, hp_request *req);
/* Since when the first request in flight has had the server to itself. */
hp_time hp_conn_head_since(const hp_conn *conn);
/* Move the live requests behind the first one to `reqs`; their answers will be
 * dropped. Some may stay where memory is short. */
void hp_conn_split(hp_conn *conn, hp_request_list *reqs);
/* Cancel the first request in flight, which is abandoned. */
void hp_conn_cancel_first(hp_conn *conn);
/* Gather what goes out behind other requests, so that it is sent together;
 * nests, and the last uncork sends. */
void hp_env_cork(hp_env *env);
void hp_env_uncork(hp_env *env);

/* Is a live (not abandoned) request in flight or pending, which another one may not wait for, or a pipeline
 * open? */
bool hp_conn_is_busy(const hp_conn *conn);
/* Is a free session still alive, as far as the socket tells? Costs a system call
 * and no round trip; one that is not is broken (owner->lost()). */
bool hp_conn_check(hp_conn *conn);
/* Nothing in flight, no cancel, no probe due, no transaction of a pipeline to end. */
bool hp_conn_is_free(const hp_conn *conn);

/* The caller of a SENT request has left: drop its answer, cancel it. */
void hp_conn_abandon(hp_conn *conn, hp_request *req);
/* ... while its caller waits: tell it why there will be no answer. */
void hp_conn_withdraw(hp_conn *conn, hp_request *req, const hp_error *err);

/* Run a script of the engine's own on a free session; owner->idle() follows when
 * it worked, owner->lost() when not. */
void hp_conn_run_internal(hp_conn *conn, const char *script);

/* SQL for the settings that the start-up packet could not bring about, to be run at
 * first and after each reset; NULL: it did. */
const char *hp_conn_settings(const hp_conn *conn);
/* Run it. As hp_conn_run_internal(). */
void hp_conn_run_settings(hp_conn *conn);

/* The server has dropped, or is about to drop, every statement of the session. */
void hp_conn_forget_statements(hp_conn *conn);

/* Close an idle session: CLOSING, then owner->closed(). */
void hp_conn_close(hp_conn *conn);
/* Give up a session at once: requests fail with `err`, then CLOSED. owner->lost()
 * is called (failed() from CONNECTING); from CLOSING owner->closed(). */
void hp_conn_break(hp_conn *conn, const hp_error *err);
/* As hp_conn_break(), by order: what the server runs is cancelled, as far as that
 * goes without waiting. */
void hp_conn_terminate(hp_conn *conn, const hp_error *err);
/* After fork, or when the loop is gone: close our copy of everything, telling
 * the server nothing (`forked`: the session is the parent's) and calling nobody. */
void hp_conn_discard(hp_conn *conn, bool forked);

/* Is a transaction open? While a request is in flight: was one before it? */
bool hp_conn_in_transaction(const hp_conn *conn);
/* The place that the session is, or is to be, connected to. */
const hp_target *hp_conn_target(const hp_conn *conn);

/* The session is CLOSED, and its owner is done with that: tell its listeners, once. */
void hp_conn_tell_end(hp_conn *conn);

/* ---- for connect.c, cancel.c ---- */

/* CONNECTING has come to its end. */
void hp_conn_connected(hp_conn *conn);
void hp_conn_connect_failed(hp_conn *conn);
/* The cancel request is delivered (why NULL), or could not be. */
void hp_conn_cancel_over(hp_conn *conn, const char *why);

#endif
