/*
 * record.c - Record, one row: the values, and a RecordDesc that knows the names.
 *
 * To Python a Record is a sequence of its values (index, slice, iteration,
 * comparison and hash as the tuple of them) that also answers to column names
 * (record["name"], get, keys, items, `in`). It is immutable. Statements make
 * Records; Python code can subclass but not call the class. A pickle or copy goes
 * through the class method _restore(names, values).
 *
 * Objects and ownership: a Record owns its values and its RecordDesc; the
 * RecordDesc points to the module's hp_record_state, which lives as long as the
 * type of the RecordDesc does. So no lookup of the module is needed on the way.
 *
 * Garbage collection: rows of numbers, text and dates cannot be part of a cycle
 * and are never tracked (see hp_record_finish), which is what makes results of a
 * million rows cheap for the collector. There is no tp_clear: a Record is
 * complete before anything can point to it, so a cycle always passes through an
 * object that can be cleared. Freed small Records are kept for reuse by length.
 */
#include "binding/record_parts.h"
#include "module.h"

#include <string.h>

static const char *
short_type_name(PyObject *self)
{
    const char *name = Py_TYPE(self)->tp_name;
    const char *dot = strrchr(name, '.');
    return dot != NULL ? dot + 1 : name;
}

/* ---- allocation of Records ---- */

static Py_ssize_t
bytes_of(Py_ssize_t n)
{
    return (Py_ssize_t)sizeof(RecordObject) + n * (Py_ssize_t)sizeof(PyObject *);
}

/* The memory of a Record of this length, which must be there. */
static RecordObject *
pop_free(hp_record_state *state, Py_ssize_t n)
{
    RecordObject *self = (RecordObject *)state->free[n];
    state->free[n] = (PyObject *)self->desc;
    state->free_bytes -= bytes_of(n);
    state->free_count[n]--;
    return self;
}

/* A Record from the free list, or NULL (no exception) where there is none. */
static RecordObject *
take_free(hp_record_state *state, Py_ssize_t n)
{
    if (n >= HP_RECORD_FREE_LENGTHS || state->free[n] == NULL) {
        return NULL;
    }
    RecordObject *self = pop_free(state, n);
    self->desc = NULL;
    return (RecordObject *)PyObject_InitVar((PyVarObject *)self, state->RecordType, n);
}

/* Make room by giving up a Record of another length, so that a large result of one
 * statement does not keep out the rows of all others. false: there is none. */
static bool
evict_other(hp_record_state *state, Py_ssize_t n)
{
    if (state->free_bytes == state->free_count[n] * bytes_of(n)) {
        return false;
    }
    while (state->evict == n || state->free[state->evict] == NULL) {
        state->evict = (state->evict + 1) % HP_RECORD_FREE_LENGTHS;
    }
    PyObject_GC_Del(pop_free(state, state->evict));
    return true;
}

/* Keep the memory of a dead Record, whose members are released; false: full. The
 * member `desc` links the list. */
static bool
keep_free(hp_record_state *state, RecordObject *self, Py_ssize_t n)
{
    if (n >= HP_RECORD_FREE_LENGTHS || state->closed) {
        return false;
    }
    while (state->free_bytes + bytes_of(n) > HP_RECORD_FREE_BYTES) {
        if (!evict_other(state, n)) {
            return false;
        }
    }
    self->desc = (RecordDescObject *)state->free[n];
    state->free[n] = (PyObject *)self;
    state->free_bytes += bytes_of(n);
    state->free_count[n]++;
    return true;
}

static void
drop_free(hp_record_state *state)
{
    for (Py_ssize_t n = 0; n < HP_RECORD_FREE_LENGTHS; n++) {
        while (state->free[n] != NULL) {
            PyObject_GC_Del(pop_free(state, n));
        }
    }
    state->closed = true;
}

static RecordObject *
allocate(hp_record_state *state, PyTypeObject *type, Py_ssize_t n)
{
    RecordObject *self;
    if (type != state->RecordType) {
        self = (RecordObject *)type->tp_alloc(type, n);
        if (self != NULL) {
            PyObject_GC_UnTrack(self);
        }
        return self;
    }
    self = take_free(state, n);
    return self != NULL ? self : PyObject_GC_NewVar(RecordObject, type, n);
}

PyObject *
hp_record_new(hp_record_state *state, PyTypeObject *type, PyObject *desc)
{
    Py_ssize_t n = PyTuple_GET_SIZE(((RecordDescObject *)desc)->names);
    RecordObject *self = allocate(state, type, n);
    if (self == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        self->items[i] = NULL;
    }
    Py_INCREF(desc);
    self->desc = (RecordDescObject *)desc;
    return (PyObject *)self;
}

