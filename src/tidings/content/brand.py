"""The shop as its messages show it: names, promises and colours, one value for every template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one appearance, as #RRGGBB."""

    canvas: str
    paper: str
    text: str
    muted: str
    line: str
    button: str
    button_text: str


LIGHT = Palette(
    canvas="#F4F1EB", paper="#FFFFFF", text="#1C1B19", muted="#6B655C", line="#E4DED3",
    button="#1F3D36", button_text="#FFFFFF",
)  # fmt: skip
DARK = Palette(
    canvas="#121110", paper="#1D1B19", text="#F4F0E9", muted="#B0A99E", line="#3A3630",
    button="#DCE7E1", button_text="#12211D",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BrandView:
    """What templates know of the shop.

    ``url`` and ``cart_url`` are where buttons lead (https). ``delivery``, ``returns`` and ``questions`` are the
    three promises under the button; an empty one is left out. ``free_delivery_from`` is in minor units per
    currency. ``language`` is the language the templates are written in; ``zone`` the shop's own time zone.
    ``sms_opt_out`` ends every text message.
    """

    name: str
    legal_name: str
    postal_address: str
    url: str
    cart_url: str = ""
    new_url: str = ""
    delivery: str = ""
    returns: str = ""
    questions: str = ""
    sms_opt_out: str = "Reply STOP to opt out"
    language: str = "en"
    country: str = ""
    zone: str = "UTC"
    free_delivery_from: Mapping[str, int] = field(default_factory=dict)
    light: Palette = LIGHT
    dark: Palette = DARK
    image_box: str = "#E6E0D5"
    image_alt: str = "#4A463F"
