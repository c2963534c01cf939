"""`python -m bench table`: everything, in one go: raw figures, the whole table, plots, and what README and docs/ show.

Each part is one of the other commands with options of its own, and leaves its raw figures in a file of its own. With
--only some parts are measured anew and the others stay as they are. --quick is a rehearsal of a few minutes, whose
figures are good for nothing but to see that every part works; it writes elsewhere and leaves README and docs/ alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from bench import acquire, bulk, compare, fastapi_cost, instructions, latency, memory, openloop, startup
from bench.fleet import chosen
from bench.quota import QuotaUnavailableError
from bench.render import WHOLE, render
from bench.results import RESULTS, headline, note, read
from bench.summary import PARTS, summary

REHEARSAL = RESULTS / "quick"
COMPARED = (
    "holisticpool,holisticpool-exclusive,holisticpool-wheel,holisticpool-lease,"
    "asyncpg,asyncpg-lease,asyncpg-bare,psycopg,psqlpy"
)

Step = tuple[ModuleType, str, str]
STEPS: dict[str, Step] = {
    "instructions": (
        instructions,
        "--drivers holisticpool,holisticpool-exclusive,holisticpool-wheel,asyncpg,asyncpg-bare",
        "--drivers holisticpool,holisticpool-wheel,asyncpg --workloads row",
    ),
    "throughput": (
        compare,
        f"--drivers {COMPARED} --workloads row --tasks 1,8,20,64,200 --rounds 5 --seconds 0.4",
        f"--drivers {COMPARED} --workloads row --tasks 1,20 --rounds 1 --seconds 0.2 --loops asyncio",
    ),
    "half-core": (
        compare,
        "--half-core --no-pgbench --loops asyncio --workloads row --tasks 64 --rounds 3 --seconds 2"
        " --drivers holisticpool,holisticpool-exclusive,holisticpool-wheel,asyncpg,asyncpg-bare",
        "--half-core --no-pgbench --loops asyncio --workloads row --tasks 64 --rounds 1 --seconds 0.5"
        " --drivers holisticpool,asyncpg",
    ),
    "acquire": (acquire, "--rounds 5", "--rounds 1 --seconds 0.1 --loops asyncio"),
    "fastapi": (
        fastapi_cost,
        # A difference of two figures, of which each has the noise of the whole request.
        "--loops asyncio --rounds 15 --seconds 0.8 --drivers holisticpool,holisticpool-exclusive,holisticpool-wheel,"
        "asyncpg,asyncpg-noreset,asyncpg-bare,psycopg",
        "--loops asyncio --rounds 1 --seconds 0.2 --drivers holisticpool,asyncpg",
    ),
    "openloop": (openloop, "", "--rounds 1 --seconds 1 --drivers holisticpool,asyncpg"),
    "latency": (latency, "", "--rounds 1 --seconds 0.4 --drivers holisticpool,asyncpg"),
    "bulk": (bulk, "", "--rounds 1 --copy-rows 50000 --cursor-rows 10000 --queries 500"),
    "memory": (memory, "", "--drivers holisticpool,asyncpg --queries 25620"),
    "startup": (startup, "", "--rounds 2"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="a rehearsal of every part")
    parser.add_argument(
        "--only",
        type=lambda text: chosen(tuple(STEPS), text),
        default=list(STEPS),
        metavar="A,B",
        help=f"of {', '.join(STEPS)} (default: all)",
    )
    parser.add_argument("--pg-bin", type=Path, help="the directory of PostgreSQL's programs for the throw-away server")
    parser.add_argument(
        "--directory",
        type=Path,
        help=f"for raw figures, table and plots (default: results/{WHOLE.name}, with --quick results/{REHEARSAL.name})",
    )


def run(options: argparse.Namespace) -> int:
    """Measures the parts, prints the table, writes everything; 1 where a part failed."""
    directory: Path = options.directory or (REHEARSAL if options.quick else WHOLE)
    directory.mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    for part in options.only:
        note(f"\n==== {part}")
        began = time.monotonic()
        failure = _measure(part, options, directory / f"{part}.json")
        if failure is not None:
            failures[part] = failure
            note(f"{part} failed: {failure}")
        note(f"==== {part}: {time.monotonic() - began:.0f} s")
    documents = {
        part: read(directory / f"{part}.json")
        for part in PARTS
        if part not in failures and (directory / f"{part}.json").exists()
    }
    if not documents:
        return 1
    table = summary(documents, failures)
    print(f"\n{headline(next(iter(documents.values())))}\n\n{table.text()}")
    render(directory, documents, failures, publish=directory == WHOLE)
    return 1 if failures else 0


def _measure(part: str, options: argparse.Namespace, output: Path) -> str | None:
    """Runs one part; why it failed, or None."""
    module, whole, quick = STEPS[part]
    parser = argparse.ArgumentParser(prog=f"bench {part}")
    module.add_arguments(parser)
    words = [*(quick if options.quick else whole).split(), "--output", str(output)]
    if options.pg_bin is not None:
        words += ["--pg-bin", str(options.pg_bin)]
    arguments: Any = parser.parse_args(words)
    # What is there is of an earlier run.
    output.unlink(missing_ok=True)
    try:
        status: int = module.run(arguments)
    except QuotaUnavailableError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if status != 0 or not output.exists():
        return f"it ended with status {status}"
    return None
