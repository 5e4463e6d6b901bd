"""Forgetting: nobody writes to them again from the first commit on, and afterwards nothing says who they were."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from small_shop import DAY, HOUR, MINUTE, NOON, Day, SmallShop, lay_out
from sqlalchemy import MetaData, insert, select, text

from tidings.errors import DefinitionError
from tidings.jobs import forget, measure, report, retain
from tidings.ledger import engagements, erasing, opt_ins, people, schema
from tidings.ledger.opt_ins import OptIn
from tidings.model.engagement import Engagement, EngagementKind
from tidings.model.people import Channel
from tidings.plan.eligibility import address_hash
from tidings.sandbox.server import Sandbox

WHO, MAIL, PHONE = "anna-canary-77", "Anna.Canary@gmail.com", "+358501234567"
BOTH = """\
id: cart
mode: live
detect: {type: cart_abandonment, idle: 1h}
schedule: "*/15 * * * *"
steps:
  - {name: reminder, channel: email, template: cart/reminder, expires_after: 24h}
  - {name: text, channel: sms, template: cart/text, after: 1d, min_gap: 1h}
holdout: 0%
cooldown: 1d
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/shop/.tidings/ledger.sqlite"
        return
    yield request.getfixturevalue("postgres_url")


def told(url: str, folder: Path, sandbox: Sandbox) -> SmallShop:
    """Anna, who was Ann before, and Bo."""
    shop = lay_out(folder, ledger_url=url, sandbox_url=sandbox.url, campaigns={"cart": BOTH})
    shop.product()
    shop.customer(WHO, email=MAIL, phone=PHONE, first_name="Annacanary", last_name="Canarysson")
    shop.customer("bo")
    shop.add("identities", alias="ann-former-77", customer_id=WHO, kind="former", valid_from=NOON - 50 * DAY)
    for who in (WHO, "bo"):
        shop.cart(who, at=NOON - 90 * MINUTE)
    shop.load()
    return shop


def written(day: Day) -> str:
    """Return every value of every table, as a dump would show it."""
    found = MetaData()
    with day.opened.ledger.reading() as conn:
        found.reflect(conn)
        return "\n".join(str(tuple(row)) for table in found.sorted_tables for row in conn.execute(select(table)))


def in_files(folder: Path, needles: tuple[str, ...]) -> list[str]:
    """Return the files below a folder, except the shop's own warehouse, in which one of these stands."""
    wanted = [one.encode() for one in needles]
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "data" not in path.parts and any(one in path.read_bytes() for one in wanted)
    ]


NEEDLES = (WHO, "ann-former-77", MAIL, MAIL.lower(), PHONE, PHONE[1:], "Annacanary", "Canarysson")


@pytest.fixture
def lived(ledger_url: str, tmp_path: Path, open_day: Callable[[SmallShop], Day]) -> Iterator[tuple[Day, Sandbox]]:
    """Anna got an e-mail, clicked, and bought; her text of the next day is waiting."""
    folder = tmp_path / "shop"
    with Sandbox(folder / ".tidings/sandbox") as sandbox:
        shop = told(ledger_url, folder, sandbox)
        day = open_day(shop)
        day.plan(NOON)
        day.dispatch(NOON + MINUTE)
        (mail,) = day.messages(customer_id=WHO, step="reminder")
        clicked = Engagement("c-1", mail.id, EngagementKind.CLICKED, NOON + HOUR, detail="Mozilla")
        with day.opened.ledger.writing() as conn:
            engagements.take(conn, [clicked], NOON + HOUR, provider="sendgrid")
        yield day, sandbox


def test_nothing_of_the_project_holds_the_person_afterwards(lived: tuple[Day, Sandbox]) -> None:
    day, sandbox = lived

    done = forget.run(day.opened, WHO, now=NOON + 2 * HOUR)

    assert (done.ids, done.addresses, done.messages, done.cancelled, done.by_hand) == (2, 2, 2, 1, ())
    assert not [one for one in NEEDLES if one in written(day)]
    sandbox.store.close = lambda: None  # type: ignore[method-assign]
    assert in_files(day.shop.folder, NEEDLES) == []
    assert "bo@post.example" in sandbox.store.path.read_text()


def test_what_was_waiting_is_cancelled_and_what_was_sent_still_counts(lived: tuple[Day, Sandbox]) -> None:
    day, _ = lived

    forget.run(day.opened, WHO, now=NOON + 2 * HOUR)

    found = {row.step: (row.status, row.reason) for row in day.messages() if row.customer_id.startswith("erased:")}
    assert found == {"reminder": ("sent", None), "text": ("cancelled", "forgotten")}


