"""Guards taken away, one at a time, in a worker's own process: a suite that does not notice is worthless."""

from __future__ import annotations

from collections.abc import Callable

MUTANTS: dict[str, Callable[[], None]] = {}
