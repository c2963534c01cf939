"""`python -m bench latency`: a server that is a few milliseconds away, behind a proxy that delays each direction.

Round trips: a transaction of two statements, as a multiple of what a single query takes on a lease of the same driver.
Throughput: many tasks over few connections, where a connection without pipelining is idle for most of a round trip.
"""

from __future__ import annotations

import argparse
from typing import Any

from bench.chores import CHORES
from bench.drivers import DRIVERS, REFERENCE
from bench.figures import Table, median, number, paired_ratio, percent, spread, times
from bench.fleet import POOLS, Contestant, add_driver_options, add_round_options, open_fleet, rotated
from bench.process import DriverError
from bench.results import add_output_options, note, publish
from bench.server import add_server_options, open_target
from bench.workloads import ROW

OURS = "holisticpool"
WITH_CHORES = (OURS, "asyncpg")
ONE_WAY_MS = 2.5
TASKS = 200
ROUNDS = 5
SECONDS = 1.0
TRANSACTIONS = 20
Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_driver_options(parser, drivers=POOLS, loops=("asyncio",))
    group = add_round_options(parser, rounds=ROUNDS, seconds=SECONDS, what="of load in a round")
    group.add_argument("--tasks", type=int, default=TASKS, help=f"concurrent tasks (default: {TASKS})")
    add_server_options(parser)
    parser.set_defaults(delay_ms=ONE_WAY_MS)
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the tables, writes the raw figures; 0, or 1 where no driver could be measured."""
    rows: dict[str, Row] = {}
    with open_target(options) as target, open_fleet(options, target, workloads=(ROW.name,)) as fleet:
        for number_of_round in range(options.rounds):
            note(f"round {number_of_round + 1}/{options.rounds}")
            for contestant in rotated(fleet, number_of_round):
                row = rows.setdefault(contestant.driver, {"driver": contestant.driver, "load": [], "chores": {}})
                row["load"].append(_load(contestant, options))
                for chore in _chores_of(contestant.driver):
                    row["chores"].setdefault(chore, []).append(_chore(contestant, chore))
        server = target.description
    publish("latency", options, server, {"rows": list(rows.values())}, tables)
    return 0 if rows else 1


def tables(document: dict[str, Any]) -> list[Table]:
    """Throughput, and round trips of a transaction."""
    options = document["options"]
    rows = {row["driver"]: row for row in document["rows"]}
    reference = _rates(rows[REFERENCE]) if REFERENCE in rows else []
    connections, round_trip = options["pool_size"], 2 * options["delay_ms"]
    found = [
        Table(
            ("driver", "queries/s", "times asyncpg's", "per connection and round trip", "p99 ms", "spread"),
            [_load_line(row, reference, connections, round_trip) for row in rows.values()],
            title=f"{connections} connections, {round_trip:g} ms round trip, {options['tasks']} tasks, {ROW.title}",
        )
    ]
    lines = [
        (CHORES[chore].title, DRIVERS[driver].module, number(median(trips), 2), percent(spread(trips)))
        for chore in ("transaction", "piped_transaction")
        for driver, row in rows.items()
        if (trips := round_trips(row, chore))
    ]
    return [*found, Table(("what", "by", "round trips", "spread"), lines, title="Round trips", left=2)]


def round_trips(row: Row, chore: str) -> list[float]:
    """Of one transaction, in each round, by what a single query took in that round."""
    pairs = zip(row["chores"].get(chore, []), row["chores"].get("one_query", []), strict=False)
    return [seconds / query for seconds, query in pairs if seconds is not None and query]


def _rates(row: Row) -> list[float | None]:
    return [None if sample is None else sample["queries_per_second"] for sample in row["load"]]


def _load_line(row: Row, reference: list[float | None], connections: int, round_trip_ms: float) -> tuple[str, ...]:
    rates = [rate for rate in _rates(row) if rate is not None]
    middle = median(rates)
    p99 = median([sample["p99_us"] / 1_000 for sample in row["load"] if sample is not None])
    return (
        DRIVERS[row["driver"]].title,
        number(middle),
        times(paired_ratio(_rates(row), reference)),
        number(middle and middle * round_trip_ms / 1_000 / connections, 2),
        number(p99, 1),
        percent(spread(rates)),
    )


def _chores_of(driver: str) -> tuple[str, ...]:
    if driver not in WITH_CHORES:
        return ()
    return ("one_query", "transaction", "piped_transaction") if driver == OURS else ("one_query", "transaction")


def _load(contestant: Contestant, options: argparse.Namespace) -> dict[str, Any] | None:
    try:
        return contestant.process.ask("load", workload=ROW.name, tasks=options.tasks, seconds=options.seconds)
    except DriverError as error:
        note(f"{contestant.driver}, load: {error}")
        return None


def _chore(contestant: Contestant, chore: str) -> float | None:
    try:
        answer = contestant.process.ask("chore", name=chore, count=TRANSACTIONS, path="")
    except DriverError as error:
        note(f"{contestant.driver}, {chore}: {error}")
        return None
    return float(answer["seconds"]) / TRANSACTIONS
