/*
 * test_route.c - several statements in flight on a session: which may, where they
 * go, and that what happens to one does not happen to another.
 *
 * Statements are made known first, so that they count as short; locks that a
 * session outside of the pool holds make them take long.
 */
#include "driver.h"

static driver *d;
static PGconn *other;

enum { DEPTH = 8, OBSERVED_OFTEN = 1000 };

static const char NUMBER[] = "SELECT $1::int";
static const char ROWS[] = "SELECT count(*) FROM hp_route WHERE a < $1::int";

static void
outside(const char *sql)
{
    PGresult *res = PQexec(other, sql);
    REQUIRE(PQresultStatus(res) == PGRES_COMMAND_OK || PQresultStatus(res) == PGRES_TUPLES_OK);
    PQclear(res);
}

static call *
read_of(const char *sql, const char *value)
{
    return driver_param(statement(d, sql), value);
}

static void
make_known(const char *sql)
{
    for (int i = 0; i < 3; i++) {
        must(submit(read_of(sql, "1")));
    }
    (*driver_stmt_slot(d, sql))->cost = 0; /* on a busy machine anything may look slow */
}

/* A round trip that is long compared to whatever delays this program. */
static void
be_patient(void)
{
    d->pool->round_trip.least = d->pool->round_trip.recent.window = 2 * HP_SECOND;
    d->pool->round_trip.recent.before = 0;
}

static void
set_up(int max_size, int pipeline)
{
    hp_pool_config config = driver_config(1, max_size);
    config.pipeline = pipeline;
    other = PQconnectdb(driver_dsn());
    REQUIRE(PQstatus(other) == CONNECTION_OK);
    outside("SET client_min_messages = error; DROP TABLE IF EXISTS hp_route; CREATE TABLE hp_route (a int); "
            "INSERT INTO hp_route VALUES (0), (1), (2)");
    d = driver_open(&config);
    make_known(NUMBER);
    make_known(ROWS);
}

static void
tear_down(void)
{
    driver_free(d);
    outside("DROP TABLE IF EXISTS hp_route");
    PQfinish(other);
}

static hp_conn *
only_session(void)
{
    REQUIRE(d->pool->size == 1);
    return d->pool->all;
}

/* ---- who shares ---- */

static void
test_short_reads_go_out_behind_each_other(void)
{
    static const char *const VALUES[DEPTH] = {"10", "11", "12", "13", "14", "15", "16", "17"};
    call *calls[DEPTH];
    set_up(1, DEPTH);
    be_patient();
    for (int i = 0; i < DEPTH; i++) {
        calls[i] = submit(read_of(NUMBER, VALUES[i]));
    }
    CHECK_INT(only_session()->inflight.count, DEPTH);
    CHECK_INT(d->pool->env.stats.pipelined, DEPTH - 1);
    for (int i = 0; i < DEPTH; i++) {
        CHECK_TEXT(must(calls[i])->value, VALUES[i]);
        CHECK_INT(calls[i]->order - calls[0]->order, i);
    }
    tear_down();
}

static void
test_no_more_than_the_depth_are_in_flight_and_the_rest_follow(void)
{
    enum { MANY = 50, SHALLOW = 3 };
    call *calls[MANY];
    set_up(1, SHALLOW);
    be_patient();
    for (int i = 0; i < MANY; i++) {
        calls[i] = submit(read_of(NUMBER, "1"));
        CHECK(only_session()->inflight.count <= SHALLOW);
    }
    CHECK_INT(only_session()->inflight.count, SHALLOW);
    CHECK_INT(d->pool->waiters.count, MANY - SHALLOW);
    for (int i = 0; i < MANY; i++) {
        CHECK_TEXT(must(calls[i])->value, "1");
    }
    CHECK_INT(d->pool->size, 1);
    tear_down();
}

static void
test_without_pipelining_nothing_shares(void)
{
    set_up(1, HP_PIPELINE_OFF);
    call *first = submit(read_of(NUMBER, "1"));
    call *second = submit(read_of(NUMBER, "2"));
    CHECK_INT(only_session()->inflight.count, 1);
    CHECK_INT(d->pool->waiters.count, 1);
    must(first);
    must(second);
    CHECK_INT(d->pool->env.stats.pipelined, 0);
    tear_down();
}

