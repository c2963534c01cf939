/*
 * composite.c - composite values <-> rows (hp_rows in codec.h), and anonymous
 * records, which come as tuples.
 *
 * As input a mapping from attribute names to values, where what is missing is
 * NULL, or a sequence of all values. A record cannot be sent: the server reads
 * none.
 *
 * Binary form: number of fields, then type, length (-1: NULL) and bytes of each.
 * That a field's type is another than that of the attribute means that the type
 * was altered after it was looked up. Text form: "(a,,"b c")" without types, so
 * that of a record it cannot be read.
 *
 * A composite type goes as text where one of its attributes does. Its other
 * attributes are then written by their binary encoder and printed from that.
 */
#include "codec/families.h"
#include "codec/oids.h"
#include "codec/wire.h"

enum { COUNT_BYTES = 4, FIELD_HEADER_BYTES = 8 };

/* ---- what a composite type consists of ---- */

/* Steals `description`, which may be NULL with an exception set. */
static hp_composite *
new_composite(PyObject *names, PyObject *description, const hp_codec *const *attributes)
{
    size_t n = (size_t)PyTuple_GET_SIZE(names);
    hp_composite *composite =
        description != NULL ? PyMem_Calloc(1, sizeof(*composite) + n * sizeof(composite->attributes[0])) : NULL;
    if (composite == NULL) {
        if (description != NULL) {
            Py_DECREF(description);
            PyErr_NoMemory();
        }
        return NULL;
    }
    composite->n = (Py_ssize_t)n;
    composite->names = Py_NewRef(names);
    composite->description = description;
    for (size_t i = 0; i < n; i++) {
        composite->attributes[i] = attributes[i];
    }
    return composite;
}

hp_composite *
hp_composite_new(hp_codec_state *state, PyObject *names, const hp_codec *const *attributes)
{
    return new_composite(names, state->rows.describe(state->rows.ctx, names), attributes);
}

hp_composite *
hp_composite_like(const hp_composite *model, const hp_codec *const *attributes)
{
    return new_composite(model->names, Py_NewRef(model->description), attributes);
}

