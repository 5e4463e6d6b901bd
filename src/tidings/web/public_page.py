"""The few pages a recipient may see: the shop's own look, no script, nobody's name or address."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from starlette.responses import HTMLResponse

from tidings.content.brand import BrandView, Palette
from tidings.errors import DefinitionError
from tidings.jobs.say import Choices, Key, Line, Saved
from tidings.model.people import Channel, Purpose

FOLDER = "message_templates/_pages"
_NAMES = ("frame.html", "message.html", "confirm.html", "preferences.html", "public.css", "words.toml")


@dataclass(frozen=True, slots=True)
class Row:
    """One choice as the page shows it. ``name`` is the field's; ``note`` says why it cannot be changed here."""

    name: str
    label: str
    open: bool
    note: str = ""
    locked: bool = False


class Pages:
    """Renders the pages of one brand. A file of the same name in ``folder`` takes the place of ours."""

    def __init__(self, brand: BrandView, folder: Path | None = None, base: str = "") -> None:
        texts, own_words = _texts(folder)
        self._templates = ImmutableSandboxedEnvironment(
            loader=DictLoader(texts), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._brand = brand
        self._base = base
        self._words = _words(texts["words.toml"], own_words, brand.name)
        self.style = f"{_tokens(brand)}\n{texts['public.css']}"
        self._tried()

    def confirm(self, channel: Channel) -> HTMLResponse:
        """Ask whether to stop; nothing is changed, or told, by looking."""
        words = self._words["confirm"][channel.value]
        return self._page("confirm.html", title=words["title"], words=words, fields={"List-Unsubscribe": "One-Click"})

    def unsubscribed(self) -> HTMLResponse:
        """Say that it is done."""
        return self._message("unsubscribed")

    def ask_first(self) -> HTMLResponse:
        """Ask for a word before anything is told: mails are forwarded, and scanners open links."""
        words = self._words["ask_first"]
        return self._page("confirm.html", title=words["title"], words=words, fields={"do": "show"})

    def preferences(self, choices: Choices, saved: Saved | None = None) -> HTMLResponse:
        """Show what is chosen, per channel and purpose, and what became of it."""
        said = self._words["preferences"]
        note = ""
        if saved is not None:
            note = said["stale"] if not saved.fresh else said["asked"] if saved.asked else said["saved"]
        offers, tracking = [[line for line in choices.lines if _tracks(line) is so] for so in (False, True)]
        groups = [
            (said[channel.value], [self._row(line) for line in offers if line.channel == channel])
            for channel in Channel
        ]
        groups.append((self._words["tracking"]["legend"], [self._row(line) for line in tracking]))
        return self._page(
            "preferences.html", title=said["title"], said=said, stamp=choices.stamp, note=note,
            groups=[(legend, rows) for legend, rows in groups if rows],
        )  # fmt: skip

    def missing(self) -> HTMLResponse:
        """Say that a link leads nowhere, and to nobody more than that."""
        return self._message("missing", 404)

    def gone(self) -> HTMLResponse:
        """Say that a link of ours is about something, or somebody, that we no longer know."""
        return self._message("gone", 410)

    def trouble(self, status: int, *, after: int | None = None) -> HTMLResponse:
        """Say that it did not work this time, and when to try again."""
        page = self._message({429: "too_often", 413: "too_large", 405: "not_so"}.get(status, "trouble"), status)
        if after is not None:
            page.headers["Retry-After"] = str(after)
        return page

    def wording(self, choices: Choices) -> dict[Key, str]:
        """Return what stood beside each choice: the proof of what a person agreed to."""
        said, tracking = self._words["preferences"], self._words["tracking"]["legend"]
        legends = {line.key: tracking if _tracks(line) else said[line.channel.value] for line in choices.lines}
        return {line.key: f"{legends[line.key]}: {self._label(line)}"[:400] for line in choices.lines}

    def _row(self, line: Line) -> Row:
        said = self._words["preferences"]
        note = said["blocked"].get(line.blocked, said["blocked"]["other"]) if line.blocked else ""
        if line.waits:
            note = said["waits"]
        return Row(
            f"{line.channel}.{line.purpose}", self._label(line), line.open or line.waits, note, bool(line.blocked)
        )

    def _label(self, line: Line) -> str:
        if _tracks(line):
            return str(self._words["tracking"][line.channel.value])
        known: Mapping[str, str] = self._words["purposes"]
        own = line.purpose.replace("_", " ").replace("-", " ").capitalize()
        return known.get(line.purpose, own)

    def _message(self, which: str, status: int = 200) -> HTMLResponse:
        words = self._words["messages"][which]
        return self._page("message.html", title=words["title"], text=words["text"], status=status, home=status != 200)

    def _page(self, name: str, *, status: int = 200, home: bool = False, **words: object) -> HTMLResponse:
        return HTMLResponse(self._rendered(name, home=home, **words), status)

    def _rendered(self, name: str, **words: object) -> str:
        shared = {"brand": self._brand, "frame": self._words["frame"], "base": self._base}
        return self._templates.get_template(name).render(**shared, **words)

    def _tried(self) -> None:
        """Render every page once, so that a shop's own mistake is told when the service starts."""
        lines = [Line(channel, "marketing", True, "bounced") for channel in Channel]
        sample = Choices(Channel.EMAIL, tuple(lines), "x")
        try:
            for show in (self.ask_first, self.unsubscribed, self.missing, self.gone):
                show()
            self.confirm(Channel.EMAIL)
            self.confirm(Channel.SMS)
            self.trouble(500)
            for saved in (None, Saved(sample, True), Saved(sample, True, True), Saved(sample, False)):
                self.preferences(sample, saved)
        except (TemplateError, KeyError, TypeError, AttributeError) as mistake:
            what = str(mistake).splitlines()[0] if str(mistake) else type(mistake).__name__
            raise DefinitionError(f"{FOLDER}: every page must render; found {what}") from None


def _tracks(line: Line) -> bool:
    return line.purpose == Purpose.CLICK_TRACKING


def _texts(folder: Path | None) -> tuple[dict[str, str], str]:
    """Return the pages' files, and the shop's own words beside ours."""
    ours = resources.files("tidings.web").joinpath("public_pages")
    texts = {name: ours.joinpath(name).read_text(encoding="utf-8") for name in _NAMES}
    if folder is None or not folder.is_dir():
        return texts, ""
    words = ""
    for path in sorted(folder.iterdir()):
        if path.name not in _NAMES:
            raise DefinitionError(f"{FOLDER}: must hold {', '.join(_NAMES)} only; found {path.name}")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise DefinitionError(f"{FOLDER}/{path.name}: must be a readable UTF-8 file") from None
        if path.name == "words.toml":
            words = text
        else:
            texts[path.name] = text
    return texts, words


def _words(ours: str, theirs: str, brand: str) -> dict[str, Any]:
    """Return the words of the pages with the brand's name in them. Raises DefinitionError when it is not TOML."""
    try:
        given = _merged(tomllib.loads(ours), tomllib.loads(theirs))
    except tomllib.TOMLDecodeError as mistake:
        raise DefinitionError(f"{FOLDER}/words.toml: must be TOML; found {mistake}") from None

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: named(one) for key, one in value.items()}
        return value.replace("{brand}", brand) if isinstance(value, str) else value

    found: dict[str, Any] = named(given)
    return found


def _merged(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    both = {**ours, **theirs}
    for key in ours.keys() & theirs.keys():
        if isinstance(ours[key], dict) and isinstance(theirs[key], dict):
            both[key] = _merged(ours[key], theirs[key])
    return both


def _tokens(brand: BrandView) -> str:
    def colours(palette: Palette) -> str:
        return " ".join(f"--{name.replace('_', '-')}: {value};" for name, value in asdict(palette).items())

    return (
        f":root {{ {colours(brand.light)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {colours(brand.dark)} }} }}"
    )
