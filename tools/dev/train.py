"""What a build with HOLISTICPOOL_PROFILE=generate runs for gcc to count: train.py, with that build on PYTHONPATH.

The bench's own statements, a fixed number of each, in the ways in which services send them: from the pool with and
without pipelining, over leases, by several tasks and by one; then rows in bulk, COPY and a cursor. Each driver has a
process of its own, which writes its counts when it ends.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from bench.bulk import prepare  # noqa: E402
from bench.fleet import add_driver_options, environment_of, opening  # noqa: E402
from bench.process import DriverProcess  # noqa: E402
from bench.server import Target, add_server_options, open_target  # noqa: E402
from bench.workloads import WORKLOADS  # noqa: E402

DRIVERS = ("holisticpool", "holisticpool-exclusive", "holisticpool-lease")
TASKS = (1, 20, 64)
QUERIES = 4_000
"""Of each statement with one row, by each driver and number of tasks; of one with many rows, so many rows by 10."""
BULK_ROWS = 10_000
CHORES = ("executemany", "fetchmany", "copy_records", "copy_in", "copy_out", "prepared", "cursor")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_driver_options(parser, drivers=DRIVERS, loops=("asyncio",))
    add_server_options(parser)
    options = parser.parse_args()
    with open_target(options) as target:
        for driver in options.drivers:
            train(driver, options, target)
    return 0


def train(driver: str, options: argparse.Namespace, target: Target) -> None:
    """Raises DriverError."""
    with (
        DriverProcess("asyncio", environment=environment_of(driver)) as process,
        tempfile.TemporaryDirectory() as files,
    ):
        path = prepare(target, Path(files), BULK_ROWS)
        process.ask("open", **opening(options, driver, target))
        for workload in WORKLOADS.values():
            process.ask("verify", workload=workload.name)
            queries = QUERIES if workload.rows == 1 else QUERIES * 10 // workload.rows
            for tasks in TASKS:
                process.ask("count", workload=workload.name, tasks=tasks, each=max(queries // tasks, 1))
        for chore in CHORES:
            process.ask("chore", name=chore, count=BULK_ROWS, path=str(path))
        process.ask("close")


if __name__ == "__main__":
    sys.exit(main())
