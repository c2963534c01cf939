"""`python -m bench startup`: what a driver costs before its first row: import, pool and query in a fresh process.

With one connection and with as many as the pool has. The server asks for a password by SCRAM, so that most of the time
of a connection is the client's derivation of its key: 4,096 rounds, in OpenSSL's own code or in libpq's.
"""

from __future__ import annotations

import argparse
from typing import Any

from bench.drivers import DRIVERS
from bench.figures import Table, median, number, percent, spread
from bench.fleet import add_driver_options, environment_of, opening
from bench.process import DriverError, DriverProcess
from bench.results import add_output_options, note, publish
from bench.server import Target, add_server_options, open_target

POOLS = ("holisticpool", "holisticpool-wheel", "asyncpg", "psycopg")
ROUNDS = 9
MS_PER_SECOND = 1_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_driver_options(parser, drivers=POOLS, loops=("asyncio",))
    group = parser.add_argument_group("measurement")
    group.add_argument("--rounds", type=int, default=ROUNDS, help=f"processes per driver (default: {ROUNDS})")
    add_server_options(parser)
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the table, writes the raw figures; 0, or 1 where no driver could be measured."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    with open_target(options) as target:
        for number_of_round in range(options.rounds):
            note(f"round {number_of_round + 1}/{options.rounds}")
            for loop in options.loops:
                for driver in options.drivers:
                    try:
                        measured = _measure(driver, loop, options, target)
                    except DriverError as error:
                        note(f"without {driver} on {loop}: {error}")
                        continue
                    row = rows.setdefault((driver, loop), {"driver": driver, "loop": loop, "rounds": []})
                    row["rounds"].append(measured)
        server = target.description
    publish("startup", options, server, {"rows": list(rows.values())}, tables)
    return 0 if rows else 1


def _measure(driver: str, loop: str, options: argparse.Namespace, target: Target) -> dict[str, float]:
    measured: dict[str, float] = {}
    for name, size in (("first_row_seconds", 1), ("all_open_seconds", options.pool_size)):
        with DriverProcess(loop, environment=environment_of(driver)) as process:
            process.ask("compile", driver=driver)
            answer = process.ask("first_row", **opening(options, driver, target) | {"size": size})
        measured |= {name: answer["first_row_seconds"], "import_seconds": answer["import_seconds"]}
    return measured


def tables(document: dict[str, Any]) -> list[Table]:
    """A line per driver: medians in milliseconds."""
    lines = []
    for row in document["rows"]:
        imports, firsts, opens = (
            [sample[name] * MS_PER_SECOND for sample in row["rounds"]]
            for name in ("import_seconds", "first_row_seconds", "all_open_seconds")
        )
        lines.append(
            (
                f"{DRIVERS[row['driver']].title}, {row['loop']}",
                number(median(imports), 1),
                percent(spread(imports)),
                number(median(firsts), 1),
                percent(spread(firsts)),
                number(median(opens), 1),
            )
        )
    connections = document["options"]["pool_size"]
    head = (
        "pool",
        "import, ms",
        "spread",
        "to first row, 1 connection",
        "spread",
        f"to first row, {connections} connections",
    )
    return [Table(head, lines, title="Start of a process")]
