"""SQLAlchemy's engine and ORM on holisticpool: what applications written for postgresql+asyncpg do."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import enum
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKey,
    Interval,
    LargeBinary,
    Numeric,
    String,
    cast,
    event,
    exc,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import HSTORE, INET, INT4RANGE, JSONB, TSTZRANGE, Range
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload
from sqlalchemy.pool import NullPool

import holisticpool

Engines = Callable[..., AsyncEngine]


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Author(Base):
    __tablename__ = "sa_author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    books: Mapped[list[Book]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "sa_book"
    __table_args__ = (CheckConstraint("price >= 0", name="sa_book_price"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(index=True)
    price: Mapped[decimal.Decimal] = mapped_column(Numeric(10, 2), default=decimal.Decimal(0))
    author_id: Mapped[int] = mapped_column(ForeignKey("sa_author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


class Everything(Base):
    __tablename__ = "sa_everything"

    id: Mapped[int] = mapped_column(primary_key=True)
    big: Mapped[int | None] = mapped_column(BigInteger)
    number: Mapped[decimal.Decimal | None] = mapped_column(Numeric(20, 5))
    real: Mapped[float | None]
    yes: Mapped[bool | None]
    day: Mapped[datetime.date | None]
    at: Mapped[datetime.datetime | None] = mapped_column(DateTime(timezone=True))
    local: Mapped[datetime.datetime | None]
    clock: Mapped[datetime.time | None]
    span: Mapped[datetime.timedelta | None] = mapped_column(Interval)
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)
    key: Mapped[uuid.UUID | None]
    document: Mapped[Any] = mapped_column(JSON, nullable=True)
    binary_document: Mapped[Any] = mapped_column(JSONB, nullable=True)
    colour: Mapped[Colour | None] = mapped_column(Enum(Colour, name="sa_colour"))
    colours: Mapped[list[Colour] | None] = mapped_column(ARRAY(Enum(Colour, name="sa_colour")))
    words: Mapped[list[str] | None] = mapped_column(ARRAY(String))
    matrix: Mapped[list[list[int]] | None] = mapped_column(ARRAY(BigInteger, dimensions=2))
    numbers: Mapped[Range[int] | None] = mapped_column(INT4RANGE)
    stay: Mapped[Range[datetime.datetime] | None] = mapped_column(TSTZRANGE)
    address: Mapped[Any] = mapped_column(INET, nullable=True)


VALUES: dict[str, Any] = {
    "big": 2**62,
    "number": decimal.Decimal("-12345.67890"),
    "real": 0.1,
    "yes": True,
    "day": datetime.date(2024, 2, 29),
    "at": datetime.datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=datetime.timezone.utc),
    "local": datetime.datetime(2024, 2, 29, 12, 30, 15),
    "clock": datetime.time(23, 59, 59, 999999),
    "span": datetime.timedelta(days=400, seconds=3, microseconds=5),
    "raw": b"\x00\xff",
    "key": uuid.UUID(int=7),
    "document": {"a": [1, None, "ü"], "b": {}},
    "binary_document": [{"n": 1.5}, "x"],
    "colour": Colour.GREEN,
    "colours": [Colour.RED, Colour.GREEN],
    "words": ["one", "tw,o", '"'],
    "matrix": [[1, 2], [3, 4]],
    "numbers": Range(1, 10, bounds="[)"),
    "stay": Range(datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc), None, bounds="[)"),
}


@pytest.fixture
async def tables(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """The engine, with the tables of all models."""
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.drop_all)
        await conn.run_sync(Base.metadata.create_all)
    yield engine
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.drop_all)


@pytest.fixture
def sessions(tables: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(tables, expire_on_commit=False)


# ---- the ORM ----


async def test_orm_creates_reads_updates_and_deletes(sessions: async_sessionmaker[AsyncSession]) -> None:
    async with sessions.begin() as session:
        session.add(Author(name="Ada", books=[Book(title="Notes", price=decimal.Decimal("9.50"))]))
    async with sessions.begin() as session:
        ada = (await session.scalars(select(Author).where(Author.name == "Ada"))).one()
        ada.name = "Ada L."
    async with sessions() as session:
        names = (await session.scalars(select(Author.name))).all()
        assert names == ["Ada L."]
        await session.delete(await session.get_one(Author, ada.id))
        await session.commit()
        assert (await session.scalar(select(func.count()).select_from(Book))) == 0


async def test_orm_loads_relationships(sessions: async_sessionmaker[AsyncSession]) -> None:
    async with sessions.begin() as session:
        session.add_all(Author(name=f"a{i}", books=[Book(title=f"t{i}{j}") for j in range(3)]) for i in range(3))
    async with sessions() as session:
        authors = (await session.scalars(select(Author).options(selectinload(Author.books)).order_by(Author.id))).all()
        assert [[book.title for book in author.books] for author in authors] == [
            [f"t{i}{j}" for j in range(3)] for i in range(3)
        ]
        joined = await session.execute(select(Book.title, Author.name).join(Book.author).where(Author.name == "a1"))
        assert sorted(joined.all()) == [("t10", "a1"), ("t11", "a1"), ("t12", "a1")]


async def test_orm_inserts_many_rows_and_gets_their_keys(sessions: async_sessionmaker[AsyncSession]) -> None:
    async with sessions.begin() as session:
        authors = [Author(name=f"n{i}") for i in range(2500)]
        session.add_all(authors)
        await session.flush()
        keys = [author.id for author in authors]
        assert len(set(keys)) == 2500
        stored = (await session.execute(select(Author.id, Author.name))).all()
        assert {row.id: row.name for row in stored} == {author.id: author.name for author in authors}


async def test_rowcount_counts_rows(sessions: async_sessionmaker[AsyncSession]) -> None:
    async with sessions.begin() as session:
        session.add_all(Author(name=f"n{i}") for i in range(5))
        await session.flush()
        changed: Any = await session.execute(update(Author).values(name=Author.name + "x").where(Author.name != "n0"))
        assert changed.rowcount == 4


async def test_every_type_comes_back_as_it_was(sessions: async_sessionmaker[AsyncSession]) -> None:
    async with sessions.begin() as session:
        session.add_all([Everything(id=1, **VALUES), Everything(id=2)])
    async with sessions() as session:
        full = await session.get_one(Everything, 1)
        assert {name: getattr(full, name) for name in VALUES} == VALUES
        empty = await session.get_one(Everything, 2)
        assert all(getattr(empty, name) is None for name in VALUES)


async def test_core_executes_many_with_one_statement(tables: AsyncEngine) -> None:
    async with tables.begin() as conn:
        await conn.execute(insert(Author), [{"id": i, "name": f"n{i}"} for i in range(1, 101)])
        await conn.execute(
            update(Author).where(Author.id == text(":i")).values(name=text(":n")),
            [{"i": i, "n": f"m{i}"} for i in range(1, 101)],
        )
        assert (await conn.scalar(select(func.count()).where(Author.name.like("m%")))) == 100


async def test_upsert_returns_the_row(tables: AsyncEngine) -> None:
    statement = (
        pg_insert(Author).values(name="x").on_conflict_do_update(index_elements=[Author.name], set_={"name": "y"})
    )
    async with tables.begin() as conn:
        first = (await conn.execute(statement.returning(Author.id))).scalar_one()
        second = (await conn.execute(statement.returning(Author.id, Author.name))).one()
        assert second == (first, "y")


# ---- types ----


@pytest.mark.parametrize("kind", [JSON, JSONB])
@pytest.mark.parametrize("value", [{}, [], {"a": {"b": [1, 2.5, None, True]}}, "text", 7])
async def test_json_documents_are_python_values(engine: AsyncEngine, kind: type, value: object) -> None:
    async with engine.connect() as conn:
        assert (await conn.scalar(select(cast(literal(value, kind), kind)))) == value


async def test_json_deserializer_of_the_engine_is_used(make_engine: Engines) -> None:
    engine = make_engine(json_deserializer=lambda document: ("seen", document))
    async with engine.connect() as conn:
        assert (await conn.scalar(text("SELECT '[1]'::json"))) == ("seen", "[1]")
        assert (await conn.scalar(text("SELECT '[1]'::jsonb"))) == ("seen", "[1]")


async def test_jsonb_is_searched_by_path(tables: AsyncEngine) -> None:
    async with tables.begin() as conn:
        await conn.execute(insert(Everything).values(id=1, binary_document={"a": {"b": [10, 20]}}))
        document = Everything.binary_document
        assert (await conn.scalar(select(document["a"]["b"][1].as_integer()))) == 20
        assert (await conn.scalar(select(document[("a", "b", 0)].as_integer()))) == 10
        assert (await conn.scalar(select(document.contains({"a": {"b": [20]}})))) is True


async def test_inet_stays_text_when_native_types_are_off(make_engine: Engines) -> None:
    engine = make_engine(native_inet_types=False)
    async with engine.connect() as conn:
        assert (await conn.scalar(text("SELECT '10.0.0.1/8'::inet"))) == "10.0.0.1/8"


async def test_hstore_is_read_and_written(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        await conn.execute(text("CREATE EXTENSION IF NOT EXISTS hstore"))
        value = {"a": "1", "b": None}
        assert (await conn.scalar(select(cast(literal(value, HSTORE), HSTORE)))) == value


async def test_expanding_and_array_parameters(tables: AsyncEngine) -> None:
    async with tables.begin() as conn:
        await conn.execute(insert(Author), [{"id": i, "name": f"n{i}"} for i in range(1, 6)])
        assert sorted(await conn.scalars(select(Author.id).where(Author.id.in_([1, 3, 9])))) == [1, 3]
        assert sorted(
            await conn.scalars(select(Author.id).where(Author.id == func.any(cast([2, 4], ARRAY(BigInteger)))))
        ) == [2, 4]


# ---- streaming ----


async def test_stream_reads_a_server_side_cursor(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        result = await conn.stream(text("SELECT generate_series(1, 1234) AS n"))
        assert [row.n async for row in result] == list(range(1, 1235))


async def test_stream_can_be_left_in_the_middle(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        async with conn.stream(text("SELECT generate_series(1, 100000) AS n")) as result:
            async for row in result:
                if row.n == 60:
                    break
        assert (await conn.scalar(text("SELECT 1"))) == 1


async def test_orm_streams_in_portions(sessions: async_sessionmaker[AsyncSession]) -> None:
    async with sessions.begin() as session:
        session.add_all(Author(name=f"n{i}") for i in range(250))
    async with sessions() as session:
        result = await session.stream_scalars(select(Author).order_by(Author.id), execution_options={"yield_per": 100})
        assert [len(portion) async for portion in result.partitions()] == [100, 100, 50]


async def test_two_streams_are_read_in_turn(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        one = await conn.stream(text("SELECT generate_series(1, 200)"))
        two = await conn.stream(text("SELECT generate_series(201, 400)"))
        read = [(await one.fetchone(), await two.fetchone()) for _ in range(200)]
        assert read == [((i,), (i + 200,)) for i in range(1, 201)]


# ---- transactions ----


async def test_rollback_undoes_and_commit_keeps(tables: AsyncEngine) -> None:
    async with tables.connect() as conn:
        await conn.execute(insert(Author).values(name="gone"))
        await conn.rollback()
        await conn.execute(insert(Author).values(name="kept"))
        await conn.commit()
    async with tables.connect() as conn:
        assert (await conn.scalars(select(Author.name))).all() == ["kept"]


async def test_savepoint_is_rolled_back_alone(sessions: async_sessionmaker[AsyncSession]) -> None:
    async with sessions.begin() as session:
        session.add(Author(name="outer"))
        with pytest.raises(exc.IntegrityError):
            async with session.begin_nested():
                session.add(Author(name="outer"))
        async with session.begin_nested():
            session.add(Author(name="inner"))
    async with sessions() as session:
        assert sorted(await session.scalars(select(Author.name))) == ["inner", "outer"]


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
async def test_isolation_level_is_the_transactions(engine: AsyncEngine, level: str) -> None:
    async with engine.connect() as conn:
        await conn.execution_options(isolation_level=level)
        assert (await conn.scalar(text("SHOW transaction_isolation"))) == level.lower()
        assert (await conn.get_isolation_level()) == level


async def test_autocommit_needs_no_commit(tables: AsyncEngine) -> None:
    async with tables.execution_options(isolation_level="AUTOCOMMIT").connect() as conn:
        await conn.execute(insert(Author).values(name="there"))
        raw = await conn.get_raw_connection()
        driver: Any = raw.driver_connection
        assert not driver.is_in_transaction()
        await conn.execute(text("VACUUM sa_author"))
    async with tables.connect() as conn:
        assert (await conn.scalar(select(Author.name))) == "there"


async def test_readonly_transaction_refuses_to_write(tables: AsyncEngine) -> None:
    async with tables.connect() as conn:
        await conn.execution_options(postgresql_readonly=True)
        with pytest.raises(exc.DBAPIError, match="read-only"):
            await conn.execute(insert(Author).values(name="x"))


# ---- errors ----


@pytest.mark.parametrize(
    ("statement", "kind", "driver_error"),
    [
        ("INSERT INTO sa_author (id, name) VALUES (1, 'a'), (2, 'a')", exc.IntegrityError, "UniqueViolationError"),
        ("INSERT INTO sa_author (id) VALUES (1)", exc.IntegrityError, "NotNullViolationError"),
        ("INSERT INTO sa_book VALUES (1, 't', 0, 9)", exc.IntegrityError, "ForeignKeyViolationError"),
        ("INSERT INTO sa_book VALUES (1, 't', -1, 9)", exc.IntegrityError, "CheckViolationError"),
        ("SELECT * FROM sa_nowhere", exc.ProgrammingError, "UndefinedTableError"),
        ("SELEC 1", exc.ProgrammingError, "PostgresSyntaxError"),
        ("SELECT 1/0", exc.DBAPIError, "DivisionByZeroError"),
    ],
)
async def test_server_error_becomes_sqlalchemys(
    tables: AsyncEngine, statement: str, kind: type[exc.DBAPIError], driver_error: str
) -> None:
    async with tables.connect() as conn:
        with pytest.raises(kind) as caught:
            await conn.execute(text(statement))
        original: Any = caught.value.orig
        ours = getattr(holisticpool, driver_error)
        assert original.sqlstate == original.pgcode == ours.sqlstate
        assert type(original.__cause__) is ours
        await conn.rollback()
        assert (await conn.scalar(text("SELECT 1"))) == 1


async def test_wrong_argument_is_a_dbapi_error(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        with pytest.raises(exc.DBAPIError) as caught:
            await conn.execute(text("SELECT CAST(:n AS int)"), {"n": "no number"})
        assert isinstance(caught.value.orig.__cause__, holisticpool.DataError)  # type: ignore[union-attr]


async def test_unreachable_server_is_an_oserror(make_engine: Engines, url: URL) -> None:
    engine = make_engine(url=url.set(host="127.0.0.1", port=1))
    with pytest.raises(OSError):
        async with engine.connect():
            pass


async def test_wrong_password_says_so(make_engine: Engines, url: URL) -> None:
    engine = make_engine(url=url.set(password="wrong"))
    with pytest.raises((exc.DBAPIError, holisticpool.InvalidPasswordError), match="password authentication failed"):
        async with engine.connect():
            pass


async def test_connection_that_the_server_ended_is_replaced(make_engine: Engines) -> None:
    engine = make_engine(pool_size=1, max_overflow=0)
    async with engine.connect() as conn:
        pid = await conn.scalar(text("SELECT pg_backend_pid()"))
        with pytest.raises(exc.DBAPIError) as caught:
            await conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        assert caught.value.connection_invalidated
    async with engine.connect() as conn:
        assert (await conn.scalar(text("SELECT pg_backend_pid()"))) != pid


async def test_pre_ping_replaces_a_dead_connection(make_engine: Engines, dsn: str) -> None:
    engine = make_engine(pool_size=1, max_overflow=0, pool_pre_ping=True)
    async with engine.connect() as conn:
        pid = await conn.scalar(text("SELECT pg_backend_pid()"))
    other = await holisticpool.connect(dsn)
    await other.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    await other.close()
    async with engine.connect() as conn:
        assert (await conn.scalar(text("SELECT pg_backend_pid()"))) != pid


# ---- cancellation and timeouts ----


async def test_cancelled_statement_leaves_the_engine_usable(make_engine: Engines) -> None:
    engine = make_engine(pool_size=1, max_overflow=0)

    async def sleep() -> None:
        async with engine.connect() as conn:
            started.set()
            await conn.execute(text("SELECT pg_sleep(60)"))

    started = asyncio.Event()
    task = asyncio.create_task(sleep())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with engine.connect() as conn:
        assert (await conn.scalar(text("SELECT 1"))) == 1


async def test_command_timeout_ends_a_statement(make_engine: Engines) -> None:
    engine = make_engine(connect_args={"command_timeout": 0.2})
    async with engine.connect() as conn:
        with pytest.raises(asyncio.TimeoutError):
            await conn.execute(text("SELECT pg_sleep(60)"))
        await conn.rollback()
        assert (await conn.scalar(text("SELECT 1"))) == 1


# ---- the pool and its options ----


async def test_pool_events_see_the_driver_connection(make_engine: Engines) -> None:
    engine = make_engine()
    seen: list[tuple[str, object]] = []

    @event.listens_for(engine.sync_engine, "connect")
    def connected(dbapi_connection: Any, record: Any) -> None:
        cursor = dbapi_connection.cursor()
        cursor.execute("SET application_name = 'of the event'")
        cursor.close()
        dbapi_connection.commit()
        seen.append(("connect", dbapi_connection.driver_connection))

    @event.listens_for(engine.sync_engine, "checkout")
    def checked_out(dbapi_connection: Any, record: Any, proxy: Any) -> None:
        seen.append(("checkout", dbapi_connection.driver_connection))

    async with engine.connect() as conn:
        assert (await conn.scalar(text("SHOW application_name"))) == "of the event"
        raw = await conn.get_raw_connection()
        assert seen == [("connect", raw.driver_connection), ("checkout", raw.driver_connection)]
        assert isinstance(raw.driver_connection, holisticpool.Connection)


async def test_driver_connection_takes_its_own_calls(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        raw = await conn.get_raw_connection()
        driver: Any = raw.driver_connection
        assert (await driver.fetchval("SELECT $1::int + 1", 41)) == 42

        @event.listens_for(engine.sync_engine, "checkout")
        def register(dbapi_connection: Any, record: Any, proxy: Any) -> None:
            async def setup(connection: holisticpool.Connection) -> None:
                await connection.execute("SET application_name = 'run_async'")

            dbapi_connection.run_async(setup)

    async with engine.connect() as conn:
        assert (await conn.scalar(text("SHOW application_name"))) == "run_async"


@pytest.mark.parametrize(
    "arguments",
    [
        {"connect_args": {"prepared_statement_cache_size": 0}},
        {"connect_args": {"statement_cache_size": 0}},
        {
            "poolclass": NullPool,
            "connect_args": {
                "prepared_statement_cache_size": 0,
                "statement_cache_size": 0,
                "prepared_statement_name_func": lambda: f"__hp_{uuid.uuid4()}__",
            },
        },
    ],
    ids=["prepared_statement_cache_size=0", "statement_cache_size=0", "as behind PgBouncer"],
)
async def test_statements_work_without_caches(make_engine: Engines, arguments: dict[str, Any]) -> None:
    engine = make_engine(**arguments)
    for _ in range(3):
        async with engine.connect() as conn:
            for n in range(3):
                assert (await conn.execute(text("SELECT CAST(:n AS int), 'x'"), {"n": n})).all() == [(n, "x")]


async def test_more_statements_than_the_cache_holds(make_engine: Engines) -> None:
    engine = make_engine(connect_args={"prepared_statement_cache_size": 3, "statement_cache_size": 2})
    async with engine.connect() as conn:
        for _ in range(6):
            for n in range(20):
                assert (await conn.scalar(text(f"SELECT {n}"))) == n
            await conn.commit()
        prepared = await conn.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
        assert prepared < 60


async def test_changed_table_is_read_anew(tables: AsyncEngine) -> None:
    statement = text("SELECT * FROM sa_author")
    async with tables.connect() as conn:
        assert list((await conn.execute(statement)).keys()) == ["id", "name"]
        await conn.commit()
        async with tables.begin() as other:
            await other.execute(text("ALTER TABLE sa_author ADD COLUMN born int"))
        with pytest.raises(exc.DBAPIError):
            await conn.execute(statement)
        await conn.rollback()
        assert list((await conn.execute(statement)).keys()) == ["id", "name", "born"]


async def test_url_query_takes_libpq_parameters_and_settings(make_engine: Engines, url: URL) -> None:
    engine = make_engine(
        url=url.update_query_dict(
            {"application_name": "by url", "statement_timeout": "7s", "command_timeout": "5", "sslmode": "prefer"}
        )
    )
    async with engine.connect() as conn:
        assert (await conn.scalar(text("SHOW application_name"))) == "by url"
        assert (await conn.scalar(text("SHOW statement_timeout"))) == "7s"


async def test_engine_borrows_from_a_holisticpool_pool(make_engine: Engines, dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1) as pool:
        engine = make_engine(poolclass=NullPool, async_creator=pool.acquire)
        pids = set()
        for _ in range(3):
            async with engine.connect() as conn:
                pids.add(await conn.scalar(text("SELECT pg_backend_pid()")))
        assert len(pids) == 1
        assert pool.get_idle_size() == 1


# ---- reflection ----


async def test_tables_are_reflected(tables: AsyncEngine) -> None:
    def look(conn: Any) -> dict[str, Any]:
        inspector = inspect(conn)
        return {
            "tables": inspector.get_table_names(),
            "columns": {c["name"]: str(c["type"]) for c in inspector.get_columns("sa_book")},
            "key": inspector.get_pk_constraint("sa_book")["constrained_columns"],
            "foreign": [key["referred_table"] for key in inspector.get_foreign_keys("sa_book")],
            "indexes": [index["column_names"] for index in inspector.get_indexes("sa_book")],
            "checks": [check["name"] for check in inspector.get_check_constraints("sa_book")],
            "unique": [unique["column_names"] for unique in inspector.get_unique_constraints("sa_author")],
            "enums": [(kind["name"], kind["labels"]) for kind in inspector.get_enums()],
        }

    async with tables.connect() as conn:
        seen = await conn.run_sync(look)
    assert {"sa_author", "sa_book", "sa_everything"} <= set(seen.pop("tables"))
    assert seen == {
        "columns": {"id": "INTEGER", "title": "VARCHAR", "price": "NUMERIC(10, 2)", "author_id": "INTEGER"},
        "key": ["id"],
        "foreign": ["sa_author"],
        "indexes": [["title"]],
        "checks": ["sa_book_price"],
        "unique": [["name"]],
        "enums": [("sa_colour", ["RED", "GREEN"])],
    }


async def test_many_tasks_share_the_engine(make_engine: Engines) -> None:
    engine = make_engine(pool_size=3, max_overflow=2)

    async def ask(n: int) -> int:
        async with engine.connect() as conn:
            answer: int = await conn.scalar(text("SELECT CAST(:n AS int)"), {"n": n})
            return answer

    assert await asyncio.gather(*(ask(n) for n in range(50))) == list(range(50))
