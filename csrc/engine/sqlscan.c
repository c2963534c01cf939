/*
 * sqlscan.c - what an SQL text may do, judged from its tokens.
 *
 * One pass over the tokens of sqllex.c, a few words of state, no tree. The
 * question that costs thought is `touches`: may the session be different once
 * the statement is done, so that the next user of the connection would notice?
 *
 * A statement touches if
 *   - its first word is not on the list `verbs` below as one that does not, or
 *   - it makes a temporary table, or names pg_temp, or
 *   - it calls a function that is not on the generated list of harmless
 *     built-in ones (sqlscan_functions.h), or
 *   - it cannot be read.
 *
 * What is a call? A name with ( behind it, unless PostgreSQL's grammar makes
 * that impossible. Three facts decide nearly everything:
 *   - reserved words, and types and constructs with a syntax of their own
 *     (COALESCE, NUMERIC, VALUES ...), never name a function;
 *   - no two operands stand side by side in SQL: a name right behind an operand
 *     (identifier, literal, closing parenthesis) is an alias with a column list,
 *     a type behind a column, or a word of the syntax such as OVER;
 *   - some words are followed by the name of a table, a type or an alias and
 *     never by an expression: INTO, AS, REFERENCES, TABLE, ONLY, ::, ...
 * A parenthesis that an operand may follow directly (DISTINCT ON (...),
 * RETURNING WITH (...), OPERATOR(...)) is marked as no operand itself. Where the
 * grammar tells only from what stands behind the closing parenthesis, that is
 * checked (enum level_kind). All else is a call.
 *
 * x.name can be a call too, of a function with x as its argument, when x is a
 * scalar. So it touches if `name` is a built-in function with effects, or x is
 * an expression in parentheses.
 *
 * What the text cannot tell, and the documentation must: functions hidden
 * behind triggers, rules, views, policies, operators, casts, column defaults and
 * domains; a user's function written as a column of its argument (t.name for
 * name(t)); a user's overload of a built-in name, or one found first by a
 * changed search_path.
 * nextval and currval leave sequence state in the session that changes no
 * other statement's result but lastval's and currval's own; they do not touch.
 *
 * Cost: linear; each word is looked up by binary search. Nesting deeper than
 * MAX_LEVELS makes the text count as touching and is otherwise only counted.
 */
#include "engine/sqlscan.h"

#include <stdint.h>
#include <string.h>

#include "engine/sqllex.h"
#include "engine/sqlscan_functions.h"

enum { MAX_LEVELS = 128 };

/* ------------------------------------------------------------------ */
/* What the first word of a statement says                             */
/* ------------------------------------------------------------------ */

enum verb_flags {
    TOUCHES = 1,
    PREPARES = 2,
    CONTROLS = 4, /* transactions */
    LOCKS = 8,    /* the session, as long as it lasts */
    ROWS = 16,
    INERT = 32, /* evaluates no expression of the text: names in it are no calls */
    UNKNOWN = TOUCHES | PREPARES | CONTROLS | LOCKS
};

typedef struct verb {
    hp_keyword keyword;
    hp_sql_kind kind;
    unsigned flags;
} verb;

