/*
 * connect.c - see connect.h.
 */
#include "engine/connect.h"

#include "engine/backend_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* However many addresses there are, none gets less time than this. */
static const hp_time LEAST_ATTEMPT_US = 500 * HP_MS;

static void try_address(hp_conn *conn);

static const hp_target *
target_of(const hp_conn *conn)
{
    return &conn->env->targets[conn->target];
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

void
hp_connect_cleanup(hp_conn *conn)
{
    drop_addresses(conn);
    if (conn->resolution != NULL) {
        conn->resolution->conn = NULL; /* freed when the answer comes */
        conn->resolution = NULL;
    }
}

static void
drop_attempt(hp_conn *conn)
{
    hp_timer_stop(&conn->env->reactor, &conn->timer);
    hp_reactor_unwatch(&conn->env->reactor, &conn->watch);
    PQfinish(conn->pg);
    conn->pg = NULL;
}

/* ---- from one target to the next ---- */

static void
try_target(hp_conn *conn)
{
    const hp_target *target = target_of(conn);
    conn->address = 0;
    if (target->host == NULL) {
        try_address(conn);
        return;
    }
    hp_resolution *job = calloc(1, sizeof *job);
    if (job == NULL || hp_timer_start(&conn->env->reactor, &conn->timer, conn->open_deadline) < 0) {
        free(job);
        hp_error_set(&conn->connect_error, HP_ERR_NO_MEMORY, "out of memory");
        hp_conn_connect_failed(conn);
        return;
    }
    job->conn = conn;
    conn->resolution = job;
    conn->env->up->resolve(conn->env->user, job, target->host, target->port);
}

static bool
wants_second_pass(const hp_conn *conn)
{
    if (conn->second_pass) {
        return false;
    }
    for (int i = 0; i < conn->env->ntargets; i++) {
        if (conn->env->targets[i].prefer_standby) {
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
    if (++conn->target < conn->env->ntargets) {
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
hp_resolution_done(hp_resolution *job, int n, const char *const *addresses, const char *why)
{
    hp_conn *conn = job->conn;
    free(job);
    if (conn == NULL) {
        return;
    }
    conn->resolution = NULL;
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
                     target_of(conn)->host, why ? why : "out of memory");
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
        int attempts = addresses + (conn->env->ntargets - conn->target - 1);
        share = left / attempts;
        if (share < LEAST_ATTEMPT_US) {
            share = left < LEAST_ATTEMPT_US ? left : LEAST_ATTEMPT_US;
        }
    }
    if (target_of(conn)->attempt_timeout < share) {
        share = target_of(conn)->attempt_timeout;
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
    const hp_target *target = target_of(conn);
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
    return !conn->plain_startup && target_of(conn)->settings != NULL &&
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

static void
poll_attempt(hp_conn *conn)
{
    PostgresPollingStatusType status = hp_backend_key_poll(conn);
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
    if (conn->pg != NULL) {
        poll_attempt(conn);
    }
}

static void
time_is_over(hp_conn *conn)
{
    const hp_target *target = target_of(conn);
    const char *address = conn->naddresses > 0 ? conn->addresses[conn->address] : "";
    if (conn->connect_error.sqlstate[0] == '\0') {
        if (conn->resolution != NULL) {
            hp_error_set(&conn->connect_error, HP_ERR_CONNECT_TIMEOUT, "host \"%s\" could not be resolved in time",
                         target->host);
        } else {
            const char *host = target->host ? target->host : (conn->pg && PQhost(conn->pg) ? PQhost(conn->pg) : "");
            hp_error_set(&conn->connect_error, HP_ERR_CONNECT_TIMEOUT,
                         "connection to server at \"%s\"%s%s%s, port %s timed out", host, address[0] ? " (" : "",
                         address, address[0] ? ")" : "", target->port);
        }
    }
    if (conn->resolution != NULL) {
        conn->resolution->conn = NULL;
        conn->resolution = NULL;
    }
    next_address(conn);
}

void
hp_connect_timer(hp_conn *conn)
{
    if (conn->pg == NULL && conn->resolution == NULL) {
        try_target(conn);
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
