"""The keys that sign links and hide addresses: given in production, made once for a shop that is not."""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets as randomness
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tidings.errors import DefinitionError
from tidings.settings.connections import Connections, env_text
from tidings.settings.shop import Settings

_SHORTEST = 16  # bytes; half of what we make ourselves


@dataclass(frozen=True, slots=True)
class Secrets:
    """Every secret of a shop that is not a provider's or database's password. Its repr tells nothing.

    ``pepper`` keys the hash of addresses and never changes. ``link_keys`` sign click and unsubscribe links:
    the first signs, the others still verify (keep an old key two years). ``sendgrid_webhook_key`` is the
    public key of the event webhook (base64 DER), ``twilio_auth_token`` verifies Twilio's callbacks; each may be
    several with commas between, while the provider changes from one to the next.
    ``sandbox_key`` is the private key (PEM) with which the sandbox signs as SendGrid would; never in production.
    """

    pepper: bytes = field(repr=False)
    link_keys: Mapping[str, bytes] = field(repr=False)
    sendgrid_webhook_key: str | None = field(default=None, repr=False)
    twilio_auth_token: str | None = field(default=None, repr=False)
    sandbox_key: str | None = field(default=None, repr=False)

    @property
    def webhook_keys(self) -> tuple[str, ...]:
        """Every public key that an event webhook of SendGrid may be signed for."""
        return _several(self.sendgrid_webhook_key)

    @property
    def webhook_tokens(self) -> tuple[str, ...]:
        """Every token that a request of Twilio's may be signed with."""
        return _several(self.twilio_auth_token)

    @property
    def signing_key(self) -> str:
        """The id of the link key that signs."""
        return next(iter(self.link_keys))


def open_secrets(
    settings: Settings, folder: Path, connections: Connections, environ: Mapping[str, str] | None = None
) -> Secrets:
    """Return the shop's secrets: from the environment, else the connection ``tidings``, else ``.tidings/secrets.json``.

    The file is made (readable by its owner only) when production is false, and never read in production.
    Raises DefinitionError that names what is missing, never a value.
    """
    environ = os.environ if environ is None else environ
    given = _given(settings, connections, environ)
    if not settings.production:
        given = {**_made(folder / ".tidings"), **given}
    for name in ("pepper", "link_keys"):
        if name not in given:
            variable = f"TIDINGS_{name.upper()}"
            raise DefinitionError(
                f"secrets: {name} must be set as {variable}, {variable}_FILE or in the extra of connection tidings"
                "; found nothing"
            )
    return Secrets(
        pepper=_key("pepper", given["pepper"]),
        link_keys=_link_keys(given["link_keys"]),
        sendgrid_webhook_key=given.get("sendgrid_webhook_key"),
        twilio_auth_token=given.get("twilio_auth_token"),
        sandbox_key=None if settings.production else given.get("sandbox_key"),
    )


def _given(settings: Settings, connections: Connections, environ: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    with suppress(DefinitionError):
        extra = connections.get("tidings").extra
        found |= {name: str(extra[name]) for name in ("pepper", "link_keys") if extra.get(name)}
    for choice, secret, name in (
        (settings.providers.email, "webhook_public_key", "sendgrid_webhook_key"),
        (settings.providers.sms, "webhook_auth_token", "twilio_auth_token"),
    ):
        if choice.name == "outbox":
            continue
        with suppress(DefinitionError):
            extra = connections.get(choice.webhook_connection or choice.connection_name).extra
            if extra.get(secret):
                found[name] = str(extra[secret])
    for name in ("pepper", "link_keys", "sendgrid_webhook_key", "twilio_auth_token"):
        text = env_text(environ, f"TIDINGS_{name.upper()}")
        if text:
            found[name] = text
    return found


def _several(text: str | None) -> tuple[str, ...]:
    return tuple(part for one in (text or "").split(",") if (part := one.strip()))


def _key(name: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < _SHORTEST:
        raise DefinitionError(f"secrets: {name} must be base64 of at least {_SHORTEST} bytes; found something else")
    return key


def _link_keys(text: str) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for part in text.split(","):
        name, colon, value = part.strip().partition(":")
        if not colon or len(name) != 1 or not name.isascii() or not name.isalnum() or name in keys:
            raise DefinitionError(
                "secrets: link_keys must be id:base64 pairs with commas between, ids of one letter or digit"
                "; found something else"
            )
        keys[name] = _key(f"link_keys {name}", value)
    return keys


def _made(folder: Path) -> dict[str, str]:
    path = folder / "secrets.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".secrets-{randomness.token_hex(8)}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(_new(), file)
        # A hard link is made by one of several starting processes only; the others read that one's file.
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in made.items()}
    except (OSError, ValueError, AttributeError):
        raise DefinitionError(f"{path}: must be the secrets that were made here; found something else") from None


def _new() -> dict[str, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def key() -> str:
        return base64.b64encode(randomness.token_bytes(32)).decode()

    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "pepper": key(),
        "link_keys": f"1:{key()}",
        "sendgrid_webhook_key": base64.b64encode(public).decode(),
        "twilio_auth_token": randomness.token_hex(16),
        "sandbox_key": pem.decode(),
    }
