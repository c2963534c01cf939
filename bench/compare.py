"""`python -m bench compare`: throughput, CPU and latency of every driver, in one interleaved run.

Each cell (loop, workload, tasks) is measured in short rounds. A round goes through all cells, and within a cell through
all drivers, before the next round begins: whatever slows the machine for a while slows every driver alike, and ratios
are taken within a round.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.fleet import Contestant, add_driver_options, chosen, open_fleet, rotated
from bench.pgbench import Pgbench
from bench.process import DriverError
from bench.report import tables
from bench.results import add_output_options, note, publish
from bench.server import Target, add_server_options, open_target
from bench.workloads import FETCHES, WORKLOADS

__all__ = ["add_arguments", "run", "tables"]

TASKS = (1, 8, 20, 64, 200)
ROUNDS = 5
SECONDS = 0.4
PGBENCH_SECONDS = 1
"""pgbench counts whole seconds."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_driver_options(parser)
    group = parser.add_argument_group("measurement")
    group.add_argument(
        "--workloads",
        type=lambda text: chosen(tuple(WORKLOADS), text),
        default=list(FETCHES),
        metavar="A,B",
        help=f"of {', '.join(WORKLOADS)} (default: {', '.join(FETCHES)})",
    )
    group.add_argument(
        "--tasks",
        type=lambda text: [int(number) for number in text.split(",")],
        default=list(TASKS),
        metavar="1,8",
        help="concurrent tasks (default: 1,8,20,64,200)",
    )
    group.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each cell (default: {ROUNDS})")
    group.add_argument("--seconds", type=float, default=SECONDS, help=f"a round lasts (default: {SECONDS})")
    group.add_argument("--half-core", action="store_true", help="limit each client process to half a CPU core")
    group.add_argument("--no-pgbench", action="store_true", help="leave out the floor that pgbench sets")
    add_server_options(parser)
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the tables, writes the raw figures; 0, or 1 where no driver could be measured."""
    with (
        open_target(options) as target,
        open_fleet(options, target, workloads=options.workloads, half_core=options.half_core) as fleet,
    ):
        if not fleet:
            return 1
        rows = _Rows()
        floors = _Floors(options, target)
        for number in range(options.rounds):
            for loop in options.loops:
                contestants = [contestant for contestant in fleet if contestant.loop == loop]
                for workload in options.workloads:
                    for tasks in options.tasks:
                        note(f"round {number + 1}/{options.rounds}: {loop}, {workload}, {tasks} tasks")
                        for contestant in rotated(contestants, number):
                            rows.add(contestant, workload, tasks, options.seconds)
            floors.add_round()
        server = target.description + (", clients on half a core" if options.half_core else "")
        libpq = {contestant.driver: contestant.libpq for contestant in fleet if contestant.libpq is not None}
    publish("compare", options, server, {"libpq": libpq, "rows": rows.all, "floors": floors.all}, tables)
    return 0


class _Rows:
    """The rounds of each driver in each cell; None stands for a round that failed."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._index: dict[tuple[str, str, str, int], dict[str, Any]] = {}

    def add(self, contestant: Contestant, workload: str, tasks: int, seconds: float) -> None:
        key = (contestant.driver, contestant.loop, workload, tasks)
        if key not in self._index:
            self._index[key] = dict(zip(("driver", "loop", "workload", "tasks"), key, strict=True)) | {"rounds": []}
            self.all.append(self._index[key])
        try:
            sample: dict[str, Any] | None = contestant.process.ask(
                "load", workload=workload, tasks=tasks, seconds=seconds
            )
        except DriverError as error:
            note(f"{contestant.driver}, {contestant.loop}, {workload}, {tasks} tasks: {error}")
            sample = None
        self._index[key]["rounds"].append(sample)


class _Floors:
    """The rounds of pgbench, for as many clients as the pool lets work at once."""

    def __init__(self, options: argparse.Namespace, target: Target) -> None:
        self._pgbench = None if options.no_pgbench else Pgbench.find(target)
        self._target = target
        self._workloads: Sequence[str] = options.workloads
        self._clients = sorted({min(tasks, options.pool_size) for tasks in options.tasks})
        self.all: list[dict[str, Any]] = []
        if self._pgbench is None:
            return
        for workload in self._workloads:
            for clients in self._clients:
                for pipelined in (False, True):
                    title = self._pgbench.title(pipelined)
                    self.all.append(
                        {
                            "title": title,
                            "workload": workload,
                            "clients": clients,
                            "pipelined": pipelined,
                            "rounds": [],
                        }
                    )

    def add_round(self) -> None:
        if self._pgbench is None:
            return
        note("pgbench")
        for floor in self.all:
            measured = self._pgbench.run(
                self._target,
                WORKLOADS[floor["workload"]],
                floor["clients"],
                PGBENCH_SECONDS,
                pipelined=floor["pipelined"],
            )
            floor["rounds"].append(asdict(measured))