static void
does_not_share(const char *sql)
{
    for (int i = 0; i < 3; i++) {
        wait_for(submit(read_of(sql, "1")));
    }
    be_patient();
    call *first = submit(read_of(NUMBER, "7"));
    call *second = submit(read_of(sql, "1"));
    call *third = submit(read_of(NUMBER, "8"));
    CHECK_INT(only_session()->inflight.count, 1);
    CHECK_TEXT(must(first)->value, "7");
    must(second);
    CHECK_TEXT(must(third)->value, "8");
}

static void
test_what_writes_locks_touches_or_is_unknown_has_a_session_of_its_own(void)
{
    set_up(1, DEPTH);
    does_not_share("INSERT INTO hp_route VALUES ($1::int)");
    does_not_share("SELECT a FROM hp_route WHERE a = $1::int FOR UPDATE");
    does_not_share("SELECT set_config('application_name', $1::int::text, false)");
    does_not_share("SELECT pg_advisory_lock_shared($1::int)");
    call *first = submit(read_of(NUMBER, "7"));
    call *unknown = submit(read_of("SELECT $1::int + 100", "1"));
    CHECK_INT(only_session()->inflight.count, 1);
    must(first);
    CHECK_TEXT(must(unknown)->value, "101");
    tear_down();
}

static void
test_always_resetting_leaves_no_room_for_sharing(void)
{
    set_up(1, DEPTH);
    d->pool->config.reset = HP_RESET_ALWAYS;
    call *first = submit(read_of(NUMBER, "1"));
    call *second = submit(read_of(NUMBER, "2"));
    CHECK_INT(only_session()->inflight.count, 1);
    must(first);
    CHECK_TEXT(must(second)->value, "2");
    tear_down();
}

static void
test_a_waiting_lease_is_not_overtaken(void)
{
    set_up(1, DEPTH);
    call *before = submit(read_of(NUMBER, "1"));
    call *lease = submit(driver_call(d, HP_REQ_LEASE, NULL));
    call *after = submit(read_of(NUMBER, "2"));
    CHECK_INT(only_session()->inflight.count, 1);
    CHECK_INT(d->pool->waiters.count, 2);
    must(before);
    wait_for(lease);
    REQUIRE(lease->lease != NULL);
    CHECK_INT(after->done, 0);
    release(d, lease->lease);
    CHECK_TEXT(must(after)->value, "2");
    tear_down();
}

static void
test_slow_statements_leave_one_session_to_others(void)
{
    enum { SIZE = 3, SLOW = 5 };
    call *slow[SLOW];
    set_up(SIZE, HP_PIPELINE_AUTO);
    outside("BEGIN; LOCK TABLE hp_route");
    hp_route_note_short(d->pool, hp_now() + DRIVER_LIMIT_S * HP_SECOND); /* recent, for as long as this takes */
    for (int i = 0; i < SLOW; i++) {
        slow[i] = submit(read_of("SELECT max(a) + $1::int FROM hp_route", "1"));
    }
    /* Known to nobody yet, they count as slow. */
    WAIT_UNTIL(d, d->pool->held.count == SLOW - (SIZE - 1));
    CHECK_TEXT(must(submit(read_of(NUMBER, "5")))->value, "5");
    CHECK_INT(slow[0]->done, 0);
    leave(slow[SLOW - 1]);
    outside("COMMIT");
    for (int i = 0; i < SLOW - 1; i++) {
        CHECK_TEXT(must(slow[i])->value, "3");
    }
    CHECK_INT(d->pool->held.count, 0);
    tear_down();
}

static void
test_slow_statements_take_all_sessions_where_no_others_come(void)
{
    enum { SIZE = 3 };
    call *slow[SIZE];
    set_up(SIZE, HP_PIPELINE_AUTO);
    d->pool->short_at = 0;
    outside("BEGIN; LOCK TABLE hp_route");
    for (int i = 0; i < SIZE; i++) {
        slow[i] = submit(read_of("SELECT max(a) + $1::int FROM hp_route", "1"));
    }
    WAIT_UNTIL(d, hp_pool_count(d->pool, HP_USE_STATEMENT) == SIZE);
    CHECK_INT(hp_pool_waiting(d->pool), 0);
    outside("COMMIT");
    for (int i = 0; i < SIZE; i++) {
        CHECK_TEXT(must(slow[i])->value, "3");
    }
    tear_down();
}

