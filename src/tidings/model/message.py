"""A message: one step for one entry, its status, and why not."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a message stands. The transitions are in ``ledger/transitions.py`` and nowhere else."""

    PLANNED = "planned"
    CLAIMED = "claimed"
    SENDING = "sending"
    SENT = "sent"
    HELD_OUT = "held_out"
    SKIPPED = "skipped"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"
    UNKNOWN = "unknown"
    PRESUMED_LOST = "presumed_lost"


class Space(StrEnum):
    """Where entries live: the real ledger space, or one for dry runs that takes no cooldown and is dropped."""

    LIVE = "live"
    DRY_RUN = "dry_run"


class SkipReason(StrEnum):
    """Why a message was not sent. Values are stable: they stand in the ledger, the UI and the docs."""

    NO_CONSENT = "no_consent"
    SUPPRESSED = "suppressed"
    ERASED = "erased"
    FORGOTTEN = "forgotten"
    NO_ADDRESS = "no_address"
    BAD_ADDRESS = "bad_address"
    UNKNOWN_CUSTOMER = "unknown_customer"
    NO_CURRENCY = "no_currency"
    COOLDOWN = "cooldown"
    CAPPED = "capped"
    OUTRANKED = "outranked"
    TOO_FEW = "too_few"
    QUIET = "quiet"
    PURCHASED = "purchased"
    NOT_TRUE = "not_true"
    CART_EMPTY = "cart_empty"
    CART_CHANGED = "cart_changed"
    OUT_OF_STOCK = "out_of_stock"
    PRICE_RETURNED = "price_returned"
    NO_CLAIM = "no_claim"
    UNKNOWN_PRODUCT = "unknown_product"
    STALE = "stale"
    TEMPLATE = "template"
    REJECTED = "rejected"
    NOT_ALLOWED = "not_allowed"
    PREVIOUS_STEP = "previous_step"
    PAUSED = "paused"
    BACKFILL = "backfill"
    TOO_LATE = "too_late"
    WARM_UP = "warm_up"


# What a CRM person reads; the code stands below it in small print.
SENTENCES: dict[SkipReason, str] = {
    SkipReason.NO_CONSENT: "No permission for this channel",
    SkipReason.SUPPRESSED: "Opted out, bounced or complained",
    SkipReason.ERASED: "Was forgotten on request; never written to again",
    SkipReason.FORGOTTEN: "Was forgotten on request while it was waiting",
    SkipReason.NO_ADDRESS: "No address for this channel",
    SkipReason.BAD_ADDRESS: "The address is malformed",
    SkipReason.UNKNOWN_CUSTOMER: "Not in the customer table",
    SkipReason.NO_CURRENCY: "No threshold for this currency",
    SkipReason.COOLDOWN: "Entered this campaign recently",
    SkipReason.CAPPED: "Limit per person reached",
    SkipReason.OUTRANKED: "A more important campaign wrote to them",
    SkipReason.TOO_FEW: "Fewer pieces than people waiting, and others were told first",
    SkipReason.QUIET: "No moment outside quiet hours before it expired",
    SkipReason.PURCHASED: "They bought before we wrote",
    SkipReason.NOT_TRUE: "No longer true when it was due",
    SkipReason.CART_EMPTY: "The cart was emptied",
    SkipReason.CART_CHANGED: "The cart was changed again",
    SkipReason.OUT_OF_STOCK: "The product sold out",
    SkipReason.PRICE_RETURNED: "The price went back up",
    SkipReason.NO_CLAIM: "The price claim cannot be proven",
    SkipReason.UNKNOWN_PRODUCT: "The product is not in the catalogue",
    SkipReason.STALE: "Shop data was too old to trust",
    SkipReason.TEMPLATE: "The message could not be written",
    SkipReason.REJECTED: "The provider refused it",
    SkipReason.NOT_ALLOWED: "Not on the allow-list of a shop that is not in production",
    SkipReason.PREVIOUS_STEP: "The step before it was not sent",
    SkipReason.PAUSED: "The campaign was paused until it expired",
    SkipReason.BACKFILL: "Found too late to be sent",
    SkipReason.TOO_LATE: "Its time had passed",
    SkipReason.WARM_UP: "The sender is new; its day was full until it expired",
}
