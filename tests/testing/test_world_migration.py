# SPDX-License-Identifier: Apache-2.0
"""A machine migrates between hosts, through REST and packets, in simulated time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from alcor.base.net import Ip, Mac
from alcor.features.binding.model import PORT_MOVE
from alcor.testing.loop import simulate
from alcor.testing.machine import Machine
from alcor.testing.packet import Packet
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


class Trunked:
    """A machine by whose interface another one speaks and hears with a tag."""

    def __init__(self, untagged: Machine, tagged: Machine, tag: int) -> None:
        self.by_tag = {None: untagged, tag: tagged}

    def receive(self, packet: Packet) -> None:
        self.by_tag[packet.vlan].receive(replace(packet, vlan=None))


def with_subport(world: World, host: str, port: dict[str, Any], sub: dict[str, Any], tag: int) -> Machine:
    """The subport's machine, beside the one that the port has on the host."""
    there = world.hosts[host]
    ofport = there.interfaces[port["id"]].ofport

    def emit(packet: Packet) -> None:
        world.carry(host, ofport, replace(packet, vlan=tag))

    address = Ip(sub["fixed_ips"][0]["ip_address"])
    tagged = Machine("subport", Mac(sub["mac_address"]), (address,), emit)
    there.machines[ofport] = Trunked(there.machines[ofport], tagged, tag)  # type: ignore[assignment]  # as a machine
    return tagged


def test_subports_wait_where_their_trunk_s_port_waits_and_move_with_it_without_a_lost_packet() -> None:
    async def scenario(one: Migration) -> None:
        world = one.world
        net = await world.create("network", name="tagged")
        await world.create("subnet", network_id=net["id"], ip_version=4, cidr="10.1.0.0/24")
        sub = await world.create("port", network_id=net["id"], name="sub")
        _, client = await world.boot("h3", network_id=net["id"], name="tagged client")
        subs = [{"port_id": sub["id"], "segmentation_type": "vlan", "segmentation_id": 100}]
        await world.create("trunk", port_id=one.port["id"], sub_ports=subs)
        await world.until_active(sub["id"])
        before = with_subport(world, "h1", one.port, sub, 100)
        after = with_subport(world, "h2", one.port, sub, 100)
        target = sub["fixed_ips"][0]["ip_address"]
        assert client.ping(target)

        await one.ask("POST", body={"binding": {"host": "h2"}})
        await world.settle()
        before.got.clear()
        assert client.ping(target)
        assert before.got
        assert not after.got, "who waits gets nothing"

        for host, here, there in (("h2", after, before), ("h1", before, after)) * 2:
            await world.hosts["h3"].cut()  # so it hears of the move late
            await one.ask("PUT", f"/{host}/activate")
            assert (await world.show("port", sub["id"]))["status"] == "ACTIVE", "it was ready there"
            await world.settle()
            there.got.clear()
            assert client.ping(target), "the host that it left sends on"
            world.hosts["h3"].mend()
            await asyncio.sleep(5)
            await world.settle()
            there.got.clear()
            assert client.ping(target)
            assert not there.got
            assert here.ping(client.addresses[0])

        await one.ask("DELETE", "/h2")
        await asyncio.sleep(65)
        agent = world.hosts["h2"].agent
        assert agent is not None
        assert not any(sub["id"] in key for rows in agent.rows.scopes.values() for key in rows)
        assert client.ping(target)

    scene(scenario)
