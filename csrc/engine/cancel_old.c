/*
 * cancel_old.c - see cancel.h: with libpq before 17, in a thread or by the binding.
 */
#include "engine/cancel.h"

#include "engine/thread.h"

#ifndef LIBPQ_HAS_ASYNC_CANCEL

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hp_cancel {
    hp_conn *conn; /* NULL: detached */
    PGcancel *pg;  /* the thread's; NULL: the binding sends the request */
    hp_watch watch;
    int pipe[2];                   /* the thread writes one byte when it is done; -1: no thread */
    char why[HP_CANCEL_WHY_BYTES]; /* "": delivered. The thread's until it has written */
    atomic_int refs;               /* the session's, and the thread's or binding's */
};

#define CANCEL_OF(pointer, member) ((hp_cancel *)(void *)((char *)(pointer)-offsetof(hp_cancel, member)))

static hp_cancel *
new_cancel(hp_conn *conn)
{
    hp_cancel *cancel = calloc(1, sizeof *cancel);
    if (cancel != NULL) {
        cancel->conn = conn;
        cancel->watch.fd = -1;
        cancel->pipe[0] = cancel->pipe[1] = -1;
        atomic_init(&cancel->refs, 1);
    }
    return cancel;
}

static void
drop(hp_cancel *cancel)
{
    if (atomic_fetch_sub(&cancel->refs, 1) > 1) {
        return;
    }
    if (cancel->pipe[0] >= 0) {
        close(cancel->pipe[0]);
        close(cancel->pipe[1]);
    }
    PQfreeCancel(cancel->pg);
    free(cancel);
}

void
hp_cancel_detach(hp_cancel *cancel)
{
    hp_reactor_unwatch(&cancel->conn->env->reactor, &cancel->watch);
    cancel->conn = NULL;
    drop(cancel);
}

/* ---- by the binding ---- */

void
hp_cancel_done(hp_cancel *cancel, const char *why)
{
    hp_conn *conn = cancel->conn;
    if (conn != NULL) {
        hp_cancel_detach(cancel);
        hp_conn_cancel_over(conn, why);
    }
    drop(cancel); /* NOLINT(clang-analyzer-unix.Malloc): each of the two held a reference */
}

static int
start_above(hp_conn *conn, bool last)
{
    hp_cancel *cancel = new_cancel(conn);
    if (cancel == NULL) {
        return -1;
    }
    atomic_fetch_add(&cancel->refs, 1);
    if (conn->env->up->cancel(conn->env->user, cancel, conn, last) < 0) {
        free(cancel);
        return -1;
    }
    conn->cancel = cancel;
    return 0;
}

/* ---- in a thread ---- */

static void *
run_cancel(void *arg)
{
    hp_cancel *cancel = arg;
    /* Refused or not: hp_conn asks again while the statement runs, and gives the
     * session up in the end. */
    if (PQcancel(cancel->pg, cancel->why, sizeof cancel->why)) {
        cancel->why[0] = '\0';
    }
    hp_thread_done(cancel->pipe);
    drop(cancel);
    return NULL;
}

static void
on_thread_done(hp_watch *watch, unsigned events, hp_time now)
{
    hp_cancel *cancel = CANCEL_OF(watch, watch);
    hp_conn *conn = cancel->conn;
    char why[HP_CANCEL_WHY_BYTES];
    (void)events;
    (void)now;
    memcpy(why, cancel->why, sizeof why);
    hp_cancel_detach(cancel);
    hp_conn_cancel_over(conn, why[0] ? why : NULL);
}

static int
start_in_thread(hp_conn *conn)
{
    hp_cancel *cancel = new_cancel(conn);
    if (cancel == NULL) {
        return -1;
    }
    if (hp_thread_pipe(cancel->pipe) < 0) {
        goto error;
    }
    cancel->watch.ready = on_thread_done;
    cancel->pg = PQgetCancel(conn->pg);
    if (cancel->pg == NULL || hp_reactor_watch(&conn->env->reactor, &cancel->watch, cancel->pipe[0], HP_READ) < 0) {
        goto error;
    }
    atomic_fetch_add(&cancel->refs, 1);
    if (hp_thread_start(run_cancel, cancel) < 0) {
        hp_reactor_unwatch(&conn->env->reactor, &cancel->watch);
        atomic_fetch_sub(&cancel->refs, 1);
        goto error;
    }
    conn->cancel = cancel;
    return 0;
error:
    drop(cancel);
    return -1;
}

static int
start(hp_conn *conn, bool last)
{
    return conn->has_backend_key && conn->env->up->cancel != NULL ? start_above(conn, last) : start_in_thread(conn);
}

int
hp_cancel_start(hp_conn *conn)
{
    return start(conn, false);
}

void
hp_cancel_leave(hp_conn *conn)
{
    if (conn->cancel == NULL) {
        start(conn, true); /* and the end of the session detaches it */
    }
}

#endif
