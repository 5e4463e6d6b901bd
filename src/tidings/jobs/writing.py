"""The words of messages about to leave: written a few at a time, so that no more pages lie about than are in flight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tidings.definitions import Campaign
from tidings.errors import TemplateError
from tidings.jobs.compose import draft, envelope, feedback_id, template_of
from tidings.jobs.curbs import Ending
from tidings.jobs.evidence import Evidence, audience
from tidings.jobs.facts import Facts
from tidings.jobs.gates import hours_of, mailbox_of, provider_name
from tidings.jobs.opening import Opened
from tidings.jobs.releases import Releases
from tidings.jobs.sending import Ready
from tidings.jobs.suggest import Suggestions
from tidings.jobs.versions import Versions
from tidings.ledger.dispatching import Due, Intent
from tidings.ledger.receipts import Version
from tidings.model.message import SkipReason, Space, Status
from tidings.model.people import Channel
from tidings.plan.eligibility import Address

# Seconds of writing after which the loop looks after what is in flight.
_STRETCH = 0.005


@dataclass(frozen=True, slots=True)
class Written:
    """What is ready to leave, and what could not be written. ``versions`` must be kept before anything leaves."""

    ready: list[Ready] = field(default_factory=list)
    ended: list[Ending] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)


class Writer:
    """Writes the messages of one batch from its facts. ``versions`` are those that the lane has met before."""

    def __init__(
        self, opened: Opened, facts: Facts, campaigns: Mapping[str, Campaign], space: Space, versions: Versions
    ) -> None:
        self._opened, self._facts, self._campaigns, self._space = opened, facts, campaigns, space
        self._versions = versions
        self._evidence = Evidence(versions, facts, audience(opened, space))
        self._releases = Releases(opened, campaigns, facts.now)
        self._suggestions: Suggestions | None = None

    def prepare(self, passed: Sequence[Due]) -> list[Due]:
        """Return messages in the order in which they should leave, and ask what else must be known to write them."""
        about_lapsed = [due.entry for due in passed if self._suggests(due)]
        if about_lapsed:
            self._suggestions = Suggestions(self._opened, self._facts.now, about_lapsed)
            self._suggestions.look_up(about_lapsed)
        for due in {(due.campaign, due.step, due.channel, due.variant, due.template): due for due in passed}.values():
            campaign = self._campaigns[due.campaign]
            self._releases.learn(campaign)
            with suppress(TemplateError):  # told with each message that cannot be written
                self._versions.meet(campaign, template_of(self._opened, due, campaign))
        return self._releases.in_turn(passed)

    async def write(self, some: Sequence[Due]) -> Written:
        """Render messages of either arm: one that cannot be written is skipped in both, or the arms would differ.

        This is the loop's own work, a few messages at a time: another thread would have to take turns with the loop,
        and a turn costs more than a message. Everything slow was asked before.
        """
        written = Written()
        ends = time.monotonic() + _STRETCH
        for due in some:
            try:
                written.ready.append(self._one(due))
            except TemplateError as error:
                written.ended.append((due.id, Status.SKIPPED, SkipReason.TEMPLATE, str(error)))
            if time.monotonic() >= ends:
                await asyncio.sleep(0)
                ends = time.monotonic() + _STRETCH
        written.versions.extend(self._versions.take())
        return written

    def _suggests(self, due: Due) -> bool:
        return self._campaigns[due.campaign].detect.type_name == "win_back"

    def _one(self, due: Due) -> Ready:
        opened, facts, campaign = self._opened, self._facts, self._campaigns[due.campaign]
        channel = Channel(due.channel)
        customer = facts.customers[due.customer_id]
        address = facts.addresses[due.customer_id, due.channel]
        assert isinstance(address, Address)
        suggested = self._suggestions.for_entry(due.entry) if self._suggestions and self._suggests(due) else ()
        words = draft(opened, due, campaign, customer, facts, suggested)
        step = campaign.step(due.step)
        transactional = step is not None and step.transactional
        hours = hours_of(opened, due, campaign, customer, facts)
        intent = Intent(
            id=due.id,
            person=customer.id,
            address_hash=address.hash,
            channel=channel.value,
            held_out=due.held_out,
            exempt=campaign.caps_exempt or transactional,
            urls=words.rendered.links,
            tracked=words.tracked,
            template_hash=words.rendered.template_hash,
            segments=words.segments,
            provider=provider_name(opened, due.channel, self._space),
            mailbox=mailbox_of(channel, address),
            evidence=self._evidence.of(due, campaign, customer, address, written=words, hours=hours),
            pool=self._releases.pool(due, campaign, facts),
        )
        feedback = feedback_id(opened.settings.shop, due)
        leaving = None if due.held_out else envelope(opened, due.id, channel, address, words, feedback=feedback)
        return Ready(
            intent, leaving, due.campaign, due.attempt, due.expires_at, hours.moments,
            priority=due.priority, transactional=transactional,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prepared:
    """What of a batch passed the gates under ``token``, in the order in which it leaves, and what writes it."""

    token: str
    writer: Writer
    passed: Sequence[Due]
