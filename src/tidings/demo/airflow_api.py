"""Airflow's REST API as the demo needs it: are the DAGs there, run them, did they succeed."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tidings.demo.processes import ServiceError

_ENDED = ("success", "failed")


@dataclass(slots=True)
class AirflowApi:
    """A running Airflow at ``url``, asked as a user with a password."""

    url: str
    user: str
    password: str
    _token: str = ""

    def wait_for_dags(self, wanted: Collection[str], seconds: float) -> None:
        """Wait until Airflow has read these DAGs. Raises ServiceError that names the missing ones."""
        until = time.monotonic() + seconds
        missing = set(wanted)
        while missing:
            known = self._ask("GET", "/api/v2/dags?limit=1000")["dags"]
            missing = set(wanted) - {dag["dag_id"] for dag in known}
            if missing and time.monotonic() > until:
                raise ServiceError(f"airflow: did not read {', '.join(sorted(missing))} within {seconds:.0f} s")
            if missing:
                time.sleep(0.5)

    def unpause(self, dags: Collection[str]) -> None:
        """Let these DAGs run on their schedules."""
        for dag in sorted(dags):
            self._ask("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})

    def run(self, dags: Collection[str], seconds: float) -> dict[str, str]:
        """Run DAGs side by side by hand; return each one's state when all have ended or time is up."""
        runs = {dag: self._start(dag) for dag in sorted(dags)}
        states = dict.fromkeys(runs, "queued")
        until = time.monotonic() + seconds
        while any(state not in _ENDED for state in states.values()) and time.monotonic() < until:
            time.sleep(0.5)
            for dag, run in runs.items():
                if states[dag] not in _ENDED:
                    states[dag] = str(self._ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")["state"])
        return states

    def _start(self, dag: str) -> str:
        return str(self._ask("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, "conf": {}})["dag_run_id"])

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        if not self._token:
            login = {"username": self.user, "password": self.password}
            self._token = str(_request("POST", f"{self.url}/auth/token", login, "")["access_token"])
        return _request(method, self.url + path, body, self._token)


def _request(method: str, url: str, body: object, token: str) -> Any:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as refused:
        path = url.split("/", 3)[-1].partition("?")[0]
        raise ServiceError(f"airflow: answered {refused.code} to {method} /{path}") from None
