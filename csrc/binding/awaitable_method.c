/*
 * awaitable_method.c - see awaitable_method.h.
 */
#include "binding/awaitable_method.h"

#include <stddef.h>
#include <structmember.h>

typedef PyObject *(*fast_function)(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

typedef struct MethodObject {
    PyObject_HEAD vectorcallfunc vectorcall;
    PyObject *method;       /* CPython's descriptor */
    fast_function function; /* what it calls, where that is METH_FASTCALL | METH_KEYWORDS; or NULL */
} MethodObject;

/* The hot ones without a detour over the descriptor, which refuses what is wrong. */
static PyObject *
method_vectorcall(PyObject *object, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    MethodObject *self = (MethodObject *)object;
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (self->function != NULL && nargs > 0 && PyObject_TypeCheck(args[0], PyDescr_TYPE(self->method))) {
        return self->function(args[0], args + 1, nargs - 1, kwnames);
    }
    return PyObject_Vectorcall(self->method, args, nargsf, kwnames);
}

static PyObject *
method_bind(PyObject *self, PyObject *object, PyObject *type)
{
    (void)type;
    return object == NULL || object == Py_None ? Py_NewRef(self) : PyMethod_New(self, object);
}

static PyObject *
method_repr(PyObject *self)
{
    return PyObject_Repr(((MethodObject *)self)->method);
}

/* Its name, documentation and signature are the descriptor's. */
static PyObject *
get_of_method(PyObject *self, void *name)
{
    return PyObject_GetAttrString(((MethodObject *)self)->method, name);
}

/* As a descriptor is: by the name of its type and its own. */
static PyObject *
method_reduce(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyObject_CallMethod(((MethodObject *)self)->method, "__reduce__", NULL);
}

static int
method_traverse(MethodObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->method);
    return 0;
}

static int
method_clear(MethodObject *self)
{
    Py_CLEAR(self->method);
    return 0;
}

static void
method_dealloc(MethodObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    method_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef method_methods[] = {
    {"__reduce__", method_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef method_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(MethodObject, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef method_getset[] = {
    {"__name__", get_of_method, NULL, NULL, "__name__"},
    {"__qualname__", get_of_method, NULL, NULL, "__qualname__"},
    {"__doc__", get_of_method, NULL, NULL, "__doc__"},
    {"__text_signature__", get_of_method, NULL, NULL, "__text_signature__"},
    {"__objclass__", get_of_method, NULL, NULL, "__objclass__"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot method_slots[] = {
    {Py_tp_dealloc, method_dealloc}, {Py_tp_traverse, method_traverse},
    {Py_tp_clear, method_clear},     {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, method_bind},  {Py_tp_repr, method_repr},
    {Py_tp_methods, method_methods}, {Py_tp_members, method_members},
    {Py_tp_getset, method_getset},   {0, NULL},
};

static PyType_Spec method_spec = {
    .name = "holisticpool._core.AwaitableMethod",
    .basicsize = sizeof(MethodObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = method_slots,
};

int
hp_awaitable_method_type_init(PyObject *module, hp_binding_state *state)
{
    state->AwaitableMethodType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &method_spec, NULL);
    return state->AwaitableMethodType ? PyModule_AddType(module, state->AwaitableMethodType) : -1;
}

static fast_function
fast_function_of(PyObject *method)
{
    const PyMethodDef *def = ((PyMethodDescrObject *)method)->d_method;
    bool fast = def->ml_flags == (METH_FASTCALL | METH_KEYWORDS);
    return fast ? (fast_function)(void (*)(void))def->ml_meth : NULL;
}

/* Steals `method`, which may be NULL. */
static PyObject *
new_method(PyTypeObject *type, PyObject *method)
{
    MethodObject *self = method ? (MethodObject *)type->tp_alloc(type, 0) : NULL;
    if (self == NULL) {
        Py_XDECREF(method);
        return NULL;
    }
    self->vectorcall = method_vectorcall;
    self->method = method;
    self->function = fast_function_of(method);
    return (PyObject *)self;
}

int
hp_awaitable_methods(hp_binding_state *state, PyTypeObject *type, const char *const *names)
{
    for (; *names != NULL; names++) {
        PyObject *made = new_method(state->AwaitableMethodType, PyObject_GetAttrString((PyObject *)type, *names));
        int rc = made ? PyObject_SetAttrString((PyObject *)type, *names, made) : -1;
        Py_XDECREF(made);
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}
