"""Whatever stands in a file, reading it ends with a value or with mistakes of one line each, never with a crash."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidings.definitions import load
from tidings.definitions.source import parse

PIECES = [
    "a",
    ":",
    "-",
    "{",
    "}",
    "[",
    "]",
    "&x",
    "*x",
    "!!int",
    "|",
    ">",
    '"',
    "'",
    "#",
    "\n",
    "  ",
    "\t",
    ",",
    "?",
    "%",
    "1",
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=40).map("".join))
def test_any_text_becomes_a_group_of_keys_or_a_mistake(text: str) -> None:
    read = parse(text, "x.yaml")

    assert isinstance(read.value, dict) or read.mistakes
    assert all(str(mistake).isprintable() for mistake in read.mistakes)


@pytest.mark.parametrize("file", ["tidings.yaml", "warehouse.yaml", "triggers/cart.yaml"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_file_with_any_word_replaced_is_told_in_lines(file: str, seed: int, project: Path) -> None:
    path = project / file
    good = path.read_text(encoding="utf-8")
    chance = random.Random(seed)
    words = good.split(" ")
    words[chance.randrange(len(words))] = chance.choice(
        [*PIECES, "null", "-1", "[]", "{}", "x" * 500, "9" * 400, "é\u202e"]
    )
    path.write_text(" ".join(words), encoding="utf-8")

    try:
        mistakes = load(project).mistakes
    finally:
        path.write_text(good, encoding="utf-8")

    assert all(str(mistake).isprintable() and len(str(mistake)) < 700 for mistake in mistakes)
