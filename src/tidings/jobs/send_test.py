"""One message to one of our own people, marked as a test; it stands in no ledger and counts nowhere."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tidings.channels.base import Envelope, Provider
from tidings.errors import DefinitionError, Halt, Reject, Retry, Unknown
from tidings.jobs import compose, preview
from tidings.jobs.opening import Opened
from tidings.model.people import Channel
from tidings.plan.eligibility import Address, allow_listed, email_address, phone_number

MARK = "[Test] "


@dataclass(frozen=True, slots=True)
class SentTest:
    """What the provider said."""

    provider: str
    provider_id: str


def run(
    opened: Opened,
    campaign: str,
    step: str,
    *,
    to: str,
    customer_id: str | None = None,
    variant: str = "",
    now: datetime | None = None,
) -> SentTest:
    """Send a step's message to an allow-listed address. Raises DefinitionError, also for the provider's refusal."""
    if not allow_listed(to, opened.settings.allow_list):
        raise DefinitionError("--to: must be on allow_list in tidings.yaml; found another address")
    written, due = preview.draft(
        opened, campaign, step, customer_id=customer_id, variant=variant, now=now or datetime.now(UTC)
    )
    channel = Channel(due.channel)
    country = opened.settings.brand.country
    value = email_address(to) if channel is Channel.EMAIL else phone_number(to, country)
    if value is None:
        kind = "an e-mail address" if channel is Channel.EMAIL else "a phone number"
        raise DefinitionError(f"--to: must be {kind}, as step {step} goes by {channel.value}; found something else")
    envelope = compose.envelope(opened, due.id, channel, Address(value, ""), written)
    marked = _marked(envelope)
    return asyncio.run(_send(opened.provider(channel), marked))


def _marked(envelope: Envelope) -> Envelope:
    if envelope.subject is None:
        return replace(envelope, text=MARK + envelope.text)
    return replace(envelope, subject=MARK + envelope.subject)


async def _send(provider: Provider, envelope: Envelope) -> SentTest:
    try:
        return SentTest(provider.name, await provider.send(envelope))
    except (Retry, Reject, Unknown, Halt) as refusal:
        raise DefinitionError(f"{provider.name}: must take the message; found {refusal.reason}") from None
    finally:
        await provider.close()
