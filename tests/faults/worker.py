"""Real dispatchers and planners in processes of their own, that can be told to die or fall asleep at an exact point.

``python worker.py`` reads orders as JSON lines and forks a process for each, so that a hundred of them do not import
everything a hundred times. What is wrapped is wrapped in the child alone: the product knows nothing of it.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import croniter  # noqa: F401 (what is imported late elsewhere is imported once here, not in every fork)
import mutants
import pandas  # noqa: F401 (DuckDB looks for it when a query has values)

import tidings.channels.sendgrid  # noqa: F401
from tidings.channels.base import Envelope, Provider
from tidings.detect.walk import trigger_types
from tidings.jobs import dispatch, plan
from tidings.jobs.opening import Opened, open_project
from tidings.jobs.writing import Writer
from tidings.ledger import dispatching, planning, room
from tidings.settings import EnvConnections

# The six windows of F1, and three more: the caps counted and `sending` committed, but the provider not called yet;
# the outcomes written, but not committed. A planner has one as well: each of its batches.
WINDOWS = (
    "claimed", "rendered", "counting", "begun", "sending", "in_http", "answered", "recording", "recorded", "planning",
)  # fmt: skip
LONGEST = 60


class Watch:
    """Counts how often a process comes to its window, and ends or stops it there."""

    def __init__(self, window: str | None, nth: int, act: str) -> None:
        assert window is None or window in WINDOWS, window
        self.window, self.left = window, nth
        self.signal = signal.SIGKILL if act == "kill" else signal.SIGSTOP

    def arrive(self, window: str) -> None:
        """Be at a point of the work; at the told one the process goes no further."""
        if window != self.window:
            return
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.signal)
            time.sleep(0.05)  # another thread may take the signal, and this one would go on for a moment

    def pass_by(self, window: str) -> None:
        """Be at a point that lasts: act a moment after it began."""
        if window == self.window:
            threading.Timer(0.15, self.arrive, [window]).start()


class Watched:
    """A provider whose every sending is a window."""

    def __init__(self, inner: Provider, watch: Watch) -> None:
        self.name, self.channel, self._inner, self._watch = inner.name, inner.channel, inner, watch

    async def send(self, envelope: Envelope) -> str:
        """Send as the real one does."""
        self._watch.arrive("sending")
        self._watch.pass_by("in_http")
        taken = await self._inner.send(envelope)
        self._watch.arrive("answered")
        return taken

    async def close(self) -> None:
        """Close the real one."""
        await self._inner.close()


def wrap(watch: Watch) -> None:
    """Put the windows around what this process does."""
    gates, write, begin, record, provider = (
        dispatch.pass_gates, Writer.write, dispatch.Lane._begin, dispatch.Lane._record, Opened.provider
    )  # fmt: skip
    outcomes, count, entries = dispatching.record_outcomes, room.Room.__init__, planning.record

    def planning_on(*given: Any, **more: Any) -> Any:
        watch.arrive("planning")
        return entries(*given, **more)

    def counting(found: Any, *given: Any) -> None:
        count(found, *given)
        watch.arrive("counting")

    def passing(*given: Any) -> Any:
        watch.arrive("claimed")
        return gates(*given)

    async def written(writer: Any, *given: Any) -> Any:
        found = await write(writer, *given)
        watch.arrive("rendered")
        return found

    def begun(lane: Any, *given: Any) -> Any:
        found = begin(lane, *given)
        if found.sending:
            watch.arrive("begun")
        return found

    def recording(*given: Any) -> Any:
        found = outcomes(*given)
        watch.arrive("recording")
        return found

    def recorded(lane: Any, *given: Any) -> None:
        record(lane, *given)
        watch.arrive("recorded")

    dispatch.pass_gates = passing
    Writer.write = written  # type: ignore[method-assign]
    dispatch.Lane._begin = begun  # type: ignore[method-assign]
    dispatch.Lane._record = recorded  # type: ignore[method-assign]
    planning.record = planning_on
    dispatching.record_outcomes = recording
    room.Room.__init__ = counting  # type: ignore[method-assign]
    Opened.provider = lambda *given, **more: Watched(provider(*given, **more), watch)  # type: ignore[assignment,method-assign]


def work(order: dict[str, Any]) -> dict[str, Any]:
    """Do one job as its Airflow task would; return its counters."""
    now = datetime.fromisoformat(order["now"])
    wrap(Watch(order.get("window"), int(order.get("nth", 1)), order.get("act", "kill")))
    if order.get("mutant"):
        mutants.MUTANTS[order["mutant"]]()
    plan.BATCH = int(order.get("batch", plan.BATCH))
    told: Counter[str] = Counter()
    until = time.monotonic() + float(order.get("seconds", 0))
    with open_project(Path(order["folder"]), EnvConnections(order["environ"])) as opened:
        if order["job"] == "plan":
            for campaign in order["campaigns"]:
                told.update(_numbers(asdict(plan.run(opened, campaign, now=now, as_of=now))))
            return dict(told)
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        while True:
            counts = dispatch.run(opened, now=now, budget=timedelta(seconds=30), stop=stop, limit=order.get("limit"))
            told.update(_numbers(asdict(counts)))
            if stop.is_set() or time.monotonic() > until:
                return dict(told)
            time.sleep(0.05)


def _numbers(counts: dict[str, Any]) -> dict[str, int]:
    flat = {name: value for name, value in counts.items() if isinstance(value, int) and not isinstance(value, bool)}
    for name in ("skipped", "cancelled"):
        flat[name] = sum(counts.get(name, {}).values())
    return flat


def child(order: dict[str, Any]) -> None:
    """Work, leave a note, and go without any ceremony."""
    code = 0
    signal.alarm(int(order.get("patience", LONGEST)))
    if "largest_file" in order:
        # What a full disk looks like to one process: writes beyond this size fail.
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"], resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    logging.basicConfig(filename=Path(order["out"]).with_suffix(".log"), level=logging.INFO, force=True)
    try:
        told: dict[str, Any] = work(order)
    except BaseException:
        told, code = {"error": traceback.format_exc()}, 1
    Path(order["out"]).write_text(json.dumps(told))
    os._exit(code)


def ended(pid: int, patience: float) -> int:
    """Wait for a worker and return its exit code; one that was never woken is not waited for forever."""
    latest = time.monotonic() + patience + 5
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > latest:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -signal.SIGALRM
        time.sleep(0.01)


def main() -> None:
    """Fork a process for every order, until there are no more."""
    alive: dict[int, float] = {}
    trigger_types()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            code = ended(order["wait"], alive.pop(order["wait"], LONGEST))
            print(json.dumps({"code": code}), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            child(order)
        alive[pid] = float(order.get("patience", LONGEST))
        print(json.dumps({"pid": pid}), flush=True)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
