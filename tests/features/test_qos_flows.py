# SPDX-License-Identifier: Apache-2.0
"""Quality of service in packets, asked for by REST: what is sent and received, what is marked, whose policy counts.

The clock of the world stands still while packets travel, so exactly a burst passes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from alcor.base.net import Ip
from alcor.testing.loop import simulate
from alcor.testing.machine import Machine
from alcor.testing.packet import BROADCAST, Ipv4, Packet, Udp
from alcor.testing.world import World

PACKETS = 200
FRAME_BITS = 8 * (14 + 20 + 8 + 958)  # 1,000 bytes
BURST_KBITS = 400  # 50 frames
TO_ALL = Ip("255.255.255.255")


class Scene:
    """Machines a and b on host one, c on host two, of one network."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.network = ""
        self.ports: dict[str, dict[str, Any]] = {}
        self.machines: dict[str, Machine] = {}

    async def build(self, **network: object) -> None:
        self.network = (await self.world.create("network", **network))["id"]
        await self.world.create("subnet", network_id=self.network, ip_version=4, cidr="10.0.0.0/24")
        group = (await self.world.create("security_group", name="open"))["id"]
        await self.world.create("security_group_rule", security_group_id=group, direction="ingress")
        for name, host in (("a", "one"), ("b", "one"), ("c", "two")):
            fields = {"network_id": self.network, "security_groups": [group]}
            self.ports[name], self.machines[name] = await self.world.boot(host, **fields)
        for name in "bc":
            assert self.machines["a"].ping(self.ip(name))

    def ip(self, name: str) -> Ip:
        return Ip(self.ports[name]["fixed_ips"][0]["ip_address"])

    async def give(self, noun: str, name: str, policy: str | None) -> None:
        """Gives a port (by name) or the network this policy."""
        holder = self.ports[name]["id"] if noun == "port" else self.network
        await self.world.update(noun, holder, qos_policy_id=policy)
        await self.world.settle()

    async def policy(self, **rules: dict[str, object]) -> str:
        """The id of a new policy with these rules, by kind; a direction may follow the kind after two underlines."""
        _, answer = await self.world.ask("POST", "qos/policies", {"policy": {}})
        policy = str(answer["policy"]["id"])
        for kind, given in rules.items():
            await self.rule(policy, kind, given)
        return policy

    async def rule(self, policy: str, kind: str, given: dict[str, object]) -> str:
        kind, _, direction = kind.partition("__")
        body = {f"{kind}_rule": given | ({"direction": direction} if direction else {})}
        status, answer = await self.world.ask("POST", f"qos/policies/{policy}/{kind}_rules", body)
        assert status == 201, answer
        return str(answer[f"{kind}_rule"]["id"])

    def came(self, source: str, target: str, many: tuple[str, ...] = ()) -> tuple[int, ...]:
        """How many of PACKETS datagrams arrive at `target`; or, broadcast, at each of `many`."""
        sender, receivers = self.machines[source], [self.machines[name] for name in many or (target,)]
        for receiver in receivers:
            receiver.got.clear()
        to, mac = (TO_ALL, BROADCAST) if many else (self.ip(target), self.machines[target].mac)
        packet = Packet(sender.mac, mac, Ipv4(self.ip(source), to, Udp(9, 9, bytes(958))))
        for _ in range(PACKETS):
            sender.send(packet)
        return tuple(sum(_is_ours(got) for got in receiver.got) for receiver in receivers)


def _is_ours(packet: Packet) -> bool:
    ip = packet.payload
    return isinstance(ip, Ipv4) and isinstance(ip.payload, Udp) and ip.payload.src == ip.payload.dst == 9


