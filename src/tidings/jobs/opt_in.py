"""The question by text that opens texts: asked once of the number whose owner chose them on a page."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from tidings.channels.base import Envelope
from tidings.errors import Halt, Reject, Retry, Unknown
from tidings.jobs.opening import Opened, known_sender
from tidings.jobs.say import QUESTION_HOLDS
from tidings.jobs.way_back import SAID, cancel, still_open
from tidings.ledger import brakes, erasing, opt_ins, opt_outs, people
from tidings.ledger.holding import hold
from tidings.ledger.opt_ins import OptIn
from tidings.ledger.opt_outs import Decision
from tidings.ledger.store import BRIEF_SECONDS
from tidings.model.people import Channel, Customer
from tidings.plan.eligibility import Address, address, allow_listed
from tidings.plan.rules import hours_for
from tidings.plan.timing import QuietHours, allowed
from tidings.plan.zones import candidate_zones
from tidings.warehouse import people as shop_people

log = logging.getLogger(__name__)

# Who chose a thing may be told so even late; the question says that it is one.
_VALIDITY = 4 * 3600


@dataclass(frozen=True, slots=True)
class Counts:
    """``waiting = sent + not_now + gone + failed + unknown``, counted in people, not in purposes."""

    waiting: int = 0
    sent: int = 0
    not_now: int = 0
    gone: int = 0
    failed: int = 0
    unknown: int = 0


def run(opened: Opened, now: datetime | None = None) -> Counts:
    """Ask everybody who may be asked now; whoever is in their quiet hours is asked later, within a week.

    The right to ask is taken in the ledger before the question leaves: a crash leaves somebody unasked, never asked
    twice. Before production only the allow-list and local stand-ins are asked.
    """
    now = now or opened.ledger.now()
    with opened.ledger.reading() as conn:
        waiting = opt_ins.waiting(conn, since=now - QUESTION_HOLDS)
        pulled = brakes.pulled(conn)
    by_number: dict[tuple[str, str], list[OptIn]] = defaultdict(list)
    for one in waiting:
        by_number[one.customer_id, one.address_hash].append(one)
    if not by_number:
        return Counts()
    provider = opened.settings.providers.sms.name
    if _stopped(opened, pulled) or provider == "outbox":
        return Counts(len(by_number), not_now=len(by_number))
    return asyncio.run(_ask_all(opened, by_number, now))


def _stopped(opened: Opened, pulled: Collection[str]) -> bool:
    provider = opened.settings.providers.sms.name
    return not {"all", f"channel:{Channel.SMS}", f"provider:{provider}"}.isdisjoint(pulled)


async def _ask_all(opened: Opened, by_number: dict[tuple[str, str], list[OptIn]], now: datetime) -> Counts:
    customers = shop_people.customers(opened.shop, {customer_id for customer_id, _ in by_number})
    sender, _, _ = known_sender(opened, Channel.SMS)
    counts: dict[str, int] = defaultdict(int)
    provider = opened.provider(Channel.SMS)
    try:
        for (customer_id, number), wishes in sorted(by_number.items()):
            counts[await _one(opened, provider, customers.get(customer_id), number, wishes, sender, now)] += 1
            if counts.get("halted"):
                break
    finally:
        await provider.close()
    counts["not_now"] += counts.pop("halted", 0)
    done = Counts(sum(counts.values()), **counts)
    log.info("asked for texts waiting=%d sent=%d not_now=%d gone=%d failed=%d unknown=%d", done.waiting, done.sent,
             done.not_now, done.gone, done.failed, done.unknown)  # fmt: skip
    return done


async def _one(
    opened: Opened, provider: object, customer: Customer | None, number: str, wishes: Sequence[OptIn], sender: str,
    now: datetime,
) -> str:  # fmt: skip
    ids = [one.id for one in wishes]
    whom = None if customer is None else _number(opened, customer)
    if customer is None or whom is None or whom.hash != number:
        # The number they chose texts for is no longer theirs.
        with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
            opt_ins.answer(conn, ids, granted=False, at=now)
        return "gone"
    if not _may_ask(opened, customer, whom, now):
        return "not_now"
    with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
        # Behind the same row as their STOP: it is seen here, or it comes after a question that has left.
        erasing.hold(conn)
        hold(conn, [f"a:{number}"])
        if _stopped(opened, brakes.pulled(conn)):
            return "not_now"
        if people.reasons(conn, [f"a:{number}"], Channel.SMS) - {"unsubscribed"}:
            opt_ins.answer(conn, ids, granted=False, at=now)
            return "gone"
        if not opt_ins.begin(conn, ids, now):
            return "not_now"
    return await _send(opened, provider, whom, ids, sender, now)


async def _send(opened: Opened, provider: object, to: Address, ids: Sequence[str], sender: str, now: datetime) -> str:
    envelope = Envelope(ids[0], Channel.SMS, to.value, sender, text=question(opened), validity_seconds=_VALIDITY)
    try:
        theirs = await provider.send(envelope)  # type: ignore[attr-defined]
    except (Retry, Halt) as later:
        with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
            opt_ins.let_go(conn, ids)
        return "not_now" if isinstance(later, Retry) else "halted"
    except Reject as no:
        with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
            opt_ins.answer(conn, ids, granted=False, at=now)
            if no.suppress:
                _close(conn, to.hash, no.suppress, now)
        return "failed"
    except Unknown:
        return "unknown"
    with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
        opt_ins.sent(conn, ids, theirs, now)
    return "sent"


def _close(conn: Connection, number: str, reason: str, now: datetime) -> None:
    """Obey what the provider says of a number: it told them to stop, or it is none."""
    subject = f"a:{number}"
    news = still_open(conn, [subject], Channel.SMS)
    people.suppress(conn, [subject], channel=Channel.SMS, reason=reason, at=now, source="provider")
    if news and reason in SAID:
        opt_outs.note(conn, [Decision(Channel.SMS, True, reason, now, "provider", address_hash=number)])
    cancel(conn, {(Channel.SMS, subject)}, now)


def question(opened: Opened) -> str:
    """Return what a number is asked: who asks, for what, and how to say no."""
    own = opened.settings.replies.opt_in
    name = opened.settings.brand.name
    return own or f"{name}: reply YES to get texts from us, as you chose on our page. Reply STOP for none."


def _number(opened: Opened, customer: Customer) -> Address | None:
    found = address(customer, Channel.SMS, opened.secrets.pepper, opened.settings.brand.country)
    return found if isinstance(found, Address) else None


def _may_ask(opened: Opened, customer: Customer, whom: Address, now: datetime) -> bool:
    settings = opened.settings
    if not settings.production and opened.reaches_strangers(Channel.SMS) and not allow_listed(
        whom.value, settings.allow_list
    ):  # fmt: skip
        return False
    zones = candidate_zones(customer, settings.brand.zone, settings.brand.country)
    night = settings.quiet_hours.sms
    hours = hours_for(Channel.SMS, zones.country, zones.states, QuietHours(night.start, night.end))
    return allowed(now, zones.zones, hours)
