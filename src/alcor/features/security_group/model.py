# SPDX-License-Identifier: Apache-2.0
"""What security groups, their rules, and the numbered sets of groups are."""

from collections.abc import Mapping
from typing import Annotated

from alcor.base.errors import Conflict, NotFound
from alcor.base.net import Cidr, parse_cidr
from alcor.resource.declare import Api, Standard
from alcor.resource.parse import parse_int
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
    """The protocol as Neutron keeps it: a name in lower case or a number as text; "any" and 0 are none."""
    if value is None:
        return None
    text = str(value).lower()
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        if text.isascii() and text.isdecimal():
            text = text.lstrip("0") or "0"
        if text in ("any", "0", "ip"):
            return None
        if text in PROTOCOLS or text in _NUMBERS:
            return "ipv6-icmp" if text == "icmpv6" else text
    raise ValueError(
        f"Security group rule protocol {value} not supported. Only protocol values "
        f"{sorted(PROTOCOLS)} and integer representations [0 to 255] are supported."
    )


def parse_ethertype(value: object) -> str:
    """IPv4 or IPv6, in any case."""
    known = {"ipv4": "IPv4", "ipv6": "IPv6"}.get(value.lower()) if isinstance(value, str) else None
    if known is None:
        raise ValueError(
            f"Security group rule for ethertype '{value}' not supported. Allowed values are ['IPv4', 'IPv6']."
        )
    return known


def parse_port(value: object) -> int | None:
    """A port, an ICMP type or an ICMP code: an integer, or digits. The rule tells which and checks the range."""
    return None if value is None or value == "" else parse_int(value)


def parse_remote_prefix(value: object) -> Cidr | None:
    """A CIDR; a single address stands for itself alone, and '' for none."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"'{value}' is not a valid CIDR.")
    return parse_cidr(value if "/" in value else f"{value}/{128 if ':' in value else 32}")


class SecurityGroupRule(Standard, frozen=True, kw_only=True):
    """What one rule allows. Rules only allow; what none allows is refused."""

    security_group_id: Annotated[str, Api(required=True)]
    direction: Annotated[str, Api(required=True, choices=("ingress", "egress"))]
    ethertype: Annotated[str, Api(parse=parse_ethertype)] = "IPv4"
    protocol: Annotated[str | None, Api(parse=parse_protocol, nullable=True)] = None
    port_range_min: Annotated[int | None, Api(parse=parse_port, nullable=True)] = None
    port_range_max: Annotated[int | None, Api(parse=parse_port, nullable=True)] = None
    remote_ip_prefix: Annotated[Cidr | None, Api(parse=parse_remote_prefix, nullable=True)] = None
    remote_group_id: Annotated[str | None, Api(nullable=True)] = None
    number: Annotated[int, Api(post=False, visible=False)] = 0  # what hosts call the rule


RULES_OF: Index[SecurityGroupRule] = Index("security_group_id", lambda rule: (rule.security_group_id,))
RULES_FROM: Index[SecurityGroupRule] = Index(
    "remote_group_id", lambda rule: (rule.remote_group_id,) if rule.remote_group_id else ()
)
RULES_OF_PROJECT: Index[SecurityGroupRule] = Index("project_id", lambda rule: (rule.project_id,))
NUMBERS: Pool[SecurityGroupRule] = Pool(
    "security_group_rule_number",
    holds=lambda rule: (("", rule.number),),
    taken=lambda rule, key, number: Conflict(
        f"The rule number {number} is in use.", type="SecurityGroupRuleExists"
    ),
)


def _no_rule(id: str) -> NotFound:
    return NotFound(f"Security group rule {id} does not exist", type="SecurityGroupRuleNotFound")


SECURITY_GROUP_RULE: Table[SecurityGroupRule] = Table(
    "security_group_rule",
    SecurityGroupRule,
    indexes=(RULES_OF, RULES_FROM, RULES_OF_PROJECT),
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
GROUP_SET: Table[GroupSet] = Table("group_set", GroupSet, indexes=(BY_GROUPS,), pools=(GROUP_SET_NUMBERS,))