hp_composite *
hp_composite_of_record(hp_find_fn find, void *ctx)
{
    hp_composite *composite = PyMem_Calloc(1, sizeof(*composite));
    if (composite == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    composite->find = find;
    composite->ctx = ctx;
    return composite;
}

void
hp_composite_free(hp_composite *composite)
{
    if (composite != NULL) {
        Py_XDECREF(composite->names);
        Py_XDECREF(composite->description);
        PyMem_Free(composite);
    }
}

bool
hp_composite_equal(const hp_composite *a, const hp_composite *b)
{
    if (a == NULL || b == NULL || a->n != b->n || a->find != b->find || a->ctx != b->ctx) {
        return a == b;
    }
    for (Py_ssize_t i = 0; i < a->n; i++) {
        if (a->attributes[i] != b->attributes[i] ||
            PyUnicode_Compare(PyTuple_GET_ITEM(a->names, i), PyTuple_GET_ITEM(b->names, i)) != 0) {
            return false;
        }
    }
    return true;
}

hp_codec
hp_composite_codec(hp_oid oid, const char *name, const hp_composite *composite)
{
    bool binary_in = true;
    bool binary_out = true;
    bool own_classes = false;
    for (Py_ssize_t i = 0; i < composite->n; i++) {
        binary_in = binary_in && composite->attributes[i]->param_format != 0;
        binary_out = binary_out && composite->attributes[i]->decode != NULL;
        own_classes = own_classes || composite->attributes[i]->own_classes;
    }
    return (hp_codec){
        .oid = oid,
        .name = name,
        .param_format = binary_in,
        .encode = binary_in ? hp_composite_encode : hp_composite_encode_text,
        .decode = binary_out ? hp_composite_decode : NULL,
        .decode_text = hp_composite_decode_text,
        .composite = composite,
        .delim = ',',
        .own_classes = own_classes,
        .kind = HP_CODEC_COMPOSITE,
    };
}

/* ---- the values to be sent ---- */

/* Say which key of the mapping is no attribute: there is at least one. */
static void
refuse_keys(const hp_codec *codec, PyObject *mapping)
{
    PyObject *keys = PySequence_List(mapping);
    for (Py_ssize_t i = 0; keys != NULL && i < PyList_GET_SIZE(keys); i++) {
        PyObject *key = PyList_GET_ITEM(keys, i);
        int known = PySequence_Contains(codec->composite->names, key);
        if (known < 0) {
            break;
        }
        if (known == 0) {
            PyErr_Format(PyExc_ValueError, "%R is not an attribute of composite type %s", key, codec->name);
            break;
        }
    }
    Py_XDECREF(keys);
    if (!PyErr_Occurred()) {
        PyErr_Format(PyExc_ValueError, "a mapping that changes");
    }
}

/* New reference: the value of `name`, or None; *found is counted up where it is there. */
static PyObject *
value_of(PyObject *mapping, PyObject *name, Py_ssize_t *found)
{
    int there = PySequence_Contains(mapping, name);
    if (there <= 0) {
        return there < 0 ? NULL : Py_NewRef(Py_None);
    }
    ++*found;
    return PyObject_GetItem(mapping, name);
}

static PyObject *
values_of_mapping(const hp_codec *codec, PyObject *mapping)
{
    const hp_composite *composite = codec->composite;
    Py_ssize_t found = 0;
    PyObject *values = PyTuple_New(composite->n);
    for (Py_ssize_t i = 0; values != NULL && i < composite->n; i++) {
        PyObject *value = value_of(mapping, PyTuple_GET_ITEM(composite->names, i), &found);
        if (value == NULL) {
            Py_CLEAR(values);
            break;
        }
        PyTuple_SET_ITEM(values, i, value);
    }
    Py_ssize_t size = values != NULL ? PyObject_Size(mapping) : -1;
    if (size > found) {
        refuse_keys(codec, mapping);
        size = -1;
    }
    if (size < 0) {
        Py_CLEAR(values);
    }
    return values;
}

/* New reference: one value for each attribute, as a tuple. */
static PyObject *
values_of(hp_codec_state *state, const hp_codec *codec, PyObject *obj)
{
    int mapping = PyDict_Check(obj) ? 1 : PyObject_IsInstance(obj, state->Mapping);
    if (mapping != 0) {
        return mapping < 0 ? NULL : values_of_mapping(codec, obj);
    }
    int usable = hp_is_array_container(state, obj);
    if (usable <= 0) {
        if (usable == 0) {
            hp_refuse_type("a tuple, list, Record or mapping is required", obj);
        }
        return NULL;
    }
    PyObject *values = PySequence_Tuple(obj);
    if (values != NULL && PyTuple_GET_SIZE(values) != codec->composite->n) {
        PyErr_Format(PyExc_ValueError, "composite type %s has %zd attributes, got %zd values", codec->name,
                     codec->composite->n, PyTuple_GET_SIZE(values));
        Py_CLEAR(values);
    }
    return values;
}

/* ---- encode ---- */

static void
say_which_attribute(const hp_codec *codec, Py_ssize_t i)
{
    hp_refine(PyUnicode_FromFormat("invalid value of attribute %R of %s", PyTuple_GET_ITEM(codec->composite->names, i),
                                   codec->name));
}

static int
put_field(hp_codec_state *state, const hp_codec *attribute, PyObject *value, hp_buf *buf)
{
    if (hp_buf_put_int32(buf, (int32_t)attribute->oid) < 0) {
        return -1;
    }
    return value == Py_None ? hp_buf_put_int32(buf, -1) : hp_encode_field(state, attribute, value, buf);
}

int
hp_composite_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    const hp_composite *composite = codec->composite;
    PyObject *values = values_of(state, codec, obj);
    int result = values != NULL ? hp_buf_put_int32(buf, (int32_t)composite->n) : -1;
    for (Py_ssize_t i = 0; result == 0 && i < composite->n; i++) {
        result = put_field(state, composite->attributes[i], PyTuple_GET_ITEM(values, i), buf);
        if (result < 0) {
            say_which_attribute(codec, i);
        }
    }
    Py_XDECREF(values);
    return result;
}

static int
put_text_field(hp_codec_state *state, const hp_codec *attribute, PyObject *value, hp_buf *buf)
{
    if (value == Py_None) {
        return 0;
    }
    if (attribute->param_format == 0) {
        return hp_encode_quoted(state, attribute, value, buf);
    }
    const hp_codec printed = {.oid = attribute->oid, .encode = hp_printed_encode, .element = attribute};
    return hp_encode_quoted(state, &printed, value, buf);
}

