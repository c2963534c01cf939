/*
 * test_stress.c - random callers on a pool, with all that pool.h promises
 * checked after every step.
 *
 * The actions follow from a seed (HP_SEED, default 1; HP_ACTIONS of them,
 * default 10000); what the server makes of them depends on time, so that a run
 * repeats another one only nearly.
 */
#include "driver.h"

enum {
    ACTIONS = 10000,
    EPOCH = 1000, /* actions, then the pool is ended in some way and opened again */
    MOST_SIZE = 6,
    MANY_OPEN_CALLS = 12
};

static driver *d;
static uint64_t seed;
static hp_conn *held[MOST_SIZE];
static int nheld;
static unsigned answered, left, leased, ended[4];
static unsigned by_kind[HP_ERR_INTERNAL + 1];

static unsigned
below(unsigned n)
{
    return harness_below(&seed, n);
}

/* ---- what they ask ---- */

static const char *const SQL[] = {
    "SELECT 1",
    "SELECT 2 FROM generate_series(1, 200)",
    "SELECT repeat('x', 20000) FROM generate_series(1, 5)",
    "SELECT 1/0",
    "SELEKT",
    "SELECT pg_sleep(0.002)",
    "SET work_mem = '2MB'",
    "BEGIN",
    "COMMIT",
    "SELECT pg_advisory_lock_shared(1)",
    "COPY hp_stress TO STDOUT",
    "DEALLOCATE ALL",
    "SELECT count(*) FROM hp_stress",
    "",
};

static const char *const SCRIPTS[] = {
    "SELECT 1; SELECT 2",
    "COPY (SELECT repeat('x', 100) FROM generate_series(1, 500)) TO STDOUT",
    "COPY hp_stress FROM STDIN",
    "BEGIN; SELECT 1/0",
    "PREPARE p AS SELECT 1; DEALLOCATE ALL",
    "SELECT pg_sleep(0.003); SELECT 1",
    "NOTIFY hp_stress",
    "LISTEN hp_stress",
    "",
};

static const char *const SETS[] = {"1", "2", "3", "4", "5", "6", "7", "not a number", "9", "10"};

/* Statements under texts of their own, so that they come to be described, cached and evicted. */
static call *
one_of(unsigned many)
{
    static char texts[60][48];
    unsigned i = below(many);
    snprintf(texts[i], sizeof texts[i], "SELECT $1::int + %u", i);
    call *c = driver_param(statement(d, texts[i]), "1");
    c->number = (int)i + 1;
    switch (below(40)) {
    case 0:
        c->refuse_bind = true;
        break;
    case 1:
        c->describe_answer = HP_FAILED;
        break;
    case 2:
        c->describe_answer = HP_LOOKUP;
        c->lookup_answer = below(2) ? HP_FAILED : HP_READY;
        break;
    case 3:
        c->refuse_renew = true;
        break;
    default:
        break;
    }
    return c;
}

static call *
slow(void)
{
    call *c = statement(d, "SELECT pg_sleep(1000)");
    c->req->command_timeout = (hp_time)below(20) * HP_MS;
    return c;
}

static call *
something(void)
{
    switch (below(16)) {
    case 0:
        return slow();
    case 1:
    case 2:
        return script(d, SCRIPTS[below(sizeof SCRIPTS / sizeof SCRIPTS[0])]);
    case 3: {
        unsigned from = below(7);
        return batch(d, "INSERT INTO hp_stress VALUES ($1)", 1 + (int)below(10 - from), SETS + from);
    }
    case 4:
        return below(8) ? statement(d, "SELECT 'alive'")
                        : statement(d, "SELECT pg_terminate_backend(pg_backend_pid())");
    case 5:
    case 6:
    case 7:
    case 8:
        return one_of(60);
    default:
        return statement(d, SQL[below(sizeof SQL / sizeof SQL[0])]);
    }
}

/* ---- what they do ---- */

static void act_inside(void);

static void
note_end(call *c)
{
    static int depth;
    answered++;
    by_kind[c->err.kind]++;
    CHECK(c->err.kind != HP_ERR_INTERNAL);
    if (c->err.kind == HP_ERR_NONE && c->number > 0) {
        CHECK_INT(atoi(c->value), c->number); /* its own answer, not another's */
    }
    if (c->lease != NULL) {
        REQUIRE(nheld < MOST_SIZE);
        held[nheld++] = c->lease;
        leased++;
    }
    if (depth < 3 && below(4) == 0) {
        depth++;
        act_inside();
        depth--;
    }
}

