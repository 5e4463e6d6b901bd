"""Asking a provider whether it knows our key, without sending anything to anybody."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout

from tidings.channels import sendgrid, twilio

_PATIENCE = ClientTimeout(total=8)
SENDGRID_NEEDS = ("mail.send",)
# Reconciling after lost webhooks reads these lists.
SENDGRID_LIKES = ("suppression.read",)


class OutOfReach(Exception):
    """The provider could not be asked."""


async def sendgrid_trouble(key: str, base_url: str | None = None) -> str | None:
    """Return why SendGrid would not take mail with this key, or None. Raises ``OutOfReach``."""
    base = (base_url or sendgrid.API).rstrip("/")
    status, body = await _get(f"{base}/v3/scopes", headers={"Authorization": f"Bearer {key}"})
    if status in (401, 403):
        return f"the key is refused ({status})"
    if status != 200:
        raise OutOfReach(f"answered {status}")
    missing = [scope for scope in SENDGRID_NEEDS if scope not in _scopes(body)]
    return f"the key lacks {', '.join(missing)}" if missing else None


async def twilio_trouble(account: str, secret: str, key: str | None = None, base_url: str | None = None) -> str | None:
    """Return why Twilio would not take texts with these credentials, or None. Raises ``OutOfReach``."""
    base = (base_url or twilio.API).rstrip("/")
    login = "Basic " + b64encode(f"{key or account}:{secret}".encode()).decode()
    status, body = await _get(f"{base}/2010-04-01/Accounts/{account}.json", headers={"Authorization": login})
    if status in (401, 403, 404):
        return f"the credentials are refused ({status})"
    if status != 200:
        raise OutOfReach(f"answered {status}")
    try:
        state = str(orjson.loads(body).get("status", "active"))
    except (ValueError, AttributeError):
        raise OutOfReach("answered something else than JSON") from None
    return None if state == "active" else f"the account is {state[:20]}"


def _scopes(body: bytes) -> Sequence[str]:
    try:
        found = orjson.loads(body)["scopes"]
        return [str(one) for one in found]
    except (ValueError, LookupError, TypeError):
        raise OutOfReach("answered something else than its scopes") from None


async def _get(url: str, *, headers: Mapping[str, str]) -> tuple[int, bytes]:
    try:
        async with (
            ClientSession(timeout=_PATIENCE) as session,
            session.get(url, allow_redirects=False, headers=headers) as answer,
        ):
            return answer.status, await answer.content.read(200_000)
    except (ClientError, TimeoutError, OSError) as lost:
        raise OutOfReach(type(lost).__name__) from None
