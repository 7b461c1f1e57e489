# SPDX-License-Identifier: Apache-2.0
"""Flows to bytes and back, without a switch."""

import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alcor.dataplane.openflow import fields, messages, replies
from alcor.dataplane.openflow.actions import decode_actions, encode_actions
from alcor.dataplane.openflow.fields import Malformed
from alcor.dataplane.openflow.messages import Command, MeterCommand
from alcor.dataplane.values import (
    FIELDS,
    Action,
    Clone,
    Conjunction,
    Controller,
    Ct,
    Flow,
    Foreign,
    InPort,
    Match,
    Meter,
    Move,
    Output,
    OutputField,
    SetField,
    Term,
    match,
)
from tests.dataplane.flows import ACTIONS, IP_ACTIONS, METERS, exact, flows, masked, matches

ALL_ACTIONS = {**ACTIONS, **IP_ACTIONS}


def back(flow: Flow) -> Flow:
    """The flow after its way through bytes."""
    return replies.decode_flow_mod(messages.flow_mod(1, Command.ADD, flow))


def actions_back(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """The actions after their way through bytes."""
    raw = encode_actions(actions)
    assert len(raw) % 8 == 0
    return decode_actions(raw, 0, len(raw))


def match_back(wanted: Match) -> Match:
    """The match after its way through bytes."""
    raw = fields.encode_match(wanted)
    decoded, end = fields.decode_match(raw, 0)
    assert end == len(raw)
    return decoded


def oxm_fields(raw: bytes) -> list[bytes]:
    """The headers in an encoded match, in their order."""
    end, at, found = int.from_bytes(raw[2:4], "big"), 4, []
    while at < end:
        found.append(raw[at : at + 3])
        at += 4 + raw[at + 3]
    return found


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_comes_back_as_it_was_matched(name: str) -> None:
    assert match_back(exact(name)) == exact(name)
    under_mask = masked(name)
    assert (under_mask is not None) == FIELDS[name].maskable
    if under_mask is not None:
        assert match_back(under_mask) == under_mask


@pytest.mark.parametrize("name", [name for name in FIELDS if name.startswith("xxreg")])
def test_a_wide_register_comes_back_where_it_was_not_split(name: str) -> None:
    whole = (Term(name, 1 << 127 | 3, (1 << 128) - 1),)
    assert match_back(whole) == whole


@pytest.mark.parametrize("kind", ALL_ACTIONS)
def test_every_action_comes_back(kind: str) -> None:
    assert actions_back(ALL_ACTIONS[kind]) == ALL_ACTIONS[kind]


@pytest.mark.parametrize("kind", METERS)
def test_a_flow_names_its_meter_and_what_the_meter_is_comes_apart(kind: str) -> None:
    meter, *others = METERS[kind]
    assert isinstance(meter, Meter)
    assert back(Flow(0, 1, (), METERS[kind])).actions == (Meter(meter.id, 0, 0), *others)
    raw = messages.meter_mod(1, MeterCommand.ADD, meter)
    flags, number = struct.unpack_from(">HI", raw, 10)
    config = struct.pack(">HHI", len(raw) - 8, flags, number) + raw[16:]
    assert replies.meter_configs(struct.pack(">HH4x", 10, 0) + config * 2) == [meter, meter]


def test_a_meter_stands_first_or_cannot_be_sent() -> None:
    meter = Meter(1, 1, 1)
    for actions in ((Output(1), meter), (Clone((meter,)),), (meter, meter)):
        with pytest.raises(ValueError, match="meter 1 stands first"):
            messages.flow_mod(1, Command.ADD, Flow(0, 1, (), actions))
    with pytest.raises(ValueError, match="cannot be sent"):
        messages.meter_mod(1, MeterCommand.ADD, Meter(1, 1 << 32, 1))


def test_a_meter_of_another_kind_is_read_as_one_that_nobody_wants() -> None:
    config = struct.pack(">HHIHHII4x", 24, 1 | 4, 7, 2, 16, 1000, 100)  # it marks, and does not drop
    assert replies.meter_configs(struct.pack(">HH4x", 10, 0) + config) == [Meter(7, 0, 0)]


@pytest.mark.parametrize(
    "body", ["", "000a0000", "0001000000000000", "000a000000000000001800", "000a00000000000000ff000000000001"]
)
def test_meters_that_are_cut_off_are_malformed(body: str) -> None:
    with pytest.raises(Malformed):
        replies.meter_configs(bytes.fromhex(body))


@given(flows())
def test_any_flow_comes_back(flow: Flow) -> None:
    assert back(flow) == flow


@given(matches(), st.randoms())
def test_the_order_of_terms_does_not_matter(wanted: Match, chance: random.Random) -> None:
    shuffled = list(wanted)
    chance.shuffle(shuffled)
    assert fields.encode_match(shuffled) == fields.encode_match(wanted)


def test_what_a_field_needs_stands_before_it() -> None:
    wanted = match(
        tcp_dst=80,
        eth_type=0x800,
        ip_proto=6,
        ct_tp_dst=80,
        ct_nw_proto=6,
        ct_nw_src=1,
        ct_state=(0x20, 0x30),
    )
    order = oxm_fields(fields.encode_match(wanted))
    names = ("80000a", "800014", "80001c", "0001d3", "0001f0", "0001ee", "0001fa")
    assert [header.hex() for header in order] == list(names)


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (Output(0xFFFFFFFD), "InPort and Controller"),
        (Output(1 << 32), "format requires"),
        (OutputField("reg99"), "no such field: reg99"),
        (SetField("reg0", 1 << 32), "does not fit 32 bits"),
        (SetField("reg0", -1), "does not fit 32 bits"),
        (SetField("in_port", 0x10000), "does not fit 16 bits"),
        (SetField("reg0", 1, 0xFFFFFFFF), "less than the whole field"),
        (SetField("reg0", 2, 1), "a mask covers the value"),
        (SetField("reg0", 0, 0), "a mask covers"),
        (SetField("nd_reserved", 1, 1), "not nd_reserved"),
        (Move("in_port", "reg0", 32), "in_port has no bits 0 to 31"),
        (Move("reg0", "reg1", 16, 0, 17), "reg1 has no bits 17 to 32"),
        (Move("reg0", "reg1", 0), "reg0 has no bits"),
        (Ct(0x10000), "format requires"),
        (Ct(1, table=255), "table 255"),
        (Ct("nobody"), "no such field"),
        (Conjunction(1, 1, 1), "clause 1 of 1"),
        (Conjunction(1, 3, 2), "clause 3 of 2"),
        (Conjunction(1, 0, 2), "clause 0 of 2"),
        (Controller(bytes(70_000)), "more than|longer than|format requires"),
        (Clone(tuple(Output(1) for _ in range(4096))), "longer than"),
        (Foreign(b"x"), "never sent"),
    ],
)
def test_what_openflow_cannot_say_is_refused_with_the_flow(action: Action, why: str) -> None:
    flow = Flow(7, 5, match(reg0=1), (action,))
    with pytest.raises(ValueError, match=why) as refusal:
        messages.flow_mod(1, Command.ADD, flow)
    assert "flow 7/5 reg0=0x1/0xffffffff cannot be sent" in str(refusal.value)


