/*
 * begin.h - the BEGIN of a transaction, which travels with its first statement.
 *
 * A caller that begins a transaction has nothing to learn from the answer, and a
 * round trip for it doubles what a short transaction takes. So BEGIN is kept with
 * the session (conn->begin) and goes out in front of the next request, in front of
 * the same synchronisation point: where it fails the statement is skipped, and the
 * error is the answer. A transaction that ends before any statement costs nothing.
 *
 * It is due until the server has answered it: where it was cancelled, or skipped,
 * the next request takes it along again, so that nothing that was meant for the
 * transaction is ever run outside of it.
 *
 * Called by phase.c, pool.c, ending.c and the binding.
 */
#ifndef HP_BEGIN_H
#define HP_BEGIN_H

#include "engine/conn.h"

/* Begin a transaction with the next request of the lease. 0, or -1: out of memory. */
int hp_begin_set(hp_conn *conn, const char *sql);
/* The transaction is over. true: it had not begun; false: it has, or may have. */
bool hp_begin_drop(hp_conn *conn);
/* Send it, if it is due. 0, or -1: libpq refused. */
int hp_begin_send(hp_conn *conn, hp_request *req);
/* The server has begun it, or has not. */
void hp_begin_answered(hp_conn *conn, bool done);

#endif
