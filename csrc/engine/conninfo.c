/*
 * conninfo.c - see conninfo.h.
 *
 * libpq merges a DSN with service file, environment and defaults only inside
 * PQconnectStart, so it is called with one option that it must refuse: the
 * refusal comes after everything was merged and the password file read, and
 * before any network I/O. PQconninfo() then gives the result. Two such options
 * are used in turn, so that the value of neither is lost.
 */
#include "engine/conninfo.h"

#include "engine/service.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char PROBE_OPTION[] = "ssl_max_protocol_version";
static const char OTHER_PROBE_OPTION[] = "ssl_min_protocol_version";
static const char PROBE_VALUE[] = "merge-only";

/* connect_timeout beyond this is none: libpq takes an int. */
enum { LONGEST_TIMEOUT_S = INT32_MAX };

static const char PORT[] = "port";
/* Not parameters of libpq's: see hp_target. */
static const char SETTINGS[] = "_settings_sql";
static const char OVERRIDDEN[] = "_overridden_sql";
static const char DEFAULT_PORT[] = "5432";

/* A peer that vanished (cable, NAT, failover) is noticed within about a minute,
 * also while nothing is sent; libpq's own defaults are hours. */
static const char *const DEFAULTS[][2] = {
    {"keepalives_idle", "30"},
    {"keepalives_interval", "10"},
    {"keepalives_count", "3"},
    {"tcp_user_timeout", "30000"},
};
enum { N_DEFAULTS = sizeof DEFAULTS / sizeof DEFAULTS[0] };

/* ---- a growing list of pairs; the strings are its own ---- */

typedef struct pairs {
    char **keywords;
    char **values;
    size_t n, size;
    bool failed; /* out of memory */
} pairs;

static void
pairs_free(pairs *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->keywords[i]);
        free(list->values[i]);
    }
    free(list->keywords);
    free(list->values);
    memset(list, 0, sizeof *list);
}

static const char *
pairs_get(const pairs *list, const char *keyword)
{
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->keywords[i], keyword) == 0) {
            return list->values[i];
        }
    }
    return NULL;
}

static int
pairs_grow(pairs *list)
{
    if (list->n + 1 < list->size) {
        return 0;
    }
    size_t size = list->size ? list->size * 2 : 64;
    char **keywords = realloc(list->keywords, size * sizeof *keywords);
    if (keywords != NULL) {
        list->keywords = keywords;
    }
    char **values = realloc(list->values, size * sizeof *values);
    if (values != NULL) {
        list->values = values;
    }
    if (keywords == NULL || values == NULL) {
        list->failed = true;
        return -1;
    }
    list->size = size;
    return 0;
}

/* The arrays stay NULL-terminated, as libpq takes them. */
static void
pairs_set(pairs *list, const char *keyword, const char *value)
{
    char *copy = strdup(value);
    if (copy == NULL) {
        list->failed = true;
        return;
    }
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->keywords[i], keyword) == 0) {
            free(list->values[i]);
            list->values[i] = copy;
            return;
        }
    }
    char *name = strdup(keyword);
    if (name == NULL || pairs_grow(list) < 0) {
        free(name);
        free(copy);
        list->failed = true;
        return;
    }
    list->keywords[list->n] = name;
    list->values[list->n] = copy;
    list->n++;
    list->keywords[list->n] = list->values[list->n] = NULL;
}

static void
pairs_remove(pairs *list, const char *keyword)
{
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->keywords[i], keyword) == 0) {
            free(list->keywords[i]);
            free(list->values[i]);
            list->n--;
            list->keywords[i] = list->keywords[list->n];
            list->values[i] = list->values[list->n];
            list->keywords[list->n] = list->values[list->n] = NULL;
            return;
        }
    }
}

/* Remove it from the list: the value, the caller's now, or NULL. */
static char *
pairs_take(pairs *list, const char *keyword)
{
    const char *value = pairs_get(list, keyword);
    char *copy = value ? strdup(value) : NULL;
    if (value != NULL) {
        list->failed |= copy == NULL;
        pairs_remove(list, keyword);
    }
    return copy;
}

static void
pairs_take_options(pairs *list, const PQconninfoOption *options)
{
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (o->val != NULL && o->val[0] != '\0') {
            pairs_set(list, o->keyword, o->val);
        }
    }
}

/* ---- merging ---- */

