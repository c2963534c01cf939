/*
 * statement.c - what the binding knows of a statement: how to encode its
 * parameters and how to make rows of its results.
 *
 * A pool has one entry for each SQL text (a dict from str to capsule), so that
 * a second connection prepares and executes it in one go. At most
 * statements_max entries are kept; the victim is found as a clock does: the
 * oldest entry that was not used since the hand last passed.
 *
 * A plan belongs to an hp_stmt (stmt->user) and is immutable once that is
 * described. While types are looked up it belongs to the operation that does.
 *
 * Called by operation.c and, through loop.c, by the engine.
 */
#include "module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of one message that the server is ready to take. */
static const Py_ssize_t MAX_MESSAGE_BYTES = 0x3FFFFFFF;

enum { SHOWN_VALUE_CHARS = 40, SHOWN_QUERY_CHARS = 100 };

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
    bool text;       /* results come as text: a column has no binary form */
    PyObject *names; /* tuple of str */
    PyObject *desc;  /* RecordDesc */
};

typedef struct hp_entry {
    hp_stmt *stmt;
    bool used; /* since the clock's hand passed */
} hp_entry;

static const char ENTRY_NAME[] = "holisticpool.statement";

/* ---- the pool's statements ---- */

static void
free_entry(PyObject *capsule)
{
    hp_entry *entry = PyCapsule_GetPointer(capsule, ENTRY_NAME);
    if (entry != NULL) {
        hp_stmt_unref(entry->stmt);
        PyMem_Free(entry);
    }
}

static PyObject *
new_entry(hp_stmt *stmt)
{
    hp_entry *entry = PyMem_Malloc(sizeof *entry);
    if (entry == NULL) {
        return PyErr_NoMemory();
    }
    entry->stmt = stmt;
    entry->used = false;
    PyObject *capsule = PyCapsule_New(entry, ENTRY_NAME, free_entry);
    if (capsule == NULL) {
        PyMem_Free(entry);
        return NULL;
    }
    hp_stmt_ref(stmt);
    return capsule;
}

/* Make room for one. A used entry gets a second chance at the young end. */
static int
evict(PyObject *statements)
{
    for (Py_ssize_t chances = PyDict_GET_SIZE(statements); chances >= 0; chances--) {
        PyObject *query, *capsule;
        Py_ssize_t pos = 0;
        if (!PyDict_Next(statements, &pos, &query, &capsule)) {
            return 0;
        }
        hp_entry *entry = PyCapsule_GetPointer(capsule, ENTRY_NAME);
        bool spare = entry->used && chances > 0;
        entry->used = false;
        Py_INCREF(query);
        Py_INCREF(capsule);
        int rc = PyDict_DelItem(statements, query);
        if (rc == 0 && spare) {
            rc = PyDict_SetItem(statements, query, capsule);
        }
        Py_DECREF(query);
        Py_DECREF(capsule);
        if (rc < 0 || !spare) {
            return rc;
        }
    }
    return 0;
}

static int
remember(PoolObject *pool, PyObject *query, hp_stmt *stmt)
{
    if (PyDict_GET_SIZE(pool->statements) >= pool->statements_max && evict(pool->statements) < 0) {
        return -1;
    }
    PyObject *capsule = new_entry(stmt);
    if (capsule == NULL) {
        return -1;
    }
    int rc = PyDict_SetItem(pool->statements, query, capsule);
    Py_DECREF(capsule);
    return rc;
}

