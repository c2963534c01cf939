/*
 * errors.h - server and client errors as Python exceptions.
 *
 * The classes live in holisticpool/exceptions.py (generated from PostgreSQL's
 * errcodes table); this file looks them up once and builds instances from
 * libpq results and engine errors. No message may carry a password.
 */
#ifndef HP_ERRORS_H
#define HP_ERRORS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "engine/base.h"

typedef struct hp_errors_state {
    PyObject *new_server_error; /* holisticpool.exceptions._new_server_error(fields, query) */
    PyObject *InterfaceError;
    PyObject *InterfaceWarning;
    PyObject *InternalClientError;
    PyObject *ClientConfigurationError;
    PyObject *ClientDataError;
    PyObject *ConnectionDoesNotExistError;
    PyObject *PoolExhaustedError;
    PyObject *ServerUnavailableError;
    PyObject *OutdatedSchemaCacheError;
    PyObject *QueryTimeoutError;
    PyObject *TargetServerAttributeNotMatched;
    PyObject *TimeoutError;      /* asyncio's, of its own until CPython 3.11 */
    PyObject *CancelledError;    /* asyncio.CancelledError */
    PyObject *InvalidStateError; /* asyncio.InvalidStateError */
} hp_errors_state;

int hp_errors_init(PyObject *module, hp_errors_state *state);
int hp_errors_traverse(hp_errors_state *state, visitproc visit, void *arg);
void hp_errors_clear(hp_errors_state *state);

/* What HP_ERR_EXHAUSTED and HP_ERR_DOWN tell besides their text. */
typedef struct hp_pool_report {
    int leased, waiting, max_size;
    double longest_lease; /* s */
    const hp_error *last; /* why opening failed last; NULL: it did not */
    unsigned attempts;
    PyObject *raised; /* borrowed: what a callable of the user's raised last, or NULL; see hp_error.raised */
} hp_pool_report;

/* New reference: the exception instance for an engine error; NULL with an
 * exception where it could not be made. `query` (str) may be NULL. */
PyObject *hp_errors_new(hp_errors_state *state, const hp_error *err, const hp_pool_report *report, PyObject *query);

/* Raise `exception` (an instance; steals it), with an entry in its traceback
 * that names the operation `name` ("Pool.fetch"): C code has none of its own. */
void hp_errors_raise(PyObject *exception, const char *name, PyObject *globals);

/* Raise class(text) with this cause; steals both. Where text is NULL, the exception
 * that is set already stays. */
void hp_errors_raise_from(PyObject *class, PyObject *text, PyObject *cause);

/* What it means that a callable of the user's has failed with `exception`; `what`
 * names it. With `quoted` its message becomes part of the text. */
void hp_errors_describe(hp_errors_state *state, hp_error *err, PyObject *exception, const char *what, bool quoted);

/* New reference: the exception that is set, as an instance, and none is set then. */
PyObject *hp_errors_take(void);

#endif
