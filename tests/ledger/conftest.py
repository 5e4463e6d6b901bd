"""A real ledger on both databases, and the transactions that a rule takes for granted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ledger_builders import MINUTE, NOON, intent

from tidings.ledger import dispatching, planning
from tidings.ledger.schema import metadata
from tidings.ledger.store import Ledger, migrate


@pytest.fixture(scope="session")
def _postgres_ledger(kept_postgres: Callable[[], str]) -> Iterator[tuple[str, Ledger]]:
    url = kept_postgres()
    migrate(url)
    ledger = Ledger.open(url)
    yield url, ledger
    ledger.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated, empty ledger."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/ledger.db"
        migrate(url)
        return url
    url, ledger = request.getfixturevalue("_postgres_ledger")
    with ledger.writing() as conn:
        for table in reversed(metadata.sorted_tables):
            conn.execute(table.delete())
    return str(url)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A migrated, empty ledger."""
    found = Ledger.open(ledger_url)
    yield found
    found.close()


@pytest.fixture
def record(ledger: Ledger) -> Callable[..., planning.Recorded]:
    """Record entries in a transaction of their own."""

    def write(*rows: planning.EntryRow, campaign: str = "cart", space: str = "live", now: datetime = NOON) -> Any:
        with ledger.writing() as conn:
            return planning.record(conn, rows, space=space, campaign=campaign, run_id="run", now=now)

    return write


@pytest.fixture
def claim(ledger: Ledger) -> Callable[..., dispatching.Claim]:
    """Claim what is due in shard 0."""

    def take(*, now: datetime = NOON, limit: int = 100, lease: timedelta = 5 * MINUTE, shard: int = 0) -> Any:
        with ledger.writing() as conn:
            return dispatching.claim(conn, space="live", shard=shard, now=now, limit=limit, lease=lease)

    return take


@pytest.fixture
def begin(ledger: Ledger) -> Callable[..., dispatching.Begun]:
    """Ask to send everything a claim holds."""

    def ask(held: dispatching.Claim, **given: Any) -> Any:
        intents = given.pop("intents", None) or [intent(due) for due in held.due]
        values: dict[str, Any] = {"caps": (), "now": NOON, "ahead": timedelta(seconds=30), "token": held.token}
        with ledger.writing() as conn:
            return dispatching.begin_sending(conn, space="live", intents=intents, **{**values, **given})

    return ask


@pytest.fixture
def statuses(ledger: Ledger) -> Callable[[], dict[str, tuple[str, str | None]]]:
    """Status and reason of every message, by id."""
    from tidings.ledger.schema import messages

    def read() -> dict[str, tuple[str, str | None]]:
        with ledger.reading() as conn:
            rows = conn.execute(messages.select().order_by(messages.c.id))
            return {row.id: (row.status, row.reason) for row in rows}

    return read
