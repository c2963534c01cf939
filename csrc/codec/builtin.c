/*
 * builtin.c - the table of built-in types: which functions encode and decode
 * them. Constant, shared by all registries, found by OID in one step.
 *
 * To add a type, add a row: the name of its OID in oids.h, its name as
 * format_type() prints it, and its functions. A row of the first lists makes the
 * codec of the array type, too; the SINGLE lists are for types without one.
 */
#include "codec/families.h"
#include "codec/oids.h"

#include <string.h>

/* clang-format off */

/*   OID, name, encode, decode, decode_text: binary parameters and results */
#define BINARY_TYPES(X)                                                                                                \
    X(BOOL, "boolean", hp_bool_encode, hp_bool_decode, hp_bool_decode_text)                                            \
    X(BYTEA, "bytea", hp_bytea_encode, hp_bytea_decode, hp_bytea_decode_text)                                          \
    X(CHAR, "\"char\"", hp_char_encode, hp_char_decode, hp_char_decode_text)                                           \
    X(NAME, "name", hp_text_encode, hp_text_decode, hp_text_decode)                                                    \
    X(INT8, "bigint", hp_int8_encode, hp_int8_decode, hp_int8_decode_text)                                             \
    X(INT2, "smallint", hp_int2_encode, hp_int2_decode, hp_int2_decode_text)                                           \
    X(INT4, "integer", hp_int4_encode, hp_int4_decode, hp_int4_decode_text)                                            \
    X(TEXT, "text", hp_text_encode, hp_text_decode, hp_text_decode)                                                    \
    X(OID, "oid", hp_uint4_encode, hp_uint4_decode, hp_uint4_decode_text)                                              \
    X(XID, "xid", hp_uint4_encode, hp_uint4_decode, hp_uint4_decode_text)                                              \
    X(CID, "cid", hp_uint4_encode, hp_uint4_decode, hp_uint4_decode_text)                                              \
    X(JSON, "json", hp_text_encode, hp_text_decode, hp_text_decode)                                                    \
    X(XML, "xml", hp_text_encode, hp_text_decode, hp_text_decode)                                                      \
    X(XID8, "xid8", hp_uint8_encode, hp_uint8_decode, hp_uint8_decode_text)                                            \
    X(CIDR, "cidr", hp_cidr_encode, hp_cidr_decode, hp_cidr_decode_text)                                               \
    X(FLOAT4, "real", hp_float4_encode, hp_float4_decode, hp_float4_decode_text)                                       \
    X(FLOAT8, "double precision", hp_float8_encode, hp_float8_decode, hp_float8_decode_text)                           \
    X(INET, "inet", hp_inet_encode, hp_inet_decode, hp_inet_decode_text)                                               \
    X(BPCHAR, "character", hp_text_encode, hp_text_decode, hp_text_decode)                                             \
    X(VARCHAR, "character varying", hp_text_encode, hp_text_decode, hp_text_decode)                                    \
    X(DATE, "date", hp_date_encode, hp_date_decode, hp_date_decode_text)                                               \
    X(TIME, "time without time zone", hp_time_encode, hp_time_decode, hp_time_decode_text)                             \
    X(TIMESTAMP, "timestamp without time zone", hp_timestamp_encode, hp_timestamp_decode, hp_timestamp_decode_text)    \
    X(TIMESTAMPTZ, "timestamp with time zone", hp_timestamptz_encode, hp_timestamptz_decode,                           \
      hp_timestamp_decode_text)                                                                                        \
    X(INTERVAL, "interval", hp_interval_encode, hp_interval_decode, hp_interval_decode_text)                           \
    X(TIMETZ, "time with time zone", hp_timetz_encode, hp_timetz_decode, hp_timetz_decode_text)                        \
    X(NUMERIC, "numeric", hp_numeric_encode, hp_numeric_decode, hp_numeric_decode_text)                                \
    X(REFCURSOR, "refcursor", hp_text_encode, hp_text_decode, hp_text_decode)                                          \
    X(UUID, "uuid", hp_uuid_encode, hp_uuid_decode, hp_uuid_decode_text)                                               \
    X(PG_LSN, "pg_lsn", hp_int8_encode, hp_int8_decode, hp_lsn_decode_text)                                            \
    X(JSONB, "jsonb", hp_jsonb_encode, hp_jsonb_decode, hp_text_decode)                                                \
    X(JSONPATH, "jsonpath", hp_jsonb_encode, hp_jsonb_decode, hp_text_decode)                                          \
    X(CSTRING, "cstring", hp_text_encode, hp_text_decode, hp_text_decode)                                              \
    X(TID, "tid", hp_tid_encode, hp_tid_decode, hp_tid_decode_text)                                                    \
    X(TXID_SNAPSHOT, "txid_snapshot", hp_snapshot_encode, hp_snapshot_decode, hp_snapshot_decode_text)                 \
    X(PG_SNAPSHOT, "pg_snapshot", hp_snapshot_encode, hp_snapshot_decode, hp_snapshot_decode_text)

