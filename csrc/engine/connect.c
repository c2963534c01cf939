/*
 * connect.c - see connect.h.
 */
#include "engine/connect.h"
#include "engine/conn_parts.h"
#include "engine/backend_key.h"
#include "engine/conninfo.h"
#include "engine/handshake.h"
#include "engine/prepared.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* However many addresses there are, none gets less time than this. */
static const hp_time LEAST_ATTEMPT_US = 500 * HP_MS;

static void try_address(hp_conn *conn);

const hp_target *
hp_conn_target(const hp_conn *conn)
{
    return conn->own_targets ? &conn->own_targets[conn->target] : &conn->env->targets[conn->target];
}

static int
count_targets(const hp_conn *conn)
{
    return conn->own_targets ? conn->nown_targets : conn->env->ntargets;
}

static void
drop_addresses(hp_conn *conn)
{
    for (int i = 0; i < conn->naddresses; i++) {
        free(conn->addresses[i]);
    }
    free(conn->addresses);
    conn->addresses = NULL;
    conn->naddresses = 0;
}

/* It is freed when its answer comes. */
static void
withdraw_errand(hp_conn *conn)
{
    hp_errand *errand = conn->errand;
    if (errand != NULL) {
        errand->conn = NULL;
        conn->errand = NULL;
        conn->env->up->withdrawn(conn->env->user, errand);
    }
}

void
hp_connect_cleanup(hp_conn *conn)
{
    hp_handshake_end(conn);
    drop_addresses(conn);
    withdraw_errand(conn);
}

static void
drop_attempt(hp_conn *conn)
{
    hp_handshake_end(conn);
    hp_timer_stop(&conn->env->reactor, &conn->timer);
    hp_reactor_unwatch(&conn->env->reactor, &conn->watch);
    PQfinish(conn->pg);
    conn->pg = NULL;
}

/* ---- errands ---- */

/* NULL: out of memory, and connecting has failed. */
static hp_errand *
new_errand(hp_conn *conn, hp_ask asks)
{
    hp_errand *errand = calloc(1, sizeof *errand);
    if (errand == NULL || hp_timer_start(&conn->env->reactor, &conn->timer, conn->open_deadline) < 0) {
        free(errand);
        hp_error_set(&conn->connect_error, HP_ERR_NO_MEMORY, "out of memory");
        hp_conn_connect_failed(conn);
        return NULL;
    }
    errand->conn = conn;
    errand->asks = asks;
    conn->errand = errand;
    return errand;
}

/* Frees it; the session that waits for the answer, or NULL. */
static hp_conn *
end_errand(hp_errand *errand)
{
    hp_conn *conn = errand->conn;
    free(errand);
    if (conn != NULL) {
        conn->errand = NULL;
    }
    return conn;
}

static void
ask(hp_conn *conn)
{
    hp_errand *errand = new_errand(conn, conn->env->ask);
    if (errand != NULL) {
        conn->env->up->ask(conn->env->user, errand);
    }
}

static void
answer_is_error(hp_conn *conn, const hp_error *err)
{
    conn->connect_error = *err;
    conn->connect_error.result = NULL;
    hp_conn_connect_failed(conn);
}

/* ---- from one target to the next ---- */

static void
try_target(hp_conn *conn)
{
    const hp_target *target = hp_conn_target(conn);
    conn->address = 0;
    if (target->host == NULL) {
        try_address(conn);
        return;
    }
    hp_errand *errand = new_errand(conn, HP_ASK_NOTHING);
    if (errand != NULL) {
        conn->env->up->resolve(conn->env->user, errand, target->host, target->port);
    }
}

static bool
wants_second_pass(const hp_conn *conn)
{
    if (conn->second_pass) {
        return false;
    }
    const hp_target *targets = conn->own_targets ? conn->own_targets : conn->env->targets;
    for (int i = 0; i < count_targets(conn); i++) {
        if (targets[i].prefer_standby) {
            return true;
        }
    }
    return false;
}

