/*
 * test_pipe.c - a pipeline of the caller's: what travels together, what a failure stops,
 * and what becomes of the session.
 */
#include "driver.h"

static driver *d;
static hp_conn *conn;
static hp_conn *other; /* to look from */

static void
set_up(void)
{
    hp_pool_config config = driver_config(2, 2);
    d = driver_open(&config);
    other = acquire(d);
    conn = acquire(d);
    must(run_leased(other, script(d, "DROP TABLE IF EXISTS hp_pipe; CREATE TABLE hp_pipe (n int PRIMARY KEY)")));
    hp_pipe_open(conn);
}

static void
tear_down(void)
{
    release(d, conn);
    must(run_leased(other, script(d, "DROP TABLE hp_pipe")));
    release(d, other);
    CHECK_TEXT(must(submit(statement(d, "SELECT 1")))->value, "1");
    CHECK_INT(d->pool->env.stats.connects, 2);
    CHECK_INT(d->pool->env.stats.recycled[HP_RECYCLE_BROKEN], 0);
    driver_free(d);
}

static call *
piped(const char *sql, bool open_ended)
{
    call *c = statement(d, sql);
    c->req->piped = c->req->ahead = true;
    c->req->open_ended = open_ended;
    return run_leased(conn, c);
}

static call *
control(hp_request_kind kind, const char *sql)
{
    call *c = driver_call(d, kind, sql);
    c->req->piped = c->req->ahead = true;
    c->req->open_ended = kind == HP_REQ_BEGIN;
    return run_leased(conn, c);
}

static call *
begin(void)
{
    return control(HP_REQ_BEGIN, "BEGIN");
}

static call *
commit(void)
{
    return control(HP_REQ_END, "COMMIT");
}

/* So that what is sent needs no look at the server. */
static void
know(const char *sql)
{
    call *c = statement(d, sql);
    c->req->describe_only = true;
    must(run_leased(other, c));
}

static void
finish(void)
{
    hp_pipe_flush(conn);
    hp_pipe_close(conn);
    WAIT_UNTIL(d, hp_conn_is_free(conn));
}

static const char *
count(void)
{
    return must(run_leased(other, statement(d, "SELECT count(*) FROM hp_pipe")))->value;
}

static void
test_statements_leave_together_and_are_answered_in_order(void)
{
    set_up();
    know("INSERT INTO hp_pipe VALUES (1)");
    know("SELECT count(*)::text FROM hp_pipe");
    call *a = piped("SELECT count(*)::text FROM hp_pipe", false);
    call *b = piped("INSERT INTO hp_pipe VALUES (1)", false);
    call *c = piped("SELECT count(*)::text FROM hp_pipe", false);
    CHECK_INT(conn->inflight.count, 3);
    finish();
    CHECK_TEXT(a->value, "0");
    CHECK_TEXT(b->tag, "INSERT 0 1");
    CHECK_TEXT(c->value, "1");
    CHECK(a->order < b->order && b->order < c->order);
    tear_down();
}

static void
test_order_is_kept_where_types_have_to_be_looked_up(void)
{
    set_up();
    know("SELECT count(*)::text FROM hp_pipe");
    call *a = piped("SELECT count(*)::text FROM hp_pipe", false);
    call *b = driver_call(d, HP_REQ_STATEMENT, "INSERT INTO hp_pipe VALUES (2)");
    b->describe_answer = HP_LOOKUP;
    b->req->piped = b->req->ahead = true;
    run_leased(conn, b);
    call *c = piped("SELECT count(*)::text FROM hp_pipe", false);
    CHECK_INT(conn->inflight.count, 2);
    CHECK_INT(conn->pending.count, 1);
    finish();
    CHECK_INT(b->looked_up, 1);
    CHECK_TEXT(must(a)->value, "0");
    CHECK_TEXT(must(b)->tag, "INSERT 0 1");
    CHECK_TEXT(must(c)->value, "1");
    tear_down();
}

static void
test_an_error_outside_of_a_transaction_stays_its_own(void)
{
    set_up();
    call *a = piped("INSERT INTO hp_pipe VALUES (1)", false);
    call *b = piped("INSERT INTO hp_pipe VALUES (1/0)", false);
    call *c = piped("INSERT INTO hp_pipe VALUES (2)", false);
    finish();
    must(a);
    CHECK_TEXT(b->err.sqlstate, "22012");
    must(c);
    CHECK_TEXT(count(), "2");
    tear_down();
}

