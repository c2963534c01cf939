/*
 * thread.h - a short-lived thread for a call of libpq's that blocks: PQcancel().
 * Nobody waits for it. Called by cancel.c and cancel_old.c.
 */
#ifndef HP_THREAD_H
#define HP_THREAD_H

/* Run it in a thread of its own, which takes no signals. 0, or -1: none could be had. */
int hp_thread_start(void *(*run)(void *), void *arg);

#endif
