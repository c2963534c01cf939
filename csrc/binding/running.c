/*
 * running.c - is the pool's loop the one that runs in this thread?
 *
 * Asked at every start of an operation. The answer is asyncio's, from the function
 * behind get_running_loop(), which before CPython 3.12 makes a system call each time;
 * what is asked first costs less, and says either yes or nothing:
 *
 * - a batch of wake-ups is being called in this thread (wakeup.c);
 * - asyncio's own loops have the thread they run in as attribute;
 * - asyncio keeps what runs in a thread in that thread's dict: the loop, or an object
 *   that it makes for each run of a loop, and for each end of one. While it is the
 *   same object as when asyncio was asked last, the answer is the same. A CPython
 *   that keeps it elsewhere has nothing there.
 *
 * That object is held, so that no other one can have its address, and it holds its
 * loop. So there is one for the module, of loops other than asyncio's own only, and no
 * longer than the pool is open: a loop that is forgotten without being closed is left
 * to the garbage collector.
 */
#include "module.h"

/* Borrowed: what asyncio has of the loop that runs in this thread, or NULL. */
static PyObject *
run_of_thread(const hp_binding_state *binding)
{
    PyObject *dict = PyThreadState_GetDict();
    PyObject *run = dict ? PyDict_GetItemWithError(dict, binding->str_running) : NULL;
    if (run == NULL) {
        PyErr_Clear();
    }
    return run;
}

/* Asyncio has said that the pool's loop runs here. */
static void
remember(PoolObject *pool)
{
    hp_binding_state *binding = &pool->state->binding;
    PyObject *run = run_of_thread(binding);
    if (run == NULL || run == pool->loop || pool->finished ||
        PyObject_IsInstance(pool->loop, binding->BaseEventLoop) != 0) {
        PyErr_Clear();
        return;
    }
    binding->run_loop = pool->loop;
    Py_XSETREF(binding->run, Py_NewRef(run));
}

void
hp_running_forget(PoolObject *pool)
{
    hp_binding_state *binding = pool->state ? &pool->state->binding : NULL;
    if (binding != NULL && binding->run_loop == pool->loop) {
        binding->run_loop = NULL;
        Py_CLEAR(binding->run);
    }
}

static bool
runs_in_thread(PyObject *loop, PyObject *str_thread_id, unsigned long here)
{
    PyObject *thread = PyObject_GetAttr(loop, str_thread_id);
    bool same = thread != NULL && PyLong_Check(thread) && PyLong_AsUnsignedLong(thread) == here;
    Py_XDECREF(thread);
    if (!same) {
        PyErr_Clear();
    }
    return same;
}

static bool
is_known_to_run(PoolObject *pool, unsigned long here)
{
    hp_binding_state *binding = &pool->state->binding;
    if (pool->resuming && pool->thread == here) {
        return true; /* no other loop runs inside a task of asyncio's own */
    }
    if (pool->ready != NULL) {
        return runs_in_thread(pool->loop, binding->str_thread_id, here);
    }
    PyObject *run = run_of_thread(binding);
    return run != NULL && (run == pool->loop || (run == binding->run && binding->run_loop == pool->loop));
}

int
hp_running_check(PoolObject *pool)
{
    unsigned long here = PyThread_get_thread_ident();
    if (is_known_to_run(pool, here)) {
        pool->thread = here;
        return 0;
    }
    PyObject *running = PyObject_CallNoArgs(pool->state->binding.get_running_loop);
    if (running == NULL) {
        return -1;
    }
    bool same = running == pool->loop;
    Py_DECREF(running);
    if (!same) {
        PyErr_SetString(pool->state->errors.InterfaceError,
                        "the pool belongs to another event loop than the one that is running");
        return -1;
    }
    pool->thread = here;
    remember(pool);
    return 0;
}
