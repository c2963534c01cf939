"""What several modules share: checks of argument values, the mark for "not given", and names that are found late."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, TypeGuard

from holisticpool.exceptions import ClientConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Unset:
    """The type of UNSET, the mark of a parameter that was not given (None has a meaning)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        return "UNSET"  # copied and pickled it is still the one


UNSET: Final = Unset()

# What rows may be: of a record class, or dicts.
RowForm = Literal["record", "dict"]

# Rows that a stream fetches at a time, where the caller does not say.
DEFAULT_PREFETCH: Final = 500

# What a codec's functions exchange.
FORMATS: Final = ("text", "binary", "tuple")

# What _core.Pool takes for pipeline="off" and "auto".
PIPELINE_OFF: Final = 0
PIPELINE_AUTO: Final = -1


def found_later(module: str, places: Mapping[str, str]) -> Callable[[str], object]:
    """The ``__getattr__`` of *module*: *places* has the names that it finds, and in which of the package's modules.

    Not every program needs them: a module is imported when one of its names is asked for.
    """

    def find(name: str) -> object:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(f"holisticpool.{places[name]}"), name)

    return find


def check_size(name: str, value: object, *, at_least: int) -> int:
    """*value* where it is an integer of at least *at_least*; else ClientConfigurationError."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ClientConfigurationError(f"{name} is expected to be an integer, got {value!r}")
    if value < at_least:
        wanted = "greater than zero" if at_least == 1 else "greater or equal to zero"
        raise ClientConfigurationError(f"{name} is expected to be {wanted}, got {value!r}")
    return value


def check_seconds(name: str, value: object) -> float:
    """*value* where it is a finite number of seconds, zero included; else ClientConfigurationError."""
    seconds = _number(name, value)
    if seconds < 0:
        raise ClientConfigurationError(f"{name} is expected to be greater or equal to zero, got {value!r}")
    return seconds


def check_timeout(name: str, value: object) -> float | None:
    """*value* where it is None or a positive number of seconds; else ClientConfigurationError."""
    if value is None:
        return None
    if not _is_number(value) or value <= 0:
        raise ClientConfigurationError(f"invalid {name} value: expected greater than 0 float (got {value!r})")
    return float(value)


def check_rows(record_class: object, rows: object) -> None:
    """ValueError for another *rows* than "record", "dict" and None, TypeError for dicts of a *record_class*."""
    if rows not in (None, "record", "dict"):
        raise ValueError(f"rows is expected to be 'record' or 'dict', got {rows!r}")
    if rows == "dict" and record_class is not None:
        raise TypeError("rows are of record_class= or dicts, not both")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number(name: str, value: object) -> float:
    if not _is_number(value):
        raise ClientConfigurationError(f"{name} is expected to be a number of seconds, got {value!r}")
    return float(value)
