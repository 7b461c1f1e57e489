# SPDX-License-Identifier: Apache-2.0
"""What may be done with subnet pools, and how a subnet gets its prefix from one."""

from collections.abc import Iterable, Mapping

import msgspec

from alcor.base.errors import Conflict, Forbidden, Invalid
from alcor.base.net import Cidr, covers, ip_version, left_of, merged, overlap, parse_cidr, prefix_length
from alcor.features.address_scope.model import ADDRESS_SCOPE
from alcor.features.network.model import NETWORK, Network
from alcor.features.subnet.model import (
    BY_NETWORK,
    BY_POOL,
    DEFAULT_POOL,
    POOLS_OF_PROJECT,
    POOLS_OF_SCOPE,
    POOLS_SHARED,
    SUBNET,
    SUBNET_POOL,
    UNSAID,
    Subnet,
    SubnetPool,
    parse_prefixes,
    quota_units,
)
from alcor.resource.declare import Action, Context, Resource, revised
from alcor.resource.parse import struct
from alcor.store.reader import Reader, Txn

_SHORTEST: Mapping[int, int] = {4: 8, 6: 64}  # min_prefixlen where none is given
_LONGEST: Mapping[int, int] = {4: 32, 6: 128}


def on_create(txn: Txn, ctx: Context, new: SubnetPool) -> SubnetPool:
    """The pool with its bounds. Raises Invalid for what does not fit together, Conflict within its address scope."""
    new = _whole(new)
    _check_scope(txn, ctx, new)
    return new


def on_update(txn: Txn, ctx: Context, old: SubnetPool, new: SubnetPool) -> SubnetPool:
    """The changed pool, which still has all its prefixes. Raises as `on_create`."""
    _check_owner_of_scope(txn, ctx, old)
    left = merged(prefix for prefix in new.prefixes if ip_version(prefix) == old.ip_version)
    if not all(covers(left, prefix) for prefix in old.prefixes):
        raise Invalid(
            "Illegal update to prefixes: Existing prefixes must be a subset of the new prefixes.",
            type="IllegalSubnetPoolPrefixUpdate",
        )
    new = _whole(new)
    _check_scope(txn, ctx, new)
    return new


def on_delete(txn: Txn, ctx: Context, old: SubnetPool) -> None:
    """Nothing to add: subnets refuse through their reference."""


def is_shared(reader: Reader, project_id: str, pool: SubnetPool) -> bool:
    """Whether every project may use the pool."""
    return pool.shared


def shared_ids(reader: Reader, project_id: str) -> list[str]:
    """The pools that every project may use."""
    return [pool.id for pool in reader.find(SUBNET_POOL, POOLS_SHARED, True)]


def _whole(pool: SubnetPool) -> SubnetPool:
    versions = {ip_version(prefix) for prefix in pool.prefixes}
    if not versions:
        raise Invalid("Empty subnet pool prefix list.", type="EmptySubnetPoolPrefixList")
    if len(versions) > 1:
        raise Invalid("Cannot mix IPv4 and IPv6 prefixes in a subnet pool.", type="PrefixVersionMismatch")
    version = versions.pop()
    low = _SHORTEST[version] if pool.min_prefixlen == UNSAID else pool.min_prefixlen
    high = _LONGEST[version] if pool.max_prefixlen == UNSAID else pool.max_prefixlen
    usual = low if pool.default_prefixlen == UNSAID else pool.default_prefixlen
    _check_bounds(("min_prefixlen", low), ("max_prefixlen", high))
    _check_bounds(("max_prefixlen", high), ("ip_version_max", _LONGEST[version]))
    _check_bounds(
        ("min_prefixlen", low), ("default_prefixlen", usual), names=("default_prefixlen", "min_prefixlen")
    )
    _check_bounds(("default_prefixlen", usual), ("max_prefixlen", high))
    return msgspec.structs.replace(
        pool,
        prefixes=merged(pool.prefixes),
        ip_version=version,
        min_prefixlen=low,
        max_prefixlen=high,
        default_prefixlen=usual,
    )


