/*
 * buffer.c - the growing buffer that encoders append to.
 *
 * Called by every encoder and by binding/params.c, which keeps one buffer for
 * the parameters of a statement. The buffer may move at every append: callers
 * keep offsets, not addresses.
 */
#include "codec/codec.h"

#include <string.h>

enum { FIRST_CAPACITY_BYTES = 256 };

static int
grow(hp_buf *buf, Py_ssize_t needed)
{
    Py_ssize_t cap = buf->cap < FIRST_CAPACITY_BYTES ? FIRST_CAPACITY_BYTES : buf->cap;
    while (cap < needed) {
        cap += cap / 2;
    }
    char *data = PyMem_Realloc(buf->data, (size_t)cap);
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    buf->data = data;
    buf->cap = cap;
    return 0;
}

char *
hp_buf_make_room(hp_buf *buf, Py_ssize_t more)
{
    if (more > HP_BUF_MAX_BYTES - (buf->len - buf->mark)) {
        PyErr_SetString(PyExc_ValueError, "too long: PostgreSQL takes less than 1 GiB");
        return NULL;
    }
    /* The first reservation allocates even where it is for 0 bytes: an empty
     * value must have an address, as NULL means SQL's NULL to libpq. */
    if ((buf->len + more > buf->cap || buf->data == NULL) && grow(buf, buf->len + more) < 0) {
        return NULL;
    }
    return buf->data + buf->len;
}

int
hp_buf_append(hp_buf *buf, const void *data, Py_ssize_t len)
{
    char *p = hp_buf_reserve(buf, len);
    if (p == NULL) {
        return -1;
    }
    if (len > 0) {
        memcpy(p, data, (size_t)len);
    }
    buf->len += len;
    return 0;
}

void
hp_buf_free(hp_buf *buf)
{
    PyMem_Free(buf->data);
    buf->data = NULL;
    buf->len = 0;
    buf->cap = 0;
    buf->mark = 0;
}
