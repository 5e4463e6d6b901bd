"""Dispatch by several lanes, each a process as in production, against as many bare loops at once.

``python bench/lanes.py [--messages 24000] [--lanes 2] [--connections 400] [--rounds 3] [--quick]``. The same messages,
sink and yardstick as ``bench/dispatch.py``; everything is loaded and opened before the clock starts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import dispatch
import shop
from dispatch import LEDGERS, Mailing, mailing, opened_at, told
from sink import sink
from table import Result, printed

from tidings.jobs import dispatch as job
from tidings.jobs import plan
from tidings.ledger import store


def lane(folder: Path, ledger: str) -> None:
    """Open the project, wait for a word, send until nothing is due, and tell how many left."""
    with opened_at(folder, ledger) as opened:
        print("ready", flush=True)
        sys.stdin.readline()
        counts = job.run(opened, now=shop.NOW, budget=timedelta(hours=1))
    print(counts.sent, flush=True)


def ours(folder: Path, ledger: str, given: argparse.Namespace) -> float:
    """Let so many lanes begin at the same moment; return messages a second of all of them."""
    with opened_at(folder, ledger) as opened:
        opened.witnesses.file.path.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--lane", str(folder), ledger]
    lanes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(given.lanes)
    ]
    for one in lanes:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    began = time.perf_counter()
    for one in lanes:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    sent = [int(one.communicate()[0]) for one in lanes]
    spent = time.perf_counter() - began
    assert sum(sent) == given.messages, sent
    return given.messages / spent


def bare(mails: Mailing, url: str, given: argparse.Namespace) -> float:
    """Let as many bare loops send their parts; return messages a second of all of them."""
    processes = multiprocessing.get_context("fork")  # they inherit what they are to send; nothing of it is copied
    gate = processes.Barrier(given.lanes + 1)
    loops = [processes.Process(target=_loop, args=(mails, at, url, given, gate)) for at in range(given.lanes)]
    for one in loops:
        one.start()
    gate.wait()
    began = time.perf_counter()
    for one in loops:
        one.join()
    spent = time.perf_counter() - began
    assert not any(one.exitcode for one in loops)
    return len(mails.values) / spent


def _loop(mails: Mailing, at: int, url: str, given: argparse.Namespace, gate: Barrier) -> None:
    part = replace(mails, values=mails.values[at :: given.lanes])
    gate.wait()
    dispatch.bare(part, url, given.connections // given.lanes)


def compare(folder: Path, kind: str, given: argparse.Namespace) -> Result:
    """Plan once, then send copies of the same ledger, in turn with the bare loops."""
    rates: list[tuple[float, float]] = []
    with LEDGERS[kind](folder) as (empty, fresh), sink(0.0) as url:
        store.migrate(empty)
        shop.point_at(folder, url, given.connections // given.lanes, given.lanes)
        with opened_at(folder, empty) as opened:
            planned = plan.run(opened, "cart_abandonment", now=shop.NOW)
            assert planned.planned == given.messages, planned
        with opened_at(folder, fresh()) as opened:
            mails = mailing(opened)
        for _ in range(given.rounds):
            theirs = bare(mails, url, given)
            rates.append((ours(folder, fresh(), given), theirs))
    name = f"dispatch, {kind}, {given.lanes} lanes, against {given.lanes} bare loops"
    return told(name, rates, None, None)


def main() -> None:
    """Print the ratio on both ledgers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=24_000)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--connections", type=int, default=400, help="of all lanes together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ledger", choices=LEDGERS, help="one of them only")
    parser.add_argument("--quick", action="store_true", help="a smoke test of seconds")
    parser.add_argument("--lane", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.lane:
        lane(Path(given.lane[0]), given.lane[1])
        return
    if given.quick:
        given.messages, given.rounds = 2_000, 1
    for kind in [given.ledger] if given.ledger else LEDGERS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "project"
            shop.lay_out(folder, given.messages, given.connections)
            printed([compare(folder, kind, given)])


if __name__ == "__main__":
    main()
