# SPDX-License-Identifier: Apache-2.0
"""The agent on real switches, with machines that speak for themselves: traffic goes on whatever restarts."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from alcor.agent.reconcile import Repairs
from alcor.agent.switch import Switch
from tests.agent.fabric import OvsFabric, open_fabric, until
from tests.agent.wanted import nic
from tests.features.packets import small_world

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[OvsFabric]:
    async with open_fabric("ovs") as opened:
        assert isinstance(opened, OvsFabric)
        opened.is_talkative = True
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def fabric(lab: OvsFabric) -> OvsFabric:
    """The small world: a and b on host one, c on host two, all members of `g`."""
    await lab.reset()
    small_world(lab)
    await lab.realise()
    return lab


async def held(fabric: OvsFabric, host: str) -> dict[object, object]:
    """What the switch of a host has."""
    switch = await Switch.connect(str(fabric.hosts[host].host.bridge_mgmt))
    try:
        return {flow.identity: flow for flow in await switch.dump()}
    finally:
        await switch.close()


async def test_machines_find_and_reach_each_other_over_both_protocols(fabric: OvsFabric) -> None:
    a, nics = fabric.vm("a"), fabric.wanted.nics
    for name in ("b", "c"):
        await fabric.vm(name).listen(80)
        for address in nics[name].addresses:
            assert await a.ping(address, tries=3, timeout_s=2) is not None, address
            assert await a.tcp(address, 80, timeout_s=3) is not None, address
            assert await a.udp(address, 80, timeout_s=3) is not None, address
        fabric.vm(name).hang_up()


async def test_the_switch_has_exactly_what_is_wanted(fabric: OvsFabric) -> None:
    for host, agent in fabric.agents.items():
        assert await held(fabric, host) == agent.deriver.wanted


async def test_flows_that_others_alter_delete_or_add_are_mended(fabric: OvsFabric) -> None:
    host, agent = fabric.hosts["one"].host, fabric.agents["one"]
    await host.ofctl("mod-flows", "table=0,vlan_tci=0x1000/0x1000,actions=NORMAL")
    await host.ofctl("del-flows", "table=10,icmp6,icmp_type=134")
    await host.ofctl("add-flow", "table=0,priority=999,in_port=77,actions=output:78")
    assert await held(fabric, "one") != agent.deriver.wanted
    assert await agent.reconciler.audit() == Repairs(missing=1, altered=1, foreign=1)
    assert await held(fabric, "one") == agent.deriver.wanted
    assert await agent.reconciler.audit() == Repairs()


async def test_new_agent_loses_no_packet(fabric: OvsFabric) -> None:
    a, c = fabric.vm("a"), fabric.wanted.nics["c"]
    await fabric.vm("c").listen(80)
    assert await a.ping(c.ipv4, tries=3) is not None
    async with a.stream(c.ipv4, 80) as stream, a.pinging(c.ipv4) as ping:
        for host in ("one", "two"):
            await fabric.restart_agent(host)
            await asyncio.sleep(0.1)
        assert await held(fabric, "one"), "nobody has told the new agent anything yet"
        await fabric.realise()
        assert await stream.is_alive()
    fabric.vm("c").hang_up()
    assert ping.sent > 20
    assert ping.lost == 0
    assert await held(fabric, "one") == fabric.agents["one"].deriver.wanted


@pytest.mark.parametrize("way", ["restart", "crash"])
async def test_restarted_switch_gets_its_flows_back(fabric: OvsFabric, way: str) -> None:
    running = fabric.hosts["two"]
    if way == "restart":
        await running.host.restart_vswitchd()
    else:
        await running.host.kill_vswitchd()
        await running.host.start_vswitchd()
    await fabric.warm()
    a, c = fabric.vm("a"), fabric.wanted.nics["c"]
    assert await a.ping(c.ipv4, tries=10) is not None
    assert await held(fabric, "two") == running.agent.deriver.wanted


async def test_machine_plugged_before_its_port_is_bound_is_let_in_when_it_is(fabric: OvsFabric) -> None:
    early = nic(6, "n", "two", groups=("g",))
    fabric.add("early", early)
    await fabric.realise()
    del fabric.wanted.nics["early"]
    await fabric.realise()
    a = fabric.vm("a")
    agent = fabric.agents["two"]
    assert agent.deriver.interface(early.id) is not None
    assert await a.ping(early.ipv4, timeout_s=0.2) is None
    fabric.add("early", early)
    await fabric.realise()
    assert await a.ping(early.ipv4, tries=3) is not None


async def test_unplugged_machine_is_reported_and_comes_back(fabric: OvsFabric) -> None:
    agent, vm = fabric.agents["two"], fabric.vm("c")
    key = fabric.wanted.nics["c"].id
    said = agent.session._reports
    assert said[key].is_realised
    await vm.unplug()
    await until(lambda: not said[key].is_realised)
    await vm.plug()
    await until(lambda: said[key].is_realised)
    assert await fabric.vm("a").ping(fabric.wanted.nics["c"].ipv4, tries=3) is not None


async def test_member_that_leaves_is_cut_off_at_once_and_the_other_is_not(fabric: OvsFabric) -> None:
    a, b, c = fabric.vm("a"), fabric.vm("b"), fabric.wanted.nics["c"]
    fabric.wanted.rule("outside", "egress")
    await fabric.vm("c").listen(80)
    assert await a.ping(c.ipv4, tries=3) is not None
    async with a.stream(c.ipv4, 80) as leaving, b.stream(c.ipv4, 80) as staying:
        fabric.change("a", groups=("outside",))
        await fabric.realise()
        assert not await leaving.is_alive(timeout_s=0.5)
        assert await staying.is_alive()
        fabric.change("a", groups=("g",))
        await fabric.realise()
        assert await leaving.is_alive(timeout_s=5)
    fabric.vm("c").hang_up()
