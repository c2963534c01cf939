/*
 * types.h - the objects of the binding and what its files need of each other.
 *
 *   PoolObject        one engine pool, tied to one event loop     pool.c
 *   ConnectionObject  one lease                                   connection.c
 *   PreparedObject    one statement that a lease has prepared     prepared_stmt.c
 *   CopyObject        one COPY of a lease                         copy.c
 *   OperationObject   one awaitable call of any of them           operation.c
 *
 * References: an Operation owns its Pool, Connection and PreparedStatement, a
 * PreparedStatement its Connection, a Connection its Pool; the Pool knows neither. While the engine knows an Operation's request,
 * the Operation owns itself (dropped in hp_operation_released()).
 */
#ifndef HP_TYPES_H
#define HP_TYPES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "codec/codec.h"
#include "codec/custom.h"
#include "engine/pool.h"

struct hp_state;

typedef struct hp_binding_state {
    PyTypeObject *PoolType;
    PyTypeObject *ConnectionType;
    PyTypeObject *PreparedType;
    PyTypeObject *RowsType;
    PyTypeObject *ReadyType;
    PyTypeObject *OperationType;
    PyTypeObject *CopyType;
    PyTypeObject *FinishedType;
    PyTypeObject *AwaitableMethodType;
    PyObject *finished;         /* the awaitable of what needs no waiting */
    PyObject *get_running_loop; /* asyncio.events._get_running_loop */
    PyObject *ensure_future;    /* asyncio.ensure_future */
    PyObject *Task;             /* asyncio's, in C */
    PyObject *Future;           /* ... */
    PyCFunction task_wakeup;    /* wakeup.c: what tasks add as done-callback; NULL: none has yet */
    PyObject *BaseEventLoop;
    PyObject *run;        /* running.c: asyncio's object of the run of a loop, or NULL ... */
    PyObject *run_loop;   /* ... which holds this loop */
    PyObject *kw_context; /* ("context",) */
    PyObject *traceback_globals;
    PyObject *str_call_soon, *str_add_reader, *str_remove_reader, *str_is_closed, *str_getaddrinfo,
        *str_add_done_callback, *str_run_once, *str_ready, *str_stopping, *str_debug, *str_thread_id, *str_running,
        *str_loop, *str_get_loop, *str_blocking, *str_overridden, *str_execute, *str_own_execute, *str_refill;
    PyObject *query_names, *query_methods; /* override.c: tuples */
    void *free_operations;                 /* operation.c: a chain through `pool` */
    int free_count;
} hp_binding_state;

int hp_binding_init(PyObject *module, hp_binding_state *state);
int hp_binding_traverse(hp_binding_state *state, visitproc visit, void *arg);
void hp_binding_clear(hp_binding_state *state);

/* ---- pool.c ---- */

typedef struct PoolObject {
    PyObject_HEAD struct hp_state *state;
    hp_pool *engine; /* NULL before __init__ */
    PyObject *loop;
    PyObject *call_soon;  /* loop.call_soon, bound */
    PyObject *ready;      /* wakeup.c: what it has been asked to call, or NULL */
    PyObject *answered;   /* wakeup.c: a future of the loop's that is done */
    PyObject *get_loop;   /* operation.c: what operations have as get_loop */
    unsigned long thread; /* in which the loop ran last */
    bool reading;         /* registered with the loop */
    unsigned generation;  /* of forks: another one than now means a child */
    bool dedicated;
    bool finished;        /* closed, terminated or abandoned */
    PyObject *statements; /* dict: str -> capsule of an hp_entry, oldest first */
    PyObject *named;      /* named.c: dict, or NULL */
    Py_ssize_t statements_max;
    Py_ssize_t cacheable_bytes; /* longer statements are not cached; 0: no limit */
    hp_time statement_lifetime; /* max_cached_statement_lifetime; HP_NEVER: none */
    hp_registry *registry;
    PyObject *type_names;  /* dict, for type_names.py: what types are called */
    hp_codec_set *codecs;  /* of the session that was given codecs last: what to expect of the next one */
    hp_time codecs_set_at; /* when a session was given codecs last; 0: never */
    PyTypeObject *record_class;
    PyTypeObject *connection_class;
    bool keeps_attributes;  /* attributes.h */
    unsigned class_version; /* override.c: of connection_class, when `overridden` was found out; 0: never */
    int overridden;
    hp_time acquire_timeout, command_timeout; /* HP_NEVER: none */
    PyObject *on_connect;                     /* or NULL */
    PyObject *on_ask;                         /* what answers errands (errands.c), or NULL */
    PyObject *raised;                /* by a callable of the user's at the last opening that failed so, or NULL */
    struct OperationObject *opening; /* borrowed: waits for opened() */
    PyObject *batch;                 /* wake-ups of the run of the reactor that is going on, or NULL */
    bool batch_is_ours;              /* the loop does not know of it */
    bool resuming;                   /* the loop is calling wake-ups of a batch */
    PyObject *later;                 /* meanwhile: wake-ups of a batch that the loop has to call next, or NULL */
    PyObject *later_handle;          /* ... what the loop has of it */
    PyObject *closing;               /* list of Operations that wait for closed(), or NULL */
} PoolObject;