static hp_stmt *
make_statement(PoolObject *pool, PyObject *query)
{
    Py_ssize_t len;
    const char *sql = PyUnicode_AsUTF8AndSize(query, &len);
    if (sql == NULL) {
        return NULL;
    }
    if (memchr(sql, '\0', (size_t)len) != NULL) {
        PyErr_SetString(PyExc_ValueError, "the query contains a NUL character");
        return NULL;
    }
    bool cacheable = pool->cacheable_bytes == 0 || len <= pool->cacheable_bytes;
    hp_stmt *stmt = hp_stmt_new(sql, (size_t)len, cacheable && pool->engine->env.statement_cache_size > 0, true);
    if (stmt == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (cacheable && remember(pool, query, stmt) < 0) {
        hp_stmt_unref(stmt);
        return NULL;
    }
    return stmt;
}

hp_stmt *
hp_statement_get(PoolObject *pool, PyObject *query)
{
    if (!PyUnicode_Check(query)) {
        PyErr_Format(PyExc_TypeError, "the query must be a str, got %.100s", Py_TYPE(query)->tp_name);
        return NULL;
    }
    PyObject *capsule = PyDict_GetItemWithError(pool->statements, query);
    if (capsule != NULL) {
        hp_entry *entry = PyCapsule_GetPointer(capsule, ENTRY_NAME);
        entry->used = true;
        hp_stmt_ref(entry->stmt);
        return entry->stmt;
    }
    return PyErr_Occurred() ? NULL : make_statement(pool, query);
}

/* The text means something else than `old` says. Somebody may have found out
 * before: then there is a newer one already. */
hp_stmt *
hp_statement_renew(PoolObject *pool, PyObject *query, const hp_stmt *old)
{
    PyObject *capsule = PyDict_GetItemWithError(pool->statements, query);
    if (capsule != NULL) {
        hp_entry *entry = PyCapsule_GetPointer(capsule, ENTRY_NAME);
        if (entry->stmt != old) {
            hp_stmt_ref(entry->stmt);
            return entry->stmt;
        }
        if (PyDict_DelItem(pool->statements, query) < 0) {
            return NULL;
        }
    }
    return PyErr_Occurred() ? NULL : make_statement(pool, query);
}

void
hp_statements_clear(PoolObject *pool)
{
    if (pool->statements != NULL) {
        PyDict_Clear(pool->statements);
    }
}

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
    if (!plan->param_oids || !plan->params || !plan->column_oids || !plan->columns) {
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

/* Find every codec. The number of types the registry does not know, or -1 with
 * an exception. */
static int
fill_codecs(hp_registry *registry, hp_plan *plan)
{
    int unknown = 0;
    plan->text = false;
    for (int i = 0; i < plan->nparams; i++) {
        plan->params[i] = hp_codec_set_find(plan->codecs, registry, plan->param_oids[i]);
        unknown += plan->params[i] == NULL;
    }
    for (int i = 0; i < plan->ncolumns; i++) {
        const hp_codec *codec = hp_codec_set_find(plan->codecs, registry, plan->column_oids[i]);
        plan->columns[i] = codec;
        unknown += codec == NULL;
        plan->text |= codec != NULL && codec->decode == NULL;
    }
    return unknown > 0 && PyErr_Occurred() ? -1 : unknown;
}

/* libpq takes one result format for all columns: one that has no binary form
 * makes all of them text. */
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

/* Borrowed: the plan of a described statement for a session with these codecs.
 * The first of the chain is for sessions without any, which is what most are. */
static hp_plan *
plan_for(OperationObject *op, hp_codec_set *codecs)
{
    enum { MOST_PLANS = 8 };
    hp_plan *base = op->req.stmt->user;
    int count = 0;
    for (hp_plan *plan = base; plan != NULL; plan = plan->next, count++) {
        if (plan->codecs == codecs) {
            return plan;
        }
    }
    if (count >= MOST_PLANS) {
        hp_plan_unref(base->next);
        base->next = NULL;
    }
    hp_plan *plan = new_plan(base->nparams, base->ncolumns, codecs);
    if (plan == NULL) {
        return NULL;
    }
    memcpy(plan->param_oids, base->param_oids, (size_t)base->nparams * sizeof *base->param_oids);
    memcpy(plan->column_oids, base->column_oids, (size_t)base->ncolumns * sizeof *base->column_oids);
    plan->names = Py_NewRef(base->names);
    plan->desc = Py_NewRef(base->desc);
    if (fill_codecs(op->pool->registry, plan) != 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(op->pool->state->errors.InternalClientError, "a type of the statement is not known");
        }
        hp_plan_unref(plan);
        return NULL;
    }
    plan->next = base->next;
    base->next = plan;
    return plan;
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
hp_statement_described(OperationObject *op, const PGresult *description)
{
    hp_plan_unref(op->building);
    op->building = start_plan(op->pool, description, NULL);
    if (op->building == NULL) {
        return HP_FAILED;
    }
    if (fill_codecs(op->pool->registry, op->building) == 0) {
        return complete(op);
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
hp_statement_looked_up(OperationObject *op, const PGresult *rows)
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
    if (fill_codecs(op->pool->registry, plan) > 0) {
        PyErr_SetString(op->pool->state->errors.InternalClientError, "a type of the statement could not be looked up");
        return HP_FAILED;
    }
    return complete(op);
}

/* ---- parameters ---- */

void
hp_encoded_clear(hp_encoded *encoded)
{
    enum { KEPT_BYTES = 4096 };
    if (encoded->buf.cap > KEPT_BYTES) {
        hp_buf_free(&encoded->buf);
    }
    encoded->buf.len = 0;
    PyMem_Free(encoded->block);
    encoded->block = NULL;
    if (encoded->offsets != encoded->inline_offsets) {
        PyMem_Free(encoded->offsets);
        PyMem_Free(encoded->all_lengths);
    }
    encoded->offsets = NULL;
    encoded->all_lengths = NULL;
}

static int
make_room(hp_encoded *encoded, int nparams, Py_ssize_t sets)
{
    hp_encoded_clear(encoded);
    encoded->nparams = nparams;
    encoded->sets = sets;
    if (nparams <= HP_INLINE_PARAMS) {
        encoded->values = encoded->inline_values;
        encoded->lengths = encoded->inline_lengths;
        encoded->formats = encoded->inline_formats;
    } else {
        size_t n = (size_t)nparams;
        char *block = PyMem_Malloc(n * (sizeof(char *) + 2 * sizeof(int)));
        if (block == NULL) {
            goto no_memory;
        }
        encoded->block = block;
        encoded->values = (const char **)(void *)block;
        encoded->lengths = (int *)(void *)(block + n * sizeof(char *));
        encoded->formats = encoded->lengths + n;
    }
    if (nparams <= HP_INLINE_PARAMS && sets == 1) {
        encoded->offsets = encoded->inline_offsets;
        encoded->all_lengths = encoded->inline_lengths;
        return 0;
    }
    size_t all = (size_t)nparams * (size_t)sets + 1;
    encoded->offsets = PyMem_Calloc(all, sizeof *encoded->offsets);
    encoded->all_lengths = PyMem_Calloc(all, sizeof *encoded->all_lengths);
    if (encoded->offsets != NULL && encoded->all_lengths != NULL) {
        return 0;
    }
no_memory:
    PyErr_NoMemory();
    return -1;
}

static PyObject *
shown(PyObject *value, Py_ssize_t most)
{
    PyObject *repr = PyObject_Repr(value);
    if (repr == NULL || PyUnicode_GET_LENGTH(repr) <= most) {
        return repr;
    }
    PyObject *start = PyUnicode_Substring(repr, 0, most);
    Py_DECREF(repr);
    PyObject *result = start ? PyUnicode_FromFormat("%U...", start) : NULL;
    Py_XDECREF(start);
    return result;
}

/* Turn what an encoder raised into the error that names the argument. */
static void
raise_data_error(OperationObject *op, int i, Py_ssize_t set, PyObject *value)
{
    if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_ValueError) &&
        !PyErr_ExceptionMatches(PyExc_OverflowError)) {
        return;
    }
    PyObject *cause = hp_errors_take();
    PyObject *repr = shown(value, SHOWN_VALUE_CHARS);
    PyObject *where = op->kind == HP_OP_EXECUTEMANY
                          ? PyUnicode_FromFormat(" in element #%zd of executemany() sequence", set)
                          : PyUnicode_FromString("");
    PyObject *text = repr && where ? PyUnicode_FromFormat("invalid input for query argument $%d%U: %U (%S)", i + 1,
                                                          where, repr, cause)
                                   : NULL;
    PyObject *error = text ? PyObject_CallOneArg(op->pool->state->errors.ClientDataError, text) : NULL;
    Py_XDECREF(repr);
    Py_XDECREF(where);
    Py_XDECREF(text);
    if (error == NULL) {
        Py_DECREF(cause);
        return; /* what went wrong here is set */
    }
    PyException_SetCause(error, cause);
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

static int
encode_one(OperationObject *op, const hp_codec *codec, PyObject *value, Py_ssize_t at)
{
    hp_encoded *encoded = &op->encoded;
    Py_ssize_t start = encoded->buf.len;
    encoded->offsets[at] = start;
    if (codec->encode(&op->pool->state->codec, codec, value, &encoded->buf) < 0) {
        return -1;
    }
    if (!codec->param_format) {
        /* libpq takes text parameters NUL-terminated */
        Py_ssize_t len = encoded->buf.len - start;
        if (hp_buf_append(&encoded->buf, "", 1) < 0) {
            return -1;
        }
        encoded->all_lengths[at] = (int)len;
        return 0;
    }
    encoded->all_lengths[at] = (int)(encoded->buf.len - start);
    return 0;
}

static void
raise_count_error(OperationObject *op, Py_ssize_t given)
{
    int expected = op->req.stmt->nparams;
    PyErr_Format(op->pool->state->errors.InterfaceError,
                 "the server expects %d argument%s for this query, %zd %s passed", expected, expected == 1 ? "" : "s",
                 given, given == 1 ? "was" : "were");
}

static int
encode_set(OperationObject *op, const hp_plan *plan, PyObject *const *values, Py_ssize_t n, Py_ssize_t set)
{
    if (n != plan->nparams) {
        raise_count_error(op, n);
        return -1;
    }
    for (int i = 0; i < plan->nparams; i++) {
        Py_ssize_t at = set * plan->nparams + i;
        if (values[i] == Py_None) {
            op->encoded.offsets[at] = -1;
            continue;
        }
        Py_INCREF(values[i]); /* an encoder may run code that changes a list */
        int rc = encode_one(op, plan->params[i], values[i], at);
        if (rc < 0) {
            raise_data_error(op, i, set, values[i]);
        }
        Py_DECREF(values[i]);
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}

/* Each parameter set is a tuple here, so that nothing changes under us. */
static int
encode_all_sets(OperationObject *op, const hp_plan *plan)
{
    Py_ssize_t sets = PyTuple_GET_SIZE(op->args);
    for (Py_ssize_t i = 0; i < sets; i++) {
        PyObject *set = PyTuple_GET_ITEM(op->args, i);
        PyObject *const *values = &PyTuple_GET_ITEM(set, 0);
        if (encode_set(op, plan, values, PyTuple_GET_SIZE(set), i) < 0) {
            return -1;
        }
    }
    return 0;
}

void
hp_statement_bind_set(OperationObject *op, Py_ssize_t set)
{
    hp_encoded *encoded = &op->encoded;
    for (int i = 0; i < encoded->nparams; i++) {
        Py_ssize_t at = set * encoded->nparams + i;
        bool null = encoded->offsets[at] < 0;
        encoded->values[i] = null ? NULL : (encoded->buf.data ? encoded->buf.data + encoded->offsets[at] : "");
        encoded->lengths[i] = encoded->all_lengths[at];
    }
}

int
hp_statement_bind(OperationObject *op, hp_codec_set *codecs)
{
    hp_plan *plan = plan_for(op, codecs);
    hp_encoded *encoded = &op->encoded;
    bool many = op->kind == HP_OP_EXECUTEMANY;
    Py_ssize_t sets = many ? PyTuple_GET_SIZE(op->args) : 1;
    Py_ssize_t given = many || op->args == NULL ? 0 : PyTuple_GET_SIZE(op->args);
    if (plan == NULL) {
        return -1;
    }
    if (op->plan != plan) {
        hp_plan_unref(op->plan);
        plan->refs++;
        op->plan = plan;
    }
    op->req.bound_for = codecs;
    op->req.result_format = plan->text ? 0 : 1;
    if (plan->nparams == 0 && !many && given == 0) {
        op->req.params.n = 0;
        return 0;
    }
    if (make_room(encoded, plan->nparams, sets) < 0) {
        return -1;
    }
    for (int i = 0; i < plan->nparams; i++) {
        encoded->formats[i] = plan->params[i]->param_format;
    }
    PyObject *const *values = given ? &PyTuple_GET_ITEM(op->args, 0) : NULL;
    int rc = many ? encode_all_sets(op, plan) : encode_set(op, plan, values, given, 0);
    if (rc < 0) {
        return -1;
    }
    if (!many && encoded->buf.len > MAX_MESSAGE_BYTES) {
        PyErr_Format(op->pool->state->errors.InterfaceError,
                     "the arguments of a query take at most 1 GiB together, these take %zd bytes", encoded->buf.len);
        return -1;
    }
    op->req.params = (hp_params){plan->nparams, encoded->values, encoded->lengths, encoded->formats};
    if (!many) {
        hp_statement_bind_set(op, 0);
    }
    return 0;
}

/* ---- results ---- */

static PyObject *
decode_field(hp_codec_state *state, const hp_codec *codec, const PGresult *result, int row, int column, bool text)
{
    if (PQgetisnull(result, row, column)) {
        Py_RETURN_NONE;
    }
    hp_decode_fn decode = text ? codec->decode_text : codec->decode;
    PyObject *value = decode(state, codec, PQgetvalue(result, row, column), PQgetlength(result, row, column));
    return value;
}

static PyObject *
decode_row(OperationObject *op, const hp_plan *plan, const PGresult *result, int row)
{
    hp_state *state = op->pool->state;
    PyObject *record = hp_record_new(&state->record, op->record_class, plan->desc);
    if (record == NULL) {
        return NULL;
    }
    for (int i = 0; i < plan->ncolumns; i++) {
        PyObject *value = decode_field(&state->codec, plan->columns[i], result, row, i, plan->text);
        if (value == NULL) {
            Py_DECREF(record);
            return NULL;
        }
        hp_record_set_item(record, i, value);
    }
    hp_record_finish(record);
    return record;
}

static PyObject *
decode_rows(OperationObject *op, const hp_plan *plan, const PGresult *result)
{
    int n = PQntuples(result);
    PyObject *rows = PyList_New(n);
    for (int i = 0; rows != NULL && i < n; i++) {
        PyObject *record = decode_row(op, plan, result, i);
        if (record == NULL) {
            Py_DECREF(rows);
            return NULL;
        }
        PyList_SET_ITEM(rows, i, record);
    }
    return rows;
}

static PyObject *
decode_value(OperationObject *op, const hp_plan *plan, const PGresult *result)
{
    Py_ssize_t column = op->column < 0 ? op->column + plan->ncolumns : op->column;
    if (column < 0 || column >= plan->ncolumns) {
        PyErr_Format(PyExc_IndexError, "column %zd is out of range: the row has %d columns", op->column,
                     plan->ncolumns);
        return NULL;
    }
    return decode_field(&op->pool->state->codec, plan->columns[column], result, 0, (int)column, plan->text);
}

static bool
plan_fits(const hp_plan *plan, const PGresult *result)
{
    if (PQnfields(result) != plan->ncolumns) {
        return false;
    }
    for (int i = 0; i < plan->ncolumns; i++) {
        if (PQftype(result, i) != plan->column_oids[i] || PQfformat(result, i) != (plan->text ? 0 : 1) ||
            PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(plan->names, i), PQfname(result, i)) != 0) {
            /* the comparison is of bytes as Latin-1: other names take the long way, correctly */
            return false;
        }
    }
    return true;
}

/* The first execution on a session that was prepared with an older description
 * may answer with other columns: read them as they say they are. */
static hp_plan *
plan_of_result(OperationObject *op, const PGresult *result)
{
    hp_plan *plan = start_plan(op->pool, result, op->plan->codecs);
    if (plan == NULL) {
        return NULL;
    }
    int unknown = fill_codecs(op->pool->registry, plan);
    bool binary = plan->ncolumns > 0 && PQfformat(result, 0) == 1;
    if (unknown > 0 || (binary && plan->text)) {
        PyErr_SetString(op->pool->state->errors.InternalClientError,
                        "the result has other columns than the statement was described with, and of unknown types");
        hp_plan_unref(plan);
        return NULL;
    }
    plan->text = !binary;
    return plan;
}

static PyObject *
decode_with(OperationObject *op, const hp_plan *plan, const PGresult *result)
{
    int rows = PQntuples(result);
    switch (op->kind) {
    case HP_OP_FETCH:
        return decode_rows(op, plan, result);
    case HP_OP_FETCHROW:
        if (rows > 0) {
            return decode_row(op, plan, result, 0);
        }
        break;
    case HP_OP_FETCHVAL:
        if (rows > 0) {
            return decode_value(op, plan, result);
        }
        break;
    default:
        break;
    }
    Py_RETURN_NONE;
}

PyObject *
hp_statement_result(OperationObject *op, const PGresult *result)
{
    if (op->kind == HP_OP_EXECUTE) {
        return PyUnicode_FromString(PQcmdStatus((PGresult *)result));
    }
    if (op->kind == HP_OP_EXECUTEMANY) {
        Py_RETURN_NONE;
    }
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        return op->kind == HP_OP_FETCH ? PyList_New(0) : Py_NewRef(Py_None);
    }
    const hp_plan *plan = op->plan;
    if (op->req.was_prepared || plan_fits(plan, result)) {
        return decode_with(op, plan, result);
    }
    hp_plan *own = plan_of_result(op, result);
    PyObject *value = own ? decode_with(op, own, result) : NULL;
    hp_plan_unref(own);
    return value;
}
