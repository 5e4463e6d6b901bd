"""Whoever says no, or buys, while their message is being sent: the commit to `sending` is the border (F12, F14)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from crew import Crew
from schedule import open_door
from small_shop import CART, DAY, HOUR, MINUTE, NOON
from sqlalchemy import select

from tidings.ledger import schema
from tidings.sandbox.acts import Act

pytestmark = pytest.mark.slow
DATABASES = ("sqlite", "postgresql")
# Before it is claimed, between the claim and the commit, and after the commit, when it is at the provider's door.
POINTS = {"before the claim": None, "before the commit": "rendered", "after the commit": "begun"}
FREE = "caps: []\ndispatch: {shards: 8, lanes: 4, batch: 8}\n"
LATER = "  - {name: later, after: 1d, channel: email, template: cart/reminder, expires_after: 24h}\n"
MAIL = CART.format(id="cart").replace("holdout:", f"{LATER}holdout:")
TEXT = MAIL.replace("email, template: cart/reminder", "sms, template: cart/text")


@pytest.fixture
def hello(new_post: Callable[..., Any], crew: Crew) -> Callable[..., Any]:
    """Call it for a shop whose one customer was written to once by each of `first`, and has a series before them."""

    def make(database: str, series: str) -> Any:
        first = CART.format(id="first").replace("email", "sms" if "sms" in series else "email")
        first = first.replace("cart/reminder", "cart/text") if "sms" in series else first
        campaigns = {"first": first, "series": series.replace("id: cart", "id: series")}
        post = new_post(database, customers=1, connections=1, settings=FREE, campaigns=campaigns)
        post.plan("first")
        crew.run(post.shop, "dispatch", NOON - 30 * MINUTE)
        post.plan("series")
        return post

    return make


def of_series(post: Any) -> dict[str, tuple[str, str | None]]:
    """Return how the steps of the series stand."""
    m = schema.messages.c
    with post.opened.ledger.reading() as conn:
        rows = conn.execute(select(m.step, m.status, m.reason).where(m.campaign == "series"))
        return {row.step: (str(row.status), row.reason) for row in rows}


def race(post: Any, crew: Crew, point: str, happens: Callable[[], None]) -> None:
    """Let it happen at a point of the first message's way, then let everything go on for two days."""
    window = POINTS[point]
    if window is None:
        happens()
    else:
        lane = post.sleeper(crew, window)
        happens()
        lane.wake()
        crew.wait(lane)
    for hours in (0, 25, 50):
        post.outlive_leases()
        crew.run(post.shop, "dispatch", NOON + hours * HOUR)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("how", ["unsubscribe", "stop"])
@pytest.mark.parametrize("database", DATABASES)
def test_nobody_is_written_to_once_their_no_is_in_the_ledger(
    hello: Callable[..., Any], crew: Crew, database: str, how: str, point: str
) -> None:
    post = hello(database, TEXT if how == "stop" else MAIL)
    first = post.sandbox.store.messages[0]

    def no() -> None:
        with open_door(post):
            posted = post.sandbox.act([Act(first.message, how, NOON)])
        assert posted.failed == []

    race(post, crew, point, no)

    came_too_late = point == "after the commit"
    steps = of_series(post)
    # Twilio knows of a STOP at once, and refuses by itself what was already on its way.
    too_late = "failed" if how == "stop" else "sent"
    assert steps["reminder"][0] == (too_late if came_too_late else "cancelled")
    assert steps["later"][0] == "cancelled"
    assert len(post.check().accepted) == 1 + (came_too_late and how == "unsubscribe")


@pytest.mark.parametrize("point", POINTS)
def test_a_purchase_stops_what_the_gates_have_not_passed_and_every_later_step(
    hello: Callable[..., Any], crew: Crew, point: str
) -> None:
    post = hello("sqlite", MAIL)

    def buys() -> None:
        post.shop.order("c0", NOON - MINUTE)
        post.shop.load()

    race(post, crew, point, buys)

    # Orders live in the warehouse: they are asked for by the gates, which are past "before the commit".
    asked = point == "before the claim"
    steps = of_series(post)
    assert steps["reminder"] == (("skipped", "purchased") if asked else ("sent", None))
    assert steps["later"][0] in ("cancelled", "skipped")


@pytest.mark.parametrize("database", DATABASES)
def test_workers_whose_clocks_differ_by_twenty_minutes_send_once_and_lease_by_the_databases_clock(
    new_post: Callable[..., Any], crew: Crew, database: str
) -> None:
    post = new_post(database, customers=24)
    post.plan()
    sleeper = post.sleeper(crew, "rendered")
    early, late = NOON - 10 * MINUTE, NOON + 10 * MINUTE

    # A lease of one minute is not over because a worker's clock is ten minutes ahead.
    ahead = crew.run(post.shop, "dispatch", late).told
    assert ahead.get("returned", 0) == 0
    lanes = [crew.start(post.shop, "dispatch", at) for at in (early, late, early, late)]
    sleeper.wake()
    held = crew.wait(sleeper).told
    for lane in lanes:
        crew.wait(lane)

    assert held["sent"] > 0
    assert held.get("lost", 0) == 0
    assert post.finish(crew, late).counted == {"sent": 24}


@pytest.mark.parametrize("skew", [-10, 10], ids=["ten minutes slow", "ten minutes fast"])
def test_a_skewed_clock_at_the_edge_of_the_night_moves_a_message_by_no_more_than_the_skew(
    new_post: Callable[..., Any], crew: Crew, skew: int
) -> None:
    post = new_post("sqlite", customers=4)
    post.plan()
    evening = NOON.replace(hour=18, minute=55)  # 20:55 in Helsinki; the night begins at 21:00

    crew.run(post.shop, "dispatch", evening + skew * MINUTE)

    counted = post.check(settled=False).counted
    assert counted == ({"planned": 4} if skew > 0 else {"sent": 4})
    # A clock that is set back afterwards finds nothing to send again.
    crew.run(post.shop, "dispatch", evening - timedelta(hours=1))
    morning: datetime = NOON + DAY - 2 * HOUR
    assert post.finish(crew, morning).counted == {"sent": 4}
