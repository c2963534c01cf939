/*
 * request.h - one thing a caller wants of a pool or of a leased connection, and
 * the table of callbacks through which the engine answers.
 *
 * States
 *
 *     NEW --submit--> QUEUED --a connection is free--> SENT --last answer--> DONE
 *      |                 |                               |
 *      |                 +--abandon / timeout / pool closed--> DONE
 *      +--submit on a leased connection----------------> SENT
 *                                                        |
 *                          abandon / timeout: `abandoned`, still SENT: the
 *                          answer is read and dropped, the statement cancelled
 *
 *   NEW and DONE: the engine does not know the request.
 *   QUEUED: on a list of the pool (`queue`).
 *   SENT: on conn->inflight, or conn->pending of a leased connection. A read that
 *     waits there behind a slow one goes back to QUEUED and out again elsewhere
 *     (route.h).
 *
 * A statement goes through phases, each ended by a synchronisation point (and each
 * beginning behind whatever else is in flight on the session by then):
 *
 *     DESCRIBE  prepare + describe        the text is new to the pool
 *     LOOKUP    one catalogue query       it has types the pool does not know
 *     EXECUTE   [prepare] + bind/execute  once, or once for each parameter set
 *
 * Invariant: `done` is called at most once for a request and not after it was
 * abandoned; `released` exactly once for each request that was submitted, last
 * of all: its memory may go then.
 */
#ifndef HP_REQUEST_H
#define HP_REQUEST_H

#include "engine/reactor.h"
#include "engine/stmt.h"

struct hp_conn;
struct hp_copy;
struct hp_pool;

typedef enum hp_request_kind {
    HP_REQ_LEASE,     /* a connection for the caller alone */
    HP_REQ_STATEMENT, /* one statement, extended protocol */
    HP_REQ_CURSOR,    /* declare a cursor for a statement, or fetch from one: cursor.h */
    HP_REQ_BATCH,     /* one statement with `sets` parameter sets, atomic */
    HP_REQ_SCRIPT,    /* a text without parameters, simple protocol: several statements allowed */
    HP_REQ_COPY,      /* a COPY from or to the caller, on a leased connection: copy.h */
    HP_REQ_BEGIN,     /* the transaction of a pipeline: pipe.h */
    HP_REQ_END,       /* ... */
    HP_REQ_INTERNAL,  /* the engine's own: session reset, probe after a cancel */
    HP_REQ_GHOST      /* stands for a statement that was moved elsewhere, and takes its answers */
} hp_request_kind;

typedef enum hp_request_state { HP_REQ_NEW, HP_REQ_QUEUED, HP_REQ_SENT, HP_REQ_DONE } hp_request_state;

typedef enum hp_phase {
    HP_PHASE_CLOSE, /* of statements, and BEGIN, in front of a script */
    HP_PHASE_DESCRIBE,
    HP_PHASE_LOOKUP,
    HP_PHASE_EXECUTE,
    HP_PHASE_SCRIPT,
    HP_PHASE_CONTROL /* BEGIN, END */
} hp_phase;

/* What an answer of the server belongs to; a phase is a short list of these. */
typedef enum hp_step {
    HP_STEP_CLOSE,
    HP_STEP_BEGIN,
    HP_STEP_PREPARE,
    HP_STEP_DESCRIBE,
    HP_STEP_LOOKUP,
    HP_STEP_EXECUTE,
    HP_STEP_TEXT, /* what goes along with an execution: transaction control, DECLARE */
    HP_STEP_SYNC,
    HP_STEP_SCRIPT,
    HP_STEP_CONTROL
} hp_step;

enum { HP_MAX_STEPS = 40 };

/* As PQsendQueryPrepared() takes them; owned by the binding. */
typedef struct hp_params {
    int n;
    const char *const *values;
    const int *lengths;
    const int *formats;
} hp_params;

struct hp_request_list;