void
hp_record_set_item(PyObject *record, Py_ssize_t i, PyObject *value)
{
    ((RecordObject *)record)->items[i] = value;
}

void
hp_record_complete(PyObject *record, bool track)
{
    /* An instance of a subclass may have a __dict__. */
    if (track || Py_TYPE(record) != ((RecordObject *)record)->desc->state->RecordType) {
        PyObject_GC_Track(record);
    }
}

void
hp_record_finish(PyObject *record)
{
    RecordObject *self = (RecordObject *)record;
    bool track = false;
    for (Py_ssize_t i = 0; i < Py_SIZE(self) && !track; i++) {
        track = hp_record_may_join_cycle(self->items[i]);
    }
    hp_record_complete(record, track);
}

PyObject *
hp_record_get_item(PyObject *record, Py_ssize_t i)
{
    return ((RecordObject *)record)->items[i];
}

static int
Record_traverse(PyObject *op, visitproc visit, void *arg)
{
    RecordObject *self = (RecordObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->desc);
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) {
        Py_VISIT(self->items[i]);
    }
    return 0;
}

static void
Record_dealloc(PyObject *op)
{
    RecordObject *self = (RecordObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    Py_ssize_t n = Py_SIZE(self);

    PyObject_GC_UnTrack(op);
    /* Values nested in values a hundred thousand deep must not exhaust the stack. */
    Py_TRASHCAN_BEGIN(op, Record_dealloc) RecordDescObject *desc = self->desc;
    hp_record_state *state = desc->state;
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_XDECREF(self->items[i]);
    }
    if (type != state->RecordType || !keep_free(state, self, n)) {
        type->tp_free(op);
    }
    Py_DECREF(desc);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

/* ---- the sequence of values ---- */

/* New reference: the values from `start`, `count` of them, `step` apart, as a tuple. */
static PyObject *
values_tuple(RecordObject *self, Py_ssize_t start, Py_ssize_t step, Py_ssize_t count)
{
    PyObject *tuple = PyTuple_New(count);
    if (tuple == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = self->items[start + i * step];
        Py_INCREF(value);
        PyTuple_SET_ITEM(tuple, i, value);
    }
    return tuple;
}

static PyObject *
all_values(RecordObject *self)
{
    return values_tuple(self, 0, 1, Py_SIZE(self));
}

static Py_ssize_t
Record_length(PyObject *self)
{
    return Py_SIZE(self);
}

static PyObject *
Record_item(PyObject *op, Py_ssize_t i)
{
    RecordObject *self = (RecordObject *)op;
    if (i < 0 || i >= Py_SIZE(self)) {
        PyErr_SetString(PyExc_IndexError, "record index out of range");
        return NULL;
    }
    Py_INCREF(self->items[i]);
    return self->items[i];
}

static Py_hash_t
Record_hash(PyObject *op)
{
    PyObject *tuple = all_values((RecordObject *)op);
    if (tuple == NULL) {
        return -1;
    }
    Py_hash_t hash = PyObject_Hash(tuple);
    Py_DECREF(tuple);
    return hash;
}

static PyObject *
Record_richcompare(PyObject *op, PyObject *other, int operation)
{
    RecordObject *self = (RecordObject *)op;
    PyObject *right;
    if (PyTuple_Check(other)) {
        Py_INCREF(other);
        right = other;
    } else if (PyObject_TypeCheck(other, self->desc->state->RecordType)) {
        right = all_values((RecordObject *)other);
    } else {
        Py_RETURN_NOTIMPLEMENTED;
    }
    PyObject *left = right != NULL ? all_values(self) : NULL;
    PyObject *result = left != NULL ? PyTuple_Type.tp_richcompare(left, right, operation) : NULL;
    Py_XDECREF(left);
    Py_XDECREF(right);
    return result;
}

/* ---- access by name ---- */

/* Borrowed: the value of column `name`. NULL with an exception, or without one
 * where there is no such column. */
static PyObject *
find_by_name(RecordObject *self, PyObject *name)
{
    PyObject *position = PyDict_GetItemWithError(self->desc->positions, name);
    return position != NULL ? self->items[PyLong_AsSsize_t(position)] : NULL;
}

static PyObject *
subscript_slice(RecordObject *self, PyObject *slice)
{
    Py_ssize_t start;
    Py_ssize_t stop;
    Py_ssize_t step;
    if (PySlice_Unpack(slice, &start, &stop, &step) < 0) {
        return NULL;
    }
    Py_ssize_t count = PySlice_AdjustIndices(Py_SIZE(self), &start, &stop, step);
    return values_tuple(self, start, step, count);
}

static PyObject *
Record_subscript(PyObject *op, PyObject *key)
{
    RecordObject *self = (RecordObject *)op;
    if (!PyUnicode_Check(key)) {
        if (PyIndex_Check(key)) {
            Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError);
            if (i == -1 && PyErr_Occurred()) {
                return NULL;
            }
            return Record_item(op, i < 0 ? i + Py_SIZE(self) : i);
        }
        if (PySlice_Check(key)) {
            return subscript_slice(self, key);
        }
    }
    PyObject *value = find_by_name(self, key);
    if (value == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetObject(PyExc_KeyError, key);
        }
        return NULL;
    }
    Py_INCREF(value);
    return value;
}

