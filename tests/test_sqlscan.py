"""The scanner through its Python hook: it answers any text, and never gets more confident than it may.

tests/engine/test_sqlscan.c holds the table of statements and answers; here are the promises that must hold
for every text.
"""

from __future__ import annotations

import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import PostgresServer

from holisticpool._core import sqlscan

FLAGS = ("several", "touches", "prepares", "controls_tx", "locks_session", "returns_rows")
WORST = FLAGS[1:5]

HARMLESS = [
    "SELECT 1",
    "SELECT u.id, lower(u.name) AS n FROM users u WHERE u.id = $1 AND u.tags @> $2::text[]",
    "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING id",
    "WITH x(a) AS (SELECT 1), y AS (SELECT 2) SELECT count(*) FILTER (WHERE a > 0) FROM x, y",
    "UPDATE t SET a = now(), (b, c) = (1, 2) WHERE id IN (1, 2)",
    "DELETE FROM t WHERE at < now() - interval '1 day'",
    "CREATE TABLE t (a numeric(10, 2) PRIMARY KEY, b varchar(3) REFERENCES u (x), CHECK (length(b) > 0))",
    "EXPLAIN (COSTS off) SELECT * FROM unnest($1::int[]) WITH ORDINALITY AS t(a, n)",
    "SET LOCAL work_mem = '1MB'",
    "SELECT set_config('app.user', $1, true)",
]
TOUCHING = [
    "SET search_path = x",
    "SELECT set_config('a.b', 'c', false)",
    "SELECT my_function(1)",
    "LISTEN x",
    "CREATE TEMP TABLE t (a int)",
    "DO $$ begin end $$",
    "PREPARE p AS SELECT 1",
    "SELECT pg_advisory_lock(1)",
    "FROBNICATE",
]
# Where an unknown function may stand in an otherwise harmless statement.
PLACES = [
    "SELECT {}",
    "SELECT DISTINCT ON (a) {} FROM t",
    "SELECT a, {} AS b FROM t",
    "SELECT * FROM {} AS x(a)",
    "SELECT * FROM t JOIN {} ON true",
    "SELECT * FROM t WHERE a = {} GROUP BY a",
    "SELECT * FROM t ORDER BY {}",
    "SELECT lower(coalesce(a, {})) FROM t",
    "SELECT ARRAY[{}], CASE WHEN {} THEN 1 END",
    "WITH x(a) AS (SELECT {}) SELECT a FROM x",
    "INSERT INTO t (a) VALUES ({})",
    "INSERT INTO t (a) VALUES (1) RETURNING {}",
    "UPDATE t SET a = {}",
    "DELETE FROM t USING {} AS x",
    "MERGE INTO t USING s ON (a = b) WHEN MATCHED THEN UPDATE SET a = {}",
    "CREATE TABLE t AS SELECT {}",
    "COPY (SELECT {}) TO STDOUT",
    "EXPLAIN SELECT {}",
]
TOKENS = re.compile(r"'[^']*'|\$\$.*?\$\$|\$?\w+|::|@>|\S")
BLANKS = [" ", "\n", "\t", "\r\n", " /* x */ ", " -- y\n", "/* a /* ' */ \" */", "--;\n"]

texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"))
# Text that is made of what a lexer must tell apart.
pieces = st.sampled_from(
    ["'", '"', "$$", "$a$", "\\", "--", "/*", "*/", "\n", ";", "(", ")", ",", ".", "::", "E'", "U&'", 'U&"', "$1"]
    + ["select", "set", "with", "as", "insert", "into", "on", "conflict", "explain", "temp", "f", "lower", "1", " "]
)
argument_tokens = st.sampled_from(
    [",", "[", "]", "(", "true", "false", "null", "$1", "'x'", "not", "and", ".", "::", "=>", "(1, true)", "[2, true]"]
)
soups = st.lists(pieces, max_size=40).map("".join)
identifiers = st.text(string.ascii_lowercase + string.digits + "_", max_size=20).map("zz_{}".format)
statements = st.sampled_from(HARMLESS + TOUCHING)


def flags(sql: str) -> dict[str, bool]:
    answer = sqlscan(sql)
    return {name: bool(answer[name]) for name in FLAGS}


@pytest.mark.parametrize("sql", HARMLESS)
def test_ordinary_statements_are_harmless(sql: str) -> None:
    assert not any(flags(sql)[name] for name in WORST)


@pytest.mark.parametrize("sql", TOUCHING)
def test_statements_about_the_session_touch(sql: str) -> None:
    assert flags(sql)["touches"]


