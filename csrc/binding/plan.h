/*
 * plan.h - the plan of a statement: its encoders, its decoders, its column map.
 *
 * A statement has a chain of plans, one for each set of codecs that a session of
 * the pool was given; the first is for sessions without any. A plan does not
 * change once its codecs are filled in. References: the statement holds the
 * first, each the next, and an operation the one it was bound with.
 *
 * Made by plan.c, read by params.c and result.c.
 */
#ifndef HP_PLAN_H
#define HP_PLAN_H

#include "module.h"

struct hp_plan {
    unsigned refs;
    struct hp_plan *next; /* of the same statement, for sessions with other codecs */
    hp_codec_set *codecs; /* for which it is */
    int nparams;
    hp_oid *param_oids;
    const hp_codec **params;
    int ncolumns;
    hp_oid *column_oids;
    const hp_codec **columns;
    hp_column_reader_fn *readers; /* of binary columns; NULL: the codec decodes field by field */
    bool text;                    /* results come as text: a column has no binary form */
    PyObject *names;              /* tuple of str */
    PyObject *desc;               /* RecordDesc */
};

/* Borrowed: the plan of op's described statement for a session with these codecs;
 * NULL with an exception. */
hp_plan *hp_plan_for(OperationObject *op, hp_codec_set *codecs);
/* ... of another statement, which the server has described. */
hp_plan *hp_plan_of(PoolObject *pool, const hp_stmt *stmt, hp_codec_set *codecs);
/* New reference: the plan of a result whose columns are not those of op's plan. NULL
 * with an exception. */
hp_plan *hp_plan_of_result(OperationObject *op, const PGresult *result);

#endif
