"""The last look: every gate in its order, a deferral while there is time, an end with its reason when there is none."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.model.message import SkipReason, Status
from tidings.plan.recheck import (
    GATES,
    Cancel,
    CapState,
    Defer,
    DueFacts,
    Expire,
    Gate,
    Pass,
    Previous,
    Skip,
    decide,
    gates,
)
from tidings.plan.timing import Hours, Opening, QuietHours

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)
R = SkipReason
OPEN = DueFacts(
    NOW, NOW + 24 * HOUR, ("UTC",), Hours((Opening(QuietHours(time(21), time(8)).week()),)),
    consented_since=datetime(2025, 3, 3, tzinfo=UTC),
)  # fmt: skip
SHUT = {
    "sending is on": {"paused": True},
    "allow-list": {"not_allowed": True},
    "in time": {"expires_at": NOW - HOUR},
    "suppression": {"suppressed": "stop"},
    "consent": {"consented_since": None},
    "quiet hours": {"hours": Hours((Opening(QuietHours(time(9), time(18)).week()),))},
    "step before": {"first_step": False, "previous": Previous(Status.PLANNED)},
    "frequency cap": {"caps": CapState(3, 3, NOW + HOUR)},
    "priority": {"outranked_by": "cart", "outranked_until": NOW + QUARTER},
    "not bought": {"purchased_at": NOW - HOUR},
    "fresh sources": {"stale": "orders"},
    "still true": {"untrue": R.OUT_OF_STOCK},
}


def later(**changes):
    return decide(replace(OPEN, first_step=False, **changes))


def test_a_message_that_nothing_holds_back_passes():
    assert decide(OPEN) == Pass()
    assert all(gate.answer == "yes" for gate in gates(OPEN))


@pytest.mark.parametrize(
    ("gate", "decision"),
    [
        ("sending is on", Defer(NOW + QUARTER, R.PAUSED)),
        ("allow-list", Skip(R.NOT_ALLOWED)),
        ("in time", Expire(R.TOO_LATE)),
        ("suppression", Skip(R.SUPPRESSED)),
        ("consent", Skip(R.NO_CONSENT)),
        ("quiet hours", Defer(NOW + 6 * HOUR, R.QUIET)),
        ("step before", Defer(NOW + QUARTER, R.PREVIOUS_STEP)),
        ("frequency cap", Defer(NOW + HOUR, R.CAPPED)),
        ("priority", Defer(NOW + QUARTER, R.OUTRANKED)),
        ("not bought", Skip(R.PURCHASED)),
        ("fresh sources", Defer(NOW + QUARTER, R.STALE)),
        ("still true", Skip(R.OUT_OF_STOCK)),
    ],
)
def test_each_gate_alone_gives_its_own_answer(gate, decision):
    facts = replace(OPEN, **SHUT[gate])

    assert decide(facts) == decision
    assert [told.name for told in gates(facts) if told.answer == "no"] == [gate]


def test_the_gates_stand_in_the_order_of_the_rules():
    assert [name for name, _, _ in GATES] == list(SHUT)


@given(shut=st.sets(st.sampled_from(list(SHUT)), min_size=1))
def test_the_first_shut_gate_decides_and_those_behind_it_are_not_reached(shut):
    changes = {}
    for gate in reversed(list(SHUT)):
        if gate in shut:
            changes |= SHUT[gate]
    facts = replace(OPEN, **changes)

    told = gates(facts)

    first = next(number for number, gate in enumerate(SHUT) if gate in shut)
    assert [gate.answer for gate in told] == ["yes"] * first + ["no"] + ["-"] * (len(SHUT) - first - 1)
    assert decide(facts) != Pass()


@pytest.mark.parametrize(
    "gate", ["sending is on", "quiet hours", "step before", "frequency cap", "priority", "fresh sources"]
)
def test_a_gate_that_opens_only_after_the_messages_time_ends_it_with_that_reason(gate):
    short = replace(OPEN, **SHUT[gate])
    waits = decide(short)

    assert decide(replace(short, expires_at=waits.until)) == waits
    assert decide(replace(short, expires_at=waits.until - timedelta(seconds=1))) == Skip(waits.reason)


def test_a_message_that_waited_until_its_end_is_skipped_with_what_it_waited_for():
    assert decide(replace(OPEN, expires_at=NOW - HOUR, waited_for=R.CAPPED)) == Skip(R.CAPPED)


def test_the_last_moment_is_still_in_time():
    assert decide(replace(OPEN, expires_at=NOW)) == Pass()


@pytest.mark.parametrize(
    ("previous", "decision"),
    [
        (Previous(Status.SENT, sent_at=NOW - 12 * HOUR), Pass()),
        (Previous(Status.SENT, sent_at=NOW - 11 * HOUR), Defer(NOW + HOUR, R.PREVIOUS_STEP)),
        (Previous(Status.HELD_OUT, sent_at=NOW - 11 * HOUR), Defer(NOW + HOUR, R.PREVIOUS_STEP)),
        (Previous(Status.UNKNOWN, sent_at=NOW - 12 * HOUR), Pass()),
        (Previous(Status.CLAIMED), Defer(NOW + QUARTER, R.PREVIOUS_STEP)),
        (Previous(Status.SKIPPED, R.NO_ADDRESS), Pass()),
        (Previous(Status.SKIPPED, R.CAPPED), Pass()),
        (Previous(Status.SKIPPED, R.PURCHASED), Cancel(R.PURCHASED)),
        (Previous(Status.CANCELLED, R.PURCHASED), Cancel(R.PURCHASED)),
        (Previous(Status.EXPIRED, R.TOO_LATE), Skip(R.PREVIOUS_STEP)),
        (Previous(Status.FAILED, R.REJECTED), Skip(R.PREVIOUS_STEP)),
    ],
    ids=[
        "gap over", "gap not over", "held out waits too", "unknown counts as sent", "still under way",
        "skipped for itself", "capped", "series over", "series cancelled", "expired", "failed",
    ],
)  # fmt: skip
def test_a_later_step_looks_at_the_one_before(previous, decision):
    assert later(previous=previous, min_gap=12 * HOUR) == decision


def test_an_order_skips_the_first_step_and_cancels_the_later_ones():
    assert decide(replace(OPEN, purchased_at=NOW - HOUR)) == Skip(R.PURCHASED)
    assert later(purchased_at=NOW - HOUR) == Cancel(R.PURCHASED)
    assert later(untrue=R.PRICE_RETURNED) == Cancel(R.PRICE_RETURNED)


def test_an_order_counts_also_when_the_feed_is_stale():
    assert decide(replace(OPEN, purchased_at=NOW, stale="orders")) == Skip(R.PURCHASED)


def test_a_transactional_message_needs_no_consent_and_no_cap():
    facts = replace(OPEN, consented_since=None, consent_exempt=True, caps=CapState(3, 3, NOW + HOUR), cap_exempt=True)

    assert decide(facts) == Pass()


def test_the_story_reads_as_the_guide_shows_it():
    facts = replace(OPEN, caps=CapState(3, 3, datetime(2026, 3, 2, 22, 15, tzinfo=UTC)), zones=("Europe/Helsinki",))

    told = {gate.name: gate for gate in gates(facts)}

    assert told["consent"] == Gate("consent", "yes", "since 3 Mar 2025")
    assert told["frequency cap"] == Gate("frequency cap", "no", "3 of 3; free 3 Mar 00:15 EET")
    assert told["quiet hours"] == Gate("quiet hours", "yes", "open in Europe/Helsinki")
    assert told["still true"] == Gate("still true", "-", "not reached")


def test_nothing_but_the_first_four_facts_is_needed():
    assert [field.name for field in fields(DueFacts)][:4] == ["now", "expires_at", "zones", "hours"]
    assert decide(DueFacts(NOW, NOW, (), Hours())) == Skip(R.NO_CONSENT)
