"""A project: its shop, warehouse mapping and campaigns, read together; a broken campaign stops no other."""

from __future__ import annotations

from collections.abc import Mapping as Named
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tidings.definitions import crosscheck, source
from tidings.definitions.campaign import Campaign, CampaignWords
from tidings.definitions.mistakes import Mistake, from_validation, nearest
from tidings.detect.base import Trigger
from tidings.errors import DefinitionError
from tidings.settings.shop import Settings
from tidings.settings.words import found

if TYPE_CHECKING:
    from tidings.warehouse.mapping import Mapping

SHOP_FILE = "tidings.yaml"
WAREHOUSE_FILE = "warehouse.yaml"
TRIGGERS = "triggers"
TEMPLATES = "message_templates"


@dataclass(frozen=True, slots=True)
class Project:
    """What a folder says. ``campaigns`` are those without a mistake, by file name; ``files`` all that were found."""

    folder: Path
    campaigns: Named[str, Campaign]
    mistakes: tuple[Mistake, ...]
    files: tuple[str, ...]
    shop: Settings | None
    warehouse: Mapping | None

    @property
    def settings(self) -> Settings:
        """The shop. Raises DefinitionError with the mistakes of tidings.yaml when it cannot be used."""
        if self.shop is None:
            raise DefinitionError(self._told(SHOP_FILE))
        return self.shop

    @property
    def mapping(self) -> Mapping:
        """The warehouse's mapping. Raises DefinitionError with the mistakes of warehouse.yaml."""
        if self.warehouse is None:
            raise DefinitionError(self._told(WAREHOUSE_FILE))
        return self.warehouse

    def campaign(self, name: str) -> Campaign:
        """Return a campaign by its id or file name. Raises DefinitionError: its mistakes, or the nearest name."""
        for campaign in self.campaigns.values():
            if name in (campaign.id, campaign.name):
                return campaign
        file = f"{TRIGGERS}/{name}.yaml"
        if file in self.files:
            raise DefinitionError(self._told(file))
        names = sorted({word for one in self.campaigns.values() for word in (one.id, one.name)})
        near = nearest(name, names)
        hint = f'; did you mean "{near}"?' if near else f"; there are {', '.join(names) or 'none'}"
        raise DefinitionError(f"campaign: must be one of {TRIGGERS}/; found {found(name)}{hint}")

    def _told(self, file: str) -> str:
        return "\n".join(str(mistake) for mistake in self.mistakes if mistake.file == file)


def load(folder: Path) -> Project:
    """Read a project folder. Never raises for what the files say: every mistake of all of them is in ``mistakes``."""
    folder = folder.resolve()
    shop, mistakes = load_settings(folder)
    warehouse, more = _load_mapping(folder)
    mistakes += more
    campaigns: list[tuple[Campaign, source.Source]] = []
    files = tuple(f"{TRIGGERS}/{path.name}" for path in campaign_files(folder))
    for file in files:
        campaign, read, more = _read_campaign(folder / file, file, shop)
        if campaign is not None:
            more += crosscheck.campaign(campaign, read, folder / TEMPLATES, shop, warehouse)
        mistakes += more
        if campaign is not None:
            campaigns.append((campaign, read))
    mistakes += crosscheck.ids(campaigns)
    if not files:
        mistakes.append(Mistake(TRIGGERS, "", None, "must hold at least one campaign", "none"))
    broken = {mistake.file for mistake in mistakes}
    ready = {one.name: one for one, read in campaigns if read.file not in broken}
    order = {file: number for number, file in enumerate((SHOP_FILE, WAREHOUSE_FILE, *files))}
    mistakes.sort(key=lambda mistake: (order.get(mistake.file, len(order)), mistake.line or 0))
    return Project(folder, ready, tuple(mistakes), files, shop, warehouse)


def campaign_files(folder: Path) -> list[Path]:
    """Return the campaign files of a project, in the order of their names."""
    triggers = folder / TRIGGERS
    return (
        sorted(path for path in triggers.glob("*.y*ml") if path.suffix in (".yaml", ".yml"))
        if triggers.is_dir()
        else []
    )


