# SPDX-License-Identifier: Apache-2.0
"""What still comes to a host for a port that has left it goes on to where the port is, and is judged there."""

from collections.abc import Iterator

from alcor.base.net import Ip, Mac, mac_int
from alcor.dataplane.pipeline import DESTINATION, SOURCE, copy, flow, go, load, where
from alcor.dataplane.rows import FlowRule, HostFeature, HostView, Row, RowNeed
from alcor.dataplane.values import Flow, InPort, SetField
from alcor.features.network.flows import NetworkRow
from alcor.features.port.flows import NeighbourRow, tunnel_number


class MovedRow(Row, tag="moved", frozen=True, kw_only=True):
    """In `host:H` under `moved/PORT`, for a minute: where a port is that was here."""

    network: str
    mac: Mac
    tunnel_ip: Ip


class ArrivedRow(Row, tag="arrived", frozen=True, kw_only=True):
    """In `host:H` under `arrived/NETWORK/HOST`, for a minute: a host that sends on to ports that came from there."""

    network: str
    tunnel_ip: Ip


def moved_flows(view: HostView, scope: str, row: MovedRow) -> Iterator[Flow]:
    """Packets from hosts that have not heard of the move, back into the tunnel."""
    network = view.row(NetworkRow, f"network:{row.network}", "network")
    if network is None or not network.admin_state_up:
        return
    there, tunnel = tunnel_number(row.tunnel_ip), view.facts.tunnel_ofport
    to_port = {"in_port": tunnel, "vni": network.vni, "eth_dst": mac_int(row.mac)}
    # Above the port's own way in, should its interface still be here.
    yield flow(DESTINATION, 15, where(**to_port), copy("vni", "tun_id"), SetField("tun_dst", there), InPort())
    # The other host believes this one of whom a packet is: so it must be known here.
    yield flow(DESTINATION, 16, where(**to_port, source_set=0))
    # What the other host sends here it would get back.
    yield flow(DESTINATION, 17, where(**to_port, tun_src=there))


def arrived_flows(view: HostView, scope: str, row: ArrivedRow) -> Iterator[Flow]:
    """Who it is that sends by way of the host which a port has left."""
    network = view.row(NetworkRow, f"network:{row.network}", "network")
    if network is None or not network.admin_state_up:
        return
    by_way_of = tunnel_number(row.tunnel_ip)
    for sender in view.rows(NeighbourRow, f"neighbours:{row.network}"):
        by_mac = where(vni=network.vni, eth_src=mac_int(sender.mac), tun_src=by_way_of)
        # Below what says who is on that host itself.
        yield flow(SOURCE, 5, by_mac, load("source_set", sender.group_set), go(DESTINATION))


def scopes_of_move(row: MovedRow | ArrivedRow) -> tuple[str, ...]:
    """What a host must know of the network to tell who sends."""
    return f"network:{row.network}", f"neighbours:{row.network}"


FEATURE = HostFeature(
    name="binding",
    rows=(MovedRow, ArrivedRow),
    rules=(FlowRule(MovedRow, moved_flows), FlowRule(ArrivedRow, arrived_flows)),
    needs=(RowNeed(MovedRow, scopes_of_move), RowNeed(ArrivedRow, scopes_of_move)),
)
