# SPDX-License-Identifier: Apache-2.0
"""A machine migrates between real hosts: one activation moves its traffic, and what comes late is sent on."""

import asyncio
from typing import Any

import pytest

from tests.lab.site import Site, booted, ip, plugged

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]

NOVA = {"X-Project-Id": "nova", "X-Roles": "admin,service"}
MOVES = 4


async def bindings(site: Site, port: dict[str, Any], method: str, tail: str = "", **binding: Any) -> None:
    """A request for the port's bindings."""
    url = f"/v2.0/ports/{port['id']}/bindings{tail}"
    body = {"binding": binding} if binding else None
    answer = await site.cloud.rest.client.request(method, url, json=body, headers=NOVA)
    assert answer.is_success, answer.text


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

    async with client.pinging(ip(before), interval_s=0.005) as ping:
        for number in range(MOVES):
            await asyncio.sleep(0.3)
            await bindings(site, port, "PUT", f"/{('two', 'one')[number % 2]}/activate")
            answered = len(ping.round_trips_ms)
            for _ in range(1_000):
                if len(ping.round_trips_ms) > answered + 5:
                    break
                await asyncio.sleep(0.01)
            assert len(ping.round_trips_ms) > answered + 5, "packets go on"
            assert (await site.cloud.rest.show("port", port["id"]))["status"] == "ACTIVE"
    print(f"{MOVES} moves lost {ping.lost} of {ping.sent} pings, one every 5 ms")
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
