/*
 * pollset.c - see pollset.h. Two implementations, one compiled.
 */
#include "engine/pollset.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 64 };

#ifdef __linux__

#include <sys/epoll.h>
#include <sys/timerfd.h>

int
hp_pollset_open(hp_pollset *set)
{
    set->timer_fd = -1;
    set->fd = epoll_create1(EPOLL_CLOEXEC);
    if (set->fd < 0) {
        return -1;
    }
    set->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (set->timer_fd < 0) {
        goto error;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(set->fd, EPOLL_CTL_ADD, set->timer_fd, &event) < 0) {
        goto error;
    }
    return 0;
error:;
    int saved = errno;
    hp_pollset_close(set);
    errno = saved;
    return -1;
}

void
hp_pollset_close(hp_pollset *set)
{
    if (set->timer_fd >= 0) {
        close(set->timer_fd);
    }
    if (set->fd >= 0) {
        close(set->fd);
    }
    set->fd = set->timer_fd = -1;
}

void
hp_pollset_close_in_child(hp_pollset *set)
{
    hp_pollset_close(set);
}

int
hp_pollset_set(hp_pollset *set, int fd, unsigned events, void *key)
{
    struct epoll_event event = {.data.ptr = key};
    event.events = ((events & HP_READ) ? EPOLLIN : 0u) | ((events & HP_WRITE) ? EPOLLOUT : 0u);
    if (epoll_ctl(set->fd, EPOLL_CTL_MOD, fd, &event) == 0) {
        return 0;
    }
    /* not in the set yet */
    if (errno != ENOENT) {
        return -1;
    }
    return epoll_ctl(set->fd, EPOLL_CTL_ADD, fd, &event);
}

void
hp_pollset_remove(hp_pollset *set, int fd)
{
    struct epoll_event event = {0};
    epoll_ctl(set->fd, EPOLL_CTL_DEL, fd, &event);
}

int
hp_pollset_arm(hp_pollset *set, hp_time at)
{
    struct itimerspec spec;
    memset(&spec, 0, sizeof spec);
    if (at != HP_NEVER) {
        hp_time when = at > 0 ? at : 1; /* all zero would disarm */
        spec.it_value.tv_sec = (time_t)(when / HP_SECOND);
        spec.it_value.tv_nsec = (long)(when % HP_SECOND) * 1000;
    }
    return timerfd_settime(set->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

int
hp_pollset_poll(hp_pollset *set, hp_pollset_event *events, int size, bool *timer)
{
    struct epoll_event raw[BATCH];
    int n = epoll_wait(set->fd, raw, size < BATCH ? size : BATCH, 0);
    int out = 0;
    *timer = false;
    for (int i = 0; i < n; i++) {
        if (raw[i].data.ptr == NULL) {
            uint64_t expirations;
            *timer = true;
            if (read(set->timer_fd, &expirations, sizeof expirations) < 0) {
                *timer = errno == EAGAIN ? false : *timer; /* re-armed meanwhile */
            }
            continue;
        }
        events[out].key = raw[i].data.ptr;
        events[out].events = ((raw[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) ? HP_READ : 0u) |
                             ((raw[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) ? HP_WRITE : 0u);
        out++;
    }
    return out;
}

#else /* kqueue: macOS and the BSDs */

#include <fcntl.h>
#include <sys/event.h>
#include <sys/time.h>

enum { TIMER_IDENT = 1 };

int
hp_pollset_open(hp_pollset *set)
{
    set->timer_fd = -1;
    set->fd = kqueue();
    if (set->fd < 0) {
        return -1;
    }
    fcntl(set->fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

void
hp_pollset_close(hp_pollset *set)
{
    if (set->fd >= 0) {
        close(set->fd);
    }
    set->fd = -1;
}

void
hp_pollset_close_in_child(hp_pollset *set)
{
    set->fd = -1; /* a kqueue is not inherited: in the child the number is free, or another file's */
}

static int
change(hp_pollset *set, uintptr_t ident, int16_t filter, uint16_t flags, intptr_t data, void *key)
{
    struct kevent event;
    EV_SET(&event, ident, filter, flags, 0, data, key);
    return kevent(set->fd, &event, 1, NULL, 0, NULL);
}

int
hp_pollset_set(hp_pollset *set, int fd, unsigned events, void *key)
{
    uint16_t read_flag = (events & HP_READ) ? EV_ADD : EV_DELETE;
    uint16_t write_flag = (events & HP_WRITE) ? EV_ADD : EV_DELETE;
    if (change(set, (uintptr_t)fd, EVFILT_READ, read_flag, 0, key) < 0 && errno != ENOENT) {
        return -1;
    }
    if (change(set, (uintptr_t)fd, EVFILT_WRITE, write_flag, 0, key) < 0 && errno != ENOENT) {
        return -1;
    }
    return 0;
}

void
hp_pollset_remove(hp_pollset *set, int fd)
{
    change(set, (uintptr_t)fd, EVFILT_READ, EV_DELETE, 0, NULL);
    change(set, (uintptr_t)fd, EVFILT_WRITE, EV_DELETE, 0, NULL);
}

int
hp_pollset_arm(hp_pollset *set, hp_time at)
{
    if (at == HP_NEVER) {
        return change(set, TIMER_IDENT, EVFILT_TIMER, EV_DELETE, 0, NULL) < 0 && errno != ENOENT ? -1 : 0;
    }
    hp_time wait_ms = (at - hp_now() + HP_MS - 1) / HP_MS;
    return change(set, TIMER_IDENT, EVFILT_TIMER, EV_ADD | EV_ONESHOT, (intptr_t)(wait_ms > 0 ? wait_ms : 1), NULL);
}

int
hp_pollset_poll(hp_pollset *set, hp_pollset_event *events, int size, bool *timer)
{
    struct kevent raw[BATCH];
    struct timespec none = {0, 0};
    int n = kevent(set->fd, NULL, 0, raw, size < BATCH ? size : BATCH, &none);
    int out = 0;
    *timer = false;
    for (int i = 0; i < n; i++) {
        if (raw[i].filter == EVFILT_TIMER) {
            *timer = true;
            continue;
        }
        events[out].key = raw[i].udata;
        events[out].events = raw[i].filter == EVFILT_READ ? HP_READ : HP_WRITE;
        out++;
    }
    return out;
}

#endif
