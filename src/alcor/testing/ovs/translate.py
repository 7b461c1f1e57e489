# SPDX-License-Identifier: Apache-2.0
"""Flows to steps: walk a packet's state through the tables and note what the datapath has to do, in order.

As in OVS, translation is finished before the first step runs, and one that fails (a loop) leaves no step at all.
Recirculation after ct is a step: the packet is looked at again when conntrack has seen it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from alcor.dataplane.values import (
    FIELDS,
    Action,
    Clone,
    Conjunction,
    Controller,
    Ct,
    Foreign,
    InPort,
    Meter,
    Move,
    Output,
    OutputField,
    Resubmit,
    SetField,
)
from alcor.testing.conntrack import CtRequest
from alcor.testing.ovs.classifier import Classifier, Rule
from alcor.testing.ovs.rewrite import Changes, pending
from alcor.testing.ovs.state import (
    CT_MARK,
    CT_STATE,
    HEADERS_FROM,
    IN_PORT,
    NEEDS,
    NW_FRAG,
    PARTS,
    TP_DST,
    TP_SRC,
    TUN_DST,
    TUN_ID,
    TUN_OPTION,
    TUN_OPTION_PRESENT,
    TUN_SRC,
    Need,
    State,
    holds,
    read,
    write,
)

DEPTH_MAX = 64  # resubmits to the same or an earlier table, nested
RESUBMITS_MAX = DEPTH_MAX * DEPTH_MAX
PORT_IN_PORT, PORT_NONE = 0xFFF8, 0xFFFF


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What a tunnel header says: key, outer addresses (as numbers) and the 32-bit option (tun_metadata0), if there."""

    id: int = 0
    src: int = 0
    dst: int = 0
    option: int | None = None


NO_TUNNEL = Tunnel()


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the switch. A tunnel port has a `local_ip`, from which it sends to tun_dst."""

    number: int
    local_ip: int = 0

    @property
    def is_tunnel(self) -> bool:
        """Whether packets leave and come in by a tunnel."""
        return bool(self.local_ip)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Change the packet's bytes."""

    changes: Changes


@dataclass(frozen=True, slots=True)
class Send:
    """Send the packet as it is out of a port."""

    port: int
    tunnel: Tunnel


@dataclass(frozen=True, slots=True)
class Track:
    """Show the packet to conntrack."""

    request: CtRequest


@dataclass(frozen=True, slots=True)
class Police:
    """Drop the packet, with all that is still to be done with it in this list, if a meter says so."""

    meter: int


@dataclass(frozen=True, slots=True)
class Recirculate:
    """Start over in a table with a copy of the packet and this metadata."""

    table: int
    metadata: State


@dataclass(frozen=True, slots=True)
class Punt:
    """Send the packet to the controller."""

    action: Controller
    table: int
    cookie: int
    metadata: State


@dataclass(frozen=True, slots=True)
class Fork:
    """Run steps on a copy of the packet."""

    steps: list[Step]


Step = Rewrite | Send | Track | Police | Recirculate | Punt | Fork


@dataclass(slots=True)
class _Level:
    """An action list in progress; what must be put back when it ends."""

    actions: Iterator[Action]
    table: int
    cookie: int
    depth: int
    state: State | None = None  # of a clone: the packet as it was before
    base: State | None = None  # of a clone in the datapath: the bytes as they were before
    steps: list[Step] | None = None


