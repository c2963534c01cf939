/*
 * pipe.c - see pipe.h.
 */
#include "engine/pipe.h"

#include "engine/conn_parts.h"
#include "engine/news.h"
#include "engine/phase_parts.h"

#include <stdio.h>

/* In flight at once. Many, since each that waits costs a part of a round trip; not any
 * number, since what is sent cannot be taken back. */
enum { PIPE_WINDOW = 256 };

/* So much is gathered, then the socket is to take it before there is more. */
enum { PIPE_GATHER_BYTES = 64 * 1024 };

/* Besides its parameters: names, lengths, types of messages. */
enum { MESSAGE_BYTES = 64 };

static const char ROLLBACK[] = "ROLLBACK";

/* ---- output ---- */

void
hp_pipe_flush(hp_conn *conn)
{
    hp_pipe *pipe = &conn->pipe;
    if (conn->state != HP_CONN_READY || pipe->gathering || pipe->advancing || !pipe->unflushed) {
        return;
    }
    pipe->unflushed = false;
    pipe->gathered = 0;
    if (pipe->answer_due) {
        pipe->answer_due = false;
        if (!PQsendFlushRequest(conn->pg)) {
            hp_conn_break_sending(conn);
            return;
        }
    }
    hp_conn_flush(conn);
}

static bool
is_full(const hp_conn *conn)
{
    return (conn->watch.events & HP_WRITE) != 0;
}

/* Let the socket have what was gathered, if that is much. */
static void
give_way(hp_conn *conn, const hp_request *req)
{
    hp_pipe *pipe = &conn->pipe;
    pipe->gathered += MESSAGE_BYTES;
    for (int i = 0; i < req->params.n; i++) {
        pipe->gathered += req->params.lengths != NULL ? (size_t)req->params.lengths[i] : 0;
    }
    if (pipe->gathered >= PIPE_GATHER_BYTES) {
        bool gathering = pipe->gathering;
        pipe->gathered = 0;
        pipe->gathering = false;
        hp_conn_flush(conn);
        pipe->gathering = gathering;
    }
}

/* ---- what may be sent ---- */

/* Its last message has come, and its end is about to. */
static bool
is_dying(const hp_conn *conn)
{
    return conn->fatal_sqlstate[0] != '\0';
}

static bool
is_last_phase(const hp_request *req)
{
    return req->phase == HP_PHASE_EXECUTE || req->phase == HP_PHASE_CONTROL;
}

static bool
may_follow(const hp_conn *conn)
{
    const hp_request *last = conn->inflight.last;
    if (conn->cancel != NULL || conn->pipe.rollback_due || is_full(conn) || is_dying(conn)) {
        return false;
    }
    if (last == NULL) {
        return !conn->probe_due || conn->pipe.unsynced; /* a probe cannot be made inside a segment */
    }
    /* Where a BEGIN that travels with a statement (begin.h) failed, the next would run outside. */
    return !conn->probe_due && conn->begin == NULL && last->piped && last->kind != HP_REQ_END && is_last_phase(last) &&
           conn->inflight.count < PIPE_WINDOW && !conn->inflight.first->abandoned;
}

static bool
is_doomed(const hp_conn *conn, const hp_request *req)
{
    if (req->kind == HP_REQ_END) {
        return !conn->pipe.unsynced;
    }
    return req->abandoned ||
           (req->open_ended && req->kind != HP_REQ_BEGIN && (!conn->pipe.unsynced || conn->pipe.failed));
}

static void
set_skipped(hp_error *err)
{
    hp_error_set(err, HP_ERR_PIPELINE, "the statement was not run: the transaction of the pipeline had failed before");
    snprintf(err->sqlstate, sizeof err->sqlstate, "25P02");
}

static void
skip(hp_conn *conn, hp_request *req)
{
    hp_error err;
    set_skipped(&err);
    conn->pipe.failed |= req->open_ended;
    hp_conn_tell(conn, req, NULL, &err);
    hp_conn_let_go(conn, req);
}

void
hp_pipe_advance(hp_conn *conn)
{
    hp_pipe *pipe = &conn->pipe;
    bool gathering = pipe->gathering;
    if (pipe->advancing) {
        return; /* code of the user's that runs in here: the loop below goes on with it */
    }
    pipe->advancing = pipe->gathering = true;
    while (conn->state == HP_CONN_READY && conn->pending.first != NULL && conn->pending.first->piped &&
           may_follow(conn)) {
        hp_request *req = conn->pending.first;
        hp_request_remove(&conn->pending, req);
        req->waits = false;
        if (is_doomed(conn, req)) {
            skip(conn, req);
            continue;
        }
        hp_conn_send(conn, req);
        if (conn->state == HP_CONN_READY && conn->inflight.last == req) {
            give_way(conn, req);
        }
    }
    pipe->advancing = false;
    pipe->gathering = gathering;
}

void
hp_pipe_submit(hp_conn *conn, hp_request *req)
{
    req->waits = true;
    hp_request_push(&conn->pending, req);
    if (!conn->in_receive) { /* else between two results of one answer, where libpq takes nothing */
        hp_pipe_advance(conn);
    }
}

/* ---- leaving ---- */

static bool
is_waited_for_behind(const hp_request *req)
{
    for (req = req->next; req != NULL; req = req->next) {
        if (!req->abandoned) {
            return true;
        }
    }
    return false;
}

