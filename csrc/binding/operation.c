/*
 * operation.c - the awaitable that every I/O method returns.
 *
 * An Operation is a coroutine to whoever runs it (send, throw, close, await)
 * and, once it is suspended, also the future that it yields to its task: a task
 * that gets it adds its wake-up as done-callback, and resumes it when the answer
 * is there. No Python frame of ours runs in between.
 *
 *   NEW --first send--> PENDING --answer--> DONE --send--> CLOSED
 *    |                     |                  |
 *    +--answer at once-----|----------------->+   (an idle connection, bad input)
 *    +--close/throw--> CLOSED <--throw/close--+   (abandons the request, or gives
 *                                                  an undelivered lease back)
 *
 * It is lazy like a coroutine: nothing happens before the first await, and one
 * never awaited warns. As long as it is NEW it does not look like a future
 * (_asyncio_future_blocking is None), so that gather, wait_for, shield and
 * create_task make a task of it.
 *
 * Cancellation: the task calls cancel() on what it waits for. The request is
 * abandoned to the engine, which cleans up without any further step of the task.
 */
#include "module.h"

#include "binding/listeners.h"

#include <string.h>

enum { MAX_FREE = 128 };

static hp_state *
state_of(OperationObject *op)
{
    return op->pool->state;
}

/* In the order of hp_op_kind. */
static const char *const POOL_NAMES[] = {"Pool.fetch",       "Pool.fetchrow",  "Pool.fetchval", "Pool.execute",
                                         "Pool.executemany", "Pool.fetchmany", "Pool.prepare",  "Pool.acquire",
                                         "Pool.open",        "Pool.close"};
static const char *const CONNECTION_NAMES[] = {"Connection.fetch",   "Connection.fetchrow",    "Connection.fetchval",
                                               "Connection.execute", "Connection.executemany", "Connection.fetchmany",
                                               "Connection.prepare", "Connection.acquire",     "Connection.open",
                                               "Connection.close"};
static const char *const PREPARED_NAMES[] = {
    "PreparedStatement.fetch",   "PreparedStatement.fetchrow",    "PreparedStatement.fetchval",
    "PreparedStatement.execute", "PreparedStatement.executemany", "PreparedStatement.fetchmany",
    "Connection.prepare"};

const char *
hp_op_name(const OperationObject *op)
{
    if (hp_op_is_cursor(op)) {
        return op->kind == HP_OP_FETCH ? "Cursor.fetch" : "Cursor.forward";
    }
    if (op->prepared != NULL) {
        return PREPARED_NAMES[op->kind];
    }
    return op->connection != NULL && op->kind != HP_OP_ACQUIRE ? CONNECTION_NAMES[op->kind] : POOL_NAMES[op->kind];
}

/* ---- life ---- */

OperationObject *
hp_operation_new(PoolObject *pool, ConnectionObject *connection, hp_op_kind kind)
{
    hp_binding_state *binding = &pool->state->binding;
    OperationObject *op = binding->free_operations;
    if (op != NULL) {
        binding->free_operations = (void *)op->pool;
        binding->free_count--;
        PyObject_Init((PyObject *)op, binding->OperationType);
    } else {
        op = PyObject_GC_New(OperationObject, binding->OperationType);
        if (op == NULL) {
            return NULL;
        }
        memset(&op->encoded, 0, sizeof op->encoded);
    }
    op->pool = (PoolObject *)Py_NewRef((PyObject *)pool);
    op->connection = (ConnectionObject *)Py_XNewRef((PyObject *)connection);
    op->prepared = NULL;
    op->kind = kind;
    op->state = HP_OP_NEW;
    op->blocking = op->cancelled = op->in_engine = op->in_portions = op->ahead = op->dormant = false;
    op->lane = HP_LANE_NONE;
    op->sets_before = 0;
    op->declare = op->fetch = NULL;
    op->query = op->args = op->named = op->text = op->timeout = op->rows = op->result = op->exception = NULL;
    op->cancel_message = NULL;
    op->callback = op->context = op->more_callbacks = NULL;
    op->record_class = NULL;
    op->column = 0;
    op->column_name = NULL;
    op->building = op->plan = NULL;
    op->lookup_arg = NULL;
    op->req.stmt = NULL;
    op->req.state = HP_REQ_NEW;
    PyObject_GC_Track(op);
    return op;
}

