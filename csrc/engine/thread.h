/*
 * thread.h - a short-lived thread for a call of libpq's that blocks, or takes long:
 * PQcancel() (cancel.c, cancel_old.c), a handshake (handshake.c).
 */
#ifndef HP_THREAD_H
#define HP_THREAD_H

#include <pthread.h>

/* Run it in a thread of its own, which takes no signals, and for which nobody waits.
 * 0, or -1: none could be had. */
int hp_thread_start(void *(*run)(void *), void *arg);
/* The same, for one that is to be joined. */
int hp_thread_start_joinable(pthread_t *thread, void *(*run)(void *), void *arg);

/* How it says that it is done to whoever watches `ends[0]`: make that pipe (0, or -1:
 * `ends` is as it was), and write to it. */
int hp_thread_pipe(int ends[2]);
void hp_thread_done(const int ends[2]);

#endif
