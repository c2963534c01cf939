/*
 * prepared.h - which statements a session has prepared: preparing one, knowing
 * that it is, and closing those that are not needed any more.
 *
 * A statement falls out of the session's cache (stmt.h) and waits on
 * conn->to_close; until it is closed on the server it can be taken back. An owned
 * statement is on conn->owned as long as it is prepared, and to be closed once its
 * owner drops it, or at the latest when the lease ends.
 *
 * Called by phase.c, and by connect.c for what a session came with; the functions for
 * owned statements by pool.c and the binding.
 */
#ifndef HP_PREPARED_H
#define HP_PREPARED_H

#include "engine/conn.h"

/* Is it prepared on this session? Makes it the one that was used last. */
bool hp_prepared_is(hp_conn *conn, hp_stmt *stmt);
/* Has the session shown that its rows have the columns that are described? It may
 * have been prepared with the types of an older description. Only right after
 * hp_prepared_is(). */
bool hp_prepared_knows(const hp_conn *conn, const hp_stmt *stmt);
/* It has. */
void hp_prepared_know(hp_conn *conn, hp_stmt *stmt);
/* Send the preparation of req->stmt, as a step of its own. 0, or -1: libpq refused. */
int hp_prepared_send(hp_conn *conn, hp_request *req, bool with_types);
/* Close statements that fell out of the cache, in front of the next one and
 * with a synchronisation point of their own, so that an error stays theirs.
 * Before libpq 17 not inside a transaction, but for a name that is needed anew.
 * 0, or -1: libpq refused. */
int hp_prepared_send_closes(hp_conn *conn, hp_request *req);
/* So many wait to be closed that a script, with which none can travel, had better
 * wait for some: a session may see nothing outside its transactions but BEGIN. */
bool hp_prepared_crowded(const hp_conn *conn);
/* This session must not use it again; the server may still have it, unless it
 * is known to be gone. */
void hp_prepared_forget(hp_conn *conn, hp_stmt *stmt, bool is_gone);
/* The server refused to prepare it. */
void hp_prepared_failed(hp_conn *conn, hp_stmt *stmt);

/* Nobody needs this owned statement any more (no effect where it is not prepared). */
void hp_prepared_drop(hp_stmt *stmt);
/* ... nor any other of the session's lease. */
void hp_prepared_drop_owned(hp_conn *conn);
/* The server has dropped them all, or is about to. */
void hp_prepared_forget_owned(hp_conn *conn);

#endif
