"""The ledger's door: one pooled engine, transactions that begin as they must, and the only clock leases obey."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Executable, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
)

from tidings.errors import LedgerError
from tidings.ledger.migrations import HEAD
from tidings.ledger.prepared import Prepared, together

BUSY_SECONDS = 30
# A process that falls asleep in a transaction would hold everybody up; after so long PostgreSQL lets go of it.
IDLE_SECONDS = 60
# Whatever a transaction does, it is over by then. To one that fell asleep between the statements of one trip the server
# is at work and not idle: only this (PostgreSQL 17 and later) ends it. ``BRIEF`` is for those that others wait for.
LONGEST_SECONDS, BRIEF_SECONDS = 3600, 30
_ASLEEP = ("25P03", "25P04")
_IDLE = "set_config('idle_in_transaction_session_timeout', :idle, true)"
_LET_GO = Prepared(lambda _: text(f"SELECT {_IDLE}, set_config('transaction_timeout', :whole, true)"))
_LET_GO_BEFORE_17 = Prepared(lambda _: text(f"SELECT {_IDLE}"))
_WRITES = "tidings_writes"
# Alembic keeps what it is doing in module globals: two threads at once would take it from one another.
_MIGRATING = threading.Lock()


class Ledger:
    """The ledger of one project: SQLite or PostgreSQL. Safe to share between threads, not across a fork.

    What ``writing`` has committed survives the death of the process and, on SQLite (WAL with
    ``synchronous=FULL``) as on PostgreSQL's defaults, the loss of power: a ``sending`` that vanished after
    the provider took the message would be sent again. A ledger that never faces a provider (a replay) may
    trade the latter for speed by ``sqlite:///ledger.db?synchronous=normal``.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # SQLite has one writer. Threads that queue here go on at once; those that SQLite lets retry sleep longer.
        self._turn = threading.RLock() if engine.dialect.name == "sqlite" else contextlib.nullcontext()

    @classmethod
    def open(cls, url: str, *, check: bool = True) -> Ledger:
        """Return the ledger at ``url``. Raises LedgerError when it cannot be reached or written, or is behind."""
        ledger = cls(connect(url))
        if check:
            try:
                ledger.check()
            except BaseException:
                ledger.close()
                raise
        return ledger

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the ledger and writes nothing."""
        options: dict[str, Any] = {}
        if self.dialect == "postgresql":
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with _translated(self._engine.url), self._engine.connect() as conn, conn.execution_options(**options).begin():
            yield conn

    @contextmanager
    def writing(self, *, seconds: int = LONGEST_SECONDS) -> Iterator[Connection]:
        """One transaction: committed when the block ends, undone when it raises.

        On SQLite it begins IMMEDIATE (a deferred one loses updates, or fails half-way with "database is
        locked"); on PostgreSQL it is READ COMMITTED: each statement sees what was committed before it, which
        is what counting caps after locking the contacts relies on. There a block that leaves the connection
        alone for ``IDLE_SECONDS``, or takes longer than ``seconds`` in all (0: as long as it likes), is undone by the
        server, and raises LedgerError when it goes on.
        """
        with (
            self._turn,
            _translated(self._engine.url),
            self._engine.connect() as conn,
            conn.execution_options(**{_WRITES: True}).begin(),
        ):
            if self.dialect == "postgresql":
                _let_go(conn, seconds)
            yield conn

    def now(self) -> datetime:
        """Return the database's clock: what a job passes down as ``now``."""
        with self.reading() as conn:
            return clock(conn)

    def check(self) -> None:
        """Raise LedgerError, in one line, unless the ledger can be written and is at this version's migration."""
        where = _place(self._engine.url)
        with self.writing() as conn:
            if self.dialect == "postgresql" and conn.scalar(text("SHOW transaction_read_only")) == "on":
                raise LedgerError(f"ledger {where}: must be writable; it is read-only")
            found = _revision(conn)
            if found is not None:
                # SQLite opens a read-only file without a word, BEGIN IMMEDIATE included; any write tells.
                conn.execute(text("UPDATE alembic_version SET version_num = version_num WHERE 1 = 0"))
        if found is None:
            raise LedgerError(f"ledger {where}: has no tables yet; run `tidings migrate`")
        if found != HEAD:
            told = "run `tidings migrate`" if found < HEAD else "upgrade Tidings"
            raise LedgerError(f"ledger {where}: must be at migration {HEAD}; found {found}; {told}")

    def compact(self) -> bool:
        """Leave nothing of deleted rows in SQLite's file and its log; say whether all of it could be done now.

        On PostgreSQL this is the server's own work (autovacuum), and its operator's (backups, the write-ahead log).
        """
        if self.dialect != "sqlite":
            return True
        with self._turn, _translated(self._engine.url), self._engine.connect() as conn:
            driver: Any = conn.connection.driver_connection
            driver.execute("VACUUM")
            busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


def _let_go(conn: Connection, seconds: int) -> None:
    idle = {"idle": f"{min(IDLE_SECONDS, seconds or IDLE_SECONDS)}s"}
    if (conn.dialect.server_version_info or ()) >= (17,):
        together(conn, (_LET_GO, {**idle, "whole": f"{seconds}s"}))
    else:
        together(conn, (_LET_GO_BEFORE_17, idle))


def clock(conn: Connection) -> datetime:
    """Return the database's clock inside a transaction; it moves while the transaction stands (PostgreSQL's
    ``now()`` does not)."""
    if conn.dialect.name == "postgresql":
        at: datetime = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
        return at.astimezone(UTC)
    found = conn.execute(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")).scalar_one()
    return datetime.fromisoformat(found).replace(tzinfo=UTC)


def _clock(dialect: str) -> Executable:
    return text(_CLOCK_OF[dialect])


_CLOCK_OF = {"postgresql": "SELECT clock_timestamp()", "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"}
# The same, for a transaction that asks more than this at once.
CLOCK = Prepared(_clock)


def connect(url: str, *, create: bool = False) -> Engine:
    """Return an engine for a ledger's URL, with the rules every connection keeps."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(parsed, isolation_level="READ COMMITTED", pool_pre_ping=True, hide_parameters=True)
    path = parsed.database or ""
    if path.startswith("file:"):
        create = True
    elif not create and not Path(path).exists():
        raise LedgerError(f"ledger {path}: must be an existing file; found none; run `tidings migrate`")
    synchronous = str(parsed.query.get("synchronous", "full")).upper()
    if synchronous not in ("FULL", "NORMAL"):
        raise LedgerError(f'ledger {path}: synchronous must be "full" or "normal"; found "{synchronous.lower()}"')
    parsed = parsed.difference_update_query(["synchronous"])
    # The connection used last is used next: what others wrote meanwhile throws away the pages that one has at hand.
    engine = create_engine(
        parsed, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}, hide_parameters=True,
        pool_use_lifo=True,
    )  # fmt: skip
    event.listen(engine, "connect", partial(_prepare_sqlite, synchronous))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql" and parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError, ImportError):
        raise LedgerError("ledger: must be a URL such as sqlite:///ledger.db or postgresql://host/name") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise LedgerError(f'ledger: must be SQLite or PostgreSQL; found "{parsed.get_backend_name()}"')
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise LedgerError("ledger: must be a file; found SQLite in memory")
    return parsed


def _prepare_sqlite(synchronous: str, connection: sqlite3.Connection, _: object) -> None:
    # The driver must not begin transactions by itself: it would begin deferred ones.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        "wal_autocheckpoint=16000",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-16384",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin_sqlite(conn: Connection) -> None:
    writes = conn.get_execution_options().get(_WRITES, False)
    conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(conn: Connection) -> str | None:
    try:
        found: str | None = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except (OperationalError, ProgrammingError) as missing:
        if "alembic_version" not in str(missing.orig):
            raise
        return None
    return found


@contextmanager
def _translated(url: URL) -> Iterator[None]:
    """Tell a database's own failure in one line that names no values."""
    try:
        yield
    except (OperationalError, InterfaceError) as failure:
        raise LedgerError(f"ledger {_place(url)}: {_first_line(failure)}") from failure
    except (DataError, IntegrityError) as failure:
        # What the server says about these quotes the values: a person's id, or what somebody sent us.
        primary = getattr(getattr(failure.orig, "diag", None), "message_primary", None)
        told = f"{type(failure.orig).__name__}: {primary}" if primary else _first_line(failure)
        raise LedgerError(f"ledger {_place(url)}: refused what was to be written: {told}") from None
    except InternalError as failure:
        if getattr(failure.orig, "sqlstate", None) not in _ASLEEP:
            raise
        raise LedgerError(f"ledger {_place(url)}: {_first_line(failure)}") from failure


def _first_line(failure: DBAPIError) -> str:
    lines = str(failure.orig).strip().splitlines()
    return lines[0].lower() if lines else type(failure.orig).__name__


def _place(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return f"{url.database} on {url.host or url.query.get('host') or 'the default host'}"


def migrate(url: str) -> str:
    """Bring the ledger to this version's tables, creating it when there is none; return the revision.

    Running it twice changes nothing; of two at once the second waits for the first.
    """
    # Alembic is imported here: every other command starts without it.
    from alembic import command
    from alembic.config import Config

    from tidings.ledger import restoring

    engine = connect(url, create=True)
    config = Config()
    config.set_main_option("script_location", "tidings.ledger:migrations")
    config.set_main_option("path_separator", "os")
    ledger = Ledger(engine)
    try:
        with _MIGRATING, ledger.writing(seconds=0) as conn:
            if conn.dialect.name == "postgresql":
                conn.execute(text("SELECT pg_advisory_xact_lock(7310420260)"))
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
            found = _revision(conn)
            restoring.generation(conn)
    finally:
        engine.dispose()
    assert found is not None
    return found