def _check_bounds(low: tuple[str, int], high: tuple[str, int], names: tuple[str, str] | None = None) -> None:
    if low[1] <= high[1]:
        return
    known = dict((low, high))
    first, second = names or (low[0], high[0])
    raise Invalid(
        f"Illegal prefix bounds: {first}={known[first]}, {second}={known[second]}.",
        type="IllegalSubnetPoolPrefixBounds",
    )


def _check_scope(txn: Txn, ctx: Context, pool: SubnetPool) -> None:
    if pool.address_scope_id is None:
        return
    scope = ctx.visible(txn, ADDRESS_SCOPE, pool.address_scope_id)
    if scope.ip_version != pool.ip_version:
        raise Invalid(
            f"Illegal subnetpool association: subnetpool {pool.id} cannot associate with address scope {scope.id}"
            f" because subnetpool ip_version is not {scope.ip_version}.",
            type="IllegalSubnetPoolIpVersionAssociationToAddressScope",
        )
    for other in txn.find(SUBNET_POOL, POOLS_OF_SCOPE, scope.id):
        if other.id != pool.id and overlap(other.prefixes, pool.prefixes):
            raise Conflict(
                "Failed to associate address scope: subnetpools within an address scope must have unique prefixes.",
                type="AddressScopePrefixConflict",
            )
    networks = {subnet.network_id for subnet in txn.find(SUBNET, BY_POOL, pool.id)}
    for network_id in networks:
        for subnet in txn.find(SUBNET, BY_NETWORK, network_id):
            if subnet.ip_version == pool.ip_version and subnet.subnetpool_id != pool.id:
                raise _two_scopes()


def _two_scopes() -> Invalid:
    return Invalid(
        "Subnets of the same address family hosted on the same network must all be in the same address scope.",
        type="NetworkAddressScopeAffinityError",
    )


def _check_owner_of_scope(txn: Txn, ctx: Context, pool: SubnetPool) -> None:
    if pool.address_scope_id is None or ctx.is_admin:
        return
    if txn.get(ADDRESS_SCOPE, pool.address_scope_id).project_id != ctx.project_id:
        raise Invalid(
            f"Illegal subnetpool update : subnetpool {pool.id} cannot be updated when associated with shared address"
            f" scope {pool.address_scope_id}.",
            type="IllegalSubnetPoolUpdate",
        )


# Subnets from pools.


def placed(txn: Txn, ctx: Context, network: Network, new: Subnet) -> Subnet:
    """The subnet with the prefix that it asked a pool for, if it did. Raises what of that is refused."""
    if new.cidr and new.prefixlen != UNSAID:
        raise _bad("cidr and prefixlen must not be supplied together")
    pool = _pool_of(txn, ctx, new)
    _check_affinity(txn, network, new, pool)
    if pool is not None:
        new = msgspec.structs.replace(new, subnetpool_id=pool.id, cidr=_cut(txn, pool, new))
    elif not new.cidr:
        raise _bad("a subnetpool must be specified in the absence of a cidr")
    return msgspec.structs.replace(new, prefixlen=UNSAID, use_default_subnetpool=False)


def _bad(reason: str) -> Invalid:
    return Invalid(f"Bad subnets request: {reason}.", type="BadRequest")


def _pool_of(txn: Txn, ctx: Context, new: Subnet) -> SubnetPool | None:
    if new.use_default_subnetpool and new.subnetpool_id:
        raise _bad("subnetpool_id and use_default_subnetpool cannot both be specified")
    if new.use_default_subnetpool:
        pool = txn.first(SUBNET_POOL, DEFAULT_POOL, new.ip_version)
        if pool is None:
            raise _bad(f"No default subnetpool found for IPv{new.ip_version}")
    elif new.subnetpool_id:
        pool = ctx.visible(txn, SUBNET_POOL, new.subnetpool_id)
    else:
        return None
    if pool.ip_version != new.ip_version:
        raise _bad(f"Cannot allocate IPv{new.ip_version} subnet from IPv{pool.ip_version} subnet pool")
    if new.allocation_pools and not new.cidr:
        raise _bad("allocation_pools allowed only for specific subnet requests")
    return pool


