/*
 * test_stmt.c - statements, and the cache of one session against a model LRU.
 */
#include "engine/stmt.h"

#include "harness.h"

static hp_stmt *
new_stmt(void)
{
    hp_stmt *stmt = hp_stmt_new("SELECT 1", 8, true, true);
    REQUIRE(stmt != NULL);
    return stmt;
}

/* ---- statements ---- */

static int freed;

static void
count_free(void *user)
{
    freed += *(int *)user;
}

static void
test_a_statement_copies_its_text_and_has_a_name_of_its_own(void)
{
    char text[] = "INSERT INTO t VALUES (1)xx";
    hp_stmt *a = hp_stmt_new(text, sizeof text - 3, true, true);
    hp_stmt *b = hp_stmt_new(text, sizeof text - 3, true, true);
    hp_stmt *unnamed = hp_stmt_new("", 0, false, true);
    REQUIRE(a != NULL && b != NULL && unnamed != NULL);
    memset(text, '-', sizeof text - 1);
    CHECK_TEXT(a->sql, "INSERT INTO t VALUES (1)");
    CHECK_INT(a->info.kind, HP_SQL_WRITE);
    CHECK(strcmp(a->name, b->name) != 0 && a->id != b->id);
    CHECK(a->name[0] != '\0' && strlen(a->name) < HP_STMT_NAME_BYTES);
    CHECK_TEXT(unnamed->name, "");
    CHECK_TEXT(unnamed->sql, "");
    CHECK(!a->described);
    hp_stmt_unref(a);
    hp_stmt_unref(b);
    hp_stmt_unref(unnamed);
}

static void
test_the_last_reference_frees_what_the_binding_keeps(void)
{
    int one = 1;
    hp_stmt *stmt = new_stmt();
    stmt->user = &one;
    stmt->free_user = count_free;
    freed = 0;
    hp_stmt_ref(stmt);
    hp_stmt_unref(stmt);
    CHECK_INT(freed, 0);
    hp_stmt_unref(stmt);
    CHECK_INT(freed, 1);
    hp_stmt_unref(NULL);
}

/* A result with these columns, as the server would describe it. */
static PGresult *
result_of(int n, const char *const *names, const Oid *types)
{
    PGresAttDesc columns[4];
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    REQUIRE(result != NULL && n <= 4);
    for (int i = 0; i < n; i++) {
        columns[i] = (PGresAttDesc){.name = (char *)names[i], .typid = types[i]};
    }
    REQUIRE(n == 0 || PQsetResultAttrs(result, n, columns));
    return result;
}

static void
test_a_description_without_parameters_and_columns_agrees_with_itself(void)
{
    hp_stmt *stmt = new_stmt();
    PGresult *none = result_of(0, NULL, NULL);
    CHECK_INT(hp_stmt_describe(stmt, none), 0);
    CHECK(stmt->described && stmt->nparams == 0 && stmt->ncolumns == 0);
    CHECK(hp_stmt_agrees(stmt, none));
    CHECK_INT(hp_stmt_describe(stmt, none), 0);
    stmt->nparams = 1;
    CHECK(!hp_stmt_agrees(stmt, none));
    stmt->nparams = 0;
    PQclear(none);
    hp_stmt_unref(stmt);
}

static void
test_results_are_known_by_the_names_and_types_of_their_columns(void)
{
    static const char *const NAMES[] = {"a", "", "long name"};
    static const char *const OTHER_NAMES[] = {"a", "", "long nam"};
    static const char *const SHIFTED_NAMES[] = {"a", "long name", ""};
    static const Oid TYPES[] = {23, 25, 17};
    static const Oid OTHER_TYPES[] = {23, 25, 16};
    hp_stmt *stmt = new_stmt();
    PGresult *same = result_of(3, NAMES, TYPES);
    PGresult *others[] = {
        result_of(2, NAMES, TYPES),         result_of(0, NULL, NULL),         result_of(3, OTHER_NAMES, TYPES),
        result_of(3, SHIFTED_NAMES, TYPES), result_of(3, NAMES, OTHER_TYPES),
    };
    CHECK_INT(hp_stmt_describe(stmt, same), 0);
    CHECK_INT(stmt->ncolumns, 3);
    CHECK(hp_stmt_returns(stmt, same) && hp_stmt_agrees(stmt, same));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        CHECK(!hp_stmt_returns(stmt, others[i]));
        CHECK(!hp_stmt_agrees(stmt, others[i]));
        PQclear(others[i]);
    }
    PQclear(same);
    hp_stmt_unref(stmt);
}

