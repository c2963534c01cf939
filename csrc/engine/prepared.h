/*
 * prepared.h - which statements a session has prepared: preparing one, knowing
 * that it is, and closing those that are not needed any more.
 *
 * A statement falls out of the session's cache (stmt.h) and waits on
 * conn->to_close; until it is closed on the server it can be taken back.
 *
 * Called by phase.c only.
 */
#ifndef HP_PREPARED_H
#define HP_PREPARED_H

#include "engine/conn.h"

/* Is it prepared on this session? Makes it the one that was used last. */
bool hp_prepared_is(hp_conn *conn, hp_stmt *stmt);
/* Send the preparation of req->stmt, as a step of its own. 0, or -1: libpq refused. */
int hp_prepared_send(hp_conn *conn, hp_request *req, bool with_types);
/* Close statements that fell out of the cache, in front of the next one and
 * with a synchronisation point of their own, so that an error stays theirs. Not
 * inside a transaction: a failed one would refuse. 0, or -1: libpq refused. */
int hp_prepared_send_closes(hp_conn *conn, hp_request *req);
/* This session must not use it again; the server may still have it, unless it
 * is known to be gone. */
void hp_prepared_forget(hp_conn *conn, hp_stmt *stmt, bool is_gone);

#endif