static bool
is_quote(char c)
{
    return c == '"' || (unsigned char)c >= 0x80;
}

/* libpq quotes the part of the DSN that it did not understand, and that part may
 * be a password, with quotation marks of its own: keep what is before the first
 * mark and behind the last. Translated messages have other marks, which no ASCII
 * character is. */
static void
set_redacted(hp_error *err, const char *prefix, const char *message)
{
    size_t len = strlen(message);
    size_t first = 0;
    size_t last = len;
    while (first < len && !is_quote(message[first])) {
        first++;
    }
    while (last > first && !is_quote(message[last - 1])) {
        last--;
    }
    if (first == len) {
        hp_error_set(err, HP_ERR_CONNECT, "%s: %.*s", prefix, (int)strcspn(message, "\n"), message);
        return;
    }
    hp_error_set(err, HP_ERR_CONNECT, "%s: %.*s\"...\"%.*s", prefix, (int)first, message,
                 (int)strcspn(message + last, "\n"), message + last);
}

/* All parameters as libpq would use them, but `refused`; the password of the
 * (first) host as well. 0, or -1 with err. */
static int
probe(const pairs *given, const char *refused, pairs *merged, hp_error *err)
{
    pairs asked = {0};
    for (size_t i = 0; i < given->n; i++) {
        pairs_set(&asked, given->keywords[i], given->values[i]);
    }
    pairs_set(&asked, refused, PROBE_VALUE);
    if (asked.failed) {
        pairs_free(&asked);
        hp_error_set(err, HP_ERR_NO_MEMORY, "out of memory");
        return -1;
    }
    PGconn *pg = PQconnectStartParams((const char *const *)asked.keywords, (const char *const *)asked.values, 0);
    PQconninfoOption *options = pg ? PQconninfo(pg) : NULL;
    int rc = -1;
    if (options == NULL) {
        hp_error_set(err, HP_ERR_NO_MEMORY, "out of memory");
    } else if (PQstatus(pg) == CONNECTION_BAD && strstr(PQerrorMessage(pg), refused) == NULL) {
        set_redacted(err, "the connection parameters are not valid", PQerrorMessage(pg));
    } else {
        pairs_take_options(merged, options);
        pairs_remove(merged, refused);
        const char *password = PQpass(pg);
        if (password != NULL && password[0] != '\0') {
            pairs_set(merged, "password", password);
        }
        rc = merged->failed ? -1 : 0;
    }
    PQconninfoFree(options);
    PQfinish(pg);
    pairs_free(&asked);
    return rc;
}

static int
merge(const pairs *given, pairs *merged, hp_error *err)
{
    pairs other = {0};
    if (probe(given, PROBE_OPTION, merged, err) < 0) {
        return -1;
    }
    int rc = probe(given, OTHER_PROBE_OPTION, &other, err);
    if (rc == 0 && pairs_get(&other, PROBE_OPTION) != NULL) {
        pairs_set(merged, PROBE_OPTION, pairs_get(&other, PROBE_OPTION));
    }
    pairs_free(&other);
    return rc;
}

static void
take_where_missing(void *arg, const char *keyword, const char *value)
{
    pairs *list = arg;
    if (pairs_get(list, keyword) == NULL) {
        pairs_set(list, keyword, value);
    }
}

/* `servicefile`, where libpq does not know it. */
static int
take_service_file(pairs *given, hp_error *err)
{
    const char *path = pairs_get(given, "servicefile");
    const char *service = pairs_get(given, "service");
    if (path == NULL || path[0] == '\0' || hp_service_is_known()) {
        return 0;
    }
    if (getenv("PGSERVICE") != NULL) {
        /* libpq would go on to look for that service in its own file. */
        hp_error_set(err, HP_ERR_CONNECT,
                     "servicefile cannot be used while the environment variable PGSERVICE is set: this libpq does not "
                     "know the parameter; set PGSERVICEFILE instead");
        return -1;
    }
    if (service != NULL && service[0] != '\0') {
        pairs named = {0};
        pairs_set(&named, "path", path);
        pairs_set(&named, "service", service);
        pairs_remove(given, "service");
        int rc = named.failed ? -1
                              : hp_service_read(pairs_get(&named, "path"), pairs_get(&named, "service"),
                                                take_where_missing, given, err);
        pairs_free(&named);
        if (rc < 0) {
            return -1;
        }
    }
    pairs_remove(given, "servicefile");
    return given->failed ? -1 : 0;
}

