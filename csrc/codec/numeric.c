/*
 * numeric.c - numeric <-> decimal.Decimal, exactly.
 *
 * The binary form is base 10000: digit groups, most significant first; the
 * weight of the first group (its power of 10000); a sign; and the display scale,
 * the number of decimal digits after the point. A Decimal is coefficient times
 * ten to an exponent. Both directions go through the decimal text that Decimal
 * itself writes and reads, which is exact, does not depend on the decimal
 * context's precision, and is the fastest interface it has.
 *
 * The scale is kept: 1.50 comes back as Decimal('1.50'). A positive exponent is
 * not: PostgreSQL has no 1E+3, it comes back as Decimal('1000').
 */
#include "codec/families.h"
#include "codec/wire.h"

#include <string.h>

enum {
    DIGITS_PER_GROUP = 4,
    GROUP_BASE = 10000,
    HEADER_BYTES = 8,
    MAX_SCALE = 0x3FFF,
    MAX_WEIGHT = 0x7FFF,
    MAX_EXPONENT = 1000000 /* beyond every limit, and no sum with it overflows */
};

enum {
    SIGN_POSITIVE = 0x0000,
    SIGN_NEGATIVE = 0x4000,
    SIGN_NAN = 0xC000,
    SIGN_PLUS_INF = 0xD000,
    SIGN_MINUS_INF = 0xF000
};

enum { SPECIAL_NAN, SPECIAL_PLUS_INF, SPECIAL_MINUS_INF };

/* Set a limit of a decimal.Context to the widest that the module has. */
static int
widen(PyObject *decimal, PyObject *context, const char *limit, const char *widest)
{
    PyObject *value = PyObject_GetAttrString(decimal, widest);
    int rc = value ? PyObject_SetAttrString(context, limit, value) : -1;
    Py_XDECREF(value);
    return rc;
}

/* What makes a Decimal of a text in a context with the widest limits: nothing is ever rounded, only what is no
 * number is an error. The context is nobody else's. */
static int
load_create_decimal(hp_codec_state *state)
{
    PyObject *decimal = PyImport_ImportModule("decimal");
    PyObject *context = decimal ? PyObject_CallMethod(decimal, "Context", NULL) : NULL;
    PyObject *traps = context ? PyObject_GetAttrString(context, "traps") : NULL;
    int rc = -1;
    if (traps != NULL && PyObject_SetItem(traps, state->DecimalError, Py_True) == 0 &&
        widen(decimal, context, "prec", "MAX_PREC") == 0 && widen(decimal, context, "Emax", "MAX_EMAX") == 0 &&
        widen(decimal, context, "Emin", "MIN_EMIN") == 0) {
        Py_XSETREF(state->create_decimal, PyObject_GetAttrString(context, "create_decimal"));
        rc = state->create_decimal ? 0 : -1;
    }
    Py_XDECREF(traps);
    Py_XDECREF(context);
    Py_XDECREF(decimal);
    return rc;
}

/* Import what the state has of this family; create_decimal is the last of it. */
static int
load(hp_codec_state *state)
{
    static const char *const special[] = {"NaN", "Infinity", "-Infinity"};
    if (hp_import_into(&state->Decimal, "decimal", "Decimal") < 0 ||
        hp_import_into(&state->DecimalError, "decimal", "InvalidOperation") < 0) {
        return -1;
    }
    for (int i = 0; i < 3; i++) {
        PyObject *value = PyObject_CallFunction(state->Decimal, "s", special[i]);
        if (value == NULL) {
            return -1;
        }
        Py_XSETREF(state->numeric_special[i], value);
    }
    return load_create_decimal(state);
}

static inline int
ready(hp_codec_state *state)
{
    return state->create_decimal != NULL ? 0 : load(state);
}

/* ---- encode ---- */

/* A finite number as Decimal writes it. */
typedef struct decimal_text {
    const char *digits; /* first significant digit; a point may be among them */
    const char *end;
    Py_ssize_t ndigits;  /* 0: the value is zero */
    Py_ssize_t exponent; /* decimal weight of the last digit */
    bool negative;
} decimal_text;

static Py_ssize_t
floor_div_group(Py_ssize_t n)
{
    return n >= 0 ? n / DIGITS_PER_GROUP : -((-n + DIGITS_PER_GROUP - 1) / DIGITS_PER_GROUP);
}

/* The number behind "E"; capped, as anything beyond the cap is refused anyway. */
static Py_ssize_t
parse_exponent(const char *p, const char *end)
{
    Py_ssize_t value = 0;
    bool negative = p < end && *p == '-';
    for (p += p < end && (*p == '-' || *p == '+'); p < end && value < MAX_EXPONENT; p++) {
        value = value * 10 + (*p - '0');
    }
    value = value > MAX_EXPONENT ? MAX_EXPONENT : value;
    return negative ? -value : value;
}

