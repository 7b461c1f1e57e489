# SPDX-License-Identifier: Apache-2.0
"""What subnets and subnet pools are, and how their list-valued attributes are read."""

from functools import lru_cache
from ipaddress import ip_interface
from typing import Annotated, Literal

import msgspec

from alcor.base.errors import Conflict, Invalid, NotFound
from alcor.base.net import Cidr, Ip, ip_int, parse_cidr, parse_ip, prefix_length
from alcor.features.address_scope.model import ADDRESS_SCOPE, AddressScope
from alcor.features.network.model import NETWORK, Network
from alcor.resource.declare import Api, Standard
from alcor.resource.parse import parse_uuid, shown
from alcor.store.declare import Guard, Index, Reference, Table
from alcor.store.reader import Reader

Ipv6Mode = Literal["slaac", "dhcpv6-stateful", "dhcpv6-stateless"]
NAMESERVERS_MAX = 5
SERVICE_TYPES_MAX = 50
PREFIXES_MAX = 1_000  # of one pool
UNSAID = -1  # a prefix length that was not given
# What device owners begin with. The reference adds each letter of `compute:` to its prefixes; `test:` passes so.
OWNERS = ("network:", "neutron:", "manila:", "baremetal:", *"compute:")
ROUTED = "network:routed"
POOLS_MAX = 256  # each address that is given looks at the pools, from the first on


class Range(msgspec.Struct, frozen=True, gc=False):
    """An allocation pool: addresses from `start` to `end`, both included."""

    start: Ip
    end: Ip


class HostRoute(msgspec.Struct, frozen=True, gc=False):
    """A route that DHCP tells the subnet's hosts."""

    destination: Cidr
    nexthop: Ip


def _entries(value: object, keys: tuple[str, str], noun: str) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        raise ValueError(f"Invalid data format for {noun}: '{value}'")
    for entry in value:
        if (
            not isinstance(entry, dict)
            or set(entry) != set(keys)
            or not all(isinstance(entry[key], str) for key in keys)
        ):
            raise ValueError(f"Invalid data format for {noun}: '{entry}'")
    return [(entry[keys[0]], entry[keys[1]]) for entry in value]


def parse_pools(value: object) -> tuple[Range, ...]:
    """Allocation pools as given. Raises ValueError, also for null, as in Neutron."""
    pairs = _entries(value, ("start", "end"), "IP pool")
    if len(pairs) > POOLS_MAX:
        raise ValueError(f"Exceeded maximum amount of allocation pools: {POOLS_MAX}")
    return tuple(Range(parse_ip(start), parse_ip(end)) for start, end in pairs)


def parse_routes(value: object) -> tuple[HostRoute, ...]:
    """Host routes as given, no destination twice. Raises ValueError."""
    pairs = _entries(value, ("destination", "nexthop"), "hostroute") if value is not None else []
    routes = tuple(HostRoute(parse_cidr(destination), parse_ip(nexthop)) for destination, nexthop in pairs)
    for (given, _), route in zip(pairs, routes, strict=True):
        if parse_ip(given.partition("/")[0]) != route.destination.partition("/")[0]:
            raise ValueError(f"'{given}' is not a valid CIDR")
    if len(set(routes)) != len(routes):
        raise ValueError(f"Duplicate hostroute '{value}'")
    return routes


def parse_nameservers(value: object) -> tuple[Ip, ...]:
    """DNS servers as given, none twice. Raises ValueError."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(server, str) for server in value):
        raise ValueError(f"Invalid data format for nameserver: '{value}'")
    servers = tuple(parse_ip(server) for server in value)
    if len(set(servers)) != len(servers):
        raise ValueError(f"Duplicate nameserver '{value}'")
    return servers


def parse_service_types(value: object) -> tuple[str, ...]:
    """Prefixes of device owners. Raises ValueError, Invalid."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError("Subnet service types must be a list")
    for owner in value:
        if not isinstance(owner, str):
            raise Invalid(
                f"Subnet service type {owner} is not a string.", type="InvalidInputSubnetServiceType"
            )
        if not owner.startswith(OWNERS):
            raise Invalid(
                f"Subnet service type {owner} does not correspond to a valid device owner.",
                type="InvalidSubnetServiceType",
            )
    if len(set(value)) != len(value):
        raise ValueError(f"Duplicate items in the list: '{', '.join(value)}'")
    if len(value) > SERVICE_TYPES_MAX:
        raise ValueError(f"A subnet has at most {SERVICE_TYPES_MAX} service types, not {len(value)}")
    return tuple(value)


def _strict_cidr(value: object) -> Cidr:
    if value is None:
        return Cidr("")
    if not isinstance(value, str):
        raise ValueError(f"'{value}' is not a valid IP subnet")
    cidr = parse_cidr(value)
    if parse_ip(value.split("/")[0]) != cidr.split("/")[0]:
        raise ValueError(f"'{value}' isn't a recognized IP subnet cidr, '{cidr}' is recommended")
    return cidr


def _cidr_text(text: str) -> str:
    try:
        return ip_interface(text).with_prefixlen
    except ValueError:
        raise ValueError(f"{shown(text)} is not in a CIDR format") from None


def _gateway(value: object) -> Ip | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"'{value}' is not a valid IP address.")
    return parse_ip(value)


def _segment(value: object) -> str | None:
    return None if value is None else parse_uuid(value)


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
    address_scope_id: Annotated[str | None, Api(put=True, parse=parse_uuid)] = None


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


