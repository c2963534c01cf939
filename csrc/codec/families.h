/*
 * families.h - the encoders and decoders of every family, and what they share.
 *
 * Private to codec/: builtin.c puts these functions into its table, registry.c
 * uses a few of them for types that it loads. A family that keeps Python objects
 * in hp_codec_state has an init function; registry.c calls it. What costs an import
 * comes later: most programs use few of these types. The classes of holisticpool.types
 * come with the first codec that is found for one of them (hp_codec_make_ready), those of
 * the standard library with the family's first value.
 */
#ifndef HP_FAMILIES_H
#define HP_FAMILIES_H

#include "codec/codec.h"
#include "codec/custom.h"

#define HP_ENCODER(name) int name(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
#define HP_DECODER(name) PyObject *name(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)

/* ---- refuse.c: the exceptions of encoders and decoders ---- */

/* TypeError "<what>, got <type of obj>"; always -1. */
int hp_refuse_type(const char *what, PyObject *obj);
/* OverflowError "value out of <range> range"; always -1. */
int hp_refuse_range(const char *range);
/* Put `where`, which it steals, and a colon in front of the message of the exception
 * that is set: the encoder of a part of a value refused it. TypeError becomes
 * ValueError; exceptions of other kinds stay. `where` may be NULL. */
void hp_refine(PyObject *where);
/* ValueError "malformed <type>: <why>"; always NULL. */
PyObject *hp_malformed(const hp_codec *codec, const char *why);
/* ValueError for a binary field of another length; always false. */
bool hp_refuse_length(const hp_codec *codec, Py_ssize_t len, Py_ssize_t expected);
/* Is a binary field `expected` bytes long? If not, ValueError. */
static inline bool
hp_check_length(const hp_codec *codec, Py_ssize_t len, Py_ssize_t expected)
{
    return len == expected || hp_refuse_length(codec, len, expected);
}

/* ---- values.c ---- */

/* New reference: attribute `name` of module `module`, imported; NULL with an exception. */
PyObject *hp_import_attr(const char *module, const char *name);
/* Put that attribute into *member, where it is not there yet; 0, or -1 with an exception. */
int hp_import_into(PyObject **member, const char *module, const char *name);
/* Import the classes of holisticpool.types that the state has, where that is not done
 * yet; 0, or -1 with an exception. Of a codec with own_classes it is. */
int hp_own_classes_load(hp_codec_state *state);
/* New reference: an object of class `type` with these `n` slots set. Steals every
 * one of `values`; where one is NULL, an exception is set already. */
PyObject *hp_new_with_slots(PyObject *type, PyObject *const *slots, PyObject *const *values, size_t n);
/* New reference: an object of `type`, a subclass of tuple, made of `items`. Steals
 * them and takes NULL, as above. */
PyObject *hp_new_tuple(PyObject *type, PyObject *const *items, Py_ssize_t n);

/* ---- fields.c ---- */

/* Append `obj`, not None, as `codec` encodes it: in binary behind its length, in
 * text in quotes. 0, or -1 with an exception. */
int hp_encode_field(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf);
int hp_encode_quoted(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf);

/* A text form being read. hp_buf_free(&field) when done. */
typedef struct hp_literal {
    const hp_codec *codec; /* whose text form it is, for messages */
    const char *p;         /* what comes next */
    const char *end;
    hp_buf field; /* the field that was taken, without its quotes */
} hp_literal;

/* Take a field up to one of `delimiters`, at which r->p then is. 1: it is in
 * r->field; 0: there is nothing; -1: an exception, also where no delimiter follows. */
int hp_literal_take(hp_literal *r, const char *delimiters);
/* New reference: the next field by the text decoder of `codec`, None for nothing. */
PyObject *hp_literal_decode(hp_literal *r, hp_codec_state *state, const hp_codec *codec, const char *delimiters);

/* ---- builtin.c ---- */

/* NULL (no exception) where `oid` is not built in. */
const hp_codec *hp_builtin_find(hp_oid oid);
/* By its name in pg_type; NULL (no exception) where there is none. */
const hp_codec *hp_builtin_by_name(const char *typname);
/* The next built-in codec, to walk through all of them: NULL gives the first, and the last NULL. */
const hp_codec *hp_builtin_next(const hp_codec *codec);
/* For set_builtin_type_codec(): by the names of the SQL standard, too, and those of
 * extensions' codecs. NULL (no exception) where there is none. */
