/*
 * custom.c - see custom.h.
 *
 * A text codec of a type whose binary form is its text too (json, jsonb, text,
 * enums, ...) works on top of the native codec, so that the other columns of a
 * statement stay binary. For any other type it makes the results of a statement
 * text, since libpq has one format for all columns.
 */
#include "codec/custom.h"

#include "codec/families.h"
#include "codec/oids.h"

#include <string.h>

typedef struct custom_codec {
    hp_codec codec; /* first: what encoders and decoders get is this */
    const hp_codec *native;
    PyObject *encoder;
    PyObject *decoder;
    bool text;
} custom_codec;

/* A type that has a custom codec inside, made when it is first asked for. */
typedef struct derived_codec {
    hp_codec codec;
    hp_codec_set *set;      /* to which it belongs */
    const hp_codec *native; /* what it stands for */
    struct derived_codec *next;
} derived_codec;

struct hp_codec_set {
    unsigned refs;
    hp_codec_state *state;
    struct hp_codec_set *next_dead;
    derived_codec *derived;
    int n;
    custom_codec codecs[];
};

/* ---- what runs the user's functions ---- */

static const custom_codec *
custom_of(const hp_codec *codec)
{
    return (const custom_codec *)(const void *)codec;
}

static PyObject *
call_encoder(const custom_codec *custom, PyObject *obj)
{
    PyObject *result = PyObject_CallOneArg(custom->encoder, obj);
    if (result == NULL) {
        return NULL;
    }
    if (custom->text && !PyUnicode_Check(result)) {
        PyErr_Format(PyExc_TypeError, "the encoder of type %s must return str, got %.100s", custom->codec.name,
                     Py_TYPE(result)->tp_name);
        Py_CLEAR(result);
    }
    return result;
}

static HP_ENCODER(encode_by_native)
{
    const custom_codec *custom = custom_of(codec);
    PyObject *text = call_encoder(custom, obj);
    if (text == NULL) {
        return -1;
    }
    int rc = custom->native->encode(state, custom->native, text, buf);
    Py_DECREF(text);
    return rc;
}

static HP_ENCODER(encode_text)
{
    PyObject *text = call_encoder(custom_of(codec), obj);
    (void)state;
    if (text == NULL) {
        return -1;
    }
    Py_ssize_t len;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &len);
    int rc = -1;
    if (utf8 != NULL && memchr(utf8, '\0', (size_t)len) != NULL) {
        PyErr_SetString(PyExc_ValueError, "the encoder returned text with a NUL character");
    } else if (utf8 != NULL) {
        rc = hp_buf_append(buf, utf8, len);
    }
    Py_DECREF(text);
    return rc;
}

static HP_ENCODER(encode_binary)
{
    PyObject *data = call_encoder(custom_of(codec), obj);
    Py_buffer view;
    (void)state;
    if (data == NULL) {
        return -1;
    }
    int rc = PyObject_GetBuffer(data, &view, PyBUF_SIMPLE);
    Py_DECREF(data);
    if (rc == 0) {
        rc = hp_buf_append(buf, view.buf, view.len);
        PyBuffer_Release(&view);
    }
    return rc;
}

static PyObject *
call_decoder(const custom_codec *custom, PyObject *arg)
{
    PyObject *result = arg ? PyObject_CallOneArg(custom->decoder, arg) : NULL;
    Py_XDECREF(arg);
    return result;
}

static HP_DECODER(decode_by_native)
{
    const custom_codec *custom = custom_of(codec);
    return call_decoder(custom, custom->native->decode(state, custom->native, data, len));
}

static HP_DECODER(decode_text)
{
    (void)state;
    return call_decoder(custom_of(codec), PyUnicode_DecodeUTF8(data, len, NULL));
}

static HP_DECODER(decode_binary)
{
    (void)state;
    return call_decoder(custom_of(codec), PyBytes_FromStringAndSize(data, len));
}

static HP_DECODER(refuse_text)
{
    (void)state;
    (void)data;
    (void)len;
    PyErr_Format(PyExc_ValueError,
                 "type %s has a binary codec, but another column of the result can only be had as text, and with it "
                 "all of them",
                 codec->name);
    return NULL;
}

/* Is what the native codec gives and takes the text form? */
static bool
is_text_like(const hp_codec *native)
{
    switch (native->oid) {
    case HP_OID_JSON:
    case HP_OID_JSONB:
    case HP_OID_TEXT:
    case HP_OID_VARCHAR:
    case HP_OID_BPCHAR:
    case HP_OID_NAME:
    case HP_OID_XML:
        return true;
    default:
        return native->kind == HP_CODEC_ENUM;
    }
}

const hp_codec *
hp_native_codec(const hp_codec *codec)
{
    bool is_custom =
        codec->encode == encode_by_native || codec->encode == encode_text || codec->encode == encode_binary;
    return is_custom ? custom_of(codec)->native : codec;
}

