/*
 * cancel.h - asking the server to stop a statement, without blocking.
 *
 * libpq 17 and newer (cancel.c): PQcancelStart/PQcancelPoll in the reactor,
 * encrypted where the session is.
 *
 * Older (cancel_old.c): for a session by TLS the binding sends the request, by
 * TLS as well, with the key that backend_key.c has learnt. For all others, and
 * where the key is not known, PQcancel(). It blocks, so it runs in a short-lived
 * thread of its own, which tells the end through a pipe that the reactor
 * watches; that request is not encrypted (it carries the session's cancel key,
 * nothing else).
 *
 * Ownership: a job belongs to its session until it is over or detached; a
 * detached one (the session was given up) cleans up after itself. One that the
 * binding was given lives until hp_cancel_done().
 */
#ifndef HP_CANCEL_H
#define HP_CANCEL_H

#include "engine/conn.h"

/* Why a request could not be delivered, as text. */
enum { HP_CANCEL_WHY_BYTES = 256 };

/* Start; 0, or -1 where it cannot be (out of memory or threads). The end is told
 * by hp_conn_cancel_over(), never from inside this call. */
int hp_cancel_start(hp_conn *conn);
/* Nobody waits any more. */
void hp_cancel_detach(hp_cancel *cancel);
/* The session ends now, by order: a last request for what the server runs, as far
 * as it can be sent without anybody waiting. By TLS: with libpq before 17 only,
 * and while the loop runs. */
void hp_cancel_leave(hp_conn *conn);

/* The binding has sent the request (why NULL) or could not. Once for each job of
 * up->cancel(), which it frees; not from inside that. */
void hp_cancel_done(hp_cancel *cancel, const char *why);

#endif
