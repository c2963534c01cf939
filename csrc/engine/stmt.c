/*
 * stmt.c - see stmt.h.
 */
#include "engine/stmt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- statements ---- */

static uint64_t
next_id(void)
{
    static uint64_t last; /* the engine runs under one lock (the GIL) in a process */
    return ++last;
}

hp_stmt *
hp_stmt_new(const char *sql, size_t len, bool cached, bool standard_strings)
{
    hp_stmt *stmt = calloc(1, sizeof *stmt);
    if (stmt == NULL) {
        return NULL;
    }
    stmt->sql = malloc(len + 1);
    if (stmt->sql == NULL) {
        free(stmt);
        return NULL;
    }
    memcpy(stmt->sql, sql, len);
    stmt->sql[len] = '\0';
    stmt->refs = 1;
    stmt->id = next_id();
    if (cached) {
        snprintf(stmt->name, sizeof stmt->name, "__hp_%lx_%" PRIx64, (unsigned long)getpid(), stmt->id);
    }
    hp_sqlscan(sql, len, standard_strings, &stmt->info);
    return stmt;
}

hp_stmt *
hp_stmt_new_owned(const char *sql, size_t len, const char *name, bool standard_strings)
{
    hp_stmt *stmt = hp_stmt_new(sql, len, name == NULL, standard_strings);
    if (stmt == NULL) {
        return NULL;
    }
    stmt->owned = true;
    if (name != NULL) {
        snprintf(stmt->name, sizeof stmt->name, "%s", name);
    }
    return stmt;
}

void
hp_stmt_ref(hp_stmt *stmt)
{
    stmt->refs++;
}

void
hp_stmt_unref(hp_stmt *stmt)
{
    if (stmt == NULL || --stmt->refs > 0) {
        return;
    }
    if (stmt->free_user != NULL) {
        stmt->free_user(stmt->user);
    }
    free(stmt->param_types);
    free(stmt->column_types);
    free(stmt->column_names);
    free(stmt->sql);
    free(stmt);
}

/* Room for at least one, so that NULL always means: out of memory. */
static Oid *
new_types(int n)
{
    return calloc((size_t)n + 1, sizeof(Oid));
}

static char *
copy_names(const PGresult *description)
{
    int n = PQnfields(description);
    size_t len = 0;
    for (int i = 0; i < n; i++) {
        len += strlen(PQfname(description, i)) + 1;
    }
    char *names = malloc(len + 1);
    for (int i = 0, at = 0; names != NULL && i < n; i++) {
        size_t size = strlen(PQfname(description, i)) + 1;
        memcpy(names + at, PQfname(description, i), size);
        at += (int)size;
    }
    return names;
}

int
hp_stmt_describe(hp_stmt *stmt, const PGresult *description)
{
    int nparams = PQnparams(description);
    int ncolumns = PQnfields(description);
    Oid *params = new_types(nparams);
    Oid *columns = new_types(ncolumns);
    char *names = copy_names(description);
    if (params == NULL || columns == NULL || names == NULL) {
        free(params);
        free(columns);
        free(names);
        return -1;
    }
    for (int i = 0; i < nparams; i++) {
        params[i] = PQparamtype(description, i);
    }
    for (int i = 0; i < ncolumns; i++) {
        columns[i] = PQftype(description, i);
    }
    free(stmt->param_types);
    free(stmt->column_types);
    free(stmt->column_names);
    stmt->param_types = params;
    stmt->nparams = nparams;
    stmt->column_types = columns;
    stmt->column_names = names;
    stmt->ncolumns = ncolumns;
    stmt->described = true;
    stmt->described_at = hp_now();
    return 0;
}

bool
hp_stmt_is_steady(const hp_stmt *stmt)
{
    return stmt->info.kind == HP_SQL_READ || stmt->info.kind == HP_SQL_WRITE;
}

bool
hp_stmt_returns(const hp_stmt *stmt, const PGresult *result)
{
    if (PQnfields(result) != stmt->ncolumns) {
        return false;
    }
    const char *name = stmt->column_names;
    for (int i = 0; i < stmt->ncolumns; i++) {
        if (PQftype(result, i) != stmt->column_types[i] || strcmp(PQfname(result, i), name) != 0) {
            return false;
        }
        name += strlen(name) + 1;
    }
    return true;
}

bool
hp_stmt_agrees(const hp_stmt *stmt, const PGresult *description)
{
    if (PQnparams(description) != stmt->nparams) {
        return false;
    }
    for (int i = 0; i < stmt->nparams; i++) {
        if (PQparamtype(description, i) != stmt->param_types[i]) {
            return false;
        }
    }
    return hp_stmt_returns(stmt, description);
}

/* ---- cache of one session ---- */

int
hp_stmt_cache_init(hp_stmt_cache *cache, int capacity)
{
    memset(cache, 0, sizeof *cache);
    cache->newest = cache->oldest = cache->free = -1;
    if (capacity <= 0) {
        return 0;
    }
    unsigned size = 8;
    while (size < 2 * (unsigned)capacity) {
        size *= 2;
    }
    cache->entries = malloc((size_t)capacity * sizeof *cache->entries);
    cache->table = malloc(size * sizeof *cache->table);
    if (cache->entries == NULL || cache->table == NULL) {
        hp_stmt_cache_destroy(cache);
        return -1;
    }
    cache->capacity = capacity;
    cache->mask = size - 1;
    for (unsigned i = 0; i < size; i++) {
        cache->table[i] = -1;
    }
    for (int i = 0; i < capacity; i++) {
        cache->entries[i].stmt = NULL;
        cache->entries[i].older = i + 1 < capacity ? i + 1 : -1;
    }
    cache->free = 0;
    return 0;
}

