/*
 * sqlscan.c - what an SQL text may do, judged from its tokens.
 *
 * One pass over the tokens of sqllex.c, a few words of state, no tree. The
 * question that costs thought is `touches`: may the session be different once
 * the statement is done, so that the next user of the connection would notice?
 *
 * A statement touches if
 *   - its first word is not on the list of sqlverb.c as one that does not, or
 *   - it makes a temporary table, or names pg_temp, or
 *   - it calls a function that is not known to be harmless (sqlcall.c), or
 *   - it cannot be read.
 *
 * What the text cannot tell, and the documentation must: functions hidden
 * behind triggers, rules, views, policies, operators, casts, column defaults and
 * domains; a user's function written as a column of its argument (t.name for
 * name(t)); a user's overload of a built-in name, or one found first by a
 * changed search_path.
 *
 * Cost: linear; each word is looked up by binary search. Nesting deeper than
 * MAX_LEVELS makes the text count as touching and is otherwise only counted.
 */
#include "engine/sqlscan.h"

#include <string.h>

#include "engine/sqlcall.h"
#include "engine/sqllex.h"
#include "engine/sqlverb.h"

enum { MAX_LEVELS = 128 };

/* ------------------------------------------------------------------ */
/* State                                                               */
/* ------------------------------------------------------------------ */

typedef struct level {
    hp_sql_paren paren;
    bool inert;      /* nothing inside is evaluated */
    bool in_with;    /* between WITH and the main verb of the query at this level */
    size_t brackets; /* [ that are open */
    size_t commas;   /* outside of them */
} level;

