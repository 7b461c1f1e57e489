# SPDX-License-Identifier: Apache-2.0
"""Which flows OVS refuses, and with which error: prerequisites, masks, read-only fields, nesting."""

from __future__ import annotations

from collections.abc import Iterable

from alcor.dataplane.values import (
    CT_INV,
    FIELDS,
    METER_MAX,
    Action,
    Clone,
    Conjunction,
    Ct,
    Flow,
    Foreign,
    Match,
    Meter,
    Move,
    Output,
    OutputField,
    Resubmit,
    SetField,
)
from alcor.testing.ovs.state import (
    CT_STATE,
    ETH_TYPE,
    NEEDS,
    PARTS,
    WIDTHS,
    Need,
    Pattern,
    State,
    holds,
    implies,
    new_state,
    pattern_of,
)

TABLE_MAX, PORT_MAX = 253, 0xFEFF  # table 254 is OVS's own; ports above are reserved
_SPECIAL_PORTS = (0xFFFE,)  # LOCAL
_CT_ADDRESS_TYPE = {"ct_nw_src": 0x0800, "ct_nw_dst": 0x0800, "ct_ipv6_src": 0x86DD, "ct_ipv6_dst": 0x86DD}
_CT_STATE_BITS = 0xFF
_READ_ONLY = frozenset(("eth_type", "ip_proto", "ip_frag", "conj_id")) | {
    name for name in FIELDS if name.startswith("ct_") and name != "ct_mark"
}


class FlowRefused(Exception):
    """OVS would answer this flow with an OpenFlow error; the message starts with its name."""


def checked_pattern(flow: Flow) -> Pattern:
    """The flow's match as OVS keeps it. Raises FlowRefused unless OVS accepts the flow."""
    for term in flow.match:
        if term.field not in FIELDS:
            raise FlowRefused(f"OFPBMC_BAD_FIELD: {term.field}")
    pattern = pattern_of(flow.match)
    if not 0 <= flow.table <= TABLE_MAX:
        raise FlowRefused(f"OFPFMFC_BAD_TABLE_ID: no table {flow.table}")
    if not 0 <= flow.priority <= 0xFFFF:
        raise FlowRefused(f"OFPFMFC_UNKNOWN: priority {flow.priority}")
    _check_match(flow.match, pattern)
    matched = new_state()
    for (slot, _), value in zip(pattern.slots, pattern.values, strict=True):
        matched[slot] = value
    meters = [action for action in flow.actions if isinstance(action, Meter)]
    if meters and (meters != [flow.actions[0]] or not 0 < meters[0].id <= METER_MAX):
        raise FlowRefused(f"OFPMMFC_INVALID_METER: {meters}")
    _check_actions(flow.actions, pattern, matched)
    return pattern


def _check_match(match: Match, pattern: Pattern) -> None:
    seen: dict[int, str] = {}
    kind = dict(zip((slot for slot, _ in pattern.slots), pattern.values, strict=True)).get(ETH_TYPE)
    for term in match:
        field = FIELDS[term.field]
        full = (1 << field.bits) - 1
        if term.mask != full and not field.maskable:
            raise FlowRefused(f"OFPBMC_BAD_MASK: {term.field}")
        if not 0 < term.mask <= full:
            raise FlowRefused(f"OFPBMC_BAD_MASK: {term.field}={term.value:#x}/{term.mask:#x}")
        if term.value & ~term.mask:
            raise FlowRefused(f"OFPBMC_BAD_WILDCARDS: {term.field}={term.value:#x}/{term.mask:#x}")
        if term.value >= _value_limit(term.field):
            raise FlowRefused(f"OFPBMC_BAD_VALUE: {term.field}={term.value:#x}")
        if not implies(NEEDS.get(term.field, Need.NOTHING), pattern):
            raise FlowRefused(f"OFPBMC_BAD_PREREQ: {term.field}")
        if _CT_ADDRESS_TYPE.get(term.field, kind) != kind:
            raise FlowRefused(f"OFPBAC_MATCH_INCONSISTENT: {term.field} for eth_type {kind}")
        for part in PARTS[term.field]:
            if part.slot in seen:
                raise FlowRefused(f"OFPBMC_DUP_FIELD: {term.field} overlaps {seen[part.slot]}")
            seen[part.slot] = term.field


def _value_limit(field: str) -> int:
    limits = {"ct_state": _CT_STATE_BITS + 1, "ip_frag": 4, "arp_op": 0x100, "in_port": 0x10000}
    return limits.get(field, 1 << FIELDS[field].bits)