static void
test_a_transaction_has_one_synchronisation_point(void)
{
    set_up();
    know("INSERT INTO hp_pipe VALUES (1)");
    know("INSERT INTO hp_pipe VALUES (2)");
    call *calls[] = {begin(), piped("INSERT INTO hp_pipe VALUES (1)", true),
                     piped("INSERT INTO hp_pipe VALUES (2)", true), commit()};
    CHECK_INT(conn->inflight.count, 4);
    CHECK(!conn->pipe.unsynced);
    int syncs = 0;
    for (const hp_request *req = conn->inflight.first; req != NULL; req = req->next) {
        syncs += req->steps[req->nsteps - 1] == HP_STEP_SYNC;
    }
    CHECK_INT(syncs, 1);
    finish();
    for (int i = 0; i < 4; i++) {
        must(calls[i]);
    }
    CHECK_TEXT(calls[3]->tag, "COMMIT");
    CHECK_TEXT(count(), "2");
    tear_down();
}

/* ... at each place of a transaction, BEGIN and COMMIT included */
static void
test_a_failure_at_any_place_undoes_the_transaction(void)
{
    set_up();
    must(run_leased(other, script(d, "ALTER TABLE hp_pipe ADD CONSTRAINT hp_pipe_late UNIQUE (n) "
                                     "DEFERRABLE INITIALLY DEFERRED")));
    for (int bad = 0; bad < 5; bad++) {
        call *calls[5];
        calls[0] = control(HP_REQ_BEGIN, bad == 0 ? "BEGIN ISOLATION LEVEL nonsense" : "BEGIN");
        for (int i = 1; i < 4; i++) {
            calls[i] = piped(bad == i ? "INSERT INTO hp_pipe VALUES (1/0)"
                                      : "INSERT INTO hp_pipe SELECT max(n) + 1 "
                                        "FROM generate_series(1, 7) n",
                             true);
            if (bad == 4) {
                break; /* the key is taken only once */
            }
            must(run_leased(other, statement(d, "SELECT 1")));
        }
        calls[4] = commit();
        hp_pipe_flush(conn);
        WAIT_UNTIL(d, calls[4]->req == NULL);
        if (bad < 4) {
            CHECK(calls[bad]->err.kind != HP_ERR_NONE);
            CHECK(calls[4]->err.kind != HP_ERR_NONE);
        }
        for (int i = bad + 1; i < 4 && bad < 4; i++) {
            CHECK(calls[i]->err.kind != HP_ERR_NONE);
        }
        WAIT_UNTIL(d, conn->inflight.first == NULL);
        CHECK_INT(PQtransactionStatus(conn->pg), PQTRANS_IDLE);
        CHECK_TEXT(count(), bad < 4 ? "0" : "1");
    }
    finish();
    tear_down();
}

static void
test_nothing_runs_outside_of_the_transaction_where_begin_fails(void)
{
    set_up();
    know("INSERT INTO hp_pipe VALUES (1)");
    call *a = control(HP_REQ_BEGIN, "BEGIN ISOLATION LEVEL nonsense");
    call *b = piped("INSERT INTO hp_pipe VALUES (1)", true);
    hp_pipe_flush(conn);
    WAIT_UNTIL(d, a->req == NULL && b->req == NULL);
    CHECK_TEXT(a->err.sqlstate, "42601");
    CHECK_TEXT(b->err.sqlstate, "25P02");
    call *c = piped("INSERT INTO hp_pipe VALUES (1)", true); /* the error is known by now */
    CHECK_TEXT(c->err.sqlstate, "25P02");
    call *e = commit();
    call *f = piped("SELECT 7::text", false);
    finish();
    CHECK_TEXT(e->err.sqlstate, "25P02");
    CHECK_TEXT(must(f)->value, "7");
    CHECK_TEXT(count(), "0");
    tear_down();
}

static void
test_a_statement_that_was_left_dooms_its_transaction(void)
{
    static const bool SENT[] = {false, true};
    set_up();
    for (int i = 0; i < 2; i++) {
        call *a = begin();
        call *b = piped("INSERT INTO hp_pipe VALUES (1)", true);
        if (SENT[i]) {
            hp_pipe_flush(conn);
            WAIT_UNTIL(d, a->req == NULL && b->req == NULL);
        }
        call *c = piped("SELECT pg_sleep(600)", true);
        call *e = commit();
        leave(c);
        hp_pipe_flush(conn);
        WAIT_UNTIL(d, e->req == NULL);
        CHECK(strcmp(e->tag, "COMMIT") != 0);
        call *f = piped("SELECT 7::text", false);
        hp_pipe_flush(conn);
        CHECK_TEXT(must(wait_for(f))->value, "7");
        CHECK(!hp_conn_in_transaction(conn));
        CHECK_TEXT(count(), "0");
    }
    finish();
    tear_down();
}

