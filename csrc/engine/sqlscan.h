/*
 * sqlscan.h - what an SQL text may do, judged from the text alone.
 *
 * The answer is conservative: what is not plainly harmless counts as touching.
 * See sqlscan.c for the grammar that is understood and for the table of
 * functions known to leave the session as it was. Called once per statement
 * text, by engine/stmt.c; pure, allocates nothing, knows no connection.
 */
#ifndef HP_SQLSCAN_H
#define HP_SQLSCAN_H

#include <stdbool.h>
#include <stddef.h>

typedef enum hp_sql_kind {
    HP_SQL_EMPTY,       /* nothing but white space, comments and semicolons */
    HP_SQL_READ,        /* SELECT, VALUES, TABLE, WITH ... SELECT, SHOW, EXPLAIN without ANALYZE */
    HP_SQL_WRITE,       /* INSERT, UPDATE, DELETE, MERGE, also inside WITH; SELECT ... FOR UPDATE and the like, or
                           calling nextval() and other built-in functions that write */
    HP_SQL_TRANSACTION, /* BEGIN, START, COMMIT, END, ROLLBACK, ABORT, SAVEPOINT, RELEASE, PREPARE TRANSACTION, ... */
    HP_SQL_COPY,        /* COPY */
    HP_SQL_OTHER        /* DDL, utility, SELECT INTO, anything else */
} hp_sql_kind;

typedef struct hp_sql_info {
    hp_sql_kind kind;   /* of the first statement */
    bool several;       /* more than one statement in the text, or a BEGIN ATOMIC body, which looks like it */
    bool touches;       /* session state may be different afterwards: a reset is due before the next lease */
    bool prepares;      /* may have made or dropped named prepared statements (PREPARE, DEALLOCATE, EXECUTE,
                            DISCARD, DO, CALL): the reset must deallocate all */
    bool controls_tx;   /* a transaction may be open, or closed, afterwards */
    bool locks_session; /* a statement that the caller must be alone for (LISTEN, COPY, cursors) */
    bool declarable;    /* DECLARE ... CURSOR FOR takes the first statement */
    bool returns_rows;  /* the first statement is SELECT-like, or has RETURNING at its top level */
} hp_sql_info;

/* `sql` need not be NUL-terminated. `standard_strings` is the session's
 * standard_conforming_strings: with it off, a backslash escapes in '...'. An
 * answer holds for sessions with the same setting only. */
void hp_sqlscan(const char *sql, size_t len, bool standard_strings, hp_sql_info *info);

#endif