/* ---- the cache ---- */

enum { MOST = 40 };

/* Newest first. */
typedef struct model {
    hp_stmt *items[MOST];
    int n;
} model;

static int
model_find(const model *m, const hp_stmt *stmt)
{
    for (int i = 0; i < m->n; i++) {
        if (m->items[i] == stmt) {
            return i;
        }
    }
    return -1;
}

static void
model_remove(model *m, int i)
{
    m->n--;
    memmove(&m->items[i], &m->items[i + 1], (size_t)(m->n - i) * sizeof m->items[0]);
}

static void
model_push(model *m, hp_stmt *stmt)
{
    memmove(&m->items[1], &m->items[0], (size_t)m->n * sizeof m->items[0]);
    m->items[0] = stmt;
    m->n++;
}

/* The LRU list and the table hold what the model holds; at most half of the table is used. */
static void
check_cache(const hp_stmt_cache *cache, const model *m)
{
    int newer = -1;
    int e = cache->newest;
    CHECK_INT(cache->used, m->n);
    for (int i = 0; i < m->n; i++) {
        REQUIRE(e >= 0 && e < cache->capacity);
        CHECK(cache->entries[e].stmt == m->items[i]);
        CHECK_INT(cache->entries[e].newer, newer);
        newer = e;
        e = cache->entries[e].older;
    }
    CHECK_INT(e, -1);
    CHECK_INT(cache->oldest, newer);
    int in_table = 0;
    for (unsigned i = 0; i <= cache->mask && cache->table != NULL; i++) {
        in_table += cache->table[i] >= 0;
    }
    CHECK_INT(in_table, m->n);
    int unused = 0;
    for (e = cache->free; e >= 0; e = cache->entries[e].older) {
        unused++;
        REQUIRE(unused <= cache->capacity);
    }
    CHECK_INT(unused, cache->capacity - m->n);
    CHECK(cache->capacity == 0 || 2 * cache->capacity <= (int)cache->mask + 1);
}

static void
add(hp_stmt_cache *cache, model *m, hp_stmt *stmt)
{
    hp_stmt *evicted = hp_stmt_cache_add(cache, stmt);
    if (cache->capacity == 0) {
        CHECK(evicted == NULL);
        return;
    }
    if (m->n == cache->capacity) {
        CHECK(evicted == m->items[m->n - 1]);
        m->n--;
    } else {
        CHECK(evicted == NULL);
    }
    hp_stmt_unref(evicted);
    model_push(m, stmt);
}

static void
random_operations(int capacity, uint64_t seed)
{
    enum { KNOWN = 64, ROUNDS = 3000 };
    hp_stmt *known[KNOWN];
    hp_stmt_cache cache;
    model m = {.n = 0};
    REQUIRE(hp_stmt_cache_init(&cache, capacity) == 0);
    for (int i = 0; i < KNOWN; i++) {
        known[i] = new_stmt();
    }
    for (int round = 0; round < ROUNDS; round++) {
        unsigned which = harness_below(&seed, KNOWN);
        hp_stmt *stmt = known[which];
        int at = model_find(&m, stmt);
        switch (harness_below(&seed, 16)) {
        case 0: /* another statement under that number: the ids wander through the table */
            hp_stmt_cache_drop(&cache, stmt);
            if (at >= 0) {
                model_remove(&m, at);
            }
            CHECK_INT(stmt->refs, 1);
            hp_stmt_unref(stmt);
            known[which] = new_stmt();
            break;
        case 1:
            hp_stmt_cache_clear(&cache);
            m.n = 0;
            break;
        case 2:
        case 3:
        case 4:
        case 5:
            hp_stmt_cache_drop(&cache, stmt);
            if (at >= 0) {
                model_remove(&m, at);
            }
            break;
        default:
            CHECK(hp_stmt_cache_use(&cache, stmt) == (at >= 0));
            if (at >= 0) {
                model_remove(&m, at);
                model_push(&m, stmt);
            } else {
                add(&cache, &m, stmt);
            }
            break;
        }
        check_cache(&cache, &m);
    }
    hp_stmt_cache_destroy(&cache);
    for (int i = 0; i < KNOWN; i++) {
        CHECK_INT(known[i]->refs, 1);
        hp_stmt_unref(known[i]);
    }
}

