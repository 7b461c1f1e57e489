# SPDX-License-Identifier: Apache-2.0
"""What the original Alcor got wrong (docs/decisions/known-faults.md), asked for by REST; packets where hosts matter."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from alcor.base.config import SettingError, load
from alcor.testing.loop import simulate
from alcor.testing.world import World
from tests.features.door import Door, open_door

ABSENT = "00000000-0000-4000-8000-000000000001"
NOUNS = {
    "networks": "network",
    "subnets": "subnet",
    "ports": "port",
    "security-groups": "security_group",
    "security-group-rules": "security_group_rule",
    "agents": "agent",
}


def in_world(scenario: Callable[[World], Awaitable[None]]) -> None:
    """Runs it in a world with hosts one and two."""

    async def main() -> None:
        async with World(1) as world:
            world.add_host("one")
            world.add_host("two")
            await scenario(world)

    simulate(main())


async def network_of(world: World, project: str = "") -> str:
    """The id of a new network with a subnet."""
    owner = {"project_id": project} if project else {}
    network: dict[str, Any] = await world.create("network", name="net", **owner)
    await world.create("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24", **owner)
    return str(network["id"])


async def test_fault_two_networks_get_one_vni(api: Door) -> None:
    async def made_and_gone(name: str) -> None:
        await api.delete("network", (await api.create("network", name=name))["id"])

    mixed = [api.create("network", name=f"n{number}") for number in range(30)]
    await asyncio.gather(*mixed, *(made_and_gone(f"g{number}") for number in range(30)))
    await api.create_many("network", [{"name": f"b{number}"} for number in range(30)])
    vnis = [network["provider:segmentation_id"] for network in await api.list("networks")]
    assert len(vnis) == len(set(vnis)) == 60


async def test_fault_vni_0_is_given(api: Door) -> None:
    networks = await api.create_many("network", [{}] * 20)
    assert all(network["provider:segmentation_id"] > 0 for network in networks)
    with pytest.raises(SettingError, match="0 is below the least, 1"):
        load({"vni_ranges": "0:3"}, {})


async def test_fault_deleting_a_network_leaks_its_vni(tmp_path: Path) -> None:
    async with open_door(tmp_path, vni_ranges=((7, 8),)) as api:
        for _ in range(5):
            one, two = await api.create_many("network", [{}, {}])
            assert {one["provider:segmentation_id"], two["provider:segmentation_id"]} == {7, 8}
            await api.refused("POST", "/v2.0/networks", {"network": {}}, 503)
            for network in (one, two):
                await api.delete("network", network["id"])


async def test_fault_taken_ip_is_granted_again(api: Door, net: dict[str, Any]) -> None:
    fixed = {"fixed_ips": [{"ip_address": "10.0.0.9"}]}
    wanted = [api.ask("POST", "/v2.0/ports", {"port": {"network_id": net["id"], **fixed}}) for _ in range(8)]
    statuses = sorted(status for status, _ in await asyncio.gather(*wanted))
    assert statuses == [201] + [409] * 7
    await api.create_many("port", [{"network_id": net["id"]}] * 40)
    taken = [port["fixed_ips"][0]["ip_address"] for port in await api.list("ports")]
    assert len(taken) == len(set(taken)) == 41
    for ip in taken:
        body = {"port": {"network_id": net["id"], "fixed_ips": [{"ip_address": ip}]}}
        refusal = await api.refused("POST", "/v2.0/ports", body, 409)
        assert refusal["type"] == "IpAddressAlreadyAllocated"


async def test_fault_all_ports_of_a_bulk_without_macs_get_the_same_one(
    api: Door, net: dict[str, Any]
) -> None:
    ports = await api.create_many("port", [{"network_id": net["id"]}] * 50)
    assert len({port["mac_address"] for port in ports}) == 50


def test_fault_port_is_active_though_its_host_failed() -> None:
    async def scenario(world: World) -> None:
        network = await network_of(world)
        await world.until_registered("one")
        bound = {"network_id": network, "binding:host_id": "one"}
        unplugged = await world.create("port", **bound)
        await world.settle()
        assert (await world.show("port", unplugged["id"]))["status"] == "DOWN"

        await world.hosts["one"].cut()
        silent = await world.create("port", **bound)
        world.hosts["one"].plug(silent)
        await asyncio.sleep(60)
        assert (await world.show("port", silent["id"]))["status"] == "DOWN"
        world.hosts["one"].mend()
        await world.until_active(silent["id"])

        world.hosts["one"].unplug(silent["id"])
        await world.settle()
        assert (await world.show("port", silent["id"]))["status"] == "DOWN"

    in_world(scenario)


@pytest.mark.parametrize("path", NOUNS)
async def test_fault_get_of_what_is_not_there_answers_200(api: Door, path: str) -> None:
    for method, body in (("GET", None), ("DELETE", None), ("PUT", {NOUNS[path]: {}})):
        if (method, path) != ("PUT", "security-group-rules"):  # which has no update
            refusal = await api.refused(method, f"/v2.0/{path}/{ABSENT}", body, 404)
            assert ABSENT in refusal["message"]


async def test_fault_deleting_what_is_in_use_answers_500(api: Door, net: dict[str, Any]) -> None:
    group, named = [await api.create("security_group", name=name) for name in ("used", "named")]
    await api.create(
        "security_group_rule",
        security_group_id=group["id"],
        direction="ingress",
        remote_group_id=named["id"],
    )
    port = await api.create("port", network_id=net["id"], security_groups=[group["id"]])
    [subnet] = await api.list("subnets")
    for path, used in (("networks", net["id"]), ("subnets", subnet["id"]), ("security-groups", group["id"])):
        refusal = await api.refused("DELETE", f"/v2.0/{path}/{used}", None, 409)
        assert used in refusal["message"]
    await api.delete("port", port["id"])
    for noun, free in (("security_group", group["id"]), ("subnet", subnet["id"]), ("network", net["id"])):
        await api.delete(noun, free)


def test_fault_agent_restart_forgets_everything() -> None:
    async def scenario(world: World) -> None:
        network = await network_of(world)
        port_a, a = await world.boot("one", network_id=network, name="a")
        _, b = await world.boot("two", network_id=network, name="b")
        await world.settle()
        flows = set(world.hosts["one"].switch.dump())

        await world.hosts["one"].stop_agent()
        assert a.ping(b.addresses[0])
        assert b.ping(a.addresses[0])
        world.hosts["one"].start_agent()
        await world.settle()
        assert set(world.hosts["one"].switch.dump()) == flows
        assert a.ping(b.addresses[0])
        assert (await world.show("port", port_a["id"]))["status"] == "ACTIVE"

    in_world(scenario)


def test_fault_default_security_group_lets_everybody_in() -> None:
    async def scenario(world: World) -> None:
        network = await network_of(world)
        stranger = await world.create("security_group", name="stranger")
        _, member = await world.boot("one", network_id=network, name="member")
        _, other = await world.boot("two", network_id=network, name="other")
        for host in ("one", "two"):
            _, outsider = await world.boot(
                host, network_id=network, name=f"outsider-{host}", security_groups=[stranger["id"]]
            )
            await world.settle()
            member.open_ports.add(53)
            assert not outsider.ping(member.addresses[0])
            assert not outsider.udp(member.addresses[0], 53)
            assert member.ping(other.addresses[0])
            assert other.udp(member.addresses[0], 53)

    in_world(scenario)
