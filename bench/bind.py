# SPDX-License-Identifier: Apache-2.0
"""How long a port takes to ACTIVE on a real switch, as GET sees it: `python bench/bind.py` (root, Open vSwitch).

Two hosts with agents, nothing else to do. First the interface is plugged and the clock starts with PUT of
`binding:host_id`; then the port is bound and the clock starts with the transaction that plugs its interface. It stops
when GET, asked again and again on one connection, says ACTIVE. Every port is in the default group, on one network.
"""

from __future__ import annotations

import asyncio
import os
import time

import uvloop
from harness import Connection, Figure, Report, options, percentile, request

from alcor.base.net import Mac
from alcor.lab import BRIDGE, Host, VmSpec, ovsdb
from alcor.lab.cloud import Cloud
from alcor.lab.rest import Body

ACTIVE_S_MAX = 20.0
STATUS = b'"status":"ACTIVE"'
HOSTS = ("one", "two")


class Ports:
    """Ports of one network, each with the link of a virtual machine that says nothing."""

    def __init__(self, cloud: Cloud, api: Connection) -> None:
        self.cloud = cloud
        self.api = api
        self.network = ""
        self.answered_ms: list[float] = []  # of PUT alone

    async def create(self, host: Host, bound_to: str = "") -> Body:
        """A port, and a link with its name on the host, not plugged yet."""
        if not self.network:
            self.network = (await self.api.json("POST", "networks", {"network": {}}))["network"]["id"]
            subnet = {"network_id": self.network, "ip_version": 4, "cidr": "10.0.0.0/16"}
            await self.api.json("POST", "subnets", {"subnet": subnet})
        asked = {"network_id": self.network, "binding:host_id": bound_to}
        port: Body = (await self.api.json("POST", "ports", {"port": asked}))["port"]
        await host.namespace.ip(f"link add {tap(port)} type veth peer name p{tap(port)}")
        await host.namespace.ip(f"link set {tap(port)} up", f"link set p{tap(port)} up")
        return port

    async def until_active(self, port: Body, begun: float) -> float:
        """Milliseconds since `begun` when GET says ACTIVE."""
        show = request("GET", f"ports/{port['id']}?fields=status")
        while STATUS not in await self.api.ask(show):
            if time.perf_counter() - begun > ACTIVE_S_MAX:
                raise RuntimeError(f"port {port['id']} is not ACTIVE within {ACTIVE_S_MAX:.0f} s")
        return (time.perf_counter() - begun) * 1000

    async def remove(self, host: Host, port: Body) -> None:
        """The port and its link are gone."""
        await self.api.json("DELETE", f"ports/{port['id']}")
        await host.vsctl("--if-exists", "del-port", BRIDGE, tap(port))
        await host.namespace.ip(f"link del {tap(port)}")


def tap(port: Body) -> str:
    """The name of a port's interface, as Nova would name it."""
    return f"tap{port['id'][:11]}"


async def plug(host: Host, port: Body) -> None:
    """Put the port's interface into the bridge; returns when it has its port number."""
    spec = VmSpec(name="vm", port_id=port["id"], mac=Mac(port["mac_address"]))
    ids = {"iface-id": spec.port_id, "attached-mac": spec.mac, "iface-status": "active"}
    await ovsdb.add_port(host.ovsdb_socket, BRIDGE, tap(port), ids)


async def bound(ports: Ports, host: Host) -> float:
    """One sample: the interface is plugged, then the port is bound."""
    port = await ports.create(host)
    await plug(host, port)
    await asyncio.sleep(0.1)  # until the agent has seen it, and all is idle again
    begun = time.perf_counter()
    await ports.api.json("PUT", f"ports/{port['id']}", {"port": {"binding:host_id": host.name}})
    ports.answered_ms.append((time.perf_counter() - begun) * 1000)
    took_ms = await ports.until_active(port, begun)
    await ports.remove(host, port)
    await asyncio.sleep(0.1)
    return took_ms


async def plugged(ports: Ports, host: Host) -> float:
    """One sample: the port is bound, then the interface is plugged."""
    port = await ports.create(host, host.name)
    await asyncio.sleep(0.1)
    begun = time.perf_counter()
    plugging = asyncio.create_task(plug(host, port))
    took_ms = await ports.until_active(port, begun)
    await plugging
    await ports.remove(host, port)
    await asyncio.sleep(0.1)
    return took_ms


async def all_measured(report: Report, samples: int) -> None:
    """Both ways, on hosts that stay up."""
    async with Cloud("127.0.0.1:0") as cloud:
        hosts = await cloud.add_hosts(*HOSTS)
        api = await Connection.open(int(cloud.listen.rpartition(":")[2]))
        ports = Ports(cloud, api)
        for name, sample, bounds in (
            ("PUT binding:host_id, interface plugged", bound, ((12, 6), (60, 30))),
            ("plugging the interface of a bound port", plugged, ((25, 15), (100, 60))),
        ):
            await sample(ports, hosts[0])
            took_ms = [await sample(ports, hosts[number % len(hosts)]) for number in range(samples)]
            for percent, (least, aim) in zip((50, 99), bounds, strict=True):
                said = f"{len(took_ms)} samples of {min(took_ms):.1f} to {max(took_ms):.1f} ms"
                if sample is bound:
                    said += f"; of it until PUT is answered {percentile(ports.answered_ms, percent):.1f} ms"
                figure = [percentile(took_ms, percent)]
                which = "median" if percent == 50 else f"p{percent}"
                report.add(Figure(f"ACTIVE after {name}: {which}", "ms", figure, least, aim, said))
        api.close()


def main() -> None:
    """Prints the machine, the commit and the figures."""
    asked = options(__doc__)
    report = Report(asked)
    if os.geteuid() == 0:
        uvloop.run(all_measured(report, asked.rounds or (10 if asked.small else 250)))
    else:
        print("This needs root and a real switch.")
    report.close()


if __name__ == "__main__":
    main()