static void
test_the_cache_is_a_least_recently_used_list(void)
{
    static const int CAPACITIES[] = {0, 1, 2, 3, 4, 5, 7, 8, 16, 31, MOST};
    for (size_t i = 0; i < sizeof CAPACITIES / sizeof CAPACITIES[0]; i++) {
        random_operations(CAPACITIES[i], 100 + i);
    }
}

/* Ids that share a home at the end of the table run over into its beginning. */
static void
test_a_run_over_the_end_of_the_table_stays_reachable(void)
{
    enum { N = 8, TABLE = 16 };
    hp_stmt *stmts[N];
    for (unsigned gone = 0; gone < N; gone++) {
        hp_stmt_cache cache;
        REQUIRE(hp_stmt_cache_init(&cache, N) == 0);
        REQUIRE(cache.mask == TABLE - 1);
        for (unsigned i = 0; i < N; i++) {
            stmts[i] = new_stmt();
            /* homes 14, 15, 14, 0, 14, 15, 1, 14 */
            static const unsigned HOMES[N] = {14, 15, 14, 0, 14, 15, 1, 14};
            stmts[i]->id = HOMES[i] + (uint64_t)TABLE * i;
            CHECK(hp_stmt_cache_add(&cache, stmts[i]) == NULL);
        }
        hp_stmt_cache_drop(&cache, stmts[gone]);
        for (unsigned i = 0; i < N; i++) {
            CHECK(hp_stmt_cache_use(&cache, stmts[i]) == (i != gone));
        }
        for (unsigned i = 0; i < N; i++) {
            hp_stmt_cache_drop(&cache, stmts[i]);
            CHECK_INT(stmts[i]->refs, 1);
            hp_stmt_unref(stmts[i]);
        }
        CHECK_INT(cache.used, 0);
        hp_stmt_cache_destroy(&cache);
    }
}

static void
test_without_capacity_nothing_is_cached(void)
{
    static const int CAPACITIES[] = {0, -1};
    for (int i = 0; i < 2; i++) {
        hp_stmt_cache cache;
        hp_stmt *stmt = new_stmt();
        REQUIRE(hp_stmt_cache_init(&cache, CAPACITIES[i]) == 0);
        CHECK(!hp_stmt_cache_use(&cache, stmt));
        CHECK(hp_stmt_cache_add(&cache, stmt) == NULL);
        CHECK(!hp_stmt_cache_use(&cache, stmt));
        hp_stmt_cache_drop(&cache, stmt);
        hp_stmt_cache_clear(&cache);
        CHECK_INT(stmt->refs, 1);
        hp_stmt_cache_destroy(&cache);
        hp_stmt_unref(stmt);
    }
}

int
main(void)
{
    RUN(test_a_statement_copies_its_text_and_has_a_name_of_its_own);
    RUN(test_the_last_reference_frees_what_the_binding_keeps);
    RUN(test_a_description_without_parameters_and_columns_agrees_with_itself);
    RUN(test_results_are_known_by_the_names_and_types_of_their_columns);
    RUN(test_the_cache_is_a_least_recently_used_list);
    RUN(test_a_run_over_the_end_of_the_table_stays_reachable);
    RUN(test_without_capacity_nothing_is_cached);
    return harness_end();
}
