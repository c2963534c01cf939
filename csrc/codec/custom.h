/*
 * custom.h - codecs that a user chooses for single types: of a session
 * (Connection.set_type_codec), as a set in front of a registry, or of a whole pool,
 * in the registry itself.
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

/* In which form a codec exchanges values with the wire. */
typedef enum hp_custom_form {
    HP_CUSTOM_TEXT,       /* str, PostgreSQL's text form */
    HP_CUSTOM_BINARY,     /* bytes, its binary form */
    HP_CUSTOM_TUPLE,      /* a tuple of what the type consists of (parts.c) */
    HP_CUSTOM_JSON,       /* json or jsonb: the decoder gets str */
    HP_CUSTOM_JSON_BYTES, /* ... or bytes; the encoder may give either */
    HP_CUSTOM_FLOAT,      /* numeric as float; no functions */
    HP_CUSTOM_LIKE        /* as another type, `like`; no functions */
} hp_custom_form;

/* What a codec of the user's is; borrows all, so that the user keeps it or copies it. */
typedef struct hp_custom_spec {
    hp_custom_form form;
    PyObject *encoder; /* callables; NULL where the form has none */
    PyObject *decoder;
    const hp_codec *like;
} hp_custom_spec;

/* `form` by its name, "like" with the name of a type or of an extension's codec
 * ("pg_contrib.hstore"); None is no function. 0, or -1 with an exception:
 * LookupError for an unknown name. */
int hp_custom_spec_parse(hp_custom_spec *spec, const char *form, PyObject *encoder, PyObject *decoder,
                         const char *like);
/* Is there a codec of this name for "like"? */
bool hp_codec_has(const char *name);
/* The built-in scalar type of this name, also as the SQL standard has it; 0: none. */
hp_oid hp_codec_builtin_scalar(const char *name);
/* Can the type of `native` have such a codec? 0, or -1 with InterfaceError. */
int hp_custom_check(const hp_codec *native, const hp_custom_spec *spec);

/* New reference: `base` (may be NULL) with a codec for the type of `native`,
 * which must outlive the set. NULL with an exception. */
hp_codec_set *hp_codec_set_with(hp_codec_state *state, const hp_codec_set *base, const hp_codec *native,
                                const hp_custom_spec *spec);
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

/* ---- chosen.c: codecs of a whole pool ---- */

/* From now on the type of this name (NULL for any schema) has a codec of the
 * user's: at once where it is built in, else when it is looked up. Before any type
 * is found. 0, or -1 with an exception. */
int hp_registry_choose(hp_registry *reg, const char *schema, const char *type, const hp_custom_spec *spec);
int hp_registry_traverse(const hp_registry *reg, visitproc visit, void *arg);

int hp_codec_set_traverse(const hp_codec_set *set, visitproc visit, void *arg);

#endif
