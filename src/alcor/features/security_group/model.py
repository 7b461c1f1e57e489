# SPDX-License-Identifier: Apache-2.0
"""What security groups, their rules, and the numbered sets of groups are."""

import ipaddress
from collections.abc import Mapping
from typing import Annotated

from alcor.base.errors import Conflict, Invalid, NotFound
from alcor.features.address_group.model import ADDRESS_GROUP, AddressGroup
from alcor.resource.declare import Api, Standard
from alcor.resource.parse import parse_int, shown
from alcor.store.declare import Index, Pool, Reference, Stored, Table

NUMBER_MAX = 2**31 - 1  # of a rule: it is a conjunction id, below OVS's own upper half
GROUP_SET_MAX = 2**24 - 1

# Names of IP protocols that Neutron takes, and their IANA numbers.
PROTOCOLS: Mapping[str, int] = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "gre": 47,
    "hopopt": 0,
    "icmp": 1,
    "icmpv6": 58,
    "igmp": 2,
    "ip": 0,
    "ipip": 4,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "ipv6-icmp": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ipv6-route": 43,
    "ospf": 89,
    "pgm": 113,
    "rsvp": 46,
    "sctp": 132,
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "vrrp": 112,
}


_NUMBERS = frozenset(map(str, range(256)))


class SecurityGroup(Standard, frozen=True, kw_only=True):
    """A named set of ports that share rules. Each project has one called `default`."""

    name: Annotated[str, Api(put=True, max_length=255)] = ""
    stateful: Annotated[bool, Api(put=True, sort=False)] = (
        True  # False: its rules judge each packet by itself
    )
    shared: Annotated[bool, Api(post=False, sort=False)] = False


BY_PROJECT: Index[SecurityGroup] = Index("project_id", lambda group: (group.project_id,))
DEFAULT_OF: Index[SecurityGroup] = Index(
    "default_of",
    lambda group: (group.project_id,) if group.name == "default" else (),
    unique=True,
    taken=lambda group, key: Conflict(
        "Default security group already exists.", type="SecurityGroupDefaultAlreadyExists"
    ),
)
BY_NAME: Index[SecurityGroup] = Index("name", lambda group: (group.name,) if group.name else ())


def no_group(id: str) -> NotFound:
    """The refusal of a group that is not there, or not for the caller."""
    return NotFound(f"Security group {id} does not exist", type="SecurityGroupNotFound")


SECURITY_GROUP: Table[SecurityGroup] = Table(
    "security_group", SecurityGroup, indexes=(BY_PROJECT, BY_NAME, DEFAULT_OF), missing=no_group
)


def parse_protocol(value: object) -> str | None:
    """The protocol as Neutron keeps it: a name in lower case or a number as text; "any" is none. Raises Invalid."""
    if value is None:
        return None
    text = str(value).lower()
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        if text.isascii() and text.isdecimal():
            text = text.lstrip("0") or "0"
        if text == "any":
            return None
        if text in PROTOCOLS or text in _NUMBERS:
            return "ipv6-icmp" if text == "icmpv6" else text
    raise Invalid(
        f"Security group rule protocol {shown(value)} not supported. Only protocol values "
        f"{sorted(PROTOCOLS)} and integer representations [0 to 255] are supported.",
        type="SecurityGroupRuleInvalidProtocol",
    )


def parse_ethertype(value: object) -> str:
    """IPv4 or IPv6, in any case. Raises Invalid."""
    known = {"ipv4": "IPv4", "ipv6": "IPv6"}.get(value.lower()) if isinstance(value, str) else None
    if known is None:
        raise Invalid(
            f"Security group rule for ethertype '{shown(value)}' not supported."
            " Allowed values are ['IPv4', 'IPv6'].",
            type="SecurityGroupRuleInvalidEtherType",
        )
    return known


def parse_port(value: object) -> int | None:
    """A port, an ICMP type or an ICMP code, 0 to 65535; the rule tells which. Raises Invalid."""
    if value is None:
        return None
    try:
        port = parse_int(value)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise Invalid(f"Invalid value for port {shown(value)}", type="SecurityGroupInvalidPortValue")
    return port


def parse_remote_prefix(value: object) -> str | None:
    """An address with its prefix length, host bits kept; an address alone stands for itself, '' for none.

    Raises Invalid.
    """
    if value is None or value == "":
        return None
    try:
        return ipaddress.ip_interface(str(value)).with_prefixlen
    except ValueError:
        raise Invalid(f"Invalid CIDR {shown(value)} given as IP prefix.", type="InvalidCIDR") from None


