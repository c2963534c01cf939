"""`python -m bench openloop`: slow statements in the mix, at a rate that does not wait for anybody.

A service gets its requests when they come, not when it is ready: queries start at fixed times, RATE a second, and a
query's latency counts from the time at which it should have started. One in a hundred is a statement of SLOW_MS on the
server; what is asked is what that does to the others.
"""

from __future__ import annotations

import argparse
from typing import Any

from bench.drivers import DRIVERS, REFERENCE
from bench.figures import Table, median, number, paired_ratio, percent, spread, times
from bench.fleet import POOLS, Contestant, add_driver_options, add_round_options, open_fleet, rotated
from bench.process import DriverError
from bench.results import add_output_options, note, publish
from bench.server import add_server_options, open_target
from bench.workloads import ROW

RATE = 5_000
SECONDS = 4.0
ROUNDS = 3
SLOW_FRACTION = 0.01
SLOW_MS = 50.0
US_PER_MS = 1_000
Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_driver_options(parser, drivers=POOLS, loops=("asyncio",))
    group = add_round_options(parser, rounds=ROUNDS, seconds=SECONDS)
    group.add_argument("--rate", type=int, default=RATE, help=f"queries a second (default: {RATE})")
    group.add_argument("--slow-ms", type=float, default=SLOW_MS, help=f"of a slow statement (default: {SLOW_MS:g})")
    group.add_argument(
        "--slow-fraction", type=float, default=SLOW_FRACTION, help=f"of all queries (default: {SLOW_FRACTION})"
    )
    add_server_options(parser)
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the table, writes the raw figures; 0, or 1 where no driver could be measured."""
    rows: dict[tuple[str, str], Row] = {}
    with open_target(options) as target, open_fleet(options, target, workloads=(ROW.name,)) as fleet:
        for number_of_round in range(options.rounds):
            note(f"round {number_of_round + 1}/{options.rounds}")
            for contestant in rotated(fleet, number_of_round):
                key = (contestant.driver, contestant.loop)
                row = rows.setdefault(key, {"driver": contestant.driver, "loop": contestant.loop, "rounds": []})
                row["rounds"].append(_measure(contestant, options))
        server = target.description
    publish("openloop", options, server, {"rows": list(rows.values())}, tables)
    return 0 if rows else 1


def tables(document: dict[str, Any]) -> list[Table]:
    """A line per driver: latencies of the fast statements, and of the slow ones."""
    options = document["options"]
    reference: list[Any] = next((row["rounds"] for row in document["rows"] if row["driver"] == REFERENCE), [])
    lines = []
    for row in document["rows"]:
        lines.append(
            (
                f"{DRIVERS[row['driver']].title}, {row['loop']}",
                *(_ms(row, name) for name in ("p50_us", "p99_us", "p999_us")),
                times(paired_ratio(_values(reference, "p99_us"), _values(row["rounds"], "p99_us"))),
                _ms(row, "slow_p50_us"),
                _ms(row, "slow_p99_us"),
                number(median(_measured(row["rounds"], "queries_per_second"))),
                percent(spread(_measured(row["rounds"], "p99_us"))),
            )
        )
    head = (
        "driver",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "p99 below asyncpg's",
        "slow p50 ms",
        "slow p99 ms",
        "done/s",
        "spread",
    )
    title = f"{options['rate']:,} queries/s, {options['slow_fraction']:.0%} of them of {options['slow_ms']:g} ms"
    return [Table(head, lines, title=f"{title}: latency of the others")]


def _values(rounds: list[Any], figure: str) -> list[float | None]:
    return [None if sample is None else sample[figure] for sample in rounds]


def _measured(rounds: list[Any], figure: str) -> list[float]:
    return [value for value in _values(rounds, figure) if value is not None]


def _ms(row: Row, figure: str) -> str:
    value = median(_measured(row["rounds"], figure))
    return number(value and value / US_PER_MS, 2)


def _measure(contestant: Contestant, options: argparse.Namespace) -> dict[str, Any] | None:
    try:
        return contestant.process.ask(
            "stream",
            rate=options.rate,
            seconds=options.seconds,
            slow_fraction=options.slow_fraction,
            slow_ms=options.slow_ms,
        )
    except DriverError as error:
        note(f"{contestant.driver}, {contestant.loop}: {error}")
        return None
