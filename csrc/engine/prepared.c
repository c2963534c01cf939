/*
 * prepared.c - see prepared.h.
 */
#include "engine/prepared.h"

#include "engine/phase_parts.h"

#include <stdio.h>
#include <stdlib.h>

/* Deallocations that travel with one statement: few, so that a burst of new
 * statements does not make one caller wait for all of them. */
enum { CLOSES_PER_PHASE = 2 };

static int
send_close(hp_conn *conn, const char *name)
{
#ifdef LIBPQ_HAS_CLOSE_PREPARED
    return PQsendClosePrepared(conn->pg, name) ? 0 : -1;
#else
    char text[HP_STMT_NAME_BYTES + 16];
    snprintf(text, sizeof text, "DEALLOCATE \"%s\"", name);
    conn->unnamed = 0;
    return PQsendQueryParams(conn->pg, text, 0, NULL, NULL, NULL, NULL, 0) ? 0 : -1;
#endif
}

int
hp_prepared_send_closes(hp_conn *conn, hp_request *req)
{
    hp_name_list *list = &conn->to_close;
    if (list->count == 0 || PQtransactionStatus(conn->pg) != PQTRANS_IDLE) {
        return 0;
    }
    for (int i = 0; i < CLOSES_PER_PHASE && list->count > 0; i++) {
        hp_stmt *stmt = list->items[--list->count];
        int rc = send_close(conn, stmt->name);
        hp_stmt_unref(stmt);
        if (rc < 0) {
            return -1;
        }
        hp_phase_add_step(req, HP_STEP_CLOSE);
    }
    return hp_phase_send_sync(conn, req);
}

/* Steals the reference. Out of memory: the name stays on the server until the
 * session ends, which is harmless. */
static void
close_later(hp_conn *conn, hp_stmt *stmt)
{
    hp_name_list *list = &conn->to_close;
    if (stmt == NULL || stmt->name[0] == '\0') {
        hp_stmt_unref(stmt);
        return;
    }
    if (list->count == list->size) {
        int size = list->size ? list->size * 2 : 8;
        hp_stmt **items = realloc(list->items, (size_t)size * sizeof *items);
        if (items == NULL) {
            hp_stmt_unref(stmt);
            return;
        }
        list->items = items;
        list->size = size;
    }
    list->items[list->count++] = stmt;
}

int
hp_prepared_send(hp_conn *conn, hp_request *req, bool with_types)
{
    hp_stmt *stmt = req->stmt;
    if (!PQsendPrepare(conn->pg, stmt->name, stmt->sql, with_types ? stmt->nparams : 0,
                       with_types ? stmt->param_types : NULL)) {
        return -1;
    }
    hp_phase_add_step(req, HP_STEP_PREPARE);
    if (stmt->name[0] == '\0') {
        /* Without a statement cache there may be a pooler between us and the
         * session, which has another one ready next time: never rely on it. */
        conn->unnamed = conn->env->statement_cache_size > 0 ? stmt->id : 0;
    } else {
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
            list->items[i] = list->items[--list->count];
            close_later(conn, hp_stmt_cache_add(&conn->stmts, stmt));
            hp_stmt_unref(stmt); /* the list's; the cache has its own */
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
    return hp_stmt_cache_use(&conn->stmts, stmt) || take_back(conn, stmt);
}

void
hp_prepared_forget(hp_conn *conn, hp_stmt *stmt, bool is_gone)
{
    hp_stmt_ref(stmt);
    hp_stmt_cache_drop(&conn->stmts, stmt);
    if (stmt->name[0] == '\0') {
        conn->unnamed = 0;
    }
    if (is_gone) {
        hp_stmt_unref(stmt);
    } else {
        close_later(conn, stmt);
    }
}
