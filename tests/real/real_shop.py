"""A real shop's whole job, in its own time: a project folder, its campaigns planned, sent, clicked on, measured."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from sqlalchemy import select, update

from tidings.jobs import dispatch, measure, plan
from tidings.jobs.opening import Opened, open_project
from tidings.ledger import schema
from tidings.ledger.store import migrate
from tidings.measure import report
from tidings.measure.figures import Report
from tidings.sandbox.acts import Act
from tidings.sandbox.api import Accounts
from tidings.sandbox.server import ACCOUNT_SID, Sandbox
from tidings.settings import EnvConnections
from tidings.web.public import public_app

ROOT = Path(__file__).parents[2]
SHOP = """\
shop: {name}
brand: {{name: The Shop, legal_name: The Shop Ltd, postal_address: "1 Market Street, London, United Kingdom",
        url: "https://shop.example", zone: Europe/London, currency: {currency}, country: GB}}
public_url: {public_url}
ledger: {{connection: ledger}}
senders: {{email: {{from: hello@shop.example}}, sms: {{from: "+15005550006"}}}}
providers:
  email: {{name: sendgrid, base_url: "{sandbox}"}}
  sms: {{name: twilio, base_url: "{sandbox}"}}
dispatch: {{shards: 1}}
"""
REES46 = {
    "cart_abandonment": """\
id: cart_abandonment
mode: live
detect: {type: cart_abandonment, idle: 10m, order_grace: 0m}
schedule: "*/15 * * * *"
steps:
  - {name: reminder, channel: email, template: cart_abandonment/reminder, expires_after: 24h}
  - {name: last_chance, after: 6h, min_gap: 0h, channel: sms, template: cart_abandonment/last_chance}
send_window: {from: "09:00", to: "20:00"}
priority: 30
holdout: 25%
""",
    "browse_abandonment": """\
id: browse_abandonment
mode: live
detect: {type: browse_abandonment, idle: 10m, minimum_views: 3}
schedule: "*/30 * * * *"
steps:
  - {name: reminder, channel: email, template: browse_abandonment/reminder, expires_after: 24h}
send_window: {from: "09:00", to: "20:00"}
priority: 40
holdout: 10%
""",
}
ONLINE_RETAIL = {
    "win_back": """\
id: win_back
mode: live
detect: {type: win_back, lapse: 90d, minimum_orders: 2, entry_window: 7d}
schedule: "0 7 * * *"
steps:
  - {name: hello, channel: email, template: win_back/hello, expires_after: 7d}
  - {name: stay, after: 1d, channel: email, template: win_back/stay, expires_after: 7d}
cooldown: 90d
send_window: {from: "09:00", to: "19:00"}
priority: 60
holdout: 25%
""",
    # Everybody who ever lapsed: a dry run, which nobody gets.
    "every_win_back": """\
id: every_win_back
mode: dry_run
detect: {type: win_back, lapse: 90d, minimum_orders: 2, entry_window: null}
schedule: "0 7 * * *"
steps:
  - {name: hello, channel: email, template: win_back/hello, expires_after: 400d}
cooldown: 90d
holdout: 25%
""",
    "price_drop": """\
id: price_drop
mode: live
detect: {type: price_drop, minimum_percent: 20%, minimum_amount: {GBP: 0.50}}
schedule: "5 * * * *"
steps:
  - {name: alert, channel: email, template: price_drop/alert, expires_after: 24h}
send_window: {from: "09:00", to: "20:00"}
priority: 20
holdout: 10%
""",
    "back_in_stock": """\
id: back_in_stock
mode: live
detect: {type: back_in_stock}
schedule: "*/15 * * * *"
steps:
  - {name: back, channel: email, template: back_in_stock/back, expires_after: 14d, purposes: [back_in_stock, marketing]}
