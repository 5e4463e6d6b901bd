"""The trigger types there are: whatever stands in this folder, found by walking it, each name once."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import tidings.detect
from tidings.detect.base import Trigger


def trigger_types(package: ModuleType = tidings.detect) -> dict[str, type[Trigger]]:
    """Return every trigger type of the package by its name, sorted.

    Raises TypeError (our mistake, not a shop's) for a type without a name and for a name taken twice.
    """
    found: dict[str, type[Trigger]] = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda each: each.name):
        for trigger in _defined_in(importlib.import_module(f"{package.__name__}.{module.name}")):
            name = trigger.__dict__.get("type_name")
            if not name:
                raise TypeError(f"{trigger.__module__}.{trigger.__name__}: type_name: must be given")
            if name in found:
                raise TypeError(f'{trigger.__module__}: type_name: "{name}" is taken by {found[name].__module__}')
            found[name] = trigger
    return dict(sorted(found.items()))


def _defined_in(module: ModuleType) -> list[type[Trigger]]:
    return [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, Trigger) and each.__module__ == module.__name__ and not inspect.isabstract(each)
    ]
