/*
 * custom.h - codecs that a user sets for single types of a session
 * (Connection.set_type_codec), in front of a registry.
 *
 * A set is immutable and reference counted: a change makes another set, so that
 * a statement's plan that was made with one stays valid. Sessions that were given
 * the same functions share one set, and with it their plans.
 *
 * Decoders of a set run the user's code, inside the reader callback.
 */
#ifndef HP_CUSTOM_H
#define HP_CUSTOM_H

#include "codec/codec.h"

typedef struct hp_codec_set hp_codec_set;

/* New reference: `base` (may be NULL) with a codec for the type of `native`,
 * which must outlive the set; `encoder` and `decoder` are callables; `text` says
 * whether they take and give str or bytes. NULL with an exception. */
hp_codec_set *hp_codec_set_with(hp_codec_state *state, const hp_codec_set *base, const hp_codec *native,
                                PyObject *encoder, PyObject *decoder, bool text);
/* New reference: `base` without one for type `oid`. NULL with an exception. */
hp_codec_set *hp_codec_set_without(hp_codec_state *state, const hp_codec_set *base, hp_oid oid);
hp_codec_set *hp_codec_set_ref(hp_codec_set *set);
void hp_codec_set_unref(hp_codec_set *set);
/* The same functions for the same types? NULL is the empty set. */
bool hp_codec_set_equal(const hp_codec_set *a, const hp_codec_set *b);

/* As hp_registry_find(), the set's own and types with one of them inside first.
 * NULL without an exception: unknown type; with one: out of memory. */
const hp_codec *hp_codec_set_find(hp_codec_set *set, hp_registry *reg, hp_oid oid);

/* The last reference to a set lets go of the user's functions, whose finalizers may
 * do anything: end the session that is in the middle of a send, for example. From
 * hold to let_go dead sets are kept; let_go, where nobody else holds, frees them.
 * Around each call of the engine that may run long; pairs nest. */
void hp_codec_sets_hold(hp_codec_state *state);
void hp_codec_sets_let_go(hp_codec_state *state);

int hp_codec_set_traverse(const hp_codec_set *set, visitproc visit, void *arg);

#endif
