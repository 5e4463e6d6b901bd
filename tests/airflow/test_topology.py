"""The production topology once, natively: PostgreSQL, Redis with a password, two Celery workers, two lanes."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow_live import AIRFLOW, clean_environment, token
from conftest import ROOT, environment
from sqlalchemy import MetaData, create_engine, select, text

from tidings.demo.processes import Services, free_port
from tidings.jobs.witness import Seen, forgotten
from tidings.ledger import restoring
from tidings.ledger.store import Ledger, migrate

pytestmark = pytest.mark.slow
PEOPLE = 240
PASSWORD = "a-password-of-this-test"

SHOP = """\
shop: fenmark
brand:
  name: Fenmark
  legal_name: Fenmark Oy
  postal_address: Kalevankatu 12, 00100 Helsinki, Finland
  url: https://fenmark.example
  zone: Europe/Helsinki
  currency: EUR
  country: FI
public_url: http://127.0.0.1:{web}
ledger: {{connection: tidings_ledger}}
senders: {{email: {{from: hello@fenmark.example}}}}
providers: {{email: {{name: sendgrid, base_url: "http://127.0.0.1:{sandbox}", connections: 4}}}}
allow_list: ["@post.example"]
quiet_hours: {{email: null}}
dispatch: {{shards: 8, lanes: 2, batch: 20}}
"""
MAPPING = """\
database: {kind: duckdb, files: {customers: data/customers.parquet, consents: data/consents.parquet,
  product_events: data/product_events.parquet, products: data/products.parquet, prices: data/prices.parquet,
  orders: data/orders.parquet}}
