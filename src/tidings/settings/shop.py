"""tidings.yaml, validated once: whoever reads a value here may rely on it."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from tidings.fields import Duration, PositiveDuration
from tidings.model.people import Channel
from tidings.settings import words
from tidings.settings.brand import Brand
from tidings.settings.brand import Palette as Palette
from tidings.settings.policy import Brakes, CampaignDefaults, CapRule, Consent, QuietHours, WarmUp, default_caps
from tidings.settings.retention import Retention
from tidings.settings.web import OptOutWebhook, Replies, Web
from tidings.settings.words import Section


class Database(Section):
    """A database: the name of a connection, or an address without a password."""

    connection: str | None = Field(None, description="The name of an Airflow connection, or AIRFLOW_CONN_<NAME>")
    url: str | None = Field(
        None, description="A SQLAlchemy address without a password, such as sqlite:///ledger.sqlite"
    )

    @field_validator("url")
    @classmethod
    def _without_a_password(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
        except ValueError:
            raise ValueError("must be a database address such as sqlite:///ledger.sqlite") from None
        if parts.password:
            raise ValueError("must not hold a password; name a connection instead")
        if not parts.scheme:
            raise ValueError("must be a database address such as sqlite:///ledger.sqlite")
        return value

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.connection is None) == (self.url is None):
            raise ValueError("must have either connection or url")
        return self


class EmailSender(Section):
    """The From line."""

    address: words.Email = Field(alias="from", description="The From address")
    name: str | None = Field(None, description="The From name; the brand's name when left out")
    reply_to: words.Email | None = Field(None, description="Where replies go; the From address when left out")
    warm_up: WarmUp | None = Field(None, description="How a new sender begins; no limit when left out")
    dkim_selectors: tuple[words.Selector, ...] = Field(
        ("s1", "s2"), min_length=1, description="The DKIM keys of the From domain that `tidings check --live` looks for"
    )
    return_path: words.Domain | None = Field(
        None, description='Where bounces go, such as "em123.shop.example"; the From domain when left out'
    )


class SmsSender(Section):
    """The number or messaging service that texts come from."""

    number: words.Phone | None = Field(
        None, alias="from", description='A phone number in quotes such as "+15551230000"'
    )
    messaging_service: str | None = Field(None, description="The id of a messaging service, in place of a number")
    warm_up: WarmUp | None = Field(None, description="How a new sender begins; no limit when left out")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.number is None) == (self.messaging_service is None):
            raise ValueError("must have either from or messaging_service")
        return self


class Senders(Section):
    """Who a message comes from, per channel. A channel without a sender cannot be used by a campaign."""

    email: EmailSender | None = Field(None, description="For e-mail")
    sms: SmsSender | None = Field(None, description="For texts")


class ProviderChoice(Section):
    """How one channel leaves."""

    name: str = Field(description="sendgrid or outbox for e-mail; twilio or outbox for texts")
    connection: str | None = Field(
        None, description="The connection that holds the key; the provider's name when left out"
    )
    base_url: words.WebAddress | None = Field(None, description="Another address of its API, such as the sandbox's")
    connections: int = Field(100, ge=1, le=1000, description="Connections kept open")
    rate: float | None = Field(None, gt=0, description="At most so many messages a second; no limit when left out")
    webhook_connection: str | None = Field(None, description="The connection with the webhook's key, if another one")

    @property
    def connection_name(self) -> str:
        """The connection to ask for."""
        return self.connection or self.name


_PROVIDERS = {Channel.EMAIL: ("sendgrid", "outbox"), Channel.SMS: ("twilio", "outbox")}


class Providers(Section):
    """How messages leave, per channel. The outbox keeps them and sends nothing."""

    email: ProviderChoice = Field(ProviderChoice(name="outbox"), description="For e-mail")
    sms: ProviderChoice = Field(ProviderChoice(name="outbox"), description="For texts")

    @model_validator(mode="after")
    def _known(self) -> Self:
        for channel, names in _PROVIDERS.items():
            chosen: ProviderChoice = getattr(self, channel.value)
            if chosen.name not in names:
                rule = f"{channel.value}.name: must be {' or '.join(names)}"
                raise ValueError(f"{rule}; found {words.found(chosen.name)}")
        return self


class Dispatch(Section):
    """How fast messages leave, and how long anything may take."""

    shards: int = Field(
        64, ge=1, le=1024, description="Parts the due messages are divided into; never change it lightly"
    )
    lanes: int = Field(2, ge=1, le=4, description="Tasks that send side by side")
    batch: int = Field(500, ge=1, le=10_000, description="Messages claimed at once")
    lease: PositiveDuration = Field(timedelta(minutes=5), description="How long a claim holds")
    budget: PositiveDuration = Field(timedelta(seconds=50), description="How long one run goes on claiming")
    connect_timeout: PositiveDuration = Field(timedelta(seconds=3), description="To reach the provider")
    timeout: PositiveDuration = Field(timedelta(seconds=10), description="For the provider's whole answer")
    margin: PositiveDuration = Field(timedelta(seconds=5), description="Kept between the time-out and the lease's end")
    halt_after: int = Field(5, ge=1, description="So many ambiguous answers in a row stop the provider")
    presume_lost_after: PositiveDuration = Field(
        timedelta(days=3), description="Until an unknown message counts as lost"
    )
    witness: str = Field(
        ".tidings/witness.json",
        min_length=1,
        description="A file that is not restored with the ledger: it knows what was sent last",
    )

    @model_validator(mode="after")
    def _lease_outlasts(self) -> Self:
        if self.lease <= self.timeout + self.margin:
            raise ValueError("lease: must be longer than timeout and margin together")
        return self


class Measure(Section):
    """How results are counted."""

    window: PositiveDuration = Field(
        timedelta(days=14), description="What a person spends so long after the message counts"
    )
    currency: words.Currency | None = Field(None, description="The report's currency; the brand's when left out")
    restate: PositiveDuration = Field(
        timedelta(days=30), description="Refunds and late orders so far back are taken up"
    )


class Settings(Section):
    """The shop: everything that holds for all campaigns."""

    shop: words.Name = Field(description="The shop's id; part of every key, so it never changes")
    production: bool = Field(False, description="Until true, only allow_list and the sandbox are written to")
    brand: Brand = Field(description="Who writes")
    public_url: words.WebAddress = Field(
        "http://127.0.0.1:8090",
        description="Where people and providers reach `tidings web`: links, unsubscribe, webhooks",
    )
    ledger: Database | None = Field(None, description="The ledger; .tidings/ledger.sqlite when left out")
    warehouse: Database | None = Field(None, description="The warehouse; what warehouse.yaml names when left out")
    senders: Senders = Field(default_factory=Senders, description="Who messages come from")
    providers: Providers = Field(default_factory=Providers, description="How messages leave")
    allow_list: tuple[words.Recipient, ...] = Field((), description="Who may be written to before production")
    quiet_hours: QuietHours = Field(default_factory=QuietHours, description="The customer's night")
    caps: tuple[CapRule, ...] = Field(
        default_factory=default_caps, description="How often one person may be written to"
    )
    arbitration_window: Duration = Field(
        timedelta(minutes=10),
        description="Messages to one person due so close together compete; the best priority wins",
    )
    consent: Consent = Field(default_factory=Consent, description="Which permission a message needs")
    defaults: CampaignDefaults = Field(default_factory=CampaignDefaults, description="For campaigns that do not say")
    dispatch: Dispatch = Field(default_factory=Dispatch, description="How messages leave")
    brakes: Brakes = Field(default_factory=Brakes, description="What stops sending by itself")
    measure: Measure = Field(default_factory=Measure, description="How results are counted")
    retention: Retention = Field(default_factory=Retention, description="How long the ledger keeps what")
    web: Web = Field(default_factory=Web, description="The public web service")
    replies: Replies = Field(default_factory=Replies, description="What incoming texts are answered")
    opt_out_webhook: OptOutWebhook | None = Field(None, description="Who else is told of opt-outs and opt-ins")
    utm_source: str = Field("tidings", pattern=r"^[\w.-]+$", description="utm_source of every link")

    @model_validator(mode="after")
    def _fit_for_production(self) -> Self:
        shown = words.found(self.public_url)
        if self.production and is_local(self.public_url):
            raise ValueError(f"public_url: must be reachable from outside in production; found {shown}")
        if self.production and not self.public_url.startswith("https://"):
            raise ValueError(f"public_url: must start with https:// in production; found {shown}")
        return self

    @property
    def currency(self) -> str:
        """The currency reports lead with."""
        return self.measure.currency or self.brand.currency


def is_local(url: str) -> bool:
    """Return whether the address stays on this machine or its private network of containers (no dot in the name)."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return "." not in host or host.endswith(".localhost")
