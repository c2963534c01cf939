/*
 * loop.c - between the engine and asyncio: what the engine's callbacks do, and
 * the one reader that drives it.
 *
 * All callbacks run with the GIL, in the thread of the loop (or of whoever drops
 * the last reference to a lease). Code of the user that runs inside them: type
 * codecs, finalizers, and the start of an init hook's task. It may end the request
 * that it runs for, its session or the pool.
 */
#include "binding/copy.h"

#include "binding/attributes.h"
#include "binding/listeners.h"
#include "engine/connect.h"

#include <string.h>

static OperationObject *
op_of(hp_request *req)
{
    return req->user;
}

static hp_pool_report
report_of(PoolObject *pool)
{
    const hp_pool *engine = pool->engine;
    return (hp_pool_report){
        .leased = hp_pool_count(engine, HP_USE_LEASED),
        .waiting = hp_pool_waiting(engine),
        .max_size = engine->config.max_size,
        .longest_lease = hp_pool_longest_lease(engine),
        .attempts = engine->failures,
        .last = engine->tried && !engine->last_connect_ok ? &engine->last_error : NULL,
        .raised = pool->raised,
    };
}

static PyObject *
exception_of(PoolObject *pool, const hp_error *err, PyObject *query)
{
    hp_pool_report report = {.raised = pool->raised};
    if (err->kind == HP_ERR_EXHAUSTED || err->kind == HP_ERR_TOO_MANY_WAITERS || err->kind == HP_ERR_DOWN) {
        report = report_of(pool);
    }
    return hp_errors_new(&pool->state->errors, err, &report, query);
}

/* ---- requests ---- */

/* An encoder, or a finalizer that garbage collection runs, may have run code of
 * the user, and that may have ended the request. Releases the reference that was
 * taken for the time of it. */
static hp_bind_result
after_user_code(OperationObject *op, hp_bind_result answer)
{
    PyObject *exception = answer == HP_FAILED ? hp_errors_take() : NULL;
    if (op->req.state != HP_REQ_SENT) {
        answer = HP_GONE;
    }
    if (op->state == HP_OP_PENDING) {
        Py_XSETREF(op->exception, exception);
    } else {
        Py_XDECREF(exception);
    }
    Py_DECREF(op);
    return answer;
}

static hp_bind_result
described(hp_request *req, const PGresult *description)
{
    OperationObject *op = (OperationObject *)Py_NewRef((PyObject *)op_of(req));
    return after_user_code(op, hp_plan_described(op, description));
}

static hp_bind_result
looked_up(hp_request *req, const PGresult *rows)
{
    OperationObject *op = (OperationObject *)Py_NewRef((PyObject *)op_of(req));
    return after_user_code(op, hp_plan_looked_up(op, rows));
}

static int
bind(hp_request *req, const void *session_user)
{
    OperationObject *op = (OperationObject *)Py_NewRef((PyObject *)op_of(req));
    int rc = hp_params_bind(op, (hp_codec_set *)session_user);
    hp_bind_result answer = after_user_code(op, rc < 0 ? HP_FAILED : HP_READY);
    return answer == HP_GONE ? 1 : rc;
}

static void
bind_set(hp_request *req, int i)
{
    hp_params_use_set(op_of(req), i);
}

static void
hungry(hp_request *req)
{
    hp_portions_hungry(op_of(req));
}

static hp_bind_result
part(hp_request *req, const PGresult *rows)
{
    OperationObject *op = op_of(req);
    if (op->exception != NULL) {
        return HP_READY; /* one error is enough */
    }
    Py_INCREF(op);
    int rc = hp_portions_collect(op, rows);
    return after_user_code(op, rc < 0 ? HP_FAILED : HP_READY);
}

static hp_stmt *
renew(hp_request *req)
{
    OperationObject *op = op_of(req);
    Py_CLEAR(op->rows);
    hp_stmt *stmt = hp_operation_renew(op);
    if (stmt == NULL) {
        PyErr_Clear(); /* out of memory; the engine reports it */
    }
    return stmt;
}

static void
finish_lease(OperationObject *op)
{
    hp_conn *conn = op->req.conn;
    PyObject *connection = hp_connection_new(op->pool, conn);
    if (connection == NULL) {
        hp_pool_release(conn);
        hp_operation_finish_with_error(op);
        return;
    }
    hp_operation_finish(op, connection, NULL);
}

static PyObject *
result_of(OperationObject *op, const PGresult *result)
{
    if (op->kind != HP_OP_FETCHMANY) {
        return hp_plan_result(op, result);
    }
    PyObject *rows = op->rows;
    op->rows = NULL;
    return rows ? rows : PyList_New(0);
}

