# SPDX-License-Identifier: Apache-2.0
"""The switch knows the MACs of the hosts that tunnels lead to before the first packet needs them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from alcor.agent import neighbours as neighbours_module
from alcor.agent.neighbours import TunnelNeighbours
from alcor.base.net import Ip, ip_int
from alcor.lab import Host, Underlay

ovs = pytest.mark.ovs
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hosts() -> AsyncIterator[tuple[Host, Host]]:
    async with Underlay() as underlay:
        one, two = await underlay.add_hosts("one", "two")
        yield one, two


async def knows(host: Host, other: Host) -> bool:
    return str(other.tunnel_ip) in await host.appctl("tnl/neigh/show")


async def forget(host: Host) -> None:
    """As after a restart: no MACs, and no datapath flow by which an answer goes past those who learn from it."""
    await host.appctl("tnl/neigh/flush")
    await host.appctl("revalidator/purge")


async def wait_until_known(host: Host, other: Host) -> None:
    async with asyncio.timeout(10):
        while not await knows(host, other):
            await asyncio.sleep(0.02)


@ovs
async def test_peer_that_is_met_is_known_to_the_switch_and_again_after_it_forgot(
    hosts: tuple[Host, Host],
) -> None:
    one, two = hosts
    neighbours = one.namespace.inside(lambda: TunnelNeighbours(one.tunnel_ip))
    try:
        await forget(one)
        neighbours.meet([ip_int(two.tunnel_ip)])
        await wait_until_known(one, two)

        await forget(one)
        neighbours.meet([ip_int(two.tunnel_ip)])
        assert not await knows(one, two), "it is not new"
        neighbours.ask_all()
        await wait_until_known(one, two)
    finally:
        neighbours.close()


@ovs
async def test_peers_are_asked_for_again_and_again(
    hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = hosts
    monkeypatch.setattr(neighbours_module, "REFRESH_S", 0.01)
    neighbours = one.namespace.inside(lambda: TunnelNeighbours(one.tunnel_ip))
    neighbours.meet([ip_int(two.tunnel_ip)])
    refreshing = asyncio.create_task(neighbours.refresh())
    try:
        await forget(one)
        await wait_until_known(one, two)
    finally:
        refreshing.cancel()
        await asyncio.gather(refreshing, return_exceptions=True)
        neighbours.close()


async def test_peers_out_of_reach_and_addresses_of_nobody_do_no_harm() -> None:
    neighbours = TunnelNeighbours(Ip("192.0.2.1"))
    neighbours.meet([ip_int(Ip("255.255.255.255")), ip_int(Ip("127.0.0.1"))])
    neighbours.ask_all()
    neighbours.close()
