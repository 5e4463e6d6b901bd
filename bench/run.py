"""Every benchmark, one after the other, and at the end one table of ratios beside their goals and floors.

``python bench/run.py [--quick | --large] [--markdown] [--only NAME ...]``. A ratio is ours against a yardstick in the
same run; absolute figures stand beside it and are promised to nobody. A floor that is missed ends with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from table import Result

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Benchmark:
    """One file, its heading, and what it takes to make it a smoke test or a long run."""

    name: str
    title: str
    quick: tuple[str, ...] = ("--quick",)
    large: tuple[str, ...] = ()


BENCHMARKS = (
    Benchmark("detection", "Detection against the same question written by hand for DuckDB", ("--small",)),
    Benchmark("planning", "Planning decisions: rate and memory", ("10000",)),
    Benchmark(
        "planning_writes", "Planning writes against INSERT..SELECT on PostgreSQL", large=("--entries", "1000000")
    ),
    Benchmark(
        "dispatch", "Dispatch against a bare loop and against the official client", large=("--messages", "50000")
    ),
    Benchmark("lanes", "Dispatch by two lanes against two bare loops", large=("--messages", "50000")),
    Benchmark("webhooks", "Webhook intake against the same handler without a ledger", large=("--seconds", "30")),
    Benchmark("pages", "The Campaigns page against one scan of the messages", large=("--entries", "250000")),
    Benchmark("parsing", "Reading campaigns", ("20",)),
    Benchmark("import_time", "Import of the command line"),
)


def run(benchmark: Benchmark, given: argparse.Namespace) -> list[Result] | None:
    """Run one benchmark in a process of its own; return what it found, or None when it broke."""
    said = benchmark.quick if given.quick else benchmark.large if given.large else ()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.jsonl"
        environment = {**os.environ, "TIDINGS_BENCH_RESULTS": str(path)}
        if given.large:
            environment["LARGE"] = "1"
        done = subprocess.run([sys.executable, str(HERE / f"{benchmark.name}.py"), *said], env=environment)
        if done.returncode:
            return None
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Result(**json.loads(line)) for line in lines]


def machine() -> str:
    """Return what this machine is, in general terms."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("duckdb", "sqlalchemy", "aiohttp", "jinja2", "sendgrid")
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f"load {os.getloadavg()[0]:.1f} at the end"
    system = f"{platform.system()} {platform.machine()}, {cores} cores, {memory:.0f} GiB"
    return f"{datetime.now(UTC):%d %B %Y}; {system}; Python {platform.python_version()}, {packages}; {load}"


def summary(found: Sequence[tuple[Benchmark, list[Result] | None]], *, markdown: bool) -> str:
    """Return every ratio with its goal and floor, as a table for a terminal or for a page."""
    head = ("what", "measured", "goal", "floor", "reached", "ours, yardstick")
    rows: list[tuple[str, ...]] = []
    for benchmark, results in found:
        if results is None:
            rows.append((f"{benchmark.name}.py", "broken", "", "", "below", ""))
        for one in results or ():
            measured = f"{one.ratio:,.2f} {one.unit}"
            rows.append((one.name, measured, one.asked(one.goal), one.asked(one.floor), one.verdict, one.seen))
    if markdown:
        lines = [head, ("---", "---:", "---:", "---:", "---", "---"), *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(len(line[at]) for line in (head, *rows)) for at in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in (head, *rows)
    )


def main() -> int:
    """Run what was asked for and print the summary; 1 when a benchmark broke or a floor was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a smoke test: everything small, once")
    size.add_argument("--large", action="store_true", help="100 million events, a million planned entries; an hour")
    parser.add_argument("--markdown", action="store_true", help="print the summary as docs/performance.md has it")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in BENCHMARKS], help="these benchmarks only")
    given = parser.parse_args()
    found = []
    for benchmark in BENCHMARKS:
        if given.only and benchmark.name not in given.only:
            continue
        print(f"\n{benchmark.title}\n", flush=True)
        began = time.perf_counter()
        found.append((benchmark, run(benchmark, given)))
        print(f"({time.perf_counter() - began:.0f} s)", flush=True)
    print(f"\n{machine()}\n\n{summary(found, markdown=given.markdown)}")
    if given.quick:
        print("\nA smoke test: these sizes are too small for the ratios to mean anything.")
        return int(any(results is None for _, results in found))
    missed = [one for _, results in found for one in results or () if one.floor is not None and one.verdict == "below"]
    return int(bool(missed) or any(results is None for _, results in found))


if __name__ == "__main__":
    raise SystemExit(main())
