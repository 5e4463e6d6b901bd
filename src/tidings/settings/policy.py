"""When, how often and with whose permission people are written to, and what a campaign gets credit for."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tidings.fields import ClockTime, Duration, PositiveDuration, Share
from tidings.model.people import Channel, Purpose
from tidings.settings import words
from tidings.settings.words import Section

# Individual click tracking needs a consent of its own here (ePrivacy Art. 5(3), EDPB Guidelines 2/2023):
# the European Union, the European Economic Area, the United Kingdom and Switzerland.
TRACKING_NEEDS_CONSENT = (
    "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE", "IT", "LV", "LT", "LU",
    "MT", "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE", "IS", "LI", "NO", "GB", "CH",
)  # fmt: skip

_LONGEST_WINDOW = timedelta(days=90)


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


def default_caps() -> tuple[CapRule, ...]:
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


class RateBrake(Section):
    """From which rate somebody is told, and from which marketing stops."""

    warn: Share
    stop: Share
    over: PositiveDuration
    at_least: int

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 < self.warn <= self.stop:
            raise ValueError("warn: must be above 0% and not above stop")
        return self


class ComplaintBrake(RateBrake):
    """Complaints. Google asks to stay below 0.1% and never to reach 0.3%."""

    warn: Share = Field(Fraction(1, 1000), description="From this rate on, an alert once a day")
    # Below Google's 0.3 %, so that there is room for what is under way.
    stop: Share = Field(Fraction(2, 1000), description="From this rate on, marketing stops until a person lets it go")
    over: PositiveDuration = Field(timedelta(days=28), description="What was sent so long ago still counts")
    at_least: int = Field(1000, ge=1, description="Below so many delivered messages a rate says nothing")


class BounceBrake(RateBrake):
    """Hard bounces."""

    warn: Share = Field(Fraction(2, 100), description="From this rate on, an alert once a day")
    stop: Share = Field(Fraction(5, 100), description="From this rate on, marketing stops until a person lets it go")
    over: PositiveDuration = Field(timedelta(days=7), description="What was sent so long ago still counts")
    at_least: int = Field(200, ge=1, description="Below so many delivered or bounced messages a rate says nothing")


class Brakes(Section):
    """What stops sending by itself, per campaign, per channel and per receiving mailbox provider.

    Never on fewer than three complaints or bounces. After a person has let go, counting begins anew.
    """

    complaints: ComplaintBrake = Field(
        default_factory=ComplaintBrake, description="Complaints of those delivered, where the mailbox tells of them"
    )
    bounces: BounceBrake = Field(default_factory=BounceBrake, description="Hard bounces of those delivered or bounced")
    look_every: PositiveDuration = Field(timedelta(minutes=5), description="How often dispatch counts the rates")
    probe_after: PositiveDuration = Field(
        timedelta(minutes=15),
        description="A provider that stopped by itself is tried with one message after this wait, or with a new key",
    )


class WarmUp(Section):
    """A new sender's first days: so many messages on the first day (UTC), more each day, then no limit."""

    start: date = Field(description="The first day, such as 2026-03-02; nothing leaves before it")
    first_day: int = Field(500, ge=1, description="At most so many messages on the first day")
    growth: float = Field(1.5, gt=1, le=3, description="Times as many on each day that follows")
    until: int = Field(100_000, ge=1, description="A day that would allow so many has no limit any more")
