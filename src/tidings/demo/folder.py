"""The demo's project folder: the repository's campaigns and messages, with half of the people held out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from tidings.definitions import load_settings
from tidings.errors import DefinitionError
from tidings.sandbox.server import ACCOUNT_SID
from tidings.settings import EnvConnections, Secrets, open_secrets

# Every share is large, because a demo has few people and must show a difference after four weeks.
HOLDOUTS = {
    "back_in_stock": "40%",
    "browse_abandonment": "40%",
    "cart_abandonment": "40%",
    "price_drop": "40%",
    "win_back": "40%",
}
# Few messages are due at once in a small shop: more shards would only mean more questions to the warehouse. And of so
# few a handful of bounces is a large share, of which nobody needs to be warned.
_SMALL_SHOP = """dispatch:                   # one part is enough for a shop of this size
  shards: 1

brakes:                     # a week's few hundred messages of one campaign say little about its bounces
  bounces: {at_least: 2000}
"""
_COPIED = ("triggers", "message_templates", "dags", "plugins")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the demo's services listen, all on this machine only."""

    airflow: int = 8080
    web: int = 8090
    sandbox: int = 8095
    front: int = 8096

    @property
    def front_url(self) -> str:
        """The address of the shop's pages."""
        return f"http://127.0.0.1:{self.front}"

    @property
    def sandbox_url(self) -> str:
        """The address of the inbox and of both stand-ins."""
        return f"http://127.0.0.1:{self.sandbox}"

    @property
    def web_url(self) -> str:
        """The address of the public web service."""
        return f"http://127.0.0.1:{self.web}"


def lay_out(source: Path, folder: Path, ports: Ports) -> None:
    """Make a fresh project folder out of a checkout. Raises DefinitionError when ``source`` is no project."""
    if not (source / "tidings.yaml").is_file() or not (source / "triggers").is_dir():
        raise DefinitionError(f'demo: must be started in the Tidings checkout; found no project in "{source}"')
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "tidings.yaml").is_file():
            raise DefinitionError(f'demo: "{folder}" must be empty or an older demo; found other files')
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for name in _COPIED:
        if (source / name).is_dir():
            shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder / "triggers").glob("*.yaml"):
        path.write_text(_campaign(path.stem, path.read_text(encoding="utf-8")), encoding="utf-8")
    settings = _shop((source / "tidings.yaml").read_text(encoding="utf-8"), ports)
    (folder / "tidings.yaml").write_text(settings, encoding="utf-8")
    mapping = resources.files("tidings.demo").joinpath("warehouse.yaml").read_text(encoding="utf-8")
    (folder / "warehouse.yaml").write_text(mapping, encoding="utf-8")


def _campaign(name: str, text: str) -> str:
    share = HOLDOUTS.get(name, "40%")
    return "\n".join(f"holdout: {share}" if line.startswith("holdout:") else line for line in text.split("\n"))


def _shop(text: str, ports: Ports) -> str:
    said = {
        "http://127.0.0.1:8090": ports.web_url,
        "http://127.0.0.1:8095": ports.sandbox_url,
        "https://fenmark.example": ports.front_url,
        "allow_list: []": 'allow_list: ["@post.example"]',
    }
    for ours, demo in said.items():
        text = text.replace(ours, demo)
    return f"{text}\n{_SMALL_SHOP}"


def open_keys(folder: Path) -> Secrets:
    """Return the demo project's own secrets, made at the first call."""
    settings, mistakes = load_settings(folder)
    if settings is None:
        raise DefinitionError("\n".join(str(mistake) for mistake in mistakes))
    return open_secrets(settings, folder, EnvConnections({}), {})


def environment(folder: Path) -> Mapping[str, str]:
    """Return the connections of the demo's providers, as environment variables."""
    keys = open_keys(folder)
    sendgrid = {"conn_type": "tidings_sendgrid", "password": "SG.demo"}
    twilio = {"conn_type": "tidings_twilio", "login": ACCOUNT_SID, "password": keys.twilio_auth_token}
    return {"AIRFLOW_CONN_SENDGRID": json.dumps(sendgrid), "AIRFLOW_CONN_TWILIO": json.dumps(twilio)}