static void
test_a_session_in_constant_use_is_replaced_after_max_queries(void)
{
    enum { MANY = 40 };
    call *calls[MANY];
    set_up(1, 4);
    d->pool->config.max_queries = 10;
    be_patient();
    for (int i = 0; i < MANY; i++) {
        calls[i] = submit(read_of(NUMBER, "1"));
    }
    for (int i = 0; i < MANY; i++) {
        CHECK_TEXT(must(calls[i])->value, "1");
    }
    CHECK(d->pool->env.stats.recycled[HP_RECYCLE_MAX_QUERIES] >= 2);
    tear_down();
}

/* ---- what is learnt ---- */

/* As if `conn` had the answer now, `took` after it was asked and `after` after the answer in front. */
static hp_time
cost_learnt(hp_conn *conn, hp_time took, hp_time after)
{
    hp_stmt *stmt = *driver_stmt_slot(d, NUMBER);
    hp_request req;
    hp_request_init(&req, HP_REQ_STATEMENT);
    d->pool->env.reactor.now = hp_now();
    req.stmt = stmt;
    req.began = d->pool->env.reactor.now - took;
    conn->answered_at = d->pool->env.reactor.now - after;
    stmt->observed = 0;
    stmt->cost = -1;
    hp_route_learn(d->pool, conn, &req);
    return stmt->cost;
}

static void
test_a_statement_is_not_charged_for_the_network(void)
{
    const hp_time trip = 10 * HP_MS;
    set_up(1, HP_PIPELINE_AUTO);
    hp_conn *conn = only_session();
    d->pool->round_trip.least = d->pool->round_trip.recent.window = trip;
    d->pool->round_trip.recent.before = 0;
    CHECK_INT(cost_learnt(conn, trip, HP_SECOND), 0);
    CHECK_INT(cost_learnt(conn, trip, 3 * HP_MS), 0); /* sent 3 ms after the one in front */
    CHECK_INT(cost_learnt(conn, trip + 5 * HP_MS, HP_SECOND), 0);
    CHECK_INT(cost_learnt(conn, trip / 2, HP_SECOND), 0); /* the network has become faster */
    CHECK_INT(cost_learnt(conn, trip + 6 * HP_MS, HP_SECOND), 6 * HP_MS);
    CHECK_INT(cost_learnt(conn, trip + 7 * HP_MS, 8 * HP_MS), 7 * HP_MS);
    CHECK_INT(cost_learnt(conn, trip + 50 * HP_MS, 2 * HP_MS), 2 * HP_MS); /* it stood in line */
    CHECK_INT(cost_learnt(conn, trip + 50 * HP_MS, 0), 0);
    tear_down();
}

static void
test_the_round_trip_is_not_taken_too_short_where_the_client_is_late(void)
{
    hp_request req;
    set_up(1, HP_PIPELINE_AUTO);
    hp_request_init(&req, HP_REQ_STATEMENT);
    req.stmt = *driver_stmt_slot(d, NUMBER);
    req.alone = true;
    req.began = hp_now() - 3 * HP_MS;
    d->pool->env.reactor.now = req.began + 10; /* it woke up for others, and was long with them */
    d->pool->round_trip = (hp_round_trip){0};
    hp_route_learn(d->pool, only_session(), &req);
    CHECK(d->pool->round_trip.least >= 3 * HP_MS);
    CHECK(d->pool->round_trip.recent.window >= 3 * HP_MS);
    tear_down();
}

/* As if 100 answers had come at this time, each so long after the one in front: what one more adds to a queue. */
static hp_time
load_learnt(hp_time at, hp_time each)
{
    hp_request req;
    hp_conn *conn = only_session();
    hp_request_init(&req, HP_REQ_STATEMENT);
    req.stmt = *driver_stmt_slot(d, NUMBER);
    for (int i = 0; i < 100; i++) {
        d->pool->env.reactor.now = at;
        conn->answered_at = at - each;
        hp_route_learn(d->pool, conn, &req);
    }
    hp_route_is_slow(d->pool, &req);
    return req.load;
}

static void
test_what_a_busy_server_adds_to_each_answer_is_not_counted_as_load(void)
{
    const hp_time begin = hp_now();
    set_up(1, HP_PIPELINE_AUTO);
    hp_stmt *stmt = *driver_stmt_slot(d, NUMBER);
    stmt->observed = 0;
    stmt->least_mean = (hp_lowest){0};
    CHECK_INT(load_learnt(begin + 21 * HP_SECOND, 100), 100);
    CHECK_INT(load_learnt(begin + 22 * HP_SECOND, 800), 100);
    CHECK_INT(load_learnt(begin + 40 * HP_SECOND, 800), 100);
    CHECK(load_learnt(begin + 60 * HP_SECOND, 800) > 700); /* it has become so */
    tear_down();
}

