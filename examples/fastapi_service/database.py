"""Where the service's database access comes from. The rest of the service is the same for both.

DEMO_BACKEND=holisticpool (the default): adapters that share one pool.
DEMO_BACKEND=per_request: an asyncpg connection opened for each request, which is what the pool replaces.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

BACKEND = os.environ.get("DEMO_BACKEND", "holisticpool")

if TYPE_CHECKING or BACKEND == "holisticpool":
    from holisticpool import DatabaseException, SupabaseAsyncPGAdapter, db_pool
elif BACKEND == "per_request":
    from .per_request import DatabaseException, SupabaseAsyncPGAdapter, db_pool
else:
    raise ValueError(f"DEMO_BACKEND is holisticpool or per_request, not {BACKEND!r}")

__all__ = ["BACKEND", "DatabaseException", "SupabaseAsyncPGAdapter", "db_pool"]
