# SPDX-License-Identifier: Apache-2.0
"""Random sets of flows that OVS accepts and that the given frames are likely to meet, rarest kinds first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from alcor.base.net import ip_int
from alcor.dataplane.values import (
    FIELDS,
    Action,
    Clone,
    Conjunction,
    Controller,
    Ct,
    Flow,
    InPort,
    Match,
    Move,
    Output,
    OutputField,
    Resubmit,
    SetField,
    Term,
)
from alcor.testing.ovs.check import FlowRefused, checked_pattern
from alcor.testing.ovs.extract import extract
from alcor.testing.ovs.state import NEEDS, WIDTHS, Need, State, holds, new_state, pattern_of, read
from alcor.testing.ovs.translate import arrive
from tests.contract.frames import IPS4, IPS6, MACS, PEERS, TP_PORTS, Arrival
from tests.contract.real_switch import PORTS, TUNNEL_PORT

READ_ONLY = {"eth_type", "ip_proto", "ip_frag", "conj_id"} | {
    name for name in FIELDS if name.startswith("ct_")
}
SETTABLE = [name for name in FIELDS if name not in READ_ONLY]
ZONES = (0, 1, 2, 65535)
CT_STATES = ((0x20, 0x30), (0x21, 0x21), (0x22, 0x22), (0x2A, 0x2A), (0x24, 0x24), (0x22, 0x2A), (0x21, 0x3F))
_SMALL = (0, 1, 2, 3, 5, 0x10001)
_IMPLIED: dict[Need, tuple[tuple[str, int], ...]] = {
    Need.ARP: (("eth_type", 0x0806),),
    Need.IPV4: (("eth_type", 0x0800),),
    Need.IPV6: (("eth_type", 0x86DD),),
    Need.ICMP: (("eth_type", 0x0800), ("ip_proto", 1)),
    Need.ICMPV6: (("eth_type", 0x86DD), ("ip_proto", 58)),
    Need.ND_SOLICIT: (("eth_type", 0x86DD), ("ip_proto", 58), ("icmpv6_type", 135), ("icmpv6_code", 0)),
    Need.ND_ADVERT: (("eth_type", 0x86DD), ("ip_proto", 58), ("icmpv6_type", 136), ("icmpv6_code", 0)),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a set of flows is made for: frames that will come, and how often each kind has been met so far."""

    frames: Sequence[Arrival]
    seen: Counter[str]
    missing: Sequence[str] = ()  # kinds to aim at, as `coverage_of_kinds` names them


