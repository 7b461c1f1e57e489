# SPDX-License-Identifier: Apache-2.0
"""What a switch says, decoded: flows with their counters, packets to the agent, refusals.

Whatever the bytes are, each function returns or raises `Malformed`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from alcor.dataplane.openflow.actions import decode_actions
from alcor.dataplane.openflow.fields import Malformed, decode_match, decode_terms
from alcor.dataplane.openflow.messages import (
    BAND_DROP,
    HEADER_BYTES,
    METER_BURST,
    METER_KBPS,
    METER_PACKETS,
    MULTIPART_MONITOR,
    NICIRA,
    VERSION,
    Nicira,
)
from alcor.dataplane.openflow.reasons import reason_of
from alcor.dataplane.values import Action, Flow, Foreign, Match, Meter

_Header = struct.Struct(">BBHI")
_Multipart = struct.Struct(">HH4x")
_Update = struct.Struct(">HH")  # length, event
_UPDATE_OWN = 4  # the abbreviated form, by which one is told of what one did oneself
_FlowStats = struct.Struct(">HB9xHHHHHxxQQQ")
_Instruction = struct.Struct(">HH")
_Property = struct.Struct(">HH")
_Error = struct.Struct(">HH")
_MeterConfig = struct.Struct(">HHI")
_Band = struct.Struct(">HHII4x")
_MULTIPART_FLOW, _MULTIPART_METER_CONFIG, _MORE = 1, 10, 1
_APPLY_ACTIONS, _USE_METER = 4, 6
_FLOW_MOD_BYTES = 48


@dataclass(frozen=True, slots=True)
class Counted:
    """A flow that the switch has, and what went through it."""

    flow: Flow
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PacketIn:
    """A packet that a flow sent to the agent, with what the pipeline knew of it."""

    packet: bytes
    userdata: bytes
    table: int
    cookie: int
    metadata: Match  # in_port, tunnel fields, registers, conntrack fields that are not 0

    def value(self, field: str) -> int:
        """A metadata field's value; 0 where the switch told none."""
        return next((term.value for term in self.metadata if term.field == field), 0)


@dataclass(frozen=True, slots=True)
class Refused:
    """The switch's error: `xid` of the message that it refused, and why in words."""

    xid: int
    reason: str


def header(raw: bytes) -> tuple[int, int, int]:
    """Type, length and xid of a message from its first 8 bytes. Raises Malformed."""
    if len(raw) < HEADER_BYTES:
        raise Malformed(f"a message header of {len(raw)} bytes")
    version, kind, length, xid = _Header.unpack_from(raw)
    if length < HEADER_BYTES or (
        version != VERSION and kind > 1
    ):  # hello and its refusal may be of any version
        raise Malformed(f"a message of version {version}, type {kind} and length {length}")
    return kind, length, xid


def has_more(body: bytes) -> bool:
    """Whether more parts of this multipart reply (what follows the header) will come. Raises Malformed."""
    if len(body) < _Multipart.size:
        raise Malformed(f"a multipart reply of {len(body)} bytes")
    return bool(_Multipart.unpack_from(body)[1] & _MORE)


def tells_of_others(body: bytes) -> bool:
    """Whether a multipart reply (what follows the header) says that somebody else changed flows."""
    if len(body) < _Multipart.size + _Update.size or _Multipart.unpack_from(body)[0] != MULTIPART_MONITOR:
        return False
    return bool(_Update.unpack_from(body, _Multipart.size)[1] != _UPDATE_OWN)


def flow_stats(body: bytes) -> list[Counted]:
    """The flows in one part of a flow-stats reply (what follows the header). Raises Malformed."""
    kind = _Multipart.unpack_from(body)[0] if len(body) >= _Multipart.size else None
    if kind != _MULTIPART_FLOW:
        raise Malformed(f"a multipart reply of type {kind}, not flows")
    flows = []
    start = _Multipart.size
    while start < len(body):
        length = int.from_bytes(body[start : start + 2], "big")
        if length < _FLOW_MOD_BYTES + 8 or start + length > len(body):
            raise Malformed(f"a flow at byte {start} is cut off, or has length {length}")
        flows.append(_decode_flow(body, start, start + length))
        start += length
    return flows


