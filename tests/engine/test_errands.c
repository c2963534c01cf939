/*
 * test_errands.c - sessions that ask before they open: for what to connect to, or
 * for a session that was opened elsewhere. Answers that come late, are errors, or
 * come when nobody wants them any more. And the replacement of what is open.
 */
#include "driver.h"

static driver *d;

static driver *
asking_pool(hp_ask ask, int min_size, int max_size)
{
    hp_pool_config config = driver_config(min_size, max_size);
    driver *made = driver_new(&config, driver_dsn(), NULL, NULL);
    made->pool->env.ask = ask;
    return made;
}

static void
open_until_asked(int errands)
{
    REQUIRE(hp_pool_open(d->pool) == 0);
    driver_check(d);
    WAIT_UNTIL(d, d->nasked == errands);
}

static hp_error
refusal(void)
{
    hp_error err;
    hp_error_set(&err, HP_ERR_CONNECT, "the callable says no");
    err.raised = true;
    return err;
}

/* Answer the newest errand with the server of HOLISTICPOOL_TEST_DSN and one more parameter. */
static void
answer_with_targets(const char *keyword, const char *value)
{
    const char *keywords[] = {"application_name", keyword, NULL};
    const char *values[] = {"hp-engine-test", value, NULL};
    hp_target *targets;
    hp_error err;
    int n;
    REQUIRE(hp_conninfo_resolve(driver_dsn(), keywords, values, &targets, &n, &err) == 0);
    hp_errand_targets(d->asked[--d->nasked], targets, n, NULL);
    driver_check(d);
}

static void
answer_with_error(void)
{
    hp_error err = refusal();
    hp_errand *errand = d->asked[--d->nasked];
    if (errand->asks == HP_ASK_TARGETS) {
        hp_errand_targets(errand, NULL, 0, &err);
    } else {
        hp_errand_session(errand, NULL, &err);
    }
    driver_check(d);
}

/* ---- what to connect to ---- */

static void
test_each_session_asks_what_to_connect_to(void)
{
    d = asking_pool(HP_ASK_TARGETS, 1, 2);
    open_until_asked(1);
    CHECK_INT(d->pool->size, 1);
    answer_with_targets("options", "-c work_mem=3MB");
    WAIT_UNTIL(d, d->opened == 1);
    CHECK_TEXT(d->open_error.text, "");
    hp_conn *first = acquire(d);
    call *second = submit(statement(d, "SHOW work_mem"));
    WAIT_UNTIL(d, d->nasked == 1);
    answer_with_targets("options", "-c work_mem=4MB");
    CHECK_TEXT(must(second)->value, "4MB");
    CHECK_TEXT(must(run_leased(first, statement(d, "SHOW work_mem")))->value, "3MB");
    release(d, first);
    driver_free(d);
}

static void
test_the_answer_is_used_for_one_session_only(void)
{
    d = asking_pool(HP_ASK_TARGETS, 0, 1);
    REQUIRE(hp_pool_open(d->pool) == 0);
    call *refused = submit(statement(d, "SELECT 1"));
    WAIT_UNTIL(d, d->nasked == 1);
    answer_with_targets("password", "wrong");
    wait_for(refused);
    CHECK_INT(refused->err.kind, HP_ERR_DOWN);
    CHECK_TEXT(refused->err.sqlstate, "28P01");
    call *served = submit(statement(d, "SELECT 1"));
    WAIT_UNTIL(d, d->nasked == 1);
    answer_with_targets(NULL, NULL);
    CHECK_TEXT(must(served)->value, "1");
    driver_free(d);
}

static void
test_an_error_in_answer_is_a_failed_attempt(void)
{
    static const hp_ask ASKS[] = {HP_ASK_TARGETS, HP_ASK_SESSION};
    for (int i = 0; i < 2; i++) {
        d = asking_pool(ASKS[i], 1, 1);
        open_until_asked(1);
        answer_with_error();
        CHECK_INT(d->opened, 1);
        CHECK(d->open_error.raised);
        CHECK_TEXT(d->open_error.text, "the callable says no");
        CHECK_INT(d->pool->size, 0);
        CHECK_INT(d->withdrawn, 0);
        driver_free(d);
    }
}

