"""The five questions as somebody who knows DuckDB would write them: its own date arithmetic, arg_max and all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidings.model.entry import Window

Question = tuple[str, Callable[[Window], dict[str, Any]]]


def _window(window: Window) -> dict[str, Any]:
    return {"start": window.start, "end": window.end}


_CART = """
WITH last_change AS (
    SELECT customer_id, max(occurred_at) AS changed FROM product_events
    WHERE kind IN ('added', 'removed', 'quantity_set', 'cart_cleared')
      AND occurred_at > $start - INTERVAL 1 HOUR AND occurred_at <= $end
    GROUP BY customer_id HAVING max(occurred_at) <= $end - INTERVAL 1 HOUR
), last_order AS (
    SELECT customer_id, max(ordered_at) AS ordered FROM orders
    WHERE ordered_at > $start - INTERVAL 31 DAY AND ordered_at <= $end AND status NOT IN ('cancelled', 'failed')
    GROUP BY customer_id
)
SELECT e.customer_id, e.event_id, e.kind, e.sku, e.product_id, e.quantity, e.price, e.currency, e.occurred_at,
    o.ordered, p.active
FROM product_events e JOIN last_change c USING (customer_id) LEFT JOIN last_order o USING (customer_id)
LEFT JOIN products p ON p.sku = e.sku
LEFT JOIN (
    SELECT sku, location, arg_max(quantity, observed_at) AS quantity FROM stock WHERE observed_at <= $end
      AND sku IN (SELECT sku FROM product_events JOIN last_change USING (customer_id)
        WHERE kind IN ('added', 'removed', 'quantity_set', 'cart_cleared')
          AND occurred_at > $start - INTERVAL 721 HOUR AND occurred_at <= $end)
    GROUP BY sku, location
) s ON s.sku = e.sku
WHERE e.kind IN ('added', 'removed', 'quantity_set', 'cart_cleared')
  AND e.occurred_at > $start - INTERVAL 721 HOUR AND e.occurred_at <= $end
  AND (o.ordered IS NULL OR o.ordered < c.changed - INTERVAL 10 MINUTE)
ORDER BY e.customer_id"""

_BROWSE = """
WITH silent AS (
    SELECT customer_id, max(occurred_at) AS seen FROM product_events
    WHERE occurred_at > $start - INTERVAL 1 HOUR AND occurred_at <= $end
    GROUP BY customer_id HAVING max(occurred_at) <= $end - INTERVAL 1 HOUR
), enough AS (
    SELECT customer_id FROM product_events
    WHERE kind = 'viewed' AND occurred_at > $start - INTERVAL 25 HOUR AND occurred_at <= $end
    GROUP BY customer_id HAVING count(*) >= 2
), last_order AS (
    SELECT customer_id, max(ordered_at) AS ordered FROM orders
    WHERE ordered_at > $start - INTERVAL 15 DAY AND ordered_at <= $end AND status NOT IN ('cancelled', 'failed')
    GROUP BY customer_id
)
SELECT e.customer_id, e.event_id, e.kind, e.sku, e.product_id, e.quantity, e.price, e.currency, e.occurred_at,
    o.ordered, p.active, p.product_id
FROM product_events e JOIN silent s USING (customer_id) JOIN enough USING (customer_id)
LEFT JOIN last_order o USING (customer_id) LEFT JOIN products p ON p.sku = e.sku
LEFT JOIN (
    SELECT sku, location, arg_max(quantity, observed_at) AS quantity FROM stock WHERE observed_at <= $end
      AND sku IN (SELECT sku FROM product_events JOIN silent USING (customer_id)
        WHERE occurred_at > $start - INTERVAL 337 HOUR AND occurred_at <= $end)
    GROUP BY sku, location
) t ON t.sku = e.sku
WHERE e.occurred_at > $start - INTERVAL 337 HOUR AND e.occurred_at <= $end
  AND (o.ordered IS NULL OR o.ordered <= s.seen + INTERVAL 1 HOUR - INTERVAL 10 DAY)
