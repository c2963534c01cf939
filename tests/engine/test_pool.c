/*
 * test_pool.c - who gets which connection: leases, waiters, resets, recycling,
 * and the pool's own life.
 */
#include "driver.h"

#include <sys/wait.h>

static driver *d;

static void
set_up(int min_size, int max_size)
{
    hp_pool_config config = driver_config(min_size, max_size);
    d = driver_open(&config);
}

static const char *
value_of(hp_conn *conn, const char *sql)
{
    return must(run_leased(conn, statement(d, sql)))->value;
}

static int
pid_of(const hp_conn *conn)
{
    return PQbackendPID(conn->pg);
}

static call *
new_lease(void)
{
    return driver_call(d, HP_REQ_LEASE, NULL);
}

/* ---- leases ---- */

static void
test_opening_opens_min_size_and_no_more(void)
{
    set_up(3, 5);
    CHECK_INT(d->opened, 1);
    CHECK_INT(hp_pool_connected(d->pool), 3);
    CHECK_INT(d->pool->idle_count, 3);
    CHECK_INT(d->pool->env.stats.connects, 3);
    driver_free(d);
    set_up(0, 5);
    CHECK_INT(d->pool->size, 0);
    driver_free(d);
}

static void
test_the_session_used_last_is_leased_first(void)
{
    set_up(2, 2);
    hp_conn *a = acquire(d);
    hp_conn *b = acquire(d);
    CHECK(a != b && a->lease != b->lease);
    CHECK(hp_pool_try_acquire(d->pool) == NULL);
    release(d, a);
    release(d, b);
    CHECK(acquire(d) == b);
    CHECK(acquire(d) == a);
    CHECK_INT(d->pool->env.stats.reused, 2);
    release(d, a);
    release(d, b);
    driver_free(d);
}

static void
test_waiters_are_served_in_order(void)
{
    enum { MANY = 12 };
    call *waiting[MANY];
    set_up(1, 1);
    hp_conn *conn = acquire(d);
    for (int i = 0; i < MANY; i++) {
        waiting[i] = submit(i % 3 == 0 ? new_lease() : statement(d, "SELECT 1"));
    }
    CHECK_INT(d->pool->waiters.count, MANY);
    leave(waiting[4]);
    leave(waiting[MANY - 1]);
    release(d, conn);
    for (int i = 0; i < MANY; i++) {
        wait_for(waiting[i]);
        if (waiting[i]->lease != NULL) {
            CHECK_INT(d->pool->size, 1);
            release(d, waiting[i]->lease);
        }
    }
    int order[2] = {0, 0}; /* a session is handed on before the answer of its last statement is */
    for (int i = 0; i < MANY; i++) {
        if (i == 4 || i == MANY - 1) {
            CHECK_INT(waiting[i]->done, 0);
        } else {
            CHECK(waiting[i]->order > order[i % 3 == 0]);
            order[i % 3 == 0] = waiting[i]->order;
        }
    }
    driver_free(d);
}

static void
test_many_requests_share_few_sessions(void)
{
    enum { MANY = 300, MOST = 4 };
    call *calls[MANY];
    set_up(1, MOST);
    for (int i = 0; i < MANY; i++) {
        calls[i] = submit(statement(d, "SELECT 1"));
    }
    for (int i = 0; i < MANY; i++) {
        CHECK_TEXT(must(calls[i])->value, "1");
    }
    CHECK(d->pool->size <= MOST);
    CHECK_INT(d->pool->env.stats.acquisitions, MANY);
    CHECK(d->pool->env.stats.reused >= MANY - MOST);
    CHECK_INT(d->pool->env.stats.queries, MANY);
    driver_free(d);
}

static void
test_requests_that_end_before_they_are_sent_need_no_stack(void)
{
    enum { MANY = 20000 };
    set_up(1, 1);
    hp_conn *conn = acquire(d);
    must(run_leased(conn, driver_param(statement(d, "SELECT $1::int"), "1")));
    call *last = NULL;
    for (int i = 0; i < MANY; i++) {
        call *c = driver_param(statement(d, "SELECT $1::int"), "1");
        c->refuse_bind = true;
        driver_enlist(c);
        hp_pool_submit(d->pool, c->req);
        last = c;
    }
    release(d, conn);
    wait_for(last);
    CHECK_INT(last->err.kind, HP_ERR_BINDING);
    CHECK_TEXT(must(submit(statement(d, "SELECT 1")))->value, "1");
    driver_free(d);
}

