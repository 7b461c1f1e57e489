# SPDX-License-Identifier: Apache-2.0
"""Who must know of a security group: hosts with a port in it, and, of its members' sets, hosts whose rules name it."""

from collections.abc import Iterator

from alcor.features.security_group.flows import STATELESS, GroupSetRow, RuleRow, StatelessRow, scopes_of_rule
from alcor.features.security_group.meaning import normalized, protocol_number
from alcor.features.security_group.model import (
    GROUP_SET,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
    GroupSet,
    SecurityGroup,
    SecurityGroupRule,
)
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
        remote_prefix=normalized(rule),
        remote_group=rule.remote_group_id,
        remote_addresses=rule.remote_address_group_id,
    )
    yield Placed(f"security_group:{rule.security_group_id}", rule.id, row)


def group_set_rows(view: View, group_set: GroupSet) -> Iterator[Placed]:
    """The number of the set, under each group that it contains."""
    for group in group_set.groups:
        yield Placed(f"members:{group}", group_set.id, GroupSetRow(number=group_set.number))


def stateless_rows(view: View, group: SecurityGroup) -> Iterator[Placed]:
    """That the group is stateless, if it is: beside its rules, so that no change of a group touches these."""
    if not group.stateful:
        yield Placed(f"security_group:{group.id}", STATELESS, StatelessRow(group=group.id))


GOAL = GoalFeature(
    name="security_group",
    derivations=(
        Derivation(SECURITY_GROUP_RULE, rule_rows),
        Derivation(SECURITY_GROUP, stateless_rows),
        Derivation(GROUP_SET, group_set_rows),
    ),
    needs=(Need(RuleRow, scopes_of_rule),),
)
