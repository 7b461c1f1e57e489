# SPDX-License-Identifier: Apache-2.0
"""A machine migrates between real hosts: one activation moves its traffic, and what comes late is sent on."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from alcor.lab.traffic import Pinging
from alcor.testing.packet import Icmp, Ipv4, Packet
from tests.agent.tagged import Tagged
from tests.lab.site import Site, booted, ip, plugged

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]

NOVA = {"X-Project-Id": "nova", "X-Roles": "admin,service"}
MOVES = 4
TAG = 100


async def bindings(site: Site, port: dict[str, Any], method: str, tail: str = "", **binding: Any) -> None:
    """A request for the port's bindings."""
    url = f"/v2.0/ports/{port['id']}/bindings{tail}"
    body = {"binding": binding} if binding else None
    answer = await site.cloud.rest.client.request(method, url, json=body, headers=NOVA)
    assert answer.is_success, answer.text


async def moved_to_and_fro(site: Site, port: dict[str, Any], pinging: Pinging, seen: str) -> str:
    """Activates the port's two bindings in turn under a ping; port `seen` stays ACTIVE. What it cost."""
    async with pinging as ping:
        for number in range(MOVES):
            await asyncio.sleep(0.3)
            await bindings(site, port, "PUT", f"/{('two', 'one')[number % 2]}/activate")
            answered = len(ping.round_trips_ms)
            for _ in range(1_000):
                if len(ping.round_trips_ms) > answered + 5:
                    break
                await asyncio.sleep(0.01)
            assert len(ping.round_trips_ms) > answered + 5, "packets go on"
            assert (await site.cloud.rest.show("port", seen))["status"] == "ACTIVE"
    return f"{MOVES} moves lost {ping.lost} of {ping.sent} pings, one every 5 ms"


async def test_traffic_of_a_migrated_machine_goes_on(site: Site) -> None:
    port, before = await plugged(site.cloud, site.network, site.one, "old", device_owner="compute:nova")
    assert await site.cloud.bind(port["id"], "one") is not None
    [third] = await site.cloud.add_hosts("third")
    client = await booted(site.cloud, site.network, third, "client")
    await bindings(site, port, "POST", host="two")
    after = await site.cloud.boot(site.two, "new", port)
    assert await client.ping(ip(before), tries=10)
    await asyncio.sleep(1)
    assert await client.ping(ip(before), tries=10)

    told = await moved_to_and_fro(site, port, client.pinging(ip(before)), port["id"])
    print(told)
    for vm in (before, after):
        await vm.remove()


async def test_old_host_sends_on_to_the_new_one(site: Site) -> None:
    known = {host.name: host for host in site.cloud.hosts}
    client = next(vm for vm in known["third"].vms if vm.name == "client")
    port, before = await plugged(site.cloud, site.network, site.one, "old2", device_owner="compute:nova")
    assert await site.cloud.bind(port["id"], "one") is not None
    await bindings(site, port, "POST", host="two")
    after = await site.cloud.boot(site.two, "new2", port)
    assert await client.ping(ip(before), tries=10)
    await site.cloud.stop_agent(known["third"])  # its switch hears of nothing any more
    await bindings(site, port, "PUT", "/two/activate")
    await bindings(site, port, "DELETE", "/one")
    await before.remove()
    assert await client.ping(ip(after), tries=20)
    site.cloud.start_agent(known["third"])
    await after.remove()


async def answers(machine: Tagged) -> None:
    """Answers echo requests with the tag, until cancelled. Who has which address is answered by the host."""
    while True:
        for packet in machine.heard():
            ip = packet.payload
            if (
                packet.vlan == TAG
                and isinstance(ip, Ipv4)
                and isinstance(ip.payload, Icmp)
                and ip.payload.type == 8
            ):
                reply = Ipv4(ip.dst, ip.src, replace(ip.payload, type=0))
                machine.send(Packet(packet.dst, packet.src, reply, vlan=TAG))
        await asyncio.sleep(0.001)


async def test_traffic_of_a_subport_goes_on_when_its_trunk_s_port_migrates(site: Site) -> None:
    green = await site.cloud.rest.create("network", {"name": "green"})
    await site.cloud.rest.create(
        "subnet", {"network_id": green["id"], "ip_version": 4, "cidr": "10.1.0.0/24"}
    )
    sub = await site.cloud.rest.create("port", {"network_id": green["id"], "name": "sub"})
    port, before = await plugged(site.cloud, site.network, site.one, "trunked", device_owner="compute:nova")
    assert await site.cloud.bind(port["id"], "one") is not None
    subs = [{"port_id": sub["id"], "segmentation_type": "vlan", "segmentation_id": TAG}]
    await site.cloud.rest.create("trunk", {"port_id": port["id"], "sub_ports": subs})
    known = {host.name: host for host in site.cloud.hosts}
    port_of_client = await site.cloud.rest.create("port", {"network_id": green["id"], "name": "tagged"})
    client = await site.cloud.boot(known["third"], "tagged", port_of_client)
    assert await site.cloud.bind(port_of_client["id"], "third") is not None

    await bindings(site, port, "POST", host="two")
    after = await site.cloud.boot(site.two, "trunked2", port)
    machines = [Tagged(vm.namespace) for vm in (before, after)]
    tasks = [asyncio.create_task(answers(machine)) for machine in machines]
    address = sub["fixed_ips"][0]["ip_address"]
    assert await client.ping(address, tries=20)
    await asyncio.sleep(1)
    told = await moved_to_and_fro(site, port, client.pinging(address), sub["id"])
    print(f"{told}, to a subport")
    for task, machine in zip(tasks, machines, strict=True):
        task.cancel()
        machine.close()
    for vm in (before, after, client):
        await vm.remove()