def _check_actions(actions: Iterable[Action], pattern: Pattern, matched: State) -> None:
    kinds = {type(action) for action in actions}
    if Conjunction in kinds and len(kinds) > 1:
        raise FlowRefused("NXBAC_BAD_CONJUNCTION: conjunction with other actions")
    for action in actions:
        match action:
            case SetField():
                _check_set(action, matched)
            case Move():
                _check_move(action, pattern)
            case Ct():
                _check_ct(action, pattern, matched)
            case Clone(inner):
                _check_actions(inner, pattern, matched)
            case OutputField(field):
                _check_low_16(field, pattern)
            case _:
                _check_numbers(action)


def _check_numbers(action: Action) -> None:
    match action:
        case Output(port) if not 0 <= port <= PORT_MAX and port not in _SPECIAL_PORTS:
            raise FlowRefused(f"OFPBAC_BAD_OUT_PORT: {port:#x}")
        case Resubmit(table) if not 0 <= table <= TABLE_MAX:
            raise FlowRefused(f"OFPBRC_BAD_TABLE_ID: resubmit to {table}")
        case Conjunction(_, clause, of) if not (2 <= of <= 64 and 1 <= clause <= of):
            raise FlowRefused(f"NXBAC_BAD_CONJUNCTION: {clause}/{of}")
        case Foreign(raw):
            raise FlowRefused(f"OFPBAC_BAD_TYPE: {raw.hex()}")
        case _:
            pass


def _check_source(field: str, pattern: Pattern) -> None:
    if field not in FIELDS:
        raise FlowRefused(f"OFPBAC_BAD_ARGUMENT: no field {field}")
    if not implies(NEEDS.get(field, Need.NOTHING), pattern):
        raise FlowRefused(f"OFPBAC_MATCH_INCONSISTENT: {field}")


def _check_low_16(field: str, pattern: Pattern) -> None:
    _check_source(field, pattern)
    if WIDTHS[field] < 16:
        raise FlowRefused(f"OFPBAC_BAD_SET_LEN: {field}[0..15]")


def _check_set(action: SetField, matched: State, inside_ct: bool = False) -> None:
    field = FIELDS.get(action.field)
    if field is None or action.field in _READ_ONLY or (action.field == "ct_mark") != inside_ct:
        raise FlowRefused(f"OFPBAC_BAD_SET_ARGUMENT: {action.field}")
    full = (1 << field.bits) - 1
    mask = full if action.mask is None else action.mask
    if not 0 < mask <= full or (mask != full and not field.maskable):
        raise FlowRefused(f"OFPBAC_BAD_SET_MASK: {action.field}/{mask:#x}")
    if not 0 <= action.value < _value_limit(action.field) or action.value & ~mask:
        raise FlowRefused(f"OFPBAC_BAD_SET_ARGUMENT: {action.field}={action.value:#x}/{mask:#x}")
    if not holds(NEEDS.get(action.field, Need.NOTHING), matched):
        raise FlowRefused(f"OFPBAC_MATCH_INCONSISTENT: set {action.field}")


def _check_move(action: Move, pattern: Pattern) -> None:
    _check_source(action.src, pattern)
    _check_source(action.dst, pattern)
    if action.dst in _READ_ONLY or action.dst == "ct_mark":
        raise FlowRefused(f"OFPBAC_BAD_SET_ARGUMENT: move to {action.dst}")
    for field, offset in ((action.src, action.src_offset), (action.dst, action.dst_offset)):
        if offset < 0 or action.bits <= 0 or offset + action.bits > WIDTHS[field]:
            raise FlowRefused(f"OFPBAC_BAD_ARGUMENT: {field}[{offset}..{offset + action.bits - 1}]")


def _check_ct(action: Ct, pattern: Pattern, matched: State) -> None:
    if matched[ETH_TYPE] not in (0x0800, 0x86DD) or (matched[CT_STATE] & CT_INV and action.commit):
        raise FlowRefused("OFPBAC_MATCH_INCONSISTENT: ct needs eth_type ip or ipv6, commit a valid packet")
    if isinstance(action.zone, str):
        _check_low_16(action.zone, pattern)
    elif not 0 <= action.zone <= 0xFFFF:
        raise FlowRefused(f"OFPBAC_BAD_ARGUMENT: zone {action.zone}")
    if action.table is not None and not 0 <= action.table <= TABLE_MAX:
        raise FlowRefused(f"OFPBRC_BAD_TABLE_ID: ct to {action.table}")
    if action.nested and not action.commit:
        raise FlowRefused("OFPBAC_BAD_ARGUMENT: nested actions need commit")
    for nested in action.nested:
        _check_set(nested, matched, inside_ct=True)
