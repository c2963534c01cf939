/*
 * test_reactor.c - timers against a model, watches that go away under the
 * reactor's hands, and the descriptor of all of them.
 */
#include "engine/reactor.h"

#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

static hp_reactor reactor;

static void
set_up(void)
{
    REQUIRE(hp_reactor_init(&reactor) == 0);
}

static bool
is_readable(int timeout_ms)
{
    struct pollfd pfd = {.fd = reactor.set.fd, .events = POLLIN};
    return poll(&pfd, 1, timeout_ms) > 0;
}

/* Every started timer knows its place and no child is earlier than its parent. */
static void
check_heap(void)
{
    for (size_t i = 0; i < reactor.timers; i++) {
        CHECK_INT(reactor.heap[i]->slot, i + 1);
        CHECK(i == 0 || reactor.heap[(i - 1) / 2]->at <= reactor.heap[i]->at);
    }
}

/* ---- timers ---- */

enum { N_TIMERS = 300 };

static hp_timer timers[N_TIMERS];
static bool started[N_TIMERS];
static hp_time last_fired;
static int fired;
static uint64_t seed;

static void
note_fired(hp_timer *timer, hp_time now)
{
    size_t i = (size_t)(timer - timers);
    CHECK(started[i]);
    started[i] = false;
    CHECK(timer->at <= now);
    CHECK(timer->at >= last_fired);
    CHECK_INT(timer->slot, 0);
    last_fired = timer->at;
    fired++;
}

static int
count_started(void)
{
    int n = 0;
    for (int i = 0; i < N_TIMERS; i++) {
        n += started[i];
    }
    return n;
}

static void
start_one(size_t i, hp_time at)
{
    CHECK_INT(hp_timer_start(&reactor, &timers[i], at), 0);
    started[i] = at != HP_NEVER;
}

static void
random_timers(void)
{
    memset(timers, 0, sizeof timers);
    memset(started, 0, sizeof started);
    for (int i = 0; i < N_TIMERS; i++) {
        timers[i].fire = note_fired;
    }
    for (int round = 0; round < 5000; round++) {
        size_t i = harness_below(&seed, N_TIMERS);
        switch (harness_below(&seed, 8)) {
        case 0:
        case 1:
            hp_timer_stop(&reactor, &timers[i]);
            started[i] = false;
            break;
        case 2:
            start_one(i, HP_NEVER);
            break;
        default: /* in the past, so that all of them are due; many at the same time */
            start_one(i, (hp_time)harness_below(&seed, 1000));
            break;
        }
        CHECK_INT(reactor.timers, count_started());
    }
    check_heap();
}

static void
test_random_timers_fire_once_each_and_in_order(void)
{
    for (seed = 1; seed <= 10; seed++) {
        set_up();
        random_timers();
        int expected = count_started();
        fired = 0;
        last_fired = 0;
        REQUIRE(is_readable(-1));
        hp_reactor_run(&reactor);
        CHECK_INT(fired, expected);
        CHECK_INT(count_started(), 0);
        CHECK_INT(reactor.timers, 0);
        hp_reactor_destroy(&reactor);
    }
}

static void
test_heap_holds_its_order_while_timers_come_and_go(void)
{
    set_up();
    seed = 99;
    for (int i = 0; i < N_TIMERS; i++) {
        timers[i] = (hp_timer){.fire = note_fired};
        started[i] = false;
    }
    hp_time far = hp_now() + 1000 * HP_SECOND;
    for (int round = 0; round < 3000; round++) {
        size_t i = harness_below(&seed, N_TIMERS);
        if (harness_below(&seed, 3) == 0) {
            hp_timer_stop(&reactor, &timers[i]);
            started[i] = false;
        } else {
            start_one(i, far + (hp_time)harness_below(&seed, 100000));
        }
        if (round % 16 == 0) {
            check_heap();
        }
    }
    CHECK(!is_readable(0));
    hp_reactor_run(&reactor);
    hp_reactor_destroy(&reactor);
}

static hp_timer first, second, third;
static int first_fired, second_fired, third_fired;

static void
fire_first(hp_timer *timer, hp_time now)
{
    (void)timer;
    first_fired++;
    hp_timer_stop(&reactor, &second);
    CHECK_INT(hp_timer_start(&reactor, &third, now), 0); /* due at once: still in this round */
}

static void
fire_second(hp_timer *timer, hp_time now)
{
    (void)timer;
    (void)now;
    second_fired++;
}