class FlowSets:
    """Makes sets of flows from a source of randomness."""

    def __init__(self, rng: Random, recipe: Recipe) -> None:
        self._rng = rng
        self._seen = recipe.seen
        self._missing = recipe.missing
        self._states = [_state_of(arrival) for arrival in recipe.frames]
        self._tables = rng.randint(2, 6)

    def make(self) -> tuple[Flow, ...]:
        """One set, over several tables; each flow is one that OVS accepts."""
        flows: dict[object, Flow] = {}
        for flow in self._aimed():
            self._keep(flow, flows)
        for table in range(self._tables):
            style = self._rng.random()
            made = self._conjunctive(table) if style < 0.3 else []
            made += self._plain(table, self._rng.randint(3, 14))
            if style > 0.45:
                made += self._judging(table)
            for flow in made:
                self._keep(flow, flows)
        return tuple(flows.values())

    def _keep(self, flow: Flow, flows: dict[object, Flow]) -> None:
        pattern = pattern_of(flow.match)
        try:
            checked_pattern(flow)
        except FlowRefused:
            return
        flows.setdefault((flow.table, flow.priority, pattern), flow)

    def _aimed(self) -> list[Flow]:
        """Flows in front of all others for kinds that have not been met, where a frame can meet them."""
        flows = []
        for number, kind in enumerate(self._missing):
            verb, name, is_masked = _parsed(kind)
            states = [state for state in self._states if holds(NEEDS.get(name, Need.NOTHING), state)]
            if states and verb:
                flows.append(
                    self._aimed_flow(1000 + number, (verb, name, is_masked), self._rng.choice(states))
                )
        return flows

    def _aimed_flow(self, priority: int, kind: tuple[str, str, bool], state: State) -> Flow:
        verb, name, is_masked = kind
        terms = {field: _exact(field, value) for field, value in self._needed(name, state)}
        if name.startswith("nd_") and read(state, "nd_options_type"):
            terms["nd_options_type"] = _exact("nd_options_type", read(state, "nd_options_type"))
        value, mask = self._value(name, state), self._mask(name)
        mask = mask if is_masked and mask != (1 << FIELDS[name].bits) - 1 else (1 << FIELDS[name].bits) - 1
        if name == "vlan_tci" and verb == "match":
            mask = 0x1FFF if is_masked and read(state, name) else 0xFFFF
        action: Action = Controller(b"aimed")
        match verb:
            case "match":
                terms[name] = Term(name, read(state, name) & mask, mask)
            case "set":
                action = SetField(name, value & mask, mask if is_masked else None)
            case "move from":
                action = Move(name, "xxreg0", min(WIDTHS[name], 128))
            case _:
                action = Move("xxreg1", name, min(WIDTHS[name], 128))
        return Flow(0, priority, _sorted(terms), (action, *self._onward(0), Output(self._rng.choice(PORTS))))

    def _plain(self, table: int, count: int) -> list[Flow]:
        priorities = self._rng.sample(range(1, 200), count)
        flows = [self._flow(table, priority) for priority in priorities]
        if self._rng.random() < 0.8:
            flows.append(Flow(table, 0, (), self._onward(table), cookie=table))
        return flows

    def _flow(self, table: int, priority: int) -> Flow:
        state = self._rng.choice(self._states)
        size = self._rng.choice((0, 1, 1, 2, 2, 3))
        match = self._match(state, size)
        return Flow(table, priority, match, self._actions(table, match), cookie=self._rng.randrange(1 << 32))

    def _judging(self, table: int) -> list[Flow]:
        """A table's way into conntrack, and flows that look at what it says."""
        flows = []
        for kind in (0x0800, 0x86DD):
            if self._rng.random() < 0.8:
                action = self._ct(min(table + 1, self._tables - 1))
                match = (_exact("ct_state", 0), _exact("eth_type", kind))
                flows.append(
                    Flow(table, self._rng.randint(200, 240) * 2 + (kind == 0x0800), match, (action,))
                )
        for number in range(self._rng.randint(1, 5)):
            state = self._rng.choice(self._states)
            terms = {term.field: term for term in self._match(state, self._rng.choice((0, 1, 2)))}
            terms["ct_state"] = Term("ct_state", *self._rng.choice(CT_STATES))
            terms["eth_type"] = _exact("eth_type", self._rng.choice((0x0800, 0x86DD)))
            match = _sorted(terms)
            flows.append(
                Flow(table, 500 + 7 * number + self._rng.randrange(7), match, self._actions(table, match))
            )
        return flows

    def _conjunctive(self, table: int) -> list[Flow]:
        """Conjunctions of 2 to 4 clauses, sharing clause flows; flows that they compete with come from elsewhere."""
        merged: dict[tuple[int, Match], tuple[Conjunction, ...]] = {}
        flows = []
        base = self._rng.choice(self._states)
        for number in self._rng.sample(range(1, 9), self._rng.randint(1, 4)):
            of, priority = self._rng.choice((2, 2, 3, 4)), self._rng.choice((30, 60, 90, 700))
            for clause in range(1, of + 1):
                for _ in range(self._rng.randint(1, 3)):
                    state = base if self._rng.random() < 0.8 else self._rng.choice(self._states)
                    match = self._match(state, 1 if self._rng.random() < 0.8 else 2)
                    key = priority + (self._rng.random() < 0.05), match
                    if merged and self._rng.random() < 0.25:
                        key = self._rng.choice(list(merged))
                    have = merged.get(key, ())
                    if all(part.id != number for part in have):
                        merged[key] = (*have, Conjunction(number, clause, of))
            flows += self._behind(table, number, priority)
        flows += [Flow(table, priority, match, parts) for (priority, match), parts in merged.items()]
        return flows

    def _behind(self, table: int, number: int, priority: int) -> list[Flow]:
        flows = []
        for place in range(self._rng.choice((1, 1, 1, 2))):
            terms = {"conj_id": _exact("conj_id", number)}
            if self._rng.random() < 0.3 or place:
                terms |= {term.field: term for term in self._match(self._rng.choice(self._states), 1)}
            where = priority + self._rng.choice((-20, 0, 20)) + number * 800 + 100 * place
            match = _sorted(terms)
            flows.append(Flow(table, where, match, self._actions(table, match)))
        return flows

    def _match(self, state: State, size: int) -> Match:
        """A match that a packet in this state has a fair chance of meeting."""
        terms: dict[str, Term] = {}
        candidates = [name for name in FIELDS if self._can_match(name, state)]
        for name in self._rarest(candidates, size, "match"):
            if name == "conj_id" and self._rng.random() < 0.9:
                continue
            for field, value in self._needed(name, state):
                terms.setdefault(field, _exact(field, value))
            if NEEDS.get(name) is Need.CT and "ct_state" not in terms:
                terms["ct_state"] = Term("ct_state", *self._rng.choice(CT_STATES[:5]))
                terms.setdefault("eth_type", _exact("eth_type", read(state, "eth_type")))
            if name in ("ct_tp_src", "ct_tp_dst"):
                terms.setdefault("ct_nw_proto", _exact("ct_nw_proto", self._value("ct_nw_proto", state)))
            terms[name] = self._term(name, state)
        return _sorted(terms)

    def _can_match(self, name: str, state: State) -> bool:
        need = NEEDS.get(name, Need.NOTHING)
        if need is Need.CT:
            return holds(Need.IP, state) and name not in (
                ("ct_ipv6_src", "ct_ipv6_dst") if holds(Need.IPV4, state) else ("ct_nw_src", "ct_nw_dst")
            )
        return holds(need, state)

    def _needed(self, name: str, state: State) -> tuple[tuple[str, int], ...]:
        need = NEEDS.get(name, Need.NOTHING)
        if need in (Need.IP, Need.CT):
            return (("eth_type", read(state, "eth_type")),)
        if need in (Need.TCP, Need.UDP):
            return (("eth_type", read(state, "eth_type")), ("ip_proto", read(state, "ip_proto")))
        if need is Need.ND:
            kind = read(state, "icmpv6_type")
            return _IMPLIED[Need.ND_SOLICIT if kind == 135 else Need.ND_ADVERT]
        if need is Need.ARP:
            return (("eth_type", read(state, "eth_type")),)
        return _IMPLIED.get(need, ())

    def _term(self, name: str, state: State) -> Term:
        field = FIELDS[name]
        full = (1 << field.bits) - 1
        value = self._value(name, state)
        if name == "vlan_tci":
            mask = self._rng.choice((0xFFFF, 0x1FFF, 0x1000, 0x1001)) if value else 0xFFFF
            return Term(name, value & mask, mask)
        if not field.maskable or self._rng.random() < 0.45:
            return Term(name, value, full)
        return Term(name, value & (mask := self._mask(name)), mask)

    def _mask(self, name: str) -> int:
        bits = FIELDS[name].bits
        if name == "ip_frag":
            return self._rng.choice((1, 2))
        if name == "ct_state":
            return self._rng.choice((0x20, 0x21, 0x3F, 0x28, 0x30, 0x0C, 0x0E))
        match self._rng.randrange(3):
            case 0:
                return ((1 << bits) - 1) ^ ((1 << self._rng.randint(1, bits - 1)) - 1)
            case 1:
                return 1 << self._rng.randrange(bits)
            case _:
                return self._rng.getrandbits(bits) or 1

    def _value(self, name: str, state: State) -> int:
        """A value of the field: the packet's own, or another one of the small world."""
        if name.startswith("ct_"):
            return self._ct_value(name, state)
        own = read(state, name)
        if self._rng.random() < 0.75 and (own or not name.startswith(("reg", "xxreg", "metadata"))):
            return own
        if name.startswith(("eth_", "arp_sha", "arp_tha", "nd_sll", "nd_tll")) and FIELDS[name].bits == 48:
            return int(self._rng.choice(MACS).replace(":", ""), 16)
        pools: dict[str, Sequence[int]] = {
            "in_port": (*PORTS, TUNNEL_PORT),
            "tun_dst": PEERS,
            "tun_src": PEERS,
            "vlan_tci": (0, 0x1001, 0x1002, 0x7003, 0x3002),
            "nw_ttl": (1, 63, 64, 255),
            "arp_op": (1, 2, 3),
            "icmp_type": (0, 3, 8),
            "icmpv6_type": (128, 129, 135, 136),
            "nd_options_type": (0, 1, 2),
            "nd_reserved": (0, 0x60000000),
            "ip_frag": (0, 1, 3),
            "ip_proto": (1, 6, 17, 58),
            "eth_type": (0x0800, 0x86DD, 0x0806),
            "conj_id": range(1, 9),
        }
        if name.endswith(("tcp_src", "tcp_dst", "udp_src", "udp_dst")):
            return self._rng.choice(TP_PORTS)
        if name in pools:
            return self._rng.choice(pools[name])
        if FIELDS[name].bits == 32 and name.startswith(("ip_", "arp_")):
            return ip_int(self._rng.choice(IPS4))
        if name.startswith(("ipv6_", "nd_target")):
            return ip_int(self._rng.choice(IPS6))
        if name.startswith("xxreg"):
            return sum(
                self._rng.choice(_SMALL) << shift for shift in (0, 32, 64, 96) if self._rng.random() < 0.4
            )
        return self._rng.choice(_SMALL) & (1 << FIELDS[name].bits) - 1

    def _ct_value(self, name: str, state: State) -> int:
        turned = self._rng.random() < 0.4
        match name:
            case "ct_state":
                return self._rng.choice((0, 0x21, 0x22, 0x2A, 0x24, 0x2C, 0x30))
            case "ct_zone":
                return self._rng.choice(ZONES)
            case "ct_mark":
                return self._rng.choice(_SMALL)
            case "ct_nw_proto":
                return read(state, "ip_proto") or 6
            case _:
                end = name[-3:] if not turned else {"src": "dst", "dst": "src"}[name[-3:]]
                own = {"ct_nw": "ip", "ct_ipv6": "ipv6", "ct_tp": "tcp"}[name[:-4]]
                return read(state, f"{own}_{end}")

    def _actions(self, table: int, match: Match) -> tuple[Action, ...]:
        """Actions whose prerequisites the match implies."""
        matched = _matched(match)
        actions = [
            self._change(matched, match) if self._rng.random() < 0.65 else self._act(table, match)
            for _ in range(self._rng.choice((0, 1, 1, 2, 3, 4)))
        ]
        return (*actions, *self._onward(table)) if self._rng.random() < 0.85 else tuple(actions)

    def _change(self, matched: State, match: Match) -> Action:
        can = [name for name in SETTABLE if holds(NEEDS.get(name, Need.NOTHING), matched)]
        if "nd_options_type" in can and not read(matched, "nd_options_type"):
            can.remove(
                "nd_options_type"
            )  # without an option in the packet OVS writes behind it, and may crash
        if self._rng.random() < 0.35:
            return self._move(can, matched, match)
        name = self._rarest(can, 1, "set")[0]
        value = self._value(name, matched)
        if name == "in_port":
            value = self._rng.choice((0, *PORTS))
        if FIELDS[name].maskable and self._rng.random() < 0.4:
            mask = self._mask(name)
            if mask != (1 << FIELDS[name].bits) - 1:
                return SetField(name, value & mask, mask)
        return SetField(name, value)

    def _move(self, can: list[str], matched: State, match: Match) -> Action:
        readable = [name for name in FIELDS if holds(NEEDS.get(name, Need.NOTHING), matched)]
        src, dst = self._rarest(readable, 1, "move from")[0], self._rarest(can, 1, "move to")[0]
        width = {name: WIDTHS[name] for name in (src, dst)}
        if dst == "in_port":
            return (
                Move(src, dst, 1, 0, self._rng.randrange(2))
                if self._rng.random() < 0.3
                else SetField("in_port", 0)
            )
        bits = min(width.values()) if self._rng.random() < 0.6 else self._rng.randint(1, min(width.values()))
        if dst in ("nd_reserved", "nd_options_type"):
            bits = min(width.values())
            if bits < width[dst]:
                return SetField(dst, 1)  # OVS mangles what moves write to a part of these
        offsets = [self._rng.randint(0, width[name] - bits) for name in (src, dst)]
        return Move(src, dst, bits, *offsets)

    def _act(self, table: int, match: Match) -> Action:
        kinds = {term.field: term.value for term in match}
        choices = ["output", "resubmit", "clone", "controller", "in_port", "field"]
        if kinds.get("eth_type") in (0x0800, 0x86DD):
            choices += ["ct"] * 3
        match self._rng.choice(choices):
            case "output":
                return Output(self._rng.choice((*PORTS, TUNNEL_PORT, 77)))
            case "resubmit":
                return Resubmit(self._next(table))
            case "clone":
                return Clone(tuple(self._short(table, match)))
            case "controller":
                return Controller(
                    self._rng.choice((b"", b"a", b"hello")), self._rng.choice((65535, 65535, 20))
                )
            case "in_port":
                return InPort()
            case "field":
                return OutputField(
                    self._rng.choice([f"reg{number}" for number in range(16)] + ["xxreg1", "metadata"])
                )
            case _:
                return self._ct(self._next(table))

    def _short(self, table: int, match: Match) -> list[Action]:
        actions = [self._change(_matched(match), match) for _ in range(self._rng.randint(0, 2))]
        return [
            *actions,
            self._act(table, match) if self._rng.random() < 0.5 else Output(self._rng.choice(PORTS)),
        ]

    def _ct(self, table: int) -> Action:
        rng = self._rng
        zone = rng.choice(ZONES) if rng.random() < 0.6 else rng.choice(("reg1", "reg5", "reg15"))
        nested: tuple[SetField, ...] = ()
        commit = rng.random() < 0.5
        if commit and rng.random() < 0.5:
            mask = rng.choice((None, 0xFF, 0xFFFF0000))
            nested = (SetField("ct_mark", rng.choice(_SMALL) & (mask or 0xFFFFFFFF), mask),)
        return Ct(zone, commit, table if rng.random() < 0.8 else None, nested)

    def _onward(self, table: int) -> tuple[Action, ...]:
        rng = self._rng
        ends: tuple[Action, ...] = ()
        if table + 1 < self._tables and rng.random() < 0.75:
            ends = (Resubmit(self._next(table)),)
        if rng.random() < 0.5 or not ends:
            ends += (
                rng.choice(
                    (Output(rng.choice(PORTS)), Output(TUNNEL_PORT), Controller(b"end"), OutputField("reg0"))
                ),
            )
        return ends

    def _next(self, table: int) -> int:
        if table + 1 < self._tables and self._rng.random() < 0.96:
            return self._rng.randint(table + 1, self._tables - 1)
        return self._rng.randint(0, self._tables)

    def _rarest(self, names: list[str], count: int, kind: str) -> list[str]:
        weights = [1 / (1 + self._seen[f"{kind} {name}"]) for name in names]
        return self._rng.choices(names, weights, k=count) if names else []


