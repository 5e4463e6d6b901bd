"""Parsing 100 campaigns and importing the command line, beside a yardstick of the same machine.

Run with ``python bench/parsing.py [campaigns]``. The yardsticks are what any reader must do: the C parser of PyYAML
over the same files, and an interpreter that starts and does nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from table import Result, keep

from tidings.definitions import load_campaign, load_settings

ROOT = Path(__file__).parents[1]
REPEATS = 5


def fastest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of a few runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def copies(folder: Path, count: int) -> list[Path]:
    """Write so many campaigns, each with an id of its own, from the repository's five."""
    shutil.copy(ROOT / "tidings.yaml", folder / "tidings.yaml")
    (folder / "triggers").mkdir()
    originals = sorted((ROOT / "triggers").glob("*.yaml"))
    written = []
    for number in range(count):
        original = originals[number % len(originals)]
        name = f"{original.stem}_{number}"
        text = original.read_text(encoding="utf-8").replace(f"id: {original.stem}", f"id: {name}")
        path = folder / "triggers" / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def started(code: str) -> float:
    """Return the seconds until an interpreter has run this code."""
    return fastest(lambda: subprocess.run([sys.executable, "-c", code], check=True))


def main(count: int) -> None:
    """Print seconds and ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = copies(folder, count)
        shop, _ = load_settings(folder)
        load_campaign(paths[0], shop)  # the trigger types are found once in a process
        ours = fastest(lambda: [load_campaign(path, shop) for path in paths])
        plain = fastest(lambda: [yaml.load(path.read_bytes(), yaml.CSafeLoader) for path in paths])
    print(f"{count} campaigns: {ours:.3f} s; the YAML alone {plain:.3f} s; ratio {ours / plain:.2f}")
    bare, command = started("pass"), started("import tidings.cli")
    print(f"import tidings.cli: {command:.3f} s; an empty interpreter {bare:.3f} s; ratio {command / bare:.1f}")
    seen = f"the YAML alone {plain:.2f} s"
    keep([Result(f"reading {count} campaigns", ours, 1.0, None, seen, most=True, unit="s")])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
