/*
 * base.h - what every file of the engine shares: time, errors, results of calls.
 *
 * The engine is plain C11 over libpq's public API. It includes no Python.h,
 * owns no Python object, takes no lock and is driven by one thread: the one
 * that runs the event loop. It never blocks: the exceptions (conninfo.c, the
 * thread of cancel.c on old libpq) say so in their headers.
 */
#ifndef HP_BASE_H
#define HP_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

/* Microseconds of CLOCK_MONOTONIC; HP_NEVER is later than any of them. */
typedef int64_t hp_time;
#define HP_NEVER  INT64_MAX
#define HP_SECOND ((hp_time)1000000)
#define HP_MS     ((hp_time)1000)

/* The clock, read now (no system call: the kernel maps it). */
hp_time hp_now(void);
/* Seconds since 1970, for reports only. */
double hp_wall_clock(void);

typedef enum hp_error_kind {
    HP_ERR_NONE = 0,
    HP_ERR_SERVER,          /* the server refused the statement: `result` has the fields */
    HP_ERR_CONNECT,         /* a session could not be opened; sqlstate where the server gave one */
    HP_ERR_CONNECT_TIMEOUT, /* ... within connect_timeout */
    HP_ERR_LOST,            /* the connection broke while the request was under way */
    HP_ERR_QUERY_TIMEOUT,   /* command_timeout or timeout= */
    HP_ERR_EXHAUSTED,       /* acquire_timeout: every connection is in use */
    HP_ERR_DOWN,            /* acquire_timeout: none could be opened; or opening is hopeless (wrong password) */
    HP_ERR_TOO_MANY_WAITERS,
    HP_ERR_CLOSED,     /* the pool is closing, closed or terminated */
    HP_ERR_TERMINATED, /* the caller ended the session while the request was under way */
    HP_ERR_ENCODING,   /* client_encoding is no longer UTF8 */
    HP_ERR_PIPELINE,   /* for another statement of its pipeline; sqlstate says how */
    HP_ERR_USAGE,      /* the statement cannot be run this way (COPY by fetch, for example) */
    HP_ERR_NO_MEMORY,
    HP_ERR_BINDING, /* a callback failed; the binding keeps the reason */
    HP_ERR_INTERNAL /* libpq or the server answered what the protocol does not allow */
} hp_error_kind;

enum { HP_ERROR_TEXT_BYTES = 640, HP_SQLSTATE_BYTES = 6 };

typedef struct hp_error {
    hp_error_kind kind;
    char sqlstate[HP_SQLSTATE_BYTES]; /* "" where there is none */
    double seconds;                   /* HP_ERR_QUERY_TIMEOUT: how long it had */
    bool refused;                     /* HP_ERR_CONNECT: nobody listens there (ECONNREFUSED) */
    bool raised;                      /* HP_ERR_CONNECT: by a callable of the user's; the binding keeps the reason */
    bool hopeless;                    /* HP_ERR_CONNECT: ... and trying again soon would be pointless */
    const PGresult *result;           /* HP_ERR_SERVER: borrowed for the time of the callback */
    char text[HP_ERROR_TEXT_BYTES];   /* UTF-8 as far as the server's is; never a password */
} hp_error;

void hp_error_clear(hp_error *err);
void hp_error_set(hp_error *err, hp_error_kind kind, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A message of libpq's as one line. */
void hp_trim_message(char *text);
/* Is it memory that libpq lacked, by its message? */
bool hp_is_lack_of_memory(const char *libpq_message);
void hp_error_lack_of_memory(hp_error *err, const char *libpq_message);

/* Would trying again soon be pointless (credentials, no such database)? */
bool hp_error_is_permanent(const hp_error *err);

#endif
