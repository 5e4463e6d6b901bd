"""Faults of the sandbox that remember how many requests met one: a test without faults proves nothing."""

from __future__ import annotations

from tidings.sandbox.faults import Fault, Faults


class CountedFaults(Faults):
    """Faults that remember how many requests met one."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.met = 0

    def next(self, provider: str) -> Fault | None:
        found = super().next(provider)
        self.met += found is not None
        return found
