"""What is due leaves only if it is still true and still allowed, asked at the last moment, whatever was planned."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from datetime import time as time_of_day
from typing import Any

import pytest
from small_shop import CART, DAY, HOUR, LETTER, MINUTE, NOON, Day, SmallShop
from sqlalchemy import select

from tidings.jobs import brakes, plan
from tidings.jobs.curbs import last_look
from tidings.jobs.sending import Ready
from tidings.ledger import people, schema
from tidings.ledger.sending import Intent
from tidings.model.people import Channel, Consent
from tidings.plan.eligibility import address_hash
from tidings.plan.timing import Hours, Opening, QuietHours, open_hours
from tidings.sandbox.faults import Fault
from tidings.sandbox.server import Sandbox

NewShop = Callable[..., SmallShop]
OpenDay = Callable[[SmallShop], Day]
NIGHT = NOON.replace(hour=21)  # 23:00 in Helsinki


def left_carts(shop: SmallShop, *who: str) -> None:
    shop.product()
    for one in who:
        shop.customer(one)
        shop.cart(one)


@pytest.fixture
def planned(new_shop: NewShop, open_day: OpenDay) -> Day:
    """Ann and Bo left a cart; a reminder to each is due at noon."""
    shop = new_shop()
    left_carts(shop, "ann", "bo")
    shop.load()
    day = open_day(shop)
    day.plan(NOON)
    return day


def merge(shop: SmallShop, former: str, into: str) -> None:
    shop.customer(into)
    shop.add("identities", alias=former, customer_id=into, kind="former", valid_from=NOON - MINUTE)


def suppress(day: Day, subject: str, channel: Channel | None = Channel.EMAIL) -> None:
    with day.opened.ledger.writing() as conn:
        people.suppress(conn, [subject], channel=channel, reason="unsubscribed", at=NOON, source="test")


def only_bo(day: Day, sandbox: Sandbox) -> str:
    """Return what became of Ann's message; Bo's must have been sent, and nothing else."""
    assert [one.to for one in sandbox.store.messages] == ["bo@post.example"]
    assert day.statuses()["bo"] == ("sent", None)
    status, reason = day.statuses()["ann"]
    return f"{status} {reason}"


@pytest.mark.parametrize(
    "how", ["under their id", "as a guest", "under the id they were merged into", "as a guest of it"]
)
def test_who_bought_since_is_not_reminded(planned: Day, sandbox: Sandbox, how: str) -> None:
    shop = planned.shop
    if "it" in how.split() or "into" in how:
        merge(shop, "ann", "anna")
    who = {"under their id": "ann", "under the id they were merged into": "anna"}.get(how)
    address = {"as a guest": " Ann@Post.example", "as a guest of it": "anna@post.example"}.get(how)
    shop.order(who, NOON - MINUTE, email=address)
    shop.load()

    planned.dispatch(NOON)

    assert only_bo(planned, sandbox) == "skipped purchased"


@pytest.mark.parametrize(
    ("subject", "channel"),
    [("a:ann@post.example", Channel.EMAIL), ("p:ann", Channel.EMAIL), ("p:ann", None), ("p:annie", Channel.EMAIL)],
    ids=["the address", "the person", "every channel", "a former id"],
)
def test_who_opted_out_is_not_written_to(planned: Day, sandbox: Sandbox, subject: str, channel: Channel | None) -> None:
    planned.shop.add("identities", alias="annie", customer_id="ann", kind="former", valid_from=NOON - DAY)
    planned.shop.load()
    kind, _, name = subject.partition(":")
    suppress(planned, f"a:{address_hash(name, planned.opened.secrets.pepper)}" if kind == "a" else subject, channel)

    planned.dispatch(NOON)

    assert only_bo(planned, sandbox) == "skipped suppressed"


def test_an_address_that_was_changed_to_a_suppressed_one_is_not_written_to(planned: Day, sandbox: Sandbox) -> None:
    suppress(planned, f"a:{address_hash('shared@post.example', planned.opened.secrets.pepper)}")
    for path in planned.shop.folder.glob("data/customers-*"):
        path.unlink()
    planned.shop.customer("ann", email="shared@post.example")
    planned.shop.customer("bo")
    planned.shop.load()

    planned.dispatch(NOON)

    assert only_bo(planned, sandbox) == "skipped suppressed"


def test_an_opt_out_on_the_other_channel_holds_nothing_back(planned: Day) -> None:
    suppress(planned, "p:ann", Channel.SMS)

    assert planned.dispatch(NOON).sent == 2


def test_a_merged_customer_keeps_the_permission_of_the_id_they_have_now(planned: Day, sandbox: Sandbox) -> None:
    merge(planned.shop, "ann", "anna")
    planned.shop.load()

    assert planned.dispatch(NOON).sent == 2
    assert {one.to for one in sandbox.store.messages} == {"anna@post.example", "bo@post.example"}


@pytest.mark.parametrize("said_as", ["ann", "annie"])
def test_a_withdrawal_told_to_us_holds_for_every_id_of_the_person(planned: Day, sandbox: Sandbox, said_as: str) -> None:
    planned.shop.add("identities", alias="annie", customer_id="ann", kind="former", valid_from=NOON - DAY)
    planned.shop.load()
    with planned.opened.ledger.writing() as conn:
        said = Consent(said_as, Channel.EMAIL, "marketing", False, NOON - MINUTE)
        people.add_consent(conn, said, source="preferences")

    planned.dispatch(NOON)

    assert only_bo(planned, sandbox) == "skipped no_consent"


def test_a_stale_source_holds_messages_back_until_it_is_loaded(new_shop: NewShop, open_day: OpenDay) -> None:
    shop = new_shop(mapping={"product_events": "{watermark: {column: received_at}, freshness: 3h}"})
    left_carts(shop, "ann")
    shop.cart("somebody", at=NOON)
    shop.load()
    day = open_day(shop)
    day.plan(NOON)

    held = day.dispatch(NOON + 4 * HOUR)
    shop.cart("somebody", at=NOON + 4 * HOUR)
    shop.load()
    later = day.dispatch(NOON + 5 * HOUR)

    assert (held.sent, held.deferred) == (0, 1)
    assert (later.sent, later.deferred) == (1, 0)


def test_a_source_that_stays_stale_is_the_reason_why_not(new_shop: NewShop, open_day: OpenDay) -> None:
    shop = new_shop(mapping={"product_events": "{watermark: {column: received_at}, freshness: 3h}"})
    left_carts(shop, "ann")
    shop.cart("somebody", at=NOON)
    shop.load()
    day = open_day(shop)
    day.plan(NOON)
    day.dispatch(NOON + 4 * HOUR)

    day.dispatch(NOON + 25 * HOUR)

    assert day.statuses() == {"ann": ("skipped", "stale")}


def test_a_brake_holds_messages_until_it_is_released(planned: Day, sandbox: Sandbox) -> None:
    for n, what in enumerate(("all", "cart", "channel:email", "provider:sendgrid")):
        brakes.pull(planned.opened, what, "a look", by="test")
        held = planned.dispatch(NOON + n * HOUR)
        brakes.release(planned.opened, what)

        assert (held.sent, held.deferred, what) == (0, 2, what)
        assert {row.defer_reason for row in planned.messages()} == {"paused"}

    assert planned.dispatch(NOON + 5 * HOUR).sent == 2
    assert len(sandbox.store.messages) == 2


def test_a_brake_on_another_thing_holds_nothing(planned: Day) -> None:
    brakes.pull(planned.opened, "channel:sms", "a look", by="test")

    assert planned.dispatch(NOON).sent == 2


def test_a_brake_pulled_while_a_lane_sends_stops_what_has_not_begun(
    new_shop: NewShop, open_day: OpenDay, sandbox: Sandbox
) -> None:
    shop = new_shop(connections=1)
    left_carts(shop, *(f"c{n}" for n in range(6)))
    shop.load()
    day = open_day(shop)
    day.plan(NOON)
    sandbox.faults.add(Fault("slow", seconds=0.3))
    pulled: list[float] = []

    def pull() -> None:
        while not sandbox.store.messages:
            time.sleep(0.01)
        brakes.pull(day.opened, "all", "stop", by="test")
        pulled.append(time.time())

    puller = threading.Thread(target=pull)
    puller.start()
    counts = day.dispatch(NOON)
    puller.join()

    assert 0 < counts.sent < 6
    assert counts.sent + counts.deferred == 6
    # One may have been begun just before the brake was on.
    assert sum(one.arrived > pulled[0] for one in sandbox.store.messages) <= 1


@pytest.mark.parametrize("kind", ["401", "403"])
def test_a_refused_account_halts_the_provider_and_fails_nothing(planned: Day, sandbox: Sandbox, kind: str) -> None:
    sandbox.faults.add(Fault(kind))

    refused = planned.dispatch(NOON)
    asked = sandbox.providers.refused
    again = planned.dispatch(NOON + 10 * MINUTE)

    assert (refused.failed, refused.sent, list(refused.halted)) == (0, 0, ["email"])
    assert {row.status for row in planned.messages()} == {"planned"}
    assert {row.attempt for row in planned.messages()} == {0}
    assert again.deferred == 2
    assert sandbox.providers.refused == asked, "nothing more was offered"
    with planned.opened.ledger.reading() as conn:
        assert list(conn.scalars(select(schema.brakes.c.scope))) == ["provider:sendgrid"]

    sandbox.faults.clear()
    brakes.release(planned.opened, "provider:sendgrid")
    assert planned.dispatch(NOON + 2 * HOUR).sent == 2


def two_campaigns(new_shop: NewShop, open_day: OpenDay, second: str = "", settings: str = "") -> Day:
    """Ann left a cart that two campaigns are about; the first is more important."""
    shop = new_shop(
        campaigns={"cart": CART.format(id="cart") + "priority: 10\n", "later": CART.format(id="later") + second},
        settings="caps: [{channel: email, at_most: 1, per: 16h}]\n" + settings,
    )
    left_carts(shop, "ann")
    shop.load()
    day = open_day(shop)
    day.plan(NOON)
    return day


def of_later(day: Day) -> Any:
    (row,) = day.messages(campaign="later")
    return row


def test_a_capped_message_waits_for_room_and_then_leaves(new_shop: NewShop, open_day: OpenDay) -> None:
    day = two_campaigns(new_shop, open_day)
    assert day.dispatch(NOON).sent == 1
    day.plan(NOON, "later")

    capped = day.dispatch(NOON + HOUR)

    assert (capped.sent, capped.deferred) == (0, 1)
    assert (of_later(day).send_at, of_later(day).defer_reason) == (NOON + 16 * HOUR, "capped")
    # 16 hours later it is 04:00 in Helsinki: room, but night.
    assert day.dispatch(NOON + 16 * HOUR).deferred == 1
    assert of_later(day).send_at == NOON.replace(hour=6) + DAY
    assert day.dispatch(NOON.replace(hour=6) + DAY).sent == 1


def test_a_capped_message_without_room_before_it_expires_is_skipped(new_shop: NewShop, open_day: OpenDay) -> None:
    day = two_campaigns(new_shop, open_day, settings="")
    day.dispatch(NOON)
    path = day.shop.folder / "triggers/later.yaml"
    path.write_text(path.read_text().replace("expires_after: 24h", "expires_after: 4h"))
    with day.shop.opened() as opened:
        later = Day(day.shop, opened)
        later.plan(NOON, "later")
        later.dispatch(NOON + HOUR)

        assert (of_later(later).status, of_later(later).reason) == ("skipped", "capped")


def test_the_held_out_use_up_the_cap_as_if_they_had_been_sent_to(new_shop: NewShop, open_day: OpenDay) -> None:
    day = two_campaigns(new_shop, open_day)
    path = day.shop.folder / "triggers/cart.yaml"
    path.write_text(path.read_text().replace("holdout: 0%", "holdout: 99%"))
    with day.shop.opened() as opened:
        held = Day(day.shop, opened)
        held.shop.customer("vera")
        held.shop.cart("vera", at=NOON - 90 * MINUTE)
        held.shop.load()
        held.plan(NOON)
        assert held.dispatch(NOON).held_out == 1
        held.plan(NOON, "later")
        held.dispatch(NOON + HOUR)

        (row,) = held.messages(campaign="later", customer_id="vera")
        assert (row.status, row.defer_reason) == ("planned", "capped")


def test_of_two_campaigns_at_once_the_more_important_one_writes(
    new_shop: NewShop, open_day: OpenDay, sandbox: Sandbox
) -> None:
    day = two_campaigns(new_shop, open_day)
    day.plan(NOON, "later")

    counts = day.dispatch(NOON)

    assert (counts.sent, counts.deferred) == (1, 1)
    assert [row.campaign for row in day.messages(status="sent")] == ["cart"]
    assert of_later(day).defer_reason == "outranked"
    assert len(sandbox.store.messages) == 1


@pytest.mark.parametrize("first", range(0, 15, 4))
def test_a_campaign_that_is_stopped_stands_in_nobodys_way(
    new_shop: NewShop, open_day: OpenDay, sandbox: Sandbox, first: int
) -> None:
    day = two_campaigns(new_shop, open_day)
    brakes.pull(day.opened, "cart", "a look", by="test")
    day.dispatch(NOON)
    day.plan(NOON, "later")

    for minutes in range(first, 60, 5):
        day.dispatch(NOON + minutes * MINUTE)

    assert [row.campaign for row in day.messages(status="sent")] == ["later"]


@pytest.mark.parametrize(("kind", "gone"), [("marketing", []), ("transactional", ["later"])])
def test_a_transactional_message_to_come_stands_in_nobodys_way(
    new_shop: NewShop, open_day: OpenDay, kind: str, gone: list[str]
) -> None:
    soon = CART.format(id="cart").replace("channel: email,", f"channel: email, message_class: {kind}, after: 65m,")
    shop = new_shop(campaigns={"cart": soon + "priority: 10\n", "later": CART.format(id="later")})
    left_carts(shop, "ann")
    shop.load()
    day = open_day(shop)
    day.plan(NOON)
    day.plan(NOON, "later")

    day.dispatch(NOON)

    assert [row.campaign for row in day.messages(status="sent")] == gone


@pytest.mark.parametrize("how", ["sold out", "taken off the shop"])
def test_of_two_products_the_one_that_is_gone_since_is_not_shown(planned: Day, sandbox: Sandbox, how: str) -> None:
    shop = planned.shop
    shop.product("jug")
    shop.customer("vera")
    shop.cart("vera", "jug", at=NOON - 3 * HOUR)
    shop.cart("vera", "lamp", at=NOON - 90 * MINUTE)
    shop.load()
    planned.plan(NOON)
    if how == "sold out":
        shop.add("stock", sku="lamp", quantity=0, observed_at=NOON)
    else:
        shop.retire("lamp")
    shop.load()

    planned.dispatch(NOON + MINUTE)

    (letter,) = sandbox.store.messages
    html = sandbox.store.words(letter)["html"]
    assert (letter.to, "The jug" in html, "The lamp" in html) == ("vera@post.example", True, False)


def test_two_ids_of_one_person_get_one_message(planned: Day, sandbox: Sandbox) -> None:
    for former in ("ann", "bo"):
        planned.shop.add("identities", alias=former, customer_id="one", kind="former", valid_from=NOON - MINUTE)
    planned.shop.customer("one")
    planned.shop.load()

    counts = planned.dispatch(NOON)

    assert (counts.sent, counts.deferred) == (1, 1)
    assert [one.to for one in sandbox.store.messages] == ["one@post.example"]


def test_a_template_that_fails_loses_only_its_own_message(
    new_shop: NewShop, open_day: OpenDay, sandbox: Sandbox
) -> None:
    shop = new_shop()
    broken = LETTER.replace(
        "Your cart</h1>", 'Your cart{% if customer.first_name == "Ann" %}{{ oops }}{% endif %}</h1>'
    )
    (shop.folder / "message_templates/cart/reminder.mjml").write_text(broken)
    left_carts(shop, "ann", "bo")
    shop.load()
    day = open_day(shop)
    day.plan(NOON)

    counts = day.dispatch(NOON)

    assert only_bo(day, sandbox) == "skipped template"
    assert counts.skipped == {"template": 1}
    assert "cart/reminder.mjml" in day.messages(customer_id="ann")[0].detail


def test_nothing_leaves_at_night_however_late_it_was_deferred(planned: Day, sandbox: Sandbox) -> None:
    brakes.pull(planned.opened, "all", "a look", by="test")
    planned.dispatch(NIGHT - 10 * MINUTE)
    brakes.release(planned.opened, "all")

    night = [planned.dispatch(NIGHT + hours * HOUR) for hours in (1, 3, 7)]

    assert [one.sent for one in night] == [0, 0, 0]
    assert sandbox.store.messages == []
    assert {row.send_at for row in planned.messages()} == {NOON.replace(hour=6) + DAY}
    assert planned.dispatch(NOON.replace(hour=6) + DAY).sent == 2


def test_a_dry_run_lives_in_a_space_of_its_own_and_sends_nothing(
    new_shop: NewShop, open_day: OpenDay, sandbox: Sandbox
) -> None:
    shop = new_shop()
    left_carts(shop, "ann", "bo")
    shop.load()
    day = open_day(shop)
    day.plan(NOON, dry_run=True)

    live, dry = day.dispatch(NOON), day.dispatch(NOON, dry_run=True)

    assert (live.claimed, dry.sent) == (0, 2)
    assert {row.provider for row in day.messages()} == {"outbox"}
    assert sandbox.store.messages == []
    assert len((shop.folder / ".tidings/outbox-email.jsonl").read_text().splitlines()) == 2
    assert day.messages(space="live") == []
    # Going live starts afresh: no cooldown was taken, and the dry run is dropped.
    assert day.plan(NOON).planned == 2
    assert day.dispatch(NOON).sent == 2
    assert day.messages(space="dry_run") == []


def test_a_campaign_in_dry_run_never_reaches_the_provider(
    new_shop: NewShop, open_day: OpenDay, sandbox: Sandbox
) -> None:
    shop = new_shop(campaigns={"cart": CART.format(id="cart").replace("mode: live", "mode: dry_run")})
    left_carts(shop, "ann")
    shop.load()
    day = open_day(shop)

    assert day.plan(NOON).space == "dry_run"
    assert day.dispatch(NOON).claimed == 0
    assert day.dispatch(NOON, dry_run=True).sent == 1
    assert sandbox.store.messages == []


def test_what_would_go_to_the_outbox_is_never_called_sent_in_the_live_space(
    new_shop: NewShop, open_day: OpenDay
) -> None:
    shop = new_shop(sandbox_url=None)  # without providers there is only the outbox
    left_carts(shop, "ann")
    shop.load()
    day = open_day(shop)
    day.plan(NOON)

    counts = day.dispatch(NOON)

    assert (counts.sent, counts.deferred) == (0, 1)
    assert day.counted() == {"planned": 1}
    assert not (shop.folder / ".tidings/outbox-email.jsonl").exists()


def test_a_run_leaves_its_counters_in_the_ledger_as_they_were_told(planned: Day) -> None:
    suppress(planned, "p:ann")

    told = planned.dispatch(NOON)

    with planned.opened.ledger.reading() as conn:
        (kept,) = conn.scalars(select(schema.runs.c.counters).where(schema.runs.c.job == "dispatch"))
    frozen = json.loads(kept)
    assert (frozen["claimed"], frozen["sent"], frozen["skipped"]) == (2, 1, {"suppressed": 1})
    assert told.skipped == {"suppressed": 1}


@pytest.mark.parametrize("mode", ["paused", "dry_run"])
def test_a_campaign_that_is_no_longer_live_keeps_its_messages_back(planned: Day, sandbox: Sandbox, mode: str) -> None:
    path = planned.shop.folder / "triggers/cart.yaml"
    path.write_text(path.read_text().replace("mode: live", f"mode: {mode}"))
    with planned.shop.opened() as opened:
        day = Day(planned.shop, opened)

        assert (day.dispatch(NOON).deferred, day.counted()) == (2, {"planned": 2})
        day.dispatch(NOON + 23 * HOUR + 50 * MINUTE)

        assert set(day.statuses().values()) == {("skipped", "paused")}
    assert sandbox.store.messages == []


def test_a_large_first_audience_waits_for_approval_and_loses_nobody(new_shop: NewShop, open_day: OpenDay) -> None:
    shop = new_shop(campaigns={"cart": CART.format(id="cart") + "max_initial_audience: 1\n"})
    left_carts(shop, "ann", "bo")
    shop.load()
    day = open_day(shop)

    first, second = day.plan(NOON), day.plan(NOON + HOUR)
    assert (first.waiting, first.new, second.waiting) == (2, 0, 2)
    assert day.messages() == []
    assert watermark(day) is None

    assert plan.approve(day.opened, "cart") == 2
    third = day.plan(NOON + 2 * HOUR)

    assert (third.waiting, third.new) == (None, 2)
    assert watermark(day) == NOON + 2 * HOUR
    assert day.dispatch(NOON + 2 * HOUR).sent == 2


def watermark(day: Day) -> datetime | None:
    with day.opened.ledger.reading() as conn:
        return conn.scalar(select(schema.campaigns.c.watermark))


def test_before_production_a_real_provider_reaches_only_the_allow_list(new_shop: NewShop, open_day: OpenDay) -> None:
    shop = new_shop(sandbox_url="https://provider.invalid", settings="allow_list: [bo@post.example]\n")
    left_carts(shop, "ann", "bo")
    shop.load()
    day = open_day(shop)
    day.plan(NOON)

    counts = day.dispatch(NOON)

    assert day.statuses()["ann"] == ("skipped", "not_allowed")
    # Bo's was offered; there is nobody behind that name, so it certainly was not taken.
    assert (counts.retried, day.statuses()["bo"][0]) == (1, "planned")
    assert day.messages(customer_id="bo")[0].send_at >= NOON + timedelta(seconds=90)


def test_what_was_found_too_late_is_stored_as_expired_and_never_sent(planned: Day, sandbox: Sandbox) -> None:
    planned.dispatch(NOON + 30 * HOUR)

    assert planned.statuses() == {"ann": ("expired", "too_late"), "bo": ("expired", "too_late")}
    assert sandbox.store.messages == []


@pytest.mark.parametrize(
    ("expires_in", "answer"), [(DAY, "deferred"), (2 * HOUR, "skipped")], ids=["till morning", "not that long"]
)
def test_a_night_that_falls_after_the_gates_still_counts(expires_in: timedelta, answer: str) -> None:
    hours = open_hours(("Europe/Helsinki",), Hours((Opening(QuietHours(time_of_day(21), time_of_day(8)).week()),)))
    intent = Intent("m", "ann", None, "email")
    ready = Ready(intent, None, "cart", 0, NIGHT + expires_in, hours)

    before = last_look([ready], {}, NIGHT - 3 * HOUR)
    going, deferred, ended = last_look([ready], {}, NIGHT)

    assert before == ([ready], [], [])
    assert going == []
    if answer == "deferred":
        assert deferred == [("m", NOON.replace(hour=6) + DAY, "quiet")]
    else:
        assert ended == [("m", "skipped", "quiet", None)]
