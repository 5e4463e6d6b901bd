"""Every mistake at once: in the files, between the files, in the templates, and against the real warehouse."""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tidings.content import trial
from tidings.content.templates import SUFFIXES, Library
from tidings.definitions import Campaign, Mistake, Project, load
from tidings.definitions.project import SHOP_FILE, WAREHOUSE_FILE
from tidings.errors import TemplateError, TidingsError
from tidings.jobs import preflight
from tidings.jobs.names import Names
from tidings.jobs.opening import Opened
from tidings.jobs.preflight import Finding
from tidings.model.people import Channel
from tidings.settings import Connections, EnvConnections, is_local
from tidings.warehouse.tables import Tables

TEMPLATES = "message_templates"


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """One file: its mistakes; for a campaign also the tables it needs and those that would sharpen it.

    ``advice`` is worth following and stops nothing.
    """

    file: str
    problems: tuple[Mistake, ...] = ()
    needs: tuple[str, ...] = ()
    better_with: tuple[str, ...] = ()
    advice: tuple[Mistake, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Something that was connected to, and what is wrong with it, if anything."""

    name: str
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Around:
    """What was learned beside the files."""

    places: tuple[Place, ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """What `tidings check` found. ``ready`` and ``stopped`` are campaigns; ``notes`` are worth knowing, not wrong."""

    files: tuple[CheckedFile, ...]
    places: tuple[Place, ...]
    ready: tuple[str, ...]
    stopped: tuple[str, ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def problems(self) -> int:
        """How many mistakes there are."""
        in_files = sum(len(one.problems) for one in self.files)
        outside = sum(1 for place in self.places if place.trouble)
        return in_files + outside + sum(1 for one in self.findings if one.level == "error")


def run(
    folder: Path, connections: Connections | None = None, *, live: bool = False, names: Names | None = None
) -> Checked:
    """Check a project folder; ``live`` also connects to ledger, warehouse and providers. Never raises for mistakes.

    A live check that passed is kept in the ledger: in production nothing leaves without one. ``names`` stand in for
    the machine's name servers.
    """
    project = load(folder)
    opened = Opened(project, connections or EnvConnections())
    found = list(project.mistakes)
    stopping: dict[str, set[str]] = defaultdict(set)
    places: list[Place] = []
    notes: list[str] = []
    findings: list[Finding] = []
    try:
        wrong, better = _templates(project, stopping)
        found += wrong
        tables = _warehouse(opened, found, places, notes, live=live)
        if tables is not None:
            found += _columns(project, tables)
        if live:
            places += _live(opened)
            findings = _preflight(opened, places, names)
    finally:
        opened.close()
    notes += [*_reach(project), *_waiting(project)]
    return _sorted(project, found, better, stopping, Around(tuple(places), tuple(notes), tuple(findings)))


def _templates(project: Project, stopping: Mapping[str, set[str]]) -> tuple[list[Mistake], list[Mistake]]:
    """Return what is wrong with the templates and what might be better; note which campaigns each file stops."""
    if project.shop is None or not (project.folder / TEMPLATES).is_dir():
        return [], []
    library = Library(project.folder / TEMPLATES, project.shop.brand.view())
    variants = sorted({variant for campaign in project.campaigns.values() for variant in campaign.variants})
    wrong: list[Mistake] = []
    better: list[Mistake] = []
    for problem in trial.problems(library, variants=variants):
        # Its rule begins with the field when the brand's colours are meant.
        field, colon, rule = problem.rule.partition(": ") if problem.template == SHOP_FILE else ("", "", problem.rule)
        line = None if problem.template == SHOP_FILE else problem.line
        mistake = Mistake(problem.template, field if colon else "", line, rule or field, problem.found)
        (wrong if problem.level == "error" else better).append(mistake)
    broken = {mistake.file for mistake in wrong}
    for campaign in project.campaigns.values():
        for channel, name in campaign.templates():
            for file in broken & _sources(library, name, channel):
                stopping[file].add(campaign.name)
    return wrong, better


def _sources(library: Library, name: str, channel: Channel) -> set[str]:
    """Return the files a message is made of; of one that does not compile, itself and every shared part."""
    try:
        return set(library.template(name, channel).sources)
    except TemplateError:
        parts = {path.relative_to(library.folder.parent).as_posix() for path in library.folder.rglob("_*/*")}
        return {f"{library.folder.name}/{name}{SUFFIXES[channel]}", *parts}


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
        for field, table, columns in campaign.detect.needed():
            for column in columns:
                if tables.has(table) and not tables.has(table, column):
                    rule = f"needs column {table}.{column} in the warehouse"
                    found.append(Mistake(file, f"detect.{field}", None, rule, "no such column there"))
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
            tried.append((f"{channel.value} by {choice.name}", partial(_reachable, opened, channel)))
    return [_tried(name, attempt) for name, attempt in tried]


def _preflight(opened: Opened, places: list[Place], names: Names | None) -> list[Finding]:
    """Look at the senders, and keep whether everything outside the files is well."""
    if opened.project.shop is None:
        return []
    found = preflight.run(opened, names)
    if not any(place.name == "ledger" and place.trouble for place in places):
        well = not any(place.trouble for place in places) and not any(one.level == "error" for one in found)
        preflight.keep(opened, passed=well)
    return found


def _tried(name: str, attempt: Callable[[], object]) -> Place:
    try:
        attempt()
    except TidingsError as trouble:
        return Place(name, str(trouble))
    except OSError as trouble:
        return Place(name, f"must answer; found {trouble.strerror or type(trouble).__name__}")
    return Place(name)


def _reachable(opened: Opened, channel: Channel) -> None:
    """Knock at the provider's door, without sending anything and without using the key."""
    provider = opened.provider(channel)
    asyncio.run(provider.close())
    base_url = getattr(opened.settings.providers, channel.value).base_url
    if base_url is not None:
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


def _waiting(project: Project) -> list[str]:
    """Return the live campaigns of which nothing can leave: the outbox keeps messages, it never sends them."""
    if project.shop is None:
        return []
    words = {Channel.EMAIL: "e-mails", Channel.SMS: "texts"}
    return [
        f"{campaign.name} is live, but its {words[channel]} wait: providers.{channel.value} is the outbox"
        for campaign in project.campaigns.values()
        for channel in sorted({step.channel for step in campaign.steps})
        if campaign.mode == "live" and getattr(project.shop.providers, channel.value).name == "outbox"
    ]


def _sorted(
    project: Project,
    found: list[Mistake],
    better: list[Mistake],
    stopping: Mapping[str, set[str]],
    around: Around,
) -> Checked:
    by_file, advised = _by_file(found), _by_file(better)
    campaigns = {_file_of(project, one): one for one in project.campaigns.values()}
    files = [SHOP_FILE, WAREHOUSE_FILE, *project.files]
    files += sorted(file for file in {*by_file, *advised} if file not in files)
    everything = project.shop is None or project.warehouse is None or bool(by_file[WAREHOUSE_FILE])
    stopped = {Path(file).stem for file in project.files if everything or by_file[file]}
    stopped |= {name for file, names in stopping.items() if by_file[file] for name in names}
    return Checked(
        tuple(
            replace(_checked(file, by_file[file], campaigns.get(file)), advice=tuple(advised[file])) for file in files
        ),
        around.places,
        tuple(name for name in (Path(file).stem for file in project.files) if name not in stopped),
        tuple(sorted(stopped)),
        around.notes,
        around.findings,
    )


def _by_file(mistakes: list[Mistake]) -> dict[str, list[Mistake]]:
    found: dict[str, list[Mistake]] = defaultdict(list)
    for mistake in mistakes:
        found[mistake.file].append(mistake)
    return found


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
        "live": [asdict(one) for one in checked.findings],
        "needs": needs,
        "ready": checked.ready,
        "stopped": checked.stopped,
        "notes": checked.notes,
    }
