"""What people leave behind: a click stream with its usual dirt, devices, permissions, the tier of the club."""

from __future__ import annotations

import numpy as np

from tidings.demo.files import Loader
from tidings.demo.people import People
from tidings.demo.shelves import Wishes
from tidings.demo.streams import DAY, HOUR, Frame, Ints, stream
from tidings.demo.visits import Events

_TABLES = ("accounts", "permissions", "clickstream", "products", "price_book", "stock", "stock_requests", "wishlist",
           "sales", "sales_lines", "refunds", "deliveries", "identities", "loyalty")  # fmt: skip

# dirt: 1 future-dated, 2 price 0, 3 unknown product, 4 truncated, 5 no currency
_CLICKSTREAM = """
SELECT printf('E%08d', uid) AS uid, CASE WHEN known = 1 THEN printf('C%06d', customer) END AS account_no,
       printf('V%06d', (customer * 7919 + 13) % 1000003) AS visitor, printf('X%07d', visit) AS visit,
       CASE WHEN cart >= 0 THEN printf('B%07d', cart) END AS basket,
       ['view', 'basket_add', 'basket_remove', 'checkout'][kind + 1] AS action,
       CASE dirt WHEN 3 THEN 'GONE-' || skus.sku WHEN 4 THEN NULL ELSE skus.sku END AS article,
       CASE dirt WHEN 3 THEN 'GONE' WHEN 4 THEN NULL ELSE skus.product END AS style,
       1 AS qty, CASE WHEN dirt = 2 THEN 0 ELSE CAST(price / markets.minor AS DECIMAL(14, 2)) END AS unit_price,
       CASE WHEN dirt <> 5 THEN markets.currency END AS ccy, markets.market AS site,
       make_timestamptz((moment + CASE WHEN dirt = 1 THEN 400 * 86400 ELSE 0 END) * 1000000) AS ts,
       make_timestamptz(collected * 1000000) AS collected_at, make_timestamptz((collected + 20) * 1000000) AS loaded_at,
       collected AS _known
FROM made JOIN skus ON skus.n = made.sku JOIN people ON people.n = made.customer
JOIN markets ON markets.n = people.market
"""
_IDENTITIES = """
SELECT CASE WHEN former = 1 THEN printf('OLD%06d', customer)
            ELSE printf('V%06d', (customer * 7919 + 13) % 1000003) END AS alias,
       printf('C%06d', customer) AS customer_id, if(former = 1, 'former', 'anonymous') AS kind,
       make_timestamptz(moment * 1000000) AS valid_from,
       make_timestamptz((moment + 60) * 1000000) AS loaded_at, moment AS _known
FROM made
"""
_PERMISSIONS = """
SELECT printf('C%06d', customer) AS account_no, ['mail', 'text'][medium + 1] AS medium,
       ['news', 'basket', 'restock', 'clicks'][topic + 1] AS topic, if(said = 1, 'yes', 'no') AS answer,
       make_timestamptz(moment * 1000000) AS said_at, 'account page, wording 4' AS wording,
       make_timestamptz((moment + 60) * 1000000) AS loaded_at, moment AS _known
FROM made
"""
_LOYALTY = """
SELECT printf('C%06d', customer) AS customer_id, ['birch', 'oak', 'juniper'][tier + 1] AS tier, points,
       make_timestamptz(moment * 1000000) AS changed_at,
       make_timestamptz((moment + 60) * 1000000) AS loaded_at, moment AS _known
FROM made
"""
_LOAD_LOG = """
SELECT source, make_timestamptz(moment * 1000000) AS finished_at, moment AS _known FROM made
"""


