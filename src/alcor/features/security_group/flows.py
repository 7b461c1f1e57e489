# SPDX-License-Identifier: Apache-2.0
"""What hosts know of security groups, and the flows that judge packets: of stateful groups every packet by its
connection's original tuple, of stateless ones each by itself.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from alcor.base.net import Cidr, cidr_bounds, ip_version, prefix_length
from alcor.dataplane.pipeline import (
    ALLOWED,
    ALLOWED_STATELESS,
    RULES_EGRESS,
    RULES_INGRESS,
    Table,
    flow,
    load,
    where,
)
from alcor.dataplane.rows import FlowRule, HostFeature, HostView, Row, RowIndex, RowNeed
from alcor.dataplane.values import (
    CT_INV,
    CT_TRK,
    ETH_IPV4,
    ETH_IPV6,
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Conjunction,
    Flow,
    Match,
)
from alcor.features.address_group.flows import AddressRow


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
    remote_addresses: str | None = None  # an address group's id


class StatelessRow(Row, tag="stateless", frozen=True, kw_only=True):
    """In `security_group:S` under `STATELESS`: rules of the group judge each packet by itself."""

    group: str


class GroupSetRow(Row, tag="group_set", frozen=True, kw_only=True):
    """In `members:S` under key `NUMBER`, for each group set that contains S."""

    number: int  # 1..2^24; 0 means no group


STATELESS = "stateless"


def _by_remote(scope: str, key: str, row: RuleRow) -> Iterator[tuple[str, str]]:
    if row.remote_group:
        yield row.remote_group, f"{scope}/{key}"


def _by_addresses(scope: str, key: str, row: RuleRow) -> Iterator[tuple[str, str]]:
    if row.remote_addresses:
        yield row.remote_addresses, f"{scope}/{key}"


RULES_OF_REMOTE = RowIndex(RuleRow, _by_remote)  # remote group -> scope/key of the rules that name it
RULES_OF_ADDRESSES = RowIndex(RuleRow, _by_addresses)  # address group -> scope/key of the rules that name it


def rule_flows(view: HostView, scope: str, row: RuleRow) -> Iterator[Flow]:
    """What the rule allows, but for whose rule it is (`own_set_clause`), and members of remote groups of either kind.

    Clauses of stateful groups are on the connection's original tuple, so one rule judges its packets in both
    directions, and the errors about it; and a rule that is gone is gone for established connections too.
    """
    last, judge = clause_count(row), judge_of(view, row)
    yield flow(rules_table(row), 100, where(conj_id=row.number), load("verdict", judge.verdict))
    if row.remote_prefix and prefix_length(row.remote_prefix):
        remote = judge.remote(row.remote_prefix)
        yield flow(rules_table(row), 100, remote, Conjunction(row.number, last, last))
    if row.protocol is not None or not _has_remote(row):
        for service in judge.services():
            yield flow(rules_table(row), 100, service, Conjunction(row.number, 2, last))


def member_flows(view: HostView, scope: str, row: GroupSetRow) -> Iterator[Flow]:
    """Ports whose set of groups contains the group, as the remote of every rule that names the group."""
    for rule in _named_by(view, RULES_OF_REMOTE, scope):
        last = clause_count(rule)
        remote = judge_of(view, rule).packets(remote_set=row.number)
        yield flow(rules_table(rule), 100, remote, Conjunction(rule.number, last, last))


def address_flows(view: HostView, scope: str, row: AddressRow) -> Iterator[Flow]:
    """One address of a group, as the remote of every rule that names the group: a flow that they share."""
    for rule in _named_by(view, RULES_OF_ADDRESSES, scope):
        if rule.version == ip_version(row.cidr):
            last = clause_count(rule)
            remote = judge_of(view, rule).remote(row.cidr)
            yield flow(rules_table(rule), 100, remote, Conjunction(rule.number, last, last))


def _named_by(view: HostView, index: RowIndex[RuleRow, str], scope: str) -> Iterator[RuleRow]:
    for place in view.find(index, scope.partition(":")[2]):
        rule = view.row(RuleRow, *place.rsplit("/", 1))
        if rule:
            yield rule


def own_set_clause(view: HostView, rule: RuleRow, group_set: int) -> Flow:
    """The rule is among those of every port that has this set of groups."""
    whose = judge_of(view, rule).packets(own_set=group_set)
    return flow(rules_table(rule), 100, whose, Conjunction(rule.number, 1, clause_count(rule)))


def is_stateless(view: HostView, group: str) -> bool:
    """Whether the rules of the group judge each packet by itself; all groups of a port do, or none."""
    return view.row(StatelessRow, f"security_group:{group}", STATELESS) is not None


def rules_table(row: RuleRow) -> Table:
    """Where rules of this direction are."""
    return RULES_EGRESS if row.direction == "egress" else RULES_INGRESS


def clause_count(row: RuleRow) -> int:
    """Own set first, then the service unless it is any, then the remote unless it is any; OVS wants two at least."""
    return max(2, 1 + (row.protocol is not None) + _has_remote(row))


def range_masks(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The 16-bit numbers from `low` to `high` as the fewest (value, mask) pairs."""
    while low <= high:
        size = low & -low or 1 << 16
        while low + size - 1 > high:
            size >>= 1
        yield low, 0xFFFF & ~(size - 1)
        low += size


