"""The logical tables: what a shop may tell us, under the names every trigger uses.

Amounts are integer minor units, instants are aware UTC, ids are strings; the mapping makes them so.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, MetaData, Numeric, String, Table

contract = MetaData()


def _text(name: str, required: bool = False) -> Column[str]:
    return Column(name, String, nullable=not required)


def _time(name: str, required: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=not required)


def _amount(name: str) -> Column[int]:
    return Column(name, BigInteger, info={"money": True})


# nullable=False marks a column that a mapping must give; the others read as NULL when it does not.
customers = Table(
    "customers", contract,
    _text("customer_id", True), _text("email"), _text("phone"), _text("first_name"), _text("last_name"),
    _text("locale"), _text("country"), _text("region"), _text("zone"), _text("zone_source"),
    _time("created_at"), _text("segment"), Column("is_internal", Boolean), _time("loaded_at"),
)  # fmt: skip
consents = Table(
    "consents", contract,
    _text("customer_id", True), _text("channel", True), _text("purpose", True), _text("status", True),
    _time("occurred_at", True), _text("wording"), _time("loaded_at"),
)  # fmt: skip
product_events = Table(
    "product_events", contract,
    _text("event_id"), _text("customer_id"), _text("anonymous_id"), _text("session_id"), _text("cart_id"),
    _text("kind", True), _text("sku"), _text("product_id"), Column("quantity", Integer),
    _amount("price"), _text("currency"), _text("market"), _text("source"),
    _time("occurred_at", True), _time("received_at"), _time("loaded_at"),
)  # fmt: skip
products = Table(
    "products", contract,
    _text("sku", True), _text("product_id"), _text("name"), _text("url"), _text("image"), _text("category"),
    _text("brand"), _text("size"), _text("colour"), _text("options"), _amount("cost"), Column("active", Boolean),
    _time("loaded_at"),
)  # fmt: skip
prices = Table(
    "prices", contract,
    _text("sku", True), _text("market"), _text("currency", True), _text("kind"), _amount("amount"),
    _time("valid_from", True), _time("valid_to"), _time("loaded_at"),
)  # fmt: skip
stock = Table(
    "stock", contract,
    _text("sku", True), _text("market"), _text("location"), Column("quantity", Integer, nullable=False),
    _time("observed_at", True), _time("loaded_at"),
)  # fmt: skip
stock_requests = Table(
    "stock_requests", contract,
    _text("request_id"), _text("customer_id", True), _text("sku", True), _text("market"), _text("channel"),
    _time("requested_at", True), _time("expires_at"), _time("cancelled_at"), _time("loaded_at"),
)  # fmt: skip
wishlist = Table(
    "wishlist", contract,
    _text("customer_id", True), _text("sku", True), _amount("price"), _text("currency"), _text("market"),
    _time("added_at", True), _time("removed_at"), _time("loaded_at"),
)  # fmt: skip
orders = Table(
    "orders", contract,
    _text("order_id", True), _text("customer_id"), _text("email"), _text("status"), _text("cart_id"),
    _amount("total"), _text("currency"), _time("ordered_at", True), _time("updated_at"), _time("loaded_at"),
)  # fmt: skip
order_items = Table(
    "order_items", contract,
    _text("order_id", True), _text("line_id"), _text("sku", True), _text("product_id"),
    Column("quantity", Integer), _amount("amount"), _time("loaded_at"),
)  # fmt: skip
refunds = Table(
    "refunds", contract,
    _text("refund_id"), _text("order_id", True), _text("line_id"), _text("sku"), Column("quantity", Integer),
    _amount("amount"), _text("currency"), _time("refunded_at", True), _time("loaded_at"),
)  # fmt: skip
deliveries = Table(
    "deliveries", contract,
    _text("order_id", True), _time("delivered_at", True), _time("loaded_at"),
)  # fmt: skip
identities = Table(
    "identities", contract,
    _text("alias", True), _text("customer_id", True), _text("kind"), _time("valid_from", True), _time("valid_to"),
    _time("loaded_at"),
)  # fmt: skip
loyalty = Table(
    "loyalty", contract,
    _text("customer_id", True), _text("tier"), Column("points", Numeric), _time("changed_at", True), _time("loaded_at"),
)  # fmt: skip

# The words a `kind` or `status` may have after the mapping's value map.
EVENT_KINDS = ("viewed", "added", "removed", "quantity_set", "cart_cleared", "checkout_started", "purchased")
ORDER_STATUSES = ("placed", "completed", "cancelled", "failed", "refunded")
# An order counts unless it is cancelled or failed; an order without a status counts.
DEAD_ORDERS = ("cancelled", "failed")
CONSENT_STATUSES = ("granted", "withdrawn")
IDENTITY_KINDS = ("anonymous", "former")
PRICE_KINDS = ("list", "promo", "member")