extern unsigned hp_fork_generation;

enum { HP_MOST_PARAMETERS = 128 };

/* Keywords and values of `parameters`, a dict of str that keeps them, and NULL behind the
 * last. 0, or -1 with an exception. */
int hp_pool_borrow_parameters(PyObject *parameters, const char *keywords[HP_MOST_PARAMETERS + 1],
                              const char *values[HP_MOST_PARAMETERS + 1]);
/* A list of dicts to an array of targets, the caller's. 0, or -1 with an exception. */
int hp_pool_parse_targets(PyObject *list, hp_target **targets, int *n);

int hp_pool_type_init(PyObject *module, hp_binding_state *state);
/* 0, or -1 with InterfaceError: not initialised, or made in a parent process. */
int hp_pool_check(PoolObject *pool);

/* ---- loop.c ---- */

extern const hp_callbacks hp_loop_callbacks;
int hp_loop_start_reading(PoolObject *pool);
void hp_loop_stop_reading(PoolObject *pool);
/* New reference: the task or future that runs `awaitable` (stolen) in the pool's
 * loop. NULL with an exception, also where awaitable is NULL. */
PyObject *hp_loop_run(PoolObject *pool, PyObject *awaitable);
/* Have def(self, task) called when it is done. 0, or -1 with an exception. */
int hp_loop_when_done(PoolObject *pool, PyObject *task, PyMethodDef *def, PyObject *self);
/* A callable of the user's has failed, with the exception that is set: keep it,
 * and say in *err what it means for the session. */
void hp_loop_note_raised(PoolObject *pool, hp_error *err, const char *what, bool quoted);

/* ---- cancel.c ---- */

/* hp_callbacks.cancel */
int hp_loop_cancel(void *user, hp_cancel *job, const hp_conn *conn, bool last);

/* ---- errands.c ---- */

void hp_errands_ask(void *user, hp_errand *errand);
void hp_errands_withdrawn(void *user, hp_errand *errand);
/* Pool._set_ask(callback, for_session) */
PyObject *hp_errands_set_ask(PyObject *pool, PyObject *args);

/* ---- connection.c ---- */

typedef struct ConnectionObject {
    PyObject_HEAD PoolObject *pool;
    hp_conn *conn;       /* NULL: released */
    uint64_t lease;      /* conn->lease at the time */
    bool in_init;        /* with the init hook: given back by loop.c */
    bool ended;          /* stands for a session that is closed: terminated, or ended outside of a lease */
    PyObject *listeners; /* listeners.h; or NULL */
    /* Of this lease alone, for Python: what it would have in its __dict__, which may outlive it (attributes.h). */
    PyObject *started;         /* connection.py: list of transactions, or NULL */
    PyObject *release_hook;    /* hooks.py: what close() is, or NULL */
    PyObject *acquire_timeout; /* ... */
} ConnectionObject;

