/*
 * test_open.c - how sessions come to be: targets, names, addresses, time-outs,
 * refusals, the init hook; and a pool that cannot open any.
 */
#include "driver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static driver *d;

static const char *const GOOD[] = {"127.0.0.1"};

static driver *
closed_pool(int min_size, int max_size, const char *keyword, const char *value)
{
    hp_pool_config config = driver_config(min_size, max_size);
    return driver_new(&config, driver_dsn(), keyword, value);
}

static void
open_and_wait(void)
{
    int before = d->opened;
    REQUIRE(hp_pool_open(d->pool) == 0);
    driver_check(d);
    WAIT_UNTIL(d, d->opened > before);
}

/* A port on which nobody answers: `listening` takes connections and says nothing. */
static int
silent_port(bool listening, int *fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *fd = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(*fd >= 0 && bind(*fd, (struct sockaddr *)&address, sizeof address) == 0);
    REQUIRE(!listening || listen(*fd, 64) == 0);
    REQUIRE(getsockname(*fd, (struct sockaddr *)&address, &size) == 0);
    return ntohs(address.sin_port);
}

/* The targets of a DSN with another first host in front. */
static driver *
pool_with_first_target(int port, const char *more, const char *value)
{
    static char text[16];
    driver *made = closed_pool(1, 2, more, value);
    const char *keywords[] = {"host", "port", NULL};
    const char *values[] = {"127.0.0.1", text, NULL};
    hp_target *targets = calloc(2, sizeof *targets);
    snprintf(text, sizeof text, "%d", port);
    REQUIRE(targets != NULL && made->pool->env.ntargets == 1 && hp_target_fill(&targets[0], keywords, values) == 0);
    targets[1] = made->pool->env.targets[0];
    free(made->pool->env.targets);
    made->pool->env.targets = targets;
    made->pool->env.ntargets = 2;
    return made;
}

/* ---- refusals ---- */

