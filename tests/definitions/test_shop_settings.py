"""tidings.yaml, connections and secrets: what was not said has a default, and no secret is ever told."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.definitions import load_settings
from tidings.errors import DefinitionError
from tidings.model.people import Channel
from tidings.settings import Database, EnvConnections, Settings, database_url, is_local, open_secrets
from tidings.settings.connections import from_uri

KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def settings(project: Path, **said: object) -> Settings:
    shop, mistakes = load_settings(project)
    assert shop is not None, mistakes
    return Settings.model_validate({**shop.model_dump(by_alias=True), **said})


def test_a_shop_that_says_little_has_the_defaults_of_the_market(project: Path) -> None:
    path = project / "tidings.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("caps:")], encoding="utf-8")

    shop = settings(project)

    assert not shop.production
    assert [(cap.channel, cap.at_most, cap.per) for cap in shop.caps] == [
        (Channel.EMAIL, 1, timedelta(hours=16)), (Channel.SMS, 1, timedelta(hours=24)), (None, 4, timedelta(days=7))
    ]  # fmt: skip
    assert f"{shop.quiet_hours.sms.start:%H:%M}-{shop.quiet_hours.sms.end:%H:%M}" == "21:00-08:00"
    assert shop.arbitration_window == timedelta(minutes=10)
    assert shop.measure.window == timedelta(days=14)
    assert shop.currency == "EUR"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8095", True), ("http://localhost", True), ("http://sandbox:8095", True),
        ("http://[::1]:80", True), ("https://api.sendgrid.com", False), ("http://10.0.0.1", False),
        ("http://127.0.0.1.evil.example", False),
    ],
)  # fmt: skip
def test_only_this_machine_and_its_containers_are_local(url: str, local: bool) -> None:
    assert is_local(url) is local


def test_a_connection_is_read_from_json_from_a_uri_and_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "sms.json"
    secret.write_text('{"conn_type": "twilio", "login": "AC1", "password": "t"}\n', encoding="utf-8")
    connections = EnvConnections(
        {
            "AIRFLOW_CONN_SENDGRID": '{"conn_type": "sendgrid", "password": "SG.x", "extra": "{\\"a\\": 1}"}',
            "AIRFLOW_CONN_SHOP": "postgres://me:p%40ss@db.example:5433/shop?sslmode=require",
            "AIRFLOW_CONN_SMS_FILE": str(secret),
        }
    )

    mail, shop, sms = connections.get("sendgrid"), connections.get("shop"), connections.get("sms")

    assert (mail.password, mail.extra) == ("SG.x", {"a": 1})
    assert (shop.type, shop.host, shop.port, shop.login, shop.password, shop.schema, shop.extra) == (
        "postgres", "db.example", 5433, "me", "p@ss", "shop", {"sslmode": "require"}
    )  # fmt: skip
    assert (sms.login, sms.password) == ("AC1", "t")


@pytest.mark.parametrize(
    "environ",
    [{}, {"AIRFLOW_CONN_X": "hunter2"}, {"AIRFLOW_CONN_X": '{"password": "hunter2"'}, {"AIRFLOW_CONN_X_FILE": "/none"}],
    ids=["unset", "neither", "cut off", "no file"],
)
def test_a_connection_that_cannot_be_read_is_named_without_its_value(environ: Mapping[str, str]) -> None:
    with pytest.raises(DefinitionError, match="AIRFLOW_CONN_X") as raised:
        EnvConnections(environ).get("x")

    assert "hunter2" not in str(raised.value)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20), st.text(max_size=20))
def test_a_connection_never_tells_its_secrets(login: str, password: str) -> None:
    from urllib.parse import quote

    written = f"postgres://{quote(login, safe='', errors='replace')}:{quote(password, safe='', errors='replace')}@db/x"

    found = from_uri("shop", written)

    assert repr(found) == "Connection(name='shop', type='postgres')"
    assert (found.host, found.schema) == ("db", "x")


def test_files_of_a_database_are_of_the_projects_folder(tmp_path: Path) -> None:
    nothing = EnvConnections({})

    ledger = database_url(Database(url="sqlite:///.tidings/ledger.sqlite", connection=None), tmp_path, nothing)

    assert ledger == f"sqlite:///{tmp_path}/.tidings/ledger.sqlite"


def test_a_connection_becomes_the_drivers_address(tmp_path: Path) -> None:
    connections = EnvConnections({"AIRFLOW_CONN_LEDGER": "postgres://me:p%40ss@db:5433/tidings?sslmode=require"})

    url = database_url(Database(connection="ledger", url=None), tmp_path, connections)

    assert url == "postgresql+psycopg://me:p%40ss@db:5433/tidings?sslmode=require"


def test_a_shop_that_is_not_in_production_gets_secrets_once_for_its_owner_only(project: Path) -> None:
    shop = settings(project)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: open_secrets(shop, project, EnvConnections({}), {}), range(8)))

    path = project / ".tidings" / "secrets.json"

    assert len({one.pepper for one in made}) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["secrets.json"]
    assert repr(made[0]) == "Secrets()"


def test_production_needs_secrets_of_its_own_and_reads_no_file(project: Path) -> None:
    open_secrets(settings(project), project, EnvConnections({}), {})
    shop = settings(project, production=True, public_url="https://t.fenmark.example")

    with pytest.raises(DefinitionError, match="TIDINGS_PEPPER"):
        open_secrets(shop, project, EnvConnections({}), {})

    given_ = {"TIDINGS_PEPPER": KEY, "TIDINGS_LINK_KEYS": f"2:{KEY},1:{KEY}"}
    found = open_secrets(shop, project, EnvConnections({}), given_)
    assert (found.signing_key, list(found.link_keys), found.sandbox_key) == ("2", ["2", "1"], None)


def test_secrets_come_from_the_connection_named_tidings(project: Path) -> None:
    extra = json.dumps({"extra": {"pepper": KEY, "link_keys": f"a:{KEY}"}})
    shop = settings(project, production=True, public_url="https://t.fenmark.example")

    found = open_secrets(shop, project, EnvConnections({"AIRFLOW_CONN_TIDINGS": extra}), {})

    assert found.signing_key == "a"


@pytest.mark.parametrize("text", ["hunter2", "1:hunter2", f"1:{KEY},1:{KEY}", f"-:{KEY}", f"ab:{KEY}", ""])
def test_a_link_key_that_is_none_is_not_told(text: str, project: Path) -> None:
    shop = settings(project, production=True, public_url="https://t.fenmark.example")
    environ = {"TIDINGS_PEPPER": KEY, "TIDINGS_LINK_KEYS": text}

    with pytest.raises(DefinitionError, match="link_keys") as raised:
        open_secrets(shop, project, EnvConnections({}), environ)

    assert "hunter2" not in str(raised.value)
    assert KEY not in str(raised.value)
