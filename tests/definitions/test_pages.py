"""The repository's own project is valid, and the printed pages are what the code would print now."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidings.definitions import load
from tidings.definitions.pages import campaigns_page, settings_page

ROOT = Path(__file__).parents[2]


def test_the_repository_is_a_project_without_a_mistake() -> None:
    project = load(ROOT)

    assert [str(mistake) for mistake in project.mistakes] == []
    assert sorted(project.campaigns) == [
        "back_in_stock", "browse_abandonment", "cart_abandonment", "price_drop", "win_back"
    ]  # fmt: skip


def test_the_default_campaigns_use_both_channels_hold_out_and_rank_by_intent() -> None:
    campaigns = load(ROOT).campaigns

    for campaign in campaigns.values():
        assert {step.channel.value for step in campaign.steps} == {"email", "sms"}
        assert campaign.holdout > 0
    assert sorted(campaigns, key=lambda name: campaigns[name].priority) == [
        "back_in_stock", "price_drop", "cart_abandonment", "browse_abandonment", "win_back"
    ]  # fmt: skip


@pytest.mark.parametrize(("page", "printed"), [("settings.md", settings_page), ("campaigns.md", campaigns_page)])
def test_a_page_is_what_the_models_say(page: str, printed: object) -> None:
    assert callable(printed)
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == printed(), (
        "run: python -m tidings.definitions.pages docs"
    )


def test_every_key_is_explained() -> None:
    rows = [line for line in (settings_page() + campaigns_page()).splitlines() if line.startswith("| `")]

    assert [row for row in rows if row.split("|")[2].strip() == ""] == []
