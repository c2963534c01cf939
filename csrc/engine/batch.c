/*
 * batch.c - see batch.h.
 */
#include "engine/batch.h"

#include "engine/phase_parts.h"

/* A portion is handed to libpq in slices; between two the socket gets its turn. */
enum { BATCH_SLICE = 64 };

#define SAVEPOINT_NAME "holisticpool_batch"

static const char SET_SAVEPOINT[] = "SAVEPOINT " SAVEPOINT_NAME;
static const char RELEASE_SAVEPOINT[] = "RELEASE SAVEPOINT " SAVEPOINT_NAME;
static const char BACK_TO_SAVEPOINT[] = "ROLLBACK TO SAVEPOINT " SAVEPOINT_NAME;
/* In the middle of a pipeline: of all since the last synchronisation point. */
static const char ROLLBACK[] = "ROLLBACK";
/* There is no such savepoint: the error keeps the caller's transaction, which has a
 * part of the batch in it, from being committed. */
static const char SPOIL_TRANSACTION[] = "ROLLBACK TO SAVEPOINT holisticpool_batch_was_abandoned";

bool
hp_batch_is_feeding(const hp_request *req)
{
    return req->kind == HP_REQ_BATCH && req->state == HP_REQ_SENT && req->phase == HP_PHASE_EXECUTE &&
           req->nsteps > 0 && req->steps[req->nsteps - 1] == HP_STEP_EXECUTE;
}

static int
send_text(hp_conn *conn, hp_request *req, const char *text)
{
    hp_phase_add_step(req, HP_STEP_TEXT);
    conn->unnamed = 0;
    return PQsendQueryParams(conn->pg, text, 0, NULL, NULL, NULL, NULL, 0) ? 0 : -1;
}

int
hp_batch_begin(hp_conn *conn, hp_request *req)
{
    req->in_portions = req->more;
    req->savepoint = req->more && req->in_block;
    return req->savepoint ? send_text(conn, req, SET_SAVEPOINT) : 0;
}

/* Up to two texts, and the synchronisation point. */
static void
end_feeding(hp_conn *conn, hp_request *req, const char *first, const char *second)
{
    bool answered = req->sets_done == req->sets_sent;
    req->more = req->hungry = false;
    if ((first != NULL && send_text(conn, req, first) < 0) || (second != NULL && send_text(conn, req, second) < 0) ||
        hp_phase_send_sync(conn, req) < 0) {
        hp_conn_break_sending(conn);
        return;
    }
    if (answered) {
        req->step++; /* every set was answered before this was sent */
    }
    hp_conn_flush(conn);
}

/* 0, 1: the socket is full, -1: the session is broken. */
static int
hand_over(hp_conn *conn, hp_request *req)
{
    int full = 0;
    while (full == 0 && req->portion_sent < req->sets && req->failure == NULL) {
        for (int i = 0; i < BATCH_SLICE && req->portion_sent < req->sets; i++) {
            conn->env->up->bind_set(req, req->portion_sent);
            if (hp_phase_send_one(conn, req) < 0) {
                hp_conn_break_sending(conn);
                return -1;
            }
            req->portion_sent++;
            req->sets_sent++;
        }
        full = hp_conn_flush(conn);
    }
    return full;
}

void
hp_batch_feed(hp_conn *conn, hp_request *req)
{
    int full = hand_over(conn, req);
    if (full < 0) {
        return;
    }
    if (req->failure != NULL) {
        end_feeding(conn, req, NULL, NULL);
    } else if (req->portion_sent < req->sets) {
        return; /* on with it when the socket takes more */
    } else if (!req->more) {
        end_feeding(conn, req, req->savepoint ? RELEASE_SAVEPOINT : NULL, NULL);
    } else if (full == 0 && !req->hungry) {
        req->hungry = true;
        conn->env->up->hungry(req);
    }
}

void
hp_batch_continue(hp_conn *conn, hp_request *req, int sets, bool more)
{
    if (!hp_batch_is_feeding(req) || req->failure != NULL) {
        return;
    }
    req->sets = sets;
    req->portion_sent = 0;
    req->more = more;
    req->hungry = false;
    hp_batch_feed(conn, req);
}

void
hp_batch_abort(hp_conn *conn, hp_request *req)
{
    if (!hp_batch_is_feeding(req) || req->failure != NULL) {
        return; /* a failure undoes everything, and ends the feeding with its last answer */
    }
    if (!req->in_block) {
        end_feeding(conn, req, ROLLBACK, NULL);
    } else if (req->savepoint) {
        end_feeding(conn, req, BACK_TO_SAVEPOINT, RELEASE_SAVEPOINT);
    } else {
        end_feeding(conn, req, SPOIL_TRANSACTION, NULL);
    }
}
