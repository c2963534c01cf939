"""How much of anything a repeated piece of work leaves behind: Python objects, allocated blocks, C memory."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import holisticpool


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
                 "keepcost")]  # fmt: skip


def _mallinfo2() -> Callable[[], _Mallinfo2] | None:
    """The C library's own count of what malloc() has given out, or None where it does not tell.

    It counts what the cache of each thread keeps as given out, which grows for long where several threads take
    turns. So the figure is of use only without those caches, as ./dev test runs the suite.
    """
    if "glibc.malloc.tcache_count=0" not in os.environ.get("GLIBC_TUNABLES", ""):
        return None
    try:
        function = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return None
    function.restype = _Mallinfo2
    return cast("Callable[[], _Mallinfo2]", function)


# Looked up once: a look-up makes classes, which are garbage for the collector and would count as part of the work.
_mallinfo = _mallinfo2()


def _bytes_in_use() -> int:
    if _mallinfo is None:
        return 0
    info = _mallinfo()
    return int(info.uordblks + info.hblkhd)


def settle() -> None:
    """Bring the interpreter to where two measurements can be compared."""
    # The cache of attribute look-ups keeps each name that was looked up, by its address, and None where it keeps none.
    getattr(sys, "_clear_internal_caches", sys._clear_type_cache)()
    gc.collect()


def _measure() -> dict[str, int]:
    settle()
    figures = {
        "gc objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "malloc bytes": _bytes_in_use(),
    }
    if hasattr(sys, "gettotalrefcount"):
        figures["references"] = sys.gettotalrefcount()
    return figures


# What may remain for each round without being a leak of the round: less than the smallest thing there is. With few
# rounds what happens once now and then would count: so much may remain of all rounds together.
_TOLERATED = {"gc objects": 0.2, "blocks": 0.4, "malloc bytes": 12.0, "references": 0.4}
_TOLERATED_OF_ALL = {"gc objects": 1, "blocks": 4, "malloc bytes": 256, "references": 4}

# statement_cache_size of a pool whose work has values refused. Such a value has its statement described anew, once a
# second at most, and the session keeps what it had prepared until its cache is full. A full one grows no more, so
# that the time which the rounds take does not count.
SOON_FULL = 5

_ATTEMPTS = 10
_WARM_UP = 10


async def _quiet(executor: ThreadPoolExecutor) -> ThreadPoolExecutor:
    """Wait for what the work has left under way, which would be counted otherwise if the machine is busy.

    Those are tasks (the request that cancels a statement, say), what they leave to the loop, generators that the loop
    closes once they are collected, and the threads of `executor`, which come to rest some time after their answer is
    there. Returns the executor that the loop has next.
    """
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0)
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
    executor.shutdown()
    return _new_executor()


def _new_executor() -> ThreadPoolExecutor:
    executor = ThreadPoolExecutor()
    asyncio.get_running_loop().set_default_executor(executor)
    return executor


async def growth(work: Callable[[], Awaitable[object]], rounds: int) -> dict[str, float]:
    """What `work` leaves behind for each round; empty where that is nothing.

    Caches fill and buffers grow in the first attempts; what leaks grows in every one. So the least growth of several
    attempts counts.
    """
    executor = _new_executor()
    for _ in range(rounds + _WARM_UP):
        await work()
    least: dict[str, float] = {}
    for attempt in range(_ATTEMPTS):
        executor = await _quiet(executor)
        before = _measure()
        for _ in range(rounds):
            await work()
        executor = await _quiet(executor)
        after = _measure()
        for name, value in after.items():
            grown = (value - before[name]) / rounds
            least[name] = grown if attempt == 0 else min(least[name], grown)
        leaked = {
            name: grown
            for name, grown in least.items()
            if grown > _TOLERATED[name] and grown * rounds > _TOLERATED_OF_ALL[name]
        }
        if not leaked:
            return {}
    return leaked


async def growth_on_a_pool(
    dsn: str, work: Callable[[holisticpool.Pool], Awaitable[object]], rounds: int
) -> dict[str, float]:
    """What `work` leaves behind for each round on one connection, which caches few statements and is not replaced."""
    async with holisticpool.create_pool(
        dsn, min_size=1, max_size=1, max_queries=10**9, statement_cache_size=20
    ) as pool:

        async def one_round() -> None:
            await work(pool)
            await asyncio.sleep(0)

        return await growth(one_round, rounds)
