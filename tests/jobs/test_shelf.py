"""What a lane keeps between batches: products for seconds, an unknown product as unknown, nothing half-asked."""

from __future__ import annotations

from datetime import timedelta

from tidings.jobs.facts import Shelf
from tidings.warehouse.catalogue import Product

LAMP, PITCHER = ("FI", "EUR", "lamp"), ("FI", "EUR", "pitcher")


def test_what_was_asked_is_asked_once_also_when_the_catalogue_has_it_not() -> None:
    shelf = Shelf()

    assert shelf.missing([LAMP, PITCHER]) == {LAMP, PITCHER}
    shelf.keep([LAMP, PITCHER], {LAMP: Product("lamp")})

    assert shelf.missing([LAMP, PITCHER]) == set()
    assert shelf.products == {LAMP: Product("lamp")}


def test_a_question_that_failed_is_asked_again() -> None:
    shelf = Shelf()

    shelf.missing([LAMP])

    assert shelf.missing([LAMP]) == {LAMP}


def test_the_same_sku_is_another_product_in_another_market_or_currency() -> None:
    shelf = Shelf()
    shelf.missing([LAMP])
    shelf.keep([LAMP], {LAMP: Product("lamp")})

    assert shelf.missing([("SE", "EUR", "lamp"), ("FI", "SEK", "lamp"), LAMP]) == {
        ("SE", "EUR", "lamp"),
        ("FI", "SEK", "lamp"),
    }


def test_what_is_too_old_is_asked_again_and_messages_being_written_keep_what_they_have() -> None:
    shelf = Shelf(timedelta(0))
    shelf.missing([LAMP])
    shelf.keep([LAMP], {LAMP: Product("lamp")})
    before = shelf.products

    assert shelf.missing([LAMP]) == {LAMP}
    assert before == {LAMP: Product("lamp")}