static int
op_traverse(OperationObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(op->pool);
    Py_VISIT(op->connection);
    Py_VISIT(op->prepared);
    Py_VISIT(op->args);
    Py_VISIT(op->named);
    Py_VISIT(op->timeout);
    Py_VISIT(op->record_class);
    Py_VISIT(op->rows);
    Py_VISIT(op->result);
    Py_VISIT(op->exception);
    Py_VISIT(op->cancel_message);
    Py_VISIT(op->callback);
    Py_VISIT(op->context);
    Py_VISIT(op->more_callbacks);
    return 0;
}

/* Everything but the pool, which dealloc needs to the end. */
static int
op_clear(OperationObject *op)
{
    Py_CLEAR(op->connection);
    Py_CLEAR(op->prepared);
    Py_CLEAR(op->query);
    Py_CLEAR(op->args);
    Py_CLEAR(op->named);
    Py_CLEAR(op->text);
    Py_CLEAR(op->declare);
    Py_CLEAR(op->fetch);
    Py_CLEAR(op->timeout);
    Py_CLEAR(op->record_class);
    Py_CLEAR(op->rows);
    Py_CLEAR(op->column_name);
    Py_CLEAR(op->result);
    Py_CLEAR(op->exception);
    Py_CLEAR(op->cancel_message);
    Py_CLEAR(op->callback);
    Py_CLEAR(op->context);
    Py_CLEAR(op->more_callbacks);
    return 0;
}

/* A lease that nobody received goes back. */
static void
drop_result(OperationObject *op)
{
    if (op->kind == HP_OP_ACQUIRE && op->result != NULL) {
        hp_connection_release((ConnectionObject *)op->result);
    }
    Py_CLEAR(op->result);
    Py_CLEAR(op->exception);
}

/* Not tp_finalize: CPython calls that once in the life of an object's memory,
 * and the free list gives ours several lives. */
static void
finalize(OperationObject *op)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (op->state == HP_OP_NEW) {
        if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited", hp_op_name(op)) < 0) {
            PyErr_WriteUnraisable(NULL);
        }
    } else {
        drop_result(op);
    }
    op->state = HP_OP_CLOSED;
    PyErr_Restore(type, value, traceback);
}

static void
op_dealloc(OperationObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (op->state == HP_OP_NEW || op->state == HP_OP_DONE) {
        finalize(op);
    }
    if (op->pool->opening == op) {
        op->pool->opening = NULL;
    }
    op_clear(op);
    hp_stmt_unref(op->req.stmt);
    op->req.stmt = NULL;
    hp_plan_unref(op->building);
    hp_plan_unref(op->plan);
    PyMem_Free(op->lookup_arg);
    hp_encoded_clear(&op->encoded);
    PoolObject *pool = op->pool;
    hp_binding_state *binding = &pool->state->binding;
    if (binding->free_count < MAX_FREE && binding->OperationType == type) {
        op->pool = binding->free_operations; /* the chain */
        binding->free_operations = op;
        binding->free_count++;
    } else {
        hp_buf_free(&op->encoded.buf);
        PyObject_GC_Del(op);
    }
    Py_DECREF(pool);
    Py_DECREF(type);
}

void
hp_operation_free_list_clear(hp_binding_state *state)
{
    while (state->free_operations != NULL) {
        OperationObject *op = state->free_operations;
        state->free_operations = (void *)op->pool;
        hp_buf_free(&op->encoded.buf);
        PyObject_GC_Del(op);
    }
    state->free_count = MAX_FREE; /* nothing is put there any more */
}

/* ---- the answer ---- */

