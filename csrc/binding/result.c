/*
 * result.c - from a result of the server to what the caller awaits: rows, a value,
 * a status.
 *
 * Rows are made a block at a time. In a block the columns of common types are decoded
 * one column after another (codec/columns.c), then the others row by row.
 *
 * Called through loop.c and portions.c by the engine.
 */
#include "binding/plan.h"

/* ---- fields ---- */

static bool
has_reader(const hp_plan *plan, int column)
{
    return !plan->text && plan->readers[column] != NULL;
}

static inline PyObject *
decode_field(hp_codec_state *state, const hp_codec *codec, const PGresult *result, int row, int column, bool text)
{
    int len = PQgetlength(result, row, column);
    if (len == 0 && PQgetisnull(result, row, column)) {
        Py_RETURN_NONE;
    }
    hp_decode_fn decode = text ? codec->decode_text : codec->decode;
    return decode(state, codec, PQgetvalue(result, row, column), len);
}

static PyObject *
decode_dict(OperationObject *op, const hp_plan *plan, const PGresult *result, int row)
{
    PyObject *dict = PyDict_New();
    for (int i = 0; dict != NULL && i < plan->ncolumns; i++) {
        PyObject *value = decode_field(&op->pool->state->codec, plan->columns[i], result, row, i, plan->text);
        if (value == NULL || PyDict_SetItem(dict, PyTuple_GET_ITEM(plan->names, i), value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(value);
    }
    return dict;
}

static int
decode_dicts(OperationObject *op, const hp_plan *plan, const PGresult *result, int first, int n, PyObject **rows)
{
    for (int i = 0; i < n; i++) {
        rows[i] = decode_dict(op, plan, result, first + i);
        if (rows[i] == NULL) {
            return i;
        }
    }
    return n;
}

/* ---- Records, a block of rows at a time ---- */

/* As many rows as still are in the processor's nearest cache with all that belongs to
 * them; and from how many on reading by column is the faster way. */
enum { BLOCK_ROWS = 64, LEAST_ROWS = 3 };

/* New rows without values. Their number; less than n with an exception. */
static int
make_records(OperationObject *op, const hp_plan *plan, int n, PyObject **rows)
{
    for (int i = 0; i < n; i++) {
        rows[i] = hp_record_new(&op->pool->state->record, op->record_class, plan->desc);
        if (rows[i] == NULL) {
            return i;
        }
    }
    return n;
}

static int
read_column(OperationObject *op, const hp_plan *plan, const PGresult *result, int column, int first, int n,
            PyObject **rows)
{
    hp_field fields[BLOCK_ROWS];
    PyObject *values[BLOCK_ROWS];
    for (int i = 0; i < n; i++) {
        fields[i].len = PQgetlength(result, first + i, column);
        bool null = fields[i].len == 0 && PQgetisnull(result, first + i, column);
        fields[i].data = null ? NULL : PQgetvalue(result, first + i, column);
    }
    int read = plan->readers[column](&op->pool->state->codec, plan->columns[column], fields, n, values);
    for (int i = 0; i < read; i++) {
        hp_record_set_item(rows[i], column, values[i]);
    }
    return read < n ? -1 : 0;
}

/* A row field by field: all, or those without a reader, in the order in which the
 * user's decoders are to see them. */
static int
read_row(OperationObject *op, const hp_plan *plan, const PGresult *result, int row, bool all, PyObject *record)
{
    hp_codec_state *state = &op->pool->state->codec;
    const hp_codec *const *columns = plan->columns;
    int ncolumns = plan->ncolumns;
    bool text = plan->text;
    bool track = false;
    for (int i = 0; i < ncolumns; i++) {
        bool other = !has_reader(plan, i);
        if (!all && !other) {
            continue;
        }
        PyObject *value = decode_field(state, columns[i], result, row, i, text);
        if (value == NULL) {
            return -1;
        }
        track |= other && hp_record_may_join_cycle(value);
        hp_record_set_item(record, i, value);
    }
    hp_record_complete(record, track);
    return 0;
}

static int
fill_records(OperationObject *op, const hp_plan *plan, const PGresult *result, int first, int n, PyObject **rows)
{
    bool all = n < LEAST_ROWS;
    bool others = all;
    for (int i = 0; i < plan->ncolumns && !all; i++) {
        if (!has_reader(plan, i)) {
            others = true;
        } else if (read_column(op, plan, result, i, first, n, rows) < 0) {
            return -1;
        }
    }
    for (int i = 0; i < n; i++) {
        if (!others) {
            hp_record_complete(rows[i], false);
        } else if (read_row(op, plan, result, first + i, all, rows[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

/* n new references, of at most BLOCK_ROWS; or none, and -1 with an exception. */
static int
decode_block(OperationObject *op, const hp_plan *plan, const PGresult *result, int first, int n, PyObject **rows)
{
    bool dicts = op->record_class == &PyDict_Type;
    int made = dicts ? decode_dicts(op, plan, result, first, n, rows) : make_records(op, plan, n, rows);
    if (made == n && (dicts || fill_records(op, plan, result, first, n, rows) == 0)) {
        return 0;
    }
    while (made > 0) {
        Py_DECREF(rows[--made]);
    }
    return -1;
}

static PyObject *
decode_row(OperationObject *op, const hp_plan *plan, const PGresult *result)
{
    PyObject *row;
    return decode_block(op, plan, result, 0, 1, &row) < 0 ? NULL : row;
}

static PyObject *
decode_rows(OperationObject *op, const hp_plan *plan, const PGresult *result)
{
    PyObject *block[BLOCK_ROWS];
    int total = PQntuples(result);
    PyObject *rows = PyList_New(total);
    for (int first = 0; rows != NULL && first < total; first += BLOCK_ROWS) {
        int n = total - first < BLOCK_ROWS ? total - first : BLOCK_ROWS;
        if (decode_block(op, plan, result, first, n, block) < 0) {
            Py_DECREF(rows);
            return NULL;
        }
        for (int i = 0; i < n; i++) {
            PyList_SET_ITEM(rows, first + i, block[i]);
        }
    }
    return rows;
}

/* ---- what else is asked for ---- */

/* Of columns with the same name the last one, as a Record has it. -1: KeyError. */
static Py_ssize_t
column_of_name(const hp_plan *plan, PyObject *name)
{
    for (Py_ssize_t i = plan->ncolumns - 1; i >= 0; i--) {
        int rc = PyUnicode_Compare(PyTuple_GET_ITEM(plan->names, i), name);
        if (rc == 0 || PyErr_Occurred()) {
            return rc == 0 ? i : -1;
        }
    }
    PyErr_SetObject(PyExc_KeyError, name);
    return -1;
}

static PyObject *
decode_value(OperationObject *op, const hp_plan *plan, const PGresult *result)
{
    Py_ssize_t column = op->column < 0 ? op->column + plan->ncolumns : op->column;
    if (op->column_name != NULL) {
        column = column_of_name(plan, op->column_name);
        if (column < 0) {
            return NULL;
        }
    }
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

static PyObject *
decode_as_asked(OperationObject *op, const hp_plan *plan, const PGresult *result)
{
    int rows = PQntuples(result);
    switch (op->kind) {
    case HP_OP_FETCH:
    case HP_OP_FETCHMANY:
        return decode_rows(op, plan, result);
    case HP_OP_FETCHROW:
        if (rows > 0) {
            return decode_row(op, plan, result);
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

static PyObject *
decode_with(OperationObject *op, const hp_plan *plan, const PGresult *result)
{
    PGconn *pg = plan->text && op->req.conn ? op->req.conn->pg : NULL;
    hp_text_style style;
    if (pg == NULL ||
        !hp_text_style_read(PQparameterStatus(pg, "DateStyle"), PQparameterStatus(pg, "TimeZone"), &style)) {
        return decode_as_asked(op, plan, result);
    }
    hp_codec_state *state = &op->pool->state->codec;
    const hp_text_style *before = state->text_style;
    state->text_style = &style;
    PyObject *value = decode_as_asked(op, plan, result);
    state->text_style = before;
    return value;
}

PyObject *
hp_plan_result(OperationObject *op, const PGresult *result)
{
    if (op->kind == HP_OP_EXECUTE) {
        return PyUnicode_FromString(PQcmdStatus((PGresult *)result));
    }
    if (op->kind == HP_OP_EXECUTEMANY || op->kind == HP_OP_PREPARE) {
        Py_RETURN_NONE;
    }
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        return op->kind == HP_OP_FETCH || op->kind == HP_OP_FETCHMANY ? PyList_New(0) : Py_NewRef(Py_None);
    }
    const hp_plan *plan = op->plan;
    if (op->req.as_described || plan_fits(plan, result)) {
        return decode_with(op, plan, result);
    }
    hp_plan *own = hp_plan_of_result(op, result);
    PyObject *value = own ? decode_with(op, own, result) : NULL;
    hp_plan_unref(own);
    return value;
}
