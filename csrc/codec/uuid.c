/*
 * uuid.c - uuid <-> uuid.UUID.
 *
 * uuid.UUID is a Python class with two slots, `int` and `is_safe`, and a costly
 * __init__. Where the class is as we know it, instances are allocated and their
 * slots filled directly; otherwise UUID(bytes=...) is called. As accepted input:
 * UUID, its subclasses and look-alikes (whatever has 16 `bytes`), and str.
 */
#include "codec/families.h"

#include <structmember.h>
#include <string.h>

enum { UUID_BYTES = 16, MAX_TEXT_CHARS = 36 };

/* ---- 128-bit int <-> 16 bytes, for which CPython has changed names ---- */

static PyObject *
int_from_bytes(const char *data)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_FromUnsignedNativeBytes(data, UUID_BYTES, Py_ASNATIVEBYTES_BIG_ENDIAN);
#else
    return _PyLong_FromByteArray((const unsigned char *)data, UUID_BYTES, 0, 0);
#endif
}

/* -1 with an exception where `value` is no unsigned 128-bit number. */
static int
int_to_bytes(PyObject *value, char *data)
{
#if PY_VERSION_HEX >= 0x030D0000
    int flags = Py_ASNATIVEBYTES_BIG_ENDIAN | Py_ASNATIVEBYTES_UNSIGNED_BUFFER | Py_ASNATIVEBYTES_REJECT_NEGATIVE;
    Py_ssize_t needed = PyLong_AsNativeBytes(value, data, UUID_BYTES, flags);
    if (needed > UUID_BYTES) {
        return hp_refuse_range("uuid");
    }
    return needed < 0 ? -1 : 0;
#else
    return _PyLong_AsByteArray((PyLongObject *)value, (unsigned char *)data, UUID_BYTES, 0, 0);
#endif
}

/* ---- the class and its slots ---- */

/* Where instances of `type` keep slot `name`; 0 if it is not a plain slot. */
static Py_ssize_t
slot_offset(PyObject *type, const char *name)
{
    PyObject *descr = PyObject_GetAttrString(type, name);
    Py_ssize_t offset = 0;
    if (descr == NULL) {
        PyErr_Clear();
        return 0;
    }
    if (Py_IS_TYPE(descr, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)descr)->d_member;
        offset = member->type == T_OBJECT_EX ? member->offset : 0;
    }
    Py_DECREF(descr);
    return offset;
}

int
hp_uuid_init(hp_codec_state *state)
{
    state->str_bytes = PyUnicode_InternFromString("bytes");
    return state->str_bytes == NULL ? -1 : 0;
}

/* Import what the state has of this family; UUID is the last of it. */
static int
load(hp_codec_state *state)
{
    PyObject *type = hp_import_attr("uuid", "UUID");
    PyObject *safe = type != NULL ? hp_import_attr("uuid", "SafeUUID") : NULL;
    PyObject *unknown = safe != NULL ? PyObject_GetAttrString(safe, "unknown") : NULL;
    Py_XDECREF(safe);
    if (unknown == NULL) {
        Py_XDECREF(type);
        return -1;
    }
    Py_ssize_t int_at = slot_offset(type, "int");
    Py_ssize_t is_safe_at = slot_offset(type, "is_safe");
    if (int_at > 0 && is_safe_at > 0) {
        state->uuid_int_at = int_at;
        state->uuid_is_safe_at = is_safe_at;
    }
    Py_XSETREF(state->uuid_unknown, unknown);
    Py_XSETREF(state->UUID, type);
    return 0;
}

static inline int
ready(hp_codec_state *state)
{
    return state->UUID != NULL ? 0 : load(state);
}

static PyObject **
slot(PyObject *obj, Py_ssize_t offset)
{
    return (PyObject **)((char *)obj + offset);
}

