/*
 * sqllex.h - SQL text as tokens, with the boundaries PostgreSQL's own lexer
 * would see.
 *
 * Used by sqlscan.c and sqlcall.c. Pure: allocates nothing, keeps no state but the
 * position, reads no byte outside the text.
 */
#ifndef HP_SQLLEX_H
#define HP_SQLLEX_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/sqllex_keywords.h"

#define HP_SQLLEX_ENUM(name, spelling, never_called) HP_KW_##name,
typedef enum hp_keyword {
    HP_KW_NO_KEYWORD, /* an identifier of the user's */
    HP_SQLLEX_KEYWORDS(HP_SQLLEX_ENUM) HP_KW_COUNT
} hp_keyword;
#undef HP_SQLLEX_ENUM

typedef enum hp_token_kind {
    HP_TOKEN_END,
    HP_TOKEN_WORD,    /* unquoted: a keyword or an identifier */
    HP_TOKEN_QUOTED,  /* "identifier" */
    HP_TOKEN_LITERAL, /* a string of any kind, a number, a parameter */
    HP_TOKEN_OPEN,
    HP_TOKEN_CLOSE,
    HP_TOKEN_BRACKET_OPEN,
    HP_TOKEN_BRACKET_CLOSE,
    HP_TOKEN_COMMA,
    HP_TOKEN_DOT,
    HP_TOKEN_CAST, /* :: */
    HP_TOKEN_SEMICOLON,
    HP_TOKEN_OTHER, /* one character of an operator, or : */
    HP_TOKEN_BROKEN /* what no lexer accepts: unterminated, or a NUL */
} hp_token_kind;

typedef struct hp_token {
    hp_token_kind kind;
    hp_keyword keyword; /* of a WORD */
    bool escaped;       /* a QUOTED one whose text is not the name as it stands: "" inside, or U& */
    const char *start;  /* where it begins */
    const char *text;   /* borrowed from the SQL text; a QUOTED one without its quotes */
    size_t len;
} hp_token;

typedef struct hp_lexer {
    const char *next;
    const char *end;
    bool standard_strings; /* standard_conforming_strings: no backslash escapes in '...' */
} hp_lexer;

/* Reads the next token into *token. At the end of the text, and ever after, it is END. */
void hp_sqllex_next(hp_lexer *lexer, hp_token *token);

/* Folds as PostgreSQL folds unquoted names: ASCII letters only, whatever the locale. */
char hp_sqllex_lower(char c);

/* True if no function's name can be this word, unquoted and unqualified. */
bool hp_sqllex_never_called(hp_keyword keyword);

#endif
