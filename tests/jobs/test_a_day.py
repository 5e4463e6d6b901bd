"""One day of a small shop, from its warehouse to the messages in people's inboxes; start reading here."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from small_shop import Day, SmallShop, lay_out

from tidings.jobs import dispatch
from tidings.sandbox.server import Sandbox

HELSINKI = ZoneInfo("Europe/Helsinki")
TEMPLATES = Path(__file__).parents[2] / "message_templates"
# An e-mail after an hour of silence, a text six hours later; a third of the people get neither, for comparison.
CAMPAIGN = """\
id: cart_abandonment
mode: live
detect: {type: cart_abandonment, idle: 1h}
schedule: "*/15 * * * *"
steps:
  - {name: reminder, channel: email, template: cart_abandonment/reminder, expires_after: 24h}
  - {name: last_chance, channel: sms, template: cart_abandonment/last_chance, after: 6h, min_gap: 4h}
send_window: {from: "09:00", to: "20:00"}
holdout: 33%
"""


def clock(text: str) -> datetime:
    """Return a time of that Tuesday, or "+" of the Wednesday after it, by a clock in Helsinki."""
    hour, minute = text.removeprefix("+").split(":")
    return datetime(2026, 3, 4 if text.startswith("+") else 3, int(hour), int(minute), tzinfo=HELSINKI)


def tell(shop: SmallShop) -> None:
    """What happens that day. Ann and Eve are among the third that gets nothing."""
    shop.product("lamp")
    for who in ("ann", "bo", "eve", "gus", "hal", "kim", "leo"):
        shop.customer(who)
    shop.customer("ida", phone=None)
    for who in ("ann", "bo", "eve", "hal", "ida", "kim", "leo"):
        shop.cart(who, at=clock("9:00"))
    for channel in ("email", "sms"):
        shop.consent("leo", channel, "withdrawn", at=clock("9:30"))
    shop.order("hal", clock("10:00") + timedelta(seconds=30))
    shop.order("kim", clock("13:00"))
    shop.order(None, clock("13:00"), email=" EVE@post.example")  # as a guest, under her address
    shop.cart("gus", at=clock("21:30"))
    shop.load()


TICKS = ("10:00", "10:15", "16:00", "16:15", "22:30", "+9:00")


def live(day: Day, sandbox: Sandbox) -> list[dispatch.DispatchCounts]:
    """Plan at every tick, and send a minute later; return what every dispatch counted."""
    found = []
    for tick in TICKS:
        day.plan(clock(tick), "cart_abandonment")
        sandbox.set_clock(clock(tick) + timedelta(minutes=1))
        found.append(day.dispatch(clock(tick) + timedelta(minutes=1)))
    return found


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Day, Sandbox, list[dispatch.DispatchCounts]]]:
    folder = tmp_path_factory.mktemp("day")
    with Sandbox(folder / "sandbox") as sandbox:
        shop = lay_out(
            folder / "shop", ledger_url=f"sqlite:///{folder}/ledger.db", sandbox_url=sandbox.url,
            campaigns={"cart_abandonment": CAMPAIGN},
        )  # fmt: skip
        shutil.copytree(TEMPLATES, shop.folder / "message_templates", dirs_exist_ok=True)
        tell(shop)
        with shop.opened() as opened:
            day = Day(shop, opened)
            yield day, sandbox, live(day, sandbox)


@pytest.fixture
def day(lived: tuple[Day, Sandbox, list[dispatch.DispatchCounts]]) -> Day:
    return lived[0]


@pytest.fixture
def inbox(lived: tuple[Day, Sandbox, list[dispatch.DispatchCounts]]) -> Callable[[], list[tuple[str, str, str]]]:
    """Call it for who got what at which hour in Helsinki, as the sandbox saw it."""
    sandbox = lived[1]

    def read() -> list[tuple[str, str, str]]:
        return sorted(
            (f"{datetime.fromtimestamp(one.at, HELSINKI):%a %H:%M}", one.to, one.title.partition(" (")[0])
            for one in sandbox.store.messages
        )

    return read


@pytest.fixture
def answers(day: Day) -> dict[str, list[str]]:
    """What the ledger says about every customer's two steps."""
    found: dict[str, list[str]] = {}
    for row in day.messages():
        found.setdefault(row.customer_id, []).append(f"{row.status} {row.reason}" if row.reason else str(row.status))
    return found


