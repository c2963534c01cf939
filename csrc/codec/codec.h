/*
 * codec.h - PostgreSQL's wire formats <-> Python objects: what the binding sees.
 *
 * What it is: a registry maps a type OID to an hp_codec, which knows how to
 * write a Python object as a parameter and how to read a result field. Built-in
 * types are in a constant table (builtin.c); enums, domains, ranges, composite
 * types and arrays of them are added per registry from one catalogue query. A registry belongs to
 * one pool (the OIDs of user types belong to a database).
 *
 * Rules
 *   - Nothing here knows libpq's connection; only result text of the catalogue
 *     query reaches hp_registry_load().
 *   - Encoders append to a buffer and never read past what they wrote; decoders
 *     check every length before they use it: a malformed field raises
 *     hp InternalClientError-compatible ValueError, never reads out of bounds.
 *   - An encoder that refuses a value sets TypeError, ValueError or
 *     OverflowError with a short reason ("an integer is required, got str");
 *     the caller (binding/params.c) turns that into DataError and names the
 *     argument position, so that encoders need not know it.
 *   - Decoders run inside the reader callback: they must not run arbitrary user
 *     code except through a codec the user registered.
 */
#ifndef HP_CODEC_H
#define HP_CODEC_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/wire.h"

typedef uint32_t hp_oid;

/* ---- buffer: parameters of one statement, one after another ---- */

typedef struct hp_buf {
    char *data;      /* PyMem_Malloc'ed, NULL until the first append */
    Py_ssize_t len;  /* bytes in use */
    Py_ssize_t cap;  /* bytes allocated */
    Py_ssize_t mark; /* where the message being written starts: what its limit of 1 GiB is counted from */
} hp_buf;

/* PostgreSQL refuses a message of 1 GiB or more. */
enum { HP_BUF_MAX_BYTES = 0x3FFFFFFF };

/* What hp_buf_reserve() does where there is no room. */
char *hp_buf_make_room(hp_buf *buf, Py_ssize_t more);

/* Make room for `more` bytes and return where they start (len is NOT moved);
 * NULL with MemoryError, or with ValueError past 1 GiB - 1 from the mark, the
 * largest message that PostgreSQL takes. */
static inline char *
hp_buf_reserve(hp_buf *buf, Py_ssize_t more)
{
    if (buf->data == NULL || more > buf->cap - buf->len || more > HP_BUF_MAX_BYTES - (buf->len - buf->mark)) {
        return hp_buf_make_room(buf, more);
    }
    return buf->data + buf->len;
}

int hp_buf_append(hp_buf *buf, const void *data, Py_ssize_t len);

/* In network byte order. */
static inline int
hp_buf_put_int16(hp_buf *buf, int16_t value)
{
    char *p = hp_buf_reserve(buf, 2);
    if (p == NULL) {
        return -1;
    }
    hp_set_u16(p, (uint16_t)value);
    buf->len += 2;
    return 0;
}

static inline int
hp_buf_put_int32(hp_buf *buf, int32_t value)
{
    char *p = hp_buf_reserve(buf, 4);
    if (p == NULL) {
        return -1;
    }
    hp_set_u32(p, (uint32_t)value);
    buf->len += 4;
    return 0;
}

static inline int
hp_buf_put_int64(hp_buf *buf, int64_t value)
{
    char *p = hp_buf_reserve(buf, 8);
    if (p == NULL) {
        return -1;
    }
    hp_set_u64(p, (uint64_t)value);
    buf->len += 8;
    return 0;
}

void hp_buf_free(hp_buf *buf);

/* ---- codec ---- */

struct hp_codec_state;
struct hp_codec;
struct hp_composite; /* what a composite type consists of, or where to find the types of a record's fields */

typedef enum hp_codec_kind {
    HP_CODEC_BASE = 0, /* a type of its own, built in or from an extension */
    HP_CODEC_ARRAY,    /* element: of what */
    HP_CODEC_DOMAIN,   /* element: over what, itself possibly a domain or an array */
    HP_CODEC_ENUM,
    HP_CODEC_RANGE,      /* element: the subtype */
    HP_CODEC_MULTIRANGE, /* element: the range type */
    HP_CODEC_COMPOSITE,  /* composite: its attributes */
    HP_CODEC_RECORD,     /* an anonymous row; composite: where to find the types of its fields, NULL: built-in ones */
    HP_CODEC_UNKNOWN     /* of a kind we do not know: passed as text */
} hp_codec_kind;