void
hp_operation_wake(OperationObject *op)
{
    PyObject *callback = op->callback;
    PyObject *context = op->context;
    PyObject *more = op->more_callbacks;
    op->callback = op->context = op->more_callbacks = NULL;
    if (callback != NULL) {
        hp_wakeup_schedule(op, callback, context);
    }
    for (Py_ssize_t i = 0; more != NULL && i < PyList_GET_SIZE(more); i++) {
        PyObject *pair = PyList_GET_ITEM(more, i);
        hp_wakeup_schedule(op, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
    }
    Py_XDECREF(callback);
    Py_XDECREF(context);
    Py_XDECREF(more);
}

void
hp_operation_finish(OperationObject *op, PyObject *result, PyObject *exception)
{
    op->result = result;
    op->exception = exception;
    op->state = HP_OP_DONE;
    hp_operation_wake(op);
}

void
hp_operation_finish_with_error(OperationObject *op)
{
    hp_operation_finish(op, NULL, hp_errors_take());
}

/* ---- leaving ---- */

static void
log_leaving(OperationObject *op, PyObject *class)
{
    if (op->in_engine && op->pool->generation == hp_fork_generation) {
        hp_listeners_log_left(op, class);
    }
}

/* Nobody waits for the answer any more. */
static void
abandon(OperationObject *op)
{
    PoolObject *pool = op->pool;
    if (pool->generation != hp_fork_generation) {
        return; /* in a forked child: the statement is the parent's */
    }
    if (op->in_engine) {
        hp_codec_state *codec = &pool->state->codec;
        hp_codec_sets_hold(codec);
        hp_request_abandon(&op->req);
        hp_codec_sets_let_go(codec);
        return;
    }
    if (pool->opening == op) {
        pool->opening = NULL;
    }
    if (pool->closing != NULL) {
        Py_ssize_t i = PySequence_Index(pool->closing, (PyObject *)op);
        if (i < 0 || PyList_SetSlice(pool->closing, i, i + 1, NULL) < 0) {
            PyErr_Clear(); /* it was not in the list */
        }
    }
}

/* ---- the coroutine protocol ---- */

static void
raise_stored(OperationObject *op)
{
    PyObject *exception = op->exception;
    op->exception = NULL;
    hp_errors_raise(exception, hp_op_name(op), state_of(op)->binding.traceback_globals);
}

static void
raise_cancelled(OperationObject *op)
{
    PyObject *message = op->cancel_message;
    PyObject *class = state_of(op)->errors.CancelledError;
    PyObject *exception =
        message && message != Py_None ? PyObject_CallOneArg(class, message) : PyObject_CallNoArgs(class);
    if (exception != NULL) {
        PyErr_SetObject(class, exception);
        Py_DECREF(exception);
    }
}

static PySendResult
take_outcome(OperationObject *op, PyObject **result)
{
    op->state = HP_OP_CLOSED;
    op->blocking = false;
    *result = NULL;
    if (op->cancelled) {
        raise_cancelled(op);
        return PYGEN_ERROR;
    }
    if (op->exception != NULL) {
        raise_stored(op);
        return PYGEN_ERROR;
    }
    *result = op->result;
    op->result = NULL;
    if (op->kind == HP_OP_ACQUIRE) {
        /* for __aexit__ */
        Py_XSETREF(op->connection, (ConnectionObject *)Py_NewRef(*result));
    }
    return PYGEN_RETURN;
}

static PySendResult
deliver(OperationObject *op, PyObject **result)
{
    PySendResult outcome = take_outcome(op, result);
    if (op->kind != HP_OP_ACQUIRE) {
        /* The loop holds us until its task pauses again: the lease is not to
         * live so long. */
        Py_CLEAR(op->connection);
        Py_CLEAR(op->prepared);
    }
    return outcome;
}

/* Ask for the next portion of its sets: the await ends, the operation does not. */
static PySendResult
ask_for_portion(OperationObject *op, PyObject **result)
{
    op->dormant = true;
    op->blocking = false;
    *result = Py_NewRef(Py_True);
    return PYGEN_RETURN;
}

static int
start(OperationObject *op)
{
    op->state = HP_OP_PENDING; /* so that an encoder of the user cannot start it again */
    if (hp_operation_start(op) == 0) {
        return 0;
    }
    op->state = HP_OP_CLOSED;
    PyObject *exception = hp_errors_take();
    hp_listeners_log_unsent(op, exception);
    hp_errors_raise(exception, hp_op_name(op), state_of(op)->binding.traceback_globals);
    return -1;
}

static PySendResult
op_send_result(PyObject *self, PyObject *arg, PyObject **result)
{
    OperationObject *op = (OperationObject *)self;
    (void)arg;
    *result = NULL;
    switch (op->state) {
    case HP_OP_NEW:
        if (start(op) < 0) {
            return PYGEN_ERROR;
        }
        if (op->state == HP_OP_DONE) {
            return deliver(op, result);
        }
        if (op->state == HP_OP_CLOSED) {
            break;
        }
        if (hp_portions_are_wanted(op)) {
            return ask_for_portion(op, result);
        }
        op->blocking = true;
        *result = Py_NewRef(self);
        return PYGEN_NEXT;
    case HP_OP_DONE:
        return deliver(op, result);
    case HP_OP_PENDING:
        if (hp_portions_are_wanted(op)) {
            return ask_for_portion(op, result);
        }
        if (op->dormant || op->in_portions) {
            op->dormant = false;
            op->blocking = true;
            *result = Py_NewRef(self);
            return PYGEN_NEXT;
        }
        PyErr_Format(PyExc_RuntimeError, "%s is already being awaited", hp_op_name(op));
        return PYGEN_ERROR;
    case HP_OP_CLOSED:
        break;
    }
    PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    return PYGEN_ERROR;
}

static void
op_end(PyObject *self)
{
    OperationObject *op = (OperationObject *)self;
    hp_op_state was = op->state;
    op->state = HP_OP_CLOSED;
    if (was == HP_OP_PENDING) {
        log_leaving(op, PyExc_GeneratorExit);
        abandon(op);
    } else if (was == HP_OP_DONE) {
        drop_result(op);
    }
}

static PyObject *
op_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return hp_coroutine_throw(self, args, nargs, op_end);
}

