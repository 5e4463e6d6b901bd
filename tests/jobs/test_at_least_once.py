"""At least once, for orders only: a lost answer is offered again once after the quarantine, and the run says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from small_shop import CART, NOON, Day, SmallShop

from tidings.errors import DefinitionError
from tidings.sandbox.faults import Fault
from tidings.sandbox.server import Sandbox

ORDERS = CART.format(id="cart").replace("channel: email,", "channel: email, message_class: transactional,")
QUARANTINED = NOON + timedelta(hours=2)
SETTINGS = "dispatch: {presume_lost_after: 1h}\n"
NewShop, OpenDay = Callable[..., SmallShop], Callable[[SmallShop], Day]


def lost(new_shop: NewShop, open_day: OpenDay, sandbox: Sandbox, words: str, times: int) -> Day:
    """One message is due, and so many answers are lost after the provider took it."""
    shop = new_shop(campaigns={"cart": words}, settings=SETTINGS)
    shop.product()
    shop.customer("ann")
    shop.cart("ann")
    shop.load()
    day = open_day(shop)
    day.plan(NOON)
    sandbox.faults.add(Fault("drop_after_accept", "sendgrid", count=times))
    day.dispatch(NOON)
    return day


def test_a_lost_answer_is_sent_again_once_and_counted(new_shop: NewShop, open_day: OpenDay, sandbox: Sandbox) -> None:
    day = lost(new_shop, open_day, sandbox, ORDERS + "delivery_semantics: at_least_once\n", 9)

    runs = [day.dispatch(QUARANTINED + timedelta(hours=hour)) for hour in (0, 2, 4)]

    assert [one.offered_again for one in runs] == [1, 0, 0]
    assert len(sandbox.store.messages) == 2
    assert day.counted() == {"presumed_lost": 1}


def test_at_most_once_is_never_sent_again(new_shop: NewShop, open_day: OpenDay, sandbox: Sandbox) -> None:
    day = lost(new_shop, open_day, sandbox, ORDERS, 1)

    run = day.dispatch(QUARANTINED)

    assert (run.offered_again, len(sandbox.store.messages)) == (0, 1)
    assert day.counted() == {"presumed_lost": 1}


def test_marketing_cannot_ask_for_it(new_shop: NewShop, open_day: OpenDay) -> None:
    day = open_day(new_shop(campaigns={"cart": CART.format(id="cart") + "delivery_semantics: at_least_once\n"}))

    with pytest.raises(DefinitionError, match="must be at_most_once unless every step is transactional"):
        day.opened.project.campaign("cart")
    assert len(day.opened.project.mistakes) == 1