/*   OID, name, encode, decode, decode_text: the same, but values are objects of classes of holisticpool.types */
#define OWN_CLASS_TYPES(X)                                                                                             \
    X(BIT, "bit", hp_bits_encode, hp_bits_decode, hp_bits_decode_text)                                                 \
    X(VARBIT, "bit varying", hp_bits_encode, hp_bits_decode, hp_bits_decode_text)                                      \
    X(POINT, "point", hp_point_encode, hp_point_decode, hp_point_decode_text)                                          \
    X(LINE, "line", hp_line_encode, hp_line_decode, hp_line_decode_text)                                               \
    X(LSEG, "lseg", hp_point_pair_encode, hp_lseg_decode, hp_lseg_decode_text)                                         \
    X(PATH, "path", hp_path_encode, hp_path_decode, hp_path_decode_text)                                               \
    X(POLYGON, "polygon", hp_polygon_encode, hp_polygon_decode, hp_polygon_decode_text)                                \
    X(CIRCLE, "circle", hp_circle_encode, hp_circle_decode, hp_circle_decode_text)

/*   OID, name, encode, decode, decode_text: the same again, but arrays of them have another delimiter, a semicolon */
#define SEMICOLON_TYPES(X) X(BOX, "box", hp_point_pair_encode, hp_box_decode, hp_box_decode_text)

/*   OID, name, encode, decode, decode_text: text parameters, binary results */
#define TEXT_PARAMETER_TYPES(X)                                                                                        \
    X(MACADDR, "macaddr", hp_text_encode, hp_macaddr_decode, hp_text_decode)                                           \
    X(MACADDR8, "macaddr8", hp_text_encode, hp_macaddr_decode, hp_text_decode)

/*   OID, name, OID of the element: arrays with a text form of their own */
#define VECTOR_TYPES(X)                                                                                                \
    X(INT2VECTOR, "int2vector", INT2)                                                                                  \
    X(OIDVECTOR, "oidvector", OID)

/*   OID, name, OID of the subtype */
#define RANGE_TYPES(X)                                                                                                 \
    X(INT4RANGE, "int4range", INT4)                                                                                    \
    X(NUMRANGE, "numrange", NUMERIC)                                                                                   \
    X(TSRANGE, "tsrange", TIMESTAMP)                                                                                   \
    X(TSTZRANGE, "tstzrange", TIMESTAMPTZ)                                                                             \
    X(DATERANGE, "daterange", DATE)                                                                                    \
    X(INT8RANGE, "int8range", INT8)

/*   OID, name, OID of the range type */
#define MULTIRANGE_TYPES(X)                                                                                            \
    X(INT4MULTIRANGE, "int4multirange", INT4RANGE)                                                                     \
    X(NUMMULTIRANGE, "nummultirange", NUMRANGE)                                                                        \
    X(TSMULTIRANGE, "tsmultirange", TSRANGE)                                                                           \
    X(TSTZMULTIRANGE, "tstzmultirange", TSTZRANGE)                                                                     \
    X(DATEMULTIRANGE, "datemultirange", DATERANGE)                                                                     \
    X(INT8MULTIRANGE, "int8multirange", INT8RANGE)

/*   OID, name: rows without a type; a registry has its own codecs for them */
#define RECORD_TYPES(X) X(RECORD, "record")

