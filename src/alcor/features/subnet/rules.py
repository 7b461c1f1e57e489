# SPDX-License-Identifier: Apache-2.0
"""What may be done with subnets."""

import itertools
from collections.abc import Callable

import msgspec

from alcor.base.errors import Conflict, Invalid
from alcor.base.net import (
    Cidr,
    Ip,
    cidr_bounds,
    ip_in,
    ip_int,
    ip_of,
    ip_version,
    is_loopback,
    is_multicast,
    prefix_length,
)
from alcor.features.network.model import NETWORK, SEGMENT, SEGMENTS_OF_NETWORK, Network
from alcor.features.subnet.model import (
    BY_NETWORK,
    BY_POOL,
    BY_PROJECT,
    NAMESERVERS_MAX,
    SUBNET,
    Range,
    Subnet,
    check_mtu,
)
from alcor.features.subnet.peer_routes import tell_peers, with_peers
from alcor.features.subnet.pool_rules import POOLS, placed, scope_of
from alcor.resource.declare import (
    Computed,
    Context,
    Extends,
    Extension,
    Resource,
    RestFeature,
    SeenWith,
    revised,
)
from alcor.store.reader import Reader, Txn


def on_create(txn: Txn, ctx: Context, new: Subnet) -> Subnet:
    """The subnet with gateway and allocation pools. Raises Invalid or Conflict for ranges that do not fit."""
    network = ctx.visible(txn, NETWORK, new.network_id)
    new = placed(txn, ctx, network, new)
    _check_version(new)
    check_mtu(network, new.ip_version)
    _check_segment(txn, new, None)
    _check_modes(new)
    _check_dhcp(new)
    _check_overlap(txn, new)

    if "gateway_ip" not in ctx.given:
        new = msgspec.structs.replace(new, gateway_ip=_default_gateway(new))
    if not new.allocation_pools:
        new = msgspec.structs.replace(new, allocation_pools=_default_pools(new.cidr, new.gateway_ip))
    _check_addresses(new, "new subnet")
    _check_pools(new)
    _revise(txn, ctx, network)
    return with_peers(txn, ctx, None, new)


def on_update(txn: Txn, ctx: Context, old: Subnet, new: Subnet) -> Subnet:
    """The changed subnet, checked as a new one is."""
    if new.segment_id != old.segment_id:
        _check_segment(txn, new, old)
    _check_dhcp(new)
    _check_addresses(new, new.id)
    _check_pools(new)
    new = with_peers(txn, ctx, old, new)
    if new != revised(ctx, old):
        _revise(txn, ctx, txn.get(NETWORK, new.network_id))
    return new


def on_delete(txn: Txn, ctx: Context, old: Subnet) -> None:
    """Counts as a change of its network. Ports that hold an address of the subnet refuse through their reference."""
    _revise(txn, ctx, txn.get(NETWORK, old.network_id))
    tell_peers(txn, ctx, old, gone=True)


def _check_segment(txn: Txn, new: Subnet, old: Subnet | None) -> None:
    """Raises Invalid unless all of a network's subnets belong to segments of it, or none does; those whose addresses
    are routed count for nothing.
    """
    network_id, segment_id = new.network_id, new.segment_id
    segment = txn.get(SEGMENT, segment_id) if segment_id else None
    others = [
        other
        for other in txn.find(SUBNET, BY_NETWORK, network_id)
        if other.id != new.id and not other.is_for_routes
    ]
    if (old is not None and others) or (
        not new.is_for_routes and any((other.segment_id is None) != (segment is None) for other in others)
    ):
        raise Invalid(
            f"All of the subnets on network '{network_id}' must either all be associated with segments or all not"
            " associated with any segment.",
            type="SubnetsNotAllAssociatedWithSegments",
        )
    if old is not None and old.segment_id is not None:
        raise Invalid(
            "A subnet that is already associated with a segment cannot have its segment association changed.",
            type="SubnetSegmentAssociationChangeNotAllowed",
        )
    if old is not None and txn.count(SEGMENT, SEGMENTS_OF_NETWORK, network_id) > 1:
        raise Invalid(
            f"The network '{network_id}' has multiple segments, it is only possible to associate an existing subnet"
            " with a segment on networks with a single segment.",
            type="NoUpdateSubnetWhenMultipleSegmentsOnNetwork",
        )
    if segment is not None and segment.network_id != network_id:
        raise Invalid(
            f"The subnet's network id, '{network_id}', doesn't match the network_id of segment '{segment.id}'",
            type="NetworkIdsDontMatch",
        )