static const verb verbs[] = {
    {HP_KW_SELECT, HP_SQL_READ, ROWS},
    {HP_KW_WITH, HP_SQL_READ, ROWS},
    {HP_KW_INSERT, HP_SQL_WRITE, 0},
    {HP_KW_UPDATE, HP_SQL_WRITE, 0},
    {HP_KW_DELETE, HP_SQL_WRITE, 0},
    {HP_KW_MERGE, HP_SQL_WRITE, 0},
    {HP_KW_VALUES, HP_SQL_READ, ROWS},
    {HP_KW_TABLE, HP_SQL_READ, ROWS},
    {HP_KW_SHOW, HP_SQL_READ, ROWS | INERT},

    {HP_KW_BEGIN, HP_SQL_TRANSACTION, CONTROLS | INERT},
    {HP_KW_START, HP_SQL_TRANSACTION, CONTROLS | INERT},
    {HP_KW_COMMIT, HP_SQL_TRANSACTION, CONTROLS | INERT},
    {HP_KW_END, HP_SQL_TRANSACTION, CONTROLS | INERT},
    {HP_KW_ROLLBACK, HP_SQL_TRANSACTION, CONTROLS | INERT},
    {HP_KW_ABORT, HP_SQL_TRANSACTION, CONTROLS | INERT},
    {HP_KW_SAVEPOINT, HP_SQL_TRANSACTION, CONTROLS | INERT},
    {HP_KW_RELEASE, HP_SQL_TRANSACTION, CONTROLS | INERT},

    {HP_KW_COPY, HP_SQL_COPY, LOCKS},

    /* SET and PREPARE have harmless forms: see confirm_harmless(). */
    {HP_KW_SET, HP_SQL_OTHER, TOUCHES | INERT},
    {HP_KW_RESET, HP_SQL_OTHER, TOUCHES | INERT},
    {HP_KW_DISCARD, HP_SQL_OTHER, TOUCHES | PREPARES | INERT},
    {HP_KW_LOAD, HP_SQL_OTHER, TOUCHES | INERT},
    {HP_KW_LISTEN, HP_SQL_OTHER, TOUCHES | LOCKS | INERT},
    {HP_KW_UNLISTEN, HP_SQL_OTHER, TOUCHES | LOCKS | INERT},
    {HP_KW_DECLARE, HP_SQL_OTHER, TOUCHES | LOCKS},
    {HP_KW_FETCH, HP_SQL_OTHER, TOUCHES | LOCKS | ROWS},
    {HP_KW_MOVE, HP_SQL_OTHER, TOUCHES | LOCKS},
    {HP_KW_CLOSE, HP_SQL_OTHER, TOUCHES | LOCKS},
    {HP_KW_PREPARE, HP_SQL_OTHER, TOUCHES | PREPARES},
    {HP_KW_EXECUTE, HP_SQL_OTHER, TOUCHES | PREPARES | ROWS},
    {HP_KW_DEALLOCATE, HP_SQL_OTHER, TOUCHES | PREPARES},
    {HP_KW_DO, HP_SQL_OTHER, TOUCHES | PREPARES},
    {HP_KW_CALL, HP_SQL_OTHER, TOUCHES | PREPARES | ROWS},

    {HP_KW_CREATE, HP_SQL_OTHER, 0},
    {HP_KW_ALTER, HP_SQL_OTHER, 0},
    {HP_KW_DROP, HP_SQL_OTHER, INERT},
    {HP_KW_TRUNCATE, HP_SQL_OTHER, INERT},
    {HP_KW_COMMENT, HP_SQL_OTHER, INERT},
    {HP_KW_SECURITY, HP_SQL_OTHER, INERT},
    {HP_KW_GRANT, HP_SQL_OTHER, INERT},
    {HP_KW_REVOKE, HP_SQL_OTHER, INERT},
    {HP_KW_REASSIGN, HP_SQL_OTHER, INERT},
    {HP_KW_IMPORT, HP_SQL_OTHER, INERT},
    {HP_KW_VACUUM, HP_SQL_OTHER, INERT},
    {HP_KW_ANALYZE, HP_SQL_OTHER, INERT},
    {HP_KW_ANALYSE, HP_SQL_OTHER, INERT},
    {HP_KW_CLUSTER, HP_SQL_OTHER, INERT},
    {HP_KW_REINDEX, HP_SQL_OTHER, INERT},
    {HP_KW_REFRESH, HP_SQL_OTHER, INERT},
    {HP_KW_CHECKPOINT, HP_SQL_OTHER, INERT},
    {HP_KW_LOCK, HP_SQL_OTHER, INERT},
    {HP_KW_NOTIFY, HP_SQL_OTHER, INERT},
};

