"""The name that asyncpg's tracebacks give to InterfaceError and others, and that programs therefore import."""

from __future__ import annotations

from .._errors import *  # noqa: F403
from .._errors import __all__ as __all__
