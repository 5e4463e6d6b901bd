"""Every brake is an event that says what to do, told once; rates stop marketing; a new sender keeps to its days."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from small_shop import CART, DAY, HOUR, MINUTE, NOON, Day, SmallShop
from sqlalchemy import insert, select

from tidings.errors import DefinitionError
from tidings.jobs import brakes, postmaster, rates
from tidings.ledger import brakes as ledger_brakes
from tidings.ledger import engagements, schema
from tidings.ledger.rates import Tally
from tidings.model.engagement import Engagement, EngagementKind
from tidings.plan.mailboxes import MAILBOXES
from tidings.sandbox.faults import Fault
from tidings.sandbox.server import Sandbox

NewShop = Callable[..., SmallShop]
OpenDay = Callable[[SmallShop], Day]
LOW = "brakes: {complaints: {warn: 10%, stop: 20%, at_least: 10}, bounces: {warn: 10%, stop: 30%, at_least: 10}}\n"


@pytest.fixture
def laid_out(new_shop: NewShop, open_day: OpenDay) -> Callable[..., Day]:
    """Call it for a day on which so many customers have left a cart, planned for noon."""

    def make(many: int = 2, settings: str = "", **given: Any) -> Day:
        shop = new_shop(settings=settings, **given)
        shop.product()
        for n in range(many):
            shop.customer(f"c{n:02}")
            shop.cart(f"c{n:02}")
        shop.load()
        day = open_day(shop)
        day.plan(NOON)
        return day

    return make


@pytest.fixture
def day(laid_out: Callable[..., Day]) -> Day:
    """Two customers left a cart; nothing is sent yet."""
    return laid_out()


def happened(day: Day) -> list[tuple[str, str, str]]:
    with day.opened.ledger.reading() as conn:
        return [(one.action, one.scope, one.by) for one in ledger_brakes.events(conn)]


def tell(day: Day, kind: EngagementKind, messages: list[str], at: datetime = NOON + HOUR) -> None:
    with day.opened.ledger.writing() as conn:
        engagements.take(conn, [Engagement(f"{kind}-{one}", one, kind, at) for one in messages], at)


def sent_to(day: Day, many: int, *, at: datetime, mailbox: str = "other", tag: str = "m") -> list[str]:
    """Write so many sent messages into the ledger, as if they had left at a moment."""
    with day.opened.ledger.writing() as conn:
        entry = dict(conn.execute(select(schema.entries)).mappings().first() or {})
        message = dict(conn.execute(select(schema.messages)).mappings().first() or {})
        ids = [f"{tag}{n}" for n in range(many)]
        conn.execute(insert(schema.entries), [{**entry, "id": f"e{one}", "entry_key": f"k{one}"} for one in ids])
        sent = {"status": "sent", "sending_at": at, "sent_at": at, "mailbox": mailbox, "channel": "email"}
        conn.execute(insert(schema.messages), [{**message, **sent, "id": one, "entry_id": f"e{one}"} for one in ids])
    return ids


def test_pulling_and_letting_go_are_events_of_the_same_commit_and_told_once(
    day: Day, caplog: pytest.LogCaptureFixture
) -> None:
    brakes.pull(day.opened, "cart", "wrong price", by="ann")
    brakes.pull(day.opened, "cart", "again", by="bo")

    (found,) = brakes.on(day.opened)
    assert (found.scope, found.reason, found.by) == ("campaign:cart", "wrong price", "ann")
    assert "tidings resume cart" in found.remedy
    with caplog.at_level(logging.INFO):
        told = brakes.alarms(day.opened)
    assert [one.action for one in told] == ["pulled"]
    assert [(one.levelname, "tidings resume cart" in one.message) for one in caplog.records] == [("ERROR", True)]
    assert brakes.alarms(day.opened) == []

    brakes.release(day.opened, "cart", by="bo")

    assert happened(day) == [("pulled", "campaign:cart", "ann"), ("released", "campaign:cart", "bo")]
    assert [one.action for one in brakes.alarms(day.opened)] == ["released"]
    assert brakes.on(day.opened) == []


def test_a_brake_that_could_not_be_written_left_no_event(day: Day) -> None:
    def breaks_off() -> None:
        with day.opened.ledger.writing() as conn:
            ledger_brakes.pull(conn, "all", reason="a look", at=NOON, by="ann")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        breaks_off()

    assert happened(day) == []


@pytest.mark.parametrize("what", ["mailbox:gmial", "marketing:fax", "channel:", "provider:sms", "nobody"])
def test_another_word_is_a_mistake_in_one_line(day: Day, what: str) -> None:
    with pytest.raises(DefinitionError) as mistake:
        brakes.pull(day.opened, what, "a look")

    assert "\n" not in str(mistake.value)
    assert happened(day) == []


@pytest.mark.parametrize("what", ["marketing:email", "mailbox:other"])
def test_marketing_waits_and_a_transactional_message_leaves(
    laid_out: Callable[..., Day], sandbox: Sandbox, what: str
) -> None:
    order = CART.format(id="service").replace("{name: reminder,", "{name: reminder, message_class: transactional,")
    day = laid_out(1, campaigns={"cart": CART.format(id="cart"), "service": order})
    day.plan(NOON, "service")
    brakes.pull(day.opened, what, "too many complaints")

    counts = day.dispatch(NOON)

    assert {row.campaign: str(row.status) for row in day.messages()} == {"cart": "planned", "service": "sent"}
    assert (counts.sent, counts.deferred) == (1, 1)


# Rates.


def test_a_rate_stops_its_scopes_says_why_and_what_to_do(laid_out: Callable[..., Day]) -> None:
    day = laid_out(settings=LOW)
    ids = sent_to(day, 20, at=NOON, mailbox="yahoo")
    tell(day, EngagementKind.DELIVERED, ids)
    tell(day, EngagementKind.COMPLAINED, ids[:4])

    looked = rates.run(day.opened, now=NOON + 2 * HOUR)

    assert looked.stopped == ("campaign:cart", "mailbox:yahoo", "marketing:email")
    first = brakes.on(day.opened)[0]
    assert first.reason == "20.00 % complaints (4 of 20 delivered in 28 days); the limit is 20 %"
    assert "tidings resume cart" in first.remedy
    assert rates.run(day.opened, now=NOON + 3 * HOUR).stopped == ()
    assert day.dispatch(NOON + 3 * HOUR).deferred == 2


def test_a_warning_is_noted_once_a_day_and_stops_nothing(laid_out: Callable[..., Day]) -> None:
    day = laid_out(settings=LOW)
    ids = sent_to(day, 27, at=NOON)
    tell(day, EngagementKind.DELIVERED, ids)
    tell(day, EngagementKind.BOUNCED, ids[:3])

    found = [rates.run(day.opened, now=NOON + hours * HOUR) for hours in (1, 2, 30)]

    assert [one.stopped for one in found] == [(), (), ()]
    assert [len(one.warned) for one in found] == [3, 0, 3]
    assert brakes.on(day.opened) == []
    assert len(brakes.warned(day.opened, now=NOON + 31 * HOUR)) == 3
    assert brakes.warned(day.opened, now=NOON + 5 * DAY) == []


@pytest.mark.parametrize(("delivered", "complained", "why"), [(9, 9, "too few messages"), (1000, 2, "too few people")])
def test_few_say_nothing(laid_out: Callable[..., Day], delivered: int, complained: int, why: str) -> None:
    settings = "brakes: {complaints: {warn: 0.1%, stop: 0.1%, at_least: 10}}\n"
    day = laid_out(settings=settings)
    ids = sent_to(day, delivered, at=NOON)
    tell(day, EngagementKind.DELIVERED, ids)
    tell(day, EngagementKind.COMPLAINED, ids[:complained])

    assert rates.run(day.opened, now=NOON + 2 * HOUR).stopped == (), why


def test_after_a_release_counting_begins_anew(laid_out: Callable[..., Day]) -> None:
    day = laid_out(settings=LOW)
    ids = sent_to(day, 20, at=NOON)
    tell(day, EngagementKind.COMPLAINED, ids[:10])
    tell(day, EngagementKind.DELIVERED, ids)
    assert "marketing:email" in rates.run(day.opened, now=NOON + 2 * HOUR).stopped
    with day.opened.ledger.writing() as conn:
        for scope in ("campaign:cart", "mailbox:other", "marketing:email"):
            ledger_brakes.release(conn, scope, at=NOON + 3 * HOUR, by="ann")

    assert rates.run(day.opened, now=NOON + 4 * HOUR).stopped == ()

    more = sent_to(day, 12, at=NOON + 5 * HOUR, tag="n")
    tell(day, EngagementKind.DELIVERED, more, NOON + 6 * HOUR)
    tell(day, EngagementKind.COMPLAINED, more[:6], NOON + 6 * HOUR)
    assert rates.run(day.opened, now=NOON + 7 * HOUR).stopped == ("campaign:cart", "mailbox:other", "marketing:email")


def test_mailboxes_that_tell_of_no_complaints_do_not_make_the_rate_look_better() -> None:
    found = [Tally("cart", "email", "gmail", 10_000, 0, 0), Tally("cart", "email", "yahoo", 1000, 0, 3)]

    by_scope = {one.scope: (one.cases, one.of, one.few) for one in rates.measured(found, "complaints", 1000)}

    assert by_scope["marketing:email"] == (3, 1000, False)
    assert by_scope["mailbox:gmail"] == (0, 0, True)


def test_dispatch_looks_by_itself_and_not_at_every_start(laid_out: Callable[..., Day], sandbox: Sandbox) -> None:
    day = laid_out(settings=LOW)
    day.dispatch(NOON - 3 * HOUR)
    ids = sent_to(day, 20, at=NOON - 4 * HOUR)
    tell(day, EngagementKind.BOUNCED, ids, NOON - 3 * HOUR)

    early = day.dispatch(NOON - 3 * HOUR + 2 * MINUTE)
    assert brakes.on(day.opened) == []
    late = day.dispatch(NOON)

    assert (early.sent, late.sent, late.deferred) == (0, 0, 2)
    assert {one.by for one in brakes.on(day.opened)} == {"rates"}
    assert sandbox.store.messages == []


# What Gmail tells.

CSV = "day,domain,complaint_rate\n2026-02-27,shop.example,0.12%\n2026-02-28,shop.example,0.0032\n"


@pytest.mark.parametrize(
    "text",
    [
        CSV,
        json.dumps([{"day": "20260227", "domain": "SHOP.example.", "complaint_rate": 0.0012},
                    {"day": "2026-02-28", "domain": "shop.example", "complaint_rate": "0.32%", "mailbox": "gmail"}]),
    ],
    ids=["csv", "json"],
)  # fmt: skip
def test_gmails_own_figures_stop_marketing_to_gmail(day: Day, tmp_path: Path, text: str) -> None:
    file = tmp_path / "rates"
    file.write_text(text)
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)

    taken = postmaster.run(day.opened, file, now=now)
    again = postmaster.run(day.opened, file, now=now)

    assert (taken.rates, taken.domains, taken.stopped, again.stopped) == (2, 1, ("mailbox:gmail",), ())
    (found,) = brakes.on(day.opened)
    assert "0.22 % complaints in the mailbox provider's own figures" in found.reason


def test_old_figures_stop_nothing(day: Day, tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"
    file.write_text(CSV)

    assert postmaster.run(day.opened, file, now=datetime(2026, 3, 20, tzinfo=UTC)).stopped == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "found no day"),
        ("day,domain\n", "found no complaint_rate"),
        ("day,domain,complaint_rate\n", "found none"),
        ("day,domain,complaint_rate,email\n", 'found "email"'),
        ("day,domain,complaint_rate\n2026-02-30,shop.example,0\n", "line 2: day: must be a day"),
        ("day,domain,complaint_rate\n2099-02-20,shop.example,0\n", "must not be in the future"),
        ("day,domain,complaint_rate\n2026-02-20,ann@shop.example,0\n", "domain: must be a sending domain"),
        ("day,domain,complaint_rate\n2026-02-20,shop.example,nan\n", "complaint_rate: must be a share"),
        ("day,domain,complaint_rate\n2026-02-20,shop.example,12\n", "complaint_rate: must be a share"),
        ("day,domain,complaint_rate\n2026-02-20,shop.example\n", "as many values"),
        ("[1]", "item 1: must be an object"),
        ("{}", "must be a list"),
        ("[" * 100_000, "must be JSON or CSV"),
        ('[{"day": "2026-02-20", "domain": "shop.example", "complaint_rate": true}]', "must be a share"),
        ('[{"day": "2026-02-20", "domain": "shop.example", "complaint_rate": 0, "mailbox": "x"}]', "mailbox: must be"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_and_nothing_is_taken(day: Day, tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "rates.csv"
    file.write_text(text)

    with pytest.raises(DefinitionError) as mistake:
        postmaster.run(day.opened, file, now=NOON)

    assert told in str(mistake.value)
    assert "\n" not in str(mistake.value)
    with day.opened.ledger.reading() as conn:
        assert conn.execute(select(schema.mailbox_rates)).all() == []


# A provider that stopped by itself.


def test_a_stopped_provider_is_tried_with_one_message_after_a_wait(
    laid_out: Callable[..., Day], sandbox: Sandbox
) -> None:
    day = laid_out(6)
    sandbox.faults.add(Fault("401"))
    day.dispatch(NOON)
    refused = sandbox.providers.refused

    early = day.dispatch(NOON + 14 * MINUTE)
    tried = day.dispatch(NOON + 30 * MINUTE)

    assert (early.deferred, early.retried) == (6, 0)
    assert (tried.retried, sandbox.providers.refused) == (1, refused + 1)
    assert len(brakes.alarms(day.opened)) == 1, "one alert, however often it was tried"
    sandbox.faults.clear()
    well = day.dispatch(NOON + 46 * MINUTE)
    assert (well.sent, well.deferred) == (1, 5)
    assert brakes.on(day.opened) == []
    assert day.dispatch(NOON + 52 * MINUTE).sent == 5
    assert {row.attempt for row in day.messages()} == {1}


def test_a_new_key_is_tried_at_once(laid_out: Callable[..., Day], sandbox: Sandbox) -> None:
    day = laid_out(3, settings="brakes: {probe_after: 20h}\n")
    sandbox.faults.add(Fault("403"))
    day.dispatch(NOON)
    sandbox.faults.clear()
    assert day.dispatch(NOON + 6 * MINUTE).sent == 0
    day.shop.environ["AIRFLOW_CONN_SENDGRID"] = json.dumps({"conn_type": "tidings_sendgrid", "password": "SG.new"})

    tried = day.dispatch(NOON + 22 * MINUTE)

    assert tried.sent == 1
    assert brakes.on(day.opened) == []
    assert [str(row.status) for row in day.messages()].count("failed") == 0


def test_a_persons_own_stop_is_never_tried(laid_out: Callable[..., Day], sandbox: Sandbox) -> None:
    day = laid_out(2)
    brakes.pull(day.opened, "provider:sendgrid", "a look", by="ann")

    assert day.dispatch(NOON + 5 * HOUR).deferred == 2
    assert sandbox.store.messages == []


@pytest.mark.parametrize("retry_after", [None, 40.0])
def test_being_too_fast_uses_up_no_attempt(
    laid_out: Callable[..., Day], sandbox: Sandbox, retry_after: float | None
) -> None:
    day = laid_out(6)
    sandbox.faults.add(Fault("429", retry_after=retry_after))

    for minutes in (0, 5, 10):
        counts = day.dispatch(NOON + minutes * MINUTE)
        assert (counts.retried, counts.failed, counts.unknown) == (6, 0, 0)

    assert {row.attempt for row in day.messages()} == {0}
    sandbox.faults.clear()
    assert day.dispatch(NOON + 20 * MINUTE).sent == 6


# A new sender.


def warming(new_shop: NewShop, warm_up: str, customers: int) -> SmallShop:
    shop = new_shop(campaigns={"cart": CART.format(id="cart").replace("24h", "52h")})
    path, plain = shop.folder / "tidings.yaml", "{from: hello@fenmark.example}"
    path.write_text(path.read_text().replace(plain, plain.replace("}", f", warm_up: {warm_up}}}")))
    shop.product()
    for n in range(customers):
        shop.customer(f"c{n:02}")
        shop.cart(f"c{n:02}")
    shop.load()
    return shop


def test_a_new_sender_keeps_to_its_days_and_who_clicked_goes_first(
    new_shop: NewShop, open_day: OpenDay, sandbox: Sandbox
) -> None:
    shop = warming(new_shop, f'{{start: "{NOON:%Y-%m-%d}", first_day: 4, growth: 2, until: 1000}}', 10)
    day = open_day(shop)
    day.plan(NOON)
    clicked = sent_to(day, 1, at=NOON - 9 * DAY)
    with day.opened.ledger.writing() as conn:
        conn.execute(schema.messages.update().where(schema.messages.c.id.in_(clicked)).values(customer_id="c09"))
    tell(day, EngagementKind.CLICKED, clicked, NOON - 8 * DAY)

    first = day.dispatch(NOON)
    again = day.dispatch(NOON + HOUR)

    assert (first.sent, first.deferred, again.claimed) == (4, 6, 0)
    assert "c09@post.example" in {one.to for one in sandbox.store.messages}
    waiting = day.messages(status="planned")
    assert {(row.defer_reason, row.send_at) for row in waiting} == {("warm_up", (NOON + DAY).replace(hour=0))}
    # Night in Helsinki until eight; then the second day's eight are more than the six that wait.
    assert day.dispatch(NOON + DAY).sent == 6


def test_what_did_not_leave_is_given_back_and_the_last_day_ends_as_warm_up(
    new_shop: NewShop, open_day: OpenDay, sandbox: Sandbox
) -> None:
    shop = warming(new_shop, f'{{start: "{NOON:%Y-%m-%d}", first_day: 2, growth: 1.1, until: 1000}}', 9)
    day = open_day(shop)
    day.plan(NOON)
    sandbox.faults.add(Fault("429", count=2))

    refused = day.dispatch(NOON)
    sent = day.dispatch(NOON + 10 * MINUTE)

    assert (refused.sent, refused.retried) == (0, 2)
    assert sent.sent == 2
    told = [day.dispatch(NOON + days * DAY + HOUR) for days in (1, 2)]
    assert [one.sent for one in told] == [2, 2]
    assert told[-1].skipped == {"warm_up": 3}


def test_the_settings_say_what_is_wrong(new_shop: NewShop) -> None:
    shop = new_shop(settings="brakes: {complaints: {warn: 1%, stop: 0.5%}}\n")

    with shop.opened() as opened, pytest.raises(DefinitionError, match=r"warn .*must be above 0% and not above stop"):
        _ = opened.settings


def test_every_mail_carries_a_feedback_id_without_people_and_its_mailbox(day: Day, sandbox: Sandbox) -> None:
    day.dispatch(NOON)

    one, _ = sandbox.store.messages
    assert sandbox.store.words(one)["headers"]["Feedback-ID"] == "cart:reminder:all:fenmark"
    assert {row.mailbox for row in day.messages()} == {"other"} <= set(MAILBOXES)
