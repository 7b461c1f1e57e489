# SPDX-License-Identifier: Apache-2.0
"""What names networks, subnets and ports have. A row is there only where one has any."""

import re
from typing import Annotated

from alcor.features.network.model import NETWORK
from alcor.features.port.model import PORT
from alcor.features.subnet.model import SUBNET
from alcor.resource.declare import Api
from alcor.resource.parse import shown
from alcor.store.declare import Reference, Stored, Table, own_id

LENGTH_MAX = 255  # characters of a whole name (RFC 1035, 2.3.4)
_LABEL = re.compile(r"[a-z0-9-]{1,63}")


def parse_name(value: object) -> str:
    """A host's name, relative or whole (RFC 1123, 2.1), in lower case; '' for none. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"Input value {shown(value)} must be string type")
    name = value.lower()
    if name and (wrong := _wrong(name.removesuffix("."))):
        raise ValueError(f"'{shown(value)}' not a valid PQDN or FQDN. Reason: {wrong}")
    return name


def parse_domain(value: object) -> str:
    """A whole name, whose end is a dot, short enough for a host's in front; '' for none. Raises ValueError."""
    if isinstance(value, str) and value and not value.endswith("."):
        raise ValueError(f"'{shown(value)}' is not a FQDN")
    domain = parse_name(value)
    if len(domain) > LENGTH_MAX - 2:
        raise ValueError(
            f"'{shown(value)}' contains {len(domain)} characters. Adding a sub-domain will cause it to exceed the"
            f" maximum length of a FQDN of '{LENGTH_MAX}'"
        )
    return domain


def _wrong(name: str) -> str:
    if len(name) > LENGTH_MAX:
        return f"'{shown(name)}' exceeds the {LENGTH_MAX} character FQDN limit"
    labels = name.split(".")
    for label in labels:
        if not label:
            return "Encountered an empty component"
        if label.startswith("-") or label.endswith("-"):
            return f"Name '{label}' must not start or end with a hyphen"
        if not _LABEL.fullmatch(label):
            return f"Name '{label}' must be 1-63 characters long, each of which can only be alphanumeric or a hyphen"
    is_number = len(labels) > 1 and labels[-1].isdecimal()
    return f"TLD '{labels[-1]}' must not be all numeric" if is_number else ""


class NetworkDns(Stored, frozen=True, kw_only=True):
    """In which domain the network's ports have their names."""

    dns_domain: Annotated[str, Api(put=True, parse=parse_domain, filter=False, sort=False)] = ""


class SubnetDns(Stored, frozen=True, kw_only=True):
    """Whether the subnet's addresses are told to a DNS service."""

    dns_publish_fixed_ip: Annotated[bool, Api(put=True, filter=False, sort=False)] = False


class PortDns(Stored, frozen=True, kw_only=True):
    """What the port is called, and in which domain, if not in its network's."""

    dns_name: Annotated[str, Api(put=True, parse=parse_name, filter=False, sort=False)] = ""
    dns_domain: Annotated[str, Api(put=True, parse=parse_domain, filter=False, sort=False)] = ""


NETWORK_DNS: Table[NetworkDns] = Table(
    "network_dns", NetworkDns, references=(Reference("network", NETWORK, own_id),)
)
SUBNET_DNS: Table[SubnetDns] = Table(
    "subnet_dns", SubnetDns, references=(Reference("subnet", SUBNET, own_id),)
)
PORT_DNS: Table[PortDns] = Table("port_dns", PortDns, references=(Reference("port", PORT, own_id),))
