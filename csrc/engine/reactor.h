/*
 * reactor.h - one descriptor for all sockets of a pool, and one timer heap.
 *
 * A watch is embedded in whatever owns a socket, a timer in whatever has a
 * deadline; neither is allocated here. The heap is a binary heap of pointers,
 * each timer knowing its place, so that starting and stopping cost O(log n)
 * and the common case (a deadline later than all others) O(1). The kernel
 * timer is armed lazily: only when the earliest deadline becomes earlier than
 * what is armed, so that a deadline per query costs no system call.
 *
 * Invariants
 *   - heap[t->slot - 1] == t for each started timer; slot is 0 when stopped.
 *   - In the poll set are descriptors of our own (dup) only. libpq closes its
 *     sockets when it sees fit, and a closed descriptor leaves the set by itself
 *     only if no forked child holds a copy of it: it would stay, with a pointer
 *     to a watch that is gone, and could not be taken out any more.
 *   - A callback may start, stop, watch, unwatch and free anything, its own
 *     object included: events already fetched for an unwatched watch are
 *     dropped, and a due timer is taken out of the heap before it fires.
 *
 * Called by conn.c, connect.c, cancel.c, pool.c, janitor.c; run by the binding
 * whenever the descriptor is readable.
 */
#ifndef HP_REACTOR_H
#define HP_REACTOR_H

#include "engine/pollset.h"

typedef struct hp_timer {
    hp_time at;
    size_t slot; /* 1-based place in the heap; 0: not started */
    void (*fire)(struct hp_timer *timer, hp_time now);
} hp_timer;

typedef struct hp_watch {
    int fd;          /* what was asked for; -1: not watched */
    int own;         /* our own descriptor of the same socket: the one in the poll set */
    unsigned events; /* HP_READ | HP_WRITE as last asked for */
    void (*ready)(struct hp_watch *watch, unsigned events, hp_time now);
} hp_watch;

enum { HP_REACTOR_BATCH = 64 };

typedef struct hp_reactor {
    hp_pollset set;
    hp_timer **heap;
    size_t timers;
    size_t heap_size;
    hp_time armed; /* what the kernel timer is set to; HP_NEVER: nothing */
    hp_time now;   /* read once for each hp_reactor_run() */
    hp_pollset_event batch[HP_REACTOR_BATCH];
    int batch_len;
    int batch_next; /* first event of the batch not yet delivered */
} hp_reactor;

/* 0, or -1 with errno. */
int hp_reactor_init(hp_reactor *reactor);
void hp_reactor_destroy(hp_reactor *reactor);

/* Deliver what is ready and fire what is due; never waits. */
void hp_reactor_run(hp_reactor *reactor);

/* 0, or -1 with errno. The watch must stay where it is until unwatched. */
int hp_reactor_watch(hp_reactor *reactor, hp_watch *watch, int fd, unsigned events);
void hp_reactor_unwatch(hp_reactor *reactor, hp_watch *watch);

/* Start or move a timer; HP_NEVER stops it. 0, or -1 when out of memory. */
int hp_timer_start(hp_reactor *reactor, hp_timer *timer, hp_time at);
void hp_timer_stop(hp_reactor *reactor, hp_timer *timer);
/* Make room for one more timer, so that the next start cannot fail. */
int hp_timer_reserve(hp_reactor *reactor);

#endif
