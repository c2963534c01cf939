/*
 * share.c - several requests in flight on one session. Part of conn.h.
 *
 * Only reads share: what may change something or lock rows could wait for a lock
 * whose holder waits for an answer behind it, and could not be sent a second time.
 * A read can: where its turn does not come (the one in front takes long, or the
 * session is lost) it is sent again elsewhere. A ghost, which is a request that
 * nobody waits for, takes its place in the line, and its answers.
 *
 * Each request has a synchronisation point of its own, so that an error, and what
 * follows from it, stays its own. An abandoned one is read and dropped in its
 * turn; cancelled only where it is the one that runs, after those behind it were
 * taken away, since a cancel request may come late and hit the next.
 *
 * Which session a request shares is route.c.
 */
#include "engine/conn_parts.h"
#include "engine/phase.h"

#include <stdlib.h>

bool
hp_request_may_share(const hp_request *req)
{
    const hp_stmt *stmt = req->stmt;
    if ((req->kind != HP_REQ_STATEMENT && req->kind != HP_REQ_GHOST) || stmt == NULL) {
        return false;
    }
    const hp_sql_info *info = &stmt->info;
    return stmt->described && !stmt->outdated && !stmt->owned && stmt->name[0] != '\0' && info->kind == HP_SQL_READ &&
           !info->several && !info->touches && !info->prepares && !info->controls_tx && !info->locks_session;
}

bool
hp_conn_may_share(const hp_conn *conn)
{
    const hp_request *last = conn->inflight.last;
    return last != NULL && conn->state == HP_CONN_READY && conn->use == HP_USE_STATEMENT && conn->pipeline &&
           conn->cancel == NULL && !conn->probe_due && !conn->odd_strings && !conn->touched &&
           last->phase == HP_PHASE_EXECUTE && hp_request_may_share(last);
}

void
hp_conn_share(hp_conn *conn, hp_request *req)
{
    if (hp_conn_accept(conn, req)) {
        hp_conn_send(conn, req);
    }
}

hp_time
hp_conn_head_since(const hp_conn *conn)
{
    hp_time began = conn->inflight.first->began;
    return began > conn->answered_at ? began : conn->answered_at;
}

/* ---- taking requests back ---- */

static hp_request *
new_ghost(const hp_request *req)
{
    hp_request *ghost = malloc(sizeof *ghost);
    if (ghost != NULL) {
        *ghost = *req;
        ghost->kind = HP_REQ_GHOST;
        ghost->abandoned = true;
        ghost->timer = (hp_timer){0};
        ghost->user = NULL;
        hp_stmt_ref(ghost->stmt);
    }
    return ghost;
}

static void
replace(hp_request_list *list, hp_request *req, hp_request *by)
{
    /* `by` is a copy: its neighbours are right already */
    req->prev->next = by; /* never the first */
    if (req->next != NULL) {
        req->next->prev = by;
    } else {
        list->last = by;
    }
    req->prev = req->next = NULL;
}

static void
take_back(hp_conn *conn, hp_request *req, hp_request_list *reqs)
{
    hp_timer_stop(&conn->env->reactor, &req->timer);
    req->state = HP_REQ_QUEUED;
    req->queue = reqs;
    req->conn = NULL;
    hp_request_push(reqs, req);
}

void
hp_conn_split(hp_conn *conn, hp_request_list *reqs)
{
    hp_request *next;
    for (hp_request *req = conn->inflight.first->next; req != NULL; req = next) {
        next = req->next;
        hp_request *ghost = req->abandoned ? NULL : new_ghost(req);
        if (ghost != NULL) {
            replace(&conn->inflight, req, ghost);
            take_back(conn, req, reqs);
        }
    }
}

void
hp_conn_strand(hp_conn *conn, hp_request_list *reqs)
{
    hp_request *next;
    hp_request *first = conn->inflight.first;
    for (hp_request *req = first ? first->next : NULL; req != NULL; req = next) {
        next = req->next;
        /* Once: one that brings sessions down shall not go through all of them. */
        if (!req->abandoned && !req->moved && hp_request_may_share(req)) {
            req->moved = true;
            hp_request_remove(&conn->inflight, req);
            take_back(conn, req, reqs);
        }
    }
}

/* ---- gathering output ---- */

bool
hp_conn_defer_flush(hp_conn *conn)
{
    hp_env *env = conn->env;
    if (conn->pipe.gathering) {
        conn->pipe.unflushed = true;
        return true;
    }
    if (env->corks == 0 || conn->inflight.count < 2) {
        return false; /* the server has nothing to do: send at once */
    }
    if (!conn->is_unsent) {
        conn->is_unsent = true;
        conn->next_unsent = env->unsent;
        env->unsent = conn;
    }
    return true;
}

void
hp_conn_forget_unsent(hp_conn *conn)
{
    hp_conn **link = &conn->env->unsent;
    if (!conn->is_unsent) {
        return;
    }
    while (*link != conn) {
        link = &(*link)->next_unsent;
    }
    *link = conn->next_unsent;
    conn->is_unsent = false;
}

void
hp_env_cork(hp_env *env)
{
    env->corks++;
}

void
hp_env_uncork(hp_env *env)
{
    if (--env->corks > 0) {
        return;
    }
    while (env->unsent != NULL) {
        hp_conn *conn = env->unsent;
        hp_conn_forget_unsent(conn);
        hp_conn_flush(conn);
    }
}
