# SPDX-License-Identifier: Apache-2.0
"""What comes out of a tunnel finds its network and port, has a sender who is who it says, and goes no further."""

from collections.abc import Iterator

import pytest

from alcor.base.net import Ip, ip_int
from alcor.testing.fake_switch import Tunnel
from alcor.testing.packet import BROADCAST, Ipv4, Packet, Udp
from tests.agent.fabric import TUNNEL_OFPORT, FakeFabric
from tests.agent.wanted import Nic, nic
from tests.features.packets import STRANGER, arp_request, small_world, to_all, udp


@pytest.fixture
def fake() -> Iterator[FakeFabric]:
    fabric = FakeFabric()
    yield fabric
    assert not any(switch.ambiguities for switch in fabric.switches.values())


def from_tunnel(fake: FakeFabric, packet: Packet, vni: int = 5001, source: str = "10.99.0.1") -> list[str]:
    """The ports of host two that get a packet which came in by its tunnel."""
    tunnel = Tunnel(id=vni, src=ip_int(Ip(source)), dst=ip_int(fake.wanted.tunnel_ips["two"]))
    names = {fake.ofports[name]: name for name, nic in fake.wanted.nics.items() if nic.host == "two"}
    emissions = fake.switches["two"].receive(TUNNEL_OFPORT, packet, tunnel)
    return sorted(names[emission.port] for emission in emissions)


async def world(fake: FakeFabric) -> tuple[Nic, Nic]:
    """a on host one, c and d on host two."""
    a, _, c = small_world(fake)
    fake.add("d", nic(4, "n", "two", groups=("g",)))
    await fake.realise()
    return a, c


async def test_packet_for_a_port_of_the_host_reaches_it(fake: FakeFabric) -> None:
    a, c = await world(fake)
    assert from_tunnel(fake, udp(a, c)) == ["c"]
    assert from_tunnel(fake, to_all(a)) == ["c", "d"]


async def test_packet_for_a_port_that_is_not_here_is_dropped(fake: FakeFabric) -> None:
    a, _ = await world(fake)
    b = fake.wanted.nics["b"]
    assert from_tunnel(fake, udp(a, b)) == [], "host one's, and never back into the tunnel"
    assert from_tunnel(fake, Packet(a.mac, STRANGER, Ipv4(a.ipv4, Ip("10.0.0.77"), Udp(1, 2)))) == []


async def test_network_that_is_not_here_is_dropped(fake: FakeFabric) -> None:
    a, c = await world(fake)
    assert from_tunnel(fake, udp(a, c), vni=5002) == []
    assert from_tunnel(fake, to_all(a), vni=0) == []


async def test_sender_from_the_wrong_host_is_not_taken_for_the_member(fake: FakeFabric) -> None:
    a, c = await world(fake)
    assert from_tunnel(fake, udp(a, c), source="10.99.0.77") == []
    assert from_tunnel(fake, udp(a, c)) == ["c"]


async def test_requests_from_tunnels_are_not_answered_by_proxy(fake: FakeFabric) -> None:
    a, c = await world(fake)
    assert from_tunnel(fake, arp_request(a, c.ipv4)) == ["c", "d"]


async def test_port_of_a_moved_machine_is_reached_on_its_new_host_only(fake: FakeFabric) -> None:
    a, b, c = small_world(fake)
    await fake.realise()
    assert await fake.reached("a", udp(a, c)) == {"c"}
    del fake.ofports["c"]
    c = fake.change("c", host="one", generation=2)
    await fake.realise()
    assert await fake.reached("b", udp(b, c)) == {"c"}
    assert from_tunnel(fake, udp(a, c)) == []
    assert [
        name for name, _ in await fake.send("a", Packet(a.mac, BROADCAST, Ipv4(a.ipv4, c.ipv4, Udp(1, 2))))
    ] == [
        "b",
        "c",
    ]
    assert fake.agents["two"].rows.scopes["host:two"] == {}
