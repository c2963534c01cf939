/*
 * test_alloc.c - the engine when memory, or a thread, cannot be had: at every
 * point once.
 *
 * Each scenario is run again and again with the first, the second, ... request
 * for memory failing, alone or with the ones after it, until a run needs fewer.
 * Whatever the engine makes of it: no crash, no leak, each request answered
 * once, and a pool that works again when there is memory. libpq's own memory is
 * not meant.
 *
 * LINK: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=strndup,--wrap=pthread_create
 */
#include "driver.h"

#include <errno.h>
#include <pthread.h>

/* ---- memory that fails ---- */

/* Without the linker's help these are not there, and nothing can be tested. */
__attribute__((weak)) void *__real_malloc(size_t size);
__attribute__((weak)) void *__real_calloc(size_t n, size_t size);
__attribute__((weak)) void *__real_realloc(void *block, size_t size);
__attribute__((weak)) char *__real_strdup(const char *text);
__attribute__((weak)) char *__real_strndup(const char *text, size_t n);
__attribute__((weak)) int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                                                void *arg);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *block, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

static bool armed;
static unsigned asked;     /* since armed */
static unsigned fail_from; /* the first to fail, from 1 on */
static unsigned fail_many; /* how many */

static bool
fails(void)
{
    if (!armed || driver_own_memory > 0) {
        return false;
    }
    asked++;
    return asked >= fail_from && asked - fail_from < fail_many;
}

void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *block, size_t size)
{
    return fails() ? NULL : __real_realloc(block, size);
}

char *
__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *
__wrap_strndup(const char *text, size_t n)
{
    return fails() ? NULL : __real_strndup(text, n);
}

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    return fails() ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

static const unsigned BURSTS[] = {1, 3};
enum { N_BURSTS = sizeof BURSTS / sizeof BURSTS[0] };

/* Run it with every request for memory failing once, for each length of a burst. */
static void
at_every_point(void (*scenario)(void))
{
    for (int i = 0; i < N_BURSTS; i++) {
        fail_many = BURSTS[i];
        for (fail_from = 1;; fail_from++) {
            unsigned before = harness_failures;
            asked = 0;
            scenario();
            armed = false;
            if (harness_failures > before) {
                fprintf(stderr, "... with request %u failing, %u in a row\n", fail_from, fail_many);
            }
            if (asked < fail_from) {
                break;
            }
        }
    }
}

/* ---- without a server ---- */

static void
resolve_scenario(void)
{
    static const char *const KEYWORDS[] = {"application_name", "options", NULL};
    static const char *const VALUES[] = {"test", "-c work_mem=1MB", NULL};
    hp_target *targets;
    hp_error err;
    int n;
    armed = true;
    int rc = hp_conninfo_resolve("postgresql://u:p@one,two:6000/d?hostaddr=192.0.2.1,", KEYWORDS, VALUES, &targets, &n,
                                 &err);
    armed = false;
    if (rc == 0) {
        CHECK_INT(n, 2);
        CHECK_TEXT(targets[1].host, "two");
    } else {
        CHECK(targets == NULL && n == 0);
        CHECK_INT(err.kind, HP_ERR_NO_MEMORY);
    }
    hp_targets_free(targets, n);
}

static void
test_resolving_a_dsn(void)
{
    at_every_point(resolve_scenario);
}

static void
statement_scenario(void)
{
    hp_stmt_cache cache;
    armed = true;
    hp_stmt *stmt = hp_stmt_new("SELECT 1", 8, true, true);
    if (stmt != NULL && hp_stmt_cache_init(&cache, 3) == 0) {
        CHECK(hp_stmt_cache_add(&cache, stmt) == NULL);
        hp_stmt_cache_destroy(&cache);
    }
    hp_stmt_unref(stmt);
}

static void
test_a_statement_and_its_cache(void)
{
    at_every_point(statement_scenario);
}

static void
never(hp_timer *timer, hp_time now)
{
    (void)timer;
    (void)now;
}

static void
timer_scenario(void)
{
    enum { MANY = 100 };
    hp_timer timers[MANY];
    hp_reactor reactor;
    unsigned started = 0;
    REQUIRE(hp_reactor_init(&reactor) == 0);
    armed = true;
    for (int i = 0; i < MANY; i++) {
        timers[i] = (hp_timer){.fire = never};
        if (hp_timer_start(&reactor, &timers[i], hp_now() + HP_SECOND) == 0) {
            started++;
        } else {
            CHECK_INT(timers[i].slot, 0);
        }
    }
    CHECK_INT(reactor.timers, started);
    hp_reactor_destroy(&reactor);
}