static int
take_given(const char *dsn, const char *const *keywords, const char *const *values, pairs *given, hp_error *err)
{
    if (dsn != NULL && dsn[0] != '\0') {
        char *message = NULL;
        PQconninfoOption *options = PQconninfoParse(dsn, &message);
        if (options == NULL) {
            set_redacted(err,
                         "the DSN is not valid (in a URI, characters such as @ : / ? # % of a user name or password "
                         "must be percent-encoded)",
                         message ? message : "out of memory");
            PQfreemem(message);
            return -1;
        }
        pairs_take_options(given, options);
        PQconninfoFree(options);
    }
    for (size_t i = 0; keywords[i] != NULL; i++) {
        pairs_set(given, keywords[i], values[i]);
    }
    return given->failed ? -1 : take_service_file(given, err);
}

/* ---- one target a host ---- */

static int
count_items(const char *list)
{
    int n = 1;
    if (list == NULL || list[0] == '\0') {
        return 0;
    }
    for (const char *p = list; *p != '\0'; p++) {
        n += *p == ',';
    }
    return n;
}

/* Item i of a comma-separated list, or its only item; "" where there is none. */
static char *
item(const char *list, int i)
{
    if (list == NULL) {
        return strdup("");
    }
    if (count_items(list) == 1) {
        i = 0;
    }
    while (i-- > 0) {
        const char *comma = strchr(list, ',');
        if (comma == NULL) {
            return strdup("");
        }
        list = comma + 1;
    }
    return strndup(list, strcspn(list, ","));
}

static bool
is_numeric_address(const char *host)
{
    unsigned char address[16];
    char bare[64];
    snprintf(bare, sizeof bare, "%s", host);
    bare[strcspn(bare, "%")] = '\0'; /* an IPv6 zone */
    return inet_pton(AF_INET, bare, address) == 1 || inet_pton(AF_INET6, bare, address) == 1;
}

static bool
needs_resolving(const char *host, const char *hostaddr)
{
    return host != NULL && host[0] != '\0' && (hostaddr == NULL || hostaddr[0] == '\0') && host[0] != '/' &&
           host[0] != '@' && !is_numeric_address(host);
}

int
hp_target_fill(hp_target *target, const char *const *keywords, const char *const *values)
{
    pairs list = {0};
    memset(target, 0, sizeof *target);
    for (size_t i = 0; keywords[i] != NULL; i++) {
        pairs_set(&list, keywords[i], values[i]);
    }
    target->settings = pairs_take(&list, SETTINGS);
    target->overridden = pairs_take(&list, OVERRIDDEN);
    const char *host = pairs_get(&list, "host");
    const char *port = pairs_get(&list, "port");
    const char *attrs = pairs_get(&list, "target_session_attrs");
    const char *timeout = pairs_get(&list, "connect_timeout");
    bool resolve = needs_resolving(host, pairs_get(&list, "hostaddr"));
    long seconds = timeout ? strtol(timeout, NULL, 10) : 0;
    target->prefer_standby = attrs != NULL && strcmp(attrs, "prefer-standby") == 0;
    target->attempt_timeout = seconds > 0 && seconds < LONGEST_TIMEOUT_S ? seconds * HP_SECOND : HP_NEVER;
    target->host = resolve ? strdup(host) : NULL;
    target->port = strdup(port && port[0] ? port : DEFAULT_PORT);
    target->keywords = list.keywords;
    target->values = list.values;
    if (list.failed || list.n == 0 || target->port == NULL || (resolve && target->host == NULL)) {
        free(target->host);
        free(target->port);
        free(target->settings);
        free(target->overridden);
        pairs_free(&list);
        memset(target, 0, sizeof *target);
        return -1;
    }
    return 0;
}

static void
target_clear(hp_target *target)
{
    pairs list = {.keywords = target->keywords, .values = target->values};
    while (list.keywords != NULL && list.keywords[list.n] != NULL) {
        list.n++;
    }
    pairs_free(&list);
    free(target->host);
    free(target->port);
    free(target->settings);
    free(target->overridden);
}

