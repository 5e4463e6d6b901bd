"""How Alembic runs a migration: inside the one transaction that ``store.migrate`` opened and locked."""

from alembic import context

from tidings.ledger.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
