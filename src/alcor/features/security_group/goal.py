# SPDX-License-Identifier: Apache-2.0
"""Who must know of a security group: hosts with a port in it, and, of its members' sets, hosts whose rules name it."""

from collections.abc import Iterator

from alcor.features.security_group.flows import GroupSetRow, RuleRow
from alcor.features.security_group.model import GROUP_SET, SECURITY_GROUP_RULE, GroupSet, SecurityGroupRule
from alcor.features.security_group.rules import protocol_number
from alcor.goal.declare import Derivation, GoalFeature, Need, Placed, View


def rule_rows(view: View, rule: SecurityGroupRule) -> Iterator[Placed]:
    """The rule, for hosts with a port in its group."""
    row = RuleRow(
        group=rule.security_group_id,
        number=rule.number,
        direction="ingress" if rule.direction == "ingress" else "egress",
        version=4 if rule.ethertype == "IPv4" else 6,
        protocol=protocol_number(rule),
        port_min=rule.port_range_min,
        port_max=rule.port_range_max,
        remote_prefix=rule.remote_ip_prefix,
        remote_group=rule.remote_group_id,
    )
    yield Placed(f"security_group:{rule.security_group_id}", rule.id, row)


def group_set_rows(view: View, group_set: GroupSet) -> Iterator[Placed]:
    """The number of the set, under each group that it contains."""
    for group in group_set.groups:
        yield Placed(f"members:{group}", group_set.id, GroupSetRow(number=group_set.number))


def scopes_of_rule(row: RuleRow) -> tuple[str, ...]:
    """A rule that names a remote group needs the numbers of the sets that contain it."""
    return (f"members:{row.remote_group}",) if row.remote_group else ()


GOAL = GoalFeature(
    name="security_group",
    derivations=(Derivation(SECURITY_GROUP_RULE, rule_rows), Derivation(GROUP_SET, group_set_rows)),
    needs=(Need(RuleRow, scopes_of_rule),),
)
