"""Connection.transaction(): BEGIN ... COMMIT, and savepoints inside it.

States of a Transaction:

    NEW --start--> STARTED --commit--> COMMITTED
     |                |-----rollback-> ROLLEDBACK
     +--- failed start, commit or rollback, or an outer one ended ---> FAILED

The transactions started on a connection form a stack, kept by the connection:
the lowest is the server's transaction, each other one a savepoint named by its
depth. Ending one ends all above it, as on the server. Names by depth instead of
unique ones keep the statements the same, so that they stay prepared.

BEGIN goes out in front of the first statement, without a round trip of its own
(csrc/engine/begin.h), unless somebody observes what the connection executes.

Nothing here has to run for the session to come back clean: releasing a lease
rolls back whatever is open, in C.
"""

from __future__ import annotations

import enum
from types import TracebackType
from typing import TYPE_CHECKING, Final

from holisticpool.exceptions import InterfaceError

if TYPE_CHECKING:
    from holisticpool.connection import Connection

ISOLATION_LEVELS: Final = ("read_committed", "read_uncommitted", "repeatable_read", "serializable")


class TransactionState(enum.Enum):
    """Where a transaction is; the module's docstring draws it."""

    NEW = "new"
    STARTED = "started"
    COMMITTED = "committed"
    ROLLEDBACK = "rolledback"
    FAILED = "failed"


_WHY_NOT: Final = {
    TransactionState.NEW: "is not yet started",
    TransactionState.STARTED: "is already started",
    TransactionState.COMMITTED: "is already committed",
    TransactionState.ROLLEDBACK: "is already rolled back",
    TransactionState.FAILED: "is in error state",
}


def check_isolation(isolation: str | None) -> None:
    """ValueError where *isolation* is no isolation level."""
    if isolation and isolation not in ISOLATION_LEVELS:
        raise ValueError(f"isolation is expected to be either of {ISOLATION_LEVELS}, got {isolation!r}")


def begin_statement(isolation: str | None, readonly: bool, deferrable: bool) -> str:
    """What begins such a transaction."""
    words = ["BEGIN"]
    if isolation:
        words.append(f"ISOLATION LEVEL {isolation.replace('_', ' ').upper()}")
    if readonly:
        words.append("READ ONLY")
    if deferrable:
        words.append("DEFERRABLE")
    return " ".join(words)


