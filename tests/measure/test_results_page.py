"""Every figure a report can show is explained on the page about results."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from tidings.measure.figures import Arm, Figures, Incremental, Verdict

PAGE = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
_SELF_EXPLAINED = {"campaign", "title", "mode"}


@pytest.mark.parametrize("kind", [Figures, Incremental])
def test_every_figure_is_explained(kind: type) -> None:
    names = {one.name for one in fields(kind)} - _SELF_EXPLAINED

    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []


def test_every_verdict_and_every_side_is_explained() -> None:
    names = [*Verdict, *(one.name for one in fields(Arm))]

    assert [name for name in names if name not in PAGE] == []