def _check_affinity(txn: Txn, network: Network, new: Subnet, pool: SubnetPool | None) -> None:
    """All subnets of a network and version come from one pool, or from pools of one address scope."""
    others = [one for one in txn.find(SUBNET, BY_NETWORK, network.id) if one.ip_version == new.ip_version]
    scope = scope_of(txn, others)
    if scope is not None:
        if pool is not None and pool.address_scope_id != scope:
            raise _two_scopes()
        if pool is not None:
            return
    wanted = None if pool is None else pool.id
    if any(other.subnetpool_id != wanted for other in others):
        raise Invalid(
            "Subnets hosted on the same network must be allocated from the same subnet pool.",
            type="NetworkSubnetPoolAffinityError",
        )


def scope_of(reader: Reader, subnets: Iterable[Subnet]) -> str | None:
    """The address scope that the subnets come from."""
    for subnet in subnets:
        pool = reader.peek(SUBNET_POOL, subnet.subnetpool_id) if subnet.subnetpool_id else None
        if pool is not None and pool.address_scope_id:
            return pool.address_scope_id
    return None


def _cut(txn: Txn, pool: SubnetPool, new: Subnet) -> Cidr:
    """The prefix of the subnet: that asked for, that with the gateway asked for, or the first that fits into the
    smallest free piece, as in Neutron.
    """
    length = prefix_length(new.cidr) if new.cidr else new.prefixlen
    length = pool.default_prefixlen if length == UNSAID else length
    for limit, word, is_beyond in (
        (pool.max_prefixlen, "maximum", length > pool.max_prefixlen),
        (pool.min_prefixlen, "minimum", length < pool.min_prefixlen),
    ):
        if is_beyond:
            raise Invalid(
                f"Unable to allocate subnet with prefix length {length}, {word} allowed prefix is {limit}.",
                type=f"{word[:3].title()}PrefixSubnetAllocationError",
            )
    others = txn.find(SUBNET, BY_POOL, pool.id)
    free = list(left_of(pool.prefixes, [other.cidr for other in others], pool.ip_version))
    wanted = new.cidr
    if not wanted and new.gateway_ip and ip_version(new.gateway_ip) == pool.ip_version:
        wanted = parse_cidr(f"{new.gateway_ip}/{length}")
    if wanted:
        if not covers(merged(free), wanted):
            raise _no_prefix("Cannot allocate requested subnet from the available set of prefixes")
        cidr = wanted
    else:
        fitting = [piece for piece in merged(free) if prefix_length(piece) <= length]
        if not fitting:
            raise _no_prefix(f"Insufficient prefix space to allocate subnet size /{length}")
        smallest = max(fitting, key=prefix_length)
        cidr = Cidr(f"{smallest.split('/')[0]}/{length}")
    if pool.default_quota:
        used = sum(
            quota_units(one.cidr, one.ip_version) for one in others if one.project_id == new.project_id
        )
        if used + quota_units(cidr, pool.ip_version) > pool.default_quota:
            raise Conflict("Per-project subnet pool prefix quota exceeded.", type="SubnetPoolQuotaExceeded")
    return cidr


def _no_prefix(reason: str) -> Conflict:
    return Conflict(f"Failed to allocate subnet: {reason}.", type="SubnetAllocationError")


# Actions.


class Prefixes(msgspec.Struct):
    """The body of `add_prefixes` and `remove_prefixes`."""

    prefixes: list[str]


class Onboard(msgspec.Struct):
    """The body of `onboard_network_subnets`."""

    network_id: str


