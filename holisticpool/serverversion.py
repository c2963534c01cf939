"""``asyncpg.serverversion``: the server's version from its text."""

from __future__ import annotations

from holisticpool.types import parse_server_version

__all__ = ("split_server_version_string",)

split_server_version_string = parse_server_version
