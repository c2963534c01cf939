/*
 * rows.c - iterating over rows that come in batches: Rows, what cursors are in C.
 *
 * A row that is there already costs no Python frame: __anext__ gives an awaitable
 * that ends at once with the row (Ready; one object for all of a loop's rows, as
 * long as nobody else holds it). Where the batch is used up, or the lease is over,
 * __anext__ is the subclass's _refill(), a coroutine that fetches the next batch,
 * gives it to _put() and returns its first row, or raises.
 *
 * Also here: the operations on a cursor of the server (engine/cursor.h).
 */
#include "module.h"

typedef struct ReadyObject {
    PyObject_HEAD PyObject *value; /* NULL: awaited already */
} ReadyObject;

typedef struct RowsObject {
    PyObject_HEAD ConnectionObject *connection;
    PyObject *rows; /* list, or NULL */
    Py_ssize_t next;
    ReadyObject *ready; /* to be used again, or NULL */
} RowsObject;

/* ---- Ready ---- */

static PySendResult
ready_send_result(PyObject *object, PyObject *arg, PyObject **result)
{
    ReadyObject *self = (ReadyObject *)object;
    (void)arg;
    *result = self->value;
    self->value = NULL;
    if (*result != NULL) {
        return PYGEN_RETURN;
    }
    PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    return PYGEN_ERROR;
}

static void
ready_end(PyObject *object)
{
    Py_CLEAR(((ReadyObject *)object)->value);
}

static PyObject *
ready_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return hp_coroutine_throw(self, args, nargs, ready_end);
}

static PyObject *
ready_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    ready_end(self);
    Py_RETURN_NONE;
}

static int
ready_traverse(ReadyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->value);
    return 0;
}

static int
ready_clear(ReadyObject *self)
{
    Py_CLEAR(self->value);
    return 0;
}

