"""Signatures as the two providers make them: over the very bytes that are posted."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]


class Signer:
    """Signs webhooks: ECDSA P-256 for SendGrid's, HMAC-SHA1 with the account's token for Twilio's."""

    def __init__(self, auth_token: str, private_key: str | None = None) -> None:
        self._key = _private(private_key)
        self._validator = RequestValidator(auth_token)
        public = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public_key = base64.b64encode(public).decode()

    def sendgrid(self, body: bytes, timestamp: str) -> dict[str, str]:
        """Return the headers of a signed Event Webhook."""
        signature = self._key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return {
            "Content-Type": "application/json",
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }

    def twilio(self, url: str, form: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of a signed callback."""
        return {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Twilio-Signature": self._validator.compute_signature(url, form),
        }


def _private(pem: str | None) -> ec.EllipticCurvePrivateKey:
    if pem is None:
        return ec.generate_private_key(ec.SECP256R1())
    key = load_pem_private_key(pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the sandbox's signing key must be an elliptic curve key")
    return key
