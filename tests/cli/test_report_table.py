"""`tidings report` fits a terminal, says what is not proven, and adds nothing of its own to the figures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tidings.cli.report_text import print_report
from tidings.measure.figures import Arm, Figures, Incremental, Report, Verdict

NOW = datetime(2026, 11, 21, 22, tzinfo=UTC)


def figures(campaign: str, title: str, incremental: Incremental | None) -> Figures:
    return Figures(
        campaign, title, "live", found=12_388, planned=12_702, sent=6_412, held_out=1_290, skipped={"capped": 51},
        cancelled={"purchased": 23}, delivered=6_300, clicked=812, recipients=6_000, orders=171, revenue=2_086_000,
        incremental=incremental,
    )  # fmt: skip


def compared(verdict: Verdict, low: int, high: int) -> Incremental:
    return Incremental(
        Arm(6_000, 300, 4_200_000), Arm(1_200, 40, 600_000), verdict, "welch", 201.0, 90.0, 313.0, 0.001,
        total=1_210_000, total_low=low, total_high=high,
    )  # fmt: skip


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    def lines(*campaigns: Figures) -> list[str]:
        totals = figures("", "All campaigns", None)
        print_report(
            Report(
                "fenmark", "Europe/Helsinki", "EUR", ("EUR",), NOW, NOW, NOW, NOW, "last touch", {}, campaigns, totals,
                (), 9_000_000, 900,
            )
        )  # fmt: skip
        return capsys.readouterr().out.splitlines()

    return lines


def test_the_widest_campaign_fits_96_columns(printed: Callable[..., list[str]]) -> None:
    lines = printed(
        figures("browse", "Browse abandonment", compared(Verdict.NOT_ENOUGH, -370_000, 250_000)),
        figures("drop", "Price drop", compared(Verdict.PROVEN, 540_000, 1_880_000)),
    )

    assert max(len(line) for line in lines) <= 96


def test_a_long_title_is_cut_and_long_reasons_are_wrapped(printed: Callable[..., list[str]]) -> None:
    many = {f"a_rather_long_reason_{number}": 1_000 + number for number in range(9)}
    lines = printed(replace(figures("x", "A title as long as eighty characters may be " * 2, None), skipped=many))

    assert max(len(line) for line in lines) <= 96
    assert sum(line.startswith("A title as long as ei…") for line in lines) == 3


def test_a_proven_difference_is_told_with_its_interval(printed: Callable[..., list[str]]) -> None:
    lines = printed(figures("drop", "Price drop", compared(Verdict.PROVEN, 540_000, 1_880_000)))

    assert "Price drop     6,412     €20,860      +€12,100  €5,400 to €18,800" in lines
    per_person = next(line for line in lines if line.startswith("Price drop") and "6,000" in line)
    assert per_person.split() == ["Price", "drop", "171", "6,000", "€3.48", "€7.00", "6,000", "€5.00", "1,200"]


def test_a_loss_has_a_true_minus(printed: Callable[..., list[str]]) -> None:
    lost = replace(compared(Verdict.HARMFUL, -1_880_000, -540_000), total=-1_210_000)
    lines = printed(figures("drop", "Price drop", lost))

    assert "Price drop     6,412     €20,860      −€12,100  −€18,800 to −€5,400" in lines


def test_arms_that_do_not_fit_their_split_show_no_interval(printed: Callable[..., list[str]]) -> None:
    lines = printed(figures("drop", "Price drop", replace(compared(Verdict.PROVEN, 540_000, 1_880_000), suspect=True)))

    row = next(line for line in lines if line.startswith("Price drop"))
    assert row.split()[4:] == ["check", "the", "split", "–"]


@pytest.mark.parametrize(
    ("verdict", "told"),
    [(Verdict.INCONCLUSIVE, "inconclusive"), (Verdict.NOT_ENOUGH, "not enough data"),
     (Verdict.NOT_MEASURED, "not measured")],
)  # fmt: skip
def test_what_is_not_proven_has_no_figure(verdict: Verdict, told: str, printed: Callable[..., list[str]]) -> None:
    lines = printed(figures("drop", "Price drop", compared(verdict, -370_000, 250_000)))

    row = next(line for line in lines if line.startswith("Price drop") and "€" in line)
    assert told in row
    assert "€12,100" not in row


def test_reasons_and_the_credited_share_are_told(printed: Callable[..., list[str]]) -> None:
    lines = printed(figures("drop", "Price drop", None))

    assert "Price drop, not sent: capped 51, cancelled(purchased) 23" in lines
    assert lines[-1] == "€20,860 of €90,000 (900 orders) is credited to messages. Measured 22 Nov 2026 00:00 EET."


def test_what_is_not_certain_yet_is_named(printed: Callable[..., list[str]]) -> None:
    lines = printed(figures("drop", "Price drop", replace(compared(Verdict.PROVEN, 1, 2), maturing=True)))

    assert "Not all people's time has passed, so this may still change: Price drop." in lines


def test_json_and_text_say_the_same_of_a_measured_shop(tidings: Callable[..., tuple[int, str, str]]) -> None:
    assert tidings("migrate")[0] == 0

    measured = tidings("measure")
    told = json.loads(tidings("report", "--json")[1])
    code, text, _ = tidings("report")

    assert measured[0] == code == 0
    assert "orders             1  0 credited to a message" in measured[1]
    assert re.search(r"^Measured as of .*, all orders\.$", measured[1], re.MULTILINE)
    assert re.search(r"^Measured as of .*, orders since .*\.$", tidings("measure")[1], re.MULTILINE)
    assert told["totals"]["revenue"] == 0
    assert (told["total_revenue"], told["total_orders"]) == (0, 0)
    assert text.splitlines()[-1].startswith("€0.00 of €0.00 (0 orders) is credited to messages. Measured ")
    earlier = json.loads(tidings("report", "--from", "2020-01-01", "--json")[1])
    assert (earlier["total_revenue"], earlier["total_orders"]) == (5_000, 1)


def test_days_the_wrong_way_round_are_one_line(tidings: Callable[..., tuple[int, str, str]]) -> None:
    tidings("migrate")

    code, _, errors = tidings("report", "--from", "2026-03-02", "--to", "2026-03-01")

    assert code == 2
    assert len(errors.strip().splitlines()) == 1
    assert '--from: must not be after 2026-03-01; found "2026-03-02"' in errors
