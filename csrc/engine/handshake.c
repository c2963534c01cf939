/*
 * handshake.c - see handshake.h.
 */
#include "engine/handshake.h"

#include "engine/backend_key.h"
#include "engine/connect.h"
#include "engine/thread.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct hp_handshake {
    hp_conn *conn;
    hp_watch watch;
    pthread_t thread;
    int pipe[2];                      /* the thread writes one byte when it is done */
    PostgresPollingStatusType status; /* the thread's until it is joined */
};

#define HANDSHAKE_OF(pointer, member) ((hp_handshake *)(void *)((char *)(pointer)-offsetof(hp_handshake, member)))

/* A message of the server's: 'R', its length, what it asks for. */
enum { REQUEST_BYTES = 9, REQUEST_CODE_AT = 5, SASL_CONTINUE = 11 };

/* Has the server sent its half of what the key is made of? With TLS that cannot be seen. */
static bool
is_key_due(PGconn *pg)
{
    unsigned char head[REQUEST_BYTES];
    const char *password = PQpass(pg);
    if (password == NULL || password[0] == '\0') {
        return false;
    }
    if (PQsslInUse(pg)) {
        return true;
    }
    ssize_t n = recv(PQsocket(pg), head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
    return n == REQUEST_BYTES && head[0] == 'R' && head[REQUEST_CODE_AT] == 0 && head[REQUEST_CODE_AT + 1] == 0 &&
           head[REQUEST_CODE_AT + 2] == 0 && head[REQUEST_CODE_AT + 3] == SASL_CONTINUE;
}

bool
hp_handshake_is_due(const hp_conn *conn)
{
    if (!PQisthreadsafe()) {
        return false;
    }
    switch (PQstatus(conn->pg)) {
    case CONNECTION_SSL_STARTUP:
        return true;
    case CONNECTION_AWAITING_RESPONSE:
        return is_key_due(conn->pg);
    default:
        return false;
    }
}

static void *
run(void *arg)
{
    hp_handshake *handshake = arg;
    handshake->status = hp_backend_key_poll(handshake->conn);
    hp_thread_done(handshake->pipe);
    return NULL;
}

static void
drop(hp_handshake *handshake)
{
    handshake->conn->handshake = NULL;
    close(handshake->pipe[0]);
    close(handshake->pipe[1]);
    free(handshake);
}

static PostgresPollingStatusType
join(hp_handshake *handshake)
{
    hp_reactor_unwatch(&handshake->conn->env->reactor, &handshake->watch);
    pthread_join(handshake->thread, NULL);
    PostgresPollingStatusType status = handshake->status;
    drop(handshake);
    return status;
}

static void
on_done(hp_watch *watch, unsigned events, hp_time now)
{
    hp_handshake *handshake = HANDSHAKE_OF(watch, watch);
    hp_conn *conn = handshake->conn;
    (void)events;
    (void)now;
    hp_connect_polled(conn, join(handshake));
}

int
hp_handshake_start(hp_conn *conn)
{
    hp_reactor *reactor = &conn->env->reactor;
    hp_handshake *handshake = calloc(1, sizeof *handshake);
    if (handshake == NULL) {
        return -1;
    }
    if (hp_thread_pipe(handshake->pipe) < 0) {
        free(handshake);
        return -1;
    }
    handshake->conn = conn;
    handshake->watch.fd = -1;
    handshake->watch.ready = on_done;
    conn->handshake = handshake;
    if (hp_reactor_watch(reactor, &handshake->watch, handshake->pipe[0], HP_READ) < 0 ||
        hp_thread_start_joinable(&handshake->thread, run, handshake) < 0) {
        hp_reactor_unwatch(reactor, &handshake->watch);
        drop(handshake);
        return -1;
    }
    hp_reactor_unwatch(reactor, &conn->watch);
    return 0;
}

void
hp_handshake_end(hp_conn *conn)
{
    if (conn->handshake != NULL) {
        join(conn->handshake);
    }
}

void
hp_handshake_forget(hp_conn *conn)
{
    if (conn->handshake != NULL) {
        hp_reactor_unwatch(&conn->env->reactor, &conn->handshake->watch);
        drop(conn->handshake);
        conn->pg = NULL;
    }
}