static PyObject *
op_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    op_end(self);
    Py_RETURN_NONE;
}

/* ---- the future protocol, for the task that waits ---- */

static PyObject *
op_add_done_callback(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    OperationObject *op = (OperationObject *)self;
    PyObject *context = NULL;
    if (nargs != 1 || (kwnames != NULL && PyTuple_GET_SIZE(kwnames) > 1)) {
        PyErr_SetString(PyExc_TypeError, "add_done_callback() takes a callback and context=");
        return NULL;
    }
    if (kwnames != NULL && PyTuple_GET_SIZE(kwnames) == 1) {
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "context") != 0) {
            PyErr_SetString(PyExc_TypeError, "add_done_callback() takes no keyword but context");
            return NULL;
        }
        context = args[1] == Py_None ? NULL : args[1];
    }
    PyObject *own_context = context ? Py_NewRef(context) : PyContext_CopyCurrent();
    if (own_context == NULL) {
        return NULL;
    }
    if (op->state == HP_OP_DONE || op->state == HP_OP_CLOSED) {
        hp_wakeup_schedule(op, args[0], own_context);
        Py_DECREF(own_context);
        Py_RETURN_NONE;
    }
    if (op->callback == NULL && op->more_callbacks == NULL) {
        op->callback = Py_NewRef(args[0]);
        op->context = own_context;
        Py_RETURN_NONE;
    }
    PyObject *pair = PyTuple_Pack(2, args[0], own_context);
    Py_DECREF(own_context);
    if (op->more_callbacks == NULL) {
        op->more_callbacks = PyList_New(0);
    }
    int rc = pair && op->more_callbacks ? PyList_Append(op->more_callbacks, pair) : -1;
    Py_XDECREF(pair);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
op_remove_done_callback(PyObject *self, PyObject *callback)
{
    OperationObject *op = (OperationObject *)self;
    Py_ssize_t removed = 0;
    if (op->callback != NULL) {
        int same = PyObject_RichCompareBool(op->callback, callback, Py_EQ);
        if (same < 0) {
            return NULL;
        }
        if (same) {
            Py_CLEAR(op->callback);
            Py_CLEAR(op->context);
            removed++;
        }
    }
    for (Py_ssize_t i = op->more_callbacks ? PyList_GET_SIZE(op->more_callbacks) - 1 : -1; i >= 0; i--) {
        PyObject *pair = PyList_GET_ITEM(op->more_callbacks, i);
        int same = PyObject_RichCompareBool(PyTuple_GET_ITEM(pair, 0), callback, Py_EQ);
        if (same < 0 || (same && PyList_SetSlice(op->more_callbacks, i, i + 1, NULL) < 0)) {
            return NULL;
        }
        removed += same;
    }
    return PyLong_FromSsize_t(removed);
}

/* For the task only: the value itself is delivered by send(). */
static PyObject *
op_result(PyObject *self, PyObject *unused)
{
    OperationObject *op = (OperationObject *)self;
    (void)unused;
    if (op->cancelled) {
        raise_cancelled(op);
        return NULL;
    }
    if (op->state == HP_OP_PENDING && op->in_portions) {
        Py_RETURN_NONE; /* woken up for a portion, and it may have ended otherwise since */
    }
    if (op->state != HP_OP_DONE) {
        PyErr_SetString(state_of(op)->errors.InvalidStateError, "Result is not set.");
        return NULL;
    }
    if (op->exception != NULL) {
        /* send() raises it */
        Py_RETURN_NONE;
    }
    return Py_NewRef(op->result ? op->result : Py_None);
}

