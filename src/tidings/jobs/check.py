"""Every mistake at once: in the files, between the files, in the templates, and against the real warehouse."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tidings.content import lint
from tidings.content.templates import Library
from tidings.definitions import Campaign, Mistake, Project, load
from tidings.definitions.project import SHOP_FILE, WAREHOUSE_FILE
from tidings.errors import TidingsError
from tidings.jobs.opening import Opened
from tidings.model.people import Channel
from tidings.settings import Connections, EnvConnections, is_local
from tidings.warehouse.tables import Tables

TEMPLATES = "message_templates"
_ENDINGS = {Channel.EMAIL: ".mjml", Channel.SMS: ".sms"}
_PLACE = re.compile(r"^(?P<file>[^:\s]+?)(?::(?P<line>\d+))?: (?P<what>.*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """One file: its mistakes; for a campaign also the tables it needs and those that would sharpen it."""

    file: str
    problems: tuple[Mistake, ...] = ()
    needs: tuple[str, ...] = ()
    better_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Something that was connected to, and what is wrong with it, if anything."""

    name: str
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What `tidings check` found. ``ready`` and ``stopped`` are campaigns; ``notes`` are worth knowing, not wrong."""

    files: tuple[CheckedFile, ...]
    places: tuple[Place, ...]
    ready: tuple[str, ...]
    stopped: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def problems(self) -> int:
        """How many mistakes there are."""
        return sum(len(one.problems) for one in self.files) + sum(1 for place in self.places if place.trouble)


def run(folder: Path, connections: Connections | None = None, *, live: bool = False) -> Checked:
    """Check a project folder; ``live`` also connects to ledger, warehouse and providers. Never raises for mistakes."""
    project = load(folder)
    opened = Opened(project, connections or EnvConnections())
    found = list(project.mistakes)
    stopping: dict[str, set[str]] = defaultdict(set)
    places: list[Place] = []
    notes: list[str] = []
    try:
        found += _templates(project, stopping)
        tables = _warehouse(opened, found, places, notes, live=live)
        if tables is not None:
            found += _columns(project, tables)
        if live:
            places += _live(opened)
    finally:
        opened.close()
    notes += _reach(project)
    return _sorted(project, found, stopping, places, notes)


def _templates(project: Project, stopping: Mapping[str, set[str]]) -> list[Mistake]:
    """Return what is wrong with the templates, and note which campaigns each of them stops."""
    if project.shop is None or not (project.folder / TEMPLATES).is_dir():
        return []
    library = Library(project.folder / TEMPLATES, project.shop.brand.view())
    users: dict[tuple[str, Channel], set[str]] = defaultdict(set)
    for campaign in project.campaigns.values():
        for channel, name in campaign.templates():
            users[(name, channel)].add(campaign.name)
    found: dict[Mistake, None] = {}
    for name, channel in library.names():
        file = f"{TEMPLATES}/{name}{_ENDINGS[channel]}"
        for problem in lint.problems(library, name, channel):
            mistake = _located(str(problem), file)
            found[mistake] = None
            stopping[mistake.file] |= users[(name, channel)]
    return list(found)


def _located(text: str, file: str) -> Mistake:
    """Return a problem told as "file:line: what" as a mistake."""
    place = _PLACE.match(text)
    if place is None or not place["file"].endswith((".mjml", ".sms")):
        return Mistake(file, "", None, text)
    where = place["file"] if place["file"].startswith(TEMPLATES) else f"{TEMPLATES}/{place['file']}"
    return Mistake(where, "", int(place["line"]) if place["line"] else None, place["what"])


def _warehouse(
    opened: Opened, found: list[Mistake], places: list[Place], notes: list[str], *, live: bool
) -> Tables | None:
    """Hold the mapping against the real tables; a warehouse out of reach is a mistake only when asked for."""
    if opened.project.warehouse is None or opened.project.shop is None:
        return None
    try:
        found += [
            Mistake(WAREHOUSE_FILE, problem.place, None, problem.rule, problem.found)
            for problem in opened.shop.describe()
        ]
        tables = opened.shop.tables
    except TidingsError as trouble:
        if live:
            places.append(Place("warehouse", str(trouble)))
        else:
            notes.append(f"not held against the real tables: {trouble}")
        return None
    if live:
        places.append(Place("warehouse"))
    return tables


def _columns(project: Project, tables: Tables) -> list[Mistake]:
    """Return the columns that campaigns need of tables that bear our names already, and that do not have them."""
    found = []
    for campaign in project.campaigns.values():
        file = _file_of(project, campaign)
        for table, columns in campaign.detect.requires.items():
            for column in columns:
                if tables.has(table) and not tables.has(table, column):
                    rule = f"needs column {table}.{column} in the warehouse"
                    found.append(Mistake(file, "detect.type", None, rule, "no such column there"))
    return found


def _live(opened: Opened) -> list[Place]:
    def ledger() -> None:
        opened.ledger.check()

    def secrets() -> None:
        _ = opened.secrets

    tried: list[tuple[str, Callable[[], object]]] = [("ledger", ledger), ("secrets", secrets)]
    if opened.project.shop is not None:
        for channel in Channel:
            choice = getattr(opened.settings.providers, channel.value)
            tried.append((f"{channel.value} by {choice.name}", lambda channel=channel: _reachable(opened, channel)))
    return [_tried(name, attempt) for name, attempt in tried]


def _tried(name: str, attempt: Callable[[], object]) -> Place:
    try:
        attempt()
    except TidingsError as trouble:
        return Place(name, str(trouble))
    except OSError as trouble:
        return Place(name, f"must answer; found {trouble.strerror or type(trouble).__name__}")
    return Place(name)


def _reachable(opened: Opened, channel: Channel) -> None:
    """Ask the provider's door, without sending anything and without using the key."""
    import asyncio

    provider = opened.provider(channel)
    asyncio.run(provider.close())
    base_url = getattr(opened.settings.providers, channel.value).base_url
    if base_url is not None:
        import socket
        from urllib.parse import urlsplit

        parts = urlsplit(base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=3).close()