def parse_remote(value: object) -> str | None:
    """The id of a group, '' for none. Raises ValueError."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"'{shown(value)}' is not a valid string")
    return value


class Allowance(Standard, frozen=True, kw_only=True):
    """What a rule lets through, whichever group it is of."""

    direction: Annotated[str, Api(required=True, choices=("ingress", "egress"))]
    ethertype: Annotated[str, Api(parse=parse_ethertype, of_filter=parse_ethertype)] = "IPv4"
    protocol: Annotated[str | None, Api(parse=parse_protocol, of_filter=parse_protocol)] = None
    port_range_min: Annotated[int | None, Api(parse=parse_port, of_filter=parse_port)] = None
    port_range_max: Annotated[int | None, Api(parse=parse_port, of_filter=parse_port)] = None
    remote_ip_prefix: Annotated[str | None, Api(parse=parse_remote_prefix, of_filter=parse_remote_prefix)] = (
        None
    )
    remote_group_id: Annotated[str | None, Api(parse=parse_remote)] = None
    remote_address_group_id: Annotated[str | None, Api(parse=parse_remote)] = None


def meaning(rule: Allowance) -> tuple[object, ...]:
    """Equal where two rules of one group would say the same."""
    prefix = rule.remote_ip_prefix
    return (
        rule.direction,
        rule.ethertype,
        kept_number(rule),
        rule.port_range_min,
        rule.port_range_max,
        None if prefix in ("0.0.0.0/0", "::/0") else prefix,
        rule.remote_group_id,
        rule.remote_address_group_id,
    )


def kept_number(rule: Allowance) -> int | None:
    """The IP protocol number of the rule as it is kept."""
    if rule.protocol is None:
        return None
    return int(rule.protocol) if rule.protocol.isdecimal() else PROTOCOLS[rule.protocol]


class SecurityGroupRule(Allowance, frozen=True, kw_only=True):
    """What one rule allows. Rules only allow; what none allows is refused."""

    security_group_id: Annotated[str, Api(required=True)]
    number: Annotated[int, Api(post=False, visible=False)] = 0  # what hosts call the rule


RULES_OF: Index[SecurityGroupRule] = Index("security_group_id", lambda rule: (rule.security_group_id,))
RULES_FROM: Index[SecurityGroupRule] = Index(
    "remote_group_id", lambda rule: (rule.remote_group_id,) if rule.remote_group_id else ()
)
RULES_FROM_ADDRESSES: Index[SecurityGroupRule] = Index(
    "remote_address_group_id",
    lambda rule: (rule.remote_address_group_id,) if rule.remote_address_group_id else (),
)
RULES_OF_PROJECT: Index[SecurityGroupRule] = Index("project_id", lambda rule: (rule.project_id,))
RULES_SAYING: Index[SecurityGroupRule] = Index(
    "meaning", lambda rule: ((rule.security_group_id, meaning(rule)),)
)
NUMBERS: Pool[SecurityGroupRule] = Pool(
    "security_group_rule_number",
    holds=lambda rule: (("", rule.number),),
    taken=lambda rule, key, number: Conflict(
        f"The rule number {number} is in use.", type="SecurityGroupRuleExists"
    ),
)


def addresses_in_use(group: AddressGroup) -> Conflict:
    """The refusal to delete an address group that a rule names."""
    return Conflict(
        f"Address group {group.id} is in use on one or more security group rules.", type="AddressGroupInUse"
    )


def _no_rule(id: str) -> NotFound:
    return NotFound(f"Security group rule {id} does not exist", type="SecurityGroupRuleNotFound")


SECURITY_GROUP_RULE: Table[SecurityGroupRule] = Table(
    "security_group_rule",
    SecurityGroupRule,
    indexes=(RULES_OF, RULES_FROM, RULES_FROM_ADDRESSES, RULES_OF_PROJECT, RULES_SAYING),
    missing=_no_rule,
    references=(
        Reference(
            "security_group_id",
            SECURITY_GROUP,
            lambda rule: (rule.security_group_id,),
            missing=no_group,
            by=RULES_OF,
        ),
        Reference(
            "remote_group_id",
            SECURITY_GROUP,
            lambda rule: (rule.remote_group_id,) if rule.remote_group_id else (),
            missing=no_group,
            by=RULES_FROM,
        ),
        Reference(
            "remote_address_group_id",
            ADDRESS_GROUP,
            lambda rule: (rule.remote_address_group_id,) if rule.remote_address_group_id else (),
            in_use=addresses_in_use,
            by=RULES_FROM_ADDRESSES,
        ),
    ),
    pools=(NUMBERS,),
)


class GroupSet(Stored, frozen=True, kw_only=True):
    """A set of security groups that some port has. `id` is its number in decimal."""

    number: int
    groups: tuple[str, ...]  # ids, sorted


GROUP_SET_NUMBERS: Pool[GroupSet] = Pool(
    "group_set",
    holds=lambda group_set: (("", group_set.number),),
    taken=lambda group_set, key, number: Conflict(
        f"The group set {number} is in use.", type="SecurityGroupInUse"
    ),
)
BY_GROUPS: Index[GroupSet] = Index(
    "groups",
    lambda group_set: (group_set.groups,),
    unique=True,
    taken=lambda group_set, key: Conflict(
        f"The group set {group_set.number} exists twice.", type="SecurityGroupInUse"
    ),
)
SETS_WITH: Index[GroupSet] = Index("group", lambda group_set: group_set.groups)
GROUP_SET: Table[GroupSet] = Table(
    "group_set", GroupSet, indexes=(BY_GROUPS, SETS_WITH), pools=(GROUP_SET_NUMBERS,)
)


PARENT = "PARENT"  # as a template's remote group: the group that is made


class DefaultRule(Allowance, frozen=True, kw_only=True):
    """A template: each new group gets a rule like it."""

    project_id: Annotated[
        str, Api(set_by="admin", max_length=255, visible=False, filter=False, sort=False)
    ] = ""
    used_in_default_sg: Annotated[bool, Api(required=True, sort=False)]
    used_in_non_default_sg: Annotated[bool, Api(required=True, sort=False)]


def uses_of(rule: DefaultRule) -> list[bool]:
    """Whether for a project's default group: both may be."""
    uses = ((True, rule.used_in_default_sg), (False, rule.used_in_non_default_sg))
    return [is_default for is_default, is_used in uses if is_used]


