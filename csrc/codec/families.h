/*
 * families.h - the encoders and decoders of every family, and what they share.
 *
 * Private to codec/: builtin.c puts these functions into its table, registry.c
 * uses a few of them for types that it loads. A family that keeps Python objects
 * in hp_codec_state has an init function; registry.c calls it.
 */
#ifndef HP_FAMILIES_H
#define HP_FAMILIES_H

#include "codec/codec.h"

#define HP_ENCODER(name) int name(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
#define HP_DECODER(name) PyObject *name(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)

/* ---- refuse.c: the exceptions of encoders and decoders ---- */

/* TypeError "<what>, got <type of obj>"; always -1. */
int hp_refuse_type(const char *what, PyObject *obj);
/* OverflowError "value out of <range> range"; always -1. */
int hp_refuse_range(const char *range);
/* ValueError "malformed <type>: <why>"; always NULL. */
PyObject *hp_malformed(const hp_codec *codec, const char *why);
/* Is a binary field `expected` bytes long? If not, ValueError. */
bool hp_check_length(const hp_codec *codec, Py_ssize_t len, Py_ssize_t expected);
/* New reference: attribute `name` of module `module`, imported; NULL with an exception. */
PyObject *hp_import_attr(const char *module, const char *name);

/* ---- builtin.c ---- */

/* NULL (no exception) where `oid` is not built in. */
const hp_codec *hp_builtin_find(hp_oid oid);

/* ---- numbers.c ---- */

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

int hp_numeric_init(hp_codec_state *state);
HP_ENCODER(hp_numeric_encode);
HP_DECODER(hp_numeric_decode);
HP_DECODER(hp_numeric_decode_text);

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

/* ---- datetime.c, datetime_text.c ---- */

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
HP_DECODER(hp_timestamptz_decode_text);
HP_DECODER(hp_interval_decode_text);

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
