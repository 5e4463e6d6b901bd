"""A small shop with a running sandbox, opened as jobs open it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from small_shop import Day, SmallShop, lay_out

from tidings.sandbox.server import Sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A running sandbox that keeps what it accepts."""
    with Sandbox(tmp_path / "sandbox") as running:
        yield running


@pytest.fixture
def new_shop(tmp_path: Path, sandbox: Sandbox) -> Callable[..., SmallShop]:
    """Call it for a project folder over an empty warehouse, with the sandbox as its provider."""

    def make(**given: Any) -> SmallShop:
        values = {"ledger_url": f"sqlite:///{tmp_path}/ledger.db", "sandbox_url": sandbox.url, **given}
        return lay_out(tmp_path / "shop", **values)

    return make


@pytest.fixture
def open_day() -> Iterator[Callable[[SmallShop], Day]]:
    """Call it to open a shop for the length of the test."""
    with ExitStack() as stack:
        yield lambda shop: Day(shop, stack.enter_context(shop.opened()))
