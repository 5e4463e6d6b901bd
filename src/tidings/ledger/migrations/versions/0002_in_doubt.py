"""What is in doubt is found by its status: SQLite took another index, and read all that ever left."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

IN_DOUBT = sa.text("status = 'unknown'")


def upgrade() -> None:
    """Put the status in front of the moment of sending."""
    op.drop_index("ix_messages_in_doubt", table_name="messages")
    op.create_index(
        "ix_messages_in_doubt",
        "messages",
        ["status", "sending_at"],
        unique=False,
        postgresql_where=IN_DOUBT,
        sqlite_where=IN_DOUBT,
    )
