"""What the tasks do with a real project: stale sources, an audience that waits, and counts that add up."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pytest
from sqlalchemy import insert, select

from tidings.jobs import plan
from tidings.jobs.migrate import run as migrate
from tidings.jobs.opening import Opened, open_project
from tidings.ledger import opt_ins, opt_outs, raw_events, schema
from tidings.ledger.opt_ins import OptIn
from tidings.ledger.opt_outs import Decision
from tidings.ledger.raw_events import Raw
from tidings.plan.eligibility import address_hash
from tidings.sandbox.server import ACCOUNT_SID, AUTH_TOKEN, Sandbox

NOW = datetime.now(UTC).replace(microsecond=0)
PEOPLE = 12
CART = """\
id: cart
mode: live
detect: {type: cart_abandonment, idle: 1h}
schedule: "*/15 * * * *"
steps: [{name: reminder, channel: email, template: cart_abandonment/reminder}]
"""


@pytest.fixture
def shop(project: Path) -> Path:
    """The repository's shop with one campaign and twelve carts; orders were loaded a minute ago."""
    for path in (project / "triggers").glob("*.yaml"):
        path.unlink()
    (project / "triggers" / "cart.yaml").write_text(CART)
    (project / "warehouse.yaml").write_text(_mapping())
    _tables(project)
    migrate(project)
    return project


def _mapping() -> str:
    names = ("customers", "consents", "product_events", "products", "prices", "orders")
    files = ", ".join(f"{name}: data/{name}.parquet" for name in names)
    return (
        f"database: {{kind: duckdb, files: {{{files}}}}}\n"
        "tables:\n  customers: {}\n  consents: {}\n  product_events: {}\n  products: {}\n  prices: {}\n"
        "  orders: {freshness: 2h, watermark: {column: updated_at}}\n"
    )


def _tables(folder: Path, *, loaded: datetime = NOW - timedelta(minutes=1)) -> None:
    left, long_ago = NOW - timedelta(hours=3), NOW - timedelta(days=100)
    people = f"(SELECT 'c' || range AS id, range AS n FROM range({PEOPLE}))"
    rows = {
        "customers": "SELECT id AS customer_id, 'p' || n || '@post.example' AS email, "
        "CASE WHEN n = 0 THEN '+358401234567' END AS phone, 'Ann' AS first_name, "
        f"'FI' AS country, 'Europe/Helsinki' AS zone FROM {people}",
        "consents": "SELECT id AS customer_id, 'email' AS channel, 'marketing' AS purpose, 'granted' AS status, "
        f"TIMESTAMPTZ '{long_ago}' AS occurred_at FROM {people}",
        "product_events": "SELECT 'e' || n AS event_id, id AS customer_id, 'added' AS kind, 'lamp' AS sku, 1 AS "
        f"quantity, 12900 AS price, 'EUR' AS currency, TIMESTAMPTZ '{left}' AS occurred_at FROM {people}",
        "products": "SELECT 'lamp' AS sku, 'p1' AS product_id, 'Kajo lamp' AS name, 'https://x.example' AS url",
        "prices": f"SELECT 'lamp' AS sku, 'EUR' AS currency, 12900 AS amount, TIMESTAMPTZ '{long_ago}' AS valid_from",
        "orders": "SELECT 'o1' AS order_id, 'nobody' AS customer_id, 5000 AS total, 'EUR' AS currency, "
        f"TIMESTAMPTZ '{long_ago}' AS ordered_at, TIMESTAMPTZ '{loaded}' AS updated_at",
    }
    (folder / "data").mkdir(exist_ok=True)
    with duckdb.connect() as made:
        made.execute("SET TimeZone = 'UTC'")
        for name, query in rows.items():
            made.execute(f"COPY ({query}) TO '{folder}/data/{name}.parquet' (FORMAT parquet)")


def test_a_run_finds_plans_and_accounts_for_everybody(shop: Path):
    from tidings.airflow import tasks

    assert tasks.sources_fresh(shop, "cart", {})["stale"] == 0
    counts = tasks.find_and_plan(shop, "cart", {})

    assert (counts["found"], counts["new"]) == (PEOPLE, PEOPLE)
    assert tasks.answers_add_up(counts) == {"found": PEOPLE, "planned": PEOPLE, "not_planned": 0}
    assert tasks.find_and_plan(shop, "cart", {})["new"] == 0