def test_the_same_person_arriving_again_is_not_written_to_and_not_written_down(lived: tuple[Day, Sandbox]) -> None:
    day, sandbox = lived
    forget.run(day.opened, WHO, now=NOON + 2 * HOUR)
    shop, later = day.shop, NOON + 5 * DAY
    shop.customer("anew-canary-1", email="annacanary+shop@GoogleMail.com", phone=None)  # the same mailbox
    shop.customer("anew-canary-2", email="other@post.example", phone="050 123 4567")  # the same number
    for who in (WHO, "ann-former-77", "anew-canary-1", "anew-canary-2", "bo"):
        shop.cart(who, at=later - 2 * HOUR)
    shop.load()

    counts = day.plan(later)
    again = day.plan(later + MINUTE)
    day.dispatch(later + MINUTE)
    day.dispatch(later + 25 * HOUR)

    assert counts.found == counts.new == 4
    assert counts.skipped == {"erased": 6}
    assert (again.new, again.known) == (0, again.found)
    assert not [one for one in (*NEEDLES, "anew-canary") if one in written(day)]
    assert not [one for one in sandbox.store.messages if "canary" in one.to.lower() or one.to == PHONE]


def test_what_was_found_before_is_known_when_it_is_found_again(lived: tuple[Day, Sandbox]) -> None:
    day, _ = lived
    forget.run(day.opened, WHO, now=NOON + 2 * HOUR)

    again = day.plan(NOON + MINUTE)

    assert (again.found, again.known, again.new) == (2, 2, 0)


def test_forgetting_twice_changes_nothing(lived: tuple[Day, Sandbox]) -> None:
    day, _ = lived
    forget.run(day.opened, WHO, now=NOON + 2 * HOUR)
    before = written(day)

    again = forget.run(day.opened, WHO, now=NOON + 3 * HOUR)

    assert (again.entries, again.messages, again.others, again.cancelled, again.file_lines) == (0, 0, 0, 0, 0)
    assert written(day) == before


def test_a_run_that_was_cut_off_is_finished_by_the_next(lived: tuple[Day, Sandbox]) -> None:
    day, _ = lived
    pepper = day.opened.secrets.pepper
    subjects = {address_hash(MAIL, pepper)}
    with day.opened.ledger.writing() as conn:  # the first of its commits, and then the lights go out
        erasing.close(conn, ids={WHO}, subjects=subjects, address_hashes=subjects, reason="requested", now=NOON + HOUR)

    forget.run(day.opened, WHO, now=NOON + 2 * HOUR)

    assert not [one for one in NEEDLES if one in written(day)]


class Interrupted:
    """A warehouse that answers as it is; something happens once, when it was just asked for a column."""

    def __init__(self, shop: Any, asked: str, then: Callable[[], object]) -> None:
        self._shop = shop
        self._asked = asked
        self._then: list[Callable[[], object]] = [then]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shop, name)

    def stream(self, query: Any, *given: Any, **more: Any) -> Iterator[Any]:
        """Yield the rows, then let it happen."""
        yield from self._shop.stream(query, *given, **more)
        if self._asked in str(query) and self._then:
            self._then.pop()()


@pytest.fixture
def found(ledger_url: str, tmp_path: Path, open_day: Callable[[SmallShop], Day]) -> Iterator[tuple[Day, Sandbox]]:
    """Anna and Bo have left their carts, and nobody has looked yet."""
    folder = tmp_path / "shop"
    with Sandbox(folder / ".tidings/sandbox") as sandbox:
        yield open_day(told(ledger_url, folder, sandbox)), sandbox


def to_anna(sandbox: Sandbox) -> list[str]:
    return [one.to for one in sandbox.store.messages if one.to.lower() == MAIL.lower() or one.to == PHONE]


def test_who_is_forgotten_while_they_are_planned_for_is_neither_planned_nor_written_to(
    found: tuple[Day, Sandbox], open_day: Callable[[SmallShop], Day]
) -> None:
    day, sandbox = found
    other = open_day(day.shop).opened
    vars(day.opened)["shop"] = Interrupted(day.opened.shop, "first_name", lambda: forget.run(other, WHO, now=NOON))

    counts = day.plan(NOON)
    day.dispatch(NOON + MINUTE)
    day.dispatch(NOON + 25 * HOUR)

    assert (counts.new, counts.planned, counts.skipped) == (2, 2, {"erased": 2})
    assert {row.status for row in day.messages(customer_id="erased:anybody")} == {"skipped"}
    assert not [one for one in NEEDLES if one in written(day)]
    assert (to_anna(sandbox), len(sandbox.store.messages)) == ([], 2)


