"""The drivers of one run, each open in a process of its own, and the options that choose them."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.drivers import DRIVERS
from bench.process import LOOPS, DriverError, DriverProcess
from bench.quota import CpuQuota
from bench.results import note
from bench.server import Target

POOL_SIZE = 8
HALF_CORE = 0.5
OURS = "holisticpool"
# A pool of each driver, ours in each of its ways.
POOLS = ("holisticpool", "holisticpool-exclusive", "holisticpool-wheel", "asyncpg", "asyncpg-bare", "psycopg")


@dataclass(frozen=True)
class Contestant:
    """One driver on one loop, connected and waiting for its turn."""

    driver: str
    loop: str
    process: DriverProcess
    libpq: int | None


def chosen(allowed: Sequence[str], text: str) -> list[str]:
    """A comma-separated option value as a list, for argparse's `type`. Raises ArgumentTypeError for a stranger."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in allowed:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(allowed)}")
    return names


def add_driver_options(
    parser: argparse.ArgumentParser, *, drivers: Sequence[str] = tuple(DRIVERS), loops: Sequence[str] = LOOPS
) -> None:
    """The options that open_fleet() reads; `drivers` and `loops` are the defaults, out of all there are."""
    group = parser.add_argument_group("drivers")
    group.add_argument(
        "--drivers",
        type=lambda text: chosen(tuple(DRIVERS), text),
        default=list(drivers),
        metavar="A,B",
        help=f"of {', '.join(DRIVERS)} (default: {', '.join(drivers)})",
    )
    group.add_argument(
        "--loops",
        type=lambda text: chosen(LOOPS, text),
        default=list(loops),
        metavar="A,B",
        help=f"of {', '.join(LOOPS)} (default: {', '.join(loops)})",
    )
    group.add_argument("--pool-size", type=int, default=POOL_SIZE, metavar="N", help="connections (default: 8)")
    group.add_argument(
        "--pool",
        type=keyword,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a keyword for create_pool() of every holisticpool driver, e.g. pipeline=16; can be repeated",
    )


def add_round_options(
    parser: argparse.ArgumentParser, *, rounds: int, seconds: float, what: str = "a round lasts"
) -> argparse._ArgumentGroup:
    """How often each driver has its turn, and for how long; the group of them, for more of what is measured."""
    group = parser.add_argument_group("measurement")
    group.add_argument("--rounds", type=int, default=rounds, help=f"of each driver (default: {rounds})")
    group.add_argument("--seconds", type=float, default=seconds, help=f"{what} (default: {seconds})")
    return group


def keyword(text: str) -> tuple[str, Any]:
    """`NAME=VALUE` as a pair, for argparse's `type`; a value that is no JSON is text."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def opening(options: argparse.Namespace, driver: str, target: Target) -> dict[str, Any]:
    """The arguments of the command `open` for one driver."""
    keywords = dict(options.pool) if DRIVERS[driver].module == OURS else {}
    return {"driver": driver, "dsn": target.dsn, "size": options.pool_size, "keywords": keywords}


def environment_of(driver: str) -> dict[str, str]:
    """What its process needs in the environment. Raises DriverError where a build is asked for that is not there."""
    variable = DRIVERS[driver].build
    if variable is None:
        return {}
    directory = os.environ.get(variable)
    if not directory:
        raise DriverError(f"{variable} does not name the directory of such a build; ./dev bench makes one")
    return {"PYTHONPATH": os.pathsep.join([directory, os.environ.get("PYTHONPATH", "")])}


@contextlib.contextmanager
def open_fleet(
    options: argparse.Namespace, target: Target, *, workloads: Sequence[str], half_core: bool = False
) -> Iterator[list[Contestant]]:
    """Every chosen driver on every chosen loop, connected, its answers to `workloads` verified.

    One that is not installed, or that fails here, is named on stderr and left out. With `half_core` each process runs
    under a quota of its own, so that none pays for what another has used up.
    """
    with contextlib.ExitStack() as stack:
        contestants = []
        for loop in options.loops:
            for driver in options.drivers:
                quota = stack.enter_context(CpuQuota(HALF_CORE)) if half_core else None
                try:
                    environment = environment_of(driver)
                    process = stack.enter_context(DriverProcess(loop, quota=quota, environment=environment))
                    opened = process.ask("open", **opening(options, driver, target))
                    for workload in workloads:
                        process.ask("verify", workload=workload)
                except DriverError as error:
                    note(f"without {driver} on {loop}: {error}")
                    continue
                contestants.append(Contestant(driver, loop, process, opened["libpq"]))
        yield contestants


def rotated(contestants: Sequence[Contestant], by: int) -> list[Contestant]:
    """The same in an order that starts elsewhere, so that none always runs behind the same neighbour."""
    if not contestants:
        return []
    start = by % len(contestants)
    return [*contestants[start:], *contestants[:start]]
