/*
 * test_copy.c - COPY both ways: its states, flow control, and whatever can end it.
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
    must(run_leased(lease, script(d, "CREATE TEMP TABLE copied (id int, t text)")));
}

static void
tear_down(void)
{
    if (lease != NULL) {
        release(d, lease);
    }
    driver_free(d);
}

static const char *
value_of(const char *sql)
{
    return must(run_leased(lease, statement(d, sql)))->value;
}

/* The session has been kept, is free, and holds so many rows. */
static void
check_kept(int pid, const char *count)
{
    CHECK_TEXT(value_of("SELECT count(*) FROM copied"), count);
    CHECK_INT(PQbackendPID(lease->pg), pid);
}

static call *
start_in(const char *sql)
{
    call *c = run_leased(lease, copy_command(d, sql, true));
    WAIT_UNTIL(d, c->copy.state == HP_COPY_FEEDING);
    CHECK_INT(c->ready, 1);
    return c;
}

static void
put(call *c, const char *data)
{
    WAIT_UNTIL(d, !c->copy.full);
    CHECK(hp_copy_put(lease, c->req, data, (int)strlen(data)) >= 0);
    driver_check(d);
}

/* ---- in ---- */

static void
test_data_is_copied_in(void)
{
    set_up();
    call *c = start_in("COPY copied FROM STDIN");
    CHECK_INT(c->copy.columns, 2);
    CHECK(hp_conn_is_busy(lease));
    put(c, "1\tone\n2\t");
    put(c, "two\n");
    hp_copy_end(lease, c->req);
    CHECK_TEXT(must(c)->tag, "COPY 2");
    CHECK_TEXT(value_of("SELECT string_agg(t, ',' ORDER BY id) FROM copied"), "one,two");
    tear_down();
}

static void
test_a_full_socket_is_told_and_waited_for(void)
{
    static char line[100000];
    set_up();
    int pid = PQbackendPID(lease->pg);
    memset(line, 'x', sizeof line - 2);
    memcpy(line, "1\t", 2);
    line[sizeof line - 2] = '\n';
    call *c = start_in("COPY copied FROM STDIN");
    int full = 0;
    for (int i = 0; i < 300; i++) {
        put(c, line);
        full += c->copy.full;
    }
    CHECK(full > 0);
    CHECK_INT(c->ready - 1, full - c->copy.full);
    WAIT_UNTIL(d, !c->copy.full);
    hp_copy_end(lease, c->req);
    CHECK_TEXT(must(c)->tag, "COPY 300");
    check_kept(pid, "300");
    tear_down();
}

static void
test_data_that_is_left_is_taken_back(void)
{
    set_up();
    int pid = PQbackendPID(lease->pg);
    for (int i = 0; i < 20; i++) {
        call *c = start_in("COPY copied FROM STDIN");
        put(c, "1\tone\n");
        leave(c);
        CHECK(!hp_conn_is_busy(lease));
        check_kept(pid, "0");
        CHECK_INT(c->released, 1);
        CHECK_INT(c->done, 0);
    }
    tear_down();
}

static void
test_a_command_left_before_it_is_answered_is_ended(void)
{
    set_up();
    int pid = PQbackendPID(lease->pg);
    for (int i = 0; i < 20; i++) {
        bool in = i % 2 == 0;
        leave(run_leased(lease, copy_command(d, in ? "COPY copied FROM STDIN" : "COPY copied TO STDOUT", in)));
        check_kept(pid, "0");
    }
    tear_down();
}

static void
test_a_timeout_takes_the_data_back(void)
{
    set_up();
    int pid = PQbackendPID(lease->pg);
    call *c = copy_command(d, "COPY copied FROM STDIN", true);
    c->req->deadline = hp_now() + 300 * HP_MS;
    run_leased(lease, c);
    WAIT_UNTIL(d, c->copy.state == HP_COPY_FEEDING || c->done > 0);
    if (c->done == 0) {
        put(c, "1\tone\n");
    }
    WAIT_UNTIL(d, c->done > 0);
    CHECK_INT(c->err.kind, HP_ERR_QUERY_TIMEOUT);
    check_kept(pid, "0");
    tear_down();
}

