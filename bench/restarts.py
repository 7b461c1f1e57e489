# SPDX-License-Identifier: Apache-2.0
"""What restarts cost those who talk meanwhile: `python bench/restarts.py` (root, Open vSwitch).

Two virtual machines on two hosts; from one to the other a ping every 5 ms and one TCP stream. Meanwhile an agent is
restarted (by SIGTERM, then by SIGKILL), the control plane killed and started, vswitchd restarted. A round ends when a
port bound after the restart is ACTIVE and the stream has echoed something said after that.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import uvloop
from harness import Figure, Report, options

from alcor.lab import Host, Vm
from alcor.lab.cloud import Cloud
from alcor.lab.rest import Body
from alcor.lab.traffic import Pinging, Stream

PORT = 8080
STREAM_S_MAX = 20.0


@dataclass(frozen=True)
class Site:
    """Two virtual machines of one network, on two hosts, bound and ACTIVE."""

    cloud: Cloud
    network: Body
    left: Vm
    right: Vm


@dataclass(frozen=True)
class Cost:
    """What one round cost."""

    ping: Pinging
    stream: Stream
    is_alive: bool  # the stream, at the end
    took_s: float  # the restart itself


async def booted(cloud: Cloud, network: Body, host: Host, name: str) -> Vm:
    """A virtual machine whose port is ACTIVE."""
    port = await cloud.rest.create("port", {"network_id": network["id"], "name": name})
    vm = await cloud.boot(host, name, port)
    if await cloud.bind(port["id"], host.name) is None:
        raise RuntimeError(f"the port of {name} does not become ACTIVE")
    return vm


async def cost(site: Site, restart: Callable[[], Awaitable[object]], number: int) -> Cost:
    """One restart under traffic."""
    # Plugged before: in the userspace datapath a port that comes or goes may cost others a packet, whoever plugs it.
    port = await site.cloud.rest.create("port", {"network_id": site.network["id"]})
    late = await site.cloud.boot(site.left.host, f"late{number}", port)
    target = site.right.spec.addresses[0].partition("/")[0]
    await site.left.ping(target, tries=5)
    async with site.left.pinging(target) as ping, site.left.stream(target, PORT) as stream:
        await stream.is_alive()
        begun = time.perf_counter()
        await restart()
        took_s = time.perf_counter() - begun
        if await site.cloud.bind(port["id"], site.left.host.name) is None:
            raise RuntimeError("a port bound after the restart does not become ACTIVE")
        is_alive = await stream.is_alive(STREAM_S_MAX)
    await site.cloud.rest.delete("port", port["id"])
    await late.remove()
    return Cost(ping, stream, is_alive, took_s)


async def all_measured(report: Report, rounds: int) -> None:
    """Every kind of restart."""
    async with Cloud("127.0.0.1:0") as cloud:
        one, two = await cloud.add_hosts("one", "two")
        network = await cloud.rest.create("network", {"name": "blue"})
        await cloud.rest.create(
            "subnet", {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24"}
        )
        left, right = await booted(cloud, network, one, "left"), await booted(cloud, network, two, "right")
        await right.listen(PORT)
        site = Site(cloud, network, left, right)

        async def agent(number: signal.Signals) -> None:
            await cloud.stop_agent(one, number)
            cloud.start_agent(one)

        async def control_plane() -> None:
            await cloud.stop_control(signal.SIGKILL)
            await cloud.start_control()

        kinds: tuple[tuple[str, Callable[[], Awaitable[object]], bool], ...] = (
            ("agent restarted", lambda: agent(signal.SIGTERM), True),
            ("agent killed and started", lambda: agent(signal.SIGKILL), True),
            ("control plane killed and started", control_plane, True),
            ("vswitchd restarted", one.restart_vswitchd, False),
        )
        number = 0
        for name, restart, is_free in kinds:
            costs = []
            for _ in range(rounds):
                number += 1
                costs.append(await cost(site, restart, number))
            say(report, name, costs, is_free=is_free)


def say(report: Report, name: str, costs: list[Cost], *, is_free: bool) -> None:
    """The figures of one kind of restart."""
    alive = sum(each.is_alive for each in costs)
    said = (
        f"the stream lived in {alive} of {len(costs)}, its longest silence"
        f" {max(each.stream.longest_silence_s for each in costs) * 1000:.0f} ms;"
        f" {sum(each.ping.sent for each in costs):,} pings"
    )
    if is_free:
        report.add(Figure(f"{name}: pings lost", "lost", [each.ping.lost for each in costs], 0, 0, said))
    else:
        gaps = [each.ping.longest_gap_s for each in costs]
        took = f"vswitchd itself took {max(each.took_s for each in costs):.2f} s"
        report.add(Figure(f"{name}: longest gap in the ping", "s", gaps, None, 1, f"{said}; {took}"))
        report.add(Figure(f"{name}: pings lost", "lost", [each.ping.lost for each in costs]))


def main() -> None:
    """Prints the machine, the commit and the figures."""
    asked = options(__doc__)
    report = Report(asked)
    if os.geteuid() == 0:
        uvloop.run(all_measured(report, asked.rounds or (1 if asked.small else 5)))
    else:
        print("This needs root and a real switch.")
    report.close()


if __name__ == "__main__":
    main()
