"""What one file cannot know alone: templates, senders, tables and ids that several files must agree on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import time
from pathlib import Path
from typing import TYPE_CHECKING

from tidings.definitions.campaign import Campaign, Step
from tidings.definitions.mistakes import Mistake, Place, nearest
from tidings.definitions.source import Source
from tidings.model.people import Channel
from tidings.settings.policy import ClockRange
from tidings.settings.shop import Settings
from tidings.settings.words import found

if TYPE_CHECKING:
    from tidings.warehouse.mapping import Mapping

ENDINGS = {Channel.EMAIL: ".mjml", Channel.SMS: ".sms"}


def campaign(
    one: Campaign, read: Source, templates: Path, shop: Settings | None, warehouse: Mapping | None
) -> list[Mistake]:
    """Return what is wrong with a campaign in the light of the other files."""
    mistakes = [*_templates(one, read, templates)]
    if shop is not None:
        mistakes += _channels(one, read, shop)
    if warehouse is not None:
        mistakes += _tables(one, read, warehouse)
    return mistakes


def ids(campaigns: Sequence[tuple[Campaign, Source]]) -> list[Mistake]:
    """Return a mistake for every campaign whose id is another's. The one whose file bears the id keeps it."""
    by_id: dict[str, list[tuple[Campaign, Source]]] = defaultdict(list)
    for pair in campaigns:
        by_id[pair[0].id].append(pair)
    mistakes = []
    for name, same in by_id.items():
        owners = [read for one, read in same if one.name == name]
        for _, read in same:
            others = [other for _, other in same if other is not read]
            if others and owners != [read]:
                shown = f"{found(name)} in {others[0].file} too"
                mistakes.append(Mistake(read.file, "id", read.line(("id",)), "must be this campaign's own", shown))
    return mistakes


def _templates(one: Campaign, read: Source, folder: Path) -> Iterator[Mistake]:
    for number, step in enumerate(one.steps):
        there = {
            path.relative_to(folder).with_suffix("").as_posix()
            for path in folder.glob(f"**/*{ENDINGS[step.channel]}")
            if not path.relative_to(folder).parts[0].startswith("_")
        }
        named: list[tuple[Place, str]] = [(("template",), step.template)]
        named += [(("templates", variant), name) for variant, name in step.templates.items()]
        for key, name in named:
            if name not in there:
                place: Place = ("steps", number, *key)
                rule = f"must be a {ENDINGS[step.channel]} file in {folder.name}/"
                dotted = ".".join(str(part) for part in place)
                yield Mistake(read.file, dotted, read.line(place), rule, found(name), nearest(name, there))


def _channels(one: Campaign, read: Source, shop: Settings) -> Iterator[Mistake]:
    for number, step in enumerate(one.steps):
        if getattr(shop.senders, step.channel.value) is None:
            line = read.line(("steps", number, "channel"))
            rule = f"must have a sender: senders.{step.channel.value} in tidings.yaml"
            yield Mistake(read.file, f"steps.{number}.channel", line, rule, "none")
        elif not _has_time(one, step, shop):
            line = read.line(("send_window",))
            rule = f"must leave time outside quiet_hours.{step.channel.value} of tidings.yaml"
            yield Mistake(read.file, "send_window", line, rule, "none")


def _has_time(one: Campaign, step: Step, shop: Settings) -> bool:
    quiet: ClockRange | None = getattr(shop.quiet_hours, step.channel.value)
    if one.send_window is None or quiet is None:
        return True
    minutes = (time(minute // 60, minute % 60) for minute in range(24 * 60))
    return any(_covers(one.send_window, minute) and not _covers(quiet, minute) for minute in minutes)


def _covers(hours: ClockRange, at: time) -> bool:
    if hours.start < hours.end:
        return hours.start <= at < hours.end
    return at >= hours.start or at < hours.end


def _tables(one: Campaign, read: Source, warehouse: Mapping) -> Iterator[Mistake]:
    mapped = warehouse.mapped()
    for name, table, columns in one.detect.needed():
        field, line = f"detect.{name}", read.line(("detect", name))
        if table not in mapped:
            rule = f"needs table {table} in warehouse.yaml"
            yield Mistake(read.file, field, line, rule, "no such table there")
            continue
        # A table that is mapped without columns bears our names already; only the warehouse can tell which.
        given = mapped[table].given(table)
        for column in columns if given is not None else ():
            if given is not None and column not in given:
                rule = f"needs column {table}.{column} in warehouse.yaml"
                yield Mistake(read.file, field, line, rule, "no such column there")
