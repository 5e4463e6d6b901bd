"""What is wrong with a template before a customer sees it: rules on its source and its output for edge customers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Literal

from jinja2 import meta, nodes

from tidings.content import samples, sms
from tidings.content.brand import BrandView, Palette
from tidings.content.context import CustomerView, ItemView, Occasion, build
from tidings.content.links import Links, Signer, utm
from tidings.content.source import Piece, Place, read
from tidings.content.templates import SUFFIXES, Library, Part, Rendered, Template
from tidings.errors import TemplateError
from tidings.model.people import Channel

LEAST_CONTRAST = 4.5
_PUBLIC = "https://t.example.com"  # stands for the shop's own short address in trial renders
_VIEWS: dict[str, type[CustomerView | ItemView | BrandView]] = {
    "customer": CustomerView,
    "item": ItemView,
    "brand": BrandView,
}
_OPEN_ATTRIBUTE = re.compile(r"[\w-]+\s*=\s*$")
_OPEN_HREF = re.compile(r"\bhref\s*=\s*[\"']$")
_SCRIPT = re.compile(r"\b(?:href|src)\s*=\s*[\"']?\s*(?:javascript|vbscript|data)\s*:", re.IGNORECASE)
_SAFE_TARGETS = re.compile(r"tracked|safe_url|\blink\(|^unsubscribe_url$|^preferences_url$")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One line of ``tidings check``. An error stops the campaign; advice does not."""

    template: str
    line: int
    rule: str
    found: str
    level: Literal["error", "advice"] = "error"

    def __str__(self) -> str:
        return f"{self.template}:{self.line}: {self.rule}; found {self.found}"


def examine(library: Library, name: str, channel: Channel, variants: Sequence[str] = ()) -> list[Problem]:
    """Return everything wrong with one template. Renders it: call it through ``trial.problems``, which has limits."""
    file = f"{library.folder.name}/{name}{SUFFIXES[channel]}"
    found: list[Problem] = []
    try:
        found += _source_problems(library, name, channel)
        template = library.template(name, channel)
    except TemplateError as error:
        return [*found, _told(error, file)]
    found += _unknown_names(template)
    failed: dict[tuple[str, int, str], Problem] = {}
    made: list[tuple[samples.Sample, Rendered, Links]] = []
    for sample in samples.edges(library.brand):
        for variant in (None, *variants):
            try:
                made.append((sample, *_tried(library, template, sample, variant)))
            except TemplateError as error:
                told = _told(error, file)
                first = replace(told, found=f'{told.found} with "{sample.name}"')
                failed.setdefault((told.template, told.line, told.rule), first)
    for sample, rendered, links in made:
        judged = _sms_problems if channel is Channel.SMS else _email_problems
        found.extend(judged(template, rendered, links, library.brand))
        found.extend(_harm(template, rendered))
        if sample.usual:
            found.extend(_advice(template, rendered))
    return sorted(dict.fromkeys([*found, *failed.values()]))


def brand_problems(brand: BrandView) -> list[Problem]:
    """Return the pairs of brand colours whose contrast is below 4.5 to 1 (WCAG AA)."""
    found = []
    for look, palette in (("light", brand.light), ("dark", brand.dark)):
        for front, back in _pairs(palette):
            ratio = contrast(getattr(palette, front), getattr(palette, back))
            if ratio < LEAST_CONTRAST:
                rule = f"brand.colours.{look}.{front}: must stand out from {back} by at least {LEAST_CONTRAST}"
                found.append(Problem("tidings.yaml", 1, rule, f"{ratio:.1f}"))
    if contrast(brand.image_alt, brand.image_box) < LEAST_CONTRAST:
        found.append(
            Problem("tidings.yaml", 1, f"brand.colours: alt must stand out from image_box by at least {LEAST_CONTRAST}",
                    f"{contrast(brand.image_alt, brand.image_box):.1f}")
        )  # fmt: skip
    return found


