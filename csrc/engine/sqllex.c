/*
 * sqllex.c - SQL text as tokens.
 *
 * Follows src/backend/parser/scan.l of PostgreSQL, because a boundary seen
 * elsewhere than where the server sees it would hide a statement in what looks
 * like a string, or the reverse:
 *
 *   -- to the end of the line, and nested block comments
 *   '...'      a backslash escapes only if standard_conforming_strings is off
 *   E'...'     a backslash escapes; B'' X'' N'' U&'' never
 *   'a'<newline>'b'  one string, of the kind of its first part
 *   $tag$ ... $tag$  no escapes at all
 *   "..." U&"..."    quotes double inside
 *   word       letters, _, every byte from 0x80, then also digits and $
 *   $1         a parameter
 *
 * Older releases split 1e'x' and 0x'y' into a number and a string, newer ones
 * refuse them; they are split here. Operators come one character at a time,
 * which ends them before a comment as the server's rule does.
 *
 * Cost: linear. Two places look ahead and may have to come back, a dollar sign
 * and the white space behind a string; each passes over the same bytes at most
 * once more.
 */
#include "engine/sqllex.h"

#include <stdint.h>
#include <string.h>

/* ------------------------------------------------------------------ */
/* Characters                                                          */
/* ------------------------------------------------------------------ */

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
starts_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

/* The tag of a dollar quote is a word without dollars. */
static bool
continues_tag(char c)
{
    return starts_word(c) || is_digit(c);
}

static bool
continues_word(char c)
{
    return continues_tag(c) || c == '$';
}

static bool
is_newline(char c)
{
    return c == '\n' || c == '\r';
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || is_newline(c) || c == '\f' || c == '\v';
}

char
hp_sqllex_lower(char c)
{
    static const char small[] = "abcdefghijklmnopqrstuvwxyz";

    if (c < 'A' || c > 'Z') {
        return c;
    }
    return small[c - 'A'];
}

static size_t
left(const hp_lexer *lexer)
{
    return (size_t)(lexer->end - lexer->next);
}

/* The byte `offset` behind the position, or NUL behind the end: no test below accepts NUL. */
static char
peek(const hp_lexer *lexer, size_t offset)
{
    if (offset >= left(lexer)) {
        return '\0';
    }
    return lexer->next[offset];
}

/* ------------------------------------------------------------------ */
/* Keywords                                                            */
/* ------------------------------------------------------------------ */

enum { LONGEST_KEYWORD_BYTES = 32 };

#define ROW(name, spelling, never_called) {spelling, sizeof(spelling) - 1, never_called},
static const struct keyword_row {
    const char *spelling;
    uint8_t len;
    uint8_t never_called;
} keywords[] = {{"", 0, 0}, HP_SQLLEX_KEYWORDS(ROW)};
#undef ROW

