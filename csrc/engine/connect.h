/*
 * connect.h - how a session comes to be: targets, addresses, PQconnectPoll.
 *
 * Targets are tried in order, of each all addresses in order, one PGconn for
 * each attempt, so that a silent address cannot use up the time of the others.
 * Host names are resolved above (the event loop does it) and given to libpq as
 * `hostaddr`; libpq still sees `host`, for TLS verification and the password
 * file. Called by conn.c; the answers to errands by the binding.
 *
 * An errand is what a session being opened has the binding find out without
 * blocking. Each is answered exactly once, also when it was withdrawn or the
 * session is gone; the answer frees it.
 */
#ifndef HP_CONNECT_H
#define HP_CONNECT_H

#include "engine/conn.h"

struct hp_errand {
    hp_conn *conn; /* NULL: nobody waits for it any more */
    hp_ask asks;   /* HP_ASK_NOTHING: the addresses of a host */
    void *user;    /* the binding's */
};

/* The answer to up->resolve(): `n` numeric addresses in the order to try, copied;
 * or n = 0 and why. */
void hp_errand_addresses(hp_errand *errand, int n, const char *const *addresses, const char *why);
/* To HP_ASK_TARGETS: `n` places (steals the array), or n = 0 and the error. */
void hp_errand_targets(hp_errand *errand, hp_target *targets, int n, const hp_error *err);
/* To HP_ASK_SESSION: a session that is READY, free and outside a transaction, of
 * another pool, to be taken over (hp_conn_part_with()); or NULL and the error.
 * false: nobody wants it any more, and it is still the caller's. */
bool hp_errand_session(hp_errand *errand, hp_conn *from, const hp_error *err);

/* 0, or -1 when out of memory. */
int hp_connect_start(hp_conn *conn);
/* The socket is ready. */
void hp_connect_ready(hp_conn *conn);
/* What PQconnectPoll() said. */
void hp_connect_polled(hp_conn *conn, PostgresPollingStatusType status);
/* conn->timer: time to begin, or the attempt's time is over. */
void hp_connect_timer(hp_conn *conn);
/* Drop what an attempt holds (not the PGconn). */
void hp_connect_cleanup(hp_conn *conn);

#endif
