/*
 * test_leave.c - callers that leave, timeouts, cancelling on the server, and
 * sessions that end under a request.
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
}

static void
tear_down(void)
{
    if (lease != NULL) {
        release(d, lease);
    }
    driver_free(d);
}

static int
pid(void)
{
    return PQbackendPID(lease->pg);
}

static const char *
value_of(const char *sql)
{
    return must(run_leased(lease, statement(d, sql)))->value;
}

/* Is the backend in a statement? Asked of another session. */
static const char *
state_of_backend(int backend)
{
    static char sql[128];
    snprintf(sql, sizeof sql, "SELECT state || ' ' || coalesce(wait_event, '') FROM pg_stat_activity WHERE pid = %d",
             backend);
    return must(submit(script(d, sql)))->value;
}

static call *
start_sleeping(void)
{
    call *c = run_leased(lease, statement(d, "SELECT pg_sleep(100)"));
    WAIT_UNTIL(d, strcmp(state_of_backend(pid()), "active PgSleep") == 0);
    return c;
}

/* ---- cancelling ---- */

static void
test_a_statement_left_is_cancelled_on_the_server_and_its_session_kept(void)
{
    set_up();
    int before = pid();
    call *c = start_sleeping();
    leave(c);
    CHECK(c->req != NULL); /* its answer has still to be read */
    CHECK(!hp_conn_is_busy(lease));
    call *next = run_leased(lease, statement(d, "SELECT 'next'"));
    CHECK_TEXT(must(next)->value, "next");
    CHECK_INT(c->done, 0);
    CHECK_INT(c->released, 1);
    CHECK_INT(pid(), before);
    CHECK_INT(d->pool->env.stats.cancellations, 1);
    tear_down();
}

static void
test_a_statement_that_takes_too_long_is_cancelled_on_the_server(void)
{
    set_up();
    int before = pid();
    call *c = statement(d, "SELECT pg_sleep(100)");
    c->req->command_timeout = 100 * HP_MS;
    wait_for(run_leased(lease, c));
    CHECK_INT(c->err.kind, HP_ERR_QUERY_TIMEOUT);
    CHECK_INT(c->done, 1);
    CHECK_TEXT(value_of("SELECT 'next'"), "next");
    CHECK_INT(pid(), before);
    CHECK_INT(d->pool->env.stats.query_timeouts, 1);
    tear_down();
}

static void
test_the_deadline_counts_for_all_of_a_request(void)
{
    set_up();
    call *c = statement(d, "SELECT pg_sleep(100)");
    c->req->command_timeout = 50 * HP_SECOND;
    c->req->deadline = hp_now() + 50 * HP_MS;
    wait_for(run_leased(lease, c));
    CHECK_INT(c->err.kind, HP_ERR_QUERY_TIMEOUT);
    hp_conn *other = acquire(d);
    c = driver_call(d, HP_REQ_LEASE, NULL);
    c->req->acquire_timeout = 50 * HP_SECOND;
    c->req->deadline = hp_now() + 50 * HP_MS;
    wait_for(submit(c));
    CHECK_INT(c->err.kind, HP_ERR_EXHAUSTED);
    release(d, other);
    tear_down();
}

static void
test_leaving_right_after_submitting_is_safe(void)
{
    set_up();
    int before = pid();
    for (int i = 0; i < 10; i++) {
        leave(run_leased(lease, statement(d, "SELECT pg_sleep(100)")));
        CHECK_TEXT(value_of("SELECT 'alive'"), "alive");
    }
    CHECK_INT(pid(), before);
    tear_down();
}

static void
test_leaving_a_statement_that_is_as_good_as_over_hits_no_other(void)
{
    set_up();
    int before = pid();
    for (int i = 0; i < 30; i++) {
        call *c = run_leased(lease, statement(d, "SELECT 1"));
        leave(c);
        CHECK_TEXT(value_of("SELECT 2"), "2");
        CHECK_TEXT(value_of("SELECT 3"), "3");
    }
    CHECK_INT(pid(), before);
    tear_down();
}