/* Whether the cancel request or COMMIT was quicker: END tells which. */
static void
test_one_left_behind_commit_changes_nothing_that_was_told(void)
{
    set_up();
    know("INSERT INTO hp_pipe VALUES (1)");
    for (int i = 0; i < 30; i++) {
        must(run_leased(other, statement(d, "DELETE FROM hp_pipe")));
        begin();
        call *a = piped("INSERT INTO hp_pipe VALUES (1)", true);
        call *e = commit();
        hp_pipe_flush(conn);
        leave(a);
        wait_for(e);
        CHECK_TEXT(count(), strcmp(e->tag, "COMMIT") == 0 ? "1" : "0");
        CHECK(strcmp(e->tag, "COMMIT") == 0 || e->err.kind != HP_ERR_NONE || strcmp(e->tag, "ROLLBACK") == 0);
    }
    finish();
    tear_down();
}

static void
test_a_running_statement_that_was_left_is_cancelled_and_the_next_runs(void)
{
    set_up();
    know("SELECT pg_sleep(600)");
    know("SELECT 7::text");
    call *a = piped("SELECT pg_sleep(600)", false);
    call *b = piped("SELECT 7::text", false);
    hp_pipe_flush(conn);
    leave(a);
    CHECK_TEXT(must(wait_for(b))->value, "7");
    finish();
    tear_down();
}

static void
test_one_that_the_cancel_request_for_another_hits_is_told_so(void)
{
    char sql[64];
    set_up();
    snprintf(sql, sizeof sql, "SELECT pg_cancel_backend(%d)", PQbackendPID(conn->pg));
    know("SELECT pg_sleep(600)");
    call *a = piped("SELECT pg_sleep(600)", false);
    hp_pipe_flush(conn);
    conn->probe_due = true; /* as if one had been sent for what was in front of it */
    while (a->req != NULL) {
        must(run_leased(other, script(d, sql)));
        driver_step(d, 1);
    }
    CHECK_INT(a->err.kind, HP_ERR_PIPELINE);
    CHECK_TEXT(a->err.sqlstate, "57014");
    call *b = piped("SELECT 7::text", false);
    finish();
    CHECK_TEXT(must(b)->value, "7");
    tear_down();
}

static void
test_one_that_was_not_sent_is_never_run(void)
{
    set_up();
    call *a = piped("SELECT pg_sleep(0)", false); /* described first: what follows waits */
    call *b = piped("INSERT INTO hp_pipe VALUES (1)", false);
    CHECK_INT(conn->pending.count, 1);
    leave(b);
    CHECK(b->req == NULL);
    finish();
    must(a);
    CHECK_TEXT(count(), "0");
    tear_down();
}

static void
test_a_transaction_that_nobody_ended_is_rolled_back(void)
{
    static const bool ANSWERED[] = {false, true};
    for (int i = 0; i < 4; i++) {
        set_up();
        call *a = begin();
        call *b = piped("INSERT INTO hp_pipe VALUES (1)", true);
        hp_pipe_flush(conn);
        if (ANSWERED[i % 2]) {
            WAIT_UNTIL(d, a->req == NULL && b->req == NULL);
        } else {
            leave(b);
            leave(a);
        }
        if (i / 2 == 0) {
            finish();
            CHECK(!hp_conn_in_transaction(conn));
            CHECK_TEXT(must(run_leased(conn, statement(d, "SELECT 7::text")))->value, "7");
        } else {
            release(d, conn); /* and to the next user */
            conn = acquire(d);
            CHECK_INT(PQtransactionStatus(conn->pg), PQTRANS_IDLE);
            hp_pipe_open(conn);
        }
        CHECK_TEXT(count(), "0");
        finish();
        tear_down();
    }
}

static void
test_a_released_lease_withdraws_what_is_queued(void)
{
    set_up();
    know("SELECT pg_sleep(600)");
    know("SELECT 7::text");
    call *calls[] = {piped("SELECT pg_sleep(600)", false), piped("SELECT 7::text", false),
                     piped("SELECT pg_sleep(601)", false), piped("SELECT 7::text", false)};
    hp_pipe_flush(conn);
    release(d, conn);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(calls[i]->err.kind, HP_ERR_CLOSED);
    }
    conn = acquire(d);
    CHECK_TEXT(must(run_leased(conn, statement(d, "SELECT 7::text")))->value, "7");
    tear_down();
}

