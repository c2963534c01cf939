"""The data of a COPY on its way between the user and the server: what copy.py hands over to.

A COPY is driven by the task that called for it; code of the user (a source, a
writer, records) runs in that task, files in the loop's executor. Memory is
bounded: the next piece is asked for when the socket has taken the one before, and
rows are read off the socket as fast as the writer takes them.

Whatever goes wrong on the way (the source or the writer raises, the task is
cancelled, the time is over, the server refuses or is gone) ends the COPY as a
whole: nothing of the data stays, and the connection is free again.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Final

from holisticpool import _core
from holisticpool.exceptions import InternalClientError

# Bytes: what is asked of a file at once and what it gets at once, and what is handed to libpq at once. In between
# the loop has its turn.
READ_BYTES: Final = 512 * 1024
WRITE_BYTES: Final = 256 * 1024
SLICE_BYTES: Final = 256 * 1024

Write = Callable[[bytes], Awaitable[object]]
Feed = Callable[[_core.Copy, "Interruption"], Awaitable[None]]


class Interruption:
    """Gets the task out of code of the user, where it waits there while the COPY has failed.

    Entered around that code; called by the loop on failure. As asyncio.timeout(),
    which Python 3.10 does not have, it cancels the task and takes that back.
    """

    def __init__(self, copy: _core.Copy) -> None:
        self._copy = copy
        self._task: Any = asyncio.current_task()
        self._entered = False
        self._fired = False
        self._cancelling = 0

    def __call__(self) -> None:
        if self._entered and not self._fired and self._task is not None:
            self._fired = True
            self._task.cancel()

    def __enter__(self) -> None:
        self._copy._check()
        if hasattr(self._task, "cancelling"):
            self._cancelling = self._task.cancelling()
        self._entered = True

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._entered = False
        if not self._fired:
            return
        if self._is_cancelled_besides():
            return
        if exc_type is None or issubclass(exc_type, asyncio.CancelledError):
            self._copy._check()

    def _is_cancelled_besides(self) -> bool:
        """Has somebody else cancelled the task, too? Takes our cancellation back."""
        if hasattr(self._task, "uncancel"):
            return bool(self._task.uncancel() > self._cancelling)
        return bool(self._task._must_cancel)  # all there is to see before 3.11


async def copy_in(copy: _core.Copy, feed: Feed) -> str:
    """Run a COPY FROM STDIN with the data that *feed* hands over; its status."""
    interruption = Interruption(copy)
    try:
        copy._start(interruption)
        await _until_ready(copy)
        await feed(copy, interruption)
        await _until_ready(copy)
        copy._end()
        await _until_ready(copy)
        return _status(copy)
    except BaseException:
        copy._abandon()
        raise


async def copy_to_file(copy: _core.Copy, file: File) -> str:
    """Run a COPY TO STDOUT into a file; its status."""
    copy._read_at_least(WRITE_BYTES)  # each call takes a trip to a thread
    return await copy_out(copy, file.write)


async def copy_out(copy: _core.Copy, write: Write) -> str:
    """Run a COPY TO STDOUT, all of it through *write*; its status."""
    interruption = Interruption(copy)
    try:
        copy._start(interruption)
        while (rows := copy._read()) is not None:
            if rows:
                with interruption:
                    await write(rows)
            else:
                await _until_ready(copy)
        return _status(copy)
    except BaseException:
        copy._abandon()
        raise


def _status(copy: _core.Copy) -> str:
    status = copy._result()
    if status is None:
        raise InternalClientError("the COPY is not over")
    return status


async def _until_ready(copy: _core.Copy) -> None:
    waiter = copy._ready()
    if waiter is not None:
        await waiter


async def _next_turn(copy: _core.Copy) -> None:
    """Until more may be handed over, and not before the loop has done something else."""
    waiter = copy._ready()
    await (asyncio.sleep(0) if waiter is None else waiter)


# ---- what is fed ----


def feed_buffer(data: Any) -> Feed:
    """*data* is bytes-like. Raises TypeError where it is not."""
    view = _bytes_of(data, "source")

    async def feed(copy: _core.Copy, interruption: Interruption) -> None:
        await _put(copy, view)

    return feed


def feed_chunks(source: AsyncIterable[Any]) -> Feed:
    """*source* gives bytes-like objects of any length."""
    chunks = source.__aiter__()

    async def feed(copy: _core.Copy, interruption: Interruption) -> None:
        while True:
            with interruption:
                try:
                    chunk = await chunks.__anext__()
                except StopAsyncIteration:
                    break
            await _put(copy, _bytes_of(chunk, "source"))

    return feed


def feed_file(file: File) -> Feed:
    """*file* is read to its end."""

    async def feed(copy: _core.Copy, interruption: Interruption) -> None:
        while True:
            with interruption:
                chunk = await file.read(READ_BYTES)
            if not chunk:
                break
            await _put(copy, _bytes_of(chunk, "source.read()"))

    return feed


def feed_records(records: Iterator[Any]) -> Feed:
    """*records* gives sequences of values. What it computes runs in the loop's thread, a few ms at a time."""

    async def feed(copy: _core.Copy, interruption: Interruption) -> None:
        while copy._put_rows(records):
            await _next_turn(copy)

    return feed


