"""The hooks behind the two connection types: they test a connection by a question that sends nothing."""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
from typing import Any

from airflow.sdk import BaseHook

from tidings.airflow.connections import AirflowConnections
from tidings.settings import Connection

_SECONDS = 10


class SendGridHook(BaseHook):
    """The connection type Tidings SendGrid."""

    conn_name_attr = "sendgrid_conn_id"
    default_conn_name = "sendgrid"
    conn_type = "tidings_sendgrid"
    hook_name = "Tidings SendGrid"

    def __init__(self, sendgrid_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = sendgrid_conn_id

    def get_conn(self) -> Connection:
        """Return the connection as the channels use it."""
        return AirflowConnections().get(self.name)

    def test_connection(self) -> tuple[bool, str]:
        """Ask which permissions the key has."""
        known = self.get_conn()
        if not known.password:
            return False, "API key: must be set; found nothing"
        url = f"{_address(known, 'https://api.sendgrid.com')}/v3/scopes"
        return _asked(url, f"Bearer {known.password}")


class TwilioHook(BaseHook):
    """The connection type Tidings Twilio."""

    conn_name_attr = "twilio_conn_id"
    default_conn_name = "twilio"
    conn_type = "tidings_twilio"
    hook_name = "Tidings Twilio"

    def __init__(self, twilio_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = twilio_conn_id

    def get_conn(self) -> Connection:
        """Return the connection as the channels use it."""
        return AirflowConnections().get(self.name)

    def test_connection(self) -> tuple[bool, str]:
        """Ask for one line of the account's message list."""
        known = self.get_conn()
        account = str(known.extra.get("account_sid") or known.login or "")
        if not account.startswith("AC"):
            return False, "Account SID: must start with AC; set it in its own field when an API key is used"
        if not known.password:
            return False, "Auth token or API key secret: must be set; found nothing"
        url = f"{_address(known, 'https://api.twilio.com')}/2010-04-01/Accounts/{account}/Messages.json?PageSize=1"
        pair = base64.b64encode(f"{known.login}:{known.password}".encode()).decode()
        return _asked(url, f"Basic {pair}")


def _address(known: Connection, otherwise: str) -> str:
    host = (known.host or otherwise).rstrip("/")
    return host if "://" in host else f"https://{host}"


def _asked(url: str, authorization: str) -> tuple[bool, str]:
    if not url.startswith(("https://", "http://")):
        return False, "API address: must start with https://"
    request = urllib.request.Request(url, headers={"Authorization": authorization})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):
            return True, "The provider accepts this account"
    except urllib.error.HTTPError as refused:
        if refused.code in (401, 403):
            return False, f"The provider refuses this account (HTTP {refused.code})"
        return False, f"The provider answered HTTP {refused.code}"
    except (OSError, ValueError):
        return False, "The provider could not be reached"
