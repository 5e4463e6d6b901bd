"""A campaign: a file in triggers/, validated once; what it does not say comes from the shop's defaults."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from tidings.detect.base import Trigger
from tidings.fields import Duration, PositiveDuration, Share, written
from tidings.model.people import Channel
from tidings.settings import words
from tidings.settings.policy import CampaignDefaults
from tidings.settings.words import Section

_CRON_ALIASES = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}
_TEMPLATE = r"^[A-Za-z0-9][\w-]*(/[A-Za-z0-9][\w-]*)*$"

TemplateName = Annotated[str, Field(pattern=_TEMPLATE, max_length=190)]


class Step(Section):
    """One message of a campaign's series."""

    name: words.Name = Field(description="Part of every key, so it never changes")
    after: Duration = Field(
        timedelta(0), description="Wait after the entry is due; for every step from the same moment"
    )
    channel: Channel = Field(description="email or sms")
    template: TemplateName = Field(description="A file in message_templates/, without its ending")
    templates: dict[str, TemplateName] = Field(
        default_factory=dict, description="Another template for a variant, by its name"
    )
    expires_after: PositiveDuration | None = Field(
        None, description="Dropped so long after its first moment; else the campaign's"
    )
    min_gap: Duration | None = Field(None, description="Wait after the step before was sent; else the campaign's")
    message_class: Literal["marketing", "transactional"] = Field(
        "marketing", description="transactional: part of an order, no marketing consent or cap needed; ask a lawyer"
    )
    purposes: tuple[str, ...] = Field(
        (), description="Permissions of which one is enough; else the shop's for the channel"
    )

    def template_for(self, variant: str) -> str:
        """Return the template for an arm of a content test."""
        return self.templates.get(variant, self.template)

    @property
    def transactional(self) -> bool:
        """Whether it is part of an order, and needs no permission."""
        return self.message_class == "transactional"

    @property
    def lasts(self) -> timedelta:
        """How long after its first moment the message may still leave."""
        if self.expires_after is None:
            raise AssertionError("a campaign gives its steps their expiry")
        return self.expires_after


class CampaignWords(CampaignDefaults):
    """Everything a campaign says but ``detect``, which its trigger type reads."""

    id: words.Name = Field(description="Part of every key, so it never changes")
    name: str = Field("", exclude=True, description="The file's name without its ending; never written in it")
    title: Annotated[str, Field(max_length=80)] = Field(
        "", description="As reports call it; else made from the file's name"
    )
    description: str = Field("", description="What it is for, shown in Airflow")
    owner: str = Field("crm", min_length=1, description="Who answers for it, shown in Airflow")
    tags: tuple[str, ...] = Field((), description="Shown in Airflow")
    mode: Literal["dry_run", "live", "paused"] = Field("dry_run", description="dry_run plans and sends nothing")
    schedule: str = Field(description='When to look, in cron\'s words and UTC, such as "*/15 * * * *"')
    steps: tuple[Step, ...] = Field(min_length=1, max_length=10, description="The messages, in order")
    variants: dict[words.Name, Share] = Field(
        default_factory=dict, description="Arms of a content test and their shares; together at most 100%"
    )
    delivery_semantics: Literal["at_most_once", "at_least_once"] = Field(
        "at_most_once",
        description="When the provider's answer was lost: at_most_once never sends again; at_least_once sends once "
        "more, perhaps twice to the same person; for transactional steps only",
    )
    caps_exempt: bool = Field(False, description="Whether caps do not count; for transactional steps only")

    @field_validator("schedule")
    @classmethod
    def _cron(cls, value: str) -> str:
        from croniter import croniter

        if not croniter.is_valid(_CRON_ALIASES.get(value, value)) or len(_CRON_ALIASES.get(value, value).split()) != 5:
            raise ValueError(f'must be a cron schedule such as "*/15 * * * *"; found {words.found(value)}')
        return value

    @field_validator("variants")
    @classmethod
    def _at_most_all(cls, value: dict[str, Fraction]) -> dict[str, Fraction]:
        total = sum(value.values(), Fraction(0))
        if total > 1:
            raise ValueError(f'must add up to at most 100%; found "{float(total * 100):g}%"')
        return value

    @field_validator("steps")
    @classmethod
    def _in_order(cls, value: tuple[Step, ...]) -> tuple[Step, ...]:
        names = [step.name for step in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"must have names of their own; found {words.found(name)} twice")
        for earlier, later in pairwise(value):
            if later.after < earlier.after:
                raise ValueError(
                    f'must be in order of after; found "{written(later.after)}" ({later.name}) '
                    f'behind "{written(earlier.after)}" ({earlier.name})'
                )
        return value

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        for number, step in enumerate(self.steps):
            for variant in step.templates:
                if variant not in self.variants:
                    raise ValueError(f"steps.{number}.templates: must name variants; found {words.found(variant)}")
        if self.caps_exempt and not all(step.transactional for step in self.steps):
            raise ValueError("caps_exempt: must be false for marketing steps; found a marketing step")
        if self.delivery_semantics == "at_least_once":
            for step in self.steps:
                if not step.transactional:
                    rule = "delivery_semantics: must be at_most_once unless every step is transactional"
                    raise ValueError(f"{rule}; found the marketing step {words.found(step.name)}")
        return self


class Campaign(CampaignWords):
    """One campaign. ``name`` is the file's; ``id`` is part of every key and stays when the file is renamed."""

    detect: SerializeAsAny[Trigger] = Field(description="The trigger type and its parameters")

    def templates(self) -> set[tuple[Channel, str]]:
        """Return every template the campaign may use, with its channel."""
        return {(step.channel, name) for step in self.steps for name in (step.template, *step.templates.values())}

    def step(self, name: str) -> Step | None:
        """Return the step of that name."""
        for step in self.steps:
            if step.name == name:
                return step
        return None

    def detect_hash(self) -> str:
        """Return a digest of who the campaign is about; a change asks for a new approval of its audience."""
        said: dict[str, Any] = self.detect.model_dump(mode="json")
        return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
