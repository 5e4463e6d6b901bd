"""What providers remember and the ledger does not is fetched; only then may a restored ledger send again."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tidings.channels.lookup import NotAvailable
from tidings.channels.replies import Wish
from tidings.channels.sendgrid_lists import LISTS, Listed, SendGridLists
from tidings.channels.twilio_list import Text, TwilioList
from tidings.errors import DefinitionError
from tidings.jobs import matching, way_back
from tidings.jobs.opening import Opened
from tidings.jobs.witness import Seen, forgotten
from tidings.ledger import dispatching, opt_outs, people, proofs, restoring
from tidings.ledger.opt_outs import Decision
from tidings.ledger.restoring import Stretch
from tidings.model.engagement import Engagement, EngagementKind
from tidings.model.people import Channel
from tidings.plan.eligibility import address_hash

log = logging.getLogger(__name__)

# Webhooks come for a day; what was lost is looked for a little further back.
USUAL = timedelta(days=3)
# Before a restored moment, since providers' clocks and ours differ and their lists lag.
OVERLAP = timedelta(days=1)
# A ledger that remembers no sending at all is looked up so far back.
FURTHEST = timedelta(days=30)
# Email Activity is asked message by message and slowly; the rest waits for the next time, or for its quarantine.
MOST_ASKED = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What the providers said, addresses already hashed away where the ledger would not know them."""

    listed: tuple[Listed, ...] = field(default=(), repr=False)
    texts: tuple[Text, ...] = field(default=(), repr=False)
    taken: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One reconciliation. ``forgotten`` sendings were in the witness and not in the ledger; None: no restore."""

    restored: bool
    since: datetime
    until: datetime | None = None
    forgotten: int = 0
    listed: Mapping[str, int] = field(default_factory=dict)
    suppressed: int = 0
    texts: int = 0
    proven: int = 0
    stopped: int = 0
    doubtful: int = 0
    unsettled: int = 0
    opened: bool = False
    missing: tuple[str, ...] = ()
    dry_run: bool = False


def run(
    opened: Opened,
    *,
    now: datetime | None = None,
    since: datetime | None = None,
    dry_run: bool = False,
    anyway: bool = False,
) -> Reconciled:
    """Ask the providers what was lost, write it, and let a restored ledger send again. Running it twice is harmless.

    After a restore everything that was due before the witness's last moment and cannot be proven sent is presumed
    lost: it is not sent (again), except in campaigns that deliver at least once. Raises DefinitionError when a
    restored ledger cannot be reconciled because a provider does not answer, unless ``anyway``.
    """
    now = now or opened.ledger.now()
    lost = forgotten(opened.ledger, opened.witnesses.seen())
    with opened.ledger.reading() as conn:
        last = restoring.last_sending(conn)
    start = since or _start(now, lost, last.at if last else None)
    stretch = _stretch(opened, lost, now)
    asked = asyncio.run(_ask(opened, start, stretch))
    if lost and asked.missing and not (anyway or dry_run):
        raise DefinitionError(
            f"reconcile: every provider must answer before a restored ledger sends again; {'; '.join(asked.missing)}; "
            "mend that, or run `tidings reconcile --anyway`"
        )
    if dry_run:
        return _would(opened, asked, stretch, start, lost)
    done = _write(opened, asked, stretch, start, now)
    if lost:
        _reopen(opened, lost, stretch, now)
    told = replace(
        done, restored=bool(lost), until=stretch.until if stretch else None, forgotten=_count(lost, last),
        opened=bool(lost),
    )  # fmt: skip
    log.info(
        "reconciled restored=%s suppressed=%d proven=%d stopped=%d doubtful=%d unsettled=%d",
        told.restored, told.suppressed, told.proven, told.stopped, told.doubtful, told.unsettled,
    )  # fmt: skip
    return told


def _start(now: datetime, lost: Sequence[Seen], last: datetime | None) -> datetime:
    if not lost:
        return now - USUAL
    return max(last - OVERLAP, now - FURTHEST) if last is not None else now - FURTHEST


def _count(lost: Sequence[Seen], last: restoring.Sending | None) -> int:
    return max((one.number for one in lost), default=0) - (last.number if last and lost else 0)


def _stretch(opened: Opened, lost: Sequence[Seen], now: datetime) -> Stretch | None:
    """Return what was forgotten: until the last moment at which a witness says that something may have left."""
    if not lost:
        return None
    known = opened.project.campaigns.values()
    until = min(max(one.until for one in lost), now)
    return Stretch(
        lost[0].generation,
        max(one.number for one in lost),
        until,
        tuple(sorted(one.id for one in known if one.delivery_semantics == "at_least_once")),
        tuple(sorted((one.id, step.name) for one in known for step in one.steps if step.transactional)),
    )


async def _ask(opened: Opened, since: datetime, stretch: Stretch | None) -> Asked:
    missing: list[str] = []
    listed: list[Listed] = []
    texts: list[Text] = []
    taken: dict[str, str] = {}
    mail, sms = opened.settings.providers.email, opened.settings.providers.sms
    if mail.name == "sendgrid":
        account = opened.account(Channel.EMAIL)
        async with SendGridLists(account.secret, base_url=account.base_url) as lists:
            try:
                listed = [one for kind in LISTS async for one in lists.listed(kind, since)]
            except (NotAvailable, DefinitionError) as no:
                missing.append(f"sendgrid: {no}")
            taken = await _activity(opened, lists, since, stretch)
    if sms.name == "twilio":
        account = opened.account(Channel.SMS)
        async with TwilioList(
            account.login, account.secret, login=account.key, base_url=account.base_url
        ) as remembered:
            try:
                texts = [one async for one in remembered.texts(since)]
            except (NotAvailable, DefinitionError) as no:
                missing.append(f"twilio: {no}")
    return Asked(tuple(listed), tuple(texts), taken, tuple(missing))


async def _activity(opened: Opened, lists: SendGridLists, since: datetime, stretch: Stretch | None) -> dict[str, str]:
    """Ask Email Activity about e-mails in doubt; nothing where the add-on was not bought: webhooks still prove."""
    with opened.ledger.reading() as conn:
        doubts = [one.id for one in proofs.in_doubt(conn, Channel.EMAIL, since)]
        doubts += restoring.doubtful(conn, stretch, Channel.EMAIL) if stretch is not None else []
    taken: dict[str, str] = {}
    try:
        for one in doubts[:MOST_ASKED]:
            theirs = await lists.took(one)
            if theirs is not None:
                taken[one] = theirs
    except (NotAvailable, DefinitionError):
        log.info("e-mail activity is not available; %d e-mails in doubt wait for their webhooks", len(doubts))
    return taken


def _write(opened: Opened, asked: Asked, stretch: Stretch | None, since: datetime, now: datetime) -> Reconciled:
    settings = opened.settings.dispatch
    doubtful = 0
    with opened.ledger.writing() as conn:
        dispatching.reap(conn, margin=settings.timeout + settings.margin)
    if stretch is not None:
        with opened.ledger.writing() as conn:
            doubtful = restoring.doubt(conn, stretch, now)
    suppressed = close(opened, asked.listed, now)
    proven = _prove(opened, asked, since, now)
    stopped = _obey(opened, asked.texts, now)
    with opened.ledger.writing() as conn:
        dispatching.presume_lost(conn, before=now - settings.presume_lost_after, now=now)
        restoring.prune_sendings(conn)
    with opened.ledger.reading() as conn:
        unsettled = sum(len(proofs.in_doubt(conn, channel, since)) for channel in Channel)
    return Reconciled(
        restored=False, since=since, listed=dict(Counter(one.kind for one in asked.listed)), suppressed=suppressed,
        texts=len(asked.texts), proven=proven, stopped=stopped, doubtful=doubtful, unsettled=unsettled,
        missing=asked.missing,
    )  # fmt: skip


def close(opened: Opened, listed: Sequence[Listed], now: datetime) -> int:
    """Suppress the listed addresses (and whom they belong to, where it was the person's word); return how many are
    news."""
    news = 0
    pepper = opened.secrets.pepper
    for one in sorted(listed, key=lambda one: (one.at, one.email)):
        if one.suppress is not None:
            news += _close(opened, Channel.EMAIL, address_hash(one.email, pepper), one.suppress, one.at, now)
    return news


def _close(opened: Opened, channel: Channel, hashed: str, reason: str, at: datetime, now: datetime) -> bool:
    address = f"a:{hashed}"
    source = "sendgrid" if channel is Channel.EMAIL else "twilio"
    with opened.ledger.writing() as conn:
        whose = sorted(people.sharing(conn, [hashed])) if reason in way_back.PERSONAL else []
        who = [address, *(f"p:{one}" for one in whose)]
        news = address in way_back.still_open(conn, who, channel)
        people.suppress(conn, who, channel=channel, reason=reason, at=at, source=source)
        if news and reason in way_back.SAID:
            customer = whose[0] if whose else None
            told = Decision(channel, True, reason, at, source, customer_id=customer, address_hash=hashed)
            opt_outs.note(conn, [told])
        way_back.cancel(conn, {(str(channel), one) for one in who}, now)
    return news


def _obey(opened: Opened, texts: Sequence[Text], now: datetime) -> int:
    """Obey the STOP and START that came while nobody listened, by the time of each."""
    stopped = 0
    for one in sorted(texts, key=lambda one: one.at):
        said = one.wish()
        if said is None or said.wish not in (Wish.STOP, Wish.START):
            continue
        hashed = address_hash(one.sender, opened.secrets.pepper)
        if said.wish is Wish.STOP:
            stopped += _close(opened, Channel.SMS, hashed, "stop", one.at, now)
        else:
            with opened.ledger.writing() as conn:
                people.lift(conn, [f"a:{hashed}"], channel=Channel.SMS, at=one.at, reasons=("stop",), source="twilio")
    return stopped


def _prove(opened: Opened, asked: Asked, since: datetime, now: datetime) -> int:
    """Write what proves that a message was taken; return how many were in doubt before."""
    with opened.ledger.reading() as conn:
        doubts = {one.id: one for channel in Channel for one in proofs.in_doubt(conn, channel, since)}
    found = matching.texts(opened, [one for one in asked.texts if not one.incoming], since)
    told = [event for text, message_id in found for event in text.engagements(message_id)]
    way_back.take(opened, told, now, provider="twilio")
    mails = [
        Engagement(
            f"sga-{ours}", ours, EngagementKind.ACCEPTED, doubts[ours].sending_at if ours in doubts else now,
            provider_id=theirs,
        )
        for ours, theirs in sorted(asked.taken.items())
    ]  # fmt: skip
    way_back.take(opened, mails, now, provider="sendgrid")
    return len(doubts.keys() & {one.message_id for one in (*told, *mails)})


def _reopen(opened: Opened, lost: Sequence[Seen], stretch: Stretch | None, now: datetime) -> None:
    """Begin a generation that knows what was forgotten, and tell every witness of it."""
    assert stretch is not None
    each = [
        Stretch(generation, max(one.number for one in lost if one.generation == generation), stretch.until,
                stretch.spared, stretch.exempt)
        for generation in sorted({one.generation for one in lost})
    ]  # fmt: skip
    with opened.ledger.writing() as conn:
        restoring.renew(conn, each)
        restoring.note_sending(conn, at=now, count=0)
    opened.witnesses.tell_all(opened.ledger, now)


def _would(opened: Opened, asked: Asked, stretch: Stretch | None, since: datetime, lost: Sequence[Seen]) -> Reconciled:
    with opened.ledger.reading() as conn:
        last = restoring.last_sending(conn)
        doubtful = len(restoring.doubtful(conn, stretch)) if stretch is not None else 0
        pepper = opened.secrets.pepper
        addresses = {f"a:{address_hash(one.email, pepper)}" for one in asked.listed if one.suppress}
        news = way_back.still_open(conn, addresses, Channel.EMAIL)
        unsettled = sum(len(proofs.in_doubt(conn, channel, since)) for channel in Channel)
    matched = matching.texts(opened, [one for one in asked.texts if not one.incoming], since)
    return Reconciled(
        restored=bool(lost), since=since, until=stretch.until if stretch else None, forgotten=_count(lost, last),
        listed=dict(Counter(one.kind for one in asked.listed)), suppressed=len(news), texts=len(asked.texts),
        proven=len(matched) + len(asked.taken), doubtful=doubtful, unsettled=unsettled, missing=asked.missing,
        dry_run=True,
    )  # fmt: skip
