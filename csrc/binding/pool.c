/*
 * pool.c - Pool: the engine's pool, tied to one event loop, as Python sees it.
 *
 * holisticpool/pool.py subclasses it: what is hot is here, policy that runs
 * rarely is there. __init__ needs the running loop; until it has run every
 * method refuses.
 */
#include "module.h"

#include "binding/attributes.h"
#include "binding/awaitable_method.h"
#include "binding/listeners.h"
#include "engine/conninfo.h"
#include "engine/route.h"

#include <string.h>

unsigned hp_fork_generation;

/* A pool remembers so many times the statements that one session keeps prepared. */
enum { STATEMENTS_PER_CACHED = 10, LEAST_STATEMENTS = 256 };

/* Nor is there any state. Whether it is being opened is known to pool.py. */
static void
refuse_unopened(PoolObject *pool)
{
    PyObject *said = PyObject_CallMethod((PyObject *)pool, "_check_open", NULL);
    if (said == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear(); /* of the base class alone */
    }
    Py_XDECREF(said);
    if (!PyErr_Occurred()) {
        PyObject *exceptions = PyImport_ImportModule("holisticpool.exceptions");
        PyObject *class = exceptions ? PyObject_GetAttrString(exceptions, "InterfaceError") : NULL;
        if (class != NULL) {
            PyErr_SetString(class, "pool is not initialized");
        }
        Py_XDECREF(class);
        Py_XDECREF(exceptions);
    }
}

int
hp_pool_check(PoolObject *pool)
{
    if (pool->engine == NULL) {
        refuse_unopened(pool);
        return -1;
    }
    if (pool->generation != hp_fork_generation) {
        PyErr_SetString(pool->state->errors.InterfaceError,
                        "the pool was opened before a fork and belongs to the parent process: open another one");
        return -1;
    }
    return 0;
}

/* ---- construction ---- */

static hp_state *
find_state(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030B0000
    PyObject *module = PyType_GetModuleByDef(type, &hp_module_def);
    return module ? hp_state_of(module) : NULL;
#else
    /* 3.10 knows the module of the class itself only, not of a base */
    for (; type != NULL; type = type->tp_base) {
        PyObject *module = type->tp_flags & Py_TPFLAGS_HEAPTYPE ? PyType_GetModule(type) : NULL;
        if (module != NULL && PyModule_GetDef(module) == &hp_module_def) {
            return hp_state_of(module);
        }
        PyErr_Clear();
    }
    PyErr_SetString(PyExc_SystemError, "holisticpool._core.Pool without its module");
    return NULL;
#endif
}

static hp_time
seconds_or_never(double seconds)
{
    return seconds > 0 && seconds < 3.2e9 ? (hp_time)(seconds * 1e6) : HP_NEVER;
}

static int
parse_reset(const char *reset, hp_pool_config *config)
{
    if (strcmp(reset, "always") == 0) {
        config->reset = HP_RESET_ALWAYS;
    } else if (strcmp(reset, "touched") == 0) {
        config->reset = HP_RESET_TOUCHED;
    } else if (strcmp(reset, "none") == 0) {
        config->reset = HP_RESET_NONE;
    } else {
        PyErr_Format(PyExc_ValueError, "reset must be \"touched\", \"always\" or \"none\", got \"%.50s\"", reset);
        return -1;
    }
    return 0;
}

static int
check_classes(PoolObject *self, PyObject *record_class, PyObject *connection_class)
{
    hp_state *state = self->state;
    if (!PyType_Check(record_class) || !PyType_IsSubtype((PyTypeObject *)record_class, state->record.RecordType)) {
        PyErr_SetString(PyExc_TypeError, "record_class must be a subclass of holisticpool.Record");
        return -1;
    }
    if (!PyType_Check(connection_class) ||
        !PyType_IsSubtype((PyTypeObject *)connection_class, state->binding.ConnectionType)) {
        PyErr_SetString(PyExc_TypeError, "connection_class must be a subclass of holisticpool.Connection");
        return -1;
    }
    return 0;
}

