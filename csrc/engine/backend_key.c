/*
 * backend_key.c - see backend_key.h.
 */
#include "engine/backend_key.h"

#ifdef LIBPQ_HAS_ASYNC_CANCEL

PostgresPollingStatusType
hp_backend_key_poll(hp_conn *conn)
{
    return PQconnectPoll(conn->pg);
}

#else

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What libpq takes in at once while a session opens is far less: parameters of the
 * server, the key, the answer to SHOW transaction_read_only. */
enum { TRACE_BYTES = 16 * 1024, STREAM_BYTES = 512 };

/* "B", the message's length, its name, and its two numbers. */
static void
take_key(hp_conn *conn, const char *trace)
{
    static const char NAME[] = "\tBackendKeyData\t";
    const char *found = strstr(trace, NAME);
    if (found == NULL) {
        return;
    }
    char *after_pid, *after_key;
    long pid = strtol(found + sizeof NAME - 1, &after_pid, 10);
    long key = strtol(after_pid, &after_key, 10);
    if (pid == PQbackendPID(conn->pg) && after_key > after_pid && key >= INT_MIN && key <= INT_MAX) {
        conn->backend_key = (int)key;
        conn->has_backend_key = true;
    }
}

/* Not left out by the compiler, as memset() of what is not read again may be. */
static void
wipe(void *memory, size_t bytes)
{
    volatile unsigned char *p = memory;
    while (bytes-- > 0) {
        *p++ = 0;
    }
}

static PostgresPollingStatusType
poll_traced(hp_conn *conn)
{
    char trace[TRACE_BYTES];
    char buffer[STREAM_BYTES]; /* of the stream: it would take one that nobody wipes */
    FILE *stream = fmemopen(trace, sizeof trace, "w");
    if (stream == NULL) {
        return PQconnectPoll(conn->pg);
    }
    trace[0] = '\0';
    setvbuf(stream, buffer, _IOFBF, sizeof buffer);
    PQtrace(conn->pg, stream);
    PQsetTraceFlags(conn->pg, PQTRACE_SUPPRESS_TIMESTAMPS);
    PostgresPollingStatusType status = PQconnectPoll(conn->pg);
    PQuntrace(conn->pg);
    fclose(stream);
    trace[sizeof trace - 1] = '\0';
    take_key(conn, trace);
    wipe(trace, sizeof trace);
    wipe(buffer, sizeof buffer);
    return status;
}

PostgresPollingStatusType
hp_backend_key_poll(hp_conn *conn)
{
    return PQsslInUse(conn->pg) ? poll_traced(conn) : PQconnectPoll(conn->pg);
}

#endif
