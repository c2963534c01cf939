/*
 * vector.h - what vector.c and sparsevec.c share: numbers from any source, and the
 * text forms of pgvector.
 */
#ifndef HP_VECTOR_H
#define HP_VECTOR_H

#include "codec/families.h"

typedef struct hp_numbers {
    double *values; /* PyMem_Malloc'ed */
    Py_ssize_t n;
} hp_numbers;

int hp_numbers_make_room(hp_numbers *out, Py_ssize_t n);
/* The numbers of an iterable or buffer, whose memory the caller frees; 0, or -1 with an exception. */
int hp_numbers_of(hp_codec_state *state, PyObject *obj, hp_numbers *out);

/* OverflowError for what float4 cannot hold. */
int hp_put_float4(hp_buf *buf, double value);
double hp_float4_at(const char *p);

typedef struct hp_text_cursor {
    const hp_codec *codec;
    const char *p; /* NUL-terminated */
} hp_text_cursor;

/* Take `ch` and the space around it, if it is next. */
bool hp_text_accept(hp_text_cursor *c, char ch);
/* 0, or -1 with ValueError. */
int hp_text_take_number(hp_text_cursor *c, double *value);
/* ValueError; always -1. */
int hp_text_refuse(const hp_text_cursor *c);
/* How many items a list may have: one more than commas. */
Py_ssize_t hp_text_count_items(const char *p);
/* NUL-terminated, PyMem_Malloc'ed; NULL with MemoryError. */
char *hp_text_copy(const char *data, Py_ssize_t len);

#endif