def _reach(project: Project) -> list[str]:
    """Return whom a shop that is not in production can write to."""
    shop = project.shop
    if shop is None or shop.production:
        return []
    choices = (shop.providers.email, shop.providers.sms)
    if all(choice.name == "outbox" or (choice.base_url and is_local(choice.base_url)) for choice in choices):
        return ["not in production: messages go to the outbox or the sandbox only"]
    return [f"not in production: only the {len(shop.allow_list)} addresses and domains on allow_list are written to"]


def _sorted(
    project: Project,
    found: list[Mistake],
    stopping: Mapping[str, set[str]],
    places: list[Place],
    notes: list[str],
) -> Checked:
    by_file: dict[str, list[Mistake]] = defaultdict(list)
    for mistake in found:
        by_file[mistake.file].append(mistake)
    campaigns = {_file_of(project, one): one for one in project.campaigns.values()}
    files = [SHOP_FILE, WAREHOUSE_FILE, *project.files]
    files += sorted(file for file in by_file if file not in files)
    everything = project.shop is None or project.warehouse is None or bool(by_file[WAREHOUSE_FILE])
    stopped = {Path(file).stem for file in project.files if everything or by_file[file]}
    stopped |= {name for file, names in stopping.items() if by_file[file] for name in names}
    return Checked(
        tuple(_checked(file, by_file[file], campaigns.get(file)) for file in files),
        tuple(places),
        tuple(name for name in (Path(file).stem for file in project.files) if name not in stopped),
        tuple(sorted(stopped)),
        tuple(notes),
    )


def _checked(file: str, problems: list[Mistake], campaign: Campaign | None) -> CheckedFile:
    if campaign is None:
        return CheckedFile(file, tuple(problems))
    needs = tuple(campaign.detect.requires)
    return CheckedFile(file, tuple(problems), needs, tuple(one for one in campaign.detect.uses if one not in needs))


def _file_of(project: Project, campaign: Campaign) -> str:
    return next(file for file in project.files if Path(file).stem == campaign.name)


def as_facts(checked: Checked) -> dict[str, object]:
    """Return what was found for a program to read."""
    mistakes = [
        {
            "file": one.file,
            "field": problem.field,
            "line": problem.line,
            "rule": problem.rule,
            "found": problem.found,
            "nearest": problem.nearest,
        }
        for one in checked.files
        for problem in one.problems
    ]
    needs = {
        Path(one.file).stem: {"needs": one.needs, "better_with": one.better_with} for one in checked.files if one.needs
    }
    troubles = {place.name: place.trouble for place in checked.places}
    return {
        "problems": checked.problems,
        "mistakes": mistakes,
        "connections": troubles,
        "needs": needs,
        "ready": checked.ready,
        "stopped": checked.stopped,
        "notes": checked.notes,
    }
