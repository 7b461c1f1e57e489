# SPDX-License-Identifier: Apache-2.0
"""An address that became another port's: machines that still remember the MAC of the one before reach the new one."""

import asyncio

import pytest

from alcor.lab import Vm
from alcor.lab.rest import Body
from tests.lab.site import Site, booted, gone

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]

HEARD_S_MAX = 4.0  # Linux sends to the MAC that it remembers for at least 5 s before it asks again


async def reached_soon(client: Vm, address: str) -> bool:
    """Whether a ping is answered before a kernel would ask anew by itself."""
    end = asyncio.get_running_loop().time() + HEARD_S_MAX
    while asyncio.get_running_loop().time() < end:
        if await client.ping(address, timeout_s=0.2) is not None:
            return True
    return False


async def dual_network(site: Site) -> Body:
    """A network with both versions."""
    network = await site.cloud.rest.create("network", {"name": "both"})
    for version, cidr in ((4, "10.7.0.0/24"), (6, "fd07::/64")):
        subnet = {"network_id": network["id"], "ip_version": version, "cidr": cidr}
        await site.cloud.rest.create("subnet", subnet)
    return network


async def test_machines_that_remember_the_former_owner_of_an_address_reach_the_next_one_at_once(
    site: Site,
) -> None:
    network = await dual_network(site)
    beside = await booted(site.cloud, network, site.one, "beside", fixed_ips=both(11))
    away = await booted(site.cloud, network, site.two, "away", fixed_ips=both(12))
    for place, host in enumerate((site.one, site.two, site.one)):
        owner = await booted(site.cloud, network, host, f"owner{place}", fixed_ips=both(77))
        for client in (beside, away):
            for address in addresses(owner):
                assert await reached_soon(client, address), (place, client.name, address)
            for address in addresses(client):
                assert await reached_soon(owner, address), (place, client.name, address)
        await gone(site.cloud, owner)
    for client in (beside, away):
        await gone(site.cloud, client)


def both(number: int) -> list[Body]:
    return [{"ip_address": f"10.7.0.{number}"}, {"ip_address": f"fd07::{number}"}]


def addresses(vm: Vm) -> list[str]:
    return [address.split("/")[0] for address in vm.spec.addresses]
