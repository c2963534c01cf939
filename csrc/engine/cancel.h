/*
 * cancel.h - asking the server to stop a statement, without blocking.
 *
 * libpq 17 and newer: PQcancelStart/PQcancelPoll in the reactor, encrypted
 * where the session is. Older: PQcancel() blocks, so it runs in a short-lived
 * thread of its own, which tells the end through a pipe that the reactor
 * watches; that request is not encrypted (it carries the session's cancel key,
 * nothing else). Called by conn.c.
 *
 * Ownership: a job belongs to its session until it is over or detached; a
 * detached one (the session was given up) cleans up after itself.
 */
#ifndef HP_CANCEL_H
#define HP_CANCEL_H

#include "engine/conn.h"

/* Start; 0, or -1 where it cannot be (out of memory or threads). The end is told
 * by hp_conn_cancel_over(), never from inside this call. */
int hp_cancel_start(hp_conn *conn);
/* Nobody waits any more. */
void hp_cancel_detach(hp_cancel *cancel);

#endif