int
hp_composite_encode_text(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    const hp_composite *composite = codec->composite;
    PyObject *values = values_of(state, codec, obj);
    int result = values != NULL ? hp_buf_append(buf, "(", 1) : -1;
    for (Py_ssize_t i = 0; result == 0 && i < composite->n; i++) {
        result = i > 0 ? hp_buf_append(buf, ",", 1) : 0;
        if (result == 0) {
            result = put_text_field(state, composite->attributes[i], PyTuple_GET_ITEM(values, i), buf);
        }
        if (result < 0) {
            say_which_attribute(codec, i);
        }
    }
    Py_XDECREF(values);
    return result == 0 ? hp_buf_append(buf, ")", 1) : -1;
}

int
hp_record_encode(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), PyObject *Py_UNUSED(obj),
                 hp_buf *Py_UNUSED(buf))
{
    PyObject *error = hp_import_attr("holisticpool.exceptions", "UnsupportedClientFeatureError");
    if (error != NULL) {
        PyErr_SetString(error, "anonymous records cannot be sent: cast the argument to a composite type");
        Py_DECREF(error);
    }
    return -1;
}

/* ---- decode ---- */

/* OutdatedSchemaCacheError "<type>: <why>"; always NULL. */
static PyObject *
outdated(const hp_codec *codec, const char *why)
{
    PyObject *error = hp_import_attr("holisticpool.exceptions", "OutdatedSchemaCacheError");
    if (error != NULL) {
        PyErr_Format(error, "unexpected %s of composite type %s: it was altered after it was looked up", why,
                     codec->name);
        Py_DECREF(error);
    }
    return NULL;
}

typedef struct fields {
    const char *p;
    const char *end;
    Py_ssize_t n;
    hp_oid oid; /* of the field that was taken */
    const char *data;
    int32_t len; /* -1: NULL */
} fields;

/* false: with an exception. */
static bool
start_fields(const hp_codec *codec, fields *f, const char *data, Py_ssize_t len)
{
    int32_t n = len >= COUNT_BYTES ? hp_get_i32(data) : -1;
    if (n < 0 || n > (len - COUNT_BYTES) / FIELD_HEADER_BYTES) {
        hp_malformed(codec, "impossible number of fields");
        return false;
    }
    *f = (fields){.p = data + COUNT_BYTES, .end = data + len, .n = n};
    return true;
}

/* false: with an exception. */
static bool
take_field(const hp_codec *codec, fields *f)
{
    if (f->end - f->p < FIELD_HEADER_BYTES) {
        hp_malformed(codec, "truncated");
        return false;
    }
    f->oid = hp_get_u32(f->p);
    f->len = hp_get_i32(f->p + 4);
    f->data = f->p + FIELD_HEADER_BYTES;
    if (f->len < -1 || f->len > f->end - f->data) {
        hp_malformed(codec, "a field longer than the value");
        return false;
    }
    f->p = f->data + (f->len > 0 ? f->len : 0);
    return true;
}

static PyObject *
decode_field(hp_codec_state *state, const hp_codec *codec, const fields *f)
{
    if (f->len < 0) {
        Py_RETURN_NONE;
    }
    return codec->decode(state, codec, f->data, f->len);
}

static int
fill_row(hp_codec_state *state, const hp_codec *codec, fields *f, PyObject *row)
{
    const hp_composite *composite = codec->composite;
    for (Py_ssize_t i = 0; i < composite->n; i++) {
        if (!take_field(codec, f)) {
            return -1;
        }
        if (f->oid != composite->attributes[i]->oid) {
            outdated(codec, "type of an attribute");
            return -1;
        }
        PyObject *value = decode_field(state, composite->attributes[i], f);
        if (value == NULL) {
            return -1;
        }
        state->rows.set(row, i, value);
    }
    return 0;
}

