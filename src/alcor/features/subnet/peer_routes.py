# SPDX-License-Identifier: Apache-2.0
"""Host routes between the subnets of a network whose segments something routes between.

Each subnet of a segment has a route, through its gateway, to those of other segments; what its routes cover already
gets no other one. Neutron keeps them so in `host_routes`, where users see them.
"""

from collections.abc import Sequence

import msgspec

from alcor.base.errors import Invalid
from alcor.base.net import Cidr, cidr_bounds, ip_version
from alcor.features.subnet.model import BY_NETWORK, SUBNET, HostRoute, Subnet
from alcor.resource.declare import Context, revised
from alcor.store.reader import Txn


def with_peers(txn: Txn, ctx: Context, old: Subnet | None, new: Subnet) -> Subnet:
    """The subnet as it is made or changed, with its routes to its peers. Raises Invalid where they are too many."""
    is_touched = old is None or (old.host_routes, old.gateway_ip) != (new.host_routes, new.gateway_ip)
    if not is_touched:
        return new
    if new.segment_id is not None:
        subnets = txn.find(SUBNET, BY_NETWORK, new.network_id)
        new = _routed(new, subnets, former=old.gateway_ip if old is not None else None)
    return _bounded(ctx, new)


def tell_peers(txn: Txn, ctx: Context, of: Subnet, gone: bool = False) -> None:
    """Gives the peers of a new subnet a route to it, or takes it from those of one that goes."""
    others = [each for each in txn.find(SUBNET, BY_NETWORK, of.network_id) if each.id != of.id]
    if of.segment_id is None:
        return
    for other in others:
        if gone:
            route = HostRoute(of.cidr, other.gateway_ip) if other.gateway_ip else None
            left = tuple(each for each in other.host_routes if each != route)
            changed = _routed(msgspec.structs.replace(other, host_routes=left), others)
        else:
            changed = _bounded(ctx, _routed(other, [*others, of]))
        if changed.host_routes != other.host_routes:
            txn.update(SUBNET, revised(ctx, changed))


def _routed(subnet: Subnet, subnets: Sequence[Subnet], former: str | None = None) -> Subnet:
    """The subnet with routes to its peers among these; those through its former gateway lead through its own."""
    peers = [
        each.cidr
        for each in subnets
        if each.id != subnet.id
        and each.segment_id != subnet.segment_id
        and each.ip_version == subnet.ip_version
    ]
    gateway = subnet.gateway_ip
    kept = [
        route
        for route in subnet.host_routes
        if former in (None, gateway) or route.nexthop != former or route.destination not in peers
    ]
    missing = [peer for peer in peers if not any(_covers(route.destination, peer) for route in kept)]
    routes = [*kept, *(HostRoute(peer, gateway) for peer in missing if gateway is not None)]
    return msgspec.structs.replace(subnet, host_routes=tuple(routes))


def _covers(wide: Cidr, narrow: Cidr) -> bool:
    first, last = cidr_bounds(wide)
    lower, upper = cidr_bounds(narrow)
    return ip_version(wide) == ip_version(narrow) and first <= lower and upper <= last


def _bounded(ctx: Context, subnet: Subnet) -> Subnet:
    most = ctx.settings.host_routes_max
    if len(subnet.host_routes) > most:
        raise Invalid(
            f"Unable to complete operation for {subnet.id}. The number of host routes exceeds the limit {most}.",
            type="HostRoutesExhausted",
        )
    return subnet
