# SPDX-License-Identifier: Apache-2.0
"""What hosts know of networks, and how packets from other hosts find theirs."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from alcor.base.net import Cidr, Ip
from alcor.dataplane.pipeline import (
    CLASSIFY,
    DELIVER,
    FLOOD_TUNNELS,
    LEAVE,
    LOCAL,
    REMOTE,
    SOURCE,
    TUNNEL,
    flow,
    go,
    load,
    where,
)
from alcor.dataplane.rows import FlowRule, HostFacts, HostFeature, HostView, Row
from alcor.dataplane.values import Action, Flow, Output, SetField

_TAGGED, _TAG_MASK = 0x1000, 0x1FFF  # of vlan_tci: that there is a tag, and with its number


class WireRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A way to carry a network: `vxlan` under its VNI, `local`, or `vlan` and `flat` on a physical network."""

    kind: str
    physical_network: str = ""
    tag: int = 0  # of a VLAN


class NetworkRow(Row, tag="network", frozen=True, kw_only=True):
    """In `network:N` under key `network`."""

    id: str
    vni: int
    mtu: int
    admin_state_up: bool = True  # false: the network carries nothing
    wires: tuple[WireRow, ...] = ()  # the first that a host can; none: by tunnels
    vlan_transparent: bool = False  # frames keep the tags that machines gave them


class SubnetRow(Row, tag="subnet", frozen=True, kw_only=True):
    """In `network:N` under key `subnet/ID`."""

    id: str
    cidr: Cidr
    gateway_ip: Ip | None = None


@dataclass(frozen=True, slots=True)
class Uplink:
    """How this host carries a network to others."""

    kind: str  # of a WireRow
    ofport: int = 0  # that leads to the physical network
    tag: int = 0


def uplink(facts: HostFacts, row: NetworkRow) -> Uplink | None:
    """The first way that this host can, or None if it can none."""
    ofports = dict(facts.uplinks)
    for wire in row.wires or (WireRow("vxlan"),):
        if not wire.physical_network:
            return Uplink(wire.kind)
        if ofports.get(wire.physical_network):
            return Uplink(wire.kind, ofports[wire.physical_network], wire.tag)
    return None


def network_flows(view: HostView, scope: str, row: NetworkRow) -> Iterator[Flow]:
    """Packets of the network that come from other hosts, and how they get to a physical network."""
    way, tunnel = uplink(view.facts, row), view.facts.tunnel_ofport
    if way is None or not row.admin_state_up:
        return
    onward = (load("vni", row.vni), load("origin", TUNNEL), go(SOURCE))
    if way.kind == "vxlan":
        yield flow(CLASSIFY, 100, where(in_port=tunnel, tun_id=row.vni), *onward)
        yield from with_tags(row, in_port=tunnel, tun_id=row.vni)
        return

    if way.ofport:
        yield _from_physical(way, onward)
        # Who is not known may be outside of all hosts.
        yield flow(REMOTE, 1, where(vni=row.vni), load("target_port", tunnel), go(LEAVE))
    # Above the tunnel's: what is for another host goes by the physical network, or nowhere.
    others = onto_physical(way) if way.ofport else ()
    from_here = {"vni": row.vni, "origin": LOCAL}
    yield flow(DELIVER, 110, where(target_port=tunnel, **from_here), *others)
    yield flow(FLOOD_TUNNELS, 20, where(**from_here), *others)


def with_tags(row: NetworkRow, **speaker: int) -> Iterator[Flow]:
    """Tagged frames of this speaker are classified as others are, where the network carries tags."""
    if row.vlan_transparent:
        # Above what drops tagged frames; which lets those of a known network pass.
        tagged = where(**speaker, vni=0, vlan_tci=(_TAGGED, _TAGGED))
        yield flow(CLASSIFY, 205, tagged, load("vni", row.vni), go(CLASSIFY))


def _from_physical(way: Uplink, onward: tuple[Action, ...]) -> Flow:
    if not way.tag:
        return flow(CLASSIFY, 100, where(in_port=way.ofport, vlan_tci=0), *onward)
    tagged = where(in_port=way.ofport, vlan_tci=(_TAGGED | way.tag, _TAG_MASK))
    # Above what drops all other tagged frames.
    return flow(CLASSIFY, 300, tagged, SetField("vlan_tci", 0), *onward)


def onto_physical(way: Uplink) -> tuple[Action, ...]:
    """What puts a packet onto the physical network."""
    if not way.tag:
        return (Output(way.ofport),)
    # The packet may have other receivers, who get it without the tag.
    return SetField("vlan_tci", _TAGGED | way.tag), Output(way.ofport), SetField("vlan_tci", 0)


FEATURE = HostFeature(
    name="network", rows=(NetworkRow, SubnetRow), rules=(FlowRule(NetworkRow, network_flows),)
)
