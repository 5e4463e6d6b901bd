"""The shop's till: orders that messages cause, loaded into the warehouse when their moment has come."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np

from tidings.demo.copies import Copy
from tidings.demo.files import write
from tidings.demo.places import CURRENCIES
from tidings.demo.shop import DemoShop
from tidings.demo.shoppers import Purchase

_MINOR = (100, 100, 100, 1)
_SALES = """
SELECT number AS sale_no, printf('C%06d', customer) AS account_no, nullif(mail, '') AS mail, 'paid' AS state,
       NULL::VARCHAR AS basket, CAST(total / minor AS DECIMAL(14, 2)) AS total, currency AS ccy,
       make_timestamptz(moment * 1000000) AS placed_at, make_timestamptz(moment * 1000000) AS changed_at,
       make_timestamptz(moment * 1000000) AS loaded_at
FROM made ORDER BY moment, number
"""
_LINES = """
SELECT number AS sale_no, printf('%d', line) AS line_no, sku AS article, product AS style, 1::BIGINT AS qty,
       CAST(amount / minor AS DECIMAL(14, 2)) AS amount, currency AS ccy,
       make_timestamptz(moment * 1000000) AS loaded_at
FROM made ORDER BY moment, number, line
"""


class Till:
    """Orders that are to come, and those of the current day, whose file is replaced as it grows."""

    def __init__(self, shop: DemoShop, name: str, copy: Copy | None = None) -> None:
        """Ring up for the files of ``shop``, and for a ``copy`` of them that is read meanwhile."""
        self._shop, self._name, self._copy = shop, name, copy
        self._coming: list[tuple[int, str, Purchase]] = []
        self._day: list[Purchase] = []
        self._con = duckdb.connect()
        self._con.execute("SET timezone = 'UTC'")
        self.rung = 0

    def expect(self, orders: Sequence[Purchase]) -> None:
        """Take note of orders that will be placed."""
        for order in orders:
            heapq.heappush(self._coming, (order.at, order.number, order))

    def ring(self, until: int) -> int:
        """Load what was ordered until a moment; return how many orders that were."""
        fresh: list[Purchase] = []
        while self._coming and self._coming[0][0] <= until:
            fresh.append(heapq.heappop(self._coming)[2])
        for order in fresh:
            if self._day and _day(order) != _day(self._day[-1]):
                self.save()
                self._day = []
            self._day.append(order)
        if fresh and self._copy is not None:
            for table, query, columns in self._made(fresh):
                self._con.register("made", columns)
                self._copy.add(table, self._con.sql(query))
                self._con.unregister("made")
        elif fresh:
            self.save()
        self.rung += len(fresh)
        return len(fresh)

    def keep_coming(self, path: Path) -> None:
        """Write down what was rung up and what is still to come, for the till that takes over."""
        self.save()
        rows = [[o.at, o.number, o.customer, list(o.skus), list(o.amounts)] for _, _, o in sorted(self._coming)]
        half = path.with_suffix(".half")
        half.write_text(json.dumps(rows), encoding="utf-8")
        os.replace(half, path)

    def take_over(self, path: Path) -> None:
        """Expect what another till wrote down."""
        if path.exists():
            rows = json.loads(path.read_text(encoding="utf-8"))
            self.expect([Purchase(at, no, who, tuple(skus), tuple(amounts)) for at, no, who, skus, amounts in rows])

    def close(self) -> None:
        """Give the memory back."""
        self._con.close()

    def save(self) -> None:
        """Write the current day's file, whole."""
        if not self._day:
            return
        file = f"{self._name}-{_day(self._day[0])}.parquet"
        for table, query, columns in self._made(self._day):
            self._con.register("made", columns)
            write(self._con.sql(query), self._shop.warehouse / table / file)
            self._con.unregister("made")

    def _made(self, orders: Sequence[Purchase]) -> Iterator[tuple[str, str, dict[str, np.ndarray]]]:
        """Yield each table that orders are rows of, the query that makes the rows, and the columns it makes them of."""
        shop, goods = self._shop, self._shop.book.goods
        customer = np.array([order.customer for order in orders])
        market = shop.people.market[customer]
        columns = {
            "number": _words([order.number for order in orders]),
            "customer": customer,
            "mail": shop.people.email[customer],
            "total": np.array([order.total for order in orders]),
            "moment": np.array([order.at for order in orders]),
            "minor": np.array(_MINOR)[market],
            "currency": _words(CURRENCIES)[market],
        }
        yield "sales", _SALES, columns
        of = np.array([place for place, order in enumerate(orders) for _ in order.skus])
        skus = np.array([sku for order in orders for sku in order.skus])
        lines = {name: columns[name][of] for name in ("number", "moment", "minor", "currency")} | {
            "line": np.array([line + 1 for order in orders for line in range(len(order.skus))]),
            "sku": goods.sku[skus],
            "product": goods.product[goods.sku_product[skus]],
            "amount": np.array([amount for order in orders for amount in order.amounts]),
        }
        yield "sales_lines", _LINES, lines


def _day(order: Purchase) -> str:
    return datetime.fromtimestamp(order.at, UTC).strftime("%Y%m%d")


def _words(values: Sequence[str]) -> np.ndarray:
    return np.array(list(values), dtype=object)
