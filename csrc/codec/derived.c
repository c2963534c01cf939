/*
 * derived.c - codecs of types that are of another type: arrays, domains, ranges
 * and multiranges. Whether they are binary is up to what they are of.
 *
 * Called by registry.c for types of the catalogue and by custom.c for types over
 * one with the user's codec. A domain is its base type under another OID.
 */
#include "codec/families.h"

static int
domain_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    return codec->element->encode(state, codec->element, obj, buf);
}

static PyObject *
domain_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return codec->element->decode(state, codec->element, data, len);
}

static PyObject *
domain_decode_text(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    return codec->element->decode_text(state, codec->element, data, len);
}

static void
fill_array(hp_codec *codec)
{
    codec->encode = codec->element->param_format != 0 ? hp_array_encode : hp_array_encode_text;
    codec->decode = hp_array_decode;
    codec->decode_text = hp_array_decode_text;
}

static void
fill_range(hp_codec *codec)
{
    codec->own_classes = true;
    codec->encode = codec->element->param_format != 0 ? hp_range_encode : hp_range_encode_text;
    codec->decode = hp_range_decode;
    codec->decode_text = hp_range_decode_text;
}

static void
fill_multirange(hp_codec *codec)
{
    codec->encode = codec->element->param_format != 0 ? hp_multirange_encode : hp_multirange_encode_text;
    codec->decode = hp_multirange_decode;
    codec->decode_text = hp_multirange_decode_text;
}

static void
fill_domain(hp_codec *codec)
{
    codec->encode = domain_encode;
    codec->decode = domain_decode;
    codec->decode_text = domain_decode_text;
    codec->delim = codec->element->delim;
}

hp_codec
hp_derived_codec(hp_codec_kind kind, hp_oid oid, const char *name, const hp_codec *of)
{
    hp_codec codec = {.oid = oid,
                      .name = name,
                      .param_format = of->param_format,
                      .element = of,
                      .delim = ',',
                      .own_classes = of->own_classes,
                      .kind = kind};
    switch (kind) {
    case HP_CODEC_DOMAIN:
        fill_domain(&codec);
        break;
    case HP_CODEC_RANGE:
        fill_range(&codec);
        break;
    case HP_CODEC_MULTIRANGE:
        fill_multirange(&codec);
        break;
    default:
        fill_array(&codec);
        break;
    }
    if (of->decode == NULL) {
        codec.decode = NULL;
    }
    return codec;
}
