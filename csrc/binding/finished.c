/*
 * finished.c - the awaitable of a call that has taken effect already, such as
 * Pool.release(): one stateless object for all, a coroutine that ends at once
 * and can be awaited any number of times.
 */
#include "module.h"

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

static void
finished_end(PyObject *self)
{
    (void)self;
}

static PyObject *
finished_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return hp_coroutine_throw(self, args, nargs, finished_end);
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
    {"send", hp_coroutine_send, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))finished_throw, METH_FASTCALL, NULL},
    {"close", finished_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot finished_slots[] = {
    {Py_tp_doc, "The awaitable of a call that has taken effect already."},
    {Py_tp_dealloc, finished_dealloc},
    {Py_tp_iter, hp_coroutine_itself},
    {Py_tp_iternext, finished_next},
    {Py_am_await, hp_coroutine_itself},
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