static void
next_address(hp_conn *conn)
{
    drop_attempt(conn);
    if (conn->open_deadline != HP_NEVER && hp_now() >= conn->open_deadline) {
        hp_conn_connect_failed(conn);
        return;
    }
    if (++conn->address < conn->naddresses) {
        try_address(conn);
        return;
    }
    drop_addresses(conn);
    if (++conn->target < count_targets(conn)) {
        try_target(conn);
        return;
    }
    if (wants_second_pass(conn)) {
        conn->second_pass = true;
        conn->target = 0;
        try_target(conn);
        return;
    }
    hp_conn_connect_failed(conn);
}

void
hp_errand_targets(hp_errand *errand, hp_target *targets, int n, const hp_error *err)
{
    hp_conn *conn = end_errand(errand);
    if (conn == NULL) {
        hp_targets_free(targets, n);
        return;
    }
    if (n == 0) {
        hp_targets_free(targets, n);
        answer_is_error(conn, err);
        return;
    }
    conn->own_targets = targets;
    conn->nown_targets = n;
    try_target(conn);
}

/* Statements that the one who opened the session has prepared: close them when
 * there is an opportunity. Out of memory: they stay until the session ends. */
static void
inherit_statement(hp_conn *conn, const hp_stmt *prepared)
{
    hp_stmt *name_only = hp_stmt_new("", 0, false, true);
    if (name_only != NULL) {
        memcpy(name_only->name, prepared->name, sizeof name_only->name);
        hp_prepared_forget(conn, name_only, false);
        hp_stmt_unref(name_only);
    }
}

static void
inherit_statements(hp_conn *conn, const hp_conn *from)
{
    for (int i = from->stmts.newest; i >= 0; i = from->stmts.entries[i].older) {
        inherit_statement(conn, from->stmts.entries[i].stmt);
    }
    for (int i = 0; i < from->to_close.count; i++) {
        inherit_statement(conn, from->to_close.items[i]);
    }
    for (int i = 0; i < from->owned.count; i++) {
        inherit_statement(conn, from->owned.items[i]);
    }
}

/* What a session that was opened for another pool needs of its target. */
static int
inherit_target(hp_conn *conn, const hp_conn *from)
{
    const hp_target *target = hp_conn_target(from);
    conn->own_targets = calloc(1, sizeof *conn->own_targets);
    if (conn->own_targets == NULL || hp_target_copy(conn->own_targets, target) < 0) {
        free(conn->own_targets);
        conn->own_targets = NULL;
        return -1;
    }
    conn->nown_targets = 1;
    conn->target = 0;
    conn->plain_startup = from->plain_startup;
    conn->taken_over = true;
    return 0;
}

bool
hp_errand_session(hp_errand *errand, hp_conn *from, const hp_error *err)
{
    hp_conn *conn = end_errand(errand);
    if (conn == NULL) {
        return false;
    }
    if (from == NULL) {
        answer_is_error(conn, err);
        return true;
    }
    if (inherit_target(conn, from) < 0) {
        hp_error_set(&conn->connect_error, HP_ERR_NO_MEMORY, "out of memory");
        hp_conn_connect_failed(conn);
        return false;
    }
    inherit_statements(conn, from);
    conn->pipeline = from->pipeline;
    conn->has_backend_key = from->has_backend_key;
    conn->backend_key = from->backend_key;
    conn->attributes = from->attributes;
    from->attributes = NULL;
    conn->pg = hp_conn_part_with(from);
    hp_conn_connected(conn);
    hp_conn_drop_attachments(from);
    return true;
}

void
hp_errand_addresses(hp_errand *errand, int n, const char *const *addresses, const char *why)
{
    hp_conn *conn = end_errand(errand);
    if (conn == NULL) {
        return;
    }
    conn->addresses = n > 0 ? calloc((size_t)n, sizeof *conn->addresses) : NULL;
    for (int i = 0; i < n && conn->addresses != NULL; i++) {
        conn->addresses[i] = strdup(addresses[i]);
        if (conn->addresses[i] == NULL) {
            break;
        }
        conn->naddresses++;
    }
    if (conn->naddresses == 0) {
        hp_error_set(&conn->connect_error, HP_ERR_CONNECT, "host \"%s\" could not be resolved: %s",
                     hp_conn_target(conn)->host, why ? why : "out of memory");
        next_address(conn);
        return;
    }
    conn->address = 0;
    try_address(conn);
}

