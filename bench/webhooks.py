"""Webhook intake, signed and durable, against the same handler without a ledger; then its latency, then a kill.

``python bench/webhooks.py [--seconds 6] [--connections 16] [--events 50] [--quick]``. The service is a process of its
own, as `tidings web` runs it. Its client signs bodies beforehand and posts them over kept-alive connections: first as
fast as they are answered, with and without persistence; then at half of the rate that was reached, measured from the
moment each request was due; then as fast as possible until the service is killed, after which everything that was
answered must be in the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import servers
from sqlalchemy import insert, select
from table import Result, printed

from tidings.jobs.opening import ledger_url, open_project
from tidings.jobs.way_back import Report
from tidings.ledger import schema
from tidings.ledger.store import Ledger, migrate
from tidings.sandbox.signing import Signer
from tidings.settings import EnvConnections
from tidings.web.public_intake import Intake

MESSAGES = 5000
SENT = datetime(2026, 11, 20, 9, tzinfo=UTC)
SHOP = """
shop: bench
brand: {{name: Bench, legal_name: Bench Ltd, postal_address: "1 Bench Street, London", url: "https://bench.example",
        zone: Europe/London, currency: GBP, country: GB}}
public_url: http://127.0.0.1:{port}
{ledger}
"""


class Hollow(Intake):
    """Takes everything and keeps nothing: verification and parsing are all that is left."""

    async def take(self, report: Report) -> None:
        """Return at once."""


def serve(folder: Path, port: int, hollow: bool) -> None:
    """Run the public web service until killed."""
    import uvicorn

    from tidings.web.public import public_app

    with open_project(folder, EnvConnections({})) as opened:
        app = public_app(opened, Hollow(opened) if hollow else None)
        uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="error", server_header=False)


@dataclass
class Place:
    """A project with messages that were sent, and the key that signs what comes back."""

    folder: Path
    port: int
    signer: Signer
    url: str
    sent: int = 0
    answered: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def bodies(self, many: int, events: int) -> list[tuple[bytes, dict[str, str], list[str]]]:
        """Return signed posts with new events, ready to go."""
        now, made = str(int(datetime.now(UTC).timestamp())), []
        for _ in range(many):
            names = [f"e{self.sent + n:09d}" for n in range(events)]
            self.sent += events
            body = b"[" + b",\r\n".join(_event(name, int(name[1:])) for name in names) + b"]\r\n"
            made.append((body, self.signer.sendgrid(body, now), names))
        return made

    @contextlib.contextmanager
    def service(self, hollow: bool) -> Iterator[subprocess.Popen[bytes]]:
        """The service, up; killed at the end."""
        told = ["--hollow"] if hollow else []
        command = [sys.executable, __file__, "--serve", str(self.folder), "--port", str(self.port), *told]
        process = subprocess.Popen(command)
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                    break
                time.sleep(0.05)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait()


def _event(name: str, n: int) -> bytes:
    kind = ("processed", "delivered", "open", "click")[n % 4]
    return json.dumps({
        "email": f"person{n}@post.example", "timestamp": int(SENT.timestamp()) + 900 + n // MESSAGES, "event": kind,
        "sg_event_id": name, "sg_message_id": f"m{n}.filterdrecv-1-2-3-4", "ip": "203.0.113.7",
        "useragent": "Mozilla/5.0 (X11; Linux x86_64)", "smtp-id": f"<m{n}@ismtpd>", "response": "250 OK",
        "url": "https://bench.example/lamp", "d": f"{n % MESSAGES:032x}",
    }).encode()  # fmt: skip


@contextlib.contextmanager
def place(ledger: str) -> Iterator[Place]:
    """A fresh project over a ledger with MESSAGES sent messages."""
    with tempfile.TemporaryDirectory() as name, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        folder, port = Path(name), free.getsockname()[1]
        free.close()
        line = f'ledger: {{url: "{ledger}"}}' if ledger else ""
        providers = "providers: {email: {name: sendgrid}, sms: {name: twilio}}\n"
        (folder / "tidings.yaml").write_text(providers + SHOP.format(port=port, ledger=line))
        (folder / "warehouse.yaml").write_text("database: {kind: duckdb}\ntables: {}\n")
        connections = EnvConnections({})
        with open_project(folder, connections) as opened:
            migrate(ledger_url(opened.project, connections))
            with opened.ledger.writing() as conn:
                _fill(conn)
            signer = Signer(opened.secrets.twilio_auth_token or "", opened.secrets.sandbox_key)
            yield Place(folder, port, signer, ledger_url(opened.project, connections))


def _fill(conn: object) -> None:
    rows, entries = [], []
    for n in range(MESSAGES):
        rows.append({
            "id": f"{n:032x}", "entry_id": f"e{n:031x}", "space": "live", "campaign": "cart", "step": "one",
            "step_no": 0, "channel": "email", "customer_id": f"c{n}", "address_hash": f"h{n}", "shard": 0,
            "priority": 50, "held_out": False, "status": "sent", "send_at": SENT, "first_send_at": SENT,
            "expires_at": SENT + timedelta(days=2), "sending_at": SENT, "sent_at": SENT, "attempt": 1, "deferrals": 0,
            "provider": "sendgrid", "provider_id": f"m{n}",
        })  # fmt: skip
        entries.append({
            "id": f"e{n:031x}", "space": "live", "campaign": "cart", "entry_key": f"k{n}", "customer_id": f"c{n}",
            "sku": "", "anchor_at": SENT, "entered_at": SENT, "planned_at": SENT, "arm": "treated", "variant": "",
            "seen": "{}", "run_id": "r",
        })  # fmt: skip
    conn.execute(insert(schema.entries), entries)  # type: ignore[attr-defined]
    conn.execute(insert(schema.messages), rows)  # type: ignore[attr-defined]


async def flood(at: Place, made: list[tuple[bytes, dict[str, str], list[str]]], connections: int) -> float:
    """Post everything as fast as it is answered; return events a second. Ends when the service does."""
    waiting = iter(made)
    done = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal done
        for body, headers, names in waiting:
            try:
                async with session.post(
                    f"http://127.0.0.1:{at.port}/webhooks/sendgrid", data=body, headers=headers
                ) as got:
                    await got.read()
                    if got.status == 204:
                        at.answered += names
                        done += len(names)
            except aiohttp.ClientError:
                return

    began = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        await asyncio.gather(*(work(session) for _ in range(connections)))
    return done / (time.perf_counter() - began)


async def paced(at: Place, made: list[tuple[bytes, dict[str, str], list[str]]], gap: float) -> list[float]:
    """Post one every ``gap`` seconds; return the seconds from the moment each was due until it was answered."""
    spent: list[float] = []

    async def one(session: aiohttp.ClientSession, due: float, body: bytes, headers: dict[str, str]) -> None:
        async with session.post(f"http://127.0.0.1:{at.port}/webhooks/sendgrid", data=body, headers=headers) as got:
            await got.read()
            assert got.status == 204
        spent.append(time.perf_counter() - due)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)) as session:
        tasks, began = [], time.perf_counter()
        for n, (body, headers, _) in enumerate(made):
            due = began + n * gap
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(session, due, body, headers)))
        await asyncio.gather(*tasks)
    return spent


def measured(name: str, ledger: str, given: argparse.Namespace) -> list[Result]:
    """Return the three results of one kind of ledger."""
    with place(ledger) as at:
        posts = given.posts
        with at.service(hollow=True):
            asyncio.run(flood(at, at.bodies(10, given.events), 4))
            bare = asyncio.run(flood(at, at.bodies(posts, given.events), given.connections))
        at.answered.clear()
        with at.service(hollow=False):
            asyncio.run(flood(at, at.bodies(10, given.events), 4))
            rate = asyncio.run(flood(at, at.bodies(posts, given.events), given.connections))
            gap = 2 * given.events / rate
            many = max(20, min(posts * 4, int(given.seconds / gap)))
            spent = sorted(asyncio.run(paced(at, at.bodies(many, given.events), gap)))
        with at.service(hollow=False) as process:
            made = at.bodies(posts * 4, given.events)
            before = len(at.answered)
            asyncio.run(killed(at, made, given.connections, process))
            after = len(at.answered) - before
        opened = Ledger.open(at.url)
        with opened.reading() as conn:
            kept = set(conn.scalars(select(schema.engagements.c.id)))
        opened.close()
        lost = len(set(at.answered) - kept)
    p50, p99 = spent[len(spent) // 2], spent[int(len(spent) * 0.99)]
    return [
        Result(f"webhooks, {name}: durable against not kept", rate / bare, 0.3, 0.1,
               f"{rate:,.0f} and {bare:,.0f} events/s"),
        Result(f"webhooks, {name}: p99 at half the rate", p99 * 1000, 50, 500,
               f"p50 {p50 * 1000:.1f} ms, {given.events} events a post", most=True, unit="ms"),
        Result(f"webhooks, {name}: answered and lost when killed", float(lost), 0, 0,
               f"{after:,} answered before the kill", most=True, unit="events"),
    ]  # fmt: skip


async def killed(
    at: Place, made: list[tuple[bytes, dict[str, str], list[str]]], connections: int, process: subprocess.Popen[bytes]
) -> None:
    """Flood the service and kill it in the middle."""
    flooding = asyncio.create_task(flood(at, made, connections))
    await asyncio.sleep(1.0)
    os.kill(process.pid, signal.SIGKILL)
    await flooding


def main() -> None:
    """Measure on SQLite, and on PostgreSQL where it can be started here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--events", type=int, default=50)
    parser.add_argument("--posts", type=int, default=400)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--hollow", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        serve(given.serve, given.port, given.hollow)
        return
    if given.quick:
        given.seconds, given.posts = 1.0, 40
    printed(measured("SQLite", "", given))
    with servers.postgresql() as (_, url):
        printed(measured("PostgreSQL", url, given))


if __name__ == "__main__":
    main()
