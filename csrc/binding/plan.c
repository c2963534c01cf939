/*
 * plan.c - making plans (plan.h) from descriptions.
 *
 * While the types of a statement are looked up its plan belongs to the operation
 * that does; then it becomes the statement's (stmt->user).
 *
 * Called through loop.c by the engine, by params.c and result.c.
 */
#include "binding/plan.h"

#include <stdio.h>
#include <string.h>

/* ---- plans ---- */

void
hp_plan_unref(hp_plan *plan)
{
    while (plan != NULL && --plan->refs == 0) {
        hp_plan *next = plan->next;
        hp_codec_set_unref(plan->codecs);
        Py_XDECREF(plan->names);
        Py_XDECREF(plan->desc);
        PyMem_Free(plan->param_oids);
        PyMem_Free(plan->params);
        PyMem_Free(plan->column_oids);
        PyMem_Free(plan->columns);
        PyMem_Free(plan->readers);
        PyMem_Free(plan);
        plan = next;
    }
}

static void
free_plan_of_stmt(void *plan)
{
    hp_plan_unref(plan);
}

static PyObject *
column_names(const PGresult *description)
{
    int n = PQnfields(description);
    PyObject *names = PyTuple_New(n);
    for (int i = 0; names != NULL && i < n; i++) {
        PyObject *name = PyUnicode_FromString(PQfname(description, i));
        if (name == NULL) {
            Py_CLEAR(names);
            break;
        }
        PyUnicode_InternInPlace(&name);
        PyTuple_SET_ITEM(names, i, name);
    }
    return names;
}

static hp_plan *
new_plan(int nparams, int ncolumns, hp_codec_set *codecs)
{
    hp_plan *plan = PyMem_Calloc(1, sizeof *plan);
    if (plan == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    size_t params = (size_t)nparams + 1;
    size_t columns = (size_t)ncolumns + 1;
    plan->refs = 1;
    plan->codecs = hp_codec_set_ref(codecs);
    plan->nparams = nparams;
    plan->ncolumns = ncolumns;
    plan->param_oids = PyMem_Calloc(params, sizeof *plan->param_oids);
    plan->params = PyMem_Calloc(params, sizeof *plan->params);
    plan->column_oids = PyMem_Calloc(columns, sizeof *plan->column_oids);
    plan->columns = PyMem_Calloc(columns, sizeof *plan->columns);
    plan->readers = PyMem_Calloc(columns, sizeof *plan->readers);
    if (!plan->param_oids || !plan->params || !plan->column_oids || !plan->columns || !plan->readers) {
        PyErr_NoMemory();
        hp_plan_unref(plan);
        return NULL;
    }
    return plan;
}

/* What a description says; the codecs follow. */
static hp_plan *
start_plan(PoolObject *pool, const PGresult *description, hp_codec_set *codecs)
{
    hp_plan *plan = new_plan(PQnparams(description), PQnfields(description), codecs);
    if (plan == NULL) {
        return NULL;
    }
    for (int i = 0; i < plan->nparams; i++) {
        plan->param_oids[i] = PQparamtype(description, i);
    }
    for (int i = 0; i < plan->ncolumns; i++) {
        plan->column_oids[i] = PQftype(description, i);
    }
    plan->names = column_names(description);
    plan->desc = plan->names ? hp_record_desc_new(&pool->state->record, plan->names) : NULL;
    if (plan->desc == NULL) {
        hp_plan_unref(plan);
        return NULL;
    }
    return plan;
}

/* The codec of a type, ready for use. NULL without an exception: the registry does
 * not know the type. */
static const hp_codec *
find_codec(PoolObject *pool, const hp_plan *plan, hp_oid oid)
{
    const hp_codec *codec = hp_codec_set_find(plan->codecs, pool->registry, oid);
    return codec != NULL && hp_codec_make_ready(&pool->state->codec, codec) == 0 ? codec : NULL;
}

/* Find every codec. The number of types the registry does not know, or -1 with
 * an exception. libpq takes one result format for all columns: one that has no
 * binary form makes all of them text. */
static int
fill_codecs(PoolObject *pool, hp_plan *plan)
{
    int unknown = 0;
    plan->text = false;
    for (int i = 0; i < plan->nparams; i++) {
        plan->params[i] = find_codec(pool, plan, plan->param_oids[i]);
        if (plan->params[i] == NULL && PyErr_Occurred()) {
            return -1;
        }
        unknown += plan->params[i] == NULL;
    }
    for (int i = 0; i < plan->ncolumns; i++) {
        const hp_codec *codec = find_codec(pool, plan, plan->column_oids[i]);
        if (codec == NULL && PyErr_Occurred()) {
            return -1;
        }
        plan->columns[i] = codec;
        unknown += codec == NULL;
        plan->readers[i] = codec != NULL ? hp_column_reader(codec) : NULL;
        plan->text |= codec != NULL && codec->decode == NULL;
    }
    return unknown;
}

static hp_bind_result
complete(OperationObject *op)
{
    hp_stmt *stmt = op->req.stmt;
    if (stmt->user == NULL) {
        stmt->user = op->building;
        stmt->free_user = free_plan_of_stmt;
    } else {
        hp_plan_unref(op->building); /* another session was faster */
    }
    op->building = NULL;
    return HP_READY;
}

hp_plan *
hp_plan_of(PoolObject *pool, const hp_stmt *stmt, hp_codec_set *codecs)
{
    enum { MOST_PLANS = 8 };
    hp_plan *base = stmt->user;
    hp_plan *plan = base; /* never NULL: the statement is described */
    int count = 0;
    do {
        if (plan->codecs == codecs) {
            return plan;
        }
        plan = plan->next;
        count++;
    } while (plan != NULL);
    if (count >= MOST_PLANS) {
        hp_plan *others = base->next;
        base->next = NULL;
        hp_plan_unref(others);
    }
    plan = new_plan(base->nparams, base->ncolumns, codecs);
    if (plan == NULL) {
        return NULL;
    }
    memcpy(plan->param_oids, base->param_oids, (size_t)base->nparams * sizeof *base->param_oids);
    memcpy(plan->column_oids, base->column_oids, (size_t)base->ncolumns * sizeof *base->column_oids);
    plan->names = Py_NewRef(base->names);
    plan->desc = Py_NewRef(base->desc);
    if (fill_codecs(pool, plan) != 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(pool->state->errors.InternalClientError, "a type of the statement is not known");
        }
        hp_plan_unref(plan);
        return NULL;
    }
    plan->next = base->next;
    base->next = plan;
    return plan;
}

