/*
 * ending.c - the ways in which a session ends: lost, given up, closed, or dropped
 * in a forked child. Part of conn.h.
 *
 * Each way leaves the session CLOSED (closing: CLOSING first), tells its owner,
 * and then answers the requests that were under way, or gives those back whose
 * turn had not come; nothing of the session is touched after that.
 */
#include "engine/begin.h"
#include "engine/cancel.h"
#include "engine/conn_parts.h"
#include "engine/connect.h"
#include "engine/copy.h"
#include "engine/handshake.h"
#include "engine/news.h"
#include "engine/phase.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Everything that only a live session needs. */
static void
release_session(hp_conn *conn)
{
    hp_timer_stop(&conn->env->reactor, &conn->timer);
    hp_reactor_unwatch(&conn->env->reactor, &conn->watch);
    hp_connect_cleanup(conn);
    if (conn->cancel != NULL) {
        hp_cancel_detach(conn->cancel);
        conn->cancel = NULL;
    }
    hp_news_free(conn);
    PQfinish(conn->pg);
    conn->pg = NULL;
    if (conn->closing_fd >= 0) {
        close(conn->closing_fd);
        conn->closing_fd = -1;
    }
    hp_conn_forget_unsent(conn);
    hp_begin_drop(conn);
    conn->pipe = (hp_pipe){0};
    conn->pipeline = conn->copy_out = conn->probe_due = false;
    conn->state = HP_CONN_CLOSED;
}

void
hp_conn_drop_attachments(hp_conn *conn)
{
    void *user = conn->user;
    void *listeners = conn->listeners;
    void *attributes = conn->attributes;
    conn->user = conn->listeners = conn->attributes = NULL;
    hp_conn_forget_statements(conn);
    if (listeners != NULL) {
        conn->env->up->listeners_gone(conn->env->user, listeners);
    }
    if (attributes != NULL) {
        conn->env->up->attributes_gone(conn->env->user, attributes);
    }
    if (user != NULL) {
        conn->env->up->session_closed(conn->env->user, user);
    }
}

void
hp_conn_tell_end(hp_conn *conn)
{
    if (conn->listeners != NULL && !conn->end_told) {
        conn->end_told = true;
        conn->env->up->session_ended(conn);
    }
}

/* The rest of what the server said before it closed: the reason, mostly. */
static void
collect_last_words(hp_conn *conn)
{
    enum { PLENTY = 8 };
    if (conn->inflight.first != NULL && conn->inflight.first->copy != NULL) {
        hp_copy_break(conn, conn->inflight.first);
    }
    for (int i = 0; i < PLENTY; i++) {
        if (PQstatus(conn->pg) == CONNECTION_OK && PQisBusy(conn->pg)) {
            return; /* it still lives, and PQgetResult() would wait for it */
        }
        PGresult *res = PQgetResult(conn->pg);
        const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
        if (state != NULL) {
            const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
            snprintf(conn->fatal, sizeof conn->fatal, "%s", text ? text : "");
            snprintf(conn->fatal_sqlstate, sizeof conn->fatal_sqlstate, "%s", state);
        }
        PQclear(res);
    }
}

void
hp_conn_lost(hp_conn *conn)
{
    hp_error err;
    char message[HP_ERROR_TEXT_BYTES]; /* what is asked of libpq after this adds to it */
    snprintf(message, sizeof message, "%s", PQerrorMessage(conn->pg));
    if (hp_is_lack_of_memory(message)) {
        hp_error_lack_of_memory(&err, message);
        hp_conn_break(conn, &err);
        return;
    }
    collect_last_words(conn);
    const char *why = conn->fatal[0] ? conn->fatal : message;
    hp_error_set(&err, HP_ERR_LOST, "connection to %s was lost: %s", PQhost(conn->pg) ? PQhost(conn->pg) : "server",
                 why[0] ? why : "the server closed it");
    hp_trim_message(err.text);
    snprintf(err.sqlstate, sizeof err.sqlstate, "%s", conn->fatal_sqlstate);
    hp_conn_break(conn, &err);
}

void
hp_conn_break_sending(hp_conn *conn)
{
    /* The reason for a failed write is often in what the server sent before. */
    if (PQstatus(conn->pg) == CONNECTION_OK) {
        PQconsumeInput(conn->pg);
    }
    hp_conn_lost(conn);
}

void
hp_conn_see_close(hp_conn *conn)
{
    char rest[512];
    ssize_t n;
    do {
        n = read(conn->closing_fd, rest, sizeof rest);
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
        hp_conn_break(conn, NULL);
    }
}

void
hp_conn_connect_failed(hp_conn *conn)
{
    hp_error err = conn->connect_error;
    release_session(conn);
    conn->use = HP_USE_GONE;
    conn->env->owner->failed(conn, &err);
}

