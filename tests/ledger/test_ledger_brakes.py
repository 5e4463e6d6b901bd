"""A brake's event stands or falls with it and is told once; rates count a message once; a day's allowance is exact."""

from __future__ import annotations

import threading
import time
from datetime import date, timedelta

from ledger_builders import DAY, NOON
from sqlalchemy import insert

from tidings.ledger import allowances, brakes, rates, schema
from tidings.ledger.brakes import Probe
from tidings.ledger.rates import GivenRate, Tally
from tidings.ledger.store import Ledger

HOUR = timedelta(hours=1)


def sent(ledger: Ledger, *ids: str, at=NOON, mailbox: str | None = "yahoo") -> None:
    entry = {
        "space": "live", "campaign": "cart", "anchor_at": at, "entered_at": at, "planned_at": at, "arm": "treated",
        "run_id": "r", "customer_id": "ann",
    }  # fmt: skip
    message = {
        "space": "live", "campaign": "cart", "step": "s", "step_no": 0, "channel": "email", "customer_id": "ann",
        "shard": 0, "priority": 50, "held_out": False, "status": "sent", "send_at": at, "first_send_at": at,
        "expires_at": at + DAY, "sending_at": at, "mailbox": mailbox,
    }  # fmt: skip
    with ledger.writing() as conn:
        conn.execute(insert(schema.entries), [{**entry, "id": f"e{one}", "entry_key": one} for one in ids])
        conn.execute(insert(schema.messages), [{**message, "id": one, "entry_id": f"e{one}"} for one in ids])


def did(ledger: Ledger, kind: str, *ids: str, at=NOON + HOUR, tag: str = "") -> None:
    rows = [
        {"id": f"{kind}{one}{tag}", "message_id": one, "kind": kind, "at": at, "received_at": at, "machine": False}
        for one in ids
    ]
    with ledger.writing() as conn:
        conn.execute(insert(schema.engagements), rows)


def test_an_event_is_told_once_and_a_warning_noted_once_a_day(ledger):
    with ledger.writing() as conn:
        assert brakes.pull(conn, "all", reason="r", at=NOON, by="ann", remedy="do this")
        assert not brakes.pull(conn, "all", reason="again", at=NOON, by="bo")
        warned = [
            brakes.warn(conn, "mailbox:gmail", reason="r", remedy="x", at=NOON + hours * HOUR, by="rates")
            for hours in (0, 1, 30)
        ]
        ids = [one.id for one in brakes.events(conn, untold=True)]
        first, second = brakes.told(conn, ids, NOON), brakes.told(conn, ids, NOON)

    assert warned == [True, False, True]
    assert (first, second) == (set(ids), set())
    with ledger.reading() as conn:
        assert brakes.remedies(conn) == {"all": "do this"}
        assert brakes.events(conn, untold=True) == []


def test_one_of_two_takes_the_turn_to_probe(ledger):
    before, after = Probe(NOON, "k"), Probe(NOON + HOUR, "k")
    with ledger.writing() as conn:
        assert brakes.note_probe(conn, "provider:sendgrid", before, before=None)
        assert not brakes.note_probe(conn, "provider:sendgrid", after, before=None)
        assert brakes.probe(conn, "provider:sendgrid") == before
        assert brakes.note_probe(conn, "provider:sendgrid", after, before=before)
        assert not brakes.note_probe(conn, "provider:sendgrid", after, before=before)
        brakes.pull(conn, "provider:sendgrid", reason="r", at=NOON, by="dispatch")
        brakes.release(conn, "provider:sendgrid")
        assert brakes.probe(conn, "provider:sendgrid") is None


def test_a_message_counts_once_however_often_it_is_reported(ledger):
    sent(ledger, "a", "b", "c")
    sent(ledger, "d", mailbox=None)
    sent(ledger, "old", at=NOON - 40 * DAY)
    did(ledger, "delivered", "a", "b", "d", "old")
    did(ledger, "delivered", "a", tag="again")
    did(ledger, "bounced", "b", "c")
    did(ledger, "complained", "a")
    did(ledger, "complained", "a", tag="again")

    with ledger.reading() as conn:
        found = sorted(rates.tallies(conn, since=NOON - DAY), key=lambda one: one.mailbox)

    assert found == [Tally("cart", "email", "", 1, 0, 0), Tally("cart", "email", "yahoo", 2, 2, 1)]


def test_published_rates_are_kept_once_and_replaced_by_better_ones(ledger):
    first, better = (GivenRate("gmail", "shop.example", NOON - DAY, rate) for rate in (0.001, 0.002))
    with ledger.writing() as conn:
        counts = [rates.keep_given(conn, given, now=NOON) for given in ([first], [first], [better, better], [])]
        assert counts == [1, 0, 1, 0]
        assert rates.given_rates(conn, since=NOON - 7 * DAY) == [better]


def test_the_rates_are_counted_by_one_at_a_time(ledger):
    with ledger.writing() as conn:
        turns = [rates.take_turn(conn, now=NOON + m * HOUR, not_since=NOON + (m - 1) * HOUR) for m in (0, 0, 1, 1, -5)]

    assert turns == [True, False, True, False, True]


def test_two_lanes_never_take_more_than_a_day_allows(ledger):
    day, granted = date(2026, 3, 2), []

    def lane() -> None:
        for _ in range(4):
            with ledger.writing() as conn:
                some = min(3, 20 - allowances.taken(conn, "email", day))
                time.sleep(0.02)  # long enough for another lane to count, if it could
                allowances.take(conn, "email", day, some)
            granted.append(some)

    lanes = [threading.Thread(target=lane) for _ in range(4)]
    for one in lanes:
        one.start()
    for one in lanes:
        one.join()

    assert sum(granted) == 20
    with ledger.writing() as conn:
        allowances.take(conn, "email", day, -4)
        assert allowances.taken(conn, "email", day) == 16
        assert allowances.taken(conn, "sms", day) == 0
