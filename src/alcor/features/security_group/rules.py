# SPDX-License-Identifier: Apache-2.0
"""What may be done with security groups and their rules, and how sets of groups get their numbers."""

from collections.abc import Iterable, Sequence

import msgspec

from alcor.base.errors import Conflict, Invalid
from alcor.features.address_group.model import ADDRESS_GROUP
from alcor.features.security_group.defaults import EXTENSIONS, RESOURCES, is_stateful_by_default, templates
from alcor.features.security_group.meaning import checked, normalized
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
    PARENT,
    RULES_FROM,
    RULES_FROM_ADDRESSES,
    RULES_OF,
    RULES_OF_PROJECT,
    RULES_SAYING,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
    SETS_WITH,
    Allowance,
    DefaultRule,
    GroupSet,
    SecurityGroup,
    SecurityGroupRule,
    meaning,
)
from alcor.resource.declare import (
    PROJECT_LENGTH_MAX,
    Computed,
    Context,
    Extension,
    Resource,
    RestFeature,
    Standard,
    revised,
)
from alcor.store.reader import Reader, Txn

_ALLOWS = tuple(field for field in Allowance.__struct_fields__ if field not in Standard.__struct_fields__)


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
        stateful=is_stateful_by_default(txn, project_id),
        created_at=ctx.now,
        updated_at=ctx.now,
        revision_number=1,
    )
    txn.insert(SECURITY_GROUP, group)
    _add_rules(txn, ctx, group, templates(txn, is_default=True))
    return group


def _add_rules(txn: Txn, ctx: Context, group: SecurityGroup, models: Sequence[DefaultRule]) -> None:
    """A rule like each of these templates."""
    for model in models:
        allows = {field: getattr(model, field) for field in _ALLOWS}
        if model.remote_group_id == PARENT:
            allows["remote_group_id"] = group.id
        rule = SecurityGroupRule(
            id=ctx.new_id(),
            project_id=group.project_id,
            security_group_id=group.id,
            created_at=ctx.now,
            updated_at=ctx.now,
            revision_number=1,
            number=_number(txn),
            **allows,
        )
        txn.insert(SECURITY_GROUP_RULE, rule)


def _number(txn: Txn) -> int:
    number = txn.allocate(NUMBERS, "", ((1, NUMBER_MAX),))
    if number is None:
        raise Conflict(f"All {NUMBER_MAX} security group rules of the region are in use.", type="OverQuota")
    return number


def ensure_default_group(txn: Txn, ctx: Context) -> None:
    """Makes the caller's project its default group, on the first use of the API that could show or need it; an admin
    who lists those of another project makes it that one's.
    """
    project_id = ctx.listed if ctx.is_admin and ctx.listed else ctx.project_id
    if 0 < len(project_id) <= PROJECT_LENGTH_MAX:
        default_group(txn, ctx, project_id)


def on_create(txn: Txn, ctx: Context, new: SecurityGroup) -> SecurityGroup:
    """The group, once its project has a default group. Raises Conflict for a second one of that name."""
    _check_name(new)
    default_group(txn, ctx, new.project_id)
    models = templates(txn, is_default=False)
    most = ctx.quota_limit(txn, new.project_id, "security_group_rule")
    if 0 <= most < txn.count(SECURITY_GROUP_RULE, RULES_OF_PROJECT, new.project_id) + len(models):
        raise Conflict("Quota exceeded for resources: ['security_group_rule'].", type="OverQuota")
    if "stateful" in ctx.given:
        return new
    return msgspec.structs.replace(new, stateful=is_stateful_by_default(txn, new.project_id))


def after_create(txn: Txn, ctx: Context, new: SecurityGroup) -> None:
    """Its first rules: as Neutron ships, members may talk to anybody."""
    _add_rules(txn, ctx, new, templates(txn, is_default=False))


def on_update(txn: Txn, ctx: Context, old: SecurityGroup, new: SecurityGroup) -> SecurityGroup:
    """The changed group. Raises Conflict for a name that it must keep or cannot have, and for a group in use that
    would judge otherwise than its ports' other groups.
    """
    if "name" in ctx.given:
        _check_name(new)
        if old.name == "default":
            raise Conflict(
                "Updating default security group not allowed.", type="SecurityGroupCannotUpdateDefault"
            )
    if new.stateful != old.stateful and txn.count(GROUP_SET, SETS_WITH, old.id):
        raise Conflict(f"Security Group {old.id} in use.", type="SecurityGroupInUse")
    return new


def _check_name(group: SecurityGroup) -> None:
    if group.name.lower() == "default":
        raise Conflict("Default security group already exists.", type="SecurityGroupDefaultAlreadyExists")


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
    new = checked(new)
    if new.remote_group_id:
        visible_group(txn, ctx, new.remote_group_id)
    if new.remote_address_group_id:
        ctx.visible(txn, ADDRESS_GROUP, new.remote_address_group_id)
    _check_duplicate(txn, new)
    txn.update(SECURITY_GROUP, revised(ctx, group))
    return msgspec.structs.replace(new, number=_number(txn), project_id=new.project_id or group.project_id)