typedef struct statement {
    const hp_sqlverb *verb; /* NULL before the first word */
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
    hp_sql_paren expectation; /* of the parenthesis that has just been closed */
    hp_sql_mark last, last_but_one;
    bool after_dot;
    hp_sql_name name;
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
/* Statements                                                          */
/* ------------------------------------------------------------------ */

static void
begin_statement(scanner *s, const hp_sqlverb *first)
{
    s->now.verb = first;
    s->now.flags = first->flags;
    if (first->flags & HP_VERB_INERT) {
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
    if (st->verb->kind == HP_SQL_OTHER && st->verb->keyword == HP_KW_PREPARE && !(st->flags & HP_VERB_TOUCHES)) {
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
    return (st->flags & HP_VERB_ROWS) && !st->into;
}

/* DECLARE takes what only reads, row locks and functions that write included, but
 * not what WITH changes. Which of the two `writes` with WITH is cannot be told. */
static bool
is_declarable(const statement *st)
{
    return !st->explain && (st->flags & HP_VERB_ROWS) && !(st->flags & HP_VERB_INERT) &&
           st->verb->kind == HP_SQL_READ && !st->into && !st->modifies && !(st->has_with && st->writes);
}

static void
end_statement(scanner *s)
{
    statement *const st = &s->now;
    hp_sql_info *const info = s->info;

    if (st->explain && st->verb == NULL) {
        begin_statement(s, hp_sqlverb_unknown());
    }
    if (s->expectation != HP_SQL_PAREN_OPERAND || s->depth > 0) {
        touch(s); /* the text ends, or a semicolon comes, inside something */
    }
    if (st->verb != NULL) {
        info->touches = info->touches || (st->flags & HP_VERB_TOUCHES);
        info->prepares = info->prepares || (st->flags & HP_VERB_PREPARES);
        info->controls_tx = info->controls_tx || (st->flags & HP_VERB_CONTROLS);
        info->locks_session = info->locks_session || (st->flags & HP_VERB_LOCKS);
        if (s->statements == 0) {
            info->kind = kind_of(st);
            info->returns_rows = returns_rows(st);
            info->declarable = is_declarable(st);
        } else {
            info->several = true;
        }
        s->statements++;
    }
    *st = (statement){.verb = NULL};
    s->depth = 0;
    s->levels[0] = (level){.paren = HP_SQL_PAREN_OPERAND};
    s->expectation = HP_SQL_PAREN_OPERAND;
    s->last = s->last_but_one = (hp_sql_mark){.kind = HP_TOKEN_SEMICOLON};
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
        st->flags &= ~(unsigned)HP_VERB_TOUCHES;
    }
    if (st->verb->keyword == HP_KW_PREPARE && st->second == HP_KW_TRANSACTION && third->kind == HP_TOKEN_LITERAL) {
        st->flags = HP_VERB_CONTROLS;
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
read_ddl_word(scanner *s, hp_keyword word, hp_sql_mark before)
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
read_word(scanner *s, hp_keyword word, hp_sql_mark before)
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

    if (here->paren == HP_SQL_PAREN_EXPLAIN) {
        const bool first = s->last.kind == HP_TOKEN_OPEN && s->last_but_one.keyword == HP_KW_EXPLAIN;

        if (first &&
            (token->keyword == HP_KW_SELECT || token->keyword == HP_KW_WITH || token->keyword == HP_KW_VALUES ||
             token->keyword == HP_KW_TABLE || token->kind == HP_TOKEN_OPEN)) {
            *here = (level){.paren = HP_SQL_PAREN_OPERAND};
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
    begin_statement(s, token->kind == HP_TOKEN_WORD ? hp_sqlverb_find(token->keyword) : hp_sqlverb_unknown());
    return true;
}

/* The token behind a parenthesis that is what it seems only if a certain word follows. */
static void
check_expectation(scanner *s, const hp_token *token)
{
    const hp_keyword word = token->keyword;
    bool met = true;

    switch (s->expectation) {
    case HP_SQL_PAREN_CTE_COLUMNS:
        met = word == HP_KW_AS;
        break;
    case HP_SQL_PAREN_CONFLICT:
        met = word == HP_KW_DO || (word == HP_KW_WHERE && !s->now.has_from);
        break;
    case HP_SQL_PAREN_MERGE_COLUMNS:
        met = word == HP_KW_VALUES || word == HP_KW_OVERRIDING;
        break;
    default:
        break;
    }
    if (!met) {
        touch(s);
    }
    s->expectation = HP_SQL_PAREN_OPERAND;
}

static void
push_mark(scanner *s, hp_sql_mark next)
{
    s->last_but_one = s->last;
    s->last = next;
}

/* An identifier or keyword: starts a dotted name, or continues one behind a dot. */
static void
read_name(scanner *s, const hp_token *token)
{
    hp_sql_name *const name = &s->name;
    const hp_keyword word = s->after_dot ? HP_KW_NO_KEYWORD : token->keyword;

    if (token->escaped || hp_sqlcall_is_temporary_schema(token)) {
        touch(s); /* an escaped name may be any name */
    }
    if (s->after_dot) {
        name->parts++;
        name->last = *token;
        name->last.keyword = HP_KW_NO_KEYWORD;
        s->last = (hp_sql_mark){.kind = token->kind, .operand = true};
        if (!level_now(s)->inert && hp_sqlcall_attribute(name) == HP_SQL_EFFECT_TOUCHES) {
            touch(s);
        }
    } else {
        *name = (hp_sql_name){.parts = 1,
                              .catalog = hp_sqlcall_is_catalog(token),
                              .last = *token,
                              .before = s->last,
                              .before_that = s->last_but_one};
        push_mark(s, (hp_sql_mark){.kind = token->kind, .keyword = word, .operand = word == HP_KW_NO_KEYWORD});
    }
    s->after_dot = false;
}

static void
read_dot(scanner *s)
{
    const bool continues = s->last.kind == HP_TOKEN_WORD || s->last.kind == HP_TOKEN_QUOTED;

    if (!continues) {
        s->name = (hp_sql_name){.headless = true, .before = s->last, .before_that = s->last_but_one};
        push_mark(s, (hp_sql_mark){.kind = HP_TOKEN_DOT});
    }
    s->after_dot = true;
}

/* NAME ( in something that is evaluated */
static void
open_behind_name(scanner *s, level *opened)
{
    const hp_sql_place place = {
        .verb = s->now.verb->keyword, .object = s->now.object, .depth = s->depth, .in_with = level_now(s)->in_with};
    const hp_sql_opening opening = hp_sqlcall_open(&s->name, &place);

    opened->paren = opening.paren;
    opened->inert = opening.inert;
    if (opening.effect == HP_SQL_EFFECT_TOUCHES) {
        touch(s);
    } else if (opening.effect == HP_SQL_EFFECT_WRITES) {
        s->now.writes = true;
    }
}

static void
read_open(scanner *s)
{
    level opened = {.paren = HP_SQL_PAREN_OPERAND, .inert = level_now(s)->inert};
    const bool behind_name = s->last.kind == HP_TOKEN_WORD || s->last.kind == HP_TOKEN_QUOTED;

    if (s->last.kind == HP_TOKEN_CLOSE) {
        level_now(s)->in_with = false; /* WITH ... AS (...) (SELECT ...): the main query */
    }
    if (s->now.verb == NULL) {
        if (s->last.keyword == HP_KW_EXPLAIN) {
            opened.paren = HP_SQL_PAREN_EXPLAIN;
        }
    } else if (behind_name && !opened.inert) {
        open_behind_name(s, &opened);
    }
    push_mark(s, (hp_sql_mark){.kind = HP_TOKEN_OPEN});
    s->depth++;
    if (s->depth < MAX_LEVELS) {
        s->levels[s->depth] = opened;
    } else {
        touch(s);
    }
}

/* Behind the last argument of set_config: three in all, and the last is the word true alone. */
static bool
sets_locally(scanner *s)
{
    const level *const arguments = level_now(s);

    return arguments->commas == 2 && arguments->brackets == 0 && s->last_but_one.kind == HP_TOKEN_COMMA &&
           s->last.keyword == HP_KW_TRUE;
}

static void
read_close(scanner *s)
{
    const hp_sql_paren closed = level_now(s)->paren;

    if (s->depth == 0) {
        touch(s); /* the server will refuse the text */
        return;
    }
    switch (closed) {
    case HP_SQL_PAREN_SETTING:
        if (!sets_locally(s)) {
            touch(s);
        }
        break;
    case HP_SQL_PAREN_CTE_COLUMNS:
    case HP_SQL_PAREN_CONFLICT:
    case HP_SQL_PAREN_MERGE_COLUMNS:
        s->expectation = closed;
        break;
    default:
        break;
    }
    s->depth--;
    push_mark(s, (hp_sql_mark){.kind = HP_TOKEN_CLOSE, .operand = closed != HP_SQL_PAREN_NO_OPERAND});
}

/* What separates the members of a list or an array. */
static void
read_separator(scanner *s, hp_token_kind kind)
{
    level *const here = level_now(s);

    if (kind == HP_TOKEN_BRACKET_OPEN) {
        here->brackets++;
    } else if (kind == HP_TOKEN_BRACKET_CLOSE && here->brackets > 0) {
        here->brackets--;
    } else if (kind == HP_TOKEN_COMMA && here->brackets == 0) {
        here->commas++;
    }
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
    const hp_sql_mark before = s->last;
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
        read_separator(s, token->kind);
        push_mark(s,
                  (hp_sql_mark){.kind = token->kind,
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
    s.last = s.last_but_one = (hp_sql_mark){.kind = HP_TOKEN_SEMICOLON};
    do {
        hp_sqllex_next(&s.lexer, &token);
        if (token.kind == HP_TOKEN_END) {
            break;
        }
        read_token(&s, &token);
    } while (true);
    end_statement(&s);
}
