# SPDX-License-Identifier: Apache-2.0
"""Networks that no tunnel carries, from REST to packets: VLANs and flat ones on a physical network, and local ones."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from alcor.base.net import Ip, Mac
from alcor.testing.loop import simulate
from alcor.testing.machine import Machine
from alcor.testing.packet import BROADCAST, Ipv4, Packet, Udp
from alcor.testing.world import World

Scenario = Callable[[World], Awaitable[None]]


def in_world(scenario: Scenario) -> None:
    async def main() -> None:
        async with World(1, network_vlan_ranges=(("physnet", 1, 0),)) as world:
            world.add_host("h1", "physnet")
            world.add_host("h2", "physnet")
            await scenario(world)
            assert not any(host.switch.ambiguities for host in world.hosts.values())

    simulate(main())


async def network(world: World, kind: str, tag: int | None = None, place: str | None = "physnet") -> str:
    fields = {
        "provider:network_type": kind,
        "provider:physical_network": place,
        "provider:segmentation_id": tag,
    }
    made = await world.create("network", **fields)
    await world.create("subnet", network_id=made["id"], ip_version=4, cidr="10.0.0.0/24", enable_dhcp=False)
    return str(made["id"])


async def two_machines(
    world: World, network_id: str
) -> tuple[dict[str, Any], Machine, dict[str, Any], Machine]:
    port_a, a = await world.boot("h1", network_id=network_id, name="a")
    port_b, b = await world.boot("h2", network_id=network_id, name="b")
    await world.settle()
    return port_a, a, port_b, b


async def open_to(world: World, port: dict[str, Any], **rule: Any) -> None:
    (group,) = port["security_groups"]
    await world.create(
        "security_group_rule", security_group_id=group, direction="ingress", ethertype="IPv4", **rule
    )
    await world.settle()


def to_all(machine: Machine) -> Packet:
    return Packet(
        machine.mac, BROADCAST, Ipv4(machine.addresses[0], Ip("255.255.255.255"), Udp(68, 67, b"all"))
    )


def test_hosts_of_a_vlan_talk_over_the_physical_network_with_its_tag_and_not_through_tunnels() -> None:
    async def scenario(world: World) -> None:
        _, a, _, b = await two_machines(world, await network(world, "vlan", 100))
        assert a.ping(b.addresses[0])
        assert b.ping(a.addresses[0])
        assert {packet.vlan for _, packet in world.outside} == {100}
        assert {packet.src for _, packet in world.outside} == {a.mac, b.mac}

    in_world(scenario)


def test_hosts_of_a_flat_network_talk_over_the_physical_network_without_a_tag() -> None:
    async def scenario(world: World) -> None:
        _, a, _, b = await two_machines(world, await network(world, "flat"))
        assert a.ping(b.addresses[0])
        assert {packet.vlan for _, packet in world.outside} == {None}

    in_world(scenario)


def test_machine_outside_and_ports_find_each_other_where_the_group_lets_them() -> None:
    async def scenario(world: World) -> None:
        port, a, _, b = await two_machines(world, await network(world, "vlan", 100))
        outside = world.add_outsider("physnet", 100, Ip("10.0.0.250"))
        other = world.add_outsider("physnet", 101, Ip("10.0.0.251"))
        untagged = world.add_outsider("physnet", None, Ip("10.0.0.252"))

        assert a.ping(outside.addresses[0])
        assert outside.resolve(b.addresses[0]) == b.mac
        assert not outside.ping(a.addresses[0]), "it is no member of the default group"
        await open_to(world, port, protocol="icmp", remote_ip_prefix="10.0.0.250/32")
        assert outside.ping(a.addresses[0])
        assert outside.ping(b.addresses[0])
        for stranger in (other, untagged):
            assert stranger.resolve(a.addresses[0]) is None
            assert a.resolve(stranger.addresses[0]) is None

    in_world(scenario)


def test_group_tells_a_member_on_another_host_from_a_stranger_outside() -> None:
    async def scenario(world: World) -> None:
        _, a, _, b = await two_machines(world, await network(world, "vlan", 100))
        outside = world.add_outsider("physnet", 100, Ip("10.0.0.250"))
        a.open_ports.add(80)
        assert b.udp(a.addresses[0], 80)
        assert b.tcp(a.addresses[0], 80)
        assert not outside.udp(a.addresses[0], 80)
        assert not outside.tcp(a.addresses[0], 80)

    in_world(scenario)


def test_unicast_to_nobody_that_is_known_leaves_by_the_physical_network_only() -> None:
    async def scenario(world: World) -> None:
        _, a, _, b = await two_machines(world, await network(world, "vlan", 100))
        b.got.clear()
        unknown = Packet(a.mac, Mac("0e:99:00:00:00:01"), Ipv4(a.addresses[0], Ip("10.0.0.99"), Udp(1, 2)))
        a.send(unknown)
        assert world.outside[-1] == ("physnet", replace(unknown, vlan=100))
        assert not b.got, "and the other host neither keeps it nor sends it on"

    in_world(scenario)


def test_broadcast_reaches_local_ports_untagged_and_the_physical_network_once() -> None:
    async def scenario(world: World) -> None:
        net = await network(world, "vlan", 100)
        _, a, _, b = await two_machines(world, net)
        _, near = await world.boot("h1", network_id=net, name="near")
        await world.settle()
        outside = world.add_outsider("physnet", 100, Ip("10.0.0.250"))
        for machine in (b, near, outside):
            machine.got.clear()
        world.outside.clear()
        outside.resolve(a.addresses[0])
        world.outside.clear()
        a.resolve(Ip("10.0.0.99"))
        assert len(world.outside) == 1
        for machine in (b, near, outside):
            assert [got.src for got in machine.got if got.src == a.mac and got.dst == BROADCAST] == [a.mac]
            assert all(got.vlan is None for got in machine.got)

    in_world(scenario)


def test_known_addresses_are_answered_for_on_their_host_without_asking_around() -> None:
    async def scenario(world: World) -> None:
        _, a, _, b = await two_machines(world, await network(world, "vlan", 100))
        assert a.resolve(b.addresses[0]) == b.mac
        assert world.outside == []

    in_world(scenario)


def test_port_that_lies_about_its_address_is_not_heard_on_the_physical_network() -> None:
    async def scenario(world: World) -> None:
        _, a, _, b = await two_machines(world, await network(world, "vlan", 100))
        mac, ip = Mac("0e:99:00:00:00:01"), Ip("10.0.0.99")
        a.send(Packet(mac, b.mac, Ipv4(a.addresses[0], b.addresses[0], Udp(1, 2))))
        a.send(Packet(a.mac, b.mac, Ipv4(ip, b.addresses[0], Udp(1, 2))))
        a.send(replace(to_all(a), vlan=101))
        assert world.outside == []

    in_world(scenario)


def test_two_vlans_and_a_tunnelled_network_with_the_same_addresses_do_not_mix() -> None:
    async def scenario(world: World) -> None:
        ids = [await network(world, "vlan", tag) for tag in (100, 101)]
        ids.append(await network(world, "vxlan", None, None))
        pairs = [await two_machines(world, each) for each in ids]
        for number, (_, a, _, b) in enumerate(pairs):
            world.outside.clear()
            for machine in (pair[3] for pair in pairs):
                machine.got.clear()
            assert a.ping(b.addresses[0])
            assert {packet.vlan for _, packet in world.outside} == ({100 + number} if number < 2 else set())
            assert [bool(pair[3].got) for pair in pairs] == [pair[3] is b for pair in pairs]

    in_world(scenario)


def test_local_network_stays_on_its_host() -> None:
    async def scenario(world: World) -> None:
        net = await network(world, "local", None, None)
        _, a, _, b = await two_machines(world, net)
        _, near = await world.boot("h1", network_id=net, name="near")
        await world.settle()
        assert a.ping(near.addresses[0])
        assert not a.ping(b.addresses[0])
        assert not b.got
        assert world.outside == []

    in_world(scenario)


def test_vlan_gets_another_number_while_ports_talk() -> None:
    async def scenario(world: World) -> None:
        net = await network(world, "vlan", 100)
        _, a, _, b = await two_machines(world, net)
        await world.update("network", net, **{"provider:segmentation_id": 200})
        await world.settle()
        world.outside.clear()
        assert a.ping(b.addresses[0])
        assert {packet.vlan for _, packet in world.outside} == {200}

    in_world(scenario)


def test_port_whose_host_has_lost_its_bridge_is_down_and_says_why() -> None:
    async def scenario(world: World) -> None:
        port, _, _, _ = await two_machines(world, await network(world, "vlan", 100))
        host = world.hosts["h1"]
        await host.stop_agent()
        host.uplinks = (("physnet", 0),)
        agent = host.start_agent()
        await world.settle()
        assert (await world.show("port", port["id"]))["status"] == "DOWN"
        report = agent.session.report(port["id"])
        assert report is not None
        assert "no bridge to the physical network physnet" in report.reason

        await host.stop_agent()
        host.uplinks = (("physnet", 2),)
        host.start_agent()
        await world.until_active(port["id"])

    in_world(scenario)
