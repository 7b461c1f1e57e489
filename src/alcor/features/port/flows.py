# SPDX-License-Identifier: Apache-2.0
"""What hosts know of ports: their own, and the neighbours that these may talk to."""

import msgspec

from alcor.base.net import Cidr, Ip, Mac
from alcor.dataplane.rows import Row


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


class NeighbourRow(Row, tag="neighbour", frozen=True, kw_only=True):
    """In `neighbours:N` under the port's id: where its addresses are. Only of bound ports that are up."""

    mac: Mac
    addresses: tuple[Ip, ...] = ()
    host: str
    tunnel_ip: Ip
    group_set: int = 0
    generation: int = 0


class FloodRow(Row, tag="flood", frozen=True, kw_only=True):
    """In `flood:N` under the host's name: a host with a port of the network. One row behind many ports."""

    host: str
    tunnel_ip: Ip
