# SPDX-License-Identifier: Apache-2.0
"""What a rule says: brought to one form, refused where it has no meaning, and compared with others."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from alcor.base.errors import Invalid
from alcor.base.net import Cidr, ip_version, parse_cidr
from alcor.features.security_group.model import PROTOCOLS, Allowance, kept_number

A = TypeVar("A", bound=Allowance)

_PORT_NAMES = ("dccp", "sctp", "tcp", "udp", "udplite")
_WITH_PORTS = frozenset(PROTOCOLS[name] for name in _PORT_NAMES)
_ONLY_V6 = frozenset(number for name, number in PROTOCOLS.items() if name.startswith("ipv6-"))
_ICMP = frozenset((PROTOCOLS["icmp"], PROTOCOLS["ipv6-icmp"]))
_ICMP_IN_V6: Mapping[str, str] = {"icmp": "ipv6-icmp", "1": "58"}
_ALL_PORTS = (1, 65535)


def protocol_number(rule: Allowance) -> int | None:
    """The IP protocol number that the rule allows; none for any, which 0 means too. ICMP over IPv6 is ICMPv6."""
    number = kept_number(rule)
    return (
        PROTOCOLS["ipv6-icmp"] if number == PROTOCOLS["icmp"] and rule.ethertype == "IPv6" else number or None
    )


def normalized(rule: Allowance) -> Cidr | None:
    """The network of the remote prefix, without host bits."""
    return parse_cidr(rule.remote_ip_prefix) if rule.remote_ip_prefix else None


def checked(rule: A) -> A:
    """The rule in the form in which Neutron keeps it. Raises Invalid for one without meaning."""
    if rule.ethertype == "IPv6" and (protocol := _ICMP_IN_V6.get(rule.protocol or "")):
        rule = msgspec.structs.replace(rule, protocol=protocol)
    if (rule.port_range_min, rule.port_range_max) == _ALL_PORTS:
        rule = msgspec.structs.replace(rule, port_range_min=None, port_range_max=None)
    _check_ports(rule)
    _check_remote(rule)
    if rule.ethertype == "IPv4" and kept_number(rule) in _ONLY_V6:
        raise Invalid(
            f"Invalid ethertype {rule.ethertype} for protocol {rule.protocol}.",
            type="SecurityGroupEthertypeConflictWithProtocol",
        )
    return rule


def _check_ports(rule: Allowance) -> None:
    low, high, number = rule.port_range_min, rule.port_range_max, kept_number(rule)
    if low is None and high is None:
        return
    if number is None:
        raise Invalid(
            "Must also specify protocol if port range is given.",
            type="SecurityGroupProtocolRequiredWithPorts",
        )
    if number in _ICMP:
        _check_icmp(low, high)
    elif number not in _WITH_PORTS:
        raise Invalid(
            f"Ports cannot be specified for protocol {number}. "
            f"Ports are only supported for {', '.join(name.upper() for name in _PORT_NAMES)}.",
            type="SecurityGroupInvalidProtocolForPort",
        )
    elif 0 in (low, high):
        raise Invalid("Invalid value for port 0", type="SecurityGroupInvalidPortValue")
    elif low is None or high is None or low > high:
        raise Invalid(
            "For TCP/UDP protocols, port_range_min must be <= port_range_max",
            type="SecurityGroupInvalidPortRange",
        )


def _check_icmp(kind: int | None, code: int | None) -> None:
    for name, field, value in (("type", "port_range_min", kind), ("code", "port_range_max", code)):
        if value is not None and value > 255:
            raise Invalid(
                f"Invalid value for ICMP {name} ({field}) {value}. It must be 0 to 255.",
                type="SecurityGroupInvalidIcmpValue",
            )
    if kind is None:
        raise Invalid(
            f"ICMP code (port-range-max) {code} is provided but ICMP type (port-range-min) is missing.",
            type="SecurityGroupMissingIcmpType",
        )


def _check_remote(rule: Allowance) -> None:
    prefix = normalized(rule)
    if prefix and f"IPv{ip_version(prefix)}" != rule.ethertype:
        raise Invalid(
            f"Conflicting value ethertype {rule.ethertype} for CIDR {rule.remote_ip_prefix}",
            type="SecurityGroupRuleParameterConflict",
        )
    remotes = (prefix, rule.remote_group_id, rule.remote_address_group_id)
    if sum(map(bool, remotes)) > 1:
        raise Invalid(
            "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.",
            type="SecurityGroupMultipleRemoteEntites",
        )
