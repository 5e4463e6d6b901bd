"""Counts of one period are about the same entries and add up; results are replaced, never added to."""

from __future__ import annotations

import pytest
from ledger_builders import DAY, MINUTE, NOON, entry_row, intent, message_row

from tidings.ledger import dispatching, planning, results, stories
from tidings.ledger.dispatching import Outcome
from tidings.ledger.engagements import take
from tidings.ledger.results import Credit, PersonOutcome, RevenueDay
from tidings.model.engagement import Engagement, EngagementKind
from tidings.model.message import Status

CREDIT = Credit("o1", "m", "cart", "EUR", 1000, 900, NOON, NOON - DAY, "click")


@pytest.fixture
def lived(ledger, record, claim, begin):
    """Six entries: sent, held out, refused at once, ended at dispatch, failed and still waiting."""

    def row(who, **given):
        arm = given.pop("arm", "treated")
        return entry_row(who, customer=who, arm=arm, messages=(message_row(id=who, address_hash=f"h-{who}", **given),))

    record(
        row("sent"), row("held", arm="held_out"), row("refused", status="skipped", reason="no_address"),
        row("ended"), row("failed"), row("waiting", send_at=NOON + DAY),
    )  # fmt: skip
    held = claim(now=NOON + MINUTE)
    begin(held, intents=[intent(due) for due in held.due if due.id != "ended"], now=NOON + MINUTE)
    with ledger.writing() as conn:
        dispatching.end(conn, held.token, [("ended", Status.SKIPPED, "purchased", None)], NOON + MINUTE)
        dispatching.record_outcomes(
            conn,
            [Outcome("sent", held.token, "sent", "x"), Outcome("failed", held.token, "failed", reason="rejected")],
            NOON + MINUTE,
        )
        seen = [
            ("1", "delivered", 2, False),
            ("2", "clicked", 3, True),
            ("3", "clicked", 5, False),
            ("4", "clicked", 4, False),
        ]
        take(
            conn,
            [Engagement(n, "sent", EngagementKind(kind), NOON + at * MINUTE, machine) for n, kind, at, machine in seen],
            NOON + DAY,
        )
    return ledger


def test_a_funnel_adds_up(lived):
    with lived.reading() as conn:
        one = results.funnel(conn, ["cart", "never ran"], NOON, NOON + DAY)["cart"]
        assert results.funnel(conn, None, NOON + DAY, NOON + 2 * DAY) == {}
        assert results.recipients(conn, None, NOON, NOON + DAY) == 1

    assert (one.found, one.found_held_out, one.messages, one.planned) == (6, 1, 6, 5)
    assert (one.sent, one.held_out, one.open, one.failed, one.unknown, one.expired) == (1, 1, 1, 1, 0, 0)
    assert one.skipped == {"no_address": 1, "purchased": 1}
    assert (one.delivered, one.clicked, one.recipients, one.sent_by_channel) == (1, 1, 1, {"email": 1})


def test_a_touch_carries_the_first_click_of_a_person(lived):
    with lived.reading() as conn:
        (touch,) = results.touches(conn, since=NOON)
        assert list(results.touches(conn, since=NOON + DAY)) == []

    assert (touch.message_id, touch.sent_at) == ("sent", NOON + MINUTE)
    assert (touch.delivered_at, touch.clicked_at) == (NOON + 2 * MINUTE, NOON + 4 * MINUTE)


def test_exposures_are_one_a_person_arms_as_assigned_whatever_the_provider_said(lived):
    with lived.reading() as conn:
        found = [(one.customer_id, one.arm) for one in results.exposures(conn, "cart")]
    assert found == [("failed", "treated"), ("held", "held_out"), ("sent", "treated")]


def test_a_story_tells_why_each_message_was_sent_or_not(lived):
    with lived.reading() as conn:
        (sent,) = stories.history(conn, ["sent"])
        (ended,) = stories.history(conn, ["ended", "nobody"])
    assert [one.kind for one in sent.messages[0].engagements] == ["delivered", "clicked", "clicked", "clicked"]
    assert (ended.messages[0].status, ended.messages[0].reason) == (Status.SKIPPED, "purchased")


def test_replacing_credits_twice_changes_nothing_and_an_undone_order_loses_them(ledger):
    def lines():
        with ledger.reading() as conn:
            return list(results.credit_lines(conn, NOON, NOON + DAY))

    for _ in range(2):
        with ledger.writing() as conn:
            results.replace_credits(conn, ["o1", "o2"], [CREDIT], now=NOON)
        assert lines() == [CREDIT]
    with ledger.writing() as conn:
        results.replace_credits(conn, ["o1"], [], now=NOON)
    assert lines() == []


def test_outcomes_and_revenue_days_are_replaced(ledger):
    outcome = PersonOutcome("cart", "ann", "EUR", "treated", "", NOON, NOON + DAY, 1, 900)
    day = RevenueDay(NOON, "EUR", 1, 1000, 900)
    for _ in range(2):
        with ledger.writing() as conn:
            results.replace_outcomes(conn, "cart", [outcome], now=NOON)
            results.replace_revenue_days(conn, [day], start=NOON)
    with ledger.reading() as conn:
        assert list(results.outcome_lines(conn, ["cart"], NOON, NOON + DAY)) == [outcome]
        assert results.revenue_lines(conn, NOON, NOON + DAY) == [day]


def test_run_counters_add_up_over_runs(ledger):
    with ledger.writing() as conn:
        for found in (3, 4):
            run = planning.start_run(conn, None, "plan", "cart", as_of=NOON, now=NOON)
            planning.end_run(conn, run, {"found": found, "skipped": {"capped": 1}}, now=NOON)
        totals = results.run_totals(conn, ["cart"], NOON, NOON + DAY)["cart"]
        assert results.last_run(conn, "plan", "cart").counters["found"] in (3, 4)
    assert (totals.runs, totals.found, totals.skipped) == (2, 7, {"capped": 2})
