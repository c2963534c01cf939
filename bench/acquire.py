"""`python -m bench acquire`: nanoseconds for an acquire and a release of an idle connection, with nothing in between.

One task, so that no lease ever waits. asyncpg's figure holds the round trip that its reset makes at each release.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from bench.drivers import DRIVERS, REFERENCE
from bench.figures import Table, median, number, paired_ratio, percent, spread, times
from bench.fleet import Contestant, add_driver_options, add_round_options, open_fleet, rotated
from bench.measures import LEASE_SHAPES
from bench.process import DriverError
from bench.results import add_output_options, note, publish
from bench.server import add_server_options, open_target

POOLS = ("holisticpool", "asyncpg", "asyncpg-noreset", "psycopg", "psqlpy")
ROUNDS = 7
SECONDS = 0.2
HEAD = ("pool", "async with acquire(), ns", "faster", "spread", "acquire() + release(), ns", "faster", "spread")
Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_driver_options(parser, drivers=POOLS)
    add_round_options(parser, rounds=ROUNDS, seconds=SECONDS)
    add_server_options(parser)
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the table, writes the raw figures; 0, or 1 where no driver could be measured."""
    rows: dict[tuple[str, str, str], Row] = {}
    with open_target(options) as target, open_fleet(options, target, workloads=()) as fleet:
        for number_of_round in range(options.rounds):
            note(f"round {number_of_round + 1}/{options.rounds}")
            for contestant in rotated(fleet, number_of_round):
                for shape in LEASE_SHAPES:
                    key = (contestant.driver, contestant.loop, shape)
                    row = rows.setdefault(
                        key, dict(zip(("driver", "loop", "shape"), key, strict=True)) | {"nanoseconds": []}
                    )
                    row["nanoseconds"].append(_measure(contestant, shape, options.seconds))
        server = target.description
    publish("acquire", options, server, {"rows": list(rows.values())}, tables)
    return 0 if rows else 1


def tables(document: dict[str, Any]) -> list[Table]:
    """One table per loop, a line per driver: each shape's median, its ratio to asyncpg's pool, the spread."""
    rows = {(row["driver"], row["loop"], row["shape"]): row["nanoseconds"] for row in document["rows"]}
    found = []
    for loop in document["options"]["loops"]:
        drivers = [driver for driver in document["options"]["drivers"] if (driver, loop, LEASE_SHAPES[0]) in rows]
        lines = [
            [_name(driver), *itertools.chain(*(_figures(rows, driver, loop, shape) for shape in LEASE_SHAPES))]
            for driver in drivers
        ]
        found.append(Table(HEAD, lines, title=f"Idle acquire and release, {loop}"))
    return found


def _name(driver: str) -> str:
    return DRIVERS[driver].module + (", no reset" if driver == "asyncpg-noreset" else "")


def _figures(
    rows: dict[tuple[str, str, str], list[float | None]], driver: str, loop: str, shape: str
) -> tuple[str, str, str]:
    values = rows[driver, loop, shape]
    measured = [value for value in values if value is not None]
    faster = paired_ratio(rows.get((REFERENCE, loop, shape), []), values)
    return number(median(measured)), times(faster), percent(spread(measured))


def _measure(contestant: Contestant, shape: str, seconds: float) -> float | None:
    try:
        return float(contestant.process.ask("lease", shape=shape, seconds=seconds)["ns"])
    except DriverError as error:
        note(f"{contestant.driver}, {contestant.loop}, {shape}: {error}")
        return None