def _revise(txn: Txn, ctx: Context, network: Network) -> None:
    """A change of a subnet is one of its network, as in Neutron."""
    txn.update(
        NETWORK,
        msgspec.structs.replace(network, revision_number=network.revision_number + 1, updated_at=ctx.now),
    )


def _check_version(subnet: Subnet) -> None:
    if ip_version(subnet.cidr) != subnet.ip_version:
        raise _other_version("cidr", subnet.cidr, subnet)
    width = prefix_length(subnet.cidr)
    if width == 0:
        raise Invalid(
            f"Invalid input for operation: 0 is not allowed as CIDR prefix length in '{subnet.cidr}'.",
            type="InvalidInput",
        )


def _check_modes(subnet: Subnet) -> None:
    ra_mode, address_mode = subnet.ipv6_ra_mode, subnet.ipv6_address_mode
    if subnet.ip_version == 4 and (ra_mode or address_mode):
        raise Invalid(
            "Invalid input for operation: ipv6_ra_mode and ipv6_address_mode are not valid when ip_version is 4.",
            type="InvalidInput",
        )
    if ra_mode and address_mode and ra_mode != address_mode:
        raise Invalid(
            f"Invalid input for operation: ipv6_ra_mode set to '{ra_mode}' with ipv6_address_mode set to"
            f" '{address_mode}' is not valid. If both attributes are set, they must be the same value.",
            type="InvalidInput",
        )
    if (ra_mode or address_mode) and not subnet.enable_dhcp:
        raise Invalid(
            "Invalid input for operation: ipv6_ra_mode or ipv6_address_mode cannot be set"
            " when enable_dhcp is set to False.",
            type="InvalidInput",
        )
    if subnet.is_auto_address and prefix_length(subnet.cidr) != 64:
        raise Invalid(
            f"Invalid CIDR {subnet.cidr} for IPv6 address mode. OpenStack uses the EUI-64 address format, which"
            " requires the prefix to be /64.",
            type="InvalidInput",
        )


def _check_dhcp(subnet: Subnet) -> None:
    """Neutron's bounds on ranges that DHCP serves."""
    if not subnet.enable_dhcp:
        return
    first, last = cidr_bounds(subnet.cidr)
    if last - first < 3:
        reason = "Subnet has a prefix length that is incompatible with DHCP service enabled"
    elif is_multicast(subnet.cidr):
        reason = "Multicast IP subnet is not supported if enable_dhcp is True"
    elif is_loopback(subnet.cidr):
        reason = "Loopback IP subnet is not supported if enable_dhcp is True"
    elif first == 0:
        reason = (
            f"First IP '{ip_of(0, subnet.ip_version)}' of network is not supported if enable_dhcp is True."
        )
    else:
        return
    raise Invalid(f"Invalid input for operation: {reason}.", type="InvalidInput")


def _check_overlap(txn: Txn, new: Subnet) -> None:
    first, last = cidr_bounds(new.cidr)
    for other in txn.find(SUBNET, BY_NETWORK, new.network_id):
        if other.ip_version != new.ip_version:
            continue
        other_first, other_last = cidr_bounds(other.cidr)
        if first <= other_last and other_first <= last:
            raise Invalid(
                f"Invalid input for operation: Requested subnet with cidr: {new.cidr} for network: {new.network_id}"
                f" overlaps with another subnet (ID: {other.id}, CIDR: {other.cidr}).",
                type="InvalidInput",
            )


