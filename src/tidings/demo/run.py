"""The demo from nothing to a running Airflow: make the shop, replay its past, hand over, show what it earned, stop."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

from rich.console import Console

from tidings.demo.airflow import API_USER, Airflow
from tidings.demo.copies import Copy
from tidings.demo.folder import Ports, environment, lay_out
from tidings.demo.live import COMING, Story
from tidings.demo.mailroom import Mailroom
from tidings.demo.processes import ServiceError, Services, free_port
from tidings.demo.promise import promise
from tidings.demo.replay import PACE, Past, Replayed
from tidings.demo.shop import PENDING, DemoShop, Plan, create
from tidings.demo.shoppers import Shoppers
from tidings.demo.till import Till
from tidings.errors import TidingsError
from tidings.jobs import measure, migrate
from tidings.jobs.opening import open_project
from tidings.settings import EnvConnections

FOLDER = ".demo"
_START = 60.0
_CYCLE = 150.0


@dataclass(slots=True)
class Demo:
    """One demo: where it lives, what it runs, and what it tells."""

    source: Path
    folder: Path
    every: timedelta | None = None
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    started: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print a line with the time since the start."""
        self.console.print(f"[dim]{time.monotonic() - self.started:5.0f} s[/dim]  {text}")

    def show(self, once: bool) -> None:
        """Run the whole demo; returns when it is over. Raises TidingsError."""
        ports = Ports(*(free_port(port) for port in (8080, 8090, 8095, 8096)))
        lay_out(self.source, self.folder, ports)
        env = {**os.environ, **environment(self.folder), "TIDINGS_PROJECT": str(self.folder)}
        migrate.run(self.folder)
        airflow = Airflow(self.folder, ports, secrets.token_urlsafe(64))
        with Services(self.folder / "logs") as services:
            # Airflow takes half a minute to start: it does so, all its DAGs at rest, while the past is replayed.
            airflow.start(services, env)
            self._live_through(services, ports, env)
            self._full_cycle(services, airflow, ports)
            self._report()
            self._kept(ports, env)
            self._where(ports)
            if not once:
                self.console.print("\nEverything stays up until Ctrl-C.")
                while True:
                    time.sleep(1)
                    services.check()

    def _live_through(self, services: Services, ports: Ports, env: Mapping[str, str]) -> None:
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        plan = Plan(front=ports.front_url)
        shop = create(self.folder, now=now, plan=plan)
        Story(now, plan, ports).save(self.folder)
        self.say(f"The shop stands: {len(shop.people):,} customers, {len(shop.orders.at):,} orders in a year.")
        services.tidings("web", ["web", "--project", str(self.folder)], env, self.folder)
        services.tidings("sandbox", ["sandbox", "--no-deliver", "--project", str(self.folder)], env, self.folder)
        services.start("shop", [sys.executable, "-m", "tidings.demo.live", str(self.folder)], env, self.folder)
        services.wait_for("web", f"{ports.web_url}/healthz", _START)
        services.wait_for("sandbox", f"{ports.sandbox_url}/healthz", _START)
        services.wait_for("shop", ports.front_url, _START)
        done = self._replayed(shop, now, ports, env)
        sent = ", ".join(f"{campaign} {number:,}" for campaign, number in sorted(done.sent.items()))
        self.say(f"28 days replayed in {done.ticks} looks, {done.plans} plans: {sent}.")

    def _replayed(self, shop: DemoShop, now: datetime, ports: Ports, env: Mapping[str, str]) -> Replayed:
        mailroom = Mailroom(ports.sandbox_url)
        with open_project(self.folder, EnvConnections(env)) as opened, self.console.status("replaying") as status:
            copy = Copy(opened.project.mapping, self.folder)
            opened.shop = copy.warehouse()
            till = Till(shop, "caused", copy)

            def told(at: datetime, done: Replayed) -> None:
                progress = f"replaying {at:%-d %B}, {sum(done.sent.values()):,} messages sent"
                status.update(progress)
                if not self.console.is_terminal and done.ticks % 20 == 0:
                    self.say(progress)

            past = Past(opened, Shoppers(shop), mailroom, till, self.every)
            done = past.live_through(now - timedelta(days=28) + PACE, now, told=told)
            status.update("measuring")
            measure.run(opened, now=now)
            # From here on the live shop goes on where the replay ended.
            till.keep_coming(self.folder / PENDING / COMING)
            till.close()
            opened.shop.close()
        mailroom.close()
        return done

    def _full_cycle(self, services: Services, airflow: Airflow, ports: Ports) -> None:
        mailroom = Mailroom(ports.sandbox_url)
        before = mailroom.skip()
        airflow.wait_until_up(services)
        self.say("Airflow is up. The real DAGs take over from here.")
        states = airflow.full_cycle(_CYCLE)
        failed = sorted(dag for dag, state in states.items() if state != "success")
        if failed:
            raise ServiceError(f"airflow: runs must succeed; found {', '.join(f'{d} {states[d]}' for d in failed)}")
        accepted = mailroom.skip() - before
        mailroom.close()
        if accepted == 0:
            raise ServiceError("airflow: its runs must send something; the sandbox accepted nothing")
        self.say(f"{len(states)} DAG runs succeeded; the sandbox accepted {accepted:,} messages from them.")

    def _report(self) -> None:
        self.console.print()
        command = [sys.executable, "-c", "from tidings.cli import main; main()", "report"]
        subprocess.run([*command, "--project", str(self.folder)], check=True)

    def _kept(self, ports: Ports, env: Mapping[str, str]) -> None:
        mailroom = Mailroom(ports.sandbox_url)
        accepted = mailroom.accepted()
        mailroom.close()
        with open_project(self.folder, EnvConnections(env)) as opened, opened.ledger.reading() as conn:
            found = promise(conn, opened.project, accepted)
        written = (
            f"{len(found.broken):,} messages were accepted for them"
            if found.broken
            else "nobody of them was written to"
        )
        self.console.print(f"\n{found.opted_out:,} people opted out; {written} afterwards.")

    def _where(self, ports: Ports) -> None:
        password = f"log in as [bold]{API_USER}[/bold] with password [bold]{API_USER}[/bold], or crm with crm"
        self.console.print(f"\nAirflow  http://127.0.0.1:{ports.airflow}  {password}")
        self.console.print(f"Inbox    {ports.sandbox_url}  what customers got, e-mails and texts")
        self.console.print(f"Shop     {ports.front_url}  where their clicks lead")
        self.console.print(f"Project  {self.folder}")


def run(project: Path, *, once: bool = False, folder: Path | None = None, every: timedelta | None = None) -> int:
    """Show the demo of a checkout; return the exit code. Everything that was started is stopped at the end.

    ``every`` is how far the replay's clock jumps; None: as little as the machine manages in its time.
    """
    demo = Demo(project.resolve(), (folder or project / FOLDER).resolve(), every)
    with _stopped_by_signals():
        try:
            demo.show(once)
        except KeyboardInterrupt:
            demo.console.print("\nStopped.")
            return 0 if not once else 130
        except TidingsError as trouble:
            Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]error[/red]  {trouble}", markup=True)
            return 1
    return 0


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let TERM and HUP stop the demo as Ctrl-C does, so that its services are stopped too.

    Ctrl-C is asked for as well: whatever a shell starts in the background begins with it ignored.
    """

    def stop(*_: int | FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
