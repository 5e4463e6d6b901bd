"""The documentation of the mapping says what the code says, and its examples are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tidings.warehouse.mapping import Mapping, parse
from tidings.warehouse.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "warehouse.md"
MARK = "<!-- reference: printed by tidings.warehouse.reference -->\n"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_reference_is_what_the_code_prints():
    _, _, written = PAGE.read_text(encoding="utf-8").partition(MARK)

    assert written.strip() == reference().strip()


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_is_a_valid_mapping(example):
    content = {"database": {"kind": "duckdb", "path": "s"}, "tables": {}} | parse(example)

    assert Mapping.model_validate(content).database.kind
