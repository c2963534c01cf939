/*
 * prepared_stmt.c - PreparedStatement: a statement that one lease has prepared for
 * itself.
 *
 * It owns an hp_stmt of its own (owned, see stmt.h), which the session keeps
 * prepared until this object goes or the lease ends. Where the server has lost it,
 * or the text means something else by now, hp_prepared_renew() puts another one of
 * the same name in its place.
 *
 * holisticpool/prepared_stmt.py subclasses it; instances are made here, by
 * Connection._prepare(), without __init__.
 */
#include "module.h"

#include "binding/awaitable_method.h"

#include "engine/prepared.h"

#include <string.h>

static hp_state *
state_of(PreparedObject *self)
{
    return self->connection->pool->state;
}

int
hp_prepared_check(PreparedObject *self, const char *method)
{
    ConnectionObject *connection = self->connection;
    hp_errors_state *errors = &state_of(self)->errors;
    const char *problem = NULL;
    if (hp_pool_check(connection->pool) < 0) {
        return -1;
    }
    if (connection->conn == NULL && !connection->pool->dedicated && !connection->ended) {
        problem = "has been released back to the pool";
    } else if (connection->conn == NULL || connection->conn->state != HP_CONN_READY) {
        problem = "is closed";
    } else {
        return 0;
    }
    PyErr_Format(errors->InterfaceError, "cannot call PreparedStatement.%s(): the underlying connection %s", method,
                 problem);
    return -1;
}

static hp_stmt *
new_statement(PyObject *query, const char *name)
{
    Py_ssize_t len;
    const char *sql = hp_statement_text(query, &len);
    if (sql == NULL) {
        return NULL;
    }
    hp_stmt *stmt = hp_stmt_new_owned(sql, (size_t)len, name, true);
    if (stmt == NULL) {
        PyErr_NoMemory();
    }
    return stmt;
}

hp_stmt *
hp_prepared_renew(PreparedObject *self, const hp_stmt *old)
{
    if (self->stmt == old) {
        hp_stmt *fresh = new_statement(self->query, old->name);
        if (fresh == NULL) {
            return NULL;
        }
        hp_prepared_drop(self->stmt);
        hp_stmt_unref(self->stmt);
        self->stmt = fresh;
    }
    hp_stmt_ref(self->stmt);
    return self->stmt;
}

/* As in asyncpg there is a status only where the command has run to its end: not
 * if a single row was asked for and came. */
void
hp_prepared_note_status(PreparedObject *self, hp_op_kind kind, PGresult *result)
{
    const char *status = PQcmdStatus(result);
    if (kind == HP_OP_FETCH || kind == HP_OP_FETCHROW || kind == HP_OP_FETCHVAL) {
        bool all = kind == HP_OP_FETCH || PQntuples(result) == 0;
        PyOS_snprintf(self->status, sizeof self->status, "%s", all && status ? status : "");
    }
}

/* ---- life ---- */

/* The query's text with numbers in place of names, and the names. */
static void
take_names(PreparedObject *self, PyObject *query)
{
    PyObject *pair = hp_named_pair(self->connection->pool, query);
    if (pair != NULL) {
        self->query = Py_NewRef(PyTuple_GET_ITEM(pair, 0));
        self->names = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
        Py_DECREF(pair);
    }
}

