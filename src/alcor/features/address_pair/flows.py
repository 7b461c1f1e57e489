# SPDX-License-Identifier: Apache-2.0
"""How packets find an address or MAC that several ports may have: its owner where one is known, else every claimant.

Each is one row, however many claim it, and one flow for each table: flows grow with pairs, not with claimants or rules.
"""

from collections.abc import Iterator, Sequence

from alcor.base.net import Mac, ip_int, ip_version, mac_int
from alcor.dataplane.pipeline import (
    ANSWER,
    ARRIVE,
    DESTINATION,
    LEAVE,
    LOCAL,
    NEIGHBOUR_SOLICITATION,
    copy,
    flow,
    go,
    icmpv6,
    load,
    where,
)
from alcor.dataplane.rows import FlowRule, HostFeature, HostView, RowIndex
from alcor.dataplane.values import ETH_ARP, Action, Flow, Output, SetField
from alcor.features.network.flows import Uplink, onto_physical, uplink
from alcor.features.port.flows import (
    ADDRESS_CLAIMS,
    MAC_CLAIMS,
    NeighbourRow,
    OwnerRow,
    SharedAddressRow,
    SharedMacRow,
    interface_of,
    is_reached,
    known_source,
    network_of,
    sender_of,
    towards,
)

CLAIMANTS_MAX = 64  # of one address or MAC that get its packets; more are no group that fails over
_BROADCAST = 0xFFFFFFFFFFFF


def _owners(scope: str, key: str, row: OwnerRow) -> Iterator[tuple[tuple[str, Mac], str]]:
    yield (scope, row.mac), row.port


OWNERS_OF_MAC = RowIndex(OwnerRow, _owners)  # (scope, MAC) -> keys of the ports that have an address with it


def shared_address_flows(view: HostView, scope: str, row: SharedAddressRow) -> Iterator[Flow]:
    """ARP and neighbour solicitation for the address go to all who may have it: who has it now answers."""
    network = network_of(view, scope.removeprefix("neighbours:"))
    keys = view.find(ADDRESS_CLAIMS, (scope, row.address))
    way = uplink(view.facts, network) if network else None
    if network is None or way is None or not keys:
        return
    vni = network.vni
    number = ip_int(row.address)
    if ip_version(row.address) == 4:
        asked = where(vni=vni, eth_type=ETH_ARP, arp_op=1, arp_tpa=number)
        group = _BROADCAST
    else:
        asked = icmpv6(NEIGHBOUR_SOLICITATION, icmpv6_code=0, vni=vni, nd_target=number)
        group = 0x3333FF000000 | number & 0xFFFFFF
    # A question to one who had it, as a neighbour probes what it knows, is for the others, too.
    yield flow(ANSWER, 100, asked, SetField("eth_dst", group), *_copies(view, way, _rows(view, scope, keys)))


def shared_mac_flows(view: HostView, scope: str, row: SharedMacRow) -> Iterator[Flow]:
    """Packets to the MAC go to its owners. A sender is known where all who may be it on its host are of one set."""
    network = network_of(view, scope.removeprefix("neighbours:"))
    way = uplink(view.facts, network) if network else None
    if network is None or way is None:
        return
    vni = network.vni
    claimants = _rows(view, scope, view.find(MAC_CLAIMS, (scope, row.mac)))
    owners = view.find(OWNERS_OF_MAC, (scope, row.mac))
    claimants |= _rows(view, scope, owners)
    # Whose own MAC it is gets its packets whoever else claims it.
    chosen = {key: one for key, one in claimants.items() if key in owners or one.mac == row.mac}
    here: list[Action] = []
    away: list[Action] = []
    for key, one in (chosen if set(owners) & chosen.keys() else claimants).items():
        if one.host != view.facts.host:
            # One packet on a physical network is for all who are there.
            if is_reached(view, way, one) and not (way.ofport and away):
                away += (*towards(view, one), go(LEAVE))
        elif interface := interface_of(view, key):
            here += (load("target_port", interface.ofport), load("target_set", one.group_set), go(LEAVE))
    to_mac = mac_int(row.mac)
    yield flow(DESTINATION, 30, where(vni=vni, eth_dst=to_mac, origin=LOCAL), *here, *away)
    yield flow(DESTINATION, 20, where(vni=vni, eth_dst=to_mac), *here)

    sets_from: dict[int, set[int]] = {}
    for one in claimants.values():
        if one.host != view.facts.host and is_reached(view, way, one):
            sets_from.setdefault(sender_of(way, one), set()).add(one.group_set)
    for tunnel, sets in sets_from.items():
        yield known_source(vni, row.mac, tunnel, sets.pop() if len(sets) == 1 else 0)


def _rows(view: HostView, scope: str, keys: Sequence[str]) -> dict[str, NeighbourRow]:
    found = {key: view.row(NeighbourRow, scope, key) for key in keys[:CLAIMANTS_MAX]}
    return {key: row for key, row in found.items() if row is not None}


def _copies(view: HostView, way: Uplink, claimants: dict[str, NeighbourRow]) -> list[Action]:
    """A copy to each claimant of this host, and one to each other host with any, or to the physical network."""
    here: list[Action] = []
    hosts: dict[int, None] = {}
    for key, row in claimants.items():
        if row.host != view.facts.host and is_reached(view, way, row):
            hosts[sender_of(way, row)] = None
        elif interface := interface_of(view, key):
            here += (load("target_port", interface.ofport), go(ARRIVE))
    if way.ofport:
        return [*here, *(onto_physical(way) if hosts else ())]
    away = [act for ip in hosts for act in (SetField("tun_dst", ip), Output(view.facts.tunnel_ofport))]
    return [*here, copy("vni", "tun_id"), *away]


FEATURE = HostFeature(
    name="address_pair",
    rows=(),
    rules=(FlowRule(SharedAddressRow, shared_address_flows), FlowRule(SharedMacRow, shared_mac_flows)),
    indexes=(OWNERS_OF_MAC,),
)
