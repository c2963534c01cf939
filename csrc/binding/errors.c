/*
 * errors.c - see errors.h.
 */
#include "binding/errors.h"

#include <errno.h>
#include <frameobject.h>

/* Every field a server error can have, with PostgreSQL's letter for it. */
static const struct {
    char letter[2];
    int code;
} FIELDS[] = {
    {"S", PG_DIAG_SEVERITY},           {"V", PG_DIAG_SEVERITY_NONLOCALIZED},
    {"C", PG_DIAG_SQLSTATE},           {"M", PG_DIAG_MESSAGE_PRIMARY},
    {"D", PG_DIAG_MESSAGE_DETAIL},     {"H", PG_DIAG_MESSAGE_HINT},
    {"P", PG_DIAG_STATEMENT_POSITION}, {"p", PG_DIAG_INTERNAL_POSITION},
    {"q", PG_DIAG_INTERNAL_QUERY},     {"W", PG_DIAG_CONTEXT},
    {"s", PG_DIAG_SCHEMA_NAME},        {"t", PG_DIAG_TABLE_NAME},
    {"c", PG_DIAG_COLUMN_NAME},        {"d", PG_DIAG_DATATYPE_NAME},
    {"n", PG_DIAG_CONSTRAINT_NAME},    {"F", PG_DIAG_SOURCE_FILE},
    {"L", PG_DIAG_SOURCE_LINE},        {"R", PG_DIAG_SOURCE_FUNCTION},
};
enum { N_FIELDS = sizeof FIELDS / sizeof FIELDS[0] };

static int
take_attribute(const char *module_name, const char *name, PyObject **where)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL) {
        return -1;
    }
    *where = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return *where == NULL ? -1 : 0;
}

int
hp_errors_init(PyObject *module, hp_errors_state *state)
{
    static const char OURS[] = "holisticpool.exceptions";
    (void)module;
    if (take_attribute(OURS, "_new_server_error", &state->new_server_error) < 0 ||
        take_attribute(OURS, "InterfaceError", &state->InterfaceError) < 0 ||
        take_attribute(OURS, "InterfaceWarning", &state->InterfaceWarning) < 0 ||
        take_attribute(OURS, "InternalClientError", &state->InternalClientError) < 0 ||
        take_attribute(OURS, "ClientConfigurationError", &state->ClientConfigurationError) < 0 ||
        take_attribute(OURS, "ClientDataError", &state->ClientDataError) < 0 ||
        take_attribute(OURS, "ConnectionDoesNotExistError", &state->ConnectionDoesNotExistError) < 0 ||
        take_attribute(OURS, "PoolExhaustedError", &state->PoolExhaustedError) < 0 ||
        take_attribute(OURS, "ServerUnavailableError", &state->ServerUnavailableError) < 0 ||
        take_attribute(OURS, "OutdatedSchemaCacheError", &state->OutdatedSchemaCacheError) < 0 ||
        take_attribute(OURS, "QueryTimeoutError", &state->QueryTimeoutError) < 0 ||
        take_attribute(OURS, "TargetServerAttributeNotMatched", &state->TargetServerAttributeNotMatched) < 0 ||
        take_attribute("asyncio", "TimeoutError", &state->TimeoutError) < 0 ||
        take_attribute("asyncio", "CancelledError", &state->CancelledError) < 0 ||
        take_attribute("asyncio", "InvalidStateError", &state->InvalidStateError) < 0) {
        return -1;
    }
    return 0;
}

#define FOR_EACH_MEMBER(DO)                                                                                            \
    DO(new_server_error)                                                                                               \
    DO(InterfaceError)                                                                                                 \
    DO(InterfaceWarning)                                                                                               \
    DO(InternalClientError)                                                                                            \
    DO(ClientConfigurationError)                                                                                       \
    DO(ClientDataError)                                                                                                \
    DO(ConnectionDoesNotExistError)                                                                                    \
    DO(PoolExhaustedError)                                                                                             \
    DO(ServerUnavailableError)                                                                                         \
    DO(TargetServerAttributeNotMatched)                                                                                \
    DO(OutdatedSchemaCacheError)                                                                                       \
    DO(QueryTimeoutError)                                                                                              \
    DO(TimeoutError)                                                                                                   \
    DO(CancelledError)                                                                                                 \
    DO(InvalidStateError)

int
hp_errors_traverse(hp_errors_state *state, visitproc visit, void *arg)
{
#define VISIT(member) Py_VISIT(state->member);
    FOR_EACH_MEMBER(VISIT)
#undef VISIT
    return 0;
}