const hp_codec *hp_codec_by_name(const char *name);

/* ---- numbers.c ---- */

/* An integer of at most `max`, refused by `range` where it is none; 0, or -1 with an exception. */
int hp_unsigned_of(PyObject *obj, unsigned long long max, const char *range, unsigned long long *value);
/* Decimal digits as an unsigned number of at most `max`; false if they are not that. */
bool hp_parse_digits(const char *p, const char *end, uint64_t max, uint64_t *value);
/* A floating-point number as the server prints it; 0, or -1 with ValueError. */
int hp_double_from_text(const hp_codec *codec, const char *data, Py_ssize_t len, double *value);

HP_ENCODER(hp_bool_encode);
HP_ENCODER(hp_int2_encode);
HP_ENCODER(hp_int4_encode);
HP_ENCODER(hp_int8_encode);
HP_ENCODER(hp_uint4_encode);
HP_ENCODER(hp_uint8_encode);
HP_ENCODER(hp_float4_encode);
HP_ENCODER(hp_float8_encode);
HP_ENCODER(hp_char_encode);
HP_DECODER(hp_bool_decode);
HP_DECODER(hp_int2_decode);
HP_DECODER(hp_int4_decode);
HP_DECODER(hp_int8_decode);
HP_DECODER(hp_uint4_decode);
HP_DECODER(hp_uint8_decode);
HP_DECODER(hp_float4_decode);
HP_DECODER(hp_float8_decode);
HP_DECODER(hp_char_decode);
HP_DECODER(hp_bool_decode_text);
HP_DECODER(hp_int2_decode_text);
HP_DECODER(hp_int4_decode_text);
HP_DECODER(hp_int8_decode_text);
HP_DECODER(hp_uint4_decode_text);
HP_DECODER(hp_uint8_decode_text);
HP_DECODER(hp_lsn_decode_text);
HP_DECODER(hp_float4_decode_text);
HP_DECODER(hp_float8_decode_text);
HP_DECODER(hp_char_decode_text);

/* ---- numeric.c ---- */

HP_ENCODER(hp_numeric_encode);
HP_DECODER(hp_numeric_decode);
HP_DECODER(hp_numeric_decode_text);
HP_ENCODER(hp_numeric_encode_float); /* floats by their shortest repr() */
HP_DECODER(hp_numeric_decode_float);
HP_DECODER(hp_numeric_decode_text_float);

/* ---- text.c ---- */

HP_ENCODER(hp_text_encode);
HP_DECODER(hp_text_decode); /* also of text results: the same bytes */
HP_ENCODER(hp_bytea_encode);
HP_DECODER(hp_bytea_decode);
HP_DECODER(hp_bytea_decode_text);
HP_ENCODER(hp_void_encode);
HP_DECODER(hp_void_decode);

/* ---- json.c ---- */

HP_ENCODER(hp_jsonb_encode); /* also jsonpath: a version byte, then text */
HP_DECODER(hp_jsonb_decode);
/* How many bytes are in front of the JSON text of a value; -1 with ValueError. */
Py_ssize_t hp_json_header(const hp_codec *codec, const char *data, Py_ssize_t len);
/* Append `json`, str or bytes-like, in the form of the type of `codec`; 0, or -1 with an exception. */
int hp_json_put(hp_codec_state *state, const hp_codec *codec, PyObject *json, hp_buf *buf);

/* ---- datetime.c, datetime_text.c, datetime_style.c ---- */

