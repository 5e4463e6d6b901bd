"""The ledger's tables. Every key that keeps a promise is a constraint here, not a check in code."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)
from sqlalchemy.types import TypeDecorator

naming = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
}
metadata = MetaData(naming_convention=naming)


class UTCTime(TypeDecorator[datetime]):
    """An aware instant, kept as UTC; naive values are refused (SQLite drops offsets)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time cannot enter the ledger")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        at: datetime = value
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


# One row a campaign: how far it has scanned, and what of it a person has approved.
campaigns = Table(
    "campaigns", metadata,
    Column("campaign", String(120), primary_key=True),
    Column("space", String(10), primary_key=True),
    Column("watermark", UTCTime),
    Column("detect_hash", String(64)),
    Column("approved_hash", String(64)),
    Column("waiting_count", Integer),
    Column("updated_at", UTCTime),
)  # fmt: skip

# One row a run of a job; counters are frozen with it. ``campaign`` is empty for dispatch and measure.
runs = Table(
    "runs", metadata,
    Column("id", String(32), primary_key=True),
    Column("job", String(20), nullable=False),
    Column("campaign", String(120), nullable=False, default=""),
    Column("space", String(10), nullable=False),
    Column("as_of", UTCTime, nullable=False),
    Column("window_start", UTCTime),
    Column("started_at", UTCTime, nullable=False),
    Column("ended_at", UTCTime),
    Column("counters", Text, nullable=False, default="{}"),
    Column("error", Text),
    Index(None, "job", "campaign", "started_at"),
)  # fmt: skip

entries = Table(
    "entries", metadata,
    Column("id", String(32), primary_key=True),
    Column("space", String(10), nullable=False),
    Column("campaign", String(120), nullable=False),
    Column("entry_key", String(400), nullable=False),
    Column("customer_id", String(200), nullable=False),
    Column("sku", String(200), nullable=False, default=""),
    Column("anchor_at", UTCTime, nullable=False),
    Column("entered_at", UTCTime, nullable=False),
    Column("planned_at", UTCTime, nullable=False),
    Column("arm", String(10), nullable=False),       # treated | held_out
    Column("variant", String(60), nullable=False, default=""),
    Column("value", BigInteger),
    Column("currency", String(3)),
    Column("seen", Text, nullable=False, default="{}"),  # JSON: items, facts, market; no names, no addresses
    Column("run_id", String(32), nullable=False),
    UniqueConstraint("space", "campaign", "entry_key"),
    Index(None, "customer_id"),
    # A period's entries in one stretch, with all that counting them needs; written once, when they are planned.
    Index("ix_entries_period", "space", "entered_at", "campaign", "arm", "customer_id", "planned_at", "id"),
)  # fmt: skip