def test_what_a_task_hands_on_is_counts_and_never_people(shop: Path):
    from tidings.airflow import tasks

    handed = json.dumps([tasks.sources_fresh(shop, "cart", {}), tasks.find_and_plan(shop, "cart", {})])

    assert "post.example" not in handed
    assert '"c1"' not in handed


def test_a_stale_source_skips_the_run_and_names_it_and_is_remembered(shop: Path):
    from airflow.sdk.exceptions import AirflowSkipException

    from tidings.airflow import tasks

    _tables(shop, loaded=NOW - timedelta(hours=9))

    with pytest.raises(AirflowSkipException, match=r"stale_source: orders .* nothing is planned ahead"):
        tasks.sources_fresh(shop, "cart", {})
    with open_project(shop) as opened:
        assert plan.run(opened, "cart").stale == "orders"


def test_an_audience_above_the_guard_waits_and_says_how_to_let_it_in(shop: Path):
    from airflow.sdk.exceptions import AirflowSkipException

    from tidings.airflow import tasks

    (shop / "triggers" / "cart.yaml").write_text(CART + "max_initial_audience: 5\n")

    with pytest.raises(AirflowSkipException, match=r"waits for approval: 12 people .* `tidings approve cart`"):
        tasks.find_and_plan(shop, "cart", {})
    with open_project(shop) as opened:
        plan.approve(opened, "cart")
    assert tasks.find_and_plan(shop, "cart", {})["new"] == PEOPLE


def test_a_dry_run_by_hand_plans_into_its_own_space(shop: Path):
    from tidings.airflow import tasks

    counts = tasks.find_and_plan(shop, "cart", {"dry_run": True, "as_of": NOW.isoformat()})

    assert (counts["space"], counts["new"]) == ("dry_run", PEOPLE)
    assert not tasks.anything_due(shop)


def test_the_moment_asked_for_is_utc_where_nothing_else_is_said():
    from tidings.airflow import tasks

    assert tasks.as_of({"as_of": "2026-03-02T09:00:00"}) == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert tasks.as_of({"as_of": "2026-03-02T09:00:00+02:00"}) == datetime(2026, 3, 2, 7, tzinfo=UTC)
    assert tasks.as_of({"as_of": None}) is None


@pytest.mark.parametrize("change", [{"new": 4}, {"planned": 1}, {"found": 2}], ids=["new", "planned", "found"])
def test_counts_that_do_not_add_up_fail_the_run(change: dict[str, Any]):
    from airflow.sdk.exceptions import AirflowFailException

    from tidings.airflow import tasks

    right = {"found": 5, "new": 3, "known": 2, "steps": 2, "planned": 5, "held_out": 1, "skipped": {"no_address": 1}}
    assert tasks.answers_add_up({**right, "expired": 0})["planned"] == 5

    with pytest.raises(AirflowFailException):
        tasks.answers_add_up({**right, "expired": 0, **change})


def test_a_persons_mistake_fails_the_task_at_once_in_its_own_words(shop: Path):
    from airflow.sdk.exceptions import AirflowFailException

    from tidings.airflow import tasks

    (shop / "triggers" / "cart.yaml").write_text(CART.replace("idle: 1h", "idle: 1"))

    with pytest.raises(AirflowFailException, match=r"detect\.idle"):
        tasks.find_and_plan(shop, "cart", {})


def test_a_ledger_that_is_behind_fails_the_task_and_may_be_tried_again(project: Path):
    from airflow.sdk.exceptions import AirflowFailException

    from tidings.airflow import tasks
    from tidings.errors import LedgerError

    with pytest.raises(LedgerError, match="tidings migrate") as told:
        tasks.anything_due(project)
    assert not isinstance(told.value, AirflowFailException)


def test_nothing_due_and_a_lane_with_nothing_to_do_say_so(shop: Path):
    from tidings.airflow import tasks

    assert tasks.anything_due(shop) is False
    assert tasks.send_what_is_due(shop)["claimed"] == 0
    assert tasks.measure_results(shop)["credited"] == 0