@pytest.mark.parametrize("asked", ["first_name", "ordered_at"], ids=["early", "late"])
def test_who_is_forgotten_while_their_message_is_being_written_does_not_get_it(
    found: tuple[Day, Sandbox], open_day: Callable[[SmallShop], Day], asked: str
) -> None:
    day, sandbox = found
    day.plan(NOON)
    other = open_day(day.shop).opened
    vars(day.opened)["shop"] = Interrupted(day.opened.shop, asked, lambda: forget.run(other, WHO, now=NOON))

    counts = day.dispatch(NOON + MINUTE)
    day.dispatch(NOON + 25 * HOUR)

    assert (counts.claimed, counts.sent) == (2, 1)
    mine = {(row.status, row.reason) for row in day.messages() if row.customer_id.startswith("erased:")}
    assert mine == {("cancelled", "forgotten")}
    # The lane had read who it was before: what it wrote of it is found in the night.
    retain.run(day.opened, now=NOON + DAY)
    assert not [one for one in NEEDLES if one in written(day)]
    assert (to_anna(sandbox), len(sandbox.store.messages)) == ([], 2)


@pytest.mark.parametrize("planned_first", [True, False], ids=["the plan commits first", "the erasure commits first"])
def test_a_plan_and_an_erasure_wait_for_each_other(
    postgres_url: str, tmp_path: Path, open_day: Callable[[SmallShop], Day], planned_first: bool
) -> None:
    """On SQLite there is one writer; on PostgreSQL both queue for the same lock, in either order."""
    folder = tmp_path / "shop"
    with Sandbox(folder / ".tidings/sandbox") as sandbox:
        shop = told(postgres_url, folder, sandbox)
        day = open_day(shop)
        plans, forgets = (lambda: day.plan(NOON)), (lambda: forget.run(open_day(shop).opened, WHO, now=NOON))
        with day.opened.ledger.writing() as conn:
            erasing.hold(conn, alone=True)
            going = [
                start(day, one, n) for n, one in enumerate((plans, forgets) if planned_first else (forgets, plans))
            ]
        for thread in going:
            thread.join(30)
        day.dispatch(NOON + MINUTE)
        day.dispatch(NOON + 25 * HOUR)

        statuses = {(row.status, row.reason) for row in day.messages() if row.customer_id.startswith("erased:")}
        assert statuses == {("cancelled", "forgotten") if planned_first else ("skipped", "erased")}
        assert not [one for one in NEEDLES if one in written(day)]
        assert (to_anna(sandbox), len(sandbox.store.messages)) == ([], 2)


def start(day: Day, work: Callable[[], object], queueing: int) -> threading.Thread:
    """Start a thread; return it when it waits for the lock, behind so many others."""
    thread = threading.Thread(target=work)
    thread.start()
    waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with day.opened.ledger.reading() as conn:
            if conn.scalar(waits) == queueing + 1:
                return thread
        time.sleep(0.02)
    raise AssertionError("it does not wait")


class Failing(BaseHTTPRequestHandler):
    """Providers that break off: one text's record is deleted, every request after it gets no answer."""

    deleted: ClassVar[list[str]] = []

    def do_DELETE(self) -> None:
        if self.deleted:
            self.connection.close()
            return
        self.deleted.append(self.path)
        self.send_response(204)
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def failing() -> Iterator[str]:
    """The address of providers that break off."""
    Failing.deleted.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def texted(day: Day, sids: list[str]) -> None:
    """Let Anna have had these texts as well, and a question whether she wants any."""
    (waiting,) = day.messages(customer_id=WHO, step="text")
    with day.opened.ledger.writing() as conn:
        for number, sid in enumerate(sids[:-1]):
            values = {"id": f"{number:032x}", "step": f"text {number}", "status": "sent", "provider_id": sid}
            conn.execute(insert(schema.messages).values(**{**waiting._mapping, **values}))
        number = address_hash(PHONE, day.opened.secrets.pepper)
        for purpose in ("marketing", "back_in_stock"):
            wish = OptIn(f"wish-{purpose}", WHO, number, "sms", purpose, "words", NOON)
            opt_ins.ask(conn, wish, since=NOON - DAY)
        opt_ins.sent(conn, ["wish-marketing", "wish-back_in_stock"], sids[-1], NOON)


def test_providers_that_break_off_stop_nothing_and_what_they_kept_is_told_whole(
    lived: tuple[Day, Sandbox], failing: str, open_day: Callable[[SmallShop], Day]
) -> None:
    day, sandbox = lived
    sids = [f"SM{number:032x}" for number in range(24)]
    texted(day, sids)
    settings = day.shop.folder / "tidings.yaml"
    well = settings.read_text()
    settings.write_text(well.replace(sandbox.url, failing))

    done = forget.run(open_day(day.shop).opened, WHO, now=NOON + 2 * HOUR)

    (deleted,) = Failing.deleted
    mail, texts = done.by_hand
    assert "SendGrid: no answer" in mail
    assert sorted(one for one in sids if one not in texts) == [one for one in sids if one in deleted]
    assert not [one for one in (*NEEDLES, *sids) if one in written(day)]
    assert not any(one in f"{mail}{texts}" for one in NEEDLES)
    assert MAIL in {one.to for one in sandbox.store.messages}

    settings.write_text(well)
    again = forget.run(open_day(day.shop).opened, WHO, now=NOON + 3 * HOUR)

    assert again.by_hand == ()
    assert MAIL not in {one.to for one in sandbox.store.messages}


