# SPDX-License-Identifier: Apache-2.0
"""What is said to a switch, as whole OpenFlow 1.4 messages. `xid` is the number by which the answer is known."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

from alcor.dataplane.openflow.actions import encode_actions
from alcor.dataplane.openflow.fields import encode_match
from alcor.dataplane.values import Action, Flow, Meter

VERSION = 5  # OpenFlow 1.4
HEADER_BYTES = 8
MESSAGE_BYTES_MAX = 0xFFFF
NICIRA = 0x2320
ALL_TABLES = 0xFF
BUNDLE_FLOWS_MAX = 1_000  # a longer bundle stalls forwarding: 100,000 flows in one held packets up for 191 ms
PORT_CONTROLLER = 0xFFFFFFFD
_ANY = 0xFFFFFFFF


class Kind(IntEnum):
    """The types of message that Alcor says or hears."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    EXPERIMENTER = 4
    FEATURES_REQUEST = 5
    FEATURES_REPLY = 6
    SET_CONFIG = 9
    PACKET_IN = 10
    FLOW_REMOVED = 11
    PORT_STATUS = 12
    PACKET_OUT = 13
    FLOW_MOD = 14
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    METER_MOD = 29
    BUNDLE_CONTROL = 33
    BUNDLE_ADD = 34


class Command(IntEnum):
    """What a flow-mod does. ADD replaces a flow of equal identity, cookie and counters too."""

    ADD = 0
    MODIFY_STRICT = 2
    DELETE = 3
    DELETE_STRICT = 4


class MeterCommand(IntEnum):
    """What a meter-mod does. A meter that is deleted takes the flows that use it along."""

    ADD = 0
    MODIFY = 1
    DELETE = 2


class Nicira(IntEnum):
    """Open vSwitch's own messages."""

    SET_PACKET_IN_FORMAT = 16
    TLV_TABLE_MOD = 24
    CT_FLUSH_ZONE = 29
    PACKET_IN2 = 30


class Bundle(IntEnum):
    """Steps of a bundle; the answer to step n is n + 1."""

    OPEN = 0
    OPENED = 1
    COMMIT = 4
    COMMITTED = 5
    DISCARD = 6
    DISCARDED = 7


_Header = struct.Struct(">BBHI")
_FlowMod = struct.Struct(">BBHIQQBBHHHIIIHH")
_Apply = struct.Struct(">HHI")
_UseMeter = struct.Struct(">HHI")
_MeterMod = struct.Struct(">HHI")
_DropBand = struct.Struct(">HHII4x")
_Bundle = struct.Struct(">IHH")
_BundleAdd = struct.Struct(">BBHII2xH")
_PacketOut = struct.Struct(">IIH6x")
_FlowStats = struct.Struct(">HH4xB3xII4xQQ")
_FlowMonitor = struct.Struct(">HH4xIIIHBB")
_ATOMIC_ORDERED = 3
_APPLY_ACTIONS, _USE_METER = 4, 6
_MULTIPART_FLOW, _MULTIPART_METER_CONFIG, MULTIPART_MONITOR = 1, 10, 16
_ALL_METERS = 0xFFFFFFFF
CONTROLLER_METER = 0xFFFFFFFE  # of all packets that the switch sends to controllers (OFPM_CONTROLLER)
METER_KBPS, METER_PACKETS, METER_BURST = 1, 2, 4  # flags
BAND_DROP = 1
_MONITOR_CHANGES = 2 | 4 | 8  # flows added, removed, modified; not those that are there already
_NO_BUFFER = 0xFFFFFFFF


def message(kind: Kind, xid: int, body: bytes = b"") -> bytes:
    """One message. Raises ValueError where it is longer than OpenFlow can say."""
    length = HEADER_BYTES + len(body)
    if length > MESSAGE_BYTES_MAX:
        raise ValueError(f"a message of {length} bytes is longer than OpenFlow can say ({MESSAGE_BYTES_MAX})")
    return _Header.pack(VERSION, kind, length, xid) + body


def nicira(subtype: Nicira, xid: int, body: bytes) -> bytes:
    """One of Open vSwitch's own messages."""
    return message(Kind.EXPERIMENTER, xid, struct.pack(">II", NICIRA, subtype) + body)


def hello(xid: int) -> bytes:
    """The first message of a connection; it offers OpenFlow 1.4 only."""
    return message(Kind.HELLO, xid, struct.pack(">HHI", 1, 8, 1 << VERSION))


def echo_request(xid: int) -> bytes:
    """Are you there?"""
    return message(Kind.ECHO_REQUEST, xid)


def echo_reply(xid: int, body: bytes) -> bytes:
    """Yes: the same xid and body as the request had."""
    return message(Kind.ECHO_REPLY, xid, body)


def barrier(xid: int) -> bytes:
    """Answered when everything before it has been done."""
    return message(Kind.BARRIER_REQUEST, xid)


def set_config(xid: int) -> bytes:
    """Send whole packets to this connection; a switch's side door gets none without it. Fragments as they are."""
    return message(Kind.SET_CONFIG, xid, struct.pack(">HH", 0, 0xFFFF))


def set_packet_in_format(xid: int) -> bytes:
    """Packets to the agent come as NXT_PACKET_IN2, with userdata, registers and tunnel fields."""
    return nicira(Nicira.SET_PACKET_IN_FORMAT, xid, struct.pack(">I", 2))


