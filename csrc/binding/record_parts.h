/*
 * record_parts.h - the objects behind record.h, shared by record.c (the type
 * Record), record_desc.c (RecordDesc) and record_iter.c (the iterators) only.
 */
#ifndef HP_RECORD_PARTS_H
#define HP_RECORD_PARTS_H

#include "binding/record.h"

#include <stdbool.h>

typedef struct RecordDescObject {
    PyObject ob_base;
    PyObject *names;        /* tuple of interned str, one for each column */
    PyObject *positions;    /* dict: name -> int; of duplicate names the last one */
    hp_record_state *state; /* borrowed: record.c says why that is safe */
} RecordDescObject;

typedef struct RecordObject {
    PyVarObject ob_base;
    RecordDescObject *desc; /* NULL only before hp_record_new() has returned */
    PyObject *items[];      /* NULL until set; a finished row has None for NULL */
} RecordObject;

/* Make the types; 0, or -1 with an exception. */
int hp_record_desc_init(PyObject *module, hp_record_state *state);
int hp_record_iter_init(PyObject *module, hp_record_state *state);

/* New reference: an iterator over the values of `record`, or over (name, value). */
PyObject *hp_record_iterate(PyObject *record, bool pairs);

#endif
