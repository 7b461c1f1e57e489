# SPDX-License-Identifier: Apache-2.0
"""What hosts know of networks."""

from alcor.base.net import Cidr, Ip
from alcor.dataplane.rows import Row


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
