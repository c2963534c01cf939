"""``from asyncpg.protocol.protocol import Record``: see the package."""

from __future__ import annotations

from holisticpool._core import Record as Record

__all__ = ("Record",)
