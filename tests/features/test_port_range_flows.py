# SPDX-License-Identifier: Apache-2.0
"""Port ranges of rules as masked matches."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from alcor.features.security_group.flows import range_masks


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_masks_cover_their_range_and_nothing_else(first: int, second: int) -> None:
    low, high = sorted((first, second))
    masks = list(range_masks(low, high))
    covered = sorted((value, value | (0xFFFF ^ mask)) for value, mask in masks)
    assert covered[0][0] == low
    assert covered[-1][1] == high
    assert all(end + 1 == start for (_, end), (start, _) in pairwise(covered))
    assert len(masks) <= 30


def test_all_ports_need_no_mask() -> None:
    assert list(range_masks(0, 0xFFFF)) == [(0, 0)]
    assert list(range_masks(80, 80)) == [(80, 0xFFFF)]
