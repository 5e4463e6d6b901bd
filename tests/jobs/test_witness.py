"""The file outside the ledger: it never forgets, and nobody waits for a process that sleeps with its lock."""

from __future__ import annotations

import fcntl
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.errors import LedgerError
from tidings.jobs.witness import FileWitness, Seen, later

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)


def _seen(number: int, generation: str = "g") -> Seen:
    return Seen(generation, number, NOON + timedelta(seconds=number))


@given(st.lists(st.integers(1, 10**9), min_size=1))
def test_it_knows_the_most_that_was_noted_in_whatever_order(numbers: list[int]) -> None:
    known: Seen | None = None
    for number in numbers:
        known = later(known, _seen(number))

    assert known == _seen(max(numbers))


def test_what_was_noted_is_seen_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "witness.json"
    for number in (3, 7, 5):
        FileWitness(path).note(_seen(number))

    assert FileWitness(path).seen() == (_seen(7),)


def test_nobody_waits_for_who_fell_asleep_with_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "witness.json"
    FileWitness(path).note(_seen(1))
    asleep = os.open(path, os.O_RDWR)
    fcntl.flock(asleep, fcntl.LOCK_EX)
    try:
        began = time.monotonic()
        awake = FileWitness(path)
        for number in range(2, 40):
            awake.note(_seen(number))
        waited = time.monotonic() - began
    finally:
        os.close(asleep)

    assert waited < 5
    assert max(one.number for one in FileWitness(path).seen()) == 39


def test_a_file_beside_is_taken_in_when_it_has_settled(tmp_path: Path) -> None:
    path = tmp_path / "witness.json"
    FileWitness(path).note(_seen(1))
    beside = tmp_path / "witness.json.4711"
    beside.write_text(_seen(9).text())

    FileWitness(path).tidy()
    assert beside.exists()
    os.utime(beside, (0, 0))
    FileWitness(path).tidy()

    assert not beside.exists()
    assert FileWitness(path).seen() == (_seen(9),)


def test_an_edited_file_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "witness.json"
    path.write_text("{}")

    with pytest.raises(LedgerError, match=r"witness .*json: must be as Tidings wrote it; found something else"):
        FileWitness(path).seen()
