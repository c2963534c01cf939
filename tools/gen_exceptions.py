#!/usr/bin/env python3
"""Write holisticpool/_sqlstates.py from PostgreSQL's own list of error codes.

usage: tools/gen_exceptions.py ERRCODES_TXT [ERRCODES_TXT ...]

ERRCODES_TXT is `errcodes.txt` of a PostgreSQL installation (`pg_config
--sharedir`), the newest first. Codes that only an older file has (PostgreSQL
drops one now and then) are kept: a client meets servers of every age.

A class gets the name and the parent that asyncpg gives it, so that `except`
clauses written for asyncpg go on working; tests/test_exceptions.py compares
the two. The rule is the one asyncpg documents by example: the words of the
condition's PL/pgSQL name in camel case, `Error` at the end, the first code of
a class as the parent of the others, `Postgres` in front where Python itself has
the name.
"""

from __future__ import annotations

import argparse
import builtins
import pathlib
import re
from dataclasses import dataclass

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "holisticpool" / "_sqlstates.py"

# Names that do not follow from the condition's.
NAMES = {
    "08001": "ClientCannotConnectError",
    "08004": "ConnectionRejectionError",
    "08006": "ConnectionFailureError",
    "38002": "ModifyingExternalRoutineSQLDataNotPermittedError",
    "38003": "ProhibitedExternalRoutineSQLStatementAttemptedError",
    "38004": "ReadingExternalRoutineSQLDataNotPermittedError",
    "39004": "NullValueInExternalRoutineNotAllowedError",
    "42000": "SyntaxOrAccessError",
    "XX000": "InternalServerError",
}

# What also says that the session has ended, which asyncpg tells by ConnectionDoesNotExistError alone.
SESSION_ENDS = ("25P03", "25P04", "57P01", "57P02", "57P04", "57P05")
SESSION_END = "ConnectionDoesNotExistError"

# Words written in capitals inside a name.
ACRONYMS = {"fdw": "FDW", "io": "IO", "plpgsql": "PLPGSQL", "sql": "SQL"}

# The code of success is no error.
SUCCESS = "00000"

LINE = re.compile(r"^(?P<code>[0-9A-Z]{5})\s+(?P<severity>[EWS])\s+ERRCODE_\w+\s+(?P<name>\w+)\s*$")
VERSION = re.compile(r"Copyright \(c\) 2003-(\d{4})")


@dataclass(frozen=True)
class Condition:
    """One row of errcodes.txt."""

    code: str
    severity: str
    name: str

    @property
    def class_name(self) -> str:
        if self.code in NAMES:
            return NAMES[self.code]
        words = [ACRONYMS.get(word, word.capitalize()) for word in self.name.split("_")]
        if words[-1] in ("Exception", "Failure"):
            words[-1] = "Error"
        elif words[-1] != "Error" and self.severity != "W":
            words.append("Error")
        name = "".join(words)
        return f"Postgres{name}" if hasattr(builtins, name) else name


def read(path: pathlib.Path) -> list[Condition]:
    """The conditions of one file in its order, the first row of a class first.

    A code may stand in several rows (macros of older names): the first row that
    has a condition name counts.
    """
    conditions: dict[str, Condition] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        row = LINE.match(line)
        if row is not None and row["code"] != SUCCESS:
            conditions.setdefault(row["code"], Condition(row["code"], row["severity"], row["name"]))
    if not conditions:
        raise SystemExit(f"{path}: no error codes found; is this PostgreSQL's errcodes.txt?")
    return list(conditions.values())


def merge(files: list[list[Condition]]) -> list[Condition]:
    """All conditions, classes together: what only an older file has comes last in its class."""
    classes: dict[str, dict[str, Condition]] = {}
    for conditions in files:
        for condition in conditions:
            classes.setdefault(condition.code[:2], {}).setdefault(condition.code, condition)
    return [condition for group in classes.values() for condition in group.values()]


def render_class(condition: Condition, parent: str) -> str:
    return (
        f"class {condition.class_name}({parent}):\n"
        f'    """{condition.code} {condition.name}."""\n\n'
        f'    sqlstate = "{condition.code}"\n'
    )


def render(conditions: list[Condition], years: list[str]) -> str:
    parents: dict[str, str] = {}
    classes: list[str] = []
    names: list[str] = []
    for condition in conditions:
        group = condition.code[:2]
        if group in parents:
            parent = parents[group]
        elif condition.code == "01000":
            parent = "PostgresLogMessage, Warning"
        elif condition.severity == "W":
            parent = "PostgresWarning"
        else:
            parent = "PostgresError"
        if condition.code in SESSION_ENDS:
            parent += f", {SESSION_END}"
        parents.setdefault(group, condition.class_name)
        if condition.class_name in names:
            raise SystemExit(f"{condition.code}: {condition.class_name} is taken")
        names.append(condition.class_name)
        classes.append(render_class(condition, parent))
        if condition.code == "0A000":
            names.append("InvalidCachedStatementError")
            classes.append(
                "class InvalidCachedStatementError(FeatureNotSupportedError):\n"
                '    """0A000 raised because a prepared statement\'s plan no longer fits the schema."""\n'
            )
    listing = "".join(f'    "{name}",\n' for name in sorted(names))
    return (
        '"""One class per error condition of PostgreSQL.\n\n'
        f"Generated by tools/gen_exceptions.py from PostgreSQL's errcodes.txt (copyright years {', '.join(years)}).\n"
        "Do not edit: change the generator. Import the classes from holisticpool.exceptions.\n"
        '"""\n\n'
        "from __future__ import annotations\n\n"
        "from ._errors import PostgresError, PostgresLogMessage\n\n"
        f"__all__ = (\n{listing})\n\n\n" + "\n\n".join(classes)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="write holisticpool/_sqlstates.py")
    parser.add_argument("errcodes", nargs="+", type=pathlib.Path, help="errcodes.txt, the newest PostgreSQL first")
    paths: list[pathlib.Path] = parser.parse_args().errcodes
    years = []
    for path in paths:
        found = VERSION.search(path.read_text(encoding="ascii"))
        years.append(found[1] if found is not None else "unknown")
    OUTPUT.write_text(render(merge([read(path) for path in paths]), years), encoding="ascii")


if __name__ == "__main__":
    main()