static PyObject *
uuid_from_bytes(hp_codec_state *state, const char *data)
{
    if (ready(state) < 0) {
        return NULL;
    }
    if (state->uuid_int_at == 0) {
        return PyObject_CallFunction(state->UUID, "Oy#", Py_None, data, (Py_ssize_t)UUID_BYTES);
    }
    PyObject *value = int_from_bytes(data);
    if (value == NULL) {
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)state->UUID;
    PyObject *obj = type->tp_alloc(type, 0);
    if (obj == NULL) {
        Py_DECREF(value);
        return NULL;
    }
    *slot(obj, state->uuid_int_at) = value;
    Py_INCREF(state->uuid_unknown);
    *slot(obj, state->uuid_is_safe_at) = state->uuid_unknown;
    /* An int and an enum member make no cycle; untracked, rows of UUIDs cost the
     * garbage collector nothing. */
    PyObject_GC_UnTrack(obj);
    return obj;
}

/* ---- text form ---- */

/* 32 hexadecimal digits and up to four hyphens, wherever they are; false if not. */
static bool
parse_uuid(const char *p, Py_ssize_t len, char *out)
{
    int ndigits = 0;
    if (len > MAX_TEXT_CHARS) {
        return false;
    }
    for (Py_ssize_t i = 0; i < len; i++) {
        if (p[i] == '-') {
            continue;
        }
        int digit = Py_ISDIGIT(p[i]) ? p[i] - '0' : Py_ISXDIGIT(p[i]) ? Py_TOLOWER(p[i]) - 'a' + 10 : -1;
        if (digit < 0 || ndigits == 2 * UUID_BYTES) {
            return false;
        }
        if (ndigits % 2 == 0) {
            out[ndigits / 2] = (char)(digit << 4);
        } else {
            out[ndigits / 2] = (char)((unsigned char)out[ndigits / 2] | digit);
        }
        ndigits++;
    }
    return ndigits == 2 * UUID_BYTES;
}

/* ---- codec ---- */

static int
encode_str(PyObject *obj, hp_buf *buf)
{
    char bytes[UUID_BYTES];
    Py_ssize_t len;
    const char *utf8 = PyUnicode_AsUTF8AndSize(obj, &len);
    if (utf8 == NULL) {
        return -1;
    }
    if (!parse_uuid(utf8, len, bytes)) {
        PyErr_SetString(PyExc_ValueError, "not a UUID: 32 hexadecimal digits are required");
        return -1;
    }
    return hp_buf_append(buf, bytes, UUID_BYTES);
}

static int
encode_bytes_of(hp_codec_state *state, PyObject *obj, hp_buf *buf)
{
    PyObject *bytes = PyObject_GetAttr(obj, state->str_bytes);
    if (bytes == NULL) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            hp_refuse_type("a UUID or str is required", obj);
        }
        return -1;
    }
    int result = -1;
    if (!PyBytes_Check(bytes) || PyBytes_GET_SIZE(bytes) != UUID_BYTES) {
        PyErr_SetString(PyExc_ValueError, "not a UUID: its .bytes are not 16 bytes");
    } else {
        result = hp_buf_append(buf, PyBytes_AS_STRING(bytes), UUID_BYTES);
    }
    Py_DECREF(bytes);
    return result;
}

int
hp_uuid_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    if (ready(state) < 0) {
        return -1;
    }
    if (Py_IS_TYPE(obj, (PyTypeObject *)state->UUID) && state->uuid_int_at != 0) {
        PyObject *value = *slot(obj, state->uuid_int_at);
        char *out = hp_buf_reserve(buf, UUID_BYTES);
        if (out == NULL) {
            return -1;
        }
        if (value != NULL && PyLong_Check(value)) {
            if (int_to_bytes(value, out) < 0) {
                return -1;
            }
            buf->len += UUID_BYTES;
            return 0;
        }
    }
    return PyUnicode_Check(obj) ? encode_str(obj, buf) : encode_bytes_of(state, obj, buf);
}

PyObject *
hp_uuid_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (!hp_check_length(codec, len, UUID_BYTES)) {
        return NULL;
    }
    return uuid_from_bytes(state, data);
}

PyObject *
hp_uuid_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    char bytes[UUID_BYTES];
    if (!parse_uuid(data, len, bytes)) {
        return hp_malformed(codec, "not 32 hexadecimal digits");
    }
    return uuid_from_bytes(state, bytes);
}
