/*
 * conn.c - see conn.h. Life, input and output of one session; what the bytes
 * mean is phase.c, how it connects connect.c, how it cancels cancel.c, how it
 * ends ending.c, how it copies copy.c.
 */
#include "engine/conn_parts.h"

#include "engine/batch.h"
#include "engine/cancel.h"
#include "engine/connect.h"
#include "engine/conninfo.h"
#include "engine/copy.h"
#include "engine/news.h"
#include "engine/phase.h"
#include "engine/prepared.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A cancel request that came before the statement began is ignored by the
 * server: ask again after this time. */
static const hp_time CANCEL_AGAIN_US = 250 * HP_MS;

/* An empty round trip. Due after each cancel request, also where the statement ended by
 * query_canceled: there may have been two requests, or statement_timeout was quicker. */
static const char PROBE[] = "";

static void on_ready(hp_watch *watch, unsigned events, hp_time now);
static void on_timer(hp_timer *timer, hp_time now);
static void check_free(hp_conn *conn);

#define CONN_OF(pointer, member)  ((hp_conn *)(void *)((char *)(pointer)-offsetof(hp_conn, member)))
#define REQUEST_OF(timer_pointer) ((hp_request *)(void *)((char *)(timer_pointer)-offsetof(hp_request, timer)))

/* ---- life ---- */

hp_conn *
hp_conn_new(hp_env *env)
{
    hp_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL) {
        return NULL;
    }
    if (hp_stmt_cache_init(&conn->stmts, env->statement_cache_size) < 0) {
        free(conn);
        return NULL;
    }
    conn->env = env;
    conn->watch.fd = -1;
    conn->watch.ready = on_ready;
    conn->timer.fire = on_timer;
    conn->closing_fd = -1;
    conn->expires_at = HP_NEVER;
    hp_request_init(&conn->internal, HP_REQ_INTERNAL);
    return conn;
}

void
hp_conn_forget_statements(hp_conn *conn)
{
    hp_stmt_cache_clear(&conn->stmts);
    while (conn->to_close.count > 0) {
        hp_stmt_unref(conn->to_close.items[--conn->to_close.count]);
    }
    hp_prepared_forget_owned(conn);
    conn->unnamed = 0;
}

void
hp_conn_free(hp_conn *conn)
{
    if (conn == NULL) {
        return;
    }
    hp_stmt_cache_destroy(&conn->stmts);
    hp_targets_free(conn->own_targets, conn->nown_targets);
    free(conn->to_close.items);
    free(conn->owned.items);
    free(conn);
}

int
hp_conn_open(hp_conn *conn)
{
    conn->use = HP_USE_OPENING;
    conn->open_deadline = conn->env->connect_timeout == HP_NEVER ? HP_NEVER : hp_now() + conn->env->connect_timeout;
    hp_error_set(&conn->connect_error, HP_ERR_CONNECT, "no host to connect to");
    if (hp_connect_start(conn) < 0) {
        return -1;
    }
    conn->state = HP_CONN_CONNECTING;
    return 0;
}

void
hp_conn_connected(hp_conn *conn)
{
    hp_env *env = conn->env;
    hp_timer_stop(&env->reactor, &conn->timer);
    hp_connect_cleanup(conn);
    PQsetNoticeReceiver(conn->pg, hp_news_take_notice, conn);
    PQsetErrorVerbosity(conn->pg, PQERRORS_DEFAULT);
    if (PQsetnonblocking(conn->pg, 1) != 0 ||
        hp_reactor_watch(&env->reactor, &conn->watch, PQsocket(conn->pg), HP_READ) < 0) {
        hp_error_set(&conn->connect_error, HP_ERR_CONNECT, "the socket could not be watched: %s", strerror(errno));
        hp_conn_connect_failed(conn);
        return;
    }
    conn->state = HP_CONN_READY;
    conn->opened_at = hp_now();
    const char *strings = PQparameterStatus(conn->pg, "standard_conforming_strings");
    conn->odd_strings = strings != NULL && strcmp(strings, "on") != 0;
    if (hp_conn_settings(conn) != NULL && !conn->taken_over) {
        hp_conn_run_settings(conn); /* owner->idle() follows */
    } else {
        env->owner->opened(conn);
    }
}

/* ---- the end of a request ---- */

void
hp_conn_let_go(hp_conn *conn, hp_request *req)
{
    hp_timer_stop(&conn->env->reactor, &req->timer);
    PQclear(req->result);
    PQclear(req->failure);
    req->result = req->failure = NULL;
    req->state = HP_REQ_DONE;
    req->conn = NULL;
    if (req->kind == HP_REQ_GHOST) {
        hp_stmt_unref(req->stmt);
        free(req);
    } else if (req->kind != HP_REQ_INTERNAL) {
        conn->env->up->released(req);
    }
}