def test_each_gets_the_right_message_at_the_right_hour(day: Day, inbox: Callable[..., object]) -> None:
    bo = next(row for row in day.shop.told["customers"] if row["customer_id"] == "bo")

    assert inbox() == [
        ("Tue 10:01", "bo@post.example", "Your cart is saved"),
        ("Tue 10:01", "ida@post.example", "Your cart is saved"),
        ("Tue 10:01", "kim@post.example", "Your cart is saved"),
        ("Tue 16:01", bo["phone"], "Fenmark: your cart is saved"),
        ("Wed 09:01", "gus@post.example", "Your cart is saved"),  # his cart was left in the evening
    ]


def test_everybody_who_left_a_cart_has_an_answer_for_every_step(answers: dict[str, list[str]]) -> None:
    assert answers == {
        "ann": ["held_out", "held_out"],
        "bo": ["sent", "sent"],
        "eve": ["held_out", "cancelled purchased"],
        "gus": ["sent", "planned"],  # the text is due in the afternoon
        "hal": ["skipped purchased", "cancelled purchased"],
        "ida": ["sent", "skipped no_address"],
        "kim": ["sent", "cancelled purchased"],
        "leo": ["skipped no_consent", "skipped no_consent"],
    }


def test_the_held_out_walk_the_same_path_at_the_same_moments(day: Day) -> None:
    treated, held_out = day.messages(customer_id="bo"), day.messages(customer_id="ann")

    assert [row.held_out for row in (*treated, *held_out)] == [False, False, True, True]
    assert [row.sending_at for row in held_out] == [row.sending_at for row in treated]
    assert [row.template_hash for row in held_out] == [row.template_hash for row in treated]


def test_what_is_found_in_the_evening_waits_for_the_morning(day: Day) -> None:
    assert day.messages(customer_id="gus")[0].first_send_at == clock("+9:00")


def test_what_the_sandbox_accepted_is_what_the_ledger_calls_sent(
    day: Day, lived: tuple[Day, Sandbox, list[dispatch.DispatchCounts]]
) -> None:
    accepted = {one.message: one.id for one in lived[1].store.messages}

    assert accepted == {row.id: row.provider_id for row in day.messages(status="sent")}
    assert lived[1].store.repeated == set()


def test_the_counters_of_the_day_add_up(day: Day, lived: tuple[Day, Sandbox, list[dispatch.DispatchCounts]]) -> None:
    counts = lived[2]
    totals: Counter[str] = Counter()
    for one in counts:
        totals.update(sent=one.sent, held_out=one.held_out, deferred=one.deferred, retried=one.retried)
        totals.update(skipped=sum(one.skipped.values()), cancelled=sum(one.cancelled.values()))

    assert sum(one.claimed for one in counts) == sum(totals.values())
    # Ida's text was refused when it was planned: she has no number.
    assert +totals == {"sent": 5, "held_out": 3, "skipped": 3, "cancelled": 3}
    assert day.counted() == {"sent": 5, "held_out": 3, "skipped": 4, "cancelled": 3, "planned": 1}


def test_the_same_day_lived_again_changes_nothing(
    day: Day, inbox: Callable[..., object], lived: tuple[Day, Sandbox, list[dispatch.DispatchCounts]]
) -> None:
    before = inbox(), day.messages()

    again = live(day, lived[1])

    assert sum(one.claimed for one in again) == 0
    assert (inbox(), day.messages()) == before
