# SPDX-License-Identifier: Apache-2.0
"""What a subnet pool is, and what of its prefixes is free."""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Annotated

from alcor.base.errors import Conflict, Invalid, NotFound
from alcor.base.net import Cidr, cidr_bounds, ip_of, parse_cidr, prefix_length
from alcor.features.address_scope.model import ADDRESS_SCOPE, AddressScope
from alcor.resource.declare import Api, Standard
from alcor.store.declare import Index, Reference, Table

UNSAID = -1  # a prefix length that was not given
PREFIXES_MAX = 1_000  # of one pool
WIDTH = {4: 32, 6: 128}


def parse_prefixes(value: object) -> tuple[Cidr, ...]:
    """Prefixes as given, none twice. Raises ValueError."""
    if not isinstance(value, list) or not all(isinstance(prefix, str) for prefix in value):
        raise ValueError(f"'{value}' is not a list of IP subnets")
    if len(value) > PREFIXES_MAX:
        raise ValueError(f"A subnet pool has at most {PREFIXES_MAX} prefixes, not {len(value)}")
    if len(set(value)) != len(value):
        raise ValueError(f"Duplicate items in the list: '{', '.join(value)}'")
    return tuple(parse_cidr(prefix) for prefix in value)


def _named(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"'{value}' is not a valid string")
    if not value.strip():
        raise ValueError(f"'{value}' Blank strings are not permitted")
    return value


class SubnetPool(Standard, frozen=True, kw_only=True):
    """Prefixes from which subnets are cut, so that no two of them overlap. Its prefixes are kept merged."""

    name: Annotated[str, Api(required=True, put=True, max_length=255, parse=_named)]
    prefixes: Annotated[
        tuple[Cidr, ...], Api(required=True, put=True, parse=parse_prefixes, filter=False, sort=False)
    ]
    ip_version: Annotated[int, Api(post=False)] = 4
    # Neutron answers prefix lengths as text.
    default_prefixlen: Annotated[int, Api(put=True, minimum=0, answer=str, schema={"type": "string"})] = (
        UNSAID
    )
    min_prefixlen: Annotated[int, Api(put=True, minimum=0, answer=str, schema={"type": "string"})] = UNSAID
    max_prefixlen: Annotated[int, Api(put=True, minimum=0, answer=str, schema={"type": "string"})] = UNSAID
    default_quota: Annotated[int | None, Api(put=True, minimum=0)] = (
        None  # IPv4 addresses, or IPv6 /64s, of a project
    )
    is_default: Annotated[bool, Api(put=True, set_by="admin")] = False
    shared: Annotated[bool, Api(set_by="admin")] = False
    address_scope_id: Annotated[str | None, Api(put=True)] = None


POOLS_OF_PROJECT: Index[SubnetPool] = Index("project_id", lambda pool: (pool.project_id,))
POOLS_SHARED: Index[SubnetPool] = Index("shared", lambda pool: (True,) if pool.shared else ())
POOLS_OF_SCOPE: Index[SubnetPool] = Index(
    "address_scope_id", lambda pool: (pool.address_scope_id,) if pool.address_scope_id else ()
)
DEFAULT_POOL: Index[SubnetPool] = Index(
    "default",
    lambda pool: (pool.ip_version,) if pool.is_default else (),
    unique=True,
    taken=lambda pool, key: Invalid(
        "Invalid input for operation: A default subnetpool for this IP family has already been set. Only one default"
        " may exist per IP family.",
        type="InvalidInput",
    ),
)


def _scope_in_use(scope: AddressScope) -> Conflict:
    return Conflict(
        f"Unable to complete operation on address scope {scope.id}. There are one or more subnet pools in use on the"
        " address scope.",
        type="AddressScopeInUse",
    )


SUBNET_POOL: Table[SubnetPool] = Table(
    "subnetpool",
    SubnetPool,
    indexes=(POOLS_OF_PROJECT, POOLS_SHARED, POOLS_OF_SCOPE, DEFAULT_POOL),
    references=(
        Reference(
            "address_scope_id",
            ADDRESS_SCOPE,
            lambda pool: (pool.address_scope_id,) if pool.address_scope_id else (),
            in_use=_scope_in_use,
            by=POOLS_OF_SCOPE,
        ),
    ),
    missing=lambda id: NotFound(f"Subnet pool {id} could not be found.", type="SubnetPoolNotFound"),
)


def merged(prefixes: Iterable[Cidr]) -> tuple[Cidr, ...]:
    """The fewest prefixes that cover the same addresses, in order. All are of one IP version."""
    networks = [ipaddress.ip_network(prefix) for prefix in prefixes]
    return tuple(Cidr(str(network)) for network in ipaddress.collapse_addresses(networks))  # type: ignore[type-var]  # one version


def left_of(prefixes: Iterable[Cidr], taken: Iterable[Cidr], version: int) -> Iterator[Cidr]:
    """What is left of prefixes, as prefixes in order, without the addresses of `taken`."""
    gone = sorted(cidr_bounds(each) for each in taken)
    for prefix in prefixes:
        start, end = cidr_bounds(prefix)
        for first, last in gone:
            if last < start or first > end:
                continue
            yield from _between(start, first - 1, version)
            start = last + 1
        yield from _between(start, end, version)


def covers(prefixes: Iterable[Cidr], cidr: Cidr) -> bool:
    """Whether all of `cidr` lies in one of the prefixes."""
    first, last = cidr_bounds(cidr)
    return any(start <= first and last <= end for start, end in map(cidr_bounds, prefixes))


def overlap(some: Iterable[Cidr], others: Iterable[Cidr]) -> bool:
    """Whether an address lies in one of each."""
    bounds = [cidr_bounds(each) for each in others]
    return any(
        first <= other_last and other_first <= last
        for first, last in map(cidr_bounds, some)
        for other_first, other_last in bounds
    )


def quota_units(cidr: Cidr, version: int) -> float:
    """How much of `default_quota` a subnet uses: IPv4 addresses, or IPv6 prefixes of 64 bits."""
    return float(2.0 ** ((32 if version == 4 else 64) - prefix_length(cidr)))


def _between(first: int, last: int, version: int) -> Iterator[Cidr]:
    width = WIDTH[version]
    while first <= last:
        size = min(first & -first or 1 << width, 1 << (last - first + 1).bit_length() - 1)
        yield Cidr(f"{ip_of(first, version)}/{width - size.bit_length() + 1}")
        first += size
