"""Faults of the sandbox that remember how many requests met one: a test without faults proves nothing."""

from __future__ import annotations

import time

from tidings.sandbox.faults import Fault, Faults


class CountedFaults(Faults):
    """Faults that remember how many requests met one, and when each request came, with or without."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.met = 0
        self.came: list[float] = []

    def next(self, provider: str) -> Fault | None:
        self.came.append(time.monotonic())
        found = super().next(provider)
        self.met += found is not None
        return found
