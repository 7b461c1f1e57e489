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
    ETH_TYPE,
    HEADERS_FROM,
    IPV6_DST,
    IPV6_SRC,
    ND_OPTION,
    ND_TARGET,
    NW_DST,
    NW_SRC,
    TP_DST,
    TP_SRC,
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
_ND_BYTES = 24  # of a neighbour solicitation or advertisement without options
# A change of these makes OVS look the connection up anew; any other leaves it with the packet.
_CONNECTION_SLOTS = frozenset((NW_SRC, NW_DST, IPV6_SRC, IPV6_DST, TP_SRC, TP_DST, ND_TARGET))


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
        """The frame, parsed."""
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
        self.abandoned = 0  # translations that went through too many tables
        self.out_of_bounds = 0  # writes of nd_options_type into packets without an option
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
        steps = translation.run(table, state)
        self.abandoned += translation.is_abandoned
        self._run(steps, packet)

    def _run(self, steps: list[Step], packet: InFlight) -> None:
        for step in steps:
            match step:
                case Rewrite(changes):
                    self._rewrite(packet, changes)
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

    def _rewrite(self, packet: InFlight, changes: Changes) -> None:
        slots = {slot for slot, _ in changes}
        if ND_OPTION in slots and packet.layout.end - packet.layout.l4 <= _ND_BYTES:
            self.out_of_bounds += 1
        rewrite(packet.frame, packet.layout, changes)
        if not slots.isdisjoint(_CONNECTION_SLOTS):
            packet.tracked = replace(packet.tracked, connection=None)

    def _punt(self, step: Punt, packet: InFlight) -> None:
        frame, fields = bytes(packet.frame), fields_of(step.metadata)  # whole: OVS heeds no max_len
        self.packet_ins.append(PacketIn(frame, step.table, step.cookie, step.action.userdata, fields))


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
