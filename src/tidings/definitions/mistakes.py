"""A mistake in a file: where it stands, the rule, what was found and the nearest word that would have been right."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tidings.settings.words import found as quoted

Place = tuple[str | int, ...]

_LONGEST = 120
_UNKNOWN = "is not a known key"
_REQUIRED = "is required"
_INSIDE = re.compile(r"([a-z0-9_.]+): ")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to mend. ``file`` is relative to the project; ``field`` is a dotted path, empty for the file itself."""

    file: str
    field: str
    line: int | None
    rule: str
    found: str | None = None
    nearest: str | None = None

    @property
    def what(self) -> str:
        """The mistake without its file: ``detect.lapse (line 3): must be a duration; found "90"``."""
        place = self.field if len(self.field) <= _LONGEST else f"{self.field[:_LONGEST]}..."
        if self.line is not None:
            place = f"{place} (line {self.line})" if place else f"line {self.line}"
        text = f"{place}: {self.rule}" if place else self.rule
        if self.found is not None:
            shown = self.found if len(self.found) <= 3 * _LONGEST else f"{self.found[: 3 * _LONGEST]}..."
            text += f"; found {shown}"
        text = text if self.nearest is None else f'{text}; did you mean "{self.nearest}"?'
        # What stands in a file may command a terminal, or turn the line's direction.
        return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def nearest(word: object, valid: Iterable[str]) -> str | None:
    """Return the valid word that is most like this one, if any is alike."""
    choices = {choice.lower(): choice for choice in valid}
    close = difflib.get_close_matches(str(word).lower(), list(choices), n=1, cutoff=0.6)
    return choices[close[0]] if close else None


def from_validation(
    error: ValidationError,
    model: type[BaseModel],
    file: str,
    line: Callable[[Place], int | None],
    under: Place = (),
) -> list[Mistake]:
    """Return pydantic's findings as our mistakes; ``under`` is where the model stands in the file."""
    told = [_mistake(one, model, file, line, under) for one in error.errors(include_url=False)]
    # A misspelt key is told once, not once more as the key that is missing for it.
    meant = {(one.field.rpartition(".")[0], one.nearest) for one in told if one.rule == _UNKNOWN and one.nearest}
    return [one for one in told if one.rule != _REQUIRED or one.field.rpartition(".")[::2] not in meant]


def _mistake(
    one: ErrorDetails, model: type[BaseModel], file: str, line: Callable[[Place], int | None], under: Place
) -> Mistake:
    inner: Place = tuple(part for part in one["loc"] if part != "[key]")
    rule, shown, near = _told(one, model, inner)
    # A rule between several fields is raised by their group and names the field it would have changed.
    inside = _INSIDE.match(rule)
    if inside is not None:
        rule = rule[inside.end() :]
        inner = (*inner, *(int(part) if part.isdigit() else part for part in inside[1].split(".")))
    place: Place = (*under, *inner)
    return Mistake(file, ".".join(str(part) for part in place), line(place), rule, shown, near)


def _told(one: ErrorDetails, model: type[BaseModel], place: Place) -> tuple[str, str | None, str | None]:
    kind, context = one["type"], one.get("ctx", {})
    value = one.get("input")
    if kind == "value_error":
        rule, _, shown = str(context["error"]).partition("; found ")
        return rule, shown or None, None
    if kind == "extra_forbidden":
        names = known_keys(model, place[:-1])
        near = nearest(place[-1], names)
        return _UNKNOWN if near else f"{_UNKNOWN}; there are {', '.join(names)}", None, near
    if kind == "missing":
        return _REQUIRED, "nothing", None
    if kind in ("literal_error", "enum"):
        choices = _choices(str(context["expected"]))
        return f"must be {_either(choices)}", _shown(value), nearest(value, choices)
    return _RULES.get(kind, _plain)(one, context), _shown(value), None


def _plain(one: ErrorDetails, context: Mapping[str, Any]) -> str:
    text = one["msg"].removeprefix("Input ").removeprefix("should ")
    return f"must {text[:1].lower()}{text[1:]}" if text != one["msg"] else text[:1].lower() + text[1:]


def _rule(text: str) -> Callable[[ErrorDetails, Mapping[str, Any]], str]:
    return lambda one, context: text.format(**context)


_RULES: dict[str, Callable[[ErrorDetails, Mapping[str, Any]], str]] = {
    "string_type": _rule("must be text"),
    "int_type": _rule("must be a whole number"),
    "int_parsing": _rule("must be a whole number"),
    "int_from_float": _rule("must be a whole number"),
    "float_type": _rule("must be a number"),
    "float_parsing": _rule("must be a number"),
    "bool_type": _rule("must be true or false"),
    "bool_parsing": _rule("must be true or false"),
    "dict_type": _rule("must be a group of keys"),
    "model_type": _rule("must be a group of keys"),
    "model_attributes_type": _rule("must be a group of keys"),
    "list_type": _rule("must be a list"),
    "tuple_type": _rule("must be a list"),
    "set_type": _rule("must be a list"),
    "frozen_set_type": _rule("must be a list"),
    "too_short": _rule("must have at least {min_length} of them"),
    "too_long": _rule("must have at most {max_length} of them"),
    "string_too_short": _rule("must be at least {min_length} characters long"),
    "string_too_long": _rule("must be at most {max_length} characters long"),
    "string_pattern_mismatch": _rule("must be written like {pattern}"),
    "greater_than": _rule("must be above {gt}"),
    "greater_than_equal": _rule("must be at least {ge}"),
    "less_than": _rule("must be below {lt}"),
    "less_than_equal": _rule("must be at most {le}"),
}


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a group of keys"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    return quoted(str(value).lower() if isinstance(value, bool) else value)


def _choices(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").replace("'", "").split(", ")


def _either(choices: Sequence[str]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def known_keys(model: type[BaseModel], place: Place) -> list[str]:
    """Return the keys that may stand at a place inside a model, as people write them."""
    here: Any = model
    for part in place:
        here = _inside(here, part)
    found = _model_in(here)
    if found is None:
        return []
    return [field.alias or name for name, field in found.model_fields.items()]


def _inside(annotation: Any, part: str | int) -> Any:
    model = _model_in(annotation) if isinstance(part, str) else None
    if model is not None:
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                return field.annotation
    # A list's items and a group's values are the last argument: list[X], tuple[X, ...], dict[str, X].
    arguments = [one for one in _flat(annotation) if typing.get_origin(one) in (list, tuple, dict, Mapping)]
    for one in arguments:
        inner = [arg for arg in typing.get_args(one) if arg is not Ellipsis]
        if inner:
            return inner[-1]
    origins = [one for one in _flat(annotation) if typing.get_args(one)]
    return typing.get_args(origins[0])[-1] if origins else None


def _flat(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _flat(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [one for part in typing.get_args(annotation) for one in _flat(part)]
    return [annotation]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for one in _flat(annotation):
        if isinstance(one, type) and issubclass(one, BaseModel) and not issubclass(one, Enum):
            return one
    return None
