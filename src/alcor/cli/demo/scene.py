# SPDX-License-Identifier: Apache-2.0
"""The demo's story as values: networks, security groups, virtual machines, and who may reach whom.

What is expected is written down by hand, so that the demo judges Alcor and not itself.
"""

from dataclasses import dataclass
from typing import Literal

from alcor.lab.rest import Body

Protocol = Literal["tcp", "udp"]
HOSTS = ("host-1", "host-2", "host-3")


@dataclass(frozen=True)
class NetworkPlan:
    """A network with one subnet of each IP version."""

    name: str
    style: str  # its colour in drawings
    first: int  # of the last parts of its addresses
    cidrs: tuple[str, str] = ("10.1.0.0/24", "fd00:1::/64")

    @property
    def pools(self) -> tuple[Body, Body]:
        """The allocation pool of each subnet: thirty addresses from `first` on."""
        first, last = self.first, self.first + 29
        return (
            {"start": f"10.1.0.{first}", "end": f"10.1.0.{last}"},
            {"start": f"fd00:1::{first:x}", "end": f"fd00:1::{last:x}"},
        )


@dataclass(frozen=True)
class VmPlan:
    """A virtual machine."""

    name: str
    host: str
    network: str
    group: str  # "default": the project's own


@dataclass(frozen=True)
class Talk:
    """One conversation that is tried."""

    source: str
    target: str
    protocol: Protocol
    port: int
    is_expected: bool
    why: str


# Both have the same addresses to give: only the networks keep them apart.
NETWORKS = (NetworkPlan("blue", "bright_blue", first=10), NetworkPlan("red", "bright_red", first=100))

# Each rule: what `POST /v2.0/security-group-rules` gets, for both IP versions; "remote" names a group.
GROUPS: dict[str, tuple[Body, ...]] = {
    "web": (
        {"protocol": "icmp"},
        {"protocol": "tcp", "port_range_min": 80, "port_range_max": 80},
    ),
    "db": (
        {"protocol": "icmp", "remote": "web"},
        {"protocol": "tcp", "port_range_min": 5432, "port_range_max": 5432, "remote": "web"},
    ),
}

VMS = (
    VmPlan("web-1", "host-1", "blue", "web"),
    VmPlan("web-2", "host-2", "blue", "web"),
    VmPlan("db", "host-3", "blue", "db"),
    VmPlan("guest", "host-2", "blue", "default"),
    VmPlan("red-1", "host-1", "red", "default"),
    VmPlan("red-2", "host-3", "red", "default"),
)

# Row pings column: y = must be answered over IPv4 and IPv6, n = must not be answered over either.
# Everybody in blue may ping web; web alone may ping db; default answers only its own members, and
# `guest` shares that group with red-1 and red-2, but not their network.
PINGS = """
        web-1  web-2  db  guest  red-1  red-2
web-1     -      y    y     n      n      n
web-2     y      -    y     n      n      n
db        y      y    -     n      n      n
guest     y      y    n     -      n      n
red-1     n      n    n     n      -      y
red-2     n      n    n     n      y      -
"""

TALKS = (
    Talk("guest", "web-1", "tcp", 80, True, "web opens port 80 to all"),
    Talk("guest", "web-1", "tcp", 22, False, "nothing opens port 22"),
    Talk("web-2", "db", "tcp", 5432, True, "db opens it to group web"),
    Talk("guest", "db", "tcp", 5432, False, "guest is not in group web"),
    Talk("web-2", "db", "udp", 5432, False, "db opens TCP only"),
    Talk("red-1", "red-2", "udp", 7, True, "default lets its members in"),
    Talk("red-1", "web-1", "tcp", 80, False, "another network"),
)


def expected_pings() -> dict[tuple[str, str], bool]:
    """(source, target) -> whether the ping must be answered, from the table above."""
    targets, *rows = (line.split() for line in PINGS.strip().splitlines())
    return {
        (source, target): mark == "y"
        for source, *marks in rows
        for target, mark in zip(targets, marks, strict=True)
        if mark != "-"
    }


def listening_ports() -> dict[str, list[int]]:
    """The ports on which each virtual machine listens, so that silence is the network's doing."""
    return {vm.name: sorted({talk.port for talk in TALKS if talk.target == vm.name}) for vm in VMS}