void
hp_conn_tell(hp_conn *conn, hp_request *req, PGresult *result, const hp_error *err)
{
    if (req->abandoned || req->kind == HP_REQ_INTERNAL) {
        PQclear(result);
        return;
    }
    req->abandoned = true; /* nobody waits for a second answer */
    conn->env->up->done(req, result, err);
}

/* client_encoding other than UTF8 would make text mean something else: what
 * came is not delivered and the session not used again. */
static bool
encoding_changed(const hp_conn *conn)
{
    static int utf8 = -2;
    if (utf8 == -2) {
        utf8 = pg_char_to_encoding("UTF8");
    }
    return PQclientEncoding(conn->pg) != utf8;
}

static const char *
what_internal(const hp_conn *conn)
{
    return conn->use == HP_USE_OPENING ? "set up" : "reset";
}

/* The probe took the cancel request that it was sent for; another may follow. */
static bool
is_probe_hit(const hp_request *req)
{
    const char *state = req->failure ? PQresultErrorField(req->failure, PG_DIAG_SQLSTATE) : NULL;
    return req->script == PROBE && state != NULL && strcmp(state, "57014") == 0;
}

static void
finish_internal(hp_conn *conn, hp_request *req)
{
    hp_error err;
    hp_error_clear(&err);
    if (is_probe_hit(req)) {
        conn->probe_due = true;
    } else if (req->failure != NULL) {
        const char *text = PQresultErrorField(req->failure, PG_DIAG_MESSAGE_PRIMARY);
        hp_error_set(&err, HP_ERR_LOST, "the session could not be %s: %s", what_internal(conn),
                     text ? text : "no reason given");
    }
    hp_conn_let_go(conn, req);
    if (err.kind != HP_ERR_NONE) {
        hp_conn_break(conn, &err);
    } else {
        check_free(conn);
    }
}

void
hp_conn_finish(hp_conn *conn, hp_request *req, const hp_error *err)
{
    hp_env *env = conn->env;
    hp_error encoding;
    hp_request_remove(&conn->inflight, req);
    conn->load -= req->load;
    req->state = HP_REQ_DONE; /* what runs from here on cannot abandon it any more */
    if (req->kind == HP_REQ_INTERNAL) {
        finish_internal(conn, req);
        return;
    }
    conn->pipe.failed |= req->open_ended && (err != NULL || req->abandoned);
    PGresult *result = req->result;
    req->result = NULL;
    conn->queries++;
    hp_histogram_add(&env->stats.query, env->reactor.now - req->sent);
    const char *state = req->failure ? PQresultErrorField(req->failure, PG_DIAG_SQLSTATE) : NULL;
    if (state != NULL) {
        hp_stats_error(&env->stats, state);
    }
    hp_timer_stop(&env->reactor, &req->timer);
    if (encoding_changed(conn)) {
        hp_error_set(&encoding, HP_ERR_ENCODING,
                     "client_encoding was changed to %s: the connection was closed, since text would be misread",
                     pg_encoding_to_char(PQclientEncoding(conn->pg)));
        hp_conn_break(conn, &encoding);
        err = &encoding;
    } else if (PQstatus(conn->pg) == CONNECTION_BAD) {
        hp_conn_lost(conn);
    } else {
        /* The session takes its next request before this answer is decoded:
         * the server works meanwhile. */
        if (env->pipeline > 0 && !req->piped) {
            env->owner->answered(conn, req);
        }
        check_free(conn);
    }
    if (err != NULL) {
        PQclear(result);
        result = NULL;
    }
    hp_conn_tell(conn, req, result, err);
    hp_conn_let_go(conn, req);
}

/* ---- output ---- */

int
hp_conn_flush(hp_conn *conn)
{
    if (hp_conn_defer_flush(conn)) {
        return 0;
    }
    int rc = PQflush(conn->pg);
    if (rc < 0) {
        hp_conn_break_sending(conn);
        return -1;
    }
    unsigned events = rc ? HP_READ | HP_WRITE : HP_READ;
    if (events != conn->watch.events &&
        hp_reactor_watch(&conn->env->reactor, &conn->watch, PQsocket(conn->pg), events) < 0) {
        hp_conn_break_sending(conn);
        return -1;
    }
    return rc;
}

