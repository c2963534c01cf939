/*
 * test_sqlscan.c - what the scanner says about statements, one row each.
 *
 * Every text is scanned from a heap block of exactly its size, with and without
 * white space around it, so that AddressSanitizer sees a byte read too many.
 * Ends with "N passed, N failed"; exit status 0 if none failed.
 */
#include "engine/sqlscan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned passed, failed;

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (condition) {                                                                                               \
            passed++;                                                                                                  \
        } else {                                                                                                       \
            failed++;                                                                                                  \
            fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                                            \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
        }                                                                                                              \
    } while (0)

/* One row: the kind, then a letter for each property that must hold (all others must not). */
typedef struct row {
    int line;
    const char *sql;
    hp_sql_kind kind;
    const char *properties; /* r returns_rows, t touches, p prepares, c controls_tx, l locks_session, s several */
} row;

#define EMPTY(sql, properties)       {__LINE__, sql, HP_SQL_EMPTY, properties}
#define READ(sql, properties)        {__LINE__, sql, HP_SQL_READ, properties}
#define WRITE(sql, properties)       {__LINE__, sql, HP_SQL_WRITE, properties}
#define TRANSACTION(sql, properties) {__LINE__, sql, HP_SQL_TRANSACTION, properties}
#define COPY(sql, properties)        {__LINE__, sql, HP_SQL_COPY, properties}
#define OTHER(sql, properties)       {__LINE__, sql, HP_SQL_OTHER, properties}

static const char *const kind_names[] = {"EMPTY", "READ", "WRITE", "TRANSACTION", "COPY", "OTHER"};

static hp_sql_info
scan_bytes(const char *sql, size_t len, bool standard_strings)
{
    hp_sql_info info;
    char *const exact = malloc(len > 0 ? len : 1);

    if (exact == NULL) {
        abort();
    }
    memcpy(exact, sql, len);
    hp_sqlscan(exact, len, standard_strings, &info);
    free(exact);
    return info;
}

static hp_sql_info
scan(const char *sql)
{
    return scan_bytes(sql, strlen(sql), true);
}

static const char *
properties_of(const hp_sql_info *info)
{
    static char text[8];
    char *p = text;

    if (info->returns_rows) {
        *p++ = 'r';
    }
    if (info->touches) {
        *p++ = 't';
    }
    if (info->prepares) {
        *p++ = 'p';
    }
    if (info->controls_tx) {
        *p++ = 'c';
    }
    if (info->locks_session) {
        *p++ = 'l';
    }
    if (info->several) {
        *p++ = 's';
    }
    *p = '\0';
    return text;
}

static void
check_row(const row *r, const char *sql)
{
    const hp_sql_info info = scan(sql);

    CHECK(info.kind == r->kind && strcmp(properties_of(&info), r->properties) == 0,
          "row of line %d: want %s \"%s\", got %s \"%s\": %s", r->line, kind_names[r->kind], r->properties,
          kind_names[info.kind], properties_of(&info), sql);
}

static void
check_rows(const row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const size_t size = strlen(rows[i].sql) + 64;
        char *const dressed = malloc(size);

        if (dressed == NULL) {
            abort();
        }
        check_row(&rows[i], rows[i].sql);
        snprintf(dressed, size, " \t-- x\n/* a /* b */ c */ %s\n ; -- y", rows[i].sql);
        check_row(&rows[i], dressed);
        free(dressed);
    }
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof((rows)[0]))

/* ------------------------------------------------------------------ */