static void
test_a_statement_that_becomes_slow_is_noticed_and_shares_no_more(void)
{
    hp_request req;
    set_up(1, HP_PIPELINE_AUTO);
    hp_stmt *stmt = *driver_stmt_slot(d, NUMBER);
    hp_request_init(&req, HP_REQ_STATEMENT);
    req.stmt = stmt;
    stmt->cost = 0;
    stmt->observed = OBSERVED_OFTEN;
    d->pool->round_trip = (hp_round_trip){.least = 100, .recent = {.window = 100, .since = hp_now()}};
    CHECK(!hp_route_is_slow(d->pool, &req));
    d->pool->env.reactor.now = hp_now();
    req.began = d->pool->env.reactor.now - 50 * HP_MS;
    only_session()->answered_at = 0;
    hp_route_learn(d->pool, only_session(), &req);
    CHECK(hp_route_is_slow(d->pool, &req));
    tear_down();
}

/* ---- what happens to one ---- */

static void
test_an_error_stays_its_own(void)
{
    static const char DIVISION[] = "SELECT 10 / $1::int";
    set_up(1, DEPTH);
    make_known(DIVISION);
    be_patient();
    call *before = submit(read_of(NUMBER, "1"));
    call *wrong = submit(read_of(DIVISION, "0"));
    call *after = submit(read_of(DIVISION, "5"));
    CHECK_INT(only_session()->inflight.count, 3);
    CHECK_TEXT(must(before)->value, "1");
    CHECK_INT(wait_for(wrong)->err.kind, HP_ERR_SERVER);
    CHECK_TEXT(wrong->err.sqlstate, "22012");
    CHECK_TEXT(must(after)->value, "2");
    tear_down();
}

static void
test_one_that_leaves_does_not_harm_the_others(void)
{
    call *calls[DEPTH];
    set_up(1, DEPTH);
    be_patient();
    for (int i = 0; i < DEPTH; i++) {
        calls[i] = submit(read_of(NUMBER, i % 2 ? "1" : "2"));
    }
    leave(calls[0]);
    leave(calls[3]);
    leave(calls[DEPTH - 1]);
    CHECK(only_session()->cancel == NULL);
    for (int i = 0; i < DEPTH; i++) {
        wait_for(calls[i]);
        if (i != 0 && i != 3 && i != DEPTH - 1) {
            CHECK_TEXT(must(calls[i])->value, i % 2 ? "1" : "2");
        }
    }
    CHECK_INT(d->pool->env.stats.connects, 1);
    tear_down();
}

static void
test_a_result_type_that_changes_under_several_is_right_for_all(void)
{
    static const char ALL[] = "SELECT * FROM hp_route WHERE a = $1::int";
    call *calls[4];
    set_up(1, DEPTH);
    make_known(ALL);
    outside("ALTER TABLE hp_route ADD COLUMN b text DEFAULT 'new'");
    be_patient();
    for (int i = 0; i < 4; i++) {
        calls[i] = submit(read_of(ALL, "2"));
    }
    CHECK_INT(only_session()->inflight.count, 4);
    for (int i = 0; i < 4; i++) {
        CHECK_TEXT(must(calls[i])->value, "2");
        CHECK_INT(calls[i]->rows, 1);
    }
    tear_down();
}

/* A session that prepares it anew, with the description of before, answers with the
 * columns of now; the driver checks that nobody is told otherwise. */
static void
test_columns_that_a_session_has_not_shown_are_not_taken_for_granted(void)
{
    static const char ALL[] = "SELECT * FROM hp_route WHERE 6 / $1::int > a";
    set_up(1, DEPTH);
    make_known(ALL);
    outside("ALTER TABLE hp_route ALTER a TYPE bigint");
    must(submit(script(d, "DEALLOCATE ALL")));
    WAIT_UNTIL(d, d->pool->idle_count == 1); /* after a reset, which forgets all statements */
    be_patient();
    call *wrong = submit(read_of(ALL, "0")); /* prepares it, and shows no columns */
    call *behind = submit(read_of(ALL, "2"));
    call *last = submit(read_of(ALL, "3"));
    CHECK_INT(only_session()->inflight.count, 3);
    CHECK_TEXT(wait_for(wrong)->err.sqlstate, "22012");
    CHECK_INT(must(behind)->rows, 3);
    CHECK_INT(must(last)->rows, 2);
    CHECK_INT(must(submit(read_of(ALL, "6")))->rows, 1);
    tear_down();
}

