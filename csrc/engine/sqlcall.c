/*
 * sqlcall.c - is a name in an SQL text a function call, and what would it do?
 *
 * A name with ( behind it is a call, unless PostgreSQL's grammar makes that
 * impossible. Three facts decide nearly everything:
 *   - reserved words, and types and constructs with a syntax of their own
 *     (COALESCE, NUMERIC, VALUES ...), never name a function;
 *   - no two operands stand side by side in SQL: a name right behind an operand
 *     (identifier, literal, closing parenthesis) is an alias with a column list,
 *     a type behind a column, or a word of the syntax such as OVER;
 *   - some words are followed by the name of a table, a type or an alias and
 *     never by an expression: INTO, AS, REFERENCES, TABLE, ONLY, ::, ...
 * A parenthesis that an operand may follow directly (DISTINCT ON (...),
 * RETURNING WITH (...), OPERATOR(...)) is marked as no operand itself. Where the
 * grammar tells only from what stands behind the closing parenthesis, the caller
 * checks that (hp_sql_paren).
 *
 * x.name can be a call too, of a function with x as its argument, when x is a
 * scalar. It counts as one if `name` is a built-in function with effects, or x
 * is no name but an expression.
 *
 * A call is harmless if the function is on the generated list of built-in ones
 * that are (sqlscan_functions.h), unqualified or in pg_catalog. nextval and
 * currval leave sequence state in the session that changes no other statement's
 * result but lastval's and currval's own; they are harmless. So is set_config
 * with true as its third argument, which ends with the transaction as SET LOCAL
 * does; the caller sees the arguments (hp_sql_paren).
 */
#include "engine/sqlcall.h"

#include <string.h>

#include "engine/sqlscan_functions.h"

/* ------------------------------------------------------------------ */
/* Names and functions                                                 */
/* ------------------------------------------------------------------ */

/* Compares as the server does: an unquoted name folds to lower case, a quoted one does not. */
static int
compare_name(const hp_token *token, const char *name, size_t len)
{
    const size_t common = token->len < len ? token->len : len;

    for (size_t i = 0; i < common; i++) {
        char c = token->text[i];

        if (token->kind == HP_TOKEN_WORD) {
            c = hp_sqllex_lower(c);
        }
        if (c != name[i]) {
            return (unsigned char)c < (unsigned char)name[i] ? -1 : 1;
        }
    }
    return (token->len > len) - (token->len < len);
}

static bool
is_name(const hp_token *token, const char *name)
{
    return !token->escaped && compare_name(token, name, strlen(name)) == 0;
}

bool
hp_sqlcall_is_catalog(const hp_token *token)
{
    return is_name(token, "pg_catalog");
}

bool
hp_sqlcall_is_temporary_schema(const hp_token *token)
{
    static const char prefix[] = "pg_temp";
    hp_token start = *token;

    if (token->len < sizeof(prefix) - 1) {
        return false;
    }
    start.len = sizeof(prefix) - 1;
    return is_name(&start, prefix);
}

