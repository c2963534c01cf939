"""``from asyncpg.protocol import Record``: the class of rows where programs import it from."""

from __future__ import annotations

from holisticpool._core import Record as Record

__all__ = ("Record",)
