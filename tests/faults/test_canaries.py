"""I9: canary values in every personal field, a full cycle with everything going wrong, and then a search for them.

The net that masks logs is not installed here: nothing may fall into it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvicorn
from schedule import free_port
from small_shop import DAY, HOUR, LETTER, MINUTE, NOON, Day, SmallShop, lay_out
from sqlalchemy import Integer, MetaData, cast, select

from tidings.errors import LedgerError
from tidings.jobs import check, explain, forget, measure, preview, report
from tidings.ledger.schema import brakes
from tidings.sandbox.acts import Act
from tidings.sandbox.faults import Fault
from tidings.sandbox.server import Sandbox
from tidings.web.public import public_app

CANARIES = ("canarymail", "3585077", "Canaryfirst", "Canarylast", "Canaryregion", "canarysegment", "Canarystreet")
CAMPAIGN = """\
id: cart
mode: live
detect: {type: cart_abandonment, idle: 1h}
schedule: "*/15 * * * *"
steps:
  - {name: reminder, channel: email, template: cart/reminder, expires_after: 24h}
  - {name: text, channel: sms, template: cart/text, after: 6h, min_gap: 1h}
holdout: 0%
"""
# It greets everybody by name, and breaks for one of them, quoting who that is.
WORDS = LETTER.replace(
    "<h1>Your cart</h1>",
    "<h1>{{ customer.first_name }} {{ customer.last_name }}</h1>"
    "{% if '3' in customer.last_name %}{{ customer.last_name.no_such_thing.at_all }}{% endif %}",
)


class Heard(logging.Handler):
    """Keeps every record as a handler would write it, arguments and traceback included."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        told = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        self.lines.append(f"{record.name} {record.getMessage()} {record.__dict__} {told}")


@pytest.fixture
def heard() -> Iterator[Heard]:
    root, listening = logging.getLogger(), Heard()
    before = root.level
    root.addHandler(listening)
    root.setLevel(logging.DEBUG)
    for name in ("sqlalchemy", "tidings", "aiohttp", "asyncio", "uvicorn", "twilio"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO)
    yield listening
    root.removeHandler(listening)
    root.setLevel(before)
    logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)


