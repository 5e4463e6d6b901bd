"""Commands that set up or stay up: migrations, the public web service, the sandbox and the demo."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from tidings.cli.options import HERE, AsJson, ProjectDir, instant
from tidings.cli.printing import line, working


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (migrate, reconcile, web, sandbox, demo):
        app.command()(command)


def migrate(project: ProjectDir = HERE) -> None:
    """Bring the ledger's tables up to this version."""
    from tidings.jobs import migrate as job

    with working("migrating"):
        revision = job.run(project)
    line(f"The ledger is at migration {revision}.")


def reconcile(
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Ask for what came since then.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask and count; write nothing.")] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Open dispatch although a provider could not be asked.")
    ] = False,
    as_json: AsJson = False,
    project: ProjectDir = HERE,
) -> None:
    """Fetch lost opt-outs and proofs from the providers; after a restore, open dispatch again."""
    from tidings.cli.reconcile_text import tell
    from tidings.jobs import reconcile as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("asking the providers"):
        told = job.run(opened, since=instant(since, "--since"), dry_run=dry_run, anyway=anyway)
    tell(told, as_json=as_json)


Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Listen here (default: as tidings.yaml says).")
]


def web(
    port: Port = None,
    host: Annotated[str, typer.Option("--host", help="Listen on this address.")] = "127.0.0.1",
    project: ProjectDir = HERE,
) -> None:
    """Serve what providers and recipients reach: webhooks, clicks, unsubscribe."""
    import uvicorn

    from tidings.jobs.opening import open_project
    from tidings.web.public import public_app

    with open_project(project) as opened:
        opened.ledger.check()
        at = _port_of(opened.settings.public_url, 8090) if port is None else port
        line(f"Listening on http://{host}:{at} for {opened.settings.public_url}. Ctrl-C stops.")
        # Addresses hold tokens, so no access log; the proxy in front tells the scheme and the client.
        uvicorn.run(public_app(opened), host=host, port=at, access_log=False, log_level="warning", server_header=False)


def sandbox(
    port: Port = None,
    deliver: Annotated[bool, typer.Option("--deliver/--no-deliver", help="Report messages as delivered.")] = True,
    project: ProjectDir = HERE,
) -> None:
    """Stand in for SendGrid and Twilio on this machine, with an inbox page."""
    from tidings.errors import DefinitionError
    from tidings.jobs.opening import open_project
    from tidings.sandbox.api import Accounts
    from tidings.sandbox.server import ACCOUNT_SID, AUTH_TOKEN, Sandbox

    with open_project(project) as opened:
        settings = opened.settings
        if settings.production:
            raise DefinitionError("tidings.yaml: production: must be false for the sandbox; found true")
        keys = opened.secrets
        at = _port_of(settings.providers.email.base_url, 8095) if port is None else port
        stand_in = Sandbox(
            opened.project.folder / ".tidings" / "sandbox",
            port=at,
            public_url=settings.public_url,
            deliver=deliver,
            accounts=Accounts(ACCOUNT_SID, keys.twilio_auth_token or AUTH_TOKEN),
            signing_key=keys.sandbox_key,
        )
    try:
        with stand_in, _told_to_stop() as told:
            line(f"The inbox is at {stand_in.url}. Ctrl-C stops.")
            line("Providers: base_url: ", stand_in.url, dim=True)
            line('AIRFLOW_CONN_SENDGRID=\'{"conn_type": "tidings_sendgrid", "password": "SG.sandbox"}\'', dim=True)
            line(f"Twilio: account {ACCOUNT_SID}, its token is made in .tidings/secrets.json", dim=True)
            told.wait()
    except OSError as trouble:
        raise DefinitionError(f"sandbox: port {at} must be free; found {trouble.strerror or trouble}") from None


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a TERM signal sets: listened for before anybody is told that the service is up."""
    told = threading.Event()
    before = {one: signal.signal(one, lambda *_: told.set()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _port_of(url: str | None, otherwise: int) -> int:
    return (urlsplit(url).port if url else None) or otherwise


def demo(
    once: Annotated[bool, typer.Option("--once", help="End by itself after one full cycle.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Make the demo's project here (default: .demo).")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(
            "--every",
            min=1,
            max=12,
            metavar="HOURS",
            help="Simulated hours between two looks (default: one to six, as the machine manages).",
        ),
    ] = None,
    project: ProjectDir = HERE,
) -> None:
    """Create the demo shop, replay its past, hand over to a live Airflow and print what it earned."""
    from tidings.demo import run as show

    code = show.run(project, once=once, folder=folder, every=timedelta(hours=every) if every else None)
    sys.stdout.flush()
    raise typer.Exit(code)
