/*
 * statement.c - the statements that a pool knows.
 *
 * One entry for each SQL text (a dict from str to capsule), so that a second
 * connection prepares and executes it in one go. At most statements_max entries
 * are kept; the victim is found as a clock does: the oldest entry that was not
 * used since the hand last passed.
 *
 * Called by start.c and, through loop.c, by the engine.
 */
#include "module.h"

#include <string.h>

typedef struct hp_entry {
    hp_stmt *stmt;
    bool used;       /* since the clock's hand passed */
    hp_time expires; /* HP_NEVER: does not */
} hp_entry;

static const char ENTRY_NAME[] = "holisticpool.statement";

static void
free_entry(PyObject *capsule)
{
    hp_entry *entry = PyCapsule_GetPointer(capsule, ENTRY_NAME);
    if (entry != NULL) {
        hp_stmt_unref(entry->stmt);
        PyMem_Free(entry);
    }
}

static PyObject *
new_entry(hp_stmt *stmt, hp_time lifetime)
{
    hp_entry *entry = PyMem_Malloc(sizeof *entry);
    if (entry == NULL) {
        return PyErr_NoMemory();
    }
    entry->stmt = stmt;
    entry->used = false;
    entry->expires = lifetime == HP_NEVER ? HP_NEVER : hp_now() + lifetime;
    PyObject *capsule = PyCapsule_New(entry, ENTRY_NAME, free_entry);
    if (capsule == NULL) {
        PyMem_Free(entry);
        return NULL;
    }
    hp_stmt_ref(stmt);
    return capsule;
}

/* Make room for one. A used entry gets a second chance at the young end. */
static int
evict(PyObject *statements)
{
    for (Py_ssize_t chances = PyDict_GET_SIZE(statements); chances >= 0; chances--) {
        PyObject *query, *capsule;
        Py_ssize_t pos = 0;
        if (!PyDict_Next(statements, &pos, &query, &capsule)) {
            return 0;
        }
        hp_entry *entry = PyCapsule_GetPointer(capsule, ENTRY_NAME);
        bool spare = entry->used && chances > 0;
        entry->used = false;
        Py_INCREF(query);
        Py_INCREF(capsule);
        int rc = PyDict_DelItem(statements, query);
        if (rc == 0 && spare) {
            rc = PyDict_SetItem(statements, query, capsule);
        }
        Py_DECREF(query);
        Py_DECREF(capsule);
        if (rc < 0 || !spare) {
            return rc;
        }
    }
    return 0;
}

static int
remember(PoolObject *pool, PyObject *query, hp_stmt *stmt)
{
    if (PyDict_GET_SIZE(pool->statements) >= pool->statements_max && evict(pool->statements) < 0) {
        return -1;
    }
    PyObject *capsule = new_entry(stmt, pool->statement_lifetime);
    if (capsule == NULL) {
        return -1;
    }
    int rc = PyDict_SetItem(pool->statements, query, capsule);
    Py_DECREF(capsule);
    return rc;
}

const char *
hp_statement_text(PyObject *query, Py_ssize_t *len)
{
    const char *sql = PyUnicode_AsUTF8AndSize(query, len);
    if (sql != NULL && memchr(sql, '\0', (size_t)*len) != NULL) {
        PyErr_SetString(PyExc_ValueError, "the query contains a NUL character");
        return NULL;
    }
    return sql;
}

/* New reference, or NULL with an exception. */
static hp_stmt *
new_statement(PyObject *query, bool cached)
{
    Py_ssize_t len;
    const char *sql = hp_statement_text(query, &len);
    if (sql == NULL) {
        return NULL;
    }
    hp_stmt *stmt = hp_stmt_new(sql, (size_t)len, cached, true);
    if (stmt == NULL) {
        PyErr_NoMemory();
    }
    return stmt;
}

static hp_stmt *
make_statement(PoolObject *pool, PyObject *query)
{
    Py_ssize_t len;
    if (PyUnicode_AsUTF8AndSize(query, &len) == NULL) {
        return NULL;
    }
    bool cacheable = pool->cacheable_bytes == 0 || len <= pool->cacheable_bytes;
    hp_stmt *stmt = new_statement(query, cacheable && pool->engine->env.statement_cache_size > 0);
    if (stmt == NULL) {
        return NULL;
    }
    if (cacheable && remember(pool, query, stmt) < 0) {
        hp_stmt_unref(stmt);
        return NULL;
    }
    return stmt;
}

void
hp_statements_forget(PoolObject *pool)
{
    hp_registry_forget(pool->registry);
    PyDict_Clear(pool->statements);
    PyDict_Clear(pool->type_names);
}

static int
check_text(PyObject *query)
{
    if (!PyUnicode_Check(query)) {
        PyErr_Format(PyExc_TypeError, "the query must be a str, got %.100s", Py_TYPE(query)->tp_name);
        return -1;
    }
    return 0;
}

hp_stmt *
hp_statement_unnamed(PyObject *query)
{
    return check_text(query) < 0 ? NULL : new_statement(query, false);
}

hp_stmt *
hp_statement_get(PoolObject *pool, PyObject *query)
{
    if (check_text(query) < 0) {
        return NULL;
    }
    PyObject *capsule = PyDict_GetItemWithError(pool->statements, query);
    if (capsule != NULL) {
        hp_entry *entry = PyCapsule_GetPointer(capsule, ENTRY_NAME);
        if (entry->expires != HP_NEVER && hp_now() >= entry->expires) {
            return hp_statement_renew(pool, query, entry->stmt);
        }
        entry->used = true;
        hp_stmt_ref(entry->stmt);
        return entry->stmt;
    }
    return PyErr_Occurred() ? NULL : make_statement(pool, query);
}

/* The text means something else than `old` says. Somebody may have found out
 * before: then there is a newer one already. */
hp_stmt *
hp_statement_renew(PoolObject *pool, PyObject *query, const hp_stmt *old)
{
    PyObject *capsule = PyDict_GetItemWithError(pool->statements, query);
    if (capsule != NULL) {
        hp_entry *entry = PyCapsule_GetPointer(capsule, ENTRY_NAME);
        if (entry->stmt != old) {
            hp_stmt_ref(entry->stmt);
            return entry->stmt;
        }
        if (PyDict_DelItem(pool->statements, query) < 0) {
            return NULL;
        }
    }
    return PyErr_Occurred() ? NULL : make_statement(pool, query);
}
