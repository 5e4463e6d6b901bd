"""Rows as bad as real ones come, through a real shop's mapping: set aside or without effect, never a message."""

from __future__ import annotations

import copy
import gzip
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tidings.detect.walk import trigger_types
from tidings.model.entry import Entry, Window
from tidings.model.message import SkipReason
from tidings.warehouse.mapping import Mapping, parse
from tidings.warehouse.reader import Warehouse, open_shop

FILE = "rees46_2019-10-01_first17435.csv.gz"
END = datetime(2019, 10, 1, 2, 50, tzinfo=UTC)
WINDOW = Window(END - timedelta(days=1), END)
TYPES = trigger_types()
CART = TYPES["cart_abandonment"](type="cart_abandonment", idle="10m", order_grace="0m")
BROWSE = TYPES["browse_abandonment"](type="browse_abandonment", idle="10m")
HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
WHOLE = {"event_type": "cart", "product_id": "5100001", "category_id": "1", "brand": "acme", "price": "100.00"}


def event(**given: str) -> str:
    """Return a line of a stranger, half an hour before the end; what is not given is whole."""
    values = {"event_time": "2019-10-01 02:20:00 UTC", "user_session": "s", **WHOLE, **given}
    return ",".join(values.get(name, "") for name in HEADER.split(","))


@pytest.fixture(scope="module")
def lines(shared: Path) -> list[str]:
    return gzip.decompress((shared / "data" / FILE).read_bytes()).decode().splitlines()


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Warehouse]:
    """Call it with lines for the shop that they make through the real mapping."""

    def opened(rows: Iterable[str], **columns: Any) -> Warehouse:
        folder = tmp_path_factory.mktemp("rows")
        (folder / "clicks.csv").write_text("\n".join(rows), encoding="utf-8")
        content = copy.deepcopy(parse((Path(__file__).parent / "rees46.yaml").read_text(encoding="utf-8")))
        content["database"]["files"]["clicks"] = {"csv": "clicks.csv"}
        content["tables"]["product_events"]["columns"].update(columns)
        return open_shop(Mapping.model_validate(content), folder)

    return opened


@pytest.fixture(scope="module")
def truth(over: Callable[..., Warehouse], lines: list[str]) -> list[Entry]:
    """Who is found in the file as it is."""
    return found(over(lines))


def found(shop: Warehouse) -> list[Entry]:
    entries = [*CART.entries(shop, WINDOW), *BROWSE.entries(shop, WINDOW)]
    return sorted(entries, key=lambda entry: entry.key)


def carts(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if "first_view" not in entry.facts]


def test_bad_rows_change_nothing(over: Callable[..., Warehouse], lines: list[str], truth: list[Entry]) -> None:
    carted = [entry.customer_id for entry in carts(truth)]
    mixed = lines[1:-1]
    random.Random(1).shuffle(mixed)
    bad = [
        *random.Random(2).choices(mixed, k=2_000),  # delivered twice
        *(event(user_id=one, event_time="2035-01-01 00:00:00 UTC", event_type="purchase") for one in carted),
        *(event(user_id=one, event_time="2019-10-01 02:50:01 UTC") for one in carted),  # a second too late to be known
        *(event(user_id="stranger", event_time=time) for time in ("soon", "2019-02-30 10:00:00 UTC", "1569896400")),
        *(event(user_id="stranger", event_type=kind) for kind in ("scroll", "CARTED", "")),
        event(user_id="stranger", product_id=""),
        event(user_id=""),
        *(event(user_id="looker", event_type="view", price="0.00") for _ in range(5)),  # nothing has no price
        *(event(user_id="looker", event_type="view", product_id="unknown", category_id="") for _ in range(5)),
        event(user_id="stranger", product_id="unknown", category_id=""),
    ]

    shop = over([lines[0], *mixed, *bad, event(user_id="stranger")[:40]])

    assert found(shop) == truth
    assert len(carts(truth)) == 36
    assert shop.set_aside() == {"clicks": 1}


def test_the_same_row_is_an_entry_when_it_is_whole(over: Callable[..., Warehouse]) -> None:
    whole = over([HEADER, event(user_id="stranger"), event(user_id="looker", event_type="view"),
                  event(user_id="looker", event_type="view", event_time="2019-10-01 02:21:00 UTC")])  # fmt: skip

    assert [entry.customer_id for entry in found(whole)] == ["looker", "stranger"]


def test_a_purchase_that_arrives_late_takes_back_what_was_planned_before_it(
    over: Callable[..., Warehouse], lines: list[str], truth: list[Entry]
) -> None:
    late = carts(truth)[:5]
    times = {one.customer_id: f"{one.anchor_at:%F %T} UTC" for one in late}
    bought = [event(user_id=who, event_type="purchase", event_time=at) for who, at in times.items()]

    shop = over([*lines[:-1], *bought])

    assert CART.untrue(shop, carts(truth), END) == {one.key: SkipReason.PURCHASED for one in late}
    assert len(carts(found(shop))) == 31


def test_a_cart_in_several_currencies_is_worth_what_it_holds_in_one(over: Callable[..., Warehouse]) -> None:
    currency = {"column": "brand", "values": {"dollars": "USD", "euros": "EUR"}}
    rows = [
        event(user_id="a", brand="dollars", price="15.00"),
        event(user_id="a", brand="euros", price="30.00", product_id="2", event_time="2019-10-01 02:21:00 UTC"),
        event(user_id="b", brand="euros", price="19.99"),
        event(user_id="c", brand="doubloons", price="500.00"),
    ]
    shop = over([HEADER, *rows], currency=currency)
    least = TYPES["cart_abandonment"](type="cart_abandonment", idle="10m", minimum_value={"USD": 10, "EUR": 20})

    entries = list(least.entries(shop, WINDOW))

    # The last thing put in says in which currency; what has none is found, and skipped with that reason.
    assert {entry.customer_id: (entry.value, entry.currency) for entry in entries} == {
        "a": (3000, "EUR"), "c": (50000, None)
    }  # fmt: skip
    assert set(least.untrue(shop, entries, END).values()) == {SkipReason.NO_CURRENCY}
