"""Airflow's connections as ours: the environment and secret files first, then whatever store Airflow uses."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tidings.errors import DefinitionError
from tidings.settings import Connection, EnvConnections
from tidings.settings.connections import env_text


class AirflowConnections:
    """Connections for tasks and pages that Airflow runs. Nothing is looked up before it is asked for."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def get(self, name: str) -> Connection:
        """Return the connection. Raises DefinitionError that names it when neither place has it."""
        if env_text(self._environ, f"AIRFLOW_CONN_{name.upper()}") is not None:
            return EnvConnections(self._environ).get(name)
        from airflow.sdk import Connection as Stored
        from airflow.sdk.exceptions import AirflowException

        try:
            found = Stored.get(name)
        except AirflowException:
            found = None
        if found is None:
            raise DefinitionError(
                f"connection {name}: must be made in Airflow (Admin, Connections) or set as "
                f"AIRFLOW_CONN_{name.upper()}; found nothing"
            )
        return Connection(
            name=name,
            type=(found.conn_type or "").replace("-", "_").lower(),
            host=found.host or None,
            login=found.login or None,
            password=found.password or None,
            port=found.port,
            schema=found.schema or None,
            extra=found.extra_dejson,
        )
