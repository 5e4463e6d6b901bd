"""A good project becomes values: words mean what they look like, and what a campaign leaves out comes from the shop."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from tidings.definitions import load, load_campaign
from tidings.definitions.source import parse
from tidings.errors import DefinitionError
from tidings.model.people import Channel

Spoil = Callable[[str, str, str], Path]


def test_a_good_project_has_no_mistakes(project: Path) -> None:
    loaded = load(project)

    assert loaded.mistakes == ()
    assert list(loaded.campaigns) == ["cart", "win_back"]
    assert loaded.settings.shop == "fenmark"
    assert list(loaded.mapping.mapped()) == ["product_events", "orders"]


def test_what_a_campaign_leaves_out_comes_from_the_shop(spoil: Spoil) -> None:
    project = load(spoil("tidings.yaml", "cooldown: 7d", "cooldown: 3d\n  expires_after: 5h\n  min_gap: 2h"))

    cart, win_back = project.campaign("cart"), project.campaign("win_back")

    assert (cart.cooldown, win_back.cooldown) == (timedelta(days=3), timedelta(days=90))
    assert cart.holdout == Fraction(1, 10)
    assert {step.lasts for step in cart.steps} == {timedelta(hours=5)}
    assert cart.steps[1].min_gap == timedelta(hours=2)
    assert cart.steps[1].purposes == ("marketing",)


def test_a_campaign_is_found_by_its_id_after_its_file_was_renamed(project: Path) -> None:
    (project / "triggers/cart.yaml").rename(project / "triggers/baskets.yaml")

    campaign = load(project).campaign("cart")

    assert (campaign.id, campaign.name, campaign.title) == ("cart", "baskets", "Baskets")


def test_the_digest_of_detect_changes_with_it_and_with_nothing_else(spoil: Spoil, project: Path) -> None:
    before = load(project).campaign("cart").detect_hash()

    same = load(spoil("triggers/cart.yaml", "priority: 30", "priority: 31")).campaign("cart").detect_hash()
    other = load(spoil("triggers/cart.yaml", "idle: 1h", "idle: 2h")).campaign("cart").detect_hash()

    assert same == before
    assert other != before


def test_a_variant_may_have_a_template_of_its_own(spoil: Spoil) -> None:
    spoil("triggers/cart.yaml", "priority: 30", "variants: {short: 50%}")
    project = spoil(
        "triggers/cart.yaml",
        "template: cart/reminder\n",
        "template: cart/reminder\n    templates: {short: win_back/hello}\n",
    )

    step = load(project).campaign("cart").steps[0]

    assert (step.template_for("short"), step.template_for("")) == ("win_back/hello", "cart/reminder")


def test_a_template_for_an_unknown_variant_is_a_mistake(spoil: Spoil) -> None:
    project = load(
        spoil(
            "triggers/cart.yaml",
            "template: cart/reminder\n",
            "template: cart/reminder\n    templates: {short: win_back/hello}\n",
        )
    )

    assert [str(mistake) for mistake in project.mistakes] == [
        'triggers/cart.yaml: steps.0.templates (line 12): must name variants; found "short"'
    ]


def test_one_campaign_alone_can_be_loaded(project: Path) -> None:
    campaign = load_campaign(project / "triggers/cart.yaml")

    assert [(step.name, step.channel) for step in campaign.steps] == [
        ("reminder", Channel.EMAIL), ("last_chance", Channel.SMS)
    ]  # fmt: skip


def test_one_broken_campaign_alone_raises_a_line_for_each_mistake(spoil: Spoil) -> None:
    spoil("triggers/cart.yaml", "mode: live", "mode: on")
    project = spoil("triggers/cart.yaml", "idle: 1h", "idle: soon")

    with pytest.raises(DefinitionError) as raised:
        load_campaign(project / "triggers/cart.yaml")

    assert [line.split(":")[1] for line in str(raised.value).splitlines()] == [
        " detect.idle (line 5)", " mode (line 2)"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"), ("on", "on"), ("21:00", "21:00"), ("+358401234567", "+358401234567"), ("012", "012"),
        ("1e3", "1e3"), ("12", 12), ("-3", -3), ("1.50", 1.5), ("true", True), ("null", None), ("'12'", "12"),
        ("2026-03-02", "2026-03-02"),
    ],
)  # fmt: skip
def test_unquoted_words_mean_what_they_look_like(written: str, meant: object) -> None:
    value = parse(f"a: {written}\n", "x.yaml").value

    assert value == {"a": meant}
    assert isinstance(value, dict)
    assert type(value["a"]) is type(meant)


def test_a_number_as_a_key_stays_a_number() -> None:
    assert parse("values: {1: viewed, yes: added}\n", "x.yaml").value == {"values": {1: "viewed", "yes": "added"}}
