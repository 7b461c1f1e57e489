# SPDX-License-Identifier: Apache-2.0
"""Broadcasts of a network on more hosts than one packet can become on Open vSwitch, counted as they leave the host."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from alcor.agent.claims import Window
from alcor.agent.main import HostAgent, keep_switch
from alcor.agent.plug import Plugged
from alcor.agent.rows import HostRows
from alcor.agent.session import HostIdentity, Session
from alcor.agent.switch import Bounds
from alcor.base.metrics import FLOODS_CUT
from alcor.base.net import Ip, ip_int
from alcor.base.telemetry import Meters
from alcor.dataplane.rows import HostFacts, Interface
from alcor.features.host import HOST
from alcor.features.port.flows import FLOOD_HOSTS_MAX, FloodRow
from alcor.testing.packet import BROADCAST, NO_MAC, Arp, Ipv4, Packet, Udp
from tests.agent.fabric import until
from tests.agent.wanted import Feed, Wanted, nic
from tests.dataplane.bridge import TUNNEL_IP, VXLAN, Bridge, drain

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]

FIRST = ip_int(Ip("10.50.0.1"))  # tunnel address of the first of the others, all behind one known neighbour
A, B = nic(1, "n", "one", port_security=False), nic(2, "n", "one", port_security=False)
HEARD_S_MAX = 20.0  # until all that must come has come
QUIET_S = 0.5  # for what must not come
UNTOLD = 1 << 60  # more than ever comes


@dataclass
class Large:
    """Host `one` with ports 1 and 2, its agent, and what it sends to others."""

    bridge: Bridge
    far: socket.socket
    agent: HostAgent
    feed: Feed
    meters: Meters

    async def spread_over(self, hosts: int) -> None:
        """The network is on this many other hosts."""
        wanted = Wanted({"one": Ip(TUNNEL_IP)}, {"n": 5001}, {"a": A, "b": B})
        rows = wanted.of_host("one")
        rows["flood:n"] |= {
            f"h{number:05}": FloodRow(host=f"h{number}", tunnel_ip=other(number)) for number in range(hosts)
        }
        self.agent.rows_changed(self.feed.send(rows))
        await self.agent.idle()
        await asyncio.to_thread(self.bridge.appctl, "revalidator/wait")

    async def broadcast(self, packet: Packet, expected: int, times: int = 1) -> tuple[Counter[int], int]:
        """Port 1 says it: to which tunnel addresses, as numbers, it went how often, and how often to port 2.

        Returns when `expected` have come to other hosts and time has passed for more.
        """
        for end in (self.far, *self.bridge.sockets.values()):
            drain(end)
        for _ in range(times):
            self.bridge.sockets[1].send(packet.build())
        outer: Counter[int] = Counter()
        local, loop = 0, asyncio.get_running_loop()
        end_s = loop.time() + HEARD_S_MAX
        while loop.time() < end_s:
            frames = drain(self.far)
            outer.update(int.from_bytes(frame[30:34]) for frame in frames if frame[12:14] == b"\x08\x00")
            local += sum(frame == packet.build() for frame in drain(self.bridge.sockets[2]))
            if outer.total() >= expected:
                end_s, expected = loop.time() + QUIET_S, UNTOLD
            await asyncio.sleep(0.005)
        return outer, local


def other(number: int) -> Ip:
    return Ip(f"10.50.{(number + 1) >> 8}.{(number + 1) & 255}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def large() -> AsyncIterator[Large]:
    bridge = Bridge()
    far = bridge.with_tunnels()
    bridge.appctl("ovs/route/add", "10.50.0.0/16", "br-phy", "10.99.0.2")
    meters, tunnel_ip = Meters(), Ip(TUNNEL_IP)
    session = Session(
        HostIdentity("one", tunnel_ip), HostRows([kind for feature in HOST for kind in feature.rows])
    )
    session.hello()
    agent = HostAgent(HOST, session, HostFacts("one", tunnel_ip, 0), meters)
    plugged = (Interface(A.id, "p1", 1), Interface(B.id, "p2", 2))
    agent.plugged(Plugged(plugged, (), VXLAN))
    tasks = [
        asyncio.create_task(agent.run()),
        asyncio.create_task(keep_switch(agent, bridge.socket, Bounds(), meters)),
    ]
    await until(lambda: agent.reconciler.is_attached)
    yield Large(bridge, far, agent, Feed(session), meters)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    far.close()
    bridge.stop()


WORDS = {
    "arp": Packet(A.mac, BROADCAST, Arp(1, A.mac, A.ipv4, NO_MAC, Ip("10.0.0.99"))),
    "ipv4": Packet(A.mac, BROADCAST, Ipv4(A.ipv4, Ip("255.255.255.255"), Udp(1, 2, b"all"))),
}


@pytest.mark.parametrize("hosts", [1, FLOOD_HOSTS_MAX, FLOOD_HOSTS_MAX + 1, 781, 3_000])
@pytest.mark.parametrize("word", WORDS)
async def test_each_host_of_the_network_gets_a_broadcast_once_however_many_there_are(
    large: Large, hosts: int, word: str
) -> None:
    await large.spread_over(hosts)
    outer, local = await large.broadcast(WORDS[word], hosts)
    assert outer == Counter(range(FIRST, FIRST + hosts))
    assert local == 1


async def test_broadcasts_beyond_what_the_agent_repeats_are_counted_and_reach_the_first_hosts(
    large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    may, times = 3, 5
    monkeypatch.setattr(large.agent, "_floods", Window(may))
    await large.spread_over(FLOOD_HOSTS_MAX + 1)
    before = large.meters.value(FLOODS_CUT)
    outer, local = await large.broadcast(WORDS["arp"], FLOOD_HOSTS_MAX * times + may, times)
    assert outer[FIRST] == outer[FIRST + FLOOD_HOSTS_MAX - 1] == local == times
    further = outer[FIRST + FLOOD_HOSTS_MAX]
    assert further >= may, "more only if they came in two windows"
    assert large.meters.value(FLOODS_CUT) - before == times - further