static void
test_timers(void)
{
    at_every_point(timer_scenario);
}

/* ---- with a server ---- */

static driver *d;

/* The targets are the same for all runs. */
static void
take_targets(hp_pool *pool)
{
    hp_error err;
    REQUIRE(hp_conninfo_resolve(driver_dsn(), (const char *const[]){NULL}, (const char *const[]){NULL},
                                &pool->env.targets, &pool->env.ntargets, &err) == 0);
}

/* A driver whose pool is not opened, memory failing from the first request on; NULL: it could not be made. */
static driver *
new_pool(const hp_pool_config *config)
{
    driver_own_memory++;
    d = calloc(1, sizeof *d);
    REQUIRE(d != NULL);
    driver_own_memory--;
    d->accept_init = true;
    armed = true;
    d->pool = hp_pool_new(config, &driver_callbacks, d);
    if (d->pool == NULL) {
        armed = false;
        free(d);
        return NULL;
    }
    driver_own_memory++;
    take_targets(d->pool);
    driver_own_memory--;
    d->pool->env.statement_cache_size = 2;
    d->pool->env.connect_timeout = 20 * HP_SECOND;
    return d;
}

/* false: there was no memory to begin with. */
static bool
open_pool(void)
{
    if (hp_pool_open(d->pool) < 0) {
        driver_check(d);
        CHECK_INT(d->pool->state, HP_POOL_CLOSED);
        CHECK_INT(d->opened, 0);
        armed = false;
        REQUIRE(hp_pool_open(d->pool) == 0); /* now there is */
    }
    driver_check(d);
    WAIT_UNTIL(d, d->opened > 0);
    return d->open_error.kind == HP_ERR_NONE;
}

/* After all this the pool serves, as long as it is open. */
static void
end_pool(void)
{
    armed = false;
    if (d->pool->state == HP_POOL_OPEN) {
        CHECK_TEXT(must(submit(statement(d, "SELECT 'works'")))->value, "works");
    }
    driver_free(d);
    d = NULL;
}

static hp_conn *
try_lease(void)
{
    call *c = wait_for(submit(driver_call(d, HP_REQ_LEASE, NULL)));
    return c->lease;
}

static void
single_statements_scenario(void)
{
    hp_pool_config config = driver_config(0, 2);
    if (new_pool(&config) == NULL) {
        return;
    }
    if (open_pool()) {
        call *a = submit(driver_param(statement(d, "SELECT $1::int"), "1"));
        call *b = submit(statement(d, "SELECT 2"));
        call *c = submit(script(d, "SET work_mem = '2MB'"));
        wait_for(a);
        wait_for(b);
        wait_for(c);
        wait_for(submit(driver_param(statement(d, "SELECT $1::int"), "1")));
    }
    end_pool();
}

static void
test_opening_and_single_statements(void)
{
    at_every_point(single_statements_scenario);
}

static const char *const SETS[] = {"1", "2", "3"};

static void
lease_scenario(void)
{
    hp_pool_config config = driver_config(2, 2);
    config.max_queries = 6;
    if (new_pool(&config) == NULL) {
        return;
    }
    hp_conn *conn = open_pool() ? try_lease() : NULL;
    if (conn != NULL) {
        wait_for(run_leased(conn, script(d, "BEGIN; SET work_mem = '2MB'")));
        wait_for(run_leased(conn, batch(d, "SELECT $1::int", 3, SETS)));
        for (int i = 0; i < 2; i++) { /* more statements than the cache holds */
            wait_for(run_leased(conn, statement(d, "SELECT 1")));
            wait_for(run_leased(conn, statement(d, "SELECT 2")));
            wait_for(run_leased(conn, statement(d, "SELECT 3")));
        }
        wait_for(run_leased(conn, script(d, "COMMIT")));
        wait_for(run_leased(conn, script(d, "DEALLOCATE ALL")));
        wait_for(run_leased(conn, statement(d, "SELECT 3")));
        call *waiting = submit(driver_call(d, HP_REQ_LEASE, NULL));
        hp_pool_release(conn);
        driver_check(d);
        wait_for(waiting);
        if (waiting->lease != NULL) {
            hp_pool_release_broken(waiting->lease);
            driver_check(d);
        }
    }
    end_pool();
}

