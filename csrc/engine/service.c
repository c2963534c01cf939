/*
 * service.c - see service.h.
 */
#include "engine/service.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct reading {
    const char *path;
    const char *service;
    PQconninfoOption *known; /* every parameter of libpq's */
    bool found;              /* in the service's section, or past it */
    int line;
    hp_error *err;
} reading;

static bool
is_known(const PQconninfoOption *known, const char *keyword)
{
    for (; known->keyword != NULL; known++) {
        if (strcmp(known->keyword, keyword) == 0) {
            return true;
        }
    }
    return false;
}

bool
hp_service_is_known(void)
{
    PQconninfoOption *known = PQconndefaults();
    bool found = known != NULL && is_known(known, "servicefile");
    PQconninfoFree(known);
    return found;
}

static char *
trimmed(char *line)
{
    size_t len = strlen(line);
    while (len > 0 && isspace((unsigned char)line[len - 1])) {
        line[--len] = '\0';
    }
    while (isspace((unsigned char)*line)) {
        line++;
    }
    return line;
}

static int
refuse(reading *r, const char *why)
{
    hp_error_set(r->err, HP_ERR_CONNECT, "service file \"%s\", line %d: %s", r->path, r->line, why);
    return -1;
}

static bool
names_service(const reading *r, const char *line)
{
    size_t len = strlen(r->service);
    return strncmp(line + 1, r->service, len) == 0 && line[1 + len] == ']';
}

/* 0: go on, 1: the section is over, -1: err is set. */
static int
take_line(reading *r, char *line, void (*take)(void *, const char *, const char *), void *arg)
{
    if (line[0] == '\0' || line[0] == '#') {
        return 0;
    }
    if (line[0] == '[') {
        if (r->found) {
            return 1;
        }
        r->found = names_service(r, line);
        return 0;
    }
    if (!r->found) {
        return 0;
    }
    char *equals = strchr(line, '=');
    if (equals == NULL) {
        return refuse(r, strncmp(line, "ldap", 4) == 0 ? "LDAP is not supported here; write keyword=value"
                                                       : "keyword=value is expected");
    }
    *equals = '\0';
    if (strcmp(line, "service") == 0 || strcmp(line, "servicefile") == 0) {
        return refuse(r, "a service cannot name another one");
    }
    if (!is_known(r->known, line)) {
        return refuse(r, "libpq has no such parameter");
    }
    take(arg, line, equals + 1);
    return 0;
}

static int
read_lines(reading *r, FILE *file, void (*take)(void *, const char *, const char *), void *arg)
{
    char *line = NULL;
    size_t size = 0;
    int rc = 0;
    while (rc == 0 && getline(&line, &size, file) >= 0) {
        r->line++;
        rc = take_line(r, trimmed(line), take, arg);
    }
    if (rc == 0 && ferror(file)) {
        rc = refuse(r, strerror(errno));
    }
    free(line);
    return rc < 0 ? -1 : 0;
}

int
hp_service_read(const char *path, const char *service, void (*take)(void *, const char *, const char *), void *arg,
                hp_error *err)
{
    reading r = {.path = path, .service = service, .err = err};
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        hp_error_set(err, HP_ERR_CONNECT, "service file \"%s\" could not be opened: %s", path, strerror(errno));
        return -1;
    }
    r.known = PQconndefaults();
    if (r.known == NULL) {
        fclose(file);
        hp_error_set(err, HP_ERR_NO_MEMORY, "out of memory");
        return -1;
    }
    int rc = read_lines(&r, file, take, arg);
    PQconninfoFree(r.known);
    fclose(file);
    if (rc == 0 && !r.found) {
        hp_error_set(err, HP_ERR_CONNECT, "definition of service \"%s\" was not found in service file \"%s\"", service,
                     path);
        return -1;
    }
    return rc;
}
