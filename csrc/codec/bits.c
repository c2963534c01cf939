/*
 * bits.c - bit and varbit <-> holisticpool.types.BitString.
 *
 * As input also bytes-like objects, all of whose bits are meant.
 *
 * Binary form: number of bits, then the bits, eight in a byte and the first one
 * highest, the last byte filled up with zeros. Text form: zeros and ones.
 */
#include "codec/families.h"
#include "codec/wire.h"

enum { HEADER_BYTES = 4 };

int
hp_bits_init(hp_codec_state *state)
{
    state->str_slot_bytes = PyUnicode_InternFromString("_bytes");
    state->str_slot_bitlength = PyUnicode_InternFromString("_bitlength");
    return state->str_slot_bytes == NULL || state->str_slot_bitlength == NULL ? -1 : 0;
}

/* ---- encode ---- */

static int
put_bits(hp_buf *buf, const void *data, Py_ssize_t len, Py_ssize_t bits)
{
    if (bits > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "bit value too long");
        return -1;
    }
    return hp_buf_put_int32(buf, (int32_t)bits) < 0 ? -1 : hp_buf_append(buf, data, len);
}

static int
put_bit_string(hp_codec_state *state, PyObject *obj, hp_buf *buf)
{
    Py_ssize_t bits = PyObject_Size(obj);
    PyObject *bytes = bits < 0 ? NULL : PyObject_GetAttr(obj, state->str_slot_bytes);
    int result = -1;
    if (bytes == NULL) {
        return -1;
    }
    if (!PyBytes_Check(bytes) || PyBytes_GET_SIZE(bytes) != (bits + 7) / 8) {
        PyErr_SetString(PyExc_ValueError, "a BitString whose bytes do not fit its length");
    } else {
        result = put_bits(buf, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes), bits);
    }
    Py_DECREF(bytes);
    return result;
}

int
hp_bits_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    Py_buffer view;
    int is_bit_string = PyObject_IsInstance(obj, state->BitString);
    if (is_bit_string != 0) {
        return is_bit_string < 0 ? -1 : put_bit_string(state, obj, buf);
    }
    if (!PyObject_CheckBuffer(obj)) {
        return hp_refuse_type("a BitString or a bytes-like object is required", obj);
    }
    if (PyObject_GetBuffer(obj, &view, PyBUF_SIMPLE) < 0) {
        if (PyErr_ExceptionMatches(PyExc_BufferError)) {
            PyErr_SetString(PyExc_ValueError, "a contiguous bytes-like object is required");
        }
        return -1;
    }
    int result = view.len > INT32_MAX / 8 ? put_bits(buf, NULL, 0, PY_SSIZE_T_MAX)
                                          : put_bits(buf, view.buf, view.len, view.len * 8);
    PyBuffer_Release(&view);
    return result;
}

/* ---- decode ---- */

/* New reference to a BitString; steals `bytes`, which may be NULL. */
static PyObject *
new_bit_string(hp_codec_state *state, PyObject *bytes, Py_ssize_t bits)
{
    PyObject *values[] = {bytes, bytes == NULL ? NULL : PyLong_FromSsize_t(bits)};
    PyObject *const slots[] = {state->str_slot_bytes, state->str_slot_bitlength};
    return hp_new_with_slots(state->BitString, slots, values, Py_ARRAY_LENGTH(slots));
}

PyObject *
hp_bits_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (len < HEADER_BYTES) {
        return hp_malformed(codec, "shorter than its header");
    }
    int32_t bits = hp_get_i32(data);
    if (bits < 0 || len - HEADER_BYTES != ((Py_ssize_t)bits + 7) / 8) {
        return hp_malformed(codec, "its length does not fit its number of bits");
    }
    return new_bit_string(state, PyBytes_FromStringAndSize(data + HEADER_BYTES, len - HEADER_BYTES), bits);
}

PyObject *
hp_bits_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (len + 7) / 8);
    if (bytes == NULL) {
        return NULL;
    }
    unsigned char *out = (unsigned char *)PyBytes_AS_STRING(bytes);
    for (Py_ssize_t i = 0; i < len; i++) {
        if (data[i] != '0' && data[i] != '1') {
            Py_DECREF(bytes);
            return hp_malformed(codec, "neither 0 nor 1");
        }
        unsigned char higher = i % 8 == 0 ? 0 : out[i / 8];
        out[i / 8] = (unsigned char)(higher | (data[i] - '0') << (7 - i % 8));
    }
    return new_bit_string(state, bytes, len);
}