int hp_connection_type_init(PyObject *module, hp_binding_state *state);
/* New reference; NULL with an exception (the lease is still the caller's then). */
PyObject *hp_connection_new(PoolObject *pool, hp_conn *conn);
/* New reference: one that is closed, for those who are told that a session without
 * a lease has ended; NULL with an exception. */
PyObject *hp_connection_new_ended(PoolObject *pool, const hp_conn *conn);
/* Give the lease back; no effect on a released one. */
void hp_connection_release(ConnectionObject *connection);
/* ... for the user's call: 0, or -1 with a warning that the user's filters make an
 * exception. It is given back in any case. */
int hp_connection_give_back(ConnectionObject *connection);
/* Before the user gives the lease back: the loop's exception handler hears of a
 * transaction that is open. It may run any code of the user's. */
void hp_connection_report_transaction(ConnectionObject *connection);
/* Close the session at once; no effect on a released one. */
void hp_connection_terminate(ConnectionObject *connection);
/* 0, or -1 with InterfaceError: released or closed. `method` as in "fetch". */
int hp_connection_check(ConnectionObject *connection, const char *method);
/* ... or in use. `method` may be qualified: "Connection.fetch". */
int hp_connection_check_free(ConnectionObject *connection, const char *method);
/* 0, or -1 with InterfaceError: it is in use. */
int hp_connection_check_idle(ConnectionObject *connection);

/* What an operation does. */
typedef enum hp_op_kind {
    HP_OP_FETCH,
    HP_OP_FETCHROW,
    HP_OP_FETCHVAL,
    HP_OP_EXECUTE,
    HP_OP_EXECUTEMANY,
    HP_OP_FETCHMANY,
    HP_OP_PREPARE,
    HP_OP_ACQUIRE,
    HP_OP_OPEN,
    HP_OP_CLOSE
} hp_op_kind;

/* ---- prepared_stmt.c ---- */

enum { HP_STATUS_BYTES = 64 }; /* of a command: as a PGresult has it */

typedef struct PreparedObject {
    PyObject_HEAD ConnectionObject *connection;
    hp_stmt *stmt; /* owned, see stmt.h */
    PyObject *query;
    PyObject *names; /* of its parameters: a tuple of str; NULL where they have numbers */
    PyTypeObject *record_class;
    char status[HP_STATUS_BYTES]; /* of the last command; "": none */
} PreparedObject;

int hp_prepared_type_init(PyObject *module, hp_binding_state *state);
/* Connection._prepare(class, query, name, record_class, by_name): a statement that the server does not know yet. */
PyObject *hp_prepared_new(ConnectionObject *connection, PyObject *args);
/* 0, or -1 with InterfaceError: the lease is over. */
int hp_prepared_check(PreparedObject *prepared, const char *method);
/* As hp_statement_renew(). */
hp_stmt *hp_prepared_renew(PreparedObject *prepared, const hp_stmt *old);
/* What the command of an operation of this kind said. */
void hp_prepared_note_status(PreparedObject *prepared, hp_op_kind kind, PGresult *result);

/* ---- operation.c ---- */

typedef enum hp_op_state {
    HP_OP_NEW,     /* not awaited yet */
    HP_OP_PENDING, /* its waiter is suspended */
    HP_OP_DONE,    /* result or exception, not yet delivered */
    HP_OP_CLOSED   /* delivered, cancelled at the start or closed */
} hp_op_state;

enum { HP_INLINE_PARAMS = 8 };

/* Of a Bind message: an unsigned 16-bit count. */
enum { HP_MAX_PARAMS = 65535 };

/* The encoded parameters of a request (params.c). */
typedef struct hp_encoded {
    hp_buf buf;
    int nparams;
    Py_ssize_t sets;
    Py_ssize_t *offsets; /* sets * nparams; -1: NULL */
    int *all_lengths;    /* sets * nparams */
    const char **values; /* nparams each: the current set */
    int *lengths;
    int *formats;
    Py_ssize_t inline_offsets[HP_INLINE_PARAMS];
    const char *inline_values[HP_INLINE_PARAMS];
    int inline_lengths[HP_INLINE_PARAMS];
    int inline_formats[HP_INLINE_PARAMS];
    void *block; /* memory behind the arrays that are not inline */
} hp_encoded;