void
hp_stmt_cache_destroy(hp_stmt_cache *cache)
{
    if (cache->table != NULL && cache->entries != NULL) {
        hp_stmt_cache_clear(cache);
    }
    free(cache->entries);
    free(cache->table);
    memset(cache, 0, sizeof *cache);
}

/* Ids are consecutive: their low bits spread as well as any hash. */
static unsigned
home(const hp_stmt_cache *cache, const hp_stmt *stmt)
{
    return (unsigned)stmt->id & cache->mask;
}

/* The table place of a statement, or -1. */
static int
find(const hp_stmt_cache *cache, const hp_stmt *stmt)
{
    if (cache->capacity == 0) {
        return -1;
    }
    for (unsigned i = home(cache, stmt);; i = (i + 1) & cache->mask) {
        int e = cache->table[i];
        if (e < 0) {
            return -1;
        }
        if (cache->entries[e].stmt == stmt) {
            return (int)i;
        }
    }
}

static void
unlink_entry(hp_stmt_cache *cache, int e)
{
    hp_stmt_entry *entry = &cache->entries[e];
    if (entry->newer >= 0) {
        cache->entries[entry->newer].older = entry->older;
    } else {
        cache->newest = entry->older;
    }
    if (entry->older >= 0) {
        cache->entries[entry->older].newer = entry->newer;
    } else {
        cache->oldest = entry->newer;
    }
}

static void
link_newest(hp_stmt_cache *cache, int e)
{
    hp_stmt_entry *entry = &cache->entries[e];
    entry->newer = -1;
    entry->older = cache->newest;
    if (cache->newest >= 0) {
        cache->entries[cache->newest].newer = e;
    } else {
        cache->oldest = e;
    }
    cache->newest = e;
}

bool
hp_stmt_cache_use(hp_stmt_cache *cache, const hp_stmt *stmt)
{
    if (cache->newest >= 0 && cache->entries[cache->newest].stmt == stmt) {
        return true;
    }
    int place = find(cache, stmt);
    if (place < 0) {
        return false;
    }
    int e = cache->table[place];
    unlink_entry(cache, e);
    link_newest(cache, e);
    return true;
}

bool
hp_stmt_cache_knows(const hp_stmt_cache *cache, const hp_stmt *stmt)
{
    return cache->newest >= 0 && cache->entries[cache->newest].stmt == stmt && cache->entries[cache->newest].known;
}

void
hp_stmt_cache_know(hp_stmt_cache *cache, const hp_stmt *stmt)
{
    int place = find(cache, stmt);
    if (place >= 0) {
        cache->entries[cache->table[place]].known = true;
    }
}

/* Empty table place i, moving later members of its run so that every one stays
 * reachable from its home. */
static void
erase_place(hp_stmt_cache *cache, unsigned i)
{
    unsigned hole = i;
    for (unsigned j = (i + 1) & cache->mask; cache->table[j] >= 0; j = (j + 1) & cache->mask) {
        unsigned h = home(cache, cache->entries[cache->table[j]].stmt);
        if (((j - h) & cache->mask) >= ((j - hole) & cache->mask)) {
            cache->table[hole] = cache->table[j];
            hole = j;
        }
    }
    cache->table[hole] = -1;
}

/* Take an entry out; its reference passes to the caller. */
static hp_stmt *
take_out(hp_stmt_cache *cache, unsigned place)
{
    int e = cache->table[place];
    hp_stmt *stmt = cache->entries[e].stmt;
    erase_place(cache, place);
    unlink_entry(cache, e);
    cache->entries[e].stmt = NULL;
    cache->entries[e].older = cache->free;
    cache->free = e;
    cache->used--;
    return stmt;
}

hp_stmt *
hp_stmt_cache_add(hp_stmt_cache *cache, hp_stmt *stmt)
{
    hp_stmt *evicted = NULL;
    if (cache->capacity == 0) {
        return NULL;
    }
    if (cache->used == cache->capacity) {
        evicted = take_out(cache, (unsigned)find(cache, cache->entries[cache->oldest].stmt));
    }
    int e = cache->free;
    cache->free = cache->entries[e].older;
    cache->entries[e].stmt = stmt;
    cache->entries[e].known = false;
    hp_stmt_ref(stmt);
    link_newest(cache, e);
    unsigned i = home(cache, stmt);
    while (cache->table[i] >= 0) {
        i = (i + 1) & cache->mask;
    }
    cache->table[i] = e;
    cache->used++;
    return evicted;
}

void
hp_stmt_cache_drop(hp_stmt_cache *cache, const hp_stmt *stmt)
{
    int place = find(cache, stmt);
    if (place >= 0) {
        hp_stmt_unref(take_out(cache, (unsigned)place));
    }
}

void
hp_stmt_cache_clear(hp_stmt_cache *cache)
{
    while (cache->oldest >= 0) {
        hp_stmt_cache_drop(cache, cache->entries[cache->oldest].stmt);
    }
}