def contrast(front: str, back: str) -> float:
    """Return the contrast of two #RRGGBB colours by WCAG 2, from 1 to 21."""
    lighter, darker = sorted((_luminance(front), _luminance(back)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _pairs(palette: Palette) -> Iterator[tuple[str, str]]:
    yield from (("text", "paper"), ("muted", "paper"), ("muted", "canvas"), ("button_text", "button"))


def _luminance(colour: str) -> float:
    value = colour.lstrip("#")
    value = "".join(c * 2 for c in value) if len(value) == 3 else value
    channels = [int(value[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _told(error: TemplateError, fallback: str) -> Problem:
    """Return a template's own error as a problem: its text begins with "file:line: "."""
    found = re.match(r"^(.*?):(\d+): (.*)$", str(error), re.DOTALL)
    if found is None:
        return Problem(fallback, 1, "must compile and render", str(error))
    rule, _, what = found[3].partition("; found ")
    return Problem(found[1], int(found[2]), rule, what or "it")


def _tried(library: Library, template: Template, sample: samples.Sample, variant: str | None) -> tuple[Rendered, Links]:
    channel = template.channel.value
    signer = Signer({"x": b"only for trial renders, never sent"})
    links = Links(signer, _PUBLIC, "TrialTrialTrial0", utm=utm(channel, "trial", "trial"))
    context = build(
        sample.customer, sample.entry, sample.offer, library.brand,
        links=links, now=samples.NOW, occasion=Occasion("trial", "trial", channel, variant),
    )  # fmt: skip
    return template.render(context), links


def _source_problems(library: Library, name: str, channel: Channel) -> Iterator[Problem]:
    sources = read(library.folder, name + SUFFIXES[channel])
    if channel is Channel.SMS:
        return
    for pieces in (sources.frame or (), *sources.parts.values()):
        for before, piece in pairwise(pieces):
            if before.kind != "text" or piece.kind == "text":
                continue
            inside = before.body.rfind("<") > before.body.rfind(">")
            if inside and _OPEN_ATTRIBUTE.search(before.body):
                yield _at(piece, "an attribute's value must stand in quotes", piece.body)
            if piece.kind == "expr" and _OPEN_HREF.search(before.body) and not _SAFE_TARGETS.search(piece.body):
                yield _at(piece, "a link must be written with | tracked (or | safe_url)", piece.body)
        for piece in pieces:
            if piece.kind == "text" and (script := _SCRIPT.search(piece.body)):
                line = piece.place.line + piece.body[: script.start()].count("\n")
                found = f'"{" ".join(script[0].split())}"'
                yield Problem(piece.place.file, line, "a link must be an https address", found)


def _at(piece: Piece, rule: str, found: str) -> Problem:
    return Problem(piece.place.file, piece.place.line, rule, f'"{" ".join(found.split())[:60]}"')


def _unknown_names(template: Template) -> Iterator[Problem]:
    known = set(known_variables())
    for part in template.parts.values():
        tree = part.environment.parse(part.compiled.source)
        unknown = meta.find_undeclared_variables(tree) - known
        for node in tree.find_all(nodes.Name):
            if node.name in unknown:
                yield _nearest(part, node.lineno, "no such variable", node.name, known)
        for asked in tree.find_all(nodes.Getattr):
            owner = asked.node.name if isinstance(asked.node, nodes.Name) else ""
            known_fields = {f"{owner}.{field.name}" for field in fields(_VIEWS[owner])} if owner in _VIEWS else set()
            if known_fields and f"{owner}.{asked.attr}" not in known_fields:
                yield _nearest(part, asked.lineno, "no such variable", f"{owner}.{asked.attr}", known_fields)


def _nearest(part: Part, line: int, rule: str, found: str, known: set[str]) -> Problem:
    place: Place = part.compiled.place(line)
    near = difflib.get_close_matches(found, sorted(known), n=1)
    return Problem(place.file, place.line, rule, f'"{found}"' + (f', did you mean "{near[0]}"?' if near else ""))


def known_variables() -> tuple[str, ...]:
    """Return every variable a template may use; e-mails also see ``subject`` and ``preheader`` in their layout."""
    brand = BrandView("x", "x", "x x x", "https://shop.example")
    usual = samples.sample(brand)
    context = build(
        usual.customer, usual.entry, usual.offer, brand,
        links=Links(Signer({"x": bytes(16)}), _PUBLIC, "m"), now=samples.NOW, occasion=Occasion("x", "x", "email"),
    )  # fmt: skip
    names = [name for name in context if not name.startswith("_")]
    return tuple(sorted([*names, "subject", "preheader", "range", "namespace"]))


def _email_problems(template: Template, made: Rendered, links: Links, brand: BrandView) -> Iterator[Problem]:
    page = _Page()
    page.feed(made.html or "")
    for part, text, hrefs in (("HTML", page.words, page.links), ("text", made.text, made.text.split())):
        if links.unsubscribe_url not in hrefs:
            yield _whole(template, f"the {part} part must link to unsubscribe_url", "no such link")
        if " ".join(brand.postal_address.split()) not in " ".join(text.split()):
            yield _whole(template, f"the {part} part must state brand.postal_address", "no such line")
    for image in page.images:
        for needed in ("width", "height", "alt"):
            if not image.get(needed) or image.get(needed) == "auto":
                yield _whole(template, f"an image must have {needed}", "an image without")
    for link in page.links:
        if not link.startswith(("https://", "http://127.0.0.1")):
            yield _whole(template, "a link must be an https address", f'"{link[:40]}"')
    if page.headings != 1:
        yield _whole(template, "an e-mail must have one h1", str(page.headings))
    if page.longest_style > 8_000:
        yield _whole(template, "a style element must be below 8 KB, or Gmail drops it", str(page.longest_style))
    if not page.language:
        yield _whole(template, "the page must name its language", "none")


def _sms_problems(template: Template, made: Rendered, links: Links, brand: BrandView) -> Iterator[Problem]:
    if brand.sms_opt_out not in made.text and links.unsubscribe_url not in made.text:
        yield _whole(template, "a text must end with {{ opt_out }}", "no way to opt out")


def _harm(template: Template, made: Rendered) -> Iterator[Problem]:
    for text in (made.subject or "", made.preheader or ""):
        if not text.isprintable() and re.search(r"[\r\n\x00-\x1f]", text):
            yield _whole(template, "subject and preheader must be one line", "a line break")
    lowered = (made.html or "").lower()
    if "<script" in lowered or "<img src=x" in lowered or re.search(r"<[^>]*\sonerror\s*=", lowered):
        yield _whole(template, "a customer's words must stay words", "markup from a name in the HTML part")


def _advice(template: Template, made: Rendered) -> Iterator[Problem]:
    if template.channel is Channel.SMS:
        size = sms.segments(made.text)
        if size.encoding == "UCS-2":
            odd = "".join(dict.fromkeys(c for c in made.text if sms.segments(c).encoding == "UCS-2"))[:10]
            yield _advised(template, "a text should keep to GSM-7 letters, or it costs twice", f'"{odd}"')
        if size.count > 1:
            found = f"{size.count} segments ({size.units} {size.encoding} units)"
            yield _advised(template, "a text should fit one segment", found)
        return
    for part, text, limit in (("subject", made.subject or "", 45), ("preheader", made.preheader or "", 60)):
        if part == "subject" and len(text) > 78:
            yield _whole(template, "a subject must have at most 78 characters", f"{len(text)}")
        elif len(text) > limit:
            yield _advised(template, f"a {part} should have at most {limit} characters", f"{len(text)}")


def _whole(template: Template, rule: str, found: str) -> Problem:
    return Problem(template.sources[0], 1, rule, found)


def _advised(template: Template, rule: str, found: str) -> Problem:
    return Problem(template.sources[0], 1, rule, found, "advice")


class _Page(HTMLParser):
    """What the rules ask of a page: its links, images, words, headings and styles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.images: list[dict[str, str]] = []
        self.headings = 0
        self.longest_style = 0
        self.language = ""
        self._words: list[str] = []
        self._inside = ""

    @property
    def words(self) -> str:
        """The words a reader sees, in order."""
        return " ".join(self._words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._inside = tag
        if tag == "a":
            self.links.append(given.get("href", ""))
        elif tag == "img":
            self.images.append(given)
        elif tag == "h1":
            self.headings += 1
        elif tag == "html":
            self.language = given.get("lang", "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.longest_style = max(self.longest_style, len(data))
        elif self._inside != "title":
            self._words.append(data)
