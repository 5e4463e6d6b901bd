"""tidings.yaml, validated once: whoever reads a value here may rely on it."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tidings.content.brand import DARK, LIGHT, BrandView
from tidings.fields import Amounts, ClockTime, Duration, PositiveDuration, Share
from tidings.model.people import Channel, Purpose
from tidings.settings import words

# Individual click tracking needs a consent of its own here (ePrivacy Art. 5(3), EDPB Guidelines 2/2023):
# the European Union, the European Economic Area, the United Kingdom and Switzerland.
TRACKING_NEEDS_CONSENT = (
    "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE", "IT", "LV", "LT", "LU",
    "MT", "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE", "IS", "LI", "NO", "GB", "CH",
)  # fmt: skip

_LONGEST_WINDOW = timedelta(days=90)


class Section(BaseModel):
    """A group of keys: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)


class Palette(Section):
    """Colours of the e-mails, in place of the default look."""

    canvas: words.Colour | None = Field(None, description="Behind the paper")
    paper: words.Colour | None = Field(None, description="Behind the text")
    text: words.Colour | None = Field(None, description="Headings and sentences")
    muted: words.Colour | None = Field(None, description="Notes and the footer")
    line: words.Colour | None = Field(None, description="Rules between parts")
    button: words.Colour | None = Field(None, description="The button")
    button_text: words.Colour | None = Field(None, description="The words on the button")


class Colours(Section):
    """The palette in light and in dark mail programs."""

    light: Palette = Field(default_factory=Palette, description="In light mail programs")
    dark: Palette = Field(default_factory=Palette, description="In dark mail programs")
    image_box: words.Colour = Field("#E6E0D5", description="Behind a picture until it is loaded")
    image_alt: words.Colour = Field("#4A463F", description="A picture's words when it is not shown")


class Brand(Section):
    """Who writes: what every message says about the sender."""

    name: Annotated[str, Field(min_length=1, max_length=60)] = Field(description="The name people know")
    legal_name: Annotated[str, Field(min_length=1)] = Field(description="The company, as the footer states it")
    postal_address: Annotated[str, Field(min_length=5)] = Field(
        description="A real postal address; the law asks for it"
    )
    url: words.WebAddress = Field(description="The shop's front page")
    zone: words.Zone = Field(description="The shop's time zone; reports and unknown customers use it")
    currency: words.Currency = Field(description="The shop's own currency")
    locale: words.Locale = Field("en", description="How money and dates are written when a customer has no locale")
    country: words.Country = Field(description="Where the shop is; used when a customer has no country")
    colours: Colours = Field(default_factory=Colours, description="Colours in place of the default look")
    logo: words.WebAddress | None = Field(None, description="A picture in place of the word mark")
    delivery: str = Field("", description='One line, such as "Delivered in 2 to 4 working days."')
    returns: str = Field("", description='One line, such as "Free returns within 30 days."')
    questions: str = Field("", description="One line on where to ask; for e-mail, left out when nobody answers")
    replies_read: bool = Field(False, description='Whether replies are read; then questions is "Reply to this e-mail."')
    cart_url: words.WebAddress | None = Field(None, description="Where a cart's button leads; else the front page")
    new_url: words.WebAddress | None = Field(None, description="Where new things are shown; else the front page")
    free_delivery_from: Amounts = Field(default_factory=dict, description="Orders from here on are delivered free")
    sms_opt_out: Annotated[str, Field(min_length=3, max_length=60)] = Field(
        "Reply STOP to opt out", description="Ends every text"
    )

    def view(self) -> BrandView:
        """Return the brand as templates see it."""
        return BrandView(
            name=self.name,
            legal_name=self.legal_name,
            postal_address=self.postal_address,
            url=self.url,
            cart_url=self.cart_url or self.url,
            new_url=self.new_url or self.url,
            delivery=self.delivery,
            returns=self.returns,
            questions=self.questions or ("Reply to this e-mail." if self.replies_read else ""),
            sms_opt_out=self.sms_opt_out,
            language=self.locale,
            country=self.country,
            zone=self.zone,
            free_delivery_from=self.free_delivery_from,
            light=replace(LIGHT, **self.colours.light.model_dump(exclude_none=True)),
            dark=replace(DARK, **self.colours.dark.model_dump(exclude_none=True)),
            image_box=self.colours.image_box,
            image_alt=self.colours.image_alt,
        )


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


class SmsSender(Section):
    """The number or messaging service that texts come from."""

    number: words.Phone | None = Field(
        None, alias="from", description='A phone number in quotes such as "+15551230000"'
    )
    messaging_service: str | None = Field(None, description="The id of a messaging service, in place of a number")

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


class ClockRange(Section):
    """From one clock time to another, past midnight when it ends before it starts."""

    start: ClockTime = Field(alias="from", description='A clock time such as "21:00"')
    end: ClockTime = Field(alias="to", description='A clock time such as "08:00"')

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.start == self.end:
            raise ValueError(f'must start and end at different times; found "{self.start:%H:%M}" twice')
        return self


class QuietRange(ClockRange):
    """The customer's night: nothing leaves from ``from`` until ``to``, by the customer's own clock."""


class SendWindow(ClockRange):
    """The campaign's hours: messages leave only from ``from`` until ``to``, by the customer's own clock."""


def _night() -> QuietRange:
    return QuietRange.model_validate({"from": "21:00", "to": "08:00"})


