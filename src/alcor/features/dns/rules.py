# SPDX-License-Identifier: Apache-2.0
"""Which name each address of a port has, and which whole names ports may have."""

from collections.abc import Mapping
from functools import partial

from alcor.base.config import Settings
from alcor.base.errors import Invalid
from alcor.features.dns.model import LENGTH_MAX, NETWORK_DNS, PORT_DNS, SUBNET_DNS, PortDns
from alcor.features.port.model import Port
from alcor.resource.declare import Computed, Context, Extends, Extension, RestFeature, Written
from alcor.store.reader import Reader, Txn

UNCHOSEN = "openstacklocal."  # Neutron's default: who has not chosen another domain holds nobody to it
_UNNAMED = PortDns(id="")


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


def assignment(default: str, reader: Reader, port: Port) -> list[dict[str, str]]:
    """For each address of the port its name, short and whole; made from the address where the port has none."""
    if not port.fixed_ips:
        return []
    own = reader.peek(PORT_DNS, port.id) or _UNNAMED
    domain = default
    if own.dns_name:
        of_network = reader.peek(NETWORK_DNS, port.network_id)
        domain = own.dns_domain or (of_network.dns_domain if of_network else "") or default
    assigned = []
    for fixed in port.fixed_ips:
        name = own.dns_name or "host-" + fixed.ip_address.replace(".", "-").replace(":", "-")
        fqdn = name if name.endswith(".") or not domain else f"{name}.{domain}"
        assigned.append({"ip_address": fixed.ip_address, "hostname": name, "fqdn": fqdn})
    return assigned


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