static void
test_ordinary_service_statements_touch_nothing(void)
{
    static const row rows[] = {
        READ("SELECT 1", "r"),
        READ("select * from users where id = $1", "r"),
        READ("SELECT u.id, u.email AS mail FROM public.users u WHERE u.id = ANY($1::int[]) ORDER BY u.id LIMIT $2", "r"),
        READ("SELECT count(*), max(created_at), coalesce(sum(amount), 0) FROM orders GROUP BY user_id HAVING count(*) > 1", "r"),
        READ("SELECT id FROM t WHERE (a, b) IN ((1, 2), ($1, $2)) AND NOT EXISTS (SELECT 1 FROM u WHERE u.id = t.id)", "r"),
        READ("SELECT date_trunc('day', at) d, extract(epoch from now() - at) FROM t WHERE at > now() - interval '1 day' * $1", "r"),
        READ("SELECT x::numeric(10,2), CAST(y AS varchar(20)), z::timestamp(3) with time zone, w::bit varying(3) FROM t", "r"),
        READ("SELECT embedding::vector(3) <-> $1::public.vector(3) FROM items", "r"),
        READ("SELECT t.a, row_number() OVER (PARTITION BY b ORDER BY c DESC) FROM t", "r"),
        READ("SELECT count(*) FILTER (WHERE a > 1) OVER w, percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM t WINDOW w AS (ORDER BY b)", "r"),
        READ("SELECT jsonb_build_object('a', b), data->>'x', data #>> '{a,b}' FROM t WHERE data @> $1 AND data ? 'key'", "r"),
        READ("SELECT string_agg(DISTINCT name, ', ' ORDER BY name) FROM t", "r"),
        READ("SELECT a.id FROM a JOIN b USING (id) LEFT JOIN (SELECT 1 AS id) c ON (c.id = a.id) CROSS JOIN LATERAL (SELECT 2) d", "r"),
        READ("SELECT * FROM unnest($1::int[], $2::text[]) AS t(a, b)", "r"),
        READ("SELECT * FROM unnest($1::int[]) WITH ORDINALITY AS t(a, n), generate_series(1, 3) g(i)", "r"),
        READ("SELECT * FROM unnest($1::int[]) WITH ORDINALITY t(a, n)", "r"),
        READ("SELECT * FROM users u(a, b) JOIN (VALUES (1, 2)) v(c, d) ON true", "r"),
        READ("SELECT * FROM jsonb_to_recordset($1) AS x(a int, b text)", "r"),
        READ("WITH a(x) AS (SELECT 1), b (y, z) AS MATERIALIZED (SELECT 2, 3), c(q) AS NOT MATERIALIZED (SELECT 4) SELECT * FROM a, b, c", "r"),
        READ("WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 100) SELECT sum(n) FROM t", "r"),
        READ("SELECT (WITH x(a) AS (SELECT 1) SELECT a FROM x)", "r"),
        READ("(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1", "r"),
        READ("((SELECT 1))", "r"),
        READ("VALUES (1, lower('A')), (2, upper($1))", "r"),
        READ("TABLE users", "r"),
        READ("SHOW server_version", "r"),
        READ("SELECT a FROM t GROUP BY GROUPING SETS ((a), ()), b", "r"),
        READ("SELECT a FROM t GROUP BY ROLLUP (a, b)", "r"),
        READ("SELECT a FROM t GROUP BY (a, b) ORDER BY (a, b)", "r"),
        READ("SELECT a FROM t WHERE a LIKE ($1) AND b NOT LIKE ($2) AND c NOT ILIKE (d) AND e BETWEEN (1) AND (2)", "r"),
        READ("SELECT a AT TIME ZONE ('UTC'), (a, b) OVERLAPS (c, d) FROM t FETCH FIRST (3) ROWS ONLY", "r"),
        READ("SELECT CASE WHEN a THEN (1) ELSE (2) END, ARRAY[1,2], array(select 1), row(1, 2), (1, 2) FROM t", "r"),
        READ("SELECT substring(a FROM 1 FOR 2), position('a' IN b), trim(BOTH 'x' FROM c), overlay(a placing b from 1)", "r"),
        READ("SELECT nullif(a, ''), greatest(a, b), least(a, b), current_timestamp(3), localtime(2)", "r"),
        READ("SELECT DISTINCT ON (a) a, lower(b) FROM t", "r"),
        READ("SELECT left(a, 1), right(a, 1), replace(a, 'x', 'y'), date(b), text(c) FROM t", "r"),
        READ("SELECT \"lower\"('A'), pg_catalog.lower('A'), \"pg_catalog\".\"lower\"('A'), PG_CATALOG . LOWER ('A')", "r"),
        READ("SELECT gen_random_uuid(), random(), clock_timestamp(), uuidv7()", "r"),
        READ("SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock(1, 2)", "r"),
        READ("SELECT 'it''s', E'\\'', $$a;b$$, $q$ $$ ; $q$, U&'\\0061', B'1', X'1F', N'x'", "r"),
        READ("SELECT a . b, a.*, (a).* FROM a", "r"),
        READ("SELECT a[1], a[1:2], b[f] FROM t", "r"),
        READ("SELECT 1 AS set, 2 AS into, 3 AS update, 4 AS returning", "r"),
        READ("SELECT t.insert, t.into, t.temp FROM t", "r"),
        READ("SELECT json_agg(t) FROM (SELECT 1) t(a)", "r"),
        READ("SELECT a, b OPERATOR(pg_catalog.+) c FROM t", "r"),
        READ("SELECT count(*) FROM t TABLESAMPLE bernoulli (1)", "rt"), /* its methods are not in the table */
        WRITE("INSERT INTO t (a, b) VALUES ($1, $2)", ""),
        WRITE("INSERT INTO public.t(a, b) VALUES ($1, DEFAULT) RETURNING id, lower(a)", "r"),
        WRITE("INSERT INTO t AS x (a) SELECT lower(b) FROM u", ""),
        WRITE("INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = now() WHERE t.d RETURNING *", "r"),
        WRITE("INSERT INTO t (a) VALUES (1) ON CONFLICT (lower(a), b) WHERE c > 0 DO NOTHING", ""),
        WRITE("INSERT INTO t (a) SELECT * FROM u ON CONFLICT (a) DO UPDATE SET (b, c) = (1, 2)", ""),
        WRITE("INSERT INTO t DEFAULT VALUES", ""),
        WRITE("UPDATE t SET a = $1, (b, c) = ($2, $3), d = now() WHERE id = $4", ""),
        WRITE("UPDATE t SET (b, c) = (SELECT 1, 2) FROM u WHERE u.id = t.id RETURNING t.id", "r"),
        WRITE("DELETE FROM t USING u WHERE t.id = u.id RETURNING *", "r"),
        WRITE("MERGE INTO t USING s ON (t.id = s.id) WHEN MATCHED THEN UPDATE SET a = s.a WHEN NOT MATCHED THEN INSERT (id, a) VALUES (s.id, s.a)", ""),
        WRITE("MERGE INTO t USING (SELECT 1) s(id) ON t.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id)", ""),
        WRITE("WITH d AS (DELETE FROM q RETURNING *) SELECT * FROM d", "r"),
        WRITE("WITH d AS (INSERT INTO q (a) VALUES (1) RETURNING id) INSERT INTO r SELECT * FROM d", ""),
        WRITE("WITH d AS (SELECT 1) UPDATE t SET a = 1 RETURNING a", "r"),
        WRITE("WITH d AS (SELECT 1) DELETE FROM t", ""),
        WRITE("SELECT * FROM t WHERE id = $1 FOR UPDATE SKIP LOCKED", "r"),
        WRITE("WITH d AS (SELECT 1) (SELECT * FROM t) FOR UPDATE", "r"),
        WRITE("SELECT * FROM t FOR NO KEY UPDATE", "r"),
        WRITE("SELECT * FROM t FOR KEY SHARE", "r"),
        WRITE("SELECT nextval('s'), currval('s'), setval('s', 1), lastval()", "r"),
        WRITE("SELECT pg_notify('a', 'b')", "r"),
        OTHER("NOTIFY a, 'b'", ""),
        OTHER("SELECT * INTO copy_of_t FROM t", ""),
        COPY("COPY t (a, b) FROM STDIN (FORMAT csv, FORCE_NULL (a))", "l"),
        COPY("COPY public.t(a) TO STDOUT WITH (FORMAT binary)", "l"),
        COPY("COPY (SELECT lower(a) FROM t) TO STDOUT", "l"),
    };
    CHECK_ROWS(rows);
}