priority: 10
holdout: 10%
""",
}


@dataclass(frozen=True, slots=True)
class Story:
    """What is done with a data set, and when: plans as of one moment, dispatches at others, and a measurement."""

    currency: str
    campaigns: Mapping[str, str]
    as_of: datetime
    dispatches: Sequence[datetime]
    measured_at: datetime


STORIES = {
    "rees46": Story(
        "USD", REES46, datetime(2019, 10, 1, 2, 50, tzinfo=UTC),
        [datetime(2019, 10, 1, *at, tzinfo=UTC) for at in ((2, 55), (10, 30), (18, 0))],
        datetime(2019, 10, 3, tzinfo=UTC),
    ),
    "online_retail": Story(
        "GBP", ONLINE_RETAIL, datetime(2010, 12, 1, tzinfo=UTC),
        [datetime(2010, 12, day, 10, tzinfo=UTC) for day in (1, 2)],
        datetime(2010, 12, 10, tzinfo=UTC),
    ),
}  # fmt: skip


@dataclass
class Lived:
    """What came of it. ``again`` are the counters of the same plans and dispatches done a second time."""

    story: Story
    opened: Opened
    sandbox: Sandbox
    plans: dict[str, plan.PlanCounts] = field(default_factory=dict)
    again: dict[str, plan.PlanCounts] = field(default_factory=dict)
    dispatches: list[dispatch.DispatchCounts] = field(default_factory=list)
    dry: dispatch.DispatchCounts | None = None
    repeated: list[dispatch.DispatchCounts] = field(default_factory=list)
    measured: measure.MeasureCounts | None = None
    report: Report | None = None

    def rows(self, table: Any, **only: Any) -> list[Any]:
        """Return rows of the ledger."""
        wanted = [table.c[name] == value for name, value in only.items()]
        with self.opened.ledger.reading() as conn:
            return list(conn.execute(select(table).where(*wanted)))

    def messages(self, **only: Any) -> list[Any]:
        """Return the messages that are not a dry run's."""
        return self.rows(schema.messages, space="live", **only)

    def answers(self) -> list[tuple[Any, ...]]:
        """Return every entry's and every message's answer without what is random in it."""
        entries = {row.id: (row.space, row.entry_key, row.arm, row.seen) for row in self.rows(schema.entries)}
        found = []
        for row in self.rows(schema.messages):
            said = (str(row.status), row.reason or "", str(row.first_send_at), str(row.sent_at))
            found.append((row.campaign, row.step, row.customer_id, *entries[row.entry_id], *said))
        return sorted(found)


@contextmanager
def live(name: str, folder: Path, data: Path, urls: tuple[str, str] | None) -> Iterator[Lived]:
    """Do the whole job once, then the same again; ``urls`` are a PostgreSQL warehouse and ledger, else files."""
    story = STORIES[name]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        public_url = f"http://127.0.0.1:{free.getsockname()[1]}"
    environ = lay_out(name, folder, data, urls)
    settings = SHOP.format(name=name, currency=story.currency, public_url=public_url, sandbox="http://127.0.0.1:1")
    (folder / "tidings.yaml").write_text(settings, encoding="utf-8")
    with open_project(folder, EnvConnections(environ)) as keys:
        secrets = keys.secrets
    accounts = Accounts(ACCOUNT_SID, secrets.twilio_auth_token or "")
    environ["AIRFLOW_CONN_TWILIO"] = json.dumps(
        {"conn_type": "tidings_twilio", "login": ACCOUNT_SID, "password": accounts.auth_token}
    )
    with Sandbox(public_url=public_url, accounts=accounts, signing_key=secrets.sandbox_key) as sandbox:
        settings = settings.replace('"http://127.0.0.1:1"', f'"{sandbox.url}"')
        (folder / "tidings.yaml").write_text(settings, encoding="utf-8")
        with open_project(folder, EnvConnections(environ)) as opened, serving(opened, public_url):
            lived = Lived(story, opened, sandbox)
            do(lived)
            yield lived


