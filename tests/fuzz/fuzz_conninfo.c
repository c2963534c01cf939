/*
 * fuzz_conninfo.c - libFuzzer target for DSNs.
 *
 * clang -std=c11 -D_GNU_SOURCE=1 -g -O1 -fsanitize=fuzzer,address,undefined -Icsrc -I$(pg_config --includedir) \
 *     tests/fuzz/fuzz_conninfo.c csrc/engine/conninfo.c csrc/engine/base.c -lpq -o fuzz_conninfo
 * mkdir -p corpus && ./fuzz_conninfo -max_len=512 -dict=tests/fuzz/conninfo.dict corpus
 *
 * Any bytes may be given as a DSN, and as the value of an explicit parameter.
 * Whatever they are: nothing is asked of the network, and the answer is either
 * targets that libpq understands, or a reason that shows nothing of a secret. The
 * secret is a word that the dictionary knows; a text with it is refused, or not,
 * with the word nowhere in the message.
 */
#include "engine/conninfo.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const char SECRET[] = "hunter2";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int socket(int domain, int type, int protocol);

/* libpq asks for none before it was told everything; this one tells if it does. */
int
socket(int domain, int type, int protocol)
{
    (void)domain;
    (void)type;
    (void)protocol;
    abort();
}

static void
require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static const char *
get(const hp_target *target, const char *keyword)
{
    for (int i = 0; target->keywords[i] != NULL; i++) {
        if (strcmp(target->keywords[i], keyword) == 0) {
            return target->values[i];
        }
    }
    return "";
}

static void
check_target(const hp_target *target)
{
    require(target->keywords != NULL && target->values != NULL && target->port != NULL && target->port[0] != '\0');
    require(target->attempt_timeout > 0);
    for (int i = 0; target->keywords[i] != NULL; i++) {
        require(target->values[i] != NULL);
        for (int j = 0; j < i; j++) {
            require(strcmp(target->keywords[i], target->keywords[j]) != 0);
        }
    }
    require(strcmp(get(target, "client_encoding"), "UTF8") == 0);
    require(target->host == NULL || strcmp(target->host, get(target, "host")) == 0);
    require(target->host == NULL || get(target, "hostaddr")[0] == '\0');
    require(strchr(get(target, "port"), ',') == NULL && strchr(get(target, "hostaddr"), ',') == NULL);
}

static void
resolve(const char *dsn, const char *const *keywords, const char *const *values)
{
    hp_target *targets;
    hp_error err;
    int n;
    if (hp_conninfo_resolve(dsn, keywords, values, &targets, &n, &err) < 0) {
        require(targets == NULL && n == 0 && err.kind != HP_ERR_NONE && err.text[0] != '\0');
        require(strstr(err.text, SECRET) == NULL);
        return;
    }
    require(targets != NULL && n > 0);
    for (int i = 0; i < n; i++) {
        check_target(&targets[i]);
    }
    hp_targets_free(targets, n);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    setenv("HOME", "/nonexistent", 1);
    setenv("PGSYSCONFDIR", "/nonexistent", 1);
    setenv("PGPASSFILE", "/nonexistent/pgpass", 1);
    setenv("PGUSER", "fuzz", 1);
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const NONE[] = {NULL};
    static const char *const KEYWORDS[] = {"host", "port", "hostaddr", "sslmode", "connect_timeout", "passfile"};
    char *const text = malloc(size + 1);

    require(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    resolve(text, NONE, NONE);
    if (size > 0) {
        const char *const keyword[] = {KEYWORDS[data[0] % 6], "dbname", NULL};
        const char *const value[] = {text + 1, "d", NULL};
        resolve("postgresql://u:p@h/", keyword, value);
    }
    free(text);
    return 0;
}
