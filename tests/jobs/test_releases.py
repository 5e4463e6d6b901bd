"""Few pieces back in stock are told to few people, in waves; the others wait, and nobody is lost from the list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from small_shop import DAY, HOUR, MINUTE, NOON, Day, SmallShop

PEOPLE = 70
CAMPAIGN = """\
id: back
mode: live
detect: {type: back_in_stock}
schedule: "*/15 * * * *"
steps:
  - {name: news, channel: email, template: cart/reminder, expires_after: 2d}
holdout: 0%
"""


def _stock(shop: SmallShop, quantity: int, at: Any) -> None:
    shop.add("stock", sku="lamp", quantity=quantity, observed_at=at)


@pytest.fixture(params=["sqlite", "postgresql"])
def waiting(
    request: pytest.FixtureRequest, new_shop: Callable[..., SmallShop], open_day: Callable[[SmallShop], Day]
) -> Day:
    """Seventy people saw the lamp while it was out, one after the other; two are back since half an hour."""
    given = {} if request.param == "sqlite" else {"ledger_url": request.getfixturevalue("postgres_url")}
    shop = new_shop(campaigns={"back": CAMPAIGN}, settings="dispatch: {lanes: 1}\n", **given)
    shop.product()
    _stock(shop, 0, NOON - 3 * DAY)
    _stock(shop, 2, NOON - 30 * MINUTE)
    for number in range(PEOPLE):
        who = f"w{number:02d}"
        shop.customer(who)
        shop.add(
            "product_events", event_id=who, customer_id=who, kind="viewed", sku="lamp",
            occurred_at=NOON - 2 * DAY + timedelta(minutes=PEOPLE - number), received_at=NOON - 2 * DAY + HOUR,
        )  # fmt: skip
    shop.load()
    return open_day(shop)


def _told(day: Day) -> set[str]:
    return {row.customer_id for row in day.messages() if row.status == "sent"}


def test_two_pieces_are_told_to_twenty_people_and_the_others_wait(waiting: Day) -> None:
    assert waiting.plan(NOON, "back").planned == PEOPLE

    first = waiting.dispatch(NOON + MINUTE)

    assert first.sent == 20
    assert first.deferred == PEOPLE - 20
    assert Counter((row.status, row.defer_reason) for row in waiting.messages() if row.status != "sent") == {
        ("planned", "too_few"): PEOPLE - 20
    }


def test_of_a_batch_who_waited_longest_is_told_first(waiting: Day) -> None:
    waiting.plan(NOON, "back")

    waiting.dispatch(NOON + MINUTE)

    assert _told(waiting) == {f"w{number:02d}" for number in range(PEOPLE - 20, PEOPLE)}


def test_a_wave_reads_the_stock_again_and_counts_who_was_told_within_the_hold(waiting: Day) -> None:
    waiting.plan(NOON, "back")
    waiting.dispatch(NOON + MINUTE)
    assert waiting.dispatch(NOON + 20 * MINUTE).sent == 0

    _stock(waiting.shop, 3, NOON + 25 * MINUTE)
    waiting.shop.load()
    later = waiting.dispatch(NOON + 40 * MINUTE)

    assert later.sent == 10
    assert len(_told(waiting)) == 30


def test_nobody_is_lost_from_the_list(waiting: Day) -> None:
    waiting.plan(NOON, "back")
    waiting.dispatch(NOON + MINUTE)

    _stock(waiting.shop, 0, NOON + 10 * MINUTE)
    waiting.shop.load()
    waiting.dispatch(NOON + 20 * MINUTE)

    assert Counter((row.status, row.reason) for row in waiting.messages()) == {
        ("sent", None): 20, ("skipped", "out_of_stock"): PEOPLE - 20,
    }  # fmt: skip


def test_two_lanes_at_once_tell_no_more_than_one(waiting: Day) -> None:
    waiting.plan(NOON, "back")
    with ThreadPoolExecutor(2) as lanes:
        told = list(lanes.map(lambda _: waiting.dispatch(NOON + MINUTE), range(2)))

    assert sum(one.sent for one in told) == 20


def test_everybody_is_told_at_once_where_the_campaign_says_so(
    new_shop: Callable[..., SmallShop], open_day: Callable[[SmallShop], Day]
) -> None:
    shop = new_shop(campaigns={"back": CAMPAIGN.replace("back_in_stock}", "back_in_stock, hold: null}")})
    shop.product()
    _stock(shop, 0, NOON - 3 * DAY)
    _stock(shop, 1, NOON - 30 * MINUTE)
    for number in range(15):
        shop.customer(f"w{number}")
        shop.add(
            "product_events", event_id=f"{number}", customer_id=f"w{number}", kind="viewed", sku="lamp",
            occurred_at=NOON - 2 * DAY, received_at=NOON - 2 * DAY,
        )  # fmt: skip
    shop.load()
    day = open_day(shop)
    day.plan(NOON, "back")

    assert day.dispatch(NOON + MINUTE).sent == 15
