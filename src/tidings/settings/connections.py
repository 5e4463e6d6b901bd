"""Where passwords come from: named connections, read from the environment the way Airflow does, without Airflow."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from tidings.errors import DefinitionError
from tidings.settings.shop import Database

_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "gcpbigquery": "bigquery",
    "google_cloud_platform": "bigquery",
    "redshift": "redshift+psycopg2",
    "clickhouse": "clickhousedb",
}
_FILES = ("sqlite", "duckdb")


@dataclass(frozen=True, slots=True)
class Connection:
    """One named connection. Its repr tells nothing but the name and the type."""

    name: str
    type: str = ""
    host: str | None = field(default=None, repr=False)
    login: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    port: int | None = field(default=None, repr=False)
    schema: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Connections(Protocol):
    """Where named connections are found: the environment, or Airflow's own store."""

    def get(self, name: str) -> Connection:
        """Return the connection. Raises DefinitionError that names it when there is none."""


class EnvConnections:
    """Connections from ``AIRFLOW_CONN_<NAME>`` (JSON or URI), or from the file ``AIRFLOW_CONN_<NAME>_FILE`` names."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def get(self, name: str) -> Connection:
        """Return the connection. Raises DefinitionError that names the variable, never its value."""
        variable = f"AIRFLOW_CONN_{name.upper()}"
        text = env_text(self._environ, variable)
        if text is None:
            raise DefinitionError(f"connection {name}: must be set as {variable} or {variable}_FILE; found nothing")
        try:
            return from_json(name, text) if text.lstrip().startswith("{") else from_uri(name, text)
        except ValueError:
            raise DefinitionError(
                f"connection {name}: {variable} must be JSON or a URI; found something else"
            ) from None


def env_text(environ: Mapping[str, str], variable: str) -> str | None:
    """Return the variable, or the stripped text of the file that ``<variable>_FILE`` names, or None."""
    if variable in environ:
        return environ[variable]
    path = environ.get(f"{variable}_FILE")
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise DefinitionError(f"{variable}_FILE: must name a readable text file; found {path}") from None


def from_json(name: str, text: str) -> Connection:
    """Return a connection from Airflow's JSON form. Raises ValueError without quoting the text."""
    given = json.loads(text)
    if not isinstance(given, dict):
        raise ValueError("not an object")
    extra = given.get("extra") or {}
    if isinstance(extra, str):
        extra = json.loads(extra)
    if not isinstance(extra, dict):
        raise ValueError("extra is not an object")
    port = given.get("port")
    return Connection(
        name=name,
        type=_type(str(given.get("conn_type") or "")),
        host=given.get("host") or None,
        login=given.get("login") or None,
        password=given.get("password") or None,
        port=int(port) if port else None,
        schema=given.get("schema") or None,
        extra=extra,
    )


def from_uri(name: str, text: str) -> Connection:
    """Return a connection from Airflow's URI form (parts percent-encoded). Raises ValueError."""
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError("no scheme")
    extra: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    whole = extra.pop("__extra__", None)
    if whole is not None:
        decoded = json.loads(whole)
        extra = decoded if isinstance(decoded, dict) else {}
    host = parts.netloc.rpartition("@")[2]
    host = host.rsplit(":", 1)[0] if parts.port is not None else host.rstrip(":")
    return Connection(
        name=name,
        type=_type(parts.scheme),
        host=unquote(host) or None,
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        port=parts.port,
        schema=unquote(parts.path.removeprefix("/")) or None,
        extra=extra,
    )


def _type(text: str) -> str:
    return text.replace("-", "_").lower()


def database_url(database: Database, folder: Path, connections: Connections) -> str:
    """Return the SQLAlchemy URL of a database; relative SQLite and DuckDB files are of the project's folder.

    The URL may hold a password: pass it to the driver, never to a log. Raises DefinitionError.
    """
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = (
            _connection_url(connections.get(database.connection))
            if database.connection
            else make_url(database.url or "")
        )
    except ArgumentError:
        raise DefinitionError("database url: must be a SQLAlchemy address; found something else") from None
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() in _FILES and url.database and url.database != ":memory:":
        url = url.set(database=str((folder / url.database).resolve()))
    assert isinstance(url, URL)
    return url.render_as_string(hide_password=False)


def _connection_url(connection: Connection) -> Any:
    from sqlalchemy.engine import URL, make_url

    written = connection.extra.get("sqlalchemy_url")
    if isinstance(written, str):
        return make_url(written)
    if connection.type in _FILES:
        path = connection.host or ""
        if connection.schema:
            path = f"{path}/{connection.schema}"
        return URL.create(connection.type, database=path)
    if not connection.type:
        raise DefinitionError(f"connection {connection.name}: must have a type such as postgres; found none")
    return URL.create(
        _DRIVERS.get(connection.type, connection.type),
        username=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        database=connection.schema,
        query={key: str(value) for key, value in connection.extra.items() if isinstance(value, str | int) and key},
    )
