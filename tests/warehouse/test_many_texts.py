"""However many texts a filter names, and whatever is in them, the rows it finds are those of a plain comparison."""

from __future__ import annotations

import sqlalchemy as sa

ODD = ["", " ", "a,b", "it's", 'quo"te', "ä", "日本", "a\x1eb", "a\nb", "\\", "a\x1fb", "a"]


def filled(shop):
    many = [f"c{number}" for number in range(300)]
    values = ", ".join("('" + one.replace("'", "''") + "')" for one in [*many, *ODD])
    kind = "CREATE TABLE customers (customer_id varchar)"
    return many, shop([kind, f"INSERT INTO customers VALUES {values}"], "{customers: {}}")


def found(warehouse, wanted):
    ours = warehouse.tables["customers"].c.customer_id
    return sorted(row.customer_id for row in warehouse.stream(sa.select(ours).where(ours.in_(wanted))))


def test_hundreds_of_texts_find_the_rows_that_hold_one_of_them(shop):
    many, warehouse = filled(shop)
    assert found(warehouse, [*many[:200], "no such", "c"]) == sorted(many[:200])
    assert found(warehouse, many[:10] * 40) == sorted(many[:10])
    assert found(warehouse, []) == []


def test_odd_texts_are_found_among_hundreds_as_they_are_alone(shop):
    many, warehouse = filled(shop)
    for odd in ODD:
        alone = found(warehouse, [odd])
        assert alone == [odd]
        assert found(warehouse, [odd, *many]) == sorted([odd, *many])
    assert found(warehouse, [*ODD, *many]) == sorted([*ODD, *many])


def test_two_filters_of_one_statement_keep_their_own_texts(shop):
    many, warehouse = filled(shop)
    ours = warehouse.tables["customers"].c.customer_id
    both = sa.select(ours).where(ours.in_(many[:200]), ours.in_(many[100:]))
    assert sorted(row.customer_id for row in warehouse.stream(both)) == sorted(many[100:200])
    other = sa.select(ours).where(ours.in_(many[50:250]), ours.in_(many[200:]))
    assert sorted(row.customer_id for row in warehouse.stream(other)) == sorted(many[200:250])
