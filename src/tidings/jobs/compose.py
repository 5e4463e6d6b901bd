"""From a due message to an envelope: products as they stand now, words of the template, links as consented."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from tidings.channels.base import Envelope
from tidings.content import sms
from tidings.content.context import Occasion, Offer, ProductFacts, build
from tidings.content.links import Links, utm
from tidings.content.templates import Rendered, Template
from tidings.definitions import Campaign
from tidings.errors import TemplateError
from tidings.jobs.facts import Facts
from tidings.jobs.opening import Opened, known_sender
from tidings.ledger.dispatching import Due
from tidings.model.entry import Entry
from tidings.model.people import Channel, Consent, Customer, Purpose
from tidings.plan.eligibility import Address, may_contact, refused
from tidings.plan.zones import country_code
from tidings.warehouse.catalogue import Product

_FEEDBACK = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True)
class Draft:
    """One message in words, ready to be put in an envelope; ``segments`` only for a text.

    ``template`` and ``offer`` are what it was made of.
    """

    rendered: Rendered
    tracked: bool
    unsubscribe_url: str
    segments: int | None
    template: Template
    offer: Offer


def tracked(opened: Opened, customer: Customer, consents: Sequence[Consent], channel: Channel, now: datetime) -> bool:
    """Return whether links may go through our redirect: a "no" holds everywhere; some countries ask for a "yes"."""
    country = country_code(customer.country) or opened.settings.brand.country
    if country not in opened.settings.consent.click_tracking_needs_consent:
        return not refused(consents, channel, Purpose.CLICK_TRACKING, now)
    return may_contact(consents, channel, (Purpose.CLICK_TRACKING,), now)


def template_of(opened: Opened, due: Due, campaign: Campaign) -> Template:
    """Return the template of a message, compiled once. Raises TemplateError."""
    step = campaign.step(due.step)
    name = due.template or (step.template_for(due.variant) if step else "")
    return opened.library.template(name, Channel(due.channel))


def draft(
    opened: Opened,
    due: Due,
    campaign: Campaign,
    customer: Customer,
    facts: Facts,
    suggested: Sequence[ProductFacts] = (),
) -> Draft:
    """Write one message. Raises TemplateError with the file and the line, never with the customer's data."""
    channel = Channel(due.channel)
    template = template_of(opened, due, campaign)
    wanted = {item.sku for item in due.entry.items}
    if due.entry.sku:
        wanted.add(due.entry.sku)
    # What the shop has taken off since is not shown, nor what it does not know.
    there = ((sku, facts.product(due, sku)) for sku in wanted)
    products = {sku: _shown(facts, product) for sku, product in there if product is not None and product.active}
    tracking = tracked(opened, customer, facts.consents.get(due.customer_id, ()), channel, facts.now)
    links = Links(
        opened.signer,
        opened.settings.public_url,
        due.id,
        tracked=tracking,
        utm=utm(channel, campaign.id, due.step, opened.settings.utm_source),
    )
    offer = Offer(products, suggested)
    context = build(
        customer,
        due.entry,
        offer,
        opened.brand,
        links=links,
        now=facts.now,
        occasion=Occasion(campaign.id, due.step, channel.value, due.variant or None),
    )
    needs_item = bool(due.entry.items) and campaign.detect.type_name != "win_back"
    if needs_item and not context["items"]:
        raise TemplateError("none of its products is in the catalogue, or all are sold out")
    rendered = template.render(context)
    segments = segments_of(rendered, channel)
    return Draft(rendered, tracking, context["unsubscribe_url"], segments, template, offer)


def segments_of(rendered: Rendered, channel: Channel) -> int | None:
    """Return how many SMS segments a text takes; None for e-mail."""
    return sms.segments(rendered.text).count if channel is Channel.SMS else None


def envelope(
    opened: Opened, message_id: str, channel: Channel, address: Address, written: Draft, *, feedback: str | None = None
) -> Envelope:
    """Put a written message in its envelope. ``feedback`` is what mailbox providers report complaints by."""
    sender, sender_name, reply_to = known_sender(opened, channel)
    if channel is Channel.SMS:
        return Envelope(message_id, channel, address.value, sender, text=written.rendered.text)
    headers = {
        "List-Unsubscribe": f"<{written.unsubscribe_url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    if feedback is not None:
        headers["Feedback-ID"] = feedback
    return Envelope(
        message_id,
        channel,
        address.value,
        sender,
        subject=written.rendered.subject,
        html=written.rendered.html,
        text=written.rendered.text,
        sender_name=sender_name,
        reply_to=reply_to,
        headers=headers,
    )


def feedback_id(shop: str, due: Due) -> str:
    """Return Google's Feedback-ID, campaign:step:variant:sender: what Postmaster Tools sums complaints up by.

    Nothing in it is about a person. The sender, 5 to 15 characters, stays the same for all of a shop's mail.
    """
    return _feedback_id(shop, due.campaign, due.step, due.variant or "all")


@lru_cache(maxsize=4096)
def _feedback_id(shop: str, campaign: str, step: str, variant: str) -> str:
    sender = shop[:15] if len(shop) >= 5 else f"{shop}_mail"
    return ":".join(_FEEDBACK.sub("_", part)[:60] for part in (campaign, step, variant, sender))


def _shown(facts: Facts, product: Product) -> ProductFacts:
    """Return a product as templates see it, made once for all messages of the batch that show it."""
    # The batch holds the product, so its identity stands for it; comparing all its fields would cost more.
    known = facts.shown.get(id(product))
    if known is None:
        known = facts.shown[id(product)] = product_facts(product)
    return known


def product_facts(product: Product) -> ProductFacts:
    """Return a catalogue row as templates see it."""
    return ProductFacts(
        sku=product.sku,
        name=product.name or product.sku,
        url=product.url or "",
        product_id=product.product_id,
        image=product.image,
        option=product.option,
        price=product.price,
        was=product.lowest_30d,
        currency=product.currency,
        stock=product.stock,
    )


def skus_of(entries: Sequence[Entry]) -> Mapping[tuple[str | None, str | None], set[str]]:
    """Return the skus a batch of entries mentions, by market and currency."""
    wanted: dict[tuple[str | None, str | None], set[str]] = {}
    for entry in entries:
        skus = wanted.setdefault((entry.market, entry.currency), set())
        skus.update(item.sku for item in entry.items)
        if entry.sku:
            skus.add(entry.sku)
    return wanted
