/*
 * params.c - the arguments of an operation, encoded for its statement.
 *
 * All of them, of executemany() of all its sets, are encoded before anything is
 * sent: bad input costs nothing but its error. The values lie one after another
 * in the operation's buffer; libpq gets pointers into it.
 *
 * Called by start.c and, through loop.c, by the engine.
 */
#include "binding/plan.h"

#include <string.h>

/* The server gives up a session that sends a longer message (its
 * PQ_LARGE_MESSAGE_LIMIT); in a Bind message each parameter takes a length and a
 * format besides its value, and there are the statement's name and counts. */
static const Py_ssize_t MAX_MESSAGE_BYTES = 0x3FFFFFFE;
enum { BYTES_PER_PARAM = 6, OTHER_BYTES = 64 };

void
hp_encoded_clear(hp_encoded *encoded)
{
    enum { KEPT_BYTES = 4096 };
    if (encoded->buf.cap > KEPT_BYTES) {
        hp_buf_free(&encoded->buf);
    }
    encoded->buf.len = encoded->buf.mark = 0;
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

PyObject *
hp_params_shown(PyObject *value)
{
    enum { MOST_CHARS = 40 };
    PyObject *repr = PyObject_Repr(value);
    if (repr == NULL || PyUnicode_GET_LENGTH(repr) <= MOST_CHARS) {
        return repr;
    }
    PyObject *start = PyUnicode_Substring(repr, 0, MOST_CHARS);
    Py_DECREF(repr);
    PyObject *result = start ? PyUnicode_FromFormat("%U...", start) : NULL;
    Py_XDECREF(start);
    return result;
}

/* Turn what an encoder raised into the error that names the argument. */
static void
raise_data_error(OperationObject *op, int i, Py_ssize_t set, PyObject *value)
{
    const hp_errors_state *errors = &op->pool->state->errors;
    if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError) ||
        PyErr_ExceptionMatches(errors->InterfaceError) || PyErr_ExceptionMatches(errors->InternalClientError)) {
        return;
    }
    PyObject *cause = hp_errors_take();
    PyObject *repr = hp_params_shown(value);
    PyObject *where = hp_op_has_sets(op) ? PyUnicode_FromFormat(" in element #%zd of %s() sequence",
                                                                op->sets_before + set, strchr(hp_op_name(op), '.') + 1)
                                         : PyUnicode_FromString("");
    PyObject *text = repr && where ? PyUnicode_FromFormat("invalid input for query argument $%d%U: %U (%S)", i + 1,
                                                          where, repr, cause)
                                   : NULL;
    Py_XDECREF(repr);
    Py_XDECREF(where);
    hp_errors_raise_from(errors->ClientDataError, text, cause);
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
    const char *hint = expected > 0
                           ? "Compare the numbers ($1, $2, ...) in the query with what is passed after it."
                           : "No parameter ($1) is in the query, or it is of a kind that takes none: PostgreSQL has "
                             "parameters in SELECT, INSERT, UPDATE, DELETE, MERGE and VALUES, not in CREATE, SET, ...";
    PyObject *args = Py_BuildValue(
        "(N)", PyUnicode_FromFormat("the server expects %d argument%s for this query, %zd %s passed", expected,
                                    expected == 1 ? "" : "s", given, given == 1 ? "was" : "were"));
    PyObject *keywords = Py_BuildValue("{ss}", "hint", hint);
    PyObject *error = args && keywords ? PyObject_Call(op->pool->state->errors.InterfaceError, args, keywords) : NULL;
    Py_XDECREF(args);
    Py_XDECREF(keywords);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
}

static int
encode_set(OperationObject *op, const hp_plan *plan, PyObject *const *values, Py_ssize_t n, Py_ssize_t set)
{
    if (n != plan->nparams) {
        raise_count_error(op, n);
        return -1;
    }
    op->encoded.buf.mark = op->encoded.buf.len; /* each set is a message of its own */
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
    Py_ssize_t bytes = op->encoded.buf.len - op->encoded.buf.mark;
    if (bytes > MAX_MESSAGE_BYTES - OTHER_BYTES - (Py_ssize_t)plan->nparams * BYTES_PER_PARAM) {
        PyErr_Format(op->pool->state->errors.ClientDataError,
                     "the arguments of a query take less than 1 GiB together, these take %zd bytes", bytes);
        return -1;
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
hp_params_use_set(OperationObject *op, Py_ssize_t set)
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
hp_params_bind(OperationObject *op, hp_codec_set *codecs)
{
    hp_plan *plan = hp_plan_for(op, codecs);
    hp_encoded *encoded = &op->encoded;
    bool many = hp_op_has_sets(op);
    Py_ssize_t sets = many ? PyTuple_GET_SIZE(op->args) : 1;
    Py_ssize_t given = many || op->args == NULL ? 0 : PyTuple_GET_SIZE(op->args);
    if (plan == NULL) {
        return -1;
    }
    if (op->plan != plan) {
        hp_plan *before = op->plan;
        plan->refs++;
        op->plan = plan;
        hp_plan_unref(before);
    }
    op->req.bound_for = codecs;
    op->req.result_format = plan->text ? 0 : 1;
    if (op->fetch != NULL && op->declare == NULL) {
        op->req.params.n = 0; /* the cursor has them */
        return 0;
    }
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
    op->req.params = (hp_params){plan->nparams, encoded->values, encoded->lengths, encoded->formats};
    if (!many) {
        hp_params_use_set(op, 0);
    }
    return 0;
}
