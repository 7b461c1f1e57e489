# SPDX-License-Identifier: Apache-2.0
"""Which name each address of a port has."""

from collections.abc import Mapping

from alcor.features.dns.model import NETWORK_DNS, PORT_DNS, SUBNET_DNS, PortDns
from alcor.features.port.model import Port
from alcor.resource.declare import Computed, Extends, Extension, RestFeature
from alcor.store.reader import Reader

DOMAIN = "openstacklocal."  # of ports that nobody named, and of those with a name where no domain is said (Neutron's)
_UNNAMED = PortDns(id="")


def assignment(reader: Reader, port: Port) -> list[dict[str, str]]:
    """For each address of the port its name, short and whole; made from the address where the port has none."""
    if not port.fixed_ips:
        return []
    own = reader.peek(PORT_DNS, port.id) or _UNNAMED
    domain = DOMAIN
    if own.dns_name:
        of_network = reader.peek(NETWORK_DNS, port.network_id)
        domain = own.dns_domain or (of_network.dns_domain if of_network else "") or DOMAIN
    assigned = []
    for fixed in port.fixed_ips:
        name = own.dns_name or "host-" + fixed.ip_address.replace(".", "-").replace(":", "-")
        fqdn = name if name.endswith(".") else f"{name}.{domain}"
        assigned.append({"ip_address": fixed.ip_address, "hostname": name, "fqdn": fqdn})
    return assigned


_ASSIGNMENT: Mapping[str, object] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("ip_address", "hostname", "fqdn")},
    },
}

REST = RestFeature(
    name="dns",
    extends=(
        Extends("network", table=NETWORK_DNS),
        Extends("subnet", table=SUBNET_DNS),
        Extends(
            "port",
            table=PORT_DNS,
            computed=(Computed("dns_assignment", assignment, _ASSIGNMENT, filter=False),),
        ),
    ),
    extensions=(
        Extension(
            "dns-integration",
            "DNS Integration",
            "Provides integration with DNS.",
            "2015-08-15T18:00:00-00:00",
        ),
        Extension(
            "dns-domain-ports",
            "dns_domain for ports",
            "Allows the DNS domain to be specified for a network port.",
            "2017-04-24T10:00:00-00:00",
        ),
        Extension(
            "subnet-dns-publish-fixed-ip",
            "Subnet DNS publish fixed IP",
            "Support choosing to publish DNS records for IPs from a subnet",
            "2019-05-24T10:00:00-00:00",
        ),
    ),
)
