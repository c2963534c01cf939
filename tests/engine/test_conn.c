/*
 * test_conn.c - statements, batches, scripts and their ends, on sessions of a
 * real server.
 */
#include "driver.h"

#include "engine/batch.h"

static driver *d;
static hp_conn *lease; /* what most tests work with */

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

static call *
run(const char *sql)
{
    return wait_for(run_leased(lease, statement(d, sql)));
}

static call *
run_script(const char *sql)
{
    return wait_for(run_leased(lease, script(d, sql)));
}

static const char *
value_of(const char *sql)
{
    return must(run_leased(lease, statement(d, sql)))->value;
}

static int
pid(void)
{
    return PQbackendPID(lease->pg);
}

/* The session is as good as before. */
static void
check_usable(int pid_before)
{
    CHECK_TEXT(value_of("SELECT 42"), "42");
    CHECK_INT(pid(), pid_before);
}

/* ---- statements ---- */

static void
test_a_statement_takes_parameters_and_gives_rows(void)
{
    set_up();
    call *c = statement(d, "SELECT $1::int + $2::int AS sum, $3::text FROM generate_series(1, 3)");
    driver_param(driver_param(driver_param(c, "40"), "2"), NULL);
    must(run_leased(lease, c));
    CHECK_TEXT(c->value, "42");
    CHECK_INT(c->rows, 3);
    CHECK_TEXT(c->tag, "SELECT 3");
    CHECK_INT(c->described, 1);
    c = statement(d, "SELECT $1::int + $2::int AS sum, $3::text FROM generate_series(1, 3)");
    driver_param(driver_param(driver_param(c, "1"), "2"), "x");
    must(run_leased(lease, c));
    CHECK_TEXT(c->value, "3");
    CHECK_INT(c->described, 0);
    tear_down();
}

static void
test_what_one_session_has_described_serves_the_other(void)
{
    set_up();
    hp_conn *other = acquire(d);
    CHECK(other != lease);
    must(run_leased(lease, driver_param(statement(d, "SELECT $1::int8"), "1")));
    call *c = must(run_leased(other, driver_param(statement(d, "SELECT $1::int8"), "2")));
    CHECK_TEXT(c->value, "2");
    CHECK_INT(c->described, 0);
    release(d, other);
    tear_down();
}

static void
test_two_sessions_describing_at_once_agree(void)
{
    set_up();
    hp_conn *other = acquire(d);
    call *a = run_leased(lease, driver_param(statement(d, "SELECT $1::int2"), "1"));
    call *b = run_leased(other, driver_param(statement(d, "SELECT $1::int2"), "2"));
    CHECK_TEXT(must(a)->value, "1");
    CHECK_TEXT(must(b)->value, "2");
    release(d, other);
    tear_down();
}

static void
test_a_lookup_may_come_between_description_and_execution(void)
{
    set_up();
    call *c = driver_param(statement(d, "SELECT $1::int4 + 1"), "1");
    c->describe_answer = HP_LOOKUP;
    must(run_leased(lease, c));
    CHECK_TEXT(c->value, "2");
    CHECK_INT(c->looked_up, 1);
    tear_down();
}

/* Read no more answers, or read them again. */
static void
watch_for(hp_conn *conn, unsigned events)
{
    REQUIRE(hp_reactor_watch(&d->pool->env.reactor, &conn->watch, PQsocket(conn->pg), events) == 0);
}

static void
stop_in_lookup(call *c)
{
    WAIT_UNTIL(d, c->req->phase == HP_PHASE_LOOKUP);
    watch_for(c->req->conn, 0);
}

