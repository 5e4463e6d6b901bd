"""The ten invariants that every fault must leave standing: the sandbox's own record held against the ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import witness_book
from sqlalchemy import Connection, String, Text, func, select

from tidings.jobs.opening import Opened
from tidings.ledger import schema
from tidings.ledger.sending import contacts_of
from tidings.ledger.transitions import MOST_ATTEMPTS
from tidings.plan.eligibility import address_hash
from tidings.sandbox.store import Accepted

MAY_BE_ACCEPTED = {"sending", "sent", "unknown", "presumed_lost"}
UNFINISHED = {"planned", "claimed", "sending"}
REASONED = {"skipped", "cancelled", "expired", "failed", "unknown"}
DAY_BEGINS, NIGHT_BEGINS = time(8), time(21)


@dataclass(frozen=True, slots=True)
class Person:
    """What the shop knows about a customer: where they live, and what they said, as (channel, granted, at)."""

    zone: ZoneInfo
    said: tuple[tuple[str, bool, datetime], ...] = ()
    address: str = ""
    number: str = ""

    def allowed(self, channel: str, at: datetime) -> bool:
        """Whether their last word on a channel by then was yes."""
        words = [(when, granted) for where, granted, when in self.said if where == channel and when <= at]
        # Of a yes and a no at the same moment the no holds.
        return bool(words) and min(granted for when, granted in words if when == max(words)[0])


@dataclass(frozen=True, slots=True)
class History:
    """Everything that was accepted, and everything the ledger says."""

    accepted: tuple[Accepted, ...]
    messages: Mapping[str, Any]
    entries: int
    slots: tuple[Any, ...] = ()
    commits: tuple[Any, ...] = ()
    credits: tuple[Any, ...] = ()
    revenue: tuple[Any, ...] = ()
    caps: tuple[Any, ...] = ()
    people: Mapping[str, Person] = field(default_factory=dict)
    everybody: Person | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    transactional: Collection[str] = ()
    repeatable: Collection[str] = ()
    planned: int | None = None
    settled: bool = False
    words: Collection[str] = ()

    @property
    def counted(self) -> Counter[str]:
        """How many messages stand in each status."""
        return Counter(str(row.status) for row in self.messages.values())

    @property
    def repeated(self) -> int:
        """How many accepts came on top of the first of their message."""
        return len(self.accepted) - len({one.message for one in self.accepted})

    def accepts(self) -> Counter[str]:
        """How often each message was accepted."""
        return Counter(one.message for one in self.accepted)


class Broken(AssertionError):
    """An invariant does not hold; the first words are its number."""


def holds(true: object, invariant: str, words: str) -> None:
    """Raise, with the invariant's number first, unless it is true."""
    if not true:
        raise Broken(f"{invariant}: {words}")


def history(opened: Opened, accepted: Sequence[Accepted], told: Mapping[str, Any] | None = None) -> History:
    """Read the ledger in one transaction, and take the sandbox's record as it is now.

    ``told`` are the rows that the shop's tables were given, by table: who lives where, and who allowed what.
    """
    campaigns = opened.project.campaigns.values()
    with opened.ledger.reading() as conn:
        rows = {row.id: row for row in conn.execute(select(schema.messages))}
        found = History(
            tuple(accepted),
            rows,
            int(conn.scalar(select(func.count()).select_from(schema.entries)) or 0),
            slots=tuple(conn.execute(select(schema.contact_slots))),
            commits=witness_book.read(conn),
            credits=tuple(conn.execute(select(schema.credits))),
            revenue=tuple(conn.execute(select(schema.revenue_days))),
            words=_words(conn) if len(rows) < 5_000 else (),
        )
    return replace(
        found,
        caps=tuple(opened.settings.caps),
        people=_people(told or {}),
        hashes={one.to: address_hash(one.to, opened.secrets.pepper) for one in accepted},
        transactional={
            f"{one.id}/{step.name}" for one in campaigns for step in one.steps if step.message_class == "transactional"
        },
        repeatable={one.id for one in campaigns if one.delivery_semantics == "at_least_once"},
    )


def _people(told: Mapping[str, Any]) -> dict[str, Person]:
    said: dict[str, list[tuple[str, bool, datetime]]] = defaultdict(list)
    for row in told.get("consents", ()):
        said[row["customer_id"]].append((row["channel"], row["status"] == "granted", row["occurred_at"]))
    return {
        row["customer_id"]: Person(
            ZoneInfo(row["zone"] or "Europe/Helsinki"), tuple(said[row["customer_id"]]), row["email"] or "",
            row["phone"] or "",
        )
        for row in told.get("customers", ())
    }  # fmt: skip


