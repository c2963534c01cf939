"""What is awaited but is no coroutine function says that it is one.

The methods that run in C return awaitables. Programs ask with
asyncio.iscoroutinefunction(), and unittest.mock by it whether to make an AsyncMock:
the marks that asyncio and inspect (Python 3.12) look for are put on them here.
inspect.iscoroutinefunction() of older Pythons looks for none.
"""

from __future__ import annotations

import asyncio.coroutines
import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from holisticpool import _core

_FunctionT = TypeVar("_FunctionT", bound=Callable[..., Any])


async def _any_coroutine_function() -> None:
    """Has the __code__ that unittest.mock's autospec wants to see before it looks for marks."""


def _marks() -> dict[str, Any]:
    marks = {}
    if hasattr(asyncio.coroutines, "_is_coroutine"):
        marks["_is_coroutine"] = asyncio.coroutines._is_coroutine
    if sys.version_info >= (3, 12):

        def marked() -> None:
            pass

        marks.update(vars(inspect.markcoroutinefunction(marked)))
    return marks


_MARKS = _marks()

for _name, _mark in {**_MARKS, "__code__": _any_coroutine_function.__code__}.items():
    setattr(_core.AwaitableMethod, _name, _mark)


def awaited(function: _FunctionT) -> _FunctionT:
    """Mark *function*, which returns an awaitable, as a coroutine function."""
    vars(function).update(_MARKS)
    return function
