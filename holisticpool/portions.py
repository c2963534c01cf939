"""executemany() and fetchmany() of an iterator: its elements go out in portions while it is read.

The iterator runs here, in its user's task, and is never read as a whole: the next
portion is made when the socket has taken the one before (csrc/binding/portions.c).
All portions are one batch for the server, so that they count together or not at all.

What the iterator raises undoes what was sent and leaves the session, and a
transaction that it is in, usable. A task that is cancelled leaves the batch to the
C part.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from holisticpool import _core
from holisticpool.exceptions import InterfaceError, PostgresError

_T = TypeVar("_T")

Set = Sequence[Any] | Mapping[str, Any]
Sets = Iterable[Set] | AsyncIterable[Set]

# Elements. The first portion is small, as a batch that fails often does so at once.
FIRST_PORTION: Final = 16
LARGEST_PORTION: Final = 256

# Of a portion, encoded: it is made smaller or larger accordingly.
MOST_BYTES: Final = 128 * 1024


def run_sets(make: Callable[[Sequence[Set]], _core.Operation[_T]], sets: Sets) -> _core.Operation[_T]:
    """What ``make(sets)`` gives for a list or tuple; for any other iterable, an awaitable that does the same.

    Raises TypeError for what is not iterable.
    """
    if isinstance(sets, (list, tuple)):
        return make(sets)
    source = _AsyncSource(aiter(sets)) if isinstance(sets, AsyncIterable) else _Source(iter(sets))
    return cast("_core.Operation[_T]", _run(make, source))


async def _run(make: Callable[[Sequence[Set]], _core.Operation[_T]], source: _Source | _AsyncSource) -> _T:
    first = await source.portion(FIRST_PORTION)
    if len(first) < FIRST_PORTION:
        return await make(first)
    operation = make(first)
    operation._in_portions()
    size = FIRST_PORTION
    try:
        answer = await operation
        while answer is True:
            await asyncio.sleep(0)  # Others have their turn, and an error of the server is seen.
            answer = await operation
            if answer is True:
                portion = await source.portion(size)
                size = _next_size(size, operation._feed(portion, len(portion) == size))
                answer = await operation
    except Exception:
        await _undo(operation)
        raise
    except BaseException:
        operation.close()
        raise
    return answer


def _next_size(size: int, taken: int) -> int:
    if taken > MOST_BYTES:
        return max(size // 2, 1)
    return min(2 * size, LARGEST_PORTION) if taken < MOST_BYTES // 2 else size


async def _undo(operation: _core.Operation[Any]) -> None:
    """End a batch whose next portion could not be had; nothing to do for one that has ended itself."""
    if operation._abort():
        try:
            await operation
        except (PostgresError, InterfaceError):
            pass  # The session broke meanwhile. What the iterator raised is on its way to the caller.
        except BaseException:
            operation.close()
            raise


class _Source:
    def __init__(self, sets: Iterator[Set]) -> None:
        self._sets = sets

    async def portion(self, size: int) -> list[Set]:
        return list(itertools.islice(self._sets, size))


class _AsyncSource:
    def __init__(self, sets: AsyncIterator[Set]) -> None:
        self._sets = sets

    async def portion(self, size: int) -> list[Set]:
        portion: list[Set] = []
        while len(portion) < size:
            try:
                portion.append(await anext(self._sets))
            except StopAsyncIteration:
                break
        return portion
