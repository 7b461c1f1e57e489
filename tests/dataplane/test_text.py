# SPDX-License-Identifier: Apache-2.0
"""Flows as lines of text: as a person reads them, and as ovs-ofctl takes them."""

import pytest

from alcor.dataplane.pipeline import ANSWER, CLASSIFY, LEAVE, LEAVE_JUDGE, flow, go, load, where
from alcor.dataplane.text import flow_text, match_text
from alcor.dataplane.values import (
    CT_NEW,
    CT_TRK,
    FIELDS,
    Clone,
    Controller,
    Ct,
    Flow,
    Foreign,
    Move,
    Output,
    SetField,
    Term,
    match,
)
from tests.dataplane.bridge import Bridge
from tests.dataplane.flows import ACTIONS, IP_ACTIONS, IPV4, exact, masked


def test_flow_names_its_tables_and_writes_addresses_as_such() -> None:
    wanted = where(in_port=3, eth_src=0xFA163E000001, eth_type=0x800, ip_src=(0x0A000000, 0xFFFFFF00))
    assert flow_text(flow(CLASSIFY, 100, wanted, load("vni", 7), go(ANSWER))) == (
        "table=CLASSIFY,priority=100,eth_src=fa:16:3e:00:00:01,eth_type=0x800,in_port=3,"
        "ip_src=10.0.0.0/255.255.255.0 actions=set_field:0x7->reg0,resubmit(,ANSWER)"
    )


def test_flow_without_actions_drops_and_one_of_an_unknown_table_has_its_number() -> None:
    assert flow_text(Flow(99, 0, (), ())) == "table=99,priority=0 actions=drop"


def test_connection_tracking_reads_as_in_ovs_ofctl() -> None:
    new = where(eth_type=0x86DD, ct_state=(CT_TRK, CT_TRK | CT_NEW), ct_ipv6_src=1)
    tracked = flow(LEAVE, 1, new, Ct("reg1", commit=True, table=LEAVE_JUDGE.number))
    assert flow_text(tracked) == (
        "table=LEAVE,priority=1,ct_ipv6_src=::1,ct_state=-new+trk,eth_type=0x86dd"
        " actions=ct(commit,zone=reg1[0..15],table=LEAVE_JUDGE)"
    )


def test_what_nobody_here_knows_is_shown_by_its_bytes() -> None:
    unknown = Flow(0, 1, (Term("oxm:ffff5406.4f4e4600", 2, 2),), (Foreign(b"\x00\x17"),))
    assert flow_text(unknown) == (
        "table=CLASSIFY,priority=1,oxm:ffff5406.4f4e4600=0x2/0x2 actions=foreign(0017)"
    )


def test_nested_actions_stay_in_their_clone() -> None:
    actions = (Clone((Move("reg0", "tun_id", 24, 0, 8), Output(4))), Controller(b"\x01\xff", 128))
    assert flow_text(Flow(30, 1, (), actions)).partition("actions=")[2] == (
        "clone(move:reg0[0..23]->tun_id[8..31],output:4),controller(max_len=128,userdata=01.ff)"
    )


def test_match_under_a_mask_keeps_the_mask() -> None:
    assert match_text(match(vlan_tci=(0x1000, 0x1000))) == "vlan_tci=0x1000/0x1000"
    assert match_text(match(**IPV4, ip_proto=6, tcp_dst=(80, 0xFFF0))).endswith("tcp_dst=0x50/0xfff0")


@pytest.mark.ovs
def test_ovs_ofctl_reads_the_text_as_the_flow_that_it_stands_for(bridge: Bridge) -> None:
    bridge.ofctl("add-tlv-map", "{class=0xffff,type=0x41,len=4}->tun_metadata0")
    matches = {found for name in FIELDS for found in (exact(name), masked(name)) if found is not None}
    wanted = [Flow(3, 7, found, (SetField("reg0", 1), Output(1))) for found in matches]
    # ovs-ofctl makes several actions of one whose mask has holes.
    holes = {"set part of a register", "ct commit"}
    told = {name: actions for name, actions in (ACTIONS | IP_ACTIONS).items() if name not in holes}
    wanted += [Flow(4, number, match(**IPV4), actions) for number, actions in enumerate(told.values())]
    for each in wanted:
        bridge.ofctl("add-flow", flow_text(each, str))
    read = {each.identity: each for each in bridge.read()}
    other = [(flow_text(each), read.get(each.identity)) for each in wanted if read.get(each.identity) != each]
    assert other == []
    assert len(read) == len(wanted)
