"""The demo shop's own tables, under its own names where it has some: what the mapping of warehouse.yaml must undo."""

from __future__ import annotations

import numpy as np

from tidings.demo.files import Loader
from tidings.demo.orders import Orders, Refunds
from tidings.demo.people import People
from tidings.demo.places import CURRENCIES, MARKETS, PLACES
from tidings.demo.price_book import PriceBook
from tidings.demo.shelves import Wishes
from tidings.demo.streams import Frame, Ints

# A load runs every quarter of an hour; what is known at the end of the frame was loaded by then.
_ACCOUNTS = """
SELECT printf('C%06d', made.n) AS account_no, nullif(mail, '') AS mail, nullif(mobile, '') AS mobile,
       given_name, family_name, places.locale AS language, places.country, nullif(places.region, '') AS region,
       places.zone AS tz, make_timestamptz(joined * 1000000) AS joined, staff = 1 AS staff,
       make_timestamptz((joined + 900) * 1000000) AS loaded_at, joined AS _known
FROM made JOIN places ON places.n = made.place
"""
_PRODUCTS = """
SELECT made.sku, product AS product_id, name, front || '/p/' || lower(product) AS url,
       front || '/img/' || lower(product) || '-' || colour || '.png' AS image, category, 'Fenmark' AS brand,
       nullif(size, '') AS size, colour, cost, active = 1 AS active,
       make_timestamptz((SELECT start FROM frame) * 1000000) AS loaded_at, 0 AS _known
FROM made
"""
_PRICE_BOOK = """
SELECT skus.sku AS article, markets.market AS site, markets.currency AS ccy, if(promo = 1, 'P', 'L') AS list_or_promo,
       CAST(amount / markets.minor AS DECIMAL(14, 2)) AS amount, make_timestamptz(since * 1000000) AS since,
       make_timestamptz(nullif(until, 0) * 1000000) AS until, make_timestamptz(since * 1000000) AS loaded_at,
       0 AS _known
FROM made JOIN skus ON skus.n = made.sku JOIN markets ON markets.n = made.market
"""
_STOCK = """
SELECT skus.sku, 'central' AS location, quantity, make_timestamptz(moment * 1000000) AS observed_at,
       make_timestamptz((moment + 30) * 1000000) AS loaded_at, moment AS _known
FROM made JOIN skus ON skus.n = made.sku
"""
_STOCK_REQUESTS = """
SELECT printf('R%06d', row_number() OVER (ORDER BY moment, customer, made.sku)) AS request_id,
       printf('C%06d', customer) AS customer_id, skus.sku, markets.market,
       make_timestamptz(moment * 1000000) AS requested_at,
       make_timestamptz((moment + 90 * 86400) * 1000000) AS expires_at,
       CASE WHEN cancelled = 1 THEN make_timestamptz((moment + 86400) * 1000000) END AS cancelled_at,
       make_timestamptz((moment + 30) * 1000000) AS loaded_at, moment AS _known
FROM made JOIN skus ON skus.n = made.sku JOIN markets ON markets.n = made.market
"""
_WISHLIST = """
SELECT printf('C%06d', customer) AS customer_id, skus.sku, price, markets.currency, markets.market,
       make_timestamptz(moment * 1000000) AS added_at,
       make_timestamptz((moment + 30) * 1000000) AS loaded_at, moment AS _known
FROM made JOIN skus ON skus.n = made.sku JOIN markets ON markets.n = made.market
"""
_SALES = """
SELECT printf('S%07d', made.n) AS sale_no,
       CASE WHEN guest = 1 AND people.mail <> '' THEN NULL WHEN former = 1 THEN printf('OLD%06d', customer)
            ELSE printf('C%06d', customer) END AS account_no,
       nullif(people.mail, '') AS mail, ['paid', 'open', 'void', 'declined'][status + 1] AS state,
       CASE WHEN cart >= 0 THEN printf('B%07d', cart) END AS basket,
       CAST(total / markets.minor AS DECIMAL(14, 2)) AS total, markets.currency AS ccy,
       make_timestamptz(moment * 1000000) AS placed_at,
       make_timestamptz(CASE WHEN changed > 0 THEN changed ELSE moment END * 1000000) AS changed_at,
       make_timestamptz((moment + 60) * 1000000) AS loaded_at, moment AS _known
FROM made JOIN people ON people.n = made.customer JOIN markets ON markets.n = people.market
"""
_SALES_LINES = """
SELECT printf('S%07d', sale) AS sale_no, printf('%d', row_number() OVER (PARTITION BY sale ORDER BY made.n)) AS line_no,
       skus.sku AS article, skus.product AS style, quantity AS qty,
       CAST(amount / markets.minor AS DECIMAL(14, 2)) AS amount,
       markets.currency AS ccy, make_timestamptz((moment + 60) * 1000000) AS loaded_at, moment AS _known
FROM made JOIN skus ON skus.n = made.sku JOIN people ON people.n = made.customer
JOIN markets ON markets.n = people.market
"""
_REFUNDS = """
SELECT printf('F%06d', made.n) AS refund_id, printf('S%07d', sale) AS order_id, skus.sku, quantity, amount,
       markets.currency, make_timestamptz(moment * 1000000) AS refunded_at,
       make_timestamptz((moment + 60) * 1000000) AS loaded_at, moment AS _known
FROM made JOIN skus ON skus.n = made.sku JOIN people ON people.n = made.customer
JOIN markets ON markets.n = people.market
"""
_DELIVERIES = """
SELECT printf('S%07d', sale) AS order_id, make_timestamptz(moment * 1000000) AS delivered_at,
       make_timestamptz((moment + 60) * 1000000) AS loaded_at, moment AS _known
FROM made
"""


