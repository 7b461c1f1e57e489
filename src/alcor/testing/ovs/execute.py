# SPDX-License-Identifier: Apache-2.0
"""Steps to effects: what leaves the switch for one packet that came in, conntrack and recirculation included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from alcor.testing.conntrack import Conntrack, CtRequest, Tracked
from alcor.testing.ovs.classifier import Classifier
from alcor.testing.ovs.extract import extract
from alcor.testing.ovs.flight import InFlight
from alcor.testing.ovs.fragments import Fragments
from alcor.testing.ovs.meters import Meters
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
    FRAG_LATER,
    HEADERS_FROM,
    IPV6_DST,
    IPV6_SRC,
    ND_OPTION,
    ND_TARGET,
    NW_DST,
    NW_FRAG,
    NW_SRC,
    TP_DST,
    TP_SRC,
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
    Police,
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
_ARP_BYTES = 28
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


@dataclass(frozen=True, slots=True)
class Switchboard:
    """What a packet meets on its way."""

    tables: Mapping[int, Classifier]
    ports: Mapping[int, Port]
    conntrack: Conntrack
    fragments: Fragments
    meters: Meters


class Passage:
    """One packet's way through the switch; `emissions` and `packet_ins` fill as it goes."""

    def __init__(self, board: Switchboard, recirculations: int) -> None:
        self.emissions: list[Emission] = []
        self.packet_ins: list[PacketIn] = []
        self.abandoned = 0  # translations that went through too many tables
        self.out_of_bounds = 0  # writes to what is not in the packet
        self._board = board
        self._recirculations = recirculations

    def start(self, table: int, metadata: State, packet: InFlight) -> None:
        """Take the packet through the tables from `table` on, with this metadata (the slots before the headers)."""
        self._pass(table, metadata, packet, None)

    def _pass(self, table: int, metadata: State, packet: InFlight, place: object) -> None:
        state = new_state()
        state[:HEADERS_FROM] = metadata
        packet.layout = extract(packet.frame, state)
        _show_connection(packet.tracked, state)
        translation = Translation(self._board.tables, self._board.ports, packet.arrived_dst)
        steps = translation.run(table, state)
        self.abandoned += translation.is_abandoned
        self._run(steps, [packet], place)

    def _run(self, steps: list[Step], packets: list[InFlight], place: object) -> None:
        """Do the steps with what is in hand: a packet, nothing while a fragment waits, all fragments of a datagram."""
        for step in steps:
            if isinstance(step, Track):
                packets = [after for packet in packets for after in self._track(step.request, packet, place)]
            elif isinstance(step, Police):
                passes = self._board.meters.passes
                packets = [packet for packet in packets if passes(step.meter, len(packet.frame))]
            for packet in packets:
                self._do(step, packet, place)

    def _do(self, step: Step, packet: InFlight, place: object) -> None:
        match step:
            case Rewrite(changes):
                self._rewrite(packet, changes)
            case Send(port, tunnel):
                self.emissions.append(Emission(port, bytes(packet.frame), tunnel))
            case Recirculate(table, metadata) if self._recirculations < RECIRCULATIONS_MAX:
                self._recirculations += 1
                self._pass(table, metadata, packet.copy(), (table, *metadata))
                self._recirculations -= 1
            case Punt():
                self._punt(step, packet)
            case Fork(inner):
                self._run(inner, [packet.copy()], place)
            case _:
                pass

    def _track(self, request: CtRequest, packet: InFlight, place: object) -> list[InFlight]:
        track = self._board.conntrack.track
        datagram = self._board.fragments.offer(packet, request.zone, place)
        if isinstance(datagram, bool):
            if datagram:
                return []
            packet.tracked = track(packet.frame, packet.layout, packet.tracked, request)
            return [packet]
        whole = datagram.whole
        tracked = track(whole.frame, whole.layout, whole.tracked, request)
        for fragment in datagram.fragments:
            fragment.tracked = replace(tracked, connection=None)
        return datagram.fragments

    def _rewrite(self, packet: InFlight, changes: Changes) -> None:
        slots = {slot for slot, _ in changes}
        layout = packet.layout
        is_cut_arp = (
            packet.frame[layout.l3 - 2 : layout.l3] == b"\x08\6" and layout.end - layout.l3 < _ARP_BYTES
        )
        lacks_option = ND_OPTION in slots and layout.end - layout.l4 <= _ND_BYTES
        self.out_of_bounds += lacks_option or (is_cut_arp and not slots <= _LINK_SLOTS)
        rewrite(packet.frame, layout, changes)
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
    # Ports come with the packet's own in OVS's extraction: a later fragment has neither.
    if not holds(Need.ND, state) and not state[NW_FRAG] & FRAG_LATER:
        state[CT_TP_SRC], state[CT_TP_DST] = original.tp_src, original.tp_dst
