"""Numbers, money and moments as people read them, and colour only where there is a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from tidings.cli.printing import counted, moment, money, number


@pytest.mark.parametrize(
    ("minor", "currency", "sign", "told"),
    [
        (2_086_000, "EUR", False, "€20,860"),
        (420, "EUR", False, "€4.20"),
        (9_999, "EUR", False, "€99.99"),
        (10_000, "EUR", False, "€100"),
        (-60_000, "EUR", False, "−€600"),
        (1_210_000, "EUR", True, "+€12,100"),
        (0, "EUR", True, "€0.00"),
        (420, "JPY", False, "¥420"),
        (1_500, "KWD", False, "KWD 1.500"),
        (None, "EUR", False, "–"),
    ],
)
def test_money_is_whole_from_a_hundred_and_has_a_true_minus(
    minor: int | None, currency: str, sign: bool, told: str
) -> None:
    assert money(minor, currency, sign=sign) == told


def test_counts_and_moments() -> None:
    assert number(-1234) == "−1,234"
    assert (counted(1, "error"), counted(2, "error")) == ("1 error", "2 errors")
    assert moment(datetime(2026, 11, 21, 7, tzinfo=UTC), "Europe/Helsinki") == "21 Nov 2026 09:00 EET"


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("1", False)])
def test_colour_is_for_terminals_and_never_with_no_color(no_color: str | None, coloured: bool) -> None:
    code = "from tidings.cli.printing import line, status; line(status('error'), ' 12 \"x\"')"
    environ = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    environ |= {"TERM": "xterm-256color"} | ({"NO_COLOR": no_color} if no_color else {})
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stdout=theirs, env=environ, check=True)
    os.close(theirs)
    told = os.read(ours, 1000).decode()
    os.close(ours)

    assert ("\x1b[31m" in told) is coloured
    assert ' 12 "x"' in told