/* "-12.50E+3" taken apart. The text comes from Decimal and is well-formed. */
static void
parse_decimal(const char *p, const char *end, decimal_text *out)
{
    out->negative = p < end && *p == '-';
    p += out->negative;

    const char *stop = p;
    while (stop < end && *stop != 'E' && *stop != 'e') {
        stop++;
    }
    const char *point = memchr(p, '.', (size_t)(stop - p));
    Py_ssize_t fraction = point != NULL ? stop - point - 1 : 0;
    out->exponent = -fraction;
    if (stop < end) {
        out->exponent += parse_exponent(stop + 1, end);
    }
    while (p < stop && (*p == '0' || *p == '.')) {
        p++;
    }
    out->digits = p;
    out->end = stop;
    out->ndigits = stop - p - (point != NULL && point >= p ? 1 : 0);
}

static int
put_header(hp_buf *buf, Py_ssize_t groups, Py_ssize_t weight, unsigned sign, Py_ssize_t scale)
{
    if (hp_buf_put_int16(buf, (int16_t)groups) < 0 || hp_buf_put_int16(buf, (int16_t)weight) < 0 ||
        hp_buf_put_int16(buf, (int16_t)sign) < 0 || hp_buf_put_int16(buf, (int16_t)scale) < 0) {
        return -1;
    }
    return 0;
}

static void
put_groups(char *out, const decimal_text *dec, Py_ssize_t weight)
{
    static const unsigned power[DIGITS_PER_GROUP] = {1, 10, 100, 1000};
    Py_ssize_t place = dec->exponent + dec->ndigits - 1; /* decimal weight of the digit at p */
    unsigned group = 0;
    for (const char *p = dec->digits; p < dec->end; p++) {
        if (*p == '.') {
            continue;
        }
        Py_ssize_t group_weight = floor_div_group(place);
        group += (unsigned)(*p - '0') * power[place - group_weight * DIGITS_PER_GROUP];
        if (place == group_weight * DIGITS_PER_GROUP || place == dec->exponent) {
            hp_set_u16(out + 2 * (weight - group_weight), (uint16_t)group);
            group = 0;
        }
        place--;
    }
}

static int
encode_finite(const decimal_text *dec, hp_buf *buf)
{
    unsigned sign = dec->negative ? SIGN_NEGATIVE : SIGN_POSITIVE;
    Py_ssize_t scale = dec->exponent < 0 ? -dec->exponent : 0;
    if (scale > MAX_SCALE) {
        PyErr_SetString(PyExc_ValueError, "numeric holds at most 16383 digits after the decimal point");
        return -1;
    }
    if (dec->ndigits == 0) {
        return put_header(buf, 0, 0, SIGN_POSITIVE, scale);
    }
    if (dec->ndigits > MAX_EXPONENT || floor_div_group(dec->exponent + dec->ndigits - 1) > MAX_WEIGHT) {
        PyErr_SetString(PyExc_OverflowError, "numeric holds at most 131072 digits before the decimal point");
        return -1;
    }
    Py_ssize_t weight = floor_div_group(dec->exponent + dec->ndigits - 1);
    Py_ssize_t groups = weight - floor_div_group(dec->exponent) + 1;
    if (put_header(buf, groups, weight, sign, scale) < 0) {
        return -1;
    }
    char *out = hp_buf_reserve(buf, 2 * groups);
    if (out == NULL) {
        return -1;
    }
    put_groups(out, dec, weight);
    buf->len += 2 * groups;
    return 0;
}

static int
encode_text_of(PyObject *text, hp_buf *buf)
{
    Py_ssize_t len;
    const char *p = PyUnicode_AsUTF8AndSize(text, &len);
    if (p == NULL) {
        return -1;
    }
    /* Decimal never writes nothing, nor a sign alone. */
    bool negative = p[0] == '-';
    char first = p[negative];
    if (first == 'N' || first == 's') {
        return put_header(buf, 0, 0, SIGN_NAN, 0);
    }
    if (first == 'I') {
        return put_header(buf, 0, 0, negative ? SIGN_MINUS_INF : SIGN_PLUS_INF, 0);
    }
    decimal_text dec;
    parse_decimal(p, p + len, &dec);
    return encode_finite(&dec, buf);
}

/* New reference: `obj` as a Decimal, by Decimal's own constructor. */
static PyObject *
decimal_of(hp_codec_state *state, PyObject *obj)
{
    if (ready(state) < 0) {
        return NULL;
    }
    if (PyObject_TypeCheck(obj, (PyTypeObject *)state->Decimal)) {
        Py_INCREF(obj);
        return obj;
    }
    PyObject *dec = PyObject_CallOneArg(state->Decimal, obj);
    if (dec == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        hp_refuse_type("a Decimal or another number is required", obj);
    } else if (dec == NULL && PyErr_ExceptionMatches(state->DecimalError)) {
        PyErr_SetString(PyExc_ValueError, "not a decimal number");
    }
    return dec;
}

