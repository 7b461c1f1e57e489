# SPDX-License-Identifier: Apache-2.0
"""How many addresses the subnets of a network have, and how many of them ports hold. Counted, not looked through."""

from collections.abc import Mapping, Sequence

from alcor.base.errors import NotFound
from alcor.base.net import cidr_bounds, ip_int
from alcor.features.network.model import NETWORK, Network
from alcor.features.port.model import ADDRESSES, BY_SUBNET, PORT, SEVERAL_IN_SUBNET
from alcor.features.subnet.model import BY_NETWORK, SUBNET, Subnet
from alcor.resource.declare import Call, Context, Extension, Many, RestFeature
from alcor.resource.query import parse_call
from alcor.store.reader import Reader, Txn

Query = Mapping[str, Sequence[str]]
Shown = dict[str, object]
_RULE = "get_network_ip_availability"

_DETAILS = (
    "total_ips_in_subnet",
    "total_ips_in_allocation_pool",
    "used_ips_in_subnet",
    "used_ips_in_allocation_pool",
)
_OF_NETWORK = ("network_id", "network_name", "project_id", "tenant_id")
_FILTERS = (*_OF_NETWORK, "ip_version")


def on_list(txn: Txn, ctx: Context, names: tuple[str, ...], query: Query) -> Many:
    """The networks that the filters leave, each with its subnets of the `ip_version` asked for."""
    ctx.require(_RULE, "")
    ids = sorted(set(query.get("network_id") or (network.id for network in txn.scan(NETWORK))))
    return Many("network_ip_availabilities", "network_id", ids, lambda id: _entry(txn, id, query), _FILTERS)


def _entry(reader: Reader, id: str, query: Query) -> Shown | None:
    network = reader.peek(NETWORK, id)
    if network is None or not _is_wanted(network, query):
        return None
    versions = query.get("ip_version", ())
    subnets = [subnet for subnet in _subnets(reader, network) if _is_of(subnet, versions)]
    return None if versions and not subnets else _shown(reader, network, subnets)


def _is_wanted(network: Network, query: Query) -> bool:
    given = (network.id, network.name, network.project_id, network.project_id)
    return all(value in query[name] for name, value in zip(_OF_NETWORK, given, strict=True) if name in query)


def on_show(txn: Txn, ctx: Context, names: tuple[str, ...], query: Query) -> dict[str, Shown]:
    """One network. Raises NotFound."""
    ctx.require(_RULE, "")
    network = txn.peek(NETWORK, names[0])
    if network is None:
        raise NotFound(f"Network {names[0]} could not be found.", type="NetworkNotFound")
    fields = parse_call(query, -1, _FILTERS, "network_id").fields
    shown = _shown(txn, network, _subnets(txn, network))
    return {"network_ip_availability": {name: shown[name] for name in shown if not fields or name in fields}}


def _subnets(reader: Reader, network: Network) -> Sequence[Subnet]:
    return reader.find(SUBNET, BY_NETWORK, network.id)


def _is_of(subnet: Subnet, versions: Sequence[str]) -> bool:
    return not versions or str(subnet.ip_version) in versions


def _shown(reader: Reader, network: Network, subnets: Sequence[Subnet]) -> Shown:
    counted = [(subnet, _used(reader, subnet), _total(subnet)) for subnet in subnets]
    details = [_details(reader, subnet, used) for subnet, used, _ in counted]
    return {
        "network_id": network.id,
        "network_name": network.name,
        "project_id": network.project_id,
        "tenant_id": network.project_id,
        "total_ips": sum(total for _, _, total in counted),
        "used_ips": sum(used for _, used, _ in counted),
        "subnet_ip_availability": [
            {
                "subnet_id": subnet.id,
                "subnet_name": subnet.name,
                "ip_version": subnet.ip_version,
                "cidr": subnet.cidr,
                "total_ips": total,
                "used_ips": used,
                "ip_availability_details": own,
            }
            for (subnet, used, total), own in zip(counted, details, strict=True)
        ],
        "ip_availability_details": {name: sum(own[name] for own in details) for name in _DETAILS},
    }


def _total(subnet: Subnet) -> int:
    ranges = subnet.ranges or (cidr_bounds(subnet.cidr),)
    return sum(last - first + 1 for first, last in ranges)


def _details(reader: Reader, subnet: Subnet, used: int) -> dict[str, int]:
    first, last = cidr_bounds(subnet.cidr)
    in_subnet = last - first + 1 - (2 if subnet.ip_version == 4 else 0)
    in_pools = sum(end - start + 1 for start, end in subnet.ranges)
    values = (in_subnet, in_pools, used, used - _used_outside(reader, subnet, used))
    return dict(zip(_DETAILS, values, strict=True))


def _used_outside(reader: Reader, subnet: Subnet, used: int) -> int:
    """How many addresses outside of the pools are used: these or those in use are looked at, whichever are fewer."""
    first, last = cidr_bounds(subnet.cidr)
    gaps, start = [], first
    for lower, upper in sorted(subnet.ranges):
        gaps.append(range(start, lower))
        start = upper + 1
    gaps.append(range(start, last + 1))
    if subnet.ip_version == 4 and sum(map(len, gaps)) <= used:
        return sum(reader.is_held(ADDRESSES, subnet.id, number) for gap in gaps for number in gap)
    held = (
        ip_int(fixed.ip_address)
        for port in reader.find(PORT, BY_SUBNET, subnet.id)
        for fixed in port.fixed_ips or ()
        if fixed.subnet_id == subnet.id
    )
    return sum(any(number in gap for gap in gaps) for number in held)


def _used(reader: Reader, subnet: Subnet) -> int:
    """Every port of the subnet has one address there; those that have more are few, and looked at."""
    several = reader.find(PORT, SEVERAL_IN_SUBNET, subnet.id)
    more = sum(sum(fixed.subnet_id == subnet.id for fixed in port.fixed_ips) - 1 for port in several)
    return reader.count(PORT, BY_SUBNET, subnet.id) + more


REST = RestFeature(
    name="ip_availability",
    calls=(
        Call(
            "network-ip-availabilities",
            "GET",
            on_list,
            collection="network_ip_availabilities",
            rule=_RULE,
            doc="Addresses of networks, and how many are used.",
        ),
        Call("network-ip-availabilities/{network_id}", "GET", on_show, rule=_RULE, doc="Those of a network."),
    ),
    extensions=(
        Extension(
            "network-ip-availability",
            "Network IP Availability",
            "Provides IP availability data for each network and subnet.",
            "2015-09-24T00:00:00-00:00",
        ),
        Extension(
            "network-ip-availability-details",
            "Network IP Availability Details Extension",
            "Add ip_availability_details attribute to network-ip-availabilities resource.",
            "2025-10-31T00:00:00-00:00",
        ),
    ),
)
