"""Why a message was allowed to leave and what it was made of, as a few hundred bytes: digests and names, no person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from tidings.content.context import ProductFacts
from tidings.definitions import Campaign
from tidings.jobs.compose import Draft
from tidings.jobs.digests import sent_to, words
from tidings.jobs.facts import Facts, Open
from tidings.jobs.opening import Opened
from tidings.jobs.versions import Versions
from tidings.ledger.dispatching import Due
from tidings.ledger.receipts import canonical, moment
from tidings.model.message import Space
from tidings.model.people import Channel, Consent, Customer
from tidings.plan.eligibility import Address, permission
from tidings.plan.timing import DAY, Span

FORM = 1
_MOST_ZONES = 3


class Evidence:
    """The evidence of one batch's messages; what many of them share is written once."""

    def __init__(self, versions: Versions, facts: Facts, audience: Mapping[Channel, str]) -> None:
        self._versions, self._digests, self._facts = versions, versions.digests, facts
        self._audience = audience
        self._now = moment(facts.now)
        self._gates: dict[tuple[str, str, int], dict[str, Any]] = {}
        self._texts: dict[tuple[str, str, int], str] = {}
        self._made: dict[tuple[str, int], str] = {}
        self._shown: dict[int, str] = {}

    def of(self, due: Due, campaign: Campaign, customer: Customer, to: Address, *, written: Draft, hours: Open) -> str:
        """Return the evidence of one message as canonical JSON; the step to ``sending`` puts the caps in front."""
        consent = self._consent(due, campaign)
        whole = [
            f'{{"consent":{consent},"entry":"{self._digests.entry(due.entry)}",{self._about(due, campaign, hours)},'
            f'{self._made_of(campaign, written)},"now":"{self._now}"'
        ]
        offer = written.offer
        if not due.held_out:
            whole.append(f',"shown":{_listed([self._product(offer.products[sku]) for sku in sorted(offer.products)])}')
            if offer.suggested:
                whole.append(f',"suggested":{_listed([self._versions.product(one) for one in offer.suggested])}')
        whole.append(f',"to":"{sent_to(due.id, to.hash)}","v":{FORM}')
        if due.variant:
            whole.append(f',"variant":{orjson.dumps(due.variant).decode()}')
        whole.append(f',"who":{orjson.dumps(self._digests.person(due.id, customer)).decode()}')
        if not due.held_out:
            whole.append(f',"words":"{words(written.rendered)}"')
        return "".join(whole) + "}"

    def _product(self, one: ProductFacts) -> str:
        # The batch holds its products, so a product's identity stands for it.
        known = self._shown.get(id(one))
        if known is None:
            known = self._shown[id(one)] = self._versions.product(one)
        return known

    def _consent(self, due: Due, campaign: Campaign) -> str:
        """Return the statement that allowed the message; null where none is needed."""
        step = campaign.step(due.step)
        if step is None or step.transactional:
            return "null"
        said = self._facts.consents.get(due.customer_id, ())
        found = permission(said, Channel(due.channel), step.purposes, self._facts.now)
        return "null" if found is None else orjson.dumps(self._proof(found), option=orjson.OPT_UTC_Z).decode()

    def _proof(self, one: Consent) -> dict[str, Any]:
        at = one.at if one.at.tzinfo is UTC else one.at.astimezone(UTC)
        said: dict[str, Any] = {"at": at, "basis": one.basis, "from": one.source, "purpose": one.purpose}
        if one.wording:
            said["wording"] = self._versions.wording(one.wording)
        return said

    def _about(self, due: Due, campaign: Campaign, hours: Open) -> str:
        """Return the gates' inputs that stand in no other place."""
        key = (campaign.id, due.step, id(hours))
        said = self._gates.get(key)
        if said is None:
            said = self._gates[key] = self._shared_gates(campaign, due.step, hours)
            self._texts[key] = f'"gates":{canonical(said)}'
        if due.step_no == 0 or due.previous is None:
            return self._texts[key]
        before = due.previous
        at = f" {moment(before.sent_at)}" if before.sent_at else f": {before.reason}" if before.reason else ""
        return f'"gates":{canonical({**said, "before": f"{before.status.value}{at}"})}'

    def _shared_gates(self, campaign: Campaign, step_name: str, hours: Open) -> dict[str, Any]:
        step = campaign.step(step_name)
        reachable = "" if step is None else self._audience[step.channel]
        asked = (*campaign.detect.requires, *campaign.detect.uses)
        marks = {name: moment(at) for name in asked if (at := self._facts.sources.get(name)) is not None}
        said: dict[str, Any] = {"hours": _told(hours, self._facts.now), "list": reachable, "sources": marks}
        return {**said, "exempt": True} if step is not None and step.transactional else said

    def _made_of(self, campaign: Campaign, written: Draft) -> str:
        key = (campaign.id, id(written.template))
        known = self._made.get(key)
        if known is None:
            versions = self._versions
            made = {
                "brand": versions.brand, "campaign": versions.campaign(campaign),
                "template": versions.template(written.template),
            }  # fmt: skip
            known = self._made[key] = f'"made":{canonical(made)}'
        return known


def _listed(refs: Sequence[str]) -> str:
    return '["' + '","'.join(refs) + '"]' if refs else "[]"


def _told(hours: Open, now: datetime) -> str:
    """Return the zones and the open hours of this local day: "Europe/Helsinki 08:00-21:00"."""
    more = len(hours.zones) - _MOST_ZONES
    where = "/".join(hours.zones[:_MOST_ZONES]) + (f" and {more} more" if more > 0 else "")
    day = now.astimezone(ZoneInfo(hours.zones[0])).date() if hours.zones else now.date()
    spans: list[Span] = [(0, DAY)]
    for opening in hours.hours.openings:
        spans = [
            (max(a, c), min(b, d)) for a, b in spans for c, d in opening.spans(day) if max(a, c) < min(b, d)
        ]  # fmt: skip
    said = ", ".join(f"{_clock(a)}-{_clock(b)}" for a, b in spans)
    return f"{where} {said}" if spans != [(0, DAY)] else f"{where} any hour"


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}"


def audience(opened: Opened, space: Space) -> dict[Channel, str]:
    """Return, per channel, on what ground the allow-list let an address pass."""
    if space is Space.DRY_RUN:
        return dict.fromkeys(Channel, "dry run")
    if opened.settings.production:
        return dict.fromkeys(Channel, "production")
    return {one: "listed" if opened.reaches_strangers(one) else "nobody real is reached" for one in Channel}


def refs(said: Mapping[str, Any]) -> list[str]:
    """Return the names of every version that a message's evidence refers to."""
    wording = (said.get("consent") or {}).get("wording")
    return [
        *said.get("made", {}).values(), *said.get("shown", ()), *said.get("suggested", ()),
        *([wording] if wording else []),
    ]  # fmt: skip