static const verb unknown_verb = {HP_KW_NO_KEYWORD, HP_SQL_OTHER, UNKNOWN};

/* ------------------------------------------------------------------ */
/* State                                                               */
/* ------------------------------------------------------------------ */

/* What an opening parenthesis opened. The last ones must be followed by a certain word. */
typedef enum level_kind {
    LEVEL_OPERAND,       /* a value, an argument list, a list of columns: complete in itself */
    LEVEL_NO_OPERAND,    /* an expression may stand right behind */
    LEVEL_EXPLAIN,       /* the options of EXPLAIN, or an explained statement in parentheses */
    LEVEL_CTE_COLUMNS,   /* WITH name (...): AS */
    LEVEL_CONFLICT,      /* ON CONFLICT (...): DO, or WHERE if no other WHERE can be meant */
    LEVEL_MERGE_COLUMNS, /* THEN INSERT (...): VALUES or OVERRIDING */
} level_kind;

typedef struct level {
    level_kind kind;
    bool inert;   /* nothing inside is evaluated */
    bool in_with; /* between WITH and the main verb of the query at this level */
} level;

/* A token, or a dotted name as one, as the tokens behind it look back on it. */
typedef struct mark {
    hp_token_kind kind;
    hp_keyword keyword; /* of a single unquoted word */
    bool operand;       /* no expression can start right behind it */
} mark;

/* name.name.name, as far as it has been read */
typedef struct chain {
    unsigned parts;
    bool catalog;  /* the first of them is pg_catalog */
    bool headless; /* what stands before its first dot is no name */
    hp_token last;
    mark before; /* the mark in front of it */
    mark before_that;
} chain;

typedef struct statement {
    const verb *verb; /* NULL before the first word */
    unsigned flags;
    unsigned words;    /* tokens since the verb, up to a few */
    hp_keyword second; /* the word behind the verb */
    hp_keyword object; /* CREATE and ALTER: of what */
    bool explain, explain_runs;
    bool has_with, has_from;
    bool writes;   /* a data-modifying WITH query, a row lock, a function that writes */
    bool modifies; /* WITH ... INSERT, UPDATE, DELETE, MERGE */
    bool into;     /* SELECT ... INTO */
    bool returning;
} statement;

typedef struct scanner {
    hp_lexer lexer;
    hp_sql_info *info;
    statement now;
    size_t statements;
    size_t depth;
    level levels[MAX_LEVELS]; /* [0] is the statement itself; valid up to min(depth, MAX_LEVELS - 1) */
    level_kind expectation;   /* of the parenthesis that has just been closed */
    mark last, last_but_one;
    bool after_dot;
    chain name;
} scanner;

static level *
level_now(scanner *s)
{
    return &s->levels[s->depth < MAX_LEVELS ? s->depth : MAX_LEVELS - 1];
}

static void
touch(scanner *s)
{
    s->info->touches = true;
}

/* ------------------------------------------------------------------ */
/* Names                                                               */
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