void
hp_errors_clear(hp_errors_state *state)
{
#define CLEAR(member) Py_CLEAR(state->member);
    FOR_EACH_MEMBER(CLEAR)
#undef CLEAR
}

/* ---- building ---- */

/* The server's language and encoding are its own: nothing in an error may make
 * reporting it fail. */
static PyObject *
text_of(const char *text)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "backslashreplace");
}

static int
set_field(PyObject *fields, const char *letter, const char *text)
{
    PyObject *value = text_of(text);
    if (value == NULL) {
        return -1;
    }
    int rc = PyDict_SetItemString(fields, letter, value);
    Py_DECREF(value);
    return rc;
}

static PyObject *
server_error(hp_errors_state *state, PyObject *fields, PyObject *query)
{
    if (fields == NULL) {
        return NULL;
    }
    PyObject *exception = PyObject_CallFunctionObjArgs(state->new_server_error, fields, query ? query : Py_None, NULL);
    Py_DECREF(fields);
    return exception;
}

static PyObject *
fields_of_result(const PGresult *result)
{
    PyObject *fields = PyDict_New();
    for (int i = 0; fields != NULL && i < N_FIELDS; i++) {
        const char *text = PQresultErrorField(result, FIELDS[i].code);
        if (text != NULL && set_field(fields, FIELDS[i].letter, text) < 0) {
            Py_CLEAR(fields);
        }
    }
    return fields;
}

static PyObject *
fields_of_error(const hp_error *err, const char *severity)
{
    PyObject *fields = PyDict_New();
    if (fields == NULL) {
        return NULL;
    }
    if (set_field(fields, "S", severity) < 0 || set_field(fields, "V", severity) < 0 ||
        set_field(fields, "C", err->sqlstate) < 0 || set_field(fields, "M", err->text) < 0) {
        Py_DECREF(fields);
        return NULL;
    }
    return fields;
}

static PyObject *
from_text(PyObject *class, const char *message)
{
    PyObject *text = text_of(message);
    PyObject *exception = text ? PyObject_CallOneArg(class, text) : NULL;
    Py_XDECREF(text);
    return exception;
}

static PyObject *
plain(PyObject *class, const hp_error *err)
{
    return from_text(class, err->text);
}

/* No host of the list was what target_session_attrs asks for: libpq's own words,
 * it gives no code for that. */
