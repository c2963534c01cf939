"""The COPY methods of Connection and Pool: what they take, and the commands made of it.

How the data gets from one side to the other is copy_data.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import IO, TYPE_CHECKING, Any, cast

from holisticpool import _core
from holisticpool.exceptions import InterfaceError, UnsupportedServerFeatureError

if TYPE_CHECKING:
    import os

    from holisticpool import copy_data
    from holisticpool.connection import Connection

    Output = str | bytes | os.PathLike[Any] | IO[bytes] | copy_data.Write
    Source = str | bytes | os.PathLike[Any] | IO[bytes] | AsyncIterable[Any] | Any

_WHERE_SINCE = 120000  # the server's version number

_TYPE_NAMES = """
SELECT pg_catalog.array_agg(pg_catalog.format('%I.%I', n.nspname, t.typname) ORDER BY p.place)
FROM pg_catalog.unnest($1::pg_catalog.oid[]) WITH ORDINALITY AS p (type, place)
JOIN pg_catalog.pg_type AS t ON t.oid = p.type JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
"""


class CopyConnection(_core.Connection):
    """The COPY methods of Connection."""

    async def copy_from_table(
        self,
        table_name: str,
        *,
        output: Output,
        columns: Iterable[str] | None = None,
        schema_name: str | None = None,
        timeout: float | None = None,
        format: str | None = None,
        oids: bool | None = None,
        delimiter: str | None = None,
        null: str | None = None,
        header: bool | str | None = None,
        quote: str | None = None,
        escape: str | None = None,
        force_quote: bool | Iterable[str] | None = None,
        encoding: str | None = None,
    ) -> str:
        """Copy a table to *output*; the status, e.g. ``"COPY 100"``.

        output: a path or path-like object, which is overwritten; a file object,
            whose write() is called in a thread; or a coroutine function, awaited
            with bytes, whose boundaries mean nothing. The next are read only
            when it has taken these.
        columns: names of the columns to copy; all of them by default.
        timeout: seconds for all of it, the writing included; by default command_timeout.

        The other keywords are options of PostgreSQL's COPY. Raises TypeError for
        another output, TimeoutError, what *output* raises, and the server's
        PostgresError. The connection can be used again after each of them; what
        was written stays written.
        """
        options = _options(
            format=format,
            oids=oids,
            delimiter=delimiter,
            null=null,
            header=header,
            quote=quote,
            escape=escape,
            force_quote=force_quote,
            encoding=encoding,
        )
        command = f"COPY {_table(table_name, schema_name, columns)} TO STDOUT{options}"
        return await self._copy_out("copy_from_table", command, output, timeout)

    async def copy_from_query(
        self,
        query: str,
        *args: Any,
        output: Output,
        timeout: float | None = None,
        format: str | None = None,
        oids: bool | None = None,
        delimiter: str | None = None,
        null: str | None = None,
        header: bool | str | None = None,
        quote: str | None = None,
        escape: str | None = None,
        force_quote: bool | Iterable[str] | None = None,
        encoding: str | None = None,
    ) -> str:
        """Copy the rows of *query* to *output*; the status, e.g. ``"COPY 100"``.

        COPY takes no parameters: where there are *args*, the server is asked for
        their types and literals, which take the place of $1, $2, ... For the rest
        see copy_from_table().
        """
        options = _options(
            format=format,
            oids=oids,
            delimiter=delimiter,
            null=null,
            header=header,
            quote=quote,
            escape=escape,
            force_quote=force_quote,
            encoding=encoding,
        )
        budget = _Budget(timeout)
        if args:
            query = await self._with_literals(query, args, budget)
        # On a line of its own, since the query may end in a comment.
        command = f"COPY ({query}\n) TO STDOUT{options}"
        return await self._copy_out("copy_from_query", command, output, budget.left())

    async def copy_to_table(
        self,
        table_name: str,
        *,
        source: Source,
        columns: Iterable[str] | None = None,
        schema_name: str | None = None,
        timeout: float | None = None,
        format: str | None = None,
        oids: bool | None = None,
        freeze: bool | None = None,
        delimiter: str | None = None,
        null: str | None = None,
        header: bool | str | None = None,
        quote: str | None = None,
        escape: str | None = None,
        force_quote: bool | Iterable[str] | None = None,
        force_not_null: bool | Iterable[str] | None = None,
        force_null: bool | Iterable[str] | None = None,
        encoding: str | None = None,
        where: str | None = None,
    ) -> str:
        """Copy what *source* holds to a table; the status, e.g. ``"COPY 100"``.

        All of it, or nothing.

        source: a path (str, bytes or path-like); a file object, whose read() is
            called in a thread; an asynchronous iterable of bytes-like objects of
            any length; or one bytes-like object other than bytes.
        columns: names of the columns that the data has; all of them by default.
        timeout: seconds for all of it, the source included; by default command_timeout.
        where: an SQL expression: only rows for which it is true are kept.
        force_quote: has no effect, as in asyncpg.

        The other keywords are options of PostgreSQL's COPY. Raises TypeError for
        another source, UnsupportedServerFeatureError for *where* before
        PostgreSQL 12, TimeoutError, what *source* raises, and the server's
        PostgresError. The connection can be used again after each of them.
        """
        del force_quote
        options = _options(
            format=format,
            oids=oids,
            freeze=freeze,
            delimiter=delimiter,
            null=null,
            header=header,
            quote=quote,
            escape=escape,
            force_not_null=force_not_null,
            force_null=force_null,
            encoding=encoding,
        )
        from holisticpool import copy_data

        target = _table(table_name, schema_name, columns)
        copy = self._copy_into("copy_to_table", f"COPY {target} FROM STDIN{options}", where, timeout, None)
        path = copy_data.path_of(source)
        if path is not None:
            file = await copy_data.File.open(path, "rb")
            try:
                return await copy_data.copy_in(copy, copy_data.feed_file(file))
            finally:
                file.abandon()
        if hasattr(source, "read"):
            return await copy_data.copy_in(copy, copy_data.feed_file(copy_data.File(source)))
        if isinstance(source, AsyncIterable):
            return await copy_data.copy_in(copy, copy_data.feed_chunks(source))
        return await copy_data.copy_in(copy, copy_data.feed_buffer(source))

    async def copy_records_to_table(
        self,
        table_name: str,
        *,
        records: Iterable[Any] | AsyncIterable[Any],
        columns: Iterable[str] | None = None,
        schema_name: str | None = None,
        timeout: float | None = None,
        where: str | None = None,
    ) -> str:
        """Copy *records* to a table in binary form; the status, e.g. ``"COPY 100"``.

        All of them, or nothing. They are taken as they are sent: any number needs
        little memory.

        records: an iterable or asynchronous iterable of sequences, one value for
            each column.
        columns: names of the columns that the records have; all of them by default.
        timeout: seconds for all of it, the iterable included; by default command_timeout.
        where: an SQL expression: only rows for which it is true are kept.

        Raises ClientDataError (a DataError) that names the record, counted from 1,
        and the column of a value that does not fit, InternalClientError for a
        type without a binary form or with a text codec of the user's, and
        otherwise as copy_to_table().
        """
        from holisticpool import copy_data

        budget = _Budget(timeout)
        feed = (
            copy_data.feed_async_records(records.__aiter__())
            if isinstance(records, AsyncIterable)
            else copy_data.feed_records(iter(records))
        )
        names = None if columns is None else tuple(columns)
        listed = ", ".join(map(_quoted, _names(names))) if names else "*"
        described = await self._described(f"SELECT {listed} FROM {_table(table_name, schema_name, None)}", budget)
        command = f"COPY {_table(table_name, schema_name, names)} FROM STDIN (FORMAT binary)"
        copy = self._copy_into("copy_records_to_table", command, where, budget.left(), described)
        return await copy_data.copy_in(copy, feed)

    def _copy_into(self, method: str, command: str, where: str | None, timeout: Any, columns: Any) -> _core.Copy:
        if where:
            if self._server_version_num() < _WHERE_SINCE:
                raise UnsupportedServerFeatureError("the `where` parameter requires PostgreSQL 12 or later")
            command = f"{command} WHERE {where}"
        return self._copy(f"Connection.{method}", command, timeout, True, columns)

    async def _copy_out(self, method: str, command: str, output: Any, timeout: Any) -> str:
        from holisticpool import copy_data

        copy = self._copy(f"Connection.{method}", command, timeout, False, None)
        path = copy_data.path_of(output)
        if path is not None:
            file = await copy_data.File.open(path, "wb")
            try:
                status = await copy_data.copy_to_file(copy, file)
            except BaseException:
                file.abandon()
                raise
            await file.close()
            return status
        if hasattr(output, "write"):
            return await copy_data.copy_to_file(copy, copy_data.File(output))
        if callable(output):
            return await copy_data.copy_out(copy, output)
        raise TypeError(
            "output is expected to be a file-like object, a path-like object or a coroutine function, "
            f"not {type(output).__name__}"
        )

    async def _described(self, query: str, budget: _Budget) -> _core.PreparedStatement:
        """*query* as the server sees it now, and kept by nobody: a table may have been altered."""
        statement = self._prepare(_core.PreparedStatement, query, "", None, False)
        await statement._describe(budget.left())
        return statement

    async def _with_literals(self, query: str, args: tuple[Any, ...], budget: _Budget) -> str:
        """*query* with a literal of its type for each parameter, by the server's own output functions."""
        types = (await self._described(query, budget))._parameter_oids
        if len(types) != len(args):
            raise InterfaceError(
                f"the server expects {len(types)} argument{'' if len(types) == 1 else 's'} for this query, "
                f"{len(args)} {'was' if len(args) == 1 else 'were'} passed"
            )
        names = await super().fetchval(_TYPE_NAMES, types, timeout=budget.left())
        values = ", ".join(f"pg_catalog.format('%L', ${i}::{name})" for i, name in enumerate(names, start=1))
        texts = await super().fetchval(f"SELECT ARRAY[{values}]", *args, timeout=budget.left())
        literals = tuple(f"({text}::{name})" for text, name in zip(texts, names, strict=True))
        standard = self._parameter_status("standard_conforming_strings") != "off"
        return _core.insert_literals(query, literals, standard)


