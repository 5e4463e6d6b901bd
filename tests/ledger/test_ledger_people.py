"""A later word wins, whatever order the words arrive in; a brake holds until released."""

from __future__ import annotations

from itertools import permutations

import pytest
from ledger_builders import DAY, MINUTE, NOON

from tidings.ledger import brakes, people
from tidings.model.people import Channel, Consent


def _stop(conn, at, channel="sms", reason="stop"):
    people.suppress(conn, ["a:x"], channel=channel, reason=reason, at=at, source="test")


def _start(conn, at):
    people.lift(conn, ["a:x"], channel="sms", at=at)


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        ([(_stop, NOON), (_start, NOON + DAY)], False),
        ([(_stop, NOON), (_start, NOON + DAY), (_stop, NOON + 2 * DAY)], True),
        ([(_stop, NOON), (_start, NOON)], True),
        ([(_start, NOON)], False),
    ],
    ids=["stop, start", "stop, start, stop", "at the same moment", "start alone"],
)
def test_the_later_of_stop_and_start_holds_in_any_order_of_arrival(ledger, words, holds):
    for n, order in enumerate(permutations(words)):
        with ledger.writing() as conn:
            for say, at in order:
                say(conn, at)
            assert people.suppressed(conn, ["a:x"]) == ({"a:x": {"sms"}} if holds else {}), order
            conn.exec_driver_sql("DELETE FROM suppressions")
        assert n < 6


def test_start_lifts_a_stop_but_not_a_bounce(ledger):
    with ledger.writing() as conn:
        _stop(conn, NOON)
        _stop(conn, NOON, reason="hard_bounce")
        _start(conn, NOON + DAY)
        assert people.suppressed(conn, ["a:x"]) == {"a:x": {"sms"}}


def test_a_suppression_of_every_channel_names_them(ledger):
    with ledger.writing() as conn:
        _stop(conn, NOON, channel=None, reason="complaint")
        assert people.suppressed(conn, ["a:x", "a:y"]) == {"a:x": {"email", "sms"}}
        assert people.suppressed(conn, []) == {}


def test_consents_come_back_oldest_first(ledger):
    yes = Consent("ann", Channel.SMS, "marketing", True, NOON)
    no = Consent("ann", Channel.SMS, "marketing", False, NOON + MINUTE)
    with ledger.writing() as conn:
        people.add_consent(conn, no, source="stop")
        people.add_consent(conn, yes, source="page")
        assert people.consents_of(conn, ["ann", "bob"]) == [yes, no]


def test_a_brake_keeps_its_first_reason_until_released(ledger):
    with ledger.writing() as conn:
        brakes.pull(conn, "provider:twilio", reason="refused", at=NOON, by="dispatch")
        brakes.pull(conn, "provider:twilio", reason="again", at=NOON + DAY, by="dispatch")
        assert brakes.pulled(conn) == {"provider:twilio": brakes.Brake("refused", NOON, "dispatch")}
        assert brakes.release(conn, "provider:twilio")
        assert not brakes.release(conn, "provider:twilio")
        assert brakes.pulled(conn) == {}