static void
test_descriptions_that_differ_are_not_mixed_while_types_are_looked_up(void)
{
    set_up();
    hp_conn *other = acquire(d);
    must(run_leased(other, script(d, "CREATE TABLE drift (c int)")));
    call *a = statement(d, "SELECT c FROM drift");
    a->describe_answer = HP_LOOKUP;
    run_leased(lease, a);
    stop_in_lookup(a);
    must(run_leased(other, script(d, "ALTER TABLE drift ALTER c TYPE text")));
    call *b = statement(d, "SELECT c FROM drift");
    b->describe_answer = HP_LOOKUP;
    run_leased(other, b);
    stop_in_lookup(b);
    CHECK_INT(b->renewed, 1);
    CHECK(a->req->stmt != b->req->stmt);
    watch_for(lease, HP_READ);
    watch_for(other, HP_READ);
    must(a);
    must(b);
    must(run_leased(other, script(d, "DROP TABLE drift")));
    release(d, other);
    tear_down();
}

static void
test_what_the_binding_refuses_leaves_the_session_usable(void)
{
    set_up();
    int before = pid();
    call *c = statement(d, "SELECT 1 AS refused");
    c->describe_answer = HP_FAILED;
    wait_for(run_leased(lease, c));
    CHECK_INT(c->err.kind, HP_ERR_BINDING);
    c = statement(d, "SELECT 2 AS refused");
    c->describe_answer = HP_LOOKUP;
    c->lookup_answer = HP_FAILED;
    wait_for(run_leased(lease, c));
    CHECK_INT(c->err.kind, HP_ERR_BINDING);
    c = driver_param(statement(d, "SELECT $1::text"), "x");
    c->refuse_bind = true;
    wait_for(run_leased(lease, c));
    CHECK_INT(c->err.kind, HP_ERR_BINDING);
    c = driver_param(statement(d, "SELECT $1::text"), "x"); /* described now: refused before it is sent */
    must(run_leased(lease, c));
    c = driver_param(statement(d, "SELECT $1::text"), "x");
    c->refuse_bind = true;
    run_leased(lease, c);
    CHECK(c->req == NULL);
    CHECK_INT(c->err.kind, HP_ERR_BINDING);
    check_usable(before);
    tear_down();
}

static void
test_server_errors_come_with_their_state(void)
{
    set_up();
    int before = pid();
    call *c = run("SELECT 1/0");
    CHECK_INT(c->err.kind, HP_ERR_SERVER);
    CHECK_TEXT(c->err.sqlstate, "22012");
    c = run("SELEKT 1");
    CHECK_TEXT(c->err.sqlstate, "42601");
    c = run("SELEKT 1");
    CHECK_TEXT(c->err.sqlstate, "42601");
    c = run("SELECT * FROM no_such_table_here");
    CHECK_TEXT(c->err.sqlstate, "42P01");
    c = wait_for(run_leased(lease, driver_param(statement(d, "SELECT $1::int"), "not a number")));
    CHECK_TEXT(c->err.sqlstate, "22P02");
    c = wait_for(run_leased(lease, driver_param(statement(d, "SELECT 'no parameter'"), "1")));
    CHECK_INT(c->err.kind, HP_ERR_SERVER);
    check_usable(before);
    CHECK(d->pool->env.stats.errors_by_class['2' - '0' + 36 * 2] > 0);
    tear_down();
}

static void
test_an_empty_statement_is_answered(void)
{
    set_up();
    call *c = run("");
    CHECK_INT(c->err.kind, HP_ERR_NONE);
    CHECK_INT(c->rows, 0);
    c = run_script("  -- nothing\n");
    CHECK_INT(c->err.kind, HP_ERR_NONE);
    tear_down();
}

static void
test_large_values_go_both_ways(void)
{
    enum { BIG = 3000000 };
    set_up();
    char *big = malloc(BIG + 1);
    REQUIRE(big != NULL);
    memset(big, 'x', BIG);
    big[BIG] = '\0';
    call *c = must(run_leased(lease, driver_param(statement(d, "SELECT length($1::text)"), big)));
    CHECK_TEXT(c->value, "3000000");
    CHECK_TEXT(value_of("SELECT length(repeat('y', 5000000))"), "5000000");
    c = must(run_leased(lease, statement(d, "SELECT repeat('y', 3000000) FROM generate_series(1, 4)")));
    CHECK_INT(c->rows, 4);
    free(big);
    tear_down();
}

