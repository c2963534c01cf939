/*
 * test_handshake.c - the thread that a session has while it proves its password:
 * that there is one, and that the session may end meanwhile.
 *
 * The server of the tests asks for a password by SCRAM.
 */
#include "driver.h"

#include "engine/connect.h"
#include "engine/handshake.h"

#include <sys/wait.h>
#include <unistd.h>

static driver *d;

enum { SIZE = 3 };

static int
count_handshakes(void)
{
    int n = 0;
    for (const hp_conn *conn = d->pool->all; conn != NULL; conn = conn->next) {
        n += conn->handshake != NULL;
    }
    return n;
}

static void
begin(int size, const char *keyword, const char *value)
{
    hp_pool_config config = driver_config(size, size);
    d = driver_new(&config, driver_dsn(), keyword, value);
    REQUIRE(hp_pool_open(d->pool) == 0);
    WAIT_UNTIL(d, count_handshakes() > 0);
}

static void
finish_opening(void)
{
    WAIT_UNTIL(d, d->opened > 0);
    CHECK_TEXT(d->open_error.text, "");
    CHECK_INT(d->pool->idle_count, SIZE);
    CHECK_INT(count_handshakes(), 0);
    CHECK_TEXT(must(submit(statement(d, "SELECT 1")))->value, "1");
}

static void
test_the_password_is_proved_in_a_thread(void)
{
    begin(SIZE, NULL, NULL);
    finish_opening();
    driver_free(d);
}

static void
test_a_wrong_password_is_told_with_the_servers_words(void)
{
    begin(SIZE, "password", "wrong");
    WAIT_UNTIL(d, d->opened > 0);
    CHECK_TEXT(d->open_error.sqlstate, "28P01");
    CHECK_INT(count_handshakes(), 0);
    driver_free(d);
}

static void
test_the_pool_may_end_meanwhile(void)
{
    for (int how = 0; how < 3; how++) {
        begin(SIZE, NULL, NULL);
        if (how == 0) {
            hp_pool_terminate(d->pool);
        } else if (how == 1) {
            hp_pool_close(d->pool);
        } else {
            d->discarded = true;
            hp_pool_discard(d->pool, false);
        }
        CHECK_INT(count_handshakes(), 0);
        if (how < 2) {
            WAIT_UNTIL(d, d->pool->state == HP_POOL_CLOSED);
            CHECK_INT(d->open_error.kind, HP_ERR_CLOSED);
        }
        driver_free(d);
    }
}

static void
test_the_time_may_be_over_meanwhile(void)
{
    begin(1, NULL, NULL);
    hp_connect_timer(d->pool->all);
    CHECK_INT(count_handshakes(), 0);
    WAIT_UNTIL(d, d->opened > 0);
    CHECK_INT(d->open_error.kind, HP_ERR_CONNECT_TIMEOUT);
    driver_free(d);
}

static void
test_a_forked_child_leaves_the_thread_to_its_parent(void)
{
    begin(SIZE, NULL, NULL);
    fflush(NULL);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        d->discarded = true;
        hp_pool_discard(d->pool, true);
        hp_pool_free(d->pool);
        _exit(harness_failures == 0 ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    finish_opening();
    driver_free(d);
}

static const harness_case TESTS[] = {
    CASE(test_the_password_is_proved_in_a_thread),
    CASE(test_a_wrong_password_is_told_with_the_servers_words),
    CASE(test_the_pool_may_end_meanwhile),
    CASE(test_the_time_may_be_over_meanwhile),
    CASE(test_a_forked_child_leaves_the_thread_to_its_parent),
};

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0],
                        driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set");
}