/* Where in a pipeline of the caller's an operation is. */
typedef enum hp_lane {
    HP_LANE_NONE, /* in none */
    HP_LANE_STATEMENT,
    HP_LANE_TRANSACTION, /* a statement of its transaction */
    HP_LANE_BEGIN,
    HP_LANE_END
} hp_lane;

typedef struct hp_plan hp_plan; /* plan.h */

typedef struct OperationObject {
    PyObject_HEAD hp_request req;
    PoolObject *pool;
    PreparedObject *prepared;     /* its statement, or NULL */
    ConnectionObject *connection; /* of a lease; for ACQUIRE the one acquired, once entered */
    hp_op_kind kind;
    hp_op_state state;
    bool blocking; /* _asyncio_future_blocking */
    bool cancelled;
    bool in_engine;   /* the engine knows req, and we own ourselves */
    bool in_portions; /* its sets come in portions: portions.c */
    bool ahead;       /* started before it is awaited */
    hp_lane lane;
    bool dormant;               /* PENDING, and no task is suspended on it */
    PyObject *query;            /* str */
    PyObject *args;             /* tuple; with sets: list or tuple of sequences */
    PyObject *named;            /* params=: a mapping, until named.c has made args of it; else NULL */
    PyObject *text;             /* in portions: the query as it was given */
    PyObject *declare;          /* of a cursor: str, or NULL */
    PyObject *fetch;            /* ... */
    Py_ssize_t sets_before;     /* in the portions before */
    PyObject *rows;             /* FETCHMANY: list of those that have come, or NULL */
    PyObject *timeout;          /* as given; NULL: not given */
    PyTypeObject *record_class; /* of the rows; dict itself for rows="dict" */
    Py_ssize_t column;          /* of FETCHVAL ... */
    PyObject *column_name;      /* ... or this str; NULL: by position */
    PyObject *result;
    PyObject *exception;
    PyObject *cancel_message;
    PyObject *callback, *context; /* the first done-callback */
    PyObject *more_callbacks;     /* list of (callback, context), or NULL */
    hp_encoded encoded;
    hp_plan *building; /* while its types are looked up */
    hp_plan *plan;     /* what the parameters were encoded with and the result is decoded with */
    char *lookup_arg;
} OperationObject;

int hp_operation_type_init(PyObject *module, hp_binding_state *state);
/* What the operations of a pool share. 0, or -1 with an exception. */
int hp_operation_pool_init(PoolObject *pool);
void hp_operation_free_list_clear(hp_binding_state *state);
/* New reference, state NEW. Borrows all. */
OperationObject *hp_operation_new(PoolObject *pool, ConnectionObject *connection, hp_op_kind kind);
/* The answer is there: steals result or exception (one is NULL). */
void hp_operation_finish(OperationObject *op, PyObject *result, PyObject *exception);
/* ... the exception being the one that is set. */
void hp_operation_finish_with_error(OperationObject *op);
const char *hp_op_name(const OperationObject *op);
/* Have its task resumed. */
void hp_operation_wake(OperationObject *op);

static inline bool
hp_op_has_sets(const OperationObject *op)
{
    return op->kind == HP_OP_EXECUTEMANY || op->kind == HP_OP_FETCHMANY;
}

static inline bool
hp_op_is_cursor(const OperationObject *op)
{
    return op->declare != NULL || op->fetch != NULL;
}

/* ---- rows.c ---- */

int hp_rows_type_init(PyObject *module, hp_binding_state *state);
/* Connection._rows(class): an iterator. New reference, or NULL. */
PyObject *hp_rows_new(ConnectionObject *connection, PyObject *type);
/* Connection._cursor(query or prepared statement, arguments, DECLARE, FETCH, gives rows?, timeout,
 * record_class, rows): declare a cursor, or use one. New reference, or NULL. */
PyObject *hp_cursor_operation(ConnectionObject *connection, PyObject *args);

/* ---- portions.c ---- */

