"""The tests' side of ``worker.py``: orders workers, waits for them, and knows what they told."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from small_shop import SmallShop

WORKER = Path(__file__).with_name("worker.py")
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Worker:
    """One ordered process. ``out`` is where it leaves its counters."""

    pid: int
    out: Path

    @property
    def asleep(self) -> bool:
        """Whether the process is stopped, or gone."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        return state in ("T", "Z")

    @property
    def memory(self) -> int:
        """Its resident memory in kB; 0 when it is gone."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)
        except (FileNotFoundError, ProcessLookupError, IndexError):
            return 0

    def kill(self) -> None:
        """End it without a word."""
        os.kill(self.pid, signal.SIGKILL)

    def wake(self) -> None:
        """Let a stopped process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to end, as Airflow does."""
        os.kill(self.pid, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Done:
    """How a worker ended: its exit code (minus the signal that killed it) and its counters."""

    code: int
    told: dict[str, Any]

    @property
    def error(self) -> str:
        """The last line of what broke it; empty when nothing did."""
        lines: list[str] = str(self.told.get("error", "")).strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def killed(self) -> bool:
        """Whether it died by the signal it was told to."""
        return self.code == -signal.SIGKILL


class Crew:
    """A process that forks workers. Every worker that is not told to die must end well."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._server = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def start(self, shop: SmallShop, job: str, now: datetime, **told: Any) -> Worker:
        """Order a worker; it begins at once."""
        out = self._folder / f"told-{next(self._numbers)}.json"
        order = {"folder": str(shop.folder), "environ": shop.environ, "job": job, "now": now.isoformat(), **told}
        return Worker(self._ask({**order, "out": str(out)})["pid"], out)

    def wait(self, worker: Worker, *, may_break: bool = False) -> Done:
        """Wait until it has ended; one that broke fails the test with its own words, unless it ``may_break``."""
        code = self._ask({"wait": worker.pid})["code"]
        told = json.loads(worker.out.read_text()) if worker.out.exists() else {}
        assert may_break or "error" not in told, told["error"]
        assert code in (0, -signal.SIGKILL) or may_break, f"a worker ended with {code}"
        return Done(code, told)

    def run(self, shop: SmallShop, job: str, now: datetime, **told: Any) -> Done:
        """Order a worker and wait for it."""
        return self.wait(self.start(shop, job, now, **told))

    def logs(self) -> list[str]:
        """Return what all workers have logged so far."""
        return [one.read_text() for one in sorted(self._folder.glob("*.log"))]

    def close(self) -> None:
        """Send the workers home; those still there are ended."""
        self._server.communicate(timeout=PATIENCE)

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer


def until(true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait until something is true."""
    ends = time.monotonic() + patience
    while not true():
        assert time.monotonic() < ends, f"waited in vain until {what}"
        time.sleep(0.02)
