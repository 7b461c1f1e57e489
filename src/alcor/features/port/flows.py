# SPDX-License-Identifier: Apache-2.0
"""What hosts know of ports: their own, and the neighbours that these may talk to; and how packets find either."""

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from alcor.base.net import Cidr, Ip, Mac, ip_int, ip_version, link_local, mac_int, prefix_length
from alcor.dataplane.pipeline import (
    ANSWER,
    ANSWER_ND,
    ARRIVE,
    ARRIVE_SECURED,
    BORROWED,
    CLASSIFY,
    DELIVER,
    DESTINATION,
    FLOOD_LOCAL,
    FLOOD_TUNNELS,
    LEAVE,
    LOCAL,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    PORT_SECURITY,
    PUT_OUT,
    REMOTE,
    REPLY,
    SOURCE,
    TUNNEL,
    asked_without_tracking,
    copy,
    flood_further,
    flow,
    go,
    icmpv6,
    load,
    put_out,
    where,
)
from alcor.dataplane.rows import (
    Claim,
    FlowRule,
    HostFeature,
    HostView,
    Interface,
    Realisable,
    Row,
    RowIndex,
    RowNeed,
    encode_claim,
)
from alcor.dataplane.values import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    Clone,
    Flow,
    InPort,
    Output,
    Resubmit,
    SetField,
)
from alcor.features.network.flows import NetworkRow, Uplink, uplink, with_tags
from alcor.features.port.port_security import Identity, port_security_flows
from alcor.features.security_group.flows import RuleRow, is_stateless, own_set_clause


