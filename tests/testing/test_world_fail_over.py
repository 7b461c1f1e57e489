# SPDX-License-Identifier: Apache-2.0
"""Virtual addresses that move between machines, through REST, hosts' claims and packets, in simulated time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from alcor.base.net import Ip, Mac
from alcor.features.address_pair.model import ADDRESS_OWNER
from alcor.testing.loop import simulate
from alcor.testing.machine import Machine
from alcor.testing.packet import BROADCAST, NO_MAC, Arp, Icmp, Ipv4, Packet
from alcor.testing.world import World

VIP, VMAC = Ip("10.0.0.100"), Mac("00:00:5e:00:01:07")


class Redundant:
    """Two machines on two hosts that may have one address, and a client on a third."""

    def __init__(self, world: World, machines: tuple[Machine, Machine, Machine], mac: str) -> None:
        self.world = world
        self.first, self.second, self.client = machines
        self._own = {machine: machine.mac for machine in machines}
        self._mac = mac

    async def take(self, machine: Machine, loser: Machine | None = None) -> None:
        """As VRRP does: the loser has the address no more, the winner has it and says so."""
        if loser is not None:
            loser.addresses, loser.mac = loser.addresses[:1], self._own[loser]
        machine.addresses = (*machine.addresses[:1], VIP)
        machine.mac = Mac(self._mac) if self._mac else machine.mac
        machine.send(Packet(machine.mac, BROADCAST, Arp(1, machine.mac, VIP, NO_MAC, VIP)))
        await self.world.settle()


def scene(mac: str, scenario: Callable[[Redundant], Awaitable[None]]) -> None:
    async def main() -> None:
        async with World() as world:
            net = await world.create("network", name="net")
            await world.create("subnet", network_id=net["id"], ip_version=4, cidr="10.0.0.0/24")
            pair = {"ip_address": VIP, **({"mac_address": mac} if mac else {})}
            machines = []
            for host in ("h1", "h2", "h3"):
                world.add_host(host)
                fields: dict[str, Any] = {"allowed_address_pairs": [pair]} if host != "h3" else {}
                machines.append((await world.boot(host, network_id=net["id"], name=host, **fields))[1])
            await world.settle()
            first, second, client = machines
            await scenario(Redundant(world, (first, second, client), mac))

    simulate(main())


@pytest.mark.parametrize("mac", ["", VMAC])
def test_virtual_address_answers_wherever_it_is(mac: str) -> None:
    async def scenario(them: Redundant) -> None:
        assert not them.client.ping(VIP)
        await them.take(them.first)
        assert them.client.ping(VIP)
        for winner, loser in ((them.second, them.first), (them.first, them.second)) * 2:
            await them.take(winner, loser)
            assert them.client.ping(VIP)
            [owner] = them.world.store.tables.scan(ADDRESS_OWNER)
            assert owner.mac == winner.mac

    scene(mac, scenario)


def test_packets_to_a_virtual_mac_go_to_its_owner_alone() -> None:
    async def scenario(them: Redundant) -> None:
        await them.take(them.first)
        assert them.client.ping(VIP)
        await them.take(them.second, them.first)
        them.first.got.clear()
        assert them.client.ping(VIP), "with the MAC that it knows"
        assert not any(isinstance(got.payload, Ipv4) for got in them.first.got)

    scene(VMAC, scenario)


def test_claims_without_end_are_told_at_a_bounded_rate() -> None:
    async def scenario(them: Redundant) -> None:
        await them.take(them.first)
        before = them.world.store.tables.position.revision
        host = them.world.hosts["h1"]
        for _ in range(200):  # both insist, for 10 s
            for machine in (them.first, them.second):
                for _ in range(5):
                    machine.send(Packet(VMAC, BROADCAST, Arp(1, VMAC, VIP, NO_MAC, VIP)))
            await asyncio.sleep(0.05)
        assert them.world.store.tables.position.revision - before <= 2 * (5 + 11)
        assert len(host.switch.packet_ins) <= 11 * 30
        await asyncio.sleep(2)
        await them.take(them.second, them.first)
        assert them.client.ping(VIP), "who insisted is heard again"

    scene(VMAC, scenario)


def test_claim_is_not_lost_with_the_session() -> None:
    async def scenario(them: Redundant) -> None:
        await them.world.hosts["h1"].cut()
        await asyncio.sleep(0.1)
        them.first.addresses = (*them.first.addresses, VIP)
        them.first.send(Packet(them.first.mac, BROADCAST, Arp(1, them.first.mac, VIP, NO_MAC, VIP)))
        await asyncio.sleep(0.1)
        assert not list(them.world.store.tables.scan(ADDRESS_OWNER))
        them.world.hosts["h1"].mend()
        await asyncio.sleep(5)
        assert [owner.mac for owner in them.world.store.tables.scan(ADDRESS_OWNER)] == [them.first.mac]

    scene("", scenario)


def test_owner_goes_with_its_pair_or_port() -> None:
    async def scenario(them: Redundant) -> None:
        await them.take(them.first)
        [owner] = them.world.store.tables.scan(ADDRESS_OWNER)
        await them.world.update("port", owner.port_id, allowed_address_pairs=[])
        await them.world.settle()
        assert not them.client.ping(VIP)
        them.second.addresses = (*them.second.addresses, VIP)
        probe = Packet(them.client.mac, VMAC, Ipv4(them.client.addresses[0], VIP, Icmp(8)))
        them.second.got.clear()
        them.client.send(probe)
        assert probe.payload in [got.payload for got in them.second.got]
        await them.world.delete("port", owner.port_id)
        assert not list(them.world.store.tables.scan(ADDRESS_OWNER))

    scene(VMAC, scenario)
