/*
 * thread.c - see thread.h.
 */
#include "engine/thread.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

enum { STACK_BYTES = 256 * 1024 };

static int
start(pthread_t *thread, int detached, void *(*run)(void *), void *arg)
{
    pthread_attr_t attr;
    sigset_t all, before;
    if (pthread_attr_init(&attr) != 0) {
        return -1;
    }
    pthread_attr_setdetachstate(&attr, detached);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    /* Signals are for the threads of the application. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(thread, &attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0 ? 0 : -1;
}

int
hp_thread_start(void *(*run)(void *), void *arg)
{
    pthread_t thread;
    return start(&thread, PTHREAD_CREATE_DETACHED, run, arg);
}

int
hp_thread_start_joinable(pthread_t *thread, void *(*run)(void *), void *arg)
{
    return start(thread, PTHREAD_CREATE_JOINABLE, run, arg);
}

int
hp_thread_pipe(int ends[2])
{
    int made[2];
    if (pipe(made) < 0) {
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(made[i], F_SETFD, FD_CLOEXEC);
        ends[i] = made[i];
    }
    return 0;
}

void
hp_thread_done(const int ends[2])
{
    ssize_t written = write(ends[1], "", 1);
    (void)written; /* a pipe of our own with room for one byte */
}
