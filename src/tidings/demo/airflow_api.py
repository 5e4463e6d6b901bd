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
# A scheduled run shows up within a second or two of its DAG being allowed to run.
_BY_ITSELF = 15.0


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

    def run(self, dags: Collection[str], seconds: float) -> dict[str, str]:
        """Let DAGs run on their schedules; return the state of each one's first run when all have ended.

        Airflow makes up for the last time a schedule named as soon as a DAG may run; where it does not, a run is
        started by hand. What has not ended when time is up keeps the state it is in.
        """
        for dag in sorted(dags):
            self._ask("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})
        started = time.monotonic()
        states = dict.fromkeys(sorted(dags), "none")
        while any(state not in _ENDED for state in states.values()) and time.monotonic() < started + seconds:
            time.sleep(0.5)
            for dag in [dag for dag, state in states.items() if state not in _ENDED]:
                states[dag] = self._first_run(dag)
                if states[dag] == "none" and time.monotonic() > started + _BY_ITSELF:
                    self._ask("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, "conf": {}})
        return states

    def _first_run(self, dag: str) -> str:
        runs = self._ask("GET", f"/api/v2/dags/{dag}/dagRuns?order_by=run_after&limit=1")["dag_runs"]
        return str(runs[0]["state"]) if runs else "none"

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
