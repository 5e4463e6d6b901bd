"""Incoming texts: a telephone's stop, start, yes and help, obeyed once each; what is unclear waits for a person."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection

from tidings.channels.http import scrubbed
from tidings.channels.keeping import TWILIO, kept
from tidings.channels.replies import Wish
from tidings.channels.twilio import Inbound
from tidings.errors import DefinitionError
from tidings.jobs.opening import Opened
from tidings.jobs.say import QUESTION_HOLDS
from tidings.jobs.way_back import cancel, hiding, still_open
from tidings.ledger import opt_ins, opt_outs, people, raw_events
from tidings.ledger.opt_outs import Decision
from tidings.ledger.raw_events import Raw
from tidings.ledger.store import BRIEF_SECONDS, clock
from tidings.model.people import Channel, Consent
from tidings.plan.eligibility import address_hash, allow_listed

log = logging.getLogger(__name__)

UNCLEAR = "text_unclear"
_READ = "text_read"
_PROVIDER = "twilio"


@dataclass(frozen=True, slots=True)
class Unclear:
    """A text that no rule understood, for a person to read: without addresses and numbers, from nobody by name."""

    id: str
    at: datetime
    words: str


def take_inbound(opened: Opened, text: Inbound, form: Mapping[str, str], at: datetime) -> str | None:
    """Obey an incoming text once; return what to answer, if anything.

    STOP closes texts from all our senders. START, and YES where we asked nothing, open what a STOP closed, when they
    are later than it. YES to our question grants what was asked. Nothing else changes anything. A repeated delivery
    of the same text (by its id) changes nothing, whenever it comes.
    """
    number = address_hash(text.sender, opened.secrets.pepper)
    with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
        now = clock(conn)
        if not raw_events.first(conn, _raw(opened, text, form), now):
            return None
        wish = text.wish
        if wish is Wish.STOP:
            _stop(conn, number, at, now)
        elif wish in (Wish.YES, Wish.START):
            granted = _granted(conn, number, at) if wish is Wish.YES else False
            if granted or wish is Wish.START or text.answered:
                _start(conn, number, at)
            else:
                wish = Wish.OTHER
                raw_events.settle(conn, _name(text, form), UNCLEAR)
    log.info("took text wish=%s", wish)
    return _answer(opened, text, wish)


def _stop(conn: Connection, number: str, at: datetime, now: datetime) -> None:
    subject = f"a:{number}"
    news = still_open(conn, [subject], Channel.SMS)
    people.suppress(conn, [subject], channel=Channel.SMS, reason="stop", at=at, source=_PROVIDER)
    opt_ins.withdraw(conn, [number], at)
    if news:
        opt_outs.note(conn, _decisions(conn, number, True, "stop", at))
    cancel(conn, {(Channel.SMS, subject)}, now)


def _start(conn: Connection, number: str, at: datetime) -> None:
    subject = f"a:{number}"
    if "stop" not in people.reasons(conn, [subject], Channel.SMS):
        return
    people.lift(conn, [subject], channel=Channel.SMS, at=at, reasons=("stop",), source=_PROVIDER)
    if not people.reasons(conn, [subject], Channel.SMS):
        opt_outs.note(conn, _decisions(conn, number, False, "start", at))


def _granted(conn: Connection, number: str, at: datetime) -> bool:
    """Grant what this number was asked on a page's behalf; return whether it was asked anything."""
    asked = opt_ins.pending(conn, number, since=at - QUESTION_HOLDS)
    for one in asked:
        people.add_consent(
            conn, Consent(one.customer_id, Channel(one.channel), one.purpose, True, at), source="text",
            basis="double_opt_in", wording=one.wording,
        )  # fmt: skip
        people.lift(conn, [f"a:{number}", f"p:{one.customer_id}"], channel=one.channel, at=at,
                    reasons=("unsubscribed",), source="text")  # fmt: skip
        opt_outs.note(conn, [
            Decision(one.channel, False, "double_opt_in", at, "text", one.purpose, one.customer_id, number)
        ])  # fmt: skip
    opt_ins.answer(conn, [one.id for one in asked], granted=True, at=at)
    return bool(asked)


def _decisions(conn: Connection, number: str, out: bool, reason: str, at: datetime) -> list[Decision]:
    """Return a line per customer whom the ledger knows at this number, or one for the number alone."""
    whom: list[str | None] = [*sorted(people.sharing(conn, [number]))] or [None]
    return [Decision(Channel.SMS, out, reason, at, _PROVIDER, "", one, number) for one in whom]


def _name(text: Inbound, form: Mapping[str, str]) -> str:
    if text.id and len(text.id) <= 100:
        return f"in-{text.id}"
    return "in-" + hashlib.sha256(repr(sorted(form.items())).encode("utf-8", "replace")).hexdigest()[:40]


def _raw(opened: Opened, text: Inbound, form: Mapping[str, str]) -> Raw:
    # The words stay only where somebody has to read them, and without numbers and addresses.
    plain = {**form, "From": text.sender, "Body": scrubbed(text.words, 300)}
    kind = UNCLEAR if text.wish is Wish.OTHER else f"text_{text.wish}"
    return Raw(_name(text, form), _PROVIDER, kind, kept(plain, TWILIO, hiding(opened)))


def _answer(opened: Opened, text: Inbound, wish: Wish) -> str | None:
    """Return what the shop itself answers: nothing that Twilio answers already, nothing to strangers in a trial."""
    replies, brand = opened.settings.replies, opened.settings.brand.name
    if text.answered or not _may_answer(opened, text.sender):
        return None
    if wish is Wish.STOP:
        return replies.stopped or f"{brand}: you will get no more texts from us. Reply START to get them again."
    return replies.help if wish is Wish.HELP else None


def _may_answer(opened: Opened, number: str) -> bool:
    if opened.settings.production or allow_listed(number, opened.settings.allow_list):
        return True
    try:
        return not opened.reaches_strangers(Channel.SMS)
    except DefinitionError:
        return False


def unclear(opened: Opened, *, most: int = 200) -> list[Unclear]:
    """Return the texts that wait for a person, oldest first."""
    with opened.ledger.reading() as conn:
        found = raw_events.waiting(conn, _PROVIDER, UNCLEAR, most=most)
    return [Unclear(name, at, str(orjson.loads(body).get("Body") or "")) for name, at, body in found]


def settle(opened: Opened, name: str, *, opt_out: bool) -> bool:
    """Note that a person has read an unclear text, and obey it as a stop if it was one; False when there is none."""
    with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
        found = {one[0]: one for one in raw_events.waiting(conn, _PROVIDER, UNCLEAR, most=10_000)}
        if name not in found:
            return False
        _, at, body = found[name]
        if opt_out:
            _stop(conn, str(orjson.loads(body)["From"]), at, clock(conn))
        return raw_events.settle(conn, name, _READ)
