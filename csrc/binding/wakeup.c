/*
 * wakeup.c - the done-callbacks of operations: all that one run of the reactor
 * resolves are called as one batch, by a single loop.call_soon() or, where that is
 * the same, as soon as the engine is off the stack.
 *
 * What asyncio promises stays: callbacks run in the order in which they were
 * scheduled, each in its own context. Between two operations that one run resolves
 * nobody else can schedule anything (the reactor runs no code of the user but type
 * codecs), so a batch takes exactly the place that its members would have had next
 * to each other. What is scheduled outside of a run (a cancellation) goes to
 * call_soon() itself, and so does what is not the wake-up of a task of asyncio's own.
 *
 * A task that a batch resumes may give a lease back that the next task waits for. Such
 * wake-ups are a batch of their own, as long as nobody schedules anything in between:
 * its handle is the last one that the loop has to call.
 *
 * A callback that call_soon() is given while the loop has nothing else to call is
 * the first thing that the loop does next: before what its selector reports then,
 * and before timers. So nobody can tell whether the batch runs after the reader, or
 * at its end. Whether the loop has something else to call only asyncio's own loops
 * say (uvloop's do not), and one that is to stop, or that debugs, calls all itself.
 *
 * A task of asyncio's own asks what wakes it up for its result: by name, unless that
 * is a future of asyncio's own. Where the operation has nothing to say (send() gives
 * its answer), such a future that is done takes its place.
 *
 * An exception of a callback goes to the loop's exception handler, as a handle of
 * asyncio does it; SystemExit and KeyboardInterrupt end the batch, whose rest is
 * scheduled again.
 *
 * Called by operation.c; hp_wakeup_end_run() by loop.c.
 */
#include "module.h"

#include <string.h>

/* A batch is a list of triples: callback, operation, context. */
enum { CALLBACK, OPERATION, CONTEXT, TRIPLE };

/* ---- the loop ---- */

/* Does the loop do this with asyncio's own method? */
static bool
is_own(PoolObject *pool, PyObject *name)
{
    PyObject *method = PyObject_GetAttr(pool->loop, name);
    PyObject *own = method ? PyObject_GetAttr(pool->state->binding.BaseEventLoop, name) : NULL;
    bool is = own != NULL && PyMethod_Check(method) && PyMethod_GET_FUNCTION(method) == own;
    Py_XDECREF(method);
    Py_XDECREF(own);
    return is;
}

/* New reference. */
static PyObject *
done_future(PoolObject *pool)
{
    hp_binding_state *binding = &pool->state->binding;
    PyObject *none = PyTuple_New(0);
    PyObject *keywords = PyDict_New();
    PyObject *future = NULL;
    if (none != NULL && keywords != NULL && PyDict_SetItem(keywords, binding->str_loop, pool->loop) == 0) {
        future = PyObject_Call(binding->Future, none, keywords);
    }
    PyObject *done = future ? PyObject_CallMethod(future, "set_result", "O", Py_None) : NULL;
    if (done == NULL) {
        Py_CLEAR(future);
    }
    Py_XDECREF(done);
    Py_XDECREF(keywords);
    Py_XDECREF(none);
    return future;
}

int
hp_wakeup_init(PoolObject *pool)
{
    hp_binding_state *binding = &pool->state->binding;
    pool->call_soon = PyObject_GetAttr(pool->loop, binding->str_call_soon);
    pool->answered = pool->call_soon ? done_future(pool) : NULL;
    if (pool->answered == NULL) {
        return -1;
    }
    if (PyObject_IsInstance(pool->loop, binding->BaseEventLoop) > 0 && is_own(pool, binding->str_call_soon) &&
        is_own(pool, binding->str_run_once)) {
        pool->ready = PyObject_GetAttr(pool->loop, binding->str_ready);
    }
    PyErr_Clear(); /* then the loop is asked for each batch, as any other loop */
    return 0;
}

static bool
is_false(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(object, name);
    int truth = value ? PyObject_IsTrue(value) : -1;
    Py_XDECREF(value);
    PyErr_Clear();
    return truth == 0;
}