int
hp_target_copy(hp_target *target, const hp_target *from)
{
    if (hp_target_fill(target, (const char *const *)from->keywords, (const char *const *)from->values) < 0) {
        return -1;
    }
    /* what is not a parameter of libpq's has been taken out before */
    target->settings = from->settings ? strdup(from->settings) : NULL;
    target->overridden = from->overridden ? strdup(from->overridden) : NULL;
    if ((from->settings != NULL && target->settings == NULL) ||
        (from->overridden != NULL && target->overridden == NULL)) {
        target_clear(target);
        return -1;
    }
    return 0;
}

void
hp_targets_free(hp_target *targets, int n)
{
    for (int i = 0; i < n; i++) {
        target_clear(&targets[i]);
    }
    free(targets);
}

/* What was not asked for by anybody but libpq's defaults. */
static void
add_defaults(pairs *merged, const pairs *given)
{
    for (int i = 0; i < N_DEFAULTS; i++) {
        if (pairs_get(merged, DEFAULTS[i][0]) == NULL) {
            pairs_set(merged, DEFAULTS[i][0], DEFAULTS[i][1]);
        }
    }
    /* libpq's default tries GSS first and may then ask a ticket server, blocking. */
    if (pairs_get(given, "gssencmode") == NULL && getenv("PGGSSENCMODE") == NULL) {
        pairs_set(merged, "gssencmode", "disable");
    }
    if (pairs_get(merged, "fallback_application_name") == NULL) {
        pairs_set(merged, "fallback_application_name", "holisticpool");
    }
    pairs_set(merged, "client_encoding", "UTF8");
    /* merged already: libpq need not read them again */
    pairs_remove(merged, "service");
    pairs_remove(merged, "servicefile");
    if (pairs_get(merged, "password") != NULL) {
        pairs_remove(merged, "passfile");
    }
}

static int
resolve_host(const pairs *given, const pairs *merged, int i, hp_target *target, hp_error *err)
{
    static const char *const LISTS[] = {"host", "hostaddr", PORT};
    pairs one = {0};
    pairs result = {0};
    int rc = -1;
    for (size_t j = 0; j < given->n; j++) {
        pairs_set(&one, given->keywords[j], given->values[j]);
    }
    for (int j = 0; j < 3; j++) {
        char *value = item(pairs_get(merged, LISTS[j]), i);
        if (value == NULL) {
            one.failed = true;
        } else if (value[0] != '\0') {
            pairs_set(&one, LISTS[j], value);
        } else if (LISTS[j] == PORT) {
            pairs_set(&one, PORT, DEFAULT_PORT); /* or PGPORT would be asked, a list perhaps */
        } else {
            pairs_remove(&one, LISTS[j]);
        }
        free(value);
    }
    if (!one.failed && merge(&one, &result, err) == 0) {
        add_defaults(&result, given);
        if (!result.failed) {
            rc = hp_target_fill(target, (const char *const *)result.keywords, (const char *const *)result.values);
        }
    }
    if (rc < 0 && err->kind == HP_ERR_NONE) {
        hp_error_set(err, HP_ERR_NO_MEMORY, "out of memory");
    }
    pairs_free(&one);
    pairs_free(&result);
    return rc;
}

int
hp_conninfo_resolve(const char *dsn, const char *const *keywords, const char *const *values, hp_target **targets,
                    int *n, hp_error *err)
{
    pairs given = {0};
    pairs merged = {0};
    int rc = -1;
    hp_error_clear(err);
    *targets = NULL;
    *n = 0;
    if (take_given(dsn, keywords, values, &given, err) < 0 || merge(&given, &merged, err) < 0) {
        goto done;
    }
    int hosts = count_items(pairs_get(&merged, "host"));
    int addresses = count_items(pairs_get(&merged, "hostaddr"));
    int count = hosts > addresses ? hosts : addresses;
    count = count > 0 ? count : 1;
    *targets = calloc((size_t)count, sizeof **targets);
    for (; *targets != NULL && *n < count; (*n)++) {
        if (resolve_host(&given, &merged, *n, &(*targets)[*n], err) < 0) {
            goto done;
        }
    }
    rc = *targets != NULL ? 0 : -1;
done:
    if (rc < 0) {
        if (err->kind == HP_ERR_NONE) {
            hp_error_set(err, HP_ERR_NO_MEMORY, "out of memory");
        }
        hp_targets_free(*targets, *n);
        *targets = NULL;
        *n = 0;
    }
    pairs_free(&given);
    pairs_free(&merged);
    return rc;
}
