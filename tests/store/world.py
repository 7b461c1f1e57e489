# SPDX-License-Identifier: Apache-2.0
"""A small product for the tests of the store: nets, subnets in them, and ports with everything a table can declare."""

from __future__ import annotations

from alcor.base.errors import Conflict
from alcor.store.declare import Guard, Index, Pool, Reference, Schema, Stored, Table


class Net(Stored, frozen=True):
    name: str = ""
    vni: int | None = None


class Subnet(Stored, frozen=True):
    net: str
    kept: bool = False


class Port(Stored, frozen=True):
    net: str = ""
    mac: str = ""
    host: str = ""
    numbers: tuple[tuple[str, int], ...] = ()
    tags: tuple[str, ...] = ()
    revision_number: int = 0


NET_VNI: Pool[Net] = Pool(
    "vni",
    lambda net: (("vni", net.vni),) if net.vni is not None else (),
    lambda net, _, number: Conflict(f"VNI {number} is taken"),
)
NET: Table[Net] = Table("net", Net, pools=(NET_VNI,))

SUBNET_NET: Index[Subnet] = Index("subnet net", lambda subnet: (subnet.net,))
SUBNET: Table[Subnet] = Table(
    "subnet",
    Subnet,
    indexes=(SUBNET_NET,),
    references=(Reference("subnet net", NET, lambda s: (s.net,), by=SUBNET_NET),),
)

PORT_NET: Index[Port] = Index("port net", lambda port: (port.net,))
PORT_HOST: Index[Port] = Index("port host", lambda port: (port.host,) if port.host else ())
PORT_TAG: Index[Port] = Index("port tag", lambda port: port.tags)
PORT_MAC: Index[Port] = Index(
    "port mac",
    lambda port: ((port.net, port.mac),) if port.mac else (),
    unique=True,
    taken=lambda port, key: Conflict(f"MAC {port.mac} is taken"),
)
PORT_NUMBER: Pool[Port] = Pool(
    "port number", lambda port: port.numbers, lambda port, key, number: Conflict(f"{key} {number} is taken")
)
PORT: Table[Port] = Table(
    "port",
    Port,
    indexes=(PORT_NET, PORT_HOST, PORT_TAG, PORT_MAC),
    references=(
        Reference(
            "port net", NET, lambda port: (port.net,), in_use=lambda net: Conflict(f"net {net.id} has ports")
        ),
        Reference(
            "port subnet",
            SUBNET,
            lambda port: (subnet for subnet, _ in port.numbers),
            in_use=lambda subnet: Conflict(f"subnet {subnet.id} has ports"),
        ),
    ),
    pools=(PORT_NUMBER,),
)


def _keep(reader: object, old: Subnet | None, new: Subnet | None) -> None:
    if new is None and old is not None and old.kept:
        raise Conflict(f"subnet {old.id} is kept")


SCHEMA = Schema((NET, SUBNET, PORT), (Guard(SUBNET, _keep),))
