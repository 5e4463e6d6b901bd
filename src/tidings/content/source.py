"""Template files read into one flat list of pieces: layout, blocks and includes joined, every piece with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from tidings.errors import TemplateError

LARGEST_FILE = 200_000  # bytes; a message is a few kilobytes, and static text is not counted while rendering
_DEEPEST = 10

_QUOTED = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_JINJA = re.compile(
    rf"(?P<comment>\{{#.*?#\}})"
    rf"|(?P<raw>\{{%[-+]?\s*raw\s*[-+]?%\}}(?P<literal>.*?)\{{%[-+]?\s*endraw\s*[-+]?%\}})"
    rf"|\{{%(?P<stmt>(?:{_QUOTED}|[^\"'])*?)%\}}"
    rf"|\{{\{{(?P<expr>(?:{_QUOTED}|[^\"'])*?)\}}\}}",
    re.DOTALL,
)
_OPENING = re.compile(r"\{%|\{\{|\{#")
_BLOCK = re.compile(r"^block\s+(\w+)\s*$")
_NAMED = re.compile(r"^(extends|include)\s+([\"'])([\w./-]+)\2\s*$")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a template file, as ``check`` prints it."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a template: literal text, or one Jinja statement or expression (without its delimiters)."""

    kind: Literal["text", "stmt", "expr"]
    body: str
    place: Place


@dataclass(frozen=True, slots=True)
class Block:
    """A named part that a template may fill in its layout."""

    name: str
    children: tuple[Piece | Block, ...]
    place: Place


_Nodes = Sequence["Piece | Block"]


@dataclass(frozen=True, slots=True)
class Sources:
    """One message's files, joined. ``frame`` is None for a file that extends nothing.

    ``parts`` are the blocks the layout does not know (subject, preheader, text); ``prelude`` the ``set``
    statements at the top of the file, which every part sees.
    """

    prelude: tuple[Piece, ...]
    frame: tuple[Piece, ...] | None
    parts: Mapping[str, tuple[Piece, ...]]
    files: tuple[tuple[str, str], ...]
    whole: tuple[Piece, ...] = field(default=())
    root: Place = field(default=Place("", 1))


def read(folder: Path, name: str) -> Sources:
    """Read a template, its layouts and includes. Raises TemplateError with file and line."""
    files: dict[str, str] = {}
    root = Place(_shown(folder, name), 1)
    tree, parent = _split(_tree(folder, name, files, root))
    if parent is None:
        return Sources((), None, {}, _kept(files), tuple(_flat(tree, {})), root)
    prelude = tuple(n for n in tree if isinstance(n, Piece) and n.kind == "stmt" and n.body.split()[0] == "set")
    filled = {n.name: n for n in tree if isinstance(n, Block)}
    for stray in (n for n in tree if isinstance(n, Piece) and n not in prelude and n.body.strip()):
        raise TemplateError(f"{stray.place}: outside a block only set statements may stand; found {_short(stray)}")
    frame, further = _split(_tree(folder, parent[0], files, parent[1]))
    if further is not None:
        raise TemplateError(f"{further[1]}: a layout may not extend another layout")
    known = set(_names(frame))
    parts = {name: tuple(_flat(b.children, {})) for name, b in filled.items() if name not in known}
    return Sources(prelude, tuple(_flat(frame, filled)), parts, _kept(files), root=root)


def _kept(files: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(files.items()))


def _split(tree: list[Piece | Block]) -> tuple[list[Piece | Block], tuple[str, Place] | None]:
    rest: list[Piece | Block] = []
    parent: tuple[str, Place] | None = None
    for node in tree:
        named = _NAMED.match(node.body) if isinstance(node, Piece) and node.kind == "stmt" else None
        if named is not None and named[1] == "extends":
            if parent is not None:
                raise TemplateError(f"{node.place}: a template extends one layout; found a second extends")
            parent = (named[3], node.place)
        else:
            rest.append(node)
    return rest, parent