/*   OID, name: str both ways, as the server writes and reads it */
#define TEXT_TYPES(X)                                                                                                  \
    X(REGPROC, "regproc")                                                                                              \
    X(MONEY, "money")                                                                                                  \
    X(ACLITEM, "aclitem")                                                                                              \
    X(REGPROCEDURE, "regprocedure")                                                                                    \
    X(REGOPER, "regoper")                                                                                              \
    X(REGOPERATOR, "regoperator")                                                                                      \
    X(REGCLASS, "regclass")                                                                                            \
    X(REGTYPE, "regtype")                                                                                              \
    X(TSVECTOR, "tsvector")                                                                                            \
    X(TSQUERY, "tsquery")                                                                                              \
    X(GTSVECTOR, "gtsvector")                                                                                          \
    X(REGCONFIG, "regconfig")                                                                                          \
    X(REGDICTIONARY, "regdictionary")                                                                                  \
    X(REGNAMESPACE, "regnamespace")                                                                                    \
    X(REGROLE, "regrole")                                                                                              \
    X(REGCOLLATION, "regcollation")

/*   OID, name, encode, decode, decode_text: no array type; text parameters, binary results */
#define SINGLE_TYPES(X)                                                                                                \
    X(UNKNOWN, "unknown", hp_text_encode, hp_text_decode, hp_text_decode)                                              \
    X(VOID, "void", hp_void_encode, hp_void_decode, hp_void_decode)                                                    \
    X(PG_NODE_TREE, "pg_node_tree", hp_text_encode, hp_text_decode, hp_text_decode)                                    \
    X(PG_MCV_LIST, "pg_mcv_list", hp_text_encode, hp_bytea_decode, hp_bytea_decode_text)

/*   OID, name: no array type; str both ways. Values of most of them are never seen. */
#define SINGLE_TEXT_TYPES(X)                                                                                           \
    X(PG_DDL_COMMAND, "pg_ddl_command")                                                                                \
    X(PG_NDISTINCT, "pg_ndistinct")                                                                                    \
    X(PG_DEPENDENCIES, "pg_dependencies")                                                                              \
    X(PG_BRIN_BLOOM_SUMMARY, "pg_brin_bloom_summary")                                                                  \
    X(PG_BRIN_MINMAX_MULTI_SUMMARY, "pg_brin_minmax_multi_summary")                                                    \
    X(TABLE_AM_HANDLER, "table_am_handler")                                                                            \
    X(INDEX_AM_HANDLER, "index_am_handler")                                                                            \
    X(TSM_HANDLER, "tsm_handler")                                                                                      \
    X(FDW_HANDLER, "fdw_handler")                                                                                      \
    X(LANGUAGE_HANDLER, "language_handler")                                                                            \
    X(TRIGGER, "trigger")                                                                                              \
    X(EVENT_TRIGGER, "event_trigger")                                                                                  \
    X(INTERNAL, "internal")                                                                                            \
    X(ANY, "\"any\"")                                                                                                  \
    X(ANYARRAY, "anyarray")                                                                                            \
    X(ANYELEMENT, "anyelement")                                                                                        \
    X(ANYNONARRAY, "anynonarray")                                                                                      \
    X(ANYENUM, "anyenum")                                                                                              \
    X(ANYRANGE, "anyrange")                                                                                            \
    X(ANYMULTIRANGE, "anymultirange")                                                                                  \
    X(ANYCOMPATIBLE, "anycompatible")                                                                                  \
    X(ANYCOMPATIBLEARRAY, "anycompatiblearray")                                                                        \
    X(ANYCOMPATIBLENONARRAY, "anycompatiblenonarray")                                                                  \
    X(ANYCOMPATIBLERANGE, "anycompatiblerange")                                                                        \
    X(ANYCOMPATIBLEMULTIRANGE, "anycompatiblemultirange")

/* ---- the table that the rows make ---- */

#define ARRAY_TYPES(X)                                                                                                 \
    BINARY_TYPES(X)                                                                                                    \
    OWN_CLASS_TYPES(X)                                                                                                 \
    SEMICOLON_TYPES(X)                                                                                                 \
    TEXT_PARAMETER_TYPES(X)                                                                                            \
    VECTOR_TYPES(X)                                                                                                    \
    RANGE_TYPES(X)                                                                                                     \
    MULTIRANGE_TYPES(X)                                                                                                \
    RECORD_TYPES(X)                                                                                                    \
    TEXT_TYPES(X)

/* Positions in the table; AT_NONE is taken by no type. */
enum {
    AT_NONE,
#define X(name, ...) AT_##name, AT_##name##_ARRAY,
    ARRAY_TYPES(X)
#undef X
#define X(name, ...) AT_##name,
    SINGLE_TYPES(X) SINGLE_TEXT_TYPES(X)
#undef X
    TABLE_SIZE
};

