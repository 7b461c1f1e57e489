# SPDX-License-Identifier: Apache-2.0
"""Matches are in the one form in which Open vSwitch gives them back, and what it would not give back is refused."""

import pytest

from alcor.dataplane.values import Flow, Output, Term, match

EXACT = 0xFFFFFFFF


def test_terms_stand_in_order_of_their_fields_and_hold_no_bit_outside_the_mask() -> None:
    assert match(reg1=(0xFF, 0x0F), eth_type=0x800) == (
        Term("eth_type", 0x800, 0xFFFF),
        Term("reg1", 0x0F, 0x0F),
    )


def test_a_field_under_no_mask_at_all_is_left_out() -> None:
    assert match(reg1=(5, 0), tun_id=0) == (Term("tun_id", 0, (1 << 64) - 1),)


def test_a_wide_register_is_its_four_registers() -> None:
    assert match(xxreg1=(7 << 96 | 9, EXACT << 96 | 0xF)) == (Term("reg4", 7, EXACT), Term("reg7", 9, 0xF))


def test_a_fragment_is_exact_when_both_its_bits_are_asked_for() -> None:
    assert match(ip_frag=(3, 3)) == match(ip_frag=3) == (Term("ip_frag", 3, 0xFF),)
    assert match(ip_frag=(1, 1)) == (Term("ip_frag", 1, 1),)


def test_an_exact_state_of_connection_tracking_is_eight_bits() -> None:
    assert match(ct_state=0x21) == match(ct_state=(0x21, 0xFF)) == (Term("ct_state", 0x21, 0xFF),)
    assert match(ct_state=(0x21, 0x23)) == (Term("ct_state", 0x21, 0x23),)


@pytest.mark.parametrize("tag", [0, 0x1005, (0x1000, 0x1000), (0x3005, 0xFFFF), (0x1005, 0x1FFF)])
def test_a_tag_is_absent_or_present(tag: int | tuple[int, int]) -> None:
    assert len(match(vlan_tci=tag)) == 1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"nobody": 1}, "no such field: nobody"),
        ({"reg0": 1 << 32}, "does not fit 32 bits"),
        ({"reg0": -1}, "does not fit 32 bits"),
        ({"reg0": (0, 1 << 32)}, "does not fit 32 bits"),
        ({"eth_type": (0x800, 0xFF00)}, "eth_type takes no mask"),
        ({"xxreg0": 1, "reg3": 1}, "reg3 is named twice"),
        ({"ct_tp_src": 1}, "need ct_nw_proto"),
        ({"ct_tp_dst": (1, 1)}, "need ct_nw_proto"),
        ({"ct_nw_proto": 0}, "must not be 0"),
        ({"vlan_tci": 5}, "neither untagged"),
        ({"vlan_tci": (5, 0xFFF)}, "neither untagged"),
        ({"vlan_tci": (0, 0x1FFF)}, "neither untagged"),
        ({"vlan_tci": (0x3005, 0x3FFF)}, "neither untagged"),
    ],
)
def test_what_a_switch_would_not_give_back_is_refused(
    given: dict[str, int | tuple[int, int]], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        match(**given)


def test_a_flow_is_known_by_table_priority_and_match() -> None:
    one, other = Flow(1, 2, match(reg0=1), (), cookie=3), Flow(1, 2, match(reg0=1), (Output(1),))
    assert one.identity == other.identity
    assert one != other