class QuietHours(Section):
    """The customer's night, per channel. What the law asks for on top is built in."""

    email: QuietRange | None = Field(default_factory=_night, description="For e-mail; null for none")
    sms: QuietRange = Field(default_factory=_night, description="For texts")


class CapRule(Section):
    """At most so many messages to one person in any stretch of this length, over all campaigns."""

    at_most: int = Field(ge=1, le=1000, description="So many messages")
    per: PositiveDuration = Field(description='In any stretch of this length, such as "7d"')
    channel: Channel | None = Field(None, description="On this channel; on all together when left out")


def _caps() -> tuple[CapRule, ...]:
    return (
        CapRule(at_most=1, per=timedelta(hours=16), channel=Channel.EMAIL),
        CapRule(at_most=1, per=timedelta(hours=24), channel=Channel.SMS),
        CapRule(at_most=4, per=timedelta(days=7)),
    )


class TouchWindows(Section):
    """How long after a touch an order may still be credited to it."""

    click: PositiveDuration | None = Field(timedelta(days=5), description="After a click by a person; null for never")
    delivered: PositiveDuration | None = Field(None, description="After delivery without a click; null for never")

    @model_validator(mode="after")
    def _sane(self) -> Self:
        for name in ("click", "delivered"):
            window: timedelta | None = getattr(self, name)
            if window is not None and window > _LONGEST_WINDOW:
                raise ValueError(f'{name}: must be at most "90d"; found "{window.days}d"')
        if self.delivered is not None and self.click is not None and self.delivered > self.click:
            raise ValueError("delivered: must not be longer than click, since a delivery says less")
        return self


class ChannelWindows(Section):
    """The attribution windows of each channel."""

    email: TouchWindows = Field(default_factory=TouchWindows, description="For e-mail")
    sms: TouchWindows = Field(
        default_factory=lambda: TouchWindows(delivered=timedelta(hours=24)), description="For texts"
    )


class Attribution(Section):
    """Which touch an order is credited to."""

    model: Literal["last_touch"] = Field("last_touch", description="The last touch before the order takes all of it")
    window: ChannelWindows = Field(default_factory=ChannelWindows, description="How long a touch counts")


class CampaignDefaults(Section):
    """What holds for every campaign that does not say otherwise in its own file."""

    exit_on: tuple[Literal["order"], ...] = Field(("order",), description="What ends a series early: order")
    cooldown: PositiveDuration = Field(timedelta(days=7), description="Wait before the same person may enter again")
    send_window: SendWindow | None = Field(None, description="The campaign's hours; null for none")
    min_gap: Duration = Field(timedelta(hours=12), description="Wait after the step before was sent")
    expires_after: PositiveDuration = Field(timedelta(days=2), description="After this a due message is dropped")
    priority: int = Field(50, ge=0, le=1000, description="Who wins when two campaigns write at once: the lower number")
    holdout: Share = Field(Fraction(1, 10), description="The share that gets nothing, for comparison; below 100%")
    attribution: Attribution = Field(default_factory=Attribution, description="Which orders are credited")
    max_initial_audience: int = Field(
        5000,
        ge=0,
        description="A first live run, or one after a change of detect, stops above this for `tidings approve`",
    )

    @field_validator("holdout")
    @classmethod
    def _someone_gets_it(cls, value: Fraction) -> Fraction:
        if value >= 1:
            raise ValueError('must be a share below 100%; found "100%"')
        return value


class Consent(Section):
    """Which permission a message needs. Unknown means no."""

    email: tuple[str, ...] = Field(
        (Purpose.MARKETING.value,), min_length=1, description="Purposes for e-mail; one is enough"
    )
    sms: tuple[str, ...] = Field(
        (Purpose.MARKETING.value,), min_length=1, description="Purposes for texts; one is enough"
    )
    click_tracking_needs_consent: tuple[words.Country, ...] = Field(
        TRACKING_NEEDS_CONSENT, description="Countries where links are plain for people who did not agree to tracking"
    )
    soft_opt_in: tuple[words.Country, ...] = Field(
        (), description="Countries where a buyer may get e-mail about similar goods without an opt-in; ask a lawyer"
    )


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
    attempts: int = Field(5, ge=1, le=20, description="Offers of one message that the provider did not take")
    halt_after: int = Field(5, ge=1, description="So many ambiguous answers in a row stop the provider")
    presume_lost_after: PositiveDuration = Field(
        timedelta(days=3), description="Until an unknown message counts as lost"
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
    senders: Senders = Field(default_factory=Senders, description="Who messages come from")
    providers: Providers = Field(default_factory=Providers, description="How messages leave")
    allow_list: tuple[words.Recipient, ...] = Field((), description="Who may be written to before production")
    quiet_hours: QuietHours = Field(default_factory=QuietHours, description="The customer's night")
    caps: tuple[CapRule, ...] = Field(default_factory=_caps, description="How often one person may be written to")
    arbitration_window: Duration = Field(
        timedelta(minutes=10),
        description="Messages to one person due so close together compete; the best priority wins",
    )
    consent: Consent = Field(default_factory=Consent, description="Which permission a message needs")
    defaults: CampaignDefaults = Field(default_factory=CampaignDefaults, description="For campaigns that do not say")
    dispatch: Dispatch = Field(default_factory=Dispatch, description="How messages leave")
    measure: Measure = Field(default_factory=Measure, description="How results are counted")
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
