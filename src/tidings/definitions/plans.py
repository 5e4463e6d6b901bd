"""A campaign as the planner takes it: the file's words and the shop's, together as frozen facts."""

from __future__ import annotations

from tidings.definitions.campaign import Campaign
from tidings.model.message import Space
from tidings.model.people import Channel
from tidings.plan.planner import CampaignPlan, PlanStep
from tidings.plan.timing import QuietHours, SendWindow
from tidings.settings.shop import Settings


def plan_of(campaign: Campaign, shop: Settings, *, pepper: bytes, space: Space) -> CampaignPlan:
    """Return what the planner needs of a campaign and its shop. The salt is made of ids that never change."""
    night = {Channel.EMAIL: shop.quiet_hours.email, Channel.SMS: shop.quiet_hours.sms}
    window = campaign.send_window
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
                transactional=step.message_class == "transactional",
            )
            for number, step in enumerate(campaign.steps)
        ),
        cooldown=campaign.cooldown,
        salt=f"{shop.shop}|{campaign.id}",
        pepper=pepper,
        brand_zone=shop.brand.zone,
        brand_country=shop.brand.country,
        holdout=campaign.holdout,
        variants=campaign.variants,
        priority=campaign.priority,
        quiet={channel: QuietHours(hours.start, hours.end) for channel, hours in night.items() if hours is not None},
        window=SendWindow(window.start, window.end) if window is not None else None,
        shards=shop.dispatch.shards,
        space=space,
    )