int hp_datetime_init(hp_codec_state *state);
HP_ENCODER(hp_date_encode);
HP_ENCODER(hp_time_encode);
HP_ENCODER(hp_timetz_encode);
HP_ENCODER(hp_timestamp_encode);
HP_ENCODER(hp_timestamptz_encode);
HP_ENCODER(hp_interval_encode);
HP_DECODER(hp_date_decode);
HP_DECODER(hp_time_decode);
HP_DECODER(hp_timetz_decode);
HP_DECODER(hp_timestamp_decode);
HP_DECODER(hp_timestamptz_decode);
HP_DECODER(hp_interval_decode);
HP_DECODER(hp_date_decode_text);
HP_DECODER(hp_time_decode_text);
HP_DECODER(hp_timetz_decode_text);
HP_DECODER(hp_timestamp_decode_text);
HP_DECODER(hp_interval_decode_text);
/* A date or timestamp that is not infinite in a DateStyle other than ISO. 0, or -1:
 * it is none of the session's style, without an exception, or with the one that
 * looking up its time zone gave. */
int hp_date_read_styled(hp_codec_state *state, const char *data, Py_ssize_t len, int64_t *days);
int hp_timestamp_read_styled(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len,
                             int64_t *us);

/* ---- uuid.c ---- */

int hp_uuid_init(hp_codec_state *state);
HP_ENCODER(hp_uuid_encode);
HP_DECODER(hp_uuid_decode);
HP_DECODER(hp_uuid_decode_text);

/* ---- network.c ---- */

int hp_network_init(hp_codec_state *state);
HP_ENCODER(hp_inet_encode);
HP_ENCODER(hp_cidr_encode);
HP_DECODER(hp_inet_decode);
HP_DECODER(hp_cidr_decode);
HP_DECODER(hp_inet_decode_text);
HP_DECODER(hp_cidr_decode_text);
HP_DECODER(hp_macaddr_decode); /* macaddr and macaddr8 */

/* ---- bits.c ---- */

int hp_bits_init(hp_codec_state *state);
HP_ENCODER(hp_bits_encode);
HP_DECODER(hp_bits_decode);
HP_DECODER(hp_bits_decode_text);

/* ---- geometry.c ---- */

int hp_geometry_init(hp_codec_state *state);
HP_ENCODER(hp_point_encode);
HP_ENCODER(hp_line_encode);
HP_ENCODER(hp_point_pair_encode); /* box, lseg */
HP_ENCODER(hp_path_encode);
HP_ENCODER(hp_polygon_encode);
HP_ENCODER(hp_circle_encode);
HP_DECODER(hp_point_decode);
HP_DECODER(hp_line_decode);
HP_DECODER(hp_lseg_decode);
HP_DECODER(hp_box_decode);
HP_DECODER(hp_path_decode);
HP_DECODER(hp_polygon_decode);
HP_DECODER(hp_circle_decode);
HP_DECODER(hp_point_decode_text);
HP_DECODER(hp_line_decode_text);
HP_DECODER(hp_lseg_decode_text);
HP_DECODER(hp_box_decode_text);
HP_DECODER(hp_path_decode_text);
HP_DECODER(hp_polygon_decode_text);
HP_DECODER(hp_circle_decode_text);

/* ---- range.c: codec->element is the subtype, or the range type of a multirange ---- */

int hp_range_init(hp_codec_state *state);
HP_ENCODER(hp_range_encode);
HP_ENCODER(hp_range_encode_text);
HP_DECODER(hp_range_decode);
HP_DECODER(hp_range_decode_text);
HP_ENCODER(hp_multirange_encode);
HP_ENCODER(hp_multirange_encode_text);
HP_DECODER(hp_multirange_decode);
HP_DECODER(hp_multirange_decode_text);

/* ---- derived.c ---- */

/* The codec of an array, domain, range or multirange type, all of `of`. `name` is borrowed. */
hp_codec hp_derived_codec(hp_codec_kind kind, hp_oid oid, const char *name, const hp_codec *of);

/* ---- composite.c ---- */

typedef const hp_codec *(*hp_find_fn)(void *ctx, hp_oid oid);

/* Immutable. The codecs outlive it. */
typedef struct hp_composite {
    PyObject *names;       /* tuple of str */
    PyObject *description; /* what the rows share */
    hp_find_fn find;       /* of records, which have no attributes here: the codec of a field; NULL without an
                              exception: of an unknown type */
    void *ctx;
    Py_ssize_t n;
    const hp_codec *attributes[];
} hp_composite;

