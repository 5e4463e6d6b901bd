"""How the demo shop's tables become Parquet files: one folder a table, files replaced whole, never written in place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
from numpy.typing import NDArray

from tidings.demo.streams import Frame

HISTORY = "history.parquet"

_KNOWN = """
SELECT * EXCLUDE (_known) FROM (
    SELECT _known, * EXCLUDE (_known) FROM ready WHERE _known <= (SELECT now FROM frame) ORDER BY ALL
)
"""
_LATER = """
SELECT _known, * EXCLUDE (_known) FROM ready WHERE _known > (SELECT now FROM frame) ORDER BY ALL
"""


class Loader:
    """The shop's loader. Rows known after the frame's ``now`` go to the folder of what is still to come."""

    def __init__(self, folder: Path, pending: Path, frame: Frame) -> None:
        self._folder, self._pending = folder, pending
        self._con = duckdb.connect(config={"threads": 2})
        self._con.execute("SET timezone = 'UTC'")
        self._con.execute("CREATE TABLE frame AS SELECT ?::BIGINT AS now, ?::BIGINT AS start", [frame.now, frame.start])

    def lookup(self, name: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Keep small columns under a name that the queries of other tables join."""
        self._con.register("columns", dict(columns))
        self._con.sql("SELECT row_number() OVER () - 1 AS n, * FROM columns").create(name)
        self._con.unregister("columns")

    def load(self, table: str, query: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write the rows of ``query`` over ``columns`` (as ``made``). It gives ``_known``: when the shop knew a row."""
        self._con.register("made", dict(columns))
        self._con.execute("DROP TABLE IF EXISTS ready")
        self._con.sql(query).create("ready")
        self._con.unregister("made")
        write(self._con.sql(_KNOWN), self._folder / table / HISTORY)
        write(self._con.sql(_LATER), self._pending / f"{table}.parquet")

    def close(self) -> None:
        """Give the memory back."""
        self._con.close()


def write(rows: duckdb.DuckDBPyRelation, path: Path) -> None:
    """Write rows as one Parquet file that appears whole, so that a reader never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    # Small row groups: the rows are in the order of time, and a query about an hour skips the other days.
    rows.write_parquet(str(half), compression="zstd", row_group_size=16_384)
    os.replace(half, path)
