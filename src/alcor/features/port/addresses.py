# SPDX-License-Identifier: Apache-2.0
"""Which addresses a port gets: what was asked for if it is free, else one of each IP version in the network."""

from collections.abc import Iterable, Sequence

from alcor.base.errors import Conflict, Invalid
from alcor.base.net import Ip, Mac, cidr_bounds, eui64, ip_in, ip_int, ip_of
from alcor.features.network.model import NETWORK
from alcor.features.network.rules import segment_on
from alcor.features.port.model import ADDRESSES, BY_IPV6, BY_MAC, PORT, FixedIp, Port, address_taken
from alcor.features.subnet.model import BY_NETWORK, SUBNET, Subnet
from alcor.resource.declare import Context
from alcor.store.reader import Txn

RANDOM_TRIES_MAX = 8  # a second try at random in a large IPv6 pool is already improbable
# Of ports that have the addresses that they are given, and no other.
ROUTER_OWNERS = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
    "network:router_centralized_snat",
)
DHCP_OWNER = "network:dhcp"  # of ports that serve every subnet
SCAN_MAX = 65_536  # addresses of a small IPv6 pool looked at one by one


def allocate_addresses(
    txn: Txn, ctx: Context, port: Port, wanted: Sequence[FixedIp] | None
) -> tuple[FixedIp, ...]:
    """The port's fixed IPs for what was asked (None: nothing was said). An address asked for is given or
    refused, never another.

    Raises Invalid for an address or subnet that is not the network's, Conflict for one taken or a pool used up.
    """
    subnets = txn.find(SUBNET, BY_NETWORK, port.network_id)
    if any(subnet.segment_id for subnet in subnets):
        if not port.host and wanted is None:
            subnets = [subnet for subnet in _serving(subnets, port) if not subnet.segment_id]
            if not subnets:
                return ()
        else:
            subnets = _within_segment(txn, port, subnets, wanted)
    if wanted is None:
        return _one_of_each_version(txn, ctx, port, _serving(subnets, port))
    own = txn.peek(PORT, port.id)
    had = own.fixed_ips if own is not None else ()
    if any(fixed not in had for fixed in wanted):
        kept = {fixed.subnet_id for fixed in had}
        others = [subnet for subnet in subnets if subnet.id not in kept]
        served = _serving(others, port) if others else ()
        subnets = [*(subnet for subnet in subnets if subnet.id in kept), *served]
    chosen = [_as_asked(txn, port, subnets, fixed) for fixed in wanted if fixed.ip_address]
    for fixed in wanted:
        if not fixed.ip_address:
            subnet = _subnet_named(txn, port, subnets, fixed.subnet_id)
            is_auto = subnet.is_auto_address
            chosen.append(_automatic(txn, port, subnet) if is_auto else _from_pools(txn, ctx, subnet, chosen))
    given = {fixed.subnet_id for fixed in chosen}
    automatic = [subnet for subnet in subnets if subnet.id not in given and _is_implied(port, subnet)]
    chosen += [_automatic(txn, port, subnet) for subnet in automatic]
    return tuple(chosen)


def _is_implied(port: Port, subnet: Subnet) -> bool:
    """Whether the port has an address of the subnet without asking."""
    is_meant = not subnet.service_types or port.device_owner in subnet.service_types
    return subnet.is_auto_address and is_meant and port.device_owner not in ROUTER_OWNERS


def without_automatic(txn: Txn, port: Port, fixed_ips: Iterable[FixedIp]) -> list[FixedIp]:
    """The fixed IPs but for those that the port has for its MAC."""
    automatic = {
        FixedIp(subnet.id, eui64(subnet.cidr, port.mac_address))
        for subnet in txn.find(SUBNET, BY_NETWORK, port.network_id)
        if subnet.is_auto_address
    }
    addresses = {fixed.ip_address for fixed in automatic}
    return [fixed for fixed in fixed_ips if fixed.ip_address not in addresses]


def joined(txn: Txn, port: Port, subnet: Subnet) -> tuple[FixedIp, ...]:
    """The addresses of a port once its network has a subnet that gives every port one that it is of use to."""
    if not _is_implied(port, subnet):
        return port.fixed_ips
    if subnet.segment_id and subnet.segment_id not in _segments_of(txn, port):
        return port.fixed_ips
    return (*port.fixed_ips, _automatic(txn, port, subnet))


def _segments_of(txn: Txn, port: Port) -> set[str | None]:
    if not port.host:
        return {txn.get(SUBNET, fixed.subnet_id).segment_id for fixed in port.fixed_ips}
    segment = segment_on(txn, txn.get(NETWORK, port.network_id), port.host)
    return {segment.id} if segment is not None else set()


def is_routed(txn: Txn, network_id: str) -> bool:
    """Whether addresses of the network are of use only on a segment of it."""
    return any(subnet.segment_id for subnet in txn.find(SUBNET, BY_NETWORK, network_id))


