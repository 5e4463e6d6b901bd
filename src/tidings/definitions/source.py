"""YAML as plain values that remember their lines; what could harm or mislead a reader is a mistake, not a value.

Read from the parser's events, so that neither depth nor aliases can exhaust anything. Unquoted words mean what
they look like (YAML 1.2): ``no`` is a word and not false, ``21:00`` a time and not 1260, ``+358...`` a number to
call and not to count with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tidings.definitions.mistakes import Mistake, Place
from tidings.settings.words import found

MOST_BYTES = 256 * 1024
MOST_VALUES = 20_000
DEEPEST = 40

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS: dict[str, object] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})$")
_DECIMAL = re.compile(r"-?(0|[1-9]\d{0,17})\.\d{1,17}$")
_PLAIN_TAGS = {None, "!"} | {
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")
}


@dataclass(slots=True)
class Source:
    """One file: its value (None when it could not be read), the line of every place in it, its mistakes."""

    file: str
    value: object = None
    lines: dict[Place, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def line(self, place: Place) -> int | None:
        """Return the line of a place, or of the nearest group around it."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.lines:
                return self.lines[place[:length]]
        return None


class _Refused(Exception):
    def __init__(self, rule: str, line: int | None, shown: str | None = None, place: Place = ()) -> None:
        super().__init__(rule)
        self.rule, self.line, self.shown, self.place = rule, line, shown, place


def read(path: Path, file: str) -> Source:
    """Read one YAML file; whatever is wrong with it is in ``mistakes``."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return Source(file, mistakes=[Mistake(file, "", None, f"must be smaller than {MOST_BYTES // 1024} KB")])
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return Source(file, mistakes=[Mistake(file, "", None, "must exist", "no such file")])
    except UnicodeDecodeError:
        return Source(file, mistakes=[Mistake(file, "", None, "must be text in UTF-8", "other bytes")])
    except OSError as trouble:
        return Source(file, mistakes=[Mistake(file, "", None, "must be readable", str(trouble.strerror).lower())])
    return parse(text, file)


def parse(text: str, file: str) -> Source:
    """Return the value of one YAML document that is a group of keys."""
    source = Source(file)
    try:
        value = _Reader(yaml.parse(text, Loader=_Loader), source).document()
    except _Refused as refused:
        source.mistakes.append(Mistake(file, _path(refused.place), refused.line, refused.rule, refused.shown))
    except yaml.MarkedYAMLError as trouble:
        line = trouble.problem_mark.line + 1 if trouble.problem_mark else None
        source.mistakes.append(Mistake(file, "", line, f"must be valid YAML ({_problem(trouble)})"))
    except yaml.YAMLError:
        source.mistakes.append(Mistake(file, "", None, "must be valid YAML", "characters that YAML does not allow"))
    else:
        if isinstance(value, dict):
            source.value = value
        else:
            shown = "nothing" if value is None else found(value)
            source.mistakes.append(Mistake(file, "", None, "must be a group of keys such as `id: ...`", shown))
    return source


def _is_plain(event: Any) -> bool:
    return bool(event.implicit[0]) and event.tag is None


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _problem(trouble: yaml.MarkedYAMLError) -> str:
    return " ".join((trouble.problem or "something else").split())


def _path(place: Place) -> str:
    return ".".join(str(part) for part in place)


class _Reader:
    def __init__(self, events: Iterator[Any], source: Source) -> None:
        self._events = events
        self._source = source
        self._anchors: dict[str, tuple[object, int] | None] = {}
        self._count = 0

    def document(self) -> object:
        value: object = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused("must be one YAML document", _line(event), "a second one")
                value = self._node(next(self._events), ())
        return value

    def _node(self, event: Any, place: Place) -> object:
        line = _line(event)
        before = self._count
        self._grow(1, line, place)
        if len(place) > DEEPEST:
            raise _Refused(f"must not be nested deeper than {DEEPEST} groups", line)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line, place)
        if event.tag not in _PLAIN_TAGS:
            raise _Refused("must not use tags", line, found(event.tag), place)
        if event.anchor:
            self._anchors[event.anchor] = None
        value = self._value(event, place)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._count - before)
        return value

    def _value(self, event: Any, place: Place) -> object:
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(place)
        return _scalar(event.value) if _is_plain(event) else event.value

    def _alias(self, anchor: str | None, line: int, place: Place) -> object:
        if anchor is None or anchor not in self._anchors:
            raise _Refused("must refer to an anchor above it", line, found(f"*{anchor}"), place)
        known = self._anchors[anchor]
        if known is None:
            raise _Refused("must not contain itself", line, found(f"*{anchor}"), place)
        self._grow(known[1], line, place)
        return known[0]

    def _grow(self, by: int, line: int, place: Place) -> None:
        self._count += by
        if self._count > MOST_VALUES:
            raise _Refused(f"must hold at most {MOST_VALUES:,} values, repeated ones included", line, None, place[:1])

    def _mapping(self, place: Place) -> dict[object, object]:
        value: dict[object, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = _line(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise _Refused("must have words as keys", line, "a group", place)
            inner = (*place, event.value)
            # A shop's own values may be keys (`1: viewed`), so a key that is a number stays one.
            key = _scalar(event.value) if event.value and _is_plain(event) else event.value
            if key in value:
                shown = f"it again, first in line {self._source.lines[inner]}"
                self._source.mistakes.append(Mistake(self._source.file, _path(inner), line, "must stand once", shown))
                self._node(next(self._events), inner)
                continue
            self._source.lines[inner] = line
            value[key] = self._node(next(self._events), inner)
        return value

    def _sequence(self, place: Place) -> list[object]:
        value: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            inner = (*place, len(value))
            self._source.lines[inner] = _line(event)
            value.append(self._node(event, inner))
        return value


def _scalar(text: str) -> object:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text)
    if _DECIMAL.match(text):
        return float(text)
    return text
