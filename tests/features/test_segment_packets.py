# SPDX-License-Identifier: Apache-2.0
"""Networks of several segments, to packets: who shares a segment talks, and segments are joined by nothing."""

from typing import Any

from alcor.base.net import Ip
from alcor.testing.loop import simulate
from alcor.testing.machine import Machine
from alcor.testing.world import World

RANGES = (("left", 1, 0), ("right", 1, 0))


def way(kind: str, place: str | None = None, number: int | None = None) -> dict[str, Any]:
    return {
        "provider:network_type": kind,
        "provider:physical_network": place,
        "provider:segmentation_id": number,
    }


async def machines(world: World, network_id: str, *hosts: str) -> list[Machine]:
    booted = [(await world.boot(host, network_id=network_id, name=host))[1] for host in hosts]
    await world.settle()
    return booted


async def network(world: World, *segments: dict[str, Any]) -> str:
    made = await world.create("network", segments=list(segments))
    return str(made["id"])


async def subnet(world: World, network_id: str, cidr: str, segment_id: str | None = None) -> None:
    fields = {"network_id": network_id, "ip_version": 4, "cidr": cidr, "enable_dhcp": False}
    await world.create("subnet", **fields, segment_id=segment_id)


def test_hosts_talk_over_the_segment_that_they_share_and_over_no_other() -> None:
    async def scenario() -> None:
        async with World(1, network_vlan_ranges=RANGES) as world:
            for name, place in (("a", "left"), ("b", "left"), ("c", "right"), ("d", ""), ("e", "")):
                world.add_host(name, place)
            net = await network(world, way("vlan", "left", 7), way("vlan", "right", 8), way("vxlan"))
            await subnet(world, net, "10.0.0.0/24")
            a, b, c, d, e = await machines(world, net, *"abcde")
            reached = {
                (one, other)
                for one, sender in zip("abcde", (a, b, c, d, e), strict=True)
                for other, target in zip("abcde", (a, b, c, d, e), strict=True)
                if one != other and sender.ping(target.addresses[0])
            }
            assert reached == {("a", "b"), ("b", "a"), ("d", "e"), ("e", "d")}
            assert {(place, packet.vlan) for place, packet in world.outside} <= {("left", 7), ("right", 8)}

            outside = world.add_outsider("right", 8, Ip("10.0.0.250"))
            assert c.ping(outside.addresses[0])
            assert outside.resolve(a.addresses[0]) is None
            assert not any(host.switch.ambiguities for host in world.hosts.values())

    simulate(scenario())


def test_port_moves_to_the_segment_that_is_added_for_its_host() -> None:
    async def scenario() -> None:
        async with World(1, network_vlan_ranges=RANGES) as world:
            for name in ("a", "b"):
                world.add_host(name)
            made = await world.create("network", **way("vlan", "left", 7))
            await subnet(world, made["id"], "10.0.0.0/24")
            await world.create("segment", network_id=made["id"], network_type="vxlan")
            a, b = await machines(world, made["id"], "a", "b")
            assert a.ping(b.addresses[0])
            assert world.outside == []

    simulate(scenario())


def test_port_of_a_routed_network_has_the_address_and_the_wire_of_its_hosts_segment() -> None:
    async def scenario() -> None:
        async with World(1, network_vlan_ranges=RANGES) as world:
            for name, place in (("a", "left"), ("b", "left"), ("c", "right")):
                world.add_host(name, place)
            net = await network(world, way("vlan", "left", 7), way("vlan", "right", 8))
            for segment in await world.find("segment", network_id=net):
                number = segment["segmentation_id"]
                await subnet(world, net, f"10.0.{number}.0/24", segment["id"])
            a, b, c = await machines(world, net, "a", "b", "c")
            assert [one.addresses[0].split(".")[2] for one in (a, b, c)] == ["7", "7", "8"]
            assert a.ping(b.addresses[0])
            assert {(place, packet.vlan) for place, packet in world.outside} == {("left", 7)}

    simulate(scenario())