/* The sets in op->args, or the first portion of them, into op and its request. 0, or -1 with an exception. */
int hp_portions_take(OperationObject *op);
static inline bool
hp_portions_are_wanted(const OperationObject *op)
{
    return op->in_portions && op->state == HP_OP_PENDING && op->req.hungry;
}
/* ... from now on. */
void hp_portions_hungry(OperationObject *op);
/* Add the rows of one set to op->rows. 0, or -1 with an exception. */
int hp_portions_collect(OperationObject *op, const PGresult *result);
/* Methods of Operation for portions.py: _in_portions(), before it is awaited; _feed(sets, more), which
 * gives how many bytes they took; _abort(), which
 * is true if it has to be awaited once more. */
PyObject *hp_portions_expect(OperationObject *op);
PyObject *hp_portions_feed(OperationObject *op, PyObject *args);
PyObject *hp_portions_abort(OperationObject *op);

/* ---- pipeline.c ---- */

/* 0, or -1 with InterfaceError: its pipeline is closed. */
int hp_pipeline_check(OperationObject *op);
hp_request_kind hp_pipeline_request_kind(const OperationObject *op);
/* op's request as one of a pipeline. 0; 1: without a statement to look up; -1 with an exception. */
int hp_pipeline_prepare(OperationObject *op);
/* Methods of Connection for pipeline.py. */
PyObject *hp_pipeline_statement(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *hp_pipeline_control(PyObject *object, PyObject *args);
PyObject *hp_pipeline_open(PyObject *object, PyObject *unused);
PyObject *hp_pipeline_close(PyObject *object, PyObject *unused);
PyObject *hp_pipeline_flush(PyObject *object, PyObject *unused);

/* ---- running.c ---- */

/* 0, or -1 with an exception where another loop than the pool's is running. */
int hp_running_check(PoolObject *pool);
/* The pool is over. */
void hp_running_forget(PoolObject *pool);

/* ---- wakeup.c ---- */

/* Find out how to resume tasks in the pool's loop. 0, or -1 with an exception. */
int hp_wakeup_init(PoolObject *pool);
/* Have the loop call callback(op) in `context`, soon. Borrows all. */
void hp_wakeup_schedule(OperationObject *op, PyObject *callback, PyObject *context);
/* A run of the reactor has ended, and nothing of the engine is on the stack: resume
 * the tasks that need not wait for the loop. 0, or -1 with SystemExit or
 * KeyboardInterrupt. */
int hp_wakeup_end_run(PoolObject *pool);
/* Callbacks of others are scheduled now: what comes later runs after them. Are we
 * in the loop's thread? */
bool hp_wakeup_make_way(PoolObject *pool);

/* ---- coroutine.c: methods of coroutines, made of the am_send of their type ---- */

PyObject *hp_coroutine_itself(PyObject *self);
PyObject *hp_coroutine_send(PyObject *self, PyObject *arg);
PyObject *hp_coroutine_next(PyObject *self);
/* throw(): once its arguments are known to be sound as such, `end` does what close() does. */
PyObject *hp_coroutine_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs, void (*end)(PyObject *self));

/* ---- finished.c ---- */

int hp_finished_type_init(PyObject *module, hp_binding_state *state);

/* ---- start.c ---- */

/* The first await. 0: started, or finished already; -1: an exception is set,
 * nothing was started. */
int hp_operation_start(OperationObject *op);
/* Borrowed: the class of rows for what was given as record_class=; NULL with an exception. */
PyTypeObject *hp_record_class_of(PoolObject *pool, PyObject *object);
/* ... for what was given as record_class= and rows=: dict itself for rows="dict". */
PyTypeObject *hp_row_class_of(PoolObject *pool, PyObject *record_class, PyObject *rows);
/* The methods fetch, fetchrow, fetchval, execute of pool and connection: parse
 * the arguments of a METH_FASTCALL | METH_KEYWORDS call. New reference. */
PyObject *hp_operation_from_call(PoolObject *pool, ConnectionObject *connection, hp_op_kind kind, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames);
/* The same of a prepared statement, which has the query. */
PyObject *hp_operation_from_prepared(PreparedObject *prepared, hp_op_kind kind, PyObject *const *args, Py_ssize_t nargs,
                                     PyObject *kwnames);
