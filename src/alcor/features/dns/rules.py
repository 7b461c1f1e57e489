# SPDX-License-Identifier: Apache-2.0
"""Which name each address of a port has, and which whole names ports may have."""

from collections.abc import Mapping
from functools import partial

import msgspec

from alcor.base.config import Settings
from alcor.base.errors import Invalid
from alcor.base.net import Ip
from alcor.features.dns.model import LENGTH_MAX, NETWORK_DNS, PORT_DNS, SUBNET_DNS, PortDns
from alcor.features.port.model import Port
from alcor.resource.declare import Computed, Context, Extends, Extension, RestFeature, Written
from alcor.store.reader import Reader, Txn

UNCHOSEN = "openstacklocal."  # Neutron's default: who has not chosen another domain holds nobody to it


def domain_of(settings: Settings) -> str:
    """The domain of the settings, whose end is a dot; empty: none."""
    domain = settings.dns_domain.lower()
    return domain and domain.removesuffix(".") + "."


def on_write(txn: Txn, ctx: Context, written: Written[Port, PortDns]) -> PortDns:
    """The port's name. Raises Invalid for one that does not fit into the domain of the settings."""
    name, domain = written.new.dns_name, domain_of(ctx.settings)
    if "dns_name" not in ctx.given or not name or domain in ("", UNCHOSEN):
        return written.new
    if name.endswith(".") and not name.endswith(f".{domain}"):
        raise _unfit(f"'{name}' is a FQDN, and not one in the domain '{domain}' (setting dns_domain)")
    if not name.endswith(".") and len(name) + 1 + len(domain) > LENGTH_MAX:
        raise _unfit(f"'{name}' in the domain '{domain}' exceeds the {LENGTH_MAX} character FQDN limit")
    return written.new


def _unfit(reason: str) -> Invalid:
    return Invalid(f"Invalid input for dns_name. Reason: {reason}.")


class Assigned(msgspec.Struct, frozen=True, gc=False):
    """What an address is called."""

    ip_address: Ip
    hostname: str
    fqdn: str


def assignment(default: str, reader: Reader, port: Port) -> list[Assigned]:
    """For each address of the port its name, short and whole; made from the address where the port has none."""
    own = reader.peek(PORT_DNS, port.id)
    if own is None or not own.dns_name:
        end = default and f".{default}"
        hosts = [(each.ip_address, _host(each.ip_address)) for each in port.fixed_ips]
        return [Assigned(address, host, host + end) for address, host in hosts]
    name = fqdn = own.dns_name
    if not name.endswith("."):
        of_network = reader.peek(NETWORK_DNS, port.network_id)
        domain = own.dns_domain or (of_network.dns_domain if of_network else "") or default
        fqdn = f"{name}.{domain}" if domain else name
    return [Assigned(each.ip_address, name, fqdn) for each in port.fixed_ips]


def _host(address: Ip) -> str:
    return "host-" + address.replace(".", "-").replace(":", "-")


_ASSIGNMENT: Mapping[str, object] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("ip_address", "hostname", "fqdn")},
    },
}


def _of_ports(settings: Settings) -> tuple[Extends, ...]:
    assigned = partial(assignment, domain_of(settings))
    computed = (Computed("dns_assignment", assigned, _ASSIGNMENT, filter=False),)
    return (Extends("port", table=PORT_DNS, on_write=on_write, computed=computed),)


REST = RestFeature(
    name="dns",
    extends=(Extends("network", table=NETWORK_DNS), Extends("subnet", table=SUBNET_DNS)),
    extends_by=_of_ports,
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
