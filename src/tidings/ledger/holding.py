"""The rows behind which people's messages and their opt-outs queue: one per person and address, in sorted order."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Executable, select, true

from tidings.ledger import prepared
from tidings.ledger.bulk import upsert_for
from tidings.ledger.prepared import Asked, Prepared
from tidings.ledger.schema import contacts


def hold(conn: Connection, names: Collection[str]) -> None:
    """Hold these contacts ("p:<customer id>", "a:<address hash>") until the commit.

    Two lanes then count under the caps one after the other, and an opt-out is written either before a commit to
    `sending` looks for it or after that commit, never in between.
    """
    prepared.together(conn, *holds(conn, names))


def holds(conn: Connection, names: Collection[str]) -> list[Asked]:
    """Return what ``hold`` runs, for a transaction that asks more in the same trip."""
    if conn.dialect.name == "sqlite" or not names:
        return []  # one writer at a time, and this transaction is it
    body = {"body": prepared.ids(set(names))}
    return [(_MAKE, body), (_HOLD, body)]


def _make(dialect: str) -> Executable:
    names = prepared.ids_given(dialect)
    chosen = select(names.c.id).where(true()).order_by(names.c.id)
    written: Executable = upsert_for(dialect, contacts).from_select(["contact"], chosen).on_conflict_do_nothing()
    return written


def _hold(dialect: str) -> Executable:
    names = prepared.ids_given(dialect)
    held = select(contacts.c.contact).join(names, names.c.id == contacts.c.contact)
    return held.order_by(contacts.c.contact).with_for_update(of=contacts)


_MAKE, _HOLD = Prepared(_make), Prepared(_hold)
