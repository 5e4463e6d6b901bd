"""Bringing the ledger's tables up to this version, whatever state the project's campaigns are in."""

from __future__ import annotations

from pathlib import Path

from tidings.definitions import load_settings
from tidings.errors import DefinitionError
from tidings.jobs.opening import LEDGER_FILE
from tidings.ledger.store import migrate
from tidings.settings import Connections, Database, EnvConnections, database_url


def run(folder: Path, connections: Connections | None = None) -> str:
    """Migrate the project's ledger; return the revision it is at. Raises DefinitionError or LedgerError."""
    folder = folder.resolve()
    shop, mistakes = load_settings(folder)
    if shop is None:
        raise DefinitionError("\n".join(str(mistake) for mistake in mistakes))
    database = shop.ledger or Database(url=LEDGER_FILE, connection=None)
    if shop.ledger is None:
        (folder / ".tidings").mkdir(parents=True, exist_ok=True)
    return migrate(database_url(database, folder, connections or EnvConnections()))
