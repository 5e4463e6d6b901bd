"""A project's files as values, and every mistake in them at once, each in one line."""

from tidings.definitions.campaign import Campaign, Step
from tidings.definitions.mistakes import Mistake
from tidings.definitions.project import Project, load, load_campaign, load_settings

__all__ = ["Campaign", "Mistake", "Project", "Step", "load", "load_campaign", "load_settings"]
