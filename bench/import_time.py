"""Import of the command line beside an empty interpreter, in turn; and that Airflow is not among what it imports.

Run with ``python bench/import_time.py [--rounds 7]``.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from table import Result, printed

HEAVY = ("airflow", "pandas", "scipy", "duckdb", "sendgrid", "twilio")


def started(code: str) -> float:
    """Return the seconds until an interpreter has run this code."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def imported() -> list[str]:
    """Return which of the heavy packages come with the command line."""
    code = f"import sys, tidings.cli; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def main() -> None:
    """Print the median import, less what an empty interpreter takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="three rounds")
    given = parser.parse_args()
    empty: list[float] = []
    command: list[float] = []
    for _ in range(3 if given.quick else given.rounds):
        empty.append(started("pass"))
        command.append(started("import tidings.cli"))
    seconds = statistics.median(command)
    heavy = imported()
    seen = f"an empty interpreter {statistics.median(empty):.2f} s; heavy imports: {', '.join(heavy) or 'none'}"
    printed([Result("import of tidings.cli", seconds, 0.5, None, seen, most=True, unit="s")])
    if "airflow" in heavy:
        raise SystemExit("tidings.cli imports Airflow")


if __name__ == "__main__":
    main()
