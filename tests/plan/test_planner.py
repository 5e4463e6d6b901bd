"""An entry becomes an arm and one message per step: planned, or refused for what cannot change."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tidings.model.entry import Entry
from tidings.model.message import SkipReason, Status
from tidings.model.people import Channel, Customer
from tidings.plan.assignment import assign
from tidings.plan.planner import CampaignPlan, PlanStep, calendars_of, plan
from tidings.plan.timing import QuietHours, SendWindow

HOUR = timedelta(hours=1)
NIGHT = dict.fromkeys(Channel, QuietHours(time(21), time(8)))
ANN = Customer("ann", "ann@example.com", "+358401234567", country="FI", zone="Europe/Helsinki")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # 14:00 in Helsinki


def step(no=0, after=0, channel=Channel.EMAIL, expires_after=24, **more):
    return PlanStep(f"step{no}", no, after * HOUR, channel, "cart/reminder", expires_after * HOUR, **more)


def campaign(*steps, **more):
    return CampaignPlan(
        "cart", steps or (step(),), timedelta(days=7), "shop|cart", b"pepper", "Europe/Helsinki", "FI",
        **{"quiet": NIGHT, **more},
    )  # fmt: skip


def planned(what=None, customer=ANN, entered_at=NOON, now=None):
    numbers = itertools.count(1)
    entry = Entry("ann/1", "ann", entered_at, entered_at)
    return plan(entry, customer, what or campaign(), now or entered_at, new_id=lambda: f"id{next(numbers)}")


def test_a_due_message_in_the_customers_day_is_planned_for_that_moment():
    message = planned().messages[0]

    assert (message.status, message.reason) == (Status.PLANNED, None)
    assert message.send_at == message.first_send_at == NOON
    assert message.expires_at == NOON + 24 * HOUR


def test_a_message_due_at_night_waits_for_the_customers_morning_and_expires_from_there():
    message = planned(entered_at=datetime(2026, 3, 2, 20, tzinfo=UTC)).messages[0]

    assert message.send_at == datetime(2026, 3, 3, 6, tzinfo=UTC)  # 08:00 in Helsinki
    assert message.expires_at == datetime(2026, 3, 4, 6, tzinfo=UTC)


def test_the_send_window_of_the_campaign_holds_as_well():
    window = SendWindow(time(9), time(13), frozenset({0, 1, 2, 3, 4}))

    assert planned(campaign(window=window)).messages[0].send_at == datetime(2026, 3, 3, 7, tzinfo=UTC)


def test_every_step_counts_from_the_entry_and_keeps_its_distance_from_the_step_before():
    steps = (step(0), step(1, 6, min_gap=12 * HOUR), step(2, 48, channel=Channel.SMS, min_gap=12 * HOUR))

    moments = [message.send_at for message in planned(campaign(*steps)).messages]

    # Six hours later would be 20:00; twelve hours after the first is 02:00, so 08:00 the next day.
    assert moments == [NOON, datetime(2026, 3, 3, 6, tzinfo=UTC), datetime(2026, 3, 4, 12, tzinfo=UTC)]


def test_what_was_found_after_its_time_is_expired_and_the_later_steps_are_not():
    steps = (step(0, expires_after=1), step(1, 24, min_gap=12 * HOUR))

    messages = planned(campaign(*steps), now=NOON + 2 * HOUR).messages

    assert [(message.status, message.reason) for message in messages] == [
        (Status.EXPIRED, SkipReason.BACKFILL), (Status.PLANNED, None),
    ]  # fmt: skip
    assert planned(campaign(*steps), now=NOON + HOUR).messages[0].status is Status.PLANNED


def test_each_step_answers_for_its_own_address():
    messages = planned(
        campaign(step(0), step(1, 1, channel=Channel.SMS)), customer=Customer("ann", "nonsense", country="FI")
    ).messages

    assert [message.reason for message in messages] == [SkipReason.BAD_ADDRESS, SkipReason.NO_ADDRESS]
    assert {message.status for message in messages} == {Status.SKIPPED}


def test_a_customer_whom_the_table_does_not_know_has_an_answer_for_every_step():
    entry = planned(campaign(step(0), step(1, 24)), customer=None)

    assert [message.reason for message in entry.messages] == [SkipReason.UNKNOWN_CUSTOMER] * 2
    assert entry.arm == "treated"


def test_hours_that_leave_no_moment_are_a_reason_of_their_own():
    messages = planned(campaign(window=SendWindow(time(22), time(23)))).messages

    assert (messages[0].status, messages[0].reason) == (Status.SKIPPED, SkipReason.QUIET)


def test_an_order_confirmation_leaves_at_night():
    at = datetime(2026, 3, 2, 23, tzinfo=UTC)

    assert planned(campaign(step(transactional=True)), entered_at=at).messages[0].send_at == at


def test_the_arm_the_variant_and_its_template_come_from_the_customers_id():
    what = campaign(
        step(templates={"playful": "cart/playful"}), holdout=Fraction(1, 2), variants={"playful": Fraction(1)}
    )
    expected = assign("shop|cart", "ann", Fraction(1, 2), {"playful": Fraction(1)})

    entry = planned(what)

    assert (entry.arm, entry.variant) == (expected.arm, "playful")
    assert entry.messages[0].template == "cart/playful"


def test_the_cooldown_counts_from_the_entry_never_from_the_clock():
    late = planned(now=NOON + 5 * HOUR)

    assert late.cooldown_until == NOON + timedelta(days=7)
    assert late == planned()


def test_shards_are_stable_and_in_range():
    assert planned(campaign(shards=64)).messages[0].shard == 51
    assert planned(campaign(shards=1)).messages[0].shard == 0


@given(
    hours=st.integers(0, 24 * 400),
    country=st.sampled_from(["US", "FR", "AU", "CL", "EG", None]),
    region=st.sampled_from([None, "FL", "NSW"]),
    gap=st.integers(0, 30),
)
def test_whatever_the_place_and_the_hour_nothing_is_planned_early_or_in_the_night(hours, country, region, gap):
    steps = (step(0, 0), step(1, 5, min_gap=gap * HOUR), step(2, 30, channel=Channel.SMS, min_gap=gap * HOUR))
    what = campaign(*steps, window=SendWindow(time(9), time(20)))
    customer = Customer("ann", "ann@example.com", "+358401234567", country=country, region=region)
    entered = datetime(2026, 1, 1, tzinfo=UTC) + hours * HOUR

    entry = planned(what, customer, entered)

    before = None
    for one, told, calendar in zip(steps, entry.messages, calendars_of(customer, what), strict=True):
        assert told.status is Status.PLANNED
        assert told.send_at >= entered + one.after
        assert before is None or told.send_at >= before + one.min_gap
        assert calendar.covers(told.send_at)
        assert told.expires_at == told.send_at + one.expires_after
        before = told.send_at
