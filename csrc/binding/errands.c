/*
 * errands.c - what a session asks for before it opens: what to connect to, or a
 * session that was opened elsewhere.
 *
 * pool->on_ask is a coroutine function of holisticpool/pool.py's; it runs in a
 * task of its own for each errand, and what it returns is the answer: a list of
 * dicts (HP_ASK_TARGETS) or a Connection that is a session of its own
 * (HP_ASK_SESSION). The task's callback owns the pool and, in a capsule, the
 * errand; whoever ends first, task or loop, the errand is answered once. The
 * errand itself has only a weak reference to the task, to cancel it.
 */
#include "module.h"

#include "binding/attributes.h"

#include "engine/conninfo.h"
#include "engine/connect.h"

static const char ERRAND_NAME[] = "holisticpool.errand";

/* The session has no use for a better description: it is gone. */
static void
answer_plain(hp_errand *errand, hp_error_kind kind, const char *text)
{
    hp_error err;
    hp_error_set(&err, kind, "%s", text);
    if (errand->asks == HP_ASK_SESSION) {
        hp_errand_session(errand, NULL, &err);
    } else {
        hp_errand_targets(errand, NULL, 0, &err);
    }
}

static void
drop_task(hp_errand *errand)
{
    PyObject *task = errand->user;
    errand->user = NULL;
    Py_XDECREF(task);
}

/* The task is gone without having called back: its loop was closed. */
static void
free_errand(PyObject *capsule)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (PyCapsule_GetContext(capsule) == NULL) {
        hp_errand *errand = PyCapsule_GetPointer(capsule, ERRAND_NAME);
        drop_task(errand);
        answer_plain(errand, HP_ERR_CONNECT, "the event loop is gone");
    }
    PyErr_Restore(type, value, traceback);
}

/* With the exception that is set. */
static void
answer_with_exception(PoolObject *pool, hp_errand *errand)
{
    hp_error err;
    if (errand->asks == HP_ASK_SESSION) {
        hp_loop_note_raised(pool, &err, "the connect callback", true);
        hp_errand_session(errand, NULL, &err);
    } else {
        /* Who knows what the message of a password callback quotes; the exception itself is its caller's. */
        bool ours = PyErr_ExceptionMatches(pool->state->errors.InterfaceError);
        hp_loop_note_raised(pool, &err, "the password callback", ours);
        hp_errand_targets(errand, NULL, 0, &err);
    }
}

static void
answer_with_targets(PoolObject *pool, hp_errand *errand, PyObject *list)
{
    hp_target *targets;
    int n;
    if (hp_pool_parse_targets(list, &targets, &n) < 0) {
        answer_with_exception(pool, errand);
    } else {
        hp_errand_targets(errand, targets, n, NULL);
    }
}

/* NULL, or why this connection cannot become one of the pool's. */
static const char *
why_unfit(PoolObject *pool, PyObject *object)
{
    if (!PyObject_TypeCheck(object, pool->state->binding.ConnectionType)) {
        return "it is no Connection of holisticpool";
    }
    ConnectionObject *connection = (ConnectionObject *)object;
    if (!connection->pool->dedicated) {
        return "it belongs to a pool; connect() makes one that does not";
    }
    if (connection->conn == NULL || connection->conn->state != HP_CONN_READY || hp_pool_check(connection->pool) < 0) {
        PyErr_Clear();
        return "it is closed";
    }
    if (connection->pool->loop != pool->loop) {
        return "it belongs to another event loop";
    }
    if (!hp_conn_is_free(connection->conn) || hp_conn_is_busy(connection->conn)) {
        return "an operation is in progress on it";
    }
    if (hp_conn_in_transaction(connection->conn)) {
        return "a transaction is open on it";
    }
    if (connection->conn->user != NULL) {
        return "type codecs were set on it; set them in the pool's init=";
    }
    if (connection->conn->listeners != NULL) {
        return "listeners were added to it; add them in the pool's init=";
    }
    return NULL;
}

/* Nobody else is left to close a session of its own: left to the garbage collector,
 * each further attempt of the pool would take one more place on the server. */
static void
close_refused(PoolObject *pool, PyObject *object)
{
    if (!PyObject_TypeCheck(object, pool->state->binding.ConnectionType)) {
        return;
    }
    ConnectionObject *connection = (ConnectionObject *)object;
    if (connection->pool->dedicated && connection->pool->loop == pool->loop && connection->conn != NULL) {
        hp_connection_terminate(connection);
    }
}

