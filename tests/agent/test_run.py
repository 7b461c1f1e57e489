# SPDX-License-Identifier: Apache-2.0
"""The whole agent of a real host, before push answers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from alcor.agent.main import run
from alcor.agent.switch import Switch
from alcor.base.address import Address
from alcor.base.config import Settings
from alcor.base.metrics import FLOW_REPAIRS, SWITCH_CONNECTS
from alcor.base.telemetry import Meters
from alcor.dataplane.pipeline import static_flows
from alcor.dataplane.rows import HostFacts
from alcor.dataplane.values import Flow
from alcor.features.host import HOST
from alcor.lab import Host, Underlay
from tests.agent.fabric import until

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host() -> AsyncIterator[Host]:
    async with Underlay() as underlay:
        [made] = await underlay.add_hosts("one")
        yield made


@dataclass
class Agent:
    """The agent of a host, running."""

    task: asyncio.Task[None]
    meters: Meters

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def start(host: Host, tmp_path: Path, audit_s: float = 60.0, name: str = "one") -> Agent:
    settings = msgspec.structs.replace(
        Settings(),
        host=name,
        push=Address(f"unix:{tmp_path}/nobody.sock"),
        tunnel_ip=str(host.tunnel_ip),
        ovsdb=f"unix:{host.ovsdb_socket}",
        openflow_dir=host.directory,
        audit_s=audit_s,
    )
    meters = Meters()
    return Agent(asyncio.create_task(run(settings, HOST, meters)), meters)


async def flows(host: Host) -> set[Flow]:
    switch = await Switch.connect(str(host.bridge_mgmt))
    try:
        return set(await switch.dump())
    finally:
        await switch.close()


async def wait_for(host: Host, wanted: set[Flow]) -> None:
    async with asyncio.timeout(20):
        while await flows(host) != wanted:
            await asyncio.sleep(0.02)


async def test_host_without_push_denies_everything_and_recovers_its_switch(
    host: Host, tmp_path: Path
) -> None:
    agent = start(host, tmp_path)
    try:
        wanted = set(static_flows(HostFacts("one", host.tunnel_ip, await host.ofport("vx0"))))
        await wait_for(host, wanted)
        await host.restart_vswitchd()
        await wait_for(host, wanted)
        assert agent.meters.value(SWITCH_CONNECTS) == 2
    finally:
        await agent.stop()


async def test_audits_leave_alone_what_they_cannot_judge_without_push(host: Host, tmp_path: Path) -> None:
    await host.ofctl("add-flow", "table=0,priority=7,in_port=77,actions=drop")
    before = await flows(host)
    agent = start(host, tmp_path, audit_s=0.1)
    try:
        await until(lambda: agent.meters.value(SWITCH_CONNECTS) == 1)
        async with asyncio.timeout(20):
            while not agent.meters.value(FLOW_REPAIRS, "missing"):  # the first may be found on connection
                await host.ofctl("del-flows", "table=10,icmp6,icmp_type=134")
                await asyncio.sleep(0.2)
        await wait_for(host, before)
        assert await flows(host) == before, "what is certainly missing is mended, and what is foreign stays"
    finally:
        await agent.stop()


async def test_agent_waits_for_its_switch(host: Host, tmp_path: Path) -> None:
    await host.kill_vswitchd()
    host.bridge_mgmt.unlink(missing_ok=True)
    agent = start(host, tmp_path)
    try:
        await asyncio.sleep(0.3)
        assert not agent.task.done()
        await host.start_vswitchd()
        await until(lambda: agent.meters.value(SWITCH_CONNECTS) == 1)
    finally:
        await agent.stop()


async def test_second_agent_on_a_bridge_waits_until_the_first_has_ended(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = start(host, tmp_path)
    await until(lambda: first.meters.value(SWITCH_CONNECTS) == 1)
    second = start(host, tmp_path, name="other")
    try:
        await until(lambda: "another agent has the bridge" in capsys.readouterr().err)
        assert not second.meters.value(SWITCH_CONNECTS)
        await first.stop()
        await until(lambda: second.meters.value(SWITCH_CONNECTS) == 1)
    finally:
        await first.stop()
        await second.stop()