/* pg_temp and pg_temp_3: creating something there needs no TEMPORARY. */
static bool
is_temporary_schema(const hp_token *token)
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
        const int order = compare_name(token, hp_functions[middle].name, hp_functions[middle].len);

        if (order == 0) {
            return &hp_functions[middle];
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
judge_call(scanner *s, const chain *name)
{
    const struct hp_function *function = NULL;

    if (!name->headless && (name->parts == 1 || (name->parts == 2 && name->catalog))) {
        function = find_function(&name->last);
    }
    if (function == NULL || function->effect == HP_FUNCTION_TOUCHES) {
        touch(s);
    } else if (function->effect == HP_FUNCTION_WRITES) {
        s->now.writes = true;
    }
}

/* x.name without parentheses may be name(x): see the top of the file. */
static void
judge_attribute(scanner *s, const chain *name)
{
    const struct hp_function *function = find_function(&name->last);

    if (name->headless || (function != NULL && function->effect == HP_FUNCTION_TOUCHES)) {
        touch(s);
    }
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
is_syntax_pair(const chain *name)
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
follows_naming_word(const chain *name)
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
names_object_of_statement(const scanner *s, const chain *name)
{
    const hp_keyword before = name->before.keyword;

    if (s->now.verb->keyword == HP_KW_ALTER) {
        return before == HP_KW_TYPE;
    }
    if (s->depth > 0) {
        return false;
    }
    if (s->now.verb->keyword == HP_KW_COPY) {
        return before == HP_KW_COPY;
    }
    if (s->now.verb->keyword != HP_KW_CREATE) {
        return false;
    }
    switch (s->now.object) {
    case HP_KW_INDEX:
        return before == HP_KW_ON || before == HP_KW_USING;
    case HP_KW_MATERIALIZED:
        return before == HP_KW_VIEW;
    default:
        return before == HP_KW_BY && name->before_that.keyword == HP_KW_PARTITION;
    }
}

static bool
names_cte(scanner *s, const chain *name)
{
    if (!level_now(s)->in_with || name->parts != 1) {
        return false;
    }
    return name->before.keyword == HP_KW_WITH || name->before.kind == HP_TOKEN_COMMA ||
           (name->before.keyword == HP_KW_RECURSIVE && name->before_that.keyword == HP_KW_WITH);
}

/* A single unquoted word in front of (. Returns false where it is to be judged as any other name. */
static bool
opens_syntax(scanner *s, level *opened)
{
    const chain *const name = &s->name;
    const hp_keyword word = name->last.keyword, before = name->before.keyword;

    if (name->parts != 1 || name->headless || word == HP_KW_NO_KEYWORD) {
        return false;
    }
    if (word == HP_KW_ON || (word == HP_KW_OPERATOR && name->before.operand)) {
        opened->kind = LEVEL_NO_OPERAND;
        return true;
    }
    if (word == HP_KW_WITH) {
        opened->kind = LEVEL_NO_OPERAND;
        opened->inert = true;
        return true;
    }
    if (word == HP_KW_CONFLICT && before == HP_KW_ON) {
        opened->kind = LEVEL_CONFLICT;
        return true;
    }
    if (word == HP_KW_INSERT && before == HP_KW_THEN) {
        opened->kind = LEVEL_MERGE_COLUMNS;
        return true;
    }
    if ((word == HP_KW_STDIN || word == HP_KW_STDOUT) && s->now.verb->keyword == HP_KW_COPY && s->depth == 0) {
        opened->inert = true;
        return true;
    }
    if (word == HP_KW_COPY && name->before.kind == HP_TOKEN_SEMICOLON) {
        return true; /* the first word of COPY (SELECT ...) */
    }
    if (word == HP_KW_SET && name->before.kind == HP_TOKEN_COMMA && s->depth == 0) {
        return s->now.verb->keyword == HP_KW_ALTER; /* one of several things to ALTER */
    }
    return hp_sqllex_never_called(word) || is_syntax_pair(name);
}

/* The text has NAME ( : what does the parenthesis open? */
static void
open_behind_name(scanner *s, level *opened)
{
    const chain *const name = &s->name;

    if (opens_syntax(s, opened)) {
        return;
    }
    if (names_cte(s, name)) {
        opened->kind = LEVEL_CTE_COLUMNS;
        return;
    }
    if (name->before.operand || follows_naming_word(name) || names_object_of_statement(s, name)) {
        return;
    }
    judge_call(s, name);
}

/* ------------------------------------------------------------------ */
/* Statements                                                          */
/* ------------------------------------------------------------------ */

static const verb *
find_verb(hp_keyword keyword)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (verbs[i].keyword == keyword) {
            return &verbs[i];
        }
    }
    return &unknown_verb;
}

