/*
 * test_begin.c - BEGIN on its way with the first statement of a transaction.
 */
#include "driver.h"

#include "engine/begin.h"

static driver *d;
static hp_conn *conn;

static void
set_up(void)
{
    hp_pool_config config = driver_config(1, 1);
    d = driver_open(&config);
    conn = acquire(d);
    REQUIRE(hp_begin_set(conn, "BEGIN READ ONLY") == 0);
}

static void
tear_down(void)
{
    release(d, conn);
    CHECK_TEXT(must(submit(statement(d, "SELECT 1")))->value, "1");
    CHECK_INT(d->pool->env.stats.connects, 1);
    driver_free(d);
}

static const char *
value_of(const char *sql)
{
    return must(run_leased(conn, statement(d, sql)))->value;
}

static bool
has_begun(void)
{
    return conn->begin == NULL && PQtransactionStatus(conn->pg) == PQTRANS_INTRANS;
}

static void
test_begin_travels_with_the_first_statement(void)
{
    set_up();
    CHECK(hp_conn_in_transaction(conn));
    CHECK_INT(PQtransactionStatus(conn->pg), PQTRANS_IDLE);
    CHECK_TEXT(value_of("SHOW transaction_read_only"), "on");
    CHECK(has_begun());
    CHECK_TEXT(value_of("SHOW transaction_read_only"), "on");
    CHECK_INT(d->pool->env.stats.queries, 2);
    CHECK(!hp_begin_drop(conn));
    tear_down();
}

static void
test_begin_travels_with_a_script_and_with_a_batch(void)
{
    static const char *const VALUES[] = {"1", "2"};
    set_up();
    must(run_leased(conn, script(d, "SELECT 1; SELECT 2")));
    CHECK(has_begun());
    must(run_leased(conn, script(d, "ROLLBACK; CREATE TEMP TABLE hp_begin (a int)")));
    REQUIRE(hp_begin_set(conn, "BEGIN") == 0);
    must(run_leased(conn, batch(d, "INSERT INTO hp_begin VALUES ($1)", 2, VALUES)));
    CHECK(has_begun());
    must(run_leased(conn, script(d, "ROLLBACK")));
    CHECK_TEXT(value_of("SELECT count(*) FROM hp_begin"), "0");
    tear_down();
}

static void
test_a_transaction_without_statements_is_never_begun(void)
{
    set_up();
    CHECK(hp_begin_drop(conn));
    CHECK(!hp_begin_drop(conn));
    CHECK(!hp_conn_in_transaction(conn));
    CHECK_INT(d->pool->env.stats.queries, 0);
    CHECK_TEXT(value_of("SHOW transaction_read_only"), "off");
    CHECK_INT(PQtransactionStatus(conn->pg), PQTRANS_IDLE);
    tear_down();
}

static void
test_a_release_forgets_what_had_not_begun(void)
{
    set_up();
    release(d, conn);
    CHECK_INT(d->pool->idle_count, 1);
    CHECK_INT(d->pool->env.stats.resets, 0);
    conn = acquire(d);
    CHECK(!hp_conn_in_transaction(conn));
    CHECK_TEXT(value_of("SHOW transaction_read_only"), "off");
    tear_down();
}

static void
test_a_failed_statement_leaves_a_failed_transaction(void)
{
    set_up();
    CHECK_TEXT(wait_for(run_leased(conn, statement(d, "SELECT 1/0")))->err.sqlstate, "22012");
    CHECK(conn->begin == NULL);
    CHECK_INT(PQtransactionStatus(conn->pg), PQTRANS_INERROR);
    CHECK_TEXT(wait_for(run_leased(conn, statement(d, "SELECT 1")))->err.sqlstate, "25P02");
    tear_down();
}

static void
test_where_begin_fails_nothing_runs_outside_of_the_transaction(void)
{
    set_up();
    REQUIRE(hp_begin_set(conn, "BEGIN ISOLATION LEVEL nonsense") == 0);
    for (int i = 0; i < 2; i++) {
        CHECK_TEXT(wait_for(run_leased(conn, statement(d, "CREATE TABLE hp_begin_outside (a int)")))->err.sqlstate,
                   "42601");
        CHECK_TEXT(wait_for(run_leased(conn, script(d, "CREATE TABLE hp_begin_outside (a int)")))->err.sqlstate,
                   "42601");
    }
    CHECK(hp_begin_drop(conn));
    CHECK_TEXT(value_of("SELECT to_regclass('hp_begin_outside') IS NULL"), "t");
    tear_down();
}

static void
test_while_begin_is_on_its_way_the_transaction_may_have_begun(void)
{
    set_up();
    must(run_leased(conn, driver_param(statement(d, "SELECT pg_sleep($1::float8)"), "0")));
    must(run_leased(conn, script(d, "ROLLBACK")));
    REQUIRE(hp_begin_set(conn, "BEGIN") == 0);
    call *c = run_leased(conn, driver_param(statement(d, "SELECT pg_sleep($1::float8)"), "600"));
    leave(c);
    CHECK(!hp_begin_drop(conn));
    wait_for(c);
    WAIT_UNTIL(d, hp_conn_is_free(conn));
    must(run_leased(conn, script(d, "ROLLBACK")));
    CHECK(!hp_conn_in_transaction(conn));
    tear_down();
}

static const harness_case TESTS[] = {
    CASE(test_begin_travels_with_the_first_statement),
    CASE(test_begin_travels_with_a_script_and_with_a_batch),
    CASE(test_a_transaction_without_statements_is_never_begun),
    CASE(test_a_release_forgets_what_had_not_begun),
    CASE(test_a_failed_statement_leaves_a_failed_transaction),
    CASE(test_where_begin_fails_nothing_runs_outside_of_the_transaction),
    CASE(test_while_begin_is_on_its_way_the_transaction_may_have_begun),
};

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0],
                        driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set");
}