/* One of executemany() or fetchmany() on a lease. */
PyObject *hp_operation_from_sets(ConnectionObject *connection, hp_op_kind kind, PyObject *query, PyObject *sets,
                                 PyObject *timeout, PyTypeObject *record_class);
/* New reference: the statement that takes the place of op's, which is out of date; NULL with an exception. */
hp_stmt *hp_operation_renew(OperationObject *op);
/* Seconds as a Python object to microseconds. None: HP_NEVER. 0, or -1 with an exception. */
int hp_timeout_from_object(PyObject *object, hp_time *timeout);

/* ---- override.c ---- */

/* After ConnectionType is made. */
int hp_override_init(hp_binding_state *state);
/* Must a query of the pool take the way over a lease and the connection class's method? 1, 0, or -1 with an exception. */
int hp_override_for_pool(PoolObject *pool, hp_op_kind kind);
/* ... and one of a connection the way over its _execute()? */
int hp_override_for_connection(PoolObject *pool);
/* self._overridden(name of the method, arguments of the call): new reference, or NULL. */
PyObject *hp_override_call(struct hp_state *module, PyObject *self, hp_op_kind kind, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames);
/* The method of that name. 0, or -1 with ValueError. */
int hp_override_kind(struct hp_state *module, PyObject *name, hp_op_kind *kind);

/* ---- statement.c ---- */

/* The statement for a text: new reference, or NULL with an exception. */
hp_stmt *hp_statement_get(PoolObject *pool, PyObject *query);
/* ... not kept by pool or sessions. */
hp_stmt *hp_statement_unnamed(PyObject *query);
/* Types have changed: look all of them up again, with the statements that use them. */
void hp_statements_forget(PoolObject *pool);
/* The text of a query (borrowed), which has no NUL; or NULL with an exception. */
const char *hp_statement_text(PyObject *query, Py_ssize_t *len);
hp_stmt *hp_statement_renew(PoolObject *pool, PyObject *query, const hp_stmt *old);

/* ---- named.c ---- */

/* New reference: a text without names for `text`, and the names in the order of their numbers, as a tuple
 * of both; NULL with an exception. */
PyObject *hp_named_pair(PoolObject *pool, PyObject *text);
/* New reference: the arguments of a prepared statement, given by position (NULL or a tuple) or by name
 * (NULL, None or a mapping); NULL with an exception where that is not how it takes them. */
PyObject *hp_named_values(PreparedObject *prepared, PyObject *args, PyObject *params);
/* Pool._by_name(query, args, params) -> (query, args) */
PyObject *hp_named_by_name(PyObject *pool, PyObject *args);
/* Make positional arguments of op->named, and the query that goes with them. For an operation with named or
 * a prepared statement. 0, or -1 with an exception. */
int hp_named_apply(OperationObject *op);
/* ... of the sets of executemany(), a tuple, where the first one is a mapping or the statement is prepared
 * with names. */
int hp_named_apply_sets(OperationObject *op);

/* ---- plan.c ---- */

hp_bind_result hp_plan_described(OperationObject *op, const PGresult *description);
hp_bind_result hp_plan_looked_up(OperationObject *op, const PGresult *rows);
void hp_plan_unref(hp_plan *plan);
/* New reference: what op's kind makes of a result; NULL with an exception. */
PyObject *hp_plan_result(OperationObject *op, const PGresult *result);

/* ---- params.c ---- */

/* Encode op->args for op->req.stmt on a session with these codecs (NULL: none of
 * its own). 0, or -1 with an exception. */
int hp_params_bind(OperationObject *op, hp_codec_set *codecs);
/* Point op->req.params to set i of those encoded. */
void hp_params_use_set(OperationObject *op, Py_ssize_t set);
void hp_encoded_clear(hp_encoded *encoded);
/* New reference: the repr of a value for a message, cut off where it is long. */
PyObject *hp_params_shown(PyObject *value);

/* ---- literals.c ---- */

/* insert_literals(sql, literals, standard_strings) -> sql with literals[n - 1] for each parameter $n. */
PyObject *hp_literals_insert(PyObject *args);

#endif
