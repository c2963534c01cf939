/*
 * record.h - Record, one row, and RecordDesc, the column map its rows share.
 *
 * Record is tuple-like and mapping-like as asyncpg documents it. RecordDesc is
 * made once per statement and shared by all its rows: column names (interned)
 * and a dict from name to position (of duplicates, the last one wins, as in
 * asyncpg).
 */
#ifndef HP_RECORD_H
#define HP_RECORD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* Freed Records of less than so many values are kept for reuse, up to so many bytes
 * of all together: the rows of some results that are dropped at the same time. */
enum { HP_RECORD_FREE_LENGTHS = 24, HP_RECORD_FREE_BYTES = 256 * 1024 };

typedef struct hp_record_state {
    PyTypeObject *RecordType;
    PyTypeObject *RecordDescType;
    PyTypeObject *RecordIterType;
    PyTypeObject *RecordItemsType;
    PyObject *free[HP_RECORD_FREE_LENGTHS]; /* memory, no objects: heads of lists by length */
    Py_ssize_t free_bytes;                  /* of all */
    Py_ssize_t free_count[HP_RECORD_FREE_LENGTHS];
    bool closed; /* nothing is kept any more */
    int evict;   /* the length to evict first where they are full */
} hp_record_state;

int hp_record_init(PyObject *module, hp_record_state *state);
int hp_record_traverse(hp_record_state *state, visitproc visit, void *arg);
void hp_record_clear(hp_record_state *state);

/* New reference: the column map for `names`, a tuple of str (borrowed). */
PyObject *hp_record_desc_new(hp_record_state *state, PyObject *names);

/* New reference: a row of `type` (Record or a subclass) with every field NULL,
 * not yet tracked by the garbage collector. Fill each with
 * hp_record_set_item() (steals), then call hp_record_finish(), which tracks the
 * row only if a field can take part in a cycle. Nothing else may see the row
 * before that. It may be released at any point. */
PyObject *hp_record_new(hp_record_state *state, PyTypeObject *type, PyObject *desc);
void hp_record_set_item(PyObject *record, Py_ssize_t i, PyObject *value);
void hp_record_finish(PyObject *record);
/* The same for a caller that knows whether there is such a field. */
void hp_record_complete(PyObject *record, bool track);
/* A dict is not tracked while it holds plain values only, but may come to hold
 * the row itself. Untracked tuples, rows and UUIDs stay as they are. */
static inline bool
hp_record_may_join_cycle(PyObject *value)
{
    return PyObject_GC_IsTracked(value) || PyDict_Check(value);
}

/* Borrowed: field i of a finished row. */
PyObject *hp_record_get_item(PyObject *record, Py_ssize_t i);

#endif
