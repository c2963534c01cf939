/*
 * attributes.c - see attributes.h.
 */
#include "binding/attributes.h"

#include "module.h"

ConnectionObject *
hp_attributes_object(hp_conn *conn)
{
    PyObject *kept = conn->attributes;
    if (kept == NULL || PyDict_Check(kept)) {
        return NULL;
    }
    conn->attributes = NULL;
    return (ConnectionObject *)kept;
}

int
hp_attributes_take(ConnectionObject *self)
{
    PyObject *dict = self->conn->attributes;
    if (dict == NULL) {
        return 0;
    }
    if (PyObject_GenericSetDict((PyObject *)self, dict, NULL) < 0) {
        return -1;
    }
    self->conn->attributes = NULL;
    Py_DECREF(dict);
    return 0;
}

void
hp_attributes_keep(ConnectionObject *self)
{
    PyObject *type, *value, *traceback;
    hp_conn *conn = self->conn;
    if (!self->pool->keeps_attributes || conn == NULL || conn->state != HP_CONN_READY) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    bool whole = self->in_init && self->pool->dedicated;
    PyObject *kept = whole ? Py_NewRef((PyObject *)self) : PyObject_GenericGetDict((PyObject *)self, NULL);
    if (kept == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    PyObject *old = conn->attributes;
    conn->attributes = kept;
    Py_XDECREF(old);
    PyErr_Restore(type, value, traceback);
}

int
hp_attributes_lend(ConnectionObject *self, const hp_conn *conn)
{
    PyObject *dict = conn->attributes;
    return dict != NULL && PyDict_Check(dict) ? PyObject_GenericSetDict((PyObject *)self, dict, NULL) : 0;
}

int
hp_attributes_traverse(PoolObject *pool, visitproc visit, void *arg)
{
    for (const hp_conn *conn = pool->engine ? pool->engine->all : NULL; conn != NULL; conn = conn->next) {
        Py_VISIT((PyObject *)conn->attributes);
    }
    return 0;
}

void
hp_attributes_gone(void *user, void *attributes)
{
    PyObject *kept = attributes;
    (void)user;
    Py_DECREF(kept);
}
