/*
 * coroutine.c - what the coroutines in C have in common: operations, and the
 * awaitables of what is there already (rows.c) or over already (finished.c). What a
 * step of each does is its am_send.
 */
#include "module.h"

PyObject *
hp_coroutine_itself(PyObject *self)
{
    return Py_NewRef(self);
}

/* Raise StopIteration with this value. */
static void
stop(PyObject *value)
{
    /* A tuple or an exception as value would be taken apart by PyErr_SetObject. */
    if (!PyTuple_Check(value) && !PyExceptionInstance_Check(value)) {
        PyErr_SetObject(PyExc_StopIteration, value);
        return;
    }
    PyObject *exception = PyObject_CallOneArg(PyExc_StopIteration, value);
    if (exception != NULL) {
        PyErr_SetObject(PyExc_StopIteration, exception);
        Py_DECREF(exception);
    }
}

PyObject *
hp_coroutine_send(PyObject *self, PyObject *arg)
{
    PyObject *result;
    if (PyIter_Send(self, arg, &result) == PYGEN_RETURN) {
        stop(result);
        Py_CLEAR(result);
    }
    return result;
}

PyObject *
hp_coroutine_next(PyObject *self)
{
    return hp_coroutine_send(self, Py_None);
}

static void
raise_instance(PyObject *exception, PyObject *value, PyObject *traceback)
{
    if (value != NULL) {
        PyErr_SetString(PyExc_TypeError, "instance exception may not have a separate value");
    } else if (traceback == NULL || PyException_SetTraceback(exception, traceback) == 0) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception); /* its traceback is continued */
    }
}

PyObject *
hp_coroutine_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs, void (*end)(PyObject *self))
{
    if (nargs < 1 || nargs > 3) {
        PyErr_Format(PyExc_TypeError, "throw expected 1 to 3 arguments, got %zd", nargs);
        return NULL;
    }
    PyObject *type = args[0];
    PyObject *value = nargs > 1 && args[1] != Py_None ? args[1] : NULL;
    PyObject *traceback = nargs > 2 && args[2] != Py_None ? args[2] : NULL;
    if (traceback != NULL && !PyTraceBack_Check(traceback)) {
        PyErr_SetString(PyExc_TypeError, "throw() third argument must be a traceback object");
        return NULL;
    }
    end(self);
    if (PyExceptionInstance_Check(type)) {
        raise_instance(type, value, traceback);
    } else if (PyExceptionClass_Check(type)) {
        PyErr_Restore(Py_NewRef(type), Py_XNewRef(value), Py_XNewRef(traceback));
    } else {
        PyErr_Format(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException, not %.100s",
                     Py_TYPE(type)->tp_name);
    }
    return NULL;
}
