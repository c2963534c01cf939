/*
 * module.h - the state of the extension module holisticpool._core.
 *
 * What it is: one hp_state per loaded module (multi-phase init, no static
 * Python objects), holding the heap types and the Python objects that the
 * binding and the codecs look up once at import. Every file of binding/ and
 * codec/ may include it; engine/ may not (the engine knows no Python).
 *
 * Invariants: all members are strong references owned by the state, set by the
 * hp_<file>_init() function named beside them during module exec, visited and
 * cleared by module.c through the hp_<file>_traverse()/hp_<file>_clear()
 * functions of the same file.
 */
#ifndef HP_MODULE_H
#define HP_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "binding/errors.h"
#include "binding/record.h"
#include "binding/types.h"
#include "codec/codec.h"

typedef struct hp_state {
    hp_codec_state codec;     /* codec/registry.c */
    hp_record_state record;   /* binding/record.c */
    hp_errors_state errors;   /* binding/errors.c */
    hp_binding_state binding; /* binding/loop.c, operation.c, pool.c, connection.c */
} hp_state;

/* The module's definition, for PyType_GetModuleByDef (3.11) and friends. */
extern struct PyModuleDef hp_module_def;

/* Borrowed: the state of a module object of ours. Never NULL. */
static inline hp_state *
hp_state_of(PyObject *module)
{
    return (hp_state *)PyModule_GetState(module);
}

#endif
