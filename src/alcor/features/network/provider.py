# SPDX-License-Identifier: Apache-2.0
"""Which ways of carrying a network may be asked for, and what is given where less is asked for."""

from collections.abc import Iterable, Sequence

import msgspec

from alcor.base.config import VLAN_MAX
from alcor.base.errors import Invalid, Unavailable
from alcor.features.network.model import (
    FLAT,
    LOCAL,
    SEGMENT_NUMBERS,
    VLAN,
    VNI_MAX,
    VXLAN,
    Provider,
    pool_key,
)
from alcor.resource.declare import Context
from alcor.store.reader import Txn

VXLAN_OVERHEAD = 50  # bytes: outer Ethernet 14, IPv4 20, UDP 8, VXLAN 8 (RFC 7348)

Bounds = tuple[int, int]  # inclusive


def refused(reason: str) -> Invalid:
    """Neutron's refusal of a value that no validator of a single field refuses."""
    return Invalid(f"Invalid input for operation: {reason}.", type="InvalidInput")


def check(ctx: Context, asked: Provider) -> None:
    """Raises Invalid for what no network may be carried by."""
    where, number = asked.physical_network, asked.segmentation_id
    match asked.network_type:
        case "vxlan":
            if where:
                raise refused("provider:physical_network specified for vxlan network")
            _within(number, VNI_MAX)
        case "vlan":
            if where and where not in {name for name, _, _ in ctx.settings.network_vlan_ranges}:
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


def reserve(txn: Txn, ctx: Context, asked: Sequence[Provider]) -> tuple[Provider, ...]:
    """What was asked for, with the numbers that were not. Raises Invalid, and Unavailable where none is left.

    With nothing asked for, one of the types that projects get.
    """
    if not asked:
        for network_type in ctx.settings.project_network_types:
            given = _completed(txn, ctx, Provider(network_type), ())
            if given is not None:
                return (given,)
        raise _none_left()

    for each in asked:
        check(ctx, each)
    reserved: list[Provider] = []
    for each in asked:
        given = _completed(txn, ctx, each, reserved)
        if given is None:
            raise _none_left()
        reserved.append(given)
    return tuple(reserved)


def mtu_max(ctx: Context, providers: Iterable[Provider]) -> int:
    """The longest IP packet, in bytes, that every one of these ways carries whole."""
    physical: int = ctx.settings.global_physnet_mtu
    is_tunnelled = any(provider.network_type == VXLAN for provider in providers)
    return physical - VXLAN_OVERHEAD if is_tunnelled else physical


def _completed(txn: Txn, ctx: Context, asked: Provider, before: Sequence[Provider]) -> Provider | None:
    if asked.segmentation_id is not None or asked.network_type in (FLAT, LOCAL):
        return asked
    for name, bounds in _ranges(ctx, asked):
        candidate = msgspec.structs.replace(asked, physical_network=name)
        key = pool_key(candidate)
        # What this request reserves is not written yet: the pool does not know of it.
        taken = sorted(
            each.segmentation_id
            for each in before
            if each.segmentation_id is not None and pool_key(each) == key
        )
        number = txn.allocate(SEGMENT_NUMBERS, key, without(bounds, taken))
        if number is not None:
            return msgspec.structs.replace(candidate, segmentation_id=number)
    return None


def _ranges(ctx: Context, asked: Provider) -> list[tuple[str | None, list[Bounds]]]:
    """Where numbers of the type are given, by physical network."""
    if asked.network_type != VLAN:
        return [(None, list(ctx.settings.vni_ranges))]
    by_name: dict[str | None, list[Bounds]] = {}
    for name, first, last in ctx.settings.network_vlan_ranges:
        if asked.physical_network in (None, name) and first <= last:
            by_name.setdefault(name, []).append((first, last))
    return list(by_name.items())


def without(ranges: Iterable[Bounds], numbers: Sequence[int]) -> list[Bounds]:
    """The ranges with holes at `numbers`, which are in order."""
    left = []
    for first, last in ranges:
        for number in numbers:
            if first <= number <= last:
                left.append((first, number - 1))
                first = number + 1
        left.append((first, last))
    return [(first, last) for first, last in left if first <= last]


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