/* ---- prepared statements ---- */

static void
test_statements_that_fall_out_of_the_cache_are_closed(void)
{
    enum { CAPACITY = 4, MANY = 40 };
    static char texts[MANY][32];
    hp_pool_config config = driver_config(0, 1);
    d = driver_open(&config);
    d->pool->env.statement_cache_size = CAPACITY;
    lease = acquire(d);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(texts[i], sizeof texts[i], "SELECT %d", i);
            call *c = must(run_leased(lease, statement(d, texts[i])));
            CHECK_INT(atoi(c->value), i);
        }
    }
    CHECK(atoi(value_of("SELECT count(*) FROM pg_prepared_statements")) <= CAPACITY + 1);
    tear_down();
}

static void
test_a_statement_closed_in_name_only_is_taken_back(void)
{
    hp_pool_config config = driver_config(0, 1);
    d = driver_open(&config);
    d->pool->env.statement_cache_size = 1;
    lease = acquire(d);
    must(run_leased(lease, script(d, "BEGIN"))); /* nothing is closed inside a transaction */
    for (int i = 0; i < 3; i++) {
        CHECK_TEXT(value_of("SELECT 'a'"), "a");
        CHECK_TEXT(value_of("SELECT 'b'"), "b");
        CHECK_TEXT(value_of("SELECT 'c'"), "c");
    }
    must(run_leased(lease, script(d, "COMMIT")));
    CHECK_TEXT(value_of("SELECT 'a'"), "a");
    CHECK_TEXT(value_of("SELECT 'b'"), "b");
    CHECK_TEXT(value_of("SELECT 'c'"), "c");
    tear_down();
}

/* Closing by DEALLOCATE takes the unnamed statement's place, which was prepared just before. */
static void
test_closing_statements_does_not_take_an_unnamed_ones_place(void)
{
    static const char *const TEXTS[] = {"SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4", "SELECT 5", "SELECT 6"};
    hp_pool_config config = driver_config(0, 1);
    d = driver_open(&config);
    d->pool->env.statement_cache_size = 1;
    lease = acquire(d);
    must(run_leased(lease, script(d, "BEGIN")));
    for (int i = 0; i < 6; i++) {
        value_of(TEXTS[i]);
    }
    must(run_leased(lease, script(d, "COMMIT")));
#ifndef LIBPQ_HAS_CLOSE_PREPARED
    CHECK(lease->to_close.count >= 3);
#endif
    d->uncached = true;
    call *c = must(run_leased(lease, driver_param(statement(d, "SELECT $1::int * 2"), "21")));
    CHECK_TEXT(c->value, "42");
    CHECK_INT(c->renewed, 0);
    tear_down();
}

static void
test_unnamed_statements_are_described_once_and_prepared_each_time(void)
{
    hp_pool_config config = driver_config(0, 1);
    d = driver_open(&config);
    d->pool->env.statement_cache_size = 0;
    lease = acquire(d);
    for (int i = 0; i < 3; i++) {
        call *c = must(run_leased(lease, driver_param(statement(d, "SELECT $1::int * 2"), "21")));
        CHECK_TEXT(c->value, "42");
        CHECK_INT(c->described, i == 0);
        CHECK_TEXT(value_of("SELECT 'between'"), "between");
    }
    CHECK_TEXT(value_of("SELECT count(*) FROM pg_prepared_statements"), "0");
    tear_down();
}

static void
test_a_statement_that_means_something_else_now_is_prepared_anew(void)
{
    set_up();
    run_script("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1)");
    CHECK_TEXT(value_of("SELECT * FROM t"), "1");
    run_script("ALTER TABLE t ALTER a TYPE text USING 'now ' || a");
    call *c = must(run_leased(lease, statement(d, "SELECT * FROM t")));
    CHECK_TEXT(c->value, "now 1");
    CHECK_INT(c->renewed, 1);
    CHECK_INT(c->described, 1);
    tear_down();
}