hp_plan *
hp_plan_for(OperationObject *op, hp_codec_set *codecs)
{
    return hp_plan_of(op->pool, op->req.stmt, codecs);
}

/* "{1,2,3}" of the types to look up. */
static char *
unknown_types(const hp_plan *plan)
{
    enum { OID_CHARS = 12 };
    size_t most = ((size_t)plan->nparams + (size_t)plan->ncolumns) * OID_CHARS + 3;
    char *text = PyMem_Malloc(most);
    if (text == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    size_t n = 0;
    text[n++] = '{';
    for (int i = 0; i < plan->nparams + plan->ncolumns; i++) {
        bool is_param = i < plan->nparams;
        int j = is_param ? i : i - plan->nparams;
        if ((is_param ? plan->params[j] : plan->columns[j]) == NULL) {
            hp_oid oid = is_param ? plan->param_oids[j] : plan->column_oids[j];
            n += (size_t)snprintf(text + n, most - n, "%s%u", n > 1 ? "," : "", (unsigned)oid);
        }
    }
    snprintf(text + n, most - n, "}");
    return text;
}

hp_bind_result
hp_plan_described(OperationObject *op, const PGresult *description)
{
    hp_plan_unref(op->building);
    op->building = start_plan(op->pool, description, NULL);
    if (op->building == NULL) {
        return HP_FAILED;
    }
    int unknown = fill_codecs(op->pool, op->building);
    if (unknown <= 0) {
        return unknown == 0 ? complete(op) : HP_FAILED;
    }
    PyMem_Free(op->lookup_arg);
    op->lookup_arg = unknown_types(op->building);
    if (op->lookup_arg == NULL) {
        return HP_FAILED;
    }
    op->req.lookup_sql = hp_registry_query();
    op->req.lookup_arg = op->lookup_arg;
    return HP_LOOKUP;
}

static const char *
lookup_value(void *ctx, int row, int col)
{
    const PGresult *rows = ctx;
    return PQgetisnull(rows, row, col) ? NULL : PQgetvalue(rows, row, col);
}

hp_bind_result
hp_plan_looked_up(OperationObject *op, const PGresult *rows)
{
    hp_plan *plan = op->building;
    size_t n = 0;
    hp_oid *wanted = PyMem_Calloc((size_t)plan->nparams + (size_t)plan->ncolumns + 1, sizeof *wanted);
    if (wanted == NULL) {
        PyErr_NoMemory();
        return HP_FAILED;
    }
    for (int i = 0; i < plan->nparams; i++) {
        wanted[n++] = plan->param_oids[i];
    }
    for (int i = 0; i < plan->ncolumns; i++) {
        wanted[n++] = plan->column_oids[i];
    }
    int rc = hp_registry_load(op->pool->registry, PQntuples(rows), lookup_value, (void *)rows, wanted, n);
    PyMem_Free(wanted);
    if (rc < 0) {
        return HP_FAILED;
    }
    int unknown = fill_codecs(op->pool, plan);
    if (unknown < 0) {
        return HP_FAILED;
    }
    if (unknown > 0) {
        PyErr_SetString(op->pool->state->errors.InternalClientError, "a type of the statement could not be looked up");
        return HP_FAILED;
    }
    return complete(op);
}

hp_plan *
hp_plan_of_result(OperationObject *op, const PGresult *result)
{
    hp_plan *plan = start_plan(op->pool, result, op->plan->codecs);
    if (plan == NULL) {
        return NULL;
    }
    int unknown = fill_codecs(op->pool, plan);
    bool binary = plan->ncolumns > 0 && PQfformat(result, 0) == 1;
    if (unknown < 0) {
        hp_plan_unref(plan);
        return NULL;
    }
    if (unknown > 0 || (binary && plan->text)) {
        PyErr_SetString(op->pool->state->errors.InternalClientError,
                        "the result has other columns than the statement was described with, and of unknown types");
        hp_plan_unref(plan);
        return NULL;
    }
    plan->text = !binary;
    return plan;
}
