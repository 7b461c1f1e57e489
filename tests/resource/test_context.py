# SPDX-License-Identifier: Apache-2.0
"""What a rule may use of time and chance."""

from random import Random
from uuid import RFC_4122, UUID

from alcor.base.config import Settings
from alcor.resource.context import World


def test_ids_are_uuids_in_the_order_in_which_they_were_made() -> None:
    world = World(Settings(), entropy=Random(1).randbytes)
    made = [world.new_id() for _ in range(1000)]
    assert made == sorted(made)
    for text in made:
        uuid = UUID(text)
        assert (uuid.version, uuid.variant, str(uuid)) == (4, RFC_4122, text)


def test_devices_named_by_the_first_letters_of_ids_have_names_of_their_own() -> None:
    """Nova's are `tap` and 11 letters; ports that were made at once may be on one host."""
    worlds = [World(Settings()) for _ in range(10)]
    names = {f"tap{world.new_id()[:11]}" for world in worlds for _ in range(1000)}
    assert len(names) == 10_000


def test_ids_go_on_after_the_last_beginning_and_nothing_else_follows_from_the_one_before() -> None:
    world = World(Settings(), entropy=Random(1).randbytes, _last_id=0xFF_FFFF_FFFE)
    made = [world.new_id() for _ in range(3)]
    assert [each[:11] for each in made] == ["ffffffff-ff", "00000000-00", "00000000-01"]
    assert len({each[11:] for each in made}) == 3
