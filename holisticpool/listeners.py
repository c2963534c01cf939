"""Who hears of a session: listeners of channels, log messages and its end, and query loggers.

Callbacks are functions or coroutine functions, as in asyncpg. The event loop
calls them, soon and one by one; they never run from inside the C part, so that
they may close, terminate or release their connection. Their exceptions go to the
loop's exception handler.

Listeners of channels and of log messages last as long as the lease, termination
listeners and query loggers as long as the session. The C part keeps the
Callbacks object of a session, tells it what happens, and calls nothing on
sessions that have none (csrc/binding/listeners.h).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from holisticpool import _core
from holisticpool.exceptions import InterfaceError, PostgresLogMessage

if TYPE_CHECKING:
    from holisticpool.reports import ConnectionParameters

# Names are cut off by the server, in LISTEN and in NOTIFY alike (NAMEDDATALEN - 1).
_LONGEST_NAME_BYTES = 63

# The loop keeps only weak references to tasks.
_running: set[asyncio.Task[Any]] = set()


def address(host: str, port: str) -> tuple[str, int] | str:
    """Where a session is, as asyncpg has it: host and port, or the path of the Unix socket in a directory."""
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, int(port))


class _Callback:
    """A function of the user's; equal to another one of an equal function."""

    __slots__ = ("function", "is_async")

    def __init__(self, function: Any) -> None:
        if not callable(function):
            raise InterfaceError(f"expected a callable or an `async def` function, got {function!r}")
        self.function: Callable[..., Any] = function
        self.is_async = inspect.iscoroutinefunction(function)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Callback) and (self.function is other.function or self.function == other.function)

    def __hash__(self) -> int:
        return hash(self.function)

    def schedule(self, loop: asyncio.AbstractEventLoop, here: bool, *args: Any) -> None:
        """Have *loop* call it soon; *here*: this is its thread."""
        if loop.is_closed():
            return  # nobody can be called any more
        call_soon = loop.call_soon if here else loop.call_soon_threadsafe
        if not self.is_async:
            call_soon(self.function, *args)
        elif here and loop.get_task_factory() is None:
            self._start(loop, *args)
        else:
            # A task factory may start its tasks at once.
            call_soon(self._start, loop, *args)

    def _start(self, loop: asyncio.AbstractEventLoop, *args: Any) -> None:
        task = loop.create_task(self.function(*args))
        _running.add(task)
        task.add_done_callback(_running.discard)


class Callbacks:
    """The callbacks of one session. The C part calls notified, noticed, ended, logged and leave."""

    __slots__ = ("addr", "channels", "listening", "log", "params", "queries", "termination")

    def __init__(self) -> None:
        # Sets that keep their order.
        self.channels: dict[str, dict[_Callback, None]] = {}
        self.log: dict[_Callback, None] = {}
        self.termination: dict[_Callback, None] = {}
        self.queries: dict[_Callback, None] = {}
        self.listening: set[str] = set()  # what the server knows of `channels`
        self.addr: tuple[str, int] | str = ""
        self.params: ConnectionParameters | None = None

    def notified(
        self,
        loop: asyncio.AbstractEventLoop,
        here: bool,
        connection: _core.Connection,
        pid: int,
        channel: str,
        payload: str,
    ) -> None:
        for callback in list(self.channels.get(channel, ())):
            callback.schedule(loop, here, connection, pid, channel, payload)

    def noticed(
        self,
        loop: asyncio.AbstractEventLoop,
        here: bool,
        connection: _core.Connection,
        fields: Mapping[str, str],
        query: str | None,
    ) -> None:
        if self.log:
            message = PostgresLogMessage.new(fields, query)
            for callback in list(self.log):
                callback.schedule(loop, here, connection, message)

    def ended(self, loop: asyncio.AbstractEventLoop, here: bool, connection: _core.Connection) -> None:
        # Not the query loggers: the statements that end with the session come after this.
        termination = self.termination
        self.termination = {}
        self.forget()
        for callback in termination:
            callback.schedule(loop, here, connection)

    def logged(
        self,
        loop: asyncio.AbstractEventLoop,
        here: bool,
        query: str,
        args: Any,
        timeout: float | None,
        elapsed: float,
        exception: BaseException | None,
    ) -> None:
        from holisticpool.reports import LoggedQuery

        assert self.params is not None
        record = LoggedQuery(query, args, timeout, elapsed, exception, self.addr, self.params)
        for callback in list(self.queries):
            callback.schedule(loop, here, record)

    def leave(self) -> tuple[int, int, bool]:
        """The lease ends: what it forgets of channels and of log messages, and whether anything lasts."""
        counts = sum(map(len, self.channels.values())), len(self.log)
        self.forget()
        return *counts, bool(self.termination or self.queries)

    def forget(self) -> None:
        self.channels.clear()
        self.listening.clear()
        self.log.clear()


