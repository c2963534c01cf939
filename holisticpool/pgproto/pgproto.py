"""``from asyncpg.pgproto.pgproto import UUID``, to check for or convert what a uuid column holds."""

from __future__ import annotations

# asyncpg returns a class of its own, of which this is the base.
from uuid import UUID as UUID

__all__ = ("UUID",)