/* Append the binary (or, where codec->param_format is 0, text) form of `obj`,
 * never None, to `buf`. 0, or -1 with an exception as described above. The text
 * form holds no NUL byte and is not terminated by one. */
typedef int (*hp_encode_fn)(struct hp_codec_state *state, const struct hp_codec *codec, PyObject *obj, hp_buf *buf);
/* New reference from `len` bytes at `data`; NULL with an exception: ValueError
 * for a malformed field, OverflowError for a value that the Python type cannot
 * hold (a date after the year 9999, for example). */
typedef PyObject *(*hp_decode_fn)(struct hp_codec_state *state, const struct hp_codec *codec, const char *data,
                                  Py_ssize_t len);

typedef struct hp_codec {
    hp_oid oid;
    const char *name; /* as format_type() prints it: "integer", "integer[]" */
    int param_format; /* 1: encode writes binary; 0: text */
    hp_encode_fn encode;
    hp_decode_fn decode;                  /* binary result field; NULL: the type has no binary form we know, so that a
                                  statement returning it must be executed with text results */
    hp_decode_fn decode_text;             /* text result field; never NULL */
    const struct hp_codec *element;       /* as hp_codec_kind says; else NULL */
    const struct hp_composite *composite; /* as hp_codec_kind says; else NULL */
    char delim;                           /* text form of arrays: delimiter between elements of this type */
    bool own_classes;                     /* values are objects of the classes of holisticpool.types, or contain such */
    hp_codec_kind kind;
} hp_codec;

/* Load the classes that the codec needs: what whoever has found one does, once, before
 * it encodes or decodes a value. 0, or -1 with an exception. */
int hp_codec_make_ready(struct hp_codec_state *state, const hp_codec *codec);

/* ---- columns: many fields of one type in one go ---- */

typedef struct hp_field {
    const char *data; /* NULL: SQL's NULL */
    Py_ssize_t len;
} hp_field;

/* Decode `n` fields in binary form into as many new references. Their number; where
 * it is less the next field could not be decoded, with an exception as hp_decode_fn
 * sets it. */
typedef int (*hp_column_reader_fn)(struct hp_codec_state *state, const hp_codec *codec, const hp_field *fields, int n,
                                   PyObject **values);
/* NULL: the codec has none. No value that a reader makes can be part of a cycle of
 * references, and no code of the user's runs in it. */
hp_column_reader_fn hp_column_reader(const hp_codec *codec);

/* ---- registry ---- */

typedef struct hp_registry hp_registry;

hp_registry *hp_registry_new(struct hp_codec_state *state); /* NULL with MemoryError */
void hp_registry_free(hp_registry *reg);

/* The codec of a type, valid as long as the registry; NULL (no exception) where
 * the type is not built in and was not loaded yet. */
const hp_codec *hp_registry_find(hp_registry *reg, hp_oid oid);

/* The catalogue query for types that hp_registry_find() does not know: one text
 * parameter $1 (an oid[] literal such as "{16385,16390}"), all result columns
 * as text; it returns every type needed, dependencies included. Constant. */
const char *hp_registry_query(void);
/* Take in its result: `value(ctx, row, col)` returns the NUL-terminated text of
 * a field or NULL. Types that stay unknown (dropped meanwhile, or of a kind we
 * do not know) become text codecs, so that find() succeeds afterwards for
 * every one of `wanted`. 0, or -1 with an exception. */
typedef const char *(*hp_registry_value_fn)(void *ctx, int row, int col);
int hp_registry_load(hp_registry *reg, int rows, hp_registry_value_fn value, void *ctx, const hp_oid *wanted,
                     size_t nwanted);
/* Vectors of pgvector come as lists and SparseVectors; by default as str, in their
 * text form. Before any type is found. */
void hp_registry_read_vectors(hp_registry *reg);
/* Forget everything that was loaded (reload_schema_state). Codecs handed out
 * stay valid until the registry is freed. */
void hp_registry_forget(hp_registry *reg);

/* ---- rows: what composite values are read as ---- */

