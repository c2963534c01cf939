/*
 * network.c - inet and cidr <-> module ipaddress; macaddr and macaddr8 as str.
 *
 * An inet is an IPv4Address or IPv6Address, or, with a netmask shorter than the
 * address, an IPv4Interface or IPv6Interface; a cidr is a network. As input,
 * what the factories of module ipaddress accept: objects of the module, str,
 * int, packed bytes.
 *
 * Binary form: family, netmask bits, is-cidr flag, address length, address.
 */
#include "codec/families.h"

#include <string.h>

enum { FAMILY_INET = 2, FAMILY_INET6 = 3 };
enum { INET_BYTES = 4, INET6_BYTES = 16, HEADER_BYTES = 4 };

int
hp_network_init(hp_codec_state *state)
{
    state->str_packed = PyUnicode_InternFromString("packed");
    state->str_prefixlen = PyUnicode_InternFromString("prefixlen");
    return state->str_packed == NULL || state->str_prefixlen == NULL ? -1 : 0;
}

/* Import what the state has of module ipaddress; ip_network is the last of it. */
static int
load(hp_codec_state *state)
{
    const struct {
        PyObject **member;
        const char *name;
    } imports[] = {
        {&state->IPv4Address, "IPv4Address"},     {&state->IPv6Address, "IPv6Address"},
        {&state->IPv4Interface, "IPv4Interface"}, {&state->IPv6Interface, "IPv6Interface"},
        {&state->IPv4Network, "IPv4Network"},     {&state->IPv6Network, "IPv6Network"},
        {&state->ip_address, "ip_address"},       {&state->ip_interface, "ip_interface"},
        {&state->ip_network, "ip_network"},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(imports); i++) {
        if (hp_import_into(imports[i].member, "ipaddress", imports[i].name) < 0) {
            return -1;
        }
    }
    return 0;
}

static inline int
ready(hp_codec_state *state)
{
    return state->ip_network != NULL ? 0 : load(state);
}

/* ---- encode ---- */

/* `packed`: bytes of either family. bits < 0: all of them. */
static int
put_address(hp_buf *buf, PyObject *packed, long bits, bool is_cidr)
{
    if (!PyBytes_Check(packed) || (PyBytes_GET_SIZE(packed) != INET_BYTES && PyBytes_GET_SIZE(packed) != INET6_BYTES)) {
        PyErr_SetString(PyExc_ValueError, "not an IP address: its .packed is neither 4 nor 16 bytes");
        return -1;
    }
    Py_ssize_t len = PyBytes_GET_SIZE(packed);
    long max_bits = (long)len * 8;
    char header[HEADER_BYTES] = {
        len == INET_BYTES ? FAMILY_INET : FAMILY_INET6,
        (char)(bits < 0 || bits > max_bits ? max_bits : bits),
        is_cidr ? 1 : 0,
        (char)len,
    };
    if (hp_buf_append(buf, header, HEADER_BYTES) < 0) {
        return -1;
    }
    return hp_buf_append(buf, PyBytes_AS_STRING(packed), len);
}

static int
put_packed_of(hp_codec_state *state, PyObject *address, long bits, bool is_cidr, hp_buf *buf)
{
    PyObject *packed = PyObject_GetAttr(address, state->str_packed);
    if (packed == NULL) {
        return -1;
    }
    int result = put_address(buf, packed, bits, is_cidr);
    Py_DECREF(packed);
    return result;
}

/* Netmask bits of a network, -1 with an exception. */
static long
prefixlen_of(hp_codec_state *state, PyObject *network)
{
    PyObject *value = PyObject_GetAttr(network, state->str_prefixlen);
    if (value == NULL) {
        return -1;
    }
    long bits = PyLong_AsLong(value);
    Py_DECREF(value);
    if (bits < 0 && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_ValueError, "negative prefix length");
    }
    return bits;
}

static bool
is_plain_address(const hp_codec_state *state, PyObject *obj)
{
    return Py_IS_TYPE(obj, (PyTypeObject *)state->IPv4Address) || Py_IS_TYPE(obj, (PyTypeObject *)state->IPv6Address);
}

static int
encode_interface(hp_codec_state *state, PyObject *obj, hp_buf *buf)
{
    PyObject *interface = PyObject_CallOneArg(state->ip_interface, obj);
    PyObject *network = interface != NULL ? PyObject_GetAttrString(interface, "network") : NULL;
    long bits = network != NULL ? prefixlen_of(state, network) : -1;
    int result = bits >= 0 ? put_packed_of(state, interface, bits, false, buf) : -1;
    Py_XDECREF(network);
    Py_XDECREF(interface);
    return result;
}