static void
begin_statement(scanner *s, const verb *first)
{
    s->now.verb = first;
    s->now.flags = first->flags;
    if (first->flags & INERT) {
        level_now(s)->inert = true;
    }
    if (first->keyword == HP_KW_WITH) {
        s->now.has_with = true;
        level_now(s)->in_with = true;
    }
}

static hp_sql_kind
kind_of(const statement *st)
{
    if (st->explain && !st->explain_runs) {
        return HP_SQL_READ;
    }
    if (st->verb->kind == HP_SQL_OTHER && st->verb->keyword == HP_KW_PREPARE && !(st->flags & TOUCHES)) {
        return HP_SQL_TRANSACTION;
    }
    if (st->verb->kind == HP_SQL_READ && st->into) {
        return HP_SQL_OTHER;
    }
    if (st->verb->kind == HP_SQL_READ && (st->writes || st->modifies)) {
        return HP_SQL_WRITE;
    }
    return st->verb->kind;
}

static bool
returns_rows(const statement *st)
{
    if (st->explain) {
        return true;
    }
    if (st->verb->kind == HP_SQL_WRITE || st->modifies) {
        return st->returning;
    }
    return (st->flags & ROWS) && !st->into;
}

static void
end_statement(scanner *s)
{
    statement *const st = &s->now;
    hp_sql_info *const info = s->info;

    if (st->explain && st->verb == NULL) {
        begin_statement(s, &unknown_verb);
    }
    if (s->expectation != LEVEL_OPERAND || s->depth > 0) {
        touch(s); /* the text ends, or a semicolon comes, inside something */
    }
    if (st->verb != NULL) {
        info->touches = info->touches || (st->flags & TOUCHES);
        info->prepares = info->prepares || (st->flags & PREPARES);
        info->controls_tx = info->controls_tx || (st->flags & CONTROLS);
        info->locks_session = info->locks_session || (st->flags & LOCKS);
        if (s->statements == 0) {
            info->kind = kind_of(st);
            info->returns_rows = returns_rows(st);
        } else {
            info->several = true;
        }
        s->statements++;
    }
    *st = (statement){.verb = NULL};
    s->depth = 0;
    s->levels[0] = (level){.kind = LEVEL_OPERAND};
    s->expectation = LEVEL_OPERAND;
    s->last = s->last_but_one = (mark){.kind = HP_TOKEN_SEMICOLON};
    s->after_dot = false;
}

/*
 * SET LOCAL, SET TRANSACTION and SET CONSTRAINTS end with the transaction, and
 * PREPARE TRANSACTION prepares no statement. All four can also be something
 * else (SET local.x = 1, PREPARE transaction AS ...); the third word decides.
 */
static void
confirm_harmless(statement *st, const hp_token *third)
{
    const bool is_word = third->kind == HP_TOKEN_QUOTED || (third->kind == HP_TOKEN_WORD && third->keyword != HP_KW_TO);

    if (st->verb->keyword == HP_KW_SET && is_word &&
        (st->second == HP_KW_LOCAL || st->second == HP_KW_TRANSACTION || st->second == HP_KW_CONSTRAINTS)) {
        st->flags &= ~(unsigned)TOUCHES;
    }
    if (st->verb->keyword == HP_KW_PREPARE && st->second == HP_KW_TRANSACTION && third->kind == HP_TOKEN_LITERAL) {
        st->flags = CONTROLS;
    }
}

/* The kinds of object whose definition is stored and not run. */
static bool
is_stored_definition(hp_keyword object)
{
    switch (object) {
    case HP_KW_FUNCTION:
    case HP_KW_PROCEDURE:
    case HP_KW_ROUTINE:
    case HP_KW_AGGREGATE:
    case HP_KW_OPERATOR:
    case HP_KW_TRIGGER:
    case HP_KW_RULE:
    case HP_KW_POLICY:
    case HP_KW_CAST:
    case HP_KW_VIEW:
        return true;
    default:
        return false;
    }
}

