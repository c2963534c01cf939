"""Raw results on disk: one JSON file a run, with what is needed to judge and to repeat it."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench.server import ROOT

RESULTS = ROOT / "bench" / "results"
PACKAGES = ("holisticpool", "asyncpg", "psycopg", "psycopg-c", "psycopg-pool", "psqlpy", "uvloop", "fastapi")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """The options that write() reads."""
    group = parser.add_argument_group("output")
    group.add_argument("--output", type=Path, help=f"the JSON file to write (default: a new one in {RESULTS.name}/)")
    group.add_argument("--markdown", action="store_true", help="print tables as Markdown")


def write(kind: str, options: argparse.Namespace, server: str, data: dict[str, Any]) -> Path:
    """Writes one run's raw figures; returns the file's path."""
    now = datetime.now(timezone.utc)
    path: Path = options.output or RESULTS / f"{now:%Y%m%dT%H%M%SZ}-{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "kind": kind,
        "at": now.isoformat(timespec="seconds"),
        "environment": environment() | {"server": server},
        "options": _plain(options),
        **data,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def read(path: Path) -> dict[str, Any]:
    """A file that write() wrote."""
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


def headline(server: str) -> str:
    """One line for people about where the figures come from."""
    return f"{server}; CPython {platform.python_version()}; {os.cpu_count()} cores, shared with the server"


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
