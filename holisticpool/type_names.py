"""What types are called: OIDs to holisticpool.types.Type, for descriptions of statements.

One catalogue query for all types that a pool has not met yet; what it says is
kept by the pool until its types are looked up anew (reload_schema_state).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from holisticpool.exceptions import InternalClientError
from holisticpool.types import Type

if TYPE_CHECKING:
    from holisticpool.connection import Connection

# As asyncpg describes types: a domain by what it is over, an array by its element's name. Each value comes as a name,
# "char", boolean or oid, which hardly anybody has codecs of their own for.
_QUERY: Final = """
WITH RECURSIVE plain(oid, at) AS (
    SELECT wanted, wanted FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS wanted
    UNION ALL
    SELECT plain.oid, t.typbasetype FROM plain
    JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) plain.at AND t.typtype OPERATOR(pg_catalog.=) 'd'
)
SELECT plain.oid, n.nspname, e.oid IS NOT NULL AS is_array, t.typtype,
       CASE WHEN e.oid IS NULL THEN t.typname ELSE e.typname END AS name
FROM plain
JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) plain.at AND t.typtype OPERATOR(pg_catalog.<>) 'd'
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
LEFT JOIN pg_catalog.pg_type AS e ON e.oid OPERATOR(pg_catalog.=) t.typelem
    AND t.typoutput OPERATOR(pg_catalog.=) 'pg_catalog.array_out'::pg_catalog.regproc
"""

_KINDS: Final = {b"c": "composite", b"r": "range", b"m": "multirange"}


async def types_of(connection: Connection, oids: Iterable[int], timeout: float | None = None) -> dict[int, Type]:
    """What these types are called, looked up for at most *timeout* seconds.

    Raises InternalClientError for a type that is not there (any more).
    """
    known = connection._pool._type_names
    wanted = set(oids)
    missing = [oid for oid in wanted if oid not in known]
    if missing:
        for row in await connection._directly("fetch", _QUERY, missing, timeout=timeout):
            oid, schema, is_array, typtype, name = row
            kind = "array" if is_array else _KINDS.get(typtype, "scalar")
            known[oid] = Type(oid, f"{name}[]" if is_array else name, kind, schema)
    try:
        return {oid: known[oid] for oid in wanted}
    except KeyError as unknown:
        raise InternalClientError(f"type {unknown} of a statement is not in the catalogue") from None
