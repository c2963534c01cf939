/*
 * reactor.c - see reactor.h.
 */
#include "engine/reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_HEAP_SIZE = 32 };

int
hp_reactor_init(hp_reactor *reactor)
{
    memset(reactor, 0, sizeof *reactor);
    reactor->armed = HP_NEVER;
    return hp_pollset_open(&reactor->set);
}

void
hp_reactor_destroy(hp_reactor *reactor)
{
    hp_pollset_close(&reactor->set);
    free(reactor->heap);
    reactor->heap = NULL;
    reactor->timers = reactor->heap_size = 0;
}

/* ---- sockets ---- */

int
hp_reactor_watch(hp_reactor *reactor, hp_watch *watch, int fd, unsigned events)
{
    if (fd < 0) {
        errno = EBADF;
        return -1;
    }
    if (watch->fd == fd && watch->events == events) {
        return 0;
    }
    if (watch->fd != fd) {
        hp_reactor_unwatch(reactor, watch);
        watch->own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (watch->own < 0) {
            return -1;
        }
    }
    watch->fd = fd;
    watch->events = events;
    if (hp_pollset_set(&reactor->set, watch->own, events, watch) < 0) {
        hp_reactor_unwatch(reactor, watch);
        return -1;
    }
    return 0;
}

void
hp_reactor_unwatch(hp_reactor *reactor, hp_watch *watch)
{
    if (watch->fd < 0) {
        return;
    }
    hp_pollset_remove(&reactor->set, watch->own);
    close(watch->own);
    watch->own = -1;
    watch->fd = -1;
    watch->events = 0;
    for (int i = reactor->batch_next; i < reactor->batch_len; i++) {
        if (reactor->batch[i].key == watch) {
            reactor->batch[i].key = NULL;
        }
    }
}

/* ---- timers ---- */

static void
place(hp_reactor *reactor, size_t i, hp_timer *timer)
{
    reactor->heap[i] = timer;
    timer->slot = i + 1;
}

static void
sift_up(hp_reactor *reactor, size_t i, hp_timer *timer)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (reactor->heap[parent]->at <= timer->at) {
            break;
        }
        place(reactor, i, reactor->heap[parent]);
        i = parent;
    }
    place(reactor, i, timer);
}

static void
sift_down(hp_reactor *reactor, size_t i, hp_timer *timer)
{
    size_t n = reactor->timers;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) {
            break;
        }
        if (child + 1 < n && reactor->heap[child + 1]->at < reactor->heap[child]->at) {
            child++;
        }
        if (reactor->heap[child]->at >= timer->at) {
            break;
        }
        place(reactor, i, reactor->heap[child]);
        i = child;
    }
    place(reactor, i, timer);
}

/* The kernel timer may fire early (the deadline it was set for is gone), never
 * late. */
static void
arm(hp_reactor *reactor)
{
    hp_time first = reactor->timers ? reactor->heap[0]->at : HP_NEVER;
    if (first < reactor->armed && hp_pollset_arm(&reactor->set, first) == 0) {
        reactor->armed = first;
    }
}

int
hp_timer_reserve(hp_reactor *reactor)
{
    if (reactor->timers < reactor->heap_size) {
        return 0;
    }
    size_t size = reactor->heap_size ? reactor->heap_size * 2 : FIRST_HEAP_SIZE;
    hp_timer **heap = realloc(reactor->heap, size * sizeof *heap);
    if (heap == NULL) {
        return -1;
    }
    reactor->heap = heap;
    reactor->heap_size = size;
    return 0;
}

int
hp_timer_start(hp_reactor *reactor, hp_timer *timer, hp_time at)
{
    hp_timer_stop(reactor, timer);
    timer->at = at;
    if (at == HP_NEVER) {
        return 0;
    }
    if (hp_timer_reserve(reactor) < 0) {
        return -1;
    }
    sift_up(reactor, reactor->timers++, timer);
    if (at < reactor->armed) {
        arm(reactor);
    }
    return 0;
}

void
hp_timer_stop(hp_reactor *reactor, hp_timer *timer)
{
    if (timer->slot == 0) {
        return;
    }
    size_t i = timer->slot - 1;
    timer->slot = 0;
    hp_timer *last = reactor->heap[--reactor->timers];
    if (last == timer) {
        return;
    }
    if (i > 0 && reactor->heap[(i - 1) / 2]->at > last->at) {
        sift_up(reactor, i, last);
    } else {
        sift_down(reactor, i, last);
    }
}

static void
fire_due(hp_reactor *reactor)
{
    hp_time now = hp_now();
    while (reactor->timers && reactor->heap[0]->at <= now) {
        hp_timer *timer = reactor->heap[0];
        hp_timer_stop(reactor, timer);
        timer->fire(timer, now);
    }
    arm(reactor);
}

void
hp_reactor_run(hp_reactor *reactor)
{
    bool timer_came;
    reactor->batch_len = hp_pollset_poll(&reactor->set, reactor->batch, HP_REACTOR_BATCH, &timer_came);
    reactor->now = hp_now();
    for (reactor->batch_next = 0; reactor->batch_next < reactor->batch_len;) {
        hp_pollset_event *event = &reactor->batch[reactor->batch_next++];
        hp_watch *watch = event->key;
        if (watch != NULL) {
            watch->ready(watch, event->events, reactor->now);
        }
    }
    reactor->batch_len = reactor->batch_next = 0;
    if (timer_came) {
        reactor->armed = HP_NEVER;
        fire_due(reactor);
    }
}
