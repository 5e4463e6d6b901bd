"""What is claimed is ours alone, and only for as long as the lease says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from ledger_builders import DAY, MINUTE, NOON, entry_row, message_row
from sqlalchemy import select, update

from tidings.ledger import dispatching
from tidings.ledger.dispatching import Outcome, Previous, Reaped
from tidings.ledger.schema import contact_slots, messages
from tidings.ledger.transitions import BORN, TRANSITIONS
from tidings.model.message import Status


def _one(record, mid="m", **given):
    message = {name: given.pop(name) for name in list(given) if name in ("send_at", "channel", "shard", "address_hash")}
    customer = given.pop("customer", "ann")
    message.setdefault("address_hash", f"h-{customer}")
    row = entry_row(given.pop("key", mid), customer=customer, messages=(message_row(id=mid, **message),), **given)
    record(row, campaign=f"campaign of {mid}")
    return row


def _overdue(ledger, by=timedelta(0)):
    """Let every lease have run out, on the database's clock."""
    with ledger.writing() as conn:
        long_ago = NOON - 400 * DAY - by
        conn.execute(update(messages).where(messages.c.lease_until.is_not(None)).values(lease_until=long_ago))


def test_only_what_is_due_is_claimed_oldest_first(record, claim):
    _one(record, "later", customer="bob", send_at=NOON)
    _one(record, "first", send_at=NOON - MINUTE)
    _one(record, "not yet", customer="cid", send_at=NOON + timedelta(microseconds=1))

    assert [due.id for due in claim().due] == ["first", "later"]
    assert claim().due == ()


def test_a_claim_brings_every_due_message_of_its_customers(record, claim):
    _one(record, "one", send_at=NOON - 3 * MINUTE)
    _one(record, "two", customer="bob", send_at=NOON - 2 * MINUTE)
    _one(record, "three", send_at=NOON - MINUTE)

    assert [due.id for due in claim(limit=1).due] == ["one", "three"]
    assert [due.id for due in claim(limit=1).due] == ["two"]


def test_a_claimed_step_tells_how_the_one_before_it_ended(record, claim, begin, ledger):
    steps = (
        message_row(id="s0", step="a", step_no=0),
        message_row(id="s1", step="b", step_no=1, send_at=NOON + DAY),
    )
    record(entry_row("k", messages=steps))
    held = claim()
    assert held.due[0].previous is None
    begin(held)
    with ledger.writing() as conn:
        dispatching.record_outcomes(conn, [Outcome("s0", held.token, "sent", provider_id="x")], NOON + MINUTE)

    assert claim(now=NOON + DAY).due[0].previous == Previous(Status.SENT, NOON, None)


def test_the_gate_sees_due_work_and_leases_that_ran_out(ledger, record, claim):
    def anything() -> bool:
        with ledger.reading() as conn:
            return dispatching.anything_due(conn, "live", NOON)

    assert not anything()
    _one(record, "m", send_at=NOON + MINUTE)
    assert not anything()
    _one(record, "n", customer="bob")
    assert anything()
    claim()
    assert not anything()
    _overdue(ledger)
    assert anything()


def test_a_shard_is_leased_to_one_lane_until_released_or_overdue(ledger, record):
    _one(record, "m", shard=3)
    _one(record, "n", customer="bob", shard=5)

    def lease(owner, skip=(), length=MINUTE):
        with ledger.writing() as conn:
            return dispatching.lease_shard(conn, space="live", owner=owner, now=NOON, lease=length, skip=skip)

    assert lease("a") == 3
    assert lease("b", skip={5}) is None
    assert lease("b", length=-MINUTE) == 5
    assert lease("c") == 5
    with ledger.writing() as conn:
        dispatching.release_shard(conn, space="live", shard=3, owner="b")
    assert lease("d") is None
    with ledger.writing() as conn:
        dispatching.release_shard(conn, space="live", shard=3, owner="a")
    assert lease("d") == 3


def test_let_go_gives_back_what_is_held_untouched(ledger, record, claim):
    _one(record, "m")
    held = claim()
    with ledger.writing() as conn:
        assert dispatching.let_go(conn, "another token", ["m"]) == 0
        assert dispatching.let_go(conn, held.token) == 1

    assert [(due.id, due.attempt, due.deferrals) for due in claim().due] == [("m", 0, 0)]


def test_a_deferral_waits_and_is_counted(ledger, record, claim):
    _one(record, "m")
    held = claim()
    with ledger.writing() as conn:
        assert dispatching.defer(conn, held.token, [("m", NOON + MINUTE, "quiet")]) == 1
        assert dispatching.defer(conn, held.token, [("m", NOON + DAY, "quiet")]) == 0

    assert claim().due == ()
    (due,) = claim(now=NOON + MINUTE).due
    assert (due.send_at, due.first_send_at, due.deferrals) == (NOON + MINUTE, NOON, 1)


def test_an_entry_of_which_nothing_was_exposed_gives_its_cooldown_back(ledger, record, claim):
    steps = (message_row(id="s0", step="a"), message_row(id="s1", step="b", step_no=1))
    record(entry_row("k", messages=steps))
    held = claim()

    def end(mid):
        with ledger.writing() as conn:
            dispatching.end(conn, held.token, [(mid, Status.SKIPPED, "no_consent", None)], NOON)

    end("s0")
    assert record(entry_row("too soon")).skipped == {"cooldown": 1}
    end("s1")
    assert record(entry_row("again")).planned == 1