static bool
is_waited_for(const hp_request_list *list)
{
    for (const hp_request *req = list->first; req != NULL; req = req->next) {
        if (!req->abandoned && !req->ahead && req->kind != HP_REQ_INTERNAL) {
            return true;
        }
    }
    return false;
}

bool
hp_conn_is_busy(const hp_conn *conn)
{
    return conn->pipe.open || is_waited_for(&conn->pending) || is_waited_for(&conn->inflight);
}

static bool
is_on(const hp_request_list *list, const hp_request *req)
{
    const hp_request *each = list->first;
    while (each != NULL && each != req) {
        each = each->next;
    }
    return each != NULL;
}

bool
hp_conn_is_free(const hp_conn *conn)
{
    return conn->state == HP_CONN_READY && conn->inflight.first == NULL && conn->cancel == NULL && !conn->probe_due &&
           !conn->pipe.unsynced && !conn->pipe.rollback_due;
}

static void
statement_timed_out(hp_timer *timer, hp_time now)
{
    hp_request *req = REQUEST_OF(timer);
    hp_conn *conn = req->conn;
    hp_error err;
    hp_time limit = timer->at == req->deadline ? req->limit : req->command_timeout;
    double seconds = (double)limit / (double)HP_SECOND;
    (void)now;
    hp_error_set(&err, HP_ERR_QUERY_TIMEOUT, "the statement took longer than %.3f s and was cancelled", seconds);
    err.seconds = seconds;
    conn->env->stats.query_timeouts++;
    hp_conn_withdraw(conn, req, &err);
}

void
hp_conn_send(hp_conn *conn, hp_request *req)
{
    conn->in_transaction = hp_conn_in_transaction(conn);
    hp_request_push(&conn->inflight, req);
    conn->load += req->load;
    hp_phase_start(conn, req);
}

bool
hp_conn_accept(hp_conn *conn, hp_request *req)
{
    hp_time now = hp_now();
    hp_time at = req->command_timeout == HP_NEVER ? HP_NEVER : now + req->command_timeout;
    req->conn = conn;
    req->state = HP_REQ_SENT;
    req->sent = now;
    req->timer.fire = statement_timed_out;
    conn->env->stats.queries++;
    if (req->deadline < at) {
        at = req->deadline;
    }
    if (hp_timer_start(&conn->env->reactor, &req->timer, at) < 0) {
        hp_error err;
        hp_error_set(&err, HP_ERR_NO_MEMORY, "out of memory");
        hp_conn_tell(conn, req, NULL, &err);
        hp_conn_let_go(conn, req);
        check_free(conn);
        return false;
    }
    return true;
}

void
hp_conn_submit(hp_conn *conn, hp_request *req)
{
    if (!hp_conn_accept(conn, req)) {
        return;
    }
    if (req->piped) {
        hp_pipe_submit(conn, req);
    } else if (hp_conn_is_free(conn)) {
        hp_conn_send(conn, req);
    } else {
        hp_request_push(&conn->pending, req);
    }
}

void
hp_conn_run_internal(hp_conn *conn, const char *script)
{
    hp_request *req = &conn->internal;
    hp_request_init(req, HP_REQ_INTERNAL);
    req->script = script;
    req->conn = conn;
    req->state = HP_REQ_SENT;
    if (hp_timer_start(&conn->env->reactor, &conn->timer, hp_now() + conn->env->cancel_timeout) < 0) {
        hp_error err;
        hp_error_set(&err, HP_ERR_NO_MEMORY, "out of memory");
        hp_conn_break(conn, &err);
        return;
    }
    hp_conn_send(conn, req);
}

const char *
hp_conn_settings(const hp_conn *conn)
{
    const hp_target *target = hp_conn_target(conn);
    return conn->plain_startup ? target->settings : target->overridden;
}

void
hp_conn_run_settings(hp_conn *conn)
{
    conn->settings_due = false;
    hp_conn_run_internal(conn, hp_conn_settings(conn));
}

/* ---- cancelling ---- */

static void
give_up_cancel(hp_conn *conn)
{
    hp_error err;
    hp_error_set(&err, HP_ERR_LOST, "a cancelled statement did not end within %.1f s: the connection was given up%s%s",
                 (double)conn->env->cancel_timeout / (double)HP_SECOND,
                 conn->cancel_failure[0] ? "; the last cancel request could not be delivered: " : "",
                 conn->cancel_failure);
    hp_conn_break(conn, &err);
}

static void
start_cancel(hp_conn *conn)
{
    conn->probe_due = true;
    if (conn->cancel == NULL && hp_cancel_start(conn) < 0) {
        give_up_cancel(conn);
    }
}