def _tree(folder: Path, name: str, files: dict[str, str], asked: Place, depth: int = 0) -> list[Piece | Block]:
    if depth > _DEEPEST:
        raise TemplateError(f"{asked}: includes are nested deeper than {_DEEPEST}; found {name}")
    text = _text(folder, name, asked)
    files[name] = text
    stack: list[tuple[str, Place, list[Piece | Block]]] = [("", asked, [])]
    for piece in _pieces(text, _shown(folder, name)):
        opened = _BLOCK.match(piece.body) if piece.kind == "stmt" else None
        named = _NAMED.match(piece.body) if piece.kind == "stmt" else None
        if opened is not None:
            stack.append((opened[1], piece.place, []))
        elif piece.kind == "stmt" and piece.body.split()[:1] == ["endblock"]:
            if len(stack) == 1:
                raise TemplateError(f"{piece.place}: endblock without a block")
            block, place, children = stack.pop()
            stack[-1][2].append(Block(block, tuple(children), place))
        elif named is not None and named[1] == "include":
            stack[-1][2].extend(_tree(folder, named[3], files, piece.place, depth + 1))
        elif piece.kind == "stmt" and piece.body.split()[:1] in (["block"], ["include"], ["import"], ["from"]):
            raise TemplateError(
                f'{piece.place}: write block NAME or include "FILE", without anything more; found {_short(piece)}'
            )
        else:
            stack[-1][2].append(piece)
    if len(stack) > 1:
        raise TemplateError(f"{stack[-1][1]}: block {stack[-1][0]} has no endblock")
    return stack[0][2]


def _text(folder: Path, name: str, asked: Place) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not (folder / path).is_file():
        raise TemplateError(f"{asked}: no such template file; found {name}")
    content = (folder / path).read_bytes()
    if len(content) > LARGEST_FILE:
        raise TemplateError(f"{_shown(folder, name)}: must be at most {LARGEST_FILE} bytes; found {len(content)}")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise TemplateError(f"{_shown(folder, name)}: must be UTF-8; found byte {error.start} that is not") from None


def _pieces(text: str, file: str) -> Iterator[Piece]:
    at, line = 0, 1
    for found in _JINJA.finditer(text):
        before = text[at : found.start()]
        yield from _literal(before, Place(file, line))
        line += before.count("\n")
        place = Place(file, line)
        if found["literal"] is not None:
            yield Piece("text", found["literal"], place)
        elif found["stmt"] is not None:
            yield Piece("stmt", found["stmt"].strip("+-\n\t "), place)
        elif found["expr"] is not None:
            yield Piece("expr", found["expr"].strip("-\n\t "), place)
        line += found[0].count("\n")
        at = found.end()
    yield from _literal(text[at:], Place(file, line))


def _literal(text: str, place: Place) -> Iterator[Piece]:
    stray = _OPENING.search(text)
    if stray is not None:
        line = place.line + text[: stray.start()].count("\n")
        raise TemplateError(f"{place.file}:{line}: {stray[0]} is opened and never closed")
    if text:
        yield Piece("text", text, place)


def _flat(nodes: _Nodes, filled: Mapping[str, Block]) -> list[Piece]:
    pieces: list[Piece] = []
    for node in nodes:
        if isinstance(node, Piece):
            pieces.append(node)
            continue
        own = _flat(node.children, filled)
        override = filled.get(node.name)
        if override is None:
            pieces.extend(own)
            continue
        for piece in _flat(override.children, filled):
            if piece.kind == "expr" and piece.body.replace(" ", "") == "super()":
                pieces.extend(own)
            else:
                pieces.append(piece)
    return pieces


def _names(nodes: _Nodes) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Block):
            yield node.name
            yield from _names(node.children)


def _short(piece: Piece) -> str:
    return '"' + " ".join(piece.body.split())[:60] + '"'


def _shown(folder: Path, name: str) -> str:
    return f"{folder.name}/{name}"
