/*
 * backend_key.h - the key by which a session's statements may be cancelled.
 *
 * libpq before 17 keeps the key to itself and sends cancel requests in clear. For
 * an encrypted one the key is read off libpq's trace of the messages that open a
 * session (PQtrace), for sessions by TLS only. What is traced stays on the stack
 * for the time of one PQconnectPoll() and is wiped. That libpq traces neither
 * what authentication is about nor the password: of what a client sends in that
 * time it writes the length. Called by connect.c.
 *
 * libpq 17 and newer encrypt cancel requests themselves: nothing is traced.
 */
#ifndef HP_BACKEND_KEY_H
#define HP_BACKEND_KEY_H

#include "engine/conn.h"

/* PQconnectPoll(); when the session is open, conn->backend_key is set if it could
 * be learnt. */
PostgresPollingStatusType hp_backend_key_poll(hp_conn *conn);

#endif