def lay_out(name: str, folder: Path, data: Path, urls: tuple[str, str] | None) -> dict[str, str]:
    """Make the project's folder but for tidings.yaml; return its environment."""
    mapping = yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8"))
    ledger = f"sqlite:///{folder}/ledger.sqlite"
    environ = {"AIRFLOW_CONN_SENDGRID": json.dumps({"conn_type": "tidings_sendgrid", "password": "SG.real"})}
    if urls is not None:
        ledger = urls[1]
        mapping["database"] = {"kind": "postgresql", "connection": "warehouse"}
        environ["AIRFLOW_CONN_WAREHOUSE"] = connection(urls[0])
    else:
        for files in mapping["database"]["files"].values():
            files.update({kind: str(data / path) for kind, path in files.items()})
    environ["AIRFLOW_CONN_LEDGER"] = connection(ledger)
    migrate(ledger)
    (folder / "warehouse.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False), encoding="utf-8")
    (folder / "triggers").mkdir()
    for campaign, text in STORIES[name].campaigns.items():
        (folder / f"triggers/{campaign}.yaml").write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "message_templates", folder / "message_templates")
    return environ


def connection(url: str) -> str:
    """Return a connection to a database as an environment variable holds it."""
    return json.dumps({"conn_type": "generic", "extra": {"sqlalchemy_url": url}})


@contextmanager
def serving(opened: Opened, url: str) -> Iterator[None]:
    """Run the public web service, where clicks and webhooks arrive."""
    app, port = public_app(opened), int(url.rpartition(":")[2])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def do(lived: Lived) -> None:
    """Plan, send, click, measure and report; then plan and send the same again."""
    story, opened = lived.story, lived.opened
    lived.plans = planned(lived)
    lived.dispatches = dispatched(lived, clicks=True)
    if any(one.space == "dry_run" for one in lived.plans.values()):
        lived.dry = dispatch.run(opened, now=story.dispatches[0], dry_run=True)
    lived.measured = measure.run(opened, now=story.measured_at)
    start = story.as_of - timedelta(days=28)
    lived.report = report.build(
        opened.ledger, opened.project, start=start, end=story.measured_at, now=story.measured_at
    )
    with opened.ledger.writing() as conn:
        conn.execute(update(schema.campaigns).values(watermark=None))
    lived.again = planned(lived)
    lived.repeated = dispatched(lived)


def planned(lived: Lived) -> dict[str, plan.PlanCounts]:
    """Plan every campaign as of the story's moment."""
    as_of = lived.story.as_of
    return {name: plan.run(lived.opened, name, now=as_of, as_of=as_of) for name in lived.story.campaigns}


def dispatched(lived: Lived, *, clicks: bool = False) -> list[dispatch.DispatchCounts]:
    """Send at each of the story's moments; with ``clicks`` everybody clicks, an hour after an e-mail came."""
    found, clicked = [], 0
    for now in lived.story.dispatches:
        lived.sandbox.set_clock(now)
        found.append(dispatch.run(lived.opened, now=now, budget=timedelta(minutes=10)))
        fresh = lived.sandbox.store.messages[clicked:]
        clicked += len(fresh)
        if clicks:
            later = {"deliver": now + timedelta(minutes=1), "click": now + timedelta(hours=1)}
            letters = [one.message for one in fresh if one.provider == "sendgrid"]
            acts = [Act(letter, what, at) for letter in letters for what, at in later.items()]
            assert lived.sandbox.act(acts).failed == []
    return found


def answered(counts: dispatch.DispatchCounts) -> Counter[str]:
    """Return what became of the messages that a dispatcher claimed, one answer each."""
    names = ("sent", "held_out", "retried", "failed", "unknown", "deferred", "let_go", "lost", "expired")
    found = Counter({name: getattr(counts, name) for name in names})
    found.update(skipped=sum(counts.skipped.values()), cancelled=sum(counts.cancelled.values()))
    return +found
