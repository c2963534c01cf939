/*
 * pollset.h - one descriptor that turns readable when any of many does.
 *
 * epoll with a timerfd on Linux, kqueue elsewhere. The descriptor itself is
 * what the event loop watches; it also turns readable when the armed time has
 * come, so that the loop needs no timer of ours. Level-triggered: what is not
 * consumed is reported again. Used by reactor.c only.
 */
#ifndef HP_POLLSET_H
#define HP_POLLSET_H

#include "engine/base.h"

enum { HP_READ = 1, HP_WRITE = 2 };

typedef struct hp_pollset {
    int fd;       /* -1 when closed */
    int timer_fd; /* -1 where the kernel object has timers of its own */
} hp_pollset;

typedef struct hp_pollset_event {
    void *key;       /* as given to hp_pollset_set() */
    unsigned events; /* HP_READ | HP_WRITE; an error or hang-up counts as both */
} hp_pollset_event;

/* 0, or -1 with errno set. */
int hp_pollset_open(hp_pollset *set);
void hp_pollset_close(hp_pollset *set);
/* ... in a forked child, leaving the parent's as it is. */
void hp_pollset_close_in_child(hp_pollset *set);

/* Watch fd for `events` (replaces what was asked before, also when the number
 * now names another socket). `key` must not be NULL. 0, or -1 with errno. */
int hp_pollset_set(hp_pollset *set, int fd, unsigned events, void *key);
void hp_pollset_remove(hp_pollset *set, int fd);

/* Turn readable at `at` (HP_NEVER: disarm). 0, or -1 with errno. */
int hp_pollset_arm(hp_pollset *set, hp_time at);

/* What is ready, at most `size` events; never waits. The armed time having come
 * is told by *timer. The number of events, 0 also on EINTR. */
int hp_pollset_poll(hp_pollset *set, hp_pollset_event *events, int size, bool *timer);

#endif
