"""The command line: `python -m bench COMMAND`; `--help` after a command shows its options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import acquire, bulk, compare, fastapi_cost, instructions, latency, memory, openloop, render, startup, table
from bench.quota import QuotaUnavailableError
from bench.results import read, show

INTERRUPTED = 130
"""128 and SIGINT, as shells count."""
COMMANDS = {
    "compare": compare,
    "instructions": instructions,
    "acquire": acquire,
    "memory": memory,
    "startup": startup,
    "fastapi": fastapi_cost,
    "openloop": openloop,
    "latency": latency,
    "bulk": bulk,
    "table": table,
    "render": render,
}
REPORTED = {name: module for name, module in COMMANDS.items() if hasattr(module, "tables")}


def main() -> int:
    """Runs one command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures holisticpool beside its peers.")
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").partition(": ")[2].partition("\n")[0]
        command = subparsers.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    reporting = subparsers.add_parser("report", help="the tables of an earlier run, from its raw figures")
    reporting.add_argument("file", type=Path)
    reporting.add_argument("--markdown", action="store_true", help="as Markdown")
    reporting.set_defaults(run=_report)
    options = parser.parse_args()
    try:
        status: int = options.run(options)
    except QuotaUnavailableError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _report(options: argparse.Namespace) -> int:
    document = read(options.file)
    show(document, REPORTED[document["kind"]].tables(document), markdown=options.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