def load_events(loader: Loader, events: Events, seed: int) -> None:
    """Write the click stream: some visits without a login, and in small shares everything trackers do wrong."""
    random = stream(seed, "dirt")
    count = len(events.at)
    logged_in = random.random(int(events.visit.max()) + 1) < 0.74
    dirt = random.choice(6, size=count, p=[0.9945, 0.001, 0.001, 0.002, 0.001, 0.0005])
    late = random.random(count) < 0.01
    collected = events.at + np.where(late, random.integers(HOUR, 30 * HOUR, count), random.integers(0, 20, count))
    twice = np.flatnonzero(random.random(count) < 0.005)
    rows = np.concatenate([np.arange(count), twice])
    collected = np.concatenate([collected, collected[twice] + 40])
    loader.load("clickstream", _CLICKSTREAM, {
        "uid": rows, "customer": events.customer[rows], "known": logged_in[events.visit[rows]].astype(np.int64),
        "visit": events.visit[rows], "cart": events.cart[rows], "kind": events.kind[rows], "sku": events.sku[rows],
        "price": events.price[rows], "moment": events.at[rows], "dirt": dirt[rows], "collected": collected,
    })  # fmt: skip


def load_identities(loader: Loader, people: People, seed: int) -> None:
    """Write which device is whose, for those who logged in on it once, and which account was merged into which."""
    random = stream(seed, "identities")
    devices = np.flatnonzero(random.random(len(people)) < 0.4)
    former = np.arange(0, len(people), 97)
    customer = np.concatenate([devices, former])
    is_former = np.concatenate([0 * devices, 0 * former + 1])
    columns = {"customer": customer, "former": is_former, "moment": people.created[customer] + 60}
    loader.load("identities", _IDENTITIES, columns)


def load_permissions(loader: Loader, people: People, asked: Wishes, frame: Frame, seed: int) -> None:
    """Write what people allowed, and what they took back; who asked to be told of a restock allowed just that."""
    random = stream(seed, "permissions")
    everybody = np.arange(len(people))
    parts: list[tuple[Ints, int, int, Ints, Ints]] = []
    given: dict[tuple[int, int], Ints] = {}
    for medium, topic, share in ((0, 0, 0.90), (1, 0, 0.52), (1, 1, 0.12), (0, 3, 0.86), (1, 3, 0.30)):
        said = everybody[random.random(len(people)) < share]
        given[medium, topic] = said
        parts.append((said, medium, topic, 0 * said + 1, people.created[said] + 30))
    for (medium, topic), said in given.items():
        back = said[random.random(len(said)) < (0.05 if topic == 0 else 0.02)]
        when = people.created[back] + (random.random(len(back)) * (frame.end - people.created[back])).astype(np.int64)
        parts.append((back, medium, topic, 0 * back, when))
    for medium, share in ((0, 0.97), (1, 0.40)):
        who = random.random(len(asked.at)) < share
        parts.append((asked.customer[who], medium, 2, 0 * asked.at[who] + 1, asked.at[who]))
    columns = {
        "customer": np.concatenate([part[0] for part in parts]),
        "medium": np.concatenate([0 * part[0] + part[1] for part in parts]),
        "topic": np.concatenate([0 * part[0] + part[2] for part in parts]),
        "said": np.concatenate([part[3] for part in parts]),
        "moment": np.concatenate([part[4] for part in parts]),
    }
    loader.load("permissions", _PERMISSIONS, columns)


def load_club(loader: Loader, people: People, frame: Frame, seed: int) -> None:
    """Write the tiers of the club."""
    random = stream(seed, "club")
    member = np.flatnonzero((people.age >= 0) & (random.random(len(people)) < 0.4))
    points = random.gamma(1.2, 400, len(member)).astype(np.int64)
    tier = np.searchsorted([500, 1500], points)
    at = frame.now - (random.random(len(member)) * 300 * DAY).astype(np.int64)
    loader.load("loyalty", _LOYALTY, {"customer": member, "tier": tier, "points": points, "moment": at})


def load_log(loader: Loader, frame: Frame) -> None:
    """Write when each table was last loaded, once an hour through the frame and at its very end."""
    hours = np.append(np.arange(frame.start, frame.now, HOUR), frame.now)
    source = np.repeat(np.array(_TABLES, dtype=object), len(hours))
    loader.load("load_log", _LOAD_LOG, {"source": source, "moment": np.tile(hours, len(_TABLES))})