static PyObject *
new_prepared(ConnectionObject *connection, PyTypeObject *type, PyObject *query, const char *name,
             PyTypeObject *record_class, bool by_name)
{
    PreparedObject *self = (PreparedObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->connection = (ConnectionObject *)Py_NewRef((PyObject *)connection);
    self->record_class = (PyTypeObject *)Py_NewRef((PyObject *)record_class);
    if (by_name) {
        take_names(self, query);
    } else {
        self->query = PyUnicode_FromObject(query); /* of a subclass of str the text alone */
    }
    self->stmt = self->query ? new_statement(self->query, name) : NULL;
    if (self->stmt == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* The name is the caller's, or made up, or "" where the pool has no cache, since
 * there may be a pooler in between. NULL: made up. -1 with an exception. */
static int
choose_name(PoolObject *pool, PyObject *object, const char **name)
{
    Py_ssize_t len;
    if (object == Py_None) {
        *name = pool->engine->env.statement_cache_size > 0 ? NULL : "";
        return 0;
    }
    *name = PyUnicode_AsUTF8AndSize(object, &len);
    if (*name == NULL) {
        return -1;
    }
    if (len >= HP_STMT_NAME_BYTES || memchr(*name, '\0', (size_t)len) != NULL) {
        PyErr_Format(PyExc_ValueError, "the name of a prepared statement has at most %d bytes and no NUL, got %R",
                     HP_STMT_NAME_BYTES - 1, object);
        return -1;
    }
    return 0;
}

PyObject *
hp_prepared_new(ConnectionObject *connection, PyObject *args)
{
    hp_state *state = connection->pool->state;
    PyObject *type, *query, *name_object, *record_class;
    const char *name;
    int by_name;
    if (!PyArg_ParseTuple(args, "O!O!OOp:_prepare", &PyType_Type, &type, &PyUnicode_Type, &query, &name_object,
                          &record_class, &by_name) ||
        hp_connection_check(connection, "prepare") < 0 || choose_name(connection->pool, name_object, &name) < 0) {
        return NULL;
    }
    if (!PyType_IsSubtype((PyTypeObject *)type, state->binding.PreparedType)) {
        PyErr_SetString(PyExc_TypeError, "_prepare() makes subclasses of PreparedStatement");
        return NULL;
    }
    PyTypeObject *class = hp_record_class_of(connection->pool, record_class);
    return class ? new_prepared(connection, (PyTypeObject *)type, query, name, class, by_name) : NULL;
}

static int
prepared_traverse(PreparedObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->connection);
    Py_VISIT(self->record_class);
    return 0;
}

static void
prepared_dealloc(PreparedObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->stmt != NULL) {
        hp_prepared_drop(self->stmt);
        hp_stmt_unref(self->stmt);
        self->stmt = NULL;
    }
    Py_CLEAR(self->query);
    Py_CLEAR(self->names);
    Py_CLEAR(self->record_class);
    Py_CLEAR(self->connection);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- methods ---- */

static PyObject *
prepared_fetch(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return hp_operation_from_prepared((PreparedObject *)self, HP_OP_FETCH, args, nargs, kwnames);
}

static PyObject *
prepared_fetchrow(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return hp_operation_from_prepared((PreparedObject *)self, HP_OP_FETCHROW, args, nargs, kwnames);
}

static PyObject *
prepared_fetchval(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return hp_operation_from_prepared((PreparedObject *)self, HP_OP_FETCHVAL, args, nargs, kwnames);
}

static PyObject *
many(PyObject *object, hp_op_kind kind, PyObject *args, PyObject *kwargs)
{
    static char *of_executemany[] = {"args", "timeout", NULL};
    static char *of_fetchmany[] = {"args", "timeout", "rows", NULL};
    bool fetches = kind == HP_OP_FETCHMANY;
    PreparedObject *self = (PreparedObject *)object;
    PyObject *sets, *timeout = Py_None, *rows = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, fetches ? "O|$OO:fetchmany" : "O|$O:executemany",
                                     fetches ? of_fetchmany : of_executemany, &sets, &timeout, &rows)) {
        return NULL;
    }
    PyTypeObject *class = hp_row_class_of(self->connection->pool, Py_None, rows);
    if (class == NULL) {
        return NULL;
    }
    PyObject *op = hp_operation_from_sets(self->connection, kind, self->query, sets, timeout,
                                          class == &PyDict_Type ? class : self->record_class);
    if (op != NULL) {
        ((OperationObject *)op)->prepared = (PreparedObject *)Py_NewRef(object);
    }
    return op;
}

static PyObject *
prepared_executemany(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return many(self, HP_OP_EXECUTEMANY, args, kwargs);
}

static PyObject *
prepared_fetchmany(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return many(self, HP_OP_FETCHMANY, args, kwargs);
}

static PyObject *
prepared_describe(PyObject *object, PyObject *timeout)
{
    PreparedObject *self = (PreparedObject *)object;
    OperationObject *op = hp_operation_new(self->connection->pool, self->connection, HP_OP_PREPARE);
    if (op != NULL) {
        op->prepared = (PreparedObject *)Py_NewRef(object);
        op->query = Py_NewRef(self->query);
        op->timeout = Py_NewRef(timeout);
    }
    return (PyObject *)op;
}

