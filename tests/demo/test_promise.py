"""The promise that nobody who opted out is written to again: it holds when it holds, and is seen to break."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from tidings.definitions import Project, load
from tidings.demo.folder import Ports, lay_out
from tidings.demo.promise import promise
from tidings.ledger.people import add_consent, lift, suppress
from tidings.ledger.schema import entries, messages
from tidings.ledger.store import Ledger, migrate
from tidings.model.people import Channel, Consent

CHECKOUT = Path(__file__).parents[2]
THEN = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("demo") / "project"
    lay_out(CHECKOUT, folder, Ports())
    return load(folder)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    migrate(url)
    opened = Ledger.open(url)
    with opened.writing() as conn:
        conn.execute(insert(entries).values(**_ENTRY))
        conn.execute(insert(messages).values(**_MESSAGE))
    yield opened
    opened.close()


_ENTRY = {
    "id": "e1", "space": "live", "campaign": "cart_abandonment", "entry_key": "k1", "customer_id": "C1",
    "anchor_at": THEN, "entered_at": THEN, "planned_at": THEN, "arm": "treated", "run_id": "r1",
}  # fmt: skip
_MESSAGE = {
    "id": "m1", "entry_id": "e1", "space": "live", "campaign": "cart_abandonment", "step": "reminder",
    "step_no": 0, "channel": "email", "customer_id": "C1", "address_hash": "h1", "shard": 0, "priority": 1,
    "held_out": False, "status": "sent", "send_at": THEN, "first_send_at": THEN, "expires_at": THEN + HOUR,
}  # fmt: skip


def broken(ledger: Ledger, project: Project, at: datetime) -> tuple[str, ...]:
    with ledger.reading() as conn:
        return promise(conn, project, [("m1", at), ("unknown to us", at)]).broken


@pytest.mark.parametrize(("subject", "channel"), [("p:C1", "email"), ("a:h1", "email"), ("a:h1", None)])
def test_what_was_accepted_after_an_opt_out_breaks_the_promise(ledger, project, subject, channel):
    with ledger.writing() as conn:
        suppress(conn, [subject], channel=channel, reason="unsubscribed", at=THEN, source="one_click")

    assert broken(ledger, project, THEN - HOUR) == ()
    assert broken(ledger, project, THEN + HOUR) == ("m1",)
    with ledger.reading() as conn:
        assert promise(conn, project, []).opted_out == 1


def test_an_opt_out_of_the_other_channel_or_by_another_person_breaks_nothing(ledger, project):
    with ledger.writing() as conn:
        suppress(conn, ["p:C1", "a:h1"], channel="sms", reason="stop", at=THEN, source="twilio")
        suppress(conn, ["p:C2"], channel="email", reason="unsubscribed", at=THEN, source="one_click")

    assert broken(ledger, project, THEN + HOUR) == ()


def test_who_came_back_may_be_written_to(ledger, project):
    with ledger.writing() as conn:
        suppress(conn, ["p:C1"], channel="email", reason="unsubscribed", at=THEN, source="one_click")
        lift(conn, ["p:C1"], channel="email", at=THEN + HOUR)

    assert broken(ledger, project, THEN + HOUR / 2) == ("m1",)
    assert broken(ledger, project, THEN + 2 * HOUR) == ()
    with ledger.reading() as conn:
        assert promise(conn, project, []).opted_out == 0


def test_a_no_to_every_purpose_of_a_step_is_an_opt_out(ledger, project):
    campaign = project.campaign("cart_abandonment")
    purposes = campaign.steps[0].purposes
    with ledger.writing() as conn:
        for purpose in purposes:
            said = Consent("C1", Channel.EMAIL, purpose, False, THEN)
            add_consent(conn, said, source="preferences")

    assert purposes
    assert broken(ledger, project, THEN - HOUR) == ()
    assert broken(ledger, project, THEN + HOUR) == ("m1",)


def test_a_bounced_address_counts_but_nobody_opted_out(ledger, project):
    with ledger.writing() as conn:
        suppress(conn, ["a:h1"], channel="email", reason="hard_bounce", at=THEN, source="sendgrid")

    assert broken(ledger, project, THEN + HOUR) == ("m1",)
    with ledger.reading() as conn:
        assert promise(conn, project, []).opted_out == 0