static void
test_a_statement_that_the_session_has_lost_is_prepared_anew(void)
{
    set_up();
    CHECK_TEXT(value_of("SELECT 'kept'"), "kept");
    run_script("DEALLOCATE ALL");
    call *c = must(run_leased(lease, statement(d, "SELECT 'kept'")));
    CHECK_TEXT(c->value, "kept");
    tear_down();
}

static void
test_types_that_changed_since_the_description_are_described_anew(void)
{
    set_up();
    run_script("DROP TABLE IF EXISTS hp_types; CREATE TABLE hp_types (a int)");
    must(run_leased(lease, driver_param(statement(d, "SELECT count(*) FROM hp_types WHERE a = $1"), "1")));
    run_script("DROP TABLE hp_types; CREATE TABLE hp_types (a text)");
    hp_conn *other = acquire(d);
    call *c = must(run_leased(other, driver_param(statement(d, "SELECT count(*) FROM hp_types WHERE a = $1"), "x")));
    CHECK_TEXT(c->value, "0");
    CHECK_INT(c->renewed, 1);
    release(d, other);
    run_script("DROP TABLE hp_types");
    tear_down();
}

static void
test_columns_that_changed_since_the_description_are_described_anew(void)
{
    set_up();
    run_script("DROP TABLE IF EXISTS hp_columns; CREATE TABLE hp_columns (a int)");
    must(run_leased(lease, statement(d, "SELECT * FROM hp_columns")));
    run_script("ALTER TABLE hp_columns ADD b text; INSERT INTO hp_columns VALUES (1, 'x')");
    hp_conn *other = acquire(d);
    must(run_leased(other, script(d, "BEGIN"))); /* where nothing is closed */
    call *first = statement(d, "SELECT * FROM hp_columns");
    call *second = statement(d, "SELECT * FROM hp_columns"); /* knows the same description */
    must(run_leased(other, first));
    CHECK_INT(first->renewed, 1);
    must(run_leased(other, second));
    call *third = must(run_leased(other, statement(d, "SELECT * FROM hp_columns")));
    CHECK_INT(third->described, 1);
    CHECK_INT(third->rows, 1);
    release(d, other);
    run_script("DROP TABLE hp_columns");
    tear_down();
}

static void
test_inside_a_transaction_an_outdated_statement_is_the_callers_to_repeat(void)
{
    set_up();
    run_script("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1)");
    CHECK_TEXT(value_of("SELECT * FROM t"), "1");
    run_script("BEGIN; ALTER TABLE t ALTER a TYPE text");
    call *c = run("SELECT * FROM t");
    CHECK_INT(c->err.kind, HP_ERR_SERVER);
    CHECK_TEXT(c->err.sqlstate, "0A000");
    run_script("ROLLBACK; ALTER TABLE t ALTER a TYPE text");
    CHECK_TEXT(value_of("SELECT * FROM t"), "1");
    tear_down();
}

static void
test_without_memory_for_a_new_statement_the_session_is_usable(void)
{
    set_up();
    int before = pid();
    CHECK_TEXT(value_of("SELECT 'kept'"), "kept");
    run_script("DEALLOCATE ALL");
    call *c = statement(d, "SELECT 'kept'");
    c->refuse_renew = true;
    wait_for(run_leased(lease, c));
    CHECK_INT(c->err.kind, HP_ERR_NO_MEMORY);
    check_usable(before);
    tear_down();
}

/* ---- batches ---- */

enum { SETS = 3000 };

static const char **
numbers(void)
{
    static char texts[SETS][12];
    static const char *sets[SETS];
    for (int i = 0; i < SETS; i++) {
        snprintf(texts[i], sizeof texts[i], "%d", i);
        sets[i] = texts[i];
    }
    return sets;
}

