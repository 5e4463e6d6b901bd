"""What Fenmark sells: products of a small house for home and clothing, with their skus and list prices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidings.demo.places import CURRENCIES
from tidings.demo.streams import Floats, Ints, Texts, stream

_LINEN = ("oat", "sage", "slate", "rust")
_CLAY = ("chalk", "sage", "ink", "clay")
_WOOD = ("oak", "walnut", "black")
_WOOL = ("oat", "moss", "navy", "rust")
_GLASS = ("clear", "smoke", "amber")
_BODY = ("XS", "S", "M", "L", "XL")
_BED = ("140 x 200", "160 x 210", "220 x 240")
_RUG = ("80 x 200", "140 x 200", "170 x 240")
_TOWEL = ("30 x 50", "50 x 100", "70 x 140")
_ONE = ("",)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A sort of product: what it is called, in which category, from which price in euros, in what options."""

    noun: str
    category: str
    price: int
    colours: tuple[str, ...]
    sizes: tuple[str, ...]
    names: str


_KINDS = (
    _Kind("lamp", "Lighting", 129, _WOOD, _ONE, "Kajo Halla Usva Tuike Loimu Hohde"),
    _Kind("pendant", "Lighting", 189, _CLAY, _ONE, "Kaari Lumo Sarka Viiru"),
    _Kind("floor lamp", "Lighting", 289, _WOOD, _ONE, "Korsi Haka Salko"),
    _Kind("candle holder", "Lighting", 34, _GLASS, _ONE, "Hehku Kipina Valo Tyyni"),
    _Kind("pitcher", "Table", 48, _CLAY, _ONE, "Ilmari Noro Puro"),
    _Kind("bowl", "Table", 29, _CLAY, _ONE, "Kuppa Vati Sora Marja Lampi"),
    _Kind("mug", "Table", 22, _CLAY, _ONE, "Aamu Kastel Hely Routa Savu"),
    _Kind("plate", "Table", 26, _CLAY, _ONE, "Tarina Kiven Pelto Ranta"),
    _Kind("vase", "Table", 64, _GLASS, _ONE, "Varsi Kaisla Orvo Lehti Pisara"),
    _Kind("tray", "Table", 42, _WOOD, _ONE, "Laita Sivu Pinta"),
    _Kind("throw", "Textiles", 119, _WOOL, _ONE, "Harso Untuva Lepo Pouta Nummi Vaino"),
    _Kind("cushion", "Textiles", 49, _LINEN, _ONE, "Nukka Hame Kulma Pilvi Ruutu Saara"),
    _Kind("rug", "Textiles", 219, _WOOL, _RUG, "Sammal Tanner Polku Harju Keto"),
    _Kind("curtain", "Textiles", 99, _LINEN, _ONE, "Verho Sumu Laine"),
    _Kind("duvet cover", "Bed", 139, _LINEN, _BED, "Uni Kuulas Lakana Siimes Tuuli"),
    _Kind("pillowcase", "Bed", 32, _LINEN, _ONE, "Hetki Suvi Pehmo Ilta"),
    _Kind("quilt", "Bed", 249, _LINEN, _BED, "Talvi Tikki Suoja"),
    _Kind("towel", "Bath", 18, _LINEN, _TOWEL, "Vihta Kylpy Lauha Sade Meri"),
    _Kind("bath mat", "Bath", 39, _LINEN, _ONE, "Laituri Hiekka Aalto"),
    _Kind("robe", "Bath", 109, _LINEN, ("S", "M", "L"), "Sauna Lammin Havu"),
    _Kind("sweater", "Knitwear", 149, _WOOL, _BODY, "Saaristo Niemi Turku Kari Luoto Selka"),
    _Kind("cardigan", "Knitwear", 169, _WOOL, _BODY, "Elva Rauha Maija Tapio"),
    _Kind("beanie", "Knitwear", 45, _WOOL, _ONE, "Pipo Tunturi Pohja Lumi"),
    _Kind("scarf", "Knitwear", 69, _WOOL, _ONE, "Kaulus Viima Reki Hanki"),
    _Kind("socks", "Knitwear", 24, _WOOL, ("36-39", "40-43", "44-46"), "Askel Polvi Tassu"),
    _Kind("shirt", "Clothing", 99, _LINEN, _BODY, "Antti Helle Poutapaiva Kesa Lahti Otso"),
    _Kind("overshirt", "Clothing", 159, _WOOL, _BODY, "Verstas Metsa Halko Aitta"),
    _Kind("coat", "Clothing", 389, _WOOL, _BODY, "Myrsky Satama Marras Kuura"),
    _Kind("trousers", "Clothing", 129, _LINEN, _BODY, "Kulku Pellava Ratsu Taival"),
    _Kind("dress", "Clothing", 179, _LINEN, _BODY, "Juhannus Niitty Kielo Orvokki"),
    _Kind("stool", "Objects", 159, _WOOD, _ONE, "Jakkara Kanto Tuki"),
    _Kind("mirror", "Objects", 139, _WOOD, _ONE, "Kuva Lahde Kehys"),
    _Kind("basket", "Objects", 54, _WOOD, _ONE, "Pare Punos Vakka Koppa"),
    _Kind("shelf", "Objects", 119, _WOOD, _ONE, "Hylly Seina Taso"),
)