static PyObject *
op_exception(PyObject *self, PyObject *unused)
{
    OperationObject *op = (OperationObject *)self;
    (void)unused;
    if (op->cancelled) {
        raise_cancelled(op);
        return NULL;
    }
    if (op->state != HP_OP_DONE) {
        PyErr_SetString(state_of(op)->errors.InvalidStateError, "Exception is not set.");
        return NULL;
    }
    return Py_NewRef(op->exception ? op->exception : Py_None);
}

static PyObject *
op_done(PyObject *self, PyObject *unused)
{
    OperationObject *op = (OperationObject *)self;
    (void)unused;
    return PyBool_FromLong(op->state == HP_OP_DONE || op->state == HP_OP_CLOSED);
}

static PyObject *
op_is_cancelled(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(((OperationObject *)self)->cancelled);
}

static PyObject *
op_cancel(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    OperationObject *op = (OperationObject *)self;
    if (op->state != HP_OP_PENDING) {
        Py_RETURN_FALSE;
    }
    Py_ssize_t given = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    Py_XSETREF(op->cancel_message, given > 0 ? Py_NewRef(args[0]) : NULL);
    Py_INCREF(op);
    log_leaving(op, state_of(op)->errors.CancelledError);
    if (op->state == HP_OP_PENDING) {
        op->cancelled = true;
        abandon(op);
        hp_operation_finish(op, NULL, NULL);
    }
    Py_DECREF(op);
    Py_RETURN_TRUE;
}

static PyObject *
op_get_blocking(PyObject *self, void *closure)
{
    OperationObject *op = (OperationObject *)self;
    (void)closure;
    if (op->state == HP_OP_NEW) {
        Py_RETURN_NONE;
    }
    return PyBool_FromLong(op->blocking);
}

static int
op_set_blocking(PyObject *self, PyObject *value, void *closure)
{
    int truth = value ? PyObject_IsTrue(value) : 0;
    (void)closure;
    if (truth < 0) {
        return -1;
    }
    ((OperationObject *)self)->blocking = truth;
    return 0;
}

static PyObject *
itself(PyObject *loop, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(loop);
}

/* Bound to the loop, once for all operations of a pool: a task looks it up at every await. */
static PyMethodDef get_loop_def = {"get_loop", itself, METH_NOARGS, NULL};

int
hp_operation_pool_init(PoolObject *pool)
{
    pool->get_loop = PyCFunction_New(&get_loop_def, pool->loop);
    return pool->get_loop ? 0 : -1;
}

static PyObject *
op_get_get_loop(PyObject *self, void *closure)
{
    PyObject *get_loop = ((OperationObject *)self)->pool->get_loop;
    (void)closure;
    return Py_NewRef(get_loop ? get_loop : Py_None);
}

static PyObject *
op_get_name(PyObject *self, void *closure)
{
    const char *name = hp_op_name((OperationObject *)self);
    (void)closure;
    return PyUnicode_FromString(strchr(name, '.') + 1);
}

static PyObject *
op_get_qualname(PyObject *self, void *closure)
{
    (void)closure;
    return PyUnicode_FromString(hp_op_name((OperationObject *)self));
}

static PyObject *
op_get_running(PyObject *self, void *closure)
{
    (void)self;
    (void)closure;
    Py_RETURN_FALSE; /* it has no frame that could be seen running */
}

static PyObject *
op_repr(PyObject *self)
{
    static const char *const STATES[] = {"new", "pending", "done", "closed"};
    OperationObject *op = (OperationObject *)self;
    return PyUnicode_FromFormat("<holisticpool operation %s %s>", hp_op_name(op), STATES[op->state]);
}

/* ---- async with pool.acquire() ---- */

static PyObject *
op_aenter(PyObject *self, PyObject *unused)
{
    OperationObject *op = (OperationObject *)self;
    (void)unused;
    if (op->kind != HP_OP_ACQUIRE) {
        PyErr_Format(PyExc_TypeError, "%s() cannot be used with \"async with\"", hp_op_name(op));
        return NULL;
    }
    if (op->state != HP_OP_NEW) {
        PyErr_SetString(state_of(op)->errors.InterfaceError, "a connection is already acquired");
        return NULL;
    }
    return Py_NewRef(self);
}

static PyObject *
op_aexit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    OperationObject *op = (OperationObject *)self;
    (void)args;
    (void)nargs;
    ConnectionObject *connection = op->connection;
    if (connection != NULL) {
        op->connection = NULL;
        hp_connection_report_transaction(connection);
        int rc = hp_connection_give_back(connection);
        Py_DECREF(connection);
        if (rc < 0) {
            return NULL;
        }
    }
    return Py_NewRef(state_of(op)->binding.finished);
}