typedef struct hp_request {
    struct hp_request *prev, *next;
    struct hp_request_list *queue; /* QUEUED: the list of the pool that it is on */
    struct hp_pool *pool;
    struct hp_conn *conn; /* SENT; and a LEASE that is done */
    hp_request_kind kind;
    hp_request_state state;
    bool abandoned;
    bool ahead;         /* for later: its caller may run others meanwhile, which wait behind it */
    bool piped;         /* of a pipeline of the caller's (pipe.h) */
    bool open_ended;    /* ... and of its transaction: no synchronisation point follows */
    bool describe_only; /* STATEMENT: its description is the answer */

    /* what to run */
    hp_stmt *stmt;          /* a reference of its own; NULL for LEASE and INTERNAL */
    const char *script;     /* SCRIPT, COPY, BEGIN, END, INTERNAL: NUL-terminated, valid until released */
    struct hp_copy *copy;   /* COPY; valid until released */
    const char *declare;    /* CURSOR: DECLARE ... FOR the text of stmt, with its parameters; or NULL */
    const char *fetch;      /* CURSOR: FETCH, MOVE or CLOSE; or NULL */
    hp_params params;       /* of the statement, or of the current set */
    bool bound;             /* params are for `stmt` as it is described ... */
    const void *bound_for;  /* ... and for a session with this `user` */
    int result_format;      /* 1 binary, 0 text: set with params */
    int sets;               /* BATCH: how many the binding has encoded, of a portion or in all */
    bool more;              /* BATCH: another portion may come, see batch.h */
    bool collects;          /* BATCH: up->part() wants the rows of each set */
    const char *lookup_sql; /* set by the binding when it answers HP_LOOKUP */
    const char *lookup_arg; /* its one text parameter */

    /* where it is */
    hp_phase phase;
    unsigned char steps[HP_MAX_STEPS];
    int nsteps, step;
    uint64_t sets_sent, sets_done;
    int portion_sent;   /* BATCH: of `sets` */
    bool hungry;        /* BATCH: the next portion is waited for */
    bool in_portions;   /* BATCH: its sets are not all here, so that they cannot be sent again */
    bool in_block;      /* EXECUTE: in a transaction of the caller's */
    bool savepoint;     /* BATCH: was set in front of the first portion */
    bool was_prepared;  /* EXECUTE relied on a statement prepared earlier on the session */
    bool was_described; /* ... described before this request was */
    bool as_described;  /* its rows can only have the columns that stmt describes */
    bool prepare_failed;
    bool skipped; /* the server did not run a step, for an error before */
    bool waits;   /* piped: on conn->pending */
    bool ending;  /* piped, and abandoned: its end is seen to */
    bool retried;
    bool alone;        /* nothing else was in flight when its phase was sent */
    bool moved;        /* it was under way before, on a session that was lost */
    hp_time began;     /* its phase was sent; with pipelining only, as `load` */
    hp_time load;      /* what the server is thought to need for it */
    PGresult *result;  /* of the last EXECUTE or SCRIPT step, or a description */
    PGresult *failure; /* the first error */
    bool usage_error;  /* COPY where none can be served */

    /* deadlines */
    hp_timer timer;
    hp_time submitted, sent;
    hp_time acquire_timeout; /* from submit to a connection; HP_NEVER: none */
    hp_time command_timeout; /* from sending on; HP_NEVER: none */
    hp_time deadline;        /* of all of it, absolute; HP_NEVER: none */
    hp_time limit;           /* ... and what it was as a duration, for messages */

    void *user;
} hp_request;

/* What a binding callback answers. GONE: it ran code of the user, which has ended
 * the request; it may not be touched any more. */
typedef enum hp_bind_result { HP_READY, HP_LOOKUP, HP_FAILED, HP_GONE } hp_bind_result;

typedef struct hp_errand hp_errand; /* connect.h */
typedef struct hp_cancel hp_cancel; /* cancel.h */