def _within_segment(
    txn: Txn, port: Port, subnets: Sequence[Subnet], wanted: Sequence[FixedIp] | None
) -> Sequence[Subnet]:
    """Those of a routed network that serve the port: of the segment of its host, or of the one that it asks for, and
    those of none.
    """
    if port.host:
        network = txn.get(NETWORK, port.network_id)
        segment = segment_on(txn, network, port.host)
        reached = (None, segment.id if segment is not None else None)
        served = [subnet for subnet in subnets if subnet.segment_id in reached]
        if not any(
            not subnet.service_types or port.device_owner in subnet.service_types for subnet in served
        ):
            raise Conflict(
                f"Host {port.host} is not connected to any segments on routed provider network '{network.id}'. "
                " It should be connected to one.",
                type="HostNotConnectedToAnySegment",
            )
        return served
    asked = [
        next(
            (one for one in subnets if one.id == fixed.subnet_id or _holds(one, fixed)),
            None,
        )
        for fixed in wanted or ()
    ]
    segments = {subnet.segment_id for subnet in asked if subnet is not None}
    if len(segments) > 1:
        raise Invalid(
            "Cannot allocate addresses from different segments.", type="FixedIpsSubnetsNotOnSameSegment"
        )
    return [subnet for subnet in subnets if not segments or subnet.segment_id in segments]


def _holds(subnet: Subnet, fixed: FixedIp) -> bool:
    return bool(fixed.ip_address and not fixed.subnet_id and ip_in(fixed.ip_address, subnet.cidr))


def _serving(subnets: Sequence[Subnet], port: Port) -> Sequence[Subnet]:
    """Those that give addresses to such a port, those meant for it first. Raises Conflict if there are none."""
    owner = port.device_owner
    if owner == DHCP_OWNER or not any(subnet.service_types for subnet in subnets):
        return subnets
    meant = [subnet for subnet in subnets if owner in subnet.service_types]
    for_all = [subnet for subnet in subnets if not subnet.service_types]
    if not meant and not for_all:
        raise Conflict(
            f"No valid service subnet for the given device owner, network {port.network_id}, service type {owner}.",
            type="IpAddressGenerationFailureNoMatchingSubnet",
        )
    return [*meant, *for_all]


def _one_of_each_version(
    txn: Txn, ctx: Context, port: Port, subnets: Sequence[Subnet]
) -> tuple[FixedIp, ...]:
    chosen: list[FixedIp] = []
    waiting: dict[int, bool] = {}  # by IP version: whether its address is still to be found
    for subnet in sorted(subnets, key=_rank) if len(subnets) > 1 else subnets:
        if subnet.is_auto_address:
            chosen += [_automatic(txn, port, subnet)] if _is_implied(port, subnet) else []
        elif waiting.get(subnet.ip_version, True):
            address = _free_address(txn, ctx, subnet, chosen)
            waiting[subnet.ip_version] = address is None
            if address is not None:
                chosen.append(FixedIp(subnet.id, address))
    if True in waiting.values():
        raise Conflict(
            f"No more IP addresses available on network {port.network_id}.", type="IpAddressGenerationFailure"
        )
    return tuple(chosen)


def _rank(subnet: Subnet) -> int:
    return 0 if subnet.is_auto_address else subnet.ip_version


def _subnet_named(txn: Txn, port: Port, subnets: Sequence[Subnet], id: str) -> Subnet:
    for subnet in subnets:
        if subnet.id == id:
            return subnet
    txn.get(SUBNET, id)
    raise Invalid(
        f"Invalid input for operation: Failed to create port on network {port.network_id}, because fixed_ips included"
        f" invalid subnet {id}.",
        type="InvalidInput",
    )


def _as_asked(txn: Txn, port: Port, subnets: Sequence[Subnet], fixed: FixedIp) -> FixedIp:
    ip = fixed.ip_address
    if fixed.subnet_id:
        subnet = _subnet_named(txn, port, subnets, fixed.subnet_id)
        if not _may_be(ip, subnet):
            raise Invalid(
                f"IP address {ip} is not a valid IP for the specified subnet.", type="InvalidIpForSubnet"
            )
    else:
        fitting = [subnet for subnet in subnets if _may_be(ip, subnet)]
        if not fitting:
            raise Invalid(
                f"IP address {ip} is not a valid IP for any of the subnets on the specified network.",
                type="InvalidIpForNetwork",
            )
        subnet = fitting[0]
    asked = FixedIp(subnet.id, ip)
    own = txn.peek(PORT, port.id)
    if own is not None and asked in own.fixed_ips:
        return asked
    is_free = not subnet.is_auto_address or port.device_owner in ROUTER_OWNERS
    if not is_free and ip != eui64(subnet.cidr, port.mac_address):
        raise Invalid(
            f"IPv6 address {ip} cannot be directly assigned to a port on subnet {subnet.id} as the subnet is configured"
            " for automatic addresses",
            type="AllocationOnAutoAddressSubnet",
        )
    _refuse_taken(txn, port, subnet, ip)
    return asked


