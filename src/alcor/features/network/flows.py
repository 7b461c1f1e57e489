# SPDX-License-Identifier: Apache-2.0
"""What hosts know of networks, and how packets from other hosts find theirs."""

from collections.abc import Iterator

from alcor.base.net import Cidr, Ip
from alcor.dataplane.pipeline import CLASSIFY, SOURCE, TUNNEL, flow, go, load, where
from alcor.dataplane.rows import FlowRule, HostFeature, HostView, Row
from alcor.dataplane.values import Flow


class NetworkRow(Row, tag="network", frozen=True, kw_only=True):
    """In `network:N` under key `network`."""

    id: str
    vni: int
    mtu: int
    admin_state_up: bool = True  # false: the network carries nothing


class SubnetRow(Row, tag="subnet", frozen=True, kw_only=True):
    """In `network:N` under key `subnet/ID`."""

    id: str
    cidr: Cidr
    gateway_ip: Ip | None = None


def network_flows(view: HostView, scope: str, row: NetworkRow) -> Iterator[Flow]:
    """Packets of the network that come from other hosts."""
    if row.admin_state_up:
        from_tunnel = where(in_port=view.facts.tunnel_ofport, tun_id=row.vni)
        yield flow(CLASSIFY, 100, from_tunnel, load("vni", row.vni), load("origin", TUNNEL), go(SOURCE))


FEATURE = HostFeature(
    name="network", rows=(NetworkRow, SubnetRow), rules=(FlowRule(NetworkRow, network_flows),)
)