static void
set_limits(call *c)
{
    c->then = note_end;
    if (below(4) == 0) {
        c->req->acquire_timeout = (hp_time)below(100) * HP_MS;
    }
    if (below(10) == 0) {
        c->req->command_timeout = (hp_time)below(30) * HP_MS;
    }
    if (below(20) == 0) {
        c->req->deadline = hp_now() + (hp_time)below(30) * HP_MS;
    }
}

/* Reads that come at once, so that they meet on the same sessions. */
static void
burst(void)
{
    for (unsigned n = 2 + below(10); n > 0; n--) {
        call *c = one_of(3);
        set_limits(c);
        submit(c);
    }
}

static hp_conn *
take_held(void)
{
    unsigned i = below((unsigned)nheld);
    hp_conn *conn = held[i];
    held[i] = held[--nheld];
    return conn;
}

static int
open_calls(void)
{
    int n = 0;
    for (const call *c = d->calls; c != NULL; c = c->next) {
        n += c->req != NULL;
    }
    return n;
}

static void
leave_one(void)
{
    int n = open_calls();
    if (n == 0) {
        return;
    }
    unsigned which = below((unsigned)n);
    for (call *c = d->calls; c != NULL; c = c->next) {
        if (c->req != NULL && which-- == 0) {
            left++;
            leave(c);
            return;
        }
    }
}

static void
forget_finished(void)
{
    call **link = &d->calls;
    while (*link != NULL) {
        call *c = *link;
        if (c->req == NULL) {
            *link = c->next;
            free(c);
        } else {
            link = &c->next;
        }
    }
}

static void
use_a_lease(void)
{
    hp_conn *conn = held[below((unsigned)nheld)];
    if (hp_conn_is_busy(conn)) {
        return;
    }
    call *c = something();
    set_limits(c);
    run_leased(conn, c);
}

/* What a caller may do from inside an answer. */
static void
act_inside(void)
{
    call *c;
    switch (below(7)) {
    case 0:
    case 1:
        c = below(2) ? something() : driver_call(d, HP_REQ_LEASE, NULL);
        set_limits(c);
        submit(c);
        break;
    case 2:
        if (nheld > 0) {
            use_a_lease();
        }
        break;
    case 3:
    case 4:
        if (nheld > 0) {
            hp_pool_release(take_held());
        }
        break;
    case 5:
        leave_one();
        break;
    default:
        if (nheld > 0 && below(3) == 0) {
            hp_pool_release_broken(take_held());
        }
        break;
    }
}

static void
act(void)
{
    call *c;
    hp_conn *conn;
    switch (below(24)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        c = something();
        set_limits(c);
        submit(c);
        break;
    case 5:
    case 6:
        c = driver_call(d, HP_REQ_LEASE, NULL);
        set_limits(c);
        submit(c);
        break;
    case 19:
    case 20:
        burst();
        break;
    case 7:
        conn = hp_pool_try_acquire(d->pool);
        if (conn != NULL) {
            held[nheld++] = conn;
        }
        break;
    case 8:
    case 9:
    case 10:
    case 11:
    case 12:
        if (nheld > 0) {
            use_a_lease();
        }
        break;
    case 13:
    case 14:
    case 15:
        if (nheld > 0) {
            hp_pool_release(take_held());
        }
        break;
    case 16:
        if (nheld > 0 && below(3) == 0) {
            hp_pool_release_broken(take_held());
        }
        break;
    case 17:
        leave_one();
        break;
    case 18:
        if (nheld > 0 && below(8) == 0) {
            hp_error err;
            hp_error_set(&err, HP_ERR_CLOSED, "broken by the test");
            hp_conn_break(held[below((unsigned)nheld)], &err);
        }
        break;
    default:
        driver_step(d, below(3) == 0 ? 1 : 0);
        break;
    }
    driver_check(d);
}

/* ---- epochs ---- */