messages = Table(
    "messages", metadata,
    Column("id", String(32), primary_key=True),      # random; the only thing that leaves
    Column("entry_id", String(32), ForeignKey("entries.id"), nullable=False),
    Column("space", String(10), nullable=False),
    Column("campaign", String(120), nullable=False),
    Column("step", String(60), nullable=False),
    Column("step_no", Integer, nullable=False),
    Column("channel", String(10), nullable=False),
    Column("customer_id", String(200), nullable=False),
    Column("address_hash", String(64)),
    Column("shard", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("held_out", Boolean, nullable=False),
    Column("status", String(15), nullable=False),
    Column("reason", String(40)),
    Column("detail", String(400)),                   # never an address; the provider's or template's words, scrubbed
    Column("send_at", UTCTime, nullable=False),
    Column("first_send_at", UTCTime, nullable=False),
    Column("expires_at", UTCTime, nullable=False),
    Column("token", String(32)),
    Column("lease_until", UTCTime),
    Column("attempt", Integer, nullable=False, default=0),
    Column("deferrals", Integer, nullable=False, default=0),
    Column("defer_reason", String(40)),
    Column("sending_at", UTCTime),                   # job time of the `sending` commit; held-out: of `held_out`
    Column("sent_at", UTCTime),
    Column("ended_at", UTCTime),
    Column("provider", String(20)),
    Column("provider_id", String(120)),
    Column("mailbox", String(20)),                   # who receives it: gmail, outlook, yahoo, apple, other; never whose
    Column("template", String(200)),
    Column("template_hash", String(64)),
    Column("segments", Integer),
    UniqueConstraint("entry_id", "step"),
    Index("ix_messages_customer", "customer_id"),
    Index("ix_messages_address", "address_hash"),
)  # fmt: skip

# Partial, so that a message costs index entries only while it is waiting, under way, or known to a provider.
# A query uses them only when it names the statuses as literals (PLANNED and the like), never as bound values.
PLANNED = messages.c.status == literal_column("'planned'")
PENDING = messages.c.status.in_((literal_column("'planned'"), literal_column("'claimed'")))
UNDER_WAY = messages.c.status.in_((literal_column("'claimed'"), literal_column("'sending'")))
IN_DOUBT = messages.c.status == literal_column("'unknown'")
# Offered again (at least once): waiting, although an earlier attempt may have been taken.
DOUBTED = PENDING & messages.c.sending_at.is_not(None)


def _partial(name: str, where: ColumnElement[bool], *columns: Column[Any]) -> Index:
    return Index(name, *columns, postgresql_where=where, sqlite_where=where)


_partial("ix_messages_due", PLANNED, messages.c.space, messages.c.shard, messages.c.send_at)
_partial("ix_messages_lease", UNDER_WAY, messages.c.lease_until)
# With the status, which is the same in all of it: SQLite would else take the one below, and read all that ever left.
_partial("ix_messages_in_doubt", IN_DOUBT, messages.c.status, messages.c.sending_at)
_partial("ix_messages_provider", messages.c.provider_id.is_not(None), messages.c.provider_id)
_partial("ix_messages_sending_at", messages.c.sending_at.is_not(None), messages.c.sending_at)

# What a message left with, written with `sending`: where its links lead (the redirect knows no other targets) and the
# evidence that it was allowed to leave. No names and no addresses: digests, versions, rows, gates.
receipts = Table(
    "receipts", metadata,
    Column("message_id", String(32), primary_key=True),
    Column("urls", Text, nullable=False),            # JSON array; the link number is its index
    Column("tracked", Boolean, nullable=False),
    Column("evidence", Text),                        # canonical JSON
)  # fmt: skip

# The receipts of a day, each hashed together with the one before it: what was altered or taken out later shows.
receipt_chain = Table(
    "receipt_chain", metadata,
    Column("day", UTCTime, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("message_id", String(32), nullable=False, unique=True),
    Column("digest", String(64), nullable=False),    # of the receipt and of what was sent, as sealed
    Column("chain", String(64), nullable=False),     # of the link before and this digest
)  # fmt: skip

# What messages were made from, by content: campaign files, templates, brand, products as they were shown.
versions = Table(
    "versions", metadata,
    Column("hash", String(64), primary_key=True),
    Column("kind", String(20), nullable=False),      # campaign | template | brand | product
    Column("name", String(200), nullable=False),
    Column("content", Text, nullable=False),
    Column("git_commit", String(64)),
    Column("first_at", UTCTime, nullable=False),
)  # fmt: skip

# One row each time messages become `sending`: the last number has a witness outside the ledger.
sendings = Table(
    "sendings", metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at", UTCTime, nullable=False),
    Column("messages", Integer, nullable=False),
)  # fmt: skip

# The rows that serialise caps: one per canonical person and one per address, locked in sorted order.
contacts = Table("contacts", metadata, Column("contact", String(210), primary_key=True))

# Every contact made or virtually made (held out), per person and per address; caps count these.
contact_slots = Table(
    "contact_slots", metadata,
    Column("contact", String(210), primary_key=True),
    Column("at", UTCTime, primary_key=True),         # before the message: what caps count is one stretch of the key
    Column("message_id", String(32), primary_key=True),
    Column("channel", String(10), nullable=False),
    Column("space", String(10), nullable=False),
    Index(None, "message_id"),
    sqlite_with_rowid=False,
)  # fmt: skip

cooldowns = Table(
    "cooldowns", metadata,
    Column("space", String(10), primary_key=True),
    Column("campaign", String(120), primary_key=True),
    Column("customer_id", String(200), primary_key=True),
    Column("sku", String(200), primary_key=True),
    Column("entered_at", UTCTime, nullable=False),
    Column("until", UTCTime, nullable=False),
    Column("entry_key", String(400), nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip

# A fixed number of shards; a lane leases free ones. For throughput only.
shard_leases = Table(
    "shard_leases", metadata,
    Column("space", String(10), primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("owner", String(32)),
    Column("lease_until", UTCTime),
)  # fmt: skip

engagements = Table(
    "engagements", metadata,
    Column("id", String(120), primary_key=True),
    Column("message_id", String(32), nullable=False),
    Column("kind", String(15), nullable=False),
    Column("at", UTCTime, nullable=False),
    Column("received_at", UTCTime, nullable=False),
    Column("machine", Boolean, nullable=False),
    Column("link", Integer),
    Column("detail", String(200)),
    Index(None, "message_id", "kind", "machine"),
    Index(None, "at"),
)  # fmt: skip

# Events that name no message of ours: kept for a look, answered with 2xx. No addresses in ``detail``.
unmatched_events = Table(
    "unmatched_events", metadata,
    Column("id", String(120), primary_key=True),
    Column("provider", String(20), nullable=False),
    Column("kind", String(30), nullable=False),
    Column("received_at", UTCTime, nullable=False),
    Column("detail", String(200)),
)  # fmt: skip

# Every event as it came, each once; addresses and IP numbers are keyed hashes in it.
raw_events = Table(
    "raw_events", metadata,
    Column("id", String(120), primary_key=True),
    Column("provider", String(20), nullable=False),
    Column("kind", String(30), nullable=False),
    Column("message_id", String(32)),
    Column("provider_id", String(120)),              # while nobody knows the message: it may be named later
    Column("received_at", UTCTime, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "message_id"),
    Index(None, "provider_id"),
    Index(None, "received_at"),
)  # fmt: skip

# Never again: by keyed address hash (brand-wide) or by person. ``channel`` "" means all channels.
suppressions = Table(
    "suppressions", metadata,
    Column("subject", String(210), primary_key=True),  # "a:<address hash>" or "p:<customer id>"
    Column("channel", String(10), primary_key=True),
    Column("reason", String(30), primary_key=True),    # so that START lifts a STOP but not a complaint
    Column("at", UTCTime, nullable=False),
    Column("lifted_at", UTCTime),                    # in force when empty or not after ``at``
    Column("message_id", String(32)),
    Column("source", String(30), nullable=False),
)  # fmt: skip

# What people told us directly (preference page, START); folded with the warehouse's consents, latest wins.
consents = Table(
    "consents", metadata,
    Column("id", String(32), primary_key=True),
    Column("customer_id", String(200), nullable=False),
    Column("channel", String(10), nullable=False),
    Column("purpose", String(40), nullable=False),
    Column("granted", Boolean, nullable=False),
    Column("at", UTCTime, nullable=False),
    Column("source", String(30), nullable=False),
    Column("basis", String(30), nullable=False, default="express"),
    Column("wording", String(400)),                  # what the person was shown when they said it
    Column("message_id", String(32)),                # the message whose link brought them
    Index(None, "customer_id"),
)  # fmt: skip

# Texts are opened by a second word, sent from the phone itself (double opt-in); asked once, answered or not.
opt_ins = Table(
    "opt_ins", metadata,
    Column("id", String(32), primary_key=True),
    Column("customer_id", String(200), nullable=False),
    Column("address_hash", String(64), nullable=False),
    Column("channel", String(10), nullable=False),
    Column("purpose", String(40), nullable=False),
    Column("wording", String(400), nullable=False),
    Column("asked_at", UTCTime, nullable=False),
    Column("begun_at", UTCTime),                     # set before the question leaves: it leaves once
    Column("sent_at", UTCTime),
    Column("provider_id", String(120)),
    Column("answered_at", UTCTime),
    Column("granted", Boolean),
    Index(None, "address_hash"),
    Index(None, "customer_id"),
)  # fmt: skip

# What people decided, for the shop's other tools to follow: posted to a webhook, and a table a warehouse can load.
opt_outs = Table(
    "opt_outs", metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("customer_id", String(200)),
    Column("address_hash", String(64)),
    Column("channel", String(10), nullable=False),   # "" means all channels
    Column("purpose", String(40), nullable=False, default=""),
    Column("opted_out", Boolean, nullable=False),
    Column("reason", String(30), nullable=False),
    Column("at", UTCTime, nullable=False),
    Column("source", String(30), nullable=False),
    Column("told_at", UTCTime),
)  # fmt: skip

# Who was forgotten, by keyed hash of their id: enough never to write to them again, and to know nobody.
erasures = Table(
    "erasures", metadata,
    Column("subject", String(64), primary_key=True),
    Column("at", UTCTime, nullable=False),
    Column("reason", String(60), nullable=False),
)  # fmt: skip

# Which share of which order a message gets; recomputed, never added to.
credits = Table(
    "credits", metadata,
    Column("order_id", String(200), primary_key=True),
    Column("message_id", String(32), primary_key=True),
    Column("campaign", String(120), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("gross", BigInteger, nullable=False),     # minor units, before refunds and cancellations
    Column("net", BigInteger, nullable=False),       # after them; 0 when the order was undone
    Column("ordered_at", UTCTime, nullable=False),
    Column("touch_at", UTCTime, nullable=False),
    Column("touch_kind", String(10), nullable=False),
    Column("computed_at", UTCTime, nullable=False),
    Index(None, "campaign", "ordered_at"),
    Index(None, "message_id"),
)  # fmt: skip

# One row per campaign and person who was or would have been sent to: what they spent afterwards, all of it.
outcomes = Table(
    "outcomes", metadata,
    Column("campaign", String(120), primary_key=True),
    Column("customer_id", String(200), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("arm", String(10), nullable=False),
    Column("variant", String(60), nullable=False, default=""),
    Column("exposed_at", UTCTime, nullable=False),
    Column("window_ends_at", UTCTime, nullable=False),
    Column("orders", Integer, nullable=False),
    Column("revenue", BigInteger, nullable=False),
    Column("computed_at", UTCTime, nullable=False),
    Index(None, "campaign", "exposed_at"),
)  # fmt: skip

# Total order revenue per day and currency: what credits are checked against.
revenue_days = Table(
    "revenue_days", metadata,
    Column("day", UTCTime, primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("orders", Integer, nullable=False),
    Column("gross", BigInteger, nullable=False),
    Column("net", BigInteger, nullable=False),
)  # fmt: skip

# Why sending is stopped: for all, a campaign, a channel or a provider.
brakes = Table(
    "brakes", metadata,
    Column("scope", String(140), primary_key=True),  # "all" | "campaign:x" | "channel:sms" | "provider:twilio"
    Column("reason", String(200), nullable=False),
    Column("at", UTCTime, nullable=False),
    Column("by", String(60), nullable=False),
)  # fmt: skip

# Every pull, release and warning, kept; an alert is told once.
brake_events = Table(
    "brake_events", metadata,
    Column("id", String(32), primary_key=True),
    Column("scope", String(140), nullable=False),
    Column("action", String(10), nullable=False),    # pulled | released | warned
    Column("reason", String(200), nullable=False),
    Column("remedy", String(400), nullable=False, default=""),
    Column("at", UTCTime, nullable=False),
    Column("by", String(60), nullable=False),
    Column("told_at", UTCTime),
    Index(None, "at"),
)  # fmt: skip

# Complaint rates that mailbox providers publish to senders (Gmail reports no complaints one by one).
mailbox_rates = Table(
    "mailbox_rates", metadata,
    Column("mailbox", String(20), primary_key=True),
    Column("domain", String(200), primary_key=True),
    Column("day", UTCTime, primary_key=True),
    Column("complaint_rate", Float, nullable=False),
    Column("given_at", UTCTime, nullable=False),
)  # fmt: skip

settings = Table(
    "settings", metadata,
    Column("name", String(60), primary_key=True),
    Column("value", Text, nullable=False),
    Column("number", Float),
)  # fmt: skip
