"""A number that the provider refuses for good is closed at once: what waits for it is cancelled, others are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from small_shop import CART, DAY, MINUTE, NOON, Day, SmallShop
from sqlalchemy import select

from tidings.ledger import schema
from tidings.sandbox.faults import Fault
from tidings.sandbox.server import Sandbox

LATER = "  - {name: later, after: 1d, channel: sms, template: cart/text, expires_after: 24h}\n"
TEXTS = CART.format(id="cart").replace("email, template: cart/reminder", "sms, template: cart/text")
TEXTS = TEXTS.replace("holdout:", f"{LATER}holdout:")


@pytest.fixture(params=["sqlite", "postgresql"])
def refused(
    request: pytest.FixtureRequest, new_shop: Callable[..., SmallShop], open_day: Callable[[SmallShop], Day],
    sandbox: Sandbox,
) -> Callable[[int], Day]:  # fmt: skip
    """Call it with Twilio's code for a day on which it was its answer to Ann's first text."""
    more: dict[str, Any] = {}
    if request.param == "postgresql":
        more["ledger_url"] = request.getfixturevalue("postgres_url")
    shop = new_shop(campaigns={"cart": TEXTS}, **more)
    shop.product()
    shop.customer("ann", phone="+358501234567")
    # He has the same telephone, and left his cart later.
    shop.customer("bob", phone="+358501234567")
    shop.cart("ann")
    shop.cart("bob", at=NOON - 30 * MINUTE)
    shop.load()

    def meet(code: int) -> Day:
        day = open_day(shop)
        day.plan(NOON)
        day.plan(NOON + 45 * MINUTE)
        sandbox.faults.add(Fault("code", provider="twilio", code=code, count=1))
        assert day.dispatch(NOON + MINUTE).failed == 1
        return day

    return meet


def told(day: Day) -> list[tuple[Any, ...]]:
    o = schema.opt_outs.c
    with day.opened.ledger.reading() as conn:
        return [tuple(row) for row in conn.execute(select(o.customer_id, o.channel, o.opted_out, o.reason, o.source))]


def test_who_told_twilio_to_stop_gets_nothing_more_and_everybody_hears_of_it(
    refused: Callable[[int], Day], sandbox: Sandbox
) -> None:
    day = refused(21610)

    assert {(row.customer_id, row.step): (row.status, row.reason) for row in day.messages()} == {
        ("ann", "reminder"): ("failed", "rejected"),
        ("ann", "later"): ("cancelled", "suppressed"),
        ("bob", "reminder"): ("cancelled", "suppressed"),
        ("bob", "later"): ("cancelled", "suppressed"),
    }
    assert told(day) == [("ann", "sms", True, "stop", "provider")]

    day.dispatch(NOON + DAY)
    assert sandbox.store.messages == []


def test_a_number_that_is_none_closes_at_once_and_is_nobodys_word(refused: Callable[[int], Day]) -> None:
    day = refused(21614)

    assert {row.status for row in day.messages()} == {"failed", "cancelled"}
    assert told(day) == []


def test_a_refusal_that_says_nothing_of_the_number_closes_nothing(refused: Callable[[int], Day]) -> None:
    day = refused(21408)

    with day.opened.ledger.reading() as conn:
        closed = conn.execute(select(schema.suppressions.c.reason)).all()
    assert closed == []
    assert [row.status for row in day.messages()].count("planned") == 3