class AddressPair(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An address that a port may use besides its own."""

    mac: Mac
    cidr: Cidr


class PortRow(Row, tag="port", frozen=True, kw_only=True):
    """In `host:H` under the port's id: everything that its own host must know of it."""

    id: str
    network: str
    mac: Mac
    addresses: tuple[Ip, ...] = ()
    pairs: tuple[AddressPair, ...] = ()
    port_security: bool = True
    admin_state_up: bool = True
    group_set: int = 0
    groups: tuple[str, ...] = ()
    generation: int = 0  # of the binding
    is_active: bool = True  # false: it waits here for its machine, and is still on another host
    trunk_port: str = ""  # of a subport: the port by whose interface it is reached,
    vlan: int = 0  # the tag of its frames there,
    number: int = 0  # and what it has for an ofport; switches give out none as high


class NeighbourRow(Row, tag="neighbour", frozen=True, kw_only=True):
    """In `neighbours:N` under the port's id: where its addresses are. Only of bound ports that are up."""

    mac: Mac
    addresses: tuple[Ip, ...] = ()
    pairs: tuple[AddressPair, ...] = ()
    host: str
    tunnel_ip: Ip
    group_set: int = 0
    generation: int = 0


class SharedMacRow(Row, tag="shared_mac", frozen=True, kw_only=True):
    """In `neighbours:N` under `shared_key`: a MAC of allowed pairs that is no claimant's own. One row behind many."""

    mac: Mac


class SharedAddressRow(Row, tag="shared_address", frozen=True, kw_only=True):
    """In `neighbours:N` under `shared_key`: an address of allowed pairs, so that nobody here answers for it."""

    address: Ip


class OwnerRow(Row, tag="owner", frozen=True, kw_only=True):
    """In `neighbours:N` under `owner_key`: which claimant was the last to claim an address, and with which MAC."""

    port: str
    address: Ip
    mac: Mac


def shared_key(shared: Ip | Mac) -> str:
    """The key of a shared address or MAC."""
    return f"shared/{shared}"


def owner_key(address: Ip) -> str:
    """The key of an address's owner."""
    return f"owner/{address}"


class FloodRow(Row, tag="flood", frozen=True, kw_only=True):
    """In `flood:N` under the host's name: a host with a port of the network. One row behind many ports."""

    host: str
    tunnel_ip: Ip


def _by_network(scope: str, key: str, row: PortRow) -> Iterator[tuple[str, str]]:
    if row.is_active:
        yield row.network, key


def _carriers(scope: str, key: str, row: PortRow) -> Iterator[tuple[str, str]]:
    if row.trunk_port:
        yield key, f"{row.trunk_port} {row.number}"


def _sets_of_groups(scope: str, key: str, row: PortRow) -> Iterator[tuple[str, int]]:
    for group in row.groups:
        yield group, row.group_set


def _claimed_addresses(scope: str, key: str, row: NeighbourRow) -> Iterator[tuple[tuple[str, Ip], str]]:
    for address in (*_answered(row), *(address for pair in row.pairs if (address := one_address(pair)))):
        yield (scope, address), key


def _claimed_macs(scope: str, key: str, row: NeighbourRow) -> Iterator[tuple[tuple[str, Mac], str]]:
    for mac in _macs(row):
        yield (scope, mac), key


PORTS_OF_NETWORK = RowIndex(PortRow, _by_network)  # network id -> keys of this host's active ports
CARRIERS = RowIndex(PortRow, _carriers)  # key of a subport -> its trunk's port, and its number
SETS_OF_GROUP = RowIndex(PortRow, _sets_of_groups)  # group id -> sets, with that group, of this host's ports
ADDRESS_CLAIMS = RowIndex(NeighbourRow, _claimed_addresses)  # (scope, address) -> keys of its claimants
MAC_CLAIMS = RowIndex(NeighbourRow, _claimed_macs)  # (scope, MAC) -> keys of its claimants

# What one packet's translation can hold is 65,535 bytes, about 780 tunnels; half of it is left to this host's ports.
FLOOD_HOSTS_MAX = 400


def port_flows(view: HostView, scope: str, row: PortRow) -> Iterator[Flow]:
    """A plugged port that is administratively up: where it speaks, what it may say, and how packets reach it."""
    network = network_of(view, row.network)
    interface = interface_of(view, row.id)
    if network is None or interface is None or not row.admin_state_up:
        return
    vni, port = network.vni, interface.ofport
    if uplink(view.facts, network) is None:
        names = ", ".join(wire.physical_network for wire in network.wires)
        raise ValueError(f"This host has no bridge to the physical network {names}: see bridge_mappings")

    mine = where(in_port=port)
    if row.trunk_port:
        mine = where(source_port=port)
        yield from _tag_flows(view, row)
    else:
        yield from with_tags(network, in_port=port)
    yield flow(
        CLASSIFY,
        # A subport is not held to what holds for its trunk's port.
        160 if row.trunk_port else 100,
        mine,
        load("vni", vni),
        load("source_port", port),
        load("source_set", row.group_set),
        load("origin", LOCAL),
        go(PORT_SECURITY if row.port_security else BORROWED),
    )
    if row.port_security:
        yield from port_security_flows(port, _identities(view, row, is_heard=interface.is_heard))
        yield flow(BORROWED, 10, where(vni=vni, eth_src=mac_int(row.mac)))
    else:
        yield flow(LEAVE, 100, where(source_port=port), go(DELIVER))

    for address in dict.fromkeys((*row.addresses, *filter(None, map(one_address, row.pairs)))):
        if ip_version(address) == 4:
            # An announcement of one's own address is not a question.
            own = where(source_port=port, eth_type=ETH_ARP, arp_op=1, arp_tpa=ip_int(address))
            yield flow(ANSWER, 150, own, go(DESTINATION))

    # One that waits gets only what other hosts send it, since these have heard of its activation earlier.
    senders = {} if row.is_active else {"origin": TUNNEL}
    to_me = where(vni=vni, eth_dst=mac_int(row.mac), **senders)
    yield flow(
        DESTINATION, 10, to_me, load("target_port", port), load("target_set", row.group_set), go(LEAVE)
    )
    yield flow(ARRIVE, 110, where(target_port=port, source_port=port))
    onward = go(ARRIVE_SECURED) if row.port_security else put_out()
    yield flow(ARRIVE, 100, where(target_port=port), load("target_set", row.group_set), onward)


def interface_of(view: HostView, port: str) -> Interface | None:
    """The port's interface, if it is plugged in: a subport's is its trunk's, with the subport's number as ofport."""
    carriers = view.find(CARRIERS, port)
    if not carriers:
        return view.interface(port)
    carrier, _, number = carriers[0].partition(" ")
    interface = view.interface(carrier)
    return interface and replace(interface, iface_id=port, ofport=int(number))


def _tag_flows(view: HostView, row: PortRow) -> Iterator[Flow]:
    """The subport's tag goes on the way in, and comes on the way out to the trunk's interface."""
    carrier = view.interface(row.trunk_port)
    assert carrier is not None, f"{row.id} is plugged in by {row.trunk_port}"
    tag = 0x1000 | row.vlan
    # Above what drops all tagged frames; which is then asked again, for a second tag.
    tagged = where(in_port=carrier.ofport, vlan_tci=(tag, 0x1FFF))
    yield flow(CLASSIFY, 210, tagged, SetField("vlan_tci", 0), load("source_port", row.number), go(CLASSIFY))
    yield flow(REPLY, 10, where(source_port=row.number), SetField("vlan_tci", tag), InPort())
    # Without its way in, so that subports of one trunk reach each other; and what follows has no tag.
    onto = Clone((SetField("in_port", 0), SetField("vlan_tci", tag), Output(carrier.ofport)))
    yield flow(PUT_OUT, 10, where(target_port=row.number), onto)
    # To the trunk's own port, which is where it comes from for the switch.
    yield flow(PUT_OUT, 10, where(target_port=carrier.ofport, source_port=row.number), InPort())


def neighbour_flows(view: HostView, scope: str, row: NeighbourRow) -> Iterator[Flow]:
    """Where a port of the network is, who it is when it sends from another host, and answers on its behalf."""
    network = network_of(view, scope.removeprefix("neighbours:"))
    way = uplink(view.facts, network) if network else None
    if network is None or way is None or not is_reached(view, way, row):
        return
    vni = network.vni
    for address in _answered(row):
        if view.row(SharedAddressRow, scope, shared_key(address)) is None:
            yield _answer(vni, address, row.mac)
    if row.host != view.facts.host and view.row(SharedMacRow, scope, shared_key(row.mac)) is None:
        yield known_source(vni, row.mac, sender_of(way, row), row.group_set)
        yield flow(REMOTE, 10, where(vni=vni, eth_dst=mac_int(row.mac)), *towards(view, row), go(LEAVE))


def flood_flows(view: HostView, scope: str, row: NetworkRow) -> Iterator[Flow]:
    """Broadcast and multicast: to each local port of the network, and to each other host with one."""
    if not row.admin_state_up:
        return
    local: list[SetField | Resubmit] = []
    for port in view.find(PORTS_OF_NETWORK, row.id):
        interface = interface_of(view, port)
        if interface:
            local += (load("target_port", interface.ofport), go(ARRIVE))
    yield flow(FLOOD_LOCAL, 10, where(vni=row.vni), *local)

    hosts = view.rows(FloodRow, f"flood:{row.id}")
    others = (flood.tunnel_ip for flood in hosts if flood.host != view.facts.host)
    remote = [ip_int(ip) for ip in others if ip_version(ip) == 4]  # others fail as neighbours
    parts = [remote[first : first + FLOOD_HOSTS_MAX] for first in range(0, len(remote), FLOOD_HOSTS_MAX)]
    for number, part in enumerate(parts):
        from_here = where(vni=row.vni, origin=LOCAL, **({"tunnel": number} if number else {}))
        copies = [act for ip in part for act in (SetField("tun_dst", ip), Output(view.facts.tunnel_ofport))]
        further = (flood_further(row.vni, len(parts)),) if parts[1:] and not number else ()
        yield flow(FLOOD_TUNNELS, 30 if number else 10, from_here, copy("vni", "tun_id"), *copies, *further)


def own_set_flows(view: HostView, scope: str, row: RuleRow) -> Iterator[Flow]:
    """A rule applies to the ports of this host whose set of groups contains the rule's group."""
    for group_set in view.find(SETS_OF_GROUP, row.group):
        yield own_set_clause(view, row, group_set)


def stateless_flows(view: HostView, scope: str, row: PortRow) -> Iterator[Flow]:
    """Packets of a port whose groups are stateless are judged without tracking, each by itself."""
    interface = interface_of(view, row.id)
    if interface is None or not row.port_security or not any(is_stateless(view, g) for g in row.groups):
        return
    for eth_type in (ETH_IPV4, ETH_IPV6):
        # Above tracking, below what no rule judges.
        left = where(source_port=interface.ofport, eth_type=eth_type)
        yield flow(LEAVE, 20, left, *asked_without_tracking(is_leaving=True))
        come = where(target_port=interface.ofport, eth_type=eth_type)
        yield flow(ARRIVE_SECURED, 20, come, *asked_without_tracking(is_leaving=False))


def scopes_of_port(row: PortRow) -> Iterator[str]:
    """What a host must know before a port of its own is complete there."""
    yield from (f"network:{row.network}", f"neighbours:{row.network}", f"flood:{row.network}")
    yield from (f"security_group:{group}" for group in row.groups)


def network_of(view: HostView, network: str) -> NetworkRow | None:
    """The network, if it is administratively up."""
    row = view.row(NetworkRow, f"network:{network}", "network")
    return row if row and row.admin_state_up else None


def is_reached(view: HostView, way: Uplink, row: NeighbourRow) -> bool:
    """Whether packets of the network get from this host to the neighbour's."""
    return way.kind != "local" or row.host == view.facts.host


def sender_of(way: Uplink, row: NeighbourRow) -> int:
    """The tunnel address that the neighbour's packets come from, as a number; 0 on a physical network."""
    return 0 if way.ofport else tunnel_number(row.tunnel_ip)


def one_address(pair: AddressPair) -> Ip | None:
    """The pair's address, if it is one and not a network."""
    is_one = prefix_length(pair.cidr) == (32 if ip_version(pair.cidr) == 4 else 128)
    return Ip(pair.cidr.partition("/")[0]) if is_one else None


def _identities(view: HostView, row: PortRow, *, is_heard: bool) -> Iterator[Identity]:
    """Every (MAC, addresses) that the port may speak with: its own, its pairs, and each MAC's link-local address."""
    for address in row.addresses:
        yield Identity(row.mac, Cidr(f"{address}/{32 if ip_version(address) == 4 else 128}"))
    for pair in row.pairs:
        yield Identity(pair.mac, pair.cidr, _claim(view, row, pair) if is_heard else b"")
    for mac in dict.fromkeys((row.mac, *(pair.mac for pair in row.pairs if ip_version(pair.cidr) == 6))):
        yield Identity(mac, Cidr(f"{link_local(mac)}/128"))


def _answered(row: NeighbourRow) -> Iterator[Ip]:
    """The addresses that nobody but this port should have."""
    yield from row.addresses
    if any(ip_version(address) == 6 for address in row.addresses):
        yield link_local(row.mac)


def _claim(view: HostView, row: PortRow, pair: AddressPair) -> bytes:
    """What the agent is told when the port claims the pair's address; nothing, if the address is known to be its."""
    address = one_address(pair)
    if address is None:
        return b""
    owner = view.row(OwnerRow, f"neighbours:{row.network}", owner_key(address))
    is_known = owner is not None and (owner.port, owner.mac) == (row.id, pair.mac)
    return b"" if is_known else encode_claim(Claim(row.id, address, pair.mac))


def _macs(row: NeighbourRow) -> Iterator[Mac]:
    yield from dict.fromkeys((row.mac, *(pair.mac for pair in row.pairs)))


def _answer(vni: int, address: Ip, mac: Mac) -> Flow:
    number, owner = ip_int(address), mac_int(mac)
    turned = (copy("eth_src", "eth_dst", 48), SetField("eth_src", owner))
    if ip_version(address) == 4:
        return flow(
            ANSWER,
            100,
            where(vni=vni, eth_type=ETH_ARP, arp_op=1, arp_tpa=number),
            *turned,
            SetField("arp_op", 2),
            copy("arp_sha", "arp_tha", 48),
            SetField("arp_sha", owner),
            copy("arp_spa", "arp_tpa"),
            SetField("arp_spa", number),
            go(REPLY),
        )
    return flow(
        ANSWER,
        100,
        # Only with an option, which becomes the answer's: OVS 3.1 would write one past the end of the packet.
        icmpv6(NEIGHBOUR_SOLICITATION, icmpv6_code=0, vni=vni, nd_target=number, nd_options_type=1),
        *turned,
        copy("ipv6_src", "ipv6_dst", 128),
        SetField("ipv6_src", number),
        SetField("icmpv6_type", NEIGHBOUR_ADVERTISEMENT),
        go(ANSWER_ND),
    )


def tunnel_number(ip: Ip) -> int:
    """The address of a tunnel's end as a number. Raises ValueError if it is not IPv4."""
    if ip_version(ip) != 4:
        raise ValueError(f"Tunnel address {ip} is not IPv4; give its host an IPv4 address for tunnels")
    return ip_int(ip)


def known_source(vni: int, mac: Mac, tunnel: int, group_set: int) -> Flow:
    """Which group set a packet from another host is of, by the `tunnel` address as `sender_of` has it."""
    sender = where(vni=vni, eth_src=mac_int(mac), tun_src=tunnel)
    return flow(SOURCE, 10, sender, load("source_set", group_set), go(DESTINATION))


def towards(view: HostView, row: NeighbourRow) -> tuple[SetField, SetField, SetField]:
    """What sends a packet to the neighbour's host."""
    return (
        load("target_port", view.facts.tunnel_ofport),
        load("tunnel", tunnel_number(row.tunnel_ip)),
        load("target_set", row.group_set),
    )


FEATURE = HostFeature(
    name="port",
    rows=(PortRow, NeighbourRow, FloodRow, SharedMacRow, SharedAddressRow, OwnerRow),
    rules=(
        FlowRule(PortRow, port_flows),
        FlowRule(PortRow, stateless_flows),
        FlowRule(NeighbourRow, neighbour_flows),
        FlowRule(NetworkRow, flood_flows),
        FlowRule(RuleRow, own_set_flows),
    ),
    indexes=(PORTS_OF_NETWORK, CARRIERS, SETS_OF_GROUP, ADDRESS_CLAIMS, MAC_CLAIMS),
    needs=(RowNeed(PortRow, scopes_of_port),),
    realisable=(
        Realisable(
            PortRow,
            iface_id=lambda row: row.trunk_port or row.id,
            generation=lambda row: row.generation,
            is_wanted=lambda row: row.admin_state_up,
            zone=lambda row: row.number,
        ),
    ),
)
