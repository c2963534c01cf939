"""What the service does with its data: SQL in, plain values out. Knows nothing of HTTP."""

from __future__ import annotations

import json
from typing import Any

from .database import SupabaseAsyncPGAdapter

_USER_COLUMNS = "id, email, display_name, timezone, is_active, goal_weight, preferences, created_at, last_seen_at"

_GET_USER = f"SELECT {_USER_COLUMNS} FROM holisticpool_demo.users WHERE id = $1"

_LIST_USERS = f"""
    SELECT {_USER_COLUMNS} FROM holisticpool_demo.users
    WHERE id > $1 AND is_active
    ORDER BY id LIMIT $2
"""

_RECENT_EVENTS = """
    SELECT id, kind, payload, occurred_at FROM holisticpool_demo.events
    WHERE user_id = $1
    ORDER BY occurred_at DESC LIMIT $2
"""

_ADD_EVENT = """
    INSERT INTO holisticpool_demo.events (user_id, kind, payload)
    VALUES ($1, $2, $3)
    RETURNING id, occurred_at
"""


class UserDataService:
    """People and their events. Opens its adapter at first use; cleanup() closes the adapter, never the pool."""

    def __init__(self) -> None:
        self._db: SupabaseAsyncPGAdapter | None = None

    async def _ensure_db_connection(self) -> SupabaseAsyncPGAdapter:
        if self._db is None:
            self._db = SupabaseAsyncPGAdapter()
        if not self._db.connected:
            await self._db.connect()
        return self._db

    async def get_user(self, user_id: int) -> dict[str, Any] | None:
        """One person with their five latest events; None where there is nobody of that id."""
        db = await self._ensure_db_connection()
        row = await db.fetchrow(_GET_USER, user_id)
        if row is None:
            return None
        events = await db.fetch(_RECENT_EVENTS, user_id, 5)
        return _plain(row) | {"recent_events": [_plain(event) for event in events]}

    async def list_users(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Up to `limit` active people whose id is greater than `after`, by id."""
        db = await self._ensure_db_connection()
        return [_plain(row) for row in await db.fetch(_LIST_USERS, after, limit)]

    async def add_event(self, user_id: int, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Store an event and return its id and time."""
        db = await self._ensure_db_connection()
        row = await db.fetchrow(_ADD_EVENT, user_id, kind, json.dumps(payload))
        assert row is not None  # RETURNING of an INSERT of one row
        return dict(row)

    async def cleanup(self) -> None:
        if self._db is not None:
            await self._db.close()
            self._db = None


def _plain(row: Any) -> dict[str, Any]:
    """A record as a dict, with its JSON columns, which drivers hand over as text, taken apart."""
    values = dict(row)
    for name in ("preferences", "payload"):
        if isinstance(values.get(name), str):
            values[name] = json.loads(values[name])
    return values
