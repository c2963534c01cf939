/*
 * json.c - jsonb and jsonpath: a version byte in front of text.
 *
 * json itself is plain text (text.c). Values are str on both sides: what parses
 * and serialises is the caller's choice.
 */
#include "codec/families.h"

enum { FORMAT_VERSION = 1 };

int
hp_jsonb_encode(hp_codec_state *state, const hp_codec *codec, PyObject *obj, hp_buf *buf)
{
    static const char version = FORMAT_VERSION;
    if (hp_buf_append(buf, &version, 1) < 0) {
        return -1;
    }
    return hp_text_encode(state, codec, obj, buf);
}

PyObject *
hp_jsonb_decode(hp_codec_state *state, const hp_codec *codec, const char *data, Py_ssize_t len)
{
    if (len < 1 || data[0] != FORMAT_VERSION) {
        return hp_malformed(codec, "unknown format version");
    }
    return hp_text_decode(state, codec, data + 1, len - 1);
}