static void
test_a_passing_error_is_tried_again_and_a_hopeless_one_told_at_once(void)
{
    hp_error err = refusal();
    d = asking_pool(HP_ASK_TARGETS, 0, 1);
    REQUIRE(hp_pool_open(d->pool) == 0);
    call *waiting = submit(statement(d, "SELECT 1"));
    WAIT_UNTIL(d, d->nasked == 1);
    answer_with_error();
    CHECK_INT(waiting->done, 0);
    WAIT_UNTIL(d, d->nasked == 1);
    err.hopeless = true;
    hp_errand_targets(d->asked[--d->nasked], NULL, 0, &err);
    driver_check(d);
    CHECK_INT(waiting->done, 1);
    CHECK_INT(waiting->err.kind, HP_ERR_DOWN);
    CHECK(waiting->err.raised);
    driver_free(d);
}

static void
test_an_answer_that_never_comes_is_given_up_in_time(void)
{
    static const hp_ask ASKS[] = {HP_ASK_TARGETS, HP_ASK_SESSION};
    for (int i = 0; i < 2; i++) {
        d = asking_pool(ASKS[i], 1, 1);
        d->pool->env.connect_timeout = 50 * HP_MS;
        open_until_asked(1);
        WAIT_UNTIL(d, d->opened == 1);
        CHECK_INT(d->open_error.kind, HP_ERR_CONNECT_TIMEOUT);
        CHECK_INT(d->withdrawn, 1);
        CHECK_INT(d->pool->size, 0);
        answer_with_error(); /* too late: it changes nothing */
        CHECK_INT(d->opened, 1);
        driver_free(d);
    }
}

static void
test_the_end_of_the_pool_withdraws_what_it_asked_for(void)
{
    for (int how = 0; how < 3; how++) {
        d = asking_pool(how == 2 ? HP_ASK_SESSION : HP_ASK_TARGETS, 2, 2);
        open_until_asked(2);
        if (how == 0) {
            hp_pool_close(d->pool);
        } else {
            hp_pool_terminate(d->pool);
        }
        driver_check(d);
        CHECK_INT(d->withdrawn, 2);
        if (how == 0) {
            answer_with_targets(NULL, NULL);
        } else {
            answer_with_error();
        }
        answer_with_error();
        CHECK_INT(d->opened, 1);
        CHECK_INT(d->pool->size, 0);
        driver_free(d);
    }
}

/* ---- a session from elsewhere ---- */

/* Lease a session of another pool, of one that is never replaced. */
static driver *
elsewhere(hp_conn **session)
{
    driver *mine = d;
    hp_pool_config config = driver_config(1, 1);
    config.dedicated = true;
    driver *other = driver_open(&config);
    d = other;
    *session = acquire(other);
    d = mine;
    return other;
}

static void
leave_elsewhere(driver *other, hp_conn *session)
{
    hp_pool_release(session);
    hp_pool_terminate(other->pool);
    driver_free(other);
}

static void
test_a_session_opened_elsewhere_is_taken_over(void)
{
    hp_conn *session;
    d = asking_pool(HP_ASK_SESSION, 1, 1);
    open_until_asked(1);
    driver *other = elsewhere(&session);
    call *pid = must(run_leased(session, statement(other, "SELECT pg_backend_pid()")));
    must(run_leased(session, script(other, "SET work_mem = '3MB'")));
    session->attributes = other;
    CHECK(hp_errand_session(d->asked[--d->nasked], session, NULL));
    CHECK_INT(session->state, HP_CONN_CLOSED);
    CHECK(session->pg == NULL);
    driver_check(d);
    CHECK_INT(d->opened, 1);
    /* what it carried has come with it */
    CHECK(session->attributes == NULL);
    CHECK(d->pool->all->attributes == other);
    d->pool->all->attributes = NULL;
    CHECK_TEXT(must(submit(statement(d, "SELECT pg_backend_pid()")))->value, pid->value);
    CHECK_TEXT(must(submit(statement(d, "SHOW work_mem")))->value, "3MB");
    leave_elsewhere(other, session);
    /* it lives on without the one who opened it */
    CHECK_TEXT(must(submit(statement(d, "SELECT 2")))->value, "2");
    driver_free(d);
}