def _words(conn: Connection) -> list[str]:
    """Return every text that stands in the ledger, table by table."""
    found = []
    for table in schema.metadata.sorted_tables:
        texts = [one for one in table.c if isinstance(one.type, String | Text)]
        if texts:
            found.append(f"{table.name} " + " ".join(str(one) for row in conn.execute(select(*texts)) for one in row))
    return found


def check_all(
    opened: Opened,
    accepted: Sequence[Accepted],
    *,
    told: Mapping[str, Any] | None = None,
    planned: int | None = None,
    settled: bool = False,
    everybody: Person | None = None,
) -> History:
    """Assert I1 to I9 on everything so far, and return it for what a test knows on top; I10 is `assert_nothing_new`.

    ``planned`` is how many messages must be there. ``settled``: nothing may be under way or waiting any more.
    ``everybody`` is what is known about customers that ``told`` does not name. Raises Broken, whose message begins
    with the number of the invariant.
    """
    found = replace(history(opened, accepted, told), planned=planned, settled=settled, everybody=everybody)
    for invariant in INVARIANTS.values():
        invariant(found)
    return found


def nothing_is_accepted_twice(found: History) -> None:
    """I1: one accept a message; where a campaign delivers at least once, no more than there were attempts."""
    for name, times in found.accepts().items():
        row = found.messages.get(name)
        most = row.attempt if row is not None and row.campaign in found.repeatable else 1
        holds(times <= most, "I1", f"{name} was accepted {times} times, {most} allowed ({row and row.status})")
        holds(most <= MOST_ATTEMPTS or times <= 1, "I1", f"{name} was offered {most} times")


def what_was_accepted_stands_in_the_ledger(found: History) -> None:
    """I2, both ways: an accept has its row, `sent` has its accept, and the address is the one the row names."""
    known: dict[str, set[str]] = defaultdict(set)
    for one in found.accepted:
        row = found.messages.get(one.message)
        holds(row is not None, "I2", f"{one.message} was accepted and is not in the ledger")
        assert row is not None
        # What is offered again keeps its moment of sending: it is known to have been begun once.
        doubted = row.campaign in found.repeatable and row.sending_at is not None
        may_be = row.status in MAY_BE_ACCEPTED or doubted
        holds(may_be, "I2", f"{one.message} was accepted and is {row.status} ({row.reason})")
        holds(row.address_hash == found.hashes[one.to], "I2", f"{one.message} went to another address")
        known[one.message].add(one.id)
    for row in found.messages.values():
        if row.status == "sent":
            proven = row.provider_id in known[row.id] or (row.provider_id is None and known[row.id])
            holds(proven, "I2", f"{row.id} is sent, but the sandbox never took it")


def nobody_is_written_to_at_night_or_unasked(found: History) -> None:
    """I3, at the moment of the `sending` commit, by the customer's own clock and their own words."""
    for one in found.accepted:
        row = found.messages[one.message]
        person = found.people.get(row.customer_id, found.everybody)
        if person is None or f"{row.campaign}/{row.step}" in found.transactional:
            continue
        local = row.sending_at.astimezone(person.zone)
        in_hours = DAY_BEGINS <= local.time() < NIGHT_BEGINS
        holds(in_hours, "I3", f"{row.id} began at {local:%H:%M} where {row.customer_id} lives")
        agreed = person.allowed(row.channel, row.sending_at)
        holds(agreed, "I3", f"{row.id} began without {row.customer_id}'s permission")
        holds(row.sending_at < row.expires_at, "I3", f"{row.id} began after it had expired")


def nobody_is_written_to_after_opting_out(found: History) -> None:
    """I4: no `sending` commit came after the commit of a suppression of its person or address, still in force."""
    closed: dict[tuple[str, str], set[str]] = defaultdict(set)
    accepted = found.accepts()
    for commit in found.commits:  # in the order in which the ledger made them true
        if commit.what == "suppression":
            reasons = closed[commit.subject, commit.channel]
            reasons.add(commit.reason) if commit.in_force else reasons.discard(commit.reason)
        elif commit.what == "sending" and accepted[commit.subject]:
            row = found.messages[commit.subject]
            for subject in contacts_of(row.customer_id, row.address_hash):
                why = closed[subject, row.channel] | closed[subject, ""]
                holds(not why, "I4", f"{row.id} began after {subject[:10]} had opted out ({', '.join(sorted(why))})")


def no_cap_is_exceeded(found: History) -> None:
    """I5, per person and per mailbox, over what left and what was held out."""
    used: dict[tuple[str, str], list[tuple[datetime, str]]] = defaultdict(list)
    accepted = {one.message: one.to.lower() for one in found.accepted}
    for row in found.messages.values():
        if f"{row.campaign}/{row.step}" in found.transactional:
            continue
        if row.id in accepted or row.status == "held_out":
            used["person", row.customer_id].append((row.sending_at, row.channel))
            used["address", accepted.get(row.id, row.address_hash)].append((row.sending_at, row.channel))
    for cap in found.caps:
        for (_, who), all_times in used.items():
            times = sorted(at for at, channel in all_times if cap.channel is None or channel == cap.channel)
            for n, at in enumerate(times):
                inside = sum(1 for other in times[n : n + cap.at_most + 1] if other - at < cap.per)
                holds(inside <= cap.at_most, "I5", f"{who[:10]} got more than {cap.at_most} in {cap.per}")