static void
choose_config(void)
{
    hp_pool_config *config = &d->pool->config;
    config->max_size = 1 + (int)below(MOST_SIZE);
    config->min_size = (int)below((unsigned)config->max_size + 1);
    config->max_waiters = below(3) ? 0 : 3;
    config->max_queries = below(2) ? 0 : 1 + below(30);
    config->max_idle = below(2) ? HP_NEVER : (hp_time)below(10) * HP_MS;
    config->max_lifetime = below(2) ? HP_NEVER : (hp_time)(1 + below(50)) * HP_MS;
    config->reset = below(4) ? HP_RESET_TOUCHED : below(2) ? HP_RESET_ALWAYS : HP_RESET_NONE;
    config->init_hook = below(2);
    hp_route_init(d->pool, below(3) == 0 ? HP_PIPELINE_OFF : below(2) ? HP_PIPELINE_AUTO : 1 + (int)below(6));
    d->uncached = below(4) == 0;
    d->pool->env.statement_cache_size = below(4) ? (int)below(12) : 0;
    d->pool->env.cancel_timeout = below(4) ? 10 * HP_SECOND : 300 * HP_MS;
}

static void
open_pool(void)
{
    int before = d->opened;
    driver_forget_stmts(d);
    choose_config();
    REQUIRE(hp_pool_open(d->pool) == 0);
    while (d->opened == before && below(6) != 0) {
        driver_step(d, 1000);
    }
}

static void
end_pool(void)
{
    unsigned how = below(4);
    int before = d->closed;
    ended[how]++;
    if (how == 0) {
        hp_pool_terminate(d->pool);
    } else if (how == 1) {
        d->discarded = true;
        hp_pool_discard(d->pool, false);
    } else {
        hp_pool_close(d->pool);
        driver_check(d);
        for (unsigned i = below(40); i > 0; i--) {
            act();
        }
        if (how == 2) {
            hp_pool_terminate(d->pool);
        }
    }
    driver_check(d);
    while (d->pool->size > 0 || open_calls() > 0) {
        while (nheld > 0) {
            hp_pool_release(take_held());
        }
        if (d->pool->size > 0 || open_calls() > 0) {
            driver_step(d, 1000);
        }
    }
    CHECK_INT(d->pool->state, HP_POOL_CLOSED);
    CHECK_INT(d->closed - before, how != 1);
    forget_finished();
    d->discarded = false;
}

static unsigned
number_from(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void
admin(const char *sql)
{
    PGconn *conn = PQconnectdb(driver_dsn());
    PGresult *res = PQexec(conn, sql);
    REQUIRE(PQresultStatus(res) == PGRES_COMMAND_OK);
    PQclear(res);
    PQfinish(conn);
}

static void
test_random_callers_find_the_pool_as_promised(void)
{
    unsigned actions = number_from("HP_ACTIONS", ACTIONS);
    hp_pool_config config = driver_config(1, 1);
    seed = number_from("HP_SEED", 1) * 0x9E3779B97F4A7C15ULL + 1;
    admin("SET client_min_messages = error; DROP TABLE IF EXISTS hp_stress; CREATE TABLE hp_stress (a int)");
    d = driver_new(&config, driver_dsn(), NULL, NULL);
    for (unsigned i = 0; i < actions; i++) {
        if (i % EPOCH == 0) {
            if (i > 0) {
                end_pool();
            }
            open_pool();
        }
        act();
        if (open_calls() > MANY_OPEN_CALLS) {
            driver_step(d, 5);
        }
        if (i % 64 == 0) {
            forget_finished();
        }
    }
    end_pool();
    const hp_stats *stats = &d->pool->env.stats;
    printf("%u answers, %u left, %u leases, %u sessions, %u pipelined, %u resent; ends: %u %u %u %u; by kind of error:",
           answered, left, leased, (unsigned)stats->connects, (unsigned)stats->pipelined, (unsigned)stats->resent,
           ended[0], ended[1], ended[2], ended[3]);
    for (int i = 0; i <= HP_ERR_INTERNAL; i++) {
        printf(" %u", by_kind[i]);
    }
    printf("\n");
    CHECK(stats->pipelined > 0);
    driver_free(d);
    admin("DROP TABLE hp_stress");
}

static const harness_case TESTS[] = {
    CASE(test_random_callers_find_the_pool_as_promised),
};

int
main(void)
{
    return harness_main(TESTS, sizeof TESTS / sizeof TESTS[0],
                        driver_dsn() ? NULL : "HOLISTICPOOL_TEST_DSN is not set");
}