bool
hp_conn_await_end(hp_conn *conn)
{
    hp_time now = hp_now();
    conn->open_deadline = now + conn->env->cancel_timeout;
    if (hp_timer_start(&conn->env->reactor, &conn->timer, now + CANCEL_AGAIN_US) < 0) {
        give_up_cancel(conn);
        return false;
    }
    return true;
}

void
hp_conn_cancel_first(hp_conn *conn)
{
    if (hp_conn_await_end(conn)) {
        start_cancel(conn);
    }
}

void
hp_conn_abandon(hp_conn *conn, hp_request *req)
{
    hp_timer_stop(&conn->env->reactor, &req->timer);
    req->abandoned = true;
    if (req->piped) {
        hp_pipe_abandoned(conn, req);
        return;
    }
    if (is_on(&conn->pending, req)) {
        hp_request_remove(&conn->pending, req);
        hp_conn_let_go(conn, req);
        return;
    }
    if (hp_batch_is_feeding(req)) {
        hp_batch_abort(conn, req);
        if (conn->state != HP_CONN_READY) {
            return;
        }
    }
    if (conn->inflight.count > 1) {
        return; /* dropped in its turn; if that takes long, the owner sees to it */
    }
    if (hp_conn_await_end(conn) && (req->copy == NULL || hp_copy_abandon(conn, req))) {
        start_cancel(conn);
    }
}

void
hp_conn_withdraw(hp_conn *conn, hp_request *req, const hp_error *err)
{
    hp_conn_tell(conn, req, NULL, err);
    if (is_on(&conn->pending, req) || is_on(&conn->inflight, req)) { /* the callback may have ended the session */
        hp_conn_abandon(conn, req);
    }
}

void
hp_conn_cancel_over(hp_conn *conn, const char *why)
{
    conn->cancel = NULL;
    snprintf(conn->cancel_failure, sizeof conn->cancel_failure, "%s", why ? why : "");
    hp_trim_message(conn->cancel_failure);
    check_free(conn);
}

static void
internal_timed_out(hp_conn *conn)
{
    hp_error err;
    hp_error_set(&err, HP_ERR_LOST, "the session could not be %s within %.1f s", what_internal(conn),
                 (double)conn->env->cancel_timeout / (double)HP_SECOND);
    hp_conn_break(conn, &err);
}

static void
on_timer(hp_timer *timer, hp_time now)
{
    hp_conn *conn = CONN_OF(timer, timer);
    if (conn->state == HP_CONN_CONNECTING) {
        hp_connect_timer(conn);
    } else if (conn->state == HP_CONN_CLOSING) {
        hp_conn_break(conn, NULL);
    } else if (conn->inflight.first == &conn->internal) {
        internal_timed_out(conn);
    } else if (hp_pipe_runs_innocent(conn)) {
        if (conn->cancel != NULL && hp_timer_start(&conn->env->reactor, &conn->timer, now + CANCEL_AGAIN_US) < 0) {
            give_up_cancel(conn);
        }
    } else if (now >= conn->open_deadline ||
               hp_timer_start(&conn->env->reactor, &conn->timer, now + CANCEL_AGAIN_US) < 0) {
        give_up_cancel(conn);
    } else if (conn->inflight.first != NULL) {
        start_cancel(conn);
    }
}

/* If nothing is under way any more, the session goes on: a round trip where a
 * cancel request may still be on its way to it, the lease's next request, or
 * back to its owner. */
static void
check_free(hp_conn *conn)
{
    if (conn->state != HP_CONN_READY || conn->inflight.first != NULL || conn->cancel != NULL) {
        return;
    }
    if (conn->timer.slot != 0) {
        hp_timer_stop(&conn->env->reactor, &conn->timer);
    }
    if (hp_pipe_rolls_back(conn)) {
        return;
    }
    if (conn->probe_due && !conn->pipe.unsynced) {
        conn->probe_due = false;
        hp_conn_run_internal(conn, PROBE);
    } else if (conn->pending.first != NULL && conn->pending.first->piped) {
        if (!conn->in_receive) { /* else once the answer that is being taken is given */
            hp_pipe_advance(conn);
            hp_pipe_flush(conn);
        }
    } else if (conn->pending.first != NULL) {
        hp_request *req = conn->pending.first;
        hp_request_remove(&conn->pending, req);
        hp_conn_send(conn, req);
    } else {
        conn->env->owner->idle(conn);
    }
}

/* ---- input ---- */

