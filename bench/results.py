"""Raw results on disk: one JSON file a run, with what is needed to judge and to repeat it."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench.figures import Table
from bench.server import ROOT

RESULTS = ROOT / "bench" / "results"
PACKAGES = ("holisticpool", "asyncpg", "psycopg", "psycopg-c", "psycopg-pool", "psqlpy", "uvloop", "fastapi")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """The options that publish() reads."""
    group = parser.add_argument_group("output")
    group.add_argument("--output", type=Path, help=f"the JSON file to write (default: a new one in {RESULTS.name}/)")
    group.add_argument("--markdown", action="store_true", help="print tables as Markdown")


def publish(
    kind: str,
    options: argparse.Namespace,
    server: str,
    data: dict[str, Any],
    tables: Callable[[dict[str, Any]], Sequence[Table]],
) -> None:
    """Writes one run's raw figures to a file and prints its tables."""
    now = datetime.now(timezone.utc)
    path: Path = options.output or RESULTS / f"{now:%Y%m%dT%H%M%SZ}-{kind}.json"
    document = {
        "kind": kind,
        "at": now.isoformat(timespec="seconds"),
        "environment": environment() | {"server": server},
        "options": _plain(options),
        **data,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    show(document, tables(document), markdown=options.markdown)
    note(f"\nraw figures: {path}")


def show(document: dict[str, Any], tables: Sequence[Table], *, markdown: bool) -> None:
    """Prints where the figures come from, and the tables."""
    print(headline(document))
    for table in tables:
        print(f"\n{table.markdown() if markdown else table.text()}")


def read(path: Path) -> dict[str, Any]:
    """A file that publish() wrote."""
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def environment() -> dict[str, Any]:
    """The machine and the versions, without anything that names the machine."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "commit": _commit(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def headline(document: dict[str, Any]) -> str:
    """One line for people about where the figures come from."""
    found = document["environment"]
    parts = [found["server"], f"CPython {found['python']}", f"{found['cores']} cores shared by server and client"]
    if document.get("libpq"):
        # Drivers of one package are in one process each, with the same libpq.
        versions = {
            driver.partition("-")[0]: version // 10_000
            for driver, version in document["libpq"].items()
            if driver != "holisticpool-wheel"
        }
        parts.append("libpq of " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    return "; ".join(parts)


def note(text: str) -> None:
    """Progress, on stderr so that the tables on stdout can be piped."""
    print(text, file=sys.stderr, flush=True)


def _plain(options: argparse.Namespace) -> dict[str, Any]:
    # A DSN may hold a password, and the output's path says nothing.
    hidden = {"dsn", "output", "run", "markdown", "pg_bin"}
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name not in hidden
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None