/* What __init__ makes beside the engine. */
static void
release_parts(PoolObject *self)
{
    Py_CLEAR(self->statements);
    Py_CLEAR(self->named);
    Py_CLEAR(self->type_names);
    if (self->registry != NULL) {
        hp_registry_free(self->registry);
        self->registry = NULL;
    }
    hp_running_forget(self);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->call_soon);
    Py_CLEAR(self->ready);
    Py_CLEAR(self->answered);
    Py_CLEAR(self->get_loop);
    Py_CLEAR(self->record_class);
    Py_CLEAR(self->connection_class);
}

static int
pool_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"loop",
                            "init_size",
                            "min_size",
                            "max_size",
                            "max_queries",
                            "max_inactive_connection_lifetime",
                            "max_lifetime",
                            "acquire_timeout",
                            "command_timeout",
                            "connect_timeout",
                            "max_waiters",
                            "statement_cache_size",
                            "max_cached_statement_lifetime",
                            "max_cacheable_statement_size",
                            "reset",
                            "record_class",
                            "connection_class",
                            "dedicated",
                            "pipeline",
                            NULL};
    PoolObject *self = (PoolObject *)object;
    PyObject *loop, *acquire_timeout, *command_timeout, *connect_timeout, *record_class, *connection_class;
    double max_idle, max_lifetime, statement_lifetime;
    unsigned long long max_queries;
    int cache_size, dedicated;
    Py_ssize_t cacheable;
    const char *reset;
    hp_pool_config config;
    memset(&config, 0, sizeof config);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O$iiiKddOOOiidnsOOpi:Pool", names, &loop, &config.init_size,
                                     &config.min_size, &config.max_size, &max_queries, &max_idle, &max_lifetime,
                                     &acquire_timeout, &command_timeout, &connect_timeout, &config.max_waiters,
                                     &cache_size, &statement_lifetime, &cacheable, &reset, &record_class,
                                     &connection_class, &dedicated, &config.pipeline)) {
        return -1;
    }
    if (self->engine != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Pool.__init__ was called twice");
        return -1;
    }
    self->state = find_state(Py_TYPE(self));
    if (self->state == NULL || check_classes(self, record_class, connection_class) < 0 ||
        parse_reset(reset, &config) < 0) {
        return -1;
    }
    if (config.min_size < 0 || config.max_size < 1 || config.min_size > config.init_size ||
        config.init_size > config.max_size || config.max_waiters < 0 || cache_size < 0 ||
        config.pipeline < HP_PIPELINE_AUTO) {
        PyErr_SetString(PyExc_ValueError, "sizes must satisfy 0 <= min_size <= init_size <= max_size, 1 <= max_size");
        return -1;
    }
    hp_time connect;
    if (hp_timeout_from_object(acquire_timeout, &self->acquire_timeout) < 0 ||
        hp_timeout_from_object(command_timeout, &self->command_timeout) < 0 ||
        hp_timeout_from_object(connect_timeout, &connect) < 0) {
        return -1;
    }
    config.max_queries = max_queries;
    config.max_idle = seconds_or_never(max_idle);
    config.max_lifetime = seconds_or_never(max_lifetime);
    config.dedicated = dedicated;
    self->dedicated = dedicated;
    self->cacheable_bytes = cacheable;
    self->statement_lifetime = seconds_or_never(statement_lifetime);
    self->statements_max = (Py_ssize_t)cache_size * STATEMENTS_PER_CACHED;
    if (self->statements_max < LEAST_STATEMENTS) {
        self->statements_max = LEAST_STATEMENTS;
    }
    self->generation = hp_fork_generation;
    self->loop = Py_NewRef(loop);
    self->record_class = (PyTypeObject *)Py_NewRef(record_class);
    self->connection_class = (PyTypeObject *)Py_NewRef(connection_class);
    if (hp_wakeup_init(self) < 0 || hp_operation_pool_init(self) < 0) {
        goto error;
    }
    self->statements = PyDict_New();
    self->type_names = PyDict_New();
    self->registry = hp_registry_new(&self->state->codec);
    if (self->statements == NULL || self->type_names == NULL || self->registry == NULL) {
        goto error;
    }
    self->engine = hp_pool_new(&config, &hp_loop_callbacks, self);
    if (self->engine == NULL) {
        PyErr_SetFromErrno(PyExc_OSError);
        goto error;
    }
    self->engine->env.connect_timeout = connect > 0 ? connect : HP_NEVER;
    self->engine->env.statement_cache_size = cache_size;
    return 0;
