/*
 * news.c - see news.h.
 */
#include "engine/news.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One notice: its fields as in the message of the protocol, each a letter and a
 * text with its NUL, and an empty one at the end. */
struct hp_notice {
    struct hp_notice *next;
    char fields[];
};

/* libpq's codes of the fields are the letters of the protocol. */
static const char CODES[] = {
    PG_DIAG_SEVERITY,           PG_DIAG_SEVERITY_NONLOCALIZED,
    PG_DIAG_SQLSTATE,           PG_DIAG_MESSAGE_PRIMARY,
    PG_DIAG_MESSAGE_DETAIL,     PG_DIAG_MESSAGE_HINT,
    PG_DIAG_STATEMENT_POSITION, PG_DIAG_INTERNAL_POSITION,
    PG_DIAG_INTERNAL_QUERY,     PG_DIAG_CONTEXT,
    PG_DIAG_SCHEMA_NAME,        PG_DIAG_TABLE_NAME,
    PG_DIAG_COLUMN_NAME,        PG_DIAG_DATATYPE_NAME,
    PG_DIAG_CONSTRAINT_NAME,    PG_DIAG_SOURCE_FILE,
    PG_DIAG_SOURCE_LINE,        PG_DIAG_SOURCE_FUNCTION,
};

/* ---- notices ---- */

bool
hp_news_take_reason(hp_conn *conn, const PGresult *res)
{
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity == NULL || (strcmp(severity, "FATAL") != 0 && strcmp(severity, "PANIC") != 0)) {
        return false;
    }
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    snprintf(conn->fatal, sizeof conn->fatal, "%s", text ? text : "");
    snprintf(conn->fatal_sqlstate, sizeof conn->fatal_sqlstate, "%s", state ? state : "");
    return true;
}

/* NULL: out of memory. */
static hp_notice *
copy_notice(const PGresult *res)
{
    size_t size = 1;
    for (size_t i = 0; i < sizeof CODES; i++) {
        const char *text = PQresultErrorField(res, CODES[i]);
        size += text ? strlen(text) + 2 : 0;
    }
    hp_notice *notice = malloc(sizeof *notice + size);
    if (notice == NULL) {
        return NULL;
    }
    char *end = notice->fields;
    for (size_t i = 0; i < sizeof CODES; i++) {
        const char *text = PQresultErrorField(res, CODES[i]);
        if (text != NULL) {
            *end++ = CODES[i];
            end = stpcpy(end, text) + 1;
        }
    }
    *end = '\0';
    notice->next = NULL;
    return notice;
}

void
hp_news_take_notice(void *arg, const PGresult *res)
{
    hp_conn *conn = arg;
    if (hp_news_take_reason(conn, res) || conn->listeners == NULL) {
        return;
    }
    hp_notice *notice = copy_notice(res);
    if (notice == NULL) {
        return; /* there is nobody who could be told of it */
    }
    *(conn->notices != NULL ? &conn->last_notice->next : &conn->notices) = notice;
    conn->last_notice = notice;
}

static hp_notice *
first_notice(hp_conn *conn)
{
    hp_notice *notice = conn->notices;
    if (notice != NULL) {
        conn->notices = notice->next;
    }
    return notice;
}

static void
deliver_notices(hp_conn *conn)
{
    hp_notice *notice;
    while ((notice = first_notice(conn)) != NULL) {
        if (conn->listeners != NULL) {
            conn->env->up->noticed(conn, notice->fields);
        }
        free(notice);
    }
}

/* ---- both ---- */

void
hp_news_deliver(hp_conn *conn)
{
    while (conn->state == HP_CONN_READY) {
        PGnotify *notify = PQnotifies(conn->pg); /* where nothing is in flight, it takes notices in, too */
        deliver_notices(conn);
        if (notify == NULL) {
            break;
        }
        if (conn->listeners != NULL) {
            conn->env->up->notified(conn, notify);
        }
        PQfreemem(notify);
    }
}

void
hp_news_drop(hp_conn *conn)
{
    PGnotify *notify;
    while ((notify = PQnotifies(conn->pg)) != NULL) {
        PQfreemem(notify);
    }
    hp_news_free(conn);
}

void
hp_news_free(hp_conn *conn)
{
    while (conn->notices != NULL) {
        free(first_notice(conn));
    }
}
