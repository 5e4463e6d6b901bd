"""docs/settings.md and docs/campaigns.md, printed from the models that read the files, so that neither can be wrong.

Run ``python -m tidings.definitions.pages docs`` after a change; a test compares.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tidings.definitions.campaign import Campaign
from tidings.detect.base import Trigger
from tidings.detect.walk import trigger_types
from tidings.fields import written
from tidings.settings.shop import Settings
from tidings.settings.words import Section

_GENERATED = "<!-- Printed by `python -m tidings.definitions.pages docs`; do not edit. -->"

_SETTINGS_HEAD = f"""\
# tidings.yaml: the shop

{_GENERATED}

Everything that holds for all campaigns. Keys that are not listed are mistakes; `tidings check` names the nearest one.

Durations are written `15m`, `1h`, `7d`; shares `10%`; clock times `"21:00"`; amounts per currency `{{EUR: 20}}`.
No secret stands in this file: passwords and keys come from connections (`AIRFLOW_CONN_<NAME>`, as JSON or URI, or the
file named by `AIRFLOW_CONN_<NAME>_FILE`) and from `TIDINGS_PEPPER`, `TIDINGS_LINK_KEYS` (`id:base64,...`; the first
signs, the others still verify), `TIDINGS_SENDGRID_WEBHOOK_KEY` and `TIDINGS_TWILIO_AUTH_TOKEN` (each also with
`_FILE`; several with commas between while the provider changes from one to the next), or from the extra of a
connection named `tidings`. Until `production: true` missing ones are made and kept in `.tidings/secrets.json`.
"""

_CAMPAIGNS_HEAD = f"""\
# triggers/*.yaml: the campaigns

{_GENERATED}

One file is one campaign. Its name is the campaign's name in Airflow and may change; `id:` and the steps' `name:` are
part of every key and may not, or people would be written to again. A mistake stops its own campaign and no other.

What a campaign does not say comes from `defaults:` in tidings.yaml; the defaults below hold when that is silent, too.
"""


def settings_page() -> str:
    """Return docs/settings.md."""
    return "\n".join([_SETTINGS_HEAD, _table(Settings), *_groups(Settings)]).rstrip() + "\n"


def campaigns_page() -> str:
    """Return docs/campaigns.md."""
    parts = [_CAMPAIGNS_HEAD, _table(Campaign, skip=("name",)), *_groups(Campaign)]
    for name, trigger in trigger_types().items():
        doc = " ".join((trigger.__doc__ or "").split())
        parts += [f"## detect, type: {name}\n\n{doc}\n", _needs("Needs", trigger.requires)]
        if trigger.uses:
            parts.append(_needs("Is sharper with", trigger.uses))
        parts.append(_table(trigger, skip=("type",)))
    return "\n".join(parts).rstrip() + "\n"


def _needs(word: str, tables: Mapping[str, tuple[str, ...]]) -> str:
    told = "; ".join(f"`{table}` ({', '.join(columns)})" for table, columns in tables.items())
    return f"{word}: {told}.\n"


def _groups(model: type[BaseModel]) -> Iterator[str]:
    """Yield a table for each group of keys inside a model; groups of one shape share it."""
    places: dict[type[BaseModel], list[str]] = {}
    for place, inner in _inside(model, ""):
        places.setdefault(inner, []).append(place)
    for inner, found in places.items():
        doc = " ".join((inner.__doc__ or "").replace("``", "`").split())
        yield f"## {', '.join(found)}\n\n{doc}\n"
        yield _table(inner)


def _inside(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        inner = _model(field.annotation)
        if inner is not None and inner is not Trigger:
            place = f"{path}{field.alias or name}"
            yield place, inner
            yield from _inside(inner, f"{place}.")


def _table(model: type[BaseModel], skip: tuple[str, ...] = ()) -> str:
    rows = ["| key | what it means | written as | default |", "|---|---|---|---|"]
    # What must be written comes first; inherited keys, which mostly are left out, last.
    own = [name for name in model.model_fields if any(name in one.__annotations__ for one in _line_of(model)[:-1])]
    names = [*own, *(name for name in model.model_fields if name not in own)]
    for name in names:
        field = model.model_fields[name]
        if name not in skip:
            what = " ".join((field.description or "").split()).replace("|", "\\|")
            rows.append(f"| `{field.alias or name}` | {what} | {kind(field.annotation)} | {_default(field)} |")
    return "\n".join(rows) + "\n"


def _line_of(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [one for one in model.__mro__ if issubclass(one, BaseModel) and one not in (BaseModel, Section, Trigger)]


def kind(annotation: Any) -> str:
    """Return how a value is written, in words."""
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return kind(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(kind(one) for one in arguments if one is not type(None))
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin in (list, tuple):
        return f"list of {kind(arguments[0])}"
    if origin is dict:
        return "amount per currency" if arguments[1] is int else f"{kind(arguments[1])} per name"
    return _plain(annotation)


def _plain(annotation: Any) -> str:
    words = {timedelta: "duration", Fraction: "share", time: "clock time", bool: "true or false", int: "whole number"}
    words |= {float: "number", str: "text", date: "day"}
    if annotation in words:
        return words[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{one.value}`" for one in annotation)
    return "group of keys"


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if value is PydanticUndefined:
        value = field.get_default(call_default_factory=True, validated_data={})
    return _shown(value)


def _shown(value: Any) -> str:
    match value:
        case None | "" | () | {}:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case timedelta():
            return f"`{written(value)}`"
        case Fraction():
            return f"`{float(value * 100):g}%`"
        case time():
            return f'`"{value:%H:%M}"`'
        case Enum():
            return f"`{value.value}`"
        case BaseModel():
            told = value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
            return f"`{_flow(told)}`" if told else "as below"
        case tuple():
            return f"`{_flow([one.model_dump(mode='json') if isinstance(one, BaseModel) else one for one in value])}`"
        case _:
            return f"`{value}`"


def _flow(value: Any) -> str:
    """Return a value as one line of YAML."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key}: {_flow(one)}" for key, one in value.items() if one is not None)
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_flow(one) for one in value)}]"
    return f'"{value}"' if isinstance(value, str) and ":" in value else str(value)


def _model(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside an annotation, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for one in typing.get_args(annotation):
        found = _model(one)
        if found is not None:
            return found
    return None


def main(folder: Path) -> None:
    """Write both pages."""
    (folder / "settings.md").write_text(settings_page(), encoding="utf-8")
    (folder / "campaigns.md").write_text(campaigns_page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