static void
test_leaving_a_script_and_a_description_is_safe(void)
{
    set_up();
    int before = pid();
    leave(run_leased(lease, script(d, "SELECT 1; SELECT pg_sleep(100)")));
    CHECK_TEXT(value_of("SELECT 1"), "1");
    leave(run_leased(lease, statement(d, "SELECT 'never described before'")));
    CHECK_TEXT(value_of("SELECT 'never described before'"), "never described before");
    leave(run_leased(lease, script(d, "COPY (SELECT pg_sleep(100)) TO STDOUT")));
    CHECK_TEXT(value_of("SELECT 1"), "1");
    leave(run_leased(lease, script(d, "CREATE TEMP TABLE t (a int); COPY t FROM STDIN; SELECT pg_sleep(100)")));
    CHECK_TEXT(value_of("SELECT 1"), "1");
    CHECK_INT(pid(), before);
    tear_down();
}

static void
test_what_waits_behind_a_cancelled_statement_can_be_left_too(void)
{
    set_up();
    leave(start_sleeping());
    call *pending = run_leased(lease, statement(d, "SELECT 'never'"));
    CHECK(lease->pending.first == pending->req);
    CHECK(hp_conn_is_busy(lease));
    leave(pending);
    CHECK(pending->req == NULL);
    CHECK_INT(pending->done, 0);
    CHECK_TEXT(value_of("SELECT 'alive'"), "alive");
    tear_down();
}

static void
test_what_waits_behind_a_cancelled_statement_times_out_too(void)
{
    set_up();
    leave(start_sleeping());
    call *pending = statement(d, "SELECT 'never'");
    pending->req->deadline = hp_now() - 1;
    wait_for(run_leased(lease, pending));
    CHECK_INT(pending->err.kind, HP_ERR_QUERY_TIMEOUT);
    CHECK_TEXT(value_of("SELECT 'alive'"), "alive");
    tear_down();
}

static void
test_a_statement_that_ignores_its_cancelling_costs_the_session(void)
{
    set_up();
    int before = pid();
    d->pool->env.cancel_timeout = 700 * HP_MS;
    call *c = run_leased(lease, script(d, "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(100); EXCEPTION WHEN query_canceled "
                                          "THEN NULL; END; END LOOP; END $$"));
    WAIT_UNTIL(d, strcmp(state_of_backend(before), "active PgSleep") == 0);
    leave(c);
    call *pending = run_leased(lease, statement(d, "SELECT 'never'"));
    wait_for(pending);
    CHECK_INT(pending->err.kind, HP_ERR_LOST);
    CHECK_INT(lease->state, HP_CONN_CLOSED);
    CHECK_INT(c->released, 1);
    release(d, lease);
    lease = acquire(d);
    CHECK(pid() != before);
    char sql[64];
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", before);
    value_of(sql);
    tear_down();
}

static void
test_a_cancelled_transaction_is_rolled_back_at_the_release(void)
{
    set_up();
    int before = pid();
    must(run_leased(lease, script(d, "BEGIN")));
    leave(start_sleeping());
    release(d, lease);
    CHECK_INT(lease->use, HP_USE_SETTLING);
    lease = NULL;
    hp_conn *other = acquire(d);
    hp_conn *again = acquire(d);
    CHECK(PQbackendPID(other->pg) == before || PQbackendPID(again->pg) == before);
    CHECK_TEXT(must(run_leased(other, statement(d, "SELECT 1")))->value, "1");
    CHECK_TEXT(must(run_leased(again, statement(d, "SELECT 1")))->value, "1");
    release(d, other);
    release(d, again);
    tear_down();
}

static void
test_a_release_ends_what_is_still_running(void)
{
    set_up();
    int before = pid();
    call *c = start_sleeping();
    release(d, lease);
    CHECK_INT(c->err.kind, HP_ERR_CLOSED); /* somebody else waits for it, perhaps */
    wait_for(c);
    CHECK_INT(c->done, 1);
    lease = acquire(d);
    hp_conn *other = acquire(d);
    CHECK(pid() == before || PQbackendPID(other->pg) == before);
    release(d, other);
    tear_down();
}

/* ---- sessions that end ---- */

static void
test_a_session_killed_in_a_statement_fails_it_with_the_reason(void)
{
    set_up();
    call *c = wait_for(run_leased(lease, statement(d, "SELECT pg_terminate_backend(pg_backend_pid())")));
    CHECK_TEXT(c->err.sqlstate, "57P01");
    CHECK_INT(lease->state, HP_CONN_CLOSED);
    c = run_leased(lease, statement(d, "SELECT 1"));
    CHECK(c->req == NULL);
    CHECK_INT(c->err.kind, HP_ERR_CLOSED);
    CHECK_INT(d->pool->env.stats.recycled[HP_RECYCLE_BROKEN], 1);
    tear_down();
}