static void
copy_done(CopyObject *copy, PGresult *result, const hp_error *err)
{
    PyObject *status = err == NULL ? PyUnicode_FromString(PQcmdStatus(result)) : NULL;
    PyObject *exception = err != NULL ? exception_of(copy->connection->pool, err, copy->query) : NULL;
    PQclear(result);
    if (status == NULL && exception == NULL) {
        exception = hp_errors_take();
    }
    hp_copy_ended(copy, status, exception);
}

static void
copy_became_ready(hp_request *req)
{
    hp_copy_wake(req->user);
}

static int
copy_row(hp_request *req, const char *row, size_t len)
{
    return hp_copy_take_row(req->user, row, len);
}

static void
done(hp_request *req, PGresult *result, const hp_error *err)
{
    if (req->kind == HP_REQ_COPY) {
        copy_done(req->user, result, err);
        return;
    }
    OperationObject *op = op_of(req);
    if (err != NULL) {
        PQclear(result);
        PyObject *exception = op->exception; /* HP_ERR_BINDING: kept above */
        op->exception = NULL;
        if (exception == NULL) {
            exception = exception_of(op->pool, err, op->query);
        }
        if (exception == NULL) {
            exception = hp_errors_take();
        }
        hp_listeners_log(op, exception);
        hp_operation_finish(op, NULL, exception);
        return;
    }
    if (op->kind == HP_OP_ACQUIRE) {
        finish_lease(op);
        return;
    }
    if (op->prepared != NULL) {
        hp_prepared_note_status(op->prepared, op->kind, result);
    }
    PyObject *exception = op->exception; /* a part of the result could not be read */
    op->exception = NULL;
    PyObject *value = exception == NULL ? result_of(op, result) : NULL;
    PQclear(result);
    if (value != NULL) {
        hp_listeners_log(op, NULL);
        hp_operation_finish(op, value, NULL);
        return;
    }
    if (exception == NULL) {
        exception = hp_errors_take();
    }
    bool outdated = PyErr_GivenExceptionMatches(exception, op->pool->state->errors.OutdatedSchemaCacheError);
    hp_listeners_log(op, exception);
    hp_operation_finish(op, NULL, exception);
    if (outdated) {
        hp_statements_forget(op->pool); /* this answer is lost, the next one is not */
    }
}

static void
released(hp_request *req)
{
    if (req->kind == HP_REQ_COPY) {
        hp_copy_released(req->user);
        return;
    }
    OperationObject *op = op_of(req);
    op->in_engine = false;
    Py_DECREF(op);
}

/* ---- names ---- */

static const char JOB_NAME[] = "holisticpool.addresses";

/* The task of a resolution is gone without having called back (its loop was
 * closed): nobody else will free the job. */
static void
free_job(PyObject *capsule)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    hp_errand *job = PyCapsule_GetPointer(capsule, JOB_NAME);
    if (job != NULL && PyCapsule_GetContext(capsule) == NULL) {
        hp_errand_addresses(job, 0, NULL, "the event loop is gone");
    }
    PyErr_Restore(type, value, traceback);
}

static void
answer(PyObject *capsule, int n, const char *const *addresses, const char *why)
{
    hp_errand *job = PyCapsule_GetPointer(capsule, JOB_NAME);
    PyCapsule_SetContext(capsule, job); /* answered */
    hp_errand_addresses(job, n, addresses, why);
}

static void
answer_with_error(PyObject *capsule)
{
    PyObject *exception = hp_errors_take();
    PyObject *text = exception ? PyObject_Str(exception) : NULL;
    const char *why = text ? PyUnicode_AsUTF8(text) : NULL;
    answer(capsule, 0, NULL, why ? why : "unknown reason");
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(exception);
}

/* socket.getaddrinfo's list to distinct numeric addresses, in order. */
static void
answer_with_addresses(PyObject *capsule, PyObject *infos)
{
    enum { MOST_ADDRESSES = 64 };
    const char *addresses[MOST_ADDRESSES];
    int n = 0;
    PyObject *list = PySequence_Fast(infos, "getaddrinfo() did not return a sequence");
    Py_ssize_t len = list ? PySequence_Fast_GET_SIZE(list) : 0;
    for (Py_ssize_t i = 0; i < len && n < MOST_ADDRESSES; i++) {
        PyObject *info = PySequence_Fast_GET_ITEM(list, i);
        PyObject *sockaddr = PyTuple_Check(info) && PyTuple_GET_SIZE(info) == 5 ? PyTuple_GET_ITEM(info, 4) : NULL;
        if (sockaddr == NULL || !PyTuple_Check(sockaddr) || PyTuple_GET_SIZE(sockaddr) < 2) {
            continue;
        }
        PyObject *host = PyTuple_GET_ITEM(sockaddr, 0);
        const char *address = PyUnicode_Check(host) ? PyUnicode_AsUTF8(host) : NULL;
        bool known = address == NULL;
        for (int j = 0; j < n && !known; j++) {
            known = strcmp(addresses[j], address) == 0;
        }
        if (!known) {
            addresses[n++] = address;
        }
    }
    if (PyErr_Occurred()) {
        answer_with_error(capsule);
    } else {
        answer(capsule, n, addresses, "no address was found");
    }
    Py_XDECREF(list);
}

