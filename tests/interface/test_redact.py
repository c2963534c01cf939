"""No password gets through redact(), wherever it stands."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from holisticpool.redact import describe, redact, secrets_of

SECRET = "s3cret pass/w@rd"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app:{}@db.example.com:5432/app?sslmode=require",
        "postgres://app:{}@/app?host=/run/postgresql",
        "postgresql+asyncpg://app:{}@h/app",
        "could not connect to postgresql://app:{}@h/app: timeout",
        "postgresql://h/app?user=app&password={}&sslmode=require",
        "postgresql://h/app?sslpassword={}",
        "host=h password={} user=app",
        "host=h sslpassword = {}",
        "PGPASSWORD={} psql",
        "oauth_client_secret={}",
    ],
)
@pytest.mark.parametrize("secret", ["hunter22", quote(SECRET, safe=""), "p%40ss%2Fw", "a:b:c"])
def test_password_is_hidden_by_its_place(text: str, secret: str) -> None:
    assert secret not in redact(text.format(secret))


@pytest.mark.parametrize("secret", ["p@ss", "p/ss@x", "p@ss@word"])
def test_password_that_was_not_percent_encoded_is_hidden(secret: str) -> None:
    redacted = redact(f"postgresql://app:{secret}@h/app")
    assert secret not in redacted
    assert "ss" not in redacted.replace("postgresql", "")


def test_quoted_password_of_a_keyword_string_is_hidden() -> None:
    assert "many words" not in redact(r"host=h password='it\'s many words' user=app")


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER ROLE app PASSWORD 'hunter22'",
        "CREATE ROLE app LOGIN ENCRYPTED PASSWORD E'hunter22'",
        "ALTER ROLE app password $$hunter22$$",
        "ALTER ROLE app PASSWORD 'hunter22 cut off in the mid",
    ],
)
def test_password_in_sql_is_hidden(sql: str) -> None:
    assert "hunter22" not in redact(sql)


def test_what_is_no_secret_stays() -> None:
    text = 'connection to "db.example.com" (10.0.0.1), port 5432 failed: FATAL: database "app" does not exist'
    assert redact(text) == text
    assert redact("postgresql://app:x@db:5432/app") == "postgresql://app:***@db:5432/app"


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://app:{quote(SECRET, safe='')}@h/app",
        f"postgresql://h/app?user=app&password={quote(SECRET, safe='')}",
        f"postgresql://h/app?pass%77ord={quote(SECRET, safe='')}",
        f"host=h user=app password='{SECRET}'",
        f"host=h sslpassword={SECRET.replace(' ', chr(92) + ' ')}",
    ],
)
def test_literal_password_of_a_dsn_is_hidden_in_any_text(dsn: str) -> None:
    secrets = secrets_of(dsn)
    assert SECRET not in redact(f"something about {SECRET} went wrong", *secrets)
    assert quote(SECRET, safe="") not in redact(f"about {quote(SECRET, safe='')}.", *secrets)


def test_password_keyword_is_a_secret() -> None:
    assert SECRET in secrets_of(None, SECRET)


def test_name_that_is_also_the_password_stays_readable() -> None:
    secrets = secrets_of("postgresql://postgres:postgres@h/postgres")
    assert redact('role "postgres" does not exist', *secrets) == 'role "postgres" does not exist'


def test_error_without_text_is_described_by_its_class() -> None:
    assert describe(TimeoutError()) == "TimeoutError"
