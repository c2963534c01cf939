"""Connection.pipeline(): statements sent without waiting for the answers of those before them.

    async with connection.pipeline() as pipe:
        a = pipe.fetchrow(...)      # an operation of the connection, started: csrc/binding/pipeline.c
        b = pipe.execute(...)       # what is on its way when, and what a failure stops: csrc/engine/pipe.h

What was called in one turn of the event loop leaves together at its end, or earlier where
a result is awaited or the block is left. A result has its outcome once the operation is
done, and keeps it; whoever awaits it before waits for a future of his own, so that any
number of tasks can.

States of a Pipeline: NEW --async with--> open --leaving--> closed. Left by an exception it
abandons what has no answer, and waits for nothing: the engine cleans up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from holisticpool import _core
from holisticpool.exceptions import InFailedSQLTransactionError, InterfaceError
from holisticpool.transaction import begin_statement, check_isolation

if TYPE_CHECKING:
    from holisticpool.check import RowForm
    from holisticpool.connection import Connection

__all__ = ("Pipeline", "PipelineResult", "PipelineTransaction")

_T = TypeVar("_T")

_BY_EXCEPTION = "its block was left by an exception"
_BY_CANCEL = "the task that awaited it, or its cancel() was called"


class PipelineResult(Generic[_T]):
    """The result of a statement in a pipeline: to be awaited by any task, any number of times, or never.

    Awaiting it gives what the connection's method of that name gives, or raises what it
    raises. Where the last task that awaits it is cancelled, so is the statement, as by
    cancel().
    """

    __slots__ = ("_done", "_error", "_operation", "_order", "_pipeline", "_seen", "_transaction", "_value", "_waiters")

    def __init__(self, pipeline: Pipeline, order: int, transaction: PipelineTransaction | None) -> None:
        self._pipeline = pipeline
        self._order = order
        self._transaction = transaction
        self._operation: _core.Operation[_T] | None = None
        self._value: _T | None = None
        self._error: Exception | None = None
        self._done = False
        self._seen = False  # somebody knows of its error, or is about to
        self._waiters: list[asyncio.Future[None]] = []

    def done(self) -> bool:
        """Whether awaiting it would not wait."""
        return self._done

    def cancel(self) -> bool:
        """Cancel the statement, if it is not done; its transaction is rolled back then.

        It is not run where it was not sent yet, and cancelled on the server where it runs.
        Awaiting it raises InterfaceError from now on. False: it was done.
        """
        return self._abandon(_BY_CANCEL)

    def __await__(self) -> Generator[Any, None, _T]:
        self._seen = True
        while not self._done:
            yield from self._wait()
        error = self._error
        if error is None:
            return self._value  # type: ignore[return-value]
        try:
            raise error.with_traceback(None)
        finally:
            del self, error  # else they would be a cycle through the traceback

    def _wait(self) -> Generator[Any, None, None]:
        pipeline = self._pipeline
        pipeline._flush()
        waiter = pipeline._new_future()
        self._waiters.append(waiter)
        try:
            yield from waiter
        except BaseException:
            self._seen = False
            if not self._done:
                self._waiters.remove(waiter)
                if not self._waiters:
                    self.cancel()
            raise

    async def _ended(self) -> None:
        """Wait until it is done, whatever it is then."""
        while not self._done:
            waiter = self._pipeline._new_future()
            self._waiters.append(waiter)
            await waiter

    def _start(self, operation: _core.Operation[_T]) -> None:
        try:
            operation._start_ahead()
            operation.add_done_callback(self._take)
        except Exception as error:
            operation.close()
            self._end(None, _of_caller(error))
        else:
            self._operation = operation

    def _take(self, operation: _core.Operation[_T]) -> None:
        if self._done:
            return
        try:
            operation.send(None)
        except StopIteration as stop:
            self._end(stop.value, None)
        except Exception as error:
            self._end(None, _of_caller(error))

    def _end(self, value: _T | None, error: Exception | None) -> None:
        self._operation = None
        self._value = value
        self._error = error
        self._done = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._pipeline._note_end(self)

    def _abandon(self, why: str) -> bool:
        operation = self._operation
        if self._done or operation is None:
            return False
        self._seen = True
        self._end(None, InterfaceError(f"the statement was cancelled: {why}"))
        operation.close()
        return True

    def __repr__(self) -> str:
        state = "pending" if not self._done else "done" if self._error is None else f"failed: {self._error!r}"
        return f"<holisticpool.PipelineResult {state}>"


def _of_caller(error: Exception) -> Exception:
    """Without the frame of ours that caught it, which holds the result that is to hold the error."""
    traceback = error.__traceback__
    return error.with_traceback(traceback.tb_next if traceback is not None else None)


class PipelineTransaction:
    """A transaction in a pipeline. Made by Pipeline.transaction()."""

    __slots__ = ("_failures", "_pipeline", "_statement", "_used")

    def __init__(self, pipeline: Pipeline, statement: str) -> None:
        self._pipeline = pipeline
        self._statement = statement
        self._used = False
        self._failures: list[PipelineResult[Any]] = []

    async def __aenter__(self) -> None:
        pipeline = self._pipeline
        pipeline._check_open("transaction")
        if self._used:
            raise InterfaceError("cannot enter context: the transaction has been used already")
        if pipeline._transaction is not None:
            raise InterfaceError("a transaction of the pipeline is open; there are no savepoints in a pipeline")
        if pipeline._inside:
            raise InterfaceError("cannot use Pipeline.transaction() inside a transaction of the connection")
        self._used = True
        pipeline._transaction = self
        pipeline._control(self._statement, self, begins=True)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        pipeline = self._pipeline
        pipeline._transaction = None
        if exc_type is not None:
            pipeline._abandon(_BY_EXCEPTION, self)
            if pipeline._open:
                pipeline._control("ROLLBACK", None, begins=False)
            return
        pipeline._check_open("transaction")
        end = pipeline._control("ROLLBACK" if self._failures else "COMMIT", None, begins=False)
        error: Exception | None = None
        try:
            if await end == "COMMIT":
                return  # also where the time of a statement was up when COMMIT had been sent, and came too late
            error = InterfaceError("the transaction was rolled back: the server answered COMMIT with ROLLBACK")
        except Exception as failure:
            error = _of_caller(failure)
        await pipeline._answered(self)
        if self._failures:
            first = min(self._failures, key=lambda result: result._order)
            first._seen = True
            error = first._error
        assert error is not None
        try:
            raise error.with_traceback(None)
        finally:
            del self, pipeline, end, error

    def _note_failure(self, result: PipelineResult[Any]) -> None:
        """A statement has failed: the first one is the reason why, of others that did not run."""
        if self._failures and isinstance(result._error, InFailedSQLTransactionError):
            result._seen = True
            result._error.__cause__ = min(self._failures, key=lambda failed: failed._order)._error
        else:
            self._failures.append(result)


class Pipeline:
    """Statements that do not wait for each other's answers. Made by Connection.pipeline(), for ``async with``.

    Each method sends its statement and returns a PipelineResult. Statements run in the
    order of the calls, each by itself; the failure of one does not stop the next, unless
    they are in a transaction(). COPY and scripts of several statements are refused.

    Leaving the block waits for all answers and raises the first error that nobody has
    awaited. Leaving it by an exception cancels what has no answer yet, without waiting.
    """

    __slots__ = (
        "__weakref__",
        "_connection",
        "_errors",
        "_flush_handle",
        "_inside",
        "_loop",
        "_open",
        "_order",
        "_transaction",
        "_unfinished",
        "_used",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open = False
        self._used = False
        self._inside = False
        self._order = 0
        self._transaction: PipelineTransaction | None = None
        self._unfinished: dict[PipelineResult[Any], None] = {}
        self._errors: list[PipelineResult[Any]] = []
        self._flush_handle: asyncio.Handle | None = None

    # ---- statements ----

    def fetch(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: type[_core.Record] | None = None,
        rows: RowForm | None = None,
        params: Any = None,
    ) -> PipelineResult[list[Any]]:
        """Send a query; the result is a list of its rows. Arguments as for Connection.fetch().

        *timeout*, in seconds, counts from this call. Raises InterfaceError where the
        pipeline is not open; everything else is the result's.
        """
        return self._send(
            "fetch", query, args, {"timeout": timeout, "record_class": record_class, "rows": rows, "params": params}
        )

    def fetchrow(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,
        record_class: type[_core.Record] | None = None,
        rows: RowForm | None = None,
        params: Any = None,
    ) -> PipelineResult[Any]:
        """Send a query; the result is its first row, or None. Arguments and errors as for fetch()."""
        return self._send(
            "fetchrow", query, args, {"timeout": timeout, "record_class": record_class, "rows": rows, "params": params}
        )

    def fetchval(
        self, query: str, *args: Any, column: int | str = 0, timeout: float | None = None, params: Any = None
    ) -> PipelineResult[Any]:
        """Send a query; the result is one value of its first row, or None. Arguments and errors as for fetch()."""
        return self._send("fetchval", query, args, {"column": column, "timeout": timeout, "params": params})

    def execute(self, query: str, *args: Any, timeout: float | None = None, params: Any = None) -> PipelineResult[str]:
        """Send one command; the result is its status tag. Arguments and errors as for fetch()."""
        return self._send("execute", query, args, {"timeout": timeout, "params": params})

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> PipelineTransaction:
        """A transaction around the statements of an ``async with`` block, which leaves together with them.

        Leaving it sends COMMIT and waits for its answer; where a statement has failed or
        was cancelled, the transaction is rolled back and that one's error raised.
        Statements behind one that failed are not run: their results raise
        InFailedSQLTransactionError. Arguments as for Connection.transaction(). Raises
        ValueError for another isolation level, and InterfaceError on entering where a
        transaction is open already.
        """
        check_isolation(isolation)
        return PipelineTransaction(self, begin_statement(isolation, readonly, deferrable))

    @property
    def errors(self) -> tuple[Exception, ...]:
        """The errors of all statements so far, in the order of the calls, whether awaited or not."""
        failed = sorted(self._errors, key=lambda result: result._order)
        return tuple(result._error for result in failed if result._error is not None)

    # ---- the block ----

    async def __aenter__(self) -> Pipeline:
        if self._used:
            raise InterfaceError("cannot enter context: the pipeline has been used already")
        self._inside = self._connection.is_in_transaction()
        self._connection._pipe_open()
        self._loop = asyncio.get_running_loop()
        self._open = self._used = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._open = False
        try:
            if exc_type is None:
                await self._answered()
        finally:
            self._abandon(_BY_EXCEPTION)
            self._cancel_flush()
            self._connection._pipe_close()
        if exc_type is None:
            error = self._first_unseen()
            try:
                if error is not None:
                    raise error.with_traceback(None)
            finally:
                del self, error

    async def _answered(self, transaction: PipelineTransaction | None = None) -> None:
        self._flush()
        # From the last on, which mostly is the last to be answered.
        for result in reversed(list(self._unfinished)):
            if transaction is None or result._transaction is transaction:
                await result._ended()

    def _first_unseen(self) -> Exception | None:
        unseen = sorted((result for result in self._errors if not result._seen), key=lambda result: result._order)
        if not unseen:
            return None
        error = unseen[0]._error
        add_note = getattr(error, "add_note", None)  # Python 3.11+
        if len(unseen) > 1 and add_note is not None:
            add_note(f"Of the pipeline's statements {len(unseen) - 1} more failed: see Pipeline.errors.")
        return error

    # ---- for results and transactions ----

    def _send(self, method: str, query: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> PipelineResult[Any]:
        self._check_open(method)
        transaction = self._transaction
        operation = self._connection._pipe(method, transaction is not None, query, *args, **keywords)
        return self._add(operation, transaction)

    def _control(self, statement: str, transaction: PipelineTransaction | None, *, begins: bool) -> PipelineResult[str]:
        result = self._add(self._connection._pipe_control(statement, begins), transaction)
        result._seen = True  # the transaction sees to it
        return result

    def _add(self, operation: _core.Operation[Any], transaction: PipelineTransaction | None) -> PipelineResult[Any]:
        self._order += 1
        result: PipelineResult[Any] = PipelineResult(self, self._order, transaction)
        self._unfinished[result] = None
        result._start(operation)
        if self._flush_handle is None and self._loop is not None:
            self._flush_handle = self._loop.call_soon(self._flush)
        return result

    def _note_end(self, result: PipelineResult[Any]) -> None:
        self._unfinished.pop(result, None)
        if result._error is not None:
            self._errors.append(result)
            if result._transaction is not None:
                result._transaction._note_failure(result)

    def _abandon(self, why: str, transaction: PipelineTransaction | None = None) -> None:
        # From the last on: none that waits for another is sent meanwhile.
        for result in reversed(list(self._unfinished)):
            if transaction is None or result._transaction is transaction:
                result._abandon(why)

    def _flush(self) -> None:
        self._cancel_flush()
        self._connection._pipe_flush()

    def _cancel_flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None

    def _new_future(self) -> asyncio.Future[None]:
        assert self._loop is not None
        return self._loop.create_future()

    def _check_open(self, method: str) -> None:
        if not self._open:
            state = "closed" if self._used else "not open: use it with `async with`"
            raise InterfaceError(f"cannot call Pipeline.{method}(): the pipeline is {state}")
