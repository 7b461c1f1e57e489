# SPDX-License-Identifier: Apache-2.0
"""An address that has become another port's is announced to the machines that may remember the one before."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from alcor.agent.announce import KNOWN_MAX, REMEMBERED_S, TOLD_MAX, Announcements
from alcor.agent.claims import WINDOW_S
from alcor.base.net import Ip, Mac, ip_int, link_local, mac_int
from alcor.dataplane.pipeline import ANSWER, where
from alcor.dataplane.values import ETH_ARP, Flow, SetField
from alcor.testing.loop import simulate
from alcor.testing.machine import Machine
from alcor.testing.packet import Arp, Ipv6, Nd, Packet
from alcor.testing.world import World

SAME = [{"ip_address": "10.0.0.77"}, {"ip_address": "fd00::77"}]


def in_world(scenario: Callable[[World, str], Awaitable[None]]) -> None:
    """A world with two hosts and a network of both versions."""

    async def main() -> None:
        async with World() as world:
            net = await world.create("network", name="net")
            for version, cidr in ((4, "10.0.0.0/24"), (6, "fd00::/64")):
                await world.create("subnet", network_id=net["id"], ip_version=version, cidr=cidr)
            for name in ("h1", "h2"):
                world.add_host(name)
                await world.until_registered(name)
            await scenario(world, net["id"])

    simulate(main())


async def booted(world: World, host: str, net: str, **fields: Any) -> tuple[dict[str, Any], Machine]:
    port, machine = await world.boot(host, network_id=net, **fields)
    await world.settle()
    return port, machine


def announced(machine: Machine, mac: Mac) -> list[Ip]:
    """The addresses that the machine was told to be at this MAC, by what it did not ask for."""
    return [ip for packet in machine.got if packet.src == mac for ip in _said(packet)]


def _said(packet: Packet) -> list[Ip]:
    match packet.payload:
        case Arp(1, _, sender, _, target) if sender == target:
            return [sender]
        case Ipv6(payload=Nd(136, target, target_mac=mac, flags=0x20000000)) as ip:
            assert (mac, ip.src, ip.dst, ip.ttl) == (packet.src, target, Ip("ff02::1"), 255)
            return [target]
        case _:
            return []


def test_who_remembers_the_former_owner_reaches_the_next_one_on_any_host() -> None:
    async def scenario(world: World, net: str) -> None:
        clients = [(await booted(world, host, net))[1] for host in ("h1", "h2")]
        for host in ("h1", "h2", "h1"):
            port, owner = await booted(world, host, net, fixed_ips=SAME)
            for client in clients:
                for fixed in SAME:
                    assert client.ping(Ip(fixed["ip_address"])), "by the MAC that it has in mind"
            assert not announced(owner, owner.mac), "it would take its address for another's, too"
            world.hosts[host].unplug(port["id"])
            await world.delete("port", port["id"])
            await world.settle()

    in_world(scenario)


def test_what_changed_hands_while_the_agent_was_away_is_announced_when_it_is_back() -> None:
    async def scenario(world: World, net: str) -> None:
        _, client = await booted(world, "h1", net)
        port, _ = await booted(world, "h2", net, fixed_ips=SAME)
        for fixed in SAME:
            assert client.ping(Ip(fixed["ip_address"]))
        await world.hosts["h1"].stop_agent()
        world.hosts["h2"].unplug(port["id"])
        await world.delete("port", port["id"])
        _, owner = await booted(world, "h2", net, fixed_ips=SAME)
        client.got.clear()
        world.hosts["h1"].start_agent()
        await world.settle()
        assert sorted(announced(client, owner.mac)) == ["10.0.0.77", "fd00::77", link_local(owner.mac)]
        for fixed in SAME:
            assert client.ping(Ip(fixed["ip_address"]))

    in_world(scenario)


@pytest.mark.parametrize("is_back_before", [True, False])
def test_address_that_was_free_before_the_agent_began_anew_is_announced_with_its_next_owner(
    is_back_before: bool,
) -> None:
    async def scenario(world: World, net: str) -> None:
        _, client = await booted(world, "h1", net)
        port, _ = await booted(world, "h2", net, fixed_ips=SAME)
        for fixed in SAME:
            assert client.ping(Ip(fixed["ip_address"]))
        world.hosts["h2"].unplug(port["id"])
        await world.delete("port", port["id"])
        await world.settle()
        await world.hosts["h1"].stop_agent()
        client.got.clear()
        if is_back_before:
            world.hosts["h1"].start_agent()
            await world.settle()
        _, owner = await booted(world, "h2", net, fixed_ips=SAME)
        if not is_back_before:
            world.hosts["h1"].start_agent()
        await world.settle()
        assert sorted(announced(client, owner.mac)) == ["10.0.0.77", "fd00::77", link_local(owner.mac)]
        for fixed in SAME:
            assert client.ping(Ip(fixed["ip_address"]))

        await asyncio.sleep(REMEMBERED_S)
        client.got.clear()
        _, other = await booted(world, "h2", net)
        assert not announced(client, other.mac), "by then nobody remembers anything that the agent does not"

    in_world(scenario)


def test_port_that_gets_another_mac_is_announced_once() -> None:
    async def scenario(world: World, net: str) -> None:
        _, client = await booted(world, "h1", net)
        port, _ = await booted(world, "h2", net, fixed_ips=SAME)
        client.got.clear()
        other = Mac("fa:16:3e:77:77:77")
        for change in ({"binding:host_id": ""}, {"mac_address": other}, {"binding:host_id": "h2"}):
            await world.update("port", port["id"], **change)
        await world.settle()
        assert sorted(announced(client, other)) == ["10.0.0.77", "fd00::77"]

    in_world(scenario)


def test_nobody_is_told_of_ports_that_are_new_moved_or_renamed() -> None:
    async def scenario(world: World, net: str) -> None:
        _, client = await booted(world, "h1", net)
        client.got.clear()
        port, machine = await booted(world, "h1", net)
        world.hosts["h1"].unplug(port["id"])
        world.hosts["h2"].plug(await world.update("port", port["id"], **{"binding:host_id": "h2"}))
        await world.update("port", port["id"], name="other")
        await world.settle()
        assert not announced(client, machine.mac)

    in_world(scenario)


def answer(number: int, mac: int) -> Flow:
    asked = where(vni=7, eth_type=ETH_ARP, arp_op=1, arp_tpa=ip_int(Ip("10.0.0.0")) + number)
    return Flow(ANSWER.number, 100, asked, (SetField("eth_src", mac),))


def test_many_at_once_are_told_in_windows_and_none_is_lost_or_told_twice() -> None:
    count, mac = 2 * TOLD_MAX + 50, mac_int(Mac("fa:16:3e:00:00:01"))
    new = [answer(number, mac + 1) for number in range(count)]
    wanted = {flow.identity: flow for flow in new}
    announcements = Announcements(wanted)
    announcements.changed((answer(number, mac) for number in range(count)), 0)
    assert not announcements.is_due
    announcements.changed(new, 0)
    told = [len(list(announcements.take(10 + window * WINDOW_S / 2))) for window in range(7)]
    assert told == [TOLD_MAX, 0, TOLD_MAX, 0, 50, 0, 0]
    assert not announcements.is_due


def test_what_was_taken_back_meanwhile_is_not_told() -> None:
    old, new = answer(1, mac_int(Mac("fa:16:3e:00:00:01"))), answer(1, mac_int(Mac("fa:16:3e:00:00:02")))
    announcements = Announcements({})
    announcements.changed((old, new), 0)
    assert announcements.is_due
    assert not list(announcements.take(10.0))


def test_memory_of_addresses_has_a_bound() -> None:
    mac = mac_int(Mac("fa:16:3e:00:00:01"))
    announcements = Announcements({})
    announcements.changed((answer(number, mac) for number in range(KNOWN_MAX + 1)), 0)
    announcements.changed([answer(1, mac + 1)], 0)
    assert not announcements.is_due, "it was forgotten with all the others"