static void
test_an_error_of_the_server_ends_it_at_the_end_at_last(void)
{
    set_up();
    int pid = PQbackendPID(lease->pg);
    call *c = start_in("COPY copied FROM STDIN");
    put(c, "no number\tone\n");
    /* Seen at once where the session is not encrypted. */
    if (c->req != NULL && c->copy.state == HP_COPY_FEEDING) {
        hp_copy_end(lease, c->req);
    }
    wait_for(c);
    CHECK_INT(c->err.kind, HP_ERR_SERVER);
    CHECK_TEXT(c->err.sqlstate, "22P02");
    check_kept(pid, "0");
    tear_down();
}

static void
test_a_refused_command_is_an_error(void)
{
    set_up();
    int pid = PQbackendPID(lease->pg);
    CHECK_TEXT(wait_for(run_leased(lease, copy_command(d, "COPY nothing FROM STDIN", true)))->err.sqlstate, "42P01");
    CHECK_TEXT(wait_for(run_leased(lease, copy_command(d, "COPY", true)))->err.sqlstate, "42601");
    CHECK_INT(wait_for(run_leased(lease, copy_command(d, "SELECT 1", true)))->err.kind, HP_ERR_USAGE);
    check_kept(pid, "0");
    tear_down();
}

static void
test_the_other_direction_is_refused(void)
{
    set_up();
    int pid = PQbackendPID(lease->pg);
    CHECK_INT(wait_for(run_leased(lease, copy_command(d, "COPY copied TO STDOUT", true)))->err.kind, HP_ERR_USAGE);
    CHECK_INT(wait_for(run_leased(lease, copy_command(d, "COPY copied FROM STDIN", false)))->err.kind, HP_ERR_USAGE);
    check_kept(pid, "0");
    tear_down();
}

static void
test_a_server_that_ends_while_it_is_fed_is_told_with_its_reason(void)
{
    char sql[64];
    set_up();
    call *c = start_in("COPY copied FROM STDIN");
    put(c, "1\tone\n");
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", PQbackendPID(lease->pg));
    must(submit(statement(d, sql)));
    wait_for(c);
    CHECK_TEXT(c->err.sqlstate, "57P01");
    tear_down();
}

/* ---- out ---- */

static call *
start_out(const char *sql, size_t enough)
{
    call *c = copy_command(d, sql, false);
    c->enough = enough;
    return run_leased(lease, c);
}

/* Take everything, as a caller that is through with it at once. */
static void
take_all(call *c)
{
    while (c->req != NULL) {
        WAIT_UNTIL(d, c->req == NULL || c->copy.paused || c->copy.held);
        if (c->req == NULL) {
            break;
        }
        c->copied = 0;
        hp_copy_taken(lease, c->req);
        if (c->req != NULL && c->copy.paused) {
            hp_copy_resume(lease, c->req);
        }
        driver_check(d);
    }
}

static void
test_rows_are_copied_out(void)
{
    set_up();
    int pid = PQbackendPID(lease->pg);
    call *c = start_out("COPY (SELECT generate_series(1, 1000)) TO STDOUT", 0);
    take_all(c);
    CHECK_TEXT(must(c)->tag, "COPY 1000");
    CHECK_INT(c->rows_copied, 1000);
    c = start_out("COPY (SELECT 1 WHERE false) TO STDOUT", 0);
    CHECK_TEXT(must(c)->tag, "COPY 0");
    CHECK_INT(c->ready, 0);
    check_kept(pid, "0");
    tear_down();
}

static void
test_reading_rests_while_the_caller_has_enough(void)
{
    set_up();
    call *c = start_out("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT", 5000);
    WAIT_UNTIL(d, c->copy.paused);
    for (int i = 0; i < 20; i++) {
        driver_step(d, 5);
        CHECK(c->copy.paused && c->copied >= 5000 && c->copied < 6100);
    }
    take_all(c);
    CHECK_TEXT(must(c)->tag, "COPY 20000");
    CHECK_INT(c->rows_copied, 20000);
    tear_down();
}

static void
test_it_is_not_over_before_the_caller_is_through(void)
{
    set_up();
    call *c = copy_command(d, "COPY (SELECT 1) TO STDOUT", false);
    c->req->deadline = hp_now() + 300 * HP_MS;
    run_leased(lease, c);
    WAIT_UNTIL(d, c->done > 0); /* nobody takes the row */
    CHECK_INT(c->err.kind, HP_ERR_QUERY_TIMEOUT);
    CHECK_TEXT(value_of("SELECT 'next'"), "next");
    tear_down();
}

