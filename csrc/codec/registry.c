/*
 * registry.c - codecs of one pool: the built-in ones and those loaded from the
 * catalogue, and the Python objects that all codecs share.
 *
 * A registry is a hash table from OID to codec for the types that builtin.c does
 * not have: enums, domains, ranges, composite types, arrays of them, and whatever
 * else there is, as text. Anonymous records have codecs of each registry's own,
 * as what is in them is looked up there.
 * Codecs are allocated one by one, so that their addresses are stable, and linked
 * in `all` until the registry is freed: a statement that was prepared before
 * hp_registry_forget() may still use its codecs. Loading an unchanged type again
 * takes up the codec that is already there, so that reloading often costs no
 * memory.
 *
 * Used by one thread; belongs to one pool; never runs a query itself.
 */
#include "codec/oids.h"
#include "codec/registry_parts.h"

#include <stdlib.h>
#include <string.h>

/* ---- the catalogue query ---- */

/* Columns of its result. */
enum {
    COL_OID,
    COL_NAME,
    COL_KIND,
    COL_OF,
    COL_DELIM,
    COL_SEND,
    COL_ATTRIBUTE,
    COL_ATTRIBUTE_TYPE,
    COL_SCHEMA,
    COL_TYPE
};

/* One row for each type, of a composite type one for each attribute. "of" is what
 * a domain, array, range or multirange is of.
 *
 * Names and operators are qualified: search_path may hold others of the same
 * name. A type is an array if array_out() prints it. UNION drops what was found
 * before, which ends the recursion. pg_range.rngmultitypid is there from
 * PostgreSQL 14 on, so it is not named but asked for by its name. */
#define OF_TYPE                                                                                                        \
    "CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typbasetype"                                                \
    " WHEN t.typtype OPERATOR(pg_catalog.=) 'r' THEN"                                                                  \
    " (SELECT r.rngsubtype FROM pg_catalog.pg_range AS r WHERE r.rngtypid OPERATOR(pg_catalog.=) t.oid)"               \
    " WHEN t.typtype OPERATOR(pg_catalog.=) 'm' THEN"                                                                  \
    " (SELECT r.rngtypid FROM pg_catalog.pg_range AS r WHERE pg_catalog.to_jsonb(r) OPERATOR(pg_catalog.->>)"          \
    " 'rngmultitypid' OPERATOR(pg_catalog.=) t.oid::pg_catalog.text)"                                                  \
    " WHEN t.typoutput OPERATOR(pg_catalog.=) 'pg_catalog.array_out'::pg_catalog.regproc THEN t.typelem END"

#define ATTRIBUTES                                                                                                     \
    " LEFT JOIN pg_catalog.pg_attribute AS a ON t.typtype OPERATOR(pg_catalog.=) 'c'"                                  \
    " AND a.attrelid OPERATOR(pg_catalog.=) t.typrelid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped"

static const char CATALOGUE_QUERY[] =
    "WITH RECURSIVE need(oid) AS ("
    " SELECT pg_catalog.unnest($1::pg_catalog.oid[])"
    " UNION"
    " SELECT CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'c' THEN a.atttypid ELSE " OF_TYPE " END"
    " FROM need JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) need.oid" ATTRIBUTES
    ") SELECT t.oid::pg_catalog.text, pg_catalog.format_type(t.oid, NULL), t.typtype::pg_catalog.text,"
    " (" OF_TYPE ")::pg_catalog.text, t.typdelim::pg_catalog.text, p.proname::pg_catalog.text,"
    " a.attname::pg_catalog.text, a.atttypid::pg_catalog.text, s.nspname::pg_catalog.text, t.typname::pg_catalog.text"
    " FROM need JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) need.oid"
    " LEFT JOIN pg_catalog.pg_namespace AS s ON s.oid OPERATOR(pg_catalog.=) t.typnamespace"
    " LEFT JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.typsend" ATTRIBUTES
    " ORDER BY t.oid, a.attnum";

const char *
hp_registry_query(void)
{
    return CATALOGUE_QUERY;
}

/* ---- registry ---- */

enum { FIRST_CAPACITY = 32 };

static const hp_codec *
find_for_record(void *reg, hp_oid oid)
{
    return hp_registry_find(reg, oid);
}

