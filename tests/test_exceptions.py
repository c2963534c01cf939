"""Exceptions: asyncpg's names and hierarchy, what they carry, and that they survive pickling."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import subprocess
import sys
import tempfile
from typing import Any

import pytest

from holisticpool import exceptions

asyncpg_exceptions = pytest.importorskip("asyncpg.exceptions")

ASYNCPG_NAMES = sorted(asyncpg_exceptions.__all__)
SERVER_CLASSES = [
    value
    for value in (getattr(exceptions, name) for name in exceptions.__all__)
    if inspect.isclass(value) and "sqlstate" in value.__dict__
]
UNIQUE_VIOLATION = {
    "S": "ERROR",
    "V": "ERROR",
    "C": "23505",
    "M": 'duplicate key value violates unique constraint "users_pkey"',
    "D": "Key (id)=(1) already exists.",
    "H": "Take another.",
    "P": "15",
    "p": "3",
    "q": "SELECT 1",
    "W": "PL/pgSQL function f() line 1",
    "s": "public",
    "t": "users",
    "c": "id",
    "d": "int4",
    "n": "users_pkey",
    "F": "nbtinsert.c",
    "L": "666",
    "R": "_bt_check_unique",
}


def lineage(cls: type) -> list[str]:
    return [base.__name__ for base in cls.__mro__]


# What ends a session while a statement runs: with asyncpg the caller gets only ConnectionDoesNotExistError.
SESSION_ENDS = {
    "AdminShutdownError",
    "CrashShutdownError",
    "DatabaseDroppedError",
    "IdleInTransactionSessionTimeoutError",
    "IdleSessionTimeoutError",
    "TransactionTimeoutError",
}


def server_error(code: str, **fields: str) -> exceptions.PostgresError:
    return exceptions._new_server_error({"S": "ERROR", "V": "ERROR", "C": code, "M": "no", **fields}, "SELECT 1")


@pytest.mark.parametrize("name", ASYNCPG_NAMES)
def test_each_asyncpg_name_has_the_same_ancestors_and_sqlstate(name: str) -> None:
    theirs, ours = getattr(asyncpg_exceptions, name), getattr(exceptions, name)
    added = {"ConnectionDoesNotExistError", "PostgresConnectionError"} if name in SESSION_ENDS else set()
    assert [base for base in lineage(ours) if base not in added] == lineage(theirs)
    assert added <= set(lineage(ours))
    assert getattr(ours, "sqlstate", None) == getattr(theirs, "sqlstate", None)
    assert name in exceptions.__all__


def test_no_two_classes_share_a_sqlstate() -> None:
    codes = [cls.sqlstate for cls in SERVER_CLASSES if cls.sqlstate is not None]
    assert len(codes) == len(set(codes)) > 200


@pytest.mark.parametrize("cls", SERVER_CLASSES, ids=lambda cls: cls.__name__)
def test_a_message_becomes_the_class_of_its_sqlstate(cls: type[exceptions.PostgresError]) -> None:
    if cls.sqlstate is None:
        return
    error = server_error(cls.sqlstate)
    assert type(error) is (cls if issubclass(cls, exceptions.PostgresError) else exceptions.PostgresError)
    assert error.sqlstate == cls.sqlstate
    assert error.args == ("no",)


def test_an_error_carries_every_field_as_asyncpg_does() -> None:
    ours = exceptions._new_server_error(UNIQUE_VIOLATION, "INSERT INTO users VALUES (1)")
    theirs = asyncpg_exceptions.PostgresError.new(UNIQUE_VIOLATION, "INSERT INTO users VALUES (1)")
    assert isinstance(ours, exceptions.UniqueViolationError)
    assert ours.as_dict() == theirs.as_dict()
    assert ours.query == theirs.query
    assert str(ours) == str(theirs)
    assert ours.constraint_name == "users_pkey"
    assert ours.table_name == "users"
    assert ours.position == "15"


def test_an_error_without_optional_fields_has_none_there() -> None:
    error = server_error("42601")
    assert error.detail is None
    assert error.constraint_name is None
    assert str(error) == "no"
    assert error.as_dict() == {"severity": "ERROR", "severity_en": "ERROR", "sqlstate": "42601", "message": "no"}


def test_fields_of_a_later_protocol_are_left_out() -> None:
    assert "?" not in server_error("42601", **{"?": "new"}).__dict__


@pytest.mark.parametrize("code", ["ABCDE", "23999", ""])
def test_an_unknown_sqlstate_becomes_unknown_postgres_error(code: str) -> None:
    error = server_error(code)
    assert type(error) is exceptions.UnknownPostgresError
    assert type(error).__name__ == type(asyncpg_exceptions.PostgresError.new({"C": code, "M": "no"})).__name__
    assert error.sqlstate == code


def test_an_error_raised_with_a_warnings_code_is_still_an_error() -> None:
    error = server_error("01000")
    assert type(error) is exceptions.PostgresError
    assert error.sqlstate == "01000"


def test_an_outdated_plan_has_a_class_of_its_own() -> None:
    error = server_error("0A000", R="RevalidateCachedQuery")
    assert type(error) is exceptions.InvalidCachedStatementError
    assert isinstance(error, exceptions.FeatureNotSupportedError)
    assert error.message == "no"
    assert type(server_error("0A000")) is exceptions.FeatureNotSupportedError


@pytest.mark.parametrize("code", ["26000", "42P05"])
def test_lost_prepared_statements_hint_at_a_pooler_in_between(code: str) -> None:
    hint = server_error(code, H="Server says.").hint
    assert hint is not None
    assert hint.startswith("Server says.\n")
    assert "statement_cache_size=0" in hint


def test_an_application_may_define_a_class_for_its_own_sqlstate() -> None:
    class OutOfStock(exceptions.PostgresError):
        sqlstate = "UX001"

    try:
        assert type(server_error("UX001")) is OutOfStock
        with pytest.raises(TypeError, match="UX001 belongs to OutOfStock"):
            type("Other", (exceptions.PostgresError,), {"sqlstate": "UX001"})
    finally:
        del exceptions.PostgresError._by_sqlstate["UX001"]


# Classes are made when they are asked for, so that what happens before that is seen in another process.


def fresh(program: str) -> str:
    """What *program* prints in a process that has imported nothing."""
    # Not in the checkout, whose holisticpool has no extension.
    elsewhere = tempfile.gettempdir()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_makes_only_the_classes_that_it_needs() -> None:
    program = "import holisticpool; print(len(holisticpool.PostgresError._by_sqlstate))"
    assert int(fresh(program)) < 10


@pytest.mark.parametrize("first", ["error", "name"])
def test_an_error_is_of_the_class_that_its_name_gives_whichever_is_first(first: str) -> None:
    steps = {"error": "e = new({'C': '23505', 'M': 'no'}, None)", "name": "c = exceptions.UniqueViolationError"}
    second = steps["name" if first == "error" else "error"]
    program = (
        "from holisticpool import exceptions; new = exceptions._new_server_error\n"
        f"{steps[first]}\n{second}\n"
        "print(type(e) is c, isinstance(e, exceptions.IntegrityConstraintViolationError))"
    )
    assert fresh(program) == "True True"


def test_an_application_cannot_take_a_code_whose_class_nobody_has_asked_for() -> None:
    program = (
        "from holisticpool import PostgresError\n"
        "try:\n    type('Mine', (PostgresError,), {'sqlstate': '23505'})\n"
        "except TypeError as error:\n    print(error)"
    )
    assert fresh(program) == "Mine: SQLSTATE 23505 belongs to UniqueViolationError"


def test_an_error_of_another_process_is_unpickled_into_a_class_that_is_not_made_yet() -> None:
    pickled = pickle.dumps(server_error("23505"))
    program = f"import pickle; print(type(pickle.loads({pickled!r})).__qualname__)"
    assert fresh(program) == "UniqueViolationError"


@pytest.mark.parametrize("module", ["holisticpool", "holisticpool.exceptions"])
def test_dir_and_star_have_every_name(module: str) -> None:
    program = (
        f"import {module} as m; assert set(m.__all__) <= set(dir(m))\n"
        f"from {module} import *; assert set(m.__all__) <= set(globals())\n"
        "try:\n    m.NoSuchError\n"
        "except AttributeError as error:\n    print(error)"
    )
    assert fresh(program) == f"module '{module}' has no attribute 'NoSuchError'"


def test_threads_that_ask_at_once_get_the_same_class() -> None:
    program = (
        "import sys, threading; sys.setswitchinterval(1e-6)\n"
        "from holisticpool import exceptions\n"
        "found, gate = [], threading.Barrier(8)\n"
        "def ask():\n    gate.wait(); found.append(exceptions._sqlstates.AssertError)\n"
        "threads = [threading.Thread(target=ask) for _ in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(len(found), len(set(found)))"
    )
    assert fresh(program) == "8 1"


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"V": "NOTICE", "C": "00000", "M": "hello"}, "PostgresLogMessage"),
        ({"V": "WARNING", "C": "00000", "M": "hello"}, "PostgresWarning"),
        ({"S": "WARNING", "C": "01000", "M": "hello"}, "PostgresWarning"),
        ({"V": "WARNING", "C": "01006", "M": "hello"}, "PrivilegeNotRevoked"),
        ({"V": "NOTICE", "C": "42P07", "M": "exists"}, "DuplicateTableError"),
        ({"V": "LOG", "C": "UX002", "M": "odd"}, "PostgresLogMessage"),
    ],
)
def test_notices_become_the_same_classes_as_in_asyncpg(fields: dict[str, str], name: str) -> None:
    ours, theirs = exceptions.PostgresLogMessage.new(fields), asyncpg_exceptions.PostgresLogMessage.new(fields)
    assert type(ours).__name__ == type(theirs).__name__ == name
    assert ours.as_dict() == theirs.as_dict()
    assert str(ours) == str(theirs)


def test_log_messages_are_read_only() -> None:
    message = exceptions.PostgresLogMessage.new({"V": "NOTICE", "C": "00000", "M": "hello"})
    with pytest.raises(TypeError):
        message.detail = "changed"
    assert message.message == "hello"


def test_client_side_bad_input_is_caught_by_each_of_its_names() -> None:
    error = exceptions.ClientDataError("invalid input for query argument $1", hint="Pass an int.")
    assert isinstance(error, exceptions.DataError)
    assert isinstance(error, exceptions.InterfaceError)
    assert isinstance(error, ValueError)
    assert str(error) == "invalid input for query argument $1\nHINT:  Pass an int."


def test_exhausted_and_unavailable_are_what_asyncpg_raises_there() -> None:
    for cls in (exceptions.PoolExhaustedError, exceptions.ServerUnavailableError):
        assert issubclass(cls, exceptions.InterfaceError)
        assert issubclass(cls, TimeoutError)
        assert issubclass(cls, asyncio.TimeoutError)
    assert issubclass(exceptions.ServerUnavailableError, ConnectionError)
    assert not issubclass(exceptions.PoolExhaustedError, ConnectionError)
    assert issubclass(exceptions.QueryTimeoutError, TimeoutError)
    assert issubclass(exceptions.QueryTimeoutError, asyncio.TimeoutError)


def test_exhausted_says_how_many_are_leased_how_long_and_how_many_wait() -> None:
    error = exceptions.PoolExhaustedError(leased=8, longest_lease=12.34, waiting=5, max_size=8)
    assert (error.leased, error.longest_lease, error.waiting, error.max_size) == (8, 12.34, 5, 8)
    assert "8 of at most 8" in str(error)
    assert "12.3 s" in str(error)
    assert "5 more requests" in str(error)


def test_unavailable_carries_the_last_connection_error_as_its_cause() -> None:
    refused = ConnectionRefusedError(111, "Connection refused")
    error = exceptions.ServerUnavailableError(last_error=refused, host="db1", attempts=3)
    assert error.__cause__ is error.last_error is refused
    assert "db1" in str(error)
    assert "3 attempts" in str(error)
    assert "Connection refused" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "cannot connect to postgresql://app:s3cret@db:5432/x",
        "cannot connect to postgresql://app:s3cret@x@db/x?sslmode=require",
        "bad option in host=db password=s3cret user=app",
        "bad option in host=db password = 's3cret \\' s3cret' user=app",
        "bad option in sslpassword=s3cret",
        "postgres://db/x?user=app&password=s3cret&connect_timeout=3",
        "PASSWORD=s3cret",
    ],
)
def test_no_client_side_message_shows_a_password(text: str) -> None:
    errors = [
        exceptions.ClientConfigurationError(text),
        exceptions.InterfaceError("other").with_msg(text),
        exceptions.ServerUnavailableError(last_error=OSError(text)),
        exceptions.ClientDataError(text),
    ]
    for error in errors:
        assert "s3cret" not in str(error)
        assert "s3cret" not in repr(error)
        assert "***" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "password authentication failed for user app",
        "https://example.org/help",
        "postgresql://app@db/x",
        "user@db: no",
    ],
)
def test_text_without_a_password_stays_as_it_is(text: str) -> None:
    assert str(exceptions.InterfaceError(text)) == text


def test_with_msg_keeps_class_attributes_and_traceback() -> None:
    try:
        raise exceptions.PoolExhaustedError("old", leased=3, max_size=4, hint="Wait.")
    except exceptions.PoolExhaustedError as raised:
        error = raised.with_msg("new")
        assert error.__traceback__ is raised.__traceback__
    assert type(error) is exceptions.PoolExhaustedError
    assert (error.args, error.leased, error.max_size, error.hint) == (("new",), 3, 4, "Wait.")


EXAMPLES: list[Any] = [
    exceptions._new_server_error(UNIQUE_VIOLATION, "INSERT"),
    server_error("UX003"),
    server_error("0A000", R="RevalidateCachedQuery"),
    exceptions.PostgresError("made by hand"),
    exceptions.PostgresLogMessage.new({"V": "NOTICE", "C": "00000", "M": "hello"}),
    exceptions.PostgresLogMessage.new({"V": "WARNING", "C": "01000", "M": "hello"}),
    exceptions.InterfaceError("no", detail="d", hint="h"),
    exceptions.InterfaceWarning("no", detail="d", hint="h"),
    exceptions.ClientConfigurationError("no"),
    exceptions.ClientDataError("no", detail="d", hint="h"),
    exceptions.InternalClientError("no"),
    exceptions.OutdatedSchemaCacheError("no", schema="public", data_type="t", position=2),
    exceptions.PoolExhaustedError("no", leased=1, longest_lease=2.5, waiting=3, max_size=4),
    exceptions.ServerUnavailableError("no", host="db", attempts=2),
    exceptions.QueryTimeoutError("no", timeout=30.0),
]


@pytest.mark.parametrize("original", EXAMPLES, ids=lambda example: type(example).__name__)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_every_exception_can_be_copied_and_pickled(original: Any, duplicate: Any) -> None:
    result = duplicate(original)
    assert type(result) is type(original)
    assert result.__dict__ == original.__dict__
    assert str(result) == str(original)
    assert getattr(result, "args", None) == getattr(original, "args", None)


def test_the_last_connection_error_survives_pickling() -> None:
    error = exceptions.ServerUnavailableError(last_error=server_error("57P03"))
    last = pickle.loads(pickle.dumps(error)).last_error
    assert type(last) is exceptions.CannotConnectNowError
    assert last.sqlstate == "57P03"


def test_tracebacks_name_the_module_that_users_import_from() -> None:
    assert {getattr(exceptions, name).__module__ for name in exceptions.__all__} == {"holisticpool.exceptions"}