def _usable(cidr: Cidr) -> tuple[int, int]:
    """The first and last address that a host may have.

    Without IPv4's network and broadcast addresses (RFC 3021 spares /31 and /32), and without IPv6's subnet-router
    anycast address (RFC 4291, 2.6.1; RFC 6164 spares /127 and /128).
    """
    first, last = cidr_bounds(cidr)
    if last - first < 2:
        return first, last
    return (first + 1, last - 1) if ip_version(cidr) == 4 else (first + 1, last)


def _default_gateway(subnet: Subnet) -> Ip:
    """As in Neutron: of IPv6 the subnet's own address, which every router answers to (RFC 4291, 2.6.1)."""
    first = _usable(subnet.cidr)[0] if subnet.ip_version == 4 else cidr_bounds(subnet.cidr)[0]
    return ip_of(first, subnet.ip_version)


def _default_pools(cidr: Cidr, gateway_ip: Ip | None) -> tuple[Range, ...]:
    first, last = _usable(cidr)
    version = ip_version(cidr)
    pieces = [(first, last)]
    if gateway_ip and first <= ip_int(gateway_ip) <= last:
        gateway = ip_int(gateway_ip)
        pieces = [(first, gateway - 1), (gateway + 1, last)]
    return tuple(Range(ip_of(start, version), ip_of(end, version)) for start, end in pieces if start <= end)


def _other_version(name: str, value: str, subnet: Subnet) -> Invalid:
    return Invalid(
        f"Invalid input for operation: {name} '{value}' does not match the ip_version '{subnet.ip_version}'.",
        type="InvalidInput",
    )


def _check_addresses(subnet: Subnet, called: str) -> None:
    """Raises Invalid for too many name servers, what is of the other IP version, and a gateway that no host may be."""
    if len(subnet.dns_nameservers) > NAMESERVERS_MAX:
        raise Invalid(
            f"Unable to complete operation for {called}. The number of DNS nameservers exceeds the limit"
            f" {NAMESERVERS_MAX}.",
            type="DNSNameServersExhausted",
        )
    gateway = subnet.gateway_ip
    named: list[tuple[str, Ip | Cidr]] = [("gateway_ip", gateway)] if gateway else []
    named += [("dns_nameserver", server) for server in subnet.dns_nameservers]
    for route in subnet.host_routes:
        named += [("destination", route.destination), ("nexthop", route.nexthop)]
    for name, value in named:
        if ip_version(value) != subnet.ip_version:
            raise _other_version(name, value, subnet)
    # As in Neutron: it may lie outside of the subnet, and of IPv6 it may be every router's anycast address.
    if gateway and subnet.ip_version == 4 and ip_in(gateway, subnet.cidr):
        first, last = _usable(subnet.cidr)
        if not first <= ip_int(gateway) <= last:
            raise Invalid(
                f"Invalid input for operation: Gateway IP {gateway} is not valid on the subnet {subnet.cidr}.",
                type="InvalidInput",
            )


def _gateway_in_pool(subnet: Subnet) -> Conflict:
    pool = next(pool for pool in subnet.allocation_pools if _in_pools(subnet.gateway_ip, (pool,)))
    return Conflict(
        f"Gateway ip {subnet.gateway_ip} conflicts with allocation pool {pool.start}-{pool.end}.",
        type="GatewayConflictWithAllocationPools",
    )


def _in_pools(ip: Ip | None, pools: tuple[Range, ...]) -> bool:
    return ip is not None and any(ip_int(pool.start) <= ip_int(ip) <= ip_int(pool.end) for pool in pools)