static void
test_a_batch_runs_every_set(void)
{
    set_up();
    run_script("CREATE TEMP TABLE t (a int PRIMARY KEY)");
    call *c = must(run_leased(lease, batch(d, "INSERT INTO t VALUES ($1)", SETS, numbers())));
    CHECK_INT(c->described, 1);
    CHECK_TEXT(value_of("SELECT count(*) || ' ' || sum(a) FROM t"), "3000 4498500");
    must(run_leased(lease, batch(d, "INSERT INTO t VALUES (-$1::int - 1)", 1, numbers())));
    CHECK_TEXT(value_of("SELECT count(*) FROM t"), "3001");
    tear_down();
}

static void
test_a_batch_that_fails_anywhere_has_done_nothing(void)
{
    static const int PLACES[] = {0, 1, 63, 64, 65, SETS / 2, SETS - 1};
    set_up();
    int before = pid();
    run_script("CREATE TEMP TABLE t (a int PRIMARY KEY)");
    for (size_t i = 0; i < sizeof PLACES / sizeof PLACES[0]; i++) {
        const char **sets = numbers();
        sets[PLACES[i]] = PLACES[i] % 2 ? "not a number" : "2147483648";
        call *c = wait_for(run_leased(lease, batch(d, "INSERT INTO t VALUES ($1)", SETS, sets)));
        CHECK_INT(c->err.kind, HP_ERR_SERVER);
        CHECK(strncmp(c->err.sqlstate, "22", 2) == 0);
        CHECK_TEXT(value_of("SELECT count(*) FROM t"), "0");
    }
    const char **sets = numbers();
    sets[SETS - 1] = "7";
    call *c = wait_for(run_leased(lease, batch(d, "INSERT INTO t VALUES ($1)", SETS, sets)));
    CHECK_TEXT(c->err.sqlstate, "23505");
    CHECK_TEXT(value_of("SELECT count(*) FROM t"), "0");
    check_usable(before);
    tear_down();
}

static void
test_a_batch_that_cannot_be_prepared_fails_once(void)
{
    set_up();
    int before = pid();
    run_script("DROP TABLE IF EXISTS hp_gone; CREATE TABLE hp_gone (a int)");
    must(run_leased(lease, batch(d, "INSERT INTO hp_gone VALUES ($1)", SETS, numbers())));
    run_script("DROP TABLE hp_gone");
    hp_conn *other = acquire(d); /* described, but not prepared there */
    call *c = wait_for(run_leased(other, batch(d, "INSERT INTO hp_gone VALUES ($1)", SETS, numbers())));
    CHECK_INT(c->err.kind, HP_ERR_SERVER);
    CHECK_TEXT(c->err.sqlstate, "42P01");
    CHECK_TEXT(must(run_leased(other, statement(d, "SELECT 1")))->value, "1");
    release(d, other);
    check_usable(before);
    tear_down();
}

static void
test_a_batch_inside_a_transaction_is_rolled_back_with_it(void)
{
    set_up();
    run_script("CREATE TEMP TABLE t (a int PRIMARY KEY)");
    run_script("BEGIN");
    must(run_leased(lease, batch(d, "INSERT INTO t VALUES ($1)", 100, numbers())));
    CHECK_TEXT(value_of("SELECT count(*) FROM t"), "100");
    run_script("ROLLBACK");
    CHECK_TEXT(value_of("SELECT count(*) FROM t"), "0");
    tear_down();
}

static hp_conn *locker;

/* A batch larger than all buffers on the way, which the server cannot begin with: another session has locked
 * the table. */
