"""How long what nobody needs any more is kept. What protects people (opt-outs, erasures) is kept without limit."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, field_validator

from tidings.fields import PositiveDuration, written
from tidings.settings.words import Section

_LINKS_WORK = timedelta(days=730)
_REDELIVERED = timedelta(days=3)


class Retention(Section):
    """How long the ledger keeps what; `tidings retain` and the DAG retention take out what is older, every night.

    Suppressions, consents, opt-outs and erasures have no limit: a text's opt-out must be honoured for ten years and
    more, and who was forgotten must stay so. Nothing that a report counts is taken out.
    """

    raw_events: PositiveDuration = Field(timedelta(days=90), description="Provider events as they came")
    unmatched_events: PositiveDuration = Field(timedelta(days=90), description="Events about no message of ours")
    runs: PositiveDuration = Field(timedelta(days=90), description="Runs of dispatch; those of planning stay")
    contacts: PositiveDuration = Field(
        timedelta(days=90), description="When whom was written to, for caps; never below the longest cap"
    )
    message_detail: PositiveDuration = Field(
        timedelta(days=760),
        description="What a person had looked at, the address's hash and provider's id of a message; at least 730d, "
        "for its links work as long",
    )
    receipts: PositiveDuration = Field(
        timedelta(days=1125), description="Evidence of messages, with the chain's links; three years and a month"
    )

    @field_validator("message_detail", "receipts")
    @classmethod
    def _links_work(cls, value: timedelta) -> timedelta:
        if value < _LINKS_WORK:
            raise ValueError(f'must be at least "730d", as unsubscribe links work so long; found "{written(value)}"')
        return value

    @field_validator("raw_events", "unmatched_events")
    @classmethod
    def _redelivered(cls, value: timedelta) -> timedelta:
        if value < _REDELIVERED:
            raise ValueError(f'must be at least "3d", as providers repeat events; found "{written(value)}"')
        return value
