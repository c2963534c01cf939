/*
 * sqlnames.c - see sqlnames.h.
 *
 * A colon with a word right behind it is a parameter only where a value may begin:
 * behind a value it divides, as in a[1:n] and JSON_OBJECT('k':v). A value ends in a
 * literal, a quoted name, a closing parenthesis or bracket, a word that is not a
 * keyword, or in any word right in front of the colon. So a[lower:upper] is what it
 * is without parameters, and a[1: :upper] has one. "::" and ":=" are other tokens.
 * A dollar sign with a word right behind it is nothing else in PostgreSQL.
 */
#include "engine/sqlnames.h"

void
hp_sqlnames_start(hp_sqlnames *names, const char *sql, size_t len)
{
    *names = (hp_sqlnames){.lexer = {.next = sql, .end = sql + len, .standard_strings = true}, .behind = sql};
}

static bool
ends_value(const hp_token *token, bool is_right_behind)
{
    switch (token->kind) {
    case HP_TOKEN_LITERAL:
    case HP_TOKEN_QUOTED:
    case HP_TOKEN_CLOSE:
    case HP_TOKEN_BRACKET_CLOSE:
        return true;
    case HP_TOKEN_WORD:
        return is_right_behind || token->keyword == HP_KW_NO_KEYWORD;
    default:
        return false;
    }
}

/* May the token that was read begin a parameter? It ends in front of names->lexer.next. */
static bool
may_begin(const hp_sqlnames *names, const hp_token *token)
{
    if (token->kind != HP_TOKEN_OTHER) {
        return false;
    }
    return *token->start == '$' || (*token->start == ':' && !ends_value(&names->last, names->behind == token->start));
}

static void
step(hp_sqlnames *names, const hp_token *token)
{
    names->last = *token;
    names->behind = names->lexer.next;
    names->positional |=
        token->kind == HP_TOKEN_LITERAL && *token->start == '$' && token->start[1] >= '0' && token->start[1] <= '9';
}

bool
hp_sqlnames_next(hp_sqlnames *names, hp_sqlname *name)
{
    hp_token token;
    for (;;) {
        hp_sqllex_next(&names->lexer, &token);
        if (token.kind == HP_TOKEN_END || token.kind == HP_TOKEN_BROKEN) {
            return false;
        }
        if (!may_begin(names, &token)) {
            step(names, &token);
            continue;
        }
        hp_lexer ahead = names->lexer;
        hp_token word;
        hp_sqllex_next(&ahead, &word);
        if (word.kind != HP_TOKEN_WORD || word.start != names->lexer.next) {
            step(names, &token);
            continue;
        }
        *name = (hp_sqlname){.start = token.start, .text = word.text, .len = word.len};
        names->lexer = ahead;
        names->last = (hp_token){.kind = HP_TOKEN_LITERAL, .start = token.start};
        names->behind = ahead.next;
        return true;
    }
}
