/*
 * test_cursor.c - cursors, requests that are sent ahead, batches that come in
 * portions, and statements that one lease owns.
 */
#include "driver.h"

#include "engine/batch.h"
#include "engine/prepared.h"

static const char SERIES[] = "SELECT i FROM generate_series(1, $1::int) i";
#define DECLARE "DECLARE c NO SCROLL CURSOR FOR SELECT i FROM generate_series(1, $1::int) i"

static driver *d;
static hp_conn *lease;

static void
set_up(void)
{
    hp_pool_config config = driver_config(1, 1);
    d = driver_open(&config);
    lease = acquire(d);
}

static void
tear_down(void)
{
    release(d, lease);
    driver_free(d);
}

static void
run_script(const char *sql)
{
    must(run_leased(lease, script(d, sql)));
}

static const char *
value_of(const char *sql)
{
    return must(run_leased(lease, script(d, sql)))->value;
}

static call *
cursor(const char *sql, const char *declare, const char *fetch)
{
    call *c = driver_call(d, HP_REQ_CURSOR, sql);
    c->req->declare = declare;
    c->req->fetch = fetch;
    return c;
}

/* ---- cursors ---- */

static void
test_a_cursor_is_declared_with_parameters_and_read_in_one_go(void)
{
    set_up();
    run_script("BEGIN");
    call *c = must(run_leased(lease, driver_param(cursor(SERIES, DECLARE, "FETCH 3 FROM c"), "5")));
    CHECK_INT(c->rows, 3);
    CHECK_TEXT(c->value, "1");
    c = must(run_leased(lease, cursor(SERIES, NULL, "FETCH 3 FROM c")));
    CHECK_INT(c->rows, 2);
    CHECK_TEXT(c->value, "4");
    CHECK_INT(c->described, 0); /* it was known */
    CHECK_TEXT(must(run_leased(lease, cursor(SERIES, NULL, "CLOSE c")))->tag, "CLOSE CURSOR");
    CHECK_TEXT(value_of("SELECT count(*) FROM pg_cursors WHERE name = 'c'"), "0");
    tear_down();
}

static void
test_a_cursor_leaves_no_prepared_statement(void)
{
    set_up();
    run_script("BEGIN");
    must(run_leased(lease, driver_param(cursor(SERIES, DECLARE, NULL), "5")));
    must(run_leased(lease, cursor(SERIES, NULL, "MOVE 1 FROM c")));
    CHECK_TEXT(value_of("SELECT count(*) FROM pg_prepared_statements WHERE statement !~ '^SELECT'"), "0");
    tear_down();
}

static void
test_a_cursor_that_cannot_be_declared_is_not_read(void)
{
    set_up();
    call *c = wait_for(run_leased(lease, driver_param(cursor(SERIES, DECLARE, "FETCH 3 FROM c"), "5")));
    CHECK_TEXT(c->err.sqlstate, "25P01"); /* outside of a transaction */
    CHECK_TEXT(value_of("SELECT 'fine'"), "fine");
    tear_down();
}

/* ---- ahead ---- */

static void
test_others_wait_behind_what_was_sent_ahead(void)
{
    set_up();
    run_script("BEGIN");
    call *first = driver_param(cursor(SERIES, DECLARE, "FETCH 1 FROM c"), "5");
    call *second = cursor(SERIES, NULL, "FETCH 1 FROM c");
    call *third = statement(d, "SELECT 'behind'");
    first->req->ahead = second->req->ahead = true;
    run_leased(lease, first);
    CHECK(!hp_conn_is_busy(lease));
    run_leased(lease, second);
    CHECK(!hp_conn_is_busy(lease));
    CHECK(hp_conn_in_transaction(lease));
    run_leased(lease, third);
    CHECK(hp_conn_is_busy(lease));
    CHECK_INT(lease->pending.count, 2);
    CHECK_TEXT(must(third)->value, "behind");
    CHECK_TEXT(first->value, "1");
    CHECK_TEXT(second->value, "2");
    CHECK(first->order < second->order && second->order < third->order);
    tear_down();
}

static void
test_what_was_sent_ahead_can_be_left(void)
{
    set_up();
    call *ahead = statement(d, "SELECT pg_sleep(100)");
    ahead->req->ahead = true;
    run_leased(lease, ahead);
    call *behind = run_leased(lease, statement(d, "SELECT 'behind'"));
    leave(ahead);
    CHECK_TEXT(must(behind)->value, "behind");
    CHECK_INT(ahead->done, 0);
    CHECK_INT(ahead->released, 1);
    tear_down();
}

static void
test_a_release_ends_what_was_sent_ahead_and_what_waits_behind(void)
{
    set_up();
    call *ahead = statement(d, "SELECT pg_sleep(100)");
    ahead->req->ahead = true;
    run_leased(lease, ahead);
    call *behind = run_leased(lease, statement(d, "SELECT 'never'"));
    release(d, lease);
    CHECK_INT(ahead->err.kind, HP_ERR_CLOSED);
    CHECK_INT(behind->err.kind, HP_ERR_CLOSED);
    lease = acquire(d);
    CHECK_TEXT(value_of("SELECT 'fine'"), "fine");
    tear_down();
}

/* ---- batches in portions ---- */

static const char *const PORTION[] = {"1", "2", "3"};
enum { PORTION_SETS = 3 };

