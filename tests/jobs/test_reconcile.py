"""A ledger restored from a backup sends nothing until the providers were asked, and then nothing twice."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from small_shop import CART, NOON, Day, SmallShop
from sqlalchemy import select

from tidings.errors import DefinitionError, LedgerError
from tidings.jobs import reconcile
from tidings.jobs.witness import FileWitness, Seen
from tidings.ledger import people, schema
from tidings.model.people import Channel
from tidings.plan.eligibility import address_hash
from tidings.sandbox.acts import Act
from tidings.sandbox.faults import Fault
from tidings.sandbox.server import Sandbox

HOUR = timedelta(hours=1)
LATER = NOON + 3 * HOUR
NewShop, OpenDay = Callable[..., SmallShop], Callable[[SmallShop], Day]
TWO_STEPS = CART.format(id="cart")


@pytest.fixture
def shop(new_shop: NewShop) -> SmallShop:
    return laid(new_shop())


def laid(shop: SmallShop) -> SmallShop:
    """Ann and Bo left a cart two hours before noon."""
    shop.product()
    for who in ("ann", "bo"):
        shop.customer(who)
        shop.cart(who)
    shop.load()
    return shop


class Backup:
    """The SQLite ledger as it was, put back over what it has become."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self.copy = folder / "ledger.db", folder / "backup.db"

    def take(self) -> None:
        with sqlite3.connect(self.ledger) as now, sqlite3.connect(self.copy) as copy:
            now.backup(copy)

    def restore(self) -> None:
        for part in ("", "-wal", "-shm"):
            Path(f"{self.ledger}{part}").unlink(missing_ok=True)
        shutil.copy(self.copy, self.ledger)


@pytest.fixture
def backup(tmp_path: Path) -> Backup:
    return Backup(tmp_path)


def sent(sandbox: Sandbox) -> int:
    return len(sandbox.store.messages)


def lose_a_day(shop: SmallShop, open_day: OpenDay, backup: Backup, *, planned_before: bool) -> Day:
    """Send to both, and restore what was before: with or without their entries."""
    with shop.opened() as opened:
        day = Day(shop, opened)
        if planned_before:
            day.plan(NOON)
        backup.take()
        if not planned_before:
            day.plan(NOON)
        assert day.dispatch(NOON).sent == 2
    backup.restore()
    return open_day(shop)


@pytest.mark.parametrize("planned_before", [True, False], ids=["planned before", "planned since"])
def test_a_restored_ledger_sends_nothing_and_after_reconciling_nothing_twice(
    shop: SmallShop, open_day: OpenDay, backup: Backup, sandbox: Sandbox, planned_before: bool
) -> None:
    day = lose_a_day(shop, open_day, backup, planned_before=planned_before)
    day.plan(LATER)

    with pytest.raises(LedgerError, match="tidings reconcile"):
        day.dispatch(LATER)
    told = reconcile.run(day.opened, now=LATER)
    counts = day.dispatch(LATER)

    assert (told.restored, told.doubtful, told.opened) == (True, 2, True)
    assert (counts.sent, sent(sandbox)) == (0, 2)
    assert day.statuses() == {"ann": ("presumed_lost", "restored"), "bo": ("presumed_lost", "restored")}


def test_what_is_found_again_only_after_reconciling_is_not_sent_again_either(
    shop: SmallShop, open_day: OpenDay, backup: Backup, sandbox: Sandbox
) -> None:
    day = lose_a_day(shop, open_day, backup, planned_before=False)
    reconcile.run(day.opened, now=LATER)

    day.plan(LATER)
    day.dispatch(LATER)

    assert sent(sandbox) == 2
    assert {status for status, _ in day.statuses().values()} == {"presumed_lost"}


def test_what_comes_after_the_restore_is_sent_as_ever(
    shop: SmallShop, open_day: OpenDay, backup: Backup, sandbox: Sandbox
) -> None:
    day = lose_a_day(shop, open_day, backup, planned_before=True)
    reconcile.run(day.opened, now=LATER)
    shop.customer("cy")
    shop.cart("cy", at=LATER)
    shop.load()

    day.plan(LATER + 2 * HOUR)
    counts = day.dispatch(LATER + 2 * HOUR)

    assert counts.sent == 1
    assert sent(sandbox) == 3