def nothing_vanishes(found: History) -> None:
    """I6: every message that was planned is there, in a status, with a reason where one is due, and its slots."""
    if found.planned is not None:
        holds(len(found.messages) == found.planned, "I6", f"{len(found.messages)} messages of {found.planned}")
    distinct = len({(row.entry_id, row.step) for row in found.messages.values()})
    holds(distinct == len(found.messages), "I6", f"{len(found.messages)} messages for {distinct} steps")
    holding = {slot.message_id for slot in found.slots}
    for row in found.messages.values():
        holds(row.status not in REASONED or row.reason, "I6", f"{row.id} is {row.status} without a reason")
        waits = row.status in UNFINISHED
        holds(not (found.settled and waits), "I6", f"{row.id} is still {row.status} ({row.defer_reason})")
        counts = row.status in {*MAY_BE_ACCEPTED, "held_out"}
        if f"{row.campaign}/{row.step}" not in found.transactional and found.caps:
            holds((row.id in holding) == counts, "I6", f"{row.id} is {row.status}, slots: {row.id in holding}")


def the_held_out_get_nothing(found: History) -> None:
    """I7."""
    for one in found.accepted:
        holds(not found.messages[one.message].held_out, "I7", f"{one.message} was held out and got a message")


def no_order_is_credited_twice_or_above_its_worth(found: History) -> None:
    """I8: an order has at most one credit, to a message that left, and credits never exceed the revenue."""
    orders = Counter(one.order_id for one in found.credits)
    total: Counter[str] = Counter()
    for one in found.credits:
        holds(orders[one.order_id] == 1, "I8", f"order {one.order_id} is credited {orders[one.order_id]} times")
        row = found.messages.get(one.message_id)
        holds(row is not None and row.status == "sent", "I8", f"order {one.order_id} is credited to what never left")
        holds(0 <= one.net <= one.gross, "I8", f"order {one.order_id}: {one.net} net of {one.gross}")
        total[one.currency] += one.gross
    earned: Counter[str] = Counter()
    for day in found.revenue:
        earned[day.currency] += day.gross
    for currency, credited in total.items():
        holds(credited <= earned[currency], "I8", f"{credited} {currency} credited of {earned[currency]} earned")


def nobody_is_named(found: History) -> None:
    """I9: no address and no number of a customer stands in any text of the ledger."""
    private = {one for person in found.people.values() for one in (person.address, person.number) if one}
    names_nobody(found.words, private)


def names_nobody(words: Iterable[str], private: Collection[str]) -> None:
    """I9, on any texts: logs, what tasks hand on, the ledger's columns."""
    for text in words:
        plain = text.lower()
        if "@" in plain or "+" in plain:
            for one in private:
                holds(one.lower() not in plain, "I9", f"a customer's address stands in {text.split(' ', 1)[0][:40]}")


def assert_nothing_new(before: History, after: History) -> None:
    """I10: a rerun of everything accepts nothing and changes no answer."""
    more = len(after.accepted) - len(before.accepted)
    holds(more == 0, "I10", f"a rerun sent {more} messages")
    holds(len(after.messages) == len(before.messages), "I10", "a rerun planned new messages")
    changed = {
        name: (str(before.messages[name].status), str(row.status))
        for name, row in after.messages.items()
        if before.messages[name].status != row.status
    }
    holds(not changed, "I10", f"a rerun changed {changed}")


def adds_up(told: Mapping[str, int]) -> None:
    """Every claimed message has exactly one answer in the counters."""
    answers = ("sent", "held_out", "retried", "failed", "unknown", "deferred", "let_go", "lost", "expired")
    total = sum(told.get(name, 0) for name in (*answers, "skipped", "cancelled"))
    assert told.get("claimed", 0) == total, f"counters: {dict(told)}"


INVARIANTS: Mapping[str, Callable[[History], None]] = {
    "I1": nothing_is_accepted_twice,
    "I2": what_was_accepted_stands_in_the_ledger,
    "I3": nobody_is_written_to_at_night_or_unasked,
    "I4": nobody_is_written_to_after_opting_out,
    "I5": no_cap_is_exceeded,
    "I6": nothing_vanishes,
    "I7": the_held_out_get_nothing,
    "I8": no_order_is_credited_twice_or_above_its_worth,
    "I9": nobody_is_named,
}