def flush_ct_zone(xid: int, zone: int) -> bytes:
    """Forget every connection of a conntrack zone."""
    return nicira(Nicira.CT_FLUSH_ZONE, xid, struct.pack(">6xH", zone))


def map_tunnel_option(xid: int, option_class: int, option_type: int) -> bytes:
    """Let `tun_metadata0` stand for a 4-byte Geneve option; refused where it is mapped already."""
    return nicira(Nicira.TLV_TABLE_MOD, xid, struct.pack(">H6xHBBH2x", 0, option_class, option_type, 4, 0))


def flow_mod(xid: int, command: Command, flow: Flow) -> bytes:
    """Add, change or delete exactly this flow. A delete goes by identity and looks at neither cookie nor actions.

    Raises ValueError, naming the flow, for what OpenFlow cannot say.
    """
    try:
        body = encode_match(flow.match)
        if flow.actions and command is not Command.DELETE_STRICT:
            body += _encode_instructions(flow.actions)
        length = _FlowMod.size + len(body)
        if length + _BundleAdd.size > MESSAGE_BYTES_MAX:
            raise ValueError(f"it takes {length} bytes, more than one message may have ({MESSAGE_BYTES_MAX})")
        head = (VERSION, Kind.FLOW_MOD, length, xid, flow.cookie, 0, flow.table, command, 0, 0, flow.priority)
        return _FlowMod.pack(*head, _NO_BUFFER, _ANY, _ANY, 0, 0) + body
    except (struct.error, OverflowError, ValueError) as error:
        raise ValueError(
            f"flow {flow.table}/{flow.priority} {_named(flow)} cannot be sent: {error}"
        ) from error


def _encode_instructions(actions: Sequence[Action]) -> bytes:
    use = b""
    if isinstance(actions[0], Meter):
        use, actions = _UseMeter.pack(_USE_METER, _UseMeter.size, actions[0].id), actions[1:]
    if not actions:
        return use
    encoded = encode_actions(actions)
    return use + _Apply.pack(_APPLY_ACTIONS, (8 + len(encoded)) & 0xFFFF, 0) + encoded


def meter_mod(xid: int, command: MeterCommand, meter: Meter) -> bytes:
    """Add, change or delete a meter; one that is deleted is known by its id alone. Raises ValueError."""
    flags = (METER_PACKETS if meter.is_packets else METER_KBPS) | METER_BURST
    try:
        body = _MeterMod.pack(command, flags, meter.id)
        if command is not MeterCommand.DELETE:
            body += _DropBand.pack(BAND_DROP, _DropBand.size, meter.rate, meter.burst)
    except struct.error as error:
        raise ValueError(f"{meter} cannot be sent: {error}") from error
    return message(Kind.METER_MOD, xid, body)


def meter_config_request(xid: int) -> bytes:
    """Ask what all meters are."""
    request = struct.pack(">HH4xI4x", _MULTIPART_METER_CONFIG, 0, _ALL_METERS)
    return message(Kind.MULTIPART_REQUEST, xid, request)


def _named(flow: Flow) -> str:
    return ",".join(f"{term.field}={term.value:#x}/{term.mask:#x}" for term in flow.match) or "(any packet)"


def bundle(xid: int, step: Bundle, bundle_id: int) -> bytes:
    """Open, commit or discard an atomic, ordered bundle."""
    return message(Kind.BUNDLE_CONTROL, xid, _Bundle.pack(bundle_id, step, _ATOMIC_ORDERED))


def bundle_add(xid: int, bundle_id: int, inner: bytes) -> bytes:
    """Put a message, which must carry the same xid, into an open bundle."""
    length = _BundleAdd.size + len(inner)
    return _BundleAdd.pack(VERSION, Kind.BUNDLE_ADD, length, xid, bundle_id, _ATOMIC_ORDERED) + inner


def flow_stats_request(xid: int, table: int = ALL_TABLES, cookie: int = 0, cookie_mask: int = 0) -> bytes:
    """Ask for flows: of one table or all, and only those with `cookie` under `cookie_mask`."""
    body = _FlowStats.pack(_MULTIPART_FLOW, 0, table, _ANY, _ANY, cookie, cookie_mask)
    return message(Kind.MULTIPART_REQUEST, xid, body + encode_match(()))


def flow_monitor_request(xid: int) -> bytes:
    """Ask to be told of every change of flows; of changes over this connection only that there were some."""
    body = _FlowMonitor.pack(MULTIPART_MONITOR, 0, xid, _ANY, _ANY, _MONITOR_CHANGES, ALL_TABLES, 0)
    return message(Kind.MULTIPART_REQUEST, xid, body + encode_match(()))


def packet_out(xid: int, packet: bytes, actions: Sequence[Action], in_port: int = PORT_CONTROLLER) -> bytes:
    """Let the switch do `actions` with a packet, as if it had come in by `in_port`. Raises ValueError."""
    try:
        encoded = encode_actions(actions)
        if len(encoded) > MESSAGE_BYTES_MAX:
            raise ValueError(f"actions of {len(encoded)} bytes are longer than OpenFlow can say")
        return message(
            Kind.PACKET_OUT, xid, _PacketOut.pack(_NO_BUFFER, in_port, len(encoded)) + encoded + packet
        )
    except (struct.error, OverflowError) as error:
        raise ValueError(f"this packet-out cannot be sent: {error}") from error
