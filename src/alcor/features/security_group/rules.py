# SPDX-License-Identifier: Apache-2.0
"""What may be done with security groups and their rules, and how sets of groups get their numbers."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from alcor.base.errors import Conflict, Invalid
from alcor.base.net import ip_version
from alcor.features.security_group.model import (
    BY_GROUPS,
    BY_NAME,
    BY_PROJECT,
    DEFAULT_OF,
    GROUP_SET,
    GROUP_SET_MAX,
    GROUP_SET_NUMBERS,
    NUMBER_MAX,
    NUMBERS,
    PROTOCOLS,
    RULES_FROM,
    RULES_OF,
    RULES_OF_PROJECT,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
    GroupSet,
    SecurityGroup,
    SecurityGroupRule,
)
from alcor.resource.declare import Computed, Context, Extension, Resource, RestFeature
from alcor.store.reader import Reader, Txn

_WITH_PORTS = frozenset(PROTOCOLS[name] for name in ("tcp", "udp", "sctp", "dccp", "udplite"))
_ONLY_V6 = frozenset(number for name, number in PROTOCOLS.items() if name.startswith("ipv6-"))
_ICMP = frozenset((PROTOCOLS["icmp"], PROTOCOLS["ipv6-icmp"]))


def protocol_number(rule: SecurityGroupRule) -> int | None:
    """The IP protocol number that the rule allows, or None for any. `icmp` in an IPv6 rule means ICMPv6."""
    if rule.protocol is None:
        return None
    number = int(rule.protocol) if rule.protocol.isdecimal() else PROTOCOLS[rule.protocol]
    return PROTOCOLS["ipv6-icmp"] if number == PROTOCOLS["icmp"] and rule.ethertype == "IPv6" else number


def default_group(txn: Txn, ctx: Context, project_id: str) -> SecurityGroup:
    """The project's group called `default`; made, with its four rules, if it has none."""
    known = txn.first(SECURITY_GROUP, DEFAULT_OF, project_id)
    if known is not None:
        return known
    group = SecurityGroup(
        id=ctx.new_id(),
        project_id=project_id,
        name="default",
        description="Default security group",
        created_at=ctx.now,
        updated_at=ctx.now,
        revision_number=1,
    )
    txn.insert(SECURITY_GROUP, group)
    for ethertype in ("IPv4", "IPv6"):
        _add_rule(txn, ctx, group, _Allows("egress", ethertype))
        _add_rule(txn, ctx, group, _Allows("ingress", ethertype, group.id))
    return group


class _Allows(NamedTuple):
    direction: str
    ethertype: str
    remote_group_id: str | None = None


def _add_rule(txn: Txn, ctx: Context, group: SecurityGroup, allows: _Allows) -> None:
    rule = SecurityGroupRule(
        id=ctx.new_id(),
        project_id=group.project_id,
        security_group_id=group.id,
        direction=allows.direction,
        ethertype=allows.ethertype,
        remote_group_id=allows.remote_group_id,
        created_at=ctx.now,
        updated_at=ctx.now,
        number=_number(txn),
    )
    txn.insert(SECURITY_GROUP_RULE, rule)


def _number(txn: Txn) -> int:
    number = txn.allocate(NUMBERS, "", ((1, NUMBER_MAX),))
    if number is None:
        raise Conflict(f"All {NUMBER_MAX} security group rules of the region are in use.", type="OverQuota")
    return number


def ensure_default_group(txn: Txn, ctx: Context) -> None:
    """Makes the caller's project its default group, on the first use of the API that could show or need it."""
    if ctx.project_id:
        default_group(txn, ctx, ctx.project_id)


def on_create(txn: Txn, ctx: Context, new: SecurityGroup) -> SecurityGroup:
    """The group, once its project has a default group."""
    default_group(txn, ctx, new.project_id)
    return new


def after_create(txn: Txn, ctx: Context, new: SecurityGroup) -> None:
    """Lets members talk to anybody, as Neutron does: one egress rule for each IP version."""
    for ethertype in ("IPv4", "IPv6"):
        _add_rule(txn, ctx, new, _Allows("egress", ethertype))


def on_update(txn: Txn, ctx: Context, old: SecurityGroup, new: SecurityGroup) -> SecurityGroup:
    """The changed group. Raises Conflict for a new name of the default group."""
    if old.name == "default" and "name" in ctx.given and new.name != old.name:
        raise Conflict(
            "Updating default security group not allowed.", type="SecurityGroupCannotUpdateDefault"
        )
    return new


def on_delete(txn: Txn, ctx: Context, old: SecurityGroup) -> None:
    """Raises Conflict for the default group, but for admins. Its rules go with it."""
    if old.name == "default" and not ctx.is_admin:
        raise Conflict(
            "Insufficient rights for removing default security group.",
            type="SecurityGroupCannotRemoveDefault",
        )


def on_create_rule(txn: Txn, ctx: Context, new: SecurityGroupRule) -> SecurityGroupRule:
    """The rule with a number of its own. Raises Invalid for one without meaning, Conflict for one that exists."""
    group = visible_group(txn, ctx, new.security_group_id)
    if new.remote_group_id:
        visible_group(txn, ctx, new.remote_group_id)
    _check_protocol(new)
    _check_ports(new)
    _check_remote(new)
    _check_duplicate(txn, new)
    return msgspec.structs.replace(new, number=_number(txn), project_id=new.project_id or group.project_id)


def on_delete_rule(txn: Txn, ctx: Context, old: SecurityGroupRule) -> None:
    """Nothing to add: any rule may go."""


