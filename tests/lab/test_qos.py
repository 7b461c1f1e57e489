# SPDX-License-Identifier: Apache-2.0
"""Quality of service in packets on Open vSwitch: what arrives of more than a limit allows, and how it is marked.

Limits are so low, and bursts so large, that what arrives is a burst and little more however slow the machine is.
"""

import asyncio
import socket

import pytest

from alcor.lab import Vm
from tests.lab.site import Site, everywhere, ip, update_port

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]

OFFERED = 300  # datagrams of 1,000 bytes with all headers
BURST = 50  # of them
MANY = 4_000  # more than a limit of 1,000 a second lets through while they are sent
SLOW = {"max_kbps": 100, "max_burst_kbps": BURST * 8}  # 12 more in each second
SINK = 9999
RCVBUFFORCE = 33  # socket(7): beyond the machine's bound
WAIT_S = 0.5  # after the last datagram that arrived


async def came(site: Site, source: Vm, target: Vm, offered: int = OFFERED) -> list[int]:
    """The type-of-service bytes of those of `offered` datagrams that arrive."""
    assert await source.ping(ip(target), tries=5)  # both know each other's MAC and tunnels
    loop = asyncio.get_running_loop()
    with target.namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sink:
        sink.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, 8 << 20)
        with source.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(offered):
                sender.sendto(bytes(958), (ip(target), SINK))
                await asyncio.sleep(
                    0.001 if number % 5 == 0 else 0
                )  # the userspace datapath drops what comes at once
        marks = []
        try:
            while True:
                async with asyncio.timeout(WAIT_S):
                    datagram = await loop.sock_recv(sink, 2048)
                if int.from_bytes(datagram[22:24], "big") == SINK:
                    marks.append(datagram[1])
        except TimeoutError:
            return marks


async def give(site: Site, vm: Vm, **rules: dict[str, object]) -> None:
    """Gives the machine's port a new policy with these rules, once its host has it."""
    client = site.cloud.rest.client
    policy = (await client.post("/v2.0/qos/policies", json={"policy": {}})).json()["policy"]["id"]
    for kind, given in rules.items():
        url = f"/v2.0/qos/policies/{policy}/{kind}_rules"
        answer = await client.post(url, json={f"{kind}_rule": given})
        assert answer.is_success, answer.text
    await everywhere(site, await update_port(site, vm, {"qos_policy_id": policy}))
    await vm.host.appctl("revalidator/wait")


async def test_what_a_machine_sends_is_held_to_its_bandwidth(site: Site) -> None:
    await give(site, site.left, bandwidth_limit=SLOW)
    assert BURST * 0.6 < len(await came(site, site.left, site.right)) < OFFERED * 0.7
    await give(site, site.left)
    assert len(await came(site, site.left, site.right)) > OFFERED * 0.8


async def test_what_a_machine_receives_is_held_to_its_bandwidth(site: Site) -> None:
    await give(site, site.right, bandwidth_limit={**SLOW, "direction": "ingress"})
    assert BURST * 0.6 < len(await came(site, site.left, site.right)) < OFFERED * 0.7
    assert len(await came(site, site.right, site.left)) > OFFERED * 0.8
    await give(site, site.right)


async def test_what_a_machine_sends_is_held_to_its_rate_of_packets(site: Site) -> None:
    await give(site, site.left, packet_rate_limit={"max_kpps": 1})
    assert 500 < len(await came(site, site.left, site.right, MANY)) < MANY * 0.7
    await give(site, site.left)
    assert len(await came(site, site.left, site.right, MANY)) > MANY * 0.8


async def test_packets_are_marked_on_their_way_to_another_host(site: Site) -> None:
    await give(site, site.left, dscp_marking={"dscp_mark": 46})
    assert set(await came(site, site.left, site.right)) == {46 << 2}
    assert set(await came(site, site.right, site.left)) == {0}
    await give(site, site.left)


async def test_limits_hold_again_after_a_restart_of_the_switch_and_its_meters_go_with_the_policy(
    site: Site,
) -> None:
    await give(site, site.left, bandwidth_limit=SLOW)
    before = await site.one.ofctl("dump-meters")
    assert "rate=100 burst_size=400" in before
    await site.one.restart_vswitchd()
    async with asyncio.timeout(30):
        while "rate=100" not in await site.one.ofctl("dump-meters"):
            await asyncio.sleep(0.05)
    assert BURST * 0.6 < len(await came(site, site.left, site.right)) < OFFERED * 0.7
    await give(site, site.left)
