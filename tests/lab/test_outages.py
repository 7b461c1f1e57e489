# SPDX-License-Identifier: Apache-2.0
"""Parts of a host or of the control plane are gone for a while: traffic goes on, what changed meanwhile is applied."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from alcor.dataplane.pipeline import CLASSIFY, LEAVE
from alcor.lab import Vm
from alcor.lab.cloud import Cloud
from tests.lab.site import PORT, Site, booted, changes, everywhere, gone, ip, new_site, plugged, update_port

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]

SHORT = {
    "AUDIT_S": "3600",  # what is mended here is mended without
    "KEEPALIVE_S": "1",
    "KEEPALIVE_TIMEOUT_S": "0.3",
    "SILENCE_GRACE_S": "0.5",
    "RECONNECT_MS_MAX": "200",
}
HEAL_S_MAX = 40.0  # vswitchd waits up to 8 s before it tries its database again, and TCP doubles its waits
LONG_S = 2.0  # longer than anything that is waited for with these settings


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """API and push apart, with settings so short that seconds are as a minute is with the usual ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name, setting in SHORT.items():
            patch.setenv(f"ALCOR_{name}", setting)
        async with Cloud(is_apart=True) as cloud:
            yield await new_site(cloud)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_traffic_lives_through_a_restart_of_ovsdb_and_what_is_plugged_then_is_seen(
    site: Site, number: signal.Signals
) -> None:
    goes = await booted(site.cloud, site.network, site.one, "goes")
    port, comes = await plugged(site.cloud, site.network, site.one, "comes")
    await comes.unplug()
    async with site.left.stream(ip(site.right), PORT) as stream:
        await site.one.stop_ovsdb(number)
        await site.one.start_ovsdb()
        await comes.plug()
        await goes.unplug()
        assert await stream.is_alive(timeout_s=HEAL_S_MAX)
    assert await site.cloud.bind(port["id"], "one") is not None
    assert await comes.ping(ip(site.right), tries=3)
    async with asyncio.timeout(20):
        while (await site.cloud.rest.show("port", goes.spec.port_id))["status"] == "ACTIVE":
            await asyncio.sleep(0.02)
    for vm in (goes, comes):
        await gone(site.cloud, vm)


async def test_agent_that_slept_through_a_restart_of_ovsdb_catches_up_with_what_was_plugged(
    site: Site,
) -> None:
    goes = await booted(site.cloud, site.network, site.one, "goes")
    port, comes = await plugged(site.cloud, site.network, site.one, "comes")
    await comes.unplug()
    agent = site.cloud.agents["one"]
    agent.send(signal.SIGSTOP)
    await site.one.stop_ovsdb()
    await site.one.start_ovsdb()
    await goes.unplug()
    await comes.plug()
    agent.send(signal.SIGCONT)
    assert await site.cloud.bind(port["id"], "one") is not None
    assert await comes.ping(ip(site.right), tries=3)
    async with asyncio.timeout(20):
        while (await site.cloud.rest.show("port", goes.spec.port_id))["status"] == "ACTIVE":
            await asyncio.sleep(0.02)
    for vm in (goes, comes):
        await gone(site.cloud, vm)


async def test_long_outage_of_ovsdb_ends_no_connection_and_changes_no_port(site: Site) -> None:
    """The userspace datapath forwards nothing meanwhile: docs/decisions/switch-restart.md."""
    before, logged = await site.cloud.rest.find("port"), changes(site.cloud, site.left, site.right)
    async with site.left.stream(ip(site.right), PORT) as stream:
        assert await stream.is_alive()
        await site.one.stop_ovsdb()
        await asyncio.sleep(LONG_S)
        await site.one.start_ovsdb()
        assert await stream.is_alive(timeout_s=HEAL_S_MAX)
    late = await booted(site.cloud, site.network, site.one, "late")  # the agent has its database again
    assert await late.ping(ip(site.right), tries=3)
    await gone(site.cloud, late)
    assert await site.cloud.rest.find("port") == before
    assert changes(site.cloud, site.left, site.right) == logged, "not even for a moment"


async def test_switch_that_crashes_with_its_database_comes_back_as_it_was(site: Site) -> None:
    logged = changes(site.cloud, site.left, site.right)
    async with site.left.stream(ip(site.right), PORT) as stream:
        await site.one.kill_vswitchd()
        await site.one.stop_ovsdb(signal.SIGKILL)
        await site.one.start_ovsdb()
        await site.one.start_vswitchd()
        assert await stream.is_alive(timeout_s=HEAL_S_MAX)
    late = await booted(site.cloud, site.network, site.one, "late")
    assert await late.ping(ip(site.right), tries=3)
    await gone(site.cloud, late)
    assert changes(site.cloud, site.left, site.right) == logged