static call *
begin_portions(const char *sql)
{
    call *c = batch(d, sql, PORTION_SETS, PORTION);
    c->req->more = true;
    run_leased(lease, c);
    WAIT_UNTIL(d, c->hungry == 1);
    return c;
}

static void
test_portions_are_one_batch(void)
{
    set_up();
    run_script("CREATE TEMP TABLE t (a int)");
    call *c = begin_portions("INSERT INTO t VALUES ($1::int)");
    CHECK(hp_batch_is_feeding(c->req) && hp_conn_is_busy(lease));
    hp_batch_continue(lease, c->req, PORTION_SETS, true);
    WAIT_UNTIL(d, c->hungry == 2);
    hp_batch_continue(lease, c->req, 1, false);
    must(c);
    CHECK_TEXT(value_of("SELECT count(*) FROM t"), "7");
    tear_down();
}

static void
test_portions_that_are_aborted_leave_nothing_in_or_out_of_a_transaction(void)
{
    set_up();
    run_script("CREATE TEMP TABLE t (a int)");
    call *c = begin_portions("INSERT INTO t VALUES ($1::int)");
    hp_batch_abort(lease, c->req);
    wait_for(c);
    CHECK_TEXT(value_of("SELECT count(*) FROM t"), "0");
    CHECK(!hp_conn_in_transaction(lease));
    run_script("BEGIN; INSERT INTO t VALUES (0)");
    c = begin_portions("INSERT INTO t VALUES ($1::int)");
    hp_batch_continue(lease, c->req, PORTION_SETS, true);
    WAIT_UNTIL(d, c->hungry == 2);
    hp_batch_abort(lease, c->req);
    wait_for(c);
    run_script("COMMIT");
    CHECK_TEXT(value_of("SELECT count(*) FROM t"), "1");
    tear_down();
}

static void
test_portions_that_are_left_leave_nothing_and_keep_the_session(void)
{
    set_up();
    int before = PQbackendPID(lease->pg);
    run_script("CREATE TEMP TABLE t (a int)");
    leave(begin_portions("INSERT INTO t VALUES ($1::int)"));
    CHECK_TEXT(value_of("SELECT count(*) FROM t"), "0");
    CHECK_INT(PQbackendPID(lease->pg), before);
    tear_down();
}

static void
test_a_failed_portion_ends_the_batch(void)
{
    set_up();
    call *c = begin_portions("SELECT 1 / ($1::int - 3)");
    wait_for(c);
    CHECK_TEXT(c->err.sqlstate, "22012");
    CHECK_TEXT(value_of("SELECT 'fine'"), "fine");
    tear_down();
}

static void
test_the_rows_of_each_set_are_collected(void)
{
    set_up();
    call *c = batch(d, "SELECT generate_series(1, $1::int)", PORTION_SETS, PORTION);
    c->req->collects = true;
    must(run_leased(lease, c));
    CHECK_INT(c->parts, PORTION_SETS);
    CHECK_INT(c->rows, 1 + 2 + 3);
    tear_down();
}

/* ---- owned statements ---- */

static call *
execute(hp_stmt *stmt)
{
    call *c = statement(d, stmt->sql);
    hp_stmt_unref(c->req->stmt);
    hp_stmt_ref(stmt);
    c->req->stmt = stmt;
    return run_leased(lease, c);
}

static void
test_an_owned_statement_stays_until_it_is_dropped(void)
{
    static const char SQL[] = "SELECT 'owned'";
    static const char COUNT[] = "SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'";
    set_up();
    hp_stmt *stmt = hp_stmt_new_owned(SQL, strlen(SQL), "mine", true);
    REQUIRE(stmt != NULL);
    CHECK_TEXT(must(execute(stmt))->value, "owned");
    CHECK(stmt->home == lease);
    CHECK_TEXT(value_of(COUNT), "1");
    hp_prepared_drop(stmt);
    CHECK(stmt->home == NULL);
    CHECK_TEXT(must(execute(stmt))->value, "owned"); /* closed and prepared again under its name */
    CHECK(stmt->home == lease);
    release(d, lease);
    CHECK(stmt->home == NULL);
    lease = acquire(d);
    must(run_leased(lease, statement(d, "SELECT 1")));
    CHECK_TEXT(value_of(COUNT), "0");
    hp_stmt_unref(stmt);
    tear_down();
}

static const harness_case TESTS[] = {
    CASE(test_a_cursor_is_declared_with_parameters_and_read_in_one_go),
    CASE(test_a_cursor_leaves_no_prepared_statement),
    CASE(test_a_cursor_that_cannot_be_declared_is_not_read),
    CASE(test_others_wait_behind_what_was_sent_ahead),
    CASE(test_what_was_sent_ahead_can_be_left),
    CASE(test_a_release_ends_what_was_sent_ahead_and_what_waits_behind),
    CASE(test_portions_are_one_batch),
    CASE(test_portions_that_are_aborted_leave_nothing_in_or_out_of_a_transaction),
    CASE(test_portions_that_are_left_leave_nothing_and_keep_the_session),
    CASE(test_a_failed_portion_ends_the_batch),
    CASE(test_the_rows_of_each_set_are_collected),
    CASE(test_an_owned_statement_stays_until_it_is_dropped),
};

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0],
                        driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set");
}