def load_settings(folder: Path) -> tuple[Settings | None, list[Mistake]]:
    """Return the shop of a project folder, or None, and the mistakes in tidings.yaml."""
    read = source.read(folder / SHOP_FILE, SHOP_FILE)
    if read.value is None:
        return None, read.mistakes
    try:
        shop = Settings.model_validate(read.value)
    except ValidationError as error:
        return None, [*read.mistakes, *from_validation(error, Settings, SHOP_FILE, read.line)]
    return (None if read.mistakes else shop), read.mistakes


def load_campaign(path: Path, shop: Settings | None = None) -> Campaign:
    """Return one campaign alone, as a DAG needs it. Raises DefinitionError with every mistake, a line each."""
    campaign, _, mistakes = _read_campaign(path, f"{path.parent.name}/{path.name}", shop)
    if campaign is None or mistakes:
        raise DefinitionError("\n".join(str(mistake) for mistake in mistakes))
    return campaign


def _load_mapping(folder: Path) -> tuple[Mapping | None, list[Mistake]]:
    from tidings.warehouse.mapping import Mapping

    read = source.read(folder / WAREHOUSE_FILE, WAREHOUSE_FILE)
    if read.value is None:
        return None, read.mistakes
    try:
        mapping = Mapping.model_validate(read.value)
    except ValidationError as error:
        return None, [*read.mistakes, *from_validation(error, Mapping, WAREHOUSE_FILE, read.line)]
    return (None if read.mistakes else mapping), read.mistakes


def _read_campaign(
    path: Path, file: str, shop: Settings | None
) -> tuple[Campaign | None, source.Source, list[Mistake]]:
    read = source.read(path, file)
    if not isinstance(read.value, dict):
        return None, read, list(read.mistakes)
    said = dict(read.value)
    mistakes = list(read.mistakes)
    if "name" in said:
        del said["name"]
        mistakes.append(Mistake(file, "name", read.line(("name",)), "is the file's name and must not be written"))
    detect, more = _read_detect(said, read)
    mistakes += more
    if shop is not None:
        given = {name: getattr(shop.defaults, name) for name in type(shop.defaults).model_fields}
        said = {**given, **said}
    said |= {"name": path.stem}
    model = CampaignWords if detect is None else Campaign
    said.pop("detect", None)
    try:
        words = model.model_validate(said if detect is None else {**said, "detect": detect})
    except ValidationError as error:
        return None, read, mistakes + from_validation(error, model, file, read.line)
    return (_complete(words, shop) if isinstance(words, Campaign) else None), read, mistakes


@cache
def _trigger_types() -> dict[str, type[Trigger]]:
    # Walking the folder takes longer than reading a campaign, and a hundred campaigns ask.
    from tidings.detect.walk import trigger_types

    return trigger_types()


def _read_detect(said: Named[object, object], read: source.Source) -> tuple[Trigger | None, list[Mistake]]:
    """Validate ``detect:`` into the class of its type."""
    line = read.line(("detect",))
    detect = said.get("detect")
    if detect is None:
        return None, [Mistake(read.file, "detect", line, "is required", "nothing")]
    if not isinstance(detect, dict):
        return None, [Mistake(read.file, "detect", line, "must be a group of keys", found(detect))]
    types = _trigger_types()
    name = detect.get("type")
    if not isinstance(name, str) or name not in types:
        rule = f"must be one of {', '.join(sorted(types))}"
        shown = "nothing" if name is None else found(name)
        return None, [
            Mistake(read.file, "detect.type", read.line(("detect", "type")), rule, shown, nearest(name, types))
        ]
    try:
        return types[name].model_validate(detect), []
    except ValidationError as error:
        return None, from_validation(error, types[name], read.file, read.line, ("detect",))


def _complete(campaign: Campaign, shop: Settings | None) -> Campaign:
    """Give the campaign its title and its steps what the campaign or the shop says for all of them."""
    steps = []
    for step in campaign.steps:
        purposes = step.purposes
        if not purposes and shop is not None and not step.transactional:
            purposes = getattr(shop.consent, step.channel.value)
        steps.append(
            step.model_copy(
                update={
                    "expires_after": step.expires_after or campaign.expires_after,
                    "min_gap": campaign.min_gap if step.min_gap is None else step.min_gap,
                    "purposes": purposes,
                }
            )
        )
    title = campaign.title or campaign.name.replace("_", " ").replace("-", " ").capitalize()
    return campaign.model_copy(update={"steps": tuple(steps), "title": title})