static void
test_copy_is_refused_and_its_transaction_undone(void)
{
    set_up();
    begin();
    call *a = piped("INSERT INTO hp_pipe VALUES (1)", true);
    call *b = piped("COPY hp_pipe TO STDOUT", true);
    call *e = commit();
    finish();
    must(a);
    CHECK_INT(b->err.kind, HP_ERR_USAGE);
    CHECK_TEXT(must(e)->tag, "ROLLBACK");
    CHECK_TEXT(count(), "0");
    tear_down();
}

static void
test_effects_on_the_session_are_seen(void)
{
    set_up();
    call *a = piped("SET application_name TO 'piped'", false);
    finish();
    must(a);
    CHECK(conn->touched);
    uint64_t resets = d->pool->env.stats.resets;
    release(d, conn);
    conn = acquire(d);
    CHECK_INT(d->pool->env.stats.resets, resets + 1);
    tear_down();
}

static void
test_two_that_need_the_same_preparation_share_its_failure(void)
{
    set_up();
    know("SELECT n FROM hp_pipe");
    must(run_leased(other, script(d, "ALTER TABLE hp_pipe RENAME TO hp_pipe_away")));
    call *a = piped("SELECT n FROM hp_pipe", false);
    call *b = piped("SELECT n FROM hp_pipe", false);
    call *c = piped("SELECT 7::text", false);
    finish();
    CHECK_TEXT(a->err.sqlstate, "42P01");
    CHECK_TEXT(b->err.sqlstate, "26000");
    CHECK_INT(b->err.kind, HP_ERR_PIPELINE);
    must(c);
    must(run_leased(other, script(d, "ALTER TABLE hp_pipe_away RENAME TO hp_pipe")));
    tear_down();
}

static void
test_a_lost_session_fails_all(void)
{
    set_up();
    know("SELECT pg_sleep(600)");
    know("SELECT 7::text");
    begin();
    call *calls[] = {piped("SELECT pg_sleep(600)", true), piped("SELECT 7::text", true),
                     piped("SELECT pg_sleep(601)", true), commit()};
    hp_pipe_flush(conn);
    char sql[64];
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", PQbackendPID(conn->pg));
    must(run_leased(other, script(d, sql)));
    for (int i = 0; i < 4; i++) {
        wait_for(calls[i]);
        /* The one that runs, if it did already, is told why. */
        CHECK(calls[i]->err.kind == HP_ERR_LOST || (i == 0 && calls[i]->err.kind == HP_ERR_SERVER));
    }
    CHECK_INT(conn->state, HP_CONN_CLOSED);
    hp_pipe_close(conn);
    release(d, conn);
    release(d, other);
    driver_free(d);
}

static void
test_thousands_with_large_parameters_and_answers_flow(void)
{
    enum { MANY = 3000, BYTES = 4000 };
    static char value[BYTES + 1];
    static call *calls[MANY];
    set_up();
    memset(value, 'x', BYTES);
    for (int i = 0; i < MANY; i++) {
        call *c = driver_param(statement(d, "SELECT $1::text || $1::text"), value);
        c->req->piped = c->req->ahead = true;
        calls[i] = run_leased(conn, c);
    }
    CHECK(conn->inflight.count <= 256);
    hp_pipe_flush(conn);
    WAIT_UNTIL(d, calls[MANY - 1]->req == NULL);
    for (int i = 0; i < MANY; i++) {
        CHECK_INT(must(calls[i])->rows, 1);
    }
    finish();
    tear_down();
}

static const harness_case TESTS[] = {
    CASE(test_statements_leave_together_and_are_answered_in_order),
    CASE(test_order_is_kept_where_types_have_to_be_looked_up),
    CASE(test_an_error_outside_of_a_transaction_stays_its_own),
    CASE(test_a_transaction_has_one_synchronisation_point),
    CASE(test_a_failure_at_any_place_undoes_the_transaction),
    CASE(test_nothing_runs_outside_of_the_transaction_where_begin_fails),
    CASE(test_a_statement_that_was_left_dooms_its_transaction),
    CASE(test_one_left_behind_commit_changes_nothing_that_was_told),
    CASE(test_a_running_statement_that_was_left_is_cancelled_and_the_next_runs),
    CASE(test_one_that_the_cancel_request_for_another_hits_is_told_so),
    CASE(test_one_that_was_not_sent_is_never_run),
    CASE(test_a_transaction_that_nobody_ended_is_rolled_back),
    CASE(test_a_released_lease_withdraws_what_is_queued),
    CASE(test_copy_is_refused_and_its_transaction_undone),
    CASE(test_effects_on_the_session_are_seen),
    CASE(test_two_that_need_the_same_preparation_share_its_failure),
    CASE(test_a_lost_session_fails_all),
    CASE(test_thousands_with_large_parameters_and_answers_flow),
};

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0],
                        driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set");
}
