/*
 * awaitable_method.h - methods in C that stand for coroutine functions.
 *
 * What they return is awaited, but nothing about a method descriptor of CPython's
 * says so: asyncio.iscoroutinefunction() and unittest.mock look for marks on it,
 * which it has no room for. An AwaitableMethod takes its place in the type, is
 * called and bound as it is, and carries the marks as attributes of its own type:
 * holisticpool/awaitables.py sets them.
 *
 * Called by the types' own initialisation.
 */
#ifndef HP_AWAITABLE_METHOD_H
#define HP_AWAITABLE_METHOD_H

#include "binding/types.h"

int hp_awaitable_method_type_init(PyObject *module, hp_binding_state *state);
/* Put one in place of each of these methods of `type`, the last name being NULL. 0, or -1 with an exception. */
int hp_awaitable_methods(hp_binding_state *state, PyTypeObject *type, const char *const *names);

#endif
