/*
 * handshake.h - the steps of connecting that take CPU time, in a thread.
 *
 * To prove by SCRAM that it knows the password, libpq derives a key in some 4,096
 * rounds of HMAC, and to begin TLS it reads certificates and calculates: milliseconds
 * in which the loop's thread would do nothing else, for each session that opens. These
 * calls of PQconnectPoll() are made in a thread instead, so that several sessions use
 * several processors, too.
 *
 * While the thread runs the PGconn is its own, and the session's socket is not
 * watched; a pipe says that it has finished. Whoever ends the attempt before that
 * waits for it: it does not wait for the network, and a thread must not outlive the
 * OpenSSL that a program closes at its exit. In a forked child there
 * is no such thread, and what it left half done is not touched.
 *
 * Called by connect.c and ending.c.
 */
#ifndef HP_HANDSHAKE_H
#define HP_HANDSHAKE_H

#include "engine/conn.h"

/* Would the next PQconnectPoll() take long? */
bool hp_handshake_is_due(const hp_conn *conn);
/* Make that call in a thread; hp_connect_polled() follows. 0, or -1: there is none to be had. */
int hp_handshake_start(hp_conn *conn);
/* Wait for it and drop its outcome. No effect where there is none. */
void hp_handshake_end(hp_conn *conn);
/* In a forked child: it is the parent's, and so is conn->pg, which is NULL after this. */
void hp_handshake_forget(hp_conn *conn);

#endif