static void
fill(custom_codec *custom, const hp_codec *native, PyObject *encoder, PyObject *decoder, bool text)
{
    hp_codec *codec = &custom->codec;
    *codec = *native;
    codec->element = NULL;
    codec->kind = HP_CODEC_BASE;
    custom->native = native;
    custom->encoder = Py_NewRef(encoder);
    custom->decoder = Py_NewRef(decoder);
    custom->text = text;
    if (!text) {
        codec->param_format = 1;
        codec->encode = encode_binary;
        codec->decode = decode_binary;
        codec->decode_text = refuse_text;
    } else if (is_text_like(native)) {
        codec->param_format = native->param_format;
        codec->encode = encode_by_native;
        codec->decode = decode_by_native;
        codec->decode_text = decode_text;
    } else {
        codec->param_format = 0;
        codec->encode = encode_text;
        codec->decode = NULL;
        codec->decode_text = decode_text;
    }
}

/* ---- sets ---- */

static hp_codec_set *
new_set(hp_codec_state *state, const hp_codec_set *base, hp_oid without, int more)
{
    int n = base ? base->n : 0;
    hp_codec_set *set = PyMem_Calloc(1, sizeof *set + (size_t)(n + more) * sizeof set->codecs[0]);
    if (set == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    set->refs = 1;
    set->state = state;
    for (int i = 0; i < n; i++) {
        const custom_codec *old = &base->codecs[i];
        if (old->codec.oid != without) {
            fill(&set->codecs[set->n++], old->native, old->encoder, old->decoder, old->text);
        }
    }
    return set;
}

hp_codec_set *
hp_codec_set_with(hp_codec_state *state, const hp_codec_set *base, const hp_codec *native, PyObject *encoder,
                  PyObject *decoder, bool text)
{
    hp_codec_set *set = new_set(state, base, native->oid, 1);
    if (set != NULL) {
        fill(&set->codecs[set->n++], native, encoder, decoder, text);
    }
    return set;
}

hp_codec_set *
hp_codec_set_without(hp_codec_state *state, const hp_codec_set *base, hp_oid oid)
{
    return new_set(state, base, oid, 0);
}

hp_codec_set *
hp_codec_set_ref(hp_codec_set *set)
{
    if (set != NULL) {
        set->refs++;
    }
    return set;
}

static void
free_set(hp_codec_set *set)
{
    for (int i = 0; i < set->n; i++) {
        Py_DECREF(set->codecs[i].encoder);
        Py_DECREF(set->codecs[i].decoder);
    }
    while (set->derived != NULL) {
        derived_codec *next = set->derived->next;
        hp_composite_free((hp_composite *)set->derived->codec.composite);
        PyMem_Free(set->derived);
        set->derived = next;
    }
    PyMem_Free(set);
}

void
hp_codec_set_unref(hp_codec_set *set)
{
    if (set == NULL || --set->refs > 0) {
        return;
    }
    if (set->state->holds == 0) {
        free_set(set);
        return;
    }
    set->next_dead = set->state->dead_sets;
    set->state->dead_sets = set;
}

void
hp_codec_sets_hold(hp_codec_state *state)
{
    state->holds++;
}

void
hp_codec_sets_let_go(hp_codec_state *state)
{
    PyObject *type, *value, *traceback;
    if (--state->holds > 0 || state->dead_sets == NULL) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    /* What a finalizer does may hold, and let go, in its turn. */
    while (state->holds == 0 && state->dead_sets != NULL) {
        hp_codec_set *set = state->dead_sets;
        state->dead_sets = set->next_dead;
        free_set(set);
    }
    PyErr_Restore(type, value, traceback);
}

static const custom_codec *
find_own(const hp_codec_set *set, hp_oid oid)
{
    for (int i = 0; set != NULL && i < set->n; i++) {
        if (set->codecs[i].codec.oid == oid) {
            return &set->codecs[i];
        }
    }
    return NULL;
}

bool
hp_codec_set_equal(const hp_codec_set *a, const hp_codec_set *b)
{
    if ((a ? a->n : 0) != (b ? b->n : 0)) {
        return false;
    }
    for (int i = 0; a != NULL && i < a->n; i++) {
        const custom_codec *mine = &a->codecs[i];
        const custom_codec *other = find_own(b, mine->codec.oid);
        if (other == NULL || other->encoder != mine->encoder || other->decoder != mine->decoder ||
            other->text != mine->text) {
            return false;
        }
    }
    return true;
}

/* ---- types with a custom codec inside ---- */

static const hp_codec *resolve(hp_codec_set *set, const hp_codec *native);

static const hp_codec *
find_derived(const hp_codec_set *set, const hp_codec *native)
{
    for (const derived_codec *d = set->derived; d != NULL; d = d->next) {
        if (d->native == native) {
            return &d->codec;
        }
    }
    return NULL;
}

/* Keep a codec of the set; steals codec->composite. NULL with MemoryError. */
static derived_codec *
keep_derived(hp_codec_set *set, const hp_codec *native, const hp_codec *codec)
{
    derived_codec *derived = PyMem_Calloc(1, sizeof *derived);
    if (derived == NULL) {
        hp_composite_free((hp_composite *)codec->composite);
        PyErr_NoMemory();
        return NULL;
    }
    derived->codec = *codec;
    derived->set = set;
    derived->native = native;
    derived->next = set->derived;
    set->derived = derived;
    return derived;
}

/* An array, domain, range or multirange. */
static const hp_codec *
resolve_element(hp_codec_set *set, const hp_codec *native)
{
    const hp_codec *element = resolve(set, native->element);
    if (element == NULL || element == native->element) {
        return element == NULL ? NULL : native;
    }
    const hp_codec *known = find_derived(set, native);
    if (known != NULL || (native->kind == HP_CODEC_MULTIRANGE && element->kind != HP_CODEC_RANGE)) {
        return known != NULL ? known : native;
    }
    hp_codec codec = hp_derived_codec(native->kind, native->oid, native->name, element);
    derived_codec *derived = keep_derived(set, native, &codec);
    return derived != NULL ? &derived->codec : NULL;
}

/* Fill in the codecs of the attributes. 1: some are others than the native ones;
 * 0: none is; -1: an exception. */
static int
resolve_attributes(hp_codec_set *set, const hp_composite *composite, const hp_codec **codecs)
{
    int differ = 0;
    for (Py_ssize_t i = 0; i < composite->n; i++) {
        codecs[i] = resolve(set, composite->attributes[i]);
        if (codecs[i] == NULL) {
            return -1;
        }
        differ |= codecs[i] != composite->attributes[i];
    }
    return differ;
}

static const hp_codec *
resolve_composite(hp_codec_set *set, const hp_codec *native)
{
    const hp_codec *known = find_derived(set, native);
    if (known != NULL) {
        return known;
    }
    const hp_codec **codecs = PyMem_Calloc((size_t)native->composite->n + 1, sizeof *codecs);
    if (codecs == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    int differ = resolve_attributes(set, native->composite, codecs);
    hp_composite *composite = differ > 0 ? hp_composite_like(native->composite, codecs) : NULL;
    PyMem_Free(codecs);
    if (composite == NULL) {
        return differ == 0 ? native : NULL;
    }
    hp_codec codec = hp_composite_codec(native->oid, native->name, composite);
    derived_codec *derived = keep_derived(set, native, &codec);
    return derived != NULL ? &derived->codec : NULL;
}

static const hp_codec *
find_for_record(void *ctx, hp_oid oid)
{
    const derived_codec *derived = ctx;
    const hp_composite *composite = derived->native->composite;
    const hp_codec *native = composite->find(composite->ctx, oid);
    return native != NULL ? resolve(derived->set, native) : NULL;
}

/* What is in a record is known only when it comes. */
static const hp_codec *
resolve_record(hp_codec_set *set, const hp_codec *native)
{
    const hp_codec *known = find_derived(set, native);
    if (known != NULL || set->n == 0 || native->composite == NULL) {
        return known != NULL ? known : native;
    }
    hp_codec codec = *native;
    hp_composite *composite = hp_composite_of_record(find_for_record, NULL);
    codec.composite = composite;
    derived_codec *derived = composite != NULL ? keep_derived(set, native, &codec) : NULL;
    if (derived == NULL) {
        return NULL;
    }
    composite->ctx = derived;
    return &derived->codec;
}

/* The codec of a type of the registry, over what the set has for what is inside. */
static const hp_codec *
resolve(hp_codec_set *set, const hp_codec *native)
{
    const custom_codec *own = find_own(set, native->oid);
    if (own != NULL) {
        return &own->codec;
    }
    switch (native->kind) {
    case HP_CODEC_ARRAY:
    case HP_CODEC_DOMAIN:
    case HP_CODEC_RANGE:
    case HP_CODEC_MULTIRANGE:
        return resolve_element(set, native);
    case HP_CODEC_COMPOSITE:
        return resolve_composite(set, native);
    case HP_CODEC_RECORD:
        return resolve_record(set, native);
    default:
        return native;
    }
}

const hp_codec *
hp_codec_set_find(hp_codec_set *set, hp_registry *reg, hp_oid oid)
{
    const hp_codec *native = hp_registry_find(reg, oid);
    return set == NULL || native == NULL ? native : resolve(set, native);
}

int
hp_codec_set_traverse(const hp_codec_set *set, visitproc visit, void *arg)
{
    for (int i = 0; set != NULL && i < set->n; i++) {
        Py_VISIT(set->codecs[i].encoder);
        Py_VISIT(set->codecs[i].decoder);
    }
    return 0;
}