int
hp_numeric_encode(hp_codec_state *state, const hp_codec *Py_UNUSED(codec), PyObject *obj, hp_buf *buf)
{
    PyObject *dec = decimal_of(state, obj);
    if (dec == NULL) {
        return -1;
    }
    /* Decimal's own str(), whatever a subclass makes of it. */
    PyObject *text = ((PyTypeObject *)state->Decimal)->tp_str(dec);
    Py_DECREF(dec);
    if (text == NULL) {
        return -1;
    }
    int result = encode_text_of(text, buf);
    Py_DECREF(text);
    return result;
}

/* ---- decode ---- */

typedef struct numeric_field {
    const char *groups; /* 2 bytes each */
    Py_ssize_t ngroups;
    Py_ssize_t weight;
    Py_ssize_t scale;
    bool negative;
} numeric_field;

/* The group of weight `weight`; groups that were not sent are zero. */
static unsigned
group_at(const numeric_field *num, Py_ssize_t weight)
{
    Py_ssize_t i = num->weight - weight;
    return i >= 0 && i < num->ngroups ? hp_get_u16(num->groups + 2 * i) : 0;
}

static char *
write_group(char *out, unsigned group)
{
    out[0] = (char)('0' + group / 1000);
    out[1] = (char)('0' + group / 100 % 10);
    out[2] = (char)('0' + group / 10 % 10);
    out[3] = (char)('0' + group % 10);
    return out + DIGITS_PER_GROUP;
}

/* Write "-123.4500"; `out` has text_capacity() bytes. Leading zeros are left to
 * Decimal's constructor, which drops them. */
static char *
write_decimal(char *out, const numeric_field *num)
{
    if (num->negative) {
        *out++ = '-';
    }
    *out++ = '0';
    for (Py_ssize_t weight = num->weight; weight >= 0; weight--) {
        out = write_group(out, group_at(num, weight));
    }
    if (num->scale > 0) {
        *out++ = '.';
        char *point = out;
        for (Py_ssize_t weight = -1; out - point < num->scale; weight--) {
            out = write_group(out, group_at(num, weight));
        }
        out = point + num->scale;
    }
    return out;
}

static Py_ssize_t
text_capacity(const numeric_field *num)
{
    Py_ssize_t before = num->weight >= 0 ? (num->weight + 1) * DIGITS_PER_GROUP : 0;
    return 3 + before + num->scale + DIGITS_PER_GROUP;
}

static PyObject *
decimal_from_ascii(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    PyObject *text = ready(state) < 0 ? NULL : PyUnicode_DecodeASCII(data, len, NULL);
    if (text == NULL) {
        return NULL;
    }
    PyObject *dec = PyObject_CallOneArg(state->create_decimal, text);
    Py_DECREF(text);
    if (dec == NULL && PyErr_ExceptionMatches(state->DecimalError)) {
        PyErr_Clear();
        return hp_malformed(codec, "not a decimal number");
    }
    return dec;
}

static PyObject *
decimal_from_field(hp_codec_state *state, const hp_codec *codec, const numeric_field *num)
{
    char small[128];
    char *text = small;
    if (text_capacity(num) > (Py_ssize_t)sizeof(small)) {
        text = PyMem_Malloc((size_t)text_capacity(num));
        if (text == NULL) {
            return PyErr_NoMemory();
        }
    }
    char *end = write_decimal(text, num);
    PyObject *dec = decimal_from_ascii(state, codec, text, end - text);
    if (text != small) {
        PyMem_Free(text);
    }
    return dec;
}

static PyObject *
special_value(hp_codec_state *state, unsigned sign)
{
    int which = sign == SIGN_NAN ? SPECIAL_NAN : sign == SIGN_PLUS_INF ? SPECIAL_PLUS_INF : SPECIAL_MINUS_INF;
    if (ready(state) < 0) {
        return NULL;
    }
    Py_INCREF(state->numeric_special[which]);
    return state->numeric_special[which];
}

static bool
is_special(unsigned sign)
{
    return sign == SIGN_NAN || sign == SIGN_PLUS_INF || sign == SIGN_MINUS_INF;
}

