"""What live tests share: how Airflow is started and asked."""

from __future__ import annotations

import json
import os
import sys
import urllib.request

AIRFLOW = (sys.executable, "-m", "airflow")


def clean_environment() -> dict[str, str]:
    """Return this environment without anything that would reach into a started Airflow."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "TIDINGS", "_AIRFLOW", "COV_", "PYTEST"))
    }


def token(server: str, user: str) -> str:
    """Return a bearer token; each user's password is its name."""
    body = json.dumps({"username": user, "password": user}).encode()
    request = urllib.request.Request(f"{server}/auth/token", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["access_token"])