def on_bulk_rules(news: Sequence[SecurityGroupRule]) -> None:
    """Raises Invalid for rules of several groups or projects in one request, Conflict where two say the same."""
    if len({new.security_group_id for new in news}) > 1:
        raise Invalid(
            "Only allowed to update rules for one security profile at a time",
            type="SecurityGroupNotSingleGroupRules",
        )
    if len({new.project_id for new in news}) > 1:
        raise Invalid(
            "Multiple project_ids in bulk security group rule create not allowed",
            type="SecurityGroupRulesNotSingleProject",
        )
    if len({meaning(checked(new)) for new in news}) < len(news):
        raise Conflict("Duplicate Security Group Rule in POST.", type="DuplicateSecurityGroupRuleInPost")


def on_delete_rule(txn: Txn, ctx: Context, old: SecurityGroupRule) -> None:
    """Any rule may go; its group is another without it."""
    txn.update(SECURITY_GROUP, revised(ctx, txn.get(SECURITY_GROUP, old.security_group_id)))


def visible_group(txn: Txn, ctx: Context, id: str) -> SecurityGroup:
    """The group, if the caller may use it. Raises NotFound."""
    return ctx.visible(txn, SECURITY_GROUP, id)


def _check_duplicate(txn: Txn, new: SecurityGroupRule) -> None:
    other = txn.first(SECURITY_GROUP_RULE, RULES_SAYING, (new.security_group_id, meaning(new)))
    if other is not None:
        raise Conflict(
            f"Security group rule already exists. Rule id is {other.id}.", type="SecurityGroupRuleExists"
        )


def group_set_of(txn: Txn, groups: Iterable[str]) -> int:
    """The number of this set of groups (ids), made if no port has it yet; 0 for the empty set. Raises Conflict where
    only some of them are stateful.
    """
    ordered = tuple(sorted(set(groups)))
    if not ordered:
        return 0
    known = txn.first(GROUP_SET, BY_GROUPS, ordered)
    if known is not None:
        return known.number
    if len({txn.get(SECURITY_GROUP, group).stateful for group in ordered}) > 1:
        raise Conflict(
            "Error Cannot apply both stateful and stateless security groups on the same port at the same time while"
            " attempting the operation.",
            type="SecurityGroupConflict",
        )
    number = txn.allocate(GROUP_SET_NUMBERS, "", ((1, GROUP_SET_MAX),))
    if number is None:
        raise Conflict(
            f"All {GROUP_SET_MAX} sets of security groups of the region are in use.", type="OverQuota"
        )
    txn.insert(GROUP_SET, GroupSet(id=str(number), number=number, groups=ordered))
    return number


def _rules(reader: Reader, group: SecurityGroup) -> list[SecurityGroupRule]:
    return list(reader.find(SECURITY_GROUP_RULE, RULES_OF, group.id))


def _belongs_to_default(reader: Reader, rule: SecurityGroupRule) -> bool:
    group = reader.peek(SECURITY_GROUP, rule.security_group_id)
    return group is not None and group.name == "default"


REST = RestFeature(
    name="security_group",
    resources=(
        Resource(
            name="security_group",
            plural="security_groups",
            path="security-groups",
            table=SECURITY_GROUP,
            is_taggable=True,
            aliases=("security-group", "stateful-security-group"),
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
            is_taggable=True,
            aliases=(
                "security-groups-normalized-cidr",
                "security-groups-remote-address-group",
                "security-groups-rules-belongs-to-default-sg",
            ),
            on_create=on_create_rule,
            on_bulk=on_bulk_rules,
            on_delete=on_delete_rule,
            computed=(
                Computed(
                    "normalized_cidr",
                    lambda reader, rule: normalized(rule),
                    {"type": "string", "nullable": True},
                    sort=True,
                ),
                Computed("belongs_to_default_sg", _belongs_to_default, {"type": "boolean"}),
            ),
            by_field={
                "project_id": RULES_OF_PROJECT,
                "security_group_id": RULES_OF,
                "remote_group_id": RULES_FROM,
                "remote_address_group_id": RULES_FROM_ADDRESSES,
            },
            before=ensure_default_group,
            quota="security_group_rule",
            doc="What a security group allows.",
        ),
        *RESOURCES,
    ),
    extensions=(
        Extension(
            "security-group", "security-group", "The security groups extension.", "2012-10-05T10:00:00-00:00"
        ),
        Extension(
            "security-groups-normalized-cidr",
            "Normalized CIDR field for security group rules",
            "Add new field with normalized remote_ip_prefix cidr in SG rule",
            "2020-07-28T10:00:00-00:00",
        ),
        Extension(
            "security-groups-remote-address-group",
            "Remote address group id field for security group rules",
            "Add new field of remote address group id in SG rules",
            "2020-08-25T10:00:00-00:00",
        ),
        Extension(
            "security-groups-rules-belongs-to-default-sg",
            "Security group rule belongs to the project's default security group",
            "Flag to determine if the security group rule belongs to the project's default security group",
            "2023-05-23T10:00:00-00:00",
        ),
        Extension(
            "stateful-security-group",
            "Stateful security group",
            "Indicates if the security group is stateful or not",
            "2019-11-26T09:00:00-00:00",
        ),
        *EXTENSIONS,
    ),
)
