"""The small pictures beside the figures: geometry as SVG attributes only, colour by class, one sentence each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tidings.measure.figures import Incremental, Verdict


@dataclass(frozen=True, slots=True)
class Scale:
    """From minor units to percent of a picture's width; always holds zero, with room for a dot at both ends."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float | None]) -> Scale:
        """Return the scale that holds all values and zero."""
        known = [value for value in values if value is not None]
        low, high = min([0.0, *known]), max([0.0, *known])
        return cls(low, high if high > low else low + 1.0)

    def at(self, value: float) -> float:
        """Return where a value lies, percent of the width."""
        return round(3 + 94 * (value - self.low) / (self.high - self.low), 2)


def round_step(width: float) -> float:
    """Return 1, 2 or 5 times a power of ten, the largest that is not wider than ``width``."""
    power = 10.0 ** math.floor(math.log10(max(width, 1e-6)))
    return max(step * power for step in (1, 2, 5) if step * power <= width or step == 1)


def pair(revenue: int, found: Incremental | None, scale: Scale, sentence: str) -> Markup:
    """Return the attributed bar with the incremental interval over it, on one scale with a zero line."""
    zero, end = scale.at(0), scale.at(revenue)
    left, width = min(zero, end), max(abs(end - zero), 0.3)
    parts = [f'<rect class="bar" x="{left}%" y="5" width="{width:.2f}%" height="10" rx="1"/>']
    parts += [f'<line class="zero" x1="{zero}%" x2="{zero}%" y1="1" y2="19"/>']
    parts += _interval(found, scale, caps=False)
    return _picture("pair", 20, sentence, parts)


def interval(found: Incremental | None, scale: Scale, sentence: str) -> Markup:
    """Return the incremental interval alone, with end marks and a zero line."""
    zero = scale.at(0)
    parts = [f'<line class="zero soft" x1="{zero}%" x2="{zero}%" y1="1" y2="19"/>']
    parts += _interval(found, scale, caps=True)
    return _picture("interval", 20, sentence, parts)


def _interval(found: Incremental | None, scale: Scale, *, caps: bool) -> list[str]:
    if found is None or found.total is None or found.total_low is None or found.total_high is None:
        return []
    low, high, at = scale.at(found.total_low), scale.at(found.total_high), scale.at(found.total)
    sure = found.verdict in (Verdict.PROVEN, Verdict.HARMFUL) and not found.suspect
    dashed = "" if sure else ' stroke-dasharray="4 3"'
    parts = [f'<line class="range" x1="{low}%" x2="{high}%" y1="10" y2="10"{dashed}/>']
    if caps:
        parts += [f'<line class="range" x1="{end}%" x2="{end}%" y1="6" y2="14"/>' for end in (low, high)]
    kind = "dot" if sure else "dot hollow"
    return [*parts, f'<circle class="{kind}" cx="{at}%" cy="10" r="4"/>']


def bar(count: int, most: int, *, grey: bool = False) -> Markup:
    """Return one bar of a ranked list. The number stands beside it, so it is hidden from readers."""
    width = max(100 * count / most, 0.6) if most and count else 0
    kind = "bar grey" if grey else "bar"
    return Markup(
        '<svg class="mark" width="100%" height="12" aria-hidden="true">'
        f'<rect class="{kind}" x="0" y="0" width="{width:.2f}%" height="12" rx="1"/></svg>'
    )


def sparkline(values: Sequence[float], sentence: str) -> Markup:
    """Return a line from zero over an area; stretched to the card's width."""
    most = max([*values, 0.0]) or 1.0
    step = 100 / max(len(values) - 1, 1)
    points = " ".join(f"{n * step:.2f},{39 - 36 * max(value, 0) / most:.2f}" for n, value in enumerate(values))
    return Markup(
        '<svg class="spark" viewBox="0 0 100 40" width="100%" height="40" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(sentence)}">'
        f'<polygon class="area" points="0,40 {points} 100,40"/>'
        f'<polyline class="line" points="{points}" vector-effect="non-scaling-stroke"/></svg>'
    )


def _picture(kind: str, height: int, sentence: str, parts: Sequence[str]) -> Markup:
    return Markup(
        f'<svg class="mark {kind}" width="100%" height="{height}" role="img" aria-label="{escape(sentence)}">'
        f"{''.join(parts)}</svg>"
    )
