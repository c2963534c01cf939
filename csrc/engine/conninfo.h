/*
 * conninfo.h - from a DSN and parameters to one set of libpq parameters a host.
 *
 * BLOCKS: libpq reads the service file and the password file here. The binding
 * calls it in a worker thread, without the GIL; it touches nothing shared.
 */
#ifndef HP_CONNINFO_H
#define HP_CONNINFO_H

#include "engine/conn.h"

/* Resolve a DSN (URI or keyword/value, may be NULL) with explicit parameters
 * (NULL-terminated arrays; they win) and the PG* environment, service and
 * password files. Fills *targets (array of *n, free with hp_targets_free()).
 * 0, or -1 with err->text saying why, never with a value from the DSN in it. */
int hp_conninfo_resolve(const char *dsn, const char *const *keywords, const char *const *values, hp_target **targets,
                        int *n, hp_error *err);

void hp_targets_free(hp_target *targets, int n);
/* A deep copy of keyword/value pairs as a target, host and port found. 0 or -1: out of memory. */
int hp_target_fill(hp_target *target, const char *const *keywords, const char *const *values);
/* A deep copy. 0 or -1: out of memory. */
int hp_target_copy(hp_target *target, const hp_target *from);

#endif