/* Would the loop call next what it is given now? */
static bool
is_next(PoolObject *pool)
{
    hp_binding_state *binding = &pool->state->binding;
    bool is_idle = pool->ready != NULL && PyObject_Size(pool->ready) == 0;
    PyErr_Clear();
    return is_idle && is_false(pool->loop, binding->str_stopping) && is_false(pool->loop, binding->str_debug);
}

/* A loop that nests others, as some patch asyncio for, must find each wake-up by
 * itself; it uses tasks in Python. */
static bool
is_wakeup(const PoolObject *pool, PyObject *callback)
{
    hp_binding_state *binding = &pool->state->binding;
    if (!PyCFunction_Check(callback)) {
        return false;
    }
    if (binding->task_wakeup != NULL && PyCFunction_GET_FUNCTION(callback) == binding->task_wakeup) {
        return true;
    }
    PyObject *self = PyCFunction_GET_SELF(callback);
    if (self == NULL || !PyObject_TypeCheck(self, (PyTypeObject *)binding->Task)) {
        return false;
    }
    if (strcmp(((PyCFunctionObject *)callback)->m_ml->ml_name, "task_wakeup") == 0) {
        binding->task_wakeup = PyCFunction_GET_FUNCTION(callback);
    }
    return true;
}

/* Borrowed: what the callback is called with. */
static PyObject *
argument_of(PyObject *callback, PyObject *operation)
{
    OperationObject *op = (OperationObject *)operation;
    if (op->state != HP_OP_DONE || op->cancelled ||
        PyCFunction_GET_FUNCTION(callback) != op->pool->state->binding.task_wakeup) {
        return operation;
    }
    return op->pool->answered;
}

/* ---- calling ---- */

