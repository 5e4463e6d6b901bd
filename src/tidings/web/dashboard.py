"""The revenue pages inside Airflow: who may look is decided by the guards it is given, what is shown by the report."""

from __future__ import annotations

import csv
import gzip
import io
import logging
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidings.errors import TidingsError
from tidings.measure.figures import Figures, Report
from tidings.web.dashboard_pages import Pages, View, figures_of, sorted_campaigns

log = logging.getLogger(__name__)

# Reports(days, currency): the period's figures. Raises TidingsError when they cannot be read.
Reports = Callable[[int, str | None], Report]

# Plotly adds two <style> elements; their hashes are of version 7.1.0 (the empty text, and one rule).
_PLOTLY_STYLES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='"
)
CONTENT_POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' {_PLOTLY_STYLES}; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_OWN = ("dashboard.css", "dashboard.js", "theme.js", "icon.svg", "icon-dark.svg")


def dashboard_app(reports: Reports, *, guards: Sequence[Any], dag_guards: Sequence[Any]) -> FastAPI:
    """Return the pages. Every path but none asks ``guards``; a campaign's own page asks ``dag_guards`` too.

    ``guards`` and ``dag_guards`` are FastAPI dependencies; the latter read ``dag_id`` from the path or query.
    """
    app = FastAPI(dependencies=list(guards), docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_Headers)
    pages = Pages(versions())
    doors = _Doors(reports, pages)
    for path, door in (("/", doors.overview), ("/how-we-count", doors.counting), ("/campaigns.csv", doors.table)):
        app.get(path, response_class=HTMLResponse)(door)
    app.get("/dag", response_class=HTMLResponse, dependencies=list(dag_guards))(doors.dag_tab)
    app.get("/campaign/{dag_id}", response_class=HTMLResponse, dependencies=list(dag_guards))(doors.campaign)
    app.get("/static/{name}")(static)
    return app


class _Doors:
    """The handlers; FastAPI runs them in threads, so a slow ledger holds up nobody else."""

    def __init__(self, reports: Reports, pages: Pages) -> None:
        self._reports, self._pages = reports, pages

    def overview(self, request: Request) -> Response:
        view = _view(request)
        return self._shown(view, lambda report: self._pages.overview(report, view))

    def campaign(self, request: Request, dag_id: str) -> Response:
        """Show one campaign, reached from the overview."""
        view = _view(request)
        return self._shown(view, lambda report: self._about(report, view, dag_id))

    def dag_tab(self, request: Request, dag_id: str = "") -> Response:
        """Show one campaign inside its DAG's page; say what other DAGs are for."""
        view = _view(request, tab=True, dag_id=dag_id)
        return self._shown(view, lambda report: self._about(report, view, dag_id))

    def counting(self, request: Request) -> Response:
        view = _view(request)
        return _page(self._pages.counting(view))

    def table(self, request: Request) -> Response:
        """Return the campaign table's rows, raw, as a file."""
        view = _view(request)
        try:
            report = self._reports(view.days, view.currency)
        except TidingsError as trouble:
            return Response(f"{trouble}\n", 503, media_type="text/plain")
        name = f"campaigns-{report.start:%Y-%m-%d}-{report.currency}.csv"
        given = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(_csv(report, view), media_type="text/csv; charset=utf-8", headers=given)

    def _about(self, report: Report, view: View, dag_id: str) -> tuple[str, int]:
        found = figures_of(report, dag_id)
        if found is not None:
            return self._pages.campaign(report, found, view), 200
        return self._pages.not_a_campaign(view, dag_id), 200 if view.tab else 404

    def _shown(self, view: View, page: Callable[[Report], str | tuple[str, int]]) -> Response:
        try:
            made = page(self._reports(view.days, view.currency))
        except TidingsError as trouble:
            log.warning("the revenue page could not be shown: %s", type(trouble).__name__)
            return _page(self._pages.trouble(view, str(trouble)), 503)
        return _page(made) if isinstance(made, str) else _page(*made)


def static(name: str) -> Response:
    """Return one of our own files, or Plotly's JavaScript out of the installed package, compressed once."""
    found = _files().get(name)
    if found is None:
        return Response(status_code=404)
    body, kind = found
    headers = {
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Encoding": "gzip",
        "Vary": "Accept-Encoding",
    }
    return Response(body, media_type=kind, headers=headers)


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    folder = resources.files("tidings.web").joinpath("dashboard_files")
    raw = {name: folder.joinpath(name).read_bytes() for name in _OWN}
    raw["plotly.js"] = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    return {name: (gzip.compress(body, 6), _TYPES[name.rpartition(".")[2]]) for name, body in raw.items()}


@cache
def versions() -> dict[str, str]:
    """Return a version for each static file's address, so that it may be cached for ever."""
    return {name: sha256(body).hexdigest()[:12] for name, (body, _) in _files().items()}


class _Headers:
    """Security headers on every answer of these pages, refusals included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        given = {
            "Content-Security-Policy": CONTENT_POLICY,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "SAMEORIGIN",
            "Referrer-Policy": "same-origin",
        }
        self._given = [(name.lower().encode(), value.encode()) for name, value in given.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *self._given]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"private, no-store"))
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, with_headers)


def _view(request: Request, *, tab: bool = False, dag_id: str = "") -> View:
    asked = request.query_params
    return View.asked(
        base=str(request.scope.get("root_path", "")).rstrip("/"),
        path=request.url.path.removeprefix(str(request.scope.get("root_path", ""))) or "/",
        asked={name: asked.get(name, "") for name in ("days", "currency", "sort", "page")},
        tab=tab,
        dag_id=dag_id,
    )


def _page(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status)


def _csv(report: Report, view: View) -> str:
    """Return the table as comma-separated values: raw counts, money in minor units."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow((*_COLUMNS, "currency", "incremental", "incremental_low", "incremental_high", "verdict"))
    for one in (*sorted_campaigns(report, view), report.totals):
        found = one.incremental
        lift = (found.total, found.total_low, found.total_high, found.verdict.value) if found else ("", "", "", "")
        writer.writerow((*(_cell(one, name) for name in _COLUMNS), report.currency, *lift))
    return out.getvalue()


_COLUMNS = (
    "campaign", "title", "mode", "found", "planned", "sent", "held_out", "not_sent", "delivered", "clicked",
    "unsubscribed", "recipients", "orders", "revenue", "revenue_before",
)  # fmt: skip


def _cell(one: Figures, name: str) -> object:
    value = getattr(one, name)
    # A spreadsheet would run a title that starts like a formula.
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