def feed_async_records(records: AsyncIterator[Any]) -> Feed:
    """*records* gives sequences of values."""

    async def feed(copy: _core.Copy, interruption: Interruption) -> None:
        more = True
        while more:
            with interruption:
                more = False
                async for record in records:
                    if copy._add_row(record):
                        more = True
                        break
            copy._put_added()
            await _next_turn(copy)

    return feed


def _bytes_of(data: Any, whose: str) -> memoryview:
    try:
        view = memoryview(data)
    except TypeError:
        raise TypeError(f"{whose} is expected to give bytes-like objects, not {type(data).__name__}") from None
    return view.cast("B") if view.nbytes else memoryview(b"")


async def _put(copy: _core.Copy, view: memoryview) -> None:
    """Hand bytes over; a little waits for more, so that many small ones cost little."""
    if view.nbytes < SLICE_BYTES:
        if copy._add(view):
            copy._put_added()
            await _next_turn(copy)
        return
    copy._put_added()
    await _until_ready(copy)
    for at in range(0, view.nbytes, SLICE_BYTES):
        copy._put(view[at : at + SLICE_BYTES])
        await _next_turn(copy)


# ---- files ----


class File:
    """A file whose calls run in the loop's executor, one after another.

    A call that was begun goes on where its task is cancelled; what is closed is
    closed after it.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._call: asyncio.Future[Any] | None = None

    @classmethod
    async def open(cls, path: str | bytes, mode: str) -> File:
        """Open *path*, without a buffer: what is read and written is large."""
        opening = asyncio.get_running_loop().run_in_executor(None, _open, path, mode)
        try:
            return cls(await asyncio.shield(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise

    async def read(self, size: int) -> Any:
        return await self._run(self._file.read, size)

    async def write(self, data: bytes) -> None:
        await self._run(_write_all, self._file, data)

    async def close(self) -> None:
        """Close the file, and raise what that fails with."""
        await self._run(self._file.close)

    def abandon(self) -> None:
        """Close the file, as soon as nothing is under way; it has no buffer that would be written."""
        if self._call is None or self._call.done():
            self._file.close()
        else:
            self._call.add_done_callback(lambda _: self._file.close())

    async def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        self._call = asyncio.get_running_loop().run_in_executor(None, function, *args)
        return await asyncio.shield(self._call)


def _open(path: str | bytes, mode: str) -> Any:
    return open(path, mode, buffering=0)


def _close_opened(opening: asyncio.Future[Any]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _write_all(file: Any, data: bytes) -> None:
    if not isinstance(file, io.RawIOBase):
        file.write(data)
        return
    while data:
        written = file.write(data)  # maybe a part of it
        if written is None:
            raise BlockingIOError("output is a file that does not block: it took no more data")
        data = data[written:]


def path_of(target: Any) -> str | bytes | None:
    """The path that a path-like object is; None for any other."""
    try:
        path: str | bytes = os.fspath(target)
    except TypeError:
        return None
    return path