class CopyPool(_core.Pool):
    """The COPY methods of Pool: Connection's, on a connection that is leased for the call."""

    async def copy_from_table(
        self,
        table_name: str,
        *,
        output: Output,
        columns: Iterable[str] | None = None,
        schema_name: str | None = None,
        timeout: float | None = None,
        format: str | None = None,
        oids: bool | None = None,
        delimiter: str | None = None,
        null: str | None = None,
        header: bool | str | None = None,
        quote: str | None = None,
        escape: str | None = None,
        force_quote: bool | Iterable[str] | None = None,
        encoding: str | None = None,
    ) -> str:
        """Connection.copy_from_table() on one of the pool's connections."""
        async with self.acquire() as leased:
            return await _copying(leased).copy_from_table(
                table_name,
                output=output,
                columns=columns,
                schema_name=schema_name,
                timeout=timeout,
                format=format,
                oids=oids,
                delimiter=delimiter,
                null=null,
                header=header,
                quote=quote,
                escape=escape,
                force_quote=force_quote,
                encoding=encoding,
            )

    async def copy_from_query(
        self,
        query: str,
        *args: Any,
        output: Output,
        timeout: float | None = None,
        format: str | None = None,
        oids: bool | None = None,
        delimiter: str | None = None,
        null: str | None = None,
        header: bool | str | None = None,
        quote: str | None = None,
        escape: str | None = None,
        force_quote: bool | Iterable[str] | None = None,
        encoding: str | None = None,
    ) -> str:
        """Connection.copy_from_query() on one of the pool's connections."""
        async with self.acquire() as leased:
            return await _copying(leased).copy_from_query(
                query,
                *args,
                output=output,
                timeout=timeout,
                format=format,
                oids=oids,
                delimiter=delimiter,
                null=null,
                header=header,
                quote=quote,
                escape=escape,
                force_quote=force_quote,
                encoding=encoding,
            )

    async def copy_to_table(
        self,
        table_name: str,
        *,
        source: Source,
        columns: Iterable[str] | None = None,
        schema_name: str | None = None,
        timeout: float | None = None,
        format: str | None = None,
        oids: bool | None = None,
        freeze: bool | None = None,
        delimiter: str | None = None,
        null: str | None = None,
        header: bool | str | None = None,
        quote: str | None = None,
        escape: str | None = None,
        force_quote: bool | Iterable[str] | None = None,
        force_not_null: bool | Iterable[str] | None = None,
        force_null: bool | Iterable[str] | None = None,
        encoding: str | None = None,
        where: str | None = None,
    ) -> str:
        """Connection.copy_to_table() on one of the pool's connections."""
        async with self.acquire() as leased:
            return await _copying(leased).copy_to_table(
                table_name,
                source=source,
                columns=columns,
                schema_name=schema_name,
                timeout=timeout,
                format=format,
                oids=oids,
                freeze=freeze,
                delimiter=delimiter,
                null=null,
                header=header,
                quote=quote,
                escape=escape,
                force_quote=force_quote,
                force_not_null=force_not_null,
                force_null=force_null,
                encoding=encoding,
                where=where,
            )

    async def copy_records_to_table(
        self,
        table_name: str,
        *,
        records: Iterable[Any] | AsyncIterable[Any],
        columns: Iterable[str] | None = None,
        schema_name: str | None = None,
        timeout: float | None = None,
        where: str | None = None,
    ) -> str:
        """Connection.copy_records_to_table() on one of the pool's connections."""
        async with self.acquire() as leased:
            return await _copying(leased).copy_records_to_table(
                table_name,
                records=records,
                columns=columns,
                schema_name=schema_name,
                timeout=timeout,
                where=where,
            )


