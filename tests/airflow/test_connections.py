"""Connections as tasks and pages find them, and the forms in which people write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidings.errors import DefinitionError


def test_a_secret_file_comes_before_airflows_own_store(tmp_path: Path):
    from tidings.airflow.connections import AirflowConnections

    path = tmp_path / "sendgrid"
    path.write_text(json.dumps({"conn_type": "tidings-sendgrid", "password": "SG.file"}))

    found = AirflowConnections({"AIRFLOW_CONN_SENDGRID_FILE": str(path)}).get("sendgrid")

    assert (found.type, found.password) == ("tidings_sendgrid", "SG.file")


def test_airflows_own_store_is_asked_next(monkeypatch: pytest.MonkeyPatch):
    from tidings.airflow.connections import AirflowConnections

    # Airflow reads its environment itself; ours is empty, so this answer came through Airflow.
    told = {"conn_type": "tidings_twilio", "login": "SK1", "password": "s", "extra": {"account_sid": "AC1"}}
    monkeypatch.setenv("AIRFLOW_CONN_TEXTS", json.dumps(told))

    found = AirflowConnections({}).get("texts")

    assert (found.login, found.password, found.extra["account_sid"]) == ("SK1", "s", "AC1")


def test_a_connection_that_is_nowhere_is_named():
    from tidings.airflow.connections import AirflowConnections

    with pytest.raises(DefinitionError, match=r"^connection nobody: must be made in Airflow .* found nothing$"):
        AirflowConnections({}).get("nobody")


def test_the_provider_is_valid_and_its_hooks_exist():
    import jsonschema
    from airflow import providers_manager
    from airflow.sdk._shared.module_loading import import_string

    from tidings.airflow.provider import get_provider_info

    told = get_provider_info()
    schema = json.loads(Path(providers_manager.__file__).with_name("provider_info.schema.json").read_text())
    jsonschema.validate(told, schema)
    for one in told["connection-types"]:
        hook = import_string(one["hook-class-name"])
        assert (hook.conn_type, hook.hook_name) == (one["connection-type"], one["hook-name"])


@pytest.mark.parametrize(
    ("hook", "told", "words"),
    [
        ("SendGridHook", {"conn_type": "tidings_sendgrid"}, "API key: must be set"),
        ("SendGridHook", {"conn_type": "x", "password": "SG.x", "host": "http://127.0.0.1:9"}, "could not be reached"),
        ("SendGridHook", {"conn_type": "x", "password": "SG.x", "host": "file:///etc/passwd"}, "must start with https"),
        ("TwilioHook", {"conn_type": "tidings_twilio", "login": "SK1", "password": "s"}, "must start with AC"),
    ],
    ids=["no key", "nobody there", "not the web", "a key without its account"],
)
def test_testing_a_connection_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, hook: str, told: dict[str, str], words: str
):
    from tidings.airflow import hooks

    monkeypatch.setenv("AIRFLOW_CONN_TRIED", json.dumps(told))

    good, said = getattr(hooks, hook)("tried").test_connection()

    assert not good
    assert words in said
    assert "SG.x" not in said


def test_the_project_is_where_it_is_told_else_above_the_dags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from tidings.airflow.folder import project_folder

    monkeypatch.delenv("TIDINGS_PROJECT", raising=False)
    assert project_folder(str(tmp_path / "dags" / "a.py")) == tmp_path
    monkeypatch.setenv("TIDINGS_PROJECT", str(tmp_path / "else"))
    assert project_folder(str(tmp_path / "dags" / "a.py")) == tmp_path / "else"