/* ---- one attempt ---- */

/* What is left of the time, shared fairly among the addresses not yet tried, so
 * that a silent one leaves something to the others. */
static hp_time
attempt_deadline(const hp_conn *conn, hp_time now)
{
    hp_time share = HP_NEVER;
    if (conn->open_deadline != HP_NEVER) {
        hp_time left = conn->open_deadline - now;
        int addresses = conn->naddresses > conn->address ? conn->naddresses - conn->address : 1;
        int attempts = addresses + (count_targets(conn) - conn->target - 1);
        share = left / attempts;
        if (share < LEAST_ATTEMPT_US) {
            share = left < LEAST_ATTEMPT_US ? left : LEAST_ATTEMPT_US;
        }
    }
    if (hp_conn_target(conn)->attempt_timeout < share) {
        share = hp_conn_target(conn)->attempt_timeout;
    }
    return share == HP_NEVER ? HP_NEVER : now + share;
}

static void
drop_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

static PGconn *
start_libpq(hp_conn *conn)
{
    const hp_target *target = hp_conn_target(conn);
    size_t n = 0;
    while (target->keywords[n] != NULL) {
        n++;
    }
    /* hostaddr and a changed target_session_attrs may be added */
    const char **keywords = calloc(n + 3, sizeof *keywords);
    const char **values = calloc(n + 3, sizeof *values);
    PGconn *pg = NULL;
    if (keywords != NULL && values != NULL) {
        for (size_t i = 0; i < n; i++) {
            keywords[i] = target->keywords[i];
            values[i] = target->values[i];
            if (conn->plain_startup && strcmp(keywords[i], "options") == 0) {
                values[i] = ""; /* as if it was not given */
            }
            if (target->prefer_standby && strcmp(keywords[i], "target_session_attrs") == 0) {
                values[i] = conn->second_pass ? "any" : "standby";
            }
        }
        if (conn->naddresses > 0) {
            keywords[n] = "hostaddr";
            values[n] = conn->addresses[conn->address];
        }
        pg = PQconnectStartParams(keywords, values, 0);
    }
    free(keywords);
    free(values);
    return pg;
}

/* libpq gives no SQLSTATE for a failed connect, but with verbose messages the
 * server's severity is followed by it: "FATAL:  28P01: password ...". */
static void
find_sqlstate(hp_error *err)
{
    for (const char *p = strchr(err->text, ':'); p != NULL; p = strchr(p + 1, ':')) {
        if (strncmp(p, ":  ", 3) != 0) {
            continue;
        }
        const char *state = p + 3;
        size_t len = strspn(state, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (len == HP_SQLSTATE_BYTES - 1 && strncmp(state + len, ": ", 2) == 0) {
            memcpy(err->sqlstate, state, len);
            err->sqlstate[len] = '\0';
            /* what a person reads: without the code and the server's source line */
            memmove((char *)state, state + len + 2, strlen(state + len + 2) + 1);
            char *location = strstr(err->text, "\nLOCATION:");
            if (location != NULL) {
                *location = '\0';
            }
            return;
        }
    }
}

static void
tidy(char *text)
{
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' ')) {
        text[--len] = '\0';
    }
}

/* PgBouncer before 1.20 knows only a few start-up parameters, `options` not among
 * them. Its message is not translated. */
static bool
is_options_refused(const hp_conn *conn, const hp_error *err)
{
    return !conn->plain_startup && hp_conn_target(conn)->settings != NULL &&
           strstr(err->text, "unsupported startup parameter") != NULL && strstr(err->text, "options") != NULL;
}

static void
attempt_failed(hp_conn *conn)
{
    hp_error err;
    hp_error_set(&err, HP_ERR_CONNECT, "%s", conn->pg ? PQerrorMessage(conn->pg) : "out of memory");
    find_sqlstate(&err);
    tidy(err.text);
    err.refused = strstr(err.text, strerror(ECONNREFUSED)) != NULL || strstr(err.text, strerror(ENOENT)) != NULL;
    if (is_options_refused(conn, &err)) {
        drop_attempt(conn);
        conn->plain_startup = true;
        try_address(conn);
        return;
    }
    /* Of several failures the one that the server itself gave says most. */
    if (conn->connect_error.sqlstate[0] == '\0' || err.sqlstate[0] != '\0') {
        conn->connect_error = err;
    }
    next_address(conn);
}

