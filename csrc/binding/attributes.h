/*
 * attributes.h - what objects of a connection class have in their __dict__, from one
 * lease of a session to the next.
 *
 * Each lease has an object of its own, so that an old one cannot use the session.
 * A pool with a connection_class of the user's lets them share what the class has
 * set on them: the dict is the lease's while there is one, so that a cycle through
 * it is seen by the garbage collector, and hp_conn.attributes in between.
 *
 * A session of one's own has one lease only. Where its class has an __init__, which
 * is run before the session is used at all, hp_conn.attributes is the very object
 * that it has seen, and that becomes the lease.
 *
 * Called by connection.c, loop.c, errands.c, listeners.c.
 */
#ifndef HP_ATTRIBUTES_H
#define HP_ATTRIBUTES_H

#include "binding/types.h"

/* New reference: the object that the session has for its lease; NULL: none (no exception). */
ConnectionObject *hp_attributes_object(hp_conn *conn);
/* A lease has begun: it takes what the session kept. 0, or -1 with an exception. */
int hp_attributes_take(ConnectionObject *self);
/* It is to end: the session keeps what it has. */
void hp_attributes_keep(ConnectionObject *self);
/* Show `self`, which is no lease, what a session without a lease has. 0, or -1 with an exception. */
int hp_attributes_lend(ConnectionObject *self, const hp_conn *conn);
int hp_attributes_traverse(PoolObject *pool, visitproc visit, void *arg);

/* hp_callbacks.attributes_gone */
void hp_attributes_gone(void *user, void *attributes);

#endif
