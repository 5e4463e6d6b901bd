"""What everything costs, when: list prices and the reductions that interrupt them, the same answer for every part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidings.demo.catalogue import Catalogue
from tidings.demo.streams import DAY, HOUR, MINUTE, Floats, Frame, Ints, stream

_PER_PRODUCT = 4
_SHARES = np.array([0.10, 0.15, 0.20, 0.25, 0.30, 0.40])
_NEVER = np.iinfo(np.int64).max // 4
# A year and a month, so that "the lowest price of the last 30 days" is known on every day of the frame.
_HISTORY = 395 * DAY


@dataclass(frozen=True, slots=True)
class PriceBook:
    """``starts``, ``ends`` and ``shares`` per product and reduction; a reduction that never comes starts far away."""

    goods: Catalogue
    opened: int
    starts: Ints
    ends: Ints
    shares: Floats

    def reduced(self, sku: Ints, market: Ints, share: Floats) -> Ints:
        """Return list prices less a share, rounded down to a whole price of the market, in minor units."""
        unit = np.array([100, 100, 100, 100])[market]
        price: Ints = np.maximum((self.goods.list_price[sku, market] * (1 - share) / unit).astype(np.int64), 1) * unit
        return price

    def at(self, sku: Ints, market: Ints, when: Ints) -> Ints:
        """Return the price of each sku in its market at its moment, in minor units."""
        price: Ints = self.goods.list_price[sku, market].copy()
        product = self.goods.sku_product[sku]
        for turn in range(_PER_PRODUCT):
            on = (self.starts[product, turn] <= when) & (when < self.ends[product, turn])
            price[on] = self.reduced(sku[on], market[on], self.shares[product[on], turn])
        return price

    def rows(self) -> dict[str, Ints]:
        """Return the book as rows without gap or overlap: sku, market, promo or not, amount, from, to (0: open)."""
        skus, markets = len(self.goods.sku), self.goods.list_price.shape[1]
        sku, market = (axis.ravel() for axis in np.meshgrid(np.arange(skus), np.arange(markets), indexing="ij"))
        product = self.goods.sku_product[sku]
        order = np.argsort(self.starts, axis=1)
        starts, ends, shares = (np.take_along_axis(a, order, axis=1) for a in (self.starts, self.ends, self.shares))
        found: list[tuple[Ints, ...]] = []
        since = np.full(len(sku), self.opened)
        for turn in range(_PER_PRODUCT):
            start, end = starts[product, turn], ends[product, turn]
            on = start < _NEVER
            found.append(
                (sku[on], market[on], 0 * sku[on], self.goods.list_price[sku, market][on], since[on], start[on])
            )
            reduced = self.reduced(sku[on], market[on], shares[product[on], turn])
            found.append((sku[on], market[on], 0 * sku[on] + 1, reduced, start[on], end[on]))
            since = np.where(on, end, since)
        found.append((sku, market, 0 * sku, self.goods.list_price[sku, market], since, 0 * sku))
        names = ("sku", "market", "promo", "amount", "since", "until")
        return {name: np.concatenate([part[i] for part in found]) for i, name in enumerate(names)}


def price_book(goods: Catalogue, frame: Frame, seed: int) -> PriceBook:
    """Return a year of prices: older sales, a steady trickle of reductions through the frame, some at its very end."""
    random = stream(seed, "prices")
    products = len(goods.product)
    starts = np.full((products, _PER_PRODUCT), _NEVER)
    ends = starts.copy()
    shares = random.choice(_SHARES, size=(products, _PER_PRODUCT))
    # A winter and a summer sale for a third of the range each, long over before the frame begins.
    for turn, days_before in ((0, 300), (1, 120)):
        on = random.random(products) < 0.33
        starts[on, turn] = frame.start - days_before * DAY + random.integers(0, 5, on.sum()) * DAY
        ends[on, turn] = starts[on, turn] + random.integers(10, 21, on.sum()) * DAY
    # What sells by itself is not reduced.
    chosen = random.permutation(np.argsort(goods.weight)[: int(products * 0.6)])
    now_on = chosen[: int(products * 0.15)]
    span = frame.now - frame.start
    spread = (np.arange(len(now_on)) + random.random(len(now_on))) / len(now_on)
    starts[now_on, 2] = frame.start + DAY + (spread * (span - DAY) // HOUR).astype(np.int64) * HOUR
    ends[now_on, 2] = starts[now_on, 2] + random.integers(5, 13, len(now_on)) * DAY
    # What is reduced in the last hour stands long enough to be believed while somebody watches the live shop.
    fresh = chosen[len(now_on) : len(now_on) + 2]
    starts[fresh, 3] = frame.now - 58 * MINUTE + np.arange(len(fresh)) * 4 * MINUTE
    ends[fresh, 3] = starts[fresh, 3] + 7 * DAY
    shares[fresh, 3] = 0.25
    return PriceBook(goods, frame.start + 28 * DAY - _HISTORY, starts, ends, shares)
