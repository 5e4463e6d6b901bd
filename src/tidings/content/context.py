"""What a template sees: the customer, what they looked at as it stands now, and links; nothing it could misuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tidings.content import formats
from tidings.content.brand import BrandView, Palette
from tidings.content.clean import one_line
from tidings.content.links import Links, safe_url
from tidings.model.entry import Entry, Item
from tidings.model.people import Customer

SCARCE = 5  # a stock note is written at or below this many


@dataclass(frozen=True, slots=True)
class ProductFacts:
    """A sellable unit as the shop knows it at the moment of sending.

    ``price`` and ``was`` are minor units of ``currency``; ``was`` is the lowest price of the 30 days before the
    present one (EU rule for price claims), None when unknown. ``stock`` is None when nobody looked.
    """

    sku: str
    name: str
    url: str
    product_id: str | None = None
    image: str | None = None
    option: str | None = None
    price: int | None = None
    was: int | None = None
    currency: str | None = None
    stock: int | None = None
    delivery: str | None = None


@dataclass(frozen=True, slots=True)
class CustomerView:
    """The recipient, without address. ``first_name`` may be None: write ``{{ customer.first_name or "..." }}``."""

    first_name: str | None
    last_name: str | None
    country: str | None
    locale: str
    attributes: Mapping[str, str]


@dataclass(slots=True)
class ItemView:
    """One product as the message shows it; amounts are texts, None when unknown.

    Not frozen, which would cost three times as much for each; templates cannot set anything, and nobody else does.

    ``was`` is the lowest price of the 30 days before, only when it is higher than ``price``; ``saved`` the
    difference. ``stock_left`` is a number only when it was looked up for this message and is 5 or less.
    """

    sku: str
    name: str
    url: str
    option: str | None
    image: str | None
    price: str | None
    was: str | None
    saved: str | None
    stock_left: int | None
    delivery: str | None
    quantity: int = 1
    seen_at: datetime | None = None


VIEWS: tuple[type, ...] = (CustomerView, ItemView, BrandView, Palette)
_MOST_VIEWS = 16_384
_views: dict[tuple[int, str, str], tuple[ProductFacts, ItemView]] = {}


@dataclass(frozen=True, slots=True)
class Occasion:
    """Which message of which campaign this is. ``basis`` is the consent that allows it (``express``, ...)."""

    campaign: str
    step: str
    channel: str
    variant: str | None = None
    basis: str = "express"


@dataclass(frozen=True, slots=True)
class Offer:
    """What the shop offers in this message: facts of the entry's skus, and further products to suggest."""

    products: Mapping[str, ProductFacts]
    suggested: Sequence[ProductFacts] = field(default=())


def build(
    customer: Customer,
    entry: Entry,
    offer: Offer | Mapping[str, ProductFacts],
    brand: BrandView,
    *,
    links: Links,
    now: datetime,
    occasion: Occasion,
) -> dict[str, Any]:
    """Return the variables of one message (docs/templates.md lists them).

    Items of unknown products, and of those that are sold out by now, are left out.
    """
    shown = offer if isinstance(offer, Offer) else Offer(offer)
    country = customer.country if customer.country and len(customer.country) == 2 else brand.country or None
    locale = formats.notation(customer.locale, country, brand.language)
    clock = formats.zone(customer.zone, brand.zone)
    anchor, today = entry.anchor_at.astimezone(clock), now.astimezone(clock)
    there = [item for item in entry.items if (product := shown.products.get(item.sku)) and product.stock != 0]
    items = [_item(item, shown.products[item.sku], brand, locale) for item in there]
    total, free = _total(there, shown.products, brand)
    return {
        "customer": CustomerView(
            _name(customer.first_name), _name(customer.last_name), customer.country, locale, _clean(customer.attributes)
        ),
        "brand": brand,
        "items": items,
        "item_count": sum(item.quantity for item in items),
        "suggested": [_view(product, brand, locale) for product in shown.suggested],
        "total": formats.money(*total, locale) if total is not None else None,
        "free_delivery": free,
        "facts": _clean(entry.facts),
        "anchor_at": anchor,
        "days_ago": max((today.date() - anchor.date()).days, 0),
        "now": today,
        "campaign": occasion.campaign,
        "step": occasion.step,
        "channel": occasion.channel,
        "variant": occasion.variant,
        "basis": occasion.basis,
        "opt_out": brand.sms_opt_out,
        "unsubscribe_url": links.unsubscribe_url,
        "preferences_url": links.preferences_url,
        "link": links.to,
        "language": brand.language,
        "direction": formats.direction(brand.language),
        "locale": locale,
        "_links": links,
    }


def _name(name: str | None) -> str | None:
    return (one_line(name, 60) or None) if name else None


def _clean(values: Mapping[str, str]) -> dict[str, str]:
    return {key: one_line(str(value), 500) for key, value in values.items()} if values else {}


def _item(item: Item, product: ProductFacts, brand: BrandView, locale: str) -> ItemView:
    view = _view(product, brand, locale)
    if product.price is None and item.price is not None and item.currency:
        view = replace(view, price=formats.money(item.price, item.currency, locale))
    if item.quantity != 1 or item.seen_at is not None:
        seen_at = item.seen_at.astimezone(formats.zone(None, brand.zone)) if item.seen_at else None
        view = ItemView(
            view.sku, view.name, view.url, view.option, view.image, view.price, view.was, view.saved,
            view.stock_left, view.delivery, item.quantity, seen_at,
        )  # fmt: skip
    return view


def _view(product: ProductFacts, brand: BrandView, locale: str) -> ItemView:
    # The same facts are shown in many messages; held here, their identity stands for them and is quickly compared.
    key = (id(product), brand.url, locale)
    known = _views.get(key)
    if known is None:
        if len(_views) >= _MOST_VIEWS:
            _views.clear()
        known = _views[key] = (product, _shown(product, brand.url, locale))
    return known[1]


def _shown(product: ProductFacts, home: str, locale: str) -> ItemView:
    currency = product.currency
    price = was = saved = None
    if product.price is not None and currency:
        price = formats.money(product.price, currency, locale)
        if product.was is not None and product.was > product.price:
            was = formats.money(product.was, currency, locale)
            saved = formats.short_money(product.was - product.price, currency, locale)
    return ItemView(
        sku=product.sku,
        name=one_line(product.name, 120) or product.sku,
        url=safe_url(product.url) or home,
        option=(one_line(product.option, 120) or None) if product.option else None,
        image=safe_url(product.image) if product.image else None,
        price=price,
        was=was,
        saved=saved,
        stock_left=product.stock if product.stock is not None and 0 < product.stock <= SCARCE else None,
        delivery=(one_line(product.delivery, 120) or None) if product.delivery else None,
    )


def _total(
    items: Sequence[Item], products: Mapping[str, ProductFacts], brand: BrandView
) -> tuple[tuple[int, str] | None, bool]:
    """Return the sum of what is shown, where every price is known in one currency, and whether delivery is free."""
    amount, currencies = 0, set()
    for item in items:
        product = products.get(item.sku)
        if product is None:
            continue
        known = product if product.price is not None else item
        price, currency = known.price, known.currency
        if price is None or not currency:
            return None, False
        amount += price * item.quantity
        currencies.add(currency)
    if len(currencies) != 1:
        return None, False
    currency = currencies.pop()
    free_from = brand.free_delivery_from.get(currency)
    return (amount, currency), free_from is not None and amount >= free_from