int
hp_inet_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    if (ready(state) < 0) {
        return -1;
    }
    if (is_plain_address(state, obj)) {
        return put_packed_of(state, obj, -1, false, buf);
    }
    PyObject *address = PyObject_CallOneArg(state->ip_address, obj);
    if (address == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return -1;
        }
        /* Not an address alone: one with a netmask? */
        PyErr_Clear();
        return encode_interface(state, obj, buf);
    }
    int result = put_packed_of(state, address, -1, false, buf);
    Py_DECREF(address);
    return result;
}

int
hp_cidr_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    PyObject *network = ready(state) < 0 ? NULL : PyObject_CallOneArg(state->ip_network, obj);
    PyObject *address = network != NULL ? PyObject_GetAttrString(network, "network_address") : NULL;
    long bits = address != NULL ? prefixlen_of(state, network) : -1;
    int result = bits >= 0 ? put_packed_of(state, address, bits, true, buf) : -1;
    Py_XDECREF(address);
    Py_XDECREF(network);
    return result;
}

/* ---- decode ---- */

typedef struct inet_field {
    bool v6;
    int bits;
    int max_bits;
    const char *address;
    Py_ssize_t len;
} inet_field;

static bool
parse_field(const char *data, Py_ssize_t len, bool is_cidr, inet_field *field)
{
    if (len < HEADER_BYTES || (data[0] != FAMILY_INET && data[0] != FAMILY_INET6)) {
        return false;
    }
    field->v6 = data[0] == FAMILY_INET6;
    field->bits = (unsigned char)data[1];
    field->len = field->v6 ? INET6_BYTES : INET_BYTES;
    field->max_bits = (int)field->len * 8;
    field->address = data + HEADER_BYTES;
    return (data[2] != 0) == is_cidr && (unsigned char)data[3] == field->len && len == HEADER_BYTES + field->len &&
           field->bits <= field->max_bits;
}

/* type((packed address, bits)) */
static PyObject *
call_with_prefix(PyObject *type, const inet_field *field)
{
    PyObject *pair = Py_BuildValue("(y#i)", field->address, field->len, field->bits);
    if (pair == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_CallOneArg(type, pair);
    Py_DECREF(pair);
    return result;
}

PyObject *
hp_inet_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    inet_field field;
    if (!parse_field(data, len, false, &field)) {
        return hp_malformed(codec, "not an IP address with a netmask");
    }
    if (ready(state) < 0) {
        return NULL;
    }
    if (field.bits != field.max_bits) {
        return call_with_prefix(field.v6 ? state->IPv6Interface : state->IPv4Interface, &field);
    }
    PyObject *packed = PyBytes_FromStringAndSize(field.address, field.len);
    if (packed == NULL) {
        return NULL;
    }
    PyObject *address = PyObject_CallOneArg(field.v6 ? state->IPv6Address : state->IPv4Address, packed);
    Py_DECREF(packed);
    return address;
}

PyObject *
hp_cidr_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    inet_field field;
    if (!parse_field(data, len, true, &field)) {
        return hp_malformed(codec, "not an IP network");
    }
    if (ready(state) < 0) {
        return NULL;
    }
    return call_with_prefix(field.v6 ? state->IPv6Network : state->IPv4Network, &field);
}

static PyObject *
call_with_text(PyObject *type, const char *data, Py_ssize_t len)
{
    PyObject *text = PyUnicode_DecodeASCII(data, len, NULL);
    if (text == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_CallOneArg(type, text);
    Py_DECREF(text);
    return result;
}

PyObject *
hp_inet_decode_text(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), const char *data, Py_ssize_t len)
{
    bool v6 = memchr(data, ':', (size_t)len) != NULL;
    if (ready(state) < 0) {
        return NULL;
    }
    if (memchr(data, '/', (size_t)len) != NULL) {
        return call_with_text(v6 ? state->IPv6Interface : state->IPv4Interface, data, len);
    }
    return call_with_text(v6 ? state->IPv6Address : state->IPv4Address, data, len);
}

PyObject *
hp_cidr_decode_text(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), const char *data, Py_ssize_t len)
{
    bool v6 = memchr(data, ':', (size_t)len) != NULL;
    if (ready(state) < 0) {
        return NULL;
    }
    return call_with_text(v6 ? state->IPv6Network : state->IPv4Network, data, len);
}

/* ---- macaddr ---- */

/* 6 or 8 bytes as the server prints them: "08:00:2b:01:02:03". */
PyObject *
hp_macaddr_decode(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    static const char digits[] = "0123456789abcdef";
    enum { MAC_BYTES = 6, MAC8_BYTES = 8 };
    char text[3 * MAC8_BYTES];
    if (len != MAC_BYTES && len != MAC8_BYTES) {
        return hp_malformed(codec, "neither 6 nor 8 bytes");
    }
    for (Py_ssize_t i = 0; i < len; i++) {
        text[3 * i] = digits[(unsigned char)data[i] >> 4];
        text[3 * i + 1] = digits[data[i] & 0xF];
        text[3 * i + 2] = ':';
    }
    return PyUnicode_DecodeASCII(text, 3 * len - 1, NULL);
}