/* Functions of the layer above, set in the state before a type is looked up. */
typedef struct hp_rows {
    void *ctx;                                                 /* first argument of describe and make */
    PyTypeObject *type;                                        /* borrowed: the class of the rows */
    PyObject *(*describe)(void *ctx, PyObject *names);         /* new reference: what rows with these columns share */
    PyObject *(*make)(void *ctx, PyObject *description);       /* new reference: a row, to be filled and finished */
    void (*set)(PyObject *row, Py_ssize_t i, PyObject *value); /* steals */
    void (*finish)(PyObject *row);
} hp_rows;

/* ---- text results in a DateStyle other than ISO ---- */

enum { HP_ZONE_BYTES = 256 };

/* What their fields do not say themselves. */
typedef struct hp_text_style {
    unsigned long thread; /* that decodes */
    bool day_first;       /* 17/12, not 12/17 */
    char zone[HP_ZONE_BYTES];
} hp_text_style;

/* From the session's settings DateStyle and TimeZone. false: ISO, or not to be told. */
bool hp_text_style_read(const char *date_style, const char *zone, hp_text_style *style);

/* ---- state: Python objects that codecs need, looked up once ---- */

enum { HP_RANGE_SLOTS = 5 };

typedef struct hp_codec_state {
    hp_rows rows;
    const void *datetime_capi; /* PyDateTime_CAPI; not an object, datetime.c alone knows its type */
    PyObject *Decimal;
    PyObject *create_decimal;     /* of a decimal.Context that is exact: what Decimal() is, with less to parse */
    PyObject *DecimalError;       /* decimal.InvalidOperation, which is no ValueError */
    PyObject *numeric_special[3]; /* Decimal: NaN, Infinity, -Infinity */
    PyObject *UUID;
    PyObject *uuid_unknown; /* uuid.SafeUUID.unknown, what every UUID carries as is_safe */
    Py_ssize_t uuid_int_at; /* where a UUID keeps its slots; 0: not as we know it, so construct it by a call */
    Py_ssize_t uuid_is_safe_at;
    PyObject *Mapping; /* collections.abc.Mapping */
    PyObject *IPv4Address;
    PyObject *IPv6Address;
    PyObject *IPv4Interface;
    PyObject *IPv6Interface;
    PyObject *IPv4Network;
    PyObject *IPv6Network;
    PyObject *ip_address; /* the factories of module ipaddress, for whatever else is given */
    PyObject *ip_interface;
    PyObject *ip_network;
    PyObject *BitString; /* the classes of holisticpool.types */
    PyObject *Point;
    PyObject *Line;
    PyObject *LineSegment;
    PyObject *Box;
    PyObject *Path;
    PyObject *Polygon;
    PyObject *Circle;
    PyObject *Range;
    PyObject *SparseVector;
    PyObject *str_bytes; /* interned attribute names */
    PyObject *str_packed;
    PyObject *str_prefixlen;
    PyObject *str_utcoffset;
    PyObject *str_slot_bytes; /* and those of slots of the classes of holisticpool.types */
    PyObject *str_slot_bitlength;
    PyObject *str_slot_points;
    PyObject *str_slot_is_closed;
    PyObject *range_slots[HP_RANGE_SLOTS];
    const hp_text_style *text_style; /* of the text result that is being decoded; NULL: ISO */
    unsigned holds;                  /* custom.c: how many keep the functions of dead sets alive */
    struct hp_codec_set *dead_sets;  /* ... and the sets */
} hp_codec_state;

int hp_codec_init(PyObject *module, hp_codec_state *state);
int hp_codec_traverse(hp_codec_state *state, visitproc visit, void *arg);
void hp_codec_clear(hp_codec_state *state);

/* ---- the codecs as Python functions, for tests ---- */

/* Each takes the arguments of a METH_VARARGS call and knows built-in types only
 * (LookupError for any other OID), unless one more argument gives the rows of the
 * catalogue query as a list of tuples of str or None. encode(oid, value) gives
 * bytes in the format of param_format, or None for None; decode(oid, data) reads
 * the binary and decode_text(oid, data) the text form. */
PyObject *hp_codec_py_encode(hp_codec_state *state, PyObject *args);
PyObject *hp_codec_py_decode(hp_codec_state *state, PyObject *args);
PyObject *hp_codec_py_decode_text(hp_codec_state *state, PyObject *args);

#endif
