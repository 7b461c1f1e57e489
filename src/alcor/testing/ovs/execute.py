# SPDX-License-Identifier: Apache-2.0
"""Steps to effects: what leaves the switch for one packet that came in, conntrack and recirculation included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from alcor.testing.conntrack import Conntrack, Tracked
from alcor.testing.ovs.classifier import Classifier
from alcor.testing.ovs.extract import Layout, extract
from alcor.testing.ovs.rewrite import Changes, rewrite
from alcor.testing.ovs.state import (
    CT_IPV6_DST,
    CT_IPV6_SRC,
    CT_MARK,
    CT_NW_DST,
    CT_NW_PROTO,
    CT_NW_SRC,
    CT_STATE,
    CT_TP_DST,
    CT_TP_SRC,
    CT_ZONE,
    ETH_DST,
    ETH_SRC,
    ETH_TYPE,
    HEADERS_FROM,
    VLAN_TCI,
    VLAN_TPID,
    Need,
    State,
    holds,
    new_state,
)
from alcor.testing.ovs.translate import (
    NO_TUNNEL,
    Fork,
    Port,
    Punt,
    Recirculate,
    Rewrite,
    Send,
    Step,
    Track,
    Translation,
    Tunnel,
    fields_of,
)
from alcor.testing.packet import Packet

RECIRCULATIONS_MAX = 6
_LINK_SLOTS = frozenset((ETH_SRC, ETH_DST, VLAN_TCI, VLAN_TPID))


@dataclass(frozen=True, slots=True)
class Emission:
    """A frame that left the switch by a port; `tunnel` is what the tunnel header says, on a tunnel port."""

    port: int
    frame: bytes
    tunnel: Tunnel = NO_TUNNEL

    @property
    def packet(self) -> Packet:
        """The frame, parsed."""
        return Packet.parse(self.frame)


@dataclass(frozen=True, slots=True)
class PacketIn:
    """A frame sent to the controller, with the metadata fields that are not zero."""

    frame: bytes
    table: int
    cookie: int
    userdata: bytes
    metadata: dict[str, int]

    @property
    def packet(self) -> Packet:
        """The frame, parsed; it may be cut at the action's max_len."""
        return Packet.parse(self.frame)


@dataclass(slots=True)
class InFlight:
    """A packet's bytes, where its headers are, and what conntrack said of it."""

    frame: bytearray
    layout: Layout = field(default_factory=Layout)
    tracked: Tracked = field(default_factory=Tracked)

    def copy(self) -> InFlight:
        """The same packet, to be changed on its own."""
        return InFlight(bytearray(self.frame), replace(self.layout), self.tracked)


@dataclass(frozen=True, slots=True)
class Switchboard:
    """What a packet meets on its way."""

    tables: Mapping[int, Classifier]
    ports: Mapping[int, Port]
    conntrack: Conntrack


class Passage:
    """One packet's way through the switch; `emissions` and `packet_ins` fill as it goes."""

    def __init__(self, board: Switchboard, arrived_dst: int, recirculations: int) -> None:
        self.emissions: list[Emission] = []
        self.packet_ins: list[PacketIn] = []
        self._board = board
        self._arrived_dst = arrived_dst
        self._recirculations = recirculations

    def start(self, table: int, metadata: State, packet: InFlight) -> None:
        """Take the packet through the tables from `table` on, with this metadata (the slots before the headers)."""
        state = new_state()
        state[:HEADERS_FROM] = metadata
        packet.layout = extract(packet.frame, state)
        _show_connection(packet.tracked, state)
        translation = Translation(self._board.tables, self._board.ports, self._arrived_dst)
        self._run(translation.run(table, state), packet)

    def _run(self, steps: list[Step], packet: InFlight) -> None:
        for step in steps:
            match step:
                case Rewrite(changes):
                    _rewrite(packet, changes)
                case Send(port, tunnel):
                    self.emissions.append(Emission(port, bytes(packet.frame), tunnel))
                case Track(request):
                    packet.tracked = self._board.conntrack.track(
                        packet.frame, packet.layout, packet.tracked, request
                    )
                case Recirculate(table, metadata):
                    if self._recirculations < RECIRCULATIONS_MAX:
                        self._recirculations += 1
                        self.start(table, metadata, packet.copy())
                        self._recirculations -= 1
                case Punt():
                    self._punt(step, packet)
                case Fork(inner):
                    self._run(inner, packet.copy())

    def _punt(self, step: Punt, packet: InFlight) -> None:
        frame = bytes(packet.frame[: step.action.max_len])
        fields = fields_of(step.metadata)
        self.packet_ins.append(PacketIn(frame, step.table, step.cookie, step.action.userdata, fields))


def _rewrite(packet: InFlight, changes: Changes) -> None:
    rewrite(packet.frame, packet.layout, changes)
    if any(slot not in _LINK_SLOTS for slot, _ in changes):
        packet.tracked = replace(packet.tracked, connection=None)  # OVS looks its connection up again


def _show_connection(tracked: Tracked, state: State) -> None:
    if not tracked.state:
        return
    state[CT_STATE], state[CT_ZONE], state[CT_MARK] = tracked.state, tracked.zone, tracked.mark
    original = tracked.original
    if original is None or state[ETH_TYPE] != (0x0800 if original.version == 4 else 0x86DD):
        return
    state[CT_NW_PROTO] = original.proto
    src, dst = (CT_NW_SRC, CT_NW_DST) if original.version == 4 else (CT_IPV6_SRC, CT_IPV6_DST)
    state[src], state[dst] = original.src, original.dst
    if not holds(Need.ND, state):
        state[CT_TP_SRC], state[CT_TP_DST] = original.tp_src, original.tp_dst