static void
test_a_refusal_of_the_server_comes_with_its_state(void)
{
    static const char *const CASES[][3] = {
        {"password", "wrong", "28P01"},
        {"user", "hp_no_such_user", "28P01"},
        {"dbname", "hp_no_such_database", "3D000"},
        {"options", "-c no_such_parameter=1", "42704"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        d = closed_pool(2, 2, CASES[i][0], CASES[i][1]);
        open_and_wait();
        CHECK_INT(d->open_error.kind, HP_ERR_CONNECT);
        CHECK_TEXT(d->open_error.sqlstate, CASES[i][2]);
        CHECK(strchr(d->open_error.text, '\n') == NULL || strstr(d->open_error.text, "LOCATION") == NULL);
        CHECK(strstr(d->open_error.text, CASES[i][2]) == NULL);
        CHECK_INT(hp_error_is_permanent(&d->open_error), i < 3);
        CHECK_INT(d->pool->state, HP_POOL_CLOSED);
        CHECK_INT(d->pool->size, 0);
        CHECK_INT(d->pool->env.stats.connection_errors, 2);
        driver_free(d);
    }
}

static void
test_a_pool_that_could_not_open_can_be_opened_later(void)
{
    int fd;
    int port = silent_port(false, &fd);
    d = pool_with_first_target(port, NULL, NULL);
    d->pool->env.ntargets = 1;
    open_and_wait();
    CHECK_INT(d->open_error.kind, HP_ERR_CONNECT);
    CHECK(d->open_error.refused);
    call *late = submit(statement(d, "SELECT 1"));
    CHECK_INT(late->err.kind, HP_ERR_CLOSED);
    d->pool->env.ntargets = 2;
    open_and_wait();
    CHECK_TEXT(d->open_error.text, "");
    CHECK_TEXT(must(submit(statement(d, "SELECT 1")))->value, "1");
    close(fd);
    driver_free(d);
}

static void
test_a_hopeless_attempt_answers_those_who_wait(void)
{
    d = closed_pool(0, 2, "password", "wrong");
    open_and_wait();
    call *a = submit(statement(d, "SELECT 1"));
    call *b = submit(driver_call(d, HP_REQ_LEASE, NULL));
    wait_for(a);
    wait_for(b);
    CHECK_INT(a->err.kind, HP_ERR_DOWN);
    CHECK_TEXT(a->err.sqlstate, "28P01");
    CHECK_INT(b->err.kind, HP_ERR_DOWN);
    driver_free(d);
}

static void
test_a_pool_without_a_server_keeps_trying_and_says_so(void)
{
    int fd;
    int port = silent_port(false, &fd);
    d = pool_with_first_target(port, NULL, NULL);
    d->pool->config.min_size = 0;
    d->pool->env.ntargets = 1;
    open_and_wait();
    call *c = statement(d, "SELECT 1");
    c->req->acquire_timeout = 250 * HP_MS;
    wait_for(submit(c));
    CHECK_INT(c->err.kind, HP_ERR_DOWN);
    CHECK(strstr(c->err.text, "no connection could be opened") != NULL);
    CHECK(!d->pool->last_connect_ok && d->pool->tried);
    uint64_t errors = d->pool->env.stats.connection_errors;
    CHECK(errors >= 1);
    c = submit(statement(d, "SELECT 'back'"));
    WAIT_UNTIL(d, d->pool->env.stats.connection_errors > errors);
    d->pool->env.ntargets = 2; /* the server is back */
    CHECK_TEXT(must(c)->value, "back");
    CHECK(d->pool->last_connect_ok);
    close(fd);
    driver_free(d);
}

/* ---- targets and time-outs ---- */

static void
test_a_refusing_host_is_passed_over(void)
{
    int fd;
    d = pool_with_first_target(silent_port(false, &fd), NULL, NULL);
    open_and_wait();
    CHECK_TEXT(d->open_error.text, "");
    CHECK_TEXT(must(submit(statement(d, "SELECT 1")))->value, "1");
    CHECK_INT(d->pool->env.stats.connection_errors, 0); /* the attempt as a whole worked */
    close(fd);
    driver_free(d);
}

static void
test_a_silent_host_leaves_time_for_the_next(void)
{
    int fd;
    d = pool_with_first_target(silent_port(true, &fd), NULL, NULL);
    d->pool->env.targets[0].attempt_timeout = 50 * HP_MS;
    open_and_wait();
    CHECK_TEXT(d->open_error.text, "");
    driver_free(d);
    d = pool_with_first_target(silent_port(true, &fd), NULL, NULL);
    d->pool->env.connect_timeout = 4 * HP_SECOND; /* shared by both */
    open_and_wait();
    CHECK_TEXT(d->open_error.text, "");
    close(fd);
    driver_free(d);
}

static void
test_a_silent_server_is_given_up_in_time(void)
{
    int fd;
    d = pool_with_first_target(silent_port(true, &fd), NULL, NULL);
    d->pool->env.ntargets = 1;
    d->pool->env.connect_timeout = 60 * HP_MS;
    open_and_wait();
    CHECK_INT(d->open_error.kind, HP_ERR_CONNECT_TIMEOUT);
    CHECK(strstr(d->open_error.text, "timed out") != NULL);
    d->pool->env.ntargets = 2; /* to be freed */
    close(fd);
    driver_free(d);
}

static void
test_prefer_standby_takes_a_primary_in_the_second_round(void)
{
    d = closed_pool(1, 1, "target_session_attrs", "prefer-standby");
    REQUIRE(d->pool->env.targets[0].prefer_standby);
    open_and_wait();
    CHECK_TEXT(d->open_error.text, "");
    driver_free(d);
    d = closed_pool(1, 1, "target_session_attrs", "standby");
    open_and_wait();
    CHECK_INT(d->open_error.kind, HP_ERR_CONNECT);
    driver_free(d);
}

/* ---- names ---- */

static driver *
named_pool(int min_size)
{
    driver *made = closed_pool(min_size, 3, "host", "db.test");
    CHECK_TEXT(made->pool->env.targets[0].host, "db.test");
    return made;
}

static void
test_a_name_is_resolved_by_the_caller(void)
{
    d = named_pool(2);
    d->addresses = GOOD;
    d->naddresses = 1;
    open_and_wait();
    CHECK_TEXT(d->open_error.text, "");
    CHECK_INT(hp_pool_connected(d->pool), 2);
    driver_free(d);
    d = named_pool(2);
    d->resolve_later = true;
    REQUIRE(hp_pool_open(d->pool) == 0);
    WAIT_UNTIL(d, d->njobs == 2);
    driver_answer_jobs(d, 1, GOOD);
    WAIT_UNTIL(d, d->opened > 0);
    CHECK_TEXT(d->open_error.text, "");
    driver_free(d);
}

static void
test_every_address_of_a_name_is_tried(void)
{
    static const char *const ADDRESSES[] = {"127.0.0.2", "127.0.0.3", "not an address", "127.0.0.1"};
    d = named_pool(1);
    d->addresses = ADDRESSES;
    d->naddresses = 4;
    open_and_wait();
    CHECK_TEXT(d->open_error.text, "");
    driver_free(d);
    d = named_pool(1);
    d->addresses = ADDRESSES;
    d->naddresses = 3;
    open_and_wait();
    CHECK_INT(d->open_error.kind, HP_ERR_CONNECT);
    driver_free(d);
}

static void
test_a_name_that_is_none_fails_the_attempt(void)
{
    d = named_pool(1);
    open_and_wait();
    CHECK_INT(d->open_error.kind, HP_ERR_CONNECT);
    CHECK(strstr(d->open_error.text, "db.test") != NULL && strstr(d->open_error.text, "no such name") != NULL);
    driver_free(d);
}

static void
test_a_name_that_takes_too_long_fails_the_attempt(void)
{
    d = named_pool(1);
    d->resolve_later = true;
    d->pool->env.connect_timeout = 30 * HP_MS;
    open_and_wait();
    CHECK_INT(d->open_error.kind, HP_ERR_CONNECT_TIMEOUT);
    CHECK_INT(d->njobs, 1);
    driver_answer_jobs(d, 1, GOOD); /* comes to nobody */
    driver_check(d);
    CHECK_INT(d->pool->size, 0);
    driver_free(d);
}

static void
test_the_pool_may_end_while_a_name_is_resolved(void)
{
    for (int how = 0; how < 3; how++) {
        d = named_pool(2);
        d->resolve_later = true;
        REQUIRE(hp_pool_open(d->pool) == 0);
        WAIT_UNTIL(d, d->njobs == 2);
        if (how == 0) {
            hp_pool_terminate(d->pool);
        } else if (how == 1) {
            hp_pool_close(d->pool);
        } else {
            hp_pool_discard(d->pool, false);
        }
        driver_check(d);
        CHECK_INT(d->pool->size, 0);
        CHECK_INT(d->opened, how < 2);
        driver_answer_jobs(d, 1, GOOD);
        driver_free(d);
    }
}

/* ---- a pooler that refuses the parameter `options` ---- */

/* The server's refusal reads as such a pooler's does. */
static driver *
pool_without_options(int min_size, const char *settings)
{
    driver *made = closed_pool(min_size, 2, "options", "-c unsupported\\ startup\\ parameter\\ options=1");
    made->pool->env.targets[0].settings = strdup(settings);
    REQUIRE(made->pool->env.targets[0].settings != NULL);
    return made;
}

static void
test_what_options_asked_for_is_set_by_sql_instead(void)
{
    d = pool_without_options(2, "SET work_mem = '3MB'; SET search_path = pg_catalog");
    open_and_wait();
    CHECK_TEXT(d->open_error.text, "");
    CHECK_INT(hp_pool_connected(d->pool), 2);
    CHECK_TEXT(must(submit(statement(d, "SHOW work_mem")))->value, "3MB");
    must(submit(script(d, "SET work_mem = '5MB'"))); /* reset, and the settings made again */
    for (int i = 0; i < 4; i++) {
        CHECK_TEXT(must(submit(statement(d, "SHOW work_mem")))->value, "3MB");
        CHECK_TEXT(must(submit(statement(d, "SHOW search_path")))->value, "pg_catalog");
        must(submit(script(d, "BEGIN; SET work_mem = '6MB'")));
    }
    hp_conn *conn = acquire(d);
    must(run_leased(conn, script(d, "DEALLOCATE ALL; BEGIN")));
    release(d, conn);
    CHECK_TEXT(must(submit(statement(d, "SHOW work_mem")))->value, "3MB");
    driver_free(d);
}

static void
test_settings_that_are_refused_are_a_failed_attempt(void)
{
    d = pool_without_options(2, "SET no_such_parameter = 1");
    open_and_wait();
    CHECK_INT(d->open_error.kind, HP_ERR_CONNECT);
    CHECK(strstr(d->open_error.text, "no_such_parameter") != NULL);
    CHECK_INT(d->pool->size, 0);
    CHECK_INT(d->pool->env.stats.connection_errors, 2);
    CHECK_INT(d->pool->env.stats.recycled[HP_RECYCLE_BROKEN], 0);
    driver_free(d);
}

static void
test_a_session_lost_in_its_settings_is_a_failed_attempt(void)
{
    d = pool_without_options(1, "SELECT pg_terminate_backend(pg_backend_pid())");
    open_and_wait();
    CHECK_INT(d->open_error.kind, HP_ERR_CONNECT);
    CHECK_INT(d->pool->size, 0);
    driver_free(d);
}

static void
test_a_session_still_being_set_up_does_not_count(void)
{
    d = pool_without_options(1, "SELECT pg_sleep(0.05)");
    REQUIRE(hp_pool_open(d->pool) == 0);
    WAIT_UNTIL(d, d->pool->all->state == HP_CONN_READY);
    CHECK_INT(d->opened, 0);
    CHECK_INT(hp_pool_connected(d->pool), 0);
    WAIT_UNTIL(d, d->opened == 1);
    CHECK_INT(hp_pool_connected(d->pool), 1);
    driver_free(d);
}

/* ---- ends while opening ---- */

static void
test_a_pool_may_be_closed_while_it_opens(void)
{
    for (int steps = 0; steps < 12; steps++) {
        for (int how = 0; how < 4; how++) {
            d = how < 2 ? closed_pool(2, 2, NULL, NULL) : pool_without_options(2, "SELECT 1; SELECT 2");
            REQUIRE(hp_pool_open(d->pool) == 0);
            call *waiting = submit(statement(d, "SELECT 1"));
            for (int i = 0; i < steps && d->opened == 0; i++) {
                driver_step(d, 1000);
            }
            bool was_open = d->opened > 0;
            if (how % 2 == 0) {
                hp_pool_terminate(d->pool);
            } else {
                hp_pool_close(d->pool);
            }
            driver_check(d);
            WAIT_UNTIL(d, d->closed > 0);
            wait_for(waiting);
            CHECK_INT(d->opened, 1);
            CHECK_INT(d->closed, 1);
            CHECK(was_open || d->open_error.kind == HP_ERR_CLOSED);
            CHECK_INT(waiting->done, 1);
            driver_free(d);
        }
    }
}

static void
test_requests_wait_for_the_opening(void)
{
    d = closed_pool(1, 1, NULL, NULL);
    REQUIRE(hp_pool_open(d->pool) == 0);
    call *a = submit(driver_call(d, HP_REQ_LEASE, NULL));
    call *b = submit(statement(d, "SELECT 1"));
    must(a);
    release(d, a->lease);
    must(b);
    CHECK_INT(d->opened, 1);
    driver_free(d);
}

/* ---- the init hook ---- */

static driver *
hooked_pool(int min_size)
{
    hp_pool_config config = driver_config(min_size, 2);
    config.init_hook = true;
    return driver_new(&config, driver_dsn(), NULL, NULL);
}

static void
do_nothing_yet(hp_conn *conn)
{
    (void)conn;
}

static const hp_error says_no = {.kind = HP_ERR_CONNECT, .text = "says no"};

static void
test_a_session_is_set_up_before_its_first_use(void)
{
    d = hooked_pool(1);
    d->then_opened = do_nothing_yet;
    REQUIRE(hp_pool_open(d->pool) == 0);
    WAIT_UNTIL(d, d->in_init != NULL);
    hp_conn *conn = d->in_init;
    CHECK_INT(d->opened, 0);
    CHECK_INT(hp_pool_connected(d->pool), 0);
    call *waiting = submit(statement(d, "SHOW work_mem"));
    must(run_leased(conn, script(d, "SET work_mem = '3MB'")));
    hp_pool_session_ready(conn, NULL);
    driver_check(d);
    CHECK_TEXT(must(waiting)->value, "3MB"); /* what the hook has set up is not reset */
    CHECK_INT(d->opened, 1);
    driver_free(d);
}

static void
test_a_hook_that_fails_costs_the_session(void)
{
    d = hooked_pool(1);
    d->then_opened = do_nothing_yet;
    REQUIRE(hp_pool_open(d->pool) == 0);
    WAIT_UNTIL(d, d->in_init != NULL);
    hp_pool_session_ready(d->in_init, &says_no);
    driver_check(d);
    CHECK_INT(d->opened, 1);
    CHECK(strstr(d->open_error.text, "says no") != NULL);
    CHECK_INT(d->pool->size, 0);
    driver_free(d);
}

static void
refuse(hp_conn *conn)
{
    hp_pool_session_ready(conn, &says_no);
}

static void
test_a_hook_that_keeps_failing_is_tried_less_and_less_often(void)
{
    d = hooked_pool(0);
    REQUIRE(hp_pool_open(d->pool) == 0);
    d->then_opened = refuse;
    call *waiting = submit(statement(d, "SELECT 1"));
    WAIT_UNTIL(d, d->pool->env.stats.connection_errors == 3);
    CHECK_INT(d->pool->failures, 3);
    d->then_opened = NULL;
    must(waiting);
    CHECK_INT(d->pool->failures, 0);
    driver_free(d);
}

static void
test_a_session_lost_in_the_hook_is_a_failed_attempt(void)
{
    d = hooked_pool(1);
    d->then_opened = do_nothing_yet;
    REQUIRE(hp_pool_open(d->pool) == 0);
    WAIT_UNTIL(d, d->in_init != NULL);
    wait_for(run_leased(d->in_init, statement(d, "SELECT pg_terminate_backend(pg_backend_pid())")));
    hp_pool_session_ready(d->in_init, NULL);
    driver_check(d);
    CHECK_INT(d->opened, 1);
    CHECK_INT(d->open_error.kind, HP_ERR_CONNECT);
    CHECK_INT(d->pool->size, 0);
    driver_free(d);
}

static void
test_a_hook_that_leaves_a_transaction_open_has_it_rolled_back(void)
{
    d = hooked_pool(1);
    d->then_opened = do_nothing_yet;
    REQUIRE(hp_pool_open(d->pool) == 0);
    WAIT_UNTIL(d, d->in_init != NULL);
    must(run_leased(d->in_init, script(d, "BEGIN")));
    hp_pool_session_ready(d->in_init, NULL);
    driver_check(d);
    hp_conn *conn = acquire(d);
    CHECK(!hp_conn_in_transaction(conn));
    release(d, conn);
    CHECK_INT(d->opened, 1);
    driver_free(d);
}

static void
test_the_pool_may_end_in_the_hook(void)
{
    for (int how = 0; how < 4; how++) {
        d = hooked_pool(1);
        d->then_opened = do_nothing_yet;
        REQUIRE(hp_pool_open(d->pool) == 0);
        WAIT_UNTIL(d, d->in_init != NULL);
        if (how < 2) {
            hp_pool_terminate(d->pool);
        } else {
            hp_pool_close(d->pool);
        }
        driver_check(d);
        CHECK_INT(d->closed, how < 2);
        hp_pool_session_ready(d->in_init, how % 2 == 0 ? NULL : &says_no);
        driver_check(d);
        WAIT_UNTIL(d, d->closed == 1);
        CHECK_INT(d->opened, 1);
        CHECK_INT(d->pool->size, 0);
        driver_free(d);
    }
}

static const harness_case TESTS[] = {
    CASE(test_a_refusal_of_the_server_comes_with_its_state),
    CASE(test_a_pool_that_could_not_open_can_be_opened_later),
    CASE(test_a_hopeless_attempt_answers_those_who_wait),
    CASE(test_a_pool_without_a_server_keeps_trying_and_says_so),
    CASE(test_a_refusing_host_is_passed_over),
    CASE(test_a_silent_host_leaves_time_for_the_next),
    CASE(test_a_silent_server_is_given_up_in_time),
    CASE(test_prefer_standby_takes_a_primary_in_the_second_round),
    CASE(test_a_name_is_resolved_by_the_caller),
    CASE(test_every_address_of_a_name_is_tried),
    CASE(test_a_name_that_is_none_fails_the_attempt),
    CASE(test_a_name_that_takes_too_long_fails_the_attempt),
    CASE(test_the_pool_may_end_while_a_name_is_resolved),
    CASE(test_what_options_asked_for_is_set_by_sql_instead),
    CASE(test_settings_that_are_refused_are_a_failed_attempt),
    CASE(test_a_session_lost_in_its_settings_is_a_failed_attempt),
    CASE(test_a_session_still_being_set_up_does_not_count),
    CASE(test_a_pool_may_be_closed_while_it_opens),
    CASE(test_requests_wait_for_the_opening),
    CASE(test_a_session_is_set_up_before_its_first_use),
    CASE(test_a_hook_that_fails_costs_the_session),
    CASE(test_a_hook_that_keeps_failing_is_tried_less_and_less_often),
    CASE(test_a_session_lost_in_the_hook_is_a_failed_attempt),
    CASE(test_a_hook_that_leaves_a_transaction_open_has_it_rolled_back),
    CASE(test_the_pool_may_end_in_the_hook),
};

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0],
                        driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set");
}
