"""A ratio with its goal and floor, as one line for people and one for the run over all benchmarks."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Result:
    """Ours against the yardstick. ``most`` says that the goal is an upper bound; ``seen`` are absolute figures."""

    name: str
    ratio: float
    goal: float | None = None
    floor: float | None = None
    seen: str = ""
    most: bool = False
    unit: str = "x"

    @property
    def verdict(self) -> str:
        """``goal``, ``floor`` or ``below``; empty when nothing was promised."""
        for word, bound in (("goal", self.goal), ("floor", self.floor)):
            if bound is not None and (self.ratio <= bound if self.most else self.ratio >= bound):
                return word
        return "" if self.goal is None else "below"

    def asked(self, bound: float | None) -> str:
        """Return a bound in words."""
        return "" if bound is None else f"{'<=' if self.most else '>='} {bound:g} {self.unit}"


def printed(results: Sequence[Result]) -> None:
    """Print the results as a table, and keep them."""
    for one in results:
        measured = f"{one.ratio:.2f} {one.unit}"
        print(f"{one.name:<62} {measured:>10}  {one.asked(one.goal):>9}  {one.verdict:<6} {one.seen}", flush=True)
    keep(results)


def keep(results: Sequence[Result]) -> None:
    """Leave the results for the summary of ``bench/run.py``, where it runs this benchmark."""
    if path := os.environ.get("TIDINGS_BENCH_RESULTS"):
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(one)) + "\n" for one in results)
