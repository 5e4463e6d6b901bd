"""What every trigger type is: documented parameters, one set-based question, and "is it still true?"."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Select

from tidings.model.entry import Entry, Window
from tidings.model.message import SkipReason
from tidings.warehouse.tables import Shop, Tables


class Trigger(BaseModel, ABC):
    """A trigger type. Subclasses add parameters; the YAML's ``detect:`` validates straight into them.

    ``requires`` names the logical tables and columns without which the trigger cannot run; ``uses`` those
    that sharpen it when the shop has them (``tidings check`` prints both).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type_name: ClassVar[str]
    requires: ClassVar[Mapping[str, tuple[str, ...]]]
    uses: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    about_one_sku: ClassVar[bool] = False

    type: str

    def needed(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield what must be there for these parameters: the one that asks, a logical table, and its columns."""
        for table, columns in self.requires.items():
            yield "type", table, columns

    @property
    @abstractmethod
    def wait(self) -> timedelta:
        """The time between an entry's anchor and the moment it is due (``entered_at = anchor_at + wait``)."""

    @property
    def holds(self) -> timedelta | None:
        """How long a person who was told counts against the pieces that are there; None: nothing here is few."""
        return None

    @abstractmethod
    def found(self, tables: Tables, window: Window) -> Select[Any]:
        """Return the one SELECT that finds every entry due in the window; ``window.end`` is ``as_of``.

        An entry is found when ``window.start < entered_at <= window.end`` and every exclusion known at
        ``window.end`` is passed. No row later than ``window.end`` is ever looked at.
        """

    def probe(self, tables: Tables, window: Window) -> Select[Any] | None:
        """Return a small question whose empty answer proves that ``found`` is empty; None when there is no such.

        It spares the large one in the many windows in which no price fell and nothing came back.
        """
        return None

    @abstractmethod
    def entries(self, shop: Shop, window: Window) -> Iterator[Entry]:
        """Yield the entries of ``found``, grouped while streaming; keys are unique within the run."""

    @abstractmethod
    def untrue(self, shop: Shop, entries: Sequence[Entry], as_of: datetime) -> dict[str, SkipReason]:
        """Return, for those of ``entries`` that are no longer true at ``as_of``, the reason by entry key.

        A bounded number of queries per call, whatever the number of entries.
        """
