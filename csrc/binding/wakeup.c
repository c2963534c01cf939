/*
 * wakeup.c - scheduling the done-callbacks of operations, all that one run of the
 * reactor resolves with a single call of loop.call_soon().
 *
 * What asyncio promises stays: callbacks run in the order in which they were
 * scheduled, each in its own context, none from inside the reader. Between two
 * operations that one run resolves nobody else can schedule anything (the reactor
 * runs no code of the user but type codecs), so a batch takes exactly the place
 * that its members would have had next to each other. What is scheduled outside
 * of a run (a cancellation) goes to call_soon() itself.
 *
 * An exception of a callback goes to the loop's exception handler, as a handle of
 * asyncio does it; SystemExit and KeyboardInterrupt end the batch, whose rest is
 * scheduled again.
 *
 * Called by operation.c; hp_wakeup_end_run() by loop.c.
 */
#include "module.h"

/* A batch is a list of triples: callback, operation, context. */
enum { CALLBACK, OPERATION, CONTEXT, TRIPLE };

static int
call_in_context(PyObject *callback, PyObject *op, PyObject *context)
{
    if (PyContext_Enter(context) < 0) {
        return -1;
    }
    PyObject *result = PyObject_CallOneArg(callback, op);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    int rc = PyContext_Exit(context);
    if (rc == 0) {
        PyErr_Restore(type, value, traceback);
    } else {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
    Py_XDECREF(result);
    return rc < 0 || result == NULL ? -1 : 0;
}

static void
report(PyObject *callback, OperationObject *op)
{
    PyObject *exception = hp_errors_take();
    PyObject *message = PyUnicode_FromFormat("Exception in callback %R", callback);
    PyObject *context =
        message && exception ? Py_BuildValue("{s:O,s:O}", "message", message, "exception", exception) : NULL;
    PyObject *done = context ? PyObject_CallMethod(op->pool->loop, "call_exception_handler", "O", context) : NULL;
    if (done == NULL) {
        PyErr_WriteUnraisable(callback);
    }
    Py_XDECREF(done);
    Py_XDECREF(context);
    Py_XDECREF(message);
    Py_XDECREF(exception);
}

/* A lease can also end where the last reference to it goes: by garbage collection,
 * in any thread. The loop refuses call_soon() there, or sleeps on. */
static bool
is_here(const PoolObject *pool)
{
    return PyThread_get_thread_ident() == pool->thread;
}

/* Have the loop call args[0](*args[1:]) soon. */
static int
call_soon(PoolObject *pool, PyObject *const *args, size_t nargs, PyObject *kwnames)
{
    PyObject *method = Py_NewRef(pool->call_soon);
    if (!is_here(pool)) {
        Py_SETREF(method, PyObject_GetAttrString(pool->loop, "call_soon_threadsafe"));
    }
    PyObject *handle = method ? PyObject_Vectorcall(method, args, nargs, kwnames) : NULL;
    Py_XDECREF(method);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

static PyObject *run_batch(PyObject *batch, PyObject *unused);
static PyMethodDef run_batch_def = {"run_wakeups", run_batch, METH_NOARGS, NULL};

static int
schedule_batch(PoolObject *pool, PyObject *batch)
{
    PyObject *run = PyCFunction_New(&run_batch_def, batch);
    int rc = run ? call_soon(pool, &run, 1, NULL) : -1;
    Py_XDECREF(run);
    return rc;
}

/* What is left of a batch that SystemExit or KeyboardInterrupt has ended. */
static void
schedule_rest(PyObject *batch, Py_ssize_t done)
{
    PyObject *type, *value, *traceback;
    if (done >= PyList_GET_SIZE(batch)) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    PoolObject *pool = ((OperationObject *)PyList_GET_ITEM(batch, done + OPERATION))->pool;
    PyObject *rest = PyList_GetSlice(batch, done, PyList_GET_SIZE(batch));
    if (rest == NULL || schedule_batch(pool, rest) < 0) {
        PyErr_WriteUnraisable(batch);
    }
    Py_XDECREF(rest);
    PyErr_Restore(type, value, traceback);
}

/* Steps of tasks mostly: what they ask for next is sent together. */
static int
run_triples(PyObject *batch)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(batch); i += TRIPLE) {
        PyObject *callback = PyList_GET_ITEM(batch, i + CALLBACK);
        PyObject *op = PyList_GET_ITEM(batch, i + OPERATION);
        if (call_in_context(callback, op, PyList_GET_ITEM(batch, i + CONTEXT)) == 0) {
            continue;
        }
        if (PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
            schedule_rest(batch, i + TRIPLE);
            return -1;
        }
        report(callback, (OperationObject *)op);
    }
    return 0;
}

static PyObject *
run_batch(PyObject *batch, PyObject *unused)
{
    (void)unused;
    PyObject *pool = Py_NewRef(((OperationObject *)PyList_GET_ITEM(batch, OPERATION))->pool);
    hp_pool *engine = ((PoolObject *)pool)->engine;
    hp_env_cork(&engine->env);
    int rc = run_triples(batch);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (((PoolObject *)pool)->generation == hp_fork_generation) { /* else the sockets are the parent's */
        hp_env_uncork(&engine->env);
    }
    PyErr_Restore(type, value, traceback);
    Py_DECREF(pool);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static int
join_batch(OperationObject *op, PyObject *callback, PyObject *context)
{
    PoolObject *pool = op->pool;
    if (pool->batch == NULL) {
        pool->batch = PyList_New(0);
        if (pool->batch == NULL || schedule_batch(pool, pool->batch) < 0) {
            Py_CLEAR(pool->batch);
            return -1;
        }
    }
    if (PyList_Append(pool->batch, callback) < 0 || PyList_Append(pool->batch, (PyObject *)op) < 0 ||
        PyList_Append(pool->batch, context) < 0) {
        Py_ssize_t whole = PyList_GET_SIZE(pool->batch) / TRIPLE * TRIPLE;
        PyList_SetSlice(pool->batch, whole, PyList_GET_SIZE(pool->batch), NULL);
        return -1;
    }
    return 0;
}

void
hp_wakeup_schedule(OperationObject *op, PyObject *callback, PyObject *context)
{
    int rc;
    if (op->pool->engine->in_run) {
        rc = join_batch(op, callback, context);
    } else {
        PyObject *args[] = {callback, (PyObject *)op, context};
        rc = call_soon(op->pool, args, 2, op->pool->state->binding.kw_context);
    }
    if (rc < 0) {
        PyErr_WriteUnraisable(callback); /* the loop is closed: nobody waits any more */
    }
}

void
hp_wakeup_end_run(PoolObject *pool)
{
    Py_CLEAR(pool->batch); /* the loop has it */
}

bool
hp_wakeup_make_way(PoolObject *pool)
{
    hp_wakeup_end_run(pool);
    return is_here(pool);
}