static int
Record_contains(PyObject *op, PyObject *key)
{
    RecordObject *self = (RecordObject *)op;
    if (PyUnicode_Check(key)) {
        return PyDict_Contains(self->desc->positions, key);
    }
    return PySequence_Contains(self->desc->names, key);
}

static PyObject *
Record_get(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "get() takes 1 or 2 arguments, got %zd", nargs);
        return NULL;
    }
    PyObject *value = find_by_name((RecordObject *)op, args[0]);
    if (value == NULL) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        value = nargs == 2 ? args[1] : Py_None;
    }
    Py_INCREF(value);
    return value;
}

static PyObject *
Record_keys(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyObject_GetIter(((RecordObject *)op)->desc->names);
}

static PyObject *
Record_iter(PyObject *op)
{
    return hp_record_iterate(op, false);
}

static PyObject *
Record_values(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return hp_record_iterate(op, false);
}

static PyObject *
Record_items(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return hp_record_iterate(op, true);
}

/* ---- repr ---- */

/* New reference: list of "name=repr(value)". */
static PyObject *
repr_parts(RecordObject *self)
{
    PyObject *parts = PyList_New(0);
    for (Py_ssize_t i = 0; parts != NULL && i < Py_SIZE(self); i++) {
        PyObject *name = PyTuple_GET_ITEM(self->desc->names, i);
        PyObject *part = PyUnicode_FromFormat("%U=%R", name, self->items[i]);
        if (part == NULL || PyList_Append(parts, part) < 0) {
            Py_CLEAR(parts);
        }
        Py_XDECREF(part);
    }
    return parts;
}

static PyObject *
repr_joined(PyObject *self, PyObject *parts)
{
    PyObject *space = PyUnicode_FromString(" ");
    PyObject *joined = space != NULL ? PyUnicode_Join(space, parts) : NULL;
    PyObject *repr = joined != NULL ? PyUnicode_FromFormat("<%s %U>", short_type_name(self), joined) : NULL;
    Py_XDECREF(space);
    Py_XDECREF(joined);
    return repr;
}

/* <Record a=1 b='x'> */
static PyObject *
Record_repr(PyObject *self)
{
    if (Py_SIZE(self) == 0) {
        return PyUnicode_FromFormat("<%s>", short_type_name(self));
    }
    int entered = Py_ReprEnter(self);
    if (entered != 0) {
        return entered > 0 ? PyUnicode_FromFormat("<%s ...>", short_type_name(self)) : NULL;
    }
    PyObject *parts = repr_parts((RecordObject *)self);
    PyObject *repr = parts != NULL ? repr_joined(self, parts) : NULL;
    Py_XDECREF(parts);
    Py_ReprLeave(self);
    return repr;
}

/* ---- pickle and copy ---- */

/* (cls._restore, (names, values)[, __dict__]) */
static PyObject *
Record_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    RecordObject *self = (RecordObject *)op;
    PyObject *restore = PyObject_GetAttrString((PyObject *)Py_TYPE(op), "_restore");
    PyObject *values = restore != NULL ? all_values(self) : NULL;
    PyObject *dict = NULL;
    if (values != NULL) {
        dict = PyObject_GetAttrString(op, "__dict__");
        if (dict == NULL) {
            PyErr_Clear(); /* Record itself has none */
        }
    }
    PyObject *reduced = NULL;
    if (values != NULL) {
        reduced = Py_BuildValue("O(OO)O", restore, self->desc->names, values, dict != NULL ? dict : Py_None);
    }
    Py_XDECREF(dict);
    Py_XDECREF(values);
    Py_XDECREF(restore);
    return reduced;
}