/* The lock is on what `blocked` reads; `others` are behind it, if the pool lets them. */
static call *
block_one_in_front_of(call **others, int n)
{
    static const char *const VALUES[] = {"20", "21", "22", "23"};
    outside("BEGIN; LOCK TABLE hp_route");
    call *blocked = submit(read_of(ROWS, "2"));
    for (int i = 0; i < n; i++) {
        others[i] = submit(read_of(NUMBER, VALUES[i]));
    }
    CHECK(d->pool->env.stats.pipelined >= (unsigned)n);
    return blocked;
}

static void
test_those_behind_one_that_waits_for_a_lock_are_sent_elsewhere(void)
{
    call *others[3];
    set_up(2, DEPTH);
    call *blocked = block_one_in_front_of(others, 3);
    CHECK_TEXT(must(others[0])->value, "20");
    CHECK_TEXT(must(others[1])->value, "21");
    CHECK_TEXT(must(others[2])->value, "22");
    CHECK_INT(blocked->done, 0);
    CHECK_INT(d->pool->env.stats.resent, 3);
    outside("COMMIT");
    CHECK_TEXT(must(blocked)->value, "2");
    CHECK_TEXT(must(submit(read_of(NUMBER, "9")))->value, "9");
    tear_down();
}

static void
test_one_that_was_taken_back_may_leave_or_time_out(void)
{
    call *others[3];
    set_up(1, DEPTH);
    call *blocked = block_one_in_front_of(others, 3);
    WAIT_UNTIL(d, d->pool->waiters.count == 3);
    leave(others[1]);
    outside("COMMIT");
    CHECK_TEXT(must(blocked)->value, "2");
    CHECK_TEXT(must(others[0])->value, "20");
    CHECK_TEXT(must(others[2])->value, "22");
    CHECK_INT(others[1]->done, 0);
    tear_down();
}

static void
test_an_abandoned_one_that_does_not_end_is_cancelled_and_nobody_else(void)
{
    call *others[2];
    set_up(1, DEPTH);
    call *blocked = block_one_in_front_of(others, 2);
    leave(blocked);
    /* The lock stays: only a cancel can end it. */
    CHECK_TEXT(must(others[0])->value, "20");
    CHECK_TEXT(must(others[1])->value, "21");
    wait_for(blocked);
    CHECK_INT(blocked->done, 0);
    outside("COMMIT");
    CHECK_TEXT(must(submit(read_of(ROWS, "2")))->value, "2");
    CHECK_INT(d->pool->env.stats.connects, 1);
    tear_down();
}

static void
test_a_timeout_of_one_is_its_own(void)
{
    call *others[2];
    set_up(1, DEPTH);
    outside("BEGIN; LOCK TABLE hp_route");
    call *blocked = read_of(ROWS, "2");
    blocked->req->command_timeout = 50 * HP_MS;
    submit(blocked);
    others[0] = submit(read_of(NUMBER, "20"));
    others[1] = submit(read_of(NUMBER, "21"));
    CHECK_INT(only_session()->inflight.count, 3);
    CHECK_TEXT(must(others[0])->value, "20");
    CHECK_TEXT(must(others[1])->value, "21");
    CHECK_INT(wait_for(blocked)->err.kind, HP_ERR_QUERY_TIMEOUT);
    outside("COMMIT");
    CHECK_TEXT(must(submit(read_of(ROWS, "2")))->value, "2");
    tear_down();
}

static void
test_those_behind_are_sent_again_when_the_session_is_lost(void)
{
    char sql[64];
    call *others[3];
    set_up(1, DEPTH);
    call *blocked = block_one_in_front_of(others, 3);
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", PQbackendPID(only_session()->pg));
    outside(sql);
    CHECK_INT(wait_for(blocked)->err.kind, HP_ERR_SERVER);
    CHECK_TEXT(blocked->err.sqlstate, "57P01");
    CHECK_TEXT(must(others[0])->value, "20");
    CHECK_TEXT(must(others[1])->value, "21");
    CHECK_TEXT(must(others[2])->value, "22");
    CHECK_INT(d->pool->env.stats.connects, 2);
    outside("COMMIT");
    tear_down();
}

