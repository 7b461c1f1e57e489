# SPDX-License-Identifier: Apache-2.0
"""What a port is, and what is observed of it."""

from collections.abc import Sequence
from typing import Annotated, cast

import msgspec

from alcor.base.errors import Conflict, NotFound
from alcor.base.net import Ip, Mac, ip_int, ip_of, parse_ip, parse_mac
from alcor.features.network.model import NETWORK, Network
from alcor.features.port.pairs import AllowedPair, match_pair, parse_pairs
from alcor.features.security_group.model import SECURITY_GROUP, SecurityGroup
from alcor.features.subnet.model import SUBNET, Subnet
from alcor.resource.declare import Api, Standard
from alcor.resource.parse import shown
from alcor.store.declare import Field, Index, Pool, Reference, Stored, Table, own_id

ADDRESSES_MAX = 64  # fixed IPs of one port
GROUPS_MAX = 64  # security groups of one port
VNIC_TYPES = (
    "normal",
    "direct",
    "macvtap",
    "baremetal",
    "direct-physical",
    "virtio-forwarder",
    "smart-nic",
    "remote-managed",
    "vdpa",
    "accelerator-direct",
    "accelerator-direct-physical",
)
TRUSTED_OWNER = (
    "network:"  # of ports that the operator's own services plug: no default group, no port security
)


class FixedIp(msgspec.Struct, frozen=True, gc=False):
    """An address that a port holds in a subnet; in a request either may be empty, meaning: any."""

    subnet_id: str
    ip_address: Ip


def parse_fixed_ips(value: object) -> tuple[FixedIp, ...] | None:
    """Fixed IPs as asked for, parts not given as ''. Raises ValueError."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError(f"Invalid data format for fixed IP: '{value}'")
    if len(value) > ADDRESSES_MAX:
        raise ValueError(f"A port may have at most {ADDRESSES_MAX} fixed IPs, not {len(value)}.")
    wanted = []
    for entry in value:
        if not isinstance(entry, dict) or not entry or set(entry) - {"subnet_id", "ip_address"}:
            raise ValueError(f"Invalid data format for fixed IP: '{entry}'")
        for name, part in entry.items():
            if not isinstance(part, str) or not part:
                kind = "UUID" if name == "subnet_id" else "IP address"
                raise ValueError(f"'{shown(part)}' is not a valid {kind}")
        address = parse_ip(entry["ip_address"]) if "ip_address" in entry else Ip("")
        wanted.append(FixedIp(entry.get("subnet_id", ""), address))
    addresses = [fixed.ip_address for fixed in wanted if fixed.ip_address]
    if len(set(addresses)) != len(addresses):
        raise ValueError(f"Duplicate IP address in '{value}'")
    return tuple(wanted)


def parse_group_ids(value: object) -> tuple[str, ...] | None:
    """Ids of security groups in the order given. Raises ValueError, also for one given twice."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(group, str) for group in value):
        raise ValueError(f"'{value}' is not a list of security group ids")
    if len(value) > GROUPS_MAX:
        raise ValueError(f"A port may have at most {GROUPS_MAX} security groups, not {len(value)}.")
    if len(set(value)) != len(value):
        raise ValueError(f"Duplicate items in the list: '{', '.join(value)}'.")
    return tuple(value)


def parse_mac_address(value: object) -> Mac:
    """A unicast MAC; null asks for a generated one. Raises ValueError."""
    if value is None:
        return Mac("")
    if not isinstance(value, str):
        raise ValueError(f"'{value}' is not a valid MAC address.")
    mac = parse_mac(value)
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise ValueError(f"'{value}' is not the MAC address of one interface.")
    return mac


