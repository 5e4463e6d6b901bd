"""docs/templates.md tells of every variable, field and filter, and of none that does not exist."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from tidings.content.brand import BrandView, Palette
from tidings.content.context import CustomerView, ItemView
from tidings.content.lint import known_variables
from tidings.content.templates import Library

PAGE = (Path(__file__).parents[2] / "docs/templates.md").read_text()


def told(heading: str) -> set[str]:
    """Return the names in code type in the first column of the table that begins with this heading."""
    table = PAGE.split(f"| {heading} |")[1].split("\n\n")[0]
    first = [row.split("|")[1] for row in table.splitlines()[2:]]
    return {name for cell in first for name in re.findall(r"`([^`]+)`", cell)}


def test_every_variable_is_documented_and_no_other() -> None:
    assert told("variable") == set(known_variables())


def test_every_field_is_documented_and_no_other() -> None:
    views = {"customer": CustomerView, "item": ItemView, "brand": BrandView}

    assert told("field") == {f"{name}.{field.name}" for name, view in views.items() for field in fields(view)}
    assert [field.name for field in fields(Palette) if f"`{field.name}`" not in PAGE] == []


def test_every_filter_is_documented_and_no_other(defaults: Library) -> None:
    filters = defaults.template("win_back/stay", defaults.names()[-1][1]).parts["html"].environment.filters

    assert told("filter") == {name for name in filters if not name.startswith("_")}