static call *
start_a_long_batch(const char *first)
{
    enum { VALUE = 200000, MANY = 400 };
    static const char TEXT[] = "INSERT INTO hp_long VALUES (left($1, 10 / (length($1) - 7)))";
    static char text[VALUE + 1];
    static const char *sets[MANY];
    memset(text, 'x', VALUE);
    for (int i = 0; i < MANY; i++) {
        sets[i] = text;
    }
    locker = acquire(d);
    run_script("DROP TABLE IF EXISTS hp_long; CREATE TABLE hp_long (a text)");
    must(run_leased(lease, batch(d, TEXT, 1, sets))); /* described and prepared: that needs the table, too */
    run_script("TRUNCATE hp_long");
    must(run_leased(locker, script(d, "BEGIN; LOCK TABLE hp_long IN SHARE MODE")));
    sets[0] = first != NULL ? first : text;
    call *c = run_leased(lease, batch(d, TEXT, MANY, sets));
    REQUIRE(c->req != NULL && hp_batch_is_feeding(c->req));
    return c;
}

static void
check_nothing_was_inserted(void)
{
    CHECK_INT(lease->state, HP_CONN_READY);
    CHECK_TEXT(value_of("SELECT count(*) FROM hp_long"), "0"); /* waits until the server has ended the batch */
    must(run_leased(locker, script(d, "ROLLBACK")));
    release(d, locker);
    CHECK_TEXT(value_of("SELECT count(*) FROM hp_long"), "0");
    run_script("DROP TABLE hp_long");
}

static void
test_a_batch_left_while_it_is_sent_commits_nothing(void)
{
    set_up();
    leave(start_a_long_batch(NULL));
    check_nothing_was_inserted();
    tear_down();
}

static void
test_a_batch_that_times_out_while_it_is_sent_commits_nothing(void)
{
    set_up();
    call *c = start_a_long_batch(NULL);
    c->req->timer.fire(&c->req->timer, hp_now()); /* as the reactor would */
    CHECK_INT(c->err.kind, HP_ERR_QUERY_TIMEOUT);
    check_nothing_was_inserted();
    tear_down();
}

/* The answer that ends the sending comes while the socket is full. */
static void
test_a_batch_that_fails_while_it_is_sent_keeps_the_session(void)
{
    set_up();
    int before = pid();
    call *c = start_a_long_batch("7 chars"); /* divides by zero */
    must(run_leased(locker, script(d, "ROLLBACK")));
    wait_for(c);
    CHECK_TEXT(c->err.sqlstate, "22012");
    release(d, locker);
    CHECK_TEXT(value_of("SELECT count(*) FROM hp_long"), "0");
    run_script("DROP TABLE hp_long");
    check_usable(before);
    tear_down();
}

static void
test_a_batch_of_large_rows_does_not_block_on_its_own_answers(void)
{
    set_up();
    call *c = must(run_leased(lease, batch(d, "SELECT repeat('z', 5000), $1::int", SETS, numbers())));
    CHECK_INT(c->rows, 1);
    tear_down();
}

/* ---- scripts ---- */

static void
test_a_script_may_have_several_statements(void)
{
    set_up();
    call *c = run_script("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1), (2); SELECT sum(a) FROM t");
    CHECK_INT(c->err.kind, HP_ERR_NONE);
    CHECK_TEXT(c->value, "3");
    c = run_script("UPDATE t SET a = a + 1");
    CHECK_TEXT(c->tag, "UPDATE 2");
    tear_down();
}

static void
test_a_script_that_fails_is_rolled_back(void)
{
    set_up();
    int before = pid();
    run_script("CREATE TEMP TABLE t (a int)");
    call *c = run_script("INSERT INTO t VALUES (1); SELECT 1/0; INSERT INTO t VALUES (2)");
    CHECK_TEXT(c->err.sqlstate, "22012");
    CHECK_TEXT(value_of("SELECT count(*) FROM t"), "0");
    check_usable(before);
    tear_down();
}