def pair_text(text: str) -> str:
    """A filter `key=value`. Raises ValueError."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals):
        raise ValueError(f"'{shown(text)}' is not of the form <key>=[value]")
    return f"{key}={value}"


def match_fixed_ip(fixed_ips: tuple[FixedIp, ...], text: str) -> bool:
    """Whether some address fits `ip_address=…`, `ip_address_substr=…` or `subnet_id=…`, as in Neutron's list filter,
    to which other keys mean nothing.
    """
    kind, _, wanted = text.partition("=")
    if kind == "ip_address":
        return any(fixed.ip_address == wanted for fixed in fixed_ips)
    if kind == "ip_address_substr":
        return any(wanted in fixed.ip_address for fixed in fixed_ips)
    return kind != "subnet_id" or any(fixed.subnet_id == wanted for fixed in fixed_ips)


class Port(Standard, frozen=True, kw_only=True):
    """An interface of a network. `generation` counts bindings: what a host reports of an older one is not of this."""

    network_id: Annotated[str, Api(required=True)]
    name: Annotated[str, Api(put=True, max_length=255)] = ""
    admin_state_up: Annotated[bool, Api(put=True)] = True
    mac_address: Annotated[Mac, Api(put=True, parse=parse_mac_address)] = Mac("")
    fixed_ips: Annotated[
        tuple[FixedIp, ...],
        Api(
            put=True,
            parse=parse_fixed_ips,
            sort=False,
            matches=match_fixed_ip,
            of_filter=pair_text,
            nullable=True,
        ),
    ] = ()
    device_id: Annotated[str, Api(put=True, max_length=255, nullable=True)] = ""
    device_owner: Annotated[str, Api(put=True, max_length=255, nullable=True)] = ""
    security_groups: Annotated[
        tuple[str, ...],
        Api(
            put=True,
            parse=parse_group_ids,
            sort=False,
            nullable=True,
            matches=lambda groups, text: text in groups,
        ),
    ] = ()
    port_security_enabled: Annotated[bool, Api(put=True, filter=False, sort=False)] = True
    allowed_address_pairs: Annotated[
        tuple[AllowedPair, ...],
        Api(put=True, parse=parse_pairs, sort=False, matches=match_pair, nullable=True),
    ] = ()
    host: Annotated[
        str,
        Api(
            name="binding:host_id",
            put=True,
            max_length=255,
            set_by="admin",
            seen_by="admin",
            sort=False,
            nullable=True,
        ),
    ] = ""
    profile: Annotated[
        dict[str, object],
        Api(
            name="binding:profile",
            put=True,
            set_by="admin",
            seen_by="admin",
            filter=False,
            sort=False,
            nullable=True,
        ),
    ] = {}
    vnic_type: Annotated[
        str,
        Api(
            name="binding:vnic_type",
            put=True,
            choices=VNIC_TYPES,
            filter=False,
            sort=False,
        ),
    ] = "normal"
    hardware_offload_type: Annotated[str | None, Api(choices=("switchdev",), filter=False, sort=False)] = None
    trusted: Annotated[
        bool | None, Api(put=True, set_by="admin", seen_by="admin", filter=False, sort=False)
    ] = None
    ip_allocation: Annotated[str, Api(post=False)] = "immediate"  # none: no address was asked for
    vif_type: Annotated[
        str, Api(name="binding:vif_type", post=False, seen_by="admin", filter=False, sort=False)
    ] = "unbound"
    generation: Annotated[int, Api(post=False, visible=False)] = 0
    group_set: Annotated[int, Api(post=False, visible=False)] = 0
    # Of a subport: the port by whose interface it is reached, its tag there, and what it has for an ofport.
    trunk_port: Annotated[str, Api(post=False, visible=False, filter=False, sort=False)] = ""
    vlan: Annotated[int, Api(post=False, visible=False, filter=False, sort=False)] = 0
    number: Annotated[int, Api(post=False, visible=False, filter=False, sort=False)] = 0
    waiting_numbers: tuple[tuple[str, int], ...] = ()  # (host, number) where it waits with its trunk's port

    @property
    def is_bound(self) -> bool:
        """Whether a host carries this port."""
        return self.vif_type == "ovs"


def _v4_held(port: Port) -> tuple[tuple[str, int], ...]:
    return tuple(
        [
            (fixed.subnet_id, ip_int(fixed.ip_address))
            for fixed in port.fixed_ips
            if ":" not in fixed.ip_address
        ]
    )


def _v6_held(port: Port) -> tuple[tuple[str, Ip], ...]:
    return tuple([(fixed.subnet_id, fixed.ip_address) for fixed in port.fixed_ips if ":" in fixed.ip_address])


def _subnets(port: Port) -> tuple[str, ...]:
    return tuple([fixed.subnet_id for fixed in port.fixed_ips])


def address_taken(subnet_id: object, ip: object) -> Conflict:
    """The refusal of an address that another port has."""
    return Conflict(
        f"IP address {ip} already allocated in subnet {subnet_id}", type="IpAddressAlreadyAllocated"
    )


ADDRESSES: Pool[Port] = Pool(
    "ipv4", holds=_v4_held, taken=lambda port, subnet_id, number: address_taken(subnet_id, ip_of(number, 4))
)
BY_IPV6: Index[Port] = Index(  # IPv6 pools are too sparse for bits
    "ipv6", _v6_held, unique=True, taken=lambda port, key: address_taken(*cast("tuple[str, Ip]", key))
)


def _several(fixed_ips: tuple[FixedIp, ...]) -> tuple[str, ...]:
    if len(fixed_ips) < 2:
        return ()
    subnets = [fixed.subnet_id for fixed in fixed_ips]
    return tuple({subnet for subnet in subnets if subnets.count(subnet) > 1})


SUBPORT_NUMBERS = 0x8000, 0xFEFF  # Open vSwitch gives out ofports below of its own accord
NUMBERS: Pool[Port] = Pool(
    "number",
    holds=lambda port: (
        ((port.host, port.number), *port.waiting_numbers) if port.number else port.waiting_numbers
    ),
    taken=lambda port, host, number: Conflict(
        f"Another subport on host {host} has number {number}.", type="SubPortBindingError"
    ),
)

BY_PROJECT: Index[Port] = Index("project_id", Field("project_id"))
BY_NAME: Index[Port] = Index("name", Field("name", skip_empty=True))
BY_NETWORK: Index[Port] = Index("network_id", Field("network_id"))
BY_SUBNET: Index[Port] = Index("subnet_id", _subnets)
BY_ADDRESS: Index[Port] = Index(
    "ip_address", lambda port: tuple([fixed.ip_address for fixed in port.fixed_ips])
)
BY_MAC: Index[Port] = Index("mac_address", Field("mac_address"))
BY_DEVICE: Index[Port] = Index("device_id", Field("device_id", skip_empty=True))
BY_HOST: Index[Port] = Index("host", Field("host", skip_empty=True))
SEVERAL_IN_SUBNET: Index[Port] = Index("several_in_subnet", lambda port: _several(port.fixed_ips))
CARRIED: Index[Port] = Index("trunk_port", Field("trunk_port", skip_empty=True))
BY_GROUP: Index[Port] = Index("security_groups", lambda port: port.security_groups)
BY_GROUP_SET: Index[Port] = Index("group_set", Field("group_set", skip_empty=True))


def network_in_use(network: Network, ports: Sequence[str] = ()) -> Conflict:
    """The refusal to delete a network with ports, some of which are named by id."""
    named = f", id for these ports is: {','.join(ports)}" if ports else ""
    return Conflict(
        f"Unable to complete operation on network {network.id}. "
        f"There are one or more ports still in use on the network{named}.",
        type="NetworkInUse",
    )


def _subnet_in_use(subnet: Subnet) -> Conflict:
    return Conflict(
        f"Unable to complete operation on subnet {subnet.id}: "
        "One or more ports have an IP allocation from this subnet.",
        type="SubnetInUse",
    )


def _group_in_use(group: SecurityGroup) -> Conflict:
    return Conflict(f"Security Group {group.id} in use.", type="SecurityGroupInUse")


PORT: Table[Port] = Table(
    "port",
    Port,
    indexes=(
        BY_PROJECT,
        BY_NAME,
        BY_NETWORK,
        BY_SUBNET,
        SEVERAL_IN_SUBNET,
        BY_IPV6,
        BY_ADDRESS,
        BY_MAC,
        BY_DEVICE,
        BY_HOST,
        CARRIED,
        BY_GROUP,
        BY_GROUP_SET,
    ),
    references=(
        Reference(
            "network_id", NETWORK, lambda port: (port.network_id,), in_use=network_in_use, by=BY_NETWORK
        ),
        Reference(
            "fixed_ips",
            SUBNET,
            _subnets,
            in_use=_subnet_in_use,
            by=BY_SUBNET,
        ),
        Reference(
            "security_groups",
            SECURITY_GROUP,
            lambda port: port.security_groups,
            in_use=_group_in_use,
            missing=lambda id: NotFound(f"Security group {id} does not exist", type="SecurityGroupNotFound"),
            by=BY_GROUP,
        ),
    ),
    pools=(ADDRESSES, NUMBERS),
)


class PortStatus(Stored, frozen=True, kw_only=True):
    """What the port's host reported of it last. `id` is the port's."""

    generation: int  # the binding that the report is about
    is_realised: bool
    reason: str = ""


PORT_STATUS: Table[PortStatus] = Table(
    "port_status",
    PortStatus,
    references=(Reference("port", PORT, own_id),),
    observed=True,
)
