/*
 * stmt.h - statements: what is known of an SQL text, and which session has it
 * prepared.
 *
 * hp_stmt is one description of one SQL text: its name on the server, what the
 * scanner says of it, and, once a server has described it, its parameter types
 * and columns. It is immutable after that (but `outdated` and the estimate of
 * what it costs, which is route.c's): when the server says
 * that the text now means something else, a new hp_stmt with a new name takes its
 * place. It is shared by all sessions of a pool and reference counted.
 *
 * hp_stmt_cache says which statements one session has prepared: a table from
 * id to entry (open addressing, linear probing, at most half full) and an LRU
 * list through the entries. An entry holds a reference. Looking up, adding and
 * dropping are O(1); the memory is allocated once, for the capacity given.
 *
 * A statement that one caller prepares for itself is `owned`: no cache has it, so
 * that it is not evicted, and it ends with its caller's interest (prepared.h).
 *
 * Called by conn.c (cache) and the binding (statements).
 */
#ifndef HP_STMT_H
#define HP_STMT_H

#include "engine/base.h"
#include "engine/sqlscan.h"

struct hp_conn;

/* As the server: NAMEDATALEN. */
enum { HP_STMT_NAME_BYTES = 64 };

/* The lowest of late: in this window of time, and in the one before (0: none). */
typedef struct hp_lowest {
    hp_time window, before;
    hp_time since; /* this window began */
} hp_lowest;

typedef struct hp_stmt {
    unsigned refs;
    uint64_t id;                   /* unique in the process */
    char name[HP_STMT_NAME_BYTES]; /* "" for one that is not to be cached */
    char *sql;                     /* NUL-terminated UTF-8 */
    bool owned;                    /* one caller's own: never in a cache, prepared on `home` until it is dropped */
    bool known;                    /* owned: as hp_stmt_entry.known */
    struct hp_conn *home;          /* owned: the session that has it prepared, which holds a reference; or NULL */
    hp_sql_info info;
    bool described;
    int nparams; /* valid once described, as all up to user */
    Oid *param_types;
    int ncolumns;
    Oid *column_types;
    char *column_names; /* one after another, each with its NUL */
    hp_time described_at;
    hp_time cost;     /* running estimate of the server's time for it, which errs on the side of too much */
    hp_time mean_x16; /* ... of the mean, times 16 */
    hp_lowest least_mean;
    unsigned observed; /* times that went into them */
    bool outdated;     /* a session has it prepared with other columns than are described */
    void *user;        /* the binding's plan */
    void (*free_user)(void *user);
} hp_stmt;

/* New reference, or NULL when out of memory. `cached` false: unnamed. */
hp_stmt *hp_stmt_new(const char *sql, size_t len, bool cached, bool standard_strings);
/* ... an owned one: `name` "" is unnamed, NULL one made up. At most HP_STMT_NAME_BYTES - 1 bytes. */
hp_stmt *hp_stmt_new_owned(const char *sql, size_t len, const char *name, bool standard_strings);
void hp_stmt_ref(hp_stmt *stmt);
void hp_stmt_unref(hp_stmt *stmt);
/* Take parameters and columns from a description. 0, or -1 when out of memory. */
int hp_stmt_describe(hp_stmt *stmt, const PGresult *description);
/* Does a description agree with the one the statement has? */
bool hp_stmt_agrees(const hp_stmt *stmt, const PGresult *description);
/* Does the server tell, by an error, before a session that has it prepared gets
 * other columns? Not so for FETCH, EXECUTE, CALL and the like. */
bool hp_stmt_is_steady(const hp_stmt *stmt);
/* Has a result, or description, the columns that the statement was described with? */
bool hp_stmt_returns(const hp_stmt *stmt, const PGresult *result);

typedef struct hp_stmt_entry {
    hp_stmt *stmt;
    bool known;       /* an answer of the session had the columns that are described */
    int newer, older; /* LRU neighbours, -1 at the ends */
} hp_stmt_entry;

typedef struct hp_stmt_cache {
    int capacity; /* 0: nothing is cached */
    int used;
    int newest, oldest;
    int free;      /* first unused entry, chained by `older` */
    unsigned mask; /* table size - 1 */
    hp_stmt_entry *entries;
    int *table; /* entry index, or -1 */
} hp_stmt_cache;

/* 0, or -1 when out of memory. */
int hp_stmt_cache_init(hp_stmt_cache *cache, int capacity);
void hp_stmt_cache_destroy(hp_stmt_cache *cache);
/* Is it prepared here? Makes it the newest if so. */
bool hp_stmt_cache_use(hp_stmt_cache *cache, const hp_stmt *stmt);
/* Is it known to have the described columns here? Only for the newest. */
bool hp_stmt_cache_knows(const hp_stmt_cache *cache, const hp_stmt *stmt);
/* It is (no effect where it is not there). */
void hp_stmt_cache_know(hp_stmt_cache *cache, const hp_stmt *stmt);
/* Add one that is not there; takes a reference of its own. Returns the statement
 * that had to make room, whose reference passes to the caller, or NULL. */
hp_stmt *hp_stmt_cache_add(hp_stmt_cache *cache, hp_stmt *stmt);
/* Forget it (no effect where it is not there) and drop the reference. */
void hp_stmt_cache_drop(hp_stmt_cache *cache, const hp_stmt *stmt);
void hp_stmt_cache_clear(hp_stmt_cache *cache);

#endif
