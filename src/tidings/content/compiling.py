"""MJML and text compiled once per template version, with Jinja kept aside, so that a message costs Jinja only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from inscriptis import get_text
from inscriptis.css_profiles import STRICT_CSS_PROFILE
from inscriptis.html_properties import Display
from inscriptis.model.config import ParserConfig
from inscriptis.model.html_element import HtmlElement
from markupsafe import escape
from mjml import mjml2html

from tidings.content.brand import BrandView
from tidings.content.guard import ascii_html
from tidings.content.source import Piece, Place
from tidings.errors import TemplateError

# mrml prints some characters of an attribute as escapes ("\u{a0}"), so all but ASCII is kept aside as well.
_ODD = re.compile(r"[^\x00-\x7f]+")
_MARK = re.compile(r"zq(\d+)qz")
_TAG = re.compile(r"<(/?)(mjml|mj-[\w-]+)((?:\s+(?:[^<>\"']|\"[^\"]*\"|'[^']*')*)?)(/?)>|<!--.*?-->", re.DOTALL)
_HREF = re.compile(r"\bhref\s*=\s*(\"[^\"]*\"|'[^']*')")
_BRAND = re.compile(r"^brand((?:\.[a-z]\w*)+)$")
# Between two of these stands a whole style sheet, or none of one.
_STYLE = re.compile(r"(?=<style\b)|(?<=</style>)", re.IGNORECASE)
# Elements whose content is HTML: between their tags nothing is MJML's business.
_ENDING = frozenset(
    ("mj-text", "mj-button", "mj-raw", "mj-table", "mj-title", "mj-preview", "mj-style", "mj-navbar-link",
     "mj-social-element", "mj-accordion-title", "mj-accordion-text")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compiled:
    """Jinja source whose every statement stands on a line of its own, and the place each line came from."""

    source: str
    places: tuple[Place, ...]

    def place(self, line: int | None) -> Place:
        """Return the place in the template files of a line of ``source``, counted from 1."""
        return self.places[min(max((line or 1) - 1, 0), len(self.places) - 1)]


class _Kept:
    """What is kept aside while a library works on the rest, and how each thing is put back."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []

    def mark(self, piece: Piece) -> str:
        self.pieces.append(piece)
        return f"zq{len(self.pieces) - 1}qz"

    def aside(self, pieces: Iterable[Piece]) -> str:
        return "".join(
            self._literal(piece) if piece.kind == "text" else self.mark(piece)
            for piece in pieces
        )  # fmt: skip

    def _literal(self, piece: Piece) -> str:
        # A literal that spells a mark of ours, or an opened Jinja delimiter from a raw block, is kept aside whole.
        if _MARK.search(piece.body) or "{{" in piece.body or "{%" in piece.body or "{#" in piece.body:
            return self.mark(piece)
        return _ODD.sub(lambda odd: self.mark(Piece("text", odd[0], piece.place)), piece.body)


def baked(pieces: Iterable[Piece], brand: BrandView, quote: Callable[[str], str]) -> list[Piece]:
    """Return the pieces with every ``{{ brand.x }}`` written out: a shop's name does not change per message."""
    found: list[Piece] = []
    for piece in pieces:
        named = _BRAND.match(piece.body) if piece.kind == "expr" else None
        value: object = brand
        for step in named[1].strip(".").split(".") if named else ():
            value = getattr(value, step, None) if not callable(value) else None
        if named is not None and isinstance(value, str):
            found.append(Piece("text", quote(value), piece.place))
        else:
            found.append(piece)
    return found


def in_html(value: str) -> str:
    """Return a value as HTML text or attribute."""
    return str(escape(value))


def html(prelude: Sequence[Piece], frame: Sequence[Piece], brand: BrandView) -> Compiled:
    """Return the Jinja source of the HTML part. Raises TemplateError where MJML cannot keep a piece of Jinja."""
    kept = _Kept()
    pieces = baked(frame, brand, in_html)
    try:
        # MJML loads fonts that it knows from elsewhere: whoever serves them would learn who reads what, and when.
        page = mjml2html(_structural(kept.aside(pieces)), fonts={})
    except ValueError as error:
        raise TemplateError(f"{frame[0].place}: is not valid MJML: {_told(str(error), kept)}") from None
    written = {int(mark) for mark in _MARK.findall(page)}
    for number, piece in enumerate(kept.pieces):
        if number not in written and piece.kind != "text":
            raise TemplateError(
                f"{piece.place}: MJML drops Jinja that stands here; put it around a whole element, in its text or "
                f'in the quotes of an attribute; found "{" ".join(piece.body.split())[:60]}"'
            )
    return _assembled([*prelude, *in_ascii(_restored(page, kept))])


