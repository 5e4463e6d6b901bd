"""The ledger's first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Time = sa.DateTime(timezone=True)
PLANNED = sa.text("status = 'planned'")
PENDING = sa.text("status IN ('planned', 'claimed')")
UNDER_WAY = sa.text("status IN ('claimed', 'sending')")
IN_DOUBT = sa.text("status = 'unknown'")


def upgrade() -> None:
    """Create every table of the first version."""
    op.create_table(
        "brake_events",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("scope", sa.String(length=140), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("remedy", sa.String(length=400), nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("by", sa.String(length=60), nullable=False),
        sa.Column("told_at", Time, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_brake_events"),
    )
    op.create_index("ix_brake_events_at", "brake_events", ["at"], unique=False)
    op.create_table(
        "brakes",
        sa.Column("scope", sa.String(length=140), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("by", sa.String(length=60), nullable=False),
        sa.PrimaryKeyConstraint("scope", name="pk_brakes"),
    )
    op.create_table(
        "campaigns",
        sa.Column("campaign", sa.String(length=120), nullable=False),
        sa.Column("space", sa.String(length=10), nullable=False),
        sa.Column("watermark", Time, nullable=True),
        sa.Column("detect_hash", sa.String(length=64), nullable=True),
        sa.Column("approved_hash", sa.String(length=64), nullable=True),
        sa.Column("waiting_count", sa.Integer(), nullable=True),
        sa.Column("updated_at", Time, nullable=True),
        sa.PrimaryKeyConstraint("campaign", "space", name="pk_campaigns"),
    )
    op.create_table(
        "consents",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("customer_id", sa.String(length=200), nullable=False),
        sa.Column("channel", sa.String(length=10), nullable=False),
        sa.Column("purpose", sa.String(length=40), nullable=False),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("source", sa.String(length=30), nullable=False),
        sa.Column("basis", sa.String(length=30), nullable=False),
        sa.Column("wording", sa.String(length=400), nullable=True),
        sa.Column("message_id", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_consents"),
    )
    op.create_index("ix_consents_customer_id", "consents", ["customer_id"], unique=False)
    op.create_table(
        "contact_slots",
        sa.Column("contact", sa.String(length=210), nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=10), nullable=False),
        sa.Column("space", sa.String(length=10), nullable=False),
        sa.PrimaryKeyConstraint("contact", "at", "message_id", name="pk_contact_slots"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_contact_slots_message_id", "contact_slots", ["message_id"], unique=False)
    op.create_table(
        "contacts",
        sa.Column("contact", sa.String(length=210), nullable=False),
        sa.PrimaryKeyConstraint("contact", name="pk_contacts"),
    )
    op.create_table(
        "cooldowns",
        sa.Column("space", sa.String(length=10), nullable=False),
        sa.Column("campaign", sa.String(length=120), nullable=False),
        sa.Column("customer_id", sa.String(length=200), nullable=False),
        sa.Column("sku", sa.String(length=200), nullable=False),
        sa.Column("entered_at", Time, nullable=False),
        sa.Column("until", Time, nullable=False),
        sa.Column("entry_key", sa.String(length=400), nullable=False),
        sa.PrimaryKeyConstraint("space", "campaign", "customer_id", "sku", name="pk_cooldowns"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "credits",
        sa.Column("order_id", sa.String(length=200), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("campaign", sa.String(length=120), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("gross", sa.BigInteger(), nullable=False),
        sa.Column("net", sa.BigInteger(), nullable=False),
        sa.Column("ordered_at", Time, nullable=False),
        sa.Column("touch_at", Time, nullable=False),
        sa.Column("touch_kind", sa.String(length=10), nullable=False),
        sa.Column("computed_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("order_id", "message_id", name="pk_credits"),
    )
    op.create_index("ix_credits_campaign_ordered_at", "credits", ["campaign", "ordered_at"], unique=False)
    op.create_index("ix_credits_message_id", "credits", ["message_id"], unique=False)
    op.create_table(
        "engagements",
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=15), nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("received_at", Time, nullable=False),
        sa.Column("machine", sa.Boolean(), nullable=False),
        sa.Column("link", sa.Integer(), nullable=True),
        sa.Column("detail", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_engagements"),
    )
    op.create_index("ix_engagements_at", "engagements", ["at"], unique=False)
    op.create_index(
        "ix_engagements_message_id_kind_machine", "engagements", ["message_id", "kind", "machine"], unique=False
    )
    op.create_table(
        "entries",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("space", sa.String(length=10), nullable=False),
        sa.Column("campaign", sa.String(length=120), nullable=False),
        sa.Column("entry_key", sa.String(length=400), nullable=False),
        sa.Column("customer_id", sa.String(length=200), nullable=False),
        sa.Column("sku", sa.String(length=200), nullable=False),
        sa.Column("anchor_at", Time, nullable=False),
        sa.Column("entered_at", Time, nullable=False),
        sa.Column("planned_at", Time, nullable=False),
        sa.Column("arm", sa.String(length=10), nullable=False),
        sa.Column("variant", sa.String(length=60), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("seen", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_entries"),
        sa.UniqueConstraint("space", "campaign", "entry_key", name="uq_entries_space_campaign_entry_key"),
    )
    op.create_index("ix_entries_customer_id", "entries", ["customer_id"], unique=False)
    op.create_index(
        "ix_entries_period",
        "entries",
        ["space", "entered_at", "campaign", "arm", "customer_id", "planned_at", "id"],
        unique=False,
    )
    op.create_table(
        "erasures",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("reason", sa.String(length=60), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_erasures"),
    )
    op.create_table(
        "mailbox_rates",
        sa.Column("mailbox", sa.String(length=20), nullable=False),
        sa.Column("domain", sa.String(length=200), nullable=False),
        sa.Column("day", Time, nullable=False),
        sa.Column("complaint_rate", sa.Float(), nullable=False),
        sa.Column("given_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("mailbox", "domain", "day", name="pk_mailbox_rates"),
    )
    op.create_table(
        "opt_ins",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("customer_id", sa.String(length=200), nullable=False),
        sa.Column("address_hash", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=10), nullable=False),
        sa.Column("purpose", sa.String(length=40), nullable=False),
        sa.Column("wording", sa.String(length=400), nullable=False),
        sa.Column("asked_at", Time, nullable=False),
        sa.Column("begun_at", Time, nullable=True),
        sa.Column("sent_at", Time, nullable=True),
        sa.Column("provider_id", sa.String(length=120), nullable=True),
        sa.Column("answered_at", Time, nullable=True),
        sa.Column("granted", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_opt_ins"),
    )
    op.create_index("ix_opt_ins_address_hash", "opt_ins", ["address_hash"], unique=False)
    op.create_index("ix_opt_ins_customer_id", "opt_ins", ["customer_id"], unique=False)
    op.create_table(
        "opt_outs",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("customer_id", sa.String(length=200), nullable=True),
        sa.Column("address_hash", sa.String(length=64), nullable=True),
        sa.Column("channel", sa.String(length=10), nullable=False),
        sa.Column("purpose", sa.String(length=40), nullable=False),
        sa.Column("opted_out", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("source", sa.String(length=30), nullable=False),
        sa.Column("told_at", Time, nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_opt_outs"),
    )
    op.create_table(
        "outcomes",
        sa.Column("campaign", sa.String(length=120), nullable=False),
        sa.Column("customer_id", sa.String(length=200), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("arm", sa.String(length=10), nullable=False),
        sa.Column("variant", sa.String(length=60), nullable=False),
        sa.Column("exposed_at", Time, nullable=False),
        sa.Column("window_ends_at", Time, nullable=False),
        sa.Column("orders", sa.Integer(), nullable=False),
        sa.Column("revenue", sa.BigInteger(), nullable=False),
        sa.Column("computed_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("campaign", "customer_id", "currency", name="pk_outcomes"),
    )
    op.create_index("ix_outcomes_campaign_exposed_at", "outcomes", ["campaign", "exposed_at"], unique=False)
    op.create_table(
        "raw_events",
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=True),
        sa.Column("provider_id", sa.String(length=120), nullable=True),
        sa.Column("received_at", Time, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_raw_events"),
    )
    op.create_index("ix_raw_events_message_id", "raw_events", ["message_id"], unique=False)
    op.create_index("ix_raw_events_provider_id", "raw_events", ["provider_id"], unique=False)
    op.create_index("ix_raw_events_received_at", "raw_events", ["received_at"], unique=False)
    op.create_table(
        "receipt_chain",
        sa.Column("day", Time, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("day", "position", name="pk_receipt_chain"),
        sa.UniqueConstraint("message_id", name="uq_receipt_chain_message_id"),
    )
    op.create_table(
        "receipts",
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("urls", sa.Text(), nullable=False),
        sa.Column("tracked", sa.Boolean(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("message_id", name="pk_receipts"),
    )
    op.create_table(
        "revenue_days",
        sa.Column("day", Time, nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("orders", sa.Integer(), nullable=False),
        sa.Column("gross", sa.BigInteger(), nullable=False),
        sa.Column("net", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "currency", name="pk_revenue_days"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("job", sa.String(length=20), nullable=False),
        sa.Column("campaign", sa.String(length=120), nullable=False),
        sa.Column("space", sa.String(length=10), nullable=False),
        sa.Column("as_of", Time, nullable=False),
        sa.Column("window_start", Time, nullable=True),
        sa.Column("started_at", Time, nullable=False),
        sa.Column("ended_at", Time, nullable=True),
        sa.Column("counters", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_job_campaign_started_at", "runs", ["job", "campaign", "started_at"], unique=False)
    op.create_table(
        "sendings",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_sendings"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("number", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_settings"),
    )
    op.create_table(
        "shard_leases",
        sa.Column("space", sa.String(length=10), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=32), nullable=True),
        sa.Column("lease_until", Time, nullable=True),
        sa.PrimaryKeyConstraint("space", "shard", name="pk_shard_leases"),
    )
    op.create_table(
        "suppressions",
        sa.Column("subject", sa.String(length=210), nullable=False),
        sa.Column("channel", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("lifted_at", Time, nullable=True),
        sa.Column("message_id", sa.String(length=32), nullable=True),
        sa.Column("source", sa.String(length=30), nullable=False),
        sa.PrimaryKeyConstraint("subject", "channel", "reason", name="pk_suppressions"),
    )
    op.create_table(
        "unmatched_events",
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("received_at", Time, nullable=False),
        sa.Column("detail", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_unmatched_events"),
    )
    op.create_table(
        "versions",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("git_commit", sa.String(length=64), nullable=True),
        sa.Column("first_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_versions"),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("entry_id", sa.String(length=32), nullable=False),
        sa.Column("space", sa.String(length=10), nullable=False),
        sa.Column("campaign", sa.String(length=120), nullable=False),
        sa.Column("step", sa.String(length=60), nullable=False),
        sa.Column("step_no", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=10), nullable=False),
        sa.Column("customer_id", sa.String(length=200), nullable=False),
        sa.Column("address_hash", sa.String(length=64), nullable=True),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("held_out", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=15), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("detail", sa.String(length=400), nullable=True),
        sa.Column("send_at", Time, nullable=False),
        sa.Column("first_send_at", Time, nullable=False),
        sa.Column("expires_at", Time, nullable=False),
        sa.Column("token", sa.String(length=32), nullable=True),
        sa.Column("lease_until", Time, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("deferrals", sa.Integer(), nullable=False),
        sa.Column("defer_reason", sa.String(length=40), nullable=True),
        sa.Column("sending_at", Time, nullable=True),
        sa.Column("sent_at", Time, nullable=True),
        sa.Column("ended_at", Time, nullable=True),
        sa.Column("provider", sa.String(length=20), nullable=True),
        sa.Column("provider_id", sa.String(length=120), nullable=True),
        sa.Column("mailbox", sa.String(length=20), nullable=True),
        sa.Column("template", sa.String(length=200), nullable=True),
        sa.Column("template_hash", sa.String(length=64), nullable=True),
        sa.Column("segments", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"], name="fk_messages_entry_id"),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.UniqueConstraint("entry_id", "step", name="uq_messages_entry_id_step"),
    )
    op.create_index("ix_messages_address", "messages", ["address_hash"], unique=False)
    op.create_index("ix_messages_customer", "messages", ["customer_id"], unique=False)
    op.create_index(
        "ix_messages_due",
        "messages",
        ["space", "shard", "send_at"],
        unique=False,
        postgresql_where=PLANNED,
        sqlite_where=PLANNED,
    )
    op.create_index(
        "ix_messages_in_doubt",
        "messages",
        ["sending_at"],
        unique=False,
        postgresql_where=IN_DOUBT,
        sqlite_where=IN_DOUBT,
    )
    op.create_index(
        "ix_messages_lease",
        "messages",
        ["lease_until"],
        unique=False,
        postgresql_where=UNDER_WAY,
        sqlite_where=UNDER_WAY,
    )
    op.create_index(
        "ix_messages_provider",
        "messages",
        ["provider_id"],
        unique=False,
        postgresql_where=sa.text("provider_id IS NOT NULL"),
        sqlite_where=sa.text("provider_id IS NOT NULL"),
    )
    op.create_index(
        "ix_messages_sending_at",
        "messages",
        ["sending_at"],
        unique=False,
        postgresql_where=sa.text("sending_at IS NOT NULL"),
        sqlite_where=sa.text("sending_at IS NOT NULL"),
    )
