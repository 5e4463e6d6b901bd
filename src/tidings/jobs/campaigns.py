"""A campaign's file with the shop's defaults, as the pure decisions want it."""

from __future__ import annotations

import secrets

from tidings.definitions import Campaign
from tidings.model.message import Space
from tidings.model.people import Channel
from tidings.plan.caps import Cap
from tidings.plan.planner import CampaignPlan, PlanStep
from tidings.plan.timing import QuietHours, SendWindow
from tidings.settings import Settings


def campaign_plan(campaign: Campaign, settings: Settings, pepper: bytes, space: Space) -> CampaignPlan:
    """Return the campaign as the planner sees it. The salt is the shop and the campaign's immutable id."""
    return CampaignPlan(
        campaign=campaign.id,
        steps=tuple(
            PlanStep(
                name=step.name,
                no=number,
                after=step.after,
                channel=step.channel,
                template=step.template,
                expires_after=step.lasts,
                min_gap=campaign.min_gap if step.min_gap is None else step.min_gap,
                templates=step.templates,
                transactional=step.transactional,
            )
            for number, step in enumerate(campaign.steps)
        ),
        cooldown=campaign.cooldown,
        salt=f"{settings.shop}|{campaign.id}",
        pepper=pepper,
        brand_zone=settings.brand.zone,
        brand_country=settings.brand.country,
        holdout=campaign.holdout,
        variants=campaign.variants,
        priority=campaign.priority,
        quiet=quiet_hours(settings),
        window=send_window(campaign),
        shards=settings.dispatch.shards,
        space=space,
    )


def quiet_hours(settings: Settings) -> dict[Channel, QuietHours]:
    """Return the shop's quiet hours per channel."""
    said = {Channel.EMAIL: settings.quiet_hours.email, Channel.SMS: settings.quiet_hours.sms}
    return {channel: QuietHours(hours.start, hours.end) for channel, hours in said.items() if hours is not None}


def send_window(campaign: Campaign) -> SendWindow | None:
    """Return the campaign's own hours, if it has any."""
    return SendWindow(campaign.send_window.start, campaign.send_window.end) if campaign.send_window else None


def caps(settings: Settings) -> tuple[Cap, ...]:
    """Return the frequency caps that hold over all campaigns."""
    return tuple(Cap(rule.at_most, rule.per, rule.channel) for rule in settings.caps)


def new_id() -> str:
    """Return a random id of 96 bits in 16 characters: all that leaves of a message, and short enough for a text."""
    while (made := secrets.token_urlsafe(12)).startswith("-"):
        pass  # a command would take it for an option
    return made