static void
ready_dealloc(ReadyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    ready_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef ready_methods[] = {
    {"send", hp_coroutine_send, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))ready_throw, METH_FASTCALL, NULL},
    {"close", ready_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot ready_slots[] = {
    {Py_tp_doc, "The awaitable of a row that is there already."},
    {Py_tp_dealloc, ready_dealloc},
    {Py_tp_traverse, ready_traverse},
    {Py_tp_clear, ready_clear},
    {Py_tp_iter, hp_coroutine_itself},
    {Py_tp_iternext, hp_coroutine_next},
    {Py_am_await, hp_coroutine_itself},
    {Py_am_send, ready_send_result},
    {Py_tp_methods, ready_methods},
    {0, NULL},
};

static PyType_Spec ready_spec = {
    .name = "holisticpool._core.Ready",
    .basicsize = sizeof(ReadyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = ready_slots,
};

/* ---- Rows ---- */

PyObject *
hp_rows_new(ConnectionObject *connection, PyObject *type)
{
    hp_state *state = connection->pool->state;
    if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, state->binding.RowsType)) {
        PyErr_SetString(PyExc_TypeError, "_rows() makes subclasses of Rows");
        return NULL;
    }
    RowsObject *self = (RowsObject *)((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
    if (self != NULL) {
        self->connection = (ConnectionObject *)Py_NewRef((PyObject *)connection);
    }
    return (PyObject *)self;
}

/* Borrowed: an awaitable that nobody else holds; NULL with an exception. */
static ReadyObject *
free_ready(RowsObject *self)
{
    if (self->ready != NULL && Py_REFCNT(self->ready) == 1) {
        return self->ready;
    }
    PyTypeObject *type = self->connection->pool->state->binding.ReadyType;
    ReadyObject *made = (ReadyObject *)type->tp_alloc(type, 0);
    if (made != NULL) {
        Py_XSETREF(self->ready, made);
    }
    return made;
}

static bool
is_usable(const ConnectionObject *connection)
{
    return connection->conn != NULL && connection->conn->state == HP_CONN_READY;
}

static PyObject *
rows_anext(PyObject *object)
{
    RowsObject *self = (RowsObject *)object;
    if (self->rows == NULL || self->next >= PyList_GET_SIZE(self->rows) || !is_usable(self->connection)) {
        return PyObject_CallMethodNoArgs(object, self->connection->pool->state->binding.str_refill);
    }
    ReadyObject *ready = free_ready(self);
    if (ready == NULL) {
        return NULL;
    }
    /* The list is ours alone: a row that was given away is not kept. */
    PyObject *row = PyList_GET_ITEM(self->rows, self->next);
    PyList_SET_ITEM(self->rows, self->next++, Py_NewRef(Py_None));
    Py_XSETREF(ready->value, row);
    return Py_NewRef((PyObject *)ready);
}

/* _put(rows) -> the first of them, which counts as given away. */
static PyObject *
rows_put(PyObject *object, PyObject *rows)
{
    RowsObject *self = (RowsObject *)object;
    if (!PyList_CheckExact(rows) || PyList_GET_SIZE(rows) == 0) {
        PyErr_SetString(PyExc_TypeError, "a list of at least one row is expected");
        return NULL;
    }
    Py_XSETREF(self->rows, Py_NewRef(rows));
    PyObject *row = PyList_GET_ITEM(rows, 0);
    PyList_SET_ITEM(rows, 0, Py_NewRef(Py_None));
    self->next = 1;
    return row;
}

static PyObject *
rows_get_connection(PyObject *object, void *closure)
{
    (void)closure;
    return Py_NewRef((PyObject *)((RowsObject *)object)->connection);
}

static int
rows_traverse(RowsObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->connection);
    Py_VISIT(self->rows);
    Py_VISIT(self->ready);
    return 0;
}

/* Not the connection, which every method needs. */
static int
rows_clear(RowsObject *self)
{
    Py_CLEAR(self->rows);
    Py_CLEAR(self->ready);
    return 0;
}

static void
rows_dealloc(RowsObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    rows_clear(self);
    Py_CLEAR(self->connection);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef rows_methods[] = {
    {"_put", rows_put, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef rows_getset[] = {
    {"_connection", rows_get_connection, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot rows_slots[] = {
    {Py_tp_doc, "Rows that come in batches, one after another. Made by a Connection only."},
    {Py_tp_dealloc, rows_dealloc},
    {Py_tp_traverse, rows_traverse},
    {Py_tp_clear, rows_clear},
    {Py_am_aiter, hp_coroutine_itself},
    {Py_am_anext, rows_anext},
    {Py_tp_methods, rows_methods},
    {Py_tp_getset, rows_getset},
    {0, NULL},
};

static PyType_Spec rows_spec = {
    .name = "holisticpool._core.Rows",
    .basicsize = sizeof(RowsObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = rows_slots,
};

int
hp_rows_type_init(PyObject *module, hp_binding_state *state)
{
    state->ReadyType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &ready_spec, NULL);
    state->RowsType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &rows_spec, NULL);
    return state->ReadyType && state->RowsType ? PyModule_AddType(module, state->RowsType) : -1;
}

/* ---- operations on cursors ---- */

/* None: NULL. */
static PyObject *
optional(PyObject *object)
{
    return object == Py_None ? NULL : Py_NewRef(object);
}

static bool
is_text(PyObject *object)
{
    return object == Py_None || PyUnicode_Check(object);
}

PyObject *
hp_cursor_operation(ConnectionObject *connection, PyObject *args)
{
    PyObject *source, *arguments, *declare, *fetch, *timeout, *record_class, *row_form;
    int rows;
    if (!PyArg_ParseTuple(args, "OO!OOpOOO:_cursor", &source, &PyTuple_Type, &arguments, &declare, &fetch, &rows,
                          &timeout, &record_class, &row_form)) {
        return NULL;
    }
    bool prepared = PyObject_TypeCheck(source, connection->pool->state->binding.PreparedType);
    if (!is_text(declare) || !is_text(fetch) || (declare == Py_None && fetch == Py_None)) {
        PyErr_SetString(PyExc_TypeError, "a cursor takes DECLARE or FETCH, or both, as str");
        return NULL;
    }
    PyTypeObject *class = hp_row_class_of(connection->pool, record_class, row_form);
    OperationObject *op =
        class ? hp_operation_new(connection->pool, connection, rows ? HP_OP_FETCH : HP_OP_EXECUTE) : NULL;
    if (op == NULL) {
        return NULL;
    }
    op->prepared = prepared ? (PreparedObject *)Py_NewRef(source) : NULL;
    op->query = Py_NewRef(prepared ? ((PreparedObject *)source)->query : source);
    op->record_class = (PyTypeObject *)Py_NewRef((PyObject *)class);
    op->args = PyTuple_GET_SIZE(arguments) > 0 ? Py_NewRef(arguments) : NULL;
    op->declare = optional(declare);
    op->fetch = optional(fetch);
    op->timeout = Py_NewRef(timeout);
    return (PyObject *)op;
}