static void
test_copy_is_refused_and_the_session_kept(void)
{
    static const char *const COPIES[] = {
        "COPY t FROM STDIN",
        "COPY t TO STDOUT",
        "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT",
        "SELECT 1; COPY t FROM STDIN; SELECT 2",
        "SELECT 1; COPY t TO STDOUT; SELECT 2",
        "COPY (SELECT 1/(1000 - i) FROM generate_series(1, 2000) i) TO STDOUT",
        "COPY t TO STDOUT; COPY t FROM STDIN; COPY t TO STDOUT",
    };
    set_up();
    int before = pid();
    run_script("CREATE TEMP TABLE t (a text); INSERT INTO t VALUES ('1'), ('2')");
    for (size_t i = 0; i < sizeof COPIES / sizeof COPIES[0]; i++) {
        call *c = run_script(COPIES[i]);
        CHECK_INT(c->err.kind, HP_ERR_USAGE);
        check_usable(before);
    }
    CHECK_TEXT(value_of("SELECT count(*) FROM t"), "2");
    call *c = run("COPY t TO STDOUT"); /* by the extended protocol it is not even sent */
    CHECK_INT(c->err.kind, HP_ERR_USAGE);
    c = wait_for(run_leased(lease, batch(d, "COPY t FROM STDIN", 3, numbers())));
    CHECK_INT(c->err.kind, HP_ERR_USAGE);
    check_usable(before);
    tear_down();
}

static void
test_notifications_are_dropped(void)
{
    set_up();
    run_script("LISTEN here");
    for (int i = 0; i < 5; i++) {
        run_script("NOTIFY here, 'x'");
    }
    CHECK_TEXT(value_of("SELECT 1"), "1");
    tear_down();
}

static const harness_case TESTS[] = {
    CASE(test_a_statement_takes_parameters_and_gives_rows),
    CASE(test_what_one_session_has_described_serves_the_other),
    CASE(test_two_sessions_describing_at_once_agree),
    CASE(test_a_lookup_may_come_between_description_and_execution),
    CASE(test_descriptions_that_differ_are_not_mixed_while_types_are_looked_up),
    CASE(test_what_the_binding_refuses_leaves_the_session_usable),
    CASE(test_server_errors_come_with_their_state),
    CASE(test_an_empty_statement_is_answered),
    CASE(test_large_values_go_both_ways),
    CASE(test_statements_that_fall_out_of_the_cache_are_closed),
    CASE(test_a_statement_closed_in_name_only_is_taken_back),
    CASE(test_closing_statements_does_not_take_an_unnamed_ones_place),
    CASE(test_unnamed_statements_are_described_once_and_prepared_each_time),
    CASE(test_a_statement_that_means_something_else_now_is_prepared_anew),
    CASE(test_a_statement_that_the_session_has_lost_is_prepared_anew),
    CASE(test_types_that_changed_since_the_description_are_described_anew),
    CASE(test_columns_that_changed_since_the_description_are_described_anew),
    CASE(test_inside_a_transaction_an_outdated_statement_is_the_callers_to_repeat),
    CASE(test_without_memory_for_a_new_statement_the_session_is_usable),
    CASE(test_a_batch_runs_every_set),
    CASE(test_a_batch_that_fails_anywhere_has_done_nothing),
    CASE(test_a_batch_that_cannot_be_prepared_fails_once),
    CASE(test_a_batch_inside_a_transaction_is_rolled_back_with_it),
    CASE(test_a_batch_left_while_it_is_sent_commits_nothing),
    CASE(test_a_batch_that_times_out_while_it_is_sent_commits_nothing),
    CASE(test_a_batch_that_fails_while_it_is_sent_keeps_the_session),
    CASE(test_a_batch_of_large_rows_does_not_block_on_its_own_answers),
    CASE(test_a_script_may_have_several_statements),
    CASE(test_a_script_that_fails_is_rolled_back),
    CASE(test_copy_is_refused_and_the_session_kept),
    CASE(test_notifications_are_dropped),
};

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0],
                        driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set");
}
