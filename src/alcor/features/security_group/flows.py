# SPDX-License-Identifier: Apache-2.0
"""What hosts know of security groups, and the flows that judge every packet by its connection's original tuple."""

from collections.abc import Iterator
from typing import Literal

from alcor.base.net import Cidr, cidr_bounds, prefix_length
from alcor.dataplane.pipeline import RULES_EGRESS, RULES_INGRESS, Table, flow, load, where
from alcor.dataplane.rows import FlowRule, HostFeature, HostView, Row, RowIndex, RowNeed
from alcor.dataplane.values import CT_INV, CT_TRK, ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, Conjunction, Flow, Match


class RuleRow(Row, tag="rule", frozen=True, kw_only=True):
    """In `security_group:S` under the rule's id."""

    group: str  # the security group's id
    number: int  # unique in the region, 1..2^31: the conjunction id
    direction: Literal["ingress", "egress"]
    version: Literal[4, 6]
    protocol: int | None = None  # IP protocol number; None: any
    port_min: int | None = None  # ICMP: type
    port_max: int | None = None  # ICMP: code
    remote_prefix: Cidr | None = None
    remote_group: str | None = None


class GroupSetRow(Row, tag="group_set", frozen=True, kw_only=True):
    """In `members:S` under key `NUMBER`, for each group set that contains S."""

    number: int  # 1..2^24; 0 means no group


def _by_remote(scope: str, key: str, row: RuleRow) -> Iterator[tuple[str, str]]:
    if row.remote_group:
        yield row.remote_group, f"{scope}/{key}"


RULES_OF_REMOTE = RowIndex(RuleRow, _by_remote)  # remote group -> scope/key of the rules that name it


def rule_flows(view: HostView, scope: str, row: RuleRow) -> Iterator[Flow]:
    """What the rule allows, but for two clauses: whose rule it is (`own_set_clause`), and members of the remote group.

    Clauses are on the connection's original tuple, so one rule judges its packets in both directions, and the errors
    about it; and a rule that is gone is gone for established connections too.
    """
    last = clause_count(row)
    yield flow(rules_table(row), 100, where(conj_id=row.number), load("verdict", 1))
    if row.remote_prefix and prefix_length(row.remote_prefix):
        yield flow(
            rules_table(row), 100, _remote(row, row.remote_prefix), Conjunction(row.number, last, last)
        )
    if row.protocol is not None or not _has_remote(row):
        for service in _services(row):
            yield flow(rules_table(row), 100, service, Conjunction(row.number, 2, last))


def member_flows(view: HostView, scope: str, row: GroupSetRow) -> Iterator[Flow]:
    """Ports whose set of groups contains the group, as the remote of every rule that names the group."""
    for place in view.find(RULES_OF_REMOTE, scope.removeprefix("members:")):
        rule = view.row(RuleRow, *place.rsplit("/", 1))
        if rule:
            last = clause_count(rule)
            remote = tracked(rule, remote_set=row.number)
            yield flow(rules_table(rule), 100, remote, Conjunction(rule.number, last, last))


def own_set_clause(rule: RuleRow, group_set: int) -> Flow:
    """The rule is among those of every port that has this set of groups."""
    whose = tracked(rule, own_set=group_set)
    return flow(rules_table(rule), 100, whose, Conjunction(rule.number, 1, clause_count(rule)))


def rules_table(row: RuleRow) -> Table:
    """Where rules of this direction are."""
    return RULES_EGRESS if row.direction == "egress" else RULES_INGRESS


def clause_count(row: RuleRow) -> int:
    """Own set first, then the service unless it is any, then the remote unless it is any; OVS wants two at least."""
    return max(2, 1 + (row.protocol is not None) + _has_remote(row))


def tracked(row: RuleRow, **fields: int | tuple[int, int]) -> Match:
    """A match on tracked packets of the rule's version; what names ct_* must say that they are valid."""
    eth_type = ETH_IPV4 if row.version == 4 else ETH_IPV6
    return where(eth_type=eth_type, ct_state=(CT_TRK, CT_TRK | CT_INV), **fields)


def range_masks(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The 16-bit numbers from `low` to `high` as the fewest (value, mask) pairs."""
    while low <= high:
        size = low & -low or 1 << 16
        while low + size - 1 > high:
            size >>= 1
        yield low, 0xFFFF & ~(size - 1)
        low += size


def scopes_of_rule(row: RuleRow) -> tuple[str, ...]:
    """What a host must know before the rule is complete there."""
    return (f"members:{row.remote_group}",) if row.remote_group else ()


def _has_remote(row: RuleRow) -> bool:
    return bool(row.remote_group or (row.remote_prefix and prefix_length(row.remote_prefix)))


def _remote(row: RuleRow, prefix: Cidr) -> Match:
    first, last = cidr_bounds(prefix)
    end = "dst" if row.direction == "egress" else "src"
    if row.version == 4:
        return tracked(row, **{f"ct_nw_{end}": (first, 0xFFFFFFFF & ~(first ^ last))})
    return tracked(row, **{f"ct_ipv6_{end}": (first, (1 << 128) - 1 & ~(first ^ last))})


def _services(row: RuleRow) -> Iterator[Match]:
    """Protocol and ports, or ICMP type and code, of the packet that opened the connection."""
    if row.protocol is None:
        yield tracked(row)
    elif row.protocol in (ICMP, ICMPV6):
        yield tracked(row, ct_nw_proto=row.protocol, **_icmp_kind(row))
    elif row.port_min is None or row.port_max is None:
        yield tracked(row, ct_nw_proto=row.protocol)
    else:
        for ports in range_masks(row.port_min, row.port_max):
            yield tracked(row, ct_nw_proto=row.protocol, ct_tp_dst=ports)


def _icmp_kind(row: RuleRow) -> dict[str, int]:
    kind = {"ct_tp_src": row.port_min, "ct_tp_dst": row.port_max}
    return {field: wanted for field, wanted in kind.items() if wanted is not None}


FEATURE = HostFeature(
    name="security_group",
    rows=(RuleRow, GroupSetRow),
    rules=(FlowRule(RuleRow, rule_flows), FlowRule(GroupSetRow, member_flows)),
    indexes=(RULES_OF_REMOTE,),
    needs=(RowNeed(RuleRow, scopes_of_rule),),
)
