"""Made-up customers at the edges, for ``tidings check`` and previews: what a template must survive, nobody real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tidings.content.brand import BrandView
from tidings.content.context import Offer, ProductFacts
from tidings.model.entry import Entry, Item
from tidings.model.people import Customer

NOW = datetime(2026, 3, 12, 9, 30, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}{% raw %}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One imagined occasion. ``usual`` marks the ones whose lengths are worth advice."""

    name: str
    customer: Customer
    entry: Entry
    offer: Offer
    usual: bool = False


def sample(brand: BrandView) -> Sample:
    """Return the ordinary case: a named customer, two products with pictures, one of them scarce."""
    pitcher, lamp = _pitcher(brand), _lamp(brand)
    customer = Customer("sample", first_name="Ann", last_name="Berg", locale=brand.language, country=brand.country)
    return Sample("Ann", customer, _entry((pitcher, lamp)), _offer((pitcher, lamp)), usual=True)


def edges(brand: BrandView) -> list[Sample]:
    """Return the ordinary case and everything around it that has broken templates before."""
    usual = sample(brand)
    pitcher, lamp = _pitcher(brand), _lamp(brand)
    bare = ProductFacts("bare", "Cup", brand.url)
    poison = ProductFacts(
        "poison", HOSTILE, "javascript:alert(1)", image="javascript:alert(1)", option=HOSTILE, price=100, currency="EUR"
    )
    long = replace(lamp, name="An extraordinarily long product name " * 9, option="one option after another " * 9)
    yen = replace(lamp, price=12_900, was=15_000, currency="JPY")
    free = replace(lamp, price=0, was=None)
    crowd = tuple(replace(pitcher, sku=f"sku-{n}", name=f"Pitcher {n}") for n in range(40))
    named = {
        "no name": None,
        "right-to-left name": "\u202e\u05e9\u05e8\u05d4\u200f",
        "markup in the name": HOSTILE,
        "joined emoji in the name": "Zo\u00eb \U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
        "name of a megabyte": "A" * 1_000_000,
        "line breaks in the name": "Ann\r\nBcc: everyone@example.com\u2028x",
        "broken characters in the name": "Ann\x00\ud800\ufeff",
    }
    found = [usual]
    found += [replace(usual, name=what, customer=_named(name), usual=False) for what, name in named.items()]
    products = {
        "one product": (lamp,), "one product without a picture": (replace(lamp, image=None),),
        "a product without price or option": (bare,), "forty products": crowd, "hostile product": (poison,),
        "long product name": (long,), "yen": (yen,), "price 0": (free,), "two currencies": (lamp, yen),
    }  # fmt: skip
    found += [Sample(what, usual.customer, _entry(these), _offer(these)) for what, these in products.items()]
    strange = Customer("sample", first_name="Ann", locale="xx_unknown", country="XYZ", zone="Mars/Olympus")
    found.append(replace(usual, name="unknown locale and zone", customer=strange, usual=False))
    old = replace(
        usual.entry, anchor_at=NOW - timedelta(days=800), items=(Item(lamp.sku, seen_at=NOW),), facts={"waited": "view"}
    )
    found.append(Sample("two years ago, nothing to suggest", usual.customer, old, Offer({lamp.sku: lamp})))
    return found


def _pitcher(brand: BrandView) -> ProductFacts:
    return ProductFacts(
        "pitcher", "Ilmari pitcher", brand.url, image=f"{brand.url.rstrip('/')}/pitcher.jpg", option="Sage, 1.2 l",
        price=4_800, currency="EUR", stock=4,
    )  # fmt: skip


def _lamp(brand: BrandView) -> ProductFacts:
    return ProductFacts(
        "lamp", "Kajo lamp", brand.url, image=f"{brand.url.rstrip('/')}/lamp.jpg", option="Linen and oak",
        price=9_900, was=12_900, currency="EUR", stock=40, delivery="2 to 4 working days",
    )  # fmt: skip


def _named(name: str | None) -> Customer:
    return Customer("sample", first_name=name, last_name=name, locale="en", attributes={"note": name or ""})


def _entry(products: Sequence[ProductFacts]) -> Entry:
    items = tuple(Item(product.sku, price=product.price, currency=product.currency) for product in products)
    anchor = NOW - timedelta(hours=26)
    return Entry("sample", "sample", anchor, anchor + timedelta(hours=1), sku=items[0].sku, items=items)


def _offer(products: Sequence[ProductFacts]) -> Offer:
    return Offer({product.sku: product for product in products}, tuple(products[:3]))