static void
test_a_full_pool_says_so_when_the_wait_is_over(void)
{
    set_up(1, 1);
    hp_conn *conn = acquire(d);
    call *c = new_lease();
    c->req->acquire_timeout = 20 * HP_MS;
    wait_for(submit(c));
    CHECK_INT(c->err.kind, HP_ERR_EXHAUSTED);
    CHECK(strstr(c->err.text, "1 of at most 1 are leased") != NULL);
    CHECK_INT(d->pool->env.stats.acquire_timeouts, 1);
    CHECK(hp_pool_longest_lease(d->pool) > 0.0);
    release(d, conn);
    CHECK(hp_pool_longest_lease(d->pool) == 0.0);
    driver_free(d);
}

static void
test_no_more_than_max_waiters_wait(void)
{
    hp_pool_config config = driver_config(1, 1);
    config.max_waiters = 2;
    d = driver_open(&config);
    hp_conn *conn = acquire(d);
    call *a = submit(new_lease());
    call *b = submit(statement(d, "SELECT 1"));
    call *c = submit(new_lease());
    CHECK_INT(c->err.kind, HP_ERR_TOO_MANY_WAITERS);
    CHECK_INT(d->pool->env.stats.rejected, 1);
    leave(a);
    c = submit(new_lease());
    CHECK_INT(c->done, 0);
    release(d, conn);
    must(b);
    must(c);
    release(d, c->lease);
    driver_free(d);
}

/* ---- between two users ---- */

/* Leave something behind in a lease; the session that the next one gets. */
static hp_conn *
after_lease_with(const char *sql)
{
    hp_conn *conn = acquire(d);
    int pid = pid_of(conn);
    must(run_leased(conn, script(d, sql)));
    release(d, conn);
    conn = acquire(d);
    CHECK_INT(pid_of(conn), pid);
    CHECK(!hp_conn_in_transaction(conn));
    return conn;
}