def _may_be(ip: Ip, subnet: Subnet) -> bool:
    """Whether a host of the subnet may have the address."""
    first, last = cidr_bounds(subnet.cidr)
    is_end = ip_int(ip) == first or (subnet.ip_version == 4 and ip_int(ip) == last)
    return ip_in(ip, subnet.cidr) and not (is_end and last - first >= 2)


def _refuse_taken(txn: Txn, port: Port, subnet: Subnet, ip: Ip) -> None:
    own = txn.peek(PORT, port.id)
    if own is not None and FixedIp(subnet.id, ip) in own.fixed_ips:
        return
    if _is_taken(txn, subnet, ip):
        raise address_taken(subnet.id, ip)


def _is_taken(txn: Txn, subnet: Subnet, ip: Ip) -> bool:
    if subnet.ip_version == 4:
        return txn.is_held(ADDRESSES, subnet.id, ip_int(ip))
    return txn.count(PORT, BY_IPV6, (subnet.id, ip)) > 0


def _from_pools(txn: Txn, ctx: Context, subnet: Subnet, chosen: Sequence[FixedIp]) -> FixedIp:
    address = _free_address(txn, ctx, subnet, chosen)
    if address is None:
        raise Conflict(
            f"No more IP addresses available on network {subnet.network_id}: subnet {subnet.id} has none.",
            type="IpAddressGenerationFailure",
        )
    return FixedIp(subnet.id, address)


def _automatic(txn: Txn, port: Port, subnet: Subnet) -> FixedIp:
    ip = eui64(subnet.cidr, port.mac_address)
    _refuse_taken(txn, port, subnet, ip)
    return FixedIp(subnet.id, ip)


def _free_address(txn: Txn, ctx: Context, subnet: Subnet, chosen: Sequence[FixedIp]) -> Ip | None:
    mine = {ip_int(fixed.ip_address) for fixed in chosen if fixed.subnet_id == subnet.id} if chosen else set()
    if subnet.ip_version == 4:
        ranges = _without(subnet.ranges, mine) if mine else subnet.ranges
        number = txn.allocate(ADDRESSES, subnet.id, ranges)
        return None if number is None else ip_of(number, 4)
    return _free_v6(txn, ctx, subnet, mine)


def _without(ranges: Sequence[tuple[int, int]], taken: set[int]) -> Sequence[tuple[int, int]]:
    for number in sorted(taken):
        split: list[tuple[int, int]] = []
        for first, last in ranges:
            inside = first <= number <= last
            split += [(first, number - 1), (number + 1, last)] if inside else [(first, last)]
        ranges = [(first, last) for first, last in split if first <= last]
    return ranges


def _free_v6(txn: Txn, ctx: Context, subnet: Subnet, mine: set[int]) -> Ip | None:
    """A free address at random; in a pool too small for chance, the first free one."""

    def is_free(number: int) -> bool:
        return number not in mine and not _is_taken(txn, subnet, ip_of(number, 6))

    total = sum(last - first + 1 for first, last in subnet.ranges)
    for _ in range(RANDOM_TRIES_MAX):
        place = ctx.random_bits(128) % total
        for first, last in subnet.ranges:
            if place <= last - first:
                if is_free(first + place):
                    return ip_of(first + place, 6)
                break
            place -= last - first + 1
    for first, last in subnet.ranges:
        for number in range(first, min(last, first + SCAN_MAX) + 1):
            if is_free(number):
                return ip_of(number, 6)
    return None


def is_mac_free(txn: Txn, network_id: str, mac: Mac, but: str = "") -> bool:
    """Whether no other port of the network than `but` has this MAC."""
    return not txn.count(PORT, BY_MAC, mac) or all(
        other.id == but or other.network_id != network_id for other in txn.find(PORT, BY_MAC, mac)
    )


def free_mac(txn: Txn, ctx: Context, network_id: str) -> Mac:
    """A MAC under the setting `base_mac` that no port of the network has. Raises Conflict when chance finds none."""
    base = ctx.settings.base_mac
    fixed, free = (base[:8], 3) if base[9:11] == "00" else (base[:11], 2)  # as Neutron: 00 is no fourth byte
    for _ in range(RANDOM_TRIES_MAX * 4):
        mac = Mac(f"{fixed}:{ctx.random_bits(8 * free).to_bytes(free, 'big').hex(':')}")
        if is_mac_free(txn, network_id, mac):
            return mac
    raise Conflict(
        f"Unable to generate unique mac on network {network_id}: nearly all under base_mac {base} are in use.",
        type="MacAddressGenerationFailure",
    )
