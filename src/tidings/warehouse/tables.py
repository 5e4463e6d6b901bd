"""The shop as a query sees it: logical tables under our names, whatever the shop calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from sqlalchemy import FromClause, Row, Select

from tidings.errors import WarehouseError


class Tables:
    """The logical tables a shop has mapped. A column the shop does not give reads as NULL."""

    def __init__(self, tables: Mapping[str, FromClause], given: Mapping[str, frozenset[str]]) -> None:
        self._tables = dict(tables)
        self._given = dict(given)

    def __getitem__(self, name: str) -> FromClause:
        if name not in self._tables:
            raise WarehouseError(f"warehouse.yaml: tables.{name}: is needed here but not mapped")
        return self._tables[name]

    def has(self, name: str, *columns: str) -> bool:
        """Return whether the table is mapped, with all of these columns."""
        return name in self._tables and self._given[name].issuperset(columns)


class Shop(Protocol):
    """A readable warehouse: its tables, and one SELECT at a time, streamed."""

    @property
    def tables(self) -> Tables:
        """The logical tables, ready to stand in a FROM."""

    def stream(self, query: Select[Any], batch: int = 10_000) -> Iterator[Row[Any]]:
        """Yield the rows of one SELECT in batches, never the whole result in memory; instants are aware UTC."""