class ListeningConnection(_core.Connection):
    """What Connection has of listeners and query loggers."""

    # The next two are for instrumentations, which read them where asyncpg has them, and for query loggers.

    @property
    def _addr(self) -> tuple[str, int] | str:
        """Host and port of the server, or the path of its Unix socket."""
        host, port, _, _ = self._endpoint()
        return address(host, port)

    @property
    def _params(self) -> ConnectionParameters:
        """User and database of the session."""
        from holisticpool.reports import ConnectionParameters

        _, _, user, database = self._endpoint()
        return ConnectionParameters(user, database)

    def _heard(self, method: str) -> Callbacks | None:
        """The callbacks of this session, None where there never were any; refuses a released lease."""
        if self._released:
            raise InterfaceError(f"cannot call Connection.{method}(): connection has been released back to the pool")
        return self._callbacks

    def _hear(self, method: str) -> Callbacks:
        """... and makes them where there are none."""
        callbacks = self._heard(method)
        if callbacks is None:
            callbacks = Callbacks()
            self._listen(callbacks, False)
        return callbacks

    async def add_listener(self, channel: str, callback: Callable[..., Any]) -> None:
        """Listen to *channel*: ``callback(connection, pid, channel, payload)`` for each notification.

        *callback* is a function or a coroutine function; adding it twice is adding
        it once. It lasts until remove_listener(), reset() or the end of the lease.
        Raises InterfaceError on a closed connection.
        """
        if not isinstance(channel, str):
            raise InterfaceError(f"channel is expected to be a string, got {channel!r}")
        added = _Callback(callback)
        callbacks = self._hear("add_listener")
        if self.is_closed():
            raise InterfaceError("connection is closed")
        name = _as_the_server_cuts_it(channel)
        listeners = callbacks.channels.setdefault(name, {})
        is_new = added not in listeners
        listeners[added] = None  # before LISTEN: a notification may come together with its answer
        if name in callbacks.listening:
            return
        try:
            await self.execute(f"LISTEN {_quoted(channel)}")
        except BaseException:
            if is_new:
                _remove(callbacks.channels, name, added)
            raise
        if name in callbacks.channels:
            callbacks.listening.add(name)

    async def remove_listener(self, channel: str, callback: Callable[..., Any]) -> None:
        """Undo add_listener(); no error where it was not added or the connection is closed."""
        callbacks = self._heard("remove_listener")
        if callbacks is None or self.is_closed():
            return
        name = _as_the_server_cuts_it(channel)
        if _remove(callbacks.channels, name, _Callback(callback)) and name not in callbacks.channels:
            callbacks.listening.discard(name)
            await self.execute(f"UNLISTEN {_quoted(channel)}")

    def add_log_listener(self, callback: Callable[..., Any]) -> None:
        """Have ``callback(connection, message)`` called for each notice, warning and other log message.

        *message* is a PostgresLogMessage, or an object of the class of its SQLSTATE.
        *callback* is a function or a coroutine function. It lasts until
        remove_log_listener(), reset() or the end of the lease. Raises
        InterfaceError on a closed connection.
        """
        callbacks = self._hear("add_log_listener")
        if self.is_closed():
            raise InterfaceError("connection is closed")
        callbacks.log[_Callback(callback)] = None

    def remove_log_listener(self, callback: Callable[..., Any]) -> None:
        """Undo add_log_listener(); no error where it was not added."""
        callbacks = self._heard("remove_log_listener")
        if callbacks is not None:
            callbacks.log.pop(_Callback(callback), None)

    def add_termination_listener(self, callback: Callable[..., Any]) -> None:
        """Have ``callback(connection)`` called once when the session has ended: closed, terminated or lost.

        *callback* is a function or a coroutine function. It lasts as long as the
        session, over the end of a lease.
        """
        self._hear("add_termination_listener").termination[_Callback(callback)] = None

    def remove_termination_listener(self, callback: Callable[..., Any]) -> None:
        """Undo add_termination_listener(); no error where it was not added."""
        callbacks = self._heard("remove_termination_listener")
        if callbacks is not None:
            callbacks.termination.pop(_Callback(callback), None)

    def add_query_logger(self, callback: Callable[..., Any]) -> None:
        """Have ``callback(record)``, with a LoggedQuery, called for each statement that has ended.

        *callback* is a function or a coroutine function. It lasts as long as the
        session, over the end of a lease: a pool's ``init=`` is the place to log the
        statements of all its connections.
        """
        callbacks = self._hear("add_query_logger")
        if callbacks.params is None and not self.is_closed():
            callbacks.addr, callbacks.params = self._addr, self._params
        callbacks.queries[_Callback(callback)] = None
        self._listen(callbacks, True)

    def remove_query_logger(self, callback: Callable[..., Any]) -> None:
        """Undo add_query_logger(); no error where it was not added."""
        callbacks = self._heard("remove_query_logger")
        if callbacks is not None:
            callbacks.queries.pop(_Callback(callback), None)
            self._listen(callbacks, bool(callbacks.queries))

    @contextmanager
    def query_logger(self, callback: Callable[..., Any]) -> Iterator[None]:
        """add_query_logger() for the time of a ``with`` block."""
        self.add_query_logger(callback)
        callbacks = self._callbacks
        try:
            yield
        finally:
            if not self._released:
                self.remove_query_logger(callback)
            elif callbacks is not None:
                callbacks.queries.pop(_Callback(callback), None)

    @property
    def _query_loggers(self) -> Iterable[_Callback]:
        return self._callbacks.queries.keys() if self._callbacks is not None else ()

    def _leave_listeners(self) -> tuple[bool, list[str]]:
        """What the C part does about listeners when a lease ends, for a pool with work left to do on it then.

        Returns whether the server still sends notifications for them, and what to warn of.
        """
        callbacks = self._callbacks
        if callbacks is None:
            return False, []
        must_unlisten = bool(callbacks.listening)
        notification, log, _ = callbacks.leave()
        return must_unlisten, [
            f"{self!r} is being released to the pool but has {count} active {kind} listener{'s' if count > 1 else ''}"
            for count, kind in ((notification, "notification"), (log, "log"))
            if count
        ]

    def _forget_listeners(self) -> None:
        """What reset() does about listeners: those that end with a lease."""
        if self._callbacks is not None:
            self._callbacks.forget()


def _remove(channels: dict[str, dict[_Callback, None]], name: str, callback: _Callback) -> bool:
    """Take a callback off a channel, and the channel with its last one; whether it was there."""
    listeners = channels.get(name)
    if listeners is None or callback not in listeners:
        return False
    del listeners[callback]
    if not listeners:
        del channels[name]
    return True


def _as_the_server_cuts_it(channel: str) -> str:
    encoded = channel.encode(errors="surrogatepass")
    return channel if len(encoded) <= _LONGEST_NAME_BYTES else encoded[:_LONGEST_NAME_BYTES].decode(errors="ignore")


def _quoted(channel: str) -> str:
    return '"' + channel.replace('"', '""') + '"'