static void
test_what_a_lease_has_touched_is_reset(void)
{
    set_up(1, 1);
    release(d, after_lease_with("SELECT 1"));
    CHECK_INT(d->pool->env.stats.resets, 0);
    hp_conn *conn = after_lease_with("SET work_mem = '3MB'");
    CHECK(strcmp(value_of(conn, "SHOW work_mem"), "3MB") != 0);
    CHECK_INT(d->pool->env.stats.resets, 1);
    release(d, conn);
    conn = after_lease_with("CREATE TEMP TABLE left_behind (a int)");
    CHECK_TEXT(value_of(conn, "SELECT to_regclass('left_behind')"), "");
    release(d, conn);
    conn = after_lease_with("SELECT pg_advisory_lock(4711)");
    CHECK_TEXT(value_of(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"),
               "0");
    release(d, conn);
    conn = after_lease_with("LISTEN somebody");
    CHECK_TEXT(value_of(conn, "SELECT count(*) FROM pg_listening_channels()"), "0");
    release(d, conn);
    conn = after_lease_with("DECLARE c CURSOR WITH HOLD FOR SELECT 1");
    CHECK_TEXT(value_of(conn, "SELECT count(*) FROM pg_cursors WHERE name = 'c'"), "0");
    release(d, conn);
    conn = after_lease_with("PREPARE mine AS SELECT 1");
    CHECK_TEXT(value_of(conn, "SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'"), "0");
    CHECK_TEXT(value_of(conn, "SELECT 'prepared again'"), "prepared again");
    release(d, conn);
    driver_free(d);
}

static void
test_an_open_transaction_is_rolled_back(void)
{
    set_up(1, 1);
    must(submit(script(d, "DROP TABLE IF EXISTS hp_tx; CREATE TABLE hp_tx (a int)")));
    hp_conn *conn = after_lease_with("BEGIN; INSERT INTO hp_tx VALUES (1)");
    CHECK_TEXT(value_of(conn, "SELECT count(*) FROM hp_tx"), "0");
    release(d, conn);
    conn = after_lease_with("BEGIN; SET LOCAL work_mem = '3MB'; SET application_name = 'x'");
    CHECK_TEXT(value_of(conn, "SHOW application_name"), "hp-engine-test");
    release(d, conn);
    conn = acquire(d);
    must(run_leased(conn, script(d, "BEGIN")));
    wait_for(run_leased(conn, script(d, "SELECT 1/0"))); /* a failed transaction */
    release(d, conn);
    CHECK_TEXT(must(submit(statement(d, "SELECT 'fine'")))->value, "fine");
    must(submit(script(d, "DROP TABLE hp_tx")));
    driver_free(d);
}

static void
test_a_single_statement_that_touches_is_followed_by_a_reset(void)
{
    set_up(1, 1);
    must(submit(statement(d, "SET work_mem = '3MB'")));
    CHECK(strcmp(must(submit(statement(d, "SHOW work_mem")))->value, "3MB") != 0);
    must(submit(script(d, "BEGIN")));
    hp_conn *conn = acquire(d);
    CHECK(!hp_conn_in_transaction(conn));
    release(d, conn);
    driver_free(d);
}

static void
test_reset_always_and_reset_none(void)
{
    hp_pool_config config = driver_config(1, 1);
    config.reset = HP_RESET_ALWAYS;
    d = driver_open(&config);
    release(d, after_lease_with("SELECT 1"));
    must(submit(statement(d, "SELECT 1")));
    hp_conn *conn = acquire(d);
    CHECK_INT(d->pool->env.stats.resets, 3);
    release(d, conn);
    driver_free(d);
    config.reset = HP_RESET_NONE;
    d = driver_open(&config);
    conn = after_lease_with("SET work_mem = '3MB'");
    CHECK_TEXT(value_of(conn, "SHOW work_mem"), "3MB");
    CHECK_INT(d->pool->env.stats.resets, 0);
    release(d, conn);
    conn = after_lease_with("BEGIN");
    CHECK_INT(d->pool->env.stats.resets, 1);
    release(d, conn);
    driver_free(d);
}

static void
test_a_session_that_cannot_be_reset_is_replaced(void)
{
    set_up(1, 1);
    hp_conn *conn = acquire(d);
    int pid = pid_of(conn);
    must(run_leased(conn, script(d, "SET work_mem = '3MB'")));
    must(run_leased(conn, script(d, "SET SESSION statement_timeout = 0; "
                                    "BEGIN; SELECT set_config('idle_in_transaction_session_timeout', '1', true)")));
    WAIT_UNTIL(d, conn->state == HP_CONN_CLOSED); /* the server has ended it */
    release(d, conn);
    conn = acquire(d);
    CHECK(pid_of(conn) != pid);
    CHECK_TEXT(value_of(conn, "SELECT 1"), "1");
    release(d, conn);
    driver_free(d);
}

/* ---- recycling ---- */

static void
test_a_session_is_replaced_after_max_queries(void)
{
    hp_pool_config config = driver_config(1, 1);
    config.max_queries = 3;
    d = driver_open(&config);
    for (int i = 0; i < 10; i++) {
        CHECK_TEXT(must(submit(statement(d, "SELECT 1")))->value, "1");
    }
    WAIT_UNTIL(d, d->pool->idle_count == 1);
    CHECK_INT(d->pool->env.stats.recycled[HP_RECYCLE_MAX_QUERIES], 3);
    CHECK_INT(d->pool->env.stats.connects, 4);
    hp_conn *conn = acquire(d); /* a lease keeps its session, however much it asks */
    int pid = pid_of(conn);
    for (int i = 0; i < 5; i++) {
        value_of(conn, "SELECT 1");
    }
    CHECK_INT(pid_of(conn), pid);
    release(d, conn);
    CHECK_INT(d->pool->env.stats.recycled[HP_RECYCLE_MAX_QUERIES], 4);
    driver_free(d);
}

static void
test_a_session_is_replaced_after_its_lifetime(void)
{
    hp_pool_config config = driver_config(1, 2);
    config.max_lifetime = 50 * HP_MS;
    d = driver_open(&config);
    hp_conn *conn = acquire(d);
    WAIT_UNTIL(d, d->pool->env.stats.recycled[HP_RECYCLE_LIFETIME] > 0 || d->pool->idle_count == 0);
    hp_time over = conn->expires_at;
    while (hp_now() < over) {
        driver_step(d, 5);
    }
    release(d, conn);
    WAIT_UNTIL(d, d->pool->env.stats.recycled[HP_RECYCLE_LIFETIME] >= 3);
    CHECK_INT(d->pool->env.stats.recycled[HP_RECYCLE_BROKEN], 0);
    driver_free(d);
}

static void
test_idle_sessions_above_min_size_are_closed(void)
{
    hp_conn *conns[4];
    hp_pool_config config = driver_config(1, 4);
    config.max_idle = 30 * HP_MS;
    d = driver_open(&config);
    for (int i = 0; i < 4; i++) {
        conns[i] = acquire(d);
    }
    for (int i = 0; i < 4; i++) {
        release(d, conns[i]);
    }
    CHECK_INT(d->pool->idle_count, 4);
    WAIT_UNTIL(d, d->pool->size == 1);
    CHECK_INT(d->pool->env.stats.recycled[HP_RECYCLE_IDLE], 3);
    CHECK(d->pool->idle == conns[3]); /* the one used last */
    driver_free(d);
}

static void
test_an_idle_session_that_was_killed_is_replaced(void)
{
    static char sql[64];
    set_up(2, 3);
    hp_conn *conn = acquire(d);
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", pid_of(d->pool->idle));
    value_of(conn, sql);
    WAIT_UNTIL(d, d->pool->env.stats.connects == 3 && d->pool->idle_count == 1);
    CHECK_INT(d->pool->env.stats.recycled[HP_RECYCLE_BROKEN], 1);
    release(d, conn);
    driver_free(d);
}

/* Found dead when it is taken: the caller gets another one, and no error. */
static void
test_a_session_found_dead_is_not_handed_out(void)
{
    static char sql[80];
    set_up(2, 2);
    hp_conn *conn = acquire(d);
    hp_conn *victim = d->pool->idle;
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", pid_of(victim));
    PGconn *admin = PQconnectdb(driver_dsn());
    PQclear(PQexec(admin, sql));
    PQfinish(admin);
    struct pollfd pfd = {.fd = PQsocket(victim->pg), .events = POLLIN};
    REQUIRE(poll(&pfd, 1, 10000) == 1); /* without running the reactor */
    victim->idle_since -= 10 * HP_SECOND;
    call *c = submit(statement(d, "SELECT 'fine'"));
    CHECK_TEXT(must(c)->value, "fine");
    release(d, conn);
    driver_free(d);
}

/* ---- the end of the pool ---- */

static void
test_close_waits_for_leases_and_waiters(void)
{
    set_up(1, 1);
    hp_conn *conn = acquire(d);
    call *waiting = submit(statement(d, "SELECT 'served'"));
    call *lease = submit(new_lease());
    hp_pool_close(d->pool);
    driver_check(d);
    hp_pool_close(d->pool);
    CHECK_INT(d->pool->state, HP_POOL_CLOSING);
    call *late = submit(new_lease());
    CHECK_INT(late->err.kind, HP_ERR_CLOSED);
    CHECK(hp_pool_try_acquire(d->pool) == NULL);
    CHECK_TEXT(value_of(conn, "SELECT 'still mine'"), "still mine");
    release(d, conn);
    CHECK_TEXT(must(waiting)->value, "served");
    must(lease);
    CHECK_INT(d->closed, 0);
    release(d, lease->lease);
    WAIT_UNTIL(d, d->closed == 1);
    CHECK_INT(d->pool->size, 0);
    /* and it can be opened again */
    REQUIRE(hp_pool_open(d->pool) == 0);
    WAIT_UNTIL(d, d->opened == 2);
    CHECK_TEXT(must(submit(statement(d, "SELECT 1")))->value, "1");
    driver_free(d);
}

static void
test_waiters_of_a_closing_pool_are_answered_when_the_last_session_breaks(void)
{
    set_up(1, 1);
    hp_conn *conn = acquire(d);
    call *waiting = submit(statement(d, "SELECT 1"));
    hp_pool_close(d->pool);
    hp_pool_release_broken(conn);
    wait_for(waiting);
    CHECK_INT(waiting->err.kind, HP_ERR_CLOSED);
    WAIT_UNTIL(d, d->closed == 1);
    driver_free(d);
}

static void
test_waiters_of_a_closing_pool_are_answered_when_the_last_session_is_worn_out(void)
{
    hp_pool_config config = driver_config(1, 1);
    config.max_queries = 1;
    d = driver_open(&config);
    hp_conn *conn = acquire(d);
    value_of(conn, "SELECT 1");
    call *waiting = submit(statement(d, "SELECT 1"));
    hp_pool_close(d->pool);
    release(d, conn);
    wait_for(waiting);
    WAIT_UNTIL(d, d->closed == 1);
    CHECK_INT(waiting->done, 1);
    driver_free(d);
}

static void
test_terminate_ends_everything_at_once(void)
{
    set_up(2, 3);
    hp_conn *conn = acquire(d);
    hp_conn *other = acquire(d);
    call *running = run_leased(conn, statement(d, "SELECT pg_sleep(100)"));
    call *left = run_leased(other, statement(d, "SELECT pg_sleep(100)"));
    leave(left);
    call *pending = run_leased(other, statement(d, "SELECT 1"));
    call *third = submit(statement(d, "SELECT pg_sleep(100)")); /* opens a third session */
    call *waiting = submit(new_lease());
    hp_pool_terminate(d->pool);
    driver_check(d);
    CHECK_INT(d->closed, 1);
    CHECK_INT(running->err.kind, HP_ERR_TERMINATED);
    CHECK_INT(pending->err.kind, HP_ERR_TERMINATED);
    CHECK_INT(third->err.kind, HP_ERR_CLOSED);
    CHECK_INT(waiting->err.kind, HP_ERR_CLOSED);
    CHECK_INT(left->released, 1);
    CHECK_INT(d->pool->size, 2); /* the leases, until they are given back */
    hp_pool_terminate(d->pool);
    hp_pool_close(d->pool);
    CHECK_INT(d->closed, 1);
    release(d, conn);
    hp_pool_release_broken(other);
    CHECK_INT(d->pool->size, 0);
    driver_free(d);
}

static hp_conn *released_by_terminate;

static void
release_other(call *c)
{
    if (released_by_terminate != NULL) {
        hp_conn *conn = released_by_terminate;
        released_by_terminate = NULL;
        hp_pool_release_broken(conn);
    }
    (void)c;
}

/* What an answer does while the pool goes through its sessions does not make it lose its place. */
static void
test_terminate_reaches_every_session_whatever_the_answers_do(void)
{
    for (int which = 0; which < 4; which++) {
        hp_conn *conns[4];
        call *calls[4];
        set_up(4, 4);
        for (int i = 0; i < 4; i++) {
            conns[i] = acquire(d);
            calls[i] = statement(d, "SELECT pg_sleep(100)");
            calls[i]->then = release_other;
            run_leased(conns[i], calls[i]);
        }
        released_by_terminate = conns[which];
        hp_pool_terminate(d->pool);
        driver_check(d);
        for (int i = 0; i < 4; i++) {
            CHECK_INT(calls[i]->done, 1);
            CHECK_INT(calls[i]->released, 1);
            if (i != which) {
                CHECK_INT(conns[i]->state, HP_CONN_CLOSED);
                release(d, conns[i]);
            }
        }
        CHECK_INT(d->pool->size, 0);
        CHECK_INT(d->closed, 1);
        driver_free(d);
    }
}

static void
test_terminate_while_closing_and_while_resetting(void)
{
    set_up(2, 2);
    hp_conn *conn = acquire(d);
    must(run_leased(conn, script(d, "SET work_mem = '3MB'")));
    release(d, conn);
    CHECK_INT(hp_pool_count(d->pool, HP_USE_SETTLING), 1);
    hp_pool_close(d->pool);
    driver_check(d);
    CHECK_INT(d->closed, 0);
    hp_pool_terminate(d->pool);
    driver_check(d);
    CHECK_INT(d->closed, 1);
    CHECK_INT(d->pool->size, 0);
    driver_free(d);
}

static void
test_discard_tells_nobody(void)
{
    set_up(2, 3);
    hp_conn *conn = acquire(d);
    hp_conn *other = acquire(d);
    call *running = run_leased(conn, statement(d, "SELECT pg_sleep(100)"));
    leave(run_leased(other, statement(d, "SELECT pg_sleep(100)")));
    call *pending = run_leased(other, statement(d, "SELECT 1"));
    call *waiting = submit(new_lease());
    d->discarded = true;
    hp_pool_discard(d->pool, false);
    driver_check(d);
    CHECK_INT(running->done + pending->done + waiting->done, 0);
    CHECK_INT(running->released + pending->released + waiting->released, 3);
    CHECK_INT(d->closed, 0);
    release(d, conn);
    CHECK_INT(d->pool->size, 1);
    driver_free(d); /* with a lease that was never given back */
}

static void
test_a_forked_child_leaves_the_sessions_to_its_parent(void)
{
    set_up(2, 2);
    hp_conn *conn = acquire(d);
    fflush(NULL);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        d->discarded = true;
        hp_pool_discard(d->pool, true);
        hp_pool_release(conn);
        hp_pool_free(d->pool);
        _exit(harness_failures == 0 ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_TEXT(value_of(conn, "SELECT 'alive'"), "alive");
    release(d, conn);
    CHECK_INT(d->pool->idle_count, 2);
    CHECK_TEXT(must(submit(statement(d, "SELECT 'too'")))->value, "too");
    CHECK_INT(d->pool->env.stats.recycled[HP_RECYCLE_BROKEN], 0);
    driver_free(d);
}

static void
test_a_dedicated_session_is_never_replaced(void)
{
    hp_pool_config config = driver_config(1, 1);
    config.dedicated = true;
    config.max_queries = 1;
    d = driver_open(&config);
    hp_conn *conn = acquire(d);
    for (int i = 0; i < 3; i++) {
        CHECK_TEXT(value_of(conn, "SELECT 1"), "1");
    }
    wait_for(run_leased(conn, statement(d, "SELECT pg_terminate_backend(pg_backend_pid())")));
    CHECK_INT(conn->state, HP_CONN_CLOSED);
    release(d, conn);
    CHECK_INT(d->pool->size, 0);
    CHECK_INT(d->pool->env.stats.connects, 1);
    driver_free(d);
}

static const harness_case TESTS[] = {
    CASE(test_opening_opens_min_size_and_no_more),
    CASE(test_the_session_used_last_is_leased_first),
    CASE(test_waiters_are_served_in_order),
    CASE(test_many_requests_share_few_sessions),
    CASE(test_requests_that_end_before_they_are_sent_need_no_stack),
    CASE(test_a_full_pool_says_so_when_the_wait_is_over),
    CASE(test_no_more_than_max_waiters_wait),
    CASE(test_what_a_lease_has_touched_is_reset),
    CASE(test_an_open_transaction_is_rolled_back),
    CASE(test_a_single_statement_that_touches_is_followed_by_a_reset),
    CASE(test_reset_always_and_reset_none),
    CASE(test_a_session_that_cannot_be_reset_is_replaced),
    CASE(test_a_session_is_replaced_after_max_queries),
    CASE(test_a_session_is_replaced_after_its_lifetime),
    CASE(test_idle_sessions_above_min_size_are_closed),
    CASE(test_an_idle_session_that_was_killed_is_replaced),
    CASE(test_a_session_found_dead_is_not_handed_out),
    CASE(test_close_waits_for_leases_and_waiters),
    CASE(test_waiters_of_a_closing_pool_are_answered_when_the_last_session_breaks),
    CASE(test_waiters_of_a_closing_pool_are_answered_when_the_last_session_is_worn_out),
    CASE(test_terminate_ends_everything_at_once),
    CASE(test_terminate_reaches_every_session_whatever_the_answers_do),
    CASE(test_terminate_while_closing_and_while_resetting),
    CASE(test_discard_tells_nobody),
    CASE(test_a_forked_child_leaves_the_sessions_to_its_parent),
    CASE(test_a_dedicated_session_is_never_replaced),
};

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0],
                        driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set");
}
