# SPDX-License-Identifier: Apache-2.0
"""What new security groups start with: rules from templates, and whether they are stateful."""

from collections.abc import Sequence

import msgspec

from alcor.base.errors import Conflict
from alcor.features.security_group.meaning import checked
from alcor.features.security_group.model import (
    DEFAULT_RULE,
    DEFAULT_RULES_KEPT,
    DEFAULT_STATEFULNESS,
    FROM_ADDRESSES,
    FROM_GROUP,
    PARENT,
    STATEFULNESS_OF,
    USED_IN,
    DefaultRule,
    DefaultRulesKept,
    DefaultStatefulness,
    meaning,
    uses_of,
)
from alcor.resource.declare import Context, Extension, Resource
from alcor.store.declare import Stored
from alcor.store.reader import Reader, Txn

_KEPT = "kept"


def _built_in(direction: str, ethertype: str) -> DefaultRule:
    is_out = direction == "egress"
    return DefaultRule(
        id="",
        description="Legacy default SG rule for egress traffic"
        if is_out
        else "Legacy default SG rule for ingress traffic",
        direction=direction,
        ethertype=ethertype,
        remote_group_id=None if is_out else PARENT,
        used_in_default_sg=True,
        used_in_non_default_sg=is_out,
    )


BUILT_IN = tuple(
    _built_in(direction, ethertype) for direction in ("egress", "ingress") for ethertype in ("IPv4", "IPv6")
)


def templates(reader: Reader, *, is_default: bool) -> Sequence[DefaultRule]:
    """What the rules of a new group are made from."""
    if reader.peek(DEFAULT_RULES_KEPT, _KEPT) is None:
        return [rule for rule in BUILT_IN if is_default in uses_of(rule)]
    return list(reader.find(DEFAULT_RULE, USED_IN, is_default))


def keep_built_in(txn: Txn, ctx: Context) -> None:
    """Makes objects of the built-in templates, on the first look at them."""
    if txn.peek(DEFAULT_RULES_KEPT, _KEPT) is not None:
        return
    txn.insert(DEFAULT_RULES_KEPT, DefaultRulesKept(id=_KEPT))
    times = {"created_at": ctx.now, "updated_at": ctx.now, "revision_number": 1}
    for rule in BUILT_IN:
        txn.insert(DEFAULT_RULE, msgspec.structs.replace(rule, id=ctx.new_id(), **times))


def on_create_rule(txn: Txn, ctx: Context, new: DefaultRule) -> DefaultRule:
    """The template. Raises Invalid for one without meaning, Conflict for one that is there for such groups."""
    new = checked(new)
    for is_default in uses_of(new):
        for other in txn.find(DEFAULT_RULE, USED_IN, is_default):
            if meaning(other) == meaning(new):
                raise Conflict(
                    f"Default Security group rule already exists. Rule id is {other.id}.",
                    type="DefaultSecurityGroupRuleExists",
                )
    return new


def on_delete(txn: Txn, ctx: Context, old: Stored) -> None:
    """Nothing to add: groups that are there keep what they have."""


def is_stateful_by_default(reader: Reader, project_id: str) -> bool:
    """What holds for a new group of the project that does not say."""
    for key in (project_id, ""):
        setting = reader.first(DEFAULT_STATEFULNESS, STATEFULNESS_OF, key)
        if setting is not None:
            return setting.stateful
    return True


def on_create_setting(txn: Txn, ctx: Context, new: DefaultStatefulness) -> DefaultStatefulness:
    """Takes it as it is; a second one of a project is refused by its index."""
    return new


def on_update_setting(
    txn: Txn, ctx: Context, old: DefaultStatefulness, new: DefaultStatefulness
) -> DefaultStatefulness:
    """Takes it as it is: groups that are there stay as they are."""
    return new


RESOURCES: tuple[Resource[DefaultRule] | Resource[DefaultStatefulness], ...] = (
    Resource(
        name="default_security_group_rule",
        plural="default_security_group_rules",
        path="default-security-group-rules",
        table=DEFAULT_RULE,
        is_taggable=True,
        aliases=("security-groups-default-rules",),
        on_create=on_create_rule,
        on_delete=on_delete,
        by_field={"remote_group_id": FROM_GROUP, "remote_address_group_id": FROM_ADDRESSES},
        before=keep_built_in,
        doc="A rule that new security groups get.",
    ),
    Resource(
        name="security_groups_default_statefulness",
        plural="security_groups_default_statefulness",
        path="security-groups-default-statefulness",
        table=DEFAULT_STATEFULNESS,
        aliases=("security-groups-default-statefulness",),
        on_create=on_create_setting,
        on_update=on_update_setting,
        on_delete=on_delete,
        by_field={"project_id": STATEFULNESS_OF},
        doc="Whether new security groups are stateful.",
    ),
)

EXTENSIONS = (
    Extension(
        "security-groups-default-rules",
        "Default rules for security groups",
        "Configure set of security group rules used as default rules for every new security group",
        "2022-12-19T10:00:00-00:00",
    ),
    Extension(
        "security-groups-default-statefulness",
        "Security Groups Default Statefulness",
        "Allows configuring the default value of the 'stateful' attribute "
        "for new security groups, on a per-project or system-wide basis",
        "2026-04-13T00:00:00-00:00",
    ),
)
