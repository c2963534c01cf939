/*
 * sqlnames.h - named parameters in an SQL text, :name and $name, one after another.
 *
 * Used by the binding, which puts $1, $2, ... in their place. Pure: allocates
 * nothing, reads no byte outside the text. Names inside of strings, quoted
 * identifiers, dollar quotes and comments are none.
 */
#ifndef HP_SQLNAMES_H
#define HP_SQLNAMES_H

#include "engine/sqllex.h"

typedef struct hp_sqlnames {
    hp_lexer lexer;
    hp_token last;      /* the token before lexer.next */
    const char *behind; /* where that ended */
    bool positional;    /* $1 and the like occurred, too */
} hp_sqlnames;

typedef struct hp_sqlname {
    const char *start; /* of the colon or dollar sign */
    const char *text;  /* the name; it ends where the parameter does */
    size_t len;
} hp_sqlname;

void hp_sqlnames_start(hp_sqlnames *names, const char *sql, size_t len);
/* The next one; false: there is no more. */
bool hp_sqlnames_next(hp_sqlnames *names, hp_sqlname *name);

#endif