def test_it_counts_as_a_contact_of_person_and_address(
    shop: SmallShop, open_day: OpenDay, backup: Backup, sandbox: Sandbox
) -> None:
    day = lose_a_day(shop, open_day, backup, planned_before=True)

    reconcile.run(day.opened, now=LATER)

    with day.opened.ledger.reading() as conn:
        contacts = conn.scalars(select(schema.contact_slots.c.contact)).all()
    assert sorted(one[:2] for one in contacts) == ["a:", "a:", "p:", "p:"]


def test_reconciling_twice_changes_nothing(
    shop: SmallShop, open_day: OpenDay, backup: Backup, sandbox: Sandbox
) -> None:
    day = lose_a_day(shop, open_day, backup, planned_before=True)
    reconcile.run(day.opened, now=LATER)
    before = day.messages()

    told = reconcile.run(day.opened, now=LATER)

    assert (told.restored, told.doubtful, told.suppressed, told.opened) == (False, 0, 0, False)
    assert day.messages() == before


def test_a_dry_run_writes_nothing_and_opens_nothing(
    shop: SmallShop, open_day: OpenDay, backup: Backup, sandbox: Sandbox
) -> None:
    day = lose_a_day(shop, open_day, backup, planned_before=True)
    before = day.messages()

    told = reconcile.run(day.opened, now=LATER, dry_run=True)

    assert (told.restored, told.doubtful, told.opened, told.dry_run) == (True, 2, False, True)
    assert day.messages() == before
    with pytest.raises(LedgerError, match="restored"):
        day.dispatch(LATER)


def test_dispatch_stays_closed_while_a_provider_does_not_answer(
    shop: SmallShop, open_day: OpenDay, backup: Backup, sandbox: Sandbox
) -> None:
    day = lose_a_day(shop, open_day, backup, planned_before=True)
    sandbox.accounts.api_key = "SG.another"

    with pytest.raises(DefinitionError, match="every provider must answer"):
        reconcile.run(day.opened, now=LATER)
    with pytest.raises(LedgerError, match="restored"):
        day.dispatch(LATER)

    assert reconcile.run(day.opened, now=LATER, anyway=True).opened
    day.dispatch(LATER)


def test_email_activity_proves_what_was_sent_where_the_account_has_it(
    shop: SmallShop, open_day: OpenDay, backup: Backup, sandbox: Sandbox
) -> None:
    day = lose_a_day(shop, open_day, backup, planned_before=True)
    sandbox.accounts.email_activity = True

    told = reconcile.run(day.opened, now=LATER)

    assert (told.proven, told.unsettled) == (2, 0)
    assert day.counted() == {"sent": 2}


TEXTS = TWO_STEPS.replace("channel: email", "channel: sms").replace("cart/reminder", "cart/text")


@pytest.fixture
def texts(new_shop: NewShop) -> SmallShop:
    return laid(new_shop(campaigns={"cart": TEXTS}))


def test_twilios_list_proves_what_was_sent(
    texts: SmallShop, open_day: OpenDay, backup: Backup, sandbox: Sandbox
) -> None:
    sandbox.set_clock(NOON)
    day = lose_a_day(texts, open_day, backup, planned_before=True)

    told = reconcile.run(day.opened, now=LATER)

    assert (told.texts, told.doubtful, told.proven, told.unsettled) == (2, 2, 2, 0)
    assert day.counted() == {"sent": 2}
    assert all(row.provider_id.startswith("SM") for row in day.messages())


def test_what_a_webhook_lost_is_fetched_without_any_restore(
    texts: SmallShop, open_day: OpenDay, sandbox: Sandbox
) -> None:
    sandbox.set_clock(NOON)
    day = open_day(texts)
    day.plan(NOON)
    sandbox.faults.add(Fault("drop_after_accept", "twilio", count=1))
    day.dispatch(NOON)
    assert day.counted() == {"unknown": 1, "sent": 1}
    first, second = sandbox.store.messages
    sandbox.act([Act(first.id, "bounce", NOON + HOUR), Act(second.id, "stop", NOON + HOUR)])

    told = reconcile.run(day.opened, now=LATER)

    assert (told.restored, told.proven, told.stopped) == (False, 1, 1)
    assert day.counted() == {"sent": 2}
    pepper = day.opened.secrets.pepper
    with day.opened.ledger.reading() as conn:
        subjects = [f"a:{address_hash(one.to, pepper)}" for one in (first, second)]
        assert all(Channel.SMS in people.suppressed(conn, [one]).get(one, ()) for one in subjects)
    assert reconcile.run(day.opened, now=LATER).stopped == 0