static void
test_statements_about_the_session_touch(void)
{
    static const row rows[] = {
        OTHER("SET search_path = x", "t"),
        OTHER("set session search_path to x", "t"),
        OTHER("SET ROLE admin", "t"),
        OTHER("SET SESSION AUTHORIZATION x", "t"),
        OTHER("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "t"),
        OTHER("SET TIME ZONE 'UTC'", "t"),
        OTHER("SET", "t"),
        OTHER("SET LOCAL", "t"),
        OTHER("SET LOCAL search_path = x", ""),
        OTHER("SET LOCAL \"myapp.user\" = '1'", ""),
        OTHER("SET LOCAL ROLE admin", ""),
        OTHER("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", ""),
        OTHER("SET CONSTRAINTS ALL DEFERRED", ""),
        OTHER("SET CONSTRAINTS \"a\" DEFERRED", ""),
        OTHER("SET local.x = 1", "t"),
        OTHER("SET local . x = 1", "t"),
        OTHER("SET local TO 1", "t"),
        OTHER("SET local = 1", "t"),
        OTHER("SET transaction.x = 1", "t"),
        OTHER("SET constraints.x TO 1", "t"),
        OTHER("RESET ALL", "t"),
        OTHER("DISCARD ALL", "tp"),
        OTHER("LISTEN a", "tl"),
        OTHER("UNLISTEN *", "tl"),
        OTHER("LOAD 'auto_explain'", "t"),
        OTHER("PREPARE p AS SELECT 1", "tp"),
        OTHER("PREPARE transaction AS SELECT 1", "tp"),
        OTHER("PREPARE transaction (int) AS SELECT 1", "tp"),
        OTHER("EXECUTE p(1)", "rtp"),
        OTHER("DEALLOCATE ALL", "tp"),
        OTHER("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "tl"),
        OTHER("FETCH 10 FROM c", "rtl"),
        OTHER("MOVE c", "tl"),
        OTHER("CLOSE c", "tl"),
        OTHER("DO $$ BEGIN SET x.y = 1; END $$", "tp"),
        OTHER("CALL p(1)", "rtp"),
        OTHER("CREATE TEMP TABLE t (a int)", "t"),
        OTHER("CREATE TEMPORARY TABLE t AS SELECT 1", "t"),
        OTHER("CREATE LOCAL TEMP TABLE t (a int)", "t"),
        OTHER("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "t"),
        OTHER("CREATE TEMP SEQUENCE s", "t"),
        OTHER("CREATE TABLE pg_temp.t (a int)", "t"),
        OTHER("CREATE TABLE \"pg_temp\".t (a int)", "t"),
        OTHER("CREATE TABLE PG_TEMP_3.t (a int)", "t"),
        OTHER("CREATE TABLE U&\"pg\\005ftemp\".t (a int)", "t"),
        OTHER("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "t"),
        OTHER("SELECT 1 INTO TEMP t", "t"),
        OTHER("SELECT 1 INTO TEMPORARY TABLE t", "t"),
        OTHER("SELECT 1 INTO LOCAL TEMP t", "t"),
        OTHER("SELECT 1 INTO pg_temp.t", "t"),
        OTHER("WITH a AS (SELECT 1) SELECT * INTO TEMP t FROM a", "t"),
        OTHER("CREATE TABLE t AS EXECUTE p", "t"),
        OTHER("CREATE EXTENSION hstore", "t"),
        OTHER("ALTER EXTENSION hstore UPDATE", "t"),
        OTHER("FROBNICATE", "tpcl"),
        OTHER("START_REPLICATION SLOT x", "tpcl"),
        OTHER("'a'", "tpcl"),
        OTHER("\"select\" 1", "tpcl"),
    };
    CHECK_ROWS(rows);
}

static void
test_functions_with_effects_touch_wherever_they_stand(void)
{
    static const row rows[] = {
        READ("SELECT set_config('a', 'b', false)", "rt"),
        READ("SELECT SET_CONFIG ('a', 'b', false)", "rt"),
        READ("SELECT set_config\n--\n(/**/'a', 'b', false)", "rt"),
        READ("SELECT \"set_config\"('a', 'b', false)", "rt"),
        READ("SELECT pg_catalog.set_config('a', 'b', false)", "rt"),
        READ("SELECT pg_catalog . \"set_config\" ('a', 'b', false)", "rt"),
        READ("SELECT U&\"set\\005fconfig\"('a', 'b', false)", "rt"),
        READ("SELECT \"Lower\"('A')", "rt"),
        READ("SELECT \"lo\"\"wer\"('A')", "rt"),
        READ("SELECT public.lower('A')", "rt"),
        READ("SELECT db.pg_catalog.lower('A')", "rt"),
        READ("SELECT setseed(0.1)", "rt"),
        READ("SELECT pg_advisory_lock(1)", "rt"),
        READ("SELECT pg_try_advisory_lock_shared(1)", "rt"),
        READ("SELECT pg_advisory_unlock_all()", "rt"),
        READ("SELECT dblink_connect('x')", "rt"),
        READ("SELECT my_function(1)", "rt"),
        READ("SELECT na\xc3\xafve(1)", "rt"),
        READ("SELECT query_to_xml('SELECT set_config(1)', true, true, '')", "rt"),
        READ("SELECT ts_stat('SELECT 1')", "rt"),
        READ("SELECT * FROM my_function(1)", "rt"),
        READ("SELECT * FROM t, my_function(1) x(a)", "rt"),
        READ("SELECT * FROM t JOIN my_function(1) ON true", "rt"),
        READ("SELECT * FROM t CROSS JOIN LATERAL my_function(1)", "rt"),
        READ("SELECT * FROM ROWS FROM (my_function(1), lower('a'))", "rt"),
        READ("SELECT * FROM t WHERE f(a)", "rt"),
        READ("SELECT * FROM t WHERE a = 1 AND NOT f(a)", "rt"),
        READ("SELECT * FROM t ORDER BY f(a)", "rt"),
        READ("SELECT * FROM t GROUP BY f(a)", "rt"),
        READ("SELECT * FROM t LIMIT f(1) OFFSET 3", "rt"),
        READ("SELECT a AT TIME ZONE f(1) FROM t", "rt"),
        READ("SELECT a LIKE b ESCAPE f(1) FROM t", "rt"),
        READ("SELECT DISTINCT f(1)", "rt"),
        READ("SELECT DISTINCT ON (a) f(1) FROM t", "rt"),
        READ("SELECT a OPERATOR(pg_catalog.+) f(1) FROM t", "rt"),
        READ("SELECT CASE f(1) WHEN 1 THEN 2 END", "rt"),
        READ("SELECT a[f(1)]", "rt"),
        READ("SELECT ARRAY[f(1)]", "rt"),
        READ("SELECT 1 + f(1), lower(f(1))", "rt"),
        READ("SELECT row_number() OVER (PARTITION BY f(1) ORDER BY a ROWS f(1) PRECEDING) FROM t", "rt"),
        READ("SELECT coalesce(f(1), 2)", "rt"),
        READ("SELECT * FROM t a(f), g(f)", "rt"),
        READ("WITH x(a) AS (SELECT f(1)) SELECT a FROM x", "rt"),
        READ("WITH x(a) AS (SELECT 1) SELECT a, f(1) FROM x", "rt"),
        READ("WITH x AS (SELECT 1), f(1) SELECT 1", "rt"),
        READ("SELECT 1 WITH x, f(1)", "rt"),
        READ("SELECT 1 AS with, f(1) AS y", "rt"),
        READ("SELECT * FROM a WITH ORDINALITY, f(1) AS (a int)", "rt"),
        READ("VALUES (f(1))", "rt"),
        READ("SELECT join(1)", "rt"),
        READ("SELECT set(1), by(1), sets(1), key(1), zone(1), cube(1), conflict(1), insert(1), over(1), filter(1)", "rt"),
        READ("SELECT set(1)", "rt"),
        READ("SELECT by(1)", "rt"),
        READ("SELECT key(1)", "rt"),
        READ("SELECT operator(1)", "rt"),
        READ("SELECT * FROM operator(1)", "rt"),
        READ("SELECT OPERATOR(pg_catalog.-) f(1)", "rt"),
        READ("SELECT over(1)", "rt"),
        READ("SELECT conflict(1)", "rt"),
        READ("SELECT * FROM a JOIN b ON conflict(1) WHERE true", "rt"),
        READ("SELECT * FROM a JOIN b ON conflict(1)", "rt"),
        READ("SELECT CASE WHEN true THEN insert(1) END", "rt"),
        WRITE("INSERT INTO t VALUES (f(1))", "t"),
        WRITE("INSERT INTO t (a) SELECT f(1)", "t"),
        WRITE("INSERT INTO t (a) SELECT 1 FROM a JOIN b ON conflict(1) WHERE true", "t"),
        WRITE("INSERT INTO t VALUES (1) RETURNING f(1)", "rt"),
        WRITE("INSERT INTO t VALUES (1) RETURNING WITH (OLD AS o) f(1)", "rt"),
        WRITE("INSERT INTO t VALUES (1) ON CONFLICT (f(a)) DO NOTHING", "t"),
        WRITE("UPDATE t SET a = f(1)", "t"),
        WRITE("UPDATE t SET a = 1 WHERE f(1)", "t"),
        WRITE("DELETE FROM t USING f(1)", "t"),
        OTHER("CREATE TABLE t AS SELECT f(1)", "t"),
        OTHER("CREATE TABLE t (a int DEFAULT f(1))", "t"),
        OTHER("CREATE INDEX i ON t (f(a))", "t"),
        OTHER("CREATE INDEX i ON t (a) WHERE f(a)", "t"),
        OTHER("CREATE MATERIALIZED VIEW v AS SELECT f(1)", "t"),
        OTHER("ALTER TABLE t ADD COLUMN a int DEFAULT f(1)", "t"),
        OTHER("ALTER TABLE t ALTER a TYPE int USING f(a)", "t"),
        COPY("COPY (SELECT f(1)) TO STDOUT", "tl"),
        COPY("COPY t FROM STDIN WHERE f(1)", "tl"),
        /* a function of one argument, written as an attribute of it */
        READ("SELECT (1::bigint).pg_advisory_lock", "rt"),
        READ("SELECT x.pg_advisory_lock FROM generate_series(1, 2) x", "rt"),
        READ("SELECT x.\"setseed\" FROM t x", "rt"),
        READ("SELECT (f).my_function FROM t", "rt"),
        READ("SELECT a[1].my_function FROM t", "rt"),
        READ("SELECT $1.my_function", "rt"),
        READ("SELECT t.my_column FROM t", "r"),
    };
    CHECK_ROWS(rows);
}

static void
test_set_config_is_harmless_only_if_it_is_plainly_local(void)
{
    static const row rows[] = {
        READ("SELECT set_config('app.user', $1, true)", "r"),
        READ("select SET_CONFIG ( $1 , $2 , TRUE )", "r"),
        READ("SELECT \"set_config\"('a.b', 'c', true)", "r"),
        READ("SELECT pg_catalog.set_config('a.b', 'c', true)", "r"),
        READ("SELECT \"pg_catalog\" . set_config/* ( */('a.b' -- ,\n, 'c', /* false */ true -- )\n)", "r"),
        READ("SELECT set_config('a.b', (1, 2)::text, true)", "r"),
        READ("SELECT set_config('a.b', ARRAY[1, 2]::text, true)", "r"),
        READ("SELECT set_config('a.b', (ARRAY['x', 'y'])[1 + a[2]], true)", "r"),
        READ("SELECT set_config('a.b', 'x, y, (z', true), set_config('a.c', $$,)$$, true) AS c", "r"),
        READ("SELECT set_config('a.b', json_build_object('sub', $1::text, 'role', lower($2))::text, true)", "r"),
        READ("SELECT set_config('a.b', set_config('a.c', 'd', true), true)", "r"),
        READ("SELECT set_config(name, value, true) FROM unnest($1::text[], $2::text[]) AS t(name, value)", "r"),
        READ("SELECT * FROM set_config('role', 'reader', true)", "r"),
        READ("WITH s(a) AS (SELECT set_config('a.b', 'c', true)) SELECT a FROM s", "r"),
        READ("SELECT set_config('a.b', 'c', true); SELECT set_config('a.b', 'c', true)", "rs"),
        TRANSACTION("BEGIN; SELECT set_config('a.b', $1, true)", "cs"),
        WRITE("UPDATE t SET a = set_config('a.b', 'c', true)", ""),

        READ("SELECT set_config('a.b', 'c', false)", "rt"),
        READ("SELECT set_config('a.b', 'c', $1)", "rt"),
        READ("SELECT set_config('a.b', 'c', null)", "rt"),
        READ("SELECT set_config('a.b', 'c', 'true')", "rt"),
        READ("SELECT set_config('a.b', 'c', 't'::bool)", "rt"),
        READ("SELECT set_config('a.b', 'c', \"true\")", "rt"),
        READ("SELECT set_config('a.b', 'c', t.true)", "rt"),
        READ("SELECT set_config('a.b', 'c', true.t)", "rt"),
        READ("SELECT set_config('a.b', 'c', $1.true)", "rt"),
        READ("SELECT set_config('a.b', 'c', NOT true)", "rt"),
        READ("SELECT set_config('a.b', 'c', true AND $1)", "rt"),
        READ("SELECT set_config('a.b', 'c', false = true)", "rt"),
        READ("SELECT set_config('a.b', 'c', $1 IS TRUE)", "rt"),
        READ("SELECT set_config('a.b', 'c', (true))", "rt"),
        READ("SELECT set_config('a.b', 'c', true::bool)", "rt"),
        READ("SELECT set_config('a.b', 'c', VARIADIC true)", "rt"),
        READ("SELECT set_config('a.b', 'c', is_local => true)", "rt"),
        READ("SELECT set_config(is_local => $1, setting_name => 'a.b', new_value => true)", "rt"),
        READ("SELECT set_config('a.b', $1, true ORDER BY 1)", "rt"),
        READ("SELECT set_config(true)", "rt"),
        READ("SELECT set_config('a.b', true)", "rt"),
        READ("SELECT set_config('a.b', 'c', false, true)", "rt"),
        READ("SELECT set_config('a.b', 'c', true, false)", "rt"),
        READ("SELECT set_config(('a.b', 'c'), true)", "rt"),
        READ("SELECT set_config(ARRAY['a.b', 'c'], true)", "rt"),
        READ("SELECT set_config('a.b', (SELECT 'c', true))", "rt"),
        READ("SELECT set_config('a.b', ARRAY['c', true])", "rt"),
        READ("SELECT set_config('a.b', a['c', true)", "rt"),
        READ("SELECT set_config()", "rt"),
        READ("SELECT set_config('a.b', 'c', true", "rt"),
        READ("SELECT set_config('a.b', 'c', true; SELECT 1)", "rts"),
        READ("SELECT public.set_config('a.b', 'c', true)", "rt"),
        READ("SELECT db.pg_catalog.set_config('a.b', 'c', true)", "rt"),
        READ("SELECT \"SET_CONFIG\"('a.b', 'c', true)", "rt"),
        READ("SELECT U&\"set\\005fconfig\"('a.b', 'c', true)", "rt"),
        READ("SELECT (f).set_config('a.b', 'c', true)", "rt"),
        READ("SELECT set_config('a.b', f(1), true)", "rt"),
        READ("SELECT set_config('a.b', set_config('a.c', 'd', false), true)", "rt"),
        READ("SELECT set_config('a.b', set_config('a.c', 'd', true), false)", "rt"),
        READ("SELECT set_config('a.b', 'c', true), set_config('a.c', 'd', false)", "rt"),
        READ("SELECT set_config('a.b', 'c', true), f(1, 2, true)", "rt"),
        READ("SELECT set_config('a.b', 'c', true); SELECT set_config('a.b', 'c', false)", "rts"),
    };
    CHECK_ROWS(rows);
}

static void
test_definitions_touch_nothing(void)
{
    static const row rows[] = {
        OTHER("CREATE TABLE t (id bigint PRIMARY KEY, a varchar(20), b numeric(10,2) NOT NULL DEFAULT 0, c character varying(3), "
              "d timestamptz DEFAULT now(), e vector(3), PRIMARY KEY (a, b), UNIQUE (c), CHECK (length(a) > 0), "
              "FOREIGN KEY (b) REFERENCES u (x) ON DELETE CASCADE, g int REFERENCES public.u(y), "
              "h int GENERATED ALWAYS AS (id * 2) STORED, i int GENERATED BY DEFAULT AS IDENTITY (START 5), "
              "EXCLUDE USING gist (a WITH =))",
              ""),
        OTHER("CREATE TABLE IF NOT EXISTS public.t (a int) INHERITS (p) WITH (fillfactor = 70)", ""),
        OTHER("CREATE UNLOGGED TABLE t (a int) PARTITION BY RANGE (a)", ""),
        OTHER("CREATE TABLE t PARTITION OF p FOR VALUES FROM ('a') TO ('b') PARTITION BY HASH (b)", ""),
        OTHER("CREATE TABLE t AS SELECT lower(a) FROM u", ""),
        OTHER("CREATE INDEX ON t (a)", ""),
        OTHER("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON public.t USING gin (a jsonb_path_ops) INCLUDE (b) WHERE c IS NULL", ""),
        OTHER("CREATE INDEX i ON t (lower(a) text_pattern_ops, b DESC)", ""),
        OTHER("CREATE VIEW v (a, b) AS SELECT 1, f(2)", ""),
        OTHER("CREATE MATERIALIZED VIEW v (a) AS SELECT 1", ""),
        OTHER("CREATE TYPE e AS ENUM ('a', 'b')", ""),
        OTHER("CREATE TYPE c AS (a int, b numeric(3))", ""),
        OTHER("CREATE FUNCTION f(a int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN SET x.y = 1; RETURN g(a); END $$", ""),
        OTHER("CREATE OR REPLACE FUNCTION f(a int DEFAULT g(1)) RETURNS int LANGUAGE sql AS 'SELECT 1'", ""),
        OTHER("CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()", ""),
        OTHER("CREATE POLICY p ON t USING (f(a))", ""),
        OTHER("CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"", "t"),
        OTHER("ALTER TABLE t ADD COLUMN a numeric(10,2) DEFAULT 0, ADD CONSTRAINT c UNIQUE (a), ADD b vector(3)", ""),
        OTHER("ALTER TABLE t ALTER COLUMN a TYPE vector(3), SET (fillfactor = 70)", ""),
        OTHER("ALTER ROLE x SET search_path = y", ""),
        OTHER("ALTER SYSTEM SET work_mem = '1MB'", ""),
        OTHER("ALTER FUNCTION f(int) OWNER TO x", ""),
        OTHER("DROP FUNCTION IF EXISTS f(int), g(text)", ""),
        OTHER("DROP TABLE t", ""),
        OTHER("TRUNCATE t, u RESTART IDENTITY", ""),
        OTHER("COMMENT ON FUNCTION f(int) IS 'x'", ""),
        OTHER("GRANT SELECT (a), UPDATE (b) ON t TO x", ""),
        OTHER("GRANT EXECUTE ON FUNCTION f(int) TO x", ""),
        OTHER("REVOKE ALL ON t FROM x", ""),
        OTHER("VACUUM (ANALYZE, VERBOSE) t (a)", ""),
        OTHER("ANALYZE t (a)", ""),
        OTHER("REINDEX (CONCURRENTLY) TABLE t", ""),
        OTHER("REFRESH MATERIALIZED VIEW CONCURRENTLY v", ""),
        OTHER("LOCK TABLE t IN SHARE MODE", ""),
        OTHER("CHECKPOINT", ""),
    };
    CHECK_ROWS(rows);
}

static void
test_transaction_statements_control_the_transaction(void)
{
    static const row rows[] = {
        TRANSACTION("BEGIN", "c"),
        TRANSACTION("begin isolation level serializable read only", "c"),
        TRANSACTION("START TRANSACTION", "c"),
        TRANSACTION("COMMIT AND CHAIN", "c"),
        TRANSACTION("END", "c"),
        TRANSACTION("ROLLBACK TO SAVEPOINT a", "c"),
        TRANSACTION("ABORT", "c"),
        TRANSACTION("SAVEPOINT a", "c"),
        TRANSACTION("RELEASE a", "c"),
        TRANSACTION("PREPARE TRANSACTION 'a'", "c"),
        TRANSACTION("COMMIT PREPARED 'a'", "c"),
        TRANSACTION("BEGIN; SELECT 1", "cs"),
        READ("SELECT 1; COMMIT", "rcs"),
    };
    CHECK_ROWS(rows);
}

static void
test_explain_is_a_read_unless_it_runs_the_statement(void)
{
    static const row rows[] = {
        READ("EXPLAIN SELECT 1", "r"),
        READ("EXPLAIN (SELECT 1)", "r"),
        READ("EXPLAIN ((SELECT 1))", "r"),
        READ("EXPLAIN (VALUES (1))", "r"),
        READ("EXPLAIN INSERT INTO t (a) VALUES (1)", "r"),
        READ("EXPLAIN VERBOSE DELETE FROM t", "r"),
        READ("EXPLAIN (COSTS off, FORMAT json) DELETE FROM t", "r"),
        READ("EXPLAIN ANALYZE SELECT 1", "r"),
        READ("EXPLAIN ANALYZE VERBOSE (SELECT 1)", "r"),
        WRITE("EXPLAIN ANALYZE DELETE FROM t", "r"),
        WRITE("EXPLAIN (ANALYZE, BUFFERS) DELETE FROM t", "r"),
        WRITE("EXPLAIN (BUFFERS true, ANALYZE true) DELETE FROM t", "r"),
        WRITE("EXPLAIN (\"analyze\") DELETE FROM t", "r"),
        WRITE("EXPLAIN ANALYZE WITH a AS (DELETE FROM t RETURNING 1) SELECT 1 FROM a", "r"),
        READ("EXPLAIN ANALYZE SELECT f(1)", "rt"),
        READ("EXPLAIN SELECT f(1)", "rt"),
        OTHER("EXPLAIN (ANALYZE) EXECUTE p", "rtp"),
        OTHER("EXPLAIN (ANALYZE) CREATE TEMP TABLE t AS SELECT 1", "rt"),
        READ("EXPLAIN", "rtpcl"),
        READ("EXPLAIN EXPLAIN SELECT 1", "rtpcl"),
    };
    CHECK_ROWS(rows);
}

static void
test_several_statements_take_the_worst_of_all(void)
{
    static const row rows[] = {
        READ("SELECT 1; SELECT 2", "rs"),
        READ(";;SELECT 1;;", "r"),
        READ("SELECT 1; SET x.y = 1", "rts"),
        READ("SELECT 1; SELECT 2; SELECT f(1)", "rts"),
        READ("SELECT f(1); SELECT 2", "rts"),
        WRITE("INSERT INTO t VALUES (1); DEALLOCATE p; LISTEN x", "tpls"),
        READ("SELECT ';'; SELECT 2", "rs"),
        READ("SELECT ';' -- ; SET x", "r"),
        READ("SELECT 1 /* ; SET x */", "r"),
        READ("SELECT (1; SET x.y = 1", "rts"),
        OTHER("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", "cs"),
        OTHER("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC RETURN 1; END; SET x.y = 1", "tcs"),
    };
    CHECK_ROWS(rows);
}

static void
test_nothing_is_empty(void)
{
    static const row rows[] = {
        EMPTY("", ""),
        EMPTY(" \n\t", ""),
        EMPTY(";;", ""),
        EMPTY("-- comment", ""),
        EMPTY("/* comment; SET x */ ; -- y", ""),
    };
    CHECK_ROWS(rows);
}

/* Text that hides a statement in what looks like a string, or a string in what looks like a statement. */
static void
test_quotes_end_where_the_server_ends_them(void)
{
    static const row rows[] = {
        READ("SELECT '\\'; SET x.y = 1; --'", "rts"),
        READ("SELECT E'\\'; SET x.y = 1; --'", "r"),
        READ("SELECT e'\\\\'; SET x.y = 1; --'", "rts"),
        READ("SELECT E'a'\n'\\'; SET x.y = 1; --'", "r"),
        READ("SELECT E'a' -- b\n \t-- c\n  '\\'; SET x.y = 1; --'", "r"),
        READ("SELECT E'a' '\\'; SET x.y = 1; --'", "rts"),
        READ("SELECT E'a'\n/**/'\\'; SET x.y = 1; --'", "rts"),
        READ("SELECT 'a'\n'\\'; SET x.y = 1; --'", "rts"),
        READ("SELECT U&'\\'; SET x.y = 1; --'", "rts"),
        READ("SELECT B'\\'; SET x.y = 1; --'", "rts"),
        READ("SELECT N'\\'; SET x.y = 1; --'", "rts"),
        READ("SELECT fooE'\\'; SET x.y = 1; --'", "rts"),
        READ("SELECT 1E'\\'; SET x.y = 1; --'", "r"),
        READ("SELECT 'a''; SET x.y = 1; --'", "r"),
        READ("SELECT \"a\"\"; SET x.y = 1; --\"", "rt"),
        READ("SELECT \"\\\"; SET x.y = 1; --\"", "rts"),
        READ("SELECT $$'$$; SET x.y = 1; --'", "rts"),
        READ("SELECT $a$ $$ $b$ $a ; SET x.y = 1; $a$", "r"),
        READ("SELECT $a$ $b$a$; SET x.y = 1", "rts"),
        READ("SELECT $a$ $aa$ $a$; SET x.y = 1", "rts"),
        READ("SELECT $\xc3\xa9$ ' $\xc3\xa9$; SET x.y = 1; --'", "rts"),
        READ("SELECT a$b$; SET x.y = 1; --$b$", "rts"),
        READ("SELECT $1$b$; SET x.y = 1; --$b$", "r"),
        READ("SELECT 1$b$; SET x.y = 1; --$b$", "r"),
        READ("SELECT $1; SET x.y = 1", "rts"),
        READ("SELECT 1 --\r; SET x.y = 1", "rts"),
        READ("SELECT 1 /* /* */ ; SET x.y = 1; */", "r"),
        READ("SELECT 1 /* ' */; SET x.y = 1; --'", "rts"),
        READ("SELECT 1 */* ; SET x.y = 1; */ 2", "r"),
        READ("SELECT 1 +-- ; SET x.y = 1;\n 2", "r"),
        READ("SELECT '--'; SET x.y = 1", "rts"),
        READ("SELECT '/*'; SET x.y = 1", "rts"),
        READ("SELECT a - -1; SET x.y = 1", "rts"),
    };
    CHECK_ROWS(rows);
}

static void
test_without_standard_strings_a_backslash_escapes(void)
{
    static const struct {
        const char *sql;
        bool touches_off, touches_on;
    } rows[] = {
        {"SELECT '\\'; SET x.y = 1; --'", false, true},
        {"SELECT 'a'\n'\\'; SET x.y = 1; --'", false, true},
        {"SELECT N'\\'; SET x.y = 1; --'", false, true},
        {"SELECT B'\\'; SET x.y = 1; --'", true, true},
        {"SELECT '\\\\'; SET x.y = 1; --'", true, true},
        {"SELECT E'\\'; SET x.y = 1; --'", false, false},
        {"SELECT $$\\$$; SET x.y = 1; --'", true, true},
        {"SELECT \"\\\"; SET x.y = 1; --\"", true, true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const size_t len = strlen(rows[i].sql);

        CHECK(scan_bytes(rows[i].sql, len, false).touches == rows[i].touches_off, "off: %s", rows[i].sql);
        CHECK(scan_bytes(rows[i].sql, len, true).touches == rows[i].touches_on, "on: %s", rows[i].sql);
    }
}

static void
test_what_cannot_be_read_touches(void)
{
    static const char *const texts[] = {
        "SELECT 'a",      "SELECT \"a",     "SELECT $a$ b", "SELECT /* a", "SELECT (1", "SELECT 1)", "SELECT E'\\'",
        "SELECT U&\"a\"", "SELECT a.U&\"b\"", "'",          "\"",          "$$",        "/*",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        CHECK(scan(texts[i]).touches, "%s", texts[i]);
    }
    CHECK(scan_bytes("SELECT 1\0", 9, true).touches, "a NUL at the end");
    CHECK(scan_bytes("SELECT '\0'", 10, true).touches == false, "a NUL inside a string is the binding's to refuse");
}

/* Every beginning of a text is read without touching a byte behind it. */
static void
test_no_prefix_is_read_past_its_end(void)
{
    static const char sql[] = "WITH a(b) AS (SELECT E'x\\'y'\n'z', $t$q$t$, U&\"v\", 1.5e-3, a.b::numeric(1), $1) /* c /* d */ */ "
                              "INSERT INTO \"t\"\"u\" (v) SELECT f(x) FROM y -- end\n; EXPLAIN (ANALYZE) SELECT 1";
    bool touched = false;

    for (size_t len = 0; len < sizeof(sql); len++) {
        for (size_t from = 0; from <= len && from < 60; from++) {
            touched = scan_bytes(sql + from, len - from, len % 2 == 0).touches || touched;
        }
    }
    CHECK(touched, "the whole text touches");
}

/* Deep nesting and repetition of what needs looking ahead. With quadratic cost this would run for hours. */
static void
test_hostile_text_takes_linear_time(void)
{
    static const char *const patterns[] = {"(", "/*", "/* */", "$a$", "$a", "$", "E'a'\n--\n", "'a'\n", "a.", "--\n", "f(", ")", "[", "set_config(", "set_config(a,[", "\"\"", "WITH a(b) AS (",
                                           "SELECT (", "EXPLAIN (", "U&'", ".", "1e", ";", "ON CONFLICT (", "$a$b$aa", "'a' -- b\n"};
    enum { SIZE = 1024 * 1024 };
    char *const text = malloc(SIZE);

    if (text == NULL) {
        abort();
    }
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        const size_t len = strlen(patterns[i]);
        hp_sql_info info;

        for (size_t at = 0; at + len <= SIZE; at += len) {
            memcpy(text + at, patterns[i], len);
        }
        hp_sqlscan(text, SIZE / len * len, true, &info);
        CHECK(info.kind <= HP_SQL_OTHER, "%s", patterns[i]);
    }
    free(text);
}

static void
test_nesting_too_deep_to_follow_touches(void)
{
    enum { DEPTH = 1000 };
    char text[2 * DEPTH + 32];
    int len = snprintf(text, sizeof(text), "SELECT ");

    memset(text + len, '(', DEPTH);
    text[len + DEPTH] = '1';
    memset(text + len + DEPTH + 1, ')', DEPTH);
    const hp_sql_info info = scan_bytes(text, (size_t)len + 2 * DEPTH + 1, true);

    CHECK(info.touches && info.kind == HP_SQL_READ && info.returns_rows, "deep");
}

/* In parentheses that leave room for it, and in ones that do not, a local set_config is never taken for another. */
static void
test_set_config_is_judged_at_any_depth(void)
{
    enum { DEEPEST = 200, SIZE = 2 * DEEPEST + 64 };

    for (size_t depth = 0; depth <= DEEPEST; depth++) {
        char parentheses[DEEPEST + 1], text[SIZE];

        memset(parentheses, '(', depth);
        parentheses[depth] = '\0';
        int len = snprintf(text, sizeof(text), "SELECT %sset_config('a.b', 'c', true)", parentheses);
        memset(text + len, ')', depth);
        const bool local_touches = scan_bytes(text, (size_t)len + depth, true).touches;
        CHECK(local_touches == (depth > 126), "local, %zu deep", depth);

        len = snprintf(text, sizeof(text), "SELECT %sset_config('a.b', 'c', false)", parentheses);
        memset(text + len, ')', depth);
        CHECK(scan_bytes(text, (size_t)len + depth, true).touches, "for the session, %zu deep", depth);
    }
}

int
main(void)
{
    test_ordinary_service_statements_touch_nothing();
    test_statements_about_the_session_touch();
    test_functions_with_effects_touch_wherever_they_stand();
    test_set_config_is_harmless_only_if_it_is_plainly_local();
    test_definitions_touch_nothing();
    test_transaction_statements_control_the_transaction();
    test_explain_is_a_read_unless_it_runs_the_statement();
    test_several_statements_take_the_worst_of_all();
    test_nothing_is_empty();
    test_quotes_end_where_the_server_ends_them();
    test_without_standard_strings_a_backslash_escapes();
    test_what_cannot_be_read_touches();
    test_no_prefix_is_read_past_its_end();
    test_hostile_text_takes_linear_time();
    test_nesting_too_deep_to_follow_touches();
    test_set_config_is_judged_at_any_depth();
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