static void
test_a_lease_whose_session_was_killed_finds_out(void)
{
    static char sql[64];
    set_up();
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", pid());
    must(submit(statement(d, sql)));
    WAIT_UNTIL(d, lease->state == HP_CONN_CLOSED);
    CHECK_INT(lease->use, HP_USE_LEASED);
    CHECK_INT(d->pool->size, 2); /* it counts until it is given back */
    release(d, lease);
    lease = NULL;
    CHECK_INT(d->pool->size, 1);
    tear_down();
}

static void
test_killed_with_a_cancel_under_way(void)
{
    set_up();
    static char sql[64];
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", pid());
    hp_conn *other = acquire(d);
    call *c = run_leased(lease, statement(d, "SELECT pg_sleep(100)"));
    leave(c);
    call *pending = run_leased(lease, statement(d, "SELECT 'perhaps'"));
    must(run_leased(other, statement(d, sql)));
    wait_for(pending);
    WAIT_UNTIL(d, lease->state == HP_CONN_CLOSED);
    CHECK_INT(c->released, 1);
    release(d, other);
    tear_down();
}

static void
test_another_client_encoding_ends_the_session(void)
{
    set_up();
    call *c = wait_for(run_leased(lease, script(d, "SET client_encoding = 'LATIN1'; SELECT 'x'")));
    CHECK_INT(c->err.kind, HP_ERR_ENCODING);
    CHECK(strstr(c->err.text, "LATIN1") != NULL);
    CHECK_INT(lease->state, HP_CONN_CLOSED);
    tear_down();
}

static void
test_terminating_the_lease_fails_its_statement(void)
{
    set_up();
    call *c = start_sleeping();
    hp_error err;
    hp_error_set(&err, HP_ERR_CLOSED, "terminated by the test");
    hp_conn_break(lease, &err);
    CHECK_INT(c->err.kind, HP_ERR_CLOSED);
    CHECK(c->req == NULL);
    driver_check(d);
    hp_conn_break(lease, &err); /* twice does nothing */
    tear_down();
}

static void
test_a_broken_lease_is_closed_instead_of_kept(void)
{
    set_up();
    int before = pid();
    hp_pool_release_broken(lease);
    driver_check(d);
    lease = acquire(d);
    CHECK(pid() != before);
    call *c = start_sleeping();
    hp_pool_release_broken(lease);
    driver_check(d);
    CHECK_INT(c->done, 1);
    lease = acquire(d);
    CHECK_TEXT(value_of("SELECT 1"), "1");
    tear_down();
}

/* ---- a caller that does more from inside an answer ---- */

static void
run_another(call *c)
{
    hp_conn *conn = lease;
    c->then = NULL;
    run_leased(conn, statement(d, "SELECT 'from inside'"));
}

static void
test_an_answer_may_start_the_next_statement(void)
{
    set_up();
    call *c = statement(d, "SELECT 1");
    c->then = run_another;
    must(run_leased(lease, c));
    call *inner = d->calls;
    CHECK(inner != c);
    CHECK_TEXT(must(inner)->value, "from inside");
    tear_down();
}

static void
release_inside(call *c)
{
    (void)c;
    hp_pool_release(lease);
}

static void
test_an_answer_may_release_the_lease(void)
{
    static const char *const TEXTS[] = {
        "SELECT 1",         "SELECT 1/0", "SELECT pg_terminate_backend(pg_backend_pid())", "SET application_name = 'x'",
        "COPY t TO STDOUT", "BEGIN"};
    set_up();
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        call *c = statement(d, TEXTS[i]);
        c->then = release_inside;
        wait_for(run_leased(lease, c));
        lease = acquire(d);
        CHECK_TEXT(value_of("SELECT 1"), "1");
    }
    tear_down();
}

static void
test_a_timeout_may_release_the_lease(void)
{
    set_up();
    call *c = start_sleeping();
    c->then = release_inside;
    c->req->timer.fire(&c->req->timer, hp_now()); /* as the reactor would */
    CHECK_INT(c->err.kind, HP_ERR_QUERY_TIMEOUT);
    wait_for(c);
    lease = acquire(d);
    CHECK_TEXT(value_of("SELECT 1"), "1");
    tear_down();
}

