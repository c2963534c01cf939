/*
 * batch.c - see batch.h.
 */
#include "engine/batch.h"

#include "engine/phase_parts.h"

/* A batch is handed to libpq in slices; between two the socket gets its turn. */
enum { BATCH_SLICE = 64 };

bool
hp_batch_is_feeding(const hp_request *req)
{
    return req->kind == HP_REQ_BATCH && req->state == HP_REQ_SENT && req->phase == HP_PHASE_EXECUTE &&
           req->steps[req->nsteps - 1] != HP_STEP_SYNC;
}

void
hp_batch_feed(hp_conn *conn, hp_request *req)
{
    int full = 0;
    while (full == 0 && req->sets_sent < req->sets && req->failure == NULL) {
        for (int i = 0; i < BATCH_SLICE && req->sets_sent < req->sets; i++) {
            conn->env->up->bind_set(req, req->sets_sent);
            if (hp_phase_send_one(conn, req) < 0) {
                hp_conn_break_sending(conn);
                return;
            }
            req->sets_sent++;
        }
        full = hp_conn_flush(conn);
    }
    if (full < 0 || (req->sets_sent < req->sets && req->failure == NULL)) {
        return;
    }
    if (hp_phase_send_sync(conn, req) < 0) {
        hp_conn_break_sending(conn);
        return;
    }
    if (req->sets_done == req->sets_sent) {
        req->step++; /* every set was answered before the point was sent */
    }
    hp_conn_flush(conn);
}