def _parsed(kind: str) -> tuple[str, str, bool]:
    """The verb, the field and whether a mask is meant; an empty verb if the kind is about no field."""
    for verb in ("match", "set", "move from", "move to"):
        name = kind.removeprefix(f"{verb} ").removesuffix(" masked")
        if kind.startswith(f"{verb} ") and name in FIELDS and not name.startswith(("ct_", "conj")):
            return verb, name, kind.endswith(" masked")
    return "", "", False


def _exact(name: str, value: int) -> Term:
    return Term(name, value, (1 << FIELDS[name].bits) - 1)


def _sorted(terms: dict[str, Term]) -> Match:
    return tuple(terms[name] for name in sorted(terms) if terms[name].mask)


def _matched(match: Match) -> State:
    state, pattern = new_state(), pattern_of(match)
    for (slot, _), value in zip(pattern.slots, pattern.values, strict=True):
        state[slot] = value
    return state


def _state_of(arrival: Arrival) -> State:
    state = new_state()
    arrive(state, arrival.port, arrival.tunnel)
    extract(arrival.frame, state)
    return state


def spoilt(rng: Random, flow: Flow, other: Flow) -> Flow:
    """The flow, changed in a way that OVS may refuse."""
    place = rng.randrange(len(flow.match)) if flow.match else 0
    name = rng.choice(list(FIELDS))
    mask = rng.getrandbits(FIELDS[name].bits) or 1
    value = rng.getrandbits(FIELDS[name].bits) & mask
    match rng.randrange(8):
        case 0:
            return replace(flow, match=flow.match[:place] + flow.match[place + 1 :])
        case 1:
            return replace(flow, actions=other.actions)
        case 2:
            return replace(flow, actions=(Clone(other.actions), *flow.actions))
        case 3:
            terms = {term.field: term for term in flow.match} | {name: Term(name, value, mask)}
            return replace(flow, match=_sorted(terms))
        case 4:
            return replace(flow, actions=(SetField(name, value, None if rng.random() < 0.5 else mask),))
        case 5:
            extra = rng.choice(
                (Conjunction(1, 1, 2), Output(0xFF01), Ct(1, nested=(SetField("ct_mark", 1),)), Ct(name))
            )
            return replace(flow, actions=(*flow.actions, extra))
        case 6:
            return replace(
                flow, actions=(Move(name, rng.choice(list(FIELDS)), rng.randint(1, 48), rng.randrange(3)),)
            )
        case _:
            return replace(flow, table=rng.choice((253, 254)))


def without(flow: Flow, place: int) -> Flow:
    """The flow without one of its actions, for making a failing case smaller."""
    return replace(flow, actions=flow.actions[:place] + flow.actions[place + 1 :])
