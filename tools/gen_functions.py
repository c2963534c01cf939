#!/usr/bin/env python3
"""Write the scanner's tables of keywords and built-in functions from running PostgreSQL servers.

usage: tools/gen_functions.py [--psql PSQL] DSN [DSN ...]

Reads pg_proc and pg_get_keywords() of each server (the oldest and the newest
supported release are enough: names come and go rarely) and writes

    csrc/engine/sqllex_keywords.h    every keyword, and whether it can be a function's name
    csrc/engine/sqlscan_functions.h  functions known to leave the session as it was, and known not to

A function is harmless if each of its overloads that SQL can call is immutable or
stable, or if it stands on the list of harmless volatile ones below, and if it is
not on the list of refused ones. Both lists were read function by function; a new
volatile function of a later release counts as touching until someone adds it.

The union of the servers is taken: a name that is built in in one release and
free in another is taken for the built-in one. Users of the older release who
define it do so to have the newer one's.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import subprocess
from dataclasses import dataclass, field

ENGINE = pathlib.Path(__file__).resolve().parent.parent / "csrc" / "engine"

# Volatile because the result changes, or because something is written that is no session state.
HARMLESS = re.compile(
    "|".join(
        [
            r"random|random_normal|array_sample|array_shuffle|gen_random_uuid|uuidv4|uuidv7",
            r"clock_timestamp|timeofday|current_query",
            # What one session has of a sequence, DISCARD SEQUENCES' subject, changes no one else's results.
            r"nextval|currval|lastval|setval|pg_sequence_last_value",
            r"pg_notify|pg_notification_queue_usage",
            # Held to the end of the transaction only, as are a large object's descriptors.
            r"pg_advisory_xact_lock(_shared)?|pg_try_advisory_xact_lock(_shared)?|pg_export_snapshot",
            r"lo_(close|creat|create|from_bytea|get|lseek|lseek64|open|put|tell|tell64|truncate|truncate64|unlink)",
            r"loread|lowrite",
            r"pg_sleep|pg_sleep_for|pg_sleep_until|pg_cancel_backend",
            r"pg_(database|indexes|relation|table|tablespace|total_relation)_size",
            r"pg_is_in_recovery|pg_is_wal_replay_paused|pg_get_wal_replay_pause_state",
            r"pg_current_wal_(flush_|insert_)?lsn|pg_last_wal_(receive|replay)_lsn|pg_last_xact_replay_timestamp",
            r"pg_xact_status|txid_status|pg_xact_commit_timestamp|pg_last_committed_xact",
            r"pg_blocking_pids|pg_safe_snapshot_blocking_pids|pg_lock_status|pg_prepared_xact",
            r"pg_stat_get_\w+|pg_stat_have_stats|pg_stat_clear_snapshot|pg_partition_(ancestors|tree)",
            r"pg_(collation|database_collation)_actual_version|pg_jit_available|pg_get_wait_events",
        ]
    )
)

# Harmless by their volatility or name, and yet not: they run SQL that they are given as text.
REFUSED = re.compile(r"query_to_xml\w*|cursor_to_xml\w*|ts_stat|ts_rewrite|set_config|setseed")

# Write to the database, or fail on a standby: a statement that calls them is no plain read.
WRITES = re.compile(
    r"nextval|setval|pg_notify|pg_export_snapshot|pg_current_xact_id|txid_current"
    r"|lo_(creat|create|from_bytea|open|put|truncate|truncate64|unlink)|lowrite"
)

# Functions that SQL can name: no trigger, no handler, nothing with an argument of type internal.
FUNCTIONS = """
SELECT json_agg(json_build_object('name', name, 'calm', calm, 'unary', unary)) FROM (
    SELECT proname AS name,
           bool_and(provolatile <> 'v') AS calm,
           bool_or(pronargs >= 1 AND pronargs - pronargdefaults <= 1) AS unary
    FROM pg_catalog.pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace
      AND prokind <> 'p'
      AND NOT 'internal'::regtype = ANY (proargtypes::oid[])
      AND prorettype NOT IN ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)
    GROUP BY proname) AS f
