"""What a shop decides once: tidings.yaml as values, and where its connections and secrets come from."""

from tidings.settings.brand import Brand
from tidings.settings.connections import Connection, Connections, EnvConnections, database_url
from tidings.settings.policy import (
    Attribution,
    CampaignDefaults,
    CapRule,
    Consent,
    QuietHours,
    QuietRange,
    SendWindow,
    TouchWindows,
)
from tidings.settings.secrets import Secrets, open_secrets
from tidings.settings.shop import (
    Database,
    Dispatch,
    EmailSender,
    Measure,
    ProviderChoice,
    Settings,
    SmsSender,
    is_local,
)

__all__ = [
    "Attribution",
    "Brand",
    "CampaignDefaults",
    "CapRule",
    "Connection",
    "Connections",
    "Consent",
    "Database",
    "Dispatch",
    "EmailSender",
    "EnvConnections",
    "Measure",
    "ProviderChoice",
    "QuietHours",
    "QuietRange",
    "Secrets",
    "SendWindow",
    "Settings",
    "SmsSender",
    "TouchWindows",
    "database_url",
    "is_local",
    "open_secrets",
]
