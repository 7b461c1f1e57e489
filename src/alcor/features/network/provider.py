# SPDX-License-Identifier: Apache-2.0
"""Which ways of carrying a network may be asked for, and what is given where less is asked for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from alcor.base.config import VLAN_MAX
from alcor.base.errors import Invalid, Unavailable
from alcor.features.network.model import (
    FLAT,
    LOCAL,
    RANGES_OF_OWNER,
    RANGES_OF_TYPE,
    SEGMENT_NUMBERS,
    SEGMENT_RANGE,
    TYPES_WITH_BRIDGE,
    VLAN,
    VNI_MAX,
    VXLAN,
    Network,
    Place,
    Provider,
    configured,
    pool_key,
)
from alcor.resource.declare import Context
from alcor.store.reader import Txn

VXLAN_OVERHEAD = 50  # bytes: outer Ethernet 14, IPv4 20, UDP 8, VXLAN 8 (RFC 7348)
TAG = 4  # bytes, of IEEE 802.1Q

Bounds = tuple[int, int]  # inclusive


def refused(reason: str) -> Invalid:
    """Neutron's refusal of a value that no validator of a single field refuses."""
    return Invalid(f"Invalid input for operation: {reason}.", type="InvalidInput")


def check(txn: Txn, ctx: Context, asked: Provider) -> None:
    """Raises Invalid for what no network may be carried by."""
    where, number = asked.physical_network, asked.segmentation_id
    match asked.network_type:
        case "vxlan":
            if where:
                raise refused("provider:physical_network specified for vxlan network")
            _within(number, VNI_MAX)
        case "vlan":
            if where and not _has_vlans(txn, ctx, where):
                raise refused(f"physical_network '{where}' unknown for VLAN provider network")
            if not where and number is not None:
                raise refused("segmentation_id requires physical_network for VLAN provider network")
            _within(number, VLAN_MAX)
        case "flat":
            _check_flat(ctx.settings.flat_networks, where)
            _prohibit(asked, "segmentation_id")
        case "local":
            _prohibit(asked, "physical_network")
            _prohibit(asked, "segmentation_id")
        case "":
            raise refused("network_type required")
        case unknown:
            raise refused(f"network_type value '{unknown}' not supported")


def reserve(txn: Txn, ctx: Context, project_id: str, asked: Sequence[Provider]) -> tuple[Provider, ...]:
    """What was asked for by a network of the project, with the numbers that were not. Raises Invalid, and Unavailable
    where none is left.

    With nothing asked for, one of the types that projects get.
    """
    if not asked:
        for network_type in ctx.settings.project_network_types:
            given = _completed(txn, _sources(txn, ctx, project_id, Provider(network_type)), ())
            if given is not None:
                return (given,)
        raise _none_left()

    for each in asked:
        check(txn, ctx, each)
    reserved: list[Provider] = []
    for each in asked:
        given = _completed(txn, _sources(txn, ctx, project_id, each), reserved)
        if given is None:
            raise _none_left()
        reserved.append(given)
    return tuple(reserved)


def mtu_max(ctx: Context, network: Network) -> int:
    """The longest IP packet, in bytes, that every way of the network carries whole, with a tag if there may be one."""
    physical: int = ctx.settings.global_physnet_mtu
    is_tunnelled = any(provider.network_type == VXLAN for provider in network.providers)
    return physical - (VXLAN_OVERHEAD if is_tunnelled else 0) - (TAG if network.vlan_transparent else 0)


def check_transparent(network: Network, providers: Iterable[Provider]) -> None:
    """Raises Invalid where a network of tags of its own would be carried in a way that has a use for tags."""
    kinds = sorted({each.network_type for each in providers} & set(TYPES_WITH_BRIDGE))
    if network.vlan_transparent and kinds:
        raise Invalid(
            f"Backend does not support VLAN Transparency. Network {network.id} cannot be {kinds[0]}: tags on a physical"
            " network are not its own.",
            type="VlanTransparencyDriverError",
        )


