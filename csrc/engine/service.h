/*
 * service.h - a service file at a place that the caller names.
 *
 * libpq looks for service files in places of its own; a parameter for it
 * (servicefile) comes with a later libpq than is in use today. Read as libpq
 * reads it: a section named as the service, keyword=value lines, # comments.
 *
 * BLOCKS, as conninfo.c, which calls it.
 */
#ifndef HP_SERVICE_H
#define HP_SERVICE_H

#include "engine/base.h"

/* Has the libpq in use the parameter servicefile? */
bool hp_service_is_known(void);

/* Call take(arg, keyword, value) for each parameter of the service. 0, or -1
 * with err->text naming file and line, never a value. */
int hp_service_read(const char *path, const char *service,
                    void (*take)(void *arg, const char *keyword, const char *value), void *arg, hp_error *err);

#endif
