#!/usr/bin/env python3
"""Write holisticpool/_errcodes.py and _sqlstates.pyi from PostgreSQL's own list of error codes.

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

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "holisticpool"
TABLE = PACKAGE / "_errcodes.py"
STUB = PACKAGE / "_sqlstates.pyi"

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

# What InvalidCachedStatementError means, which has the SQLSTATE of its parent.
OUTDATED_PLAN = "raised because a prepared statement's plan no longer fits the schema"

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


@dataclass(frozen=True)
class ErrorClass:
    """A class to be made: `code` is empty where it has the SQLSTATE of its parent."""

    name: str
    code: str
    parents: str
    meaning: str

    def row(self) -> str:
        """Its line in the table."""
        return f"{self.name} {self.code or '-'} {self.parents} {self.meaning}\n"

    def stub(self) -> str:
        """What type checkers read."""
        return f"class {self.name}({self.parents.replace('+', ', ')}): ...\n"


def classes_of(conditions: list[Condition]) -> list[ErrorClass]:
    """The classes of all conditions, parents first."""
    parents: dict[str, str] = {}
    found: list[ErrorClass] = []
    for condition in conditions:
        group = condition.code[:2]
        if group in parents:
            parent = parents[group]
        elif condition.code == "01000":
            parent = "PostgresLogMessage+Warning"
        elif condition.severity == "W":
            parent = "PostgresWarning"
        else:
            parent = "PostgresError"
        if condition.code in SESSION_ENDS:
            parent += f"+{SESSION_END}"
        parents.setdefault(group, condition.class_name)
        if any(other.name == condition.class_name for other in found):
            raise SystemExit(f"{condition.code}: {condition.class_name} is taken")
        found.append(ErrorClass(condition.class_name, condition.code, parent, condition.name))
        if condition.code == "0A000":
            found.append(ErrorClass("InvalidCachedStatementError", "", condition.class_name, OUTDATED_PLAN))
    return found


def source_of(years: list[str]) -> str:
    return (
        f"Generated by tools/gen_exceptions.py from PostgreSQL's errcodes.txt (copyright years {', '.join(years)}).\n"
        "Do not edit: change the generator.\n"
    )


def render_table(classes: list[ErrorClass], years: list[str]) -> str:
    return (
        "# ruff: noqa: E501\n"
        '"""PostgreSQL\'s error conditions, a line for each class that _sqlstates.py makes.\n\n'
        f"{source_of(years)}"
        '"""\n\n'
        "from __future__ import annotations\n\n"
        "from typing import Final\n\n"
        "# The class, its SQLSTATE (-: its parent's), its parents, the condition. Parents come first.\n"
        'TABLE: Final = """\n' + "".join(error_class.row() for error_class in classes) + '"""\n'
    )


def render_stub(classes: list[ErrorClass], years: list[str]) -> str:
    names = "".join(f'    "{name}",\n' for name in sorted(error_class.name for error_class in classes))
    return (
        '"""One class per error condition of PostgreSQL, as type checkers see them.\n\n'
        f"{source_of(years)}"
        '"""\n\n'
        "from ._errors import PostgresError, PostgresLogMessage, PostgresMessage\n\n"
        f"__all__ = (\n{names})\n\n"
        "def class_of(key: str) -> type[PostgresMessage] | None: ...\n"
        "def __dir__() -> list[str]: ...\n\n" + "".join(error_class.stub() for error_class in classes)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="write holisticpool/_errcodes.py and _sqlstates.pyi")
    parser.add_argument("errcodes", nargs="+", type=pathlib.Path, help="errcodes.txt, the newest PostgreSQL first")
    paths: list[pathlib.Path] = parser.parse_args().errcodes
    years = []
    for path in paths:
        found = VERSION.search(path.read_text(encoding="ascii"))
        years.append(found[1] if found is not None else "unknown")
    classes = classes_of(merge([read(path) for path in paths]))
    TABLE.write_text(render_table(classes, years), encoding="ascii")
    STUB.write_text(render_stub(classes, years), encoding="ascii")


if __name__ == "__main__":
    main()
