"""A stop acts within one HTTP time-out, a lost key loses nothing, and an outage ends in order (F6, F26, F27)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from crew import Crew, until
from oracle import adds_up
from small_shop import CART, NOON

from tidings.jobs import brakes
from tidings.sandbox.faults import Fault
from tidings.sandbox.server import Sandbox

pytestmark = pytest.mark.slow
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TIMEOUT = 2.0
WIDE = """\
caps: [{channel: email, at_most: 1, per: 16h}]
dispatch: {shards: 8, lanes: 2, batch: 200, lease: 1m, connect_timeout: 1s, timeout: 1s, margin: 2s, halt_after: 1000}
"""


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.parametrize("what", ["all", "cart", "channel:email", "provider:sendgrid", "mailbox:other"])
def test_a_stop_acts_within_one_time_out_while_everything_is_claimed(
    new_post: Callable[..., Any], crew: Crew, sandbox: Sandbox, database: str, what: str
) -> None:
    post = new_post(database, customers=400, settings=WIDE, connections=8)
    post.plan()
    sandbox.faults.add(Fault("slow", seconds=0.1))
    lanes = [crew.start(post.shop, "dispatch", NOON) for _ in range(2)]
    until(lambda: len(sandbox.store.messages) >= 40, "the lanes are in full swing")

    brakes.pull(post.opened, what, "the price is wrong", by="ann")
    committed = time.time()
    told = [crew.wait(lane).told for lane in lanes]

    for one in told:
        adds_up(one)
    arrivals = [one.arrived for one in sandbox.store.messages]
    assert max(arrivals) <= committed + TIMEOUT
    # Two windows of eight may have been begun; and nothing that was claimed is lost.
    assert sum(at > committed for at in arrivals) <= 16
    found = post.check(settled=False)
    assert found.counted == {"sent": len(arrivals), "planned": 400 - len(arrivals)}
    brakes.release(post.opened, what, by="ann")
    sandbox.faults.clear()
    assert post.finish(crew, NOON + HOUR).counted == {"sent": 400}


def test_a_key_that_is_revoked_while_sending_fails_nothing_and_a_new_one_goes_on(
    new_post: Callable[..., Any], crew: Crew, sandbox: Sandbox
) -> None:
    post = new_post("postgresql", customers=80, settings=WIDE.replace("batch: 200", "batch: 16"), connections=4)
    post.plan()
    sandbox.faults.add(Fault("slow", seconds=0.03))
    lane = crew.start(post.shop, "dispatch", NOON)
    until(lambda: len(sandbox.store.messages) >= 10, "some have left")

    sandbox.faults.clear()
    sandbox.faults.add(Fault("401"))
    adds_up(crew.wait(lane).told)

    before = post.check(settled=False).counted
    assert set(before) == {"sent", "planned"}
    (stop,) = brakes.on(post.opened)
    assert stop.scope == "provider:sendgrid"
    assert "key" in stop.remedy
    sandbox.faults.clear()
    post.shop.environ["AIRFLOW_CONN_SENDGRID"] = '{"conn_type": "tidings_sendgrid", "password": "SG.next"}'
    # What met the brake comes up again within a quarter of an hour; one message is tried, then all.
    for minutes in (16, 32, 48):
        crew.run(post.shop, "dispatch", NOON + minutes * MINUTE)
    assert brakes.on(post.opened) == []
    assert post.check().counted == {"sent": 80}


def test_after_an_outage_the_important_leave_first_and_nobody_is_woken(
    new_post: Callable[..., Any], crew: Crew, sandbox: Sandbox
) -> None:
    campaigns = {
        name: CART.format(id=name).replace("24h", lasts) + f"priority: {rank}\n"
        for name, lasts, rank in (("news", "48h", 90), ("cart", "48h", 10), ("short", "4h", 5))
    }
    post = new_post("sqlite", customers=12, settings="dispatch: {batch: 4, lanes: 1}\n", campaigns=campaigns)
    for campaign in ("news", "cart", "short"):
        post.plan(campaign)
    sandbox.faults.add(Fault("429"))
    for hours in (0, 2, 6):
        crew.run(post.shop, "dispatch", NOON + hours * HOUR)
    sandbox.faults.clear()

    at_night = crew.run(post.shop, "dispatch", NOON + 10 * HOUR).told
    assert at_night["sent"] == 0
    morning = NOON + 21 * HOUR
    crew.run(post.shop, "dispatch", morning)

    found = post.check(settled=False)
    sent = [found.messages[one.message].campaign for one in found.accepted]
    assert sent == ["cart"] * 12, "one message a person and day: the most important of those that still hold"
    assert {row.campaign for row in found.messages.values() if row.status in ("expired", "skipped")} == {"short"}
