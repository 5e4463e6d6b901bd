"""What Airflow is told about this package: two connection types with forms that name what the provider calls things.

Every Airflow process reads this at its start, so nothing is imported here.
"""

from __future__ import annotations

from typing import Any

_UNUSED = ["port", "schema"]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata."""
    from importlib.metadata import version

    return {
        "package-name": "tidings",
        "name": "Tidings",
        "description": "Behavioral trigger campaigns: the right message, once, and what it truly earned.",
        "versions": [version("tidings")],
        "connection-types": [_sendgrid(), _twilio()],
    }


def _sendgrid() -> dict[str, Any]:
    return {
        "connection-type": "tidings_sendgrid",
        "hook-class-name": "tidings.airflow.hooks.SendGridHook",
        "hook-name": "Tidings SendGrid",
        "ui-field-behaviour": {
            "hidden-fields": ["login", *_UNUSED],
            "relabeling": {"password": "API key", "host": "API address"},
            "placeholders": {
                "password": "SG.…, with the permission Mail Send only",
                "host": "empty for api.sendgrid.com; https://api.eu.sendgrid.com for an EU account",
            },
        },
        "conn-fields": {
            "webhook_public_key": _text(
                "Webhook verification key",
                "The public key of the signed Event Webhook, as SendGrid's settings show it (base64).",
            )
        },
    }


def _twilio() -> dict[str, Any]:
    return {
        "connection-type": "tidings_twilio",
        "hook-class-name": "tidings.airflow.hooks.TwilioHook",
        "hook-name": "Tidings Twilio",
        "ui-field-behaviour": {
            "hidden-fields": _UNUSED,
            "relabeling": {
                "login": "Account SID or API key SID",
                "password": "Auth token or API key secret",
                "host": "API address",
            },
            "placeholders": {"login": "AC… or SK…", "host": "empty for api.twilio.com"},
        },
        "conn-fields": {
            "account_sid": _text("Account SID", "Needed when an API key (SK…) is used above; the account it is of."),
            "webhook_auth_token": _text(
                "Auth token for webhooks", "Twilio signs its callbacks with the account's auth token, never with a key."
            ),
        },
    }


def _text(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "schema": {"type": ["string", "null"], "title": label}, "description": description}