def lookups(loader: Loader, people: People, book: PriceBook) -> None:
    """Give the loader what the tables join: places, markets, people, skus."""
    goods = book.goods
    texts = {name: [getattr(place, name) or "" for place in PLACES] for name in ("country", "region", "zone", "locale")}
    loader.lookup("places", {name: np.array(values, dtype=object) for name, values in texts.items()})
    loader.lookup(
        "markets",
        {"market": np.array(MARKETS, dtype=object), "currency": np.array(CURRENCIES, dtype=object),
         "minor": np.array([100, 100, 100, 1])},
    )  # fmt: skip
    loader.lookup("people", {"mail": people.email, "market": people.market})
    loader.lookup("skus", {"sku": goods.sku, "product": goods.product[goods.sku_product]})


def load_people(loader: Loader, people: People) -> None:
    """Write who the customers are."""
    columns = {
        "n": np.arange(len(people)), "mail": people.email, "mobile": people.phone, "given_name": people.first,
        "family_name": people.last, "place": people.place, "joined": people.created, "staff": people.staff,
    }  # fmt: skip
    loader.load("accounts", _ACCOUNTS, columns)


def load_goods(loader: Loader, book: PriceBook, front: str) -> None:
    """Write what is sold and what it costs; ``front`` is the address of the shop's pages."""
    goods = book.goods
    skus = np.arange(len(goods.sku))
    columns = {
        "sku": goods.sku, "product": goods.product[goods.sku_product], "name": goods.name[goods.sku_product],
        "category": np.array(goods.categories, dtype=object)[goods.category[goods.sku_product]],
        "size": goods.size, "colour": goods.colour, "cost": goods.cost, "active": (skus % 211 != 210).astype(np.int64),
        "front": np.full(len(skus), front, dtype=object),
    }  # fmt: skip
    loader.load("products", _PRODUCTS, columns)
    loader.load("price_book", _PRICE_BOOK, book.rows())


def load_shelves(
    loader: Loader, people: People, counts: tuple[Ints, Ints, Ints], asked: Wishes, wished: tuple[Wishes, Ints]
) -> None:
    """Write counts of stock, who asked to be told, and wish lists."""
    loader.load("stock", _STOCK, dict(zip(("sku", "moment", "quantity"), counts, strict=True)))
    requests = {
        "customer": asked.customer, "sku": asked.sku, "moment": asked.at, "market": people.market[asked.customer],
        "cancelled": (np.arange(len(asked.at)) % 40 == 0).astype(np.int64),
    }  # fmt: skip
    loader.load("stock_requests", _STOCK_REQUESTS, requests)
    wishes, prices = wished
    columns = {"customer": wishes.customer, "sku": wishes.sku, "moment": wishes.at, "price": prices,
               "market": people.market[wishes.customer]}  # fmt: skip
    loader.load("wishlist", _WISHLIST, columns)


def load_sales(loader: Loader, found: Orders, back: Refunds, arrived: tuple[Ints, Ints], frame: Frame) -> None:
    """Write orders with their lines, refunds and deliveries."""
    number = np.arange(len(found.at))
    # A few buy as guests, and some old orders still carry the id an account had before it was merged.
    guest = ((number * 7919) % 31 == 0).astype(np.int64)
    former = ((found.customer % 97 == 0) & (found.at < frame.start - 60 * 86400)).astype(np.int64)
    loader.load("sales", _SALES, {
        "n": number, "customer": found.customer, "guest": guest, "former": former, "status": found.status,
        "cart": found.cart, "total": found.total, "moment": found.at, "changed": found.changed,
    })  # fmt: skip
    sale = found.line_order
    loader.load("sales_lines", _SALES_LINES, {
        "n": np.arange(len(sale)), "sale": sale, "customer": found.customer[sale], "sku": found.line_sku,
        "quantity": found.line_quantity, "amount": found.line_amount, "moment": found.at[sale],
    })  # fmt: skip
    of = found.line_order[back.line]
    loader.load("refunds", _REFUNDS, {
        "n": np.arange(len(back.line)), "sale": of, "customer": found.customer[of], "sku": found.line_sku[back.line],
        "quantity": back.quantity, "amount": back.amount, "moment": back.at,
    })  # fmt: skip
    loader.load("deliveries", _DELIVERIES, {"sale": arrived[0], "moment": arrived[1]})