def quota_units(cidr: Cidr, version: int) -> float:
    """How much of `default_quota` a subnet uses: IPv4 addresses, or IPv6 prefixes of 64 bits."""
    return float(2.0 ** ((32 if version == 4 else 64) - prefix_length(cidr)))


class Subnet(Standard, frozen=True, kw_only=True):
    """A range of addresses of a network.

    `enable_dhcp`, `dns_nameservers`, `host_routes` and the IPv6 RA mode are kept and answered; they take effect on
    packets with DHCP and routers.
    """

    network_id: Annotated[str, Api(required=True)]
    ip_version: Annotated[int, Api(required=True, choices=(4, 6))]
    cidr: Annotated[Cidr, Api(parse=_strict_cidr, of_filter=_cidr_text)] = Cidr(
        ""
    )  # cut from the pool if it is not given
    subnetpool_id: Annotated[str | None, Api(parse=parse_uuid)] = None
    prefixlen: Annotated[int, Api(visible=False, minimum=0, filter=False, sort=False)] = (
        UNSAID  # only asked for
    )
    use_default_subnetpool: Annotated[bool, Api(visible=False, filter=False, sort=False)] = (
        False  # only asked for
    )
    name: Annotated[str, Api(put=True, max_length=255)] = ""
    gateway_ip: Annotated[Ip | None, Api(put=True, parse=_gateway, nullable=True)] = None
    allocation_pools: Annotated[
        tuple[Range, ...], Api(put=True, parse=parse_pools, filter=False, sort=False)
    ] = ()
    enable_dhcp: Annotated[bool, Api(put=True)] = True
    dns_nameservers: Annotated[
        tuple[Ip, ...], Api(put=True, parse=parse_nameservers, nullable=True, filter=False, sort=False)
    ] = ()
    host_routes: Annotated[
        tuple[HostRoute, ...], Api(put=True, parse=parse_routes, nullable=True, filter=False, sort=False)
    ] = ()
    ipv6_ra_mode: Annotated[Ipv6Mode | None, Api()] = None
    ipv6_address_mode: Annotated[Ipv6Mode | None, Api()] = None
    service_types: Annotated[
        tuple[str, ...], Api(put=True, parse=parse_service_types, filter=False, sort=False, is_ruled=False)
    ] = ()  # of device owners whose ports take addresses here; none: of all

    segment_id: Annotated[str | None, Api(put=True, parse=_segment, set_by="admin", seen_by="admin")] = (
        None  # where its addresses are of use; none: in the whole network
    )

    @property
    def is_for_routes(self) -> bool:
        """Whether its addresses are routed to hosts, whatever their segment is: it needs none."""
        return ROUTED in self.service_types

    @property
    def is_auto_address(self) -> bool:
        """Whether each port of the network gets an address made from its MAC (RFC 4862)."""
        modes = (self.ipv6_ra_mode, self.ipv6_address_mode)
        return self.ip_version == 6 and ("slaac" in modes or "dhcpv6-stateless" in modes)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The allocation pools as numbers, both ends included."""
        return _ranges(self.allocation_pools)


@lru_cache(maxsize=4_096)  # every port of a subnet asks; the answer depends on the argument alone
def _ranges(pools: tuple[Range, ...]) -> tuple[tuple[int, int], ...]:
    return tuple((ip_int(pool.start), ip_int(pool.end)) for pool in pools)


IPV4_MTU_MIN, IPV6_MTU_MIN = 68, 1_280  # bytes: RFC 791, RFC 8200


def check_mtu(network: Network, version: int) -> None:
    """Raises Conflict where the network's packets are too short for a subnet of the version."""
    least = IPV4_MTU_MIN if version == 4 or network.mtu < IPV4_MTU_MIN else IPV6_MTU_MIN
    if network.mtu < least:
        raise Conflict(
            f"MTU of {network.id} is not valid, subnet requires a minimum of {least}",
            type="NetworkMTUSubnetConflict",
        )


def mtu_suits_subnets(reader: Reader, old: Network | None, new: Network | None) -> None:
    """Raises Conflict where a network's MTU becomes too short for one of its subnets."""
    if old is None or new is None or new.mtu in (old.mtu, 0):
        return
    for subnet in reader.find(SUBNET, BY_NETWORK, new.id):
        check_mtu(new, subnet.ip_version)


MTU_SUITS_SUBNETS: Guard[Network] = Guard(NETWORK, mtu_suits_subnets)

BY_NETWORK: Index[Subnet] = Index("network_id", lambda subnet: (subnet.network_id,))
BY_PROJECT: Index[Subnet] = Index("project_id", lambda subnet: (subnet.project_id,))
BY_POOL: Index[Subnet] = Index(
    "subnetpool_id", lambda subnet: (subnet.subnetpool_id,) if subnet.subnetpool_id else ()
)


def _pool_in_use(pool: SubnetPool) -> Invalid:
    return Invalid(
        "Unable to delete subnet pool: Subnet pool has existing allocations.", type="SubnetPoolDeleteError"
    )


SUBNET: Table[Subnet] = Table(
    "subnet",
    Subnet,
    indexes=(BY_NETWORK, BY_PROJECT, BY_POOL),
    references=(
        Reference(
            "network_id",
            NETWORK,
            lambda subnet: (subnet.network_id,),
            missing=lambda id: NotFound(f"Network {id} could not be found.", type="NetworkNotFound"),
            by=BY_NETWORK,
        ),
        Reference(
            "subnetpool_id",
            SUBNET_POOL,
            lambda subnet: (subnet.subnetpool_id,) if subnet.subnetpool_id else (),
            in_use=_pool_in_use,
            by=BY_POOL,
        ),
    ),
)
