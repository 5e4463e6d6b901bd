"""Nothing is sent twice, above a cap, or after its lease; and proof of sending is always believed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from ledger_builders import DAY, MINUTE, NOON, entry_row, intent, message_row
from sqlalchemy import func, select, update

from tidings.ledger import dispatching, people
from tidings.ledger.dispatching import Outcome
from tidings.ledger.engagements import contact_of, links_of
from tidings.ledger.people import suppressed
from tidings.ledger.schema import contact_slots, messages
from tidings.model.people import Channel
from tidings.plan.caps import Cap

WORKERS = Path(__file__).parent / "ledger_workers.py"
HOUR = timedelta(hours=1)


def _due(record, *people, **given):
    """One due message a person, each of a campaign of its own; the message has the person's name."""
    for n, who in enumerate(people):
        one = message_row(
            id=f"{who}{n}", address_hash=given.get("address", f"h-{who}"), channel=given.get("channel", "email")
        )
        arm = "held_out" if given.get("held_out") else "treated"
        record(entry_row(f"{who}{n}", customer=who, arm=arm, messages=(one,)), campaign=f"c{n}")


def _slots(ledger):
    with ledger.reading() as conn:
        return Counter(conn.scalars(select(contact_slots.c.contact)))


def test_a_message_goes_to_sending_once_with_its_links_and_slots(ledger, record, claim, begin, statuses):
    _due(record, "ann")
    held = claim()

    assert begin(held).sending == {"ann0"}
    assert begin(held).lost == {"ann0"}

    assert statuses() == {"ann0": ("sending", None)}
    assert _slots(ledger) == {"p:ann": 1, "a:h-ann": 1}
    with ledger.reading() as conn:
        assert links_of(conn, "ann0").urls == ("https://shop.example/",)


def test_a_message_remembers_the_address_it_left_for(ledger, record, claim, begin):
    _due(record, "ann")
    held = claim()
    begin(held, intents=[intent(held.due[0], address_hash="moved")])

    assert _slots(ledger) == {"p:ann": 1, "a:moved": 1}
    with ledger.reading() as conn:
        assert contact_of(conn, "ann0").address_hash == "moved"


def test_a_token_that_is_not_ours_sends_nothing(record, claim, begin):
    _due(record, "ann")
    assert begin(claim(), token="another").lost == {"ann0"}


@pytest.mark.parametrize(("lease", "goes"), [(10 * MINUTE, True), (20 * timedelta(seconds=1), False)])
def test_a_lease_must_outlast_the_time_out_and_margin(record, claim, begin, lease, goes):
    _due(record, "ann")
    assert bool(begin(claim(lease=lease), ahead=timedelta(seconds=30)).sending) is goes


def test_what_the_reaper_took_back_cannot_be_sent_by_the_one_who_slept(ledger, record, claim, begin):
    _due(record, "ann")
    slept = claim(lease=-MINUTE)
    with ledger.writing() as conn:
        dispatching.reap(conn, margin=MINUTE)
    awake = claim()

    assert begin(slept, ahead=-DAY).lost == {"ann0"}
    assert begin(awake).sending == {"ann0"}


def test_the_held_out_take_their_slot_and_end_as_held_out(ledger, record, claim, begin, statuses):
    _due(record, "ann", held_out=True)

    assert begin(claim()).held_out == {"ann0"}

    assert statuses() == {"ann0": ("held_out", None)}
    assert _slots(ledger) == {"p:ann": 1, "a:h-ann": 1}
    with ledger.reading() as conn:
        assert links_of(conn, "ann0") is None


def test_within_one_batch_the_earlier_intent_takes_the_room(record, claim, begin):
    _due(record, "ann", "ann")
    held = claim()
    begun = begin(held, caps=[Cap(1, DAY)])

    assert begun.sending == {held.due[0].id}
    assert begun.capped == {held.due[1].id: NOON + DAY}


def test_two_customers_with_one_mailbox_share_its_cap(record, claim, begin):
    _due(record, "ann", "bob", address="one mailbox")

    begun = begin(claim(), caps=[Cap(1, DAY)])

    assert (begun.sending, set(begun.capped)) == ({"ann0"}, {"bob1"})


