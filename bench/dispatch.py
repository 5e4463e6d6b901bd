"""Dispatch, the full path to a local sink, against a bare aiohttp + sandboxed Jinja2 loop and the official client.

``python bench/dispatch.py [--messages 20000] [--connections 400] [--rounds 3] [--quick]``. All three write the same
e-mails with the same templates to the same sink, in turn, in one run. The bare loop has every value at hand and no
memory: no ledger, no warehouse, no caps, and after a crash it would not know what it had sent. The official client is
measured over TLS, which is what it speaks to its provider.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import sendgrid
import servers
import shop
import uvloop
from jinja2.sandbox import SandboxedEnvironment
from sendgrid.helpers.mail import Mail
from sink import certificate, sink
from table import Result, printed

from tidings.channels import wire
from tidings.content.context import Occasion, Offer, build
from tidings.content.links import Links, utm
from tidings.content.templates import FILTERS
from tidings.jobs import dispatch, plan
from tidings.jobs.compose import product_facts
from tidings.jobs.facts import gather, with_products
from tidings.jobs.opening import Opened, open_project
from tidings.ledger import dispatching, store
from tidings.model.people import Channel
from tidings.settings import EnvConnections

LATE = 0.05


@dataclass(frozen=True)
class Mailing:
    """The same e-mails for the two yardsticks: compiled parts, and the ready values of each message."""

    html: Any
    plain: Any
    values: Sequence[tuple[str, str, dict[str, Any]]]  # message id, address, variables
    sources: tuple[Any, str, tuple[tuple[str, str], ...]]  # signer, public address, utm

    def written(self, one: tuple[str, str, dict[str, Any]]) -> tuple[str, str, str, str]:
        """Return (address, subject, html, text) of one message."""
        message_id, address, values = one
        signer, public_url, marks = self.sources
        links = Links(signer, public_url, message_id, utm=marks)
        values = {**values, "_links": links, "link": links.to, "unsubscribe_url": links.unsubscribe_url,
                  "preferences_url": links.preferences_url}  # fmt: skip
        subject, preheader, text = self.plain.render(values).split("\x1e")
        values["subject"], values["preheader"] = subject.strip(), preheader.strip()
        return address, subject.strip(), self.html.render(values), text


def mailing(opened: Opened) -> Mailing:
    """Return what ours is about to send, with everything looked up and nothing rendered."""
    campaign = opened.project.campaign("cart_abandonment")
    template = opened.library.template("cart_abandonment/reminder", Channel.EMAIL)
    compiled = {}
    for name, part in template.parts.items():
        environment = SandboxedEnvironment(autoescape=name == "html")
        environment.filters.update(FILTERS)
        compiled[name] = environment.from_string(part.compiled.source)
    marks = utm(Channel.EMAIL, campaign.id, "reminder", opened.settings.utm_source)
    values = []
    with opened.ledger.writing() as conn:
        found = dispatching.claim(
            conn, space="live", shard=range(1024), now=shop.NOW, limit=1_000_000, lease=timedelta(hours=1)
        )
    facts = with_products(opened, gather(opened, found.due, shop.NOW), found.due)
    for due in found.due:
        customer = facts.customers[due.customer_id]
        products = {i.sku: product_facts(p) for i in due.entry.items if (p := facts.product(due, i.sku)) is not None}
        links = Links(opened.signer, opened.settings.public_url, due.id, utm=marks)
        occasion = Occasion(campaign.id, due.step, "email", due.variant or None)
        context = build(
            customer, due.entry, Offer(products), opened.brand, links=links, now=shop.NOW, occasion=occasion
        )
        values.append((due.id, customer.email or "", context))
    return Mailing(compiled["html"], compiled["plain"], values, (opened.signer, opened.settings.public_url, marks))


def bare(mails: Mailing, url: str, connections: int) -> float:
    """Render and post every e-mail over so many kept-alive connections; return messages a second."""
    headers = {"Authorization": "Bearer SG.bench", "Content-Type": "application/json"}

    async def work(session: aiohttp.ClientSession, waiting: Iterator[Any]) -> None:
        for one in waiting:
            to, subject, html, text = mails.written(one)
            body = orjson.dumps(
                {
                    "personalizations": [{"to": [{"email": to}], "custom_args": {"d": one[0]}}],
                    "from": {"email": "hello@news.bench.example", "name": "Bench"},
                    "subject": subject,
                    "content": [{"type": "text/plain", "value": text}, {"type": "text/html", "value": html}],
                }
            )
            async with session.post(f"{url}/v3/mail/send", data=body, headers=headers) as answer:
                await answer.read()
                assert answer.status == 202

    async def everything() -> None:
        waiting = iter(mails.values)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
            await asyncio.gather(*(work(session, waiting) for _ in range(connections)))

    began = time.perf_counter()
    uvloop.run(everything())
    return len(mails.values) / (time.perf_counter() - began)


def official(mails: Mailing, url: str, most: int) -> float:
    """Render and send with the official client in a loop, as its documentation shows; return messages a second."""
    client = sendgrid.SendGridAPIClient("SG.bench", host=url)
    some = mails.values[:most]
    began = time.perf_counter()
    for one in some:
        to, subject, html, text = mails.written(one)
        answer = client.send(Mail("hello@news.bench.example", to, subject, text, html))
        assert answer.status_code == 202
    return len(some) / (time.perf_counter() - began)


def ours(folder: Path, ledger: str, messages: int) -> float:
    """Dispatch everything that is due; return messages a second."""
    with opened_at(folder, ledger) as opened:
        # Every copy is a ledger that forgot what was sent from the last one, which its witness would tell.
        opened.witnesses.file.path.unlink(missing_ok=True)
        began = time.perf_counter()
        counts = dispatch.run(opened, now=shop.NOW, budget=timedelta(hours=1))
        spent = time.perf_counter() - began
    assert counts.sent == messages, counts
    return messages / spent


@contextlib.contextmanager
def opened_at(folder: Path, ledger: str) -> Iterator[Opened]:
    """Open the project with its ledger at this address."""
    said = {"conn_type": "sql", "extra": {"sqlalchemy_url": ledger}}
    sending = {"conn_type": "tidings_sendgrid", "password": "SG.bench"}
    given = {"AIRFLOW_CONN_LEDGER": json.dumps(said), "AIRFLOW_CONN_SENDGRID": json.dumps(sending)}
    with open_project(folder, EnvConnections(given)) as opened:
        yield opened


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the address of an empty ledger, and what gives the address of a fresh copy of it."""
    first = folder / "ledger.sqlite"
    copy = folder / "copy.sqlite"

    def fresh() -> str:
        for path in folder.glob("copy.sqlite*"):
            path.unlink()
        shutil.copy(first, copy)
        return f"sqlite:///{copy}"

    yield f"sqlite:///{first}", fresh


