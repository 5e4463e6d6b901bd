"""Each event counts once, in any order, and every one about a message proves that it left."""

from __future__ import annotations

from itertools import permutations

import pytest
from ledger_builders import DAY, MINUTE, NOON, entry_row, message_row
from sqlalchemy import select, update

from tidings.ledger import dispatching, engagements
from tidings.ledger.dispatching import Outcome
from tidings.ledger.engagements import Taken, take
from tidings.ledger.schema import engagements as events
from tidings.ledger.schema import messages, unmatched_events
from tidings.model.engagement import Engagement, EngagementKind

SECOND = MINUTE / 60


@pytest.fixture
def sending(record, claim, begin):
    """The token of one message, ``m``, on its way."""
    record(entry_row("k", messages=(message_row(id="m", address_hash="h-ann"),)))
    held = claim()
    begin(held)
    return held.token


def _event(event_id, kind=EngagementKind.DELIVERED, after=MINUTE, **given):
    return Engagement(event_id, given.pop("message_id", "m"), kind, NOON + after, **given)


def _take(ledger, *some):
    with ledger.writing() as conn:
        return take(conn, some, NOON + DAY, provider="sendgrid")


def _message(ledger):
    m = messages.c
    with ledger.reading() as conn:
        return tuple(conn.execute(select(m.status, m.sent_at, m.provider_id, m.reason)).one())


def test_an_event_repeated_46_times_counts_once(ledger, sending):
    assert _take(ledger, *[_event("e")] * 46) == Taken(1, 45, 0)
    assert _take(ledger, _event("e"), _event("f")) == Taken(1, 1, 0)


def test_an_event_about_no_message_of_ours_is_set_aside_once(ledger, sending):
    stranger = _event("e", message_id="someone else's", detail="x" * 900)

    assert _take(ledger, stranger, _event("f")) == Taken(1, 0, 1)
    assert _take(ledger, stranger) == Taken(0, 0, 1)

    with ledger.reading() as conn:
        assert [(row.id, row.provider, len(row.detail)) for row in conn.execute(select(unmatched_events))] == [
            ("e", "sendgrid", 200)
        ]


@pytest.mark.parametrize("before", ["sending", "unknown", "presumed_lost"])
def test_any_event_proves_that_the_message_left(ledger, sending, before):
    with ledger.writing() as conn:
        conn.execute(update(messages).values(status=before, reason="lease_lost"))

    _take(ledger, _event("e", EngagementKind.BOUNCED, provider_id="sg-1"))

    assert _message(ledger) == ("sent", NOON, "sg-1", None)


def test_an_event_does_not_make_a_message_sent_that_never_left(ledger, record):
    record(entry_row("k", messages=(message_row(id="m"),)))
    _take(ledger, _event("e"))
    assert _message(ledger)[0] == "planned"


def test_every_order_of_arrival_ends_the_same(ledger, record, claim, begin):
    happened = [
        _event("1", EngagementKind.ACCEPTED, provider_id="sg-1"),
        _event("2", EngagementKind.DELIVERED),
        _event("3", EngagementKind.CLICKED, link=0),
        "the dispatcher's own answer",
    ]
    ends = set()
    for n, order in enumerate(permutations(happened)):
        record(entry_row(f"k{n}", customer=f"c{n}", messages=(message_row(id=f"m{n}"),)))
        held = claim()
        begin(held)
        for event in order:
            if isinstance(event, str):
                with ledger.writing() as conn:
                    dispatching.record_outcomes(conn, [Outcome(f"m{n}", held.token, "sent", "sg-1")], NOON)
            else:
                mine = Engagement(
                    f"{n}-{event.id}", f"m{n}", event.kind, event.at, link=event.link,
                    provider_id=event.provider_id and f"{event.provider_id}",
                )  # fmt: skip
                _take(ledger, mine)
        with ledger.writing() as conn:
            m = messages.c
            ends.add(
                tuple(conn.execute(select(m.status, m.sent_at, m.provider_id, m.reason).where(m.id == f"m{n}")).one())
            )
            conn.execute(update(messages).values(provider_id=None))

    assert ends == {("sent", NOON, "sg-1", None)}


def test_an_event_that_names_only_the_providers_id_is_matched_by_it(ledger, sending):
    with ledger.writing() as conn:
        dispatching.record_outcomes(conn, [Outcome("m", sending, "sent", provider_id="SM1")], NOON)

    assert _take(ledger, _event("e", message_id="", provider_id="SM1")) == Taken(1, 0, 0)
    with ledger.reading() as conn:
        assert engagements.message_of(conn, "sendgrid", "SM1") == "m"
        assert engagements.message_of(conn, "twilio", "SM1") is None


@pytest.mark.parametrize(("after", "machine"), [(9 * SECOND, True), (10 * SECOND, False)])
def test_a_click_within_seconds_of_sending_is_a_machines(ledger, sending, after, machine):
    _take(ledger, _event("e", EngagementKind.CLICKED, after))
    with ledger.reading() as conn:
        assert conn.scalars(select(events.c.machine)).all() == [machine]


def test_a_message_tells_whom_it_was_for_without_saying_where(ledger, sending):
    with ledger.reading() as conn:
        found = engagements.contact_of(conn, "m")
        assert engagements.contact_of(conn, "none") is None
    assert (found.customer_id, found.address_hash, found.channel, found.campaign) == ("ann", "h-ann", "email", "cart")


def test_hostile_ids_and_details_are_kept_harmless(ledger, sending):
    assert _take(ledger, _event("e\0" + "x" * 500, detail="a\0b"), _event("f", message_id="\0" * 40)) == Taken(1, 0, 1)
