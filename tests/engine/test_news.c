/*
 * test_news.c - what those who listen to a session hear: notices, notifications
 * and its end, each once and before the answer that followed.
 */
#include "driver.h"

static driver *d;
static hp_conn *lease;

static void
set_up(void)
{
    hp_pool_config config = driver_config(1, 2);
    d = driver_open(&config);
    lease = acquire(d);
    lease->listeners = d;
}

static void
tear_down(void)
{
    if (lease != NULL) {
        release(d, lease);
    }
    driver_free(d);
}

static void
run_script(const char *sql)
{
    must(run_leased(lease, script(d, sql)));
}

static void
heard_before_answer(call *c)
{
    snprintf(c->message, sizeof c->message, "%.200s", d->news);
}

static void
test_notices_come_before_the_answer(void)
{
    set_up();
    call *c = run_leased(lease, script(d, "DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$"));
    c->then = heard_before_answer;
    wait_for(c);
    CHECK_TEXT(c->message, "notice one; notice two; ");
    tear_down();
}

static void
test_notifications_come_before_the_answer(void)
{
    set_up();
    run_script("LISTEN here");
    call *c = run_leased(lease, statement(d, "SELECT pg_notify('here', 'x'), pg_notify('here', 'y')"));
    c->then = heard_before_answer;
    wait_for(c);
    CHECK_TEXT(c->message, "here x; here y; ");
    tear_down();
}

static void
test_notifications_come_while_nothing_is_in_flight(void)
{
    set_up();
    run_script("LISTEN here");
    hp_conn *other = acquire(d);
    must(run_leased(other, script(d, "NOTIFY here, 'x'")));
    while (d->news[0] == '\0') {
        driver_step(d, 1000);
    }
    CHECK_TEXT(d->news, "here x; ");
    release(d, other);
    tear_down();
}

static void
test_without_listeners_all_of_it_is_dropped(void)
{
    set_up();
    lease->listeners = NULL;
    run_script("LISTEN here; NOTIFY here; DO $$ BEGIN RAISE NOTICE 'one'; END $$");
    lease->listeners = d;
    CHECK_TEXT(must(run_leased(lease, statement(d, "SELECT 1")))->value, "1");
    CHECK_TEXT(d->news, "");
    tear_down();
}

static void
stop_listening(hp_conn *conn)
{
    conn->listeners = NULL;
}

static void
test_a_listener_may_stop_listening_in_between(void)
{
    set_up();
    d->then_heard = stop_listening;
    run_script("LISTEN here; NOTIFY here, 'x'; DO $$ BEGIN RAISE NOTICE 'one'; RAISE NOTICE 'two'; END $$");
    CHECK_TEXT(d->news, "notice one; ");
    tear_down();
}

static void
break_session(hp_conn *conn)
{
    hp_error err;
    hp_error_set(&err, HP_ERR_CLOSED, "ended by a listener");
    hp_conn_break(conn, &err);
}

static void
test_a_listener_may_end_the_session(void)
{
    set_up();
    d->then_heard = break_session;
    call *c = wait_for(run_leased(lease, script(d, "DO $$ BEGIN RAISE NOTICE 'one'; RAISE NOTICE 'two'; END $$")));
    CHECK_INT(c->err.kind, HP_ERR_CLOSED);
    CHECK_TEXT(d->news, "notice one; end; ");
    CHECK_INT(d->listeners_gone, 1);
    tear_down();
}

static void
test_the_end_is_told_once_before_its_requests_are_answered(void)
{
    set_up();
    call *c = run_leased(lease, statement(d, "SELECT pg_terminate_backend(pg_backend_pid())"));
    wait_for(c);
    CHECK_TEXT(d->news, "end; ");
    CHECK_INT(d->listeners_gone, 1);
    release(d, lease);
    lease = NULL;
    CHECK_TEXT(d->news, "end; ");
    tear_down();
}

static void
test_the_end_of_an_idle_session_is_told_before_the_pool_is_closed(void)
{
    set_up();
    release(d, lease);
    lease = NULL;
    hp_pool_close(d->pool);
    while (d->closed == 0) {
        driver_step(d, 1000);
    }
    CHECK_TEXT(d->news, "end; ");
    tear_down();
}

static void
test_a_discarded_session_tells_nobody(void)
{
    set_up();
    hp_pool_discard(d->pool, false);
    d->discarded = true;
    CHECK_TEXT(d->news, "");
    CHECK_INT(d->listeners_gone, 1);
    lease = NULL;
    tear_down();
}

static void
test_what_a_session_carries_goes_with_it_once(void)
{
    set_up();
    lease->attributes = d;
    wait_for(run_leased(lease, statement(d, "SELECT pg_terminate_backend(pg_backend_pid())")));
    CHECK_INT(d->attributes_gone, 1);
    release(d, lease);
    lease = acquire(d);
    CHECK(lease->attributes == NULL);
    tear_down();
}

static const harness_case TESTS[] = {
    CASE(test_notices_come_before_the_answer),
    CASE(test_notifications_come_before_the_answer),
    CASE(test_notifications_come_while_nothing_is_in_flight),
    CASE(test_without_listeners_all_of_it_is_dropped),
    CASE(test_a_listener_may_stop_listening_in_between),
    CASE(test_a_listener_may_end_the_session),
    CASE(test_the_end_is_told_once_before_its_requests_are_answered),
    CASE(test_the_end_of_an_idle_session_is_told_before_the_pool_is_closed),
    CASE(test_a_discarded_session_tells_nobody),
    CASE(test_what_a_session_carries_goes_with_it_once),
};

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0],
                        driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set");
}