@pytest.mark.parametrize("held_out", [False, True], ids=["sent", "held out"])
def test_an_entry_that_was_exposed_keeps_its_cooldown(ledger, record, claim, begin, held_out):
    steps = (message_row(id="s0", step="a"), message_row(id="s1", step="b", step_no=1))
    record(entry_row("k", messages=steps, arm="held_out" if held_out else "treated"))
    held = claim()
    from ledger_builders import intent

    begin(held, intents=[intent(held.due[0])])
    with ledger.writing() as conn:
        dispatching.end(conn, held.token, [("s1", Status.CANCELLED, "purchased", None)], NOON)

    assert record(entry_row("too soon")).skipped == {"cooldown": 1}


def test_ending_is_for_the_holder_of_the_token_and_for_real_ends(ledger, record, claim, statuses):
    _one(record, "m")
    held = claim()
    with ledger.writing() as conn:
        assert dispatching.end(conn, "another", [("m", Status.SKIPPED, "capped", None)], NOON) == 0
    with pytest.raises(ValueError, match="ends as"), ledger.writing() as conn:
        dispatching.end(conn, held.token, [("m", Status.SENT, None, None)], NOON)

    assert statuses() == {"m": ("claimed", None)}


def test_the_reaper_returns_what_was_claimed_and_doubts_what_was_sending(ledger, record, claim, begin, statuses):
    _one(record, "m")
    _one(record, "n", customer="bob")
    held = claim()
    from ledger_builders import intent

    begin(held, intents=[intent(due) for due in held.due if due.id == "m"])
    with ledger.writing() as conn:
        assert dispatching.reap(conn, margin=MINUTE) == Reaped(0, 0)
    _overdue(ledger)

    with ledger.writing() as conn:
        assert dispatching.reap(conn, margin=1000 * DAY) == Reaped(1, 0)
        assert dispatching.reap(conn, margin=MINUTE) == Reaped(0, 1)
        assert dispatching.reap(conn, margin=MINUTE) == Reaped(0, 0)

    assert statuses() == {"m": ("unknown", "lease_lost"), "n": ("planned", None)}
    assert [due.id for due in claim().due] == ["n"]


def test_an_unknown_message_is_presumed_lost_and_keeps_its_slots(ledger, record, claim, begin, statuses):
    _one(record, "m")
    held = claim()
    begin(held)
    with ledger.writing() as conn:
        dispatching.record_outcomes(conn, [Outcome("m", held.token, "unknown")], NOON)
        assert dispatching.presume_lost(conn, before=NOON, now=NOON + DAY) == 0
        assert dispatching.presume_lost(conn, before=NOON + MINUTE, now=NOON + DAY) == 1
        assert len(conn.execute(select(contact_slots)).all()) == 2

    assert statuses()["m"][0] == "presumed_lost"


def test_an_opt_out_cancels_what_is_pending_and_not_what_has_left(ledger, record, claim, begin, statuses):
    for mid, customer, channel in [("sent", "ann", "email"), ("held", "bob", "email"), ("sms", "bob", "sms")]:
        _one(record, mid, customer=customer, channel=channel)
    _one(record, "other", customer="cid")
    held = claim()
    begin(held, intents=[i for i in _intents(held) if i.id == "sent"])
    with ledger.writing() as conn:
        assert (
            dispatching.cancel_for(conn, customers=["ann", "bob"], channel="email", reason="suppressed", now=NOON) == 1
        )
        assert dispatching.cancel_for(conn, address_hashes=["h-cid"], reason="suppressed", now=NOON) == 1
        assert dispatching.cancel_for(conn, reason="suppressed", now=NOON) == 0

    assert {mid: status for mid, (status, _) in statuses().items()} == {
        "sent": "sending", "held": "cancelled", "sms": "claimed", "other": "cancelled",
    }  # fmt: skip
    assert begin(held, intents=[i for i in _intents(held) if i.id == "held"]).lost == {"held"}


def _intents(held):
    from ledger_builders import intent

    return [intent(due) for due in held.due]


def test_what_comes_up_shortly_is_told_for_arbitration(ledger, record):
    _one(record, "soon", send_at=NOON + MINUTE)
    _one(record, "due", send_at=NOON)
    _one(record, "far", send_at=NOON + DAY)
    with ledger.reading() as conn:
        found = dispatching.upcoming(conn, space="live", customers=["ann"], now=NOON, until=NOON + 10 * MINUTE)

    assert [(one.id, one.customer_id, one.priority) for one in found] == [("soon", "ann", 30)]


def test_no_transition_leads_from_in_flight_back_to_planned_but_a_certain_refusal():
    back = {one.name for one in TRANSITIONS if one.after is Status.PLANNED and one.before is not Status.CLAIMED}
    assert back == {"record retry", "offer_again"}
    assert all(one.at_least_once for one in TRANSITIONS if one.name == "offer_again")
    assert {one.before for one in TRANSITIONS if one.after is Status.SENDING} == {Status.CLAIMED}
    assert not any(one.before in BORN - {Status.PLANNED} for one in TRANSITIONS)