/* NULL with an exception. */
hp_composite *hp_composite_new(hp_codec_state *state, PyObject *names, const hp_codec *const *attributes);
/* The same attributes with other codecs. */
hp_composite *hp_composite_like(const hp_composite *model, const hp_codec *const *attributes);
hp_composite *hp_composite_of_record(hp_find_fn find, void *ctx);
void hp_composite_free(hp_composite *composite);
bool hp_composite_equal(const hp_composite *a, const hp_composite *b);
/* The codec of a composite type: binary where all attributes are. */
hp_codec hp_composite_codec(hp_oid oid, const char *name, const hp_composite *composite);
HP_ENCODER(hp_composite_encode);
HP_ENCODER(hp_composite_encode_text);
HP_DECODER(hp_composite_decode);
HP_DECODER(hp_composite_decode_text);
HP_ENCODER(hp_record_encode);
HP_DECODER(hp_record_decode);
HP_DECODER(hp_record_decode_text);

/* ---- custom.c ---- */

/* A codec of the user's, and what it stands for. */
typedef struct hp_custom {
    hp_codec codec; /* first: what encoders and decoders get is this */
    const hp_codec *native;
    const hp_codec *inner; /* of tuples: what reads and writes them, the native one or one with other attributes */
    hp_custom_spec spec;
} hp_custom;

void hp_custom_fill(hp_custom *custom, const hp_codec *native, const hp_custom_spec *spec);
/* Of a codec of form HP_CUSTOM_TUPLE: exchange tuples with `inner`. */
void hp_custom_fill_over(hp_custom *custom, const hp_codec *inner);
void hp_custom_clear(hp_custom *custom);
bool hp_custom_spec_equal(const hp_custom_spec *a, const hp_custom_spec *b);
/* The codec that the user's codec of a type stands for; any other codec itself. */
const hp_codec *hp_native_codec(const hp_codec *codec);

/* ---- parts.c: values as tuples of what they consist of ---- */

/* Is there such a form of the type: dates, times, intervals, composite types? */
bool hp_parts_known(const hp_codec *native);
/* Append, or new reference to, a value of the type of `native` made of, or taken
 * apart into, a tuple. */
HP_ENCODER(hp_parts_encode);
HP_DECODER(hp_parts_decode);
HP_DECODER(hp_parts_decode_text);

/* ---- vector.c, sparsevec.c: pgvector ---- */

HP_ENCODER(hp_pgvector_encode);
HP_ENCODER(hp_halfvec_encode);
HP_ENCODER(hp_sparsevec_encode);
HP_DECODER(hp_pgvector_decode);
HP_DECODER(hp_halfvec_decode);
HP_DECODER(hp_sparsevec_decode);
HP_DECODER(hp_pgvector_decode_text);
HP_DECODER(hp_halfvec_decode_text);
HP_DECODER(hp_sparsevec_decode_text);

/* ---- hstore.c ---- */

HP_ENCODER(hp_hstore_encode);
HP_DECODER(hp_hstore_decode);
HP_DECODER(hp_hstore_decode_text);

/* ---- printed.c ---- */

/* The text form of a value of codec->element, whose own parameters are binary. */
HP_ENCODER(hp_printed_encode);

/* ---- snapshot.c ---- */

HP_ENCODER(hp_tid_encode);
HP_DECODER(hp_tid_decode);
HP_DECODER(hp_tid_decode_text);
HP_ENCODER(hp_snapshot_encode);
HP_DECODER(hp_snapshot_decode);
HP_DECODER(hp_snapshot_decode_text);

/* ---- array.c, array_text.c: codec->element says of what ---- */

int hp_array_init(hp_codec_state *state);
HP_ENCODER(hp_array_encode);
HP_DECODER(hp_array_decode);
HP_ENCODER(hp_array_encode_text);
HP_DECODER(hp_array_decode_text);
HP_ENCODER(hp_vector_encode_text); /* int2vector, oidvector: "1 2 3" */
HP_DECODER(hp_vector_decode_text);

/* Is `obj` what an array is made from: a sized iterable, but neither text nor
 * bytes nor a mapping? 1, 0, or -1 with an exception. */
int hp_is_array_container(hp_codec_state *state, PyObject *obj);
/* TypeError "a sized iterable container is required, got ..."; always -1. */
int hp_refuse_container(PyObject *obj);

#endif
