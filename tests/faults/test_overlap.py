"""Jobs that run at once, again, or after a sleep send nothing twice and nothing above a cap (F2, F3, F10, F22)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from crew import Crew, until
from oracle import adds_up, assert_nothing_new
from small_shop import CART, DAY, NOON
from sqlalchemy import select

from tidings.ledger import schema

pytestmark = pytest.mark.slow
DATABASES = ("sqlite", "postgresql")
SETTINGS = """\
caps: [{channel: email, at_most: 1, per: 16h}]
dispatch: {shards: 8, lanes: 4, batch: 8, lease: 1m, timeout: 5s, margin: 5s, connect_timeout: 5s}
"""
TIMES = "timeout: 5s, margin: 5s, connect_timeout: 5s"
TWO = {"cart": CART.format(id="cart") + "priority: 10\n", "later": CART.format(id="later") + "priority: 20\n"}
# The windows in which a process may stop for a while. In `recording` it would hold SQLite's only lock.
STOPS = ("claimed", "rendered", "begun", "sending", "answered")


@pytest.mark.parametrize("database", DATABASES)
def test_four_planners_and_two_dispatchers_at_once_write_to_everybody_once(
    new_post: Callable[..., Any], crew: Crew, database: str
) -> None:
    post = new_post(database, customers=40, campaigns=TWO)
    for n in range(8):  # eight more people read four mailboxes
        post.shop.customer(f"s{n}", email=f"shared{n // 2}@post.example")
        post.shop.cart(f"s{n}", at=NOON - timedelta(minutes=90))
    post.shop.load()

    for round_ in range(2):  # the second is a cleared and rerun DAG
        planners = [crew.start(post.shop, "plan", NOON, campaigns=["cart", "later"]) for _ in range(4)]
        lanes = [crew.start(post.shop, "dispatch", NOON, seconds=4 if round_ == 0 else 0) for _ in range(2)]
        planned = [crew.wait(worker).told for worker in planners]
        sent = [crew.wait(worker).told for worker in lanes]

        assert sum(told["new"] for told in planned) == (96 if round_ == 0 else 0)
        assert all(told["found"] == told["new"] + told["known"] == 96 for told in planned)
        for told in sent:
            adds_up(told)
    post.planned = 96
    post.outlive_leases()
    adds_up(crew.run(post.shop, "dispatch", NOON).told)

    found = post.check(settled=False)
    by_mailbox = Counter(one.to for one in found.accepted)
    assert sorted(by_mailbox.values()) == [1] * 44, "one message each, and one for each shared mailbox"
    assert found.counted == {"sent": 44, "planned": 52}
    assert {row.defer_reason for row in found.messages.values() if row.status == "planned"} <= {"capped", "outranked"}

    # A day later the other campaign's turn has come; nobody gets the first one again.
    post.outlive_leases()
    workers = [crew.start(post.shop, "dispatch", NOON + DAY - timedelta(hours=2)) for _ in range(2)]
    for worker in workers:
        adds_up(crew.wait(worker).told)
    after = post.check(settled=False)
    assert max(Counter(one.to for one in after.accepted).values()) == 2
    assert len(after.accepted) == 88


@pytest.mark.parametrize("database", DATABASES)
def test_a_dispatcher_that_slept_past_its_lease_sends_nothing_that_another_has_sent(
    new_post: Callable[..., Any], crew: Crew, database: str
) -> None:
    patience = "timeout: 2s, margin: 1s, connect_timeout: 2s"
    post = new_post(database, connections=1, settings=SETTINGS.replace(TIMES, patience))
    post.plan()
    sleepers = {window: post.sleeper(crew, window) for window in STOPS}

    found = post.finish(crew, NOON)
    assert found.counted == {"sent": 61, "unknown": 3}, "one was in flight in each that had begun"
    time.sleep(3.1)
    for worker in sleepers.values():
        worker.wake()
    told = {window: crew.wait(worker).told for window, worker in sleepers.items()}

    for counts in told.values():
        adds_up(counts)
    # Whoever had not begun finds its messages gone; what was taken, before or after waking, is proof of sending; who
    # had begun and was not yet at the provider's door stays at home.
    assert {window: counts["sent"] for window, counts in told.items()} == {
        "claimed": 0, "rendered": 0, "begun": 0, "sending": 1, "answered": 1
    }  # fmt: skip
    after = post.check()
    assert after.counted == {"sent": 63, "unknown": 1}
    assert_nothing_new(after, post.finish(crew, NOON + timedelta(minutes=10)))


@pytest.mark.parametrize("database", DATABASES)
def test_a_real_short_lease_runs_out_while_its_holder_sleeps(
    new_post: Callable[..., Any], crew: Crew, database: str
) -> None:
    lease = SETTINGS.replace("lease: 1m", "lease: 3s").replace(
        TIMES, "timeout: 1s, margin: 0.5s, connect_timeout: 0.5s"
    )
    post = new_post(database, customers=12, connections=1, settings=lease)
    post.plan()
    sleeper = post.sleeper(crew, "rendered")

    time.sleep(3.1)
    others = crew.run(post.shop, "dispatch", NOON, seconds=6).told
    sleeper.wake()
    done = crew.wait(sleeper)

    adds_up(others)
    assert others["returned"] >= 1
    assert (done.told["sent"], done.told["lost"] + done.told["let_go"]) == (0, done.told["claimed"])
    post.check(settled=False)


@pytest.mark.parametrize("database", DATABASES)
def test_a_term_signal_ends_the_lane_after_the_messages_in_flight_and_releases_the_rest(
    new_post: Callable[..., Any], crew: Crew, sandbox: Any, database: str
) -> None:
    from tidings.sandbox.faults import Fault

    post = new_post(database, customers=24)
    post.plan()
    sandbox.faults.add(Fault("slow", seconds=0.8))
    lane = crew.start(post.shop, "dispatch", NOON)
    until(lambda: sandbox.store.messages, "something is in flight")

    lane.terminate()
    asked = time.monotonic()
    done = crew.wait(lane)
    took = time.monotonic() - asked

    adds_up(done.told)
    found = post.check(settled=False)
    assert 0 < found.counted["sent"] < 24
    assert found.counted == {"sent": found.counted["sent"], "planned": 24 - found.counted["sent"]}
    assert took < 20, "it ended soon"
    with post.opened.ledger.reading() as conn:
        assert set(conn.scalars(select(schema.shard_leases.c.owner))) == {None}
    sandbox.faults.clear()
    assert post.finish(crew, NOON).counted == {"sent": 24}


@pytest.mark.parametrize("database", DATABASES)
def test_eight_dispatchers_send_once_each_and_sooner_than_one(
    new_post: Callable[..., Any], crew: Crew, sandbox: Any, database: str
) -> None:
    from tidings.sandbox.faults import Fault

    sandbox.faults.add(Fault("slow", seconds=0.15))  # so that waiting for the provider is most of the work
    took: dict[int, float] = {}
    for dispatchers in (1, 8):
        wide = SETTINGS.replace("shards: 8", "shards: 32")
        post = new_post(database, customers=48, settings=wide)
        post.plan()
        before = len(sandbox.store.messages)

        lanes = [crew.start(post.shop, "dispatch", NOON) for _ in range(dispatchers)]
        told = [crew.wait(lane).told for lane in lanes]

        for one in told:
            adds_up(one)
        assert sum(one["sent"] for one in told) == 48
        assert sum(one["sent"] > 0 for one in told) >= min(dispatchers, 4), "the work was shared"
        arrived = [one.arrived for one in sandbox.store.messages[before:]]
        took[dispatchers] = max(arrived) - min(arrived)
        assert post.check().counted == {"sent": 48}
    assert took[8] < took[1] / 1.5, f"it took {took}"
