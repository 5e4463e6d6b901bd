"""One message as one customer would get it now, by the same words that dispatch sends; nothing is written."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime

from tidings.content import sms
from tidings.errors import DefinitionError
from tidings.jobs import compose
from tidings.jobs.campaigns import new_id
from tidings.jobs.detect import about, first_entry, known_step
from tidings.jobs.facts import Facts
from tidings.jobs.opening import Opened
from tidings.jobs.suggest import Suggestions
from tidings.ledger.dispatching import Due
from tidings.model.entry import Entry
from tidings.model.people import Channel, Consent
from tidings.warehouse import catalogue, people


@dataclass(frozen=True, slots=True)
class Preview:
    """A message in words. ``about`` names the entry it was written for, by ids only."""

    channel: str
    about: str
    subject: str | None
    preheader: str | None
    html: str | None
    text: str
    segments: int | None
    encoding: str | None
    links: tuple[str, ...]


def run(
    opened: Opened,
    campaign: str,
    step: str,
    *,
    customer_id: str | None = None,
    variant: str = "",
    now: datetime | None = None,
) -> Preview:
    """Return a step's message for a customer who qualifies (default: any). Raises DefinitionError or TemplateError."""
    now = now or datetime.now(UTC)
    written, due = draft(opened, campaign, step, customer_id=customer_id, variant=variant, now=now)
    rendered = written.rendered
    counted = sms.segments(rendered.text) if due.channel == Channel.SMS else None
    return Preview(
        channel=due.channel,
        about=f"customer {due.customer_id}, {about(due.entry) or 'no product'}",
        subject=rendered.subject,
        preheader=rendered.preheader,
        html=rendered.html,
        text=rendered.text,
        segments=counted.count if counted else None,
        encoding=str(counted.encoding) if counted else None,
        links=rendered.links,
    )


def draft(
    opened: Opened, campaign: str, step: str, *, customer_id: str | None, variant: str, now: datetime
) -> tuple[compose.Draft, Due]:
    """Write a step's message for a recent entry, as dispatch would at this moment."""
    one = opened.project.campaign(campaign)
    known_step(opened, campaign, step)
    if variant and variant not in one.variants:
        raise DefinitionError(
            f'{one.name}: variant must be {" or ".join(one.variants) or "left out"}; found "{variant}"'
        )
    entry = first_entry(opened, campaign, customer_id, now)
    customer = people.customers(opened.shop, [entry.customer_id]).get(entry.customer_id)
    if customer is None:
        raise DefinitionError(f'{one.name}: customer "{entry.customer_id}" must be in the customer table; found none')
    consents: dict[str, list[Consent]] = defaultdict(list)
    for consent in people.consents(opened.shop, [entry.customer_id]):
        consents[consent.customer_id].append(consent)
    number, said = next((number, said) for number, said in enumerate(one.steps) if said.name == step)
    due = Due(
        id=new_id(),
        entry_id="",
        campaign=one.id,
        step=step,
        step_no=number,
        channel=said.channel.value,
        customer_id=entry.customer_id,
        priority=one.priority,
        held_out=False,
        send_at=now,
        first_send_at=now,
        expires_at=now + said.lasts,
        attempt=0,
        deferrals=0,
        address_hash=None,
        template=said.template_for(variant),
        variant=variant,
        entry=entry,
        previous=None,
    )
    facts = Facts(now, consents=consents, products=_products(opened, entry, now))
    suggested = Suggestions(opened, now, [entry]).for_entry(entry) if one.detect.type_name == "win_back" else ()
    return compose.draft(opened, due, one, customer, facts, suggested), due


def _products(
    opened: Opened, entry: Entry, now: datetime
) -> dict[tuple[str | None, str | None, str], catalogue.Product]:
    if not opened.shop.tables.has("products"):
        return {}
    return {
        (market, currency, sku): product
        for (market, currency), skus in compose.skus_of([entry]).items()
        for sku, product in catalogue.products(opened.shop, skus, market, now, currency=currency).items()
    }
