"""The ledger opens in order or says in one line why not."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from ledger_builders import NOON
from sqlalchemy import text

from tidings.errors import LedgerError
from tidings.ledger import store
from tidings.ledger.migrations import HEAD
from tidings.ledger.schema import campaigns, metadata
from tidings.ledger.store import Ledger, clock, migrate

WORKERS = Path(__file__).parent / "ledger_workers.py"


def _one_line(url: str) -> str:
    with pytest.raises(LedgerError) as told:
        Ledger.open(url)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_the_migrations_make_exactly_the_tables_of_the_schema(ledger):
    with ledger.reading() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_named_head_is_the_last_migration():
    config = Config()
    config.set_main_option("script_location", "tidings.ledger:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_migrating_twice_changes_nothing(ledger_url):
    assert migrate(ledger_url) == HEAD
    assert migrate(ledger_url) == HEAD


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_ledger_of_the_first_version_becomes_one_of_this_and_keeps_its_rows(kind, tmp_path, request, monkeypatch):
    url = f"sqlite:///{tmp_path}/old.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    upgrade = command.upgrade
    with monkeypatch.context() as then:
        then.setattr(command, "upgrade", lambda config, _: upgrade(config, "0001"))
        assert migrate(url) == "0001"
    assert f"must be at migration {HEAD}; found 0001" in _one_line(url)
    ledger = Ledger.open(url, check=False)
    with ledger.writing() as conn:
        conn.execute(campaigns.insert().values(campaign="cart", space="live"))

    assert migrate(url) == HEAD

    with ledger.reading() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []
        assert conn.execute(campaigns.select()).one().campaign == "cart"
    ledger.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_migrations_at_once_wait_for_each_other(kind, tmp_path, request):
    url = f"sqlite:///{tmp_path}/new.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    order = [sys.executable, str(WORKERS), "migrate", url, "-"]

    both = [subprocess.Popen(order, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]

    said = [one.communicate(timeout=120) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert [json.loads(out)["revision"] for out, _ in said] == [HEAD, HEAD]


def test_a_ledger_that_is_not_there_is_named(tmp_path):
    assert _one_line(f"sqlite:///{tmp_path}/none.db").endswith("found none; run `tidings migrate`")


def test_two_ledgers_of_one_process_are_migrated_at_once(tmp_path):
    urls = [f"sqlite:///{tmp_path / f'{n}.db'}" for n in range(8)]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(store.migrate, urls)) == {HEAD}


def test_a_file_without_tables_asks_for_migrate(tmp_path):
    (tmp_path / "empty.db").touch()
    assert _one_line(f"sqlite:///{tmp_path}/empty.db").endswith("has no tables yet; run `tidings migrate`")


def test_an_empty_postgres_database_asks_for_migrate(postgres_url):
    assert _one_line(postgres_url).endswith("has no tables yet; run `tidings migrate`")


@pytest.mark.parametrize(("found", "advice"), [("0000", "run `tidings migrate`"), ("9999", "upgrade Tidings")])
def test_a_ledger_of_another_version_says_what_to_do(tmp_path, found, advice):
    url = f"sqlite:///{tmp_path}/old.db"
    migrate(url)
    ledger = Ledger.open(url)
    with ledger.writing() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
    ledger.close()

    assert _one_line(url).endswith(f"must be at migration {HEAD}; found {found}; {advice}")


def test_a_read_only_file_is_refused(tmp_path):
    migrate(f"sqlite:///{tmp_path}/ro.db")
    assert "readonly" in _one_line(f"sqlite:///file:{tmp_path}/ro.db?mode=ro&uri=true")


def test_a_read_only_postgres_is_refused(postgres_url):
    migrate(postgres_url)
    joint = "&" if "?" in postgres_url else "?"
    assert "read-only" in _one_line(f"{postgres_url}{joint}options=-c%20default_transaction_read_only=on")


def test_a_server_that_is_down_is_named_without_its_password():
    said = _one_line("postgresql+psycopg://ann:secret@127.0.0.1:1/ledger?connect_timeout=2")
    assert said.startswith("ledger ledger on 127.0.0.1: ")
    assert "secret" not in said


@pytest.mark.parametrize("url", ["duckdb:///x.db", "mysql://x/y", "nonsense", "sqlite://", "sqlite:///:memory:"])
def test_nothing_but_a_sqlite_file_or_postgres_is_a_ledger(url):
    assert _one_line(url).startswith("ledger: must be")


def test_what_a_failed_block_wrote_is_undone(ledger):
    def half_done():
        with ledger.writing() as conn:
            conn.execute(campaigns.insert().values(campaign="cart", space="live"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()

    with ledger.reading() as conn:
        assert conn.execute(campaigns.select()).all() == []


def test_a_naive_time_never_enters_and_an_aware_one_comes_back_as_utc(ledger):
    with pytest.raises(Exception, match="naive"), ledger.writing() as conn:
        conn.execute(campaigns.insert().values(campaign="a", space="live", watermark=NOON.replace(tzinfo=None)))
    with ledger.writing() as conn:
        conn.execute(campaigns.insert().values(campaign="a", space="live", watermark=NOON))
        (found,) = conn.scalars(campaigns.select().with_only_columns(campaigns.c.watermark))
    assert found == NOON
    assert found.tzinfo is not None


def test_the_clock_moves_while_a_transaction_stands(ledger):
    with ledger.writing() as conn:
        first = clock(conn)
        later = first
        for _ in range(10_000):
            later = clock(conn)
            if later > first:
                break
    assert later > first


@pytest.mark.parametrize(("asked", "level"), [("", 2), ("?synchronous=normal", 1)], ids=["full", "normal"])
def test_sqlite_keeps_what_it_committed(tmp_path, asked, level):
    url = f"sqlite:///{tmp_path}/kept.db{asked}"
    migrate(url)
    ledger = Ledger.open(url)
    with ledger.reading() as conn:
        assert conn.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert conn.execute(text("PRAGMA synchronous")).scalar() == level
        assert conn.execute(text("PRAGMA foreign_keys")).scalar() == 1
    ledger.close()


@pytest.mark.parametrize("version", [None, (16, 4)], ids=["this server", "one before 17"])
def test_who_falls_asleep_in_a_transaction_holds_nobody_up_for_long(postgres_url, monkeypatch, version):
    migrate(postgres_url)
    ledger = Ledger.open(postgres_url)
    if version:
        monkeypatch.setattr(ledger._engine.dialect, "server_version_info", version)
    monkeypatch.setattr(store, "IDLE_SECONDS", 1)
    row = {"campaign": "a", "space": "live"}
    with ledger.writing() as conn:
        conn.execute(campaigns.insert().values(**row))
    locked = campaigns.select().with_for_update()

    def sleep() -> None:
        with ledger.writing() as conn:
            conn.execute(locked)
            time.sleep(1.5)
            with ledger.writing() as other:
                assert len(other.execute(locked).all()) == 1
            conn.execute(campaigns.update().values(waiting_count=1))

    with pytest.raises(LedgerError, match="idle-in-transaction"):
        sleep()
    with ledger.reading() as conn:
        assert conn.execute(campaigns.select()).one().waiting_count is None
    ledger.close()


@pytest.mark.parametrize("seconds", [1, 3600])
def test_who_falls_asleep_between_the_statements_of_one_trip_does_not_either(postgres_url, seconds):
    # To the server such a session is at work: it waits for the rest of the trip, and no idle time-out ends it.
    migrate(postgres_url)
    ledger, others = Ledger.open(postgres_url), Ledger.open(postgres_url)
    with ledger.writing() as conn:
        conn.execute(campaigns.insert().values(campaign="a", space="live"))
    locked = campaigns.select().with_for_update()

    def somebody_waits() -> bool:
        with contextlib.suppress(LedgerError), others.writing(seconds=10) as other:
            other.execute(text("SET LOCAL lock_timeout = '2500ms'"))
            return len(other.execute(locked).all()) == 1
        return False

    with contextlib.suppress(LedgerError), ledger.writing(seconds=seconds) as conn:
        conn.execute(locked)
        wire = conn.connection.driver_connection.pgconn
        wire.enter_pipeline_mode()
        wire.send_query_params(b"SELECT 1", None)
        wire.flush()  # and no sync: the trip has not ended
        let_go = somebody_waits()
        wire.finish()

    assert let_go is (seconds == 1)
    ledger.close()
    others.close()
