"""DuckDB as the embedded warehouse: a shop's file opened read-only and briefly, or views over its data files."""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
from duckdb_sqlalchemy import ConnectionWrapper
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from tidings.errors import WarehouseError
from tidings.warehouse.mapping import Database, FileSource

_HOLDER = re.compile(r"held in (?P<name>.*?) \(PID (?P<pid>\d+)\)")


def engine(database: Database, folder: Path, lock_wait: float) -> Engine:
    """Return an engine over the DuckDB file or the data files of a mapping; a file is not opened yet."""
    return _over_files(database, folder) if database.files else _over_file(database, folder, lock_wait)


def _over_file(database: Database, folder: Path, lock_wait: float) -> Engine:
    path = folder / str(database.path)

    def connect() -> ConnectionWrapper:
        return ConnectionWrapper(_opened(path, lock_wait))

    # No pool: the file is held only while a query runs, so that the shop's loader gets its turn.
    return create_engine("duckdb://", creator=connect, poolclass=NullPool, hide_parameters=True)


def _opened(path: Path, lock_wait: float) -> duckdb.DuckDBPyConnection:
    """Open a file read-only, waiting for a writer to let go of it."""
    if not path.is_file():
        raise WarehouseError(f'warehouse.yaml: database.path: must be a DuckDB file; found no file "{path}"')
    pause, deadline = 0.02, time.monotonic() + lock_wait
    while True:
        try:
            opened = duckdb.connect(str(path), read_only=True, config={"enable_external_access": "false"})
            opened.execute("SET TimeZone = 'UTC'")
        except duckdb.Error as error:
            said = str(error)
            if "lock" not in said or time.monotonic() + pause > deadline:
                raise WarehouseError(_why(path, said, lock_wait)) from None
        else:
            return opened
        time.sleep(pause)
        pause = min(pause * 2, 1.0)


def _why(path: Path, said: str, lock_wait: float) -> str:
    if holder := _HOLDER.search(said):
        name = os.path.basename(holder["name"]) or "another process"
        return f"warehouse: {path} is being written by {name} (process {holder['pid']}); waited {lock_wait:g} s"
    if "lock" in said:
        return f"warehouse: {path} is locked by another process; waited {lock_wait:g} s"
    if "version number" in said or "newer version" in said or "storage version" in said.lower():
        return (
            f"warehouse: {path} was written by another version of DuckDB; this installation reads files "
            f"up to DuckDB 1.5 (write it with STORAGE_VERSION 'v1.0.0', or give Parquet files)"
        )
    if "different configuration" in said:
        return f"warehouse: {path} is open for writing in this very process; close it first"
    if "not a valid DuckDB" in said:
        return f"warehouse: {path} is not a DuckDB file"
    return f"warehouse: {path} cannot be opened: {said.splitlines()[0]}"


def _over_files(database: Database, folder: Path) -> Engine:
    """Return an engine whose connections share views over files; a view looks for new files at every query."""
    shared = duckdb.connect(":memory:")
    try:
        shared.execute("SET GLOBAL TimeZone = 'UTC'")
        places = [_prepared(shared, name, files, folder) for name, files in database.files.items()]
        # From here on a query reaches these folders and nothing else on this machine.
        spill = Path(tempfile.gettempdir()) / f"tidings-duckdb-{os.getpid()}"
        shared.execute(f"SET temp_directory = {_quoted(str(spill))}")
        shared.execute(f"SET allowed_directories = [{', '.join(_quoted(one) for one in dict.fromkeys(places))}]")
        shared.execute("SET enable_external_access = false")
        shared.execute("SET lock_configuration = true")
    except BaseException:
        shared.close()
        raise
    return over(shared)


def over(shared: duckdb.DuckDBPyConnection) -> Engine:
    """Return an engine whose connections all read one open database; disposing of the engine closes it."""
    made = create_engine(
        "duckdb://",
        creator=lambda: ConnectionWrapper(shared.cursor()),
        poolclass=QueuePool,
        pool_size=4,
        hide_parameters=True,
    )

    @event.listens_for(made, "engine_disposed")
    def _close(_: Any) -> None:
        shared.close()

    return made


def _prepared(shared: duckdb.DuckDBPyConnection, name: str, files: FileSource, folder: Path) -> str:
    """Create one view; return the folder that it reads."""
    path = os.path.abspath(folder / files.pattern)
    reads = scan(files, folder)
    try:
        shared.execute(f'CREATE VIEW "{name}" AS SELECT * FROM {reads}')  # noqa: S608 (both are quoted or checked)
    except duckdb.Error as error:
        said = str(error).splitlines()[0]
        found = f'found none at "{path}"' if "No files found" in said else f"found: {said}"
        raise WarehouseError(f"warehouse.yaml: database.files.{name}: must be readable files; {found}") from None
    fixed = re.split(r"[*?\[]", path, maxsplit=1)[0]
    return os.path.dirname(fixed) + "/"


def set_aside(database: Database, folder: Path) -> dict[str, int]:
    """Return, per view over CSV files, how many lines have too few or too many fields."""
    found = {}
    for name, files in database.files.items():
        if files.csv is None:
            continue
        with duckdb.connect(":memory:") as connection:
            connection.execute(f"SELECT count(*) FROM {scan(files, folder, rejects=True)}").fetchall()  # noqa: S608
            row = connection.execute("SELECT count(DISTINCT (file_id, line)) FROM reject_errors").fetchone()
        found[name] = int(row[0]) if row else 0
    return found


def scan(files: FileSource, folder: Path, rejects: bool = False) -> str:
    """Return the table function that reads the files; a name that begins with a dot or _ is still being written."""
    path = os.path.abspath(folder / files.pattern)
    head, tail = os.path.split(path)
    if tail.startswith("*"):
        path = os.path.join(head, "[!._]" + tail)
    if files.parquet is not None:
        return f"read_parquet({_quoted(path)})"
    options = ["all_varchar = true", "ignore_errors = true", f"header = {str(files.header).lower()}"]
    options += [f"delim = {_quoted(files.delimiter)}", "quote = '\"'", "escape = '\"'"]
    if files.columns:
        options.append(f"names = [{', '.join(_quoted(one) for one in files.columns)}]")
    if rejects:
        options = [one for one in options if not one.startswith("ignore_errors")] + ["store_rejects = true"]
    return f"read_csv({_quoted(path)}, {', '.join(options)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
