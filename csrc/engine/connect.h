/*
 * connect.h - how a session comes to be: targets, addresses, PQconnectPoll.
 *
 * Targets are tried in order, of each all addresses in order, one PGconn for
 * each attempt, so that a silent address cannot use up the time of the others.
 * Host names are resolved above (the event loop does it) and given to libpq as
 * `hostaddr`; libpq still sees `host`, for TLS verification and the password
 * file. Called by conn.c; hp_resolution_done() by the binding.
 */
#ifndef HP_CONNECT_H
#define HP_CONNECT_H

#include "engine/conn.h"

/* One name being resolved; outlives a session that was given up meanwhile. */
struct hp_resolution {
    hp_conn *conn; /* NULL: nobody waits for it any more */
};

/* The answer: `n` numeric addresses in the order to try, copied; or n = 0 and
 * why. Frees the job. */
void hp_resolution_done(hp_resolution *job, int n, const char *const *addresses, const char *why);

/* 0, or -1 when out of memory. */
int hp_connect_start(hp_conn *conn);
/* The socket is ready. */
void hp_connect_ready(hp_conn *conn);
/* conn->timer: time to begin, or the attempt's time is over. */
void hp_connect_timer(hp_conn *conn);
/* Drop what an attempt holds (not the PGconn). */
void hp_connect_cleanup(hp_conn *conn);

#endif