@contextlib.contextmanager
def postgresql(_: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """The same on a PostgreSQL server from pip."""
    with servers.postgresql("first") as (server, address):

        def fresh() -> str:
            server.psql("DROP DATABASE IF EXISTS copy;")
            server.psql("CREATE DATABASE copy TEMPLATE first;")
            return address.replace("/first?", "/copy?")

        yield address, fresh


LEDGERS: Mapping[str, Any] = {"SQLite": sqlite, "PostgreSQL": postgresql}


def compare(folder: Path, kind: str, given: argparse.Namespace) -> list[Result]:
    """Plan once, then send copies of the same ledger at both latencies, beside both yardsticks."""
    results: list[Result] = []
    with LEDGERS[kind](folder) as (empty, fresh):
        store.migrate(empty)
        with opened_at(folder, empty) as opened:
            planned = plan.run(opened, "cart_abandonment", now=shop.NOW)
            assert planned.planned == given.messages, planned
        with opened_at(folder, fresh()) as opened:
            mails = mailing(opened)
        for delay in (0.0, LATE):
            results += against_bare(folder, mails, kind, delay, fresh, given)
            results += against_official(folder, mails, kind, delay, fresh, given)
    return results


def against_bare(
    folder: Path, mails: Mailing, kind: str, delay: float, fresh: Callable[[], str], given: argparse.Namespace
) -> list[Result]:
    """Send over plain connections, in turn with the bare loop; what it is held to is the time without latency."""
    rates: list[tuple[float, float]] = []
    with sink(delay) as url:
        shop.point_at(folder, url, given.connections)
        for _ in range(given.rounds):
            theirs = bare(mails, url, given.connections)
            rates.append((ours(folder, fresh(), given.messages), theirs))
    goal, floor = (0.75, 0.6) if delay == 0 else (None, None)
    return [told(f"dispatch, {kind}, {delay * 1000:.0f} ms, against a bare loop", rates, goal, floor)]


def against_official(
    folder: Path, mails: Mailing, kind: str, delay: float, fresh: Callable[[], str], given: argparse.Namespace
) -> list[Result]:
    """Send over TLS, as to the real provider, in turn with its client: a handshake a message is what it pays."""
    rates: list[tuple[float, float]] = []
    with sink(delay, certificate(folder)) as url:
        # Both build their trust from this variable, ours when the first connection is made.
        os.environ["SSL_CERT_FILE"] = str(folder / "sink.pem")
        wire._trusted.cache_clear()
        shop.point_at(folder, url, given.connections)
        for _ in range(given.rounds):
            theirs = official(mails, url, 40 if delay else 400)
            rates.append((ours(folder, fresh(), given.messages), theirs))
    goal, floor = (80.0, 60.0) if delay else (3.0, 3.0)
    return [told(f"dispatch, {kind}, {delay * 1000:.0f} ms, against the official client", rates, goal, floor)]


def told(name: str, rates: Sequence[tuple[float, float]], goal: float | None, floor: float | None) -> Result:
    """Return the median ratio of a comparison, with the median rates beside it."""
    mine, theirs = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(one / other for one, other in rates)
    return Result(name, ratio, goal, floor, f"{mine:,.0f}/s, {theirs:,.0f}/s")


def main() -> None:
    """Print both latencies on both ledgers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ledger", choices=LEDGERS, help="one of them only")
    parser.add_argument("--quick", action="store_true", help="a smoke test of seconds")
    given = parser.parse_args()
    if given.quick:
        given.messages, given.rounds = 1_000, 1
    for kind in [given.ledger] if given.ledger else LEDGERS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "project"
            shop.lay_out(folder, given.messages, given.connections)
            printed(compare(folder, kind, given))


if __name__ == "__main__":
    main()
