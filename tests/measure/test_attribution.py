"""One order, at most one credit: the last touch strictly before it, and never more than the order was worth."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.ledger.results import Touch
from tidings.measure.attribution import OrderFacts, TouchWindow, credits, net_amount

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BOTH = {"email": TouchWindow(5 * DAY), "sms": TouchWindow(5 * DAY, 24 * HOUR)}
WINDOWS = {"cart": BOTH, "browse": BOTH}


def order(id="o", people=("ann",), at=NOON, gross=10_000, net=None, currency="EUR"):
    return OrderFacts(id, people, at, currency, gross, gross if net is None else net)


def touch(id="m", clicked=None, delivered=None, campaign="cart", channel="email", person="ann"):
    when = [None if ago is None else NOON - ago for ago in (delivered, clicked)]
    return Touch(id, campaign, person, channel, "", NOON - 9 * DAY, *when, ())


def credited(*touches, of=None):
    found = list(credits([of or order()], touches, WINDOWS))
    return found[0].message_id if found else None


@pytest.mark.parametrize(
    ("one", "counts"),
    [
        (touch(clicked=HOUR), True),
        (touch(clicked=5 * DAY), True),
        (touch(clicked=5 * DAY + timedelta(microseconds=1)), False),
        (touch(clicked=timedelta(0)), False),
        (touch(clicked=-HOUR), False),
        (touch(delivered=HOUR), False),
        (touch(delivered=HOUR, channel="sms"), True),
        (touch(delivered=25 * HOUR, channel="sms"), False),
        (touch(clicked=-HOUR, delivered=HOUR, channel="sms"), True),
        (touch(clicked=HOUR, campaign="gone"), False),
        (touch(clicked=HOUR, person="bob"), False),
        (touch(), False),
    ],
    ids=[
        "a click", "at the window's start", "before the window", "at the order itself", "after the order",
        "a delivered e-mail", "a delivered text", "a text too long ago", "a text clicked only later",
        "a campaign without windows", "somebody else's", "never delivered",
    ],
)  # fmt: skip
def test_a_touch_counts_strictly_before_the_order_and_within_its_window(one, counts):
    assert (credited(one) is not None) is counts


def test_the_last_touch_takes_the_order_whatever_campaign_and_channel():
    older = touch("mail", clicked=3 * HOUR)
    newer = touch("text", delivered=HOUR, channel="sms", campaign="browse")

    (credit,) = credits([order()], [newer, older], WINDOWS)

    assert (credit.message_id, credit.campaign, credit.touch_kind) == ("text", "browse", "delivered")
    assert (credit.touch_at, credit.gross, credit.net, credit.currency) == (NOON - HOUR, 10_000, 10_000, "EUR")


def test_a_message_touches_once_and_by_its_click():
    both = touch("text", clicked=10 * HOUR, delivered=11 * HOUR, channel="sms")

    (credit,) = credits([order()], [both], WINDOWS)

    assert (credit.touch_at, credit.touch_kind) == (NOON - 10 * HOUR, "clicked")


def test_at_the_same_moment_a_click_beats_a_delivery_and_then_the_smaller_id():
    delivered = touch("a", delivered=HOUR, channel="sms")

    assert credited(delivered, touch("z", clicked=HOUR)) == "z"
    assert credited(touch("z", clicked=HOUR), touch("b", clicked=HOUR)) == "b"


def test_an_order_under_another_id_of_the_person_is_theirs():
    assert credited(touch(clicked=HOUR, person="ann-old"), of=order(people=("ann", "ann-old"))) == "m"


@pytest.mark.parametrize(
    ("gross", "refunded", "undone", "net"),
    [(100, 0, False, 100), (100, 30, False, 70), (100, 130, False, 0), (100, 0, True, 0), (100, -5, False, 100),
     (0, 0, False, 0), (-50, 0, False, 0)],
    ids=["kept", "partly refunded", "refunded too much", "cancelled", "a negative refund", "free", "a return"],
)  # fmt: skip
def test_what_is_left_of_an_order_is_between_nothing_and_all_of_it(gross, refunded, undone, net):
    assert net_amount(gross, refunded, undone=undone) == net


def test_an_undone_order_keeps_its_touch_and_earns_nothing():
    (credit,) = credits([order(net=0)], [touch(clicked=HOUR)], WINDOWS)

    assert (credit.gross, credit.net) == (10_000, 0)


ago = st.none() | st.integers(-48, 24 * 8).map(lambda hours: hours * HOUR)
touches_ = st.lists(
    st.builds(
        touch,
        id=st.uuids().map(str),
        clicked=ago,
        delivered=ago,
        campaign=st.sampled_from(["cart", "browse", "gone"]),
        channel=st.sampled_from(["email", "sms"]),
        person=st.sampled_from(["ann", "bob", "cid"]),
    ),
    max_size=12,
    unique_by=lambda one: one.message_id,
)
orders_ = st.lists(
    st.builds(
        lambda id, people, hours, gross, kept: order(
            id, tuple(people), NOON + hours * HOUR, gross, min(gross, kept) if gross > 0 else 0
        ),
        id=st.uuids().map(str),
        people=st.sets(st.sampled_from(["ann", "bob", "cid"]), min_size=1),
        hours=st.integers(-48, 48),
        gross=st.integers(-100, 10**9),
        kept=st.integers(0, 10**9),
    ),
    max_size=8,
    unique_by=lambda one: one.order_id,
)


@given(orders=orders_, touches=touches_)
def test_money_adds_up_and_every_credit_has_a_touch_before_its_order(orders, touches):
    found = list(credits(orders, touches, WINDOWS))

    known = {one.order_id: one for one in orders}
    messages = {one.message_id: one for one in touches}
    assert len({credit.order_id for credit in found}) == len(found)
    for credit in found:
        of, by = known[credit.order_id], messages[credit.message_id]
        assert (credit.gross, credit.net, credit.currency) == (of.gross, of.net, of.currency)
        assert 0 <= credit.net <= credit.gross
        assert credit.touch_at < of.ordered_at
        assert credit.touch_at in (by.clicked_at, by.delivered_at)
        assert by.customer_id in of.people
        assert credit.campaign == by.campaign != "gone"
    assert sum(credit.net for credit in found) <= sum(one.net for one in orders)


@given(orders=orders_, touches=touches_, dice=st.randoms())
def test_recomputing_in_any_order_changes_nothing(orders, touches, dice):
    first = {credit.order_id: credit for credit in credits(orders, touches, WINDOWS)}
    dice.shuffle(orders)
    dice.shuffle(touches)

    assert {credit.order_id: credit for credit in credits(orders, touches, WINDOWS)} == first


@given(orders=orders_, touches=touches_, other=st.sampled_from(["gone", "future", "nobody"]))
def test_a_touch_that_does_not_count_changes_nothing(orders, touches, other):
    odd = {
        "gone": touch("odd", clicked=HOUR, campaign="gone"),
        "future": touch("odd", clicked=-30 * DAY, delivered=-30 * DAY),
        "nobody": touch("odd", clicked=HOUR, person="nobody"),
    }[other]

    assert list(credits(orders, [*touches, odd], WINDOWS)) == list(credits(orders, touches, WINDOWS))


@given(orders=orders_, touches=touches_)
def test_a_refund_changes_what_is_left_and_never_who_earned_it(orders, touches):
    refunded = [replace(one, net=0) for one in orders]

    before, after = list(credits(orders, touches, WINDOWS)), list(credits(refunded, touches, WINDOWS))

    assert [(one.order_id, one.message_id, one.gross) for one in before] == [
        (one.order_id, one.message_id, one.gross) for one in after
    ]
    assert all(one.net == 0 for one in after)
