"""Message templates: read and compiled once per version, rendered per customer in a sandbox with a budget."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from jinja2 import Template as JinjaTemplate
from jinja2 import pass_context
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError
from jinja2.runtime import Context

from tidings.content import compiling, formats, sms, source
from tidings.content.brand import BrandView
from tidings.content.clean import one_line
from tidings.content.context import VIEWS
from tidings.content.guard import WORK, Guarded
from tidings.content.links import safe_url
from tidings.errors import TemplateError
from tidings.model.people import Channel

LARGEST_HTML = 80_000  # bytes; Gmail clips a message at 102 KB
LARGEST_TEXT = 60_000  # bytes
LONGEST_SUBJECT = 200

SUFFIXES = {Channel.EMAIL: ".mjml", Channel.SMS: ".sms"}
_BETWEEN = "\x1e"
_NAME = re.compile(r"^[A-Za-z0-9][\w-]*(?:/[A-Za-z0-9][\w-]*)*$")


@dataclass(frozen=True, slots=True)
class Rendered:
    """One message in words. ``links`` are the targets by link number; an SMS has only ``text``."""

    subject: str | None
    preheader: str | None
    html: str | None
    text: str
    links: tuple[str, ...]
    template_hash: str


class Template:
    """One message, compiled. ``hash`` changes whenever any file it is made of does; ``sources`` are those files.

    ``files`` are their names below the folder with their contents, enough to compile the same message elsewhere.
    """

    files: tuple[tuple[str, str], ...] = ()

    def __init__(
        self, name: str, channel: Channel, hash: str, sources: tuple[str, ...], parts: Mapping[str, Part]
    ) -> None:
        self.name = name
        self.channel = channel
        self.hash = hash
        self.sources = sources
        self.parts = parts

    def render(self, context: Mapping[str, Any]) -> Rendered:
        """Return the message for one customer. Raises TemplateError: file, line, reason, and no customer data."""
        links = context["_links"]
        values = {**context, "_work": [WORK]}
        words = self.parts["plain"].render(values)
        if self.channel is Channel.SMS:
            text = _texted(words)
            if not text or len(text) > sms.MOST_CHARACTERS:
                raise self._too(f"a text message must have 1 to {sms.MOST_CHARACTERS} characters; found {len(text)}")
            return Rendered(None, None, None, text, links.targets, self.hash)
        subject, preheader, text = words.split(_BETWEEN)
        subject = values["subject"] = one_line(subject, LONGEST_SUBJECT)
        preheader = values["preheader"] = one_line(preheader, LONGEST_SUBJECT)
        if not subject:
            raise self._too("the subject is empty")
        html = self.parts["html"].render(values)
        for part, limit in ((html, LARGEST_HTML), (text, LARGEST_TEXT)):
            size = len(part) if part.isascii() else len(part.encode("utf-8", "surrogatepass"))
            if size > limit:
                raise self._too(f"must be at most {limit} bytes, or Gmail clips it; found {size}")
        while "\n\n\n" in text:
            text = text.replace("\n\n\n", "\n\n")
        text = text.strip() + "\n"
        return Rendered(subject, preheader, html, text, links.targets, self.hash)

    def _too(self, what: str) -> TemplateError:
        return TemplateError(f"{self.sources[0]}:1: {what}")


class Part:
    """One Jinja template made of a message's pieces, and the way back from its lines to the files."""

    def __init__(self, compiled: compiling.Compiled, environment: Guarded) -> None:
        self.compiled = compiled
        self.environment = environment
        try:
            self._template: JinjaTemplate = environment.from_string(compiled.source)
            self._globals = dict(self._template.globals)
        except TemplateSyntaxError as error:
            raise TemplateError(f"{compiled.place(error.lineno)}: {_first(error.message)}") from None
        except (RecursionError, MemoryError, OverflowError):
            raise TemplateError(f"{compiled.place(1).file}: is nested too deeply") from None

    def render(self, values: Mapping[str, Any]) -> str:
        template = self._template
        # These values are all there is, globals included; Jinja's own way of merging them costs more than it should.
        context = Context(self.environment, {**self._globals, **values}, template.name, template.blocks)
        try:
            return "".join(template.root_render_func(context))
        except Exception as error:
            # Only our own sentences and undefined names are told: other exceptions may quote the customer's data.
            told = isinstance(error, SecurityError | UndefinedError | TemplateError)
            reason = _first(str(error)) if told else f"fails with {type(error).__name__}"
            raise TemplateError(f"{self._place(error.__traceback__)}: {reason}") from None

    def _place(self, trace: TracebackType | None) -> source.Place:
        line = None
        while trace is not None:
            if trace.tb_frame.f_globals.get("__jinja_template__") is self._template:
                line = self._template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return self.compiled.place(line)