def _check_pools(subnet: Subnet) -> None:
    first, last = _usable(subnet.cidr)
    for pool in subnet.allocation_pools:
        if ip_version(pool.start) != ip_version(pool.end) or ip_int(pool.start) > ip_int(pool.end):
            raise Invalid(
                f"The allocation pool {pool.start}-{pool.end} is not valid.", type="InvalidAllocationPool"
            )
        if (
            ip_version(pool.start) != subnet.ip_version
            or ip_int(pool.start) < first
            or ip_int(pool.end) > last
        ):
            raise Invalid(
                f"The allocation pool {pool.start}-{pool.end} spans beyond the subnet cidr {subnet.cidr}.",
                type="OutOfBoundsAllocationPool",
            )
    ordered = sorted(subnet.allocation_pools, key=lambda pool: ip_int(pool.start))
    for lower, upper in itertools.pairwise(ordered):
        if ip_int(upper.start) <= ip_int(lower.end):
            raise Conflict(
                f"Found overlapping allocation pools: {lower.start}-{lower.end}, {upper.start}-{upper.end}"
                f" for subnet {subnet.cidr}.",
                type="OverlappingAllocationPools",
            )
    if _in_pools(subnet.gateway_ip, subnet.allocation_pools):
        raise _gateway_in_pool(subnet)


def _scope_of(version: int) -> Callable[[Reader, Network], str | None]:
    def scope(reader: Reader, network: Network) -> str | None:
        found = reader.find(SUBNET, BY_NETWORK, network.id)
        return scope_of(reader, [subnet for subnet in found if subnet.ip_version == version])

    return scope


def subnets_of(reader: Reader, network: Network) -> list[str]:
    """The ids of the network's subnets."""
    return [subnet.id for subnet in reader.find(SUBNET, BY_NETWORK, network.id)]


REST = RestFeature(
    name="subnet",
    resources=(
        POOLS,
        Resource(
            name="subnet",
            plural="subnets",
            path="subnets",
            table=SUBNET,
            aliases=("subnet-service-types", "subnet-external-network"),
            is_taggable=True,
            on_create=on_create,
            after_create=tell_peers,
            on_update=on_update,
            on_delete=on_delete,
            computed=(
                Computed(
                    "shared",
                    lambda reader, subnet: reader.get(NETWORK, subnet.network_id).shared,
                    {"type": "boolean"},
                    visible=False,
                ),
                Computed(
                    "router:external",
                    lambda reader, subnet: reader.get(NETWORK, subnet.network_id).external,
                    {"type": "boolean"},
                ),
            ),
            by_field={"network_id": BY_NETWORK, "subnetpool_id": BY_POOL, "project_id": BY_PROJECT},
            seen_with=SeenWith("network", "network_id", BY_NETWORK),
            quota="subnet",
            doc="A range of addresses of a network.",
        ),
    ),
    extends=(
        Extends(
            "network",
            (
                Computed(
                    "subnets",
                    subnets_of,
                    {"type": "array", "items": {"type": "string", "format": "uuid"}},
                    filter=False,
                ),
                *(
                    Computed(
                        f"ipv{version}_address_scope",
                        _scope_of(version),
                        {"type": ["string", "null"]},
                        filter=False,
                    )
                    for version in (4, 6)
                ),
            ),
        ),
    ),
    extensions=(
        Extension(
            "subnet_allocation",
            "Subnet Allocation",
            "Enables allocation of subnets from a subnet pool",
            "2015-03-30T10:00:00-00:00",
        ),
        Extension(
            "default-subnetpools",
            "Default Subnetpools",
            "Provides ability to mark and use a subnetpool as the default.",
            "2016-02-18T18:00:00-00:00",
        ),
        Extension(
            "subnetpool-prefix-ops",
            "Subnet Pool Prefix Operations",
            "Provides support for adjusting the prefix list of subnet pools",
            "2019-02-08T10:00:00-00:00",
        ),
        Extension(
            "subnet_onboard",
            "Subnet Onboard",
            "Provides support for onboarding subnets into subnet pools",
            "2018-12-18T09:00:00-00:00",
        ),
        Extension(
            "subnet-external-network",
            "Subnet belongs to an external network",
            "Informs if the subnet belongs to an external network",
            "2024-02-05T18:00:00-00:00",
        ),
        Extension(
            "subnet-service-types",
            "Subnet service types",
            "Provides ability to set the subnet service_types field",
            "2016-03-15T18:00:00-00:00",
        ),
    ),
)