def test_suppressions_that_were_lost_are_written_again_and_cancel_what_waits(
    shop: SmallShop, open_day: OpenDay, backup: Backup, sandbox: Sandbox
) -> None:
    day = lose_a_day(shop, open_day, backup, planned_before=True)
    lists = sandbox.recipients.suppressed
    at = NOON.timestamp()
    lists["bounces"]["ann@post.example"] = lists["spam_reports"]["bo@post.example"] = at
    lists["blocks"]["cy@post.example"] = lists["unsubscribes"]["dee@elsewhere.example"] = at

    told = reconcile.run(day.opened, now=LATER)

    pepper = day.opened.secrets.pepper
    hashed = {
        who: f"a:{address_hash(who, pepper)}" for who in ("ann@post.example", "bo@post.example", "cy@post.example")
    }
    with day.opened.ledger.reading() as conn:
        closed = people.suppressed(conn, [*hashed.values(), "p:ann", "p:bo"])
    assert told.suppressed == 3
    assert set(closed) == {hashed["ann@post.example"], hashed["bo@post.example"], "p:bo"}


def test_a_new_ledger_under_an_old_witness_is_noticed(shop: SmallShop, open_day: OpenDay) -> None:
    day = open_day(shop)
    witness = FileWitness(shop.folder / ".tidings/witness.json")
    witness.note(Seen("another", 7, NOON))

    with pytest.raises(LedgerError, match="another one"):
        day.dispatch(LATER)


def test_a_witness_on_another_machine_is_content_with_what_was_reconciled(
    shop: SmallShop, open_day: OpenDay, backup: Backup, tmp_path: Path
) -> None:
    day = lose_a_day(shop, open_day, backup, planned_before=True)
    file = shop.folder / ".tidings/witness.json"
    elsewhere = file.read_text()
    reconcile.run(day.opened, now=LATER)

    file.write_text(elsewhere)

    assert day.dispatch(LATER).sent == 0


def test_a_campaign_that_delivers_at_least_once_is_sent_again_after_a_restore(
    new_shop: NewShop, open_day: OpenDay, backup: Backup, sandbox: Sandbox
) -> None:
    words = TWO_STEPS.replace("channel: email,", "channel: email, message_class: transactional,")
    shop = laid(new_shop(campaigns={"cart": words + "delivery_semantics: at_least_once\n"}))
    day = lose_a_day(shop, open_day, backup, planned_before=True)

    told = reconcile.run(day.opened, now=LATER)
    counts = day.dispatch(LATER)

    assert (told.doubtful, counts.sent, sent(sandbox)) == (0, 2, 4)


def test_the_witness_keeps_the_most_it_was_told(tmp_path: Path) -> None:
    witness = FileWitness(tmp_path / "deep" / "witness.json")

    for number, hours in ((3, 1), (9, 2), (4, 5)):
        witness.note(Seen("g", number, NOON + hours * HOUR))

    assert witness.seen() == (Seen("g", 9, NOON + 5 * HOUR),)
    witness.path.write_text("garbage")
    with pytest.raises(LedgerError, match="must be as Tidings wrote it"):
        witness.seen()


def test_a_witness_that_cannot_be_written_stops_dispatch_in_one_line(
    shop: SmallShop, open_day: OpenDay, sandbox: Sandbox
) -> None:
    (shop.folder / ".tidings").mkdir(exist_ok=True)
    (shop.folder / ".tidings/witness.json").mkdir()
    day = open_day(shop)
    day.plan(NOON)

    with pytest.raises(LedgerError, match="witness"):
        day.dispatch(NOON)
    assert sent(sandbox) == 0
