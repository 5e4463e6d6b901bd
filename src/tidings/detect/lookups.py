"""What re-checks ask again, in batches: a bounded number of questions, however many entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

# Warehouses take lists of this length in one IN; a dispatch batch is rarely longer.
CHUNK = 2000
T = TypeVar("T")


def in_chunks(values: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Yield the values in stretches of at most ``size``."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