tables: {customers: {}, consents: {}, product_events: {lateness: 6h}, products: {}, prices: {}, orders: {}}
"""
CART = """\
id: cart
mode: live
detect: {type: cart_abandonment, idle: 1h}
schedule: "*/5 * * * *"
steps: [{name: reminder, channel: email, template: cart_abandonment/reminder}]
holdout: 0%
"""


def _tables(folder: Path) -> None:
    now = datetime.now(UTC)
    left, long_ago = now - timedelta(hours=3), now - timedelta(days=100)
    people = f"(SELECT 'c' || range AS id, range AS n FROM range({PEOPLE}))"
    rows = {
        "customers": "SELECT id AS customer_id, 'p' || n || '@post.example' AS email, NULL::VARCHAR AS phone, "
        f"'Canaryann' AS first_name, 'FI' AS country, 'Europe/Helsinki' AS zone FROM {people}",
        "consents": "SELECT id AS customer_id, 'email' AS channel, 'marketing' AS purpose, 'granted' AS status, "
        f"TIMESTAMPTZ '{long_ago}' AS occurred_at FROM {people}",
        "product_events": "SELECT 'e' || n AS event_id, id AS customer_id, 'added' AS kind, 'lamp' AS sku, 1 AS "
        f"quantity, 12900 AS price, 'EUR' AS currency, TIMESTAMPTZ '{left}' AS occurred_at FROM {people}",
        "products": "SELECT 'lamp' AS sku, 'p1' AS product_id, 'Kajo lamp' AS name, "
        "'https://fenmark.example/kajo' AS url, true AS active",
        "prices": f"SELECT 'lamp' AS sku, 'EUR' AS currency, 12900 AS amount, TIMESTAMPTZ '{long_ago}' AS valid_from",
        "orders": "SELECT 'o1' AS order_id, 'nobody' AS customer_id, 5000 AS total, 'EUR' AS currency, "
        f"TIMESTAMPTZ '{long_ago}' AS ordered_at",
    }
    (folder / "data").mkdir()
    with duckdb.connect() as made:
        made.execute("SET TimeZone = 'UTC'")
        for name, query in rows.items():
            made.execute(f"COPY ({query}) TO '{folder}/data/{name}.parquet' (FORMAT parquet)")


def _project(folder: Path, sandbox: int) -> Path:
    for name in ("dags", "plugins"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("_layouts", "cart_abandonment"):
        shutil.copytree(ROOT / "message_templates" / name, folder / "message_templates" / name)
    (folder / "triggers").mkdir()
    (folder / "triggers" / "cart.yaml").write_text(CART)
    (folder / "warehouse.yaml").write_text(MAPPING)
    (folder / "tidings.yaml").write_text(SHOP.format(web=free_port(0), sandbox=sandbox))
    _tables(folder)
    return folder


class Stack:
    """A started topology: where its API server, its ledger and its sandbox's record are."""

    def __init__(self, server: str, ledger: str, accepted: Path, logs: Path, metadata: str, home: Path) -> None:
        self.server, self.ledger, self.accepted, self.logs = server, ledger, accepted, logs
        self.metadata, self.home = metadata, home
        self._bearer = ""

    def ask(self, path: str) -> Any:
        self._bearer = self._bearer or token(self.server, "admin")
        request = urllib.request.Request(f"{self.server}{path}", headers={"Authorization": f"Bearer {self._bearer}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def statuses(self) -> Counter[str]:
        engine = create_engine(self.ledger)
        with engine.connect() as conn:
            found = conn.execute(text("SELECT status, count(*) FROM messages GROUP BY status")).all()
        engine.dispose()
        return Counter(dict(tuple(row) for row in found))


def _settings(home: Path, project: Path, airflow: str, ledger: str, redis: int) -> dict[str, str]:
    port = free_port(0)
    plain = airflow.removeprefix("postgresql+psycopg://")
    return clean_environment() | environment(home, project / "dags", port) | {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{plain}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+psycopg_async://{plain}",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{plain}",
        "AIRFLOW__CELERY__BROKER_URL": f"redis://:{PASSWORD}@127.0.0.1:{redis}/0",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
        "AIRFLOW_CONN_TIDINGS_LEDGER": json.dumps({"conn_type": "postgres", "extra": {"sqlalchemy_url": ledger}}),
        "AIRFLOW_CONN_SENDGRID": json.dumps({"conn_type": "tidings_sendgrid", "password": "SG.topology"}),
    }  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, kept_postgres: Callable[[], str]) -> Iterator[Stack]:
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server")
    folder = tmp_path_factory.mktemp("topology")
    sandbox, redis = free_port(0), free_port(0)
    project = _project(folder / "project", sandbox)
    airflow, ledger = kept_postgres(), kept_postgres()
    migrate(ledger)
    env = _settings(folder / "home", project, airflow, ledger, redis)
    server = f"http://127.0.0.1:{env['AIRFLOW__API__PORT']}"
    with Services(folder / "logs") as services:
        guarded = ["--requirepass", PASSWORD, "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        services.start("redis", ["redis-server", "--port", str(redis), *guarded], env, folder)
        sandbox_words = ["sandbox", "--port", str(sandbox), "--no-deliver", "--project", str(project)]
        services.tidings("sandbox", sandbox_words, env, project)
        subprocess.run([*AIRFLOW, "db", "migrate"], env=env, check=True, capture_output=True, timeout=120)
        services.start("api-server", [*AIRFLOW, "api-server"], env, folder)
        for number in (1, 2):
            words = ["celery", "worker", "--skip-serve-logs", "--celery-hostname", f"worker{number}@%h"]
            services.start(f"worker{number}", [*AIRFLOW, *words], env, folder)
        services.wait_for("api-server", f"{server}/api/v2/version", 150)
        for name in ("dag-processor", "scheduler"):
            services.start(name, [*AIRFLOW, name], env, folder)
        yield Stack(
            server,
            ledger,
            project / ".tidings" / "sandbox" / "accepted.jsonl",
            folder / "logs",
            airflow,
            folder / "home",
        )


def _wait(what: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(1)
    return False


def test_two_lanes_on_two_workers_send_every_message_once(stack: Stack):
    assert _wait(lambda: stack.statuses()["sent"] == PEOPLE, 240), stack.statuses()

    def lanes() -> list[dict[str, Any]]:
        found = stack.ask("/api/v2/dags/dispatch/dagRuns/~/taskInstances?limit=100")["task_instances"]
        return [one for one in found if one["task_id"] == "lane" and one["state"] == "success"]

    assert _wait(lambda: len(lanes()) >= 2, 60)
    assert {one["map_index"] for one in lanes()} == {0, 1}
    worked = [name for name in ("worker1", "worker2") if "succeeded in" in (stack.logs / f"{name}.log").read_text()]
    assert worked == ["worker1", "worker2"]
    runs = stack.ask("/api/v2/dags/cart/dagRuns?limit=5")["dag_runs"]
    assert "success" in {run["state"] for run in runs}

    # Whatever a later minute finds, nothing is sent a second time.
    before = len(stack.ask("/api/v2/dags/dispatch/dagRuns?limit=100&state=success")["dag_runs"])
    assert _wait(
        lambda: len(stack.ask("/api/v2/dags/dispatch/dagRuns?limit=100&state=success")["dag_runs"]) > before, 90
    )
    accepted = [json.loads(line)["to"] for line in stack.accepted.read_text().splitlines()]
    assert len(accepted) == len(set(accepted)) == PEOPLE
    assert stack.statuses() == Counter({"sent": PEOPLE})


def test_airflow_knows_nobody_who_was_written_to(stack: Stack):
    """No address and no name in its metadata (XCom, rendered fields, conf), in a task's log or in a service's."""
    assert _wait(lambda: stack.statuses()["sent"] == PEOPLE, 240), stack.statuses()
    engine, tables = create_engine(stack.metadata), MetaData()
    with engine.connect() as conn:
        tables.reflect(conn)
        told = [str(row) for table in tables.sorted_tables for row in conn.execute(select(table))]
    engine.dispose()
    logs = [one for folder in (stack.logs, stack.home) for one in folder.rglob("*.log")]

    said = "\n".join([*told, *(one.read_text(errors="replace") for one in logs)])

    assert "planned campaign=cart" in said or "found" in said
    assert len(logs) > 5
    assert [word for word in ("@post.example", "Canaryann") if word in said] == []


def test_a_live_lane_tells_airflow_how_far_the_ledger_is(stack: Stack):
    """The witness outside the ledger: a Variable for each lane, which a restored ledger is held against."""
    assert _wait(lambda: stack.statuses()["sent"] == PEOPLE, 240), stack.statuses()
    ledger = Ledger.open(stack.ledger)

    def told() -> dict[str, Seen]:
        found = stack.ask("/api/v2/variables?limit=100")["variables"]
        return {one["key"]: Seen.read(one["value"]) for one in found if one["key"].startswith("tidings_witness_")}

    def last() -> tuple[str, int]:
        with ledger.writing() as conn:
            newest = restoring.last_sending(conn)
            return restoring.generation(conn), newest.number if newest else 0

    try:
        # Each lane tells at its beginning and at its end; the one that ended last knows of every sending.
        assert _wait(lambda: max((one.number for one in told().values()), default=0) == last()[1] > 0, 90), told()
        seen = told()
        assert seen.keys() <= {"tidings_witness_fenmark_1", "tidings_witness_fenmark_2"}
        assert {one.generation for one in seen.values()} == {last()[0]}
        assert forgotten(ledger, list(seen.values())) == []
        newest = max(seen.values(), key=lambda one: one.number)
        more = replace(newest, number=newest.number + 1_000)
        assert forgotten(ledger, [more]) == [more]
    finally:
        ledger.close()
