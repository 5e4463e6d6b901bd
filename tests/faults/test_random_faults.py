"""Whole lives of a shop under faults drawn from a seed: kills, stops, lost answers, overlaps, webhooks, opt-outs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from crew import Crew
from schedule import CAMPAIGNS, SETTINGS, Life
from small_shop import TABLES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_whatever_happens_in_a_life_the_invariants_hold(
    new_post: Callable[..., Any], crew: Crew, seed: int, database: str
) -> None:
    known = [one for one in TABLES if one != "identities"]
    post = new_post(database, customers=0, campaigns=CAMPAIGNS, settings=SETTINGS, known=known)

    figures = Life(post, crew, seed).play()

    assert figures.counts["accepted"] > 0