/* Rows of a COPY TO STDOUT that nobody wants. true: its end was reached. */
static bool
drop_copy_rows(hp_conn *conn)
{
    for (;;) {
        char *row;
        int rc = PQgetCopyData(conn->pg, &row, 1);
        if (rc > 0) {
            PQfreemem(row);
            continue;
        }
        if (rc == 0) {
            return false;
        }
        conn->copy_out = false;
        return true;
    }
}

void
hp_conn_receive(hp_conn *conn)
{
    if (conn->in_receive) {
        return;
    }
    conn->in_receive = true;
    conn->pipe.gathering = conn->pipe.open;
    while (conn->state == HP_CONN_READY && conn->inflight.first != NULL) {
        if (conn->copy_out && !drop_copy_rows(conn)) {
            break;
        }
        if (conn->inflight.first->copy != NULL && !hp_copy_receive(conn, conn->inflight.first)) {
            break;
        }
        if (PQisBusy(conn->pg)) {
            break;
        }
        PGresult *res = PQgetResult(conn->pg);
        if (conn->listeners != NULL) {
            hp_news_deliver(conn);
            if (conn->state != HP_CONN_READY) {
                PQclear(res);
                break;
            }
        }
        bool goes_on = conn->inflight.first->piped && (res == NULL || PQresultStatus(res) == PGRES_PIPELINE_SYNC);
        hp_phase_answer(conn, conn->inflight.first, res);
        if (goes_on) {
            hp_pipe_go_on(conn);
        }
    }
    if (conn->pipe.open || conn->pending.first != NULL ||
        (conn->inflight.first != NULL && conn->inflight.first->piped)) {
        hp_pipe_go_on(conn); /* the socket may take more, and code of the user's may have queued or left something */
    }
    conn->in_receive = conn->pipe.gathering = false;
    if (conn->state != HP_CONN_READY) {
        return;
    }
    hp_pipe_flush(conn);
    if (conn->state != HP_CONN_READY) {
        return;
    }
    hp_news_deliver(conn); /* also takes in notices while nothing is in flight */
    if (conn->state != HP_CONN_READY) {
        return;
    }
    if (PQstatus(conn->pg) == CONNECTION_BAD) {
        hp_conn_lost(conn); /* what came made no sense, and libpq has closed the socket */
    }
}

/* -1: at its end; 0: nothing to read; 1: there is. */
static int
peek(const hp_conn *conn)
{
    char byte;
    ssize_t n = recv(PQsocket(conn->pg), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return 0;
    }
    return n > 0 ? 1 : -1;
}

bool
hp_conn_check(hp_conn *conn)
{
    int found = peek(conn);
    if (found == 0) {
        return true;
    }
    /* Mostly the reason why the session is ending, and then its end. */
    if (PQconsumeInput(conn->pg) && found > 0) {
        hp_news_drop(conn); /* it is idle */
        if (conn->fatal_sqlstate[0] == '\0' && peek(conn) >= 0) {
            return true;
        }
    }
    hp_conn_lost(conn);
    return false;
}

static void
on_ready(hp_watch *watch, unsigned events, hp_time now)
{
    hp_conn *conn = CONN_OF(watch, watch);
    (void)now;
    if (conn->state == HP_CONN_CONNECTING) {
        hp_connect_ready(conn);
        return;
    }
    if (conn->state == HP_CONN_CLOSING) {
        hp_conn_see_close(conn);
        return;
    }
    if (conn->inflight.first != NULL && conn->inflight.first->copy != NULL) {
        hp_copy_look(conn, conn->inflight.first);
    }
    if ((events & HP_READ) && !PQconsumeInput(conn->pg)) {
        hp_conn_lost(conn);
        return;
    }
    if ((watch->events & HP_WRITE) && (events & HP_WRITE)) {
        int rc = hp_conn_flush(conn);
        if (rc < 0) {
            return;
        }
        if (rc == 0 && conn->inflight.first != NULL) {
            hp_phase_writable(conn, conn->inflight.first);
        }
        if (conn->state != HP_CONN_READY) {
            return;
        }
    }
    hp_conn_receive(conn);
}

bool
hp_conn_in_transaction(const hp_conn *conn)
{
    if (conn->state != HP_CONN_READY) {
        return false;
    }
    if (conn->begin != NULL) {
        return true; /* to whoever has begun it */
    }
    if (conn->pipe.unsynced || conn->pipe.rollback_due) {
        return conn->pipe.unsynced && conn->pipe.open; /* else it is about to be rolled back */
    }
    PGTransactionStatusType status = PQtransactionStatus(conn->pg);
    return status == PQTRANS_ACTIVE ? conn->in_transaction : status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}
