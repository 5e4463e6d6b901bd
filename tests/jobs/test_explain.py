"""Every campaign gives a customer an answer: what was sent with the gates it passed, or what is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from small_shop import CART, DAY, HOUR, NOON, Day, SmallShop

from tidings.cli import run as command
from tidings.jobs import explain

NewShop = Callable[..., SmallShop]
OpenDay = Callable[[SmallShop], Day]
LAPSED = """\
id: lapsed
mode: live
detect: {type: win_back, lapse: 60d}
schedule: "0 6 * * *"
steps:
  - {name: hello, channel: email, template: cart/reminder, expires_after: 24h}
  - {name: text, after: 1d, channel: sms, template: cart/text, expires_after: 24h}
"""


@pytest.fixture
def told(new_shop: NewShop, open_day: OpenDay) -> Day:
    """Ann was reminded of her cart; nobody has lapsed, and Ann's number was given up."""
    shop = new_shop(campaigns={"cart": CART.format(id="cart"), "lapsed": LAPSED})
    shop.product()
    shop.customer("ann", phone=None)
    shop.customer("bo")
    shop.consent("bo", status="withdrawn", at=NOON - DAY)
    shop.cart("ann")
    shop.load()
    day = open_day(shop)
    day.plan(NOON)
    day.plan(NOON, "lapsed")
    assert day.dispatch(NOON).sent == 1
    return day


def answers(gates: Any) -> dict[str, tuple[str, str]]:
    return {gate.name: (gate.answer, gate.fact) for gate in gates}


def test_a_message_that_was_sent_shows_the_gates_it_passed_on_the_customers_clock(told: Day) -> None:
    (entry,) = explain.run(told.opened, "ann", now=NOON + HOUR).entries
    (message,) = entry.messages

    gates = answers(message.gates)
    assert {answer for answer, _ in gates.values()} == {"yes"}
    assert gates["consent"] == ("yes", "marketing, express, given 3 Dec 2025 (in the warehouse)")
    assert gates["quiet hours"] == ("yes", "open Europe/Helsinki 08:00-21:00")
    assert gates["frequency cap"] == ("yes", "0 of 1 used, 0 of 4 used")
    assert gates["suppression"] == ("yes", "none at 3 Mar 12:00 EET")
    assert entry.again_at == NOON - HOUR + 7 * DAY


def test_a_campaign_that_has_not_found_the_customer_says_what_is_missing_and_what_else_would_hold(told: Day) -> None:
    (other,) = explain.run(told.opened, "ann", now=NOON + HOUR).others

    assert (other.title, other.condition.answer) == ("Lapsed", "no")
    assert other.condition.fact == "not met in what was looked at, up to 3 Mar 12:00 EET"
    mail, text = other.channels
    assert answers(mail.gates)["frequency cap"][0] == "no"
    assert answers(text.gates)["address"] == ("no", "no address for this channel")


def test_who_no_campaign_has_found_gets_an_answer_from_each(told: Day) -> None:
    found = explain.run(told.opened, "bo", now=NOON + HOUR)

    assert (found.entries, [one.campaign for one in found.others]) == ((), ["cart", "lapsed"])
    assert answers(found.others[0].channels[0].gates)["consent"] == ("no", "none found")


def test_the_command_prints_both(
    told: Day, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in told.shop.environ.items():
        monkeypatch.setenv(name, value)

    assert command(["explain", "ann", "--project", str(told.shop.folder)]) == 0

    said = capsys.readouterr().out
    assert said.index("Cart\n") < said.index("Lapsed\n") < said.index("1 entry. Times are those of Europe/Helsinki")
    assert "e-mail, were the condition met now:" in said
    assert "@" not in said
