# SPDX-License-Identifier: Apache-2.0
"""VLAN transparent networks: what may be one over REST, and that tagged frames are held to what all others are."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest_asyncio

from alcor.base.net import Ip
from alcor.testing.loop import simulate
from alcor.testing.packet import Arp, Ipv4, Packet, Udp
from alcor.testing.world import World
from tests.agent.fabric import Fabric, open_fabric
from tests.features.door import Door
from tests.features.packets import (
    STRANGER,
    arp_request,
    echo,
    echo_reply,
    small_world,
    syn,
    syn_ack,
    to_all,
    udp,
)

TYPE, WHERE = "provider:network_type", "provider:physical_network"
TAG, OTHER_TAG = 100, 200


@pytest_asyncio.fixture
async def fabric() -> AsyncIterator[Fabric]:
    """On fake switches; on Open vSwitch: tests/agent/test_tags_on_ovs.py."""
    async with open_fabric("fake") as fabric:
        yield fabric


async def world(fabric: Fabric) -> None:
    """The small world; its network carries tags."""
    small_world(fabric)
    fabric.wanted.transparent = {"n"}
    await fabric.realise()


async def refused(door: Door, noun: str, **fields: Any) -> str:
    return (await door.refused("POST", f"/v2.0/{noun}s", {noun: fields}, 400))["type"]


async def test_network_carries_tags_if_it_is_made_so_in_packets_that_have_room_for_them(api: Door) -> None:
    plain, tagged = await api.create("network"), await api.create("network", vlan_transparent=True)
    assert (plain["vlan_transparent"], plain["mtu"]) == (False, 1450)
    assert (tagged["vlan_transparent"], tagged["mtu"]) == (True, 1446)
    assert [each["id"] for each in await api.list("networks", vlan_transparent="true")] == [tagged["id"]]
    for change in ({"vlan_transparent": False}, {"mtu": 1450}):
        await api.refused("PUT", f"/v2.0/networks/{tagged['id']}", {"network": change}, 400)


async def test_network_whose_tags_would_meet_others_is_refused(api: Door) -> None:
    fields = {TYPE: "flat", WHERE: "one", "vlan_transparent": True}
    assert await refused(api, "network", **fields) == "VlanTransparencyDriverError"
    tagged = await api.create("network", vlan_transparent=True, **{TYPE: "local"})
    assert tagged["mtu"] == 1496
    segment = {"network_id": tagged["id"], "network_type": "flat", "physical_network": "one"}
    assert await refused(api, "segment", **segment) == "VlanTransparencyDriverError"
    assert len(await api.list("segments")) == 1


async def test_trunks_have_no_part_in_it(api: Door) -> None:
    tagged, plain = await api.create("network", vlan_transparent=True), await api.create("network", mtu=1400)
    inside, outside = [await api.create("port", network_id=network["id"]) for network in (tagged, plain)]
    assert await refused(api, "trunk", port_id=inside["id"]) == "InvalidInput"
    sub = {"port_id": inside["id"], "segmentation_type": "vlan", "segmentation_id": 5}
    assert await refused(api, "trunk", port_id=outside["id"], sub_ports=[sub]) == "InvalidInput"


async def test_frames_keep_their_tags_on_this_host_and_to_another(fabric: Fabric) -> None:
    await world(fabric)
    a, b, c = (fabric.wanted.nics[name] for name in "abc")
    for name, other in (("b", b), ("c", c)):
        for tag in (TAG, OTHER_TAG, None):
            assert await fabric.reached("a", replace(echo(a, other), vlan=tag)) == {name}
            assert await fabric.reached(name, replace(echo_reply(other, a), vlan=tag)) == {"a"}
    assert await fabric.reached("a", replace(to_all(a), vlan=TAG)) == {"b", "c"}
    ((at, answer),) = await fabric.send("a", replace(arp_request(a, c.ipv4), vlan=TAG))
    assert (at, answer.vlan) == ("a", TAG)
    assert isinstance(answer.payload, Arp)


async def test_other_networks_carry_no_tags(fabric: Fabric) -> None:
    small_world(fabric)
    await fabric.realise()
    a, b, c = (fabric.wanted.nics[name] for name in "abc")
    assert await fabric.send("a", replace(echo(a, b), vlan=TAG)) == []
    assert await fabric.send("a", replace(echo(a, c), vlan=TAG)) == []


async def test_a_tag_hides_no_foreign_address(fabric: Fabric) -> None:
    await world(fabric)
    a, b, c = (fabric.wanted.nics[name] for name in "abc")
    for other in (b, c):
        assert await fabric.send("a", replace(echo(a, other), src=STRANGER, vlan=TAG)) == []
        assert await fabric.send("a", replace(echo(b, other), src=a.mac, vlan=TAG)) == []
    claim = Packet(a.mac, c.mac, Arp(1, a.mac, b.ipv4, c.mac, c.ipv4), vlan=TAG)
    assert await fabric.send("a", claim) == []
    assert (
        await fabric.send(
            "a", replace(arp_request(replace(a, addresses=(Ip("10.0.0.99"),)), c.ipv4), vlan=TAG)
        )
        == []
    )
    inside = replace(echo(a, b), vlan=OTHER_TAG).build()[14:]
    assert await fabric.send("a", Packet(a.mac, b.mac, inside, kind=0x8100, vlan=TAG)) == []


async def test_groups_judge_what_is_inside_of_a_tag(fabric: Fabric) -> None:
    await world(fabric)
    a, c = fabric.wanted.nics["a"], fabric.wanted.nics["c"]
    fabric.wanted.rules.clear()
    fabric.wanted.rule("g", "egress")
    fabric.wanted.rule("g", "ingress", protocol=6, port_min=80, port_max=80)
    await fabric.realise()
    assert await fabric.reached("a", replace(syn(a, c, 80), vlan=TAG)) == {"c"}
    assert await fabric.reached("c", replace(syn_ack(c, a, 80), vlan=TAG)) == {"a"}
    assert await fabric.send("a", replace(syn(a, c, 81), vlan=TAG)) == []
    assert await fabric.send("a", replace(udp(a, c), vlan=TAG)) == []


def test_limits_hold_for_tagged_frames_too() -> None:
    async def scenario() -> None:
        async with World(1) as world:
            for host in ("one", "two"):
                world.add_host(host)
            network = await world.create("network", vlan_transparent=True)
            await world.create("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24")
            (_, a), (port, b) = [await world.boot(host, network_id=network["id"]) for host in ("one", "two")]
            (group,) = port["security_groups"]
            rule = {"security_group_id": group, "direction": "ingress", "ethertype": "IPv4"}
            await world.create("security_group_rule", **rule)
            _, answer = await world.ask("POST", "qos/policies", {"policy": {}})
            policy = str(answer["policy"]["id"])
            limit = {"bandwidth_limit_rule": {"max_kbps": 1000, "max_burst_kbps": 400, "direction": "egress"}}
            assert (await world.ask("POST", f"qos/policies/{policy}/bandwidth_limit_rules", limit))[0] == 201
            await world.settle()
            payload = Ipv4(a.addresses[0], b.addresses[0], Udp(9, 9, bytes(958)))
            frame = Packet(a.mac, b.mac, payload, vlan=TAG)

            def came() -> int:
                b.got.clear()
                for _ in range(200):
                    a.send(frame)
                return sum(got == frame for got in b.got)

            assert came() == 200
            (sender,) = [each for each in await world.find("port") if each["id"] != port["id"]]
            await world.update("port", sender["id"], qos_policy_id=policy)
            await world.settle()
            assert 0 < came() <= 50
            assert not any(host.switch.ambiguities for host in world.hosts.values())

    simulate(scenario())