/* Take a field apart and check it; false with an exception. */
static bool
read_field(const hp_codec *codec, const char *data, Py_ssize_t len, numeric_field *num, unsigned *sign)
{
    if (len < HEADER_BYTES) {
        hp_malformed(codec, "shorter than its header");
        return false;
    }
    *sign = hp_get_u16(data + 4);
    *num = (numeric_field){
        .groups = data + HEADER_BYTES,
        .ngroups = hp_get_u16(data),
        .weight = (int16_t)hp_get_u16(data + 2),
        .scale = hp_get_u16(data + 6),
        .negative = *sign == SIGN_NEGATIVE,
    };
    if (len != HEADER_BYTES + 2 * num->ngroups) {
        hp_malformed(codec, "length does not match the number of digits");
        return false;
    }
    if (is_special(*sign)) {
        return true;
    }
    if ((*sign != SIGN_POSITIVE && *sign != SIGN_NEGATIVE) || num->scale > MAX_SCALE) {
        hp_malformed(codec, "impossible sign or scale");
        return false;
    }
    for (Py_ssize_t i = 0; i < num->ngroups; i++) {
        if (hp_get_u16(num->groups + 2 * i) >= GROUP_BASE) {
            hp_malformed(codec, "digit group out of range");
            return false;
        }
    }
    return true;
}

PyObject *
hp_numeric_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    numeric_field num;
    unsigned sign;
    if (!read_field(codec, data, len, &num, &sign)) {
        return NULL;
    }
    return is_special(sign) ? special_value(state, sign) : decimal_from_field(state, codec, &num);
}

PyObject *
hp_numeric_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return decimal_from_ascii(state, codec, data, len);
}

/* ---- as float ---- */

int
hp_numeric_encode_float(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    if (!PyFloat_CheckExact(obj)) {
        return hp_numeric_encode(state, codec, obj, buf);
    }
    PyObject *shortest = PyObject_Repr(obj);
    int result = shortest != NULL ? hp_numeric_encode(state, codec, shortest, buf) : -1;
    Py_XDECREF(shortest);
    return result;
}

/* The digit groups as one integer, where that and the power of ten that it is
 * multiplied or divided by are exact as doubles: then the result is the nearest one. */
static bool
scale_exactly(const numeric_field *num, double *value)
{
    static const double power[] = {1e0, 1e4, 1e8, 1e12, 1e16, 1e20};
    const uint64_t most = UINT64_C(1) << 53;
    uint64_t whole = 0;
    Py_ssize_t last = num->weight - num->ngroups + 1; /* weight of the last group */
    Py_ssize_t distance = last < 0 ? -last : last;
    if (num->ngroups > 5 || distance >= (Py_ssize_t)Py_ARRAY_LENGTH(power)) {
        return false;
    }
    for (Py_ssize_t i = 0; i < num->ngroups; i++) {
        if (whole > (most - GROUP_BASE) / GROUP_BASE) {
            return false;
        }
        whole = whole * GROUP_BASE + hp_get_u16(num->groups + 2 * i);
    }
    double scaled = last < 0 ? (double)whole / power[distance] : (double)whole * power[distance];
    *value = num->negative ? -scaled : scaled;
    return true;
}

static PyObject *
float_from_ascii(const hp_codec *codec, const char *text)
{
    char *end;
    double value = PyOS_string_to_double(text, &end, PyExc_OverflowError);
    if (value == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_SetString(PyExc_OverflowError, "numeric out of the range of float");
            return NULL;
        }
        PyErr_Clear();
        return hp_malformed(codec, "not a decimal number");
    }
    return *end == '\0' ? PyFloat_FromDouble(value) : hp_malformed(codec, "not a decimal number");
}

static PyObject *
float_from_field(const hp_codec *codec, const numeric_field *num)
{
    double value;
    if (scale_exactly(num, &value)) {
        return PyFloat_FromDouble(value);
    }
    char *text = PyMem_Malloc((size_t)text_capacity(num) + 1);
    if (text == NULL) {
        return PyErr_NoMemory();
    }
    *write_decimal(text, num) = '\0';
    PyObject *result = float_from_ascii(codec, text);
    PyMem_Free(text);
    return result;
}

PyObject *
hp_numeric_decode_float(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    numeric_field num;
    unsigned sign;
    if (!read_field(codec, data, len, &num, &sign)) {
        return NULL;
    }
    switch (sign) {
    case SIGN_NAN:
        return PyFloat_FromDouble(Py_NAN);
    case SIGN_PLUS_INF:
        return PyFloat_FromDouble(Py_HUGE_VAL);
    case SIGN_MINUS_INF:
        return PyFloat_FromDouble(-Py_HUGE_VAL);
    default:
        return float_from_field(codec, &num);
    }
}

PyObject *
hp_numeric_decode_text_float(hp_codec_state *Py_UNUSED(state), const hp_codec *codec, const char *data, Py_ssize_t len)
{
    char *text = PyMem_Malloc((size_t)len + 1);
    if (text == NULL) {
        return PyErr_NoMemory();
    }
    memcpy(text, data, (size_t)len);
    text[len] = '\0';
    PyObject *result = float_from_ascii(codec, text);
    PyMem_Free(text);
    return result;
}