def _copying(leased: Any) -> Connection:
    return cast("Connection", leased)


class _Budget:
    """A timeout in seconds that several steps share."""

    def __init__(self, seconds: Any) -> None:
        self._seconds = seconds
        self._until: float | None = None
        # Anything else is refused by the first step.
        if isinstance(seconds, (int, float)) and not isinstance(seconds, bool):
            self._until = asyncio.get_running_loop().time() + seconds

    def left(self) -> Any:
        if self._until is None:
            return self._seconds
        return max(0.0, self._until - asyncio.get_running_loop().time())


# ---- SQL ----


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    if "\\" in value:
        # So that it means the same with standard_conforming_strings off.
        return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    return "'" + value.replace("'", "''") + "'"


def _names(names: Iterable[str]) -> Iterable[str]:
    # Each letter of a str would be taken for a name.
    if isinstance(names, str):
        raise TypeError(f"a list of column names is expected, not the str {names!r}")
    return names


def _table(table_name: str, schema_name: str | None, columns: Iterable[str] | None) -> str:
    table = _quoted(table_name)
    if schema_name:
        table = f"{_quoted(schema_name)}.{table}"
    listed = ", ".join(map(_quoted, _names(columns))) if columns else ""
    return f"{table} ({listed})" if listed else table


def _options(**options: Any) -> str:
    """COPY's list of options, from the keywords that are not None; "" where there are none."""
    parts = [
        f"{name.upper()} {_option(name, value)}" for name, value in options.items() if not _is_left_out(name, value)
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _is_left_out(name: str, value: Any) -> bool:
    return value is None or (name.startswith("force_") and value is False)


def _option(name: str, value: Any) -> str:
    if name.startswith("force_"):
        return "*" if value is True else "(" + ", ".join(map(_quoted, _names(value))) + ")"
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, str):
        return _literal(value)
    raise TypeError(f"{name} is expected to be a str, not {type(value).__name__}")