def _completed(
    txn: Txn, sources: Iterable[tuple[Provider, Sequence[Bounds]]], before: Sequence[Provider]
) -> Provider | None:
    for candidate, ranges in sources:
        if not ranges:
            return candidate
        key = pool_key(candidate)
        # What this request reserves is not written yet: the pool does not know of it.
        taken = [
            (each.segmentation_id, each.segmentation_id)
            for each in before
            if each.segmentation_id is not None and pool_key(each) == key
        ]
        number = txn.allocate(SEGMENT_NUMBERS, key, without(ranges, taken))
        if number is not None:
            return msgspec.structs.replace(candidate, segmentation_id=number)
    return None


def _sources(
    txn: Txn, ctx: Context, project_id: str, asked: Provider
) -> Iterator[tuple[Provider, Sequence[Bounds]]]:
    """What would do, and where its number may come from; from nowhere, if it needs none.

    In turn: ranges of the project, then everybody's without what is other projects'.
    """
    kind = asked.network_type
    if asked.segmentation_id is not None or kind in (FLAT, LOCAL):
        yield asked, ()
        return
    places = configured(ctx.settings, kind)
    others: Mapping[str, Sequence[Bounds]] = {}
    if txn.count(SEGMENT_RANGE, RANGES_OF_TYPE, kind):
        own = txn.find(SEGMENT_RANGE, RANGES_OF_OWNER, (kind, project_id)) if project_id else ()
        yield from _by_network(asked, [each.place for each in own], {})
        places += [each.place for each in txn.find(SEGMENT_RANGE, RANGES_OF_OWNER, (kind, ""))]
        found = txn.find(SEGMENT_RANGE, RANGES_OF_TYPE, kind)
        others = _bounds([each.place for each in found if each.project_id not in ("", project_id)])
    yield from _by_network(asked, places, others)


def _by_network(
    asked: Provider, places: Sequence[Place], holes: Mapping[str, Sequence[Bounds]]
) -> Iterator[tuple[Provider, Sequence[Bounds]]]:
    for name, ranges in _bounds(places).items():
        left = without(ranges, holes.get(name, ()))
        if left and (not asked.physical_network or asked.physical_network == name):
            yield msgspec.structs.replace(asked, physical_network=name or None), left


def _bounds(places: Iterable[Place]) -> dict[str, list[Bounds]]:
    by_network: dict[str, list[Bounds]] = {}
    for name, first, last in places:
        by_network.setdefault(name, []).append((first, last))
    return by_network


def _has_vlans(txn: Txn, ctx: Context, name: str) -> bool:
    """Whether the physical network carries VLANs: a setting or a range says so."""
    ranges = txn.find(SEGMENT_RANGE, RANGES_OF_TYPE, VLAN)
    return any(each[0] == name for each in ctx.settings.network_vlan_ranges) or any(
        each.physical_network == name for each in ranges
    )


def without(ranges: Iterable[Bounds], holes: Iterable[Bounds]) -> list[Bounds]:
    """What the holes leave of the ranges."""
    left = []
    ordered = sorted(holes)
    for first, last in ranges:
        for start, end in ordered:
            if end < first or last < start:
                continue
            if first < start:
                left.append((first, start - 1))
            first = end + 1
        if first <= last:
            left.append((first, last))
    return left


def _none_left() -> Unavailable:
    return Unavailable(
        "Unable to create the network. No project network is available for allocation.",
        type="NoNetworkAvailable",
    )


def _within(number: int | None, most: int) -> None:
    if number is not None and not 1 <= number <= most:
        raise refused(f"segmentation_id out of range (1 through {most})")


def _check_flat(flat_networks: Sequence[str], where: str | None) -> None:
    if not where:
        raise refused("physical_network required for flat provider network")
    if not flat_networks:
        raise refused("Flat provider networks are disabled")
    if "*" not in flat_networks and where not in flat_networks:
        raise refused(f"physical_network '{where}' unknown for flat provider network")


def _prohibit(asked: Provider, field: str) -> None:
    if getattr(asked, field):
        raise refused(f"{field} prohibited for {asked.network_type} provider network")
