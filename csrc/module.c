/*
 * module.c - the extension module holisticpool._core: its state, its types and
 * its few functions, put together; nothing else.
 */
#include "module.h"

#include "binding/awaitable_method.h"
#include "binding/copy.h"
#include "engine/conninfo.h"
#include "engine/sqlscan.h"

#include <string.h>

/* ---- state of the binding ---- */

#define FOR_EACH_OBJECT(DO)                                                                                            \
    DO(PoolType)                                                                                                       \
    DO(ConnectionType)                                                                                                 \
    DO(PreparedType)                                                                                                   \
    DO(RowsType)                                                                                                       \
    DO(ReadyType)                                                                                                      \
    DO(AwaitableMethodType)                                                                                            \
    DO(OperationType)                                                                                                  \
    DO(CopyType)                                                                                                       \
    DO(FinishedType)                                                                                                   \
    DO(finished)                                                                                                       \
    DO(get_running_loop)                                                                                               \
    DO(ensure_future)                                                                                                  \
    DO(Task)                                                                                                           \
    DO(Future)                                                                                                         \
    DO(BaseEventLoop)                                                                                                  \
    DO(kw_context)                                                                                                     \
    DO(traceback_globals)                                                                                              \
    DO(str_call_soon)                                                                                                  \
    DO(str_add_reader)                                                                                                 \
    DO(str_remove_reader)                                                                                              \
    DO(str_is_closed)                                                                                                  \
    DO(str_getaddrinfo)                                                                                                \
    DO(str_add_done_callback)                                                                                          \
    DO(str_run_once)                                                                                                   \
    DO(str_ready)                                                                                                      \
    DO(str_stopping)                                                                                                   \
    DO(str_debug)                                                                                                      \
    DO(str_thread_id)                                                                                                  \
    DO(str_running)                                                                                                    \
    DO(run)                                                                                                            \
    DO(str_refill)                                                                                                     \
    DO(str_loop)                                                                                                       \
    DO(str_get_loop)                                                                                                   \
    DO(str_blocking)                                                                                                   \
    DO(str_overridden)                                                                                                 \
    DO(str_execute)                                                                                                    \
    DO(str_own_execute)                                                                                                \
    DO(query_names)                                                                                                    \
    DO(query_methods)

