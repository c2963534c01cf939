/*
 * sqlcall.h - is a name in an SQL text a function call, and what would it do?
 *
 * Used by sqlscan.c only, which keeps track of where in the statement the name
 * stands. Pure; see sqlcall.c for the reasoning.
 */
#ifndef HP_SQLCALL_H
#define HP_SQLCALL_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/sqllex.h"

/* A token, or a dotted name as one, as the tokens behind it look back on it. */
typedef struct hp_sql_mark {
    hp_token_kind kind; /* SEMICOLON in front of a statement's first token */
    hp_keyword keyword; /* of a single unquoted word */
    bool operand;       /* no expression can start right behind it */
} hp_sql_mark;

/* name.name.name, as far as it has been read */
typedef struct hp_sql_name {
    unsigned parts;
    bool catalog;  /* the first of them is pg_catalog */
    bool headless; /* what stands before its first dot is no name */
    hp_token last;
    hp_sql_mark before; /* what stands in front of it */
    hp_sql_mark before_that;
} hp_sql_name;

/* Where in a statement the name stands. */
typedef struct hp_sql_place {
    hp_keyword verb;   /* the statement's first word */
    hp_keyword object; /* of CREATE: what is created */
    size_t depth;      /* in parentheses */
    bool in_with;      /* between WITH and the main verb, at this depth */
} hp_sql_place;

/* What an opening parenthesis opens. The last ones must be followed by a certain word, or they are calls. */
typedef enum hp_sql_paren {
    HP_SQL_PAREN_OPERAND,       /* a value, an argument list, a list of columns: complete in itself */
    HP_SQL_PAREN_NO_OPERAND,    /* an expression may stand right behind */
    HP_SQL_PAREN_SETTING,       /* set_config(...): touches unless its third and last argument is true */
    HP_SQL_PAREN_EXPLAIN,       /* the options of EXPLAIN, or an explained statement in parentheses */
    HP_SQL_PAREN_CTE_COLUMNS,   /* WITH name (...): AS */
    HP_SQL_PAREN_CONFLICT,      /* ON CONFLICT (...): DO, or WHERE if no other WHERE can be meant */
    HP_SQL_PAREN_MERGE_COLUMNS, /* THEN INSERT (...): VALUES or OVERRIDING */
} hp_sql_paren;

typedef enum hp_sql_effect {
    HP_SQL_EFFECT_NONE,   /* none that outlives the statement */
    HP_SQL_EFFECT_WRITES, /* none on the session, but the database is written */
    HP_SQL_EFFECT_TOUCHES /* the session may be different */
} hp_sql_effect;

typedef struct hp_sql_opening {
    hp_sql_paren paren;
    bool inert; /* nothing inside is evaluated */
    hp_sql_effect effect;
} hp_sql_opening;

/* The name has ( behind it. */
hp_sql_opening hp_sqlcall_open(const hp_sql_name *name, const hp_sql_place *place);

/* The name has just got a part behind a dot; whether ( follows is not known yet. */
hp_sql_effect hp_sqlcall_attribute(const hp_sql_name *name);

/* For identifier tokens: folded to lower case unless quoted. */
bool hp_sqlcall_is_catalog(const hp_token *token);          /* pg_catalog */
bool hp_sqlcall_is_temporary_schema(const hp_token *token); /* pg_temp, pg_temp_3 */

#endif
