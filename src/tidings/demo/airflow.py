"""The demo's Airflow: SQLite, a local executor, two users whose passwords are their names; none of it is imported."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tidings.demo.airflow_api import AirflowApi
from tidings.demo.folder import Ports
from tidings.demo.processes import Services, free_port

API_USER = "admin"
_USERS = {"admin": "admin", "crm": "viewer"}
_CAMPAIGNS = ("back_in_stock", "browse_abandonment", "cart_abandonment", "price_drop", "win_back")
_SHARED = ("dispatch", "measure")
_UP = 120.0


@dataclass(slots=True)
class Airflow:
    """An Airflow with a home in the demo's folder. ``secret`` signs what its parts say to each other."""

    folder: Path
    ports: Ports
    secret: str
    api: AirflowApi = field(init=False)

    def __post_init__(self) -> None:
        self.api = AirflowApi(self.url, API_USER, API_USER)

    @property
    def url(self) -> str:
        """The address of its UI and API."""
        return f"http://127.0.0.1:{self.ports.airflow}"

    def start(self, services: Services, env: Mapping[str, str]) -> None:
        """Start everything at once: the first process makes the metadata database, the others wait for it."""
        home = self.folder / "airflow"
        home.mkdir(parents=True, exist_ok=True)
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps({name: name for name in _USERS}), encoding="utf-8")
        ours = {**env, **self._settings(home, passwords)}
        tool = str(Path(sys.executable).with_name("airflow"))
        parts = " & ".join(f'"{tool}" {part}' for part in ("api-server", "scheduler", "dag-processor"))
        # One group: migrations first, then the parts side by side; the group ends together.
        script = f'"{tool}" db migrate && {{ {parts} & wait; }}'
        services.start("airflow", ["/bin/sh", "-c", script], ours, home)

    def wait_until_up(self, services: Services) -> None:
        """Wait until the UI answers and has read every DAG."""
        services.wait_for("airflow", f"{self.url}/api/v2/version", _UP)
        self.api.wait_for_dags((*_CAMPAIGNS, *_SHARED), _UP)

    def full_cycle(self, seconds: float) -> dict[str, str]:
        """Let the DAGs run: every campaign looks, what is due is sent, the results are measured. Return the states."""
        states: dict[str, str] = {}
        for together in (_CAMPAIGNS, ("dispatch",), ("measure",)):
            states |= self.api.run(together, seconds)
        return states

    def _settings(self, home: Path, passwords: Path) -> dict[str, str]:
        """Return Airflow's settings as environment variables; no file of the user's is read or written."""
        said = {
            "CORE__DAGS_FOLDER": self.folder / "dags",
            "CORE__PLUGINS_FOLDER": self.folder / "plugins",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": True,
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": 4,
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in _USERS.items()),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords,
            "API__HOST": "127.0.0.1",
            "API__PORT": self.ports.airflow,
            "API__WORKERS": 1,
            "API__SECRET_KEY": self.secret,
            "API_AUTH__JWT_SECRET": self.secret,
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "DAG_PROCESSOR__REFRESH_INTERVAL": 5,
            "LOGGING__WORKER_LOG_SERVER_PORT": free_port(8793),
            "LOGGING__LOGGING_LEVEL": "WARNING",
            "USAGE_DATA_COLLECTION__ENABLED": False,
        }
        return {"AIRFLOW_HOME": str(home), **{f"AIRFLOW__{name}": str(value) for name, value in said.items()}}
