"""One marketing message to one person at a time, the most important one, whatever order they are looked at in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tidings.model.message import SkipReason
from tidings.model.people import Channel
from tidings.plan.arbitration import Candidate, Lost, Won, winners

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
WINDOW = timedelta(minutes=10)
DAY = timedelta(days=1)


def message(id="m", person="ann", priority=30, send_at=NOW, expires_at=NOW + DAY, **more):
    return Candidate(
        id, person, more.pop("address_hash", f"of {person}"), Channel.EMAIL, priority, send_at, expires_at, **more
    )


def test_the_lower_number_wins_and_the_other_waits_one_window():
    verdicts = winners([message("browse", priority=40), message("cart", priority=30)], [], NOW, WINDOW)

    assert verdicts == {"cart": Won(), "browse": Lost("cart", NOW + WINDOW)}


def test_a_loser_whose_time_is_over_by_then_is_skipped_as_outranked():
    short = message("browse", priority=40, expires_at=NOW + timedelta(minutes=9))

    lost = winners([short, message("cart")], [], NOW, WINDOW)["browse"]

    assert (lost.until, lost.reason) == (None, SkipReason.OUTRANKED)


def test_between_equals_the_one_due_first_wins_and_then_the_smaller_id():
    early = message("z", send_at=NOW - timedelta(seconds=1))

    assert winners([early, message("a")], [], NOW, WINDOW)["z"] == Won()
    assert winners([message("b"), message("a")], [], NOW, WINDOW)["a"] == Won()


def test_a_message_gives_way_to_a_better_one_that_is_about_to_be_due():
    soon = message("cart", send_at=NOW + timedelta(minutes=5))

    assert winners([message("browse", priority=40)], [soon], NOW, WINDOW) == {
        "browse": Lost("cart", NOW + timedelta(minutes=15))
    }


def test_a_lesser_message_about_to_be_due_is_in_nobodys_way():
    assert winners([message("cart")], [message("browse", priority=40)], NOW, WINDOW) == {"cart": Won()}


def test_two_people_with_one_mailbox_get_one_message():
    verdicts = winners(
        [message("a", "ann", address_hash="home"), message("b", "bob", address_hash="home"), message("c", "cid")],
        [], NOW, WINDOW,
    )  # fmt: skip

    assert [type(verdicts[id]) for id in "abc"] == [Won, Lost, Won]


def test_messages_without_an_address_do_not_share_one():
    both = [message("a", "ann", address_hash=""), message("b", "bob", address_hash="")]

    assert set(winners(both, [], NOW, WINDOW).values()) == {Won()}


def test_a_held_out_message_takes_its_turn_like_a_treated_one():
    treated = winners([message("cart"), message("browse", priority=40)], [], NOW, WINDOW)
    held_out = winners([message("cart", held_out=True), message("browse", priority=40)], [], NOW, WINDOW)

    assert treated == held_out


def test_an_order_confirmation_goes_beside_the_winner():
    verdicts = winners([message("shipped", priority=0, exempt=True), message("cart")], [], NOW, WINDOW)

    assert set(verdicts.values()) == {Won()}


candidates = st.lists(
    st.builds(
        Candidate,
        id=st.uuids().map(str),
        person=st.sampled_from("pqr"),
        address_hash=st.sampled_from(["x", "y", "z", ""]),
        channel=st.sampled_from(list(Channel)),
        priority=st.integers(0, 2),
        send_at=st.integers(-2, 9).map(lambda minutes: NOW + timedelta(minutes=minutes)),
        expires_at=st.integers(0, 30).map(lambda minutes: NOW + timedelta(minutes=minutes)),
        held_out=st.booleans(),
        exempt=st.booleans(),
    ),
    max_size=9,
)


@given(due=candidates, upcoming=candidates, dice=st.randoms())
def test_the_order_of_looking_never_matters(due, upcoming, dice):
    first = winners(due, upcoming, NOW, WINDOW)
    due, upcoming = list(due), list(upcoming)
    dice.shuffle(due)
    dice.shuffle(upcoming)

    assert winners(due, upcoming, NOW, WINDOW) == first


@given(due=candidates)
def test_no_person_and_no_address_gets_two_and_every_loser_lost_to_a_winner(due):
    verdicts = winners(due, [], NOW, WINDOW)
    known = {one.id: one for one in due}
    won = [one for one in due if verdicts[one.id] == Won() and not one.exempt]

    assert set(verdicts) == set(known)
    assert len({one.person for one in won}) == len(won)
    addresses = [one.address_hash for one in won if one.address_hash]
    assert len(set(addresses)) == len(addresses)
    for id, verdict in verdicts.items():
        if isinstance(verdict, Lost):
            winner = known[verdict.to]
            assert winner in won
            assert winner.person == known[id].person or winner.address_hash == known[id].address_hash
            assert verdict.until is None or NOW < verdict.until <= known[id].expires_at
