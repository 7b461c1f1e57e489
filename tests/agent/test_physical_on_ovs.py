# SPDX-License-Identifier: Apache-2.0
"""VLAN and flat networks on real switches: patch ports, tags on the physical network, and a machine outside."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import pytest_asyncio

from alcor.base.net import Ip, Mac
from alcor.features.network.flows import WireRow
from alcor.lab import Underlay
from alcor.lab.namespace import Namespace
from alcor.testing.packet import BROADCAST, NO_MAC, Arp, Ipv4, Packet, Udp
from tests.agent.fabric import OvsFabric, until
from tests.agent.tagged import Tagged
from tests.features.packets import echo, small_world, to_all, udp

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]

VLAN, FLAT = (WireRow("vlan", "physnet", 100),), (WireRow("flat", "physnet"),)
SECOND = (WireRow("vlan", "elsewhere", 7), *VLAN)  # of two segments the one that the hosts can
OUTSIDE = Mac("0e:00:00:00:00:01")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[OvsFabric]:
    stack = AsyncExitStack()
    fabric = OvsFabric(await stack.enter_async_context(Underlay()), stack)
    fabric.mappings = (("physnet", "br-phys"),)
    await fabric.start()
    yield fabric
    await fabric.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outside(lab: OvsFabric) -> AsyncIterator[Tagged]:
    namespace = Namespace(f"{lab.underlay.prefix}-outside")
    await namespace.create()
    namespace.set_sysctl("net/ipv6/conf/all/disable_ipv6", 1)
    await lab.underlay.namespace.ip(
        f"link add outside type veth peer name eth0 netns {namespace.name}",
        "link set outside master physical up",
    )
    await namespace.ip(f"link set eth0 address {OUTSIDE} up")
    machine = Tagged(namespace)
    yield machine
    machine.close()


async def world(lab: OvsFabric, wires: tuple[WireRow, ...]) -> None:
    await lab.reset()
    small_world(lab)
    lab.wanted.vnis["n"] = 1 << 24
    lab.wanted.wires["n"] = wires
    await lab.realise()


@pytest.mark.parametrize(("wires", "tag"), [(VLAN, 100), (FLAT, None), (SECOND, 100)])
async def test_hosts_talk_and_the_outside_is_reached_by_the_physical_network(
    lab: OvsFabric, outside: Tagged, wires: tuple[WireRow, ...], tag: int | None
) -> None:
    await world(lab, wires)
    a, b, c = (lab.wanted.nics[name] for name in "abc")
    assert await lab.reached("a", echo(a, c)) == {"c"}
    assert await lab.reached("a", udp(a, b)) == {"b"}
    outside.heard()

    everybody = to_all(a)
    assert await lab.reached("a", everybody) == {"b", "c"}
    await outside.hears(replace(everybody, vlan=tag))
    unknown = Packet(a.mac, OUTSIDE, Ipv4(a.ipv4, Ip("10.0.0.250"), Udp(1, 2, b"out")))
    assert await lab.reached("a", unknown) == set()
    await outside.hears(replace(unknown, vlan=tag))


@pytest.mark.parametrize(("wires", "tag"), [(VLAN, 100), (FLAT, None)])
async def test_question_from_outside_reaches_the_ports_of_its_vlan_only(
    lab: OvsFabric, outside: Tagged, wires: tuple[WireRow, ...], tag: int | None
) -> None:
    await world(lab, wires)
    c = lab.wanted.nics["c"]
    question = Packet(OUTSIDE, BROADCAST, Arp(1, OUTSIDE, Ip("10.0.0.250"), NO_MAC, c.ipv4))
    with lab.vm("c").capture() as capture:
        outside.send(replace(question, vlan=101))
        outside.send(replace(question, vlan=tag))
        await capture.first(lambda frame: frame.startswith(question.build()), 2.0)
        await asyncio.sleep(0.05)
        assert sum(frame.startswith(question.build()) for frame in capture.frames) == 1
        stranger = Packet(OUTSIDE, c.mac, Ipv4(Ip("10.0.0.250"), c.ipv4, Udp(1, 2, b"in")), vlan=tag)
        outside.send(stranger)
        await asyncio.sleep(0.1)
        assert not any(frame.startswith(replace(stranger, vlan=None).build()) for frame in capture.frames)


async def test_patch_port_that_is_taken_away_is_made_again(lab: OvsFabric) -> None:
    await world(lab, VLAN)
    a, c = lab.wanted.nics["a"], lab.wanted.nics["c"]
    agent = lab.agents["one"]
    before = agent.deriver._facts.uplinks
    await lab.hosts["one"].host.vsctl("del-port", "br-int", "int-br-phys")
    await until(lambda: agent.deriver._facts.uplinks not in (before, (("physnet", 0),)))
    await agent.idle()
    assert await lab.reached("a", echo(a, c)) == {"c"}
