/*
 * record_iter.c - what iter(record), values() and items() return: one object, two
 * types. It keeps its Record until it is exhausted.
 */
#include "binding/record_parts.h"

typedef struct RecordIterObject {
    PyObject ob_base;
    RecordObject *record; /* NULL when exhausted */
    Py_ssize_t next;
    bool pairs; /* items(): (name, value) tuples */
} RecordIterObject;

static int
RecordIter_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((RecordIterObject *)op)->record);
    return 0;
}

static int
RecordIter_clear(PyObject *op)
{
    Py_CLEAR(((RecordIterObject *)op)->record);
    return 0;
}

static void
RecordIter_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    RecordIter_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
RecordIter_next(PyObject *op)
{
    RecordIterObject *it = (RecordIterObject *)op;
    RecordObject *record = it->record;
    if (record == NULL) {
        return NULL;
    }
    if (it->next >= Py_SIZE(record)) {
        Py_CLEAR(it->record);
        return NULL;
    }
    Py_ssize_t i = it->next++;
    if (it->pairs) {
        return PyTuple_Pack(2, PyTuple_GET_ITEM(record->desc->names, i), record->items[i]);
    }
    Py_INCREF(record->items[i]);
    return record->items[i];
}

static PyObject *
RecordIter_length_hint(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    RecordIterObject *it = (RecordIterObject *)op;
    return PyLong_FromSsize_t(it->record != NULL ? Py_SIZE(it->record) - it->next : 0);
}

static PyMethodDef RecordIter_methods[] = {
    {"__length_hint__", RecordIter_length_hint, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot RecordIter_slots[] = {
    {Py_tp_dealloc, RecordIter_dealloc},
    {Py_tp_traverse, RecordIter_traverse},
    {Py_tp_clear, RecordIter_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, RecordIter_next},
    {Py_tp_methods, RecordIter_methods},
    {0, NULL},
};

static PyType_Spec RecordIter_spec = {
    .name = "holisticpool._core.RecordIterator",
    .basicsize = sizeof(RecordIterObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = RecordIter_slots,
};

static PyType_Spec RecordItems_spec = {
    .name = "holisticpool._core.RecordItemsIterator",
    .basicsize = sizeof(RecordIterObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = RecordIter_slots,
};

PyObject *
hp_record_iterate(PyObject *record, bool pairs)
{
    RecordObject *self = (RecordObject *)record;
    const hp_record_state *state = self->desc->state;
    RecordIterObject *it = PyObject_GC_New(RecordIterObject, pairs ? state->RecordItemsType : state->RecordIterType);
    if (it == NULL) {
        return NULL;
    }
    Py_INCREF(self);
    it->record = self;
    it->next = 0;
    it->pairs = pairs;
    PyObject_GC_Track(it);
    return (PyObject *)it;
}

int
hp_record_iter_init(PyObject *module, hp_record_state *state)
{
    state->RecordIterType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &RecordIter_spec, NULL);
    state->RecordItemsType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &RecordItems_spec, NULL);
    return state->RecordIterType == NULL || state->RecordItemsType == NULL ? -1 : 0;
}
