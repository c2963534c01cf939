"""The pool's counters under the names of the documented interface.

The counters live in C; this only renames them, so that a counter that is new
there is one line here. Reading takes no lock and does no I/O.
"""

from __future__ import annotations

from typing import Any

from holisticpool import _core

_NO_LATENCY: dict[str, float] = {"count": 0, "mean": 0.0, "p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}

_NO_POOL: dict[str, Any] = {
    "pool_size": 0,
    "idle_connections": 0,
    "leased_connections": 0,
    "min_size": 0,
    "max_size": 0,
    "waiters": 0,
    "longest_lease": 0.0,
    "acquisitions": 0,
    "reuse_ratio": 0.0,
    "connection_wait_time": _NO_LATENCY,
    "acquire_timeouts": 0,
    "rejected": 0,
    "queries": 0,
    "query_duration": _NO_LATENCY,
    "query_timeouts": 0,
    "cancellations": 0,
    "errors_by_class": {},
    "connections_opened": 0,
    "connection_errors": 0,
    "recycled": {"max_queries": 0, "idle": 0, "lifetime": 0, "broken": 0},
    "resets": 0,
    "pipelined": 0,
    "resent": 0,
}


def metrics_of(stats: _core._Stats | None) -> dict[str, Any]:
    """The metrics that *stats* (None: no pool) stand for; a new dict each time.

    pool_size, idle_connections, leased_connections, waiters and longest_lease
    (seconds) are of now, all others count since the pool was opened.
    connection_wait_time and query_duration are dicts of count and mean, p50,
    p95, p99, max in seconds; reuse_ratio is the part of the acquisitions that
    got a connection that was open already.
    """
    if stats is None:
        return {name: dict(value) if isinstance(value, dict) else value for name, value in _NO_POOL.items()}
    acquisitions = stats["acquisitions"]
    return {
        "pool_size": stats["size"],
        "idle_connections": stats["idle"],
        "leased_connections": stats["leased"],
        "min_size": stats["min_size"],
        "max_size": stats["max_size"],
        "waiters": stats["waiters"],
        "longest_lease": stats["longest_lease"],
        "acquisitions": acquisitions,
        "reuse_ratio": stats["reused"] / acquisitions if acquisitions else 0.0,
        "connection_wait_time": dict(stats["wait"]),
        "acquire_timeouts": stats["acquire_timeouts"],
        "rejected": stats["rejected"],
        "queries": stats["queries"],
        "query_duration": dict(stats["query"]),
        "query_timeouts": stats["query_timeouts"],
        "cancellations": stats["cancellations"],
        "errors_by_class": dict(stats["errors_by_class"]),
        "connections_opened": stats["connects"],
        "connection_errors": stats["connection_errors"],
        "recycled": dict(stats["recycled"]),
        "resets": stats["resets"],
        "pipelined": stats["pipelined"],
        "resent": stats["resent"],
    }