static void
test_terminate_and_discard_with_several_in_flight(void)
{
    call *others[3];
    set_up(1, DEPTH);
    call *blocked = block_one_in_front_of(others, 3);
    hp_pool_terminate(d->pool);
    driver_check(d);
    CHECK_INT(blocked->err.kind, HP_ERR_TERMINATED);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(others[i]->err.kind, HP_ERR_TERMINATED);
    }
    outside("COMMIT");
    tear_down();
    set_up(1, DEPTH);
    blocked = block_one_in_front_of(others, 3);
    WAIT_UNTIL(d, d->pool->waiters.count == 3); /* ghosts are in flight */
    d->discarded = true;
    hp_pool_discard(d->pool, false);
    CHECK_INT(blocked->released, 1);
    CHECK_INT(others[2]->released, 1);
    outside("COMMIT");
    tear_down();
}

static void
test_closing_waits_for_all_in_flight(void)
{
    call *others[3];
    set_up(1, DEPTH);
    call *blocked = block_one_in_front_of(others, 3);
    hp_pool_close(d->pool);
    driver_check(d);
    outside("COMMIT");
    CHECK_TEXT(must(blocked)->value, "2");
    CHECK_TEXT(must(others[2])->value, "22");
    WAIT_UNTIL(d, d->pool->state == HP_POOL_CLOSED);
    tear_down();
}

static void
test_what_goes_out_behind_others_is_gathered_until_uncorked(void)
{
    set_up(1, DEPTH);
    be_patient();
    hp_env_cork(&d->pool->env);
    call *first = driver_param(statement(d, NUMBER), "1");
    call *second = driver_param(statement(d, NUMBER), "2");
    driver_enlist(first);
    driver_enlist(second);
    driver_bind_known(first);
    driver_bind_known(second);
    hp_pool_submit(d->pool, first->req);
    CHECK(!only_session()->is_unsent); /* the server has nothing else to do */
    hp_pool_submit(d->pool, second->req);
    CHECK(only_session()->is_unsent);
    hp_env_uncork(&d->pool->env);
    CHECK(!only_session()->is_unsent);
    CHECK_TEXT(must(first)->value, "1");
    CHECK_TEXT(must(second)->value, "2");
    tear_down();
}

static const harness_case TESTS[] = {
    CASE(test_short_reads_go_out_behind_each_other),
    CASE(test_no_more_than_the_depth_are_in_flight_and_the_rest_follow),
    CASE(test_without_pipelining_nothing_shares),
    CASE(test_what_writes_locks_touches_or_is_unknown_has_a_session_of_its_own),
    CASE(test_always_resetting_leaves_no_room_for_sharing),
    CASE(test_a_waiting_lease_is_not_overtaken),
    CASE(test_slow_statements_leave_one_session_to_others),
    CASE(test_slow_statements_take_all_sessions_where_no_others_come),
    CASE(test_a_session_in_constant_use_is_replaced_after_max_queries),
    CASE(test_a_statement_is_not_charged_for_the_network),
    CASE(test_the_round_trip_is_not_taken_too_short_where_the_client_is_late),
    CASE(test_what_a_busy_server_adds_to_each_answer_is_not_counted_as_load),
    CASE(test_a_statement_that_becomes_slow_is_noticed_and_shares_no_more),
    CASE(test_an_error_stays_its_own),
    CASE(test_one_that_leaves_does_not_harm_the_others),
    CASE(test_a_result_type_that_changes_under_several_is_right_for_all),
    CASE(test_columns_that_a_session_has_not_shown_are_not_taken_for_granted),
    CASE(test_those_behind_one_that_waits_for_a_lock_are_sent_elsewhere),
    CASE(test_one_that_was_taken_back_may_leave_or_time_out),
    CASE(test_an_abandoned_one_that_does_not_end_is_cancelled_and_nobody_else),
    CASE(test_a_timeout_of_one_is_its_own),
    CASE(test_those_behind_are_sent_again_when_the_session_is_lost),
    CASE(test_terminate_and_discard_with_several_in_flight),
    CASE(test_closing_waits_for_all_in_flight),
    CASE(test_what_goes_out_behind_others_is_gathered_until_uncorked),
};

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0],
                        driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set");
}
