"""The order in which a ledger made things true, noted by its database: only that knows which commit was first."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from tidings.ledger.store import Ledger

_TABLE = """
CREATE TABLE IF NOT EXISTS witness_book (
    seq {serial}, what VARCHAR(20), subject VARCHAR(210), channel VARCHAR(10), reason VARCHAR(30), in_force BOOLEAN
)
"""
_IN_FORCE = "(NEW.lifted_at IS NULL OR NEW.lifted_at <= NEW.at)"
_NOTE = "INSERT INTO witness_book (what, subject, channel, reason, in_force) VALUES"
_SENDING = f"{_NOTE} ('sending', NEW.id, NEW.channel, NULL, NULL)"
_SAID = f"{_NOTE} ('suppression', NEW.subject, NEW.channel, NEW.reason, {_IN_FORCE})"
_BEGINS = "NEW.status = 'sending' AND OLD.status <> 'sending'"


@dataclass(frozen=True, slots=True)
class Commit:
    """A message that became `sending`, or what a suppression said from then on."""

    what: str
    subject: str
    channel: str
    reason: str | None
    in_force: bool | None


def open_in(ledger: Ledger) -> None:
    """Have the ledger's database note every step to `sending` and every word about suppressions."""
    with ledger.writing() as conn:
        for statement in _sqlite() if ledger.dialect == "sqlite" else _postgresql():
            conn.execute(text(statement))


def _sqlite() -> list[str]:
    triggers = (
        ("sending", f"UPDATE OF status ON messages WHEN {_BEGINS}", _SENDING),
        ("said", "INSERT ON suppressions", _SAID),
        ("said_again", "UPDATE ON suppressions", _SAID),
    )
    made = [f"CREATE TRIGGER witness_{name} AFTER {when} BEGIN {note}; END" for name, when, note in triggers]
    return [_TABLE.format(serial="INTEGER PRIMARY KEY AUTOINCREMENT"), *made]


def _postgresql() -> list[str]:
    made = [_TABLE.format(serial="BIGSERIAL PRIMARY KEY")]
    triggers = (
        ("sending", f"UPDATE OF status ON messages FOR EACH ROW WHEN ({_BEGINS})", _SENDING),
        ("said", "INSERT OR UPDATE ON suppressions FOR EACH ROW", _SAID),
    )
    for name, when, note in triggers:
        body = f"BEGIN {note}; RETURN NEW; END"
        made.append(f"CREATE FUNCTION witness_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        made.append(f"CREATE TRIGGER witness_{name} AFTER {when} EXECUTE FUNCTION witness_{name}()")
    return made


def read(conn: Connection) -> tuple[Commit, ...]:
    """Return what the book says, in order; nothing where none was opened."""
    if not conn.dialect.has_table(conn, "witness_book"):
        return ()
    rows = conn.execute(text("SELECT what, subject, channel, reason, in_force FROM witness_book ORDER BY seq"))
    return tuple(Commit(*row) for row in rows)
