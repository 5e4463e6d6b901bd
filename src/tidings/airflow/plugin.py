"""Puts the revenue pages into Airflow: "Campaigns" in the navigation, "Revenue" on each DAG, behind Airflow's login."""

from __future__ import annotations

import contextlib
import threading
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_dag, requires_access_view, requires_authenticated
from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends

from tidings.airflow.connections import AirflowConnections
from tidings.airflow.folder import project_folder
from tidings.errors import TidingsError
from tidings.jobs.opening import open_project
from tidings.measure.figures import Report
from tidings.web.dashboard import dashboard_app, versions
from tidings.web.dashboard_recent import Recent

_PATH = "/campaigns"


def read_report(days: int, currency: str | None) -> Report:
    """Return the figures of so many days up to today, as `tidings report` prints them."""
    from tidings.jobs import report

    with open_project(project_folder(), AirflowConnections()) as opened:
        now = opened.ledger.now()
        first = report.today(opened, now=now) - timedelta(days=days)
        return report.run(opened, first=first, currency=currency, now=now)


recent = Recent(read_report)
_warmed = threading.Event()


def warm_up() -> None:
    """Read the usual report beside the first request, the icon's, so that whoever opens the page finds it ready."""
    if not _warmed.is_set():
        _warmed.set()
        threading.Thread(target=_read_ahead, daemon=True).start()


def _read_ahead() -> None:
    with contextlib.suppress(TidingsError):
        recent(28, None)


def _prefix() -> str:
    """Return the path under which Airflow itself is served, behind a proxy that gives it one."""
    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")


def _icon(name: str) -> str:
    return f"{_prefix()}{_PATH}/static/{name}?v={versions()[name]}"


def _views() -> list[dict[str, Any]]:
    return [
        {
            "name": "Campaigns",
            "href": f"{_prefix()}{_PATH}/",
            "destination": "nav",
            "nav_top_level": True,
            "icon": _icon("icon.svg"),
            "icon_dark_mode": _icon("icon-dark.svg"),
            "url_route": "campaigns",
        },
        {
            "name": "Revenue",
            "href": f"{_prefix()}{_PATH}/dag?dag_id={{DAG_ID}}",
            "destination": "dag",
            "icon": _icon("icon.svg"),
            "icon_dark_mode": _icon("icon-dark.svg"),
            "url_route": "revenue",
        },
    ]


class TidingsPlugin(AirflowPlugin):
    """The plugin; Airflow makes every path of a plugin public, so the guards below are what protects it."""

    name = "tidings"
    fastapi_apps = [  # noqa: RUF012
        {
            "app": dashboard_app(
                recent,
                guards=[
                    Depends(requires_authenticated()),
                    Depends(requires_access_view(AccessView.PLUGINS)),
                    Depends(warm_up),
                ],
                dag_guards=[Depends(requires_access_dag("GET"))],
            ),
            "url_prefix": _PATH,
            "name": "Tidings campaigns",
        }
    ]
    external_views = _views()
