"""Shoppers: what each would do is fixed by fate, whatever arm they are in, and messages only ever add."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest
from sqlalchemy import select

from tidings.demo.copies import Copy
from tidings.demo.shop import DemoShop
from tidings.demo.shoppers import EFFECTS, Effect, Shoppers, Written, number_of
from tidings.demo.till import Till
from tidings.demo.truth import true_effect
from tidings.warehouse import mapping
from tidings.warehouse.reader import open_shop

AT = int(datetime(2026, 11, 10, 9, tzinfo=UTC).timestamp())
END = datetime(2026, 11, 22, 12, tzinfo=UTC)


def letters(shop: DemoShop, campaign: str = "cart_abandonment", count: int = 3_000) -> list[Written]:
    sku = shop.book.goods.sku[5]
    return [
        Written(f"m{n}", campaign, "email", f"C{n:06d}", f"cart-{n}", AT + n, True, True, (sku,)) for n in range(count)
    ]


@pytest.fixture
def shoppers(demo_shop: DemoShop) -> Shoppers:
    return Shoppers(demo_shop)


def test_fate_is_the_same_every_time_it_is_asked(demo_shop):
    one, two = Shoppers(demo_shop), Shoppers(demo_shop)
    asked = letters(demo_shop, count=300)

    assert [one.persuaded(letter) for letter in asked] == [two.persuaded(letter) for letter in reversed(asked)][::-1]


def test_who_buys_anyway_is_not_persuaded(demo_shop, shoppers):
    both = [one for one in letters(demo_shop) if shoppers.buys_anyway(one) and shoppers.persuaded(one)]

    assert both == []


def test_own_orders_are_those_in_the_warehouse(sql, shoppers):
    placed = sql.execute(
        """SELECT account_no, placed_at FROM sales WHERE placed_at > ? AND account_no LIKE 'C%'
           AND state IN ('paid', 'open') ORDER BY placed_at LIMIT 50""",
        [datetime.fromtimestamp(AT, UTC)],
    ).fetchall()

    for customer, at in placed:
        assert shoppers.next_own_order(customer, int(at.timestamp()) - 1) == int(at.timestamp())


def test_the_share_that_a_message_persuades_is_the_configured_one(demo_shop):
    shoppers = Shoppers(demo_shop, {"cart_abandonment": Effect(0.3)})
    open_to_it = [
        one for one in letters(demo_shop) if not shoppers.buys_anyway(one) and shoppers.arrives(one) == "deliver"
    ]

    share = sum(shoppers.persuaded(one) is not None for one in open_to_it) / len(open_to_it)

    assert share == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("campaign", sorted(EFFECTS))
def test_every_campaign_doubles_conversion_or_nearly(demo_shop, shoppers, campaign):
    asked = letters(demo_shop, campaign)

    anyway = sum(shoppers.buys_anyway(one) for one in asked)
    persuaded = sum(shoppers.persuaded(one) is not None for one in asked)

    assert persuaded > anyway


def test_only_the_first_message_of_a_series_persuades(demo_shop, shoppers):
    later = [replace(one, first=False) for one in letters(demo_shop)]

    assert not any(shoppers.persuaded(one) for one in later)


def test_an_undelivered_message_persuades_nobody(demo_shop, shoppers):
    lost = [one for one in letters(demo_shop) if shoppers.arrives(one) != "deliver"]

    assert lost
    assert not any(shoppers.persuaded(one) for one in lost)


def test_nobody_clicks_a_link_that_is_not_tracked(demo_shop, shoppers):
    deeds, _ = shoppers.react([replace(one, tracked=False) for one in letters(demo_shop)])

    assert "click" not in {deed.action for deed in deeds}


def test_every_reaction_there_is_happens_to_somebody_and_after_the_message(demo_shop, shoppers):
    sent = letters(demo_shop) + [replace(one, channel="sms") for one in letters(demo_shop)]
    at = {one.message_id: one.at for one in sent}

    deeds, orders = shoppers.react(sent)

    assert {deed.action for deed in deeds} == {
        "deliver", "bounce", "block", "open", "machine_open", "click", "scan", "fetch",
        "unsubscribe", "choose", "complain", "reply", "start",
    }  # fmt: skip
    assert {"STOP", "HELP"} < {deed.text for deed in deeds if deed.action == "reply"}
    assert all(deed.at > at[deed.message_id] for deed in deeds)
    assert all(order.at > AT for order in orders)


def test_the_true_effect_is_what_the_orders_of_everybody_written_to_add_up_to(demo_shop, shoppers):
    asked = [one for one in letters(demo_shop) if shoppers.market(one.customer_id) == 0]
    _, orders = shoppers.react(asked)

    effect = true_effect(shoppers, asked, window=timedelta(days=14), until=END, currency="EUR")

    assert effect.persons == len(asked)
    assert effect.revenue == pytest.approx(sum(order.total for order in orders) / len(asked))
    assert effect.persuaded == pytest.approx(len(orders) / len(asked))


def test_the_till_loads_an_order_when_its_moment_has_come_and_once(demo_shop, shoppers, tmp_path):
    shop = replace(demo_shop, warehouse=tmp_path)
    _, orders = shoppers.react(letters(demo_shop, count=500))
    till = Till(shop, "caused")
    till.expect(orders)

    rung = [till.ring(AT + hours * 3600) for hours in (3, 30, 30, 24 * 9)]

    assert rung[0] > 0
    assert rung[2] == 0
    assert sum(rung) == len(orders)
    sales = duckdb.read_parquet(f"{tmp_path}/sales/*.parquet")
    lines = duckdb.read_parquet(f"{tmp_path}/sales_lines/*.parquet")
    assert sales.aggregate("count(*), count(DISTINCT sale_no)").fetchone() == (len(orders), len(orders))
    assert lines.aggregate("sum(amount)").fetchone() == sales.aggregate("sum(total)").fetchone()


def test_a_copy_in_memory_and_the_files_are_told_the_same(demo_shop, demo_folder, shoppers, tmp_path):
    shutil.copytree(demo_folder / "warehouse", tmp_path / "warehouse")
    mapped = mapping.load(Path(mapping.__file__).parents[1] / "demo" / "warehouse.yaml")
    copy, _, orders = Copy(mapped, tmp_path), *shoppers.react(letters(demo_shop, count=300))
    till = Till(replace(demo_shop, warehouse=tmp_path / "warehouse"), "caused", copy)
    till.expect(orders)

    for hours in (6, 30, 24 * 9):
        till.ring(AT + hours * 3600)
    till.save()

    with copy.warehouse() as held, open_shop(mapped, tmp_path) as files:
        for table in ("orders", "order_items"):
            told = [sorted(map(repr, shop.stream(select(shop.tables[table])))) for shop in (held, files)]
            assert told[0] == told[1]
            assert any("'M" in row for row in told[0])


def test_what_one_till_expects_another_can_take_over(demo_shop, shoppers, tmp_path):
    shop = replace(demo_shop, warehouse=tmp_path)
    _, orders = shoppers.react(letters(demo_shop, count=300))
    first, second = Till(shop, "one"), Till(shop, "two")
    first.expect(orders)

    first.keep_coming(tmp_path / "coming.json")
    second.take_over(tmp_path / "coming.json")

    assert second.ring(AT + 90 * 86400) == len(orders)


def test_a_customer_number_is_read_from_the_id(demo_shop):
    assert number_of("C000017") == 17
    assert np.issubdtype(demo_shop.people.market.dtype, np.integer)
