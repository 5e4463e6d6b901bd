"""A brand, a small library of templates, and one message's context for every content test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tidings.content.brand import BrandView
from tidings.content.context import Occasion, Offer, ProductFacts, build
from tidings.content.links import Links, Signer, utm
from tidings.content.templates import Library
from tidings.model.entry import Entry, Item
from tidings.model.people import Customer

TEMPLATES = Path(__file__).parents[2] / "message_templates"
LAYOUT = """<mjml lang="{{ language }}"><mj-head><mj-title>{{ subject }}</mj-title>
<mj-preview>{{ preheader }}</mj-preview></mj-head><mj-body>
<mj-section><mj-column><mj-text><h1>Hello</h1></mj-text></mj-column></mj-section>
{% block body %}{% endblock %}
<mj-section><mj-column><mj-text>{{ brand.postal_address }} <a href="{{ unsubscribe_url }}">Unsubscribe</a></mj-text>
</mj-column></mj-section></mj-body></mjml>
"""
HEAD = '{% extends "_layouts/small.mjml" %}{% block subject %}S{% endblock %}{% block preheader %}P{% endblock %}\n'


@pytest.fixture
def brand() -> BrandView:
    return BrandView(
        name="Fenmark", legal_name="Fenmark Oy", postal_address="Satamakatu 14, 00160 Helsinki, Finland",
        url="https://fenmark.example", cart_url="https://fenmark.example/cart", delivery="2–4 working days",
        country="IE", zone="Europe/Helsinki", free_delivery_from={"EUR": 7_500},
    )  # fmt: skip


@pytest.fixture
def defaults(brand: BrandView) -> Library:
    """The templates that every project begins with."""
    return Library(TEMPLATES, brand)


@pytest.fixture
def write(tmp_path: Path, brand: BrandView) -> Callable[..., Library]:
    """Call it with body=... or sms=... (or whole files by name) for a library that holds a template t/one."""

    def written(body: str | None = None, sms: str | None = None, **files: str) -> Library:
        folder = tmp_path / "message_templates"
        (folder / "_layouts").mkdir(parents=True, exist_ok=True)
        (folder / "t").mkdir(exist_ok=True)
        (folder / "_layouts/small.mjml").write_text(LAYOUT)
        if body is not None:
            words = f"<mj-section><mj-column><mj-text>{body}</mj-text></mj-column></mj-section>"
            (folder / "t/one.mjml").write_text(HEAD + "{% block body %}" + words + "{% endblock %}")
        if sms is not None:
            (folder / "t/one.sms").write_text(sms)
        for name, text in files.items():
            (folder / name.replace("__", "/").replace("_dot_", ".")).write_text(text)
        return Library(folder, brand)

    return written


PITCHER = ProductFacts(
    "pitcher", "Ilmari pitcher", "https://fenmark.example/p/1", image="https://fenmark.example/i/1.jpg",
    option="Sage, 1.2 l", price=4_800, currency="EUR", stock=4,
)  # fmt: skip
LAMP = ProductFacts(
    "lamp", "Kajo lamp", "https://fenmark.example/p/2", image="https://fenmark.example/i/2.jpg",
    option="Linen and oak", price=9_900, was=12_900, currency="EUR",
)  # fmt: skip


@pytest.fixture
def context(brand: BrandView) -> Callable[..., dict[str, Any]]:
    """Call it for the context of one message; what a test does not name is the ordinary case."""

    def built(
        *products: ProductFacts, customer: Customer | None = None, tracked: bool = True, items: tuple[Item, ...] = (),
        variant: str | None = None, facts: dict[str, str] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        known = products or (PITCHER, LAMP)
        anchor = datetime(2026, 3, 10, 8, tzinfo=UTC)
        items = items or tuple(Item(product.sku) for product in known)
        links = Links(
            Signer({"k": bytes(range(32))}), "https://t.fenmark.example", "AbCdEfGhIjKlMnOp", tracked=tracked,
            utm=utm("email", "cart_abandonment", "reminder"),
        )  # fmt: skip
        return build(
            customer or Customer("c1", first_name="Ann", locale="en-IE", country="IE"),
            Entry("k", "c1", anchor, anchor, items=items, facts=facts or {}),
            Offer({product.sku: product for product in known}, known[:3]),
            brand, links=links, now=datetime(2026, 3, 12, 9, tzinfo=UTC),
            occasion=Occasion("cart_abandonment", "reminder", "email", variant),
        )  # fmt: skip

    return built
