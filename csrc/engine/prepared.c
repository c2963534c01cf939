/*
 * prepared.c - see prepared.h.
 */
#include "engine/prepared.h"

#include "engine/phase_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What closes travel with one statement. Few, so that a burst of new statements
 * does not make one caller wait for all of them; as many as are made on average,
 * so that their number has a bound. */
enum { LEAST_CLOSES = 2, MOST_CLOSES = 24 };

/* So many are worth a round trip of their own in front of a script. */
enum { CROWD = 32 };

#ifdef LIBPQ_HAS_CLOSE_PREPARED
/* The protocol's Close is no statement: it is obeyed inside a transaction, a failed
 * one too, and no error for a name that is gone. Each phase makes one name at most. */
static int
closes_due(const hp_conn *conn)
{
    return conn->to_close.count < LEAST_CLOSES ? conn->to_close.count : LEAST_CLOSES;
}
#else
/* DEALLOCATE could fail, and its transaction with it: outside only, where half of those
 * is closed that a transaction with many new statements has left. */
static int
closes_due(const hp_conn *conn)
{
    int count = conn->to_close.count;
    if (PQtransactionStatus(conn->pg) != PQTRANS_IDLE) {
        return 0;
    }
    int half = count / 2 < MOST_CLOSES ? count / 2 : MOST_CLOSES;
    int due = half < LEAST_CLOSES ? LEAST_CLOSES : half;
    return due < count ? due : count;
}
#endif

static int
send_close(hp_conn *conn, hp_request *req, hp_stmt *stmt)
{
    hp_phase_add_step(req, HP_STEP_CLOSE);
#ifdef LIBPQ_HAS_CLOSE_PREPARED
    return PQsendClosePrepared(conn->pg, stmt->name) ? 0 : -1;
#else
    char *name = PQescapeIdentifier(conn->pg, stmt->name, strlen(stmt->name));
    char text[2 * HP_STMT_NAME_BYTES + 16];
    snprintf(text, sizeof text, "DEALLOCATE %s", name ? name : "");
    PQfreemem(name);
    conn->unnamed = 0;
    return name != NULL && PQsendQueryParams(conn->pg, text, 0, NULL, NULL, NULL, NULL, 0) ? 0 : -1;
#endif
}

/* ---- lists of statements ---- */

/* Room for one more. 0, or -1: out of memory. */
static int
make_room(hp_name_list *list)
{
    if (list->count < list->size) {
        return 0;
    }
    int size = list->size ? list->size * 2 : 8;
    hp_stmt **items = realloc(list->items, (size_t)size * sizeof *items);
    if (items == NULL) {
        return -1;
    }
    list->items = items;
    list->size = size;
    return 0;
}

/* The reference passes to the caller. */
static hp_stmt *
take_out(hp_name_list *list, int i)
{
    hp_stmt *stmt = list->items[i];
    list->items[i] = list->items[--list->count];
    return stmt;
}

/* Steals the reference. Out of memory: the name stays on the server until the
 * session ends, which is harmless. */
static void
close_later(hp_conn *conn, hp_stmt *stmt)
{
    if (stmt == NULL || stmt->name[0] == '\0' || make_room(&conn->to_close) < 0) {
        hp_stmt_unref(stmt);
        return;
    }
    conn->to_close.items[conn->to_close.count++] = stmt;
}

static int
close_one(hp_conn *conn, hp_request *req, int i)
{
    hp_stmt *stmt = take_out(&conn->to_close, i);
    int rc = send_close(conn, req, stmt);
    hp_stmt_unref(stmt);
    return rc;
}

/* A name that the user chose may be one that is still to be closed. */
static int
close_namesakes(hp_conn *conn, hp_request *req)
{
    for (int i = conn->to_close.count - 1; i >= 0; i--) {
        if (strcmp(conn->to_close.items[i]->name, req->stmt->name) == 0 && close_one(conn, req, i) < 0) {
            return -1;
        }
    }
    return 0;
}

bool
hp_prepared_crowded(const hp_conn *conn)
{
    return conn->to_close.count >= CROWD && closes_due(conn) > 0;
}

int
hp_prepared_send_closes(hp_conn *conn, hp_request *req)
{
    hp_name_list *list = &conn->to_close;
    if (list->count == 0 || req->open_ended) {
        return 0; /* inside a segment of a pipeline there is no synchronisation point */
    }
    if (req->stmt != NULL && req->stmt->owned && req->stmt->home == NULL && close_namesakes(conn, req) < 0) {
        return -1;
    }
    for (int due = closes_due(conn); due > 0; due--) {
        if (close_one(conn, req, list->count - 1) < 0) {
            return -1;
        }
    }
    return req->nsteps > 0 ? hp_phase_send_sync(conn, req) : 0;
}

