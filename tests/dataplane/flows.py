# SPDX-License-Identifier: Apache-2.0
"""Flows for tests of the codec: one for each field and action, and random ones."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from alcor.dataplane.values import (
    FIELDS,
    METER_MAX,
    Action,
    Clone,
    Conjunction,
    Controller,
    Ct,
    Flow,
    InPort,
    Match,
    Meter,
    Move,
    Output,
    OutputField,
    Resubmit,
    SetField,
    Term,
    match,
)

READ_ONLY = {"eth_type", "ip_proto", "ip_frag", "conj_id"} | {
    name for name in FIELDS if name.startswith("ct_")
}
WHOLE = {
    "in_port",
    "vlan_tci",
    "tun_metadata0",
}  # fields that the random flows set and move apart, or not at all
WRITABLE = sorted(set(FIELDS) - READ_ONLY - WHOLE)

IPV4, IPV6, ARP = {"eth_type": 0x0800}, {"eth_type": 0x86DD}, {"eth_type": 0x0806}
TRACKED = {"ct_state": (0x20, 0x30)}  # +trk-inv
ADVERT = {**IPV6, "ip_proto": 58, "icmpv6_type": 136, "icmpv6_code": 0}
SOLICIT = {**ADVERT, "icmpv6_type": 135}
PREREQUISITES = {
    "ip_proto": IPV4, "ip_frag": IPV4, "ip_dscp": IPV6, "nw_ttl": IPV6,
    "ip_src": IPV4, "ip_dst": IPV4, "ipv6_src": IPV6, "ipv6_dst": IPV6,
    "tcp_src": {**IPV4, "ip_proto": 6}, "tcp_dst": {**IPV6, "ip_proto": 6},
    "udp_src": {**IPV4, "ip_proto": 17}, "udp_dst": {**IPV6, "ip_proto": 17},
    "icmp_type": {**IPV4, "ip_proto": 1}, "icmp_code": {**IPV4, "ip_proto": 1},
    "icmpv6_type": {**IPV6, "ip_proto": 58}, "icmpv6_code": {**IPV6, "ip_proto": 58},
    "arp_op": ARP, "arp_spa": ARP, "arp_tpa": ARP, "arp_sha": ARP, "arp_tha": ARP,
    "nd_target": SOLICIT, "nd_sll": SOLICIT, "nd_tll": ADVERT, "nd_reserved": ADVERT, "nd_options_type": ADVERT,
    "ct_nw_proto": {**TRACKED, **IPV4}, "ct_nw_src": {**TRACKED, **IPV4}, "ct_nw_dst": {**TRACKED, **IPV4},
    "ct_ipv6_src": {**TRACKED, **IPV6}, "ct_ipv6_dst": {**TRACKED, **IPV6},
    "ct_tp_src": {**TRACKED, **IPV4, "ct_nw_proto": 6}, "ct_tp_dst": {**TRACKED, **IPV6, "ct_nw_proto": 17},
}  # fmt: skip
VALUES: dict[str, int | tuple[int, int]] = {
    "in_port": 3,
    "ip_proto": 17,
    "eth_type": 0x88B6,
    "arp_op": 2,
    "ct_state": (0x20, 0x30),
    "ip_frag": 1,
    "ip_dscp": 46,
    "vlan_tci": 0x1005,
}


def exact(name: str) -> Match:
    """A match on this field and on what the field needs."""
    bits = FIELDS[name].bits
    value = VALUES.get(name, int.from_bytes(bytes(range(0x11, 0x11 + bits // 8)), "big"))
    return match(**{**PREREQUISITES.get(name, {}), name: value})


def masked(name: str) -> Match | None:
    """The same under a mask with holes; None where the field takes none."""
    field = FIELDS[name]
    if not field.maskable:
        return None
    special = {"vlan_tci": (0x1000, 0x1000), "ip_frag": (0, 2), "ct_state": (0x21, 0x31)}
    mask = int("a5" * (field.bits // 8), 16)
    given = special.get(name, (mask & int("3c" * (field.bits // 8), 16), mask))
    return match(**{**PREREQUISITES.get(name, {}), name: given})


METERS: dict[str, tuple[Action, ...]] = {
    "kilobits": (Meter(1, 5_000, 4_000), Output(2)),
    "packets": (Meter(METER_MAX, 100, 10, is_packets=True),),
}
ACTIONS: dict[str, tuple[Action, ...]] = {
    "drop": (),
    "output": (Output(2), Output(0xFFFFFFFE)),
    "output field": (OutputField("reg7"),),
    "in port": (InPort(),),
    "set register": (SetField("reg0", 0xDEADBEEF),),
    "set part of a register": (SetField("reg1", 0x00FF0000, 0x00FF00F0),),
    "set wide register": (SetField("xxreg3", 1 << 127 | 1),),
    "set part of a wide register": (SetField("xxreg3", 5 << 64, 0xFF << 64),),
    "set MAC": (SetField("eth_src", 0x020000000002), SetField("eth_dst", 0x010000000000, 0x010000000000)),
    "set in_port": (SetField("in_port", 0),),
    "set metadata": (SetField("metadata", 1 << 63), SetField("metadata", 5, 0xFF)),
    "set tunnel": (
        SetField("tun_id", 5001),
        SetField("tun_src", 1),
        SetField("tun_dst", 0x0A630003),
        Output(2),
    ),
    "set tag": (SetField("vlan_tci", 0x1005),),
    "move": (
        Move("eth_src", "eth_dst", 48),
        Move("in_port", "reg2", 16, 0, 16),
        Move("reg1", "xxreg1", 8, 4, 120),
    ),
    "resubmit": (Resubmit(0), Resubmit(254)),
    "conjunction": (Conjunction(1, 1, 2), Conjunction(0xFFFFFFFF, 64, 64)),
    "controller": (
        Controller(),
        Controller(b"\x00\x01\x02"),
        Controller(b"12345678", 128),
        Controller(max_len=0),
    ),
    "clone": (Clone((SetField("reg0", 1), Clone((Resubmit(9), Output(1))))), Clone(()), Output(2)),
}
IP_ACTIONS: dict[str, tuple[Action, ...]] = {
    "ct": (Ct(5), Ct(65535, table=0), Ct("reg5", table=254)),
    "ct commit": (
        Ct(0, commit=True),
        Ct("reg15", True, 3, (SetField("ct_mark", 7), SetField("ct_mark", 1, 0x81))),
    ),
    "ct in clone": (Clone((Ct("reg5", table=3), Output(1))),),
}


def _terms() -> SearchStrategy[dict[str, int | tuple[int, int]]]:
    values: dict[str, SearchStrategy[int | tuple[int, int]]] = {}
    for name, field in FIELDS.items():
        number = st.integers(0, (1 << field.bits) - 1)
        values[name] = st.one_of(number, st.tuples(number, number)) if field.maskable else number
    values["vlan_tci"] = st.one_of(st.just(0), st.integers(0x1000, 0x1FFF), st.just((0x1000, 0x1000)))
    values["ip_frag"] = st.sampled_from([0, 1, 3, (1, 1), (0, 2)])
    values["ct_nw_proto"] = st.integers(1, 255)
    return st.fixed_dictionaries({}, optional=values)


def matches() -> SearchStrategy[Match]:
    """Matches on any fields, also together where no packet could have them."""
    return _terms().filter(_may_be).map(lambda given: match(**given))


def _may_be(given: dict[str, int | tuple[int, int]]) -> bool:
    whole = [name for name in given if name.startswith("xxreg")]
    halves = any(f"reg{4 * int(name[5:]) + word}" in given for name in whole for word in range(4))
    return not halves and ("ct_nw_proto" in given or not {"ct_tp_src", "ct_tp_dst"} & given.keys())


def _set_fields() -> SearchStrategy[SetField]:
    def of(name: str) -> SearchStrategy[SetField]:
        full = (1 << FIELDS[name].bits) - 1
        plain = st.builds(SetField, st.just(name), st.integers(0, full))
        masks = st.integers(1, full - 1)
        part = st.builds(lambda value, mask: SetField(name, value & mask, mask), st.integers(0, full), masks)
        return st.one_of(plain, part) if FIELDS[name].maskable else plain

    return st.sampled_from(WRITABLE).flatmap(of)


def _moves() -> SearchStrategy[Move]:
    names = st.sampled_from([name for name in WRITABLE if FIELDS[name].bits >= 16])
    return st.builds(Move, names, names, st.integers(1, 8), st.integers(0, 8), st.integers(0, 8))


def _simple_actions() -> SearchStrategy[Action]:
    table, register = st.integers(0, 254), st.sampled_from([f"reg{number}" for number in range(16)])
    marks = st.builds(SetField, st.just("ct_mark"), st.integers(0, 0xFFFFFFFF))
    return st.one_of(
        st.builds(Output, st.integers(0, 0xFEFF)),
        st.builds(OutputField, register),
        st.just(InPort()),
        _set_fields(),
        _moves(),
        st.builds(Resubmit, table),
        st.builds(
            Ct,
            st.one_of(st.integers(0, 0xFFFF), register),
            st.booleans(),
            st.one_of(st.none(), table),
            st.lists(marks, max_size=2).map(tuple),
        ),
        st.builds(Controller, st.binary(max_size=40), st.integers(0, 0xFFFF)),
    )


def actions() -> SearchStrategy[tuple[Action, ...]]:
    """Any actions, or conjunctions alone."""
    nested = st.recursive(
        _simple_actions(), lambda inner: st.builds(Clone, st.lists(inner, max_size=4).map(tuple))
    )
    clauses = st.builds(
        lambda id, of, k: Conjunction(id, min(k, of), of),
        st.integers(0, 9),
        st.integers(2, 64),
        st.integers(1, 64),
    )
    return st.one_of(
        st.lists(nested, max_size=6).map(tuple), st.lists(clauses, min_size=1, max_size=5).map(tuple)
    )


def flows() -> SearchStrategy[Flow]:
    """Any flow that the codec can say."""
    numbers = st.integers(0, 254), st.integers(0, 0xFFFF)
    return st.builds(Flow, *numbers, matches(), actions(), st.integers(0, (1 << 64) - 1))


def foreign_term(header: str, value: int, bits: int) -> Term:
    """A term of a field that Alcor does not know."""
    return Term(f"oxm:{header}", value, (1 << bits) - 1)