def test_a_provider_without_a_connection_is_told_and_stops_nothing(
    lived: tuple[Day, Sandbox], open_day: Callable[[SmallShop], Day]
) -> None:
    day, _ = lived
    del day.shop.environ["AIRFLOW_CONN_SENDGRID"]

    done = forget.run(open_day(day.shop).opened, WHO, now=NOON + 2 * HOUR)

    (told,) = done.by_hand
    assert told.startswith("email: the provider was not asked (")
    assert not [one for one in NEEDLES if one in written(day)]


def test_neither_start_nor_the_preference_page_opens_what_an_erasure_closed(lived: tuple[Day, Sandbox]) -> None:
    day, _ = lived
    forget.run(day.opened, WHO, now=NOON + 2 * HOUR)
    subject = f"a:{address_hash(MAIL, day.opened.secrets.pepper)}"
    every = ("stop", "unsubscribed", "erased")

    with day.opened.ledger.writing() as conn:
        people.lift(conn, [subject], channel=None, at=NOON + 4 * HOUR, reasons=every)
        people.lift(conn, [subject], channel=Channel.EMAIL, at=NOON + 4 * HOUR, reasons=every)

    with day.opened.ledger.reading() as conn:
        assert people.suppressed(conn, [subject]) == {subject: {"email", "sms"}}


def test_the_report_is_the_same_before_and_after_and_after_measuring_again(lived: tuple[Day, Sandbox]) -> None:
    day, _ = lived
    day.shop.order(WHO, NOON + 3 * HOUR)
    day.shop.load()
    day.dispatch(NOON + 26 * HOUR)
    measure.run(day.opened, now=NOON + 2 * DAY)
    before = asdict(report.run(day.opened, now=NOON + 3 * DAY))

    forget.run(day.opened, WHO, now=NOON + 3 * DAY)
    after = asdict(report.run(day.opened, now=NOON + 3 * DAY))
    measure.run(day.opened, now=NOON + 3 * DAY, full=True)
    measured = asdict(report.run(day.opened, now=NOON + 3 * DAY))

    assert _without_times(after) == _without_times(before)
    assert _without_times(measured) == _without_times(before)


def _without_times(found: Any) -> Any:
    return {name: value for name, value in found.items() if name not in ("measured_at", "generated_at", "as_of")}


def test_a_customer_who_shares_the_mailbox_is_not_written_to_there(
    tmp_path: Path, new_shop: Callable[..., SmallShop], open_day: Callable[[SmallShop], Day], sandbox: Sandbox
) -> None:
    shop = new_shop()
    shop.product()
    shop.customer("ann", email="both@post.example")
    shop.customer("bob", email="Both@post.example")
    shop.cart("bob")
    shop.load()
    day = open_day(shop)
    day.plan(NOON)

    forget.run(day.opened, "ann", now=NOON)
    day.dispatch(NOON + MINUTE)

    assert day.statuses() == {"bob": ("cancelled", "forgotten")}
    assert sandbox.store.messages == []


def test_nobody_is_forgotten_by_mistake(
    new_shop: Callable[..., SmallShop], open_day: Callable[[SmallShop], Day]
) -> None:
    shop = new_shop()
    shop.load()
    day = open_day(shop)

    with pytest.raises(DefinitionError, match="found nobody under this id"):
        forget.run(day.opened, "annn", now=NOON)
    with pytest.raises(DefinitionError, match="--email"):
        forget.run(day.opened, "ann", emails=["nonsense"], now=NOON)


def test_an_id_written_by_a_process_that_had_read_it_before_is_found_later(lived: tuple[Day, Sandbox]) -> None:
    day, _ = lived
    forget.run(day.opened, WHO, now=NOON + 2 * HOUR)
    with day.opened.ledger.writing() as conn:
        people.suppress(conn, [f"p:{WHO}"], channel="email", reason="stop", at=NOON, source="late")

    with day.opened.ledger.writing() as conn:
        left = erasing.leftovers(conn, day.opened.secrets.pepper)
        erasing.erase(conn, left, (), day.opened.secrets.pepper)

    assert left == [WHO]
    assert WHO not in written(day)
