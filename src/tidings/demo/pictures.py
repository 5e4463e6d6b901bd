"""Product pictures drawn by rule: a plain shape of each kind of thing in its colour, on paper, as a PNG."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

import numpy as np

from tidings.demo.streams import Flags, Floats

_COLOURS = {
    "oat": "#CDBFA6", "sage": "#93A58C", "slate": "#6E7A84", "rust": "#A65B3C", "chalk": "#EFEBE2", "ink": "#2B3242",
    "clay": "#B5735A", "oak": "#C19A6B", "walnut": "#6B4A34", "black": "#2A2927", "moss": "#6C7351", "navy": "#2F3E5C",
    "clear": "#C9D8DA", "smoke": "#7C7F80", "amber": "#B9772F",
}  # fmt: skip
_PAPER, _FLOOR = (230, 224, 213), (214, 206, 192)
_ROUND = ("bowl", "plate", "tray", "basket")
_TALL = ("vase", "pitcher", "candle holder", "mug")
_LIGHT = ("lamp", "pendant", "floor lamp")
# What stands on the floor by itself; the rest is set down a little lower.
_STANDING = ("lamp", "pendant", "floor lamp", "stool", "shelf", "trousers", "coat", "dress", "robe")
_WORN = ("sweater", "cardigan", "shirt", "overshirt", "coat", "dress", "robe")


def _rgb(colour: str) -> tuple[int, int, int]:
    value = _COLOURS.get(colour, "#9A9288")
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def _shape(noun: str, x: Floats, y: Floats) -> list[tuple[Flags, float]]:
    """Return the parts of a thing and how light each is, in coordinates from -1 to 1, y downwards."""
    if noun in _LIGHT:
        top = -0.2 if noun == "pendant" else -0.45
        shade = (y > top) & (y < top + 0.5) & (np.abs(x) < 0.2 + 0.42 * (y - top))
        stem = (np.abs(x) < 0.018) & ((y > top) & (y < 0.72) if noun != "pendant" else (y < top))
        foot = ((x / 0.26) ** 2 + ((y - 0.72) / 0.05) ** 2 < 1) & (noun != "pendant")
        return [(stem, 0.7), (foot, 0.75), (shade, 1.0)]
    if noun in _ROUND:
        rim = (x / 0.62) ** 2 + ((y - 0.05) / 0.18) ** 2 < 1
        body = ((x / 0.62) ** 2 + ((y - 0.05) / 0.5) ** 2 < 1) & (y > 0.05)
        inside = (x / 0.55) ** 2 + ((y - 0.05) / 0.14) ** 2 < 1
        return [(body, 0.92), (rim, 1.08), (inside, 0.8)]
    if noun in _TALL:
        # A mug is half as high as a vase, a candle holder half as wide.
        x, y = (x / 0.55 if noun == "candle holder" else x), ((y - 0.28) / 0.6 if noun == "mug" else y)
        width = 0.24 + 0.14 * np.sin((y + 0.5) * 2.6)
        body = (np.abs(x) < width) & (y > -0.5) & (y < 0.6)
        mouth = (x / 0.22) ** 2 + ((y + 0.5) / 0.06) ** 2 < 1
        ring = ((x - 0.36) / 0.2) ** 2 + (y / 0.24) ** 2
        handle = (ring < 1) & (ring > 0.55) & (noun in ("pitcher", "mug"))
        return [(handle, 0.85), (body, 1.0), (mouth, 0.7)]
    if noun == "mirror":
        frame = (x / 0.4) ** 2 + ((y - 0.02) / 0.6) ** 2
        return [(frame < 1, 1.0), (frame < 0.85, 1.2)]
    if noun in _WORN:
        length = 0.72 if noun in ("coat", "dress", "robe") else 0.5
        body = (np.abs(x) < 0.32 + 0.08 * (y + 0.5)) & (y > -0.5) & (y < length)
        sleeve = (np.abs(np.abs(x) - 0.37 - 0.2 * (y + 0.5)) < 0.09) & (y > -0.48) & (y < 0.3)
        neck = (x / 0.13) ** 2 + ((y + 0.5) / 0.09) ** 2 < 1
        return [(sleeve, 0.9), (body, 1.0), (neck, 0.62), ((np.abs(x) < 0.006) & body & (noun == "cardigan"), 0.7)]
    if noun == "trousers":
        leg = (np.abs(np.abs(x) - 0.17) < 0.15) & (y > -0.3) & (y < 0.72)
        return [(leg, 1.0), ((np.abs(x) < 0.31) & (y > -0.55) & (y < -0.25), 0.94)]
    if noun in ("stool", "shelf"):
        seat = (np.abs(x) < 0.5) & (np.abs(y + 0.1) < 0.06)
        leg = (np.abs(np.abs(x) - 0.38 - 0.05 * y) < 0.035) & (y > -0.1) & (y < 0.7)
        return [(leg, 0.82), (seat, 1.05)]
    # Folded cloth: a stack of soft layers.
    layers = [
        ((np.abs(x) / 0.62) ** 6 + (np.abs(y - 0.42 + 0.26 * n) / 0.15) ** 4 < 1, 1.0 - 0.06 * (n % 2))
        for n in range(3)
    ]
    return [*layers, ((np.abs(x) < 0.6) & (np.abs(np.sin(y * 40)) < 0.08) & (y > -0.2) & (y < 0.5), 0.9)]


@lru_cache(maxsize=512)
def picture(noun: str, colour: str, width: int = 1200, height: int = 900) -> bytes:
    """Return a PNG of a product, opaque, usually below 60 KB."""
    scale = 2 / height
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = (x - width / 2) * scale, (y - height / 2) * scale
    pixels = np.where((y > 0.55)[..., None], np.array(_FLOOR), np.array(_PAPER)).astype(np.float64)
    shadow = (x / 0.7) ** 2 + ((y - 0.74) / 0.07) ** 2 < 1
    pixels[shadow] *= 0.93
    base = np.array(_rgb(colour), dtype=np.float64)
    for part, light in _shape(noun, x, y - 0.13 if noun not in _STANDING else y):
        # Three broad bands of light from the left; few tones keep the file small.
        band = light * (1.04 - 0.07 * np.digitize(x[part], (-0.12, 0.16)))
        pixels[part] = np.clip(base[None, :] * band[:, None], 0, 255)
    return _png(pixels.astype(np.uint8))


def _png(pixels: np.ndarray) -> bytes:
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
