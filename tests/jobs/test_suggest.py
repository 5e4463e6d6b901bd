"""What a win-back message suggests can be bought: in the catalogue, on sale, priced and in stock."""

from __future__ import annotations

from collections.abc import Callable

from small_shop import DAY, NOON, Day, SmallShop

from tidings.jobs.suggest import Suggestions
from tidings.model.entry import Entry


def test_only_what_can_be_bought_is_suggested(
    new_shop: Callable[..., SmallShop], open_day: Callable[[SmallShop], Day]
) -> None:
    shop = new_shop()
    for number, sku in enumerate(("lamp", "retired", "gone", "unpriced")):
        shop.add("products", sku=sku, product_id=f"p-{sku}", name=sku, url="https://fenmark.example",
                 active=sku != "retired")  # fmt: skip
        shop.add("stock", sku=sku, quantity=0 if sku == "gone" else 5, observed_at=NOON - DAY)
        if sku != "unpriced":
            shop.add("prices", sku=sku, currency="EUR", amount=4_000, valid_from=NOON - 100 * DAY)
        shop.order("bo", NOON - DAY, order_id=f"o{number}")
        shop.add("order_items", order_id=f"o{number}", sku=sku, quantity=1, amount=4_000)
    shop.load()
    entry = Entry(key="ann", customer_id="ann", anchor_at=NOON - 90 * DAY, entered_at=NOON)

    found = Suggestions(open_day(shop).opened, NOON, [entry]).for_entry(entry)

    assert [one.sku for one in found] == ["lamp"]
