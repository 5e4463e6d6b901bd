"""Every statement that changes a status makes exactly the changes of the table, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from ledger_builders import DAY, MINUTE, NOON, entry_row, message_row
from sqlalchemy import Connection, bindparam, delete, select, update

from tidings.ledger import dispatching, engagements, planning, restoring, schema
from tidings.ledger.dispatching import Intent, Outcome
from tidings.ledger.restoring import Stretch
from tidings.ledger.schema import contact_slots, entries, messages, receipts
from tidings.ledger.store import Ledger, clock
from tidings.ledger.transitions import BORN, MOST_ATTEMPTS, TRANSITIONS, Transition
from tidings.model.engagement import Engagement, EngagementKind
from tidings.model.message import Status

AHEAD = timedelta(seconds=30)
# Every place a message can be in: its status, whether it was offered again, whether its lease ran out.
STANDINGS = {
    f"m{number:02d}": standing
    for number, standing in enumerate(product(Status, (False, True), (False, True)))
}  # fmt: skip


def begin(held_out: bool) -> Callable[[Connection, str], object]:
    intents = [Intent(one, "ann", "h", "email", held_out=held_out) for one in STANDINGS]
    return lambda conn, token: dispatching.begin_sending(
        conn, space="live", token=token, intents=intents, caps=(), now=NOON, ahead=AHEAD
    )


def outcome(kind: Any) -> Callable[[Connection, str], object]:
    return lambda conn, token: dispatching.record_outcomes(conn, [Outcome(one, token, kind) for one in STANDINGS], NOON)


def end(status: Status) -> Callable[[Connection, str], object]:
    return lambda conn, token: dispatching.end(conn, token, [(one, status, "why", None) for one in STANDINGS], NOON)


def webhook(conn: Connection, _: str) -> object:
    told = [Engagement(f"ev-{one}", one, EngagementKind.DELIVERED, NOON) for one in STANDINGS]
    return engagements.take(conn, told, NOON)


# name of the statement -> (names of the transitions it may make, the statement given a token)
STATEMENTS: dict[str, tuple[set[str], Callable[[Connection, str], object]]] = {
    "claim": (
        {"claim"},
        lambda conn, _: dispatching.claim(conn, space="live", shard=0, now=NOON, limit=99, lease=5 * MINUTE),
    ),
    "let_go": ({"let_go"}, lambda conn, token: dispatching.let_go(conn, token, list(STANDINGS))),
    "defer": (
        {"defer"},
        lambda conn, token: dispatching.defer(conn, token, [(one, NOON + DAY, "quiet") for one in STANDINGS]),
    ),
    "end as skipped": ({"end"}, end(Status.SKIPPED)),
    "end as cancelled": ({"end"}, end(Status.CANCELLED)),
    "end as expired": ({"end"}, end(Status.EXPIRED)),
    "end as failed": ({"end"}, end(Status.FAILED)),
    "begin": ({"begin_sending"}, begin(held_out=False)),
    "begin held out": ({"begin_sending"}, begin(held_out=True)),
    "sent": ({"record sent", "proof"}, outcome("sent")),
    "retry": ({"record retry"}, outcome("retry")),
    "halt": ({"record retry"}, outcome("halt")),
    "wait": ({"record retry"}, outcome("wait")),
    "failed": ({"record failed"}, outcome("failed")),
    "unknown": ({"record unknown"}, outcome("unknown")),
    "webhook": ({"proof"}, webhook),
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


@pytest.fixture
def put(ledger: Ledger) -> Iterator[Callable[..., None]]:
    """Put one message into every place there is, under the token t."""
    with ledger.writing() as conn:
        rows = [
            entry_row(one, messages=(message_row(id=one, send_at=NOON - DAY, expires_at=NOON + DAY),))
            for one in STANDINGS
        ]
        planning.record(conn, rows, space="live", campaign="cart", run_id="run", now=NOON)

    def write(**same: Any) -> None:
        m = messages.c
        with ledger.writing() as conn:
            for table in (contact_slots, receipts, schema.engagements):
                conn.execute(delete(table))
            at = clock(conn)
            rows = []
            for one, (status, doubted, overdue) in STANDINGS.items():
                under_way = status in (Status.CLAIMED, Status.SENDING)
                left = doubted or status in (Status.SENDING, Status.UNKNOWN, Status.SENT, Status.PRESUMED_LOST)
                placed: dict[str, Any] = {
                    "status": status, "attempt": 1, "token": "t" if under_way else None, "send_at": NOON - DAY,
                    "lease_until": at + (-DAY if overdue else DAY) if under_way else None,
                    "sending_at": NOON - DAY if left else None, **same,
                }  # fmt: skip
                rows.append({"which": one, **placed})
            moved = {name: bindparam(name) for name in rows[0] if name != "which"}
            conn.execute(update(messages).where(m.id == bindparam("which")).values(**moved), rows)

    yield write
    with ledger.writing() as conn:
        for table in (contact_slots, receipts, schema.engagements, messages, entries):
            conn.execute(delete(table))


def changes(
    ledger: Ledger, statement: Callable[[Connection, str], object], token: str
) -> Iterator[tuple[Status, Status, bool]]:
    """Run a statement on all of them; yield (before, after, whether it was offered again) of what changed."""
    with ledger.writing() as conn:
        statement(conn, token)
        after = {row.id: row.status for row in conn.execute(select(messages.c.id, messages.c.status))}
    for one, (before, doubted, _) in STANDINGS.items():
        if after[one] != before:
            yield before, Status(after[one]), doubted


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
    made = 0

    for token in ("t", "stranger"):
        put()
        for before, after, doubted in changes(ledger, statement, token):
            made += 1
            found = allowing(names, before, after, doubted=doubted)
            assert found, f"{name} made {before} -> {after} (doubted: {doubted}), which the table does not know"
            assert token == "t" or not all(one.fenced for one in found), f"{name} obeyed a stranger from {before}"

    assert made, f"{name} never changed anything"


def test_every_change_of_the_table_is_made_by_some_statement(ledger: Ledger, put: Callable[..., None]) -> None:
    missing = set(TRANSITIONS)

    for names, statement in STATEMENTS.values():
        put()
        for before, after, doubted in changes(ledger, statement, "t"):
            missing -= set(allowing(names, before, after, doubted=doubted))

    assert missing == set()


@pytest.mark.parametrize(
    ("campaigns", "attempt", "expires_at", "offered"),
    [
        (("cart",), 1, NOON + DAY, True), (("other",), 1, NOON + DAY, False), ((), 1, NOON + DAY, False),
        (("cart",), MOST_ATTEMPTS, NOON + DAY, False), (("cart",), 1, NOON, False),
    ],
    ids=["at least once", "another campaign", "none", "twice already", "expired"],
)  # fmt: skip
def test_what_is_unknown_is_offered_again_once_and_only_where_at_least_once_is_said(
    ledger: Ledger, put: Callable[..., None], campaigns: tuple[str, ...], attempt: int, expires_at: Any, offered: bool
) -> None:
    put(attempt=attempt, expires_at=expires_at)

    with ledger.writing() as conn:
        again = dispatching.offer_again(conn, campaigns=campaigns, before=NOON, now=NOON)

    assert again == (4 if offered else 0)


def test_late_proof_keeps_what_was_offered_again_from_leaving_twice(ledger: Ledger, put: Callable[..., None]) -> None:
    put(status=Status.UNKNOWN, sending_at=NOON - DAY)
    with ledger.writing() as conn:
        dispatching.offer_again(conn, campaigns=["cart"], before=NOON, now=NOON)
        webhook(conn, "")
        held = dispatching.claim(conn, space="live", shard=0, now=NOON, limit=99, lease=5 * MINUTE)

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