"""
KEYWORDS = "SELECT json_agg(json_build_object('word', word, 'class', catcode)) FROM pg_get_keywords()"

# Classes of pg_get_keywords(): R reserved, C a column's name but no function's.
NEVER_CALLED = ("R", "C")


@dataclass
class Function:
    """What all servers say about the functions of one name."""

    calm: bool = True
    unary: bool = False


@dataclass
class Catalogue:
    """The union of what the servers know."""

    versions: list[str] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    keywords: dict[str, bool] = field(default_factory=dict)

    def read(self, psql: str, dsn: str) -> None:
        def ask(sql: str) -> str:
            command = [psql, "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql, dsn]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

        self.versions.append(ask("SHOW server_version").split()[0])
        for row in json.loads(ask(FUNCTIONS)):
            function = self.functions.setdefault(row["name"], Function())
            function.calm = function.calm and row["calm"]
            function.unary = function.unary or row["unary"]
        for row in json.loads(ask(KEYWORDS)):
            word = row["word"]
            self.keywords[word] = self.keywords.get(word, False) or row["class"] in NEVER_CALLED


def heading(file: str, what: str, versions: list[str]) -> str:
    return (
        f"/*\n * {file} - {what}\n *\n"
        f" * Generated by tools/gen_functions.py from the catalogues of PostgreSQL {' and '.join(versions)}.\n"
        " * Do not edit: change the generator.\n */\n"
        "/* clang-format off */\n"
    )


def keywords_header(catalogue: Catalogue) -> str:
    rows = "".join(
        f' \\\n    X({word.upper()}, "{word}", {int(never)})' for word, never in sorted(catalogue.keywords.items())
    )
    return (
        heading("sqllex_keywords.h", "PostgreSQL's keywords, sorted.", catalogue.versions)
        + "#ifndef HP_SQLLEX_KEYWORDS_H\n#define HP_SQLLEX_KEYWORDS_H\n\n"
        + "/* X(name, spelling, 1 if it never names a function) */\n"
        + f"#define HP_SQLLEX_KEYWORDS(X){rows}\n\n#endif\n"
    )


def functions_header(catalogue: Catalogue) -> str:
    effects = {}
    for name, function in sorted(catalogue.functions.items()):
        calm = (function.calm or HARMLESS.fullmatch(name)) and not REFUSED.fullmatch(name)
        if calm or function.unary:
            effects[name] = "TOUCHES" if not calm else "WRITES" if WRITES.fullmatch(name) else "NONE"
    return heading(
        "sqlscan_functions.h", "what calling a built-in function does.", catalogue.versions
    ) + functions_table(effects)


def functions_table(effects: dict[str, str]) -> str:
    """The effects by name, as a table without a pointer: a pointer is written to when the library is loaded."""
    rows, at = [], 0
    for name, effect in effects.items():
        rows.append(f"    {{{at}, {len(name)}, HP_SQL_EFFECT_{effect}}}, /* {name} */\n")
        at += len(name)
    return (
        '#ifndef HP_SQLSCAN_FUNCTIONS_H\n#define HP_SQLSCAN_FUNCTIONS_H\n\n#include "engine/sqlcall.h"\n\n'
        + "#include <stdint.h>\n\n"
        + "/* The names, one right behind the other. */\n"
        + "static const char hp_function_names[] =\n"
        + "\n".join(f'    "{name}"' for name in effects)
        + ';\n\n_Static_assert(sizeof hp_function_names <= UINT16_MAX, "places in it are uint16_t");\n\n'
        + "/* Sorted by name, bytewise. Of those that touch, only what can be called with one argument. Without a\n"
        + " * pointer, which would be written to, and so be this process's own memory, when the library is loaded. */\n"
        + "static const struct hp_function {\n    uint16_t at; /* of its name in hp_function_names */\n"
        + "    unsigned char len;\n    unsigned char effect;\n} hp_functions[] = {\n"
        + "".join(rows)
        + "};\n\n#endif\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="write the scanner's tables from running servers")
    parser.add_argument("--psql", default="psql", help="the psql to ask with")
    parser.add_argument("dsn", nargs="+", help="servers, the oldest supported release first")
    arguments = parser.parse_args()
    catalogue = Catalogue()
    for dsn in arguments.dsn:
        catalogue.read(arguments.psql, dsn)
    (ENGINE / "sqllex_keywords.h").write_text(keywords_header(catalogue), encoding="ascii")
    (ENGINE / "sqlscan_functions.h").write_text(functions_header(catalogue), encoding="ascii")


if __name__ == "__main__":
    main()