/* ---- for later ---- */

/* Start it now, to be awaited when its answer is needed. */
static PyObject *
op_start_ahead(PyObject *self, PyObject *unused)
{
    OperationObject *op = (OperationObject *)self;
    (void)unused;
    if (op->state != HP_OP_NEW) {
        PyErr_SetString(PyExc_RuntimeError, "the operation has started already");
        return NULL;
    }
    op->ahead = op->dormant = true;
    if (start(op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- sets in portions ---- */

static PyObject *
op_expect_portions(PyObject *self, PyObject *unused)
{
    (void)unused;
    return hp_portions_expect((OperationObject *)self);
}

static PyObject *
op_feed(PyObject *self, PyObject *args)
{
    return hp_portions_feed((OperationObject *)self, args);
}

static PyObject *
op_abort(PyObject *self, PyObject *unused)
{
    (void)unused;
    return hp_portions_abort((OperationObject *)self);
}

enum { ADD_DONE_CALLBACK };

static PyMethodDef op_methods[] = {
    [ADD_DONE_CALLBACK] = {"add_done_callback", (PyCFunction)(void (*)(void))op_add_done_callback,
                           METH_FASTCALL | METH_KEYWORDS, NULL},
    {"send", hp_coroutine_send, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))op_throw, METH_FASTCALL, NULL},
    {"close", op_close, METH_NOARGS, NULL},
    {"remove_done_callback", op_remove_done_callback, METH_O, NULL},
    {"result", op_result, METH_NOARGS, NULL},
    {"exception", op_exception, METH_NOARGS, NULL},
    {"done", op_done, METH_NOARGS, NULL},
    {"cancelled", op_is_cancelled, METH_NOARGS, NULL},
    {"cancel", (PyCFunction)(void (*)(void))op_cancel, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_start_ahead", op_start_ahead, METH_NOARGS, NULL},
    {"_in_portions", op_expect_portions, METH_NOARGS, NULL},
    {"_feed", op_feed, METH_VARARGS, NULL},
    {"_abort", op_abort, METH_NOARGS, NULL},
    {"__aenter__", op_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))op_aexit, METH_FASTCALL, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef op_getset[] = {
    {"_asyncio_future_blocking", op_get_blocking, op_set_blocking, NULL, NULL},
    {"get_loop", op_get_get_loop, NULL, NULL, NULL},
    {"__name__", op_get_name, NULL, NULL, NULL},
    {"__qualname__", op_get_qualname, NULL, NULL, NULL},
    {"cr_running", op_get_running, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* A task looks three names up in what it waits for, and sets one of them. The names
 * are interned: found by identity, without a walk through the type. */
static PyObject *
op_getattro(PyObject *self, PyObject *name)
{
    const hp_binding_state *binding = &state_of((OperationObject *)self)->binding;
    if (name == binding->str_blocking) {
        return op_get_blocking(self, NULL);
    }
    if (name == binding->str_get_loop) {
        return op_get_get_loop(self, NULL);
    }
    if (name == binding->str_add_done_callback) {
        return PyCFunction_New(&op_methods[ADD_DONE_CALLBACK], self);
    }
    return PyObject_GenericGetAttr(self, name);
}

static int
op_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    if (name == state_of((OperationObject *)self)->binding.str_blocking) {
        return op_set_blocking(self, value, NULL);
    }
    return PyObject_GenericSetAttr(self, name, value);
}

static PyType_Slot op_slots[] = {
    {Py_tp_doc, "What every I/O method returns: awaitable once, like a coroutine."},
    {Py_tp_dealloc, op_dealloc},
    {Py_tp_traverse, op_traverse},
    {Py_tp_clear, op_clear},
    {Py_tp_repr, op_repr},
    {Py_tp_getattro, op_getattro},
    {Py_tp_setattro, op_setattro},
    {Py_tp_iter, hp_coroutine_itself},
    {Py_tp_iternext, hp_coroutine_next},
    {Py_am_await, hp_coroutine_itself},
    {Py_am_send, op_send_result},
    {Py_tp_methods, op_methods},
    {Py_tp_getset, op_getset},
    {0, NULL},
};

static PyType_Spec op_spec = {
    .name = "holisticpool._core.Operation",
    .basicsize = sizeof(OperationObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = op_slots,
};

int
hp_operation_type_init(PyObject *module, hp_binding_state *state)
{
    state->OperationType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &op_spec, NULL);
    return state->OperationType ? PyModule_AddType(module, state->OperationType) : -1;
}
