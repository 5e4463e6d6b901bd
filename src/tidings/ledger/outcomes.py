"""What the providers answered: proof of sending beats the fence, every other answer needs the message's token."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, Literal

from sqlalchemy import Connection, Executable, bindparam, delete, func, literal_column, or_, select, update

from tidings.ledger import bulk, prepared
from tidings.ledger.bulk import TEXT, TIME
from tidings.ledger.cancelling import cancel_for
from tidings.ledger.holding import hold
from tidings.ledger.opt_outs import Decision, note
from tidings.ledger.people import suppress, suppressed
from tidings.ledger.planning import release_cooldowns
from tidings.ledger.prepared import Prepared
from tidings.ledger.schema import DOUBTED, contact_slots, messages
from tidings.ledger.transitions import PROVABLE
from tidings.model.message import Status

m = messages.c


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the provider answered for one message.

    ``halt`` and ``wait`` are retries that burn no attempt. ``suppress`` names why the address must not be used again.
    """

    id: str
    token: str
    kind: Literal["sent", "retry", "wait", "failed", "unknown", "halt"]
    provider_id: str | None = None
    reason: str | None = None
    detail: str | None = None
    retry_at: datetime | None = None
    suppress: str | None = None


def record_outcomes(conn: Connection, outcomes: Sequence[Outcome], now: datetime) -> dict[str, int]:
    """Write what the provider answered; return how many of each kind were accepted.

    Proof of sending is accepted from any token and after the reaper; every other answer only while the
    message is still in ``sending`` under its own token. A certain refusal gives its slots back, unknown keeps
    them.
    """
    if not outcomes:
        return {}
    if conn.dialect.name == "postgresql":
        prepared.together(conn, (_LOCK, {"body": prepared.ids({one.id for one in outcomes})}))
    counts: dict[str, int] = {}
    for kind, write in _WRITERS.items():
        some = [one for one in outcomes if one.kind == kind]
        if some:
            counts[kind] = write(conn, some, now)
    return counts


def _lock(dialect: str) -> Executable:
    wanted = prepared.ids_given(dialect)
    return select(m.id).join(wanted, wanted.c.id == m.id).order_by(m.id).with_for_update(of=messages)


def _proof(dialect: str) -> Executable:
    proof, now = prepared.given(dialect, _PROOF).c, bindparam("now", type_=TIME)
    provable = m.status.in_([literal_column(f"'{one}'") for one in (*PROVABLE, Status.SENT)])
    return (
        update(messages)
        .where(m.id == proof.id, or_(provable, DOUBTED))
        .values(
            status=Status.SENT,
            sent_at=func.coalesce(m.sent_at, now),
            ended_at=func.coalesce(m.ended_at, now),
            provider_id=func.coalesce(proof.provider_id, m.provider_id),
            reason=None,
            detail=None,
            lease_until=None,
        )
    )


_PROOF = {"id": TEXT, "provider_id": TEXT}
_LOCK, _SENT = Prepared(_lock), Prepared(_proof)


def _sent(conn: Connection, some: Sequence[Outcome], now: datetime) -> int:
    proof = prepared.rows(conn, ("id", "provider_id"), [(one.id, bulk.fit(one.provider_id, 120)) for one in some])
    return prepared.changed(conn, _SENT, {"body": proof, "now": prepared.instant(conn, now)})


def _held(conn: Connection, some: Sequence[Outcome]) -> tuple[Any, tuple[Any, ...]]:
    rows = [(one.id, one.token, bulk.fit(one.reason, 40), bulk.fit(one.detail, 400), one.retry_at) for one in some]
    said = bulk.given(conn, {"id": TEXT, "token": TEXT, "reason": TEXT, "detail": TEXT, "retry_at": TIME}, rows)
    return said.c, (m.id == said.c.id, m.token == said.c.token, m.status == Status.SENDING)


def _retry(conn: Connection, some: Sequence[Outcome], now: datetime, *, burned: int = 0) -> int:
    said, held = _held(conn, some)
    written = update(messages).where(*held).values(
        status=Status.PLANNED,
        send_at=func.coalesce(said.retry_at, bulk.literal(now, TIME)),
        defer_reason=func.coalesce(said.reason, "retry"),
        attempt=m.attempt - burned,
        token=None,
        lease_until=None,
        sending_at=None,
    )  # fmt: skip
    returned = list(conn.scalars(written.returning(m.id)))
    _free_slots(conn, returned)
    return len(returned)


def _halt(conn: Connection, some: Sequence[Outcome], now: datetime) -> int:
    return _retry(conn, some, now, burned=1)


def _failed(conn: Connection, some: Sequence[Outcome], now: datetime) -> int:
    said, held = _held(conn, some)
    written = update(messages).where(*held).values(
        status=Status.FAILED,
        reason=func.coalesce(said.reason, "rejected"),
        detail=said.detail,
        ended_at=now,
        lease_until=None,
    )  # fmt: skip
    columns = (m.id, m.entry_id, m.channel, m.customer_id, m.address_hash)
    failed = conn.execute(written.returning(*columns)).all()
    _free_slots(conn, [row.id for row in failed])
    release_cooldowns(conn, {row.entry_id for row in failed})
    why = {one.id: one.suppress for one in some if one.suppress}
    _close(conn, [(row, why[row.id]) for row in failed if row.id in why and row.address_hash], now)
    return len(failed)


def _close(conn: Connection, refused: Sequence[tuple[Any, str]], now: datetime) -> None:
    """Never use these messages' addresses again: cancel what waits for them, and tell on what was a person's word."""
    shut: dict[tuple[str, str], list[tuple[Any, str]]] = defaultdict(list)
    for row, reason in refused:
        shut[row.channel, row.address_hash].append((row, reason))
    hold(conn, {f"a:{address}" for _, address in shut})
    for (channel, address), why in sorted(shut.items(), key=itemgetter(0)):
        news = channel not in suppressed(conn, [f"a:{address}"]).get(f"a:{address}", ())
        for row, reason in why:
            suppress(
                conn, [f"a:{address}"], channel=channel, reason=reason, at=now, source="provider", message_id=row.id
            )
        said = [row for row, reason in why if reason == "stop"]
        if said and news:
            note(conn, [Decision(channel, True, "stop", now, "provider", "", said[0].customer_id, address)])
        cancel_for(conn, address_hashes=[address], channel=channel, now=now)


def _unknown(conn: Connection, some: Sequence[Outcome], now: datetime) -> int:
    said, held = _held(conn, some)
    doubt = {"reason": func.coalesce(said.reason, "no_answer"), "detail": said.detail, "lease_until": None}
    return bulk.changed(conn, update(messages).where(*held).values(status=Status.UNKNOWN, **doubt))


_WRITERS: dict[str, Callable[[Connection, Sequence[Outcome], datetime], int]] = {
    "sent": _sent,
    "retry": _retry,
    "wait": _halt,
    "halt": _halt,
    "failed": _failed,
    "unknown": _unknown,
}


def _free_slots(conn: Connection, ids: Sequence[str]) -> None:
    if ids:
        chosen = bulk.ids(conn, ids)
        conn.execute(delete(contact_slots).where(contact_slots.c.message_id.in_(select(chosen.c.id))))