@pytest.mark.parametrize(
    "term", [Term("nobody", 1, 1), Term("vlan_tci", 5, 0xFFF), Term("reg0", 1 << 32, 1 << 32)]
)
def test_a_match_that_openflow_cannot_say_is_refused(term: Term) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        messages.flow_mod(1, Command.ADD, Flow(0, 0, (term,), ()))


def test_a_flow_longer_than_a_message_is_refused() -> None:
    longest = tuple(Output(1) for _ in range(4084))
    assert len(messages.flow_mod(1, Command.ADD, Flow(0, 0, (), longest))) + 16 <= messages.MESSAGE_BYTES_MAX
    with pytest.raises(ValueError, match="more than one message may have"):
        messages.flow_mod(1, Command.ADD, Flow(0, 0, (), longest * 2))


def test_a_packet_out_that_cannot_be_said_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        messages.packet_out(1, b"x", (Output(-1),))
    with pytest.raises(ValueError, match="longer than OpenFlow can say"):
        messages.packet_out(1, bytes(65_600), (Output(1),))


def test_a_delete_names_no_actions() -> None:
    flow = Flow(1, 2, match(reg0=1), (Output(1),), cookie=9)
    raw = messages.flow_mod(1, Command.DELETE_STRICT, flow)
    assert replies.decode_flow_mod(raw) == Flow(1, 2, match(reg0=1), (), cookie=9)


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ("0000 0010 fffffff8 0000 000000000000", InPort()),
        ("0000 0010 fffffffd 0080 000000000000", Controller(max_len=128)),
        ("ffff 0018 00002320 0007 021f 00010204 0000000000000009", Foreign),  # a load past the end of reg1
        ("ffff 0018 00002320 0007 001f 00010204 0000000000000009", SetField("reg1", 9)),
        ("ffff 0018 00002320 0007 0107 00010204 0000000000000009", SetField("reg1", 0x90, 0xFF0)),
        ("ffff 0018 00002320 0007 0107 0001f804 0000000000000009", Foreign),
        (
            "ffff 0018 00002320 000f 0000 00010204 0000 000000000000",
            Foreign,
        ),  # output of one bit of a register
        ("ffff 0018 00002320 0006 0001 0000 0000 0001f804 00010204", Foreign),
        ("ffff 0010 00002320 000e 0005 07 000000", Foreign),  # resubmit as if from another port
        ("ffff 0018 00002320 0023 0002 00000000 0005 ff 000000 0000", Foreign),  # ct(force)
        ("ffff 0018 00002320 0023 0000 00010204 0007 ff 000000 0000", Foreign),  # zone from bits 0..7
        ("ffff 0018 00002320 0023 0000 00000000 0005 ff 000000 0015", Foreign),  # ct(alg=ftp)
        (
            "ffff 0020 00002320 0023 0000 00000000 0005 ff 000000 0000 0011 0008 00000000",
            Foreign,
        ),  # ct(exec(other))
        ("ffff 0018 00002320 0025 000000000000 0004 0004 00000000", Foreign),  # controller(pause)
        ("ffff 0010 00002320 0011 000000000000", Foreign),  # exit
        ("ffff 0010 00001234 000e fff8 07 000000", Foreign),  # another experimenter
        ("0011 0008 00000000", Foreign),  # push_vlan or the like
        ("0019 0010 80005804 00000000 00000000", Foreign),  # set a field that Alcor does not know
        ("0019 0010 80000c02 1005 000000000000", Foreign),  # set vlan_vid
        ("0019 0010 00010208 00000000 00000000", Foreign),  # set a reg1 of 64 bits
    ],
)
def test_other_forms_of_actions_are_read_or_kept_as_foreign(raw: str, meant: object) -> None:
    encoded = bytes.fromhex(raw)
    (action,) = decode_actions(encoded, 0, len(encoded))
    assert action == (Foreign(encoded) if meant is Foreign else meant)