def scopes_of_rule(row: RuleRow) -> tuple[str, ...]:
    """What a host must know before the rule is complete there: who the remote is, where a group says it."""
    if row.remote_group:
        return (f"members:{row.remote_group}",)
    return (f"address_group:{row.remote_addresses}",) if row.remote_addresses else ()


def _has_remote(row: RuleRow) -> bool:
    is_part = row.remote_prefix and prefix_length(row.remote_prefix)
    return bool(row.remote_group or row.remote_addresses or is_part)


class ByConnection:
    """Packets of a stateful group's rule, by the packet that opened their connection."""

    verdict = ALLOWED

    def __init__(self, rule: RuleRow) -> None:
        self.rule = rule

    def packets(self, **fields: int | tuple[int, int]) -> Match:
        """Tracked packets of the rule's version; what names ct_* must say that they are valid."""
        return where(eth_type=_eth_type(self.rule), ct_state=(CT_TRK, CT_TRK | CT_INV), **fields)

    def remote(self, network: Cidr) -> Match:
        """The other end is in the network."""
        field = "ct_nw" if self.rule.version == 4 else "ct_ipv6"
        return self.packets(**_within(self.rule, field, network))

    def services(self) -> Iterator[Match]:
        """Protocol and ports, or ICMP type and code."""
        rule = self.rule
        if rule.protocol is None:
            yield self.packets()
        elif rule.protocol in (ICMP, ICMPV6):
            kind = _icmp_kind(rule, "ct_tp_src", "ct_tp_dst")
            yield self.packets(ct_nw_proto=rule.protocol, **kind)
        elif rule.port_min is None or rule.port_max is None:
            yield self.packets(ct_nw_proto=rule.protocol)
        else:
            for ports in range_masks(rule.port_min, rule.port_max):
                yield self.packets(ct_nw_proto=rule.protocol, ct_tp_dst=ports)


class ByPacket:
    """Packets of a stateless group's rule, each by what it says itself, whether it was tracked for another port or not.

    The switch sees ports of no fragment, so a rule with ports lets none through.
    """

    verdict = ALLOWED_STATELESS

    def __init__(self, rule: RuleRow) -> None:
        self.rule = rule

    def packets(self, **fields: int | tuple[int, int]) -> Match:
        """Packets of the rule's version."""
        return where(eth_type=_eth_type(self.rule), **fields)

    def remote(self, network: Cidr) -> Match:
        """The other end is in the network."""
        return self.packets(**_within(self.rule, "ip" if self.rule.version == 4 else "ipv6", network))

    def services(self) -> Iterator[Match]:
        """Protocol and ports, or ICMP type and code. None for ports that a switch cannot see: these stay shut."""
        rule = self.rule
        if rule.protocol is None:
            yield self.packets()
        elif rule.protocol in (ICMP, ICMPV6):
            name = "icmp" if rule.protocol == ICMP else "icmpv6"
            yield self.packets(ip_proto=rule.protocol, **_icmp_kind(rule, f"{name}_type", f"{name}_code"))
        elif rule.port_min is None or rule.port_max is None:
            yield self.packets(ip_proto=rule.protocol)
        elif rule.protocol in _PORT_FIELDS:
            for ports in range_masks(rule.port_min, rule.port_max):
                yield self.packets(ip_proto=rule.protocol, **{_PORT_FIELDS[rule.protocol]: ports})


def judge_of(view: HostView, rule: RuleRow) -> ByConnection | ByPacket:
    """How packets are judged by the rule."""
    return ByPacket(rule) if is_stateless(view, rule.group) else ByConnection(rule)


_PORT_FIELDS: Mapping[int, str] = {TCP: "tcp_dst", UDP: "udp_dst"}


def _eth_type(rule: RuleRow) -> int:
    return ETH_IPV4 if rule.version == 4 else ETH_IPV6


def _within(rule: RuleRow, family: str, network: Cidr) -> dict[str, tuple[int, int]]:
    """The field of the other end's address, unless the network is everything."""
    first, last = cidr_bounds(network)
    mask = (1 << (32 if rule.version == 4 else 128)) - 1 & ~(first ^ last)
    end = "dst" if rule.direction == "egress" else "src"
    return {f"{family}_{end}": (first, mask)} if mask else {}


def _icmp_kind(rule: RuleRow, kind: str, code: str) -> dict[str, int]:
    wanted = {kind: rule.port_min, code: rule.port_max}
    return {field: value for field, value in wanted.items() if value is not None}


FEATURE = HostFeature(
    name="security_group",
    rows=(RuleRow, GroupSetRow, StatelessRow),
    rules=(
        FlowRule(RuleRow, rule_flows),
        FlowRule(GroupSetRow, member_flows),
        FlowRule(AddressRow, address_flows),
    ),
    indexes=(RULES_OF_REMOTE, RULES_OF_ADDRESSES),
    needs=(RowNeed(RuleRow, scopes_of_rule),),
)