def in_ascii(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield the pieces of a page in ASCII, but for style sheets, which know no character references."""
    styled = False
    for piece in pieces:
        if piece.kind != "text":
            yield piece
            continue
        words = []
        for part in _STYLE.split(piece.body):
            styled = styled or part[:6].lower() == "<style"
            words.append(part if styled else ascii_html(part))
            styled = styled and part[-8:].lower() != "</style>"
        yield Piece("text", "".join(words), piece.place)


def plain(pieces: Iterable[Piece], brand: BrandView) -> list[Piece]:
    """Return the pieces of a part that is not HTML, with lines of statements alone taking no line."""
    kept = _Kept()
    text = kept.aside(baked(pieces, brand, str))
    return _lines(text, kept)


def derived_text(frame: Sequence[Piece], brand: BrandView) -> list[Piece]:
    """Return the text part as a template: the same words in the same order, links spelled out after their words."""
    kept = _Kept()
    source = kept.aside(baked(frame, brand, in_html))
    body = source.partition("<mj-body")[2].partition(">")[2].rpartition("</mj-body>")[0]
    config = ParserConfig(css=_TEXT_CSS, display_links=False, display_images=False)
    return _lines(get_text(f"<html><body>{_simple(body)}</body></html>", config), kept, blank_lines=True)


def joined(parts: Sequence[Sequence[Piece]], between: str) -> Compiled:
    """Return one Jinja source of several parts, so that a message needs one context for all of them."""
    pieces: list[Piece] = []
    for number, part in enumerate(parts):
        if number:
            pieces.append(Piece("text", between, Place("", 1)))
        pieces.extend(part)
    return _assembled(pieces)


_TEXT_CSS = dict(STRICT_CSS_PROFILE) | {
    "section": HtmlElement(display=Display.block, margin_before=1, margin_after=1),
    "div": HtmlElement(display=Display.block),
    "h1": HtmlElement(display=Display.block, margin_before=1, margin_after=1),
}


def _structural(source: str) -> str:
    """Wrap marks between MJML elements into mj-raw, where MJML lets them through."""
    out: list[str] = []
    inside: list[str] = []
    at = 0
    for tag in _TAG.finditer(source):
        if tag[2] is None:
            continue
        closing, name, selfclosed = bool(tag[1]), tag[2], bool(tag[4]) or tag[3].endswith("/")
        if inside and inside[-1] in _ENDING and not (closing and name == inside[-1]):
            continue
        between = source[at : tag.start()]
        out.append(between if not inside or inside[-1] in _ENDING else _wrapped(between))
        out.append(tag[0])
        at = tag.end()
        if closing:
            while inside and inside.pop() != name:
                pass
        elif not selfclosed:
            inside.append(name)
    out.append(source[at:])
    return "".join(out)


def _wrapped(text: str) -> str:
    return _MARK.sub(lambda mark: f"<mj-raw>{mark[0]}</mj-raw>", text)


def _told(error: str, kept: _Kept) -> str:
    """Return mrml's complaint in one line, with what was kept aside put back."""
    return _MARK.sub(lambda mark: kept.pieces[int(mark[1])].body, " ".join(error.split()))[:200]


def _restored(page: str, kept: _Kept) -> list[Piece]:
    pieces: list[Piece] = []
    for number, part in enumerate(_MARK.split(page)):
        if number % 2:
            pieces.append(kept.pieces[int(part)])
        elif part:
            pieces.append(Piece("text", part, pieces[-1].place if pieces else Place("", 1)))
    return pieces


def _lines(text: str, kept: _Kept, blank_lines: bool = False) -> list[Piece]:
    """Return the pieces of a text; a line of statements alone leaves no empty line behind."""
    pieces: list[Piece] = []
    for line in text.strip().split("\n"):
        parts = _restored(line.strip() if blank_lines else line, kept)
        alone = parts and all(p.kind == "stmt" or not p.body.strip() for p in parts)
        if alone and any(p.kind == "stmt" for p in parts):
            pieces.extend(p for p in parts if p.kind == "stmt")
        else:
            pieces.extend([*parts, Piece("text", "\n", parts[-1].place if parts else Place("", 1))])
    return pieces


def _simple(body: str) -> str:
    """Return MJML's body as the plain HTML a text converter reads well: no layout tables, links after their words."""
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"<mj-button\b((?:[^>\"']|\"[^\"]*\"|'[^']*')*)>(.*?)</mj-button>", _button, body, flags=re.DOTALL)
    body = re.sub(r"<a\b((?:[^>\"']|\"[^\"]*\"|'[^']*')*)>(.*?)</a>", _anchor, body, flags=re.DOTALL)
    body = re.sub(r"</t[dh]>", " ", body)
    body = re.sub(r"</?(?:mj-table|table|tbody|thead|td|th)\b[^>]*>", "", body)
    # The layout's own typography: an en space parts a label from its value, an em space two links side by side.
    body = body.replace("&ensp;", ": ").replace("&emsp;", "<br>")
    body = re.sub(r"<(/?)tr\b[^>]*>", r"<\1div>", body)
    return _TAG.sub(_element, body)


def _button(found: re.Match[str]) -> str:
    return f"<section>{_with_link(found[1], found[2])}</section>"


def _anchor(found: re.Match[str]) -> str:
    return _with_link(found[1], found[2])


def _with_link(attributes: str, words: str) -> str:
    href = _HREF.search(attributes)
    return f"{words.strip()}: {href[1][1:-1]}" if href else words


def _element(tag: re.Match[str]) -> str:
    name = tag[2] or ""
    if name in ("mj-section", "mj-wrapper", "mj-hero"):
        return f"<{tag[1]}section>"
    if name in ("mj-text", "mj-column", "mj-accordion-title", "mj-accordion-text", "mj-social-element"):
        return f"<{tag[1]}div>"
    return ""


def _assembled(pieces: Iterable[Piece]) -> Compiled:
    """Return Jinja source in which every piece begins a line of its own, inside its delimiters: no output changes."""
    out: list[str] = []
    places: list[Place] = [Place("", 1)]
    for piece in pieces:
        match piece.kind:
            case "stmt":
                out.append(f"{{%\n{piece.body} %}}")
            case "expr":
                out.append(f"{{{{\n{piece.body} }}}}")
            case "text":
                out.append(_literal_source(piece.body))
        breaks = out[-1].count("\n")
        places.extend([piece.place] * breaks)
    return Compiled("".join(out), tuple(places))


def _literal_source(text: str) -> str:
    if "{{" not in text and "{%" not in text and "{#" not in text:
        return text
    return "".join("{{'{'}}" if c == "{" else c for c in text)