static void
fire_third(hp_timer *timer, hp_time now)
{
    if (++third_fired < 5) {
        CHECK_INT(hp_timer_start(&reactor, timer, now), 0);
    }
}

static void
test_a_callback_may_stop_another_due_timer_and_restart_its_own(void)
{
    set_up();
    first = (hp_timer){.fire = fire_first};
    second = (hp_timer){.fire = fire_second};
    third = (hp_timer){.fire = fire_third};
    first_fired = second_fired = third_fired = 0;
    hp_timer_start(&reactor, &first, 1);
    hp_timer_start(&reactor, &second, 2);
    REQUIRE(is_readable(-1));
    hp_reactor_run(&reactor);
    CHECK_INT(first_fired, 1);
    CHECK_INT(second_fired, 0);
    CHECK_INT(third_fired, 5);
    CHECK_INT(reactor.timers, 0);
    hp_reactor_destroy(&reactor);
}

static void
free_itself(hp_timer *timer, hp_time now)
{
    (void)now;
    fired++;
    free(timer);
}

static void
test_a_timer_may_be_freed_by_its_own_callback(void)
{
    set_up();
    fired = 0;
    for (int i = 0; i < 10; i++) {
        hp_timer *timer = calloc(1, sizeof *timer);
        REQUIRE(timer != NULL);
        timer->fire = free_itself;
        hp_timer_start(&reactor, timer, 10 - i);
    }
    REQUIRE(is_readable(-1));
    hp_reactor_run(&reactor);
    CHECK_INT(fired, 10);
    hp_reactor_destroy(&reactor);
}

static void
test_the_kernel_timer_is_set_only_for_an_earlier_deadline(void)
{
    set_up();
    hp_time base = hp_now() + 1000 * HP_SECOND;
    first = (hp_timer){.fire = fire_second};
    second = (hp_timer){.fire = fire_second};
    CHECK(reactor.armed == HP_NEVER);
    hp_timer_start(&reactor, &first, base);
    CHECK(reactor.armed == base);
    hp_timer_start(&reactor, &second, base + 5);
    CHECK(reactor.armed == base);
    hp_timer_stop(&reactor, &first); /* armed too early now, which costs one empty round at most */
    CHECK(reactor.armed == base);
    hp_timer_start(&reactor, &first, base - 5);
    CHECK(reactor.armed == base - 5);
    hp_reactor_destroy(&reactor);
}

/* The deadline that the kernel timer was set for is gone: the next one must still come. */
static void
test_after_an_empty_round_the_next_deadline_is_armed(void)
{
    set_up();
    second_fired = 0;
    hp_time now = hp_now();
    first = (hp_timer){.fire = fire_second};
    second = (hp_timer){.fire = fire_second};
    hp_timer_start(&reactor, &second, now + 20 * HP_MS);
    hp_timer_start(&reactor, &first, now + 1 * HP_MS);
    hp_timer_stop(&reactor, &first);
    while (second_fired == 0) {
        REQUIRE(is_readable(10000));
        hp_reactor_run(&reactor);
    }
    CHECK_INT(second_fired, 1);
    CHECK(hp_now() >= now + 20 * HP_MS);
    CHECK(!is_readable(0));
    hp_reactor_destroy(&reactor);
}

static void
test_a_reserved_place_makes_the_next_start_safe(void)
{
    set_up();
    for (int i = 0; i < N_TIMERS; i++) {
        timers[i] = (hp_timer){.fire = note_fired};
        REQUIRE(hp_timer_reserve(&reactor) == 0);
        CHECK(reactor.timers < reactor.heap_size);
        hp_timer_start(&reactor, &timers[i], hp_now() + HP_SECOND * 100);
    }
    hp_reactor_destroy(&reactor);
}

/* ---- watches ---- */

typedef struct source {
    hp_watch watch;
    int ends[2];
    int calls;
    unsigned events;
    struct source *victim; /* unwatched, freed or replaced when this one is called */
} source;

static void
drain(source *s)
{
    char byte;
    s->calls += read(s->ends[0], &byte, 1) == 1;
}

static void
on_read(hp_watch *watch, unsigned events, hp_time now)
{
    source *s = (source *)(void *)watch;
    CHECK(now == reactor.now);
    s->events = events;
    drain(s);
}

static source *
new_source(void (*ready)(hp_watch *, unsigned, hp_time))
{
    source *s = calloc(1, sizeof *s);
    REQUIRE(s != NULL && pipe2(s->ends, O_NONBLOCK | O_CLOEXEC) == 0);
    s->watch.fd = -1;
    s->watch.ready = ready;
    REQUIRE(hp_reactor_watch(&reactor, &s->watch, s->ends[0], HP_READ) == 0);
    return s;
}