class Library:
    """The templates of one project and the brand they speak for. Compiled templates are kept for its life."""

    def __init__(self, folder: Path, brand: BrandView) -> None:
        self.folder = folder
        self.brand = brand
        self._templates: dict[tuple[str, Channel], Template] = {}
        self._html = Guarded(autoescape=True, filters=FILTERS, views=VIEWS)
        self._plain = Guarded(autoescape=False, filters=FILTERS, views=VIEWS)

    def names(self) -> list[tuple[str, Channel]]:
        """Return every message template in the folder; what begins with an underscore is a part, not a message."""
        found = []
        for channel, suffix in SUFFIXES.items():
            for path in sorted(self.folder.rglob(f"*{suffix}")):
                relative = path.relative_to(self.folder)
                if not any(part.startswith(("_", ".")) for part in relative.parts):
                    found.append((relative.with_suffix("").as_posix(), channel))
        return sorted(found)

    def template(self, name: str, channel: Channel) -> Template:
        """Return a compiled template by name, without suffix. Raises TemplateError."""
        kept = self._templates.get((name, channel))
        if kept is None:
            kept = self._templates[name, channel] = self._compiled(name, channel)
        return kept

    def _compiled(self, name: str, channel: Channel) -> Template:
        if not _NAME.match(name):
            raise TemplateError(f"{self.folder.name}: a template is named folder/name without suffix; found {name!r}")
        read = source.read(self.folder, name + SUFFIXES[channel])
        parts = self._sms_parts(read) if channel is Channel.SMS else self._email_parts(read)
        digest = hashlib.sha256()
        for file, content in read.files:
            digest.update(f"{file}\0{content}\0".encode())
        first = read.root.file
        others = sorted(f"{self.folder.name}/{file}" for file, _ in read.files)
        sources = (first, *(file for file in others if file != first))
        made = Template(name, channel, digest.hexdigest(), sources, parts)
        made.files = read.files
        return made

    def _sms_parts(self, read: source.Sources) -> dict[str, Part]:
        if read.frame is not None:
            raise TemplateError(f"{read.root}: a text message extends no layout")
        pieces = compiling.plain(read.whole, self.brand)
        return {"plain": Part(compiling.joined([pieces], ""), self._plain)}

    def _email_parts(self, read: source.Sources) -> dict[str, Part]:
        if read.frame is None:
            raise TemplateError(f'{read.root}: an e-mail begins with {{% extends "_layouts/brand.mjml" %}}')
        for needed in ("subject", "preheader"):
            if needed not in read.parts:
                raise TemplateError(f"{read.root}: an e-mail needs a block named {needed}")
        for name, pieces in read.parts.items():
            if name not in ("subject", "preheader", "text"):
                place = pieces[0].place if pieces else read.root
                raise TemplateError(f"{place}: no such block in the layout; found {name}")
        text = read.parts.get("text")
        words = [
            compiling.plain(read.parts["subject"], self.brand),
            compiling.plain(read.parts["preheader"], self.brand),
            compiling.derived_text(read.frame, self.brand) if text is None else compiling.plain(text, self.brand),
        ]
        words[0] = [*read.prelude, *words[0]]
        html = compiling.html(read.prelude, read.frame, self.brand)
        return {"plain": Part(compiling.joined(words, _BETWEEN), self._plain), "html": Part(html, self._html)}


def _texted(text: str) -> str:
    """Return an SMS as it leaves: an empty line breaks the line, every other break is a space."""
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", sms.plain(text)))
    return "\n".join(part for part in paragraphs if part)


def _first(message: str | None) -> str:
    return " ".join((message or "").split())[:200]


@pass_context
def _tracked(context: Context, url: str) -> str:
    written: str = context.parent["_links"].to(url)
    return written


@pass_context
def _date(context: Context, at: date) -> str:
    return formats.day(at, context.parent["locale"])


@pass_context
def _weekday(context: Context, at: date) -> str:
    return formats.weekday(at, context.parent["locale"])


@pass_context
def _month(context: Context, at: date) -> str:
    return formats.month(at, context.parent["locale"])


@pass_context
def _clock(context: Context, at: datetime) -> str:
    return formats.clock(at, context.parent["locale"])


@pass_context
def _money(context: Context, amount: int, currency: str) -> str:
    return formats.money(int(amount), currency, context.parent["locale"])


def _safe_url(url: str) -> str:
    found = safe_url(str(url))
    if found is None:
        raise TemplateError("a link must be an https address without spaces or credentials")
    return found


# What a template may write after "|" besides Jinja's own harmless filters; docs/templates.md tells of each.
FILTERS: dict[str, Callable[..., Any]] = {
    "tracked": _tracked, "safe_url": _safe_url, "date": _date, "weekday": _weekday, "month": _month, "clock": _clock,
    "money": _money, "gsm": sms.gsm,
}  # fmt: skip