static bool
is_wrong_server(const char *text)
{
    static const char *const WORDS[] = {"session is read-only", "session is not read-only",
                                        "server is in hot standby mode", "server is not in hot standby mode"};
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++) {
        if (strstr(text, WORDS[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static PyObject *
connect_error(hp_errors_state *state, const hp_error *err)
{
    if (err->sqlstate[0] != '\0') {
        return server_error(state, fields_of_error(err, "FATAL"), NULL);
    }
    if (err->refused) {
        PyObject *text = text_of(err->text);
        PyObject *exception =
            text ? PyObject_CallFunction(PyExc_ConnectionRefusedError, "iO", ECONNREFUSED, text) : NULL;
        Py_XDECREF(text);
        return exception;
    }
    return plain(is_wrong_server(err->text) ? state->TargetServerAttributeNotMatched : PyExc_ConnectionError, err);
}

/* class(text, **keywords); steals keywords. */
static PyObject *
with_keywords(PyObject *class, const hp_error *err, PyObject *keywords)
{
    PyObject *args = keywords ? Py_BuildValue("(N)", text_of(err->text)) : NULL;
    PyObject *exception = args ? PyObject_Call(class, args, keywords) : NULL;
    Py_XDECREF(args);
    Py_XDECREF(keywords);
    return exception;
}

static PyObject *
down_error(hp_errors_state *state, const hp_error *err, const hp_pool_report *report)
{
    PyObject *cause = report->last ? hp_errors_new(state, report->last, report, NULL) : Py_NewRef(Py_None);
    if (cause == NULL) {
        return NULL;
    }
    return with_keywords(state->ServerUnavailableError, err,
                         Py_BuildValue("{s:N,s:I}", "last_error", cause, "attempts", report->attempts));
}

/* Without its text where there is no memory for that either. */
static PyObject *
memory_error(const hp_error *err)
{
    PyObject *exception = plain(PyExc_MemoryError, err);
    if (exception == NULL) {
        PyErr_Clear();
        exception = PyObject_CallNoArgs(PyExc_MemoryError);
    }
    return exception;
}

PyObject *
hp_errors_new(hp_errors_state *state, const hp_error *err, const hp_pool_report *report, PyObject *query)
{
    if (err->raised && report != NULL && report->raised != NULL && (err->kind != HP_ERR_DOWN || err->hopeless)) {
        return Py_NewRef(report->raised);
    }
    switch (err->kind) {
    case HP_ERR_SERVER:
        if (PQresultErrorField(err->result, PG_DIAG_SQLSTATE) == NULL) {
            /* libpq's own: it could not read what the server sent */
            return from_text(state->InternalClientError, PQresultErrorMessage(err->result));
        }
        return server_error(state, fields_of_result(err->result), query);
    case HP_ERR_PIPELINE:
        return server_error(state, fields_of_error(err, "ERROR"), query);
    case HP_ERR_CONNECT:
        return connect_error(state, err);
    case HP_ERR_CONNECT_TIMEOUT:
        return plain(state->ServerUnavailableError, err);
    case HP_ERR_LOST:
    case HP_ERR_TERMINATED:
        return plain(state->ConnectionDoesNotExistError, err);
    case HP_ERR_QUERY_TIMEOUT:
        return with_keywords(state->QueryTimeoutError, err, Py_BuildValue("{s:d}", "timeout", err->seconds));
    case HP_ERR_EXHAUSTED:
    case HP_ERR_TOO_MANY_WAITERS:
        return with_keywords(state->PoolExhaustedError, err,
                             Py_BuildValue("{s:i,s:d,s:i,s:i}", "leased", report->leased, "longest_lease",
                                           report->longest_lease, "waiting", report->waiting, "max_size",
                                           report->max_size));
    case HP_ERR_DOWN:
        return down_error(state, err, report);
    case HP_ERR_CLOSED:
    case HP_ERR_ENCODING:
    case HP_ERR_USAGE:
        return plain(state->InterfaceError, err);
    case HP_ERR_NO_MEMORY:
        return memory_error(err);
    case HP_ERR_NONE:
    case HP_ERR_BINDING:
    case HP_ERR_INTERNAL:
        break;
    }
    return plain(state->InternalClientError, err);
}

/* A PostgresError's, or "". */
static void
take_sqlstate(PyObject *exception, char *sqlstate)
{
    PyObject *state = PyObject_GetAttrString(exception, "sqlstate");
    const char *text = state != NULL && PyUnicode_Check(state) ? PyUnicode_AsUTF8(state) : NULL;
    if (text != NULL && strlen(text) == HP_SQLSTATE_BYTES - 1) {
        memcpy(sqlstate, text, HP_SQLSTATE_BYTES);
    }
    PyErr_Clear();
    Py_XDECREF(state);
}

void
hp_errors_describe(hp_errors_state *state, hp_error *err, PyObject *exception, const char *what, bool quoted)
{
    PyObject *message = quoted ? PyObject_Str(exception) : NULL;
    const char *text = message ? PyUnicode_AsUTF8(message) : NULL;
    PyErr_Clear();
    if (PyErr_GivenExceptionMatches(exception, state->CancelledError)) {
        /* not to be raised in whoever waits: they were not cancelled */
        hp_error_set(err, HP_ERR_CONNECT, "%s was cancelled", what);
        Py_XDECREF(message);
        return;
    }
    hp_error_set(err, HP_ERR_CONNECT, "%s failed: %s%s%s", what, Py_TYPE(exception)->tp_name,
                 text && text[0] ? ": " : "", text ? text : "");
    Py_XDECREF(message);
    take_sqlstate(exception, err->sqlstate);
    err->raised = true;
    /* What comes of a server or a network that is away may be over soon. */
    err->hopeless = err->sqlstate[0] == '\0' && !PyErr_GivenExceptionMatches(exception, PyExc_OSError) &&
                    !PyErr_GivenExceptionMatches(exception, state->TimeoutError);
}

/* ---- raising ---- */

void
hp_errors_raise(PyObject *exception, const char *name, PyObject *globals)
{
    PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_DECREF(exception);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyCodeObject *code = PyCode_NewEmpty("holisticpool", name, 0);
    PyFrameObject *frame = code ? PyFrame_New(PyThreadState_Get(), code, globals, NULL) : NULL;
    if (frame == NULL) {
        PyErr_Clear(); /* the error itself matters more than its place */
    }
    PyErr_Restore(type, value, traceback);
    if (frame != NULL) {
        PyTraceBack_Here(frame);
    }
    Py_XDECREF((PyObject *)frame);
    Py_XDECREF((PyObject *)code);
}

void
hp_errors_raise_from(PyObject *class, PyObject *text, PyObject *cause)
{
    PyObject *error = text ? PyObject_CallOneArg(class, text) : NULL;
    Py_XDECREF(text);
    if (error == NULL) {
        Py_DECREF(cause);
        return;
    }
    PyException_SetCause(error, cause);
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

PyObject *
hp_errors_take(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}