static int
call_in_context(PyObject *callback, PyObject *argument, PyObject *context)
{
    if (PyContext_Enter(context) < 0) {
        return -1;
    }
    PyObject *result = PyObject_CallOneArg(callback, argument);
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

/* Have the loop call args[0](*args[1:]) soon. New reference: its handle. */
static PyObject *
call_soon(PoolObject *pool, PyObject *const *args, size_t nargs, PyObject *kwnames)
{
    PyObject *method = Py_NewRef(pool->call_soon);
    if (!is_here(pool)) {
        Py_SETREF(method, PyObject_GetAttrString(pool->loop, "call_soon_threadsafe"));
    }
    PyObject *handle = method ? PyObject_Vectorcall(method, args, nargs, kwnames) : NULL;
    Py_XDECREF(method);
    return handle;
}

static PyObject *run_batch(PyObject *batch, PyObject *unused);
static PyMethodDef run_batch_def = {"run_wakeups", run_batch, METH_NOARGS, NULL};

/* New reference: the handle; NULL with an exception. */
static PyObject *
schedule(PoolObject *pool, PyObject *batch)
{
    PyObject *run = PyCFunction_New(&run_batch_def, batch);
    PyObject *handle = run ? call_soon(pool, &run, 1, NULL) : NULL;
    Py_XDECREF(run);
    return handle;
}

static int
schedule_batch(PoolObject *pool, PyObject *batch)
{
    PyObject *handle = schedule(pool, batch);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
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
        if (call_in_context(callback, argument_of(callback, op), PyList_GET_ITEM(batch, i + CONTEXT)) == 0) {
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

static int
run(PyObject *batch)
{
    if (PyList_GET_SIZE(batch) == 0) {
        return 0; /* there was no memory to join it */
    }
    PoolObject *pool = ((OperationObject *)PyList_GET_ITEM(batch, OPERATION))->pool;
    Py_INCREF(pool);
    hp_env_cork(&pool->engine->env);
    pool->resuming = true;
    int rc = run_triples(batch);
    pool->resuming = false;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    Py_CLEAR(pool->later); /* the loop has it */
    Py_CLEAR(pool->later_handle);
    if (pool->generation == hp_fork_generation) { /* else the sockets are the parent's */
        hp_env_uncork(&pool->engine->env);
    }
    PyErr_Restore(type, value, traceback);
    Py_DECREF(pool);
    return rc;
}

static PyObject *
run_batch(PyObject *batch, PyObject *unused)
{
    (void)unused;
    if (run(batch) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- gathering ---- */

/* What comes later is another batch. */
static void
close_batch(PoolObject *pool)
{
    if (pool->batch != NULL && pool->batch_is_ours && schedule_batch(pool, pool->batch) < 0) {
        PyErr_WriteUnraisable(pool->batch);
    }
    Py_CLEAR(pool->batch); /* the loop has it */
}

static int
add_triple(PyObject *batch, PyObject *callback, OperationObject *op, PyObject *context)
{
    if (PyList_Append(batch, callback) == 0 && PyList_Append(batch, (PyObject *)op) == 0 &&
        PyList_Append(batch, context) == 0) {
        return 0;
    }
    Py_ssize_t whole = PyList_GET_SIZE(batch) / TRIPLE * TRIPLE;
    PyList_SetSlice(batch, whole, PyList_GET_SIZE(batch), NULL);
    return -1;
}

static int
join_batch(OperationObject *op, PyObject *callback, PyObject *context)
{
    PoolObject *pool = op->pool;
    if (pool->batch == NULL) {
        pool->batch = PyList_New(0);
        pool->batch_is_ours = is_next(pool);
        if (pool->batch == NULL || (!pool->batch_is_ours && schedule_batch(pool, pool->batch) < 0)) {
            Py_CLEAR(pool->batch);
            return -1;
        }
    }
    return add_triple(pool->batch, callback, op, context);
}

/* Has nobody scheduled anything since pool->later? */
static bool
later_is_last(PoolObject *pool)
{
    Py_ssize_t n = pool->later_handle ? PySequence_Size(pool->ready) : 0;
    PyObject *last = n > 0 ? PySequence_GetItem(pool->ready, n - 1) : NULL;
    PyErr_Clear();
    Py_XDECREF(last);
    return last != NULL && last == pool->later_handle;
}

/* While a batch runs, in a loop that shows what it is to call. */
static int
join_later(OperationObject *op, PyObject *callback, PyObject *context)
{
    PoolObject *pool = op->pool;
    if (!later_is_last(pool)) {
        Py_CLEAR(pool->later_handle);
        Py_XSETREF(pool->later, PyList_New(0));
        pool->later_handle = pool->later ? schedule(pool, pool->later) : NULL;
        if (pool->later_handle == NULL) {
            return -1;
        }
    }
    return add_triple(pool->later, callback, op, context);
}

static int
call_by_loop(OperationObject *op, PyObject *callback, PyObject *argument, PyObject *context)
{
    PyObject *args[] = {callback, argument, context};
    close_batch(op->pool);
    PyObject *handle = call_soon(op->pool, args, 2, op->pool->state->binding.kw_context);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

void
hp_wakeup_schedule(OperationObject *op, PyObject *callback, PyObject *context)
{
    PoolObject *pool = op->pool;
    int rc;
    if (!is_wakeup(pool, callback)) {
        rc = call_by_loop(op, callback, (PyObject *)op, context);
    } else if (pool->engine->in_run) {
        rc = join_batch(op, callback, context);
    } else if (pool->resuming && pool->ready != NULL && is_here(pool)) {
        rc = join_later(op, callback, context);
    } else {
        rc = call_by_loop(op, callback, argument_of(callback, (PyObject *)op), context);
    }
    if (rc < 0) {
        PyErr_WriteUnraisable(callback); /* the loop is closed: nobody waits any more */
    }
}

int
hp_wakeup_end_run(PoolObject *pool)
{
    PyObject *batch = pool->batch_is_ours ? pool->batch : NULL;
    if (batch == NULL) {
        close_batch(pool);
        return 0;
    }
    pool->batch = NULL;
    int rc = run(batch);
    Py_DECREF(batch);
    return rc;
}

bool
hp_wakeup_make_way(PoolObject *pool)
{
    close_batch(pool);
    return is_here(pool);
}
