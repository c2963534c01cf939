/*
 * chosen.c - codecs that are chosen for types of a whole pool, by name.
 *
 * A choice for a built-in type takes effect at once: a registry finds it in front
 * of the built-in codec, and others in front of those of arrays, ranges and
 * multiranges that are of the type. For any other type it waits until the type is
 * looked up in the catalogue, so that no session needs a query for it.
 *
 * Choices are made before the first type is found, and live as long as the
 * registry, with the codecs that were made of them.
 */
#include "codec/registry_parts.h"

#include <string.h>

typedef struct made_codec {
    hp_custom custom; /* first: the address of its codec is what callers hold */
    struct made_codec *next;
} made_codec;

typedef struct hp_choice {
    char *schema; /* NULL: any */
    char *type;
    hp_custom_spec spec; /* strong references */
    made_codec *made;    /* one for each native codec */
    struct hp_choice *next;
} hp_choice;

static const char BUILTIN_SCHEMA[] = "pg_catalog";

/* ---- life ---- */

static void
free_choice(hp_choice *choice)
{
    while (choice->made != NULL) {
        made_codec *next = choice->made->next;
        hp_custom_clear(&choice->made->custom);
        PyMem_Free(choice->made);
        choice->made = next;
    }
    Py_XDECREF(choice->spec.encoder);
    Py_XDECREF(choice->spec.decoder);
    PyMem_Free(choice->schema);
    PyMem_Free(choice->type);
    PyMem_Free(choice);
}

void
hp_choices_free(hp_registry *reg)
{
    while (reg->choices != NULL) {
        hp_choice *choice = reg->choices;
        reg->choices = choice->next;
        free_choice(choice);
    }
    PyMem_Free(reg->fixed);
    reg->fixed = NULL;
    reg->nfixed = 0;
}

int
hp_registry_traverse(const hp_registry *reg, visitproc visit, void *arg)
{
    for (const hp_choice *choice = reg != NULL ? reg->choices : NULL; choice != NULL; choice = choice->next) {
        Py_VISIT(choice->spec.encoder);
        Py_VISIT(choice->spec.decoder);
        for (const made_codec *made = choice->made; made != NULL; made = made->next) {
            Py_VISIT(made->custom.spec.encoder);
            Py_VISIT(made->custom.spec.decoder);
        }
    }
    return 0;
}

static char *
copy_of(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = PyMem_Malloc(size);
    if (copy == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    return memcpy(copy, text, size);
}

static hp_choice *
new_choice(const char *schema, const char *type, const hp_custom_spec *spec)
{
    hp_choice *choice = PyMem_Calloc(1, sizeof *choice);
    if (choice == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    choice->spec = *spec;
    Py_XINCREF(spec->encoder);
    Py_XINCREF(spec->decoder);
    choice->type = copy_of(type);
    choice->schema = schema != NULL ? copy_of(schema) : NULL;
    if (choice->type == NULL || (schema != NULL && choice->schema == NULL)) {
        free_choice(choice);
        return NULL;
    }
    return choice;
}

/* ---- codecs of a choice ---- */

/* NULL with an exception. */
static const hp_codec *
codec_of(hp_choice *choice, const hp_codec *native)
{
    for (made_codec *made = choice->made; made != NULL; made = made->next) {
        if (made->custom.native == native) {
            return &made->custom.codec;
        }
    }
    made_codec *made = hp_custom_check(native, &choice->spec) == 0 ? PyMem_Calloc(1, sizeof *made) : NULL;
    if (made == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_NoMemory();
        }
        return NULL;
    }
    hp_custom_fill(&made->custom, native, &choice->spec);
    made->next = choice->made;
    choice->made = made;
    return &made->custom.codec;
}

const hp_codec *
hp_registry_chosen(hp_registry *reg, const hp_codec *native, const char *schema, const char *type)
{
    hp_choice *choice = reg->choices;
    while (choice != NULL &&
           (strcmp(choice->type, type) != 0 || (choice->schema != NULL && strcmp(choice->schema, schema) != 0))) {
        choice = choice->next;
    }
    if (choice == NULL) {
        return native;
    }
    const hp_codec *codec = codec_of(choice, native);
    return codec != NULL && hp_registry_put(reg, codec) == 0 ? codec : NULL;
}

/* ---- built-in types ---- */

/* 0, or -1 with MemoryError. */
static int
put_fixed(hp_registry *reg, const hp_codec *codec)
{
    size_t place = 0;
    while (place < reg->nfixed && reg->fixed[place]->oid != codec->oid) {
        place++;
    }
    if (place == reg->nfixed) {
        const hp_codec **fixed = PyMem_Realloc(reg->fixed, (reg->nfixed + 1) * sizeof *fixed);
        if (fixed == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        reg->fixed = fixed;
        reg->nfixed++;
    }
    reg->fixed[place] = codec;
    return hp_registry_put(reg, codec);
}

static bool
is_derived_kind(const hp_codec *codec)
{
    /* int2vector and oidvector are arrays with a text form of their own: they stay. */
    return codec->element != NULL && codec->encode != hp_vector_encode_text;
}

/* Every built-in type over one that has another codec now gets one over that. How
 * many did, or -1 with an exception. */
static int
derive_again(hp_registry *reg)
{
    int n = 0;
    for (const hp_codec *native = hp_builtin_next(NULL); native != NULL; native = hp_builtin_next(native)) {
        const hp_codec *codec = hp_registry_find(reg, native->oid);
        if (!is_derived_kind(native) || native->element->kind == HP_CODEC_RECORD) {
            continue;
        }
        const hp_codec *element = hp_registry_find(reg, native->element->oid);
        if (codec->element == element) {
            continue;
        }
        hp_codec derived = hp_derived_codec(native->kind, native->oid, native->name, element);
        const hp_codec *kept = hp_registry_add(reg, &derived);
        if (kept == NULL || put_fixed(reg, kept) < 0) {
            return -1;
        }
        n++;
    }
    return n;
}

static int
choose_builtin(hp_registry *reg, hp_choice *choice, const hp_codec *native)
{
    const hp_codec *codec = codec_of(choice, native);
    if (codec == NULL || put_fixed(reg, codec) < 0) {
        return -1;
    }
    int n;
    do {
        n = derive_again(reg);
    } while (n > 0);
    return n;
}

int
hp_registry_choose(hp_registry *reg, const char *schema, const char *type, const hp_custom_spec *spec)
{
    const hp_codec *native = NULL;
    if (schema == NULL) {
        native = hp_builtin_by_name(type);
    } else if (strcmp(schema, BUILTIN_SCHEMA) == 0) {
        hp_oid oid = hp_codec_builtin_scalar(type);
        native = oid != 0 ? hp_builtin_find(oid) : hp_builtin_by_name(type);
    }
    hp_choice *choice = new_choice(schema, type, spec);
    if (choice == NULL) {
        return -1;
    }
    choice->next = reg->choices;
    reg->choices = choice;
    return native != NULL ? choose_builtin(reg, choice, native) : 0;
}