ORDER BY e.customer_id"""

_PRICE = """
WITH dropped AS (
    SELECT n.sku, max(n.valid_from) AS started FROM prices n JOIN prices o
      ON o.sku = n.sku AND o.currency = n.currency AND o.valid_from < n.valid_from AND o.amount > n.amount
    WHERE n.valid_from > $start - INTERVAL 1 HOUR AND n.valid_from <= $end - INTERVAL 1 HOUR
      AND n.amount > 0 AND n.kind IN ('list', 'promo') AND o.kind IN ('list', 'promo')
    GROUP BY n.sku
), looks AS (
    SELECT e.customer_id, e.sku, d.started, max(e.occurred_at) AS seen_at, arg_max(e.price, e.occurred_at) AS seen
    FROM product_events e JOIN dropped d USING (sku)
    WHERE e.kind IN ('viewed', 'added') AND e.occurred_at > $start - INTERVAL 721 HOUR
      AND e.occurred_at < d.started
    GROUP BY ALL
), bought AS (
    SELECT o.customer_id, i.sku, max(o.ordered_at) AS bought_at FROM orders o JOIN order_items i USING (order_id)
    WHERE o.ordered_at > $start - INTERVAL 721 HOUR AND o.ordered_at <= $end
      AND o.status NOT IN ('cancelled', 'failed') AND i.sku IN (SELECT sku FROM dropped)
    GROUP BY ALL
), shelf AS (
    SELECT sku, location, arg_max(quantity, observed_at) AS quantity FROM stock
    WHERE observed_at <= $end AND sku IN (SELECT sku FROM dropped) GROUP BY ALL
)
SELECT l.*, p.active, s.quantity, b.bought_at,
    (SELECT min(amount) FROM prices x WHERE x.sku = l.sku AND x.valid_from <= $end) AS price_now
FROM looks l LEFT JOIN bought b USING (customer_id, sku) LEFT JOIN products p USING (sku) LEFT JOIN shelf s USING (sku)
WHERE b.bought_at IS NULL OR b.bought_at < l.seen_at
ORDER BY l.sku, l.customer_id"""

_STOCK = """
WITH there AS (
    SELECT sku, max(observed_at) AS started FROM stock
    WHERE quantity > 0 AND observed_at > $start - INTERVAL 10 MINUTE AND observed_at <= $end - INTERVAL 10 MINUTE
    GROUP BY sku
), counts AS (
    SELECT s.sku, s.quantity, s.observed_at, t.started,
        lag(s.quantity) OVER (PARTITION BY s.sku, s.location ORDER BY s.observed_at) AS before
    FROM stock s JOIN there t USING (sku) WHERE s.observed_at <= $end
), back AS (
    SELECT sku, max(observed_at) AS back_at, any_value(started) AS started FROM counts
    WHERE quantity >= 1 AND before <= 0 GROUP BY sku
), wants AS (
    SELECT r.customer_id, r.sku, r.request_id, r.requested_at AS wanted_at FROM stock_requests r JOIN back USING (sku)
    WHERE r.requested_at > $start - INTERVAL 90 DAY AND r.requested_at <= $end
    UNION ALL
    SELECT e.customer_id, e.sku, NULL, max(e.occurred_at) FROM product_events e JOIN back b USING (sku)
    WHERE e.kind IN ('viewed', 'added') AND e.occurred_at > $start - INTERVAL 43210 MINUTE AND e.occurred_at < b.started
    GROUP BY ALL
), bought AS (
    SELECT o.customer_id, i.sku, max(o.ordered_at) AS bought_at FROM orders o JOIN order_items i USING (order_id)
    WHERE o.ordered_at > $start - INTERVAL 90 DAY AND o.ordered_at <= $end
      AND o.status NOT IN ('cancelled', 'failed') AND i.sku IN (SELECT sku FROM back)
    GROUP BY ALL
)
SELECT w.*, k.back_at, p.active, b.bought_at FROM wants w JOIN back k USING (sku)
LEFT JOIN bought b USING (customer_id, sku) LEFT JOIN products p USING (sku)
ORDER BY w.sku, w.customer_id"""

_WIN_BACK = """
SELECT customer_id, max(ordered_at) AS last_order, min(ordered_at) AS first_order, count(*) AS orders,
    arg_max(order_id, ordered_at) AS order_id
FROM orders WHERE ordered_at <= $end AND status NOT IN ('cancelled', 'failed', 'refunded')
GROUP BY customer_id
HAVING max(ordered_at) > greatest($start, $end - INTERVAL 7 DAY) - INTERVAL 90 DAY
   AND max(ordered_at) <= $end - INTERVAL 90 DAY
   AND (count(*) FILTER (status = 'placed') = 0 OR count(*) FILTER (status = 'completed') = 0)
ORDER BY customer_id"""

QUESTIONS: dict[str, Question] = {
    "browse_abandonment": (_BROWSE, _window), "cart_abandonment": (_CART, _window), "price_drop": (_PRICE, _window),
    "back_in_stock": (_STOCK, _window), "win_back": (_WIN_BACK, _window),
}  # fmt: skip
