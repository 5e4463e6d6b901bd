"""An entry that the ledger cannot hold as it is (a NUL, an id of a page) gets its answer all the same, and alone."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256

from tidings.model.message import SkipReason, Status
from tidings.plan.planner import PlannedEntry

# What the ledger's columns take.
LONGEST_ID, LONGEST_KEY, LONGEST_CURRENCY = 200, 400, 3
_SURROGATE = re.compile("[\ud800-\udfff]")


def fitting(planned: PlannedEntry) -> PlannedEntry:
    """Return an entry as it is when the ledger can hold it; else skipped, under digests in the place of its ids.

    Otherwise one row of the shop's would stop the whole batch, and with it everybody after it.
    """
    entry = planned.entry
    fits = (
        _fits(entry.customer_id, LONGEST_ID)
        and _fits(entry.key, LONGEST_KEY)
        and _fits(entry.sku, LONGEST_ID)
        and _fits(entry.currency or "", LONGEST_CURRENCY)
    )
    if fits:
        return planned
    who = _digest(entry.customer_id)
    kept = replace(
        entry, key=_digest(entry.key), customer_id=who, sku="", items=(), currency=None, value=None, facts={}
    )
    refused = tuple(
        one._replace(status=Status.SKIPPED, reason=SkipReason.UNKNOWN_CUSTOMER, address_hash=None)
        for one in planned.messages
    )
    return planned._replace(entry=kept, customer_id=who, messages=refused)


def _fits(text: str, longest: int) -> bool:
    return len(text) <= longest and (text.isascii() or not _SURROGATE.search(text)) and "\0" not in text


def _digest(text: str) -> str:
    return "unfit:" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
