"""Who is told now when few pieces are back: of a batch the longest waiting, in waves that read the stock again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction

from tidings.definitions import Campaign
from tidings.jobs.facts import Facts
from tidings.jobs.opening import Opened
from tidings.ledger.dispatching import Due
from tidings.ledger.results import bought_lately
from tidings.ledger.sending import Pool
from tidings.plan.release import purchase_rate, room

WAVE = timedelta(minutes=15)
# What people did a quarter of a year ago says little about today's.
LATELY = timedelta(days=90)


class Releases:
    """What one batch may be told of goods that are few; the share who buy is learned once per campaign."""

    def __init__(self, opened: Opened, campaigns: Mapping[str, Campaign], now: datetime) -> None:
        self._opened, self._campaigns, self._now = opened, campaigns, now
        self._rates: dict[str, Fraction] = {}

    def learn(self, campaign: Campaign) -> None:
        """Ask what share of those who were told buy, if that decides how many are told now."""
        if campaign.detect.holds is not None:
            self._rate(campaign.id)

    def in_turn(self, due: Sequence[Due]) -> list[Due]:
        """Return messages in the order in which their people began to wait; others keep their places in front."""
        return sorted(due, key=self._since)

    def pool(self, due: Due, campaign: Campaign, facts: Facts) -> Pool | None:
        """Return the limit that a message shares with all others about the same goods; None where none is."""
        hold = campaign.detect.holds
        if hold is None or not due.entry.sku or due.step_no:
            return None
        product = facts.product(due, due.entry.sku)
        if product is None or product.stock is None:
            return None
        name = hashlib.sha256(f"{campaign.id}|{due.entry.market or ''}|{due.entry.sku}".encode()).hexdigest()[:40]
        return Pool(f"k:{name}", room(product.stock, self._rate(campaign.id)), hold)

    def _since(self, due: Due) -> str:
        campaign = self._campaigns.get(due.campaign)
        few = campaign is not None and campaign.detect.holds is not None
        return str(due.entry.facts.get("wanted_at", "")) if few else ""

    def _rate(self, campaign: str) -> Fraction:
        if campaign not in self._rates:
            with self._opened.ledger.reading() as conn:
                told, bought = bought_lately(conn, campaign, since=self._now - LATELY)
            self._rates[campaign] = purchase_rate(told, bought)
        return self._rates[campaign]