def test_a_lane_waits_for_another_that_is_reserving_the_same_mailbox(ledger, record, claim):
    for shard, who in enumerate(["ann", "bob"]):
        one = message_row(id=who, shard=shard, address_hash="one mailbox")
        record(entry_row(who, customer=who, messages=(one,)))
    ann, bob = claim(shard=0), claim(shard=1)

    def ask(conn, held):
        return dispatching.begin_sending(
            conn,
            space="live",
            token=held.token,
            intents=[intent(held.due[0])],
            caps=[Cap(1, DAY)],
            now=NOON,
            ahead=MINUTE,
        )

    def other():
        with ledger.writing() as conn:
            return ask(conn, bob)

    with ThreadPoolExecutor(1) as pool:
        with ledger.writing() as conn:
            assert ask(conn, ann).sending == {"ann"}
            waiting = pool.submit(other)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
        assert waiting.result(timeout=30).capped == {"bob": NOON + DAY}


def test_an_opt_out_is_committed_before_a_message_begins_or_after_and_never_in_between(ledger, record, claim):
    _due(record, "ann")
    held = claim()

    def opts_out():
        with ledger.writing() as conn:
            people.suppress(conn, ["a:h-ann"], channel="email", reason="unsubscribed", at=NOON, source="one_click")

    with ThreadPoolExecutor(1) as person:
        with ledger.writing() as conn:
            begun = dispatching.begin_sending(
                conn, space="live", token=held.token, intents=[intent(one) for one in held.due], caps=(), now=NOON,
                ahead=MINUTE,
            )  # fmt: skip
            said = person.submit(opts_out)
            with pytest.raises(TimeoutError):
                said.result(timeout=0.5)
        said.result(timeout=10)

    assert begun.sending == {"ann0"}


@pytest.mark.parametrize(("later", "goes"), [(DAY - timedelta(microseconds=1), False), (DAY, True)])
def test_a_cap_has_room_again_exactly_when_its_stretch_is_over(record, claim, begin, later, goes):
    _due(record, "ann")
    begin(claim())
    _due(record, "ann", "ann")

    assert bool(begin(claim(), caps=[Cap(1, DAY)], now=NOON + later).sending) is goes


def test_a_cap_of_one_channel_leaves_the_other_alone(record, claim, begin):
    _due(record, "ann")
    begin(claim())
    _due(record, "x", "ann", channel="sms")

    assert "ann1" in begin(claim(), caps=[Cap(1, DAY, Channel.EMAIL)]).sending


def test_transactional_messages_neither_obey_nor_use_up_a_cap(ledger, record, claim, begin):
    _due(record, "ann", "ann")
    held = claim()
    begun = begin(held, intents=[intent(due, exempt=True) for due in held.due], caps=[Cap(1, DAY)])

    assert len(begun.sending) == 2
    assert _slots(ledger) == {}


def _sending(record, claim, begin, *people):
    _due(record, *people)
    held = claim()
    begin(held)
    return held.token


def _say(ledger, *outcomes, now=NOON + MINUTE):
    with ledger.writing() as conn:
        return dispatching.record_outcomes(conn, outcomes, now)


def test_each_answer_ends_or_returns_its_message(ledger, record, claim, begin, statuses):
    token = _sending(record, claim, begin, "a", "b", "c", "d", "e")

    told = _say(
        ledger,
        Outcome("a0", token, "sent", provider_id="x1"),
        Outcome("b1", token, "retry", reason="busy", retry_at=NOON + HOUR),
        Outcome("c2", token, "failed", reason="rejected", detail="mailbox full", suppress="hard_bounce"),
        Outcome("d3", token, "unknown", detail="no answer in time"),
        Outcome("e4", token, "halt", reason="refused", retry_at=NOON + HOUR),
    )

    assert told == {"sent": 1, "retry": 1, "failed": 1, "unknown": 1, "halt": 1}
    assert statuses() == {
        "a0": ("sent", None), "b1": ("planned", None), "c2": ("failed", "rejected"), "d3": ("unknown", "no_answer"),
        "e4": ("planned", None),
    }  # fmt: skip
    assert set(_slots(ledger)) == {"p:a", "a:h-a", "p:d", "a:h-d"}
    again = claim(now=NOON + HOUR)
    assert {due.id: due.attempt for due in again.due} == {"b1": 1, "e4": 0}
    with ledger.reading() as conn:
        assert suppressed(conn, ["a:h-c", "a:h-a"]) == {"a:h-c": {"email"}}


