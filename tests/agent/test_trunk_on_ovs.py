# SPDX-License-Identifier: Apache-2.0
"""Subports on real switches: a machine that reads and writes frames with tags, and plain ones on another host."""

import asyncio
from dataclasses import replace

import pytest

from alcor.lab import Vm
from alcor.testing.packet import Arp, Packet
from tests.agent.fabric import OvsFabric
from tests.agent.tagged import Tagged
from tests.agent.wanted import Nic, nic
from tests.features.packets import arp_request, echo, echo_reply, small_world, to_all

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]

TAG, OTHER_TAG = 100, 200


async def world(lab: OvsFabric) -> tuple[Nic, Nic, Nic]:
    """The small world, and network `m`: s is a subport of a there, d and e plain ports on host one and two."""
    await lab.reset()
    small_world(lab)
    lab.wanted.vnis["m"] = 5002
    s = subport(lab, "s", nic(11, "m", "one"), TAG)
    d = lab.add("d", nic(12, "m", "one", groups=("g",)))
    e = lab.add("e", nic(13, "m", "two", groups=("g",)))
    await lab.realise()
    return s, d, e


def subport(lab: OvsFabric, name: str, own: Nic, tag: int) -> Nic:
    parent = lab.wanted.nics["a"].id
    return lab.add(name, replace(own, groups=("g",), trunk_port=parent, vlan=tag, number=0x8000 + tag))


async def gets(vm: Vm, machine: Tagged, packet: Packet) -> bool:
    """Whether what the machine sends gets there, without a tag."""
    wanted = replace(packet, vlan=None).build()
    with vm.capture() as capture:
        machine.send(packet)
        await asyncio.sleep(0.2)
        return any(frame[: len(wanted)] == wanted for frame in capture.frames)


async def test_machine_with_a_tag_talks_with_plain_ones_here_and_there_and_not_across(lab: OvsFabric) -> None:
    s, d, e = await world(lab)
    a, c = lab.wanted.nics["a"], lab.wanted.nics["c"]
    machine = Tagged(lab.vm("a").namespace)
    for name, other in (("d", d), ("e", e)):
        assert await gets(lab.vm(name), machine, replace(echo(s, other), vlan=TAG))
        lab.vm(name).send_frame(echo_reply(other, s).build())
        await machine.hears(replace(echo_reply(other, s), vlan=TAG))
    assert await gets(lab.vm("e"), machine, replace(to_all(s), vlan=TAG))
    assert not await gets(lab.vm("c"), machine, replace(to_all(s), vlan=TAG))

    assert await gets(lab.vm("c"), machine, echo(a, c)), "without a tag it is the trunk's port"
    lab.vm("c").send_frame(echo_reply(c, a).build())
    await machine.hears(echo_reply(c, a))
    assert not await gets(lab.vm("e"), machine, replace(echo(s, e), vlan=OTHER_TAG))
    assert not await gets(lab.vm("e"), machine, echo(s, e))
    assert not await gets(lab.vm("c"), machine, replace(echo(s, c), vlan=TAG))
    machine.close()


async def test_answers_and_floods_come_with_the_tag(lab: OvsFabric) -> None:
    s, d, e = await world(lab)
    machine = Tagged(lab.vm("a").namespace)
    machine.send(replace(arp_request(s, e.ipv4), vlan=TAG))
    answer = Packet(e.mac, s.mac, Arp(2, e.mac, e.ipv4, s.mac, s.ipv4), vlan=TAG)
    await machine.hears(answer)
    for name, sender in (("d", d), ("e", e)):
        lab.vm(name).send_frame(to_all(sender).build())
        await machine.hears(replace(to_all(sender), vlan=TAG))
    machine.close()


async def test_subport_and_its_trunk_s_port_on_one_network_reach_each_other(lab: OvsFabric) -> None:
    await lab.reset()
    a, b, _ = small_world(lab)
    s = subport(lab, "s", nic(11, "n", "one"), TAG)
    await lab.realise()
    machine = Tagged(lab.vm("a").namespace)
    machine.send(replace(echo(s, a), vlan=TAG))
    await machine.hears(echo(s, a))
    machine.send(echo_reply(a, s))
    await machine.hears(replace(echo_reply(a, s), vlan=TAG))
    machine.send(replace(to_all(s), vlan=TAG))
    await machine.hears(to_all(s))
    assert await gets(lab.vm("b"), machine, replace(echo(s, b), vlan=TAG)), "and others, too"
    machine.close()


async def test_subport_is_added_and_removed_while_its_trunk_is_in_use(lab: OvsFabric) -> None:
    s, d, e = await world(lab)
    machine = Tagged(lab.vm("a").namespace)
    t = nic(14, "m", "one")
    assert not await gets(lab.vm("e"), machine, replace(echo(t, e), vlan=OTHER_TAG))
    t = subport(lab, "t", t, OTHER_TAG)
    await lab.realise()
    assert await gets(lab.vm("e"), machine, replace(echo(t, e), vlan=OTHER_TAG))
    machine.send(replace(echo(s, t), vlan=TAG))
    await machine.hears(replace(echo(s, t), vlan=OTHER_TAG))

    del lab.wanted.nics["t"]
    await lab.realise()
    assert not await gets(lab.vm("e"), machine, replace(echo(t, e), vlan=OTHER_TAG))
    assert await gets(lab.vm("d"), machine, replace(echo(s, d), vlan=TAG))
    machine.close()