static hp_keyword
keyword_of(const char *text, size_t len)
{
    char word[LONGEST_KEYWORD_BYTES];
    size_t low = 1, high = HP_KW_COUNT;

    if (len > sizeof(word)) {
        return HP_KW_NO_KEYWORD;
    }
    for (size_t i = 0; i < len; i++) {
        word[i] = hp_sqllex_lower(text[i]);
    }
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct keyword_row *row = &keywords[middle];
        int order = memcmp(word, row->spelling, len < row->len ? len : row->len);

        if (order == 0) {
            order = (len > row->len) - (len < row->len);
        }
        if (order == 0) {
            return (hp_keyword)middle;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return HP_KW_NO_KEYWORD;
}

bool
hp_sqllex_never_called(hp_keyword keyword)
{
    return keywords[keyword].never_called != 0;
}

/* ------------------------------------------------------------------ */
/* White space and comments                                            */
/* ------------------------------------------------------------------ */

/* Stops at the newline: it decides whether a string goes on. */
static void
skip_line_comment(hp_lexer *lexer)
{
    while (lexer->next < lexer->end && !is_newline(*lexer->next)) {
        lexer->next++;
    }
}

/* False if the text ends inside. */
static bool
skip_block_comment(hp_lexer *lexer)
{
    size_t depth = 0;

    while (left(lexer) >= 2) {
        if (peek(lexer, 0) == '/' && peek(lexer, 1) == '*') {
            depth++;
            lexer->next += 2;
        } else if (peek(lexer, 0) == '*' && peek(lexer, 1) == '/') {
            lexer->next += 2;
            if (--depth == 0) {
                return true;
            }
        } else {
            lexer->next++;
        }
    }
    lexer->next = lexer->end;
    return false;
}

/* False if the text ends inside a comment. */
static bool
skip_blank(hp_lexer *lexer)
{
    for (;;) {
        if (is_space(peek(lexer, 0))) {
            lexer->next++;
        } else if (peek(lexer, 0) == '-' && peek(lexer, 1) == '-') {
            skip_line_comment(lexer);
        } else if (peek(lexer, 0) == '/' && peek(lexer, 1) == '*') {
            if (!skip_block_comment(lexer)) {
                return false;
            }
        } else {
            return true;
        }
    }
}

/* ------------------------------------------------------------------ */
/* Quotes                                                              */
/* ------------------------------------------------------------------ */

/* Behind a closing quote: moves into the next part of the same string if there is one. */
static bool
enter_continuation(hp_lexer *lexer)
{
    const char *const closed = lexer->next;
    bool newline = false;

    for (;;) {
        const char c = peek(lexer, 0);

        if (is_space(c)) {
            newline = newline || is_newline(c);
            lexer->next++;
        } else if (c == '-' && peek(lexer, 1) == '-') {
            skip_line_comment(lexer);
        } else {
            break;
        }
    }
    if (newline && peek(lexer, 0) == '\'') {
        lexer->next++;
        return true;
    }
    lexer->next = closed;
    return false;
}

/* From behind the opening quote; with every part that continues the string. */
static hp_token_kind
read_string(hp_lexer *lexer, bool backslash_escapes)
{
    while (lexer->next < lexer->end) {
        const char c = *lexer->next++;

        if (c == '\\' && backslash_escapes && lexer->next < lexer->end) {
            lexer->next++;
        } else if (c == '\'') {
            if (peek(lexer, 0) == '\'') {
                lexer->next++;
            } else if (!enter_continuation(lexer)) {
                return HP_TOKEN_LITERAL;
            }
        }
    }
    return HP_TOKEN_BROKEN;
}

/* From behind the opening quote. */
static void
read_quoted(hp_lexer *lexer, hp_token *token, bool unicode_escapes)
{
    token->kind = HP_TOKEN_BROKEN;
    token->escaped = unicode_escapes;
    token->text = lexer->next;
    while (lexer->next < lexer->end) {
        if (*lexer->next++ != '"') {
            continue;
        }
        if (peek(lexer, 0) == '"') {
            token->escaped = true;
            lexer->next++;
            continue;
        }
        token->kind = HP_TOKEN_QUOTED;
        token->len = (size_t)(lexer->next - 1 - token->text);
        return;
    }
}

/*
 * From behind an opening delimiter of `len` bytes that starts at `delimiter`.
 * A delimiter has dollars at its ends only, so a comparison that fails has not
 * gone past the next dollar of the text: linear in all.
 */
static hp_token_kind
read_dollar_quoted(hp_lexer *lexer, const char *delimiter, size_t len)
{
    while (lexer->next < lexer->end) {
        const char *const dollar = memchr(lexer->next, '$', left(lexer));
        size_t same = 0;

        if (dollar == NULL) {
            break;
        }
        lexer->next = dollar;
        while (same < len && same < left(lexer) && dollar[same] == delimiter[same]) {
            same++;
        }
        if (same == len) {
            lexer->next += len;
            return HP_TOKEN_LITERAL;
        }
        lexer->next += same;
    }
    lexer->next = lexer->end;
    return HP_TOKEN_BROKEN;
}

/* A dollar quote, a parameter, or a lone dollar. */
static hp_token_kind
read_dollar(hp_lexer *lexer)
{
    const char *const delimiter = lexer->next;
    size_t len = 1;

    if (is_digit(peek(lexer, 1))) {
        do {
            lexer->next++;
        } while (is_digit(peek(lexer, 0)));
        return HP_TOKEN_LITERAL;
    }
    while (continues_tag(peek(lexer, len))) {
        len++;
    }
    if (peek(lexer, len) != '$') {
        lexer->next++;
        return HP_TOKEN_OTHER;
    }
    len++;
    lexer->next += len;
    return read_dollar_quoted(lexer, delimiter, len);
}

/* ------------------------------------------------------------------ */
/* Words and numbers                                                   */
/* ------------------------------------------------------------------ */

/* The strings and identifiers that a letter introduces; false if this is none. */
static bool
read_prefixed(hp_lexer *lexer, hp_token *token)
{
    const char letter = hp_sqllex_lower(peek(lexer, 0));
    const bool quote_follows = peek(lexer, 1) == '\'';

    if (quote_follows && (letter == 'e' || letter == 'b' || letter == 'x' || letter == 'n')) {
        lexer->next += 2;
        /* The server reads N'...' as a plain string behind the word NCHAR. */
        token->kind = read_string(lexer, letter == 'e' || (letter == 'n' && !lexer->standard_strings));
        return true;
    }
    if (letter == 'u' && peek(lexer, 1) == '&' && (peek(lexer, 2) == '\'' || peek(lexer, 2) == '"')) {
        const bool string = peek(lexer, 2) == '\'';

        lexer->next += 3;
        if (string) {
            token->kind = read_string(lexer, false);
        } else {
            read_quoted(lexer, token, true);
        }
        return true;
    }
    return false;
}

static void
read_word(hp_lexer *lexer, hp_token *token)
{
    token->kind = HP_TOKEN_WORD;
    token->text = lexer->next;
    while (continues_word(peek(lexer, 0))) {
        lexer->next++;
    }
    token->len = (size_t)(lexer->next - token->text);
    token->keyword = keyword_of(token->text, token->len);
}

static void
read_digits(hp_lexer *lexer)
{
    while (is_digit(peek(lexer, 0))) {
        lexer->next++;
    }
}

/* 1 1.5 .5 1e-3; what follows without a space is the next token. */
static hp_token_kind
read_number(hp_lexer *lexer)
{
    read_digits(lexer);
    if (peek(lexer, 0) == '.' && peek(lexer, 1) != '.') {
        lexer->next++;
        read_digits(lexer);
    }
    if (hp_sqllex_lower(peek(lexer, 0)) == 'e') {
        const size_t sign = peek(lexer, 1) == '+' || peek(lexer, 1) == '-';

        if (is_digit(peek(lexer, 1 + sign))) {
            lexer->next += 1 + sign;
            read_digits(lexer);
        }
    }
    return HP_TOKEN_LITERAL;
}

static hp_token_kind
read_punctuation(hp_lexer *lexer)
{
    const char c = *lexer->next++;

    switch (c) {
    case '(':
        return HP_TOKEN_OPEN;
    case ')':
        return HP_TOKEN_CLOSE;
    case '[':
        return HP_TOKEN_BRACKET_OPEN;
    case ']':
        return HP_TOKEN_BRACKET_CLOSE;
    case ',':
        return HP_TOKEN_COMMA;
    case '.':
        return HP_TOKEN_DOT;
    case ';':
        return HP_TOKEN_SEMICOLON;
    case ':':
        if (peek(lexer, 0) == ':') {
            lexer->next++;
            return HP_TOKEN_CAST;
        }
        return HP_TOKEN_OTHER;
    case '\0':
        return HP_TOKEN_BROKEN;
    default:
        return HP_TOKEN_OTHER;
    }
}

void
hp_sqllex_next(hp_lexer *lexer, hp_token *token)
{
    *token = (hp_token){.kind = HP_TOKEN_END};
    if (!skip_blank(lexer)) {
        token->kind = HP_TOKEN_BROKEN;
        return;
    }
    token->start = lexer->next;
    if (lexer->next == lexer->end) {
        return;
    }

    const char c = peek(lexer, 0);

    if (starts_word(c)) {
        if (!read_prefixed(lexer, token)) {
            read_word(lexer, token);
        }
    } else if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1)))) {
        token->kind = read_number(lexer);
    } else if (c == '\'') {
        lexer->next++;
        token->kind = read_string(lexer, !lexer->standard_strings);
    } else if (c == '"') {
        lexer->next++;
        read_quoted(lexer, token, false);
    } else if (c == '$') {
        token->kind = read_dollar(lexer);
    } else {
        token->kind = read_punctuation(lexer);
    }
}