def visible_group(txn: Txn, ctx: Context, id: str) -> SecurityGroup:
    """The group, if the caller may use it: its own, or one that is shared with it. Raises NotFound."""
    return ctx.visible(txn, SECURITY_GROUP, id)


def _check_protocol(rule: SecurityGroupRule) -> None:
    if rule.ethertype == "IPv4" and protocol_number(rule) in _ONLY_V6:
        raise Invalid(
            f"Invalid ethertype {rule.ethertype} for protocol {rule.protocol}.",
            type="SecurityGroupEthertypeConflictWithProtocol",
        )


def _check_ports(rule: SecurityGroupRule) -> None:
    low, high, number = rule.port_range_min, rule.port_range_max, protocol_number(rule)
    if low is None and high is None:
        return
    if number is None:
        raise Invalid(
            "Must also specify protocol if port range is given.",
            type="SecurityGroupProtocolRequiredWithPorts",
        )
    if number in _ICMP:
        for field, value in (("port_range_min", low), ("port_range_max", high)):
            if value is not None and not 0 <= value <= 255:
                raise Invalid(
                    f"Invalid value for ICMP {'type' if field == 'port_range_min' else 'code'} ({field}) {value}."
                    " It must be 0 to 255.",
                    type="SecurityGroupInvalidIcmpValue",
                )
        if low is None:
            raise Invalid(
                f"ICMP code (port-range-max) {high} is provided but ICMP type (port-range-min) is missing.",
                type="SecurityGroupMissingIcmpType",
            )
        return
    if number not in _WITH_PORTS:
        raise Invalid(
            f"Invalid port range given: the protocol {rule.protocol} has no ports.",
            type="SecurityGroupInvalidPortRange",
        )
    if low is None or high is None or low > high:
        raise Invalid(
            "For TCP/UDP protocols, port_range_min must be <= port_range_max.",
            type="SecurityGroupInvalidPortRange",
        )
    for value in (low, high):
        if not 1 <= value <= 65535:
            raise Invalid(
                f"Invalid value for port {value}: it must be 1 to 65535.",
                type="SecurityGroupInvalidPortValue",
            )


def _check_remote(rule: SecurityGroupRule) -> None:
    if rule.remote_ip_prefix and rule.remote_group_id:
        raise Invalid(
            "Only remote_ip_prefix or remote_group_id may be provided.",
            type="SecurityGroupMultipleRemoteEntites",
        )
    prefix = rule.remote_ip_prefix
    if prefix and f"IPv{ip_version(prefix)}" != rule.ethertype:
        raise Invalid(
            f"Conflicting value ethertype {rule.ethertype} for CIDR {prefix}.",
            type="SecurityGroupRuleParameterConflict",
        )


def _meaning(rule: SecurityGroupRule) -> tuple[object, ...]:
    prefix = rule.remote_ip_prefix
    return (
        rule.direction,
        rule.ethertype,
        protocol_number(rule),
        rule.port_range_min,
        rule.port_range_max,
        None if prefix in ("0.0.0.0/0", "::/0") else prefix,
        rule.remote_group_id,
    )


def _check_duplicate(txn: Txn, new: SecurityGroupRule) -> None:
    meaning = _meaning(new)
    for other in txn.find(SECURITY_GROUP_RULE, RULES_OF, new.security_group_id):
        if _meaning(other) == meaning:
            raise Conflict(
                f"Security group rule already exists. Rule id is {other.id}.", type="SecurityGroupRuleExists"
            )


def group_set_of(txn: Txn, groups: Iterable[str]) -> int:
    """The number of this set of groups (ids), made if no port has it yet; 0 for the empty set."""
    ordered = tuple(sorted(set(groups)))
    if not ordered:
        return 0
    known = txn.first(GROUP_SET, BY_GROUPS, ordered)
    if known is not None:
        return known.number
    number = txn.allocate(GROUP_SET_NUMBERS, "", ((1, GROUP_SET_MAX),))
    if number is None:
        raise Conflict(
            f"All {GROUP_SET_MAX} sets of security groups of the region are in use.", type="OverQuota"
        )
    txn.insert(GROUP_SET, GroupSet(id=str(number), number=number, groups=ordered))
    return number


def _rules(reader: Reader, group: SecurityGroup) -> list[SecurityGroupRule]:
    return list(reader.find(SECURITY_GROUP_RULE, RULES_OF, group.id))


REST = RestFeature(
    name="security_group",
    resources=(
        Resource(
            name="security_group",
            plural="security_groups",
            path="security-groups",
            table=SECURITY_GROUP,
            is_taggable=True,
            aliases=("security-group",),
            on_create=on_create,
            after_create=after_create,
            on_update=on_update,
            on_delete=on_delete,
            computed=(
                Computed(
                    "security_group_rules",
                    _rules,
                    {"type": "array", "items": {"$ref": "#/components/schemas/security_group_rule"}},
                    filter=False,
                ),
            ),
            by_field={"project_id": BY_PROJECT, "name": BY_NAME},
            before=ensure_default_group,
            quota="security_group",
            doc="A named set of ports that share rules.",
        ),
        Resource(
            name="security_group_rule",
            plural="security_group_rules",
            path="security-group-rules",
            table=SECURITY_GROUP_RULE,
            on_create=on_create_rule,
            on_delete=on_delete_rule,
            by_field={
                "project_id": RULES_OF_PROJECT,
                "security_group_id": RULES_OF,
                "remote_group_id": RULES_FROM,
            },
            before=ensure_default_group,
            quota="security_group_rule",
            doc="What a security group allows.",
        ),
    ),
    extensions=(
        Extension(
            "security-group", "security-group", "The security groups extension.", "2012-10-05T10:00:00-00:00"
        ),
    ),
)