typedef struct hp_callbacks {
    /* The server has described req->stmt. READY: stmt->user is set; LOOKUP:
     * req->lookup_sql and lookup_arg are set; FAILED: the binding keeps the reason,
     * the request ends with HP_ERR_BINDING. May be called more than once for a
     * statement. */
    hp_bind_result (*described)(hp_request *req, const PGresult *description);
    hp_bind_result (*looked_up)(hp_request *req, const PGresult *rows);
    /* Fill req->params, result_format and bound_for for req->stmt on a session
     * whose `user` is given (BATCH: encode all sets). 0, or -1: FAILED, or 1: GONE. */
    int (*bind)(hp_request *req, const void *session_user);
    /* BATCH: fill req->params with set i of the ones encoded last. */
    void (*bind_set)(hp_request *req, int i);
    /* BATCH: all sets of the portion are sent, and more may come: hp_batch_continue(). Runs no code of the user. */
    void (*hungry)(hp_request *req);
    /* BATCH that collects: the rows of one set (borrowed). READY or GONE. */
    hp_bind_result (*part)(hp_request *req, const PGresult *rows);
    /* A new statement for the text of req->stmt (new reference), or NULL: out of memory. */
    hp_stmt *(*renew)(hp_request *req);
    /* The answer, or why there is none (err != NULL). Steals result, which is
     * NULL for LEASE (req->conn is the connection). */
    void (*done)(hp_request *req, PGresult *result, const hp_error *err);
    void (*released)(hp_request *req);
    /* COPY: what it waited for is there: data may be handed over, or rows have
     * come. Not called for its end, which is done(). */
    void (*copy_ready)(hp_request *req);
    /* COPY: one row (borrowed). 0, 1: enough until hp_copy_resume(), or -1: out of memory. */
    int (*copy_row)(hp_request *req, const char *row, size_t len);
    /* Resolve a host name without blocking; answer with hp_errand_addresses(). */
    void (*resolve)(void *user, hp_errand *errand, const char *host, const char *port);
    /* Send a cancel request by TLS, without blocking, as conn->pg says where to and
     * with conn->backend_key; answer with hp_cancel_done(). 0, or -1: it cannot be
     * done (out of memory, or the loop is closed), without an answer then. `last`: the session ends
     * now, and the request is not worth any trouble. Asked with libpq before 17
     * only; may be NULL. */
    int (*cancel)(void *user, hp_cancel *job, const struct hp_conn *conn, bool last);
    /* Only where env->ask says so, for each new session: say what to connect to
     * (HP_ASK_TARGETS; answer with hp_errand_targets()), or open the session
     * (HP_ASK_SESSION; answer with hp_errand_session()). */
    void (*ask)(void *user, hp_errand *errand);
    /* Nobody waits for this errand any more; it is to be answered all the same. */
    void (*withdrawn)(void *user, hp_errand *errand);
    /* A new session before its first use (only where the pool has an init hook):
     * the binding runs the hook and calls hp_pool_session_ready(). */
    void (*session_opened)(void *user, struct hp_conn *conn);
    /* A session is gone that had a `user`, which the binding may drop. */
    void (*session_closed)(void *user, void *session_user);
    /* Only where conn->listeners is set. noticed: the fields of a notice, each a
     * letter and a text with its NUL, an empty one at the end. Borrowed, and a
     * callback may end the session. */
    void (*noticed)(struct hp_conn *conn, const char *fields);
    void (*notified)(struct hp_conn *conn, const PGnotify *notification);
    /* The session is CLOSED; its requests are answered after this. Not called where
     * nobody is to be told (hp_pool_discard()). */
    void (*session_ended)(struct hp_conn *conn);
    /* The session is gone: what it had as `listeners` may go. */
    void (*listeners_gone)(void *user, void *listeners);
    /* ... and what it had as `attributes`. */
    void (*attributes_gone)(void *user, void *attributes);
    /* The pool is open (err NULL) or could not be; it is closed. */
    void (*opened)(void *user, const hp_error *err);
    void (*closed)(void *user);
} hp_callbacks;

/* An empty request of a kind: everything 0, no deadlines. */
void hp_request_init(hp_request *req, hp_request_kind kind);

/* ---- FIFO of requests ---- */

typedef struct hp_request_list {
    hp_request *first, *last;
    int count;
} hp_request_list;

void hp_request_push(hp_request_list *list, hp_request *req);
/* At the front. */
void hp_request_unshift(hp_request_list *list, hp_request *req);
void hp_request_remove(hp_request_list *list, hp_request *req);

#endif
