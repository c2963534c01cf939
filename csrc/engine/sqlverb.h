/*
 * sqlverb.h - what the first word of a statement says about it.
 *
 * Used by sqlscan.c, which reads on where the word alone does not decide. Pure.
 */
#ifndef HP_SQLVERB_H
#define HP_SQLVERB_H

#include "engine/sqllex.h"
#include "engine/sqlscan.h"

enum {
    HP_VERB_TOUCHES = 1,
    HP_VERB_PREPARES = 2,
    HP_VERB_CONTROLS = 4, /* transactions */
    HP_VERB_LOCKS = 8,    /* the session, as long as it lasts */
    HP_VERB_ROWS = 16,
    HP_VERB_INERT = 32, /* evaluates no expression of the text: names in it are no calls */
    HP_VERB_UNKNOWN = HP_VERB_TOUCHES | HP_VERB_PREPARES | HP_VERB_CONTROLS | HP_VERB_LOCKS
};

typedef struct hp_sqlverb {
    hp_keyword keyword;
    hp_sql_kind kind;
    unsigned flags; /* HP_VERB_* */
} hp_sqlverb;

/* Never NULL: a word that is none of them is hp_sqlverb_unknown(). */
const hp_sqlverb *hp_sqlverb_find(hp_keyword keyword);
const hp_sqlverb *hp_sqlverb_unknown(void);

#endif