/* A word at the top level of CREATE or ALTER: the first that is none of the decorations names the object. */
static void
read_ddl_word(scanner *s, hp_keyword word, mark before)
{
    statement *const st = &s->now;
    const bool creates = st->verb->keyword == HP_KW_CREATE;

    if (creates && (word == HP_KW_TEMP || word == HP_KW_TEMPORARY)) {
        touch(s);
    }
    if (creates && word == HP_KW_EXECUTE && before.keyword == HP_KW_AS) {
        touch(s); /* CREATE TABLE ... AS EXECUTE */
    }
    if (st->object != HP_KW_NO_KEYWORD) {
        return;
    }
    switch (word) {
    case HP_KW_OR:
    case HP_KW_REPLACE:
    case HP_KW_GLOBAL:
    case HP_KW_LOCAL:
    case HP_KW_TEMP:
    case HP_KW_TEMPORARY:
    case HP_KW_UNLOGGED:
    case HP_KW_UNIQUE:
    case HP_KW_RECURSIVE:
    case HP_KW_CONSTRAINT:
    case HP_KW_EVENT:
        return;
    case HP_KW_EXTENSION:
        touch(s); /* runs a script */
        break;
    default:
        level_now(s)->inert = is_stored_definition(word);
        break;
    }
    st->object = word;
}

/* A verb behind the first: the one that WITH leads to, or one inside WITH. */
static void
read_inner_verb(scanner *s, hp_keyword word)
{
    const bool is_main = level_now(s)->in_with;

    level_now(s)->in_with = false;
    if (!s->now.has_with || word == HP_KW_SELECT || word == HP_KW_VALUES || word == HP_KW_TABLE) {
        return;
    }
    if (is_main && s->depth == 0) {
        s->now.modifies = true;
    } else {
        s->now.writes = true;
    }
}

/* A word, not part of a dotted name, behind the verb. `before` is the mark in front of it. */
static void
read_word(scanner *s, hp_keyword word, mark before)
{
    statement *const st = &s->now;

    if (s->depth == 0 && (st->verb->keyword == HP_KW_CREATE || st->verb->keyword == HP_KW_ALTER)) {
        read_ddl_word(s, word, before);
    }
    if (before.keyword == HP_KW_AS && word != HP_KW_SELECT && word != HP_KW_VALUES && word != HP_KW_TABLE) {
        return; /* any word may be an alias there */
    }
    switch (word) {
    case HP_KW_SELECT:
    case HP_KW_VALUES:
    case HP_KW_TABLE:
    case HP_KW_INSERT:
    case HP_KW_UPDATE:
    case HP_KW_DELETE:
    case HP_KW_MERGE:
        read_inner_verb(s, word);
        break;
    case HP_KW_WITH:
        if (before.kind == HP_TOKEN_OPEN) {
            st->has_with = true;
            level_now(s)->in_with = true;
        }
        break;
    case HP_KW_FROM:
        st->has_from = true;
        break;
    case HP_KW_INTO:
        st->into = st->into || (before.keyword != HP_KW_INSERT && before.keyword != HP_KW_MERGE);
        break;
    case HP_KW_TEMP:
    case HP_KW_TEMPORARY:
        if (before.keyword == HP_KW_INTO || before.keyword == HP_KW_LOCAL || before.keyword == HP_KW_GLOBAL) {
            touch(s);
        }
        break;
    case HP_KW_RETURNING:
        st->returning = st->returning || s->depth == 0;
        break;
    default:
        break;
    }
    if (before.keyword == HP_KW_FOR &&
        (word == HP_KW_UPDATE || word == HP_KW_SHARE || word == HP_KW_NO || word == HP_KW_KEY)) {
        st->writes = true;
    }
}

/* ------------------------------------------------------------------ */
/* Tokens                                                              */
/* ------------------------------------------------------------------ */