class Transaction:
    """A transaction or, inside another one, a savepoint. Made by Connection.transaction()."""

    __slots__ = ("_connection", "_deferrable", "_isolation", "_managed", "_readonly", "_savepoint", "_state")

    def __init__(self, connection: Connection, isolation: str | None, readonly: bool, deferrable: bool) -> None:
        check_isolation(isolation)
        self._connection = connection
        self._isolation = isolation or None
        self._readonly = readonly
        self._deferrable = deferrable
        self._state = TransactionState.NEW
        self._managed = False
        self._savepoint: str | None = None

    async def start(self) -> None:
        """Begin the transaction, or set the savepoint.

        Raises InterfaceError where it was started before, where the session is
        in a transaction that BEGIN started, and where the isolation level is not
        the outer transaction's.
        """
        self._check_usable("start")
        self._check_state("start", TransactionState.NEW)
        stack = self._connection._transactions
        if stack:
            await self._check_isolation(stack[0])
            self._savepoint = f"holisticpool_{len(stack)}"
        elif self._connection.is_in_transaction():
            raise InterfaceError("cannot use Connection.transaction() in a manually started transaction")
        if self._savepoint is None and self._connection._is_unobserved():
            # It travels with the first statement of the transaction, and an error of it with that one's answer.
            self._connection._begin(self._start_statement())
            self._state = TransactionState.STARTED
        else:
            await self._execute(self._start_statement(), TransactionState.STARTED)
        stack.append(self)

    async def commit(self) -> None:
        """Commit the transaction, or release the savepoint."""
        self._check_usable("commit")
        if self._managed:
            raise InterfaceError("cannot manually commit from within an `async with` block")
        await self._commit()

    async def rollback(self) -> None:
        """Roll the transaction back, or go back to the savepoint."""
        self._check_usable("rollback")
        if self._managed:
            raise InterfaceError("cannot manually rollback from within an `async with` block")
        await self._rollback()

    async def __aenter__(self) -> None:
        if self._managed:
            raise InterfaceError("cannot enter context: already in an `async with` block")
        self._managed = True
        try:
            await self.start()
        except BaseException:
            self._managed = False
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._managed = False
        if exc_type is None:
            self._check_usable("__aexit__")
            await self._commit()
        elif not self._connection._released and not self._connection.is_closed():
            await self._rollback()
        # Otherwise the transaction ended with the session or the lease, and
        # the exception that is on its way says more than another one would.

    async def _commit(self) -> None:
        self._check_state("commit", TransactionState.STARTED)
        self._leave_stack()
        if self._savepoint is None and self._connection._drop_begin():
            self._state = TransactionState.COMMITTED
            return
        statement = "COMMIT" if self._savepoint is None else f"RELEASE SAVEPOINT {self._savepoint}"
        await self._execute(statement, TransactionState.COMMITTED)

    async def _rollback(self) -> None:
        self._check_state("rollback", TransactionState.STARTED)
        self._leave_stack()
        if self._savepoint is None:
            if self._connection._drop_begin():
                self._state = TransactionState.ROLLEDBACK
            else:
                await self._execute("ROLLBACK", TransactionState.ROLLEDBACK)
            return
        await self._execute(f"ROLLBACK TO SAVEPOINT {self._savepoint}", TransactionState.ROLLEDBACK)
        # Going back keeps the savepoint: a loop that fails often would nest the
        # transaction deeper with every turn.
        await self._execute(f"RELEASE SAVEPOINT {self._savepoint}", TransactionState.ROLLEDBACK)

    async def _execute(self, statement: str, state: TransactionState) -> None:
        self._state = TransactionState.FAILED
        await self._connection.execute(statement)
        self._state = state

    def _leave_stack(self) -> None:
        stack = self._connection._transactions
        if self not in stack:
            return  # reset() has ended it; the server says so to what follows
        depth = stack.index(self)
        for inner in stack[depth + 1 :]:
            inner._state = TransactionState.FAILED
        del stack[depth:]

    def _start_statement(self) -> str:
        if self._savepoint is not None:
            return f"SAVEPOINT {self._savepoint}"
        return begin_statement(self._isolation, self._readonly, self._deferrable)

    async def _check_isolation(self, outer: Transaction) -> None:
        if self._isolation is None:
            return
        current = outer._isolation
        if current is None:
            shown: str = await self._connection.fetchval("SHOW transaction_isolation")
            current = shown.replace(" ", "_")
        if self._isolation != current:
            raise InterfaceError(
                f"nested transaction has a different isolation level: current {self._isolation!r} != outer {current!r}"
            )

    def _check_state(self, operation: str, wanted: TransactionState) -> None:
        if self._state is not wanted:
            raise InterfaceError(f"cannot {operation}; the transaction {_WHY_NOT[self._state]}")

    def _check_usable(self, method: str) -> None:
        connection = self._connection
        if connection._released:
            problem = "the underlying connection has been released back to the pool"
        elif connection.is_closed():
            problem = "the underlying connection is closed"
        else:
            return
        raise InterfaceError(f"cannot call {type(self).__name__}.{method}(): {problem}")

    def __repr__(self) -> str:
        words = [f"state:{self._state.value}"]
        if self._isolation is not None:
            words.append(self._isolation)
        if self._readonly:
            words.append("readonly")
        if self._deferrable:
            words.append("deferrable")
        # The name that users import a class of ours by.
        module = type(self).__module__
        module = module.partition(".")[0] if module.startswith("holisticpool.") else module
        return f"<{module}.{type(self).__name__} {' '.join(words)} {id(self):#x}>"
