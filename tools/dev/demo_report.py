"""What the demo prints: one table of both ways, and each success criterion with its measured value.

Pure: figures in, text out. Used by demo.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from http_load import LoadResult

# The bars, from the documented criteria.
MAX_BURST_SECONDS = 10.0
MIN_REUSE = 0.9
MIN_FASTER = 0.15  # part of the response time saved
MAX_IDLE_ACQUIRE = 0.0002  # s at p99: "far below 1 ms"
MAX_MEMORY_GROWTH = 0.05  # part of the resident size after as much load again
COMMAND_TIMEOUT = 1.0  # s, what pool_checks.py sets
TIMEOUT_TOLERANCE = 0.5  # s, by which the caller may learn of it late on a busy machine


@dataclass(frozen=True)
class BackendFigures:
    """What was measured of the service with one way to get connections."""

    burst: LoadResult
    few: LoadResult
    many: LoadResult
    peak_sessions: int  # as the server saw them
    metrics: dict[str, Any]
    health: dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """One criterion."""

    promise: str
    measured: str
    holds: bool

    def __str__(self) -> str:
        return f"  {'pass' if self.holds else 'FAIL'}  {self.promise}: {self.measured}"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms" if seconds == seconds else "-"


Row = tuple[str, Callable[[BackendFigures], str]]


def table(per_request: BackendFigures, pooled: BackendFigures) -> str:
    """Both ways side by side."""
    rows: list[Row] = [
        ("20 requests at once, all answered in", lambda f: milliseconds(f.burst.seconds)),
        ("  failed", lambda f: f"{f.burst.failed:,}"),
        *_load_rows("10 users", lambda f: f.few),
        *_load_rows("50 users", lambda f: f.many),
        ("connections opened", lambda f: f"{f.metrics['connections_opened']:,}"),
        ("most sessions on the server", lambda f: str(f.peak_sessions)),
        ("leases that reused a connection", _reuse),
        ("pool", _status),
    ]
    lines = [("", "per request", "holisticpool")]
    lines += [(name, show(per_request), show(pooled)) for name, show in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    text = [f"  {line[0]:<{widths[0]}}  {line[1]:>{widths[1]}}  {line[2]:>{widths[2]}}" for line in lines]
    text.insert(1, "  " + "-" * (sum(widths) + 4))
    return "\n".join(text)


def _load_rows(users: str, load: Callable[[BackendFigures], LoadResult]) -> list[Row]:
    return [
        (f"{users}, good answers a second", lambda f: f"{load(f).throughput:,.0f}"),
        ("  p50", lambda f: milliseconds(load(f).percentile(50))),
        ("  p95", lambda f: milliseconds(load(f).percentile(95))),
        ("  p99", lambda f: milliseconds(load(f).percentile(99))),
        ("  failed", lambda f: f"{load(f).failed:,}"),
    ]


def _reuse(figures: BackendFigures) -> str:
    ratio = figures.metrics.get("reuse_ratio")
    return "none" if ratio is None else f"{ratio:.2%}"


def _status(figures: BackendFigures) -> str:
    pool = figures.health["database"]
    if "max_size" not in pool:
        return "no pool"
    return f"{pool['status']}, {pool['size']} of {pool['max_size']}, {pool['idle_connections']} idle"


def criteria(
    per_request: BackendFigures, pooled: BackendFigures, memory: tuple[int, int], checks: dict[str, Any]
) -> list[Verdict]:
    """Every promise, in the order of the documentation."""
    return [
        *_connection_verdicts(pooled),
        _checked(
            "a lease while a connection is idle: far below 1 ms, no round trip", checks, "acquire_idle", _idle_acquire
        ),
        *_load_verdicts(pooled),
        _memory_verdict(*memory),
        _faster_verdict(per_request, pooled),
        _checked(
            "a hanging query ends at command_timeout, on the server too, and the connection serves again",
            checks,
            "hanging_query",
            _hanging_query,
        ),
        _checked("replacement after max_queries is unnoticed", checks, "replaced_after_queries", _after_queries),
        _checked("replacement after the idle time is unnoticed", checks, "replaced_after_idling", _after_idling),
    ]


def _connection_verdicts(pooled: BackendFigures) -> list[Verdict]:
    max_size = pooled.health["database"]["max_size"]
    reuse = pooled.metrics["reuse_ratio"]
    peak = pooled.peak_sessions
    return [
        Verdict(f"never more than max_size={max_size} server connections", f"{peak} at most", 0 < peak <= max_size),
        Verdict(f"more than {MIN_REUSE:.0%} of acquisitions reuse a connection", f"{reuse:.2%}", reuse > MIN_REUSE),
    ]


def _load_verdicts(pooled: BackendFigures) -> list[Verdict]:
    burst, many = pooled.burst, pooled.many
    return [
        Verdict(
            f"20 requests at once all succeed in under {MAX_BURST_SECONDS:.0f} s",
            f"{burst.ok} in {milliseconds(burst.seconds)}",
            burst.ok == 20 and burst.failed == 0 and burst.seconds < MAX_BURST_SECONDS,
        ),
        Verdict("50 users are served", f"{many.ok:,} answers, {many.failed} failures", many.ok > 0 and not many.failed),
    ]


def _memory_verdict(before: int, after: int) -> Verdict:
    growth = after / before - 1
    return Verdict(
        f"memory stays flat (within {MAX_MEMORY_GROWTH:.0%} under the same load again)",
        f"{before / 2**20:.1f} -> {after / 2**20:.1f} MiB ({growth:+.1%})",
        growth <= MAX_MEMORY_GROWTH,
    )


def _faster_verdict(per_request: BackendFigures, pooled: BackendFigures) -> Verdict:
    few = 1 - pooled.few.percentile(50) / per_request.few.percentile(50)
    many = 1 - pooled.many.percentile(50) / per_request.many.percentile(50)
    return Verdict(
        f"responses at least {MIN_FASTER:.0%} faster than with a connection per request",
        f"median {few:.0%} shorter at 10 users, {many:.0%} at 50",
        min(few, many) >= MIN_FASTER,
    )


Measured = dict[str, Any]


def _checked(promise: str, checks: dict[str, Any], name: str, judge: Callable[[Measured], tuple[str, bool]]) -> Verdict:
    """The verdict over one of pool_checks.py's measurements, or over its absence."""
    measured = checks.get(name, {"error": checks.get("failure", "not measured")})
    if "error" in measured:
        return Verdict(promise, f"could not be measured: {measured['error']}", False)
    return Verdict(promise, *judge(measured))