PyObject *
hp_composite_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    fields f;
    if (!start_fields(codec, &f, data, len)) {
        return NULL;
    }
    if (f.n != codec->composite->n) {
        return outdated(codec, "number of attributes");
    }
    PyObject *row = state->rows.make(state->rows.ctx, codec->composite->description);
    if (row == NULL) {
        return NULL;
    }
    if (fill_row(state, codec, &f, row) < 0) {
        Py_DECREF(row);
        return NULL;
    }
    state->rows.finish(row);
    if (f.p != f.end) {
        Py_DECREF(row);
        return hp_malformed(codec, "bytes left over");
    }
    return row;
}

static int
fill_row_from_text(hp_literal *r, hp_codec_state *state, const hp_codec *codec, PyObject *row)
{
    const hp_composite *composite = codec->composite;
    for (Py_ssize_t i = 0; i < composite->n; i++) {
        PyObject *value = hp_literal_decode(r, state, composite->attributes[i], ",)");
        if (value == NULL) {
            return -1;
        }
        state->rows.set(row, i, value);
        bool last = *r->p++ == ')';
        if (last != (i == composite->n - 1)) {
            outdated(codec, "number of attributes");
            return -1;
        }
    }
    if (composite->n == 0 && (r->p == r->end || *r->p++ != ')')) {
        hp_malformed(codec, "no closing parenthesis");
        return -1;
    }
    return 0;
}

PyObject *
hp_composite_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    hp_literal r = {.codec = codec, .p = data + 1, .end = data + len};
    if (len < 2 || data[0] != '(') {
        return hp_malformed(codec, "no opening parenthesis");
    }
    PyObject *row = state->rows.make(state->rows.ctx, codec->composite->description);
    if (row == NULL) {
        return NULL;
    }
    int result = fill_row_from_text(&r, state, codec, row);
    hp_buf_free(&r.field);
    if (result < 0) {
        Py_DECREF(row);
        return NULL;
    }
    state->rows.finish(row);
    if (r.p != r.end) {
        Py_DECREF(row);
        return hp_malformed(codec, "more behind the closing parenthesis");
    }
    return row;
}

/* ---- anonymous records ---- */

static const hp_codec *
codec_of_field(hp_codec_state *state, const hp_codec *record, hp_oid oid)
{
    const hp_composite *composite = record->composite;
    const hp_codec *codec = composite != NULL ? composite->find(composite->ctx, oid) : hp_builtin_find(oid);
    if (codec == NULL && !PyErr_Occurred()) {
        PyErr_Format(PyExc_ValueError,
                     "a field of an anonymous record is of type OID %u, which was not looked up: cast the record to "
                     "a composite type, or the field to text",
                     (unsigned)oid);
    }
    if (codec != NULL && codec->decode == NULL) {
        PyErr_Format(PyExc_ValueError,
                     "a field of an anonymous record is of type %s, which comes as text only: cast the field to text",
                     codec->name);
        return NULL;
    }
    return codec != NULL && hp_codec_make_ready(state, codec) == 0 ? codec : NULL;
}

static PyObject *
read_record(hp_codec_state *state, const hp_codec *codec, fields *f)
{
    PyObject *tuple = PyTuple_New(f->n);
    for (Py_ssize_t i = 0; tuple != NULL && i < f->n; i++) {
        PyObject *value = NULL;
        if (take_field(codec, f)) {
            const hp_codec *of = f->len < 0 ? codec : codec_of_field(state, codec, f->oid);
            value = of != NULL ? decode_field(state, of, f) : NULL;
        }
        if (value == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, i, value);
    }
    if (tuple != NULL && f->p != f->end) {
        Py_DECREF(tuple);
        return hp_malformed(codec, "bytes left over");
    }
    return tuple;
}

PyObject *
hp_record_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    fields f;
    /* The depth of records in records is the sender's choice. */
    if (!start_fields(codec, &f, data, len) || Py_EnterRecursiveCall(" in an anonymous record")) {
        return NULL;
    }
    PyObject *tuple = read_record(state, codec, &f);
    Py_LeaveRecursiveCall();
    return tuple;
}

PyObject *
hp_record_decode_text(hp_codec_state *Py_UNUSED(state), const hp_codec *Py_UNUSED(codec), const char *Py_UNUSED(data),
                      Py_ssize_t Py_UNUSED(len))
{
    PyErr_SetString(PyExc_ValueError,
                    "the fields of an anonymous record have no types in text results, and another column of the "
                    "result can only be had as text, with it all of them: cast one of the two to text");
    return NULL;
}