def meter_configs(body: bytes) -> list[Meter]:
    """The meters in one part of a meter-config reply; what is none of ours in kind has rate 0. Raises Malformed."""
    kind = _Multipart.unpack_from(body)[0] if len(body) >= _Multipart.size else None
    if kind != _MULTIPART_METER_CONFIG:
        raise Malformed(f"a multipart reply of type {kind}, not meters")
    meters = []
    start = _Multipart.size
    while start < len(body):
        length, flags, number = (
            _MeterConfig.unpack_from(body, start) if start + _MeterConfig.size <= len(body) else (0, 0, 0)
        )
        if length < _MeterConfig.size or start + length > len(body):
            raise Malformed(f"a meter at byte {start} is cut off, or has length {length}")
        meters.append(_decode_meter(number, flags, body[start + _MeterConfig.size : start + length]))
        start += length
    return meters


def _decode_meter(number: int, flags: int, bands: bytes) -> Meter:
    is_known = len(bands) == _Band.size and flags in (METER_KBPS | METER_BURST, METER_PACKETS | METER_BURST)
    kind, _, rate, burst = _Band.unpack(bands) if is_known else (0, 0, 0, 0)
    if kind != BAND_DROP:
        return Meter(number, 0, 0)
    return Meter(number, rate, burst, bool(flags & METER_PACKETS))


def _decode_flow(body: bytes, start: int, end: int) -> Counted:
    _, table, priority, idle, hard, _, _, cookie, packets, octets = _FlowStats.unpack_from(body, start)
    match, at = decode_match(body, start + _FlowStats.size)
    actions = _decode_instructions(body, at, end)
    if idle or hard:
        actions = (*actions, Foreign(struct.pack(">HH", idle, hard)))
    return Counted(Flow(table, priority, match, actions, cookie), packets, octets)


def _decode_instructions(body: bytes, start: int, end: int) -> tuple[Action, ...]:
    actions: tuple[Action, ...] = ()
    while start < end:
        kind, length = _Instruction.unpack_from(body, start) if start + 8 <= end else (0, 0)
        if length < 8 or start + length > end:
            raise Malformed(f"an instruction at byte {start} is cut off, or has length {length}")
        if kind == _APPLY_ACTIONS:
            actions += decode_actions(body, start + 8, start + length)
        elif kind == _USE_METER:
            actions = (Meter(int.from_bytes(body[start + 4 : start + 8], "big"), 0, 0), *actions)
        else:
            actions += (Foreign(body[start : start + length]),)
        start += length
    return actions


def decode_flow_mod(raw: bytes) -> Flow:
    """The flow in a whole flow-mod message: the other side of `messages.flow_mod`. Raises Malformed."""
    if len(raw) < _FLOW_MOD_BYTES + 8:
        raise Malformed(f"a flow-mod of {len(raw)} bytes")
    cookie, table, priority = struct.unpack_from(">Q8xB5xH", raw, 8)
    match, at = decode_match(raw, _FLOW_MOD_BYTES)
    return Flow(table, priority, match, _decode_instructions(raw, at, len(raw)), cookie)


def packet_in(body: bytes) -> PacketIn | None:
    """The packet in an experimenter message (what follows the header); None where it is another message."""
    if len(body) < 8 or struct.unpack_from(">II", body) != (NICIRA, Nicira.PACKET_IN2):
        return None
    packet, userdata, table, cookie = b"", b"", 0, 0
    metadata: Match = ()
    start = 8
    while start < len(body):
        kind, length = _Property.unpack_from(body, start) if start + 4 <= len(body) else (0, 0)
        stop = start + length
        if length < 4 or stop > len(body):
            raise Malformed(f"a property of a packet-in at byte {start} is cut off, or has length {length}")
        value = body[start + 4 : stop]
        match kind:
            case 0:
                packet = value
            case 3:
                table = int.from_bytes(value[:1], "big")
            case 4:
                cookie = int.from_bytes(value[-8:], "big")
            case 6:
                metadata = decode_terms(value, 0, len(value))
            case 7:
                userdata = value
            case _:
                pass  # what else there is (reason, buffer, continuation) is not used
        start = stop + -length % 8
    return PacketIn(packet, userdata, table, cookie, metadata)


def refused(xid: int, body: bytes) -> Refused:
    """An error message (what follows the header) in words; it has the xid of what it refuses. Raises Malformed."""
    if len(body) < _Error.size:
        raise Malformed(f"an error of {len(body)} bytes")
    kind, code = _Error.unpack_from(body)
    if kind == 0xFFFF and len(body) >= 8:  # an experimenter's own error
        kind = 0xFFFF0000 | int.from_bytes(body[6:8], "big")
    return Refused(xid, reason_of(kind, code))