def _idle_acquire(measured: Measured) -> tuple[str, bool]:
    trips = "a round trip" if measured["round_trip"] else "no round trip"
    text = f"p50 {measured['p50'] * 1e6:.1f} us, p99 {measured['p99'] * 1e6:.1f} us, {trips}"
    return text, measured["p99"] <= MAX_IDLE_ACQUIRE and not measured["round_trip"]


def _hanging_query(measured: Measured) -> tuple[str, bool]:
    text = ", ".join(
        [
            f"{'timed out' if measured['timed_out'] else 'did not time out'} after {measured['seconds']:.2f} s of "
            f"{COMMAND_TIMEOUT:.0f} s",
            "ended on the server" if measured["ended_on_server"] else "STILL RUNS on the server",
            "next query fine" if measured["usable_after"] else "next query FAILED",
        ]
    )
    on_time = measured["timed_out"] and measured["seconds"] <= COMMAND_TIMEOUT + TIMEOUT_TOLERANCE
    return text, on_time and measured["ended_on_server"] and measured["usable_after"]


def _after_queries(measured: Measured) -> tuple[str, bool]:
    queries, connections, errors = measured["queries"], measured["connections"], measured["errors"]
    limit = measured["max_queries"]
    text = f"{queries} queries, at most {limit} a connection: {connections} connections, {errors} errors"
    return text, errors == 0 and connections * limit >= queries


def _after_idling(measured: Measured) -> tuple[str, bool]:
    grown, shrunk, errors = measured["grown_to"], measured["shrunk_to"], measured["errors"]
    return f"{grown} connections -> {shrunk}, {errors} errors", grown > 1 and shrunk == 1 and errors == 0