async def test_traffic_and_status_outlive_push_and_what_changed_meanwhile_is_applied_after(
    site: Site,
) -> None:
    cloud, rest = site.cloud, site.cloud.rest
    port, late = await plugged(cloud, site.network, site.two, "late")
    closed = (await rest.create("security_group", {"name": "closed"}))["id"]
    shut = await booted(cloud, site.network, site.two, "shut")
    await shut.listen(PORT)
    assert await site.left.ping(ip(site.right), tries=3)
    async with (
        site.left.stream(ip(site.right), PORT) as stream,
        site.left.stream(ip(shut), PORT) as ended,
        site.left.pinging(ip(site.right)) as ping,
    ):
        assert await ended.is_alive()
        await cloud.stop_push(signal.SIGKILL)
        before = {each["id"]: each for each in await rest.find("port")}
        await rest.update("port", port["id"], {"binding:host_id": "two"})
        await update_port(site, shut, {"security_groups": [closed]})
        await asyncio.sleep(LONG_S)
        for each in await rest.find("port"):
            assert each["status"] == before[each["id"]]["status"]
        assert [agent["alive"] for agent in await rest.find("agent")] == [True, True]
        assert await stream.is_alive()
        assert await ended.is_alive(), "nobody could tell the host that the group is another"

        cloud.start_push()
        assert await rest.until_active(port["id"])
        revision = (await site.shown("hosts")).revision
        await everywhere(site, revision)
        assert not await ended.is_alive(timeout_s=0.3)
        assert await stream.is_alive()
    assert ping.lost == 0
    assert await late.ping(ip(site.right), tries=3)
    for each in await rest.find("port"):
        assert each["status"] == "ACTIVE"
    for vm in (late, shut):
        await gone(site.cloud, vm)


async def test_bridge_that_somebody_deletes_is_made_again_and_carries_what_is_plugged_in_again(
    site: Site,
) -> None:
    late = await booted(site.cloud, site.network, site.one, "late")
    await site.one.vsctl("del-br", "br-int")
    await until_status(site, "DOWN", site.left, late)
    for vm in (site.left, late):
        await vm.plug()
    await until_status(site, "ACTIVE", site.left, late)
    async with site.left.stream(ip(site.right), PORT) as stream:
        assert await stream.is_alive(timeout_s=HEAL_S_MAX)
    assert await late.ping(ip(site.left), tries=3)
    await gone(site.cloud, late)


async def until_status(site: Site, status: str, *vms: Vm) -> None:
    async with asyncio.timeout(HEAL_S_MAX):
        for vm in vms:
            while (await site.cloud.rest.show("port", vm.spec.port_id))["status"] != status:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("what", [(), ("table=0",)])
async def test_flows_that_somebody_deletes_are_back_long_before_the_next_audit(
    site: Site, what: tuple[str, ...]
) -> None:
    assert await site.left.ping(ip(site.right), tries=3)
    async with site.left.stream(ip(site.right), PORT) as stream:
        await site.one.ofctl("del-flows", *what)
        assert await stream.is_alive(timeout_s=HEAL_S_MAX)
    [shown] = (await site.shown("host", "one")).hosts
    assert shown.held is not None
    assert shown.held.flows is not None
    assert shown.held.flows.differing == 0


async def test_port_that_its_switch_refuses_is_not_active_and_is_when_it_does_not(site: Site) -> None:
    port, vm = await plugged(site.cloud, site.network, site.one, "refused")
    flows = (await site.one.ofctl("dump-flows", f"table={CLASSIFY.number}")).count("priority=")
    full = ("--id=@full", "create", "Flow_Table", f"flow_limit={flows}", "--")
    await site.one.vsctl(*full, "set", "bridge", "br-int", f"flow_tables:{CLASSIFY.number}=@full")
    try:
        await site.cloud.rest.update("port", port["id"], {"binding:host_id": "one"})
        async with asyncio.timeout(20):
            while not (failing := (await site.shown("host", "one")).hosts[0].failures).count:
                await asyncio.sleep(0.02)
        [fault] = failing.first
        assert fault.key == port["id"]
        assert "the table is full" in fault.reason
        assert (await site.cloud.rest.show("port", port["id"]))["status"] == "DOWN"
        assert await site.left.ping(ip(site.right), tries=3)
    finally:
        await site.one.vsctl("clear", "bridge", "br-int", "flow_tables")
    await site.one.ofctl("del-flows", f"table={LEAVE.number}")  # so that the switch is looked at again
    assert await site.cloud.rest.until_active(port["id"])
    assert await vm.ping(ip(site.right), tries=3)
    await gone(site.cloud, vm)