hp_registry *
hp_registry_new(hp_codec_state *state)
{
    hp_registry *reg = PyMem_Calloc(1, sizeof(*reg));
    if (reg == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    reg->state = state;
    reg->record = *hp_builtin_find(HP_OID_RECORD);
    reg->record_array = *hp_builtin_find(HP_OID_RECORD_ARRAY);
    reg->record_array.element = &reg->record;
    reg->record.composite = hp_composite_of_record(find_for_record, reg);
    if (reg->record.composite == NULL) {
        PyMem_Free(reg);
        return NULL;
    }
    return reg;
}

void
hp_registry_free(hp_registry *reg)
{
    if (reg == NULL) {
        return;
    }
    for (loaded_codec *loaded = reg->all; loaded != NULL;) {
        loaded_codec *next = loaded->next;
        hp_composite_free((hp_composite *)loaded->codec.composite);
        PyMem_Free(loaded);
        loaded = next;
    }
    hp_choices_free(reg);
    hp_composite_free((hp_composite *)reg->record.composite);
    PyMem_Free(reg->slots);
    PyMem_Free(reg);
}

/* The slot of `oid`, or the empty one where it belongs. The table has room. */
static const hp_codec **
find_slot(const hp_codec **slots, size_t capacity, hp_oid oid)
{
    size_t i = (size_t)(oid * UINT32_C(2654435761)) & (capacity - 1);
    while (slots[i] != NULL && slots[i]->oid != oid) {
        i = (i + 1) & (capacity - 1);
    }
    return &slots[i];
}

const hp_codec *
hp_registry_find(hp_registry *reg, hp_oid oid)
{
    const hp_codec *codec = reg->slots != NULL ? *find_slot(reg->slots, reg->capacity, oid) : NULL;
    if (oid == HP_OID_RECORD || oid == HP_OID_RECORD_ARRAY) {
        return oid == HP_OID_RECORD ? &reg->record : &reg->record_array;
    }
    return codec != NULL ? codec : hp_builtin_find(oid);
}

/* Room for one more at a load of at most a half. */
static int
grow(hp_registry *reg)
{
    size_t capacity = reg->capacity == 0 ? FIRST_CAPACITY : reg->capacity * 2;
    if (2 * (reg->used + 1) <= reg->capacity) {
        return 0;
    }
    const hp_codec **slots = PyMem_Calloc(capacity, sizeof(void *));
    if (slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < reg->capacity; i++) {
        if (reg->slots[i] != NULL) {
            *find_slot(slots, capacity, reg->slots[i]->oid) = reg->slots[i];
        }
    }
    PyMem_Free(reg->slots);
    reg->slots = slots;
    reg->capacity = capacity;
    return 0;
}

static bool
same_codec(const hp_codec *a, const hp_codec *b)
{
    return a->oid == b->oid && a->param_format == b->param_format && a->encode == b->encode && a->decode == b->decode &&
           a->decode_text == b->decode_text && a->element == b->element && a->delim == b->delim && a->kind == b->kind &&
           hp_composite_equal(a->composite, b->composite) && strcmp(a->name, b->name) == 0;
}

/* A codec like `model` that lives as long as the registry: one from an earlier
 * load, or a copy. Steals model->composite. NULL with MemoryError. */
static const hp_codec *
keep_codec(hp_registry *reg, const hp_codec *model)
{
    for (loaded_codec *loaded = reg->all; loaded != NULL; loaded = loaded->next) {
        if (same_codec(&loaded->codec, model)) {
            hp_composite_free((hp_composite *)model->composite);
            return &loaded->codec;
        }
    }
    size_t name_size = strlen(model->name) + 1;
    loaded_codec *loaded = PyMem_Malloc(sizeof(*loaded) + name_size);
    if (loaded == NULL) {
        hp_composite_free((hp_composite *)model->composite);
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(loaded->name, model->name, name_size);
    loaded->codec = *model;
    loaded->codec.name = loaded->name;
    loaded->next = reg->all;
    reg->all = loaded;
    return &loaded->codec;
}

int
hp_registry_put(hp_registry *reg, const hp_codec *codec)
{
    if (grow(reg) < 0) {
        return -1;
    }
    const hp_codec **slot = find_slot(reg->slots, reg->capacity, codec->oid);
    reg->used += *slot == NULL;
    *slot = codec;
    return 0;
}

/* Steals model->composite. */
const hp_codec *
hp_registry_add(hp_registry *reg, const hp_codec *model)
{
    const hp_codec *codec = keep_codec(reg, model);
    return codec != NULL && hp_registry_put(reg, codec) == 0 ? codec : NULL;
}

void
hp_registry_forget(hp_registry *reg)
{
    /* What stands for built-in types was not looked up. All of it fits: it did before. */
    for (size_t i = 0; i < reg->capacity; i++) {
        reg->slots[i] = NULL;
    }
    reg->used = 0;
    for (size_t i = 0; i < reg->nfixed; i++) {
        *find_slot(reg->slots, reg->capacity, reg->fixed[i]->oid) = reg->fixed[i];
        reg->used++;
    }
}

/* ---- from catalogue rows to codecs ---- */

/* The codec of the types that are not known otherwise. */
static hp_codec
text_codec(hp_oid oid, const char *name)
{
    return (hp_codec){
        .oid = oid,
        .name = name,
        .param_format = 0,
        .encode = hp_text_encode,
        .decode = NULL,
        .decode_text = hp_text_decode,
        .delim = ',',
        .kind = HP_CODEC_UNKNOWN,
    };
}

/* Types whose binary form is their text: enums, and base types that use a send
 * function of the text family, such as citext. */
static bool
is_text_in_binary(const char *kind, const char *send)
{
    static const char *const text_send[] = {"textsend", "varcharsend", "bpcharsend", "namesend", "citextsend"};
    if (kind[0] == 'e') {
        return true;
    }
    for (size_t i = 0; kind[0] == 'b' && i < Py_ARRAY_LENGTH(text_send); i++) {
        if (strcmp(send, text_send[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The types of pgvector, whose arguments are binary always. */
static void
fill_vector(hp_codec *codec, const char *send, bool read)
{
    static const struct {
        const char *send;
        hp_encode_fn encode;
        hp_decode_fn decode;
        hp_decode_fn decode_text;
        bool own_classes;
    } vectors[] = {
        {"vector_send", hp_pgvector_encode, hp_pgvector_decode, hp_pgvector_decode_text, false},
        {"halfvec_send", hp_halfvec_encode, hp_halfvec_decode, hp_halfvec_decode_text, false},
        {"sparsevec_send", hp_sparsevec_encode, hp_sparsevec_decode, hp_sparsevec_decode_text, true},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(vectors); i++) {
        if (strcmp(send, vectors[i].send) == 0) {
            codec->kind = HP_CODEC_BASE;
            codec->param_format = 1;
            codec->encode = vectors[i].encode;
            codec->decode = read ? vectors[i].decode : NULL;
            codec->decode_text = read ? vectors[i].decode_text : hp_text_decode;
            codec->own_classes = vectors[i].own_classes;
        }
    }
}

void
hp_registry_read_vectors(hp_registry *reg)
{
    reg->reads_vectors = true;
}

typedef struct loader {
    hp_registry *reg;
    int rows;
    hp_registry_value_fn value;
    void *ctx;
} loader;

static const char *
text_at(const loader *ld, int row, int col)
{
    const char *text = ld->value(ld->ctx, row, col);
    return text != NULL ? text : "";
}

static hp_oid
oid_at(const loader *ld, int row, int col)
{
    return (hp_oid)strtoul(text_at(ld, row, col), NULL, 10);
}

static int
row_of(const loader *ld, hp_oid oid)
{
    for (int row = 0; row < ld->rows; row++) {
        if (oid_at(ld, row, COL_OID) == oid) {
            return row;
        }
    }
    return -1;
}

/* A chain of types longer than this does not occur; a cycle in a damaged catalogue
 * ends here, too. */
enum { MAX_DEPTH = 64 };

static const hp_codec *load_type(const loader *ld, hp_oid oid, int depth);

/* The kind of a type that is of another one. */
static hp_codec_kind
kind_of(const char *typtype)
{
    switch (typtype[0]) {
    case 'd':
        return HP_CODEC_DOMAIN;
    case 'r':
        return HP_CODEC_RANGE;
    case 'm':
        return HP_CODEC_MULTIRANGE;
    default:
        return HP_CODEC_ARRAY;
    }
}

/* The codec of a type that is of another one. */
static const hp_codec *
load_derived(const loader *ld, int row, int depth)
{
    hp_oid oid = oid_at(ld, row, COL_OID);
    const char *name = text_at(ld, row, COL_NAME);
    const hp_codec *of = load_type(ld, oid_at(ld, row, COL_OF), depth + 1);
    if (of == NULL) {
        return NULL;
    }
    hp_codec_kind kind = kind_of(text_at(ld, row, COL_KIND));
    /* Of no range only in a damaged catalogue. */
    bool sound = kind != HP_CODEC_MULTIRANGE || of->kind == HP_CODEC_RANGE;
    hp_codec codec = sound ? hp_derived_codec(kind, oid, name, of) : text_codec(oid, name);
    return hp_registry_add(ld->reg, &codec);
}

/* How many rows from `row` on are attributes of the same type. */
static int
count_attributes(const loader *ld, int row)
{
    hp_oid oid = oid_at(ld, row, COL_OID);
    int n = 0;
    while (row + n < ld->rows && oid_at(ld, row + n, COL_OID) == oid &&
           ld->value(ld->ctx, row + n, COL_ATTRIBUTE) != NULL) {
        n++;
    }
    return n;
}

/* Names and codecs of `n` attributes, from `row` on; 0, or -1 with an exception. */
static int
load_attributes(const loader *ld, int row, int n, int depth, PyObject *names, const hp_codec **codecs)
{
    for (int i = 0; i < n; i++) {
        PyObject *name = PyUnicode_FromString(text_at(ld, row + i, COL_ATTRIBUTE));
        if (name == NULL) {
            return -1;
        }
        PyTuple_SET_ITEM(names, i, name);
        codecs[i] = load_type(ld, oid_at(ld, row + i, COL_ATTRIBUTE_TYPE), depth + 1);
        if (codecs[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

static const hp_codec *
load_composite(const loader *ld, int row, int depth)
{
    int n = count_attributes(ld, row);
    hp_composite *composite = NULL;
    PyObject *names = PyTuple_New(n);
    const hp_codec **codecs = PyMem_Calloc((size_t)n + 1, sizeof *codecs);
    if (codecs == NULL) {
        PyErr_NoMemory();
    } else if (names != NULL && load_attributes(ld, row, n, depth, names, codecs) == 0) {
        composite = hp_composite_new(ld->reg->state, names, codecs);
    }
    PyMem_Free(codecs);
    Py_XDECREF(names);
    if (composite == NULL) {
        return NULL;
    }
    hp_codec codec = hp_composite_codec(oid_at(ld, row, COL_OID), text_at(ld, row, COL_NAME), composite);
    return hp_registry_add(ld->reg, &codec);
}

/* The codec of a type that stands for itself. */
static const hp_codec *
load_scalar(const loader *ld, int row)
{
    const char *kind = text_at(ld, row, COL_KIND);
    const char *delim = text_at(ld, row, COL_DELIM);
    hp_codec codec = text_codec(oid_at(ld, row, COL_OID), text_at(ld, row, COL_NAME));
    if (delim[0] != '\0') {
        codec.delim = delim[0];
    }
    if (is_text_in_binary(kind, text_at(ld, row, COL_SEND))) {
        codec.kind = kind[0] == 'e' ? HP_CODEC_ENUM : HP_CODEC_BASE;
        codec.param_format = 1;
        codec.decode = hp_text_decode;
    } else if (kind[0] == 'b') {
        fill_vector(&codec, text_at(ld, row, COL_SEND), ld->reg->reads_vectors);
    }
    return hp_registry_add(ld->reg, &codec);
}

/* The codec of `oid`, added with what it depends on where it is not there yet. */
static const hp_codec *
load_type(const loader *ld, hp_oid oid, int depth)
{
    const hp_codec *known = hp_registry_find(ld->reg, oid);
    int row = known == NULL && depth < MAX_DEPTH ? row_of(ld, oid) : -1;
    if (known != NULL) {
        return known;
    }
    if (row < 0) {
        hp_codec codec = text_codec(oid, "unknown type");
        return hp_registry_add(ld->reg, &codec);
    }
    const hp_codec *native = text_at(ld, row, COL_KIND)[0] == 'c' ? load_composite(ld, row, depth)
                             : oid_at(ld, row, COL_OF) != 0       ? load_derived(ld, row, depth)
                                                                  : load_scalar(ld, row);
    return native == NULL
               ? NULL
               : hp_registry_chosen(ld->reg, native, text_at(ld, row, COL_SCHEMA), text_at(ld, row, COL_TYPE));
}

int
hp_registry_load(hp_registry *reg, int rows, hp_registry_value_fn value, void *ctx, const hp_oid *wanted,
                 size_t nwanted)
{
    loader ld = {.reg = reg, .rows = rows, .value = value, .ctx = ctx};
    for (size_t i = 0; i < nwanted; i++) {
        if (load_type(&ld, wanted[i], 0) == NULL) {
            return -1;
        }
    }
    return 0;
}

/* ---- state ---- */

int
hp_codec_init(PyObject *Py_UNUSED(module), hp_codec_state *state)
{
    if (hp_datetime_init(state) < 0 || hp_uuid_init(state) < 0 || hp_network_init(state) < 0 ||
        hp_array_init(state) < 0 || hp_bits_init(state) < 0 || hp_geometry_init(state) < 0 ||
        hp_range_init(state) < 0) {
        return -1;
    }
    return 0;
}

int
hp_codec_traverse(hp_codec_state *state, visitproc visit, void *arg)
{
    Py_VISIT(state->Decimal);
    Py_VISIT(state->create_decimal);
    Py_VISIT(state->DecimalError);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(state->numeric_special); i++) {
        Py_VISIT(state->numeric_special[i]);
    }
    Py_VISIT(state->UUID);
    Py_VISIT(state->uuid_unknown);
    Py_VISIT(state->Mapping);
    Py_VISIT(state->IPv4Address);
    Py_VISIT(state->IPv6Address);
    Py_VISIT(state->IPv4Interface);
    Py_VISIT(state->IPv6Interface);
    Py_VISIT(state->IPv4Network);
    Py_VISIT(state->IPv6Network);
    Py_VISIT(state->ip_address);
    Py_VISIT(state->ip_interface);
    Py_VISIT(state->ip_network);
    Py_VISIT(state->str_bytes);
    Py_VISIT(state->str_packed);
    Py_VISIT(state->str_prefixlen);
    Py_VISIT(state->str_utcoffset);
    Py_VISIT(state->BitString);
    Py_VISIT(state->Point);
    Py_VISIT(state->Line);
    Py_VISIT(state->LineSegment);
    Py_VISIT(state->Box);
    Py_VISIT(state->Path);
    Py_VISIT(state->Polygon);
    Py_VISIT(state->Circle);
    Py_VISIT(state->str_slot_bytes);
    Py_VISIT(state->str_slot_bitlength);
    Py_VISIT(state->str_slot_points);
    Py_VISIT(state->str_slot_is_closed);
    Py_VISIT(state->Range);
    Py_VISIT(state->SparseVector);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(state->range_slots); i++) {
        Py_VISIT(state->range_slots[i]);
    }
    return 0;
}

void
hp_codec_clear(hp_codec_state *state)
{
    Py_CLEAR(state->Decimal);
    Py_CLEAR(state->create_decimal);
    Py_CLEAR(state->DecimalError);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(state->numeric_special); i++) {
        Py_CLEAR(state->numeric_special[i]);
    }
    Py_CLEAR(state->UUID);
    Py_CLEAR(state->uuid_unknown);
    Py_CLEAR(state->Mapping);
    Py_CLEAR(state->IPv4Address);
    Py_CLEAR(state->IPv6Address);
    Py_CLEAR(state->IPv4Interface);
    Py_CLEAR(state->IPv6Interface);
    Py_CLEAR(state->IPv4Network);
    Py_CLEAR(state->IPv6Network);
    Py_CLEAR(state->ip_address);
    Py_CLEAR(state->ip_interface);
    Py_CLEAR(state->ip_network);
    Py_CLEAR(state->str_bytes);
    Py_CLEAR(state->str_packed);
    Py_CLEAR(state->str_prefixlen);
    Py_CLEAR(state->str_utcoffset);
    Py_CLEAR(state->BitString);
    Py_CLEAR(state->Point);
    Py_CLEAR(state->Line);
    Py_CLEAR(state->LineSegment);
    Py_CLEAR(state->Box);
    Py_CLEAR(state->Path);
    Py_CLEAR(state->Polygon);
    Py_CLEAR(state->Circle);
    Py_CLEAR(state->str_slot_bytes);
    Py_CLEAR(state->str_slot_bitlength);
    Py_CLEAR(state->str_slot_points);
    Py_CLEAR(state->str_slot_is_closed);
    Py_CLEAR(state->Range);
    Py_CLEAR(state->SparseVector);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(state->range_slots); i++) {
        Py_CLEAR(state->range_slots[i]);
    }
}