static void
test_statements_prepared_elsewhere_are_dropped_from_the_server(void)
{
    static const char COUNT[] = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT 4%'";
    hp_conn *session;
    d = asking_pool(HP_ASK_SESSION, 1, 1);
    open_until_asked(1);
    driver *other = elsewhere(&session);
    must(run_leased(session, statement(other, "SELECT 41")));
    must(run_leased(session, statement(other, "SELECT 42")));
    CHECK_TEXT(must(run_leased(session, statement(other, COUNT)))->value, "2");
    REQUIRE(hp_errand_session(d->asked[--d->nasked], session, NULL));
    leave_elsewhere(other, session);
    must(submit(statement(d, "SELECT 1")));
    CHECK_TEXT(must(submit(statement(d, COUNT)))->value, "0");
    driver_free(d);
}

static void
test_a_session_that_nobody_wants_stays_with_who_opened_it(void)
{
    hp_conn *session;
    d = asking_pool(HP_ASK_SESSION, 1, 1);
    open_until_asked(1);
    hp_pool_terminate(d->pool);
    driver *other = elsewhere(&session);
    CHECK(!hp_errand_session(d->asked[--d->nasked], session, NULL));
    CHECK_TEXT(must(run_leased(session, statement(other, "SELECT 1")))->value, "1");
    leave_elsewhere(other, session);
    driver_free(d);
}

/* ---- replacement ---- */

static void
test_expired_sessions_are_replaced_idle_ones_at_once_and_leased_ones_at_release(void)
{
    hp_pool_config config = driver_config(2, 2);
    d = driver_open(&config);
    hp_conn *leased = acquire(d);
    REQUIRE(d->pool->idle_count == 1);
    hp_pool_expire(d->pool);
    driver_check(d);
    CHECK_INT(d->pool->idle_count, 0);
    CHECK_TEXT(must(run_leased(leased, statement(d, "SELECT 1")))->value, "1");
    int idle = d->pool->idle_count; /* 1 where the other one has been replaced by now */
    release(d, leased);
    CHECK_INT(d->pool->idle_count, idle);
    WAIT_UNTIL(d, d->pool->idle_count == 2);
    CHECK_INT(d->pool->env.stats.connects, 4);
    driver_free(d);
}

static void
test_a_session_being_opened_when_all_expire_serves_nobody_twice(void)
{
    d = asking_pool(HP_ASK_TARGETS, 0, 1);
    REQUIRE(hp_pool_open(d->pool) == 0);
    call *first = submit(statement(d, "SELECT pg_backend_pid()"));
    WAIT_UNTIL(d, d->nasked == 1);
    hp_pool_expire(d->pool);
    answer_with_targets(NULL, NULL);
    WAIT_UNTIL(d, d->nasked == 1); /* what was asked for before is retired unused */
    CHECK_INT(first->done, 0);
    answer_with_targets(NULL, NULL);
    must(first);
    call *second = must(submit(statement(d, "SELECT pg_backend_pid()")));
    CHECK_TEXT(second->value, first->value);
    driver_free(d);
}

static void
test_a_pool_opens_with_as_many_as_it_was_told(void)
{
    hp_pool_config config = driver_config(1, 3);
    config.init_size = 3;
    d = driver_open(&config);
    CHECK_INT(d->pool->idle_count, 3);
    driver_free(d);
}

static const harness_case TESTS[] = {
    CASE(test_each_session_asks_what_to_connect_to),
    CASE(test_the_answer_is_used_for_one_session_only),
    CASE(test_an_error_in_answer_is_a_failed_attempt),
    CASE(test_a_passing_error_is_tried_again_and_a_hopeless_one_told_at_once),
    CASE(test_an_answer_that_never_comes_is_given_up_in_time),
    CASE(test_the_end_of_the_pool_withdraws_what_it_asked_for),
    CASE(test_a_session_opened_elsewhere_is_taken_over),
    CASE(test_statements_prepared_elsewhere_are_dropped_from_the_server),
    CASE(test_a_session_that_nobody_wants_stays_with_who_opened_it),
    CASE(test_expired_sessions_are_replaced_idle_ones_at_once_and_leased_ones_at_release),
    CASE(test_a_session_being_opened_when_all_expire_serves_nobody_twice),
    CASE(test_a_pool_opens_with_as_many_as_it_was_told),
};

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0],
                        driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set");
}
