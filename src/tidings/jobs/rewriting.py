"""The same message once more, from the versions it was made of and the customer as the warehouse knows them now."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from tidings.content.brand import BrandView
from tidings.content.context import Occasion, Offer, build
from tidings.content.links import Links, Signer, utm
from tidings.content.templates import Library, Rendered, Template
from tidings.errors import TemplateError
from tidings.jobs.opening import Opened
from tidings.jobs.versions import brand_from, product_from
from tidings.ledger.receipts import Version
from tidings.model.entry import Entry
from tidings.model.people import Channel, Customer

_PLACE = "message_templates"


@dataclass(frozen=True, slots=True)
class Letter:
    """What is kept of a message beside its versions: whose entry it was about, and how its links were written."""

    id: str
    campaign: str
    step: str
    channel: Channel
    variant: str
    tracked: bool
    entry: Entry
    now: Any


class Rewriter:
    """Writes messages again; brands and templates are made once for all that share them."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._brands: dict[str, tuple[BrandView, dict[str, Any]]] = {}
        self._templates: dict[tuple[str, str], Template] = {}

    def write(
        self, letter: Letter, customer: Customer, made: Mapping[str, str], offer: Offer, versions: Mapping[str, Version]
    ) -> Rendered:
        """Return the message. Raises TemplateError when it can be written no more: a link key that is gone, say."""
        brand, said = self._brand(versions[made["brand"]])
        key, policy = said["key"], said["policy"]
        if key not in self._opened.secrets.link_keys:
            raise TemplateError("its links were signed with a key that is no longer held")
        links = Links(
            Signer(self._opened.secrets.link_keys, key),
            policy["public_url"],
            letter.id,
            tracked=letter.tracked,
            utm=utm(letter.channel, letter.campaign, letter.step, policy["utm_source"]),
        )
        occasion = Occasion(letter.campaign, letter.step, letter.channel.value, letter.variant or None)
        context = build(customer, letter.entry, offer, brand, links=links, now=letter.now, occasion=occasion)
        return self._template(versions[made["template"]], made["brand"], brand, letter.channel).render(context)

    def _brand(self, version: Version) -> tuple[BrandView, dict[str, Any]]:
        known = self._brands.get(version.ref)
        if known is None:
            known = self._brands[version.ref] = (brand_from(version.content), orjson.loads(version.content))
        return known

    def _template(self, version: Version, brand_ref: str, brand: BrandView, channel: Channel) -> Template:
        known = self._templates.get((version.ref, brand_ref))
        if known is None:
            known = self._templates[version.ref, brand_ref] = compiled(version, brand, channel)
        return known


def compiled(version: Version, brand: BrandView, channel: Channel) -> Template:
    """Return the template that a version keeps, compiled anew."""
    with tempfile.TemporaryDirectory(prefix="tidings-") as made:
        folder = Path(made) / _PLACE
        for name, text in orjson.loads(version.content)["files"]:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise TemplateError("a kept template must lie in its folder; found another place")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8", newline="")
        return Library(folder, brand).template(version.name, channel)


def offered(said: Mapping[str, Any], versions: Mapping[str, Version]) -> Offer:
    """Return the products that a message showed."""
    shown = [product_from(versions[one].content) for one in said.get("shown", ())]
    suggested = tuple(product_from(versions[one].content) for one in said.get("suggested", ()))
    return Offer({one.sku: one for one in shown}, suggested)
