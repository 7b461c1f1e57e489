# SPDX-License-Identifier: Apache-2.0
"""A machine migrates between hosts, through REST and packets, in simulated time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from alcor.features.binding.model import PORT_MOVE
from alcor.testing.loop import simulate
from alcor.testing.machine import Machine
from alcor.testing.world import World

NOVA = {"X-Project-Id": "nova", "X-Roles": "admin,service"}


class Migration:
    """A port on h1 that is to go to h2, its machine at both ends, and a client on h3."""

    def __init__(
        self, world: World, port: dict[str, Any], machines: tuple[Machine, Machine, Machine]
    ) -> None:
        self.world = world
        self.port = port
        self.before, self.after, self.client = machines

    async def ask(self, method: str, tail: str = "", body: object = None) -> Any:
        url = f"/v2.0/ports/{self.port['id']}/bindings{tail}"
        answer = await self.world.client.request(method, url, json=body, headers=NOVA)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    @property
    def target(self) -> Any:
        return self.port["fixed_ips"][0]["ip_address"]


def scene(scenario: Callable[[Migration], Awaitable[None]]) -> None:
    async def main() -> None:
        async with World() as world:
            for host in ("h1", "h2", "h3"):
                world.add_host(host)
            net = await world.create("network", name="net")
            await world.create("subnet", network_id=net["id"], ip_version=4, cidr="10.0.0.0/24")
            port, before = await world.boot(
                "h1", network_id=net["id"], name="vm", device_owner="compute:nova"
            )
            _, client = await world.boot("h3", network_id=net["id"], name="client")
            await world.until_registered("h2")
            await world.settle()
            after = world.hosts["h2"].plug(port, "vm on h2")
            await scenario(Migration(world, port, (before, after, client)))

    simulate(main())


def test_one_activation_moves_the_traffic() -> None:
    async def scenario(one: Migration) -> None:
        assert one.client.ping(one.target)
        await one.ask("POST", body={"binding": {"host": "h2"}})
        await one.world.settle()
        one.after.got.clear()
        assert one.client.ping(one.target)
        assert not one.after.got, "who waits gets nothing"
        assert one.world.hosts["h2"].agent is not None
        assert any("neighbours:" in scope for scope in one.world.hosts["h2"].agent.rows.complete)

        await one.ask("PUT", "/h2/activate")
        assert (await one.world.show("port", one.port["id"]))["status"] == "ACTIVE", "it was ready"
        await one.world.settle()
        one.before.got.clear()
        assert one.client.ping(one.target)
        assert not one.before.got
        assert one.after.ping(one.client.addresses[0])
        await one.ask("DELETE", "/h1")
        one.world.hosts["h1"].unplug(one.port["id"])
        await one.world.settle()
        assert one.client.ping(one.target)
        assert (await one.world.show("port", one.port["id"]))["status"] == "ACTIVE"

    scene(scenario)


def test_old_host_sends_on_for_a_minute() -> None:
    async def scenario(one: Migration) -> None:
        await one.ask("POST", body={"binding": {"host": "h2"}})
        await one.world.settle()
        assert one.client.ping(one.target)
        await one.world.hosts["h3"].cut()  # it hears of nothing any more
        await one.ask("PUT", "/h2/activate")
        await one.ask("DELETE", "/h1")
        one.world.hosts["h1"].unplug(one.port["id"])
        await one.world.settle()
        one.after.got.clear()
        one.client.ping(one.target)
        assert one.after.got, "the old host has sent it on"
        await asyncio.sleep(50)
        one.after.got.clear()
        one.client.ping(one.target)
        assert one.after.got
        await asyncio.sleep(15)
        assert not list(one.world.store.tables.scan(PORT_MOVE))
        one.after.got.clear()
        one.client.ping(one.target)
        assert not one.after.got, "a minute is over"
        one.world.hosts["h3"].mend()
        await asyncio.sleep(5)
        assert one.client.ping(one.target)

    scene(scenario)


def test_port_moves_there_and_back() -> None:
    async def scenario(one: Migration) -> None:
        await one.ask("POST", body={"binding": {"host": "h2"}})
        await one.world.settle()
        for host, here, there in (("h2", one.after, one.before), ("h1", one.before, one.after)) * 2:
            await one.ask("PUT", f"/{host}/activate")
            await one.world.settle()
            there.got.clear()
            assert one.client.ping(one.target)
            assert not there.got
            assert here.ping(one.client.addresses[0])
            assert (await one.world.show("port", one.port["id"]))["status"] == "ACTIVE"

    scene(scenario)


def test_waiting_binding_that_goes_leaves_nothing_behind() -> None:
    async def scenario(one: Migration) -> None:
        host = one.world.hosts["h2"]
        assert host.agent is not None
        plain = len(host.agent.deriver.wanted)
        await one.ask("POST", body={"binding": {"host": "h2"}})
        await one.world.settle()
        assert len(host.agent.deriver.wanted) > plain
        await one.ask("DELETE", "/h2")
        await one.world.settle()
        assert len(host.agent.deriver.wanted) == plain
        assert one.client.ping(one.target)

    scene(scenario)