/* What runs, and nobody waits for; NULL: somebody does. Which of a segment's statements it
 * is only the server knows, since their answers may come all at once; one that was
 * abandoned dooms them all. */
static hp_request *
unwanted(const hp_conn *conn)
{
    hp_request *req = conn->inflight.first;
    while (req != NULL && req->open_ended && !req->abandoned) {
        req = req->next;
    }
    return req != NULL && req->piped && req->abandoned ? req : NULL;
}

static void
end_unwanted(hp_conn *conn)
{
    hp_request *req = unwanted(conn);
    if (req == NULL || req->ending) {
        return;
    }
    req->ending = true;
    if (req != conn->inflight.first || req->open_ended || !is_waited_for_behind(req)) {
        hp_conn_cancel_first(conn);
    } else {
        hp_conn_await_end(conn);
    }
}

void
hp_pipe_go_on(hp_conn *conn)
{
    if (conn->state == HP_CONN_READY) {
        end_unwanted(conn);
    }
    if (conn->state == HP_CONN_READY) {
        hp_pipe_advance(conn);
    }
}

void
hp_pipe_abandoned(hp_conn *conn, hp_request *req)
{
    if (req->waits && (!conn->pipe.open || (!req->open_ended && req->kind != HP_REQ_END))) {
        hp_request_remove(&conn->pending, req);
        hp_conn_let_go(conn, req);
    } else if (!req->waits) {
        conn->pipe.failed |= req->open_ended;
        if (!conn->in_receive) {
            end_unwanted(conn);
        }
    }
}

bool
hp_pipe_runs_innocent(const hp_conn *conn)
{
    return conn->inflight.first != NULL && conn->inflight.first->piped && unwanted(conn) == NULL;
}

/* ---- open and closed ---- */

void
hp_pipe_open(hp_conn *conn)
{
    conn->pipe.open = true;
}

void
hp_pipe_close(hp_conn *conn)
{
    hp_request *next;
    conn->pipe.open = false;
    for (hp_request *req = conn->pending.first; req != NULL; req = next) {
        next = req->next;
        if (req->piped && req->abandoned) {
            hp_request_remove(&conn->pending, req);
            hp_conn_let_go(conn, req);
        }
    }
    hp_pipe_flush(conn);
    if (conn->state == HP_CONN_READY && conn->inflight.first == NULL && conn->cancel == NULL) {
        hp_pipe_rolls_back(conn);
    }
}

bool
hp_pipe_rolls_back(hp_conn *conn)
{
    if (!conn->pipe.rollback_due && (!conn->pipe.unsynced || conn->pipe.open)) {
        return false;
    }
    conn->pipe.rollback_due = false;
    hp_conn_run_internal(conn, ROLLBACK);
    conn->in_transaction = false; /* to whoever asks meanwhile */
    return true;
}

/* ---- BEGIN and END ---- */

bool
hp_pipe_start(hp_conn *conn, hp_request *req)
{
    const char *sql = req->script;
    if (req->kind != HP_REQ_BEGIN && req->kind != HP_REQ_END &&
        (req->kind != HP_REQ_INTERNAL || !conn->pipe.unsynced)) {
        return false;
    }
    if (req->kind == HP_REQ_END && (conn->pipe.failed || req->abandoned)) {
        sql = ROLLBACK; /* which its tag tells */
    }
    if (hp_phase_begin(conn, req, HP_PHASE_CONTROL) < 0) {
        goto error;
    }
    conn->unnamed = 0;
    hp_phase_add_step(req, HP_STEP_CONTROL);
    if (!PQsendQueryParams(conn->pg, sql, 0, NULL, NULL, NULL, NULL, 0)) {
        goto error;
    }
    if (req->kind == HP_REQ_BEGIN) {
        conn->pipe.unsynced = true;
        conn->pipe.failed = false;
    } else {
        conn->in_transaction = false; /* to whoever asks meanwhile */
    }
    if (hp_phase_send_end(conn, req) < 0) {
        goto error;
    }
    hp_conn_flush(conn);
    return true;
error:
    hp_conn_break_sending(conn);
    return true;
}

/* The last of a session: libpq takes those behind it in the segment for skipped, and they
 * are lost. */
void
hp_pipe_note_error(hp_conn *conn, const hp_request *req, const PGresult *error)
{
    if (req->open_ended) {
        hp_news_take_reason(conn, error);
    }
}

void
hp_pipe_finish_skipped(hp_conn *conn, hp_request *req)
{
    hp_error err;
    if (is_dying(conn)) {
        hp_conn_lost(conn);
        return;
    }
    set_skipped(&err);
    hp_conn_finish(conn, req, &err);
}

void
hp_pipe_control_done(hp_conn *conn, hp_request *req)
{
    if (req->kind != HP_REQ_BEGIN) {
        /* Nothing is in flight behind it: libpq tells. */
        conn->pipe.rollback_due = PQtransactionStatus(conn->pg) != PQTRANS_IDLE;
    }
    if (req->failure != NULL) {
        hp_phase_finish_with_failure(conn, req);
    } else if (req->skipped) {
        hp_pipe_finish_skipped(conn, req);
    } else {
        hp_conn_finish(conn, req, NULL);
    }
}