USED_IN: Index[DefaultRule] = Index("used_in", uses_of)
FROM_GROUP: Index[DefaultRule] = Index(
    "remote_group_id",
    lambda rule: (rule.remote_group_id,) if rule.remote_group_id not in (None, PARENT) else (),
)
FROM_ADDRESSES: Index[DefaultRule] = Index(
    "remote_address_group_id",
    lambda rule: (rule.remote_address_group_id,) if rule.remote_address_group_id else (),
)
DEFAULT_RULE: Table[DefaultRule] = Table(
    "default_security_group_rule",
    DefaultRule,
    indexes=(USED_IN, FROM_GROUP, FROM_ADDRESSES),
    missing=lambda id: NotFound(
        f"Default Security Group rule {id} does not exist", type="DefaultSecurityGroupRuleNotFound"
    ),
    references=(
        Reference(
            "remote_group_id",
            SECURITY_GROUP,
            lambda rule: [rule.remote_group_id] if rule.remote_group_id not in (None, PARENT) else [],
            missing=no_group,
            by=FROM_GROUP,
        ),
        Reference(
            "remote_address_group_id",
            ADDRESS_GROUP,
            lambda rule: [rule.remote_address_group_id] if rule.remote_address_group_id else [],
            in_use=addresses_in_use,
            by=FROM_ADDRESSES,
        ),
    ),
)


class DefaultRulesKept(Stored, frozen=True, kw_only=True):
    """There once the templates are objects that can be taken away; until then those built in hold."""


DEFAULT_RULES_KEPT: Table[DefaultRulesKept] = Table("default_security_group_rules_kept", DefaultRulesKept)


class DefaultStatefulness(Standard, frozen=True, kw_only=True):
    """Whether new groups of a project, or of all that have no setting of their own, are stateful."""

    project_id: Annotated[
        str, Api(set_by="admin", max_length=255, nullable=True, answer=lambda project: project or None)
    ] = ""
    description: Annotated[str, Api(post=False, visible=False, filter=False, sort=False)] = ""
    created_at: Annotated[str, Api(post=False, visible=False, filter=False, sort=False)] = ""
    updated_at: Annotated[str, Api(post=False, visible=False, filter=False, sort=False)] = ""
    revision_number: Annotated[int, Api(post=False, visible=False, filter=False, sort=False)] = 0
    stateful: Annotated[bool, Api(put=True)] = True


STATEFULNESS_OF: Index[DefaultStatefulness] = Index(
    "project_id",
    lambda setting: (setting.project_id,),
    unique=True,
    taken=lambda setting, key: Conflict(
        "A security group default statefulness setting already exists for project"
        f" '{setting.project_id or 'system-wide'}'.",
        type="SecurityGroupDefaultStatefulnessAlreadyExists",
    ),
)
DEFAULT_STATEFULNESS: Table[DefaultStatefulness] = Table(
    "security_groups_default_statefulness",
    DefaultStatefulness,
    indexes=(STATEFULNESS_OF,),
    missing=lambda id: NotFound(
        f"Security group default statefulness {id} could not be found.",
        type="SecurityGroupDefaultStatefulnessNotFound",
    ),
)