error:
    release_parts(self);
    return -1;
}

static int
pool_traverse(PoolObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop);
    Py_VISIT(self->call_soon);
    Py_VISIT(self->ready);
    Py_VISIT(self->answered);
    Py_VISIT(self->get_loop);
    Py_VISIT(self->statements);
    Py_VISIT(self->type_names);
    Py_VISIT(self->record_class);
    Py_VISIT(self->connection_class);
    Py_VISIT(self->on_connect);
    Py_VISIT(self->on_ask);
    Py_VISIT(self->raised);
    Py_VISIT(self->batch);
    Py_VISIT(self->later);
    Py_VISIT(self->later_handle);
    Py_VISIT(self->closing);
    int rc = hp_listeners_traverse(self, visit, arg);
    rc = rc != 0 ? rc : hp_attributes_traverse(self, visit, arg);
    rc = rc != 0 ? rc : hp_registry_traverse(self->registry, visit, arg);
    return rc != 0 ? rc : hp_codec_set_traverse(self->codecs, visit, arg);
}

/* Not what the engine's callbacks need: a request may end during dealloc. */
static int
pool_clear(PoolObject *self)
{
    Py_CLEAR(self->on_connect);
    Py_CLEAR(self->on_ask);
    Py_CLEAR(self->raised);
    Py_CLEAR(self->closing);
    return 0;
}

