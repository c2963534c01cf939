/*
 * cancel.c - cancel requests by TLS: the engine's callback, answered by a task of
 * the pool's loop that runs holisticpool.cancel.send_cancel(). Asked by the engine
 * with libpq before 17 only.
 *
 * The task needs nobody: not the operation that is cancelled, and not the pool.
 * A capsule holds the job; who drops the last reference to it, without an answer,
 * answers that the loop is gone.
 */
#include "module.h"

#include "engine/cancel.h"

#include <string.h>

static const char JOB_NAME[] = "holisticpool.cancel";

static void
free_job(PyObject *capsule)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    hp_cancel *job = PyCapsule_GetPointer(capsule, JOB_NAME);
    if (job != NULL && PyCapsule_GetContext(capsule) == NULL) {
        hp_cancel_done(job, "the event loop is gone");
    }
    PyErr_Restore(type, value, traceback);
}

static PyObject *
on_sent(PyObject *capsule, PyObject *task)
{
    hp_cancel *job = PyCapsule_GetPointer(capsule, JOB_NAME);
    PyObject *result = PyObject_CallMethod(task, "result", NULL);
    PyObject *exception = result ? NULL : hp_errors_take();
    PyObject *text = exception ? PyObject_Str(exception) : NULL;
    const char *why = text ? PyUnicode_AsUTF8(text) : NULL;
    if (result == NULL && (why == NULL || why[0] == '\0')) {
        why = "the task that sends it was cancelled";
    }
    PyErr_Clear();
    PyCapsule_SetContext(capsule, job); /* answered */
    hp_cancel_done(job, result ? NULL : why);
    Py_XDECREF(result);
    Py_XDECREF(exception);
    Py_XDECREF(text);
    Py_RETURN_NONE;
}

static PyMethodDef on_sent_def = {"on_sent", on_sent, METH_O, NULL};

/* New reference: libpq's parameters about TLS, as the session was opened with. */
static PyObject *
tls_parameters(const hp_conn *conn)
{
    PQconninfoOption *options = PQconninfo(conn->pg);
    if (options == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *dict = PyDict_New();
    for (const PQconninfoOption *option = options; dict != NULL && option->keyword != NULL; option++) {
        if (option->val == NULL || strncmp(option->keyword, "ssl", 3) != 0) {
            continue;
        }
        PyObject *value = PyUnicode_DecodeFSDefault(option->val);
        if (value == NULL || PyDict_SetItemString(dict, option->keyword, value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(value);
    }
    PQconninfoFree(options);
    return dict;
}

/* Does the loop say so by this method? False where it cannot be asked. */
static bool
loop_says(PoolObject *pool, const char *method)
{
    PyObject *answer = PyObject_CallMethod(pool->loop, method, NULL);
    bool yes = answer != NULL && PyObject_IsTrue(answer) == 1;
    PyErr_Clear();
    Py_XDECREF(answer);
    return yes;
}

/* New reference: the future that runs a coroutine (stolen), for a thread that is
 * not the loop's: the last reference to an operation may go in any. */
static PyObject *
run_from_elsewhere(PoolObject *pool, PyObject *coroutine)
{
    PyObject *module = coroutine ? PyImport_ImportModule("asyncio") : NULL;
    PyObject *future =
        module ? PyObject_CallMethod(module, "run_coroutine_threadsafe", "OO", coroutine, pool->loop) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(coroutine);
    return future;
}

/* New reference: the coroutine that sends the request. */
static PyObject *
request_to(const hp_conn *conn)
{
    double seconds = (double)conn->env->cancel_timeout / (double)HP_SECOND;
    PyObject *parameters = tls_parameters(conn);
    PyObject *module = parameters ? PyImport_ImportModule("holisticpool.cancel") : NULL;
    PyObject *coroutine =
        module ? PyObject_CallMethod(module, "send_cancel", "sssOiid", PQhost(conn->pg), PQhostaddr(conn->pg),
                                     PQport(conn->pg), parameters, PQbackendPID(conn->pg), conn->backend_key, seconds)
               : NULL;
    Py_XDECREF(parameters);
    Py_XDECREF(module);
    return coroutine;
}

int
hp_loop_cancel(void *user, hp_cancel *job, const hp_conn *conn, bool last)
{
    PoolObject *pool = user;
    PyObject *type, *value, *traceback;
    int rc = -1;
    PyErr_Fetch(&type, &value, &traceback);
    /* A task of a loop that does not run any more would be noise. */
    if (loop_says(pool, "is_closed") || (last && !loop_says(pool, "is_running"))) {
        PyErr_Restore(type, value, traceback);
        return -1;
    }
    PyObject *capsule = PyCapsule_New(job, JOB_NAME, NULL);
    PyObject *coroutine = capsule ? request_to(conn) : NULL;
    PyObject *task = pool->thread == PyThread_get_thread_ident() ? hp_loop_run(pool, coroutine)
                                                                 : run_from_elsewhere(pool, coroutine);
    if (task != NULL && hp_loop_when_done(pool, task, &on_sent_def, capsule) == 0) {
        PyCapsule_SetDestructor(capsule, free_job);
        rc = 0;
    } else {
        PyErr_WriteUnraisable(pool->loop);
    }
    Py_XDECREF(task);
    Py_XDECREF(capsule);
    PyErr_Restore(type, value, traceback);
    return rc;
}
