/*
 * phase.h - what is sent for a request and what its answers mean.
 *
 * One phase is sent at a time (see request.h); the answers of its steps come
 * back in order and the last one, a synchronisation point, ends it. Then the
 * next phase is sent, or the request is finished.
 *
 * In libpq's pipeline mode each step but SYNC answers with results and a NULL,
 * SYNC with one result and no NULL; a SCRIPT runs outside pipeline mode and
 * ends with a NULL.
 *
 * Called by conn.c only; calls back into it through the functions below.
 */
#ifndef HP_PHASE_H
#define HP_PHASE_H

#include "engine/conn.h"

/* Send the first phase of a request that is on conn->inflight. */
void hp_phase_start(hp_conn *conn, hp_request *req);
/* One return value of PQgetResult(), NULL included; takes the result. */
void hp_phase_answer(hp_conn *conn, hp_request *req, PGresult *res);
/* The socket takes more: go on with a batch. */
void hp_phase_writable(hp_conn *conn, hp_request *req);

/* ---- in conn.c ---- */

/* Send what libpq has buffered; breaks the session when that fails. 0, 1: the
 * socket is full and the rest follows, -1: broken. */
int hp_conn_flush(hp_conn *conn);
/* The request is over: `err` NULL means its result is the answer. */
void hp_conn_finish(hp_conn *conn, hp_request *req, const hp_error *err);
/* Break because libpq refused to send: the reason is PQerrorMessage(). */
void hp_conn_break_sending(hp_conn *conn);

#endif
