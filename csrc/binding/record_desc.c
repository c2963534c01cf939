/*
 * record_desc.c - RecordDesc, the column map that the rows of a statement share:
 * made once per statement, immutable, never seen by Python code.
 */
#include "binding/record_parts.h"

static int
RecordDesc_traverse(PyObject *self, visitproc visit, void *arg)
{
    RecordDescObject *desc = (RecordDescObject *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(desc->names);
    Py_VISIT(desc->positions);
    return 0;
}

static void
RecordDesc_dealloc(PyObject *self)
{
    RecordDescObject *desc = (RecordDescObject *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(desc->names);
    Py_CLEAR(desc->positions);
    type->tp_free(self);
    Py_DECREF(type);
}

/* New reference: the dict from each of `names` to its position. */
static PyObject *
number_names(PyObject *names)
{
    PyObject *positions = PyDict_New();
    for (Py_ssize_t i = 0; positions != NULL && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *position = PyLong_FromSsize_t(i);
        if (position == NULL || PyDict_SetItem(positions, PyTuple_GET_ITEM(names, i), position) < 0) {
            Py_CLEAR(positions);
        }
        Py_XDECREF(position);
    }
    return positions;
}

/* New reference: a tuple of the same names, interned. */
static PyObject *
intern_names(PyObject *names)
{
    PyObject *interned = PyTuple_New(PyTuple_GET_SIZE(names));
    for (Py_ssize_t i = 0; interned != NULL && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        if (!PyUnicode_Check(name)) {
            PyErr_Format(PyExc_TypeError, "a column name must be str, not %.100s", Py_TYPE(name)->tp_name);
            Py_DECREF(interned);
            return NULL;
        }
        Py_INCREF(name);
        PyUnicode_InternInPlace(&name);
        PyTuple_SET_ITEM(interned, i, name);
    }
    return interned;
}

PyObject *
hp_record_desc_new(hp_record_state *state, PyObject *names)
{
    PyObject *interned = intern_names(names);
    PyObject *positions = interned != NULL ? number_names(interned) : NULL;
    RecordDescObject *desc = positions != NULL ? PyObject_GC_New(RecordDescObject, state->RecordDescType) : NULL;
    if (desc == NULL) {
        Py_XDECREF(interned);
        Py_XDECREF(positions);
        return NULL;
    }
    desc->names = interned;
    desc->positions = positions;
    desc->state = state;
    PyObject_GC_Track(desc);
    return (PyObject *)desc;
}

static PyType_Slot RecordDesc_slots[] = {
    {Py_tp_traverse, RecordDesc_traverse},
    {Py_tp_dealloc, RecordDesc_dealloc},
    {0, NULL},
};

static PyType_Spec RecordDesc_spec = {
    .name = "holisticpool._core.RecordDesc",
    .basicsize = sizeof(RecordDescObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = RecordDesc_slots,
};

int
hp_record_desc_init(PyObject *module, hp_record_state *state)
{
    state->RecordDescType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &RecordDesc_spec, NULL);
    return state->RecordDescType == NULL ? -1 : 0;
}
