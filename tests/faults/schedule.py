"""A life of a shop full of faults, drawn from a seed: what happens, to whom and when; how it interleaves is chance."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import uvicorn
from crew import Crew, Worker, until
from oracle import UNFINISHED, Broken, History, adds_up, assert_nothing_new, holds
from small_shop import CART, DAY, HOUR, MINUTE, NOON

from tidings.jobs import dispatch, measure, plan
from tidings.sandbox.acts import Act
from tidings.sandbox.faults import Fault
from tidings.web.public import public_app

SETTINGS = """\
caps: [{channel: email, at_most: 1, per: 16h}, {channel: sms, at_most: 1, per: 24h}, {at_most: 4, per: 7d}]
dispatch: {shards: 8, lanes: 4, batch: 8, lease: 1m, connect_timeout: 1s, timeout: 1s, margin: 2s, halt_after: 1000}
"""
SERIES = """\
  - {name: again, after: 1d, channel: email, template: cart/reminder, expires_after: 24h}
"""
TWICE = """\
id: notice
mode: live
detect: {type: cart_abandonment, idle: 1h}
schedule: "*/15 * * * *"
delivery_semantics: at_least_once
steps: [{name: notice, channel: email, template: cart/reminder, expires_after: 4d, message_class: transactional}]
caps_exempt: true
holdout: 0%
"""
CART_SERIES = CART.format(id="cart").replace("holdout: 0%", "holdout: 10%").replace("holdout:", f"{SERIES}holdout:")
TEXTS = CART.format(id="texts").replace("email, template: cart/reminder", "sms, template: cart/text")
CAMPAIGNS = {"cart": CART_SERIES + "priority: 10\n", "texts": TEXTS + "priority: 30\n", "notice": TWICE}

KILLS = ("claimed", "rendered", "counting", "begun", "sending", "in_http", "answered", "recording", "recorded")
STOPS = ("claimed", "rendered", "begun", "sending", "answered")
HELD_UP = 15.0  # seconds after which somebody must hold the only lock
TROUBLE = (
    "drop_after_accept", "half_after_accept", "timeout_after_accept", "garbage", "slow", "400", "429", "500", "502",
    "503", "504", "timeout", "drop",
)  # fmt: skip
SAID = ("accept", "deliver", "open", "machine_open", "click", "scan", "defer", "block", "bounce", "complain")
CLOSING = {"unsubscribe": "email", "stop": "sms"}


@dataclass
class Figures:
    """What has happened in one life."""

    counts: Counter[str] = field(default_factory=Counter)

    def note(self, **more: int) -> None:
        """Add to what is counted."""
        self.counts.update(more)


@contextmanager
def open_door(post: Any) -> Iterator[None]:
    """Let the shop's public web service run, and have the sandbox's recipients post to it."""
    port = int(post.public_url.rpartition(":")[2])
    config = uvicorn.Config(
        public_app(post.opened), host="127.0.0.1", port=port, log_level="error", lifespan="off", access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "the web service listens")
    post.sandbox.point_at(post.public_url)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Life:
    """One shop from noon to the end of everything it had planned, under faults."""

    def __init__(self, post: Any, crew: Crew, seed: int) -> None:
        self.post, self.crew, self.chance = post, crew, random.Random(seed)
        self.now: datetime = NOON
        self.figures = Figures()
        self.known: set[str] = set()
        self.customers = 0

    def play(self, rounds: int = 3) -> Figures:
        """Live through it; every step is held against the invariants. Raises Broken."""
        try:
            with open_door(self.post):
                for _ in range(rounds):
                    self._people_come()
                    self._round()
                    self._look()
                self._end()
        except AssertionError as wrong:
            raise Broken(f"{wrong} [TIDINGS_SEED={self.post.seed}, {self.post.opened.ledger.dialect}]") from wrong
        return self.figures

    def _people_come(self) -> None:
        """New customers leave carts; some share a mailbox, some live elsewhere, some have bought already."""
        shop, chance = self.post.shop, self.chance
        for _ in range(chance.randint(6, 12)):
            who = f"n{self.customers}"
            self.customers += 1
            given: dict[str, Any] = {}
            if chance.random() < 0.15:
                given["email"] = f"shared{chance.randint(0, 1)}@post.example"
            if chance.random() < 0.2:
                given["zone"] = chance.choice(["America/New_York", "Europe/London", "Asia/Tokyo"])
            shop.customer(who, **given)
            shop.cart(who, at=self.now - 90 * MINUTE)
            if chance.random() < 0.1:
                shop.order(who, self.now - 10 * MINUTE)
            if chance.random() < 0.1:
                shop.consent(who, "email", "withdrawn", self.now - 5 * MINUTE)
        shop.load()

    def _round(self) -> None:
        post, chance = self.post, self.chance
        self._trouble()
        workers = [self._planner() for _ in range(chance.randint(1, 2))]
        asleep: list[Worker] = []
        for _ in range(chance.randint(1, 3)):
            if chance.random() < 0.7:
                post.free_shards()
            worker, stops = self._dispatcher()
            (asleep if stops else workers).append(worker)
        if chance.random() < 0.7:
            self._people_act()
        for worker in workers:
            self._outlast(worker, asleep)
            self._ended(worker)
        self._people_act()
        if chance.random() < 0.6:
            post.outlive_leases()
            self._ended(self.crew.start(post.shop, "dispatch", self.now))
        for worker in asleep:
            until(lambda one=worker: one.asleep or one.out.exists(), "it sleeps, or has ended")
            worker.wake()
            self._ended(worker, slept=True)
        self.now += timedelta(minutes=chance.randint(5, 90))

    def _outlast(self, worker: Worker, asleep: Sequence[Worker]) -> None:
        """Wait for a worker; on SQLite who fell asleep in a transaction has the only lock, and is woken for it."""
        latest = time.monotonic() + HELD_UP
        while not worker.asleep and not worker.out.exists():
            if time.monotonic() > latest and self.post.opened.ledger.dialect == "sqlite":
                for one in asleep:
                    if one.asleep and not one.out.exists():
                        one.wake()
                return
            time.sleep(0.02)

    def _trouble(self) -> None:
        self.post.sandbox.faults.clear()
        for kind in self.chance.sample(TROUBLE, self.chance.randint(0, 2)):
            given = {"count": self.chance.randint(1, 4)} if "timeout" in kind else {}
            share = self.chance.choice([0.1, 0.3, 1.0] if given else [0.1, 0.3])
            self.post.sandbox.faults.add(Fault(kind, share=share, seconds=0.2, **given))

    def _planner(self) -> Worker:
        told: dict[str, Any] = {"campaigns": list(CAMPAIGNS), "batch": self.chance.choice([3, 8])}
        if self.chance.random() < 0.3:
            told |= {"window": "planning", "nth": self.chance.randint(1, 4)}
        return self.crew.start(self.post.shop, "plan", self.now, **told)

    def _dispatcher(self) -> tuple[Worker, bool]:
        fate = self.chance.choice(["well", "kill", "kill", "stop"])
        told: dict[str, Any] = {}
        if fate != "well":
            window = self.chance.choice(KILLS if fate == "kill" else STOPS)
            told = {"window": window, "nth": self.chance.choice([1, 1, 2, 3]), "act": fate}
        if fate == "stop":
            # Another thread of it may be in a transaction: asleep in that, it would hold SQLite's only lock.
            told["limit"] = 1
        return self.crew.start(self.post.shop, "dispatch", self.now, **told), fate == "stop"

    def _ended(self, worker: Worker, *, slept: bool = False) -> None:
        # Who slept in a transaction for too long finds that PostgreSQL has let go of it.
        done = self.crew.wait(worker, may_break=slept)
        assert "error" not in done.told or "tidings.errors.LedgerError" in done.told["error"], done.told["error"]
        self.figures.note(workers=1, killed=done.killed, reaped=done.told.get("returned", 0))
        if done.told.get("claimed"):
            adds_up(done.told)

    def _mine(self) -> list[Any]:
        with self.post.opened.ledger.reading() as conn:
            ids = {name for (name,) in conn.exec_driver_sql("SELECT id FROM messages")}
        return [one for one in list(self.post.sandbox.store.messages) if one.message in ids]

    def _people_act(self, at: datetime | None = None) -> None:
        """Events arrive late, again and in any order; somebody says stop, somebody buys."""
        chance, taken = self.chance, self._mine()
        acts: list[Act] = []
        for one in chance.sample(taken, min(len(taken), 12)):
            when = self.now + timedelta(seconds=chance.randint(-3600, 60))
            acts += [Act(one.message, action, at or when) for action in chance.sample(SAID, 3)]
        closing = chance.choice(list(CLOSING))
        mails = [one for one in taken if (one.provider == "twilio") == (closing == "stop")]
        if mails:
            acts.append(Act(chance.choice(mails).message, closing, self.now))
        chance.shuffle(acts)
        post = self.post.sandbox.act([*acts, *acts[:3]])
        broken = [line for line in post.failed if "answered" in line]
        assert not broken, broken
        self.figures.note(events=post.requests)
        for one in chance.sample(taken, min(len(taken), 2)):
            self.post.shop.order(self._who(one), self.now)
        if taken:
            self.post.shop.load()

    def _who(self, accepted: Any) -> str:
        with self.post.opened.ledger.reading() as conn:
            query = "SELECT customer_id FROM messages WHERE id = '" + accepted.message + "'"
            return str(conn.exec_driver_sql(query).scalar())

    def _look(self, *, settled: bool = False) -> History:
        found: History = self.post.check(settled=settled)
        gone = self.known - found.messages.keys()
        holds(not gone, "I6", f"{len(gone)} messages have vanished [TIDINGS_SEED={self.post.seed}]")
        self.known |= found.messages.keys()
        return found

    def _end(self) -> None:
        """Everything heals; what waits leaves or expires; the proof of all that was taken arrives; nothing is left."""
        self.post.sandbox.faults.clear()
        self._plan_all()
        for _ in range(16):
            self.post.outlive_leases()
            dispatch.run(self.post.opened, now=self.now)
            if not any(row.status in {*UNFINISHED, "unknown"} for row in self._look().messages.values()):
                break
            self.now += 12 * HOUR
        self.now += DAY
        before = self._look(settled=True)
        proofs = self.post.sandbox.act([Act(one.message, "deliver", self.now) for one in before.accepted])
        assert not proofs.failed, proofs.failed
        found = self._look(settled=True)
        taken = {one.message for one in found.accepted}
        sent = {row.id for row in found.messages.values() if row.status == "sent"}
        holds(taken == sent, "I2", f"{len(taken ^ sent)} are sent and were not taken, or the other way round")
        lost = sum(1 for row in found.messages.values() if row.status == "presumed_lost")
        self.figures.note(
            messages=len(found.messages), accepted=len(found.accepted), doubled=found.repeated,
            unknown=sum(1 for row in before.messages.values() if row.status in ("unknown", "presumed_lost")), lost=lost,
        )  # fmt: skip
        for row in random.Random(self.post.seed).sample(sorted(sent), min(5, len(sent))):
            self.post.sandbox.act([Act(row, "click", self.now)])
            self.post.shop.order(found.messages[row].customer_id, self.now + MINUTE)
        self.post.shop.load()
        measure.run(self.post.opened, now=self.now + HOUR, full=True)
        assert_nothing_new(found, self._rerun())

    def _rerun(self) -> History:
        self._plan_all()
        dispatch.run(self.post.opened, now=self.now)
        return self._look(settled=True)

    def _plan_all(self) -> None:
        for campaign in CAMPAIGNS:
            plan.run(self.post.opened, campaign, now=self.now, as_of=self.now)
