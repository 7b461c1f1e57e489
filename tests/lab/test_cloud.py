# SPDX-License-Identifier: Apache-2.0
"""The whole of Alcor on this machine, used through its public doors: what restarts cost, and what refusals say."""

import signal

import httpx
import pytest

from alcor.lab import LabFailure, cloud
from alcor.lab.cloud import Cloud, free_address
from alcor.lab.rest import Rest
from tests.lab.site import PORT, Site, gone, ip, plugged

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]


async def test_vms_on_two_hosts_reach_each_other_once_active(site: Site) -> None:
    assert await site.left.ping(ip(site.right), tries=3)
    assert await site.left.tcp(ip(site.right), PORT)


async def test_ports_of_one_bulk_are_plugged_in_on_one_host_under_the_names_that_nova_gives(
    site: Site,
) -> None:
    """A device is named by the first letters of its port's id."""
    bulk = {"ports": [{"network_id": site.network["id"], "binding:host_id": "one"}] * 3}
    made = (await site.cloud.rest.client.post("/v2.0/ports", json=bulk)).raise_for_status().json()["ports"]
    vms = [await site.cloud.boot(site.one, f"bulk{place}", port) for place, port in enumerate(made)]
    for vm in vms:
        assert await site.cloud.rest.until_active(vm.spec.port_id)
        await gone(site.cloud, vm)


async def test_agent_restart_loses_no_packet(site: Site) -> None:
    # Plugged before: in the userspace datapath a port that comes or goes may cost others a packet, whoever plugs it.
    port, late = await plugged(site.cloud, site.network, site.one, "late")
    await site.left.ping(ip(site.right), tries=3)
    async with site.left.pinging(ip(site.right)) as ping, site.left.stream(ip(site.right), PORT) as stream:
        await site.cloud.stop_agent(site.one)
        site.cloud.start_agent(site.one)
        await site.cloud.stop_agent(site.two, signal.SIGKILL)
        site.cloud.start_agent(site.two)
        assert await site.cloud.bind(port["id"], "one") is not None
        assert await stream.is_alive()
    assert ping.lost == 0
    assert await late.ping(ip(site.right), tries=3)
    await late.remove()


async def test_killed_control_plane_costs_no_packet_and_no_port(site: Site) -> None:
    port, late = await plugged(site.cloud, site.network, site.two, "later")
    await site.left.ping(ip(site.right), tries=3)
    async with site.left.pinging(ip(site.right)) as ping, site.left.stream(ip(site.right), PORT) as stream:
        await site.cloud.stop_control(signal.SIGKILL)
        await site.cloud.start_control()
        for vm in (site.left, site.right):
            assert (await site.cloud.rest.show("port", vm.spec.port_id))["status"] == "ACTIVE"
        assert await site.cloud.bind(port["id"], "two") is not None
        assert await stream.is_alive()
    assert ping.lost == 0
    assert await late.ping(ip(site.left), tries=3)
    await late.remove()


async def test_switch_restart_heals_by_itself_and_the_stream_lives(site: Site) -> None:
    await site.left.ping(ip(site.right), tries=3)
    async with site.left.pinging(ip(site.right)) as ping, site.left.stream(ip(site.right), PORT) as stream:
        await site.one.restart_vswitchd()
        assert await stream.is_alive(timeout_s=10)
    assert ping.round_trips_ms
    assert await site.left.ping(ip(site.right), tries=3)


async def test_control_plane_and_agent_end_in_order_when_told_to(site: Site) -> None:
    assert await site.cloud.stop_agent(site.one) == 0
    assert await site.cloud.stop_control() == 0
    await site.cloud.start_control()
    site.cloud.start_agent(site.one)


async def test_port_without_a_host_does_not_become_active(site: Site) -> None:
    port = await site.cloud.rest.create("port", {"network_id": site.network["id"]})
    assert not await site.cloud.rest.until_active(port["id"], within_s=0.1)
    await site.cloud.rest.delete("port", port["id"])


async def test_refused_request_fails_in_the_words_of_the_api(site: Site) -> None:
    with pytest.raises(LabFailure, match=r"GET ports/absent: 404 .*PortNotFound"):
        await site.cloud.rest.show("port", "absent")


async def test_api_that_cannot_be_reached_is_named_so() -> None:
    async with httpx.AsyncClient(base_url=f"http://{free_address('127.0.0.1:0')}") as client:
        with pytest.raises(LabFailure, match="cannot be reached"):
            await Rest(client).find("network")


async def test_control_plane_that_ends_at_start_is_reported_with_its_last_words() -> None:
    with pytest.raises(LabFailure, match=r"control plane ended:\s(.|\s)*turn_ms_max"):
        async with Cloud(flags=("--turn-ms-max", "soon")):
            pytest.fail("started with a setting that is none")


async def test_agent_that_ends_at_start_is_reported_with_its_last_words(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "ALCOR", ("false",))
    with pytest.raises(LabFailure, match="agent of host three ended"):
        await site.cloud.add_hosts("three")


async def test_address_in_use_gives_way_to_a_free_one(site: Site) -> None:
    host, port = site.cloud.listen.rsplit(":", 1)
    assert free_address(f"{host}:{port}") != site.cloud.listen
