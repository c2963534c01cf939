"""Memory that does not suffice for one value costs that statement, never the event loop.

In a process of its own, whose address space is limited for the time of one statement.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import holisticpool

pytestmark = [
    pytest.mark.slow,  # a sanitizer reserves more address space than could be limited
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc"),
]

_SCRIPT = """
import asyncio, resource, sys
import holisticpool

MIB = 1024 * 1024
SIZE = 30 * MIB


def limit(headroom):
    if headroom is None:
        soft = resource.RLIM_INFINITY
    else:
        used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
        soft = used + headroom
    resource.setrlimit(resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))


async def main(dsn, way):
    # A new session for each statement: it has to prepare what the pool knows already.
    queries = 1 if way == "send to a new session" else 1000
    failures = 0
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, max_queries=queries) as pool:
        for headroom in range(20, 81, 10):
            text = f"SELECT octet_length($1::bytea) + {headroom}"
            if way == "receive":
                text = f"SELECT repeat('x', {SIZE} + $1::int)"
            argument = 0 if way == "receive" else bytes(SIZE)
            await pool.fetchval(text, -SIZE if way == "receive" else b"")
            limit(headroom * MIB)
            try:
                value = await pool.fetchval(text, argument)
                assert value == SIZE + headroom or (way == "receive" and len(value) == SIZE)
                value = None
            except MemoryError:
                failures += 1
            finally:
                limit(None)
            assert await pool.fetchval("SELECT 7") == 7
    assert failures > 0


asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("way", ["send", "send to a new session", "receive"])
def test_value_that_memory_does_not_suffice_for_fails_and_the_pool_goes_on(dsn: str, way: str) -> None:
    package = str(Path(holisticpool.__file__).resolve().parent.parent)
    script = f"import sys; sys.path.insert(0, {package!r})\n{_SCRIPT}"
    # A blocked loop would be seen here.
    command = [sys.executable, "-c", script, dsn, way]
    # glibc reserves address space for each thread's memory, and takes it when there is no other to be had.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/", env=environment)
    assert done.returncode == 0, done.stderr
