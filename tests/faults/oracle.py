"""What must hold after every fault, whatever happened: the sandbox's own record joined to the ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from tidings.jobs.opening import Opened
from tidings.ledger import schema
from tidings.ledger.sending import contacts_of
from tidings.plan.eligibility import address_hash
from tidings.sandbox.store import Accepted

HELSINKI = ZoneInfo("Europe/Helsinki")
MAY_BE_ACCEPTED = {"sending", "sent", "unknown", "presumed_lost"}
REASONED = {"skipped", "cancelled", "expired", "failed", "unknown"}


@dataclass(frozen=True, slots=True)
class History:
    """Everything that was accepted, and everything the ledger says."""

    accepted: tuple[Accepted, ...]
    messages: dict[str, Any]
    entries: int
    slots: tuple[Any, ...]
    opted_out: dict[tuple[str, str], datetime]
    words: str

    @property
    def counted(self) -> Counter[str]:
        """How many messages stand in each status."""
        return Counter(str(row.status) for row in self.messages.values())


def history(opened: Opened, accepted: Sequence[Accepted]) -> History:
    """Read the ledger in one transaction, and take the sandbox's record as it is now."""
    with opened.ledger.reading() as conn:
        rows = {row.id: row for row in conn.execute(select(schema.messages))}
        entries = len(conn.execute(select(schema.entries.c.id)).all())
        slots = tuple(conn.execute(select(schema.contact_slots)))
        closed = {(row.subject, row.channel): row.at for row in conn.execute(select(schema.suppressions))}
        said = [*conn.scalars(select(schema.runs.c.counters)), *(f"{row.reason} {row.detail}" for row in rows.values())]
    return History(tuple(accepted), rows, entries, slots, closed, " ".join(said))


def check(opened: Opened, accepted: Sequence[Accepted], *, planned: int, settled: bool = True) -> History:
    """Assert the invariants of faults.md on everything so far; return it for what a test knows on top.

    ``planned`` is how many messages must be there. ``settled``: nothing may be under way or waiting any more.
    """
    found = history(opened, accepted)
    nothing_is_accepted_twice(found)
    what_was_accepted_stands_in_the_ledger(found, opened)
    nobody_is_written_to_at_night_or_after_opting_out(found)
    no_cap_is_exceeded(found, opened)
    nothing_vanishes(found, planned, settled)
    the_held_out_get_nothing(found)
    assert "@" not in found.words, "I9: an address in the ledger's words"
    return found


def nothing_is_accepted_twice(found: History) -> None:
    """I1."""
    twice = {name: times for name, times in Counter(one.message for one in found.accepted).items() if times > 1}
    assert not twice, f"I1: accepted more than once: {twice}"


def what_was_accepted_stands_in_the_ledger(found: History, opened: Opened) -> None:
    """I2, both ways: an accept has its row, `sent` has its accept, and the address is the one the row names."""
    for one in found.accepted:
        row = found.messages.get(one.message)
        assert row is not None, f"I2: {one.message} was accepted and is not in the ledger"
        assert row.status in MAY_BE_ACCEPTED, f"I2: {one.message} was accepted and is {row.status} ({row.reason})"
        assert row.address_hash == address_hash(one.to, opened.secrets.pepper), f"I2: {one.message} went elsewhere"
    known = {one.message: one.id for one in found.accepted}
    for row in found.messages.values():
        if row.status == "sent":
            assert known.get(row.id) == row.provider_id, f"I2: {row.id} is sent, but the sandbox never took it"


def nobody_is_written_to_at_night_or_after_opting_out(found: History) -> None:
    """I3 and I4, at the moment of the `sending` commit; everybody here lives in Helsinki."""
    for one in found.accepted:
        row = found.messages[one.message]
        local = row.sending_at.astimezone(HELSINKI)
        assert 8 <= local.hour < 21, f"I3: {row.id} began at {local:%H:%M}"
        for subject in contacts_of(row.customer_id, row.address_hash):
            for channel in (row.channel, ""):
                closed = found.opted_out.get((subject, channel))
                assert closed is None or closed > row.sending_at, f"I4: {row.id} began after {subject} had opted out"


def no_cap_is_exceeded(found: History, opened: Opened) -> None:
    """I5, per person and per mailbox, over what left and what was held out."""
    used: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    accepted = {one.message: one.to.lower() for one in found.accepted}
    for row in found.messages.values():
        if row.id in accepted or row.status == "held_out":
            used["person", row.customer_id].append(row.sending_at)
            used["address", accepted.get(row.id, row.address_hash)].append(row.sending_at)
    for cap in opened.settings.caps:
        for who, times in used.items():
            times.sort()
            for n, at in enumerate(times):
                inside = sum(1 for other in times[n:] if other - at < cap.per)
                assert inside <= cap.at_most, f"I5: {who} got {inside} in {cap.per}"


def nothing_vanishes(found: History, planned: int, settled: bool) -> None:
    """I6: every message that was planned is there, in a status with a reason where one is due."""
    assert len(found.messages) == planned, f"I6: {len(found.messages)} messages of {planned}"
    assert len({(row.entry_id, row.step) for row in found.messages.values()}) == planned
    open_ones = {"planned", "claimed", "sending"}
    for row in found.messages.values():
        assert row.status not in REASONED or row.reason, f"I6: {row.id} is {row.status} without a reason"
        assert not settled or row.status not in open_ones, f"I6: {row.id} is still {row.status}"
    holding = {slot.message_id for slot in found.slots}
    for row in found.messages.values():
        assert (row.id in holding) == (row.status in {*MAY_BE_ACCEPTED, "held_out"}), f"I6: slots of {row.id}"


def the_held_out_get_nothing(found: History) -> None:
    """I7."""
    for one in found.accepted:
        assert not found.messages[one.message].held_out, f"I7: {one.message} was held out"


def assert_nothing_new(before: History, after: History) -> None:
    """I10: a rerun of everything accepts nothing and changes no answer."""
    assert len(after.accepted) == len(before.accepted), "I10: a rerun sent something"
    changed = {
        name: (before.messages[name].status, row.status)
        for name, row in after.messages.items()
        if before.messages[name].status != row.status
    }
    assert not changed, f"I10: a rerun changed {changed}"


def adds_up(told: dict[str, int]) -> None:
    """Every claimed message has exactly one answer in the counters."""
    answers = ("sent", "held_out", "retried", "failed", "unknown", "deferred", "let_go", "lost", "expired")
    total = sum(told.get(name, 0) for name in (*answers, "skipped", "cancelled"))
    assert told.get("claimed", 0) == total, f"counters: {told}"