def in_scene(scenario: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        async with World(1) as world:
            world.add_host("one")
            world.add_host("two")
            scene = Scene(world)
            await scene.build()
            await scenario(scene)

    simulate(main())


LIMIT: dict[str, object] = {"max_kbps": 1000, "max_burst_kbps": BURST_KBITS}
PASSED = BURST_KBITS * 1000 // FRAME_BITS


@pytest.mark.parametrize("target", ["b", "c"])
def test_what_a_port_sends_is_limited_and_what_it_receives_is_not(target: str) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.give("port", "a", await scene.policy(bandwidth_limit=LIMIT))
        assert scene.came("a", target) == (PASSED,)
        assert scene.came(target, "a") == (PACKETS,)

    in_scene(scenario)


@pytest.mark.parametrize("source", ["b", "c"])
def test_what_a_port_receives_is_limited_and_what_it_sends_is_not(source: str) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.give("port", "a", await scene.policy(bandwidth_limit__ingress=LIMIT))
        assert scene.came(source, "a") == (PASSED,)
        assert scene.came("a", source) == (PACKETS,)

    in_scene(scenario)


def test_packets_are_counted_beside_bits_and_the_tighter_limit_holds() -> None:
    async def scenario(scene: Scene) -> None:
        rate: dict[str, object] = {"max_kpps": 1, "max_burst_kpps": 0}
        both = await scene.policy(packet_rate_limit=rate, packet_rate_limit__ingress=rate)
        await scene.give("port", "a", both)
        assert scene.came("a", "b") == (PACKETS,)  # a burst is 800 packets
        await scene.rule(both, "bandwidth_limit", LIMIT)
        await scene.rule(both, "bandwidth_limit__ingress", LIMIT)
        await scene.world.settle()
        assert scene.came("a", "b") == (PASSED,)
        assert scene.came("b", "a") == (PASSED,)
        assert len(scene.world.hosts["one"].switch.meters) == 4

    in_scene(scenario)


def test_what_goes_to_many_is_limited_for_each_alone() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.give("port", "a", await scene.policy(bandwidth_limit__ingress=LIMIT))
        assert scene.came("c", "", many=("a", "b")) == (PASSED, PACKETS)

    in_scene(scenario)


def test_a_limit_fills_again_with_time() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.give("port", "a", await scene.policy(bandwidth_limit=LIMIT))
        assert scene.came("a", "b") == (PASSED,)
        assert scene.came("a", "b") == (0,)
        await asyncio.sleep(0.08)
        assert scene.came("a", "b") == (10,)

    in_scene(scenario)


def test_a_changed_rule_holds_at_once_and_one_that_goes_holds_no_more() -> None:
    async def scenario(scene: Scene) -> None:
        policy = await scene.policy()
        await scene.give("port", "a", policy)
        assert scene.came("a", "b") == (PACKETS,)
        number = await scene.rule(policy, "bandwidth_limit", LIMIT)
        await scene.world.settle()
        assert scene.came("a", "b") == (PASSED,)
        url = f"qos/policies/{policy}/bandwidth_limit_rules/{number}"
        await scene.world.ask("PUT", url, {"bandwidth_limit_rule": {"max_burst_kbps": BURST_KBITS * 2}})
        await scene.world.settle()
        assert scene.came("a", "b") == (PASSED * 2,)
        await scene.world.ask("DELETE", url)
        await scene.world.settle()
        assert scene.came("a", "b") == (PACKETS,)

    in_scene(scenario)


def test_a_ports_own_policy_goes_before_its_networks() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.give("network", "", await scene.policy(bandwidth_limit=LIMIT))
        assert scene.came("a", "b") == scene.came("c", "b") == (PASSED,)
        await scene.give("port", "a", await scene.policy())
        assert scene.came("a", "b") == (PACKETS,)
        await scene.give("port", "a", None)
        assert scene.came("a", "b") == (PASSED,)
        await scene.give("network", "", None)
        assert scene.came("a", "b") == (PACKETS,)

    in_scene(scenario)


def test_a_networks_policy_does_not_bind_the_networks_own_ports() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.world.update("port", scene.ports["a"]["id"], device_owner="network:dhcp")
        limited = await scene.policy(bandwidth_limit=LIMIT)
        await scene.give("network", "", limited)
        assert scene.came("a", "b") == (PACKETS,)
        await scene.give("port", "a", limited)
        assert scene.came("a", "b") == (PASSED,)

    in_scene(scenario)


@pytest.mark.parametrize("target", ["b", "c"])
def test_packets_are_marked_on_their_way_out_and_not_on_their_way_in(target: str) -> None:
    async def scenario(scene: Scene) -> None:
        marked = await scene.policy(dscp_marking={"dscp_mark": 46}, bandwidth_limit=LIMIT)
        await scene.give("port", "a", marked)
        assert scene.came("a", target) == (PASSED,)
        assert {got.payload.tos for got in scene.machines[target].got if _is_ours(got)} == {46 << 2}
        assert scene.came(target, "a") == (PACKETS,)
        assert {got.payload.tos for got in scene.machines["a"].got if _is_ours(got)} == {0}

    in_scene(scenario)


def test_limits_are_there_again_after_a_restart_of_the_switch_and_go_when_the_port_goes() -> None:
    async def scenario(scene: Scene) -> None:
        policy = await scene.policy(bandwidth_limit=LIMIT, bandwidth_limit__ingress=LIMIT)
        await scene.give("port", "a", policy)
        host = scene.world.hosts["one"]
        before = host.switch.meters
        await host.restart_switch()
        assert host.switch.meters == []
        await scene.world.settle()
        assert host.switch.meters == before
        assert scene.came("b", "a") == (PASSED,)
        host.unplug(scene.ports["a"]["id"])
        await scene.world.settle()
        assert host.agent is not None
        host.agent.audit()
        await scene.world.settle()
        assert host.switch.meters == []

    in_scene(scenario)


def test_only_hosts_with_a_port_of_the_policy_know_its_rules() -> None:
    async def scenario(scene: Scene) -> None:
        policy = await scene.policy(bandwidth_limit=LIMIT)
        await scene.give("port", "a", policy)
        agents = {name: host.agent for name, host in scene.world.hosts.items()}
        held = {name: f"qos_policy:{policy}" in agent.rows.scopes for name, agent in agents.items() if agent}
        assert held == {"one": True, "two": False}

    in_scene(scenario)


def test_a_port_that_moves_finds_its_limit_where_it_goes() -> None:
    async def scenario(scene: Scene) -> None:
        policy, port = await scene.policy(bandwidth_limit=LIMIT), scene.ports["a"]
        await scene.give("port", "a", policy)
        await scene.world.update("port", port["id"], device_owner="compute:nova")
        url = f"ports/{port['id']}/bindings"
        status, answer = await scene.world.ask("POST", url, {"binding": {"host": "two"}})
        assert status == 201, answer
        await scene.world.settle()
        agent = scene.world.hosts["two"].agent
        assert agent is not None
        assert f"qos_policy:{policy}" in agent.rows.complete
        scene.machines["a"] = scene.world.hosts["two"].plug(port)
        await scene.world.settle()
        assert [meter.burst for meter in scene.world.hosts["two"].switch.meters] == [BURST_KBITS]

        status, answer = await scene.world.ask("PUT", f"{url}/two/activate")
        assert status == 200, answer
        await scene.world.settle()
        assert scene.came("a", "c") == (PASSED,)

    in_scene(scenario)


def test_limits_of_a_subport_hold_for_its_frames_alone() -> None:
    async def scenario(scene: Scene) -> None:
        world, parent = scene.world, scene.ports["a"]
        network = (await world.create("network"))["id"]
        await world.create("subnet", network_id=network, ip_version=4, cidr="10.1.0.0/24")
        fields = {"network_id": network, "security_groups": parent["security_groups"]}
        subport = await world.create("port", **fields)
        port, machine = await world.boot("one", **fields)
        carried = {"port_id": subport["id"], "segmentation_type": "vlan", "segmentation_id": 100}
        await world.create("trunk", port_id=parent["id"], sub_ports=[carried])
        policy = await scene.policy(bandwidth_limit=LIMIT)
        await world.update("port", subport["id"], qos_policy_id=policy)
        await world.settle()

        def came(sender: Machine, tag: int | None, source: dict[str, Any], target: dict[str, Any]) -> int:
            receiver = machine if target is port else scene.machines["a"]
            receiver.got.clear()
            source_ip, target_ip = (Ip(one["fixed_ips"][0]["ip_address"]) for one in (source, target))
            datagram = Ipv4(source_ip, target_ip, Udp(9, 9, bytes(958)))
            for _ in range(PACKETS):
                sender.send(Packet(source["mac_address"], target["mac_address"], datagram, vlan=tag))
            return sum(_is_ours(got) for got in receiver.got)

        passed = BURST_KBITS * 1000 // (FRAME_BITS + 32)  # the tag counts
        assert came(scene.machines["a"], 0x1000 | 100, subport, port) == passed
        assert came(machine, None, port, subport) == PACKETS
        assert scene.came("a", "b") == (PACKETS,)
        await world.update("port", subport["id"], qos_policy_id=None)
        await scene.give("port", "a", policy)
        assert came(scene.machines["a"], 0x1000 | 100, subport, port) == PACKETS

    in_scene(scenario)