/* The statement has not begun yet. Returns true if the token is dealt with. */
static bool
read_start(scanner *s, const hp_token *token)
{
    statement *const st = &s->now;
    level *const here = level_now(s);

    if (here->kind == LEVEL_EXPLAIN) {
        const bool first = s->last.kind == HP_TOKEN_OPEN && s->last_but_one.keyword == HP_KW_EXPLAIN;

        if (first &&
            (token->keyword == HP_KW_SELECT || token->keyword == HP_KW_WITH || token->keyword == HP_KW_VALUES ||
             token->keyword == HP_KW_TABLE || token->kind == HP_TOKEN_OPEN)) {
            *here = (level){.kind = LEVEL_OPERAND};
        } else {
            st->explain_runs = st->explain_runs || token->keyword == HP_KW_ANALYZE || token->keyword == HP_KW_ANALYSE ||
                               token->kind == HP_TOKEN_QUOTED;
            return true;
        }
    }
    if (token->kind == HP_TOKEN_OPEN || token->kind == HP_TOKEN_CLOSE) {
        return false;
    }
    if (st->explain && (token->keyword == HP_KW_ANALYZE || token->keyword == HP_KW_ANALYSE)) {
        st->explain_runs = true;
        return true;
    }
    if (st->explain && token->keyword == HP_KW_VERBOSE) {
        return true;
    }
    if (token->keyword == HP_KW_EXPLAIN && !st->explain && s->depth == 0) {
        st->explain = true;
        return true;
    }
    begin_statement(s, token->kind == HP_TOKEN_WORD ? find_verb(token->keyword) : &unknown_verb);
    return true;
}

/* The token behind a parenthesis that is what it seems only if a certain word follows. */
static void
check_expectation(scanner *s, const hp_token *token)
{
    const hp_keyword word = token->keyword;
    bool met = true;

    switch (s->expectation) {
    case LEVEL_CTE_COLUMNS:
        met = word == HP_KW_AS;
        break;
    case LEVEL_CONFLICT:
        met = word == HP_KW_DO || (word == HP_KW_WHERE && !s->now.has_from);
        break;
    case LEVEL_MERGE_COLUMNS:
        met = word == HP_KW_VALUES || word == HP_KW_OVERRIDING;
        break;
    default:
        break;
    }
    if (!met) {
        touch(s);
    }
    s->expectation = LEVEL_OPERAND;
}

static void
push_mark(scanner *s, mark next)
{
    s->last_but_one = s->last;
    s->last = next;
}

/* An identifier or keyword: starts a dotted name, or continues one behind a dot. */
static void
read_name(scanner *s, const hp_token *token)
{
    chain *const name = &s->name;
    const hp_keyword word = s->after_dot ? HP_KW_NO_KEYWORD : token->keyword;

    if (token->escaped || is_temporary_schema(token)) {
        touch(s); /* an escaped name may be any name */
    }
    if (s->after_dot) {
        name->parts++;
        name->last = *token;
        name->last.keyword = HP_KW_NO_KEYWORD;
        s->last = (mark){.kind = token->kind, .operand = true};
        if (!level_now(s)->inert) {
            judge_attribute(s, name);
        }
    } else {
        *name = (chain){.parts = 1,
                        .catalog = is_name(token, "pg_catalog"),
                        .last = *token,
                        .before = s->last,
                        .before_that = s->last_but_one};
        push_mark(s, (mark){.kind = token->kind, .keyword = word, .operand = word == HP_KW_NO_KEYWORD});
    }
    s->after_dot = false;
}

static void
read_dot(scanner *s)
{
    const bool continues = s->last.kind == HP_TOKEN_WORD || s->last.kind == HP_TOKEN_QUOTED;

    if (!continues) {
        s->name = (chain){.headless = true, .before = s->last, .before_that = s->last_but_one};
        push_mark(s, (mark){.kind = HP_TOKEN_DOT});
    }
    s->after_dot = true;
}

