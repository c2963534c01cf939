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

typedef struct hp_errors_state {
    PyObject *new_server_error;  /* holisticpool.exceptions._new_server_error(fields, query) */
    PyObject *PostgresError;
    PyObject *InterfaceError;
    PyObject *InternalClientError;
    PyObject *DataError;         /* the client-side one: exceptions.DataError made of InterfaceError and ValueError */
    PyObject *ConnectionDoesNotExistError;
    PyObject *CannotConnectNowError;
    PyObject *PoolExhaustedError;
    PyObject *ServerUnavailableError;
    PyObject *QueryTimeoutError;
    PyObject *CancelledError;    /* asyncio.CancelledError */
    PyObject *InvalidStateError; /* asyncio.InvalidStateError */
} hp_errors_state;

int hp_errors_init(PyObject *module, hp_errors_state *state);
int hp_errors_traverse(hp_errors_state *state, visitproc visit, void *arg);
void hp_errors_clear(hp_errors_state *state);

#endif
