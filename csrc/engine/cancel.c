/*
 * cancel.c - see cancel.h: with libpq 17 and newer, in the reactor.
 */
#include "engine/cancel.h"

#include "engine/thread.h"

#ifdef LIBPQ_HAS_ASYNC_CANCEL

#include <stdio.h>
#include <stdlib.h>

struct hp_cancel {
    hp_conn *conn;
    PGcancelConn *pg;
    hp_watch watch;
    hp_timer begin;
};

#define CANCEL_OF(pointer, member) ((hp_cancel *)(void *)((char *)(pointer)-offsetof(hp_cancel, member)))

void
hp_cancel_detach(hp_cancel *cancel)
{
    hp_reactor *reactor = &cancel->conn->env->reactor;
    hp_timer_stop(reactor, &cancel->begin);
    hp_reactor_unwatch(reactor, &cancel->watch);
    PQcancelFinish(cancel->pg);
    free(cancel);
}

static void
over(hp_cancel *cancel, bool delivered)
{
    hp_conn *conn = cancel->conn;
    char why[HP_CANCEL_WHY_BYTES];
    snprintf(why, sizeof why, "%s", PQcancelErrorMessage(cancel->pg));
    hp_cancel_detach(cancel);
    hp_conn_cancel_over(conn, delivered ? NULL : why);
}

static void
poll_cancel(hp_cancel *cancel)
{
    PostgresPollingStatusType status = PQcancelPoll(cancel->pg);
    if (status != PGRES_POLLING_READING && status != PGRES_POLLING_WRITING) {
        over(cancel, status == PGRES_POLLING_OK);
        return;
    }
    hp_reactor *reactor = &cancel->conn->env->reactor;
    hp_reactor_unwatch(reactor, &cancel->watch);
    if (hp_reactor_watch(reactor, &cancel->watch, PQcancelSocket(cancel->pg),
                         status == PGRES_POLLING_READING ? HP_READ : HP_WRITE) < 0) {
        over(cancel, false);
    }
}

static void
on_cancel_ready(hp_watch *watch, unsigned events, hp_time now)
{
    (void)events;
    (void)now;
    poll_cancel(CANCEL_OF(watch, watch));
}

static void
on_begin(hp_timer *timer, hp_time now)
{
    hp_cancel *cancel = CANCEL_OF(timer, begin);
    (void)now;
    if (hp_pipe_runs_innocent(cancel->conn)) {
        over(cancel, true); /* what was meant has ended meanwhile */
        return;
    }
    if (!PQcancelStart(cancel->pg) ||
        hp_reactor_watch(&cancel->conn->env->reactor, &cancel->watch, PQcancelSocket(cancel->pg), HP_WRITE) < 0) {
        over(cancel, false);
    }
}

/* The binding is given no jobs. */
void
hp_cancel_done(hp_cancel *cancel, const char *why)
{
    (void)cancel;
    (void)why;
}

int
hp_cancel_start(hp_conn *conn)
{
    hp_cancel *cancel = calloc(1, sizeof *cancel);
    if (cancel == NULL) {
        return -1;
    }
    cancel->conn = conn;
    cancel->watch.fd = -1;
    cancel->watch.ready = on_cancel_ready;
    cancel->begin.fire = on_begin;
    cancel->pg = PQcancelCreate(conn->pg);
    if (cancel->pg == NULL || hp_timer_start(&conn->env->reactor, &cancel->begin, hp_now()) < 0) {
        PQcancelFinish(cancel->pg);
        free(cancel);
        return -1;
    }
    conn->cancel = cancel;
    return 0;
}

static void *
run_leaving(void *arg)
{
    PGcancel *cancel = arg;
    char why[HP_CANCEL_WHY_BYTES];
    PQcancel(cancel, why, sizeof why); /* nobody is there to be told */
    PQfreeCancel(cancel);
    return NULL;
}

/* The reactor may not run any more, and in a thread TLS could not be done: the
 * process may be about to exit, which takes OpenSSL down under it. */
void
hp_cancel_leave(hp_conn *conn)
{
    PGcancel *cancel = PQsslInUse(conn->pg) || PQgssEncInUse(conn->pg) ? NULL : PQgetCancel(conn->pg);
    if (cancel != NULL && hp_thread_start(run_leaving, cancel) < 0) {
        PQfreeCancel(cancel);
    }
}

#endif