static void
pool_dealloc(PoolObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->engine != NULL) {
        hp_pool_discard(self->engine, self->generation != hp_fork_generation);
        hp_pool_free(self->engine);
        self->engine = NULL;
    }
    pool_clear(self);
    hp_codec_set_unref(self->codecs);
    release_parts(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- targets ---- */

int
hp_pool_borrow_parameters(PyObject *parameters, const char *keywords[HP_MOST_PARAMETERS + 1],
                          const char *values[HP_MOST_PARAMETERS + 1])
{
    PyObject *key, *value;
    Py_ssize_t pos = 0, n = 0;
    if (PyDict_GET_SIZE(parameters) > HP_MOST_PARAMETERS) {
        PyErr_SetString(PyExc_ValueError, "too many connection parameters");
        return -1;
    }
    while (PyDict_Next(parameters, &pos, &key, &value)) {
        keywords[n] = PyUnicode_AsUTF8(key);
        values[n] = keywords[n] ? PyUnicode_AsUTF8(value) : NULL;
        if (values[n] == NULL) {
            return -1;
        }
        n++;
    }
    keywords[n] = values[n] = NULL;
    return 0;
}

static int
fill_target(hp_target *target, PyObject *params)
{
    const char *keywords[HP_MOST_PARAMETERS + 1], *values[HP_MOST_PARAMETERS + 1];
    if (!PyDict_Check(params)) {
        PyErr_SetString(PyExc_TypeError, "a target must be a dict of libpq parameters");
        return -1;
    }
    if (hp_pool_borrow_parameters(params, keywords, values) < 0) {
        return -1;
    }
    if (hp_target_fill(target, keywords, values) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

int
hp_pool_parse_targets(PyObject *list, hp_target **targets, int *n)
{
    if (!PyList_Check(list) || PyList_GET_SIZE(list) == 0 || PyList_GET_SIZE(list) > INT_MAX) {
        PyErr_SetString(PyExc_TypeError, "targets must be a list of at least one dict");
        return -1;
    }
    int count = (int)PyList_GET_SIZE(list);
    hp_target *made = calloc((size_t)count, sizeof *made);
    if (made == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = 0; i < count; i++) {
        if (fill_target(&made[i], PyList_GET_ITEM(list, i)) < 0) {
            hp_targets_free(made, i);
            return -1;
        }
    }
    *targets = made;
    *n = count;
    return 0;
}

static PyObject *
pool_set_targets(PyObject *object, PyObject *list)
{
    PoolObject *self = (PoolObject *)object;
    hp_target *targets;
    int n;
    if (hp_pool_check(self) < 0 || hp_pool_parse_targets(list, &targets, &n) < 0) {
        return NULL;
    }
    hp_targets_free(self->engine->env.targets, self->engine->env.ntargets);
    self->engine->env.targets = targets;
    self->engine->env.ntargets = n;
    Py_RETURN_NONE;
}

static PyObject *
pool_set_connect_timeout(PyObject *object, PyObject *seconds)
{
    PoolObject *self = (PoolObject *)object;
    hp_time timeout;
    if (hp_pool_check(self) < 0 || hp_timeout_from_object(seconds, &timeout) < 0) {
        return NULL;
    }
    self->engine->env.connect_timeout = timeout > 0 ? timeout : HP_NEVER;
    Py_RETURN_NONE;
}

static PyObject *
pool_set_command_timeout(PyObject *object, PyObject *seconds)
{
    PoolObject *self = (PoolObject *)object;
    if (hp_pool_check(self) < 0 || hp_timeout_from_object(seconds, &self->command_timeout) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
pool_expire(PyObject *object, PyObject *unused)
{
    PoolObject *self = (PoolObject *)object;
    (void)unused;
    if (hp_pool_check(self) < 0) {
        return NULL;
    }
    hp_codec_sets_hold(&self->state->codec);
    hp_pool_expire(self->engine);
    hp_codec_sets_let_go(&self->state->codec);
    Py_RETURN_NONE;
}

static PyObject *
pool_set_on_connect(PyObject *object, PyObject *callback)
{
    PoolObject *self = (PoolObject *)object;
    if (hp_pool_check(self) < 0) {
        return NULL;
    }
    Py_XSETREF(self->on_connect, callback == Py_None ? NULL : Py_NewRef(callback));
    self->engine->config.init_hook = self->on_connect != NULL;
    Py_RETURN_NONE;
}

/* Objects of the connection class share what is set on them with those of later leases. */
static PyObject *
pool_keep_attributes(PyObject *object, PyObject *unused)
{
    (void)unused;
    ((PoolObject *)object)->keeps_attributes = true;
    Py_RETURN_NONE;
}

/* _choose_codecs([(schema or None, type, form, encoder, decoder, like), ...], read_vectors) */
static PyObject *
pool_choose_codecs(PyObject *object, PyObject *args)
{
    PoolObject *self = (PoolObject *)object;
    PyObject *list;
    int read_vectors;
    if (!PyArg_ParseTuple(args, "Op:_choose_codecs", &list, &read_vectors) || hp_pool_check(self) < 0) {
        return NULL;
    }
    if (!PyList_Check(list) || self->reading || self->finished) {
        PyErr_SetString(PyExc_TypeError, "codecs are chosen by a list, before the pool is opened");
        return NULL;
    }
    if (read_vectors) {
        hp_registry_read_vectors(self->registry);
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        const char *schema, *type, *form, *like;
        PyObject *encoder, *decoder;
        hp_custom_spec spec;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(list, i), "zssOOz", &schema, &type, &form, &encoder, &decoder, &like) ||
            hp_custom_spec_parse(&spec, form, encoder, decoder, like) < 0 ||
            hp_registry_choose(self->registry, schema, type, &spec) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

/* ---- opening and closing ---- */

static PyObject *
pool_open(PyObject *object, PyObject *unused)
{
    PoolObject *self = (PoolObject *)object;
    (void)unused;
    if (hp_pool_check(self) < 0) {
        return NULL;
    }
    bool placeless = self->engine->env.ntargets == 0 && self->engine->env.ask == HP_ASK_NOTHING;
    if (placeless || self->reading || self->finished) {
        PyErr_SetString(self->state->errors.InterfaceError, "the pool cannot be opened: no targets, or opened before");
        return NULL;
    }
    if (hp_loop_start_reading(self) < 0) {
        return NULL;
    }
    return (PyObject *)hp_operation_new(self, NULL, HP_OP_OPEN);
}

static PyObject *
pool_close(PyObject *object, PyObject *unused)
{
    PoolObject *self = (PoolObject *)object;
    (void)unused;
    if (hp_pool_check(self) < 0) {
        return NULL;
    }
    return (PyObject *)hp_operation_new(self, NULL, HP_OP_CLOSE);
}

static PyObject *
pool_terminate(PyObject *object, PyObject *unused)
{
    PoolObject *self = (PoolObject *)object;
    (void)unused;
    if (self->engine == NULL || self->generation != hp_fork_generation) {
        Py_RETURN_NONE;
    }
    if (!self->finished) {
        hp_codec_state *state = &self->state->codec;
        hp_codec_sets_hold(state);
        hp_pool_terminate(self->engine);
        self->finished = true;
        hp_loop_stop_reading(self);
        hp_codec_sets_let_go(state);
    }
    Py_RETURN_NONE;
}

static PyObject *
pool_abandon(PyObject *object, PyObject *unused)
{
    PoolObject *self = (PoolObject *)object;
    (void)unused;
    if (self->engine == NULL || self->finished) {
        Py_RETURN_NONE;
    }
    bool forked = self->generation != hp_fork_generation;
    self->finished = true;
    if (forked) {
        self->reading = false; /* the loop and its descriptors are the parent's */
    } else {
        hp_loop_stop_reading(self);
    }
    hp_pool_discard(self->engine, forked);
    Py_RETURN_NONE;
}

/* ---- statements and leases ---- */

static PyObject *
query(PyObject *object, hp_op_kind kind, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PoolObject *self = (PoolObject *)object;
    int overridden = self->engine ? hp_override_for_pool(self, kind) : 0;
    if (overridden < 0) {
        return NULL;
    }
    return overridden ? hp_override_call(self->state, object, kind, args, nargs, kwnames)
                      : hp_operation_from_call(self, NULL, kind, args, nargs, kwnames);
}

static PyObject *
pool_fetch(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return query(self, HP_OP_FETCH, args, nargs, kwnames);
}

static PyObject *
pool_fetchrow(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return query(self, HP_OP_FETCHROW, args, nargs, kwnames);
}

static PyObject *
pool_fetchval(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return query(self, HP_OP_FETCHVAL, args, nargs, kwnames);
}

static PyObject *
pool_execute(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return query(self, HP_OP_EXECUTE, args, nargs, kwnames);
}

static PyObject *
pool_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PoolObject *self = (PoolObject *)object;
    if (self->engine == NULL) {
        hp_pool_check(self);
        return NULL;
    }
    Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs > 0 || keywords > 1 ||
        (keywords == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "timeout") != 0)) {
        PyErr_SetString(PyExc_TypeError, "acquire() takes no argument but timeout=");
        return NULL;
    }
    OperationObject *op = hp_operation_new(self, NULL, HP_OP_ACQUIRE);
    if (op != NULL && keywords == 1) {
        op->timeout = Py_NewRef(args[0]);
    }
    return (PyObject *)op;
}

/* Borrowed: the connection that release() is called with; NULL with TypeError. */
static PyObject *
connection_to_release(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *connection = nargs == 1 ? args[0] : NULL;
    bool wrong = nargs > 1;
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames) && !wrong; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (connection == NULL && PyUnicode_CompareWithASCIIString(name, "connection") == 0) {
            connection = args[nargs + i];
        } else {
            wrong = PyUnicode_CompareWithASCIIString(name, "timeout") != 0;
        }
    }
    if (connection == NULL || wrong) {
        PyErr_SetString(PyExc_TypeError, "release() takes one connection, and no other argument but timeout=");
        return NULL;
    }
    return connection;
}

static PyObject *
pool_release(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PoolObject *self = (PoolObject *)object;
    PyObject *connection = connection_to_release(args, nargs, kwnames);
    if (connection == NULL || hp_pool_check(self) < 0) {
        return NULL;
    }
    if (!PyObject_TypeCheck(connection, self->state->binding.ConnectionType) ||
        ((ConnectionObject *)connection)->pool != self) {
        PyErr_Format(self->state->errors.InterfaceError,
                     "Pool.release() received invalid connection: %R is not a member of this pool", connection);
        return NULL;
    }
    hp_connection_report_transaction((ConnectionObject *)connection);
    if (hp_connection_give_back((ConnectionObject *)connection) < 0) {
        return NULL;
    }
    return Py_NewRef(self->state->binding.finished);
}

/* ---- what is going on ---- */

static PyObject *
pool_get_size(PyObject *object, PyObject *unused)
{
    PoolObject *self = (PoolObject *)object;
    (void)unused;
    return PyLong_FromLong(self->engine ? hp_pool_connected(self->engine) : 0);
}

static PyObject *
pool_get_idle_size(PyObject *object, PyObject *unused)
{
    PoolObject *self = (PoolObject *)object;
    (void)unused;
    return PyLong_FromLong(self->engine ? self->engine->idle_count : 0);
}

static PyObject *
pool_get_min_size(PyObject *object, PyObject *unused)
{
    PoolObject *self = (PoolObject *)object;
    (void)unused;
    return hp_pool_check(self) < 0 ? NULL : PyLong_FromLong(self->engine->config.min_size);
}

static PyObject *
pool_get_max_size(PyObject *object, PyObject *unused)
{
    PoolObject *self = (PoolObject *)object;
    (void)unused;
    return hp_pool_check(self) < 0 ? NULL : PyLong_FromLong(self->engine->config.max_size);
}

static PyObject *
pool_is_closing(PyObject *object, PyObject *unused)
{
    PoolObject *self = (PoolObject *)object;
    (void)unused;
    return PyBool_FromLong(self->finished || (self->engine && self->engine->state == HP_POOL_CLOSING));
}

static PyObject *
histogram_dict(const hp_histogram *histogram)
{
    return Py_BuildValue("{s:K,s:d,s:d,s:d,s:d,s:d}", "count", (unsigned long long)histogram->count, "mean",
                         hp_histogram_mean(histogram), "p50", hp_histogram_quantile(histogram, 0.50), "p95",
                         hp_histogram_quantile(histogram, 0.95), "p99", hp_histogram_quantile(histogram, 0.99), "max",
                         hp_histogram_max(histogram));
}

static PyObject *
errors_dict(const hp_stats *stats)
{
    PyObject *dict = PyDict_New();
    for (int i = 0; dict != NULL && i < HP_ERROR_CLASSES; i++) {
        char class[3];
        if (stats->errors_by_class[i] == 0) {
            continue;
        }
        hp_stats_error_class(i, class);
        PyObject *count = PyLong_FromUnsignedLong(stats->errors_by_class[i]);
        if (count == NULL || PyDict_SetItemString(dict, class, count) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(count);
    }
    return dict;
}

static PyObject *
recycled_dict(const hp_stats *stats)
{
    return Py_BuildValue("{s:K,s:K,s:K,s:K}", "max_queries",
                         (unsigned long long)stats->recycled[HP_RECYCLE_MAX_QUERIES], "idle",
                         (unsigned long long)stats->recycled[HP_RECYCLE_IDLE], "lifetime",
                         (unsigned long long)stats->recycled[HP_RECYCLE_LIFETIME], "broken",
                         (unsigned long long)stats->recycled[HP_RECYCLE_BROKEN]);
}

static PyObject *
last_error_text(const hp_pool *engine)
{
    if (engine->last_error_at == 0) {
        Py_RETURN_NONE;
    }
    return PyUnicode_DecodeUTF8(engine->last_error.text, (Py_ssize_t)strlen(engine->last_error.text),
                                "backslashreplace");
}

static PyObject *
pool_stats(PyObject *object, PyObject *unused)
{
    static const char *const STATES[] = {"closed", "opening", "open", "closing"};
    PoolObject *self = (PoolObject *)object;
    (void)unused;
    if (hp_pool_check(self) < 0) {
        return NULL;
    }
    const hp_pool *engine = self->engine;
    const hp_stats *stats = &engine->env.stats;
#define COUNT(member) #member, (unsigned long long)stats->member
    return Py_BuildValue(
        "{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:s,"
        "s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,"
        "s:N,s:N,s:N,s:N,s:O,s:N,s:N,s:d}",
        "size", hp_pool_connected(engine), "idle", engine->idle_count, "leased", hp_pool_count(engine, HP_USE_LEASED),
        "busy", hp_pool_count(engine, HP_USE_STATEMENT), "connecting",
        hp_pool_count(engine, HP_USE_OPENING) + hp_pool_count(engine, HP_USE_INIT), "resetting",
        hp_pool_count(engine, HP_USE_SETTLING), "waiters", hp_pool_waiting(engine), "min_size", engine->config.min_size,
        "max_size", engine->config.max_size, "state", STATES[engine->state], COUNT(acquisitions), COUNT(reused),
        COUNT(acquire_timeouts), COUNT(query_timeouts), COUNT(cancellations), COUNT(rejected), COUNT(queries),
        COUNT(connects), COUNT(connection_errors), COUNT(resets), COUNT(pipelined), COUNT(resent), "recycled",
        recycled_dict(stats), "errors_by_class", errors_dict(stats), "wait", histogram_dict(&stats->wait), "query",
        histogram_dict(&stats->query), "last_connect_ok", engine->last_connect_ok ? Py_True : Py_False, "last_error",
        last_error_text(engine), "last_error_at",
        engine->last_error_at == 0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(engine->last_error_at), "longest_lease",
        hp_pool_longest_lease(engine));
#undef COUNT
}

static PyObject *
pool_get_loop(PyObject *object, void *closure)
{
    PyObject *loop = ((PoolObject *)object)->loop;
    (void)closure;
    return Py_NewRef(loop ? loop : Py_None);
}

static PyObject *
pool_get_type_names(PyObject *object, void *closure)
{
    PyObject *names = ((PoolObject *)object)->type_names;
    (void)closure;
    return Py_NewRef(names ? names : Py_None);
}

static PyObject *
pool_get_closed(PyObject *object, void *closure)
{
    (void)closure;
    return PyBool_FromLong(((PoolObject *)object)->finished);
}

static PyObject *
pool_get_forked(PyObject *object, void *closure)
{
    PoolObject *self = (PoolObject *)object;
    (void)closure;
    return PyBool_FromLong(self->engine != NULL && self->generation != hp_fork_generation);
}

#define FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef pool_methods[] = {
    {"fetch", FAST(pool_fetch),
     "fetch($self, query, *args, timeout=None, record_class=None, rows=None, params=None)\n--\n\nRun a query; a list "
     "of "
     "Record."},
    {"fetchrow", FAST(pool_fetchrow),
     "fetchrow($self, query, *args, timeout=None, record_class=None, rows=None, params=None)\n--\n\nRun a query; its "
     "first row, or None."},
    {"fetchval", FAST(pool_fetchval),
     "fetchval($self, query, *args, column=0, timeout=None, params=None)\n--\n\nRun a query; one value of its first "
     "row, or None."},
    {"execute", FAST(pool_execute),
     "execute($self, query, *args, timeout=None, params=None)\n--\n\nRun a command, or without arguments a script; the "
     "last status "
     "tag."},
    {"acquire", FAST(pool_acquire),
     "acquire($self, *, timeout=...)\n--\n\nA connection for the caller alone: await it, or use it with \"async "
     "with\"."},
    {"release", FAST(pool_release),
     "release($self, connection, *, timeout=None)\n--\n\nGive a connection back; takes effect at the call."},
    {"terminate", pool_terminate, METH_NOARGS,
     "terminate($self, /)\n--\n\nClose every connection now, leased ones too."},
    {"get_size", pool_get_size, METH_NOARGS, "get_size($self, /)\n--\n\nConnections that are open."},
    {"get_idle_size", pool_get_idle_size, METH_NOARGS, "get_idle_size($self, /)\n--\n\nConnections that are free."},
    {"get_min_size", pool_get_min_size, METH_NOARGS,
     "get_min_size($self, /)\n--\n\nConnections that are kept at least."},
    {"get_max_size", pool_get_max_size, METH_NOARGS,
     "get_max_size($self, /)\n--\n\nConnections that are open at most."},
    {"is_closing", pool_is_closing, METH_NOARGS, "is_closing($self, /)\n--\n\nIs the pool closed or being closed?"},
    {"_set_targets", pool_set_targets, METH_O, NULL},
    {"_set_ask", hp_errands_set_ask, METH_VARARGS, NULL},
    {"_set_connect_timeout", pool_set_connect_timeout, METH_O, NULL},
    {"_set_command_timeout", pool_set_command_timeout, METH_O, NULL},
    {"_set_on_connect", pool_set_on_connect, METH_O, NULL},
    {"_choose_codecs", pool_choose_codecs, METH_VARARGS, NULL},
    {"_expire", pool_expire, METH_NOARGS, NULL},
    {"_keep_attributes", pool_keep_attributes, METH_NOARGS, NULL},
    {"_by_name", hp_named_by_name, METH_VARARGS, NULL},
    {"_open", pool_open, METH_NOARGS, NULL},
    {"_close", pool_close, METH_NOARGS, NULL},
    {"_abandon", pool_abandon, METH_NOARGS, NULL},
    {"_stats", pool_stats, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef pool_getset[] = {
    {"_loop", pool_get_loop, NULL, NULL, NULL},
    {"_type_names", pool_get_type_names, NULL, NULL, NULL},
    {"_closed", pool_get_closed, NULL, NULL, NULL},
    {"_forked", pool_get_forked, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot pool_slots[] = {
    {Py_tp_doc, "Server connections of one event loop, with all policy that is hot."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, pool_init},
    {Py_tp_dealloc, pool_dealloc},
    {Py_tp_traverse, pool_traverse},
    {Py_tp_clear, pool_clear},
    {Py_tp_methods, pool_methods},
    {Py_tp_getset, pool_getset},
    {0, NULL},
};

static PyType_Spec pool_spec = {
    .name = "holisticpool._core.Pool",
    .basicsize = sizeof(PoolObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = pool_slots,
};

/* ... that stand for coroutine functions. */
static const char *const AWAITED[] = {"fetch", "fetchrow", "fetchval", "execute", "release", NULL};

int
hp_pool_type_init(PyObject *module, hp_binding_state *state)
{
    state->PoolType = (PyTypeObject *)PyType_FromModuleAndSpec(module, &pool_spec, NULL);
    if (state->PoolType == NULL || hp_awaitable_methods(state, state->PoolType, AWAITED) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->PoolType);
}