/* Borrowed from the table; NULL where the name is not in it. */
static const struct hp_function *
find_function(const hp_token *token)
{
    size_t low = 0, high = sizeof(hp_functions) / sizeof(hp_functions[0]);

    while (low < high && !token->escaped) {
        const size_t middle = low + (high - low) / 2;
        const struct hp_function *const function = &hp_functions[middle];
        const int order = compare_name(token, hp_function_names + function->at, function->len);

        if (order == 0) {
            return function;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

static void
judge_call(const hp_sql_name *name, hp_sql_opening *opening)
{
    const bool can_be_builtin = !name->headless && (name->parts == 1 || (name->parts == 2 && name->catalog));

    opening->effect = HP_SQL_EFFECT_TOUCHES;
    if (can_be_builtin && is_name(&name->last, "set_config")) {
        opening->paren = HP_SQL_PAREN_SETTING;
        opening->effect = HP_SQL_EFFECT_NONE;
    } else if (can_be_builtin) {
        const struct hp_function *const function = find_function(&name->last);

        if (function != NULL) {
            opening->effect = (hp_sql_effect)function->effect;
        }
    }
}

hp_sql_effect
hp_sqlcall_attribute(const hp_sql_name *name)
{
    const struct hp_function *const function = find_function(&name->last);

    if (name->headless || (function != NULL && function->effect == HP_SQL_EFFECT_TOUCHES)) {
        return HP_SQL_EFFECT_TOUCHES;
    }
    return HP_SQL_EFFECT_NONE;
}

/* ------------------------------------------------------------------ */
/* Is a name with ( behind it a call?                                  */
/* ------------------------------------------------------------------ */

static bool
is_join_type(hp_keyword keyword)
{
    switch (keyword) {
    case HP_KW_INNER:
    case HP_KW_CROSS:
    case HP_KW_LEFT:
    case HP_KW_RIGHT:
    case HP_KW_FULL:
    case HP_KW_OUTER:
    case HP_KW_NATURAL:
        return true;
    default:
        return false;
    }
}

/* Words that only together with the one before them are a piece of syntax. */
static bool
is_syntax_pair(const hp_sql_name *name)
{
    const hp_keyword first = name->before.keyword, before = name->before_that.keyword;

    switch (name->last.keyword) {
    case HP_KW_BY:
        return first == HP_KW_GROUP || first == HP_KW_ORDER || first == HP_KW_PARTITION;
    case HP_KW_SETS:
        return first == HP_KW_GROUPING;
    case HP_KW_ROLLUP:
    case HP_KW_CUBE:
        return first == HP_KW_BY && before == HP_KW_GROUP;
    case HP_KW_KEY:
        return first == HP_KW_PRIMARY || first == HP_KW_FOREIGN;
    case HP_KW_SET:
        return first == HP_KW_UPDATE;
    case HP_KW_JOIN:
        return is_join_type(first);
    case HP_KW_LIKE:
    case HP_KW_ILIKE:
        return first == HP_KW_NOT && name->before_that.operand;
    case HP_KW_MATERIALIZED:
        return first == HP_KW_NOT && before == HP_KW_AS;
    case HP_KW_ZONE:
        return first == HP_KW_TIME;
    case HP_KW_FIRST:
    case HP_KW_NEXT:
        return first == HP_KW_FETCH;
    case HP_KW_VARYING:
        return first == HP_KW_CHARACTER || first == HP_KW_CHAR || first == HP_KW_BIT || first == HP_KW_NCHAR;
    default:
        return false;
    }
}

/* Behind these stands the name of a table, a type or an alias. */
static bool
follows_naming_word(const hp_sql_name *name)
{
    if (name->before.kind == HP_TOKEN_CAST) {
        return true;
    }
    switch (name->before.keyword) {
    case HP_KW_AS:
    case HP_KW_INTO:
    case HP_KW_ONLY:
    case HP_KW_TABLE:
    case HP_KW_EXISTS: /* IF NOT EXISTS; a subquery's EXISTS has its parenthesis first */
    case HP_KW_REFERENCES:
        return true;
    case HP_KW_ORDINALITY:
        return name->before_that.keyword == HP_KW_WITH;
    case HP_KW_USING:
        return name->before_that.keyword == HP_KW_EXCLUDE;
    default:
        return false;
    }
}

/* The places where DDL and COPY name a table or an access method in front of a list of columns. */
static bool
names_object_of_statement(const hp_sql_name *name, const hp_sql_place *place)
{
    const hp_keyword before = name->before.keyword;

    if (place->verb == HP_KW_ALTER) {
        return before == HP_KW_TYPE;
    }
    if (place->depth > 0) {
        return false;
    }
    if (place->verb == HP_KW_COPY) {
        return before == HP_KW_COPY;
    }
    if (place->verb != HP_KW_CREATE) {
        return false;
    }
    switch (place->object) {
    case HP_KW_INDEX:
        return before == HP_KW_ON || before == HP_KW_USING;
    case HP_KW_MATERIALIZED:
        return before == HP_KW_VIEW;
    default:
        return before == HP_KW_BY && name->before_that.keyword == HP_KW_PARTITION;
    }
}

static bool
names_cte(const hp_sql_name *name, const hp_sql_place *place)
{
    if (!place->in_with || name->parts != 1) {
        return false;
    }
    return name->before.keyword == HP_KW_WITH || name->before.kind == HP_TOKEN_COMMA ||
           (name->before.keyword == HP_KW_RECURSIVE && name->before_that.keyword == HP_KW_WITH);
}

/* A single unquoted word in front of (. Returns false where it is to be judged as any other name. */
static bool
opens_syntax(const hp_sql_name *name, const hp_sql_place *place, hp_sql_opening *opening)
{
    const hp_keyword word = name->last.keyword, before = name->before.keyword;

    if (name->parts != 1 || name->headless || word == HP_KW_NO_KEYWORD) {
        return false;
    }
    if (word == HP_KW_ON || (word == HP_KW_OPERATOR && name->before.operand)) {
        opening->paren = HP_SQL_PAREN_NO_OPERAND;
        return true;
    }
    if (word == HP_KW_WITH) {
        opening->paren = HP_SQL_PAREN_NO_OPERAND;
        opening->inert = true;
        return true;
    }
    if (word == HP_KW_CONFLICT && before == HP_KW_ON) {
        opening->paren = HP_SQL_PAREN_CONFLICT;
        return true;
    }
    if (word == HP_KW_INSERT && before == HP_KW_THEN) {
        opening->paren = HP_SQL_PAREN_MERGE_COLUMNS;
        return true;
    }
    if ((word == HP_KW_STDIN || word == HP_KW_STDOUT) && place->verb == HP_KW_COPY && place->depth == 0) {
        opening->inert = true;
        return true;
    }
    if (word == HP_KW_COPY && name->before.kind == HP_TOKEN_SEMICOLON) {
        return true; /* the first word of COPY (SELECT ...) */
    }
    if (word == HP_KW_SET && name->before.kind == HP_TOKEN_COMMA && place->depth == 0) {
        return place->verb == HP_KW_ALTER; /* one of several things to ALTER */
    }
    return hp_sqllex_never_called(word) || is_syntax_pair(name);
}

hp_sql_opening
hp_sqlcall_open(const hp_sql_name *name, const hp_sql_place *place)
{
    hp_sql_opening opening = {.paren = HP_SQL_PAREN_OPERAND};

    if (opens_syntax(name, place, &opening)) {
        return opening;
    }
    if (names_cte(name, place)) {
        opening.paren = HP_SQL_PAREN_CTE_COLUMNS;
        return opening;
    }
    if (!name->before.operand && !follows_naming_word(name) && !names_object_of_statement(name, place)) {
        judge_call(name, &opening);
    }
    return opening;
}