/* New reference: a finished Record of `type` made of two tuples. */
static PyObject *
restore(hp_record_state *state, PyTypeObject *type, PyObject *names, PyObject *values)
{
    if (PyTuple_GET_SIZE(names) != PyTuple_GET_SIZE(values)) {
        PyErr_SetString(PyExc_ValueError, "as many names as values are required");
        return NULL;
    }
    PyObject *desc = hp_record_desc_new(state, names);
    PyObject *record = desc != NULL ? hp_record_new(state, type, desc) : NULL;
    Py_XDECREF(desc);
    if (record == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < Py_SIZE(record); i++) {
        Py_INCREF(PyTuple_GET_ITEM(values, i));
        hp_record_set_item(record, i, PyTuple_GET_ITEM(values, i));
    }
    hp_record_finish(record);
    return record;
}

/* Class method; `defining` is Record itself, whatever subclass `cls` is. */
static PyObject *
Record_restore(PyObject *cls, PyTypeObject *defining, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *module = PyType_GetModule(defining);
    if (module == NULL) {
        return NULL;
    }
    if (nargs != 2 || kwnames != NULL || !PyTuple_Check(args[0]) || !PyTuple_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "_restore() takes a tuple of names and a tuple of values");
        return NULL;
    }
    return restore(&hp_state_of(module)->record, (PyTypeObject *)cls, args[0], args[1]);
}

/* ---- the type Record ---- */

static PyObject *
Record_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    PyErr_Format(PyExc_TypeError, "cannot create '%.100s' instances", type->tp_name);
    return NULL;
}

static PyMethodDef Record_methods[] = {
    {"get", (PyCFunction)(void (*)(void))Record_get, METH_FASTCALL,
     PyDoc_STR("get($self, key, default=None, /)\n--\n\nThe value of column `key`, or `default`.")},
    {"keys", Record_keys, METH_NOARGS, PyDoc_STR("keys($self, /)\n--\n\nAn iterator over the column names.")},
    {"values", Record_values, METH_NOARGS, PyDoc_STR("values($self, /)\n--\n\nAn iterator over the values.")},
    {"items", Record_items, METH_NOARGS, PyDoc_STR("items($self, /)\n--\n\nAn iterator over (name, value) pairs.")},
    {"__reduce__", Record_reduce, METH_NOARGS, NULL},
    {"_restore", (PyCFunction)(void (*)(void))Record_restore, METH_CLASS | METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("Make a Record from a tuple of names and a tuple of values; what unpickling calls.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Record_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("One row: a sequence of values that can also be looked up by column name.")},
    {Py_tp_new, Record_new},
    {Py_tp_dealloc, Record_dealloc},
    {Py_tp_traverse, Record_traverse},
    {Py_tp_repr, Record_repr},
    {Py_tp_hash, Record_hash},
    {Py_tp_richcompare, Record_richcompare},
    {Py_tp_iter, Record_iter},
    {Py_tp_methods, Record_methods},
    {Py_sq_length, Record_length},
    {Py_sq_item, Record_item},
    {Py_sq_contains, Record_contains},
    {Py_mp_length, Record_length},
    {Py_mp_subscript, Record_subscript},
    {0, NULL},
};

static PyType_Spec Record_spec = {
    .name = "holisticpool.Record",
    .basicsize = sizeof(RecordObject),
    .itemsize = sizeof(PyObject *),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = Record_slots,
};

/* ---- state ---- */

int
hp_record_init(PyObject *module, hp_record_state *state)
{
    state->RecordType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &Record_spec, NULL);
    if (state->RecordType == NULL || hp_record_desc_init(module, state) < 0 || hp_record_iter_init(module, state) < 0) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "Record", (PyObject *)state->RecordType);
}

int
hp_record_traverse(hp_record_state *state, visitproc visit, void *arg)
{
    Py_VISIT(state->RecordType);
    Py_VISIT(state->RecordDescType);
    Py_VISIT(state->RecordIterType);
    Py_VISIT(state->RecordItemsType);
    return 0;
}

void
hp_record_clear(hp_record_state *state)
{
    drop_free(state);
    Py_CLEAR(state->RecordType);
    Py_CLEAR(state->RecordDescType);
    Py_CLEAR(state->RecordIterType);
    Py_CLEAR(state->RecordItemsType);
}
