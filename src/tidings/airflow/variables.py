"""A second witness in Airflow's own database: each lane tells there where it began and ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from tidings.jobs.witness import Seen

log = logging.getLogger(__name__)

MOST_LANES = 4


class VariableWitness:
    """Airflow Variables, one a lane, so that no lane overwrites what another knows; any lane reads all of them.

    Where Airflow's database and the ledger are restored together they remember the same, and only the file tells.
    """

    def __init__(self, shop: str, lane: int) -> None:
        self._names = [f"tidings_witness_{shop}_{number}" for number in range(1, MOST_LANES + 1)]
        self._own = f"tidings_witness_{shop}_{lane}"

    def seen(self) -> Sequence[Seen]:
        """Return what the lanes told; what somebody has edited is left out, with a word in the log."""
        from airflow.sdk import Variable

        found = []
        for name in self._names:
            text = Variable.get(name, default=None)
            if not text:
                continue
            try:
                found.append(Seen.read(text))
            except ValueError:
                log.warning("variable %s is not as Tidings wrote it", name)
        return found

    def note(self, seen: Seen) -> None:
        """Keep this lane's word. Raises OSError when Airflow does not take it."""
        from airflow.sdk import Variable
        from airflow.sdk.exceptions import AirflowException

        try:
            Variable.set(
                self._own, seen.text(), description="What Tidings sent last; it is not restored with the ledger"
            )
        except (AirflowException, ImportError) as trouble:  # outside a task Airflow has nobody to hand it to
            raise OSError(f"a variable could not be set: {type(trouble).__name__}") from trouble


def lane_witness(lane: int) -> Callable[[str], VariableWitness]:
    """Return what makes, from the shop's id, this lane's witness."""
    return lambda shop: VariableWitness(shop, lane)
