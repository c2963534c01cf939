/*
 * batch.h - the parameter sets of a batch on their way to libpq.
 *
 * The sets are executions of one statement without a synchronisation point in
 * between: outside a transaction the server takes all up to the point as one, so
 * that they are committed together or not at all.
 *
 * All sets may be there from the start, or come in portions (req->more):
 *
 *     hp_batch_feed: a portion is handed over --all sent--> up->hungry()
 *          ^                                                   |
 *          +------- hp_batch_continue: the next portion -------+
 *                                      the last one --all sent--> synchronisation point
 *
 * The next portion is asked for only when the socket has taken the one before, so
 * that what waits in memory is bounded. Inside a transaction a savepoint goes in
 * front of the first portion, as there may be sets to undo without undoing the
 * transaction.
 *
 * Called by phase.c, conn.c and the binding.
 */
#ifndef HP_BATCH_H
#define HP_BATCH_H

#include "engine/conn.h"

/* Is a batch only partly sent? Its end would commit what was sent. */
bool hp_batch_is_feeding(const hp_request *req);
/* What is to be sent in front of the sets. 0, or -1: libpq refused. */
int hp_batch_begin(hp_conn *conn, hp_request *req);
/* Hand over parameter sets until the socket is full, then the synchronisation
 * point that commits them all. After an error the server skips the rest: stop. */
void hp_batch_feed(hp_conn *conn, hp_request *req);
/* The binding has encoded the next portion; no effect on a batch that has ended. */
void hp_batch_continue(hp_conn *conn, hp_request *req, int sets, bool more);
/* There will be no more sets, and those that were sent must not stay. */
void hp_batch_abort(hp_conn *conn, hp_request *req);

#endif