static void
terminate_inside(call *c)
{
    hp_pool_terminate(c->driver->pool);
}

static void
test_an_answer_may_terminate_the_pool(void)
{
    static const char *const TEXTS[] = {"SELECT 1", "SELECT 1/0", "SELECT pg_terminate_backend(pg_backend_pid())"};
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        set_up();
        call *c = statement(d, TEXTS[i]);
        c->then = terminate_inside;
        wait_for(run_leased(lease, c));
        CHECK_INT(d->pool->state, HP_POOL_CLOSED);
        CHECK_INT(d->closed, 1);
        tear_down();
    }
    set_up();
    call *c = start_sleeping();
    c->then = terminate_inside;
    c->req->timer.fire(&c->req->timer, hp_now());
    CHECK(c->req == NULL);
    tear_down();
}

/* Encoding a parameter may run the user's code, and that anything. */

static int
leave_in_bind(call *c)
{
    leave(c);
    return c->req == NULL;
}

static int
release_in_bind(call *c)
{
    hp_pool_release(lease);
    lease = NULL;
    return c->req == NULL;
}

static int
terminate_in_bind(call *c)
{
    hp_pool_terminate(d->pool);
    return c->req == NULL;
}

static void
test_binding_may_end_the_request_the_lease_or_the_pool(void)
{
    static int (*const ENDS[])(call *) = {leave_in_bind, release_in_bind, terminate_in_bind};
    static const hp_request_kind KINDS[] = {HP_REQ_STATEMENT, HP_REQ_BATCH};
    static const char *const SETS[] = {"1", "2"};
    for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++) {
        for (int described = 0; described < 2; described++) {
            for (int kind = 0; kind < 2; kind++) {
                set_up();
                if (described) {
                    must(run_leased(lease, driver_param(statement(d, "SELECT $1::int"), "1")));
                }
                call *c = KINDS[kind] == HP_REQ_BATCH ? batch(d, "SELECT $1::int", 2, SETS)
                                                      : driver_param(statement(d, "SELECT $1::int"), "1");
                c->in_bind = ENDS[i];
                wait_for(run_leased(lease, c));
                CHECK_INT(c->bound, 1);
                CHECK(c->done == 0 || c->err.kind != HP_ERR_NONE);
                if (d->pool->state == HP_POOL_OPEN) {
                    CHECK_TEXT(must(submit(statement(d, "SELECT 'fine'")))->value, "fine");
                }
                tear_down();
            }
        }
    }
}

static const harness_case TESTS[] = {
    CASE(test_a_statement_left_is_cancelled_on_the_server_and_its_session_kept),
    CASE(test_a_statement_that_takes_too_long_is_cancelled_on_the_server),
    CASE(test_the_deadline_counts_for_all_of_a_request),
    CASE(test_leaving_right_after_submitting_is_safe),
    CASE(test_leaving_a_statement_that_is_as_good_as_over_hits_no_other),
    CASE(test_leaving_a_script_and_a_description_is_safe),
    CASE(test_what_waits_behind_a_cancelled_statement_can_be_left_too),
    CASE(test_what_waits_behind_a_cancelled_statement_times_out_too),
    CASE(test_a_statement_that_ignores_its_cancelling_costs_the_session),
    CASE(test_a_cancelled_transaction_is_rolled_back_at_the_release),
    CASE(test_a_release_ends_what_is_still_running),
    CASE(test_a_session_killed_in_a_statement_fails_it_with_the_reason),
    CASE(test_a_lease_whose_session_was_killed_finds_out),
    CASE(test_killed_with_a_cancel_under_way),
    CASE(test_another_client_encoding_ends_the_session),
    CASE(test_terminating_the_lease_fails_its_statement),
    CASE(test_a_broken_lease_is_closed_instead_of_kept),
    CASE(test_an_answer_may_start_the_next_statement),
    CASE(test_an_answer_may_release_the_lease),
    CASE(test_a_timeout_may_release_the_lease),
    CASE(test_an_answer_may_terminate_the_pool),
    CASE(test_binding_may_end_the_request_the_lease_or_the_pool),
};

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0],
                        driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set");
}
