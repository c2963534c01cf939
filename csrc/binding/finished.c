/*
 * finished.c - the awaitable of a call that has taken effect already, such as
 * Pool.release(): one stateless object for all, a coroutine that ends at once
 * and can be awaited any number of times.
 */
#include "module.h"

static PyObject *
itself(PyObject *self)
{
    return Py_NewRef(self);
}

static PySendResult
finished_send_result(PyObject *self, PyObject *arg, PyObject **result)
{
    (void)self;
    (void)arg;
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static PyObject *
finished_next(PyObject *self)
{
    (void)self;
    return NULL; /* StopIteration with None */
}

static PyObject *
finished_send(PyObject *self, PyObject *arg)
{
    (void)self;
    (void)arg;
    PyErr_SetNone(PyExc_StopIteration);
    return NULL;
}

static PyObject *
finished_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)self;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "throw expected at least 1 argument");
        return NULL;
    }
    if (PyExceptionInstance_Check(args[0])) {
        PyErr_SetObject((PyObject *)Py_TYPE(args[0]), args[0]);
    } else if (PyExceptionClass_Check(args[0])) {
        PyErr_SetObject(args[0], nargs > 1 ? args[1] : NULL);
    } else {
        PyErr_Format(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException, not %.100s",
                     Py_TYPE(args[0])->tp_name);
    }
    return NULL;
}

static PyObject *
finished_close(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_NONE;
}

static void
finished_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMethodDef finished_methods[] = {
    {"send", finished_send, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))finished_throw, METH_FASTCALL, NULL},
    {"close", finished_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot finished_slots[] = {
    {Py_tp_doc, "The awaitable of a call that has taken effect already."},
    {Py_tp_dealloc, finished_dealloc},
    {Py_tp_iter, itself},
    {Py_tp_iternext, finished_next},
    {Py_am_await, itself},
    {Py_am_send, finished_send_result},
    {Py_tp_methods, finished_methods},
    {0, NULL},
};

static PyType_Spec finished_spec = {
    .name = "holisticpool._core.Finished",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = finished_slots,
};

int
hp_finished_type_init(PyObject *module, hp_binding_state *state)
{
    state->FinishedType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &finished_spec, NULL);
    if (state->FinishedType == NULL) {
        return -1;
    }
    state->finished = (PyObject *)PyObject_New(PyObject, state->FinishedType);
    return state->finished ? 0 : -1;
}
