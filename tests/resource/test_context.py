# SPDX-License-Identifier: Apache-2.0
"""What a rule may use of time and chance."""

from dataclasses import dataclass
from random import Random
from uuid import RFC_4122, UUID

from alcor.base.config import Settings
from alcor.resource.context import World


@dataclass
class Hand:
    """A clock that is set by hand."""

    at_s: float = 1.75e9

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return self.at_s


def test_ids_are_uuids_of_the_millisecond_in_which_they_were_made() -> None:
    clock = Hand(1_750_000_000.123)
    made = UUID(World(Settings(), clock).new_id())
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == 1_750_000_000_123


def test_ids_are_in_the_order_in_which_they_were_made_and_differ_within_a_millisecond() -> None:
    clock = Hand()
    world = World(Settings(), clock, Random(1).randbytes)
    made = []
    for millisecond in range(100):
        clock.at_s = 1.75e9 + (millisecond + 0.5) / 1000
        made.append(world.new_id())
    assert made == sorted(made)
    assert len({world.new_id() for _ in range(1000)}) == 1000


def test_a_clock_that_goes_back_gives_ids_all_the_same() -> None:
    clock = Hand()
    world = World(Settings(), clock)
    later = world.new_id()
    clock.at_s -= 60
    assert world.new_id() < later
