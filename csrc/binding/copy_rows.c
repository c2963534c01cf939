/*
 * copy_rows.c - records as the rows of a binary COPY (copy.h).
 *
 * A slice of records at a time: encoded with the codecs of the columns, straight
 * into the buffer that libpq gets. A slice ends at HP_COPY_SLICE_BYTES, or after a
 * while where the records are slow to come, so that the loop has its turn in between.
 *
 * The records are the user's, and so may be the iterator and the codecs: their code
 * may end the COPY, its session or the pool.
 */
#include "binding/copy.h"

#include "codec/wire.h"

#include <string.h>

static const hp_time SLICE_TIME_US = 4 * HP_MS;
enum { RECORDS_PER_CLOCK = 16 };

static hp_state *
state_of(CopyObject *self)
{
    return self->connection->pool->state;
}

int
hp_copy_rows_begin(CopyObject *self)
{
    static const char HEADER[] = "PGCOPY\n\377\r\n\0" /* the signature */
                                 "\0\0\0\0"           /* flags */
                                 "\0\0\0";            /* length of more of a header; the last byte is the literal's */
    for (int i = 0; i < self->plan->ncolumns; i++) {
        const hp_codec *codec = self->plan->columns[i];
        if (!codec->param_format) {
            PyErr_Format(state_of(self)->errors.InternalClientError, "no binary format encoder for type %s (OID %u)",
                         codec->name, (unsigned)codec->oid);
            return -1;
        }
    }
    return hp_buf_append(&self->buf, HEADER, sizeof HEADER);
}

int
hp_copy_rows_end(CopyObject *self)
{
    return hp_buf_put_int16(&self->buf, -1);
}

/* Turn what an encoder raised into the error that names the value. */
static void
raise_data_error(CopyObject *self, int i, PyObject *value)
{
    if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_ValueError) &&
        !PyErr_ExceptionMatches(PyExc_OverflowError)) {
        return;
    }
    PyObject *cause = hp_errors_take();
    PyObject *repr = hp_params_shown(value);
    PyObject *text = repr ? PyUnicode_FromFormat("invalid input in record %zu for column \"%U\": %U (%S)", self->record,
                                                 PyTuple_GET_ITEM(self->plan->names, i), repr, cause)
                          : NULL;
    Py_XDECREF(repr);
    hp_errors_raise_from(state_of(self)->errors.ClientDataError, text, cause);
}

static int
encode_value(CopyObject *self, const hp_codec *codec, PyObject *value)
{
    enum { LENGTH_BYTES = 4 };
    hp_buf *buf = &self->buf;
    if (value == Py_None) {
        return hp_buf_put_int32(buf, -1);
    }
    Py_ssize_t start = buf->len;
    if (hp_buf_put_int32(buf, 0) < 0 || codec->encode(&state_of(self)->codec, codec, value, buf) < 0) {
        return -1;
    }
    hp_set_u32(buf->data + start, (uint32_t)(buf->len - start - LENGTH_BYTES));
    return 0;
}

/* New reference: a record's values, which nothing changes while they are encoded. */
static PyObject *
values_of(CopyObject *self, PyObject *row)
{
    if (PyTuple_Check(row)) {
        return Py_NewRef(row);
    }
    if (PyUnicode_Check(row) || PyBytes_Check(row) || PyDict_Check(row) || !PySequence_Check(row)) {
        PyErr_Format(state_of(self)->errors.ClientDataError,
                     "invalid input in record %zu: a sequence of values is expected, got %.100s", self->record,
                     Py_TYPE(row)->tp_name);
        return NULL;
    }
    return PySequence_Tuple(row);
}

static int
check_count(CopyObject *self, Py_ssize_t n)
{
    int expected = self->plan->ncolumns;
    if (n != expected) {
        PyErr_Format(state_of(self)->errors.ClientDataError, "invalid input in record %zu: %zd value%s for %d column%s",
                     self->record, n, n == 1 ? "" : "s", expected, expected == 1 ? "" : "s");
        return -1;
    }
    return 0;
}

/* Append one row; nothing of it where that fails. */
static int
encode_row(CopyObject *self, PyObject *row)
{
    const hp_plan *plan = self->plan;
    Py_ssize_t start = self->buf.len;
    self->record++;
    PyObject *values = values_of(self, row);
    if (values == NULL) {
        return -1;
    }
    self->buf.mark = start;
    int rc = check_count(self, PyTuple_GET_SIZE(values));
    rc = rc < 0 ? rc : hp_buf_put_int16(&self->buf, (int16_t)plan->ncolumns);
    for (int i = 0; rc == 0 && i < plan->ncolumns; i++) {
        PyObject *value = PyTuple_GET_ITEM(values, i);
        rc = encode_value(self, plan->columns[i], value);
        if (rc < 0) {
            raise_data_error(self, i, value);
        }
    }
    if (rc < 0) {
        self->buf.len = start;
    }
    Py_DECREF(values);
    return rc;
}

/* A column that the table generates is described, but not copied. */
static int
check_columns(CopyObject *self)
{
    if (self->copy.columns != self->plan->ncolumns) {
        PyErr_Format(state_of(self)->errors.InterfaceError,
                     "COPY fills %d of the %d columns of the table, the others are generated: name the ones to fill "
                     "with columns=",
                     self->copy.columns, self->plan->ncolumns);
        return -1;
    }
    return 0;
}

static int
check(CopyObject *self)
{
    if (hp_copy_check(self) < 0) {
        return -1;
    }
    if (self->plan == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the COPY is not one of records");
        return -1;
    }
    return check_columns(self);
}

/* Encode a slice. 1: there may be more, 0: those were all, -1 with an exception. */
static int
encode_slice(CopyObject *self, PyObject *iterator)
{
    hp_time began = hp_now();
    for (int n = 1;; n++) {
        PyObject *row = PyIter_Next(iterator);
        if (row == NULL) {
            return PyErr_Occurred() ? -1 : 0;
        }
        int rc = encode_row(self, row);
        Py_DECREF(row);
        if (rc < 0) {
            return -1;
        }
        if (self->buf.len >= HP_COPY_SLICE_BYTES || (n % RECORDS_PER_CLOCK == 0 && hp_now() - began >= SLICE_TIME_US)) {
            return 1;
        }
    }
}

PyObject *
hp_copy_put_rows(CopyObject *self, PyObject *iterator)
{
    if (check(self) < 0) {
        return NULL;
    }
    if (!PyIter_Check(iterator)) {
        PyErr_Format(PyExc_TypeError, "an iterator is expected, got %.100s", Py_TYPE(iterator)->tp_name);
        return NULL;
    }
    self->busy = true;
    int more = encode_slice(self, iterator);
    self->busy = false;
    if (more < 0 || hp_copy_check(self) < 0) {
        return NULL;
    }
    return hp_copy_put_buffer(self) < 0 ? NULL : PyBool_FromLong(more);
}

PyObject *
hp_copy_add_row(CopyObject *self, PyObject *row)
{
    if (check(self) < 0) {
        return NULL;
    }
    self->busy = true;
    int rc = encode_row(self, row);
    self->busy = false;
    return rc < 0 ? NULL : PyBool_FromLong(self->buf.len >= HP_COPY_SLICE_BYTES);
}