def _asked(body: Mapping[str, object]) -> tuple[Cidr, ...]:
    try:
        found = parse_prefixes(struct(Prefixes, body).prefixes)
    except ValueError as wrong:
        raise Invalid(f"Invalid input for prefixes. Reason: {wrong}.") from None
    if not found:
        raise Invalid("Request body contains invalid data")
    return found


def add_prefixes(txn: Txn, ctx: Context, pool: SubnetPool, body: Mapping[str, object]) -> dict[str, object]:
    """Adds prefixes to the pool."""
    new = on_update(txn, ctx, pool, revised(ctx, pool, prefixes=(*pool.prefixes, *_asked(body))))
    txn.update(SUBNET_POOL, new)
    return {"prefixes": new.prefixes}


def remove_prefixes(
    txn: Txn, ctx: Context, pool: SubnetPool, body: Mapping[str, object]
) -> dict[str, object]:
    """Takes prefixes out of the pool. Raises Invalid where a subnet uses one."""
    gone = [prefix for prefix in _asked(body) if ip_version(prefix) == pool.ip_version]
    if not overlap(pool.prefixes, gone):
        return {"prefixes": pool.prefixes}
    if overlap([subnet.cidr for subnet in txn.find(SUBNET, BY_POOL, pool.id)], gone):
        raise Invalid(
            "Illegal update to prefixes: One or more the prefixes to be removed is in use by a subnet.",
            type="IllegalSubnetPoolPrefixUpdate",
        )
    left = merged(left_of(pool.prefixes, merged(gone), pool.ip_version))
    new = revised(ctx, pool, prefixes=left)
    txn.update(SUBNET_POOL, new)
    return {"prefixes": new.prefixes}


def onboard(txn: Txn, ctx: Context, pool: SubnetPool, body: Mapping[str, object]) -> list[dict[str, str]]:
    """Makes the subnets of a network the pool's own, prefixes included."""
    network = ctx.visible(txn, NETWORK, struct(Onboard, body).network_id)
    if not ctx.is_admin and network.project_id != ctx.project_id:
        raise Forbidden("Not authorized.", type="NotAuthorized")
    own = [one.cidr for one in txn.find(SUBNET, BY_POOL, pool.id)]
    subnets = [one for one in txn.find(SUBNET, BY_NETWORK, network.id) if one.ip_version == pool.ip_version]
    for subnet in subnets:
        if overlap([subnet.cidr], own):
            raise Invalid(
                f"Illegal subnetpool update : Onboarding subnet {subnet.id}: {subnet.cidr} conflicts with allocated"
                f" prefixes in subnet pool {pool.id}.",
                type="IllegalSubnetPoolUpdate",
            )
    if subnets:
        wider = (*pool.prefixes, *(one.cidr for one in subnets))
        txn.update(SUBNET_POOL, on_update(txn, ctx, pool, revised(ctx, pool, prefixes=wider)))
    for subnet in subnets:
        txn.update(SUBNET, revised(ctx, subnet, subnetpool_id=pool.id))
    return [{"id": subnet.id, "cidr": subnet.cidr} for subnet in subnets]


POOLS: Resource[SubnetPool] = Resource(
    name="subnetpool",
    plural="subnetpools",
    path="subnetpools",
    table=SUBNET_POOL,
    aliases=("subnet_allocation", "default-subnetpools", "subnetpool-prefix-ops", "subnet_onboard"),
    on_create=on_create,
    on_update=on_update,
    on_delete=on_delete,
    by_field={"project_id": POOLS_OF_PROJECT, "address_scope_id": POOLS_OF_SCOPE},
    is_shared=is_shared,
    shared_ids=shared_ids,
    is_taggable=True,
    actions=(
        Action("add_prefixes", "PUT", add_prefixes, doc="Adds prefixes to the pool."),
        Action("remove_prefixes", "PUT", remove_prefixes, doc="Takes prefixes out of the pool."),
        Action("onboard_network_subnets", "PUT", onboard, doc="Makes a network's subnets the pool's own."),
    ),
    quota="subnetpool",
    doc="Prefixes from which subnets are cut.",
)
