# SPDX-License-Identifier: Apache-2.0
"""Virtual addresses on real hosts: whoever has one now is reached, while a third machine keeps pinging."""

import asyncio

import pytest

from alcor.base.net import Ip, Mac
from alcor.lab import Vm
from alcor.testing.packet import BROADCAST, NO_MAC, Arp, Packet
from tests.lab.site import Site, booted, ip

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]

VMAC = Mac("00:00:5e:00:01:07")
ANSWERS = 20  # in a row after a move, to be sure
TRIES_MAX = 200


class Redundancy:
    """Two machines that may have one address; the second takes it when the first loses it."""

    def __init__(self, address: str, mac: str) -> None:
        self.address = address
        self.mac = mac

    def pairs(self) -> list[dict[str, str]]:
        return [{"ip_address": self.address, **({"mac_address": self.mac} if self.mac else {})}]

    async def take(self, vm: Vm) -> None:
        """It has the address, and says so as keepalived does: some times."""
        if self.mac:
            await vm.namespace.ip(f"link set eth0 address {self.mac}", f"addr del {ip(vm)}/24 dev eth0")
        await vm.namespace.ip(f"addr add {self.address}/24 dev eth0")
        mac, address = Mac(self.mac or vm.spec.mac), Ip(self.address)
        for _ in range(5):
            vm.send_frame(Packet(mac, BROADCAST, Arp(1, mac, address, NO_MAC, address)).build())
            await asyncio.sleep(0.3)

    async def lose(self, vm: Vm) -> None:
        await vm.namespace.ip(f"addr del {self.address}/24 dev eth0")
        if self.mac:
            await vm.namespace.ip(f"link set eth0 address {vm.spec.mac}", f"addr add {ip(vm)}/24 dev eth0")


async def answered(client: Vm, address: str) -> bool:
    """Whether pings are answered in a row, sooner or later."""
    row = 0
    for _ in range(TRIES_MAX):
        row = row + 1 if await client.ping(address, timeout_s=0.2) is not None else 0
        if row == ANSWERS:
            return True
    return False


@pytest.mark.parametrize("redundancy", [Redundancy("10.0.0.251", ""), Redundancy("10.0.0.252", VMAC)])
async def test_ping_to_a_virtual_address_goes_on_when_it_moves(site: Site, redundancy: Redundancy) -> None:
    fields = {"allowed_address_pairs": redundancy.pairs()}
    one = await booted(site.cloud, site.network, site.one, f"a{bool(redundancy.mac)}", **fields)
    two = await booted(site.cloud, site.network, site.two, f"b{bool(redundancy.mac)}", **fields)
    client = await client_on_third(site)
    await redundancy.take(one)
    assert await answered(client, redundancy.address)
    async with client.pinging(redundancy.address, interval_s=0.05) as ping:
        for loser, winner in ((one, two), (two, one)):
            await redundancy.lose(loser)
            await redundancy.take(winner)
            assert await answered(client, redundancy.address)
    assert ping.round_trips_ms
    for vm in (one, two):
        await vm.remove()


async def client_on_third(site: Site) -> Vm:
    """A machine on a host with neither of them."""
    known = {host.name: host for host in site.cloud.hosts}
    if "third" not in known:
        [known["third"]] = await site.cloud.add_hosts("third")
        return await booted(site.cloud, site.network, known["third"], "client")
    return next(vm for vm in known["third"].vms if vm.name == "client")
