# SPDX-License-Identifier: Apache-2.0
"""VLAN transparent networks on real switches: machines that read and write tags, on two hosts and on one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from alcor.testing.packet import Arp, Packet
from tests.agent.fabric import OvsFabric
from tests.agent.tagged import Tagged
from tests.agent.wanted import Nic
from tests.features.packets import STRANGER, arp_request, echo, echo_reply, small_world, syn, syn_ack, to_all

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]

TAG, OTHER_TAG = 100, 200


class Scene:
    """The small world, whose network carries tags, with machines that know them."""

    def __init__(self, lab: OvsFabric) -> None:
        self.nics: dict[str, Nic] = lab.wanted.nics
        self.machines = {name: Tagged(lab.vm(name).namespace) for name in "abc"}

    async def crosses(self, sender: str, receiver: str, packet: Packet) -> None:
        """Raises TimeoutError if the packet does not arrive as it is, tag and all."""
        self.machines[receiver].heard()
        self.machines[sender].send(packet)
        await self.machines[receiver].hears(packet)

    async def is_dropped(self, sender: str, *packets: Packet) -> bool:
        """Whether nobody hears any of these."""
        others = [machine for name, machine in self.machines.items() if name != sender]
        for machine in others:
            machine.heard()
        for packet in packets:
            self.machines[sender].send(packet)
        await asyncio.sleep(0.3)
        sources = {packet.src for packet in packets}
        return not any(got.src in sources for machine in others for got in machine.heard())

    def close(self) -> None:
        for machine in self.machines.values():
            machine.close()


@pytest_asyncio.fixture(loop_scope="module")
async def scene(lab: OvsFabric) -> AsyncIterator[Scene]:
    await lab.reset()
    small_world(lab)
    lab.wanted.transparent = {"n"}
    await lab.realise()
    scene = Scene(lab)
    yield scene
    scene.close()


async def test_frames_keep_their_tags_on_this_host_and_to_another(scene: Scene) -> None:
    a = scene.nics["a"]
    for name in "bc":
        other = scene.nics[name]
        for tag in (TAG, OTHER_TAG, None):
            await scene.crosses("a", name, replace(echo(a, other), vlan=tag))
            await scene.crosses(name, "a", replace(echo_reply(other, a), vlan=tag))
    for name in "bc":
        await scene.crosses("a", name, replace(to_all(a), vlan=TAG))


async def test_connections_are_tracked_and_questions_answered_inside_of_a_tag(scene: Scene) -> None:
    a, c = scene.nics["a"], scene.nics["c"]
    await scene.crosses("a", "c", replace(syn(a, c, 80), vlan=TAG))
    await scene.crosses("c", "a", replace(syn_ack(c, a, 80), vlan=TAG))
    scene.machines["a"].send(replace(arp_request(a, c.ipv4), vlan=TAG))
    await scene.machines["a"].hears(Packet(c.mac, a.mac, Arp(2, c.mac, c.ipv4, a.mac, a.ipv4), vlan=TAG))


async def test_a_tag_or_two_hide_no_foreign_address(scene: Scene) -> None:
    a, b, c = (scene.nics[name] for name in "abc")
    for tag in (TAG, OTHER_TAG):
        assert await scene.is_dropped("a", replace(echo(a, c), src=STRANGER, vlan=tag))
        assert await scene.is_dropped("a", replace(echo(b, c), src=a.mac, vlan=tag))
        claim = Packet(a.mac, c.mac, Arp(1, a.mac, b.ipv4, c.mac, c.ipv4), vlan=tag)
        assert await scene.is_dropped("a", claim)
    for spoofed in (echo(b, c), echo(a, c)):
        inside = replace(spoofed, vlan=OTHER_TAG).build()[14:]
        assert await scene.is_dropped("a", Packet(a.mac, c.mac, inside, kind=0x8100, vlan=TAG))


async def test_networks_that_are_not_transparent_carry_no_tags(lab: OvsFabric, scene: Scene) -> None:
    a, b, c = (scene.nics[name] for name in "abc")
    await scene.crosses("a", "c", replace(echo(a, c), vlan=TAG))
    lab.wanted.transparent.clear()
    await lab.realise()
    assert await scene.is_dropped("a", replace(echo(a, c), vlan=TAG), replace(echo(a, b), vlan=TAG))
    await scene.crosses("a", "c", echo(a, c))