@pytest.fixture
def parrot() -> Iterator[str]:
    """A provider that refuses everything and says of whom."""

    class Parrot(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            said = orjson.dumps({"errors": [{"message": f"cannot mail {body}", "field": body}], "message": body,
                                 "code": 21211})  # fmt: skip
            self.send_response(400)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def public_service(day: Day) -> Iterator[None]:
    port = int(day.opened.settings.public_url.rpartition(":")[2])
    server = uvicorn.Server(uvicorn.Config(public_app(day.opened), port=port, log_level="debug", log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    yield
    server.should_exit = True
    thread.join()


def canaries(shop: SmallShop, people: int) -> None:
    """People of whom every field tells who they are."""
    shop.product()
    for n in range(people):
        shop.customer(
            f"c{n}", email=f"canarymail{n}@post.example", phone=f"+358507700{n:03d}", first_name=f"Canaryfirst{n}",
            last_name=f"Canarylast{n}", region=f"Canaryregion{n}", segment=f"canarysegment{n}",
        )  # fmt: skip
        shop.cart(f"c{n}")
    shop.load()


def dump(day: Day) -> str:
    found = MetaData()
    with day.opened.ledger.reading() as conn:
        found.reflect(conn)
        return "\n".join(str(tuple(row)) for table in found.sorted_tables for row in conn.execute(select(table)))


def found_in(text: str) -> list[str]:
    """Return where a canary sings, with what is around it."""
    places = ((one, text.lower().find(one.lower())) for one in CANARIES)
    return [text[max(0, at - 200) : at + 60] for _, at in places if at >= 0]


def told_of(mistake: BaseException) -> str:
    return "".join(traceback.format_exception(mistake))


def twice_the_same(day: Day) -> None:
    one = {"scope": "canarymail@post.example", "reason": "a key that is there already", "at": NOON, "by": "x"}
    with day.opened.ledger.writing() as conn:
        conn.execute(brakes.insert().values(**one))
        conn.execute(brakes.insert().values(**one))


def failures(day: Day) -> Iterator[str]:
    """Provoke errors that would like to quote a value; yield what each said."""
    customers = day.opened.shop.tables["customers"]
    with pytest.raises(Exception) as wrong_type:
        list(day.opened.shop.stream(select(cast(customers.c.email, Integer))))
    yield told_of(wrong_type.value)
    with pytest.raises(Exception) as wrong_words:
        preview.run(day.opened, "cart", "reminder", customer_id="c3", now=NOON)
    yield told_of(wrong_words.value)
    with pytest.raises(LedgerError) as twice:
        twice_the_same(day)
    yield told_of(twice.value)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("postgres_url"))


def lived(shop: SmallShop, sandbox: Sandbox, day: Day) -> list[str]:
    """Live a day in which everything that can go wrong does; return what was said aloud."""
    said: list[str] = []
    day.plan(NOON)
    for kind in ("400", "500", "garbage", "429", "drop_after_accept"):
        sandbox.faults.add(Fault(kind, count=1))
    for hours in (0, 1, 6, 7):
        day.dispatch(NOON + hours * HOUR + MINUTE)
    with public_service(day):
        for number, kept in enumerate(list(sandbox.store.messages)):
            acts = ("deliver", "bounce", "complain", "scan", "unsubscribe") if kept.provider == "sendgrid" else (
                "deliver", "stop", "bounce", "help")  # fmt: skip
            sandbox.act([Act(kept.id, acts[number % len(acts)], NOON + 8 * HOUR)])
    said += failures(day)
    said += [str(asdict(explain.run(day.opened, f"c{n}", now=NOON + 9 * HOUR))) for n in range(8)]
    measure.run(day.opened, now=NOON + DAY)
    said += [str(asdict(report.run(day.opened, now=NOON + DAY))), str(check.run(day.opened.project.folder))]
    return said


def test_nobody_is_named_anywhere_but_where_they_are_written_to(ledger_url: str, tmp_path: Path, heard: Heard) -> None:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        shop = lay_out(
            tmp_path / "shop", ledger_url=ledger_url, sandbox_url=sandbox.url, campaigns={"cart": CAMPAIGN},
            settings="dispatch: {halt_after: 1000, connect_timeout: 2s, timeout: 2s}\n",
        )  # fmt: skip
        _at_home(shop, sandbox)
        (shop.folder / "message_templates/cart/reminder.mjml").write_text(WORDS)
        canaries(shop, 9)
        with shop.opened() as opened:
            day = Day(shop, opened)
            sandbox.point_at(opened.settings.public_url)
            said = lived(shop, sandbox, day)
            statuses = day.counted()
            assert {"sent", "failed", "unknown"} <= statuses.keys()
            assert found_in(dump(day)) == []
            forget.run(opened, "c0", now=NOON + DAY)
            said.append(dump(day))
        for one in sandbox.store.messages:
            words = sandbox.store.words(one)
            said.append(str((words.get("custom_args"), words["headers"], one.callback)))
    assert found_in("\n".join(said)) == []
    assert found_in("\n".join(heard.lines)) == []
    assert _files(shop.folder) == []
    if ledger_url.startswith("sqlite"):
        assert found_in(Path(ledger_url.removeprefix("sqlite:///")).read_bytes().decode("latin-1")) == []


def test_a_provider_that_repeats_what_it_was_given_is_not_believed(parrot: str, tmp_path: Path, heard: Heard) -> None:
    shop = lay_out(
        tmp_path / "shop", ledger_url=f"sqlite:///{tmp_path}/ledger.db", sandbox_url=parrot,
        campaigns={"cart": CAMPAIGN},
    )  # fmt: skip
    (shop.folder / "message_templates/cart/reminder.mjml").write_text(WORDS)
    canaries(shop, 6)

    with shop.opened() as opened:
        day = Day(shop, opened)
        day.plan(NOON)
        day.dispatch(NOON + MINUTE)
        told = dump(day)

    assert day.shop is shop
    assert "failed" in told
    assert found_in(told) == []
    assert found_in("\n".join(heard.lines)) == []


def _at_home(shop: SmallShop, sandbox: Sandbox) -> None:
    """Give a shop a free public address and the sandbox's keys."""
    told = shop.folder / "tidings.yaml"
    told.write_text(told.read_text().replace("http://127.0.0.1:8090", f"http://127.0.0.1:{free_port()}"))
    known = {
        "conn_type": "tidings_sendgrid",
        "password": "SG.small",
        "extra": {"webhook_public_key": sandbox.public_key},
    }
    shop.environ["AIRFLOW_CONN_SENDGRID"] = orjson.dumps(known).decode()
    shop.environ["TIDINGS_TWILIO_AUTH_TOKEN"] = sandbox.accounts.auth_token


def _files(folder: Path) -> list[str]:
    """Return the project's files, but for the shop's own data, in which a canary stands."""
    files = (one for one in folder.rglob("*") if one.is_file() and "data" not in one.parts)
    return [str(one) for one in files if found_in(one.read_bytes().decode("latin-1")) and one.name != "reminder.mjml"]
