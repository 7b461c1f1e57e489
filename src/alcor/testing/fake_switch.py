# SPDX-License-Identifier: Apache-2.0
"""A switch that carries packets through the same flow values as Open vSwitch, in the process, without root.

Held to OVS 3.1's userspace datapath by tests/contract. It has no megaflows, so a changed flow holds from the next
packet on. Tunnel ports are Geneve's: key, addresses and the one option that is mapped to tun_metadata0.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from alcor.base.clock import Clock
from alcor.dataplane.values import Action, Flow, Match, Meter
from alcor.testing.conntrack import Conntrack
from alcor.testing.ovs.check import FlowRefused, checked_pattern
from alcor.testing.ovs.classifier import Ambiguity, Classifier, Rule, rule_of
from alcor.testing.ovs.execute import Emission, PacketIn, Passage, Switchboard
from alcor.testing.ovs.flight import InFlight
from alcor.testing.ovs.fragments import Fragments
from alcor.testing.ovs.meters import Meters
from alcor.testing.ovs.state import HEADERS_FROM, State, new_state, pattern_of
from alcor.testing.ovs.translate import NO_TUNNEL, Port, Tunnel, arrive
from alcor.testing.packet import Packet

__all__ = ["Ambiguity", "Emission", "FakeSwitch", "FlowRefused", "PacketIn", "Port", "Tunnel"]

CONTROLLER = 0xFFFD  # by which a packet comes in that the agent puts out
_OWN_TABLE = 253  # while such a packet is on its way


class FakeSwitch:
    """A bridge: ports, flow tables and a datapath's conntrack."""

    def __init__(self, clock: Clock) -> None:
        self.conntrack = Conntrack(clock)
        self._fragments = Fragments(clock)
        self._meters = Meters(clock)
        self.packet_ins: list[PacketIn] = []
        self.abandoned = 0  # packets dropped because flows sent them round in circles
        self.out_of_bounds = 0  # writes to a header or option that is not there: OVS may crash of them
        self.on_packet_in: Callable[[PacketIn], None] | None = None
        self._ports: dict[int, Port] = {}
        self._tables: dict[int, Classifier] = {}

    def add_port(self, number: int) -> None:
        """Add a port."""
        self._ports[number] = Port(number)

    def add_tunnel_port(self, number: int, local_ip: int) -> None:
        """Add a tunnel port; what it sends goes from this address (a number) to tun_dst."""
        self._ports[number] = Port(number, local_ip)

    def remove_port(self, number: int) -> None:
        """Remove the port: what is sent there is lost."""
        self._ports.pop(number, None)

    def apply(self, adds: Iterable[Flow] = (), deletes: Iterable[Flow] = ()) -> None:
        """Delete and add flows as one atomic bundle, deletes first. Raises FlowRefused, and then nothing has changed.

        A flow replaces the one of its identity and starts its count anew; deleting what is not there is no error.
        """
        rules = [rule_of(flow, checked_pattern(flow)) for flow in adds]
        for flow in deletes:
            self._table(flow.table).remove(flow.priority, pattern_of(flow.match))
        for rule in rules:
            for action in rule.flow.actions[:1]:
                if isinstance(action, Meter):
                    self._meters.set(action)
            self._table(rule.flow.table).add(rule)

    def clear(self) -> None:
        """Lose every flow, as a restarted switch does; conntrack is lost too."""
        self._tables.clear()
        self.conntrack.flush()
        self._fragments.clear()
        self._meters.keep(())

    def keep_meters(self, used: Collection[int]) -> None:
        """Delete all meters but these, and with them the flows that use them."""
        for flow in self.dump():
            if any(isinstance(action, Meter) and action.id not in used for action in flow.actions):
                self.apply(deletes=[flow])
        self._meters.keep(used)

    @property
    def meters(self) -> list[Meter]:
        """The meters that the switch has."""
        return self._meters.all()

    def dump(self) -> list[Flow]:
        """The flows that the switch has, by table and falling priority."""
        flows = [self._meters.shown(rule.flow) for rule in self._rules()]
        return sorted(flows, key=lambda flow: (flow.table, -flow.priority, flow.match))

    def packets(self, table: int, priority: int, match: Match) -> int:
        """How many packets the flow of this identity has seen. Raises KeyError if there is none."""
        rule = self._table(table).find(priority, pattern_of(match))
        if rule is None:
            raise KeyError((table, priority, match))
        return rule.packets

    @property
    def ambiguities(self) -> list[Ambiguity]:
        """Equal priorities that packets have met: a defect of the flows, OVS chooses as it likes."""
        return [each for table in self._tables.values() for each in table.ambiguities]

    @property
    def fragments_waiting(self) -> int:
        """Datagrams that conntrack holds pieces of."""
        return self._fragments.waiting

    def receive(self, port: int, packet: bytes | Packet, tunnel: Tunnel = NO_TUNNEL) -> list[Emission]:
        """Carry a packet that comes in by a port; what leaves the switch, in order."""
        state = new_state()
        arrive(state, port, tunnel)
        came_in = self._ports.get(port)
        frame = packet if isinstance(packet, bytes) else packet.build()
        recirculations = 1 if came_in is not None and came_in.is_tunnel else 0
        return self._carry(0, state, InFlight(bytearray(frame), tunnel.dst), recirculations)

    def packet_out(self, packet: bytes, actions: Sequence[Action]) -> list[Emission]:
        """Do actions with a packet that came in by no port; what leaves the switch, in order."""
        state = new_state()
        arrive(state, CONTROLLER, NO_TUNNEL)
        doing = Flow(_OWN_TABLE, 0, (), tuple(actions))
        self._table(_OWN_TABLE).add(rule_of(doing, checked_pattern(doing)))
        try:
            return self._carry(_OWN_TABLE, state, InFlight(bytearray(packet), NO_TUNNEL.dst), 0)
        finally:
            del self._tables[_OWN_TABLE]

    def _carry(self, table: int, state: State, packet: InFlight, recirculations: int) -> list[Emission]:
        board = Switchboard(self._tables, self._ports, self.conntrack, self._fragments, self._meters)
        passage = Passage(board, recirculations)
        passage.start(table, state[:HEADERS_FROM], packet)
        self.abandoned += passage.abandoned
        self.out_of_bounds += passage.out_of_bounds
        for packet_in in passage.packet_ins:
            self.packet_ins.append(packet_in)
            if self.on_packet_in is not None:
                self.on_packet_in(packet_in)
        return passage.emissions

    def _table(self, number: int) -> Classifier:
        return self._tables.setdefault(number, Classifier())

    def _rules(self) -> Iterable[Rule]:
        for table in self._tables.values():
            yield from table
