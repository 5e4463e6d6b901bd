"""A job that is retried, cleared, back-filled or fed late sends what it would have sent, once (F10, F16, F17)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from crew import Crew
from oracle import assert_nothing_new
from small_shop import CART, DAY, HOUR, MINUTE, NOON
from sqlalchemy import select

from tidings.jobs import plan
from tidings.ledger import schema

pytestmark = pytest.mark.slow
DATABASES = ("sqlite", "postgresql")
FRESH = {"product_events": "{watermark: {column: received_at}, lateness: 2h, freshness: 6h}"}
SERIES = CART.format(id="cart").replace(
    "holdout:", "  - {name: later, after: 1d, channel: email, template: cart/reminder, expires_after: 24h}\nholdout:"
)


@pytest.mark.parametrize("database", DATABASES)
def test_retried_cleared_and_back_filled_runs_send_nothing_new(
    new_post: Callable[..., Any], crew: Crew, database: str
) -> None:
    post = new_post(database, customers=24)
    post.plan()
    # The first attempt is killed while its retry has begun already, as Airflow's may be.
    lane = crew.start(post.shop, "dispatch", NOON, window="answered", nth=3)
    retry = crew.start(post.shop, "dispatch", NOON)
    crew.wait(lane)
    crew.wait(retry)
    found = post.finish(crew, NOON + MINUTE)

    past = [NOON - days * DAY for days in (90, 30, 7, 1)]
    later = [NOON, NOON + 15 * MINUTE, NOON + HOUR]
    runs = [crew.start(post.shop, "plan", at, campaigns=["cart"]) for at in (*past, *later)]
    for one in runs:
        crew.wait(one)
    lanes = [crew.start(post.shop, "dispatch", NOON + HOUR) for _ in range(2)]
    for one in lanes:
        crew.wait(one)

    assert_nothing_new(found, post.check())


def test_a_back_fill_of_ninety_days_is_stored_as_expired_and_sends_nothing(
    new_post: Callable[..., Any], crew: Crew
) -> None:
    post = new_post("sqlite", customers=0)
    for days in range(2, 90, 4):
        post.shop.customer(f"old{days}", created_at=NOON - 100 * DAY)
        post.shop.cart(f"old{days}", at=NOON - days * DAY)
    post.shop.load()

    for days in range(90, -1, -1):  # each day's run, made up for today
        plan.run(post.opened, "cart", now=NOON, as_of=NOON - days * DAY)

    crew.run(post.shop, "dispatch", NOON)
    found = post.check()
    assert set(found.counted) == {"expired"}
    assert found.counted["expired"] == 22
    assert found.accepted == ()


def test_a_renamed_file_and_a_new_template_are_the_same_campaign(new_post: Callable[..., Any], crew: Crew) -> None:
    post = new_post("sqlite", customers=8)
    post.plan()
    found = post.finish(crew, NOON)

    triggers = post.shop.folder / "triggers"
    (triggers / "cart.yaml").rename(triggers / "baskets.yaml")
    letter = post.shop.folder / "message_templates/cart/reminder.mjml"
    letter.write_text(letter.read_text().replace("Your cart", "Your basket"))
    told = crew.run(post.shop, "plan", NOON, campaigns=["cart"]).told
    crew.run(post.shop, "dispatch", NOON + MINUTE)

    assert (told["new"], told["known"]) == (0, 8)
    assert_nothing_new(found, post.check())


def entries_of(post: Any) -> Counter[tuple[str, str]]:
    """Return who entered under which key."""
    e = schema.entries.c
    with post.opened.ledger.reading() as conn:
        return Counter((row.customer_id, row.entry_key) for row in conn.execute(select(e.customer_id, e.entry_key)))


def play(post: Any, arrivals: Sequence[tuple[datetime, str, datetime]], until: datetime) -> Counter[tuple[str, str]]:
    """Load each cart when it arrives, as (arrival, customer, moment), and plan every half hour."""
    now, left = NOON - 12 * HOUR, sorted(arrivals)
    while now <= until:
        some = [one for one in left if one[0] <= now]
        left = left[len(some) :]
        for received, who, at in [*some, (now, "heartbeat", now)]:
            post.shop.add(
                "product_events", event_id=f"{who}-{at.timestamp():.0f}", customer_id=who, kind="added", sku="lamp",
                quantity=1, price=12_900, currency="EUR", occurred_at=at, received_at=received,
            )  # fmt: skip
        post.shop.load()
        plan.run(post.opened, "cart", now=now, as_of=now)
        now += 30 * MINUTE
    found = entries_of(post)
    return Counter({one: times for one, times in found.items() if one[0] != "heartbeat"})


def test_late_repeated_and_disordered_events_make_the_same_entries_as_events_in_order(
    new_post: Callable[..., Any], chance: random.Random
) -> None:
    carts = [(f"c{n % 10}", NOON - 10 * HOUR + timedelta(minutes=chance.randint(0, 300))) for n in range(16)]
    # What claims to be from the future happened when it was received.
    ahead, received = NOON + 30 * DAY, NOON - 8 * HOUR
    prompt = [*((at, who, at) for who, at in carts), (received, "c11", received)]
    late = [(at + timedelta(minutes=chance.randint(0, 100)), who, at) for who, at in carts]
    again = [(at_last + timedelta(minutes=chance.randint(0, 60)), who, at) for at_last, who, at in late[::2]]
    late_post, prompt_post = (new_post("sqlite", customers=0, mapping=FRESH) for _ in range(2))
    for post in (late_post, prompt_post):
        for n in range(12):
            post.shop.customer(f"c{n}")
        post.shop.load()

    until = NOON + 2 * HOUR
    in_order = play(prompt_post, prompt, until)
    disordered = play(late_post, [*late, *again, (received, "c11", ahead)], until)

    assert len(in_order) >= 8
    assert disordered == in_order


def test_a_source_that_stands_still_sends_nothing_until_it_moves(new_post: Callable[..., Any], crew: Crew) -> None:
    post = new_post("sqlite", customers=8, mapping={"product_events": FRESH["product_events"].replace("2h", "0m")})
    post.shop.cart("heartbeat", at=NOON)
    post.shop.load()
    post.plan()

    crew.run(post.shop, "dispatch", NOON + 8 * HOUR)  # loaded last at noon
    stalled = post.check(settled=False)
    told = crew.run(post.shop, "plan", NOON + 8 * HOUR, campaigns=["cart"]).told

    assert (stalled.counted, stalled.accepted) == ({"planned": 8}, ())
    assert told["found"] == 0
    post.shop.cart("c0", at=NOON + 20 * HOUR)  # in use again, and so it has been loaded
    post.shop.load()
    crew.run(post.shop, "dispatch", NOON + 20 * HOUR + MINUTE)
    assert len(post.check(settled=False).accepted) == 7, "all but the one whose cart is in use"


@pytest.mark.parametrize("database", DATABASES)
def test_people_who_merge_share_a_mailbox_or_buy_as_guests_get_one_message_or_none(
    new_post: Callable[..., Any], crew: Crew, database: str
) -> None:
    known = ("customers", "consents", "product_events", "products", "orders", "identities")
    post = new_post(database, customers=6, known=known, campaigns={"cart": SERIES})
    for who in ("s0", "s1"):
        post.shop.customer(who, email="shared@post.example")
        post.shop.cart(who, at=NOON - 90 * MINUTE)
    post.shop.load()
    post.plan()
    crew.run(post.shop, "dispatch", NOON)
    first = post.check(settled=False)
    # c1 turns out to be c0; c2 buys as a guest with the same address; c3 and c4 merge, and c4 buys.
    for alias, into in (("c1", "c0"), ("c3", "c4")):
        post.shop.add("identities", alias=alias, customer_id=into, kind="former", valid_from=NOON + MINUTE)
    post.shop.order(None, NOON + HOUR, email="c2@post.example")
    post.shop.order("c4", NOON + HOUR)
    post.shop.load()
    for hours in (23, 26, 42, 48):
        post.outlive_leases()
        crew.run(post.shop, "dispatch", NOON + hours * HOUR)

    found = post.check()
    by_mailbox = Counter(one.to for one in found.accepted)
    assert sum(1 for one in first.accepted if one.to == "shared@post.example") == 1
    assert by_mailbox["c2@post.example"] == 1
    assert by_mailbox["c3@post.example"] == by_mailbox["c4@post.example"] == 1
    second = by_mailbox["c0@post.example"] + by_mailbox["c1@post.example"] - 2
    assert second <= 1, "one person now, one message"
