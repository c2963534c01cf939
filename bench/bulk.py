"""`python -m bench bulk`: executemany, COPY in and out, prepared statements and cursors, beside asyncpg and the floor.

One connection at work, the other drivers idle; each chore once a round, of all drivers before the next round begins,
and of PostgreSQL's own programs (bench/floors.py). For a server of our own it is also seen how long the session's
process in the server had work, and so did not wait for the driver.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from bench.chores import CHORES
from bench.drivers import DRIVERS, REFERENCE
from bench.figures import Table, median, number, paired_ratio, percent, spread, times
from bench.fleet import Contestant, add_driver_options, open_fleet, rotated
from bench.floors import FLOORS
from bench.process import DriverError
from bench.results import add_output_options, note, publish
from bench.server import Target, add_server_options, open_target
from bench.workloads import BULK_SQL

POOLS = ("holisticpool", "asyncpg")
ROUNDS = 5
COPY_ROWS = 1_000_000
MANY_ROWS = 10_000
QUERIES = 5_000
CURSOR_ROWS = 100_000
ORDER = ("executemany", "fetchmany", "prepared", "copy_records", "copy_in", "copy_out", "cursor")
"""Every driver fills the table by copy_in before copy_out and cursor read it."""
Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_driver_options(parser, drivers=POOLS, loops=("asyncio",))
    group = parser.add_argument_group("measurement")
    group.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each chore (default: {ROUNDS})")
    for name, default, what in (
        ("--copy-rows", COPY_ROWS, "rows of each COPY"),
        ("--many-rows", MANY_ROWS, "rows of executemany and fetchmany"),
        ("--queries", QUERIES, "queries with the prepared statement"),
        ("--cursor-rows", CURSOR_ROWS, "rows through the cursor"),
    ):
        group.add_argument(name, type=int, default=default, help=f"{what} (default: {default:,})")
    add_server_options(parser)
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the table, writes the raw figures; 0, or 1 where no driver could be measured."""
    counts = {
        "executemany": options.many_rows,
        "fetchmany": options.many_rows,
        "prepared": options.queries,
        "copy_records": options.copy_rows,
        "copy_in": options.copy_rows,
        "copy_out": options.copy_rows,
        "cursor": min(options.cursor_rows, options.copy_rows),
    }
    rows: dict[tuple[str, str], Row] = {}
    with (
        open_target(options) as target,
        tempfile.TemporaryDirectory() as directory,
        open_fleet(options, target, workloads=()) as fleet,
    ):
        path = prepare(target, Path(directory), options.copy_rows)
        for number_of_round in range(options.rounds):
            note(f"round {number_of_round + 1}/{options.rounds}")
            for chore in ORDER:
                for contestant in rotated(fleet, number_of_round):
                    taken = _measure(contestant, chore, counts[chore], path)
                    row = _row(rows, contestant.driver, chore, counts[chore])
                    row["seconds"].append(taken["seconds"])
                    row["server_seconds"].append(taken["server_seconds"] if options.dsn is None else None)
                floor = FLOORS.get(chore)
                if floor is not None and floor.is_there(target):
                    row = _row(rows, floor.program, chore, counts[chore])
                    row["seconds"].append(floor.run(target, counts[chore], path))
        server = target.description
        libpq = {contestant.driver: contestant.libpq for contestant in fleet if contestant.libpq is not None}
    publish("bulk", options, server, {"libpq": libpq, "rows": list(rows.values())}, tables)
    return 0 if fleet else 1


def tables(document: dict[str, Any]) -> list[Table]:
    """A line per chore and driver: milliseconds, units per second, how much faster than asyncpg and than the floor."""
    seconds = {(row["driver"], row["chore"]): row["seconds"] for row in document["rows"]}
    lines = []
    for row in sorted(document["rows"], key=lambda row: ORDER.index(row["chore"])):
        measured = [value for value in row["seconds"] if value is not None]
        middle = median(measured)
        kind, floor = CHORES[row["chore"]], FLOORS.get(row["chore"])
        lines.append(
            (
                f"{kind.title}, {row['count']:,} {kind.counted}",
                floor.title if floor and row["driver"] == floor.program else DRIVERS[row["driver"]].module,
                number(middle and middle * 1_000, 1),
                number(middle and row["count"] / middle),
                times(paired_ratio(seconds.get((REFERENCE, row["chore"]), []), row["seconds"])),
                times(paired_ratio(row["seconds"], seconds.get((floor.program, row["chore"]), []) if floor else [])),
                percent(paired_ratio(row.get("server_seconds", []), row["seconds"])),
                percent(spread(measured)),
            )
        )
    head = ("what", "by", "ms", "per second", "faster than asyncpg", "of the floor's time", "server works", "spread")
    return [Table(head, lines, title="Bulk work, one connection", left=2)]


def _row(rows: dict[tuple[str, str], Row], driver: str, chore: str, count: int) -> Row:
    return rows.setdefault(
        (driver, chore), {"driver": driver, "chore": chore, "count": count, "seconds": [], "server_seconds": []}
    )


def _measure(contestant: Contestant, chore: str, count: int, path: Path) -> dict[str, float | None]:
    try:
        return contestant.process.ask("chore", name=chore, count=count, path=str(path))
    except DriverError as error:
        note(f"{contestant.driver}, {chore}: {error}")
        return {"seconds": None, "server_seconds": None}


def prepare(target: Target, directory: Path, rows: int) -> Path:
    """The table, and a file of COPY's text format that fills it."""
    target.psql(BULK_SQL)
    path = directory / "bulk.txt"
    with path.open("w") as file:
        file.writelines(f"{number}\titem number {number}\t{number * 0.25}\n" for number in range(rows))
    return path
