"""Every statement that changes a status makes exactly the changes of the table, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from ledger_builders import DAY, MINUTE, NOON, entry_row, message_row
from sqlalchemy import Connection, delete, select, update

from tidings.ledger import dispatching, engagements, planning, restoring
from tidings.ledger.dispatching import Intent, Outcome
from tidings.ledger.restoring import Stretch
from tidings.ledger.schema import contact_slots, entries, messages, receipts
from tidings.ledger.store import Ledger, clock
from tidings.ledger.transitions import BORN, MOST_ATTEMPTS, TRANSITIONS, Transition
from tidings.model.engagement import Engagement, EngagementKind
from tidings.model.message import Status

AHEAD = timedelta(seconds=30)


def intents(held_out: bool) -> list[Intent]:
    return [Intent("m", "ann", "h", "email", held_out=held_out)]


def begin(held_out: bool) -> Callable[[Connection, str], object]:
    return lambda conn, token: dispatching.begin_sending(
        conn, space="live", token=token, intents=intents(held_out), caps=(), now=NOON, ahead=AHEAD
    )


def outcome(kind: Any) -> Callable[[Connection, str], object]:
    return lambda conn, token: dispatching.record_outcomes(conn, [Outcome("m", token, kind)], NOON)


def end(status: Status) -> Callable[[Connection, str], object]:
    return lambda conn, token: dispatching.end(conn, token, [("m", status, "why", None)], NOON)


# name of the statement -> (names of the transitions it may make, the statement given a token)
STATEMENTS: dict[str, tuple[set[str], Callable[[Connection, str], object]]] = {
    "claim": (
        {"claim"},
        lambda conn, _: dispatching.claim(conn, space="live", shard=0, now=NOON, limit=9, lease=5 * MINUTE),
    ),
    "let_go": ({"let_go"}, lambda conn, token: dispatching.let_go(conn, token, ["m"])),
    "defer": ({"defer"}, lambda conn, token: dispatching.defer(conn, token, [("m", NOON + DAY, "quiet")])),
    "end as skipped": ({"end"}, end(Status.SKIPPED)),
    "end as cancelled": ({"end"}, end(Status.CANCELLED)),
    "end as expired": ({"end"}, end(Status.EXPIRED)),
    "end as failed": ({"end"}, end(Status.FAILED)),
    "begin": ({"begin_sending"}, begin(held_out=False)),
    "begin held out": ({"begin_sending"}, begin(held_out=True)),
    "sent": ({"record sent", "proof"}, outcome("sent")),
    "retry": ({"record retry"}, outcome("retry")),
    "halt": ({"record retry"}, outcome("halt")),
    "failed": ({"record failed"}, outcome("failed")),
    "unknown": ({"record unknown"}, outcome("unknown")),
    "webhook": (
        {"proof"},
        lambda conn, _: engagements.take(conn, [Engagement("ev", "m", EngagementKind.DELIVERED, NOON)], NOON),
    ),
    "reap": ({"reap"}, lambda conn, _: dispatching.reap(conn, margin=MINUTE)),
    "presume_lost": (
        {"presume_lost"},
        lambda conn, _: dispatching.presume_lost(conn, before=NOON, now=NOON),
    ),
    "offer_again": (
        {"offer_again"},
        lambda conn, _: dispatching.offer_again(conn, campaigns=["cart"], before=NOON, now=NOON),
    ),
    "doubt": ({"doubt"}, lambda conn, _: restoring.doubt(conn, Stretch("g", 1, NOON), NOON)),
    "cancel_for": (
        {"cancel_for"},
        lambda conn, _: dispatching.cancel_for(conn, customers=["ann"], now=NOON),
    ),
}
# What only a message that was offered again has: the time of its first attempt.
STANDINGS = [(status, doubted) for status in Status for doubted in (False, True)]


@pytest.fixture
def put(ledger: Ledger) -> Iterator[Callable[..., None]]:
    """Put the one message into a status, under the token t, with a lease that holds or ran out."""
    with ledger.writing() as conn:
        planning.record(
            conn, [entry_row(messages=(message_row(id="m", send_at=NOON - DAY, expires_at=NOON + DAY),))],
            space="live", campaign="cart", run_id="run", now=NOON,
        )  # fmt: skip

    def write(status: Status, *, doubted: bool, overdue: bool = False, attempt: int = 1) -> None:
        under_way = status in (Status.CLAIMED, Status.SENDING)
        left = doubted or status in (Status.SENDING, Status.UNKNOWN, Status.SENT, Status.PRESUMED_LOST)
        with ledger.writing() as conn:
            conn.execute(delete(contact_slots))
            conn.execute(delete(receipts))
            until = clock(conn) + (-DAY if overdue else DAY)
            conn.execute(
                update(messages).values(
                    status=status,
                    attempt=attempt,
                    token="t" if under_way else None,
                    send_at=NOON - DAY,
                    lease_until=until if under_way else None,
                    sending_at=NOON - DAY if left else None,
                )
            )

    yield write
    with ledger.writing() as conn:
        for table in (contact_slots, receipts, messages, entries):
            conn.execute(delete(table))


def changed(ledger: Ledger, statement: Callable[[Connection, str], object], token: str) -> Status:
    with ledger.writing() as conn:
        statement(conn, token)
        return Status(conn.scalar(select(messages.c.status)) or "")


def allowing(names: set[str], before: Status, after: Status, *, doubted: bool) -> list[Transition]:
    return [
        one
        for one in TRANSITIONS
        if one.name in names and (one.before, one.after) == (before, after) and (doubted or not one.doubted)
    ]


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_makes_the_changes_of_the_table_and_no_other(
    ledger: Ledger, put: Callable[..., None], name: str
) -> None:
    names, statement = STATEMENTS[name]
    made: set[tuple[Status, Status]] = set()

    for status, doubted in STANDINGS:
        for token in ("t", "stranger"):
            for overdue in (False, True):
                put(status, doubted=doubted, overdue=overdue)
                after = changed(ledger, statement, token)
                if after == status:
                    continue
                made.add((status, after))
                found = allowing(names, status, after, doubted=doubted)
                assert found, f"{name} made {status} -> {after} (doubted: {doubted}), which the table does not know"
                assert token == "t" or not all(one.fenced for one in found), f"{name} obeyed a stranger from {status}"

    assert made, f"{name} never changed anything"


def test_every_change_of_the_table_is_made_by_some_statement(ledger: Ledger, put: Callable[..., None]) -> None:
    missing = set(TRANSITIONS)

    for names, statement in STATEMENTS.values():
        for status, doubted in STANDINGS:
            for overdue in (False, True):
                put(status, doubted=doubted, overdue=overdue)
                after = changed(ledger, statement, "t")
                missing -= {
                    one for one in allowing(names, status, after, doubted=doubted) if doubted or not one.doubted
                }

    assert missing == set()


def test_what_is_unknown_is_offered_again_once_and_only_where_at_least_once_is_said(
    ledger: Ledger, put: Callable[..., None]
) -> None:
    def offered(*campaigns: str, attempt: int, expired: bool = False) -> Status:
        put(Status.UNKNOWN, doubted=True, attempt=attempt)
        now = NOON + 2 * DAY if expired else NOON
        with ledger.writing() as conn:
            dispatching.offer_again(conn, campaigns=campaigns, before=NOON, now=now)
            return Status(conn.scalar(select(messages.c.status)) or "")

    assert offered("cart", attempt=1) is Status.PLANNED
    assert offered("other", attempt=1) is Status.UNKNOWN
    assert offered(attempt=1) is Status.UNKNOWN
    assert offered("cart", attempt=MOST_ATTEMPTS) is Status.UNKNOWN
    assert offered("cart", attempt=1, expired=True) is Status.UNKNOWN


def test_late_proof_keeps_what_was_offered_again_from_leaving_twice(ledger: Ledger, put: Callable[..., None]) -> None:
    put(Status.UNKNOWN, doubted=True)
    with ledger.writing() as conn:
        dispatching.offer_again(conn, campaigns=["cart"], before=NOON, now=NOON)
        engagements.take(conn, [Engagement("ev", "m", EngagementKind.DELIVERED, NOON)], NOON)
        held = dispatching.claim(conn, space="live", shard=0, now=NOON, limit=9, lease=5 * MINUTE)

    assert held.due == ()


def test_a_message_is_born_only_as_the_table_says(ledger: Ledger) -> None:
    rows = [
        entry_row(f"k{number}", customer=f"c{number}", messages=(message_row(status=status.value),))
        for number, status in enumerate(sorted(BORN))
    ]
    with ledger.writing() as conn:
        planning.record(conn, rows, space="live", campaign="cart", run_id="run", now=NOON)
        found = set(conn.scalars(select(messages.c.status)))

    assert found == {str(one) for one in BORN}
    assert not any(one.before in BORN - {Status.PLANNED} for one in TRANSITIONS)
