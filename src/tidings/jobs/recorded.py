"""The gates that a message passed, as its receipt recorded them when it left, in the words of `tidings explain`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from tidings.ledger.stories import MessageStory
from tidings.plan.recheck import GATES, Gate


def gates(message: MessageStory, evidence: str | None, zone: str) -> tuple[Gate, ...]:
    """Return every gate in order with its recorded input; nothing for a message without evidence."""
    said = orjson.loads(evidence) if evidence else {}
    if "gates" not in said or message.sending_at is None:
        return ()
    facts = _facts(message, said, zone)
    return tuple(Gate(name, "yes", facts.get(name, "")) for name, _, _ in GATES)


def _facts(message: MessageStory, said: Mapping[str, Any], zone: str) -> dict[str, str]:
    inputs, asked = said["gates"], datetime.fromisoformat(said["now"])
    sources = {name: datetime.fromisoformat(at) for name, at in inputs.get("sources", {}).items()}
    loaded = ", ".join(f"{name} up to {told(at, zone)}" for name, at in sources.items())
    orders = f" up to {told(min(sources['orders'], asked), zone)}" if "orders" in sources else ""
    at = told(asked, zone)
    return {
        "sending is on": f"no brake at {told(message.sending_at or asked, zone)}",
        "allow-list": str(inputs.get("list", "")),
        "in time": f"until {told(message.expires_at, zone)}",
        "suppression": f"none at {told(message.sending_at or asked, zone)}",
        "consent": _consent(said.get("consent"), zone),
        "quiet hours": f"open {inputs.get('hours', '')}",
        "step before": _before(inputs.get("before"), zone),
        "frequency cap": _caps(said.get("caps", ())),
        "priority": f"nothing ahead at {at}",
        "not bought": f"no order{orders}" if orders else f"no order known at {at}",
        "fresh sources": loaded or "no age is set for them",
        "still true": f"asked at {at}",
    }


def _consent(proof: Mapping[str, str] | None, zone: str) -> str:
    if proof is None:
        return "not needed: part of an order"
    since = told(datetime.fromisoformat(proof["at"]), zone, year=True)
    basis = proof["basis"].replace("_", " ")
    return f"{proof['purpose']}, {basis}, given {since} (in the {proof['from']})"


def _before(said: str | None, zone: str) -> str:
    if said is None:
        return "first of the series"
    status, _, at = said.partition(" ")
    if status.endswith(":") or not at:
        return said
    return f"{status} {told(datetime.fromisoformat(at), zone)}"


def _caps(said: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"{used} of {most} used" for used, _, most in (one.partition("/") for one in said)) or "no cap"


def told(at: datetime, zone: str, *, year: bool = False) -> str:
    """Return an instant on the customer's clock: "3 Mar 12:00 EET"."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{local.day} {local:%b %Y}" if year else f"{local.day} {local:%b %H:%M %Z}"