static void
poke(source *s)
{
    REQUIRE(write(s->ends[1], "x", 1) == 1);
}

static void
free_source(source *s)
{
    hp_reactor_unwatch(&reactor, &s->watch);
    close(s->ends[0]);
    close(s->ends[1]);
    free(s);
}

static void
test_what_is_ready_is_called_until_it_is_consumed(void)
{
    set_up();
    source *a = new_source(on_read);
    source *b = new_source(on_read);
    CHECK(!is_readable(0));
    poke(a);
    poke(a);
    CHECK(is_readable(0));
    hp_reactor_run(&reactor);
    CHECK_INT(a->calls, 1);
    CHECK_INT(a->events, HP_READ);
    CHECK(is_readable(0));
    hp_reactor_run(&reactor);
    CHECK_INT(a->calls, 2);
    CHECK(!is_readable(0));
    CHECK_INT(b->calls, 0);
    free_source(a);
    free_source(b);
    hp_reactor_destroy(&reactor);
}

static source *survivor;

static void
free_victim(hp_watch *watch, unsigned events, hp_time now)
{
    source *s = (source *)(void *)watch;
    (void)events;
    (void)now;
    drain(s);
    if (s->victim != NULL) {
        free_source(s->victim);
        s->victim = NULL;
        survivor = s;
        fired++;
    }
}

static void
test_a_watch_freed_while_its_event_is_waiting_is_not_called(void)
{
    set_up();
    source *a = new_source(free_victim);
    source *b = new_source(free_victim);
    a->victim = b;
    b->victim = a;
    fired = 0;
    survivor = NULL;
    poke(a);
    poke(b);
    hp_reactor_run(&reactor);
    CHECK_INT(fired, 1); /* whichever came first has freed the other */
    hp_reactor_run(&reactor);
    CHECK_INT(fired, 1);
    REQUIRE(survivor != NULL);
    CHECK_INT(survivor->calls, 1);
    free_source(survivor);
    hp_reactor_destroy(&reactor);
}

static void
free_watcher_itself(hp_watch *watch, unsigned events, hp_time now)
{
    (void)events;
    (void)now;
    free_source((source *)(void *)watch);
    fired++;
}

static void
test_a_watch_may_be_freed_by_its_own_callback(void)
{
    set_up();
    fired = 0;
    for (int i = 0; i < 100; i++) { /* more than one batch */
        poke(new_source(free_watcher_itself));
    }
    while (is_readable(0)) {
        hp_reactor_run(&reactor);
    }
    CHECK_INT(fired, 100);
    hp_reactor_destroy(&reactor);
}

/* The victim's socket is closed and another one, which gets the same number, is watched in its place. */
static void
replace_victim(hp_watch *watch, unsigned events, hp_time now)
{
    source *s = (source *)(void *)watch;
    source *victim = s->victim;
    (void)events;
    (void)now;
    drain(s);
    if (victim == NULL) {
        return;
    }
    s->victim = NULL;
    victim->victim = NULL;
    int fd = victim->ends[0];
    hp_reactor_unwatch(&reactor, &victim->watch);
    close(victim->ends[0]);
    close(victim->ends[1]);
    REQUIRE(pipe2(victim->ends, O_NONBLOCK | O_CLOEXEC) == 0);
    CHECK_INT(victim->ends[0], fd);
    CHECK_INT(hp_reactor_watch(&reactor, &victim->watch, victim->ends[0], HP_READ), 0);
    survivor = victim;
}

static void
test_an_old_event_is_not_taken_for_the_new_socket_of_the_same_number(void)
{
    set_up();
    source *a = new_source(replace_victim);
    source *b = new_source(replace_victim);
    a->victim = b;
    b->victim = a;
    survivor = NULL;
    poke(a);
    poke(b);
    hp_reactor_run(&reactor);
    REQUIRE(survivor != NULL);
    CHECK_INT(survivor->calls, 0);
    poke(survivor);
    hp_reactor_run(&reactor);
    CHECK_INT(survivor->calls, 1);
    free_source(a);
    free_source(b);
    hp_reactor_destroy(&reactor);
}

/* libpq closes and reopens its socket while it connects, without telling: the number is the same, the
 * old socket is still watched through the reactor's own descriptor of it. */