static PyObject *
on_resolved(PyObject *capsule, PyObject *task)
{
    PyObject *infos = PyObject_CallMethod(task, "result", NULL);
    if (infos == NULL) {
        answer_with_error(capsule);
    } else {
        answer_with_addresses(capsule, infos);
        Py_DECREF(infos);
    }
    Py_RETURN_NONE;
}

static PyMethodDef on_resolved_def = {"on_resolved", on_resolved, METH_O, NULL};

PyObject *
hp_loop_run(PoolObject *pool, PyObject *awaitable)
{
    if (awaitable == NULL) {
        return NULL;
    }
    PyObject *args = PyTuple_Pack(1, awaitable);
    PyObject *keywords = PyDict_New();
    PyObject *task = NULL;
    if (args != NULL && keywords != NULL && PyDict_SetItem(keywords, pool->state->binding.str_loop, pool->loop) == 0) {
        task = PyObject_Call(pool->state->binding.ensure_future, args, keywords);
    }
    Py_XDECREF(args);
    Py_XDECREF(keywords);
    Py_DECREF(awaitable);
    return task;
}

int
hp_loop_when_done(PoolObject *pool, PyObject *task, PyMethodDef *def, PyObject *self)
{
    PyObject *callback = PyCFunction_New(def, self);
    PyObject *none =
        callback ? PyObject_CallMethodOneArg(task, pool->state->binding.str_add_done_callback, callback) : NULL;
    Py_XDECREF(callback);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

static void
resolve(void *user, hp_errand *job, const char *host, const char *port)
{
    enum { STREAM = 1 }; /* socket.SOCK_STREAM */
    PoolObject *pool = user;
    PyObject *capsule = PyCapsule_New(job, JOB_NAME, free_job);
    if (capsule == NULL) {
        PyErr_Clear();
        hp_errand_addresses(job, 0, NULL, "out of memory");
        return;
    }
    PyObject *method = PyObject_GetAttr(pool->loop, pool->state->binding.str_getaddrinfo);
    PyObject *args = Py_BuildValue("(ss)", host, port);
    PyObject *keywords = Py_BuildValue("{s:i}", "type", STREAM);
    PyObject *awaitable = method && args && keywords ? PyObject_Call(method, args, keywords) : NULL;
    PyObject *task = hp_loop_run(pool, awaitable);
    if (task == NULL || hp_loop_when_done(pool, task, &on_resolved_def, capsule) < 0) {
        answer_with_error(capsule);
    }
    Py_XDECREF(task);
    Py_XDECREF(method);
    Py_XDECREF(args);
    Py_XDECREF(keywords);
    Py_DECREF(capsule);
}

/* ---- init hook ---- */

void
hp_loop_note_raised(PoolObject *pool, hp_error *err, const char *what, bool quoted)
{
    PyObject *exception = hp_errors_take();
    hp_errors_describe(&pool->state->errors, err, exception, what, quoted);
    Py_XSETREF(pool->raised, exception);
}

/* It has failed where an exception is set. */
static void
session_ready(ConnectionObject *connection)
{
    hp_conn *conn = connection->conn;
    hp_error err;
    bool ok = !PyErr_Occurred();
    if (!ok) {
        hp_loop_note_raised(connection->pool, &err, "the init hook of a new connection", true);
    }
    hp_listeners_keep(connection);
    hp_attributes_keep(connection);
    connection->conn = NULL; /* the hook's lease ends here */
    if (conn != NULL) {
        hp_codec_state *state = &connection->pool->state->codec;
        hp_codec_sets_hold(state);
        hp_pool_session_ready(conn, ok ? NULL : &err);
        hp_codec_sets_let_go(state);
    }
}

static PyObject *
on_initialized(PyObject *self, PyObject *task)
{
    PyObject *result = PyObject_CallMethod(task, "result", NULL);
    session_ready((ConnectionObject *)self);
    Py_XDECREF(result);
    Py_RETURN_NONE;
}

static PyMethodDef on_initialized_def = {"on_initialized", on_initialized, METH_O, NULL};

static void
session_opened(void *user, hp_conn *conn)
{
    PoolObject *pool = user;
    PyObject *connection = hp_connection_new(pool, conn);
    if (connection == NULL) {
        hp_error err;
        PyErr_Clear();
        hp_error_set(&err, HP_ERR_NO_MEMORY, "out of memory");
        hp_pool_session_ready(conn, &err);
        return;
    }
    ((ConnectionObject *)connection)->in_init = true;
    PyObject *task = hp_loop_run(pool, PyObject_CallOneArg(pool->on_connect, connection));
    if (task == NULL || hp_loop_when_done(pool, task, &on_initialized_def, connection) < 0) {
        session_ready((ConnectionObject *)connection);
    }
    Py_XDECREF(task);
    Py_DECREF(connection);
}

/* What a session of ours carries is the codecs it was given. */
static void
session_closed(void *user, void *session_user)
{
    (void)user;
    hp_codec_set_unref(session_user);
}

/* ---- the pool as a whole ---- */

static void
opened(void *user, const hp_error *err)
{
    PoolObject *pool = user;
    OperationObject *op = pool->opening;
    pool->opening = NULL;
    if (err != NULL) {
        pool->finished = true;
        hp_loop_stop_reading(pool);
    }
    if (op == NULL) {
        return;
    }
    if (err == NULL) {
        hp_operation_finish(op, Py_NewRef(Py_None), NULL);
        return;
    }
    PyObject *exception = exception_of(pool, err, NULL);
    hp_operation_finish(op, NULL, exception ? exception : hp_errors_take());
}

static void
closed(void *user)
{
    PoolObject *pool = user;
    PyObject *waiting = pool->closing;
    pool->closing = NULL;
    pool->finished = true;
    hp_loop_stop_reading(pool);
    for (Py_ssize_t i = 0; waiting != NULL && i < PyList_GET_SIZE(waiting); i++) {
        OperationObject *op = (OperationObject *)PyList_GET_ITEM(waiting, i);
        hp_operation_finish(op, Py_NewRef(Py_None), NULL);
    }
    Py_XDECREF(waiting);
}

const hp_callbacks hp_loop_callbacks = {
    .described = described,
    .looked_up = looked_up,
    .bind = bind,
    .bind_set = bind_set,
    .hungry = hungry,
    .part = part,
    .renew = renew,
    .done = done,
    .released = released,
    .copy_ready = copy_became_ready,
    .copy_row = copy_row,
    .resolve = resolve,
    .cancel = hp_loop_cancel,
    .ask = hp_errands_ask,
    .withdrawn = hp_errands_withdrawn,
    .session_opened = session_opened,
    .session_closed = session_closed,
    .noticed = hp_listeners_noticed,
    .notified = hp_listeners_notified,
    .session_ended = hp_listeners_ended,
    .listeners_gone = hp_listeners_gone,
    .attributes_gone = hp_attributes_gone,
    .opened = opened,
    .closed = closed,
};

/* ---- the reader ---- */

static PyObject *
on_readable(PyObject *self, PyObject *unused)
{
    PoolObject *pool = (PoolObject *)self;
    hp_codec_state *codec = &pool->state->codec;
    (void)unused;
    if (pool->generation == hp_fork_generation) {
        pool->thread = PyThread_get_thread_ident();
        hp_codec_sets_hold(codec);
        hp_pool_run_reactor(pool->engine);
        hp_codec_sets_let_go(codec);
        if (hp_wakeup_end_run(pool) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyMethodDef on_readable_def = {"on_readable", on_readable, METH_NOARGS, NULL};

int
hp_loop_start_reading(PoolObject *pool)
{
    hp_binding_state *binding = &pool->state->binding;
    PyObject *callback = PyCFunction_New(&on_readable_def, (PyObject *)pool);
    PyObject *fd = PyLong_FromLong(hp_pool_fd(pool->engine));
    PyObject *none =
        callback && fd ? PyObject_CallMethodObjArgs(pool->loop, binding->str_add_reader, fd, callback, NULL) : NULL;
    Py_XDECREF(callback);
    Py_XDECREF(fd);
    Py_XDECREF(none);
    if (none == NULL) {
        return -1;
    }
    pool->reading = true;
    return 0;
}

void
hp_loop_stop_reading(PoolObject *pool)
{
    hp_binding_state *binding = &pool->state->binding;
    PyObject *type, *value, *traceback;
    if (!pool->reading) {
        return;
    }
    pool->reading = false;
    hp_running_forget(pool);
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *is_closed = PyObject_CallMethodNoArgs(pool->loop, binding->str_is_closed);
    if (is_closed != NULL && !PyObject_IsTrue(is_closed)) {
        PyObject *fd = PyLong_FromLong(hp_pool_fd(pool->engine));
        PyObject *done = fd ? PyObject_CallMethodOneArg(pool->loop, binding->str_remove_reader, fd) : NULL;
        Py_XDECREF(fd);
        Py_XDECREF(done);
    }
    Py_XDECREF(is_closed);
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(pool->loop);
    }
    PyErr_Restore(type, value, traceback);
}
