/*
 * base.c - clock and error helpers of the engine. Called by every file of it.
 */
#include "engine/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

hp_time
hp_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (hp_time)ts.tv_sec * HP_SECOND + ts.tv_nsec / 1000;
}

double
hp_wall_clock(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void
hp_error_clear(hp_error *err)
{
    err->kind = HP_ERR_NONE;
    err->sqlstate[0] = '\0';
    err->seconds = 0;
    err->refused = err->raised = err->hopeless = false;
    err->result = NULL;
    err->text[0] = '\0';
}

void
hp_error_set(hp_error *err, hp_error_kind kind, const char *format, ...)
{
    hp_error_clear(err);
    err->kind = kind;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
}

void
hp_trim_message(char *text)
{
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' ')) {
        text[--len] = '\0';
    }
    for (char *p = text; *p != '\0'; p++) {
        if (*p == '\n' || *p == '\t') {
            *p = ' ';
        }
    }
}

bool
hp_is_lack_of_memory(const char *libpq_message)
{
    static const char *const BEGINNINGS[] = {"out of memory", "cannot allocate memory"};
    for (size_t i = 0; libpq_message != NULL && i < sizeof BEGINNINGS / sizeof BEGINNINGS[0]; i++) {
        if (strncmp(libpq_message, BEGINNINGS[i], strlen(BEGINNINGS[i])) == 0) {
            return true;
        }
    }
    return false;
}

void
hp_error_lack_of_memory(hp_error *err, const char *libpq_message)
{
    hp_error_set(err, HP_ERR_NO_MEMORY, "memory did not suffice: %s", libpq_message);
    hp_trim_message(err->text);
}

bool
hp_error_is_permanent(const hp_error *err)
{
    if (err->kind != HP_ERR_CONNECT) {
        return false;
    }
    /* 28: invalid authorization; 3D000: no such database; 42501: no CONNECT privilege */
    return err->hopeless || strncmp(err->sqlstate, "28", 2) == 0 || strcmp(err->sqlstate, "3D000") == 0 ||
           strcmp(err->sqlstate, "42501") == 0;
}
