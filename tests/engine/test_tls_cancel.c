/*
 * test_tls_cancel.c - cancel requests of sessions by TLS with libpq before 17: the
 * session's key is learnt, the binding is asked to send the request, and its
 * answer may come late.
 */
#include "driver.h"

#include "engine/cancel.h"

#include <arpa/inet.h>
#include <sys/socket.h>

static driver *d;
static hp_conn *lease;
static hp_cancel *job; /* given to the binding and not answered */
static int jobs, lasts;
static bool refuse;

static int
keep_job(void *user, hp_cancel *given, const hp_conn *conn, bool last)
{
    lasts += last;
    REQUIRE(user == d && job == NULL && conn->cancel == NULL);
    jobs++;
    if (refuse) {
        return -1;
    }
    job = given;
    return 0;
}

static void
answer(const char *why)
{
    hp_cancel *answered = job;
    job = NULL;
    hp_cancel_done(answered, why);
    driver_check(d);
}

static void
set_up(const char *sslmode)
{
    static hp_callbacks callbacks;
    hp_pool_config config = driver_config(1, 2);
    callbacks = driver_callbacks;
    callbacks.cancel = keep_job;
    job = NULL;
    jobs = lasts = 0;
    refuse = false;
    d = driver_new(&config, driver_dsn(), "sslmode", sslmode);
    d->pool->env.up = &callbacks;
    REQUIRE(hp_pool_open(d->pool) == 0);
    WAIT_UNTIL(d, d->opened > 0);
    CHECK_TEXT(d->open_error.text, "");
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
sleep_and_leave(void)
{
    call *c = run_leased(lease, script(d, "SELECT pg_sleep(100)"));
    leave(c);
    return c;
}

/* What the binding would send by TLS; the server takes it in clear too. */
static void
send_request(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(PQport(lease->pg)))};
    REQUIRE(inet_pton(AF_INET, PQhostaddr(lease->pg), &to.sin_addr) == 1);
    uint32_t packet[] = {htonl(16), htonl(80877102), htonl((uint32_t)PQbackendPID(lease->pg)),
                         htonl((uint32_t)lease->backend_key)};
    char end;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    REQUIRE(write(fd, packet, sizeof packet) == sizeof packet);
    REQUIRE(read(fd, &end, 1) == 0);
    close(fd);
}

static void
test_the_key_is_learnt_and_the_binding_sends_the_request(void)
{
    set_up("require");
    CHECK(lease->has_backend_key);
    int pid = PQbackendPID(lease->pg);
    call *c = sleep_and_leave();
    REQUIRE(job != NULL && lease->cancel == job);
    while (c->req != NULL) { /* one that comes before the statement is of no effect */
        send_request();
        driver_step(d, 100);
    }
    CHECK(lease->cancel == job);
    CHECK(!hp_conn_is_free(lease)); /* the request may still be under way */
    answer(NULL);
    WAIT_UNTIL(d, hp_conn_is_free(lease));
    CHECK_INT(jobs, 1);
    CHECK_TEXT(must(run_leased(lease, statement(d, "SELECT 'fine'")))->value, "fine");
    CHECK_INT(PQbackendPID(lease->pg), pid);
    tear_down();
}

static void
test_a_session_in_clear_does_not_bother_the_binding(void)
{
    set_up("disable");
    CHECK(!lease->has_backend_key);
    wait_for(sleep_and_leave());
    CHECK_INT(jobs, 0);
    tear_down();
}

static void
test_an_answer_may_come_after_the_session(void)
{
    static const char *const ANSWERS[] = {NULL, "too late"};
    for (int i = 0; i < 2; i++) {
        set_up("require");
        sleep_and_leave();
        REQUIRE(job != NULL);
        hp_pool_terminate(d->pool);
        answer(ANSWERS[i]);
        tear_down();
    }
}

static void
test_an_answer_may_come_after_the_pool(void)
{
    set_up("require");
    sleep_and_leave();
    hp_cancel *late = job;
    hp_pool_terminate(d->pool);
    tear_down();
    hp_cancel_done(late, NULL);
}

static void
test_terminating_asks_once_more_for_what_runs(void)
{
    for (int i = 0; i < 2; i++) {
        set_up("require");
        refuse = i == 1;
        call *c = run_leased(lease, script(d, "SELECT pg_sleep(100)"));
        hp_pool_terminate(d->pool);
        CHECK_INT(c->err.kind, HP_ERR_TERMINATED);
        CHECK_INT(jobs, 1);
        CHECK_INT(lasts, 1);
        if (job != NULL) {
            answer(NULL);
        }
        tear_down();
    }
    set_up("require");
    hp_pool_terminate(d->pool);
    CHECK_INT(jobs, 0); /* nothing ran */
    tear_down();
}

static void
test_the_reason_why_no_request_is_delivered_is_told_when_the_session_is_given_up(void)
{
    set_up("require");
    d->pool->env.cancel_timeout = 700 * HP_MS;
    sleep_and_leave();
    call *next = run_leased(lease, statement(d, "SELECT 1"));
    while (next->req != NULL) {
        if (job != NULL) {
            answer("no way\nto go\n");
        }
        driver_step(d, 1000);
    }
    CHECK(jobs > 1);
    CHECK_INT(next->err.kind, HP_ERR_LOST);
    CHECK_TEXT(next->err.text, "a cancelled statement did not end within 0.7 s: the connection was given up; the last "
                               "cancel request could not be delivered: no way to go");
    tear_down();
}

static void
test_a_session_that_cannot_be_cancelled_at_all_is_given_up(void)
{
    set_up("require");
    refuse = true;
    wait_for(sleep_and_leave());
    CHECK_INT(jobs, 1);
    CHECK_INT(lease->state, HP_CONN_CLOSED);
    CHECK_TEXT(must(submit(statement(d, "SELECT 'fine'")))->value, "fine");
    tear_down();
}

static const harness_case TESTS[] = {
    CASE(test_the_key_is_learnt_and_the_binding_sends_the_request),
    CASE(test_a_session_in_clear_does_not_bother_the_binding),
    CASE(test_an_answer_may_come_after_the_session),
    CASE(test_an_answer_may_come_after_the_pool),
    CASE(test_terminating_asks_once_more_for_what_runs),
    CASE(test_the_reason_why_no_request_is_delivered_is_told_when_the_session_is_given_up),
    CASE(test_a_session_that_cannot_be_cancelled_at_all_is_given_up),
};

static const char *
why_not(void)
{
#ifdef LIBPQ_HAS_ASYNC_CANCEL
    return "this libpq encrypts cancel requests itself";
#else
    return driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set";
#endif
}

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0], why_not());
}
