"""The shop's tables held in memory while its past is replayed: the files' rows under the files' names."""

from __future__ import annotations

from pathlib import Path

import duckdb

from tidings.warehouse import duck
from tidings.warehouse.mapping import Mapping
from tidings.warehouse.reader import Warehouse


class Copy:
    """A copy of every table of a warehouse of files, for one process; what is loaded later is added to both.

    A replay asks tens of thousands of questions; each would open and read the same files again.
    """

    def __init__(self, mapping: Mapping, folder: Path) -> None:
        self._mapping, self._folder = mapping, folder
        # One thread a question: two campaigns are looked at side by side.
        self._shared = duckdb.connect(":memory:", config={"threads": 1})
        self._shared.execute("SET GLOBAL TimeZone = 'UTC'")
        for name, files in mapping.database.files.items():
            self._shared.execute(f'CREATE TABLE "{name}" AS SELECT * FROM {duck.scan(files, folder)}')  # noqa: S608

    def warehouse(self) -> Warehouse:
        """Return the copy as a warehouse, mapped as the files are. Closing it gives the memory back."""
        return Warehouse(self._mapping, self._folder, lambda: duck.over(self._shared))

    def add(self, table: str, rows: duckdb.DuckDBPyRelation) -> None:
        """Add rows that another connection made; its columns are the table's."""
        columns = rows.columns
        names, marks = ", ".join(f'"{one}"' for one in columns), ", ".join("?" for _ in columns)
        with self._shared.cursor() as writing:
            writing.executemany(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', rows.fetchall())  # noqa: S608
