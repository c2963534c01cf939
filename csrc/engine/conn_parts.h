/*
 * conn_parts.h - what the files of a session (conn.c, connect.c, copy.c, phase.c, pipe.c, share.c,
 * ending.c) need of each other and nobody else may call.
 */
#ifndef HP_CONN_PARTS_H
#define HP_CONN_PARTS_H

#include "engine/conn.h"

/* ---- conn.c ---- */

/* Give a request its answer, if its caller still waits. Takes the result. */
void hp_conn_tell(hp_conn *conn, hp_request *req, PGresult *result, const hp_error *err);
/* The engine knows the request no longer. */
void hp_conn_let_go(hp_conn *conn, hp_request *req);
/* Take every answer that libpq has whole. A callback may end the session. */
void hp_conn_receive(hp_conn *conn);

/* Push it on inflight and send its first phase. */
void hp_conn_send(hp_conn *conn, hp_request *req);
/* Start the timer of a request that is handed to the session. false: it has ended. */
bool hp_conn_accept(hp_conn *conn, hp_request *req);

/* Of a statement that is to end now; if it does not, it is cancelled, again and
 * again, and in the end the session given up. false: that has happened. */
bool hp_conn_await_end(hp_conn *conn);

/* ---- share.c ---- */

/* May what was sent wait to be flushed? Then it is remembered. */
bool hp_conn_defer_flush(hp_conn *conn);
void hp_conn_forget_unsent(hp_conn *conn);
/* The session is lost: those whose statement cannot have begun, out of inflight. */
void hp_conn_strand(hp_conn *conn, hp_request_list *reqs);

/* ---- ending.c ---- */

/* The connection broke: find out why and give the session up. */
void hp_conn_lost(hp_conn *conn);
/* Take the server session out of one that is READY and free, and leave that one
 * CLOSED; its owner is not told. The caller owns what is returned, and drops the
 * attachments. */
PGconn *hp_conn_part_with(hp_conn *conn);
/* What the binding keeps for a session that is CLOSED. Last of all, since its
 * finalizers may be code of the user, which finds the end of the session complete. */
void hp_conn_drop_attachments(hp_conn *conn);
/* CLOSING: has the server closed its end? */
void hp_conn_see_close(hp_conn *conn);

#endif