#define KIND(at, type, format, enc, dec, dec_text, delimiter, own, what)                                               \
    [AT_##at] = {.oid = HP_OID_##at,                                                                                   \
                 .name = (type),                                                                                       \
                 .param_format = (format),                                                                             \
                 .encode = (enc),                                                                                      \
                 .decode = (dec),                                                                                      \
                 .decode_text = (dec_text),                                                                            \
                 .delim = (delimiter),                                                                                 \
                 .own_classes = (own),                                                                                 \
                 .kind = HP_CODEC_##what},

#define SCALAR(at, type, format, enc, dec, dec_text, delimiter, own)                                                   \
    KIND(at, type, format, enc, dec, dec_text, delimiter, own, BASE)

#define OVER(at, type, format, enc, dec, dec_text, of, own, what)                                                      \
    [AT_##at] = {.oid = HP_OID_##at,                                                                                   \
                 .name = (type),                                                                                       \
                 .param_format = (format),                                                                             \
                 .encode = (enc),                                                                                      \
                 .decode = (dec),                                                                                      \
                 .decode_text = (dec_text),                                                                            \
                 .element = &table[AT_##of],                                                                           \
                 .delim = ',',                                                                                         \
                 .own_classes = (own),                                                                                 \
                 .kind = HP_CODEC_##what},

#define ARRAY(at, type, format, enc, dec, dec_text, of, own) OVER(at, type, format, enc, dec, dec_text, of, own, ARRAY)

static const hp_codec table[TABLE_SIZE] = {
#define X(at, type, enc, dec, dec_text)                                                                                \
    SCALAR(at, type, 1, enc, dec, dec_text, ',', false)                                                                \
    ARRAY(at##_ARRAY, type "[]", 1, hp_array_encode, hp_array_decode, hp_array_decode_text, at, false)
    BINARY_TYPES(X)
#undef X
#define X(at, type, enc, dec, dec_text)                                                                                \
    SCALAR(at, type, 1, enc, dec, dec_text, ',', true)                                                                 \
    ARRAY(at##_ARRAY, type "[]", 1, hp_array_encode, hp_array_decode, hp_array_decode_text, at, true)
    OWN_CLASS_TYPES(X)
#undef X
#define X(at, type, enc, dec, dec_text)                                                                                \
    SCALAR(at, type, 1, enc, dec, dec_text, ';', true)                                                                 \
    ARRAY(at##_ARRAY, type "[]", 1, hp_array_encode, hp_array_decode, hp_array_decode_text, at, true)
    SEMICOLON_TYPES(X)
#undef X
#define X(at, type, enc, dec, dec_text)                                                                                \
    SCALAR(at, type, 0, enc, dec, dec_text, ',', false)                                                                \
    ARRAY(at##_ARRAY, type "[]", 0, hp_array_encode_text, hp_array_decode, hp_array_decode_text, at, false)
    TEXT_PARAMETER_TYPES(X)
#undef X
#define X(at, type, of)                                                                                                \
    ARRAY(at, type, 0, hp_vector_encode_text, hp_array_decode, hp_vector_decode_text, of, false)                       \
    ARRAY(at##_ARRAY, type "[]", 0, hp_array_encode_text, hp_array_decode, hp_array_decode_text, at, false)
    VECTOR_TYPES(X)
#undef X
#define X(at, type, of)                                                                                                \
    OVER(at, type, 1, hp_range_encode, hp_range_decode, hp_range_decode_text, of, true, RANGE)                         \
    ARRAY(at##_ARRAY, type "[]", 1, hp_array_encode, hp_array_decode, hp_array_decode_text, at, true)
    RANGE_TYPES(X)
#undef X
#define X(at, type, of)                                                                                                \
    OVER(at, type, 1, hp_multirange_encode, hp_multirange_decode, hp_multirange_decode_text, of, true, MULTIRANGE)     \
    ARRAY(at##_ARRAY, type "[]", 1, hp_array_encode, hp_array_decode, hp_array_decode_text, at, true)
    MULTIRANGE_TYPES(X)
#undef X
#define X(at, type)                                                                                                    \
    KIND(at, type, 1, hp_record_encode, hp_record_decode, hp_record_decode_text, ',', false, RECORD)                   \
    ARRAY(at##_ARRAY, type "[]", 1, hp_array_encode, hp_array_decode, hp_array_decode_text, at, false)
    RECORD_TYPES(X)
#undef X
#define X(at, type)                                                                                                    \
    SCALAR(at, type, 0, hp_text_encode, NULL, hp_text_decode, ',', false)                                              \
    ARRAY(at##_ARRAY, type "[]", 0, hp_array_encode_text, NULL, hp_array_decode_text, at, false)
    TEXT_TYPES(X)
#undef X
#define X(at, type, enc, dec, dec_text) SCALAR(at, type, 0, enc, dec, dec_text, ',', false)
    SINGLE_TYPES(X)
#undef X
#define X(at, type) SCALAR(at, type, 0, hp_text_encode, NULL, hp_text_decode, ',', false)
    SINGLE_TEXT_TYPES(X)
#undef X
};

/* From OID to the position in the table. */
static const uint8_t position[HP_OID_MAX_BUILTIN + 1] = {
#define X(at, ...) [HP_OID_##at] = AT_##at, [HP_OID_##at##_ARRAY] = AT_##at##_ARRAY,
    ARRAY_TYPES(X)
#undef X
#define X(at, ...) [HP_OID_##at] = AT_##at,
    SINGLE_TYPES(X) SINGLE_TEXT_TYPES(X)
#undef X
};

/* clang-format on */

_Static_assert(TABLE_SIZE <= UINT8_MAX + 1, "positions fit one byte");

const hp_codec *
hp_builtin_find(hp_oid oid)
{
    if (oid > HP_OID_MAX_BUILTIN || position[oid] == AT_NONE) {
        return NULL;
    }
    return &table[position[oid]];
}

const hp_codec *
hp_builtin_next(const hp_codec *codec)
{
    size_t i = codec == NULL ? AT_NONE + 1 : (size_t)(codec - table) + 1;
    return i < TABLE_SIZE ? &table[i] : NULL;
}

/* ---- names ---- */

/* Names in pg_type are those of the table in small letters. */
static bool
is_name(const char *name, const char *of_table)
{
    for (; *name != '\0' && Py_TOLOWER(*of_table) == (unsigned char)*name; name++) {
        of_table++;
    }
    return *name == '\0' && *of_table == '\0';
}

const hp_codec *
hp_builtin_by_name(const char *typname)
{
    static const struct {
        const char *name;
        uint8_t at;
    } names[] = {
#define X(at, ...) {#at, AT_##at},
        ARRAY_TYPES(X) SINGLE_TYPES(X) SINGLE_TEXT_TYPES(X)
#undef X
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(names); i++) {
        if (is_name(typname, names[i].name)) {
            return &table[names[i].at];
        }
    }
    return NULL;
}

hp_oid
hp_codec_builtin_scalar(const char *name)
{
    const hp_codec *codec = hp_codec_by_name(name);
    return codec != NULL && codec->kind == HP_CODEC_BASE ? codec->oid : 0;
}

bool
hp_codec_has(const char *name)
{
    return hp_codec_by_name(name) != NULL;
}

const hp_codec *
hp_codec_by_name(const char *name)
{
    static const hp_codec hstore = {.name = "hstore",
                                    .param_format = 1,
                                    .encode = hp_hstore_encode,
                                    .decode = hp_hstore_decode,
                                    .decode_text = hp_hstore_decode_text,
                                    .delim = ',',
                                    .kind = HP_CODEC_BASE};
    static const char *const other_names[][2] = {
        {"int", "int4"},
        {"decimal", "numeric"},
        {"float", "float8"},
        {"time with timezone", "timetz"},
        {"time without timezone", "time"},
        {"timestamp with timezone", "timestamptz"},
        {"timestamp without timezone", "timestamp"},
    };
    if (strcmp(name, "pg_contrib.hstore") == 0) {
        return &hstore;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(other_names); i++) {
        if (strcmp(name, other_names[i][0]) == 0) {
            name = other_names[i][1];
        }
    }
    const hp_codec *found = hp_builtin_by_name(name);
    for (const hp_codec *codec = hp_builtin_next(NULL); found == NULL && codec != NULL;
         codec = hp_builtin_next(codec)) {
        found = strcmp(codec->name, name) == 0 ? codec : NULL;
    }
    return found;
}