def test_a_refused_message_gives_its_cooldown_back(ledger, record, claim, begin):
    record(entry_row("k", messages=(message_row(id="m"),)))
    held = claim()
    begin(held)
    _say(ledger, Outcome("m", held.token, "failed", reason="rejected"))

    assert record(entry_row("again")).planned == 1


@pytest.mark.parametrize("kind", ["retry", "failed", "unknown", "halt"])
def test_another_token_can_prove_sending_and_nothing_else(ledger, record, claim, begin, statuses, kind):
    _sending(record, claim, begin, "ann")

    assert _say(ledger, Outcome("ann0", "another", kind)) == {kind: 0}
    assert statuses() == {"ann0": ("sending", None)}
    assert _say(ledger, Outcome("ann0", "another", "sent", provider_id="x")) == {"sent": 1}
    assert statuses() == {"ann0": ("sent", None)}


def test_a_late_answer_still_proves_what_the_reaper_doubted(ledger, record, claim, begin, statuses):
    token = _sending(record, claim, begin, "ann")
    with ledger.writing() as conn:
        conn.execute(update(messages).values(lease_until=NOON - 400 * DAY))
        dispatching.reap(conn, margin=MINUTE)
    assert statuses()["ann0"][0] == "unknown"

    _say(ledger, Outcome("ann0", token, "retry", retry_at=NOON))
    assert statuses()["ann0"][0] == "unknown"
    _say(ledger, Outcome("ann0", token, "sent", provider_id="x"))
    assert statuses()["ann0"][0] == "sent"
    _say(ledger, Outcome("ann0", token, "failed"), Outcome("ann0", token, "unknown"))
    assert statuses()["ann0"][0] == "sent"


def test_a_message_never_claimed_cannot_become_sent(ledger, record, statuses):
    _due(record, "ann")
    assert _say(ledger, Outcome("ann0", "t", "sent", provider_id="x")) == {"sent": 0}
    assert statuses() == {"ann0": ("planned", None)}


def test_a_repeated_offer_has_its_new_links(ledger, record, claim, begin):
    token = _sending(record, claim, begin, "ann")
    _say(ledger, Outcome("ann0", token, "retry", retry_at=NOON))
    held = claim()
    begin(held, intents=[intent(due, urls=["https://shop.example/new"]) for due in held.due])

    with ledger.reading() as conn:
        assert links_of(conn, "ann0").urls == ("https://shop.example/new",)


@pytest.mark.parametrize("how", ["threads", "processes"])
def test_four_lanes_share_no_message_and_never_exceed_a_cap(ledger, ledger_url, record, how):
    # Customers of different shards share mailboxes, and each customer is in several campaigns.
    for campaign in range(3):
        rows = [
            entry_row(
                f"k{n}", customer=f"c{n}",
                messages=(message_row(id=f"{campaign}-{n}", shard=(n + campaign) % 4, address_hash=f"h{n % 20}"),),
            )
            for n in range(40)
        ]  # fmt: skip
        record(*rows, campaign=f"c{campaign}")

    def run(worker):
        if how == "threads":
            import ledger_workers

            return ledger_workers.dispatch(ledger, worker, 60)
        command = [sys.executable, str(WORKERS), "dispatch", ledger_url, worker, "60"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(run, "abcd"))

    sent = [mid for one in told for mid in one["sent"]]
    assert len(sent) == len(set(sent)) == 20
    with ledger.reading() as conn:
        count = select(func.count()).select_from(contact_slots).group_by(contact_slots.c.contact)
        assert set(conn.scalars(count)) == {1}
        by_status = select(messages.c.status, func.count()).group_by(messages.c.status)
        assert dict(conn.execute(by_status).all()) == {"sent": 20, "planned": 100}
