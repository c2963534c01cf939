/*
 * cancel.c - see cancel.h.
 */
#include "engine/cancel.h"

#include <stdlib.h>

#ifdef LIBPQ_HAS_ASYNC_CANCEL

/* ---- libpq 17 and newer: in the reactor ---- */

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
over(hp_cancel *cancel)
{
    hp_conn *conn = cancel->conn;
    hp_cancel_detach(cancel);
    hp_conn_cancel_over(conn);
}

static void
poll_cancel(hp_cancel *cancel)
{
    PostgresPollingStatusType status = PQcancelPoll(cancel->pg);
    if (status != PGRES_POLLING_READING && status != PGRES_POLLING_WRITING) {
        over(cancel); /* delivered, or refused: hp_conn asks again while the statement runs */
        return;
    }
    hp_reactor *reactor = &cancel->conn->env->reactor;
    hp_reactor_unwatch(reactor, &cancel->watch);
    if (hp_reactor_watch(reactor, &cancel->watch, PQcancelSocket(cancel->pg),
                         status == PGRES_POLLING_READING ? HP_READ : HP_WRITE) < 0) {
        over(cancel);
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
    if (!PQcancelStart(cancel->pg) ||
        hp_reactor_watch(&cancel->conn->env->reactor, &cancel->watch, PQcancelSocket(cancel->pg), HP_WRITE) < 0) {
        over(cancel);
    }
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

#else

/* ---- before libpq 17: a thread ---- */

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

enum { THREAD_STACK_BYTES = 256 * 1024 };

struct hp_cancel {
    hp_conn *conn; /* NULL: detached */
    PGcancel *pg;
    hp_watch watch;
    int pipe[2];     /* the thread writes one byte when it is done */
    atomic_int refs; /* the session's (or reactor's) and the thread's */
};

#define CANCEL_OF(pointer, member) ((hp_cancel *)(void *)((char *)(pointer)-offsetof(hp_cancel, member)))

static void
drop(hp_cancel *cancel)
{
    if (atomic_fetch_sub(&cancel->refs, 1) > 1) {
        return;
    }
    close(cancel->pipe[0]);
    close(cancel->pipe[1]);
    PQfreeCancel(cancel->pg);
    free(cancel);
}

static void *
run_cancel(void *arg)
{
    hp_cancel *cancel = arg;
    char why[256];
    /* Refused or not: hp_conn asks again while the statement runs, and gives the
     * session up in the end. */
    char outcome = PQcancel(cancel->pg, why, sizeof why) ? 1 : 0;
    ssize_t written = write(cancel->pipe[1], &outcome, 1);
    (void)written; /* a pipe of our own with room for one byte */
    drop(cancel);
    return NULL;
}

void
hp_cancel_detach(hp_cancel *cancel)
{
    hp_reactor_unwatch(&cancel->conn->env->reactor, &cancel->watch);
    cancel->conn = NULL;
    drop(cancel);
}

static void
on_thread_done(hp_watch *watch, unsigned events, hp_time now)
{
    hp_cancel *cancel = CANCEL_OF(watch, watch);
    hp_conn *conn = cancel->conn;
    (void)events;
    (void)now;
    hp_cancel_detach(cancel);
    hp_conn_cancel_over(conn);
}

static int
start_thread(hp_cancel *cancel)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attr) != 0) {
        return -1;
    }
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    /* Signals are for the threads of the application. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attr, run_cancel, cancel);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0 ? 0 : -1;
}

int
hp_cancel_start(hp_conn *conn)
{
    hp_cancel *cancel = calloc(1, sizeof *cancel);
    if (cancel == NULL) {
        return -1;
    }
    if (pipe(cancel->pipe) < 0) {
        free(cancel);
        return -1;
    }
    fcntl(cancel->pipe[0], F_SETFD, FD_CLOEXEC);
    fcntl(cancel->pipe[1], F_SETFD, FD_CLOEXEC);
    cancel->conn = conn;
    cancel->watch.fd = -1;
    cancel->watch.ready = on_thread_done;
    cancel->pg = PQgetCancel(conn->pg);
    atomic_init(&cancel->refs, 2);
    if (cancel->pg == NULL || hp_reactor_watch(&conn->env->reactor, &cancel->watch, cancel->pipe[0], HP_READ) < 0) {
        goto error;
    }
    if (start_thread(cancel) < 0) {
        hp_reactor_unwatch(&conn->env->reactor, &cancel->watch);
        goto error;
    }
    conn->cancel = cancel;
    return 0;
error:
    atomic_store(&cancel->refs, 1);
    drop(cancel);
    return -1;
}

#endif
