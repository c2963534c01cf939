"""PreparedStatement: a statement that one lease has prepared for itself.

Executing it is the base class's, in C; here is what runs rarely. Objects are made
by Connection.prepare(), without __init__.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holisticpool import _core
from holisticpool.awaitables import awaited
from holisticpool.check import RowForm, check_rows
from holisticpool.cursor import CursorFactory
from holisticpool.portions import Sets, run_sets
from holisticpool.type_names import types_of
from holisticpool.types import Attribute, Type

if TYPE_CHECKING:
    from holisticpool.connection import Connection

__all__ = ("PreparedStatement",)


class PreparedStatement(_core.PreparedStatement):
    """A prepared statement; usable until its connection is closed or released.

    fetch(), fetchrow() and fetchval() take the statement's arguments and
    ``timeout=`` in seconds, the first two also ``rows=``, and give what those of
    Connection do. One that was prepared with ``params=True`` takes its arguments
    by name: as ``params=``, or for executemany() as mappings. The server
    forgets the statement once this object is gone. Every method raises
    InterfaceError after the connection was closed or released.
    """

    _parameters: tuple[Type, ...] = ()
    _attributes: tuple[Attribute, ...] = ()

    @classmethod
    async def _prepare(
        cls,
        connection: Connection,
        query: str,
        name: str | None,
        timeout: float | None,
        record_class: type[_core.Record] | None,
        by_name: bool,
    ) -> PreparedStatement:
        made = connection._prepare(cls, query, name, record_class, by_name)
        await made._describe(timeout)
        types = await types_of(connection, {*made._parameter_oids, *(oid for _, oid in made._columns)}, timeout)
        made._parameters = tuple(types[oid] for oid in made._parameter_oids)
        made._attributes = tuple(Attribute(column, types[oid]) for column, oid in made._columns)
        return made

    def get_name(self) -> str:
        """The statement's name on the server; empty without a statement cache."""
        self._check("get_name")
        return self._name

    def get_query(self) -> str:
        """The statement's text; where it was prepared with names, $1, $2, ... stand for them."""
        self._check("get_query")
        return self._query

    def get_statusmsg(self) -> str | None:
        """The status of the command that fetch() ran last, such as ``"INSERT 0 1"``.

        None before the first one, and where fetchrow() or fetchval() found a row.
        """
        self._check("get_statusmsg")
        return self._status

    def get_parameters(self) -> tuple[Type, ...]:
        """The types of the statement's parameters."""
        self._check("get_parameters")
        return self._parameters

    def get_attributes(self) -> tuple[Attribute, ...]:
        """The columns of the statement's result."""
        self._check("get_attributes")
        return self._attributes

    @awaited
    def executemany(self, args: Sets, *, timeout: float | None = None) -> _core.Operation[None]:
        """Execute the statement for each sequence of arguments in *args*; see Connection.executemany()."""
        return run_sets(lambda sets: super(PreparedStatement, self).executemany(sets, timeout=timeout), args)

    @awaited
    def fetchmany(
        self, args: Sets, *, timeout: float | None = None, rows: RowForm | None = None
    ) -> _core.Operation[list[Any]]:
        """The rows of the statement for each sequence of arguments in *args*; see Connection.fetchmany()."""
        return run_sets(lambda sets: super(PreparedStatement, self).fetchmany(sets, timeout=timeout, rows=rows), args)

    def cursor(
        self,
        *args: Any,
        prefetch: int | None = None,
        timeout: float | None = None,
        rows: RowForm | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> CursorFactory:
        """The rows of the statement in batches, inside a transaction; see Connection.cursor()."""
        self._check("cursor")
        check_rows(None, rows)
        record_class = None if rows == "dict" else self._record_class
        return CursorFactory(self._connection, self, self._by_name(args, params), prefetch, timeout, record_class, rows)

    async def explain(self, *args: Any, analyze: bool = False, params: Mapping[str, Any] | None = None) -> Any:
        """The server's plan for these arguments: EXPLAIN's JSON, as Python objects.

        With *analyze* the statement is executed, in a transaction that is rolled
        back afterwards, and the plan has what it took.
        """
        self._check("explain")
        args = self._by_name(args, params)
        connection: Connection = self._connection
        if not analyze:
            return await self._explain("EXPLAIN (FORMAT JSON, VERBOSE) ", args)
        transaction = connection.transaction()
        await transaction.start()
        try:
            return await self._explain("EXPLAIN (FORMAT JSON, VERBOSE, ANALYZE) ", args)
        finally:
            await transaction.rollback()

    async def _explain(self, explain: str, args: tuple[Any, ...]) -> Any:
        plan = await self._connection.fetchval(explain + self._query, *args)
        import json

        return json.loads(plan) if isinstance(plan, str) else plan