class Translation:
    """One pass of a packet through the tables, from a table on."""

    def __init__(self, tables: Mapping[int, Classifier], ports: Mapping[int, Port], arrived_dst: int) -> None:
        self._tables = tables
        self._ports = ports
        self._arrived_dst = arrived_dst  # the outer address that the packet was tunnelled to
        self._resubmits = 0
        self.is_abandoned = False

    def run(self, table: int, state: State) -> list[Step]:
        """The steps for a packet in this state, which is consumed; none of them if it `is_abandoned`."""
        self._state = state
        self._base = list(state)
        self._steps: list[Step] = []
        rule = self._look_up(table)
        if rule is None:
            return []
        self._levels = [_Level(iter(rule.flow.actions), table, rule.flow.cookie, 0)]
        while self._levels:
            action = next(self._levels[-1].actions, None)
            if action is None:
                self._end(self._levels.pop())
            elif not self._do(action):
                self.is_abandoned = True
                return []
        return self._steps

    def _look_up(self, table: int) -> Rule | None:
        classifier = self._tables.get(table)
        if classifier is None:
            return None
        state = self._state
        ports = state[TP_SRC], state[TP_DST]
        if state[NW_FRAG]:
            state[TP_SRC] = state[TP_DST] = 0  # OVS's fragment handling "normal": no fragment has ports
        rule = classifier.lookup(state)
        state[TP_SRC], state[TP_DST] = ports
        if rule is not None:
            rule.packets += 1
        return rule

    def _end(self, level: _Level) -> None:
        if level.state is not None:
            self._state = level.state
        if level.base is not None and level.steps is not None:
            self._base = level.base
            level.steps.append(Fork(self._steps))
            self._steps = level.steps

    def _do(self, action: Action) -> bool:
        """Do one action; False if the packet has been through too many tables."""
        match action:
            case Resubmit(table):
                return self._resubmit(table)
            case SetField(field, value, mask):
                self._set(field, value, mask)
            case Move():
                self._move(action)
            case Output(port):
                self._output(port)
            case OutputField(field):
                self._output(read(self._state, field) & 0xFFFF)
            case InPort():
                self._send(self._state[IN_PORT])
            case Ct():
                self._ct(action)
            case Clone(actions):
                self._clone(actions)
            case Controller():
                self._commit()
                level = self._levels[-1]
                self._steps.append(Punt(action, level.table, level.cookie, self._state[:HEADERS_FROM]))
            case Meter(number):
                self._steps.append(Police(number))
            case Conjunction() | Foreign():
                pass
        return True

    def _resubmit(self, table: int) -> bool:
        level = self._levels[-1]
        if level.depth >= DEPTH_MAX or self._resubmits >= RESUBMITS_MAX:
            return False
        rule = self._look_up(table)
        if rule is not None:
            self._resubmits += 1
            depth = level.depth + (table <= level.table)
            self._levels.append(_Level(iter(rule.flow.actions), table, rule.flow.cookie, depth))
        return True

    def _set(self, field: str, value: int, mask: int | None) -> None:
        if not holds(NEEDS.get(field, Need.NOTHING), self._state):
            return
        if mask is not None and mask != (1 << FIELDS[field].bits) - 1:
            value |= read(self._state, field) & ~mask
        write(self._state, field, value)

    def _move(self, action: Move) -> None:
        needs = NEEDS.get(action.src, Need.NOTHING), NEEDS.get(action.dst, Need.NOTHING)
        if not all(holds(need, self._state) for need in needs):
            return
        mask = (1 << action.bits) - 1
        bits = _copied(self._state, action.src) >> action.src_offset & mask
        rest = _copied(self._state, action.dst) & ~(mask << action.dst_offset)
        write(self._state, action.dst, rest | bits << action.dst_offset)

    def _output(self, port: int) -> None:
        if port == PORT_IN_PORT:
            self._send(self._state[IN_PORT])
        elif port != self._state[IN_PORT]:
            self._send(port)

    def _send(self, number: int) -> None:
        port = self._ports.get(number)
        if port is None:
            return
        tunnel = _tunnel_of(self._state, port.local_ip) if port.is_tunnel else NO_TUNNEL
        if port.is_tunnel and tunnel.dst == self._arrived_dst:
            self._state[TUN_SRC] = 0  # OVS does not send back to its own address, and forgets tun_src over it
            return
        self._commit()
        if port.is_tunnel and not tunnel.dst:
            return
        self._steps.append(Send(number, tunnel))

    def _commit(self) -> None:
        changes = pending(self._base, self._state)
        if changes:
            self._steps.append(Rewrite(changes))

    def _ct(self, action: Ct) -> None:
        zone = read(self._state, action.zone) & 0xFFFF if isinstance(action.zone, str) else action.zone
        self._commit()
        mark_mask = 0
        for nested in action.nested:
            self._set(nested.field, nested.value, nested.mask)
            mark_mask |= 0xFFFFFFFF if nested.mask is None else nested.mask
        mark = (self._state[CT_MARK] & mark_mask, mark_mask) if mark_mask else None
        self._steps.append(Track(CtRequest(zone, action.commit, mark)))
        if action.table is not None:
            self._steps.append(Recirculate(action.table, self._state[:HEADERS_FROM]))
        for slot in range(CT_STATE, len(self._state)):
            self._state[slot] = 0

    def _clone(self, actions: tuple[Action, ...]) -> None:
        level = self._levels[-1]
        inner = _Level(iter(actions), level.table, level.cookie, level.depth, list(self._state))
        if any(isinstance(action, Ct) for action in actions):
            self._commit()
            inner.base, inner.steps = list(self._base), self._steps
            self._steps = []
        self._levels.append(inner)


def _copied(state: State, field: str) -> int:
    """The field as a move sees it."""
    return 0 if field == "nd_options_type" else read(state, field)  # OVS takes the wrong byte of it, always 0


def _tunnel_of(state: State, local_ip: int) -> Tunnel:
    """The Geneve header that a tunnel port writes: a key of 24 bits, and OVS's own address whatever tun_src says."""
    option = state[TUN_OPTION] if state[TUN_OPTION_PRESENT] else None
    return Tunnel(state[TUN_ID] & 0xFFFFFF, local_ip, state[TUN_DST], option)


def arrive(state: State, port: int, tunnel: Tunnel) -> None:
    """Note in the state where the packet came in, and what its tunnel header said."""
    state[IN_PORT] = port
    state[TUN_ID], state[TUN_SRC], state[TUN_DST] = tunnel.id, tunnel.src, tunnel.dst
    state[TUN_OPTION], state[TUN_OPTION_PRESENT] = tunnel.option or 0, int(tunnel.option is not None)


def fields_of(metadata: State) -> dict[str, int]:
    """The metadata fields that are not zero, by name, as a packet-in carries them."""
    names = [name for name, parts in PARTS.items() if len(parts) == 1 and parts[0].slot < len(metadata)]
    return {name: value for name in names if (value := metadata[PARTS[name][0].slot])}
