/*
 * columns.c - decoding many fields of one column in one go.
 *
 * What to do with a column is decided once, for the commonest types without a call
 * for each field. Only types whose values are made of nothing but themselves have a
 * reader: none of them can be a part of a cycle of references, and none runs code
 * of the user's. Others are decoded field by field (hp_codec.decode).
 *
 * Called by binding/result.c.
 */
#include "codec/families.h"
#include "codec/wire.h"

#include <string.h>

/* The value of field i is EXPRESSION, of `data`, which is BYTES long. */
#define FIXED_READER(name, bytes, expression)                                                                          \
    static int name(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const hp_field *fields, int n,            \
                    PyObject **values)                                                                                 \
    {                                                                                                                  \
        for (int i = 0; i < n; i++) {                                                                                  \
            const char *data = fields[i].data;                                                                         \
            if (data == NULL) {                                                                                        \
                values[i] = Py_NewRef(Py_None);                                                                        \
                continue;                                                                                              \
            }                                                                                                          \
            if (!hp_check_length(codec, fields[i].len, bytes) || (values[i] = (expression)) == NULL) {                 \
                return i;                                                                                              \
            }                                                                                                          \
        }                                                                                                              \
        return n;                                                                                                      \
    }

static inline double
double_at(const char *data)
{
    double value;
    uint64_t bits = hp_get_u64(data);
    memcpy(&value, &bits, sizeof value);
    return value;
}

FIXED_READER(read_bool, 1, Py_NewRef(data[0] != 0 ? Py_True : Py_False))
FIXED_READER(read_int2, 2, PyLong_FromLong((int16_t)hp_get_u16(data)))
FIXED_READER(read_int4, 4, PyLong_FromLong(hp_get_i32(data)))
FIXED_READER(read_int8, 8, PyLong_FromLongLong(hp_get_i64(data)))
FIXED_READER(read_float8, 8, PyFloat_FromDouble(double_at(data)))

/* Types whose decoder has more to do than the call of it costs. */
static int
read_each(hp_codec_state *state, const hp_codec *codec, const hp_field *fields, int n, PyObject **values)
{
    hp_decode_fn decode = codec->decode;
    for (int i = 0; i < n; i++) {
        const char *data = fields[i].data;
        values[i] = data != NULL ? decode(state, codec, data, fields[i].len) : Py_NewRef(Py_None);
        if (values[i] == NULL) {
            return i;
        }
    }
    return n;
}

static const struct {
    hp_decode_fn decode;
    hp_column_reader_fn read;
} READERS[] = {
    {hp_bool_decode, read_bool},          {hp_int2_decode, read_int2},     {hp_int4_decode, read_int4},
    {hp_int8_decode, read_int8},          {hp_float8_decode, read_float8}, {hp_text_decode, read_each},
    {hp_jsonb_decode, read_each},         {hp_uint4_decode, read_each},    {hp_float4_decode, read_each},
    {hp_date_decode, read_each},          {hp_time_decode, read_each},     {hp_timestamp_decode, read_each},
    {hp_timestamptz_decode, read_each},   {hp_interval_decode, read_each}, {hp_bytea_decode, read_each},
    {hp_numeric_decode_float, read_each},
};

hp_column_reader_fn
hp_column_reader(const hp_codec *codec)
{
    for (size_t i = 0; i < sizeof READERS / sizeof READERS[0]; i++) {
        if (READERS[i].decode == codec->decode) {
            return READERS[i].read;
        }
    }
    return NULL;
}
