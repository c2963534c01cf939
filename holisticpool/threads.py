"""A call that may block, in a thread of its own. For what happens once: many calls are the loop's executor's work.

asyncio's executor has to be imported and made first, and its threads stay: a millisecond, more than the rest of what
opening a pool takes of Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ("run_in_thread",)

_T = TypeVar("_T")


async def run_in_thread(function: Callable[[], _T]) -> _T:
    """Calls it in a thread, and returns or raises what it does. Cancelling ends the wait and not the call."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_T] = loop.create_future()

    def settle(settled: Callable[[Any], None], outcome: object) -> None:
        if not answer.done():
            settled(outcome)

    def run() -> None:
        settled: Callable[[Any], None]
        outcome: object
        try:
            settled, outcome = answer.set_result, function()
        except BaseException as error:
            settled, outcome = answer.set_exception, error
        # The loop may be closed meanwhile: nobody waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, settled, outcome)

    threading.Thread(target=run, name="holisticpool-targets").start()
    return await answer
