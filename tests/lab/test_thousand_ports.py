# SPDX-License-Identifier: Apache-2.0
"""A thousand ACTIVE ports, most of them on emulated hosts and some on a real one, and whatever restarts beside them."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from alcor.lab.cloud import ALCOR, Cloud
from alcor.lab.process import Child
from alcor.lab.rest import Body
from alcor.push.ask import NotAnswered
from tests.lab.site import UNTIL_S_MAX, booted, changes, ip, shown_by

pytestmark = pytest.mark.ovs

PORTS = 1_000
EMULATED = [f"h{number}" for number in range(1, 11)]
FIELDS = ("id", "status", "revision_number", "binding:host_id", "binding:vif_type", "updated_at")


class Ports:
    """All ports of a cloud, looked at while things restart."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.before: list[Body] = []
        self.looks = 0

    async def now(self) -> list[Body]:
        """What GET says of them."""
        query = {"fields": list(FIELDS), "sort_key": "id", "sort_dir": "asc"}
        answer = await self.cloud.rest.client.get("/v2.0/ports", params=query)
        answer.raise_for_status()
        return list(answer.json()["ports"])

    async def are_active(self) -> bool:
        """Whether all thousand are."""
        return [port["status"] for port in await self.now()] == ["ACTIVE"] * PORTS

    @asynccontextmanager
    async def unchanged(self) -> AsyncIterator[None]:
        """Holds every look meanwhile to what was there before; an API that is down is no look."""
        task = asyncio.create_task(self._look_again_and_again())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        assert await self.now() == self.before

    async def _look_again_and_again(self) -> None:
        while True:
            with suppress(httpx.TransportError):
                assert await self.now() == self.before
                self.looks += 1
            await asyncio.sleep(0.02)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(2 * UNTIL_S_MAX):
        while not await holds():
            await asyncio.sleep(0.05)


async def test_restarts_of_every_role_change_no_status_and_no_revision_of_a_thousand_active_ports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALCOR_QUOTA_PORT", "-1")
    async with Cloud(is_apart=True) as cloud:
        (host,) = await cloud.add_hosts("one")
        emulation = emulate(cloud)
        network = await cloud.rest.create("network", {"name": "n"})
        await cloud.rest.create(
            "subnet", {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/16"}
        )
        await until(lambda: all_are_here(cloud))
        left, right = [await booted(cloud, network, host, name) for name in ("left", "right")]
        wanted = [
            {"network_id": network["id"], "binding:host_id": EMULATED[number % len(EMULATED)]}
            for number in range(PORTS - 2)
        ]
        for start in range(0, len(wanted), 200):
            answer = await cloud.rest.client.post("/v2.0/ports", json={"ports": wanted[start : start + 200]})
            assert answer.status_code == 201, answer.text
        ports = Ports(cloud)
        await until(ports.are_active)
        ports.before, logged = await ports.now(), changes(cloud)

        assert await left.ping(ip(right), tries=3)
        async with left.pinging(ip(right)) as ping:
            for number in (signal.SIGKILL, signal.SIGTERM):
                async with ports.unchanged():
                    await cloud.stop_push(number)
                    cloud.start_push()
                    await until(lambda: all_are_here(cloud))
                async with ports.unchanged():
                    await cloud.stop_control(number)
                    await cloud.start_control()
                async with ports.unchanged():
                    await cloud.stop_agent(host, number)
                    cloud.start_agent(host)
                    await until(lambda: all_are_here(cloud))
                async with ports.unchanged():
                    await emulation.stop(number)
                    emulation = emulate(cloud)
                    await until(lambda: all_are_here(cloud))
        assert ping.lost == 0
        assert ports.looks > 8
        assert changes(cloud) == logged, "not even for a moment"
        late = await booted(cloud, network, host, "late", fixed_ips=[{"ip_address": "10.0.99.1"}])
        assert await late.ping(ip(right), tries=3)


def emulate(cloud: Cloud) -> Child:
    """The emulated hosts, as one process."""
    words = ("--hosts", str(len(EMULATED)), "--prefix", "h", "--push", cloud.push)
    return cloud.underlay.spawn(*ALCOR, "emulate", *words, log="emulate.log")


async def all_are_here(cloud: Cloud) -> bool:
    """Whether every host has a session, and has acknowledged all that it was told since it opened it."""
    try:
        shown = (await shown_by(cloud, "hosts")).hosts
    except NotAnswered:
        return False  # push is on its way
    return len(shown) == len(EMULATED) + 1 and all(
        host.is_connected and host.is_whole and host.lag == 0 and not host.waiting_rows for host in shown
    )
