# SPDX-License-Identifier: Apache-2.0
"""A flow as a line of text, in the words of ovs-ofctl, with tables by name (`alcor.dataplane.doc` is for reading)."""

from collections.abc import Callable

from alcor.base.net import ip_of, mac_of
from alcor.dataplane.pipeline import TABLES
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
    Resubmit,
    SetField,
    Term,
)

_NAMES = {table.number: table.name for table in TABLES}
_CT_STATE = ("new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat")
_IP_FRAG = {(0, 3): "no", (1, 3): "first", (3, 3): "later", (1, 1): "yes", (0, 1): "no", (0, 2): "not_later"}
_DECIMAL = frozenset(
    (
        *("in_port", "ip_proto", "ip_dscp", "nw_ttl", "arp_op"),
        *("ct_zone", "ct_nw_proto", "ct_tp_src", "ct_tp_dst"),
        *("tcp_src", "tcp_dst", "udp_src", "udp_dst", "nd_options_type", "conj_id"),
        *("icmp_type", "icmp_code", "icmpv6_type", "icmpv6_code"),
    )
)
_MACS = frozenset(("eth_src", "eth_dst", "arp_sha", "arp_tha", "nd_sll", "nd_tll"))
_IPS = frozenset(("tun_src", "tun_dst", "ip_src", "ip_dst", "arp_spa", "arp_tpa", "ct_nw_src", "ct_nw_dst"))
_IPV6S = frozenset(("ipv6_src", "ipv6_dst", "nd_target", "ct_ipv6_src", "ct_ipv6_dst"))

NameOfTable = Callable[[int], str]


def name_of(table: int) -> str:
    """The table's name, or its number where it is none of ours."""
    return _NAMES.get(table, str(table))


def flow_text(flow: Flow, table: NameOfTable = name_of) -> str:
    """The flow. With `table=str` it is what `ovs-ofctl add-flow` takes, but for what is foreign."""
    head = f"table={table(flow.table)},priority={flow.priority}"
    terms = "".join(f",{term}" for term in map(_term, flow.match))
    return f"{head}{terms} actions={_actions(flow.actions, table) or 'drop'}"


def match_text(match: Match) -> str:
    """A match alone."""
    return ",".join(map(_term, match))


def _term(term: Term) -> str:
    if term.field == "ct_state":
        return f"ct_state={_ct_state(term)}"
    if term.field == "ip_frag":
        flags = _IP_FRAG.get((term.value & 3, term.mask & 3))
        if flags is not None:
            return f"ip_frag={flags}"
    field = FIELDS.get(term.field)
    if field is not None and term.mask == (1 << field.bits) - 1:
        return f"{term.field}={_value(term.field, term.value)}"
    if term.field in _DECIMAL:
        return f"{term.field}={term.value:#x}/{term.mask:#x}"
    return f"{term.field}={_value(term.field, term.value)}/{_value(term.field, term.mask)}"


def _ct_state(term: Term) -> str:
    flags = ((name, 1 << bit) for bit, name in enumerate(_CT_STATE))
    return "".join(("+" if term.value & bit else "-") + name for name, bit in flags if term.mask & bit)


def _value(field: str, value: int) -> str:
    if field in _MACS:
        return mac_of(value)
    if field in _IPS:
        return ip_of(value, 4)
    if field in _IPV6S:
        return ip_of(value, 6)
    return str(value) if field in _DECIMAL else hex(value)


def _actions(actions: tuple[Action, ...], table: NameOfTable) -> str:
    return ",".join(_action(action, table) for action in actions)


def _action(action: Action, table: NameOfTable) -> str:
    text = ""
    match action:
        case Output(port):
            text = f"output:{port}"
        case OutputField(field):
            text = f"output:{field}[0..15]"
        case InPort():
            text = "in_port"
        case SetField(field, value, mask):
            shown = _value(field, value) + (f"/{_value(field, mask)}" if mask is not None else "")
            text = f"set_field:{shown}->{field}"
        case Move(source, target, bits, from_bit, to_bit):
            text = f"move:{_part(source, from_bit, bits)}->{_part(target, to_bit, bits)}"
        case Resubmit(number):
            text = f"resubmit(,{table(number)})"
        case Ct():
            text = f"ct({','.join(_ct(action, table))})"
        case Meter(number):
            text = f"meter:{number}"
        case Conjunction(number, clause, of):
            text = f"conjunction({number},{clause}/{of})"
        case Controller(userdata, length):
            words = f"userdata={'.'.join(f'{byte:02x}' for byte in userdata)}" if userdata else ""
            text = f"controller(max_len={length}{',' * bool(words)}{words})"
        case Clone(nested):
            text = f"clone({_actions(nested, table)})"
        case Foreign(raw):
            text = f"foreign({raw.hex()})"
    return text


def _part(field: str, first: int, bits: int) -> str:
    return f"{field}[{first}..{first + bits - 1}]"


def _ct(action: Ct, table: NameOfTable) -> list[str]:
    words = ["commit"] if action.commit else []
    words.append(f"zone={action.zone}" if isinstance(action.zone, int) else f"zone={action.zone}[0..15]")
    if action.table is not None:
        words.append(f"table={table(action.table)}")
    if action.nested:
        words.append(f"exec({_actions(action.nested, table)})")
    return words
