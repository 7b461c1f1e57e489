# SPDX-License-Identifier: Apache-2.0
"""How many addresses the subnets of a network have, and how many of them ports hold. Counted, not looked through."""

from collections.abc import Iterator, Mapping, Sequence

from alcor.base.errors import NotFound
from alcor.base.net import cidr_bounds
from alcor.features.network.model import NETWORK, Network
from alcor.features.port.model import BY_SUBNET, PORT, SEVERAL_IN_SUBNET
from alcor.features.subnet.model import BY_NETWORK, SUBNET, Subnet
from alcor.resource.declare import Call, Context, Extension, RestFeature
from alcor.store.reader import Reader, Txn

Query = Mapping[str, Sequence[str]]
Shown = dict[str, object]
_RULE = "get_network_ip_availability"

_FILTERS = ("network_id", "network_name", "project_id", "tenant_id")


def on_list(txn: Txn, ctx: Context, names: tuple[str, ...], query: Query) -> dict[str, list[Shown]]:
    """The networks that the filters leave, each with its subnets of the `ip_version` asked for."""
    ctx.require(_RULE, "")
    versions = query.get("ip_version", ())
    found = [
        _shown(txn, network, [subnet for subnet in _subnets(txn, network) if _is_of(subnet, versions)])
        for network in _networks(txn, query)
    ]
    if versions:
        found = [each for each in found if each["subnet_ip_availability"]]
    found = [each for each in found if all(each[name] in query[name] for name in _FILTERS if name in query)]
    return {"network_ip_availabilities": [_only(each, query) for each in found]}


def on_show(txn: Txn, ctx: Context, names: tuple[str, ...], query: Query) -> dict[str, Shown]:
    """One network. Raises NotFound."""
    ctx.require(_RULE, "")
    network = txn.peek(NETWORK, names[0])
    if network is None:
        raise NotFound(f"Network {names[0]} could not be found.", type="NetworkNotFound")
    return {"network_ip_availability": _only(_shown(txn, network, _subnets(txn, network)), query)}


def _networks(reader: Reader, query: Query) -> Iterator[Network]:
    if "network_id" not in query:
        yield from reader.scan(NETWORK)
        return
    for network_id in query["network_id"]:
        network = reader.peek(NETWORK, network_id)
        if network is not None:
            yield network


def _subnets(reader: Reader, network: Network) -> Sequence[Subnet]:
    return reader.find(SUBNET, BY_NETWORK, network.id)


def _is_of(subnet: Subnet, versions: Sequence[str]) -> bool:
    return not versions or str(subnet.ip_version) in versions


def _only(shown: Shown, query: Query) -> Shown:
    fields = query.get("fields", ())
    return {name: value for name, value in shown.items() if not fields or name in fields}


def _shown(reader: Reader, network: Network, subnets: Sequence[Subnet]) -> Shown:
    counted = [(subnet, _used(reader, subnet), _total(subnet)) for subnet in subnets]
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
            }
            for subnet, used, total in counted
        ],
    }


def _total(subnet: Subnet) -> int:
    ranges = subnet.ranges or (cidr_bounds(subnet.cidr),)
    return sum(last - first + 1 for first, last in ranges)


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
    ),
)