static void
test_a_socket_reopened_under_its_number_is_watched_again(void)
{
    set_up();
    source *s = new_source(on_read);
    close(s->ends[0]);
    close(s->ends[1]);
    REQUIRE(pipe2(s->ends, O_NONBLOCK | O_CLOEXEC) == 0);
    REQUIRE(s->ends[0] == s->watch.fd);
    hp_reactor_unwatch(&reactor, &s->watch);
    CHECK_INT(hp_reactor_watch(&reactor, &s->watch, s->ends[0], HP_READ), 0);
    poke(s);
    REQUIRE(is_readable(1000));
    hp_reactor_run(&reactor);
    CHECK_INT(s->calls, 1);
    free_source(s);
    hp_reactor_destroy(&reactor);
}

/* A forked child, here a second descriptor, keeps the socket open that libpq has closed: the kernel would not
 * drop it from the set by itself, nor could it be taken out by a number that is closed. */
static void
test_a_socket_closed_while_a_child_has_a_copy_is_forgotten(void)
{
    set_up();
    source *s = new_source(on_read);
    int of_the_child = dup(s->ends[0]);
    REQUIRE(of_the_child >= 0);
    close(s->ends[0]);
    hp_reactor_unwatch(&reactor, &s->watch);
    poke(s);
    CHECK(!is_readable(0));
    hp_reactor_run(&reactor);
    CHECK_INT(s->calls, 0);
    close(of_the_child);
    close(s->ends[1]);
    free(s);
    hp_reactor_destroy(&reactor);
}

static void
test_what_is_asked_for_can_be_changed(void)
{
    set_up();
    source *s = new_source(on_read);
    source *w = calloc(1, sizeof *w);
    REQUIRE(w != NULL);
    w->watch.fd = -1;
    w->watch.ready = on_read;
    w->ends[0] = s->ends[1];
    CHECK(!is_readable(0));
    CHECK_INT(hp_reactor_watch(&reactor, &w->watch, s->ends[1], HP_WRITE), 0);
    CHECK(is_readable(0)); /* a pipe takes a byte */
    hp_reactor_run(&reactor);
    CHECK_INT(w->events, HP_WRITE);
    CHECK_INT(hp_reactor_watch(&reactor, &w->watch, s->ends[1], HP_READ), 0);
    CHECK(!is_readable(0));
    CHECK_INT(hp_reactor_watch(&reactor, &w->watch, s->ends[1], HP_READ | HP_WRITE), 0);
    CHECK(is_readable(0));
    hp_reactor_unwatch(&reactor, &w->watch);
    CHECK_INT(w->watch.fd, -1);
    CHECK(!is_readable(0));
    hp_reactor_unwatch(&reactor, &w->watch); /* twice does nothing */
    /* A hang-up counts as readable and writable, whatever was asked. */
    close(s->ends[1]);
    s->ends[1] = -1;
    REQUIRE(is_readable(1000));
    hp_reactor_run(&reactor);
    CHECK_INT(s->events, HP_READ | HP_WRITE);
    free(w);
    free_source(s);
    hp_reactor_destroy(&reactor);
}

static void
test_a_descriptor_that_is_none_is_refused(void)
{
    set_up();
    hp_watch watch = {.fd = -1, .ready = on_read};
    CHECK_INT(hp_reactor_watch(&reactor, &watch, -1, HP_READ), -1);
    CHECK_INT(watch.fd, -1);
    hp_reactor_destroy(&reactor);
}

int
main(void)
{
    RUN(test_random_timers_fire_once_each_and_in_order);
    RUN(test_heap_holds_its_order_while_timers_come_and_go);
    RUN(test_a_callback_may_stop_another_due_timer_and_restart_its_own);
    RUN(test_a_timer_may_be_freed_by_its_own_callback);
    RUN(test_the_kernel_timer_is_set_only_for_an_earlier_deadline);
    RUN(test_after_an_empty_round_the_next_deadline_is_armed);
    RUN(test_a_reserved_place_makes_the_next_start_safe);
    RUN(test_what_is_ready_is_called_until_it_is_consumed);
    RUN(test_a_watch_freed_while_its_event_is_waiting_is_not_called);
    RUN(test_a_watch_may_be_freed_by_its_own_callback);
    RUN(test_an_old_event_is_not_taken_for_the_new_socket_of_the_same_number);
    RUN(test_a_socket_reopened_under_its_number_is_watched_again);
    RUN(test_a_socket_closed_while_a_child_has_a_copy_is_forgotten);
    RUN(test_what_is_asked_for_can_be_changed);
    RUN(test_a_descriptor_that_is_none_is_refused);
    return harness_end();
}
