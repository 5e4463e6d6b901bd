"""Trigger types are found by walking a folder; a mistake in one is said at once."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tidings.detect.walk import trigger_types

TYPE = """
from typing import ClassVar
from tidings.detect.cart_abandonment import CartAbandonment
class {name}(CartAbandonment):
    {body}
"""


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> Any:
    name = f"walked_{folder.name}".replace("-", "_")
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    for module, text in modules.items():
        (folder / name / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module(name)


def test_a_new_file_is_a_new_trigger_type(tmp_path, monkeypatch):
    text = TYPE.format(name="Sixth", body='type_name: ClassVar[str] = "sixth"')

    assert list(trigger_types(package(tmp_path, monkeypatch, sixth=text))) == ["sixth"]


def test_a_type_without_a_name_of_its_own_is_an_error(tmp_path, monkeypatch):
    walked = package(tmp_path, monkeypatch, nameless=TYPE.format(name="Nameless", body="pass"))

    with pytest.raises(TypeError, match="Nameless: type_name: must be given"):
        trigger_types(walked)


def test_a_name_taken_twice_is_an_error(tmp_path, monkeypatch):
    text = TYPE.format(name="Same", body='type_name: ClassVar[str] = "same"')

    with pytest.raises(TypeError, match='type_name: "same" is taken by'):
        trigger_types(package(tmp_path, monkeypatch, one=text, two=text))


def test_the_benchmark_runs_small():
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "bench/detection.py", "--events", "20000", "--rounds", "1"], cwd=root, text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(root / "src")}, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in trigger_types())