void
hp_connect_polled(hp_conn *conn, PostgresPollingStatusType status)
{
    if (status == PGRES_POLLING_OK) {
        hp_conn_connected(conn);
        return;
    }
    if (status != PGRES_POLLING_READING && status != PGRES_POLLING_WRITING) {
        attempt_failed(conn);
        return;
    }
    /* The socket may be another one now, under the same number. */
    hp_reactor_unwatch(&conn->env->reactor, &conn->watch);
    if (hp_reactor_watch(&conn->env->reactor, &conn->watch, PQsocket(conn->pg),
                         status == PGRES_POLLING_READING ? HP_READ : HP_WRITE) < 0) {
        attempt_failed(conn);
    }
}

static void
try_address(hp_conn *conn)
{
    hp_time now = hp_now();
    conn->pg = start_libpq(conn);
    if (conn->pg == NULL || PQstatus(conn->pg) == CONNECTION_BAD) {
        attempt_failed(conn);
        return;
    }
    PQsetErrorVerbosity(conn->pg, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(conn->pg, drop_notice, NULL);
    if (hp_timer_start(&conn->env->reactor, &conn->timer, attempt_deadline(conn, now)) < 0 ||
        hp_reactor_watch(&conn->env->reactor, &conn->watch, PQsocket(conn->pg), HP_WRITE) < 0) {
        attempt_failed(conn);
    }
}

void
hp_connect_ready(hp_conn *conn)
{
    if (conn->pg == NULL || (hp_handshake_is_due(conn) && hp_handshake_start(conn) == 0)) {
        return;
    }
    hp_connect_polled(conn, hp_backend_key_poll(conn));
}

/* What was asked for did not come. */
static void
answer_is_late(hp_conn *conn)
{
    hp_error_set(&conn->connect_error, HP_ERR_CONNECT_TIMEOUT, "%s",
                 conn->errand->asks == HP_ASK_SESSION ? "the connect callback did not return a connection in time"
                                                      : "the password callback did not return in time");
    hp_conn_connect_failed(conn);
}

static void
time_is_over(hp_conn *conn)
{
    hp_handshake_end(conn);
    if (conn->errand != NULL && conn->errand->asks != HP_ASK_NOTHING) {
        answer_is_late(conn);
        return;
    }
    const hp_target *target = hp_conn_target(conn);
    const char *address = conn->naddresses > 0 ? conn->addresses[conn->address] : "";
    if (conn->connect_error.sqlstate[0] == '\0') {
        if (conn->errand != NULL) {
            hp_error_set(&conn->connect_error, HP_ERR_CONNECT_TIMEOUT, "host \"%s\" could not be resolved in time",
                         target->host);
        } else {
            const char *host = target->host ? target->host : (conn->pg && PQhost(conn->pg) ? PQhost(conn->pg) : "");
            hp_error_set(&conn->connect_error, HP_ERR_CONNECT_TIMEOUT,
                         "connection to server at \"%s\"%s%s%s, port %s timed out", host, address[0] ? " (" : "",
                         address, address[0] ? ")" : "", target->port);
        }
    }
    withdraw_errand(conn);
    next_address(conn);
}

void
hp_connect_timer(hp_conn *conn)
{
    if (conn->pg == NULL && conn->errand == NULL) {
        if (conn->env->ask == HP_ASK_NOTHING) {
            try_target(conn);
        } else {
            ask(conn);
        }
    } else {
        time_is_over(conn);
    }
}

int
hp_connect_start(hp_conn *conn)
{
    conn->target = 0;
    conn->second_pass = conn->plain_startup = false;
    /* Begins in the reactor, so that the caller is not called back from inside. */
    return hp_timer_start(&conn->env->reactor, &conn->timer, hp_now());
}
