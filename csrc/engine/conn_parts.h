/*
 * conn_parts.h - what the files of a session (conn.c, ending.c) need of each other
 * and nobody else may call.
 */
#ifndef HP_CONN_PARTS_H
#define HP_CONN_PARTS_H

#include "engine/conn.h"

/* ---- conn.c ---- */

/* Give a request its answer, if its caller still waits. Takes the result. */
void hp_conn_tell(hp_conn *conn, hp_request *req, PGresult *result, const hp_error *err);
/* The engine knows the request no longer. */
void hp_conn_let_go(hp_conn *conn, hp_request *req);

/* ---- ending.c ---- */

/* The connection broke: find out why and give the session up. */
void hp_conn_lost(hp_conn *conn);
/* CLOSING: has the server closed its end? */
void hp_conn_see_close(hp_conn *conn);

#endif
