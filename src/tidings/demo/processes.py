"""The demo's child processes: each in a group of its own, so that everything that was started can be stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tidings.errors import TidingsError

_PATIENCE = 12.0
_LAST_BREATH = 2.0


class ServiceError(TidingsError):
    """A service did not start or ended by itself; the text names it and its log."""


@dataclass(slots=True)
class Services:
    """Started services by name. Logs go to ``folder``, and the group ids to ``pids.json`` there."""

    folder: Path
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, what: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        """Start a service in a session of its own; its output goes to its log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        groups = {one: process.pid for one, process in self._running.items()}
        (self.folder / "pids.json").write_text(json.dumps(groups), encoding="utf-8")

    def tidings(self, name: str, arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        """Start one of our own commands."""
        self.start(name, [sys.executable, "-c", "from tidings.cli import main; main()", *arguments], env, cwd)

    def check(self) -> None:
        """Raise ServiceError when a service has ended by itself."""
        for name, process in self._running.items():
            if (code := process.poll()) is not None:
                raise ServiceError(f"{name}: ended with code {code}; its log is {self.folder / name}.log")

    def wait_for(self, name: str, url: str, seconds: float) -> None:
        """Wait until a service answers at ``url``, whatever it says. Raises ServiceError when it does not."""
        until = time.monotonic() + seconds
        while not answers(url):
            self.check()
            if time.monotonic() > until:
                raise ServiceError(
                    f"{name}: did not answer within {seconds:.0f} s; its log is {self.folder / name}.log"
                )
            time.sleep(0.15)

    def stop(self) -> None:
        """Ask every group to end, newest first; whoever does not is ended. A second Ctrl-C does not cut this short."""
        with _undisturbed():
            self._stop()

    def _stop(self) -> None:
        groups = list(reversed(self._running.values()))
        for process in groups:
            _signal(process.pid, signal.SIGTERM)
        until = time.monotonic() + _PATIENCE
        for process in groups:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(until - time.monotonic(), 0.1))
        # The leader may be gone while a child of its group still runs.
        _wait_until_gone(groups, until)
        for process in groups:
            _signal(process.pid, signal.SIGKILL)
            process.wait()
        # A killed child lives on until it is next scheduled; one that nobody reaps answers for ever.
        _wait_until_gone(groups, time.monotonic() + _LAST_BREATH)
        self._running.clear()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no signal interrupt: whoever is impatient would leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _signal(group: int, which: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, which)


def _wait_until_gone(groups: Sequence[subprocess.Popen[bytes]], until: float) -> None:
    while any(_alive(process.pid) for process in groups) and time.monotonic() < until:
        time.sleep(0.05)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def answers(url: str) -> bool:
    """Return whether anything answers at an address of this machine."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            answer.read(1)
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def free_port(wanted: int) -> int:
    """Return the port that is wanted, or another free one when it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            # As servers bind: a port whose last connections still linger is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServiceError("no port is free on 127.0.0.1")