def test_a_brake_fails_its_task_once_with_what_to_do(shop: Path) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from tidings.airflow import tasks
    from tidings.jobs import brakes

    assert tasks.tell_of_brakes(shop) == {"on": 0, "told": 0}
    with open_project(shop) as opened:
        brakes.pull(opened, "cart", "wrong price", by="ann")

    with pytest.raises(AirflowFailException, match=r"wrong price; by ann.*tidings resume cart"):
        tasks.tell_of_brakes(shop)

    assert tasks.tell_of_brakes(shop) == {"on": 1, "told": 0}


class Hook(BaseHTTPRequestHandler):
    """Another tool of the shop's, which takes decisions when ``answer`` says so."""

    answer: ClassVar[int] = 503
    taken: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken += [body] if self.answer == 204 else []
        self.send_response(self.answer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[str]:
    Hook.answer = 503
    Hook.taken.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/decisions"
    server.shutdown()
    server.server_close()


def test_telephones_are_asked_other_tools_told_and_early_events_taken(
    shop: Path, hook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from tidings.airflow import tasks

    for name, login in (("TWILIO", ACCOUNT_SID), ("OPT_OUT_WEBHOOK", "")):
        words = {"conn_type": "tidings_twilio", "login": login, "password": AUTH_TOKEN}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(words))
    with Sandbox() as sandbox:
        settings = shop / "tidings.yaml"
        told = settings.read_text().replace("http://127.0.0.1:8095", sandbox.url)
        settings.write_text(told + f'opt_out_webhook: {{url: "{hook}"}}\n')
        with open_project(shop) as opened:
            _wait_for_us(opened)

        with pytest.raises(AirflowFailException, match=r"opt_out_webhook: answered 503; 1 decisions wait .*preferen"):
            tasks.ask_and_tell(shop)
        # What other tools do not take holds up nothing else.
        with open_project(shop) as opened, opened.ledger.reading() as conn:
            assert conn.scalar(select(schema.messages.c.status)) == "sent"
        Hook.answer = 204
        counts = tasks.ask_and_tell(shop)

        assert counts == {"asked": 0, "asked_later": counts["asked_later"], "told": 1, "adopted": 0}
        asked = len(sandbox.store.messages)
        assert asked + counts["asked_later"] == 1
        assert json.loads(Hook.taken[0])["decisions"][0]["reason"] == "unsubscribed"
        assert tasks.ask_and_tell(shop) == {**counts, "told": 0}
    assert "+35840" not in json.dumps(counts)


def _wait_for_us(opened: Opened) -> None:
    """Leave a wish for texts, a decision nobody was told, and an event that came before its message was known."""
    number = address_hash("+358401234567", opened.secrets.pepper)
    with opened.ledger.writing() as conn:
        opt_ins.ask(conn, OptIn("w", "c0", number, "sms", "marketing", "words", NOW), since=NOW - timedelta(days=7))
        opt_outs.note(conn, [Decision("email", True, "unsubscribed", NOW, "one_click", customer_id="c1")])
        conn.execute(insert(schema.entries).values(
            id="e", space="live", campaign="cart", entry_key="k", customer_id="c1", sku="", anchor_at=NOW,
            entered_at=NOW, planned_at=NOW, arm="treated", variant="", seen="{}", run_id="r",
        ))  # fmt: skip
        conn.execute(insert(schema.messages).values(
            id="m" * 32, entry_id="e", space="live", campaign="cart", step="reminder", step_no=0, channel="email",
            customer_id="c1", shard=0, priority=50, held_out=False, status="unknown", send_at=NOW, first_send_at=NOW,
            expires_at=NOW, sending_at=NOW, attempt=1, deferrals=0, provider_id="abc",
        ))  # fmt: skip
        event = {"event": "delivered", "sg_event_id": "ev", "sg_message_id": "abc.x", "timestamp": int(NOW.timestamp())}
        raw_events.keep(conn, [Raw("ev", "sendgrid", "delivered", json.dumps(event), provider_id="abc")], NOW)
