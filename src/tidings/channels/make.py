"""Which class stands behind a provider's name: the only list of them, built from plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tidings.channels.base import Provider
from tidings.channels.http import TimeLimits
from tidings.channels.rate import Pace
from tidings.errors import DefinitionError
from tidings.model.people import Channel

NAMES = ("sendgrid", "twilio", "outbox")


@dataclass(frozen=True, slots=True)
class Account:
    """How to reach a provider account. ``login`` is the Twilio account, ``key`` its API key if one is used.

    ``per_second`` and ``per_sender`` (messages a second, by sender) hold for one process.
    """

    login: str = ""
    secret: str = field(default="", repr=False)
    key: str | None = None
    base_url: str | None = None
    connections: int = 100
    per_second: float | None = None
    per_sender: Mapping[str, float] = field(default_factory=dict)
    limits: TimeLimits | None = None


def provider(
    name: str,
    account: Account,
    *,
    channel: Channel = Channel.EMAIL,
    callback: Callable[[str], str] | None = None,
    outbox: Path | None = None,
) -> Provider:
    """Return the provider of that name. Raises DefinitionError for another name, or for missing credentials.

    ``callback`` turns a message id into the address for its status callbacks (twilio); ``channel`` and ``outbox``
    (a file) are for the outbox only.
    """
    pace = Pace(account.per_second, account.per_sender)
    match name:
        case "outbox":
            from tidings.channels.outbox import Outbox

            return Outbox(channel, outbox)
        case "sendgrid":
            from tidings.channels import sendgrid

            _needs(name, secret=account.secret)
            return sendgrid.SendGrid(
                account.secret, base_url=account.base_url or sendgrid.API, connections=account.connections,
                limits=account.limits, pace=pace,
            )  # fmt: skip
        case "twilio":
            from tidings.channels import twilio

            _needs(name, login=account.login, secret=account.secret)
            return twilio.Twilio(
                account.login, account.secret, login=account.key, callback=callback,
                base_url=account.base_url or twilio.API, connections=account.connections,
                limits=account.limits, pace=pace,
            )  # fmt: skip
        case _:
            raise DefinitionError(f'provider: must be one of {", ".join(NAMES)}; found "{name}"')


def _needs(provider: str, **values: str) -> None:
    missing = [field for field, value in values.items() if not value]
    if missing:
        raise DefinitionError(f"connection {provider}: {', '.join(missing)}: must be set, found nothing")