static PyObject *
prepared_check(PyObject *object, PyObject *method)
{
    const char *name = PyUnicode_AsUTF8(method);
    if (name == NULL || hp_prepared_check((PreparedObject *)object, name) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* _by_name(args, params) -> args */
static PyObject *
prepared_by_name(PyObject *object, PyObject *args)
{
    PyObject *arguments, *params;
    if (!PyArg_ParseTuple(args, "O!O:_by_name", &PyTuple_Type, &arguments, &params)) {
        return NULL;
    }
    return hp_named_values((PreparedObject *)object, arguments, params);
}

static PyObject *
get_query(PyObject *object, void *closure)
{
    (void)closure;
    return Py_NewRef(((PreparedObject *)object)->query);
}

static PyObject *
get_names(PyObject *object, void *closure)
{
    PyObject *names = ((PreparedObject *)object)->names;
    (void)closure;
    return Py_NewRef(names ? names : Py_None);
}

static PyObject *
get_name(PyObject *object, void *closure)
{
    (void)closure;
    return PyUnicode_FromString(((PreparedObject *)object)->stmt->name);
}

static PyObject *
get_status(PyObject *object, void *closure)
{
    PreparedObject *self = (PreparedObject *)object;
    (void)closure;
    return self->status[0] != '\0' ? PyUnicode_FromString(self->status) : Py_NewRef(Py_None);
}

static PyObject *
get_connection(PyObject *object, void *closure)
{
    (void)closure;
    return Py_NewRef((PyObject *)((PreparedObject *)object)->connection);
}

static PyObject *
get_record_class(PyObject *object, void *closure)
{
    (void)closure;
    return Py_NewRef((PyObject *)((PreparedObject *)object)->record_class);
}

/* The OIDs of the parameters: a tuple of int. */
static PyObject *
get_parameters(PyObject *object, void *closure)
{
    const hp_stmt *stmt = ((PreparedObject *)object)->stmt;
    (void)closure;
    PyObject *oids = PyTuple_New(stmt->nparams);
    for (int i = 0; oids != NULL && i < stmt->nparams; i++) {
        PyObject *oid = PyLong_FromUnsignedLong(stmt->param_types[i]);
        if (oid == NULL) {
            Py_CLEAR(oids);
            break;
        }
        PyTuple_SET_ITEM(oids, i, oid);
    }
    return oids;
}

/* Names and OIDs of the columns: a tuple of pairs. */
static PyObject *
get_columns(PyObject *object, void *closure)
{
    const hp_stmt *stmt = ((PreparedObject *)object)->stmt;
    const char *name = stmt->column_names;
    (void)closure;
    PyObject *columns = PyTuple_New(stmt->ncolumns);
    for (int i = 0; columns != NULL && i < stmt->ncolumns; i++) {
        PyObject *column = Py_BuildValue("(sI)", name, (unsigned)stmt->column_types[i]);
        if (column == NULL) {
            Py_CLEAR(columns);
            break;
        }
        PyTuple_SET_ITEM(columns, i, column);
        name += strlen(name) + 1;
    }
    return columns;
}

#define FAST(function)     (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS
#define KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static PyMethodDef prepared_methods[] = {
    {"fetch", FAST(prepared_fetch),
     "fetch($self, *args, timeout=None, rows=None, params=None)\n--\n\nExecute the statement; a list of Record."},
    {"fetchrow", FAST(prepared_fetchrow),
     "fetchrow($self, *args, timeout=None, rows=None, params=None)\n--\n\nExecute the statement; its first row, or "
     "None."},
    {"fetchval", FAST(prepared_fetchval),
     "fetchval($self, *args, column=0, timeout=None, params=None)\n--\n\nExecute the statement; one value of its "
     "first row, or None."},
    {"executemany", KEYWORDS(prepared_executemany),
     "executemany($self, args, *, timeout=None)\n--\n\nExecute the statement for each sequence of arguments: all or "
     "none."},
    {"fetchmany", KEYWORDS(prepared_fetchmany),
     "fetchmany($self, args, *, timeout=None, rows=None)\n--\n\nExecute the statement for each sequence of arguments, "
     "all or none; a list of Record."},
    {"_describe", prepared_describe, METH_O, NULL},
    {"_check", prepared_check, METH_O, NULL},
    {"_by_name", prepared_by_name, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef prepared_getset[] = {
    {"_query", get_query, NULL, NULL, NULL},
    {"_names", get_names, NULL, NULL, NULL},
    {"_name", get_name, NULL, NULL, NULL},
    {"_status", get_status, NULL, NULL, NULL},
    {"_connection", get_connection, NULL, NULL, NULL},
    {"_record_class", get_record_class, NULL, NULL, NULL},
    {"_parameter_oids", get_parameters, NULL, NULL, NULL},
    {"_columns", get_columns, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot prepared_slots[] = {
    {Py_tp_doc, "A statement that a lease has prepared for itself. Made by Connection.prepare()."},
    {Py_tp_dealloc, prepared_dealloc},
    {Py_tp_traverse, prepared_traverse},
    {Py_tp_methods, prepared_methods},
    {Py_tp_getset, prepared_getset},
    {0, NULL},
};

static PyType_Spec prepared_spec = {
    .name = "holisticpool._core.PreparedStatement",
    .basicsize = sizeof(PreparedObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = prepared_slots,
};

/* ... that stand for coroutine functions. */
static const char *const AWAITED[] = {"fetch", "fetchrow", "fetchval", "executemany", "fetchmany", NULL};

int
hp_prepared_type_init(PyObject *module, hp_binding_state *state)
{
    state->PreparedType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &prepared_spec, NULL);
    if (state->PreparedType == NULL || hp_awaitable_methods(state, state->PreparedType, AWAITED) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->PreparedType);
}
