/*
 * test_sqlnames.c - named parameters in SQL text: which colons and dollar signs are one.
 *
 * Each text is read from a heap block of exactly its size, so that AddressSanitizer
 * sees a byte read too many, and so is every beginning of it.
 */
#include "harness.h"

#include "engine/sqlnames.h"

enum { MOST_CHARS = 512 };

/* The names found, with a space behind each, "!" at the end where there are numbers, too. */
static void
names_of(const char *sql, size_t len, char *found, size_t size)
{
    char *exact = malloc(len > 0 ? len : 1);
    hp_sqlnames names;
    hp_sqlname name;
    size_t at = 0;
    REQUIRE(exact != NULL);
    memcpy(exact, sql, len);
    hp_sqlnames_start(&names, exact, len);
    while (hp_sqlnames_next(&names, &name)) {
        REQUIRE(name.start + 1 == name.text && name.text + name.len <= exact + len && at + name.len + 2 < size);
        memcpy(found + at, name.text, name.len);
        at += name.len;
        found[at++] = ' ';
    }
    found[at] = '\0';
    if (names.positional) {
        strcat(found, "!");
    }
    free(exact);
}

typedef struct row {
    const char *sql;
    const char *names;
} row;

static void
check_rows(const row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char found[MOST_CHARS];
        names_of(rows[i].sql, strlen(rows[i].sql), found, sizeof found);
        if (strcmp(found, rows[i].names) != 0) {
            fprintf(stderr, "in: %s\n", rows[i].sql);
        }
        CHECK_TEXT(found, rows[i].names);
        for (size_t len = 0; len < strlen(rows[i].sql); len++) {
            names_of(rows[i].sql, len, found, sizeof found);
        }
    }
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof(rows)[0])

static void
test_names_are_found_where_values_begin(void)
{
    static const row rows[] = {
        {"SELECT :a", "a "},
        {"SELECT $a", "a "},
        {"SELECT :a, $b, :a", "a b a "},
        {"SELECT * FROM t WHERE x=:x AND y IN (:y,:z) LIMIT :n OFFSET $m", "x y z n m "},
        {"SELECT :a::int, $b::text, (:c)::date, -:d", "a b c d "},
        {"SELECT x->:key, x->>$key, x ? :k, x @> :v::jsonb, x #> :p, x ||:q", "key key k v p q "},
        {"FETCH FIRST :n ROWS ONLY", "n "},
        {"SELECT now() AT TIME ZONE :tz", "tz "},
        {"UPDATE t SET a = :a,b=:b WHERE c BETWEEN :lo AND :hi", "a b lo hi "},
        {"SELECT f(a := :x, b => :y, c :=:z)", "x y z "},
        {"SELECT a[:i], a[$i], a[:lo::int]", "i i lo "},
        {"SELECT a[1:$hi], a[1: :hi], a[:lo: :hi], a[$lo:$hi]", "hi hi lo hi lo hi "},
        {"SELECT :select, :from_1, :Größe", "select from_1 Größe "},
        {"SELECT CASE :a WHEN :b THEN :c ELSE :d END", "a b c d "},
        {"SELECT /* :no */ :yes -- :no\n, :too", "yes too "},
        {":a", "a "},
        {"SELECT E'\\'' || :a", "a "},
    };
    CHECK_ROWS(rows);
}

static void
test_what_only_looks_like_a_name_is_none(void)
{
    static const row rows[] = {
        {"SELECT '2020-01-01'::date, x::int, 'a'::\"t\"", ""},
        {"SELECT ':a', E'\\':a', \":a\", U&\"$a\", $$ :a $a $$, $t$ :a $t$, B'1' -- :a", ""},
        {"SELECT /* /* :a */ $a */ 1", ""},
        {"SELECT a[1:2], a[1:n], a[b:c], a[x.y:z], a[(1):n], a[b[1]:n], a[\"q\":n]", ""},
        {"SELECT JSON_OBJECT('k':v, 'l' : w, k:v)", ""},
        {"SELECT f(a := 1, b:=c)", ""},
        {"SELECT foo$bar, a$1", ""},
        {"SELECT :1, : a, $ a, :'a', :\"a\", :E'a'", ""},
        {"SELECT 'a' ':b'", ""},
        {"SELECT '\n:a", ""},
        {"SELECT $a$ :b", ""},
        {"", ""},
    };
    CHECK_ROWS(rows);
}

static void
test_numbers_are_noticed(void)
{
    static const row rows[] = {
        {"SELECT $1", "!"},
        {"SELECT $1, :a", "a !"},
        {"SELECT '$1', $$ $1 $$, a$1 -- $1", ""},
    };
    CHECK_ROWS(rows);
}

int
main(void)
{
    RUN(test_names_are_found_where_values_begin);
    RUN(test_what_only_looks_like_a_name_is_none);
    RUN(test_numbers_are_noticed);
    return harness_end();
}
