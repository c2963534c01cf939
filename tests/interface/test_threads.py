"""run_in_thread(): a blocking call beside the loop, whatever becomes of the loop or of who waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from holisticpool.threads import run_in_thread


class Failed(BaseException):
    """Raised by calls of these tests; no Exception."""


def test_returns_what_the_call_returns_from_another_thread() -> None:
    assert asyncio.run(run_in_thread(threading.get_ident)) != threading.get_ident()


def test_raises_what_the_call_raises() -> None:
    def fail() -> None:
        raise Failed

    with pytest.raises(Failed):
        asyncio.run(run_in_thread(fail))


def test_loop_goes_on_meanwhile() -> None:
    async def main() -> bool:
        turned = threading.Event()
        asyncio.get_running_loop().call_soon(turned.set)
        return await run_in_thread(lambda: turned.wait(60))

    assert asyncio.run(main())


def blocking() -> tuple[Callable[[], None], threading.Event, threading.Event]:
    """A call that waits, an event for having begun, and the one that it waits for."""
    begun, free = threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        assert free.wait(60)

    return call, begun, free


def threads_beside() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("holisticpool")]


def test_cancelling_ends_the_wait_and_lets_the_call_go_on() -> None:
    call, begun, free = blocking()

    async def main() -> None:
        waiting = asyncio.create_task(run_in_thread(call))
        await asyncio.get_running_loop().run_in_executor(None, begun.wait, 60)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        (thread,) = threads_beside()
        free.set()
        await asyncio.get_running_loop().run_in_executor(None, thread.join, 60)
        # What it hands over now is for nobody, and no error of the loop's.
        await asyncio.sleep(0)

    asyncio.run(main())
    assert threads_beside() == []


def test_loop_may_be_closed_meanwhile() -> None:
    call, begun, free = blocking()
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(run_in_thread(call))
    while not begun.is_set():
        loop.run_until_complete(asyncio.sleep(0))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(waiting)
    loop.close()
    (thread,) = threads_beside()
    free.set()
    thread.join(60)
    assert not thread.is_alive()