@given(st.one_of(texts, soups))
def test_any_text_has_an_answer_and_always_the_same(sql: str) -> None:
    answer = sqlscan(sql)
    assert {"kind", *FLAGS} <= set(answer)
    assert sqlscan(sql) == answer


@given(st.one_of(texts, soups, statements), st.sampled_from(BLANKS))
def test_blank_text_in_front_changes_nothing(sql: str, blank: str) -> None:
    assert sqlscan(blank + sql) == sqlscan(sql)


@given(st.one_of(texts, soups, statements))
def test_a_comment_behind_changes_nothing(sql: str) -> None:
    assert sqlscan(sql + "\n/* x */\t-- y\n") == sqlscan(sql)


@given(statements, st.randoms(use_true_random=False))
def test_blank_text_and_case_between_tokens_change_nothing(sql: str, chance: random.Random) -> None:
    def dressed(token: str) -> str:
        is_word = token[0].isalpha()
        return (token.swapcase() if is_word and chance.random() < 0.5 else token) + chance.choice(BLANKS)

    assert sqlscan("".join(map(dressed, TOKENS.findall(sql)))) == sqlscan(sql)


@given(st.lists(statements, min_size=2, max_size=6))
def test_several_statements_have_the_worst_properties_of_all(parts: list[str]) -> None:
    answer = flags(";\n".join(parts) + ";")
    assert answer["several"]
    for name in WORST:
        assert answer[name] == any(flags(part)[name] for part in parts)


@given(st.one_of(texts, soups), st.sampled_from(TOUCHING))
def test_no_text_behind_makes_a_touching_statement_harmless(tail: str, sql: str) -> None:
    assert flags(f"{sql};{tail}")["touches"]


@given(st.one_of(texts, soups))
def test_what_stands_in_a_string_does_not_matter(content: str) -> None:
    quoted = content.replace("'", "''")
    escaped = content.replace("\\", "\\\\").replace("'", "\\'")
    tag = "$t" + "_" * content.count("_") + "_$"
    for literal in (f"'{quoted}'", f"E'{escaped}'", f"{tag}{content}{tag}"):
        assert flags(f"SELECT {literal} AS a") == flags("SELECT 1 AS a")


@given(st.one_of(texts, soups))
def test_what_stands_in_a_quoted_identifier_is_no_syntax(content: str) -> None:
    name = '"zz{}"'.format(content.replace('"', ""))
    assert flags(f"SELECT {name}, a.{name} AS {name} FROM {name}") == flags("SELECT 1")
    assert flags(f"SELECT {name}(1)")["touches"]


@given(st.sampled_from(PLACES), identifiers)
def test_an_unknown_function_touches_wherever_it_stands(place: str, name: str) -> None:
    assert not flags(place.replace("{}", "u"))["touches"]
    for call in (f"{name}(1)", f"{name} ()", f'"{name}"(1)', f"public.{name}(a)", f"public.lower({name})"):
        assert flags(place.replace("{}", call))["touches"]


@given(st.one_of(texts, soups), st.one_of(texts, soups))
def test_no_text_in_the_arguments_makes_a_setting_of_the_session_local(value: str, comment: str) -> None:
    quoted = value.replace("'", "''")
    inside = comment.replace("*", "").replace("/", "")
    for flag in ("false", "$1", "not true", "'true'", "true::bool", "is_local => true"):
        assert flags(f"SELECT set_config('a.b', '{quoted}' /*{inside}*/, {flag})")["touches"]
    assert not flags(f"SELECT set_config('a.b', '{quoted}' /*{inside}*/, true)")["touches"]


@given(st.lists(argument_tokens, max_size=12))
def test_set_config_is_local_only_with_the_word_true_as_the_last_argument(arguments: list[str]) -> None:
    sql = f"SELECT set_config('a.b', {' '.join(arguments)})"
    if not flags(sql)["touches"]:
        assert arguments[-2:] == [",", "true"]


def test_no_volatile_function_of_this_server_is_taken_for_harmless(server: PostgresServer) -> None:
    from tools.gen_functions import HARMLESS as REVIEWED

    volatile = server.psql(
        "SELECT DISTINCT proname FROM pg_proc WHERE provolatile = 'v' AND pronamespace = 'pg_catalog'::regnamespace"
        " AND prorettype <> 'trigger'::regtype AND prorettype <> 'event_trigger'::regtype"
        " AND NOT 'internal'::regtype = ANY (proargtypes::oid[])"
    ).split()
    assert len(volatile) > 100
    unreviewed = [name for name in volatile if not REVIEWED.fullmatch(name)]
    assert [name for name in unreviewed if not flags(f"SELECT {name}()")["touches"]] == []
