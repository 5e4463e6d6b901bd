"""Project folders and Airflow homes of a test's own; Airflow is imported by tests only after its home is set."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An Airflow home for whatever in this folder imports Airflow."""
    home = tmp_path_factory.mktemp("airflow")
    before = dict(os.environ)
    os.environ.update(environment(home, home / "dags"))
    yield home
    os.environ.clear()
    os.environ.update(before)


def environment(home: Path, dags: Path, port: int = 8080) -> dict[str, str]:
    """Return the settings of an Airflow that touches nothing outside its home."""
    passwords = home / "passwords.json"
    home.mkdir(parents=True, exist_ok=True)
    passwords.write_text(json.dumps({"admin": "admin", "crm": "crm"}), encoding="utf-8")
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(dags.parent / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,crm:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": "a-secret-of-this-test",
        "AIRFLOW__API_AUTH__JWT_SECRET": "another-secret-of-this-test-long-enough-for-a-signature",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def make_project(folder: Path) -> Path:
    """Copy the repository's own project, so that a test may change it."""
    for name in ("triggers", "message_templates", "dags", "plugins"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tidings.yaml", "warehouse.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder of this test's own."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="session")
def filled_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose ledger holds 28 days of every campaign."""
    from airflow_ledger import fill

    folder = make_project(tmp_path_factory.mktemp("filled") / "project")
    (folder / ".tidings").mkdir()
    for path in (folder / "triggers").glob("*.yaml"):
        path.write_text(path.read_text().replace("holdout: 10%", "holdout: 40%"))
    fill(f"sqlite:///{folder}/.tidings/ledger.sqlite", now=datetime.now(UTC).replace(microsecond=0))
    return folder


@pytest.fixture
def bag() -> Callable[[Path], object]:
    """Call it with a project for the DagBag that Airflow makes of its dags folder."""

    def parsed(folder: Path) -> object:
        from airflow.dag_processing.dagbag import DagBag

        return DagBag(str(folder / "dags"), bundle_path=folder / "dags")

    return parsed