static void
read_open(scanner *s)
{
    level opened = {.kind = LEVEL_OPERAND, .inert = level_now(s)->inert};
    const bool behind_name = s->last.kind == HP_TOKEN_WORD || s->last.kind == HP_TOKEN_QUOTED;

    if (s->last.kind == HP_TOKEN_CLOSE) {
        level_now(s)->in_with = false; /* WITH ... AS (...) (SELECT ...): the main query */
    }
    if (s->now.verb == NULL) {
        if (s->last.keyword == HP_KW_EXPLAIN) {
            opened.kind = LEVEL_EXPLAIN;
        }
    } else if (behind_name && !opened.inert) {
        open_behind_name(s, &opened);
    }
    push_mark(s, (mark){.kind = HP_TOKEN_OPEN});
    s->depth++;
    if (s->depth < MAX_LEVELS) {
        s->levels[s->depth] = opened;
    } else {
        touch(s);
    }
}

static void
read_close(scanner *s)
{
    const level_kind closed = level_now(s)->kind;

    if (s->depth == 0) {
        touch(s); /* the server will refuse the text */
        return;
    }
    if (s->depth < MAX_LEVELS && closed != LEVEL_EXPLAIN && closed != LEVEL_NO_OPERAND) {
        s->expectation = closed;
    }
    s->depth--;
    push_mark(s, (mark){.kind = HP_TOKEN_CLOSE, .operand = closed != LEVEL_NO_OPERAND});
}

/* Behind the verb: what the second and third tokens add to it. */
static void
read_early_token(scanner *s, const hp_token *token)
{
    statement *const st = &s->now;

    st->words++;
    if (st->words == 1) {
        st->second = token->keyword;
    } else if (st->words == 2) {
        confirm_harmless(st, token);
    }
}

static void
read_token(scanner *s, const hp_token *token)
{
    check_expectation(s, token);
    if (token->kind == HP_TOKEN_BROKEN) {
        touch(s);
    }
    if (token->kind == HP_TOKEN_SEMICOLON) {
        end_statement(s);
        return;
    }

    const bool is_name = token->kind == HP_TOKEN_WORD || token->kind == HP_TOKEN_QUOTED;
    const bool dotted = s->after_dot;
    const mark before = s->last;
    const bool starts = s->now.verb == NULL && read_start(s, token);

    if (!starts && s->now.verb != NULL && s->now.words < 2) {
        read_early_token(s, token);
    }
    switch (token->kind) {
    case HP_TOKEN_WORD:
    case HP_TOKEN_QUOTED:
        read_name(s, token);
        break;
    case HP_TOKEN_DOT:
        read_dot(s);
        return;
    case HP_TOKEN_OPEN:
        read_open(s);
        break;
    case HP_TOKEN_CLOSE:
        read_close(s);
        break;
    default:
        push_mark(s, (mark){.kind = token->kind,
                            .operand = token->kind == HP_TOKEN_LITERAL || token->kind == HP_TOKEN_BRACKET_CLOSE});
        break;
    }
    if (is_name && !starts && !dotted && token->kind == HP_TOKEN_WORD) {
        read_word(s, token->keyword, before);
    }
    s->after_dot = false;
}

void
hp_sqlscan(const char *sql, size_t len, bool standard_strings, hp_sql_info *info)
{
    scanner s;
    hp_token token;

    *info = (hp_sql_info){.kind = HP_SQL_EMPTY};
    memset(&s, 0, sizeof(s));
    s.lexer = (hp_lexer){.next = sql, .end = sql + len, .standard_strings = standard_strings};
    s.info = info;
    s.last = s.last_but_one = (mark){.kind = HP_TOKEN_SEMICOLON};
    do {
        hp_sqllex_next(&s.lexer, &token);
        if (token.kind == HP_TOKEN_END) {
            break;
        }
        read_token(&s, &token);
    } while (true);
    end_statement(&s);
}
