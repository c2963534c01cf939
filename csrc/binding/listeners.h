/*
 * listeners.h - who hears of what happens to a session: notifications, notices,
 * its end, and each statement that ran on it.
 *
 * The callbacks themselves are in an object of holisticpool/listeners.py, which
 * schedules them: none ever runs from inside the engine. A session has at most one
 * such object. The lease owns it while there is one, so that a callback which
 * holds its connection is a cycle that the garbage collector sees; between two
 * leases the session owns what outlives them (termination listeners, query
 * loggers). hp_conn.listeners is NULL where nobody ever listened, and that is
 * all that the hot path looks at.
 *
 * Called by connection.c, pool.c, loop.c, operation.c, start.c.
 */
#ifndef HP_LISTENERS_H
#define HP_LISTENERS_H

#include "binding/types.h"

/* How many listeners that do not outlive a lease it still had at its end. */
typedef struct hp_left_listeners {
    long notification, log;
} hp_left_listeners;

/* A lease has begun: it takes what the session kept. */
void hp_listeners_take(ConnectionObject *self);
/* A lease is to end: it gives back what outlives it and forgets the rest. */
hp_left_listeners hp_listeners_leave(ConnectionObject *self);
/* The lease is over: warn of what was forgotten. 0, or -1 with the exception that the
 * user's filters make of it. */
int hp_listeners_warn(ConnectionObject *self, hp_left_listeners left);
/* The init hook of a session has ended: the session keeps all of it. */
void hp_listeners_keep(ConnectionObject *self);
/* The object of a lease goes. */
void hp_listeners_forget(ConnectionObject *self);
int hp_listeners_traverse(PoolObject *pool, visitproc visit, void *arg);

/* The method Connection._listen(object, logs). */
PyObject *hp_listeners_listen(PyObject *self, PyObject *args);

/* ---- query loggers ---- */

/* A statement has ended, with `exception` (borrowed) or NULL. */
void hp_listeners_log(OperationObject *op, PyObject *exception);
/* ... or its caller has left; `class` is why. */
void hp_listeners_log_left(OperationObject *op, PyObject *class);
/* ... or it ended before anything was sent. */
void hp_listeners_log_unsent(OperationObject *op, PyObject *exception);

/* ---- for hp_callbacks ---- */

void hp_listeners_noticed(hp_conn *conn, const char *fields);
void hp_listeners_notified(hp_conn *conn, const PGnotify *notification);
void hp_listeners_ended(hp_conn *conn);
void hp_listeners_gone(void *user, void *listeners);

#endif