# Units of each market's currency for one euro, and the step its list prices are rounded to, in major units.
_RATES = (1.0, 1.12, 0.86, 164.0)
_STEPS = (1, 1, 1, 100)
_MINOR = (100, 100, 100, 1)
SPREAD = (1.0, 1.35, 1.75)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Products and skus as columns. ``list_price[sku, market]`` is in minor units; a product's skus stand together,
    the cheapest first. ``weight`` is how often a product is looked at."""

    product: Texts
    noun: Texts
    name: Texts
    category: Ints
    categories: tuple[str, ...]
    weight: Floats
    first_sku: Ints
    sku_count: Ints
    sku: Texts
    sku_product: Ints
    colour: Texts
    size: Texts
    list_price: Ints
    cost: Ints


def in_market(euros: Floats, market: int) -> Ints:
    """Return prices in euros as whole prices of a market, in minor units."""
    step = _STEPS[market]
    return (np.maximum(np.rint(euros * _RATES[market] / step), 1) * step * _MINOR[market]).astype(np.int64)


def _slug(*words: str) -> str:
    return "-".join(word.replace(" ", "") for word in words if word).upper()


def catalogue(seed: int) -> Catalogue:
    """Return the range of the shop; popularity differs by seed, the products do not."""
    categories = tuple(dict.fromkeys(kind.category for kind in _KINDS))
    products = [(kind, name, n) for kind in _KINDS for n, name in enumerate(kind.names.split())]
    skus: list[tuple[str, int, str, str, float]] = []
    first, count = [], []
    for number, (kind, name, n) in enumerate(products):
        colours = [kind.colours[(n + i) % len(kind.colours)] for i in range(2)]
        base = round(kind.price * (1 + 0.12 * (n % 4)))
        first.append(len(skus))
        for place, size in enumerate(kind.sizes):
            factor = SPREAD[place] if kind.sizes in (_BED, _RUG, _TOWEL) else 1.0
            skus.extend(
                (_slug(name, kind.noun, colour, size), number, colour, size, base * factor) for colour in colours
            )
        count.append(len(skus) - first[-1])
    euros = np.array([sku[4] for sku in skus])
    ranks = stream(seed, "popularity").permutation(len(products))
    weight = 1 / (ranks + 12.0) ** 0.8
    return Catalogue(
        product=np.array([_slug(name, kind.noun) for kind, name, _ in products], dtype=object),
        noun=np.array([kind.noun for kind, _, _ in products], dtype=object),
        name=np.array([f"{name} {kind.noun}" for kind, name, _ in products], dtype=object),
        category=np.array([categories.index(kind.category) for kind, _, _ in products]),
        categories=categories,
        weight=weight / weight.sum(),
        first_sku=np.array(first),
        sku_count=np.array(count),
        sku=np.array([sku[0] for sku in skus], dtype=object),
        sku_product=np.array([sku[1] for sku in skus]),
        colour=np.array([sku[2] for sku in skus], dtype=object),
        size=np.array([sku[3] for sku in skus], dtype=object),
        list_price=np.stack([in_market(euros, market) for market in range(len(CURRENCIES))], axis=1),
        cost=(euros * 38).astype(np.int64),
    )
