/*
 * fuzz_sqlscan.c - libFuzzer target for the scanner.
 *
 * clang -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -Icsrc \
 *     tests/fuzz/fuzz_sqlscan.c csrc/engine/sqlscan.c csrc/engine/sqlcall.c csrc/engine/sqllex.c -o fuzz_sqlscan
 * mkdir -p corpus && ./fuzz_sqlscan -max_len=4096 -only_ascii=1 corpus
 *
 * libFuzzer hands over a heap block of exactly the input's size, so that
 * AddressSanitizer sees every byte read too many. Beside that, the answer must
 * keep what the engine relies on: the same text gives the same answer, a
 * comment or white space around it changes nothing, and a statement in front
 * does not make it harmless.
 */
#include "engine/sqlscan.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void
require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static bool
same(const hp_sql_info *a, const hp_sql_info *b)
{
    return a->kind == b->kind && a->several == b->several && a->touches == b->touches && a->prepares == b->prepares &&
           a->controls_tx == b->controls_tx && a->locks_session == b->locks_session &&
           a->returns_rows == b->returns_rows;
}

/* The text with `prefix` in front, in a block of exactly its size. */
static hp_sql_info
scan_behind(const char *prefix, const uint8_t *data, size_t size, bool standard_strings)
{
    const size_t before = strlen(prefix);
    char *const text = malloc(before + size);
    hp_sql_info info;

    require(text != NULL);
    memcpy(text, prefix, before);
    if (size > 0) {
        memcpy(text + before, data, size);
    }
    hp_sqlscan(text, before + size, standard_strings, &info);
    free(text);
    return info;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int standard_strings = 0; standard_strings <= 1; standard_strings++) {
        hp_sql_info info, again;

        hp_sqlscan((const char *)data, size, standard_strings, &info);
        require(info.kind <= HP_SQL_OTHER);
        require(info.kind != HP_SQL_EMPTY || (!info.several && !info.returns_rows));

        hp_sqlscan((const char *)data, size, standard_strings, &again);
        require(same(&info, &again));

        again = scan_behind(" /* a /* b */ */ -- c\n", data, size, standard_strings);
        require(same(&info, &again));

        again = scan_behind("SELECT 1;", data, size, standard_strings);
        require(again.touches == info.touches && again.prepares == info.prepares &&
                again.controls_tx == info.controls_tx && again.locks_session == info.locks_session);
        require(again.several == (info.kind != HP_SQL_EMPTY));
    }
    return 0;
}