static void
test_leases_batches_and_resets(void)
{
    at_every_point(lease_scenario);
}

static void
cancel_scenario(void)
{
    hp_pool_config config = driver_config(1, 1);
    if (new_pool(&config) == NULL) {
        return;
    }
    hp_conn *conn = open_pool() ? try_lease() : NULL;
    if (conn != NULL) {
        leave(run_leased(conn, statement(d, "SELECT pg_sleep(100)")));
        wait_for(run_leased(conn, statement(d, "SELECT 1")));
        call *slow = statement(d, "SELECT pg_sleep(100)");
        slow->req->command_timeout = 10 * HP_MS;
        run_leased(conn, slow);
        wait_for(slow);
        call *behind = run_leased(conn, statement(d, "SELECT 1"));
        hp_pool_release(conn);
        driver_check(d);
        wait_for(behind);
    }
    end_pool();
}

static void
test_cancelling(void)
{
    at_every_point(cancel_scenario);
}

static call *
piped(hp_conn *conn, hp_request_kind kind, const char *sql, bool open_ended)
{
    call *c = driver_call(d, kind, sql);
    c->req->piped = c->req->ahead = true;
    c->req->open_ended = open_ended;
    return run_leased(conn, c);
}

static void
pipe_scenario(void)
{
    hp_pool_config config = driver_config(1, 1);
    if (new_pool(&config) == NULL) {
        return;
    }
    hp_conn *conn = open_pool() ? try_lease() : NULL;
    if (conn != NULL) {
        hp_pipe_open(conn);
        call *a = piped(conn, HP_REQ_STATEMENT, "SELECT 1", false);
        piped(conn, HP_REQ_BEGIN, "BEGIN", true);
        piped(conn, HP_REQ_STATEMENT, "SELECT 1", true);
        piped(conn, HP_REQ_STATEMENT, "SELECT 2", true);
        call *end = piped(conn, HP_REQ_END, "COMMIT", false);
        hp_pipe_flush(conn);
        wait_for(a);
        wait_for(end);
        piped(conn, HP_REQ_BEGIN, "BEGIN", true);
        call *slow = piped(conn, HP_REQ_STATEMENT, "SELECT pg_sleep(100)", true);
        hp_pipe_flush(conn);
        leave(slow);
        hp_pipe_close(conn);
        hp_pool_release(conn);
        driver_check(d);
        wait_for(slow);
    }
    end_pool();
}

static void
test_pipelines(void)
{
    at_every_point(pipe_scenario);
}

static void
named_scenario(void)
{
    static const char *const ADDRESSES[] = {"127.0.0.2", "127.0.0.1"};
    static const char *const KEYWORDS[] = {"host", NULL};
    static const char *const VALUES[] = {"db.test", NULL};
    hp_pool_config config = driver_config(1, 2);
    hp_error err;
    if (new_pool(&config) == NULL) {
        return;
    }
    driver_own_memory++;
    hp_targets_free(d->pool->env.targets, d->pool->env.ntargets);
    REQUIRE(hp_conninfo_resolve(driver_dsn(), KEYWORDS, VALUES, &d->pool->env.targets, &d->pool->env.ntargets, &err) ==
            0);
    driver_own_memory--;
    d->addresses = ADDRESSES;
    d->naddresses = 2;
    open_pool();
    end_pool();
}

static void
test_names(void)
{
    at_every_point(named_scenario);
}

static const harness_case ALONE[] = {
    CASE(test_resolving_a_dsn),
    CASE(test_a_statement_and_its_cache),
    CASE(test_timers),
};

static const harness_case WITH_SERVER[] = {
    CASE(test_opening_and_single_statements),
    CASE(test_leases_batches_and_resets),
    CASE(test_cancelling),
    CASE(test_pipelines),
    CASE(test_names),
};

int
main(void)
{
    const char *why_not = NULL;
    if (__real_malloc == NULL) {
        why_not = "not linked with --wrap";
    }
    harness_cases(ALONE, sizeof ALONE / sizeof ALONE[0], why_not);
    if (why_not == NULL && driver_dsn() == NULL) {
        why_not = "HOLISTICPOOL_TEST_DSN is not set";
    }
    harness_cases(WITH_SERVER, sizeof WITH_SERVER / sizeof WITH_SERVER[0], why_not);
    return harness_end();
}
