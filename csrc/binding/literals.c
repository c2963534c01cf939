/*
 * literals.c - parameters of an SQL text replaced by literals, for a statement
 * that takes none (COPY).
 *
 * A parameter is what PostgreSQL's lexer takes for one: not what looks like one
 * in a string, a quoted name or a comment.
 */
#include "module.h"

#include "engine/sqllex.h"

#include <string.h>

/* The number of the parameter that a token which ends at `end` is, from 1; 0: it is none. */
static Py_ssize_t
parameter_number(const hp_token *token, const char *end)
{
    Py_ssize_t number = 0;
    if (token->kind != HP_TOKEN_LITERAL || token->start[0] != '$') {
        return 0;
    }
    for (const char *p = token->start + 1; p < end; p++) {
        if (*p < '0' || *p > '9') {
            return 0; /* a dollar quote */
        }
        number = number * 10 + (*p - '0');
        if (number > HP_MAX_PARAMS) {
            return 0;
        }
    }
    return number;
}

static int
put_literal(hp_buf *buf, PyObject *literals, Py_ssize_t number)
{
    Py_ssize_t len;
    if (number > PyTuple_GET_SIZE(literals)) {
        PyErr_Format(PyExc_ValueError, "there is no value for $%zd", number);
        return -1;
    }
    const char *text = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(literals, number - 1), &len);
    return text == NULL ? -1 : hp_buf_append(buf, text, len);
}

PyObject *
hp_literals_insert(PyObject *args)
{
    const char *sql;
    Py_ssize_t len;
    PyObject *literals;
    int standard_strings;
    hp_buf buf = {0};
    hp_token token;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "s#O!p:insert_literals", &sql, &len, &PyTuple_Type, &literals, &standard_strings)) {
        return NULL;
    }
    hp_lexer lexer = {.next = sql, .end = sql + len, .standard_strings = standard_strings};
    const char *copied = sql;
    for (hp_sqllex_next(&lexer, &token); token.kind != HP_TOKEN_END; hp_sqllex_next(&lexer, &token)) {
        Py_ssize_t number = parameter_number(&token, lexer.next);
        if (number == 0) {
            continue;
        }
        if (hp_buf_append(&buf, copied, token.start - copied) < 0 || put_literal(&buf, literals, number) < 0) {
            goto done;
        }
        copied = lexer.next;
    }
    if (hp_buf_append(&buf, copied, sql + len - copied) == 0) {
        result = PyUnicode_DecodeUTF8(buf.data, buf.len, NULL);
    }
done:
    hp_buf_free(&buf);
    return result;
}
