"""Whether a message's receipt still says what happened: every check in order, and what was altered by its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

from sqlalchemy import Row

from tidings.errors import DefinitionError
from tidings.jobs.opening import Opened
from tidings.jobs.rewriting import Rewriter
from tidings.jobs.seal import GRACE
from tidings.jobs.witnesses import Check, Witnesses, receipt_checks
from tidings.ledger import receipts
from tidings.ledger.erasing import EMPTIED
from tidings.ledger.receipts import Link
from tidings.model.message import Space, Status

_BATCH = 500
MOST_NAMED = 100
_LEFT = frozenset({Status.SENT, Status.HELD_OUT, Status.FAILED})


@dataclass(frozen=True, slots=True)
class Verified:
    """One message's checks in order. ``altered`` names those that do not hold."""

    message_id: str
    campaign: str
    step: str
    channel: str
    status: str
    sending_at: datetime | None
    checks: tuple[Check, ...]

    @property
    def altered(self) -> tuple[str, ...]:
        """The checks that do not hold."""
        return tuple(check.name for check in self.checks if check.answer == "no")


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that does not hold: a message, a version or a link of the chain, and what is wrong with it."""

    kind: str
    name: str
    fact: str


@dataclass(frozen=True, slots=True)
class AllVerified:
    """What a look at many receipts found. ``broken`` names the first hundred of ``faults``."""

    receipts: int
    sealed: int
    waiting: int
    erased: int
    rewritten: int
    versions: int
    faults: int
    broken: tuple[Broken, ...]
    heads: tuple[Link, ...]


def run(opened: Opened, message_id: str) -> Verified:
    """Check one message. Raises DefinitionError when the ledger knows none of this id, or when it never left."""
    with opened.ledger.reading() as conn:
        row = receipts.receipt(conn, message_id)
        place = receipts.link_of(conn, message_id)
    if row is None and place is not None:
        gone = Check(
            "sealed", "no", f"in the chain of {place[0].day.date()}, but the message is no longer in the ledger"
        )
        return Verified(message_id, "", "", "", "removed", None, (gone,))
    if row is None:
        raise DefinitionError(f'message: must be the id of a message; found "{message_id[:40]}"')
    if row.sending_at is None and row.evidence is None and place is None:
        raise DefinitionError(f"message: must be one that was sent or held out; this one is {row.status}")
    witnesses = Witnesses(opened, [row], people=True)
    checks = (_sealed(row, place), *receipt_checks(witnesses, row), witnesses.provider(row))
    return Verified(row.id, row.campaign, row.step, row.channel, row.status, row.sending_at, checks)


def run_all(opened: Opened, *, day: date | None = None, words: bool = False) -> AllVerified:
    """Check every receipt: the chain, the digests, what messages were made of; with ``words``, write each anew.

    ``day`` (UTC) bounds it to what was sealed for one day.
    """
    found = _Findings(opened)
    found.versions, spoiled = _versions(opened, found)
    at = None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)
    with opened.ledger.reading() as conn:
        before = receipts.beginning(conn) if at is None else receipts.before_day(conn, at)
        rows = _held_together(receipts.chained(conn, at), before, found)
        for batch in _batches(rows):
            found.look_into(opened, batch, spoiled, words=words)
        found.sealed = found.receipts
        last = receipts.head(conn)
        if at is None:
            rows = receipts.loose(conn, since=receipts.kept_since(conn))
            for batch in _batches(_unsealed(opened, rows, last, found)):
                found.waiting += len(batch)
                found.look_into(opened, batch, spoiled, words=words)
        heads = tuple(receipts.heads(conn))
    return AllVerified(
        found.receipts, found.sealed, found.waiting, found.counts["erased"], found.counts["rewritten"], found.versions,
        found.faults, tuple(found.broken), heads,
    )  # fmt: skip


class _Findings:
    """What a look at many receipts has found so far."""

    def __init__(self, opened: Opened) -> None:
        self.receipts = self.sealed = self.waiting = self.versions = self.faults = 0
        self.counts: Counter[str] = Counter()
        self.broken: list[Broken] = []
        self.rewriter = Rewriter(opened)

    def fault(self, kind: str, name: str, fact: str) -> None:
        self.faults += 1
        if len(self.broken) < MOST_NAMED:
            self.broken.append(Broken(kind, name, fact))

    def look_into(self, opened: Opened, rows: Sequence[Row[Any]], spoiled: Mapping[str, str], *, words: bool) -> None:
        """Check a batch of receipts, each by itself."""
        self.receipts += len(rows)
        witnesses = Witnesses(opened, rows, people=words, spoiled=spoiled, rewriter=self.rewriter)
        for row in rows:
            if row.evidence == EMPTIED:
                self.counts["erased"] += 1
                continue
            checks = receipt_checks(witnesses, row)
            wrong = [check for check in checks if check.answer == "no"]
            if wrong:
                self.fault("message", row.id, "; ".join(f"{check.name}: {check.fact}" for check in wrong))
            self.counts["rewritten"] += any(check.name == "words" and check.answer == "yes" for check in checks)


def _versions(opened: Opened, found: _Findings) -> tuple[int, dict[str, str]]:
    """Return how many versions are kept, and which of them are not what they are named after."""
    spoiled: dict[str, str] = {}
    count = 0
    with opened.ledger.reading() as conn:
        for one in receipts.every_version(conn):
            count += 1
            if receipts.ref(one.kind, one.name, one.content) != one.ref:
                spoiled[one.ref] = f"{one.kind} {one.name}"
                found.fault("version", one.ref, f"{one.kind} {one.name} was altered")
    return count, spoiled


def _held_together(rows: Iterator[Row[Any]], before: str, found: _Findings) -> Iterator[Row[Any]]:
    """Follow the chain; pass on the messages whose receipts are there and as they were sealed."""
    for row in rows:
        place = f"{row.day.date()} number {row.position + 1}"
        if receipts.linked(before, row.digest) != row.chain:
            found.fault("chain", place, f"message {row.sealed_id} does not follow the one before it")
        before = row.chain
        if row.id is None:
            found.fault("message", row.sealed_id, f"sealed on {place}, but no longer in the ledger")
        elif row.urls is None:
            found.fault("message", row.sealed_id, f"sealed on {place}, but its receipt was taken out")
        elif row.evidence == EMPTIED and row.customer_id.startswith("erased:"):
            yield row
        elif row.sending_at is None or receipts.digest(row) != row.digest:
            found.fault("message", row.sealed_id, f"altered since it was sealed on {place}")
        else:
            yield row


def _unsealed(opened: Opened, rows: Iterator[Row[Any]], last: Link | None, found: _Findings) -> Iterator[Row[Any]]:
    """Pass on what waits to be sealed; what should have been long ago was put in behind the chain."""
    back = opened.settings.dispatch.presume_lost_after + GRACE
    oldest = None if last is None else last.day - back
    for row in rows:
        if row.urls is None and row.status in _LEFT:
            found.fault("message", row.id, "left, but has no receipt")
        elif row.urls is None:
            continue
        elif oldest is not None and row.sending_at < oldest:
            found.fault(
                "message", row.id, f"says it left on {row.sending_at.date()}, but that day was sealed without it"
            )
        else:
            yield row


def _sealed(row: Row[Any], place: tuple[Link, str] | None) -> Check:
    if place is None:
        over = row.sending_at is not None and row.status in receipts.FINAL
        when = "after its day is over" if over else "when it has come to an end"
        if row.space != Space.LIVE:
            return Check("sealed", "-", "a dry run is not sealed")
        return Check("sealed", "-", f"not yet: {when}")
    link, before = place
    where = f"in the chain of {link.day.date()}, number {link.position + 1}"
    if receipts.linked(before, link.digest) != link.chain:
        return Check("sealed", "no", f"{where}, which does not follow the one before it")
    if row.urls is None:
        return Check("sealed", "no", f"{where}, but its receipt was taken out")
    if row.evidence == EMPTIED and row.customer_id.startswith("erased:"):
        return Check("sealed", "yes", f"{where}, before the person was forgotten")
    if row.sending_at is None or receipts.digest(row) != link.digest:
        return Check("sealed", "no", f"{where}, but altered since")
    return Check("sealed", "yes", where)


def _batches(rows: Iterator[Row[Any]]) -> Iterator[list[Row[Any]]]:
    while batch := list(islice(rows, _BATCH)):
        yield batch
