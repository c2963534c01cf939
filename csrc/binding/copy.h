/*
 * copy.h - Copy: one COPY of a leased session, as holisticpool/copy.py drives it.
 *
 *   new --_start--> under way --status or error--> over
 *                       |                           ^
 *                       +---------_abandon----------+
 *
 * No method waits. In between, _ready() gives a future that is done as soon as it
 * is worth going on: data may be handed over, rows are there, or the COPY is over. Why it ended is raised by the method that comes next;
 * where the COPY fails while nobody waits for it, because its caller is in code of
 * the user, `on_failure` is called by the loop.
 *
 * Memory: at most one slice of data that goes out (copy_rows.c), or the rows that
 * have come, which stop the reading at a limit.
 *
 * References: a Copy owns its Connection and so its Pool; while the engine knows
 * its request it owns itself.
 */
#ifndef HP_BINDING_COPY_H
#define HP_BINDING_COPY_H

#include "binding/plan.h"
#include "engine/copy.h"

typedef struct CopyObject {
    PyObject_HEAD hp_request req;
    hp_copy copy;
    ConnectionObject *connection;
    PyObject *method;  /* str: "Connection.copy_to_table" */
    PyObject *query;   /* str */
    PyObject *timeout; /* as given */
    hp_plan *plan;     /* of records: their columns; NULL: there are none. A reference. */
    PyObject *on_failure;
    PyObject *waiter;    /* a future, or NULL */
    PyObject *exception; /* why it has failed, or NULL */
    PyObject *status;    /* str, once it has succeeded, or NULL */
    bool started;
    bool in_engine; /* the engine knows req, and we own ourselves */
    bool over;
    bool busy;           /* running code of the user */
    hp_buf buf;          /* data that goes out, or rows that have come */
    size_t record;       /* number of the last one encoded, from 1 */
    Py_ssize_t at_least; /* of what has come is given at once */
} CopyObject;

int hp_copy_type_init(PyObject *module, hp_binding_state *state);
/* New reference: the Copy of Connection._copy(). */
PyObject *hp_copy_new(ConnectionObject *connection, PyObject *args);

/* ---- the engine's callbacks, by loop.c ---- */

/* Steals one of status and exception, the other is NULL. */
void hp_copy_ended(CopyObject *self, PyObject *status, PyObject *exception);
void hp_copy_released(CopyObject *self);
void hp_copy_wake(CopyObject *self);
int hp_copy_take_row(CopyObject *self, const char *row, size_t len);

/* ---- copy.c, for copy_rows.c ---- */

/* May more be handed over? 0, or -1 with an exception: why it has failed, or a wrong call. */
int hp_copy_check(CopyObject *self);
/* Hand over what is in the buffer. 0, or -1 with an exception. */
int hp_copy_put_buffer(CopyObject *self);

/* So much is handed over at once. */
enum { HP_COPY_SLICE_BYTES = 64 * 1024 };

/* ---- copy_rows.c ---- */

int hp_copy_rows_begin(CopyObject *self);
int hp_copy_rows_end(CopyObject *self);
PyObject *hp_copy_put_rows(CopyObject *self, PyObject *iterator);
PyObject *hp_copy_add_row(CopyObject *self, PyObject *row);

#endif