def test_actions_nested_too_deeply_are_foreign() -> None:
    action: Action = Output(1)
    for _ in range(40):
        action = Clone((action,))
    assert "Foreign" in repr(actions_back((action,)))


@pytest.mark.parametrize("header", ["80005402", "ffff5406.4f4e4600", "0001c204"])
@pytest.mark.parametrize("mask", [0xFFFF, 0x00F0])
def test_an_unknown_field_is_named_by_its_bytes_and_can_be_said_again(header: str, mask: int) -> None:
    full = 0xFFFFFFFF if header.endswith("04") and "." not in header else 0xFFFF
    foreign = Term(f"oxm:{header}", 0x0030, full if mask == 0xFFFF else mask)
    assert match_back((foreign,)) == (foreign,)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "no OXM match"),
        ("0002 0004 00000000", "no OXM match"),
        ("0001 0003 00000000", "no OXM match"),
        ("0001 0020 00000000", "no OXM match"),
        ("0001 0007 8000 00 000000", "is cut off"),
        ("0001 000b 80000004 000000 0000000000", "is cut off"),
        ("0001 0009 80005501 0000000000000000", "no sensible length"),
        ("0001 0011 0001d309 00000000 00000000 00 00000000000000", "mask of ct_state is cut off"),
        ("0001 000a 80000f02 0303 000000000000", "vlan_pcp takes no mask"),
    ],
)
def test_a_malformed_match_is_refused_with_its_place(raw: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        fields.decode_match(bytes.fromhex(raw), 0)


def test_a_match_by_ethernet_packet_type_matches_any_packet() -> None:
    assert fields.decode_match(bytes.fromhex("0001000c 80005804 00000000 00000000"), 0) == ((), 16)


def test_a_nicira_tag_field_is_read_as_a_tag() -> None:
    assert fields.decode_match(bytes.fromhex("0001000a 00000802 1005 000000000000"), 0) == (
        match(vlan_tci=0x1005),
        16,
    )


@pytest.mark.parametrize(
    "raw",
    [
        "0000 0004",
        "0000 0000 00000000",
        "0000 000c 00000000 00000000",
        "0000 0018 00000001 0000 000000000000",
        "ffff 0010 00002320 0007 001f 00010204",
        "ffff 0010 00002320 000f 001f 00010204",
        "ffff 0010 00002320 0023 001f 00010204",
        "ffff 0018 00002320 0025 000000000000 0003 0040 00000000",
        "ffff 0018 00002320 0021 00010204 0000 000000000000 0001",
        "0019 0008 80000a",
    ],
)
def test_malformed_actions_are_refused(raw: str) -> None:
    encoded = bytes.fromhex(raw)
    with pytest.raises(Malformed):
        decode_actions(encoded, 0, len(encoded))


def decoded(decode: Callable[..., object], *arguments: object) -> object:
    """What `decode` gives, or the sentence with which it refuses."""
    try:
        return decode(*arguments)
    except Malformed as error:
        return str(error) or None


@given(flows(), st.integers(0, 200), st.integers(0, 255))
def test_any_altered_byte_gives_a_flow_or_a_clear_error(flow: Flow, place: int, byte: int) -> None:
    raw = bytearray(messages.flow_mod(1, Command.ADD, flow))
    raw[place % len(raw)] = byte
    assert isinstance(decoded(replies.decode_flow_mod, bytes(raw)), Flow | str)


@given(flows(), st.data())
def test_any_truncated_flow_gives_a_flow_or_a_clear_error(flow: Flow, chance: st.DataObject) -> None:
    raw = messages.flow_mod(1, Command.ADD, flow)
    cut = raw[: chance.draw(st.integers(0, len(raw) - 1))]
    assert isinstance(decoded(replies.decode_flow_mod, cut), Flow | str)


@given(st.binary(max_size=300))
def test_garbage_gives_a_value_or_a_clear_error(raw: bytes) -> None:
    assert isinstance(decoded(replies.header, raw), tuple | str)
    assert isinstance(decoded(replies.has_more, raw), bool | str)
    assert isinstance(decoded(replies.flow_stats, raw), list | str)
    assert isinstance(decoded(replies.packet_in, raw), replies.PacketIn | str | None)
    assert isinstance(decoded(replies.refused, 1, raw), replies.Refused | str)
    assert isinstance(decoded(decode_actions, raw, 0, len(raw)), tuple | str)
    assert isinstance(decoded(fields.decode_terms, raw, 0, len(raw)), tuple | str)


@given(st.binary(max_size=64), st.sampled_from([6, 7, 14, 15, 33, 34, 35, 37, 42, 99]))
def test_garbage_within_an_action_gives_actions_or_a_clear_error(raw: bytes, subtype: int) -> None:
    length = 10 + len(raw)
    padded = raw + bytes(-length % 8)
    action = struct.pack(">HHIH", 0xFFFF, 10 + len(padded), 0x2320, subtype) + padded
    assert isinstance(decoded(decode_actions, action, 0, len(action)), tuple | str)
