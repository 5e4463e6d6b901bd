"""Pages that name things in the code name things that are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = sorted(path.name for path in (ROOT / "src" / "tidings").iterdir() if (path / "__init__.py").exists())
NAMED = re.compile(rf"(?<![\w./])((?:{'|'.join([*LAYERS, 'errors'])})\.[a-z_]+(?:\.[A-Za-z_]+)*)(?![\w.]*/)")


def named_in(page: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return sorted(set(NAMED.findall(text)) - {"warehouse.yaml"})


def found(dotted: str) -> bool:
    """Say whether a dotted name below ``tidings`` is a module, or something in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            here = importlib.import_module("tidings." + ".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            if not hasattr(here, name):
                return False
            here = getattr(here, name)
        return True
    return False


def test_the_architecture_names_enough_to_be_held_to_it() -> None:
    assert len(named_in("architecture.md")) > 60


@pytest.mark.parametrize("dotted", named_in("architecture.md"))
def test_what_the_architecture_names_is_in_the_code(dotted: str) -> None:
    assert found(dotted.removesuffix("."))


def test_a_name_that_is_gone_is_noticed() -> None:
    assert not found("warehouse.people.nobody")


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [one.split("#")[0] for one in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in one]

    assert [one for one in targets if one and not ((ROOT / page).parent / one).exists()] == []