/* ---- owned ones ---- */

static int
keep(hp_conn *conn, hp_stmt *stmt)
{
    if (make_room(&conn->owned) < 0) {
        return -1;
    }
    hp_stmt_ref(stmt);
    stmt->home = conn;
    stmt->known = false;
    conn->owned.items[conn->owned.count++] = stmt;
    return 0;
}

/* The session's reference passes to the caller; NULL where it has none. */
static hp_stmt *
let_go(hp_conn *conn, hp_stmt *stmt)
{
    for (int i = 0; stmt->home == conn && i < conn->owned.count; i++) {
        if (conn->owned.items[i] == stmt) {
            stmt->home = NULL;
            return take_out(&conn->owned, i);
        }
    }
    return NULL;
}

void
hp_prepared_drop(hp_stmt *stmt)
{
    hp_conn *conn = stmt->home;
    if (conn != NULL) {
        close_later(conn, let_go(conn, stmt));
    }
}

void
hp_prepared_drop_owned(hp_conn *conn)
{
    while (conn->owned.count > 0) {
        hp_prepared_drop(conn->owned.items[conn->owned.count - 1]);
    }
}

void
hp_prepared_forget_owned(hp_conn *conn)
{
    while (conn->owned.count > 0) {
        hp_stmt_unref(let_go(conn, conn->owned.items[conn->owned.count - 1]));
    }
}

/* ---- preparing ---- */

int
hp_prepared_send(hp_conn *conn, hp_request *req, bool with_types)
{
    hp_stmt *stmt = req->stmt;
    if (stmt->owned && stmt->name[0] != '\0' && keep(conn, stmt) < 0) {
        return -1;
    }
    if (!PQsendPrepare(conn->pg, stmt->name, stmt->sql, with_types ? stmt->nparams : 0,
                       with_types ? stmt->param_types : NULL)) {
        return -1;
    }
    hp_phase_add_step(req, HP_STEP_PREPARE);
    if (stmt->name[0] == '\0') {
        /* Without a statement cache there may be a pooler between us and the
         * session, which has another one ready next time: never rely on it. */
        conn->unnamed = conn->env->statement_cache_size > 0 ? stmt->id : 0;
    } else if (!stmt->owned) {
        close_later(conn, hp_stmt_cache_add(&conn->stmts, stmt));
    }
    return 0;
}

/* A statement that fell out of the cache and was not closed yet is still there:
 * preparing it again under its name would fail. */
static bool
take_back(hp_conn *conn, hp_stmt *stmt)
{
    hp_name_list *list = &conn->to_close;
    for (int i = 0; i < list->count; i++) {
        if (list->items[i] == stmt) {
            close_later(conn, hp_stmt_cache_add(&conn->stmts, stmt));
            hp_stmt_unref(take_out(list, i)); /* the cache has its own */
            return true;
        }
    }
    return false;
}

bool
hp_prepared_is(hp_conn *conn, hp_stmt *stmt)
{
    if (stmt->name[0] == '\0') {
        return conn->unnamed == stmt->id;
    }
    if (stmt->owned) {
        return stmt->home == conn;
    }
    return hp_stmt_cache_use(&conn->stmts, stmt) || take_back(conn, stmt);
}

bool
hp_prepared_knows(const hp_conn *conn, const hp_stmt *stmt)
{
    if (stmt->name[0] == '\0') {
        return false;
    }
    return stmt->owned ? stmt->home == conn && stmt->known : hp_stmt_cache_knows(&conn->stmts, stmt);
}

void
hp_prepared_know(hp_conn *conn, hp_stmt *stmt)
{
    if (!stmt->owned) {
        hp_stmt_cache_know(&conn->stmts, stmt);
    } else if (stmt->home == conn) {
        stmt->known = true;
    }
}

void
hp_prepared_failed(hp_conn *conn, hp_stmt *stmt)
{
    hp_stmt_cache_drop(&conn->stmts, stmt);
    hp_stmt_unref(let_go(conn, stmt));
}

void
hp_prepared_forget(hp_conn *conn, hp_stmt *stmt, bool is_gone)
{
    hp_stmt_ref(stmt);
    hp_prepared_failed(conn, stmt);
    if (stmt->name[0] == '\0') {
        conn->unnamed = 0;
    }
    if (is_gone) {
        hp_stmt_unref(stmt);
    } else {
        close_later(conn, stmt);
    }
}
