"""Commands that set up or stay up: migrations, the public web service, the sandbox and the demo."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tidings.cli.options import HERE, ProjectDir
from tidings.cli.printing import line, working


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (migrate, web, sandbox, demo):
        app.command()(command)


def migrate(project: ProjectDir = HERE) -> None:
    """Bring the ledger's tables up to this version."""
    from tidings.jobs import migrate as job

    with working("migrating"):
        revision = job.run(project)
    line(f"The ledger is at migration {revision}.")


Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Listen here (default: as tidings.yaml says).")
]


def web(
    port: Port = None,
    host: Annotated[str, typer.Option("--host", help="Listen on this address.")] = "127.0.0.1",
    project: ProjectDir = HERE,
) -> None:
    """Serve what providers and recipients reach: webhooks, clicks, unsubscribe."""
    from tidings.web import serve

    serve.run(project, host=host, port=port)


def sandbox(
    port: Port = None,
    deliver: Annotated[
        bool, typer.Option("--deliver/--no-deliver", help="Report accepted messages as delivered.")
    ] = True,
    project: ProjectDir = HERE,
) -> None:
    """Stand in for SendGrid and Twilio on this machine, with an inbox page."""
    from tidings.sandbox import serve

    serve.run(project, port=port, deliver=deliver)


def demo(
    once: Annotated[bool, typer.Option("--once", help="End by itself after one full cycle.")] = False,
    project: ProjectDir = HERE,
) -> None:
    """Create the demo shop, replay its past, hand over to a live Airflow and print what it earned."""
    from tidings.demo import run as show

    code = show.run(project, once=once)
    sys.stdout.flush()
    raise typer.Exit(code)