static void
test_rows_that_are_left_are_dropped(void)
{
    static const char *const COMMANDS[] = {
        "COPY (SELECT 1) TO STDOUT",
        "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT",
        "COPY (SELECT repeat('x', 1000), 1 / (30 - i) FROM generate_series(1, 40) i) TO STDOUT",
    };
    set_up();
    int pid = PQbackendPID(lease->pg);
    for (size_t i = 0; i < 3; i++) {
        for (size_t enough = 0; enough < 5000; enough += 1500) {
            call *c = start_out(COMMANDS[i], enough);
            WAIT_UNTIL(d, c->rows_copied > 0 || c->done > 0);
            leave(c);
            check_kept(pid, "0");
            CHECK_INT(c->released, 1);
        }
    }
    tear_down();
}

static void
test_an_error_among_the_rows_is_the_answer(void)
{
    set_up();
    int pid = PQbackendPID(lease->pg);
    call *c = start_out("COPY (SELECT 1 / (5000 - i) FROM generate_series(1, 9000) i) TO STDOUT", 0);
    take_all(c);
    CHECK_TEXT(c->err.sqlstate, "22012");
    check_kept(pid, "0");
    tear_down();
}

static void
test_a_server_that_ends_while_reading_rests_is_told_when_it_goes_on(void)
{
    char sql[64];
    set_up();
    call *c = start_out("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT", 5000);
    WAIT_UNTIL(d, c->copy.paused);
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", PQbackendPID(lease->pg));
    must(submit(statement(d, sql)));
    CHECK_INT(c->done, 0);
    take_all(c);
    CHECK(c->err.kind == HP_ERR_LOST || c->err.kind == HP_ERR_SERVER);
    tear_down();
}

static void
test_a_lease_given_back_in_the_middle_ends_it(void)
{
    for (int in = 0; in < 2; in++) {
        set_up();
        call *c = in ? start_in("COPY copied FROM STDIN")
                     : start_out("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT", 5000);
        WAIT_UNTIL(d, in || c->copy.paused);
        release(d, lease);
        lease = NULL;
        CHECK_INT(c->err.kind, HP_ERR_CLOSED);
        wait_for(c);
        CHECK_TEXT(must(submit(statement(d, "SELECT 'next'")))->value, "next");
        tear_down();
    }
}

static void
test_a_pool_that_is_terminated_ends_it(void)
{
    for (int in = 0; in < 2; in++) {
        set_up();
        call *c = in ? start_in("COPY copied FROM STDIN")
                     : start_out("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT", 5000);
        WAIT_UNTIL(d, in || c->copy.paused);
        hp_pool_terminate(d->pool);
        CHECK_INT(c->done, 1);
        CHECK_INT(c->released, 1);
        tear_down();
    }
}

int
main(void)
{
    static const harness_case TESTS[] = {
        CASE(test_data_is_copied_in),
        CASE(test_a_full_socket_is_told_and_waited_for),
        CASE(test_data_that_is_left_is_taken_back),
        CASE(test_a_command_left_before_it_is_answered_is_ended),
        CASE(test_a_timeout_takes_the_data_back),
        CASE(test_an_error_of_the_server_ends_it_at_the_end_at_last),
        CASE(test_a_refused_command_is_an_error),
        CASE(test_the_other_direction_is_refused),
        CASE(test_a_server_that_ends_while_it_is_fed_is_told_with_its_reason),
        CASE(test_rows_are_copied_out),
        CASE(test_reading_rests_while_the_caller_has_enough),
        CASE(test_it_is_not_over_before_the_caller_is_through),
        CASE(test_rows_that_are_left_are_dropped),
        CASE(test_an_error_among_the_rows_is_the_answer),
        CASE(test_a_server_that_ends_while_reading_rests_is_told_when_it_goes_on),
        CASE(test_a_lease_given_back_in_the_middle_ends_it),
        CASE(test_a_pool_that_is_terminated_ends_it),
    };
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0], driver_dsn() ? NULL : "no HOLISTICPOOL_TEST_DSN");
}
