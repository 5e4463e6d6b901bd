"""Opt-outs and opt-ins told to the shop's other tools: signed, in order, again until they were taken."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import orjson

from tidings.channels.http import Pool, TimeLimits
from tidings.errors import DefinitionError, Retry, Unknown
from tidings.jobs.opening import Opened
from tidings.ledger import opt_outs
from tidings.ledger.opt_outs import Told
from tidings.settings.shop import is_local

log = logging.getLogger(__name__)

_A_POST = 100
_MOST_POSTS = 50
_DEFAULT = "opt_out_webhook"
SIGNATURE = "X-Tidings-Signature"


@dataclass(frozen=True, slots=True)
class Counts:
    """``told`` were taken by the receiver, ``waiting`` are told next time; ``why`` is its answer, if it refused."""

    told: int = 0
    waiting: int = 0
    why: str | None = None


def run(opened: Opened, now: datetime | None = None) -> Counts:
    """Post what nobody was told yet, oldest first, and stop at the first refusal: the rest is told by the next run.

    Every decision is told at least once; its number is the same each time. Before production only a local receiver
    is told. Raises DefinitionError when the key is missing.
    """
    hook = opened.settings.opt_out_webhook
    if hook is None or not (opened.settings.production or is_local(hook.url)):
        return Counts()
    key = opened.connections.get(hook.connection or _DEFAULT).password
    if not key:
        raise DefinitionError(f"connection {hook.connection or _DEFAULT}: password must be set; found nothing")
    return asyncio.run(_tell(opened, hook.url, key.encode(), now or opened.ledger.now()))


async def _tell(opened: Opened, url: str, key: bytes, now: datetime) -> Counts:
    parts = urlsplit(url)
    pool = Pool(f"{parts.scheme}://{parts.netloc}", connections=1, limits=TimeLimits())
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    done, why = 0, None
    try:
        for _ in range(_MOST_POSTS):
            with opened.ledger.reading() as conn:
                some = opt_outs.untold(conn, most=_A_POST)
            if not some:
                break
            why = await _post(pool, path, key, some, now)
            if why is not None:
                break
            with opened.ledger.writing() as conn:
                opt_outs.told(conn, [one.number for one in some], now)
            done += len(some)
    finally:
        await pool.close()
    with opened.ledger.reading() as conn:
        waiting, _ = opt_outs.waiting(conn)
    log.info("told opt-outs told=%d waiting=%d", done, waiting)
    return Counts(done, waiting, why)


async def _post(pool: Pool, path: str, key: bytes, some: Sequence[Told], now: datetime) -> str | None:
    """Post some decisions; return None when they were taken, else the receiver's answer in a few words."""
    body = orjson.dumps({"decisions": [_plain(one) for one in some]})
    headers = {"Content-Type": "application/json", SIGNATURE: signature(key, body, now)}
    try:
        answer = await pool.post(path, body, headers)
    except (Retry, Unknown) as lost:
        return lost.reason[:100]
    return None if 200 <= answer.status < 300 else f"answered {answer.status}"


def signature(key: bytes, body: bytes, at: datetime) -> str:
    """Return ``t=<seconds>,v1=<hex>``: HMAC-SHA256 over the seconds, a dot, and the very bytes that are posted."""
    said = str(int(at.timestamp()))
    return f"t={said},v1={hmac.digest(key, said.encode() + b'.' + body, 'sha256').hex()}"


def _plain(one: Told) -> dict[str, object]:
    return {
        "number": one.number, "customer_id": one.customer_id, "address_hash": one.address_hash,
        "channel": one.channel or None, "purpose": one.purpose or None, "opted_out": one.opted_out,
        "reason": one.reason, "at": one.at.isoformat(), "source": one.source,
    }  # fmt: skip
