"""Whether a promise was kept: what a provider accepted, held against who had opted out by then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from tidings.definitions import Project
from tidings.ledger.schema import consents, messages, suppressions
from tidings.model.message import Space

# What a person does; a bounce and a provider's block say something about an address.
_BY_PERSON = ("unsubscribed", "stop", "complaint")
_Spans = list[tuple[datetime, datetime | None]]


@dataclass(frozen=True, slots=True)
class Promise:
    """How many people opted out of something, and the messages that were accepted for them nevertheless."""

    opted_out: int
    broken: tuple[str, ...]


def promise(conn: Connection, project: Project, accepted: Iterable[tuple[str, datetime]]) -> Promise:
    """Join the provider's record (our message id, when it was accepted) with the ledger's opt-outs.

    A message breaks the promise when its person or address was suppressed on its channel at that moment, for
    whatever reason, or when the person had said no to every purpose that its step may be sent for.
    """
    spans, by_person = _suppressed(conn)
    said = _said(conn)
    purposes = {(one.id, step.name): tuple(step.purposes) for one in project.campaigns.values() for step in one.steps}
    m = messages.c
    wanted = select(m.id, m.campaign, m.step, m.channel, m.customer_id, m.address_hash).where(m.space == Space.LIVE)
    known = {row.id: row for row in conn.execute(wanted)}
    broken = []
    for message_id, at in accepted:
        row = known.get(message_id)
        if row is None:
            continue
        subjects = (f"p:{row.customer_id}", f"a:{row.address_hash}")
        barred = any(_holds(spans.get((who, channel), ()), at) for who in subjects for channel in (row.channel, ""))
        asked = purposes.get((row.campaign, row.step), ())
        refused = bool(asked) and all(
            _refused(said.get((row.customer_id, row.channel, purpose), ()), at) for purpose in asked
        )
        if barred or refused:
            broken.append(message_id)
    people = {
        row.customer_id for row in known.values() if by_person & {f"p:{row.customer_id}", f"a:{row.address_hash}"}
    }
    people |= {who for (who, _, _), words in said.items() if not max(words)[1]}
    return Promise(len(people), tuple(broken))


def _suppressed(conn: Connection) -> tuple[Mapping[tuple[str, str], _Spans], set[str]]:
    """Return when each subject was not to be written to on each channel, and whom their own deed did that for."""
    spans: dict[tuple[str, str], _Spans] = defaultdict(list)
    by_person: set[str] = set()
    s = suppressions.c
    for row in conn.execute(select(s.subject, s.channel, s.reason, s.at, s.lifted_at)):
        lifted = row.lifted_at if row.lifted_at is not None and row.lifted_at > row.at else None
        spans[row.subject, row.channel].append((row.at, lifted))
        if row.reason in _BY_PERSON and lifted is None:
            by_person.add(row.subject)
    return spans, by_person


def _said(conn: Connection) -> Mapping[tuple[str, str, str], list[tuple[datetime, bool]]]:
    said: dict[tuple[str, str, str], list[tuple[datetime, bool]]] = defaultdict(list)
    c = consents.c
    for row in conn.execute(select(c.customer_id, c.channel, c.purpose, c.granted, c.at)):
        said[row.customer_id, row.channel, row.purpose].append((row.at, row.granted))
    return said


def _holds(spans: Iterable[tuple[datetime, datetime | None]], at: datetime) -> bool:
    return any(since < at and (until is None or at < until) for since, until in spans)


def _refused(words: Iterable[tuple[datetime, bool]], at: datetime) -> bool:
    before = [word for word in words if word[0] < at]
    return bool(before) and not max(before)[1]
