"""A message's id is all that leaves of it, and what people type to ask about it."""

from __future__ import annotations

from tidings.jobs.campaigns import new_id


def test_an_id_has_sixteen_characters_and_no_command_takes_it_for_an_option() -> None:
    made = [new_id() for _ in range(2_000)]  # of random ones every 64th would begin with a hyphen

    assert len(set(made)) == len(made)
    assert {len(one) for one in made} == {16}
    assert not [one for one in made if one.startswith("-")]