static int
intern_names(hp_binding_state *state)
{
    struct {
        PyObject **where;
        const char *text;
    } const names[] = {
        {&state->str_call_soon, "call_soon"},
        {&state->str_add_reader, "add_reader"},
        {&state->str_remove_reader, "remove_reader"},
        {&state->str_is_closed, "is_closed"},
        {&state->str_getaddrinfo, "getaddrinfo"},
        {&state->str_add_done_callback, "add_done_callback"},
        {&state->str_run_once, "_run_once"},
        {&state->str_ready, "_ready"},
        {&state->str_stopping, "_stopping"},
        {&state->str_debug, "_debug"},
        {&state->str_thread_id, "_thread_id"},
        {&state->str_running, "__asyncio_running_event_loop__"},
        {&state->str_loop, "loop"},
        {&state->str_get_loop, "get_loop"},
        {&state->str_blocking, "_asyncio_future_blocking"},
        {&state->str_refill, "_refill"},
        {&state->str_overridden, "_overridden"},
        {&state->str_execute, "_execute"},
        {&state->str_own_execute, "_own_execute"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        *names[i].where = PyUnicode_InternFromString(names[i].text);
        if (*names[i].where == NULL) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
attribute_of(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *attribute = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return attribute;
}

int
hp_binding_init(PyObject *module, hp_binding_state *state)
{
    state->get_running_loop = attribute_of("asyncio.events", "_get_running_loop");
    state->ensure_future = attribute_of("asyncio", "ensure_future");
    state->Task = attribute_of("_asyncio", "Task");
    state->Future = attribute_of("_asyncio", "Future");
    state->BaseEventLoop = attribute_of("asyncio", "BaseEventLoop");
    state->kw_context = Py_BuildValue("(s)", "context");
    state->traceback_globals = PyDict_New();
    if (state->get_running_loop == NULL || state->ensure_future == NULL || state->Task == NULL ||
        state->Future == NULL || state->BaseEventLoop == NULL || state->kw_context == NULL ||
        state->traceback_globals == NULL || intern_names(state) < 0) {
        return -1;
    }
    if (hp_operation_type_init(module, state) < 0 || hp_finished_type_init(module, state) < 0 ||
        hp_awaitable_method_type_init(module, state) < 0 || hp_prepared_type_init(module, state) < 0 ||
        hp_rows_type_init(module, state) < 0 || hp_copy_type_init(module, state) < 0 ||
        hp_connection_type_init(module, state) < 0 || hp_override_init(state) < 0 ||
        hp_pool_type_init(module, state) < 0) {
        return -1;
    }
    return 0;
}

int
hp_binding_traverse(hp_binding_state *state, visitproc visit, void *arg)
{
#define VISIT(member) Py_VISIT(state->member);
    FOR_EACH_OBJECT(VISIT)
#undef VISIT
    return 0;
}

void
hp_binding_clear(hp_binding_state *state)
{
    hp_operation_free_list_clear(state);
#define CLEAR(member) Py_CLEAR(state->member);
    FOR_EACH_OBJECT(CLEAR)
#undef CLEAR
}

/* ---- functions ---- */

static PyObject *
dict_of_target(const hp_target *target)
{
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict != NULL && target->keywords[i] != NULL; i++) {
        PyObject *value = PyUnicode_FromString(target->values[i]);
        if (value == NULL || PyDict_SetItemString(dict, target->keywords[i], value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *
core_resolve_conninfo(PyObject *module, PyObject *args)
{
    const char *dsn, *keywords[HP_MOST_PARAMETERS + 1], *values[HP_MOST_PARAMETERS + 1];
    PyObject *params;
    hp_target *targets;
    int n, rc;
    hp_error err;
    if (!PyArg_ParseTuple(args, "zO!:resolve_conninfo", &dsn, &PyDict_Type, &params) ||
        hp_pool_borrow_parameters(params, keywords, values) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS rc = hp_conninfo_resolve(dsn, keywords, values, &targets, &n, &err);
    Py_END_ALLOW_THREADS if (rc < 0)
    {
        if (err.kind == HP_ERR_NO_MEMORY) {
            return PyErr_NoMemory();
        }
        PyErr_SetString(hp_state_of(module)->errors.ClientConfigurationError, err.text);
        return NULL;
    }
    PyObject *list = PyList_New(n);
    for (int i = 0; list != NULL && i < n; i++) {
        PyObject *dict = dict_of_target(&targets[i]);
        if (dict == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, dict);
    }
    hp_targets_free(targets, n);
    return list;
}

static PyObject *
core_encode(PyObject *module, PyObject *args)
{
    return hp_codec_py_encode(&hp_state_of(module)->codec, args);
}

static PyObject *
core_decode(PyObject *module, PyObject *args)
{
    return hp_codec_py_decode(&hp_state_of(module)->codec, args);
}

static PyObject *
core_decode_text(PyObject *module, PyObject *args)
{
    return hp_codec_py_decode_text(&hp_state_of(module)->codec, args);
}

/* The OID of a built-in scalar type by its name in pg_catalog, in small letters, or None. */
static PyObject *
core_builtin_type(PyObject *module, PyObject *name)
{
    const char *text = PyUnicode_AsUTF8(name);
    (void)module;
    if (text == NULL) {
        return NULL;
    }
    hp_oid oid = hp_codec_builtin_scalar(text);
    return oid != 0 ? PyLong_FromUnsignedLong(oid) : Py_NewRef(Py_None);
}

static PyObject *
core_has_codec(PyObject *module, PyObject *name)
{
    const char *text = PyUnicode_AsUTF8(name);
    (void)module;
    return text != NULL ? PyBool_FromLong(hp_codec_has(text)) : NULL;
}

static PyObject *
core_sqlscan(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"sql", "standard_strings", NULL};
    static const char *const KINDS[] = {"empty", "read", "write", "transaction", "copy", "other"};
    const char *sql;
    Py_ssize_t len;
    int standard_strings = 1;
    hp_sql_info info;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s#|p:sqlscan", names, &sql, &len, &standard_strings)) {
        return NULL;
    }
    hp_sqlscan(sql, (size_t)len, standard_strings, &info);
    return Py_BuildValue("{s:s,s:N,s:N,s:N,s:N,s:N,s:N,s:N}", "kind", KINDS[info.kind], "several",
                         PyBool_FromLong(info.several), "touches", PyBool_FromLong(info.touches), "prepares",
                         PyBool_FromLong(info.prepares), "controls_tx", PyBool_FromLong(info.controls_tx),
                         "locks_session", PyBool_FromLong(info.locks_session), "returns_rows",
                         PyBool_FromLong(info.returns_rows), "declarable", PyBool_FromLong(info.declarable));
}

static PyObject *
core_is_declarable(PyObject *module, PyObject *query)
{
    Py_ssize_t len;
    hp_sql_info info;
    const char *sql = PyUnicode_AsUTF8AndSize(query, &len);
    (void)module;
    if (sql == NULL) {
        return NULL;
    }
    hp_sqlscan(sql, (size_t)len, true, &info);
    return PyBool_FromLong(info.declarable);
}

static PyObject *
core_insert_literals(PyObject *module, PyObject *args)
{
    (void)module;
    return hp_literals_insert(args);
}

static PyObject *
core_libpq_version(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromLong(PQlibVersion());
}

static PyObject *
core_forked(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    hp_fork_generation++;
    Py_RETURN_NONE;
}

static PyMethodDef core_functions[] = {
    {"resolve_conninfo", core_resolve_conninfo, METH_VARARGS, NULL},
    {"encode", core_encode, METH_VARARGS, NULL},
    {"decode", core_decode, METH_VARARGS, NULL},
    {"decode_text", core_decode_text, METH_VARARGS, NULL},
    {"builtin_type", core_builtin_type, METH_O, NULL},
    {"has_codec", core_has_codec, METH_O, NULL},
    {"sqlscan", (PyCFunction)(void (*)(void))core_sqlscan, METH_VARARGS | METH_KEYWORDS, NULL},
    {"insert_literals", core_insert_literals, METH_VARARGS, NULL},
    {"is_declarable", core_is_declarable, METH_O, NULL},
    {"libpq_version", core_libpq_version, METH_NOARGS, NULL},
    {"forked", core_forked, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* ---- the module ---- */

static PyObject *
describe_rows(void *ctx, PyObject *names)
{
    return hp_record_desc_new(ctx, names);
}

static PyObject *
make_row(void *ctx, PyObject *description)
{
    hp_record_state *state = ctx;
    return hp_record_new(state, state->RecordType, description);
}

/* Composite values are Records: codec/ is below binding/ and gets what it needs as functions. */
static void
lend_records(hp_state *state)
{
    state->codec.rows = (hp_rows){
        .ctx = &state->record,
        .type = state->record.RecordType,
        .describe = describe_rows,
        .make = make_row,
        .set = hp_record_set_item,
        .finish = hp_record_finish,
    };
}

static int
core_exec(PyObject *module)
{
    hp_state *state = hp_state_of(module);
    if (hp_errors_init(module, &state->errors) < 0 || hp_codec_init(module, &state->codec) < 0 ||
        hp_record_init(module, &state->record) < 0 || hp_binding_init(module, &state->binding) < 0) {
        return -1;
    }
    lend_records(state);
    return 0;
}

static int
core_traverse(PyObject *module, visitproc visit, void *arg)
{
    hp_state *state = hp_state_of(module);
    int rc = hp_errors_traverse(&state->errors, visit, arg);
    rc = rc ? rc : hp_codec_traverse(&state->codec, visit, arg);
    rc = rc ? rc : hp_record_traverse(&state->record, visit, arg);
    return rc ? rc : hp_binding_traverse(&state->binding, visit, arg);
}

static int
core_clear(PyObject *module)
{
    hp_state *state = hp_state_of(module);
    hp_binding_clear(&state->binding);
    hp_record_clear(&state->record);
    hp_codec_clear(&state->codec);
    hp_errors_clear(&state->errors);
    return 0;
}

static void
core_free(void *module)
{
    core_clear(module);
}

static PyModuleDef_Slot core_slots[] = {
    {Py_mod_exec, core_exec},
    {0, NULL},
};

struct PyModuleDef hp_module_def = {
    PyModuleDef_HEAD_INIT,       .m_name = "holisticpool._core", .m_doc = "The C part of holisticpool.",
    .m_size = sizeof(hp_state),  .m_methods = core_functions,    .m_slots = core_slots,
    .m_traverse = core_traverse, .m_clear = core_clear,          .m_free = core_free,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&hp_module_def);
}