/* What the server said about a request itself says more than that the
 * connection broke. */
static void
fail_request(hp_conn *conn, hp_request *req, const hp_error *err)
{
    hp_error own;
    const char *state = req->failure ? PQresultErrorField(req->failure, PG_DIAG_SQLSTATE) : NULL;
    if (state != NULL) {
        hp_error_clear(&own);
        own.kind = HP_ERR_SERVER;
        own.result = req->failure;
        snprintf(own.sqlstate, sizeof own.sqlstate, "%s", state);
        err = &own;
    }
    if (err->sqlstate[0] != '\0') {
        hp_stats_error(&conn->env->stats, err->sqlstate);
    }
    hp_conn_tell(conn, req, NULL, err);
    hp_conn_let_go(conn, req);
}

void
hp_conn_break(hp_conn *conn, const hp_error *err)
{
    hp_conn_state was = conn->state;
    hp_request_list stranded = {0};
    hp_error reason;
    if (was == HP_CONN_CLOSED) {
        return;
    }
    if (err != NULL) {
        reason = *err;
        reason.result = NULL;
    } else {
        hp_error_set(&reason, HP_ERR_CLOSED, "the connection was closed");
    }
    if (was == HP_CONN_CONNECTING) {
        conn->connect_error = reason;
        hp_conn_connect_failed(conn);
        return;
    }
    release_session(conn);
    if (conn->env->pipeline > 0 && conn->use == HP_USE_STATEMENT) {
        hp_conn_strand(conn, &stranded);
    }
    if (was == HP_CONN_CLOSING) {
        conn->env->owner->closed(conn);
    } else {
        conn->env->owner->lost(conn, &reason);
    }
    hp_conn_tell_end(conn);
    while (conn->pending.first != NULL) {
        hp_request *req = conn->pending.first;
        hp_request_remove(&conn->pending, req);
        fail_request(conn, req, &reason);
    }
    while (conn->inflight.first != NULL) {
        hp_request *req = conn->inflight.first;
        hp_request_remove(&conn->inflight, req);
        fail_request(conn, req, &reason);
    }
    hp_conn_drop_attachments(conn);
    if (stranded.first != NULL) {
        conn->env->owner->stranded(conn, &stranded, &reason);
    }
}

void
hp_conn_terminate(hp_conn *conn, const hp_error *err)
{
    const hp_request *running = conn->inflight.first;
    if (conn->state == HP_CONN_READY && running != NULL && running->kind != HP_REQ_INTERNAL) {
        hp_cancel_leave(conn);
    }
    hp_conn_break(conn, err);
}

void
hp_conn_close(hp_conn *conn)
{
    hp_env *env = conn->env;
    int fd = PQsocket(conn->pg);
    hp_timer_stop(&env->reactor, &conn->timer);
    hp_reactor_unwatch(&env->reactor, &conn->watch);
    conn->closing_fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    PQfinish(conn->pg); /* sends Terminate; our copy of the socket stays open */
    conn->pg = NULL;
    conn->state = HP_CONN_CLOSING;
    conn->use = HP_USE_GONE;
    if (conn->closing_fd < 0 || hp_reactor_watch(&env->reactor, &conn->watch, conn->closing_fd, HP_READ) < 0 ||
        hp_timer_start(&env->reactor, &conn->timer, hp_now() + env->close_timeout) < 0) {
        hp_conn_break(conn, NULL);
    }
}

PGconn *
hp_conn_part_with(hp_conn *conn)
{
    PGconn *pg = conn->pg;
    conn->pg = NULL; /* not to be closed */
    release_session(conn);
    return pg;
}

void
hp_conn_discard(hp_conn *conn, bool forked)
{
    if (forked && conn->pg != NULL && PQsocket(conn->pg) >= 0) {
        /* PQfinish() says goodbye on the socket, which is the parent's: put a
         * dead one in its place. */
        int fd = PQsocket(conn->pg);
        int dead = socket(AF_UNIX, SOCK_STREAM, 0);
        if (dead < 0 || dup2(dead, fd) < 0) {
            conn->pg = NULL; /* rather leak it */
        }
        if (dead >= 0) {
            close(dead);
        }
    }
    if (forked) {
        hp_handshake_forget(conn);
    }
    release_session(conn);
    while (conn->pending.first != NULL) {
        hp_request *req = conn->pending.first;
        hp_request_remove(&conn->pending, req);
        hp_conn_let_go(conn, req);
    }
    while (conn->inflight.first != NULL) {
        hp_request *req = conn->inflight.first;
        hp_request_remove(&conn->inflight, req);
        hp_conn_let_go(conn, req);
    }
    hp_conn_drop_attachments(conn);
}