static void
answer_with_session(PoolObject *pool, hp_errand *errand, PyObject *object)
{
    const char *why = why_unfit(pool, object);
    if (why != NULL) {
        PyErr_Format(pool->state->errors.InterfaceError,
                     "the pool cannot use the connection that the connect callback returned: %s", why);
        answer_with_exception(pool, errand);
        close_refused(pool, object);
        return;
    }
    ConnectionObject *connection = (ConnectionObject *)object;
    hp_attributes_keep(connection);
    if (!hp_errand_session(errand, connection->conn, NULL)) {
        hp_connection_terminate(connection);
        return;
    }
    /* An empty shell now; its own pool ends with it. */
    hp_connection_release(connection);
    hp_pool_terminate(connection->pool->engine);
}

static PyObject *
on_answered(PyObject *self, PyObject *task)
{
    PoolObject *pool = (PoolObject *)PyTuple_GET_ITEM(self, 0);
    PyObject *capsule = PyTuple_GET_ITEM(self, 1);
    hp_errand *errand = PyCapsule_GetPointer(capsule, ERRAND_NAME);
    PyCapsule_SetContext(capsule, errand); /* answered */
    drop_task(errand);
    PyObject *result = PyObject_CallMethod(task, "result", NULL);
    hp_codec_sets_hold(&pool->state->codec);
    if (result == NULL) {
        answer_with_exception(pool, errand);
    } else if (errand->asks == HP_ASK_SESSION) {
        answer_with_session(pool, errand, result);
    } else {
        answer_with_targets(pool, errand, result);
    }
    hp_codec_sets_let_go(&pool->state->codec);
    Py_XDECREF(result);
    Py_RETURN_NONE;
}

static PyMethodDef on_answered_def = {"on_answered", on_answered, METH_O, NULL};

void
hp_errands_ask(void *user, hp_errand *errand)
{
    PoolObject *pool = user;
    PyObject *capsule = PyCapsule_New(errand, ERRAND_NAME, free_errand);
    if (capsule == NULL) {
        PyErr_Clear();
        answer_plain(errand, HP_ERR_NO_MEMORY, "out of memory");
        return;
    }
    PyObject *self = PyTuple_Pack(2, (PyObject *)pool, capsule);
    PyObject *task = self && pool->on_ask ? hp_loop_run(pool, PyObject_CallNoArgs(pool->on_ask)) : NULL;
    PyObject *weak = task ? PyWeakref_NewRef(task, NULL) : NULL;
    if (weak == NULL || hp_loop_when_done(pool, task, &on_answered_def, self) < 0) {
        PyCapsule_SetContext(capsule, errand); /* answered */
        if (PyErr_Occurred()) {
            answer_with_exception(pool, errand);
        } else {
            answer_plain(errand, HP_ERR_CLOSED, "the pool is gone");
        }
        Py_CLEAR(weak);
    } else {
        errand->user = weak;
    }
    Py_XDECREF(task);
    Py_XDECREF(self);
    Py_DECREF(capsule);
}

/* Soon, not now: what cancelling a task runs may be code of the user, and the
 * engine is in the middle of something. */
static int
cancel_soon(PoolObject *pool, PyObject *task)
{
    PyObject *cancel = PyObject_GetAttrString(task, "cancel");
    PyObject *handle = cancel ? PyObject_CallOneArg(pool->call_soon, cancel) : NULL;
    Py_XDECREF(cancel);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

void
hp_errands_withdrawn(void *user, hp_errand *errand)
{
    PoolObject *pool = user;
    PyObject *type, *value, *traceback;
    if (errand->user == NULL || pool->generation != hp_fork_generation) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *task = PyObject_CallNoArgs(errand->user);
    if (task == NULL || (task != Py_None && cancel_soon(pool, task) < 0)) {
        PyErr_Clear(); /* the loop is closed: the task will never run again */
    }
    Py_XDECREF(task);
    PyErr_Restore(type, value, traceback);
}

PyObject *
hp_errands_set_ask(PyObject *object, PyObject *args)
{
    PoolObject *pool = (PoolObject *)object;
    PyObject *callback;
    int for_session;
    if (!PyArg_ParseTuple(args, "Op:_set_ask", &callback, &for_session) || hp_pool_check(pool) < 0) {
        return NULL;
    }
    pool->engine->env.ask = for_session ? HP_ASK_SESSION : HP_ASK_TARGETS;
    Py_XSETREF(pool->on_ask, Py_NewRef(callback));
    Py_RETURN_NONE;
}
