"""Handing a person what is known about them: all of it, and nothing about anybody else."""

from __future__ import annotations

import csv
import stat
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from small_shop import DAY, HOUR, MINUTE, NOON, Day, SmallShop

from tidings.errors import DefinitionError
from tidings.jobs import export_person, forget, measure
from tidings.ledger import engagements
from tidings.model.engagement import Engagement, EngagementKind
from tidings.plan.eligibility import address_hash


@pytest.fixture
def day(new_shop: Callable[..., SmallShop], open_day: Callable[[SmallShop], Day]) -> Day:
    """Ann and Bob share a mailbox; both had a cart, Ann was written to, clicked and bought."""
    shop = new_shop()
    shop.product()
    shop.customer("ann", email="both@post.example", first_name="=cmd|' /C calc'!A0")
    shop.customer("bob", email="both@post.example", first_name="Bobsname")
    shop.cart("ann", at=NOON - 3 * HOUR)
    shop.cart("bob")
    shop.order("ann", NOON + 2 * HOUR)
    shop.order("bob", NOON + 3 * HOUR, email="both@post.example")
    shop.order(None, NOON + 4 * HOUR, email="both@post.example", order_id="guest-order")
    shop.load()
    found = open_day(shop)
    found.plan(NOON)
    found.dispatch(NOON + MINUTE)
    mail = found.messages(status="sent")[0]
    event = Engagement("c-1", mail.id, EngagementKind.CLICKED, NOON + HOUR)
    with found.opened.ledger.writing() as conn:
        engagements.take(conn, [event], NOON + HOUR, provider="sendgrid")
    measure.run(found.opened, now=NOON + DAY)
    return found


def test_everything_about_the_person_is_in_it_in_words(day: Day) -> None:
    who = day.messages(status="sent")[0].customer_id

    told = export_person.run(day.opened, who, now=NOON + DAY)

    ours, theirs = told["written_by_us"], told["read_from_the_shop"]
    assert [one["status"] for one in ours["messages"]] == ["sent"]
    assert [one["kind"] for one in ours["engagements"]] == ["clicked"]
    assert ours["entries"][0]["seen"]["items"][0]["sku"] == "lamp"
    assert len(ours["credits"]) >= 1
    assert theirs["customers"][0]["email"] == "both@post.example"
    assert {one["channel"] for one in theirs["consents"]} == {"email", "sms"}
    assert [one["kind"] for one in theirs["product_events"]] == ["added"]


def test_who_shares_the_mailbox_is_not_in_it_nor_anything_of_our_own_keeping(day: Day) -> None:
    told = export_person.as_json(export_person.run(day.opened, "ann", now=NOON + DAY)).decode()

    assert "bob" not in told.lower()
    assert address_hash("both@post.example", day.opened.secrets.pepper) not in told
    for word in ("pepper", "token", "lease", "shard", "entry_key"):
        assert word not in told
    orders = orjson.loads(told)["read_from_the_shop"]["orders"]
    assert sorted(one.get("customer_id", "") for one in orders) == ["", "ann"]


def test_the_files_are_for_their_owner_only_and_hold_no_formula(day: Day, tmp_path: Path) -> None:
    told = export_person.run(day.opened, "ann", now=NOON + DAY)

    export_person.write_private(told, tmp_path / "ann.json")
    files = export_person.write_csv(told, tmp_path / "ann")

    assert {stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "ann.json", *files)} == {0o600}
    with (tmp_path / "ann/read_from_the_shop-customers.csv").open(newline="") as lines:
        (customer,) = csv.DictReader(lines)
    assert customer["first_name"] == "'=cmd|' /C calc'!A0"


@pytest.mark.parametrize(
    ("value", "written"),
    [("=1+1", "'=1+1"), ("+358", "'+358"), ("-x", "'-x"), ("@a", "'@a"), ("\tx", "'\tx"), (-5, "-5"), ("a=b", "a=b")],
    ids=["equals", "plus", "minus", "at", "tab", "a number", "inside"],
)
def test_a_spreadsheet_runs_no_cell(value: object, written: str) -> None:
    assert export_person.cell(value) == written


def test_nobody_unknown_and_nobody_forgotten_is_exported(day: Day) -> None:
    with pytest.raises(DefinitionError, match="found nobody"):
        export_person.run(day.opened, "nobody-of-that-id", now=NOON + DAY)
    forget.run(day.opened, "ann", now=NOON + DAY)

    told = export_person.run(day.opened, "ann", now=NOON + DAY)

    assert not any(rows for name, rows in told["written_by_us"].items() if name != "suppressions")
