# SPDX-License-Identifier: Apache-2.0
"""The whole system in simulated time: REST in, packets out, and what restarts, cuts and restored logs do to it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from alcor.base.net import Cidr, eui64
from alcor.testing.loop import Deadlock, simulate
from alcor.testing.machine import Machine
from alcor.testing.world import World, WorldHost

Scenario = Callable[[World], Awaitable[None]]


def in_world(scenario: Scenario, seed: int = 1) -> None:
    async def main() -> None:
        async with World(seed) as world:
            await scenario(world)

    simulate(main())


async def network(world: World) -> dict[str, Any]:
    made = await world.create("network", name="net")
    await world.create("subnet", network_id=made["id"], ip_version=4, cidr="10.0.0.0/24")
    await world.create("subnet", network_id=made["id"], ip_version=6, cidr="fd00::/64")
    return made


async def two_machines(world: World) -> tuple[dict[str, Any], Machine, dict[str, Any], Machine]:
    world.add_host("h1")
    world.add_host("h2")
    net = await network(world)
    port_a, a = await world.boot("h1", network_id=net["id"], name="a")
    port_b, b = await world.boot("h2", network_id=net["id"], name="b")
    await world.settle()
    return port_a, a, port_b, b


def reach_each_other(a: Machine, b: Machine) -> bool:
    return all([*(a.ping(ip) for ip in b.addresses), *(b.ping(ip) for ip in a.addresses)])


def test_simulated_time_passes_at_once_and_deadlock_is_noticed() -> None:
    async def sleeps() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    assert simulate(sleeps()) >= 86_400
    with pytest.raises(Deadlock):
        simulate(asyncio.Event().wait())


def test_machines_speak_with_the_automatic_addresses_of_a_subnet_that_came_after_them() -> None:
    async def scenario(world: World) -> None:
        port_a, a, _, b = await two_machines(world)
        cidr = Cidr("2001:db8::/64")
        a.addresses, b.addresses = (eui64(cidr, a.mac),), (eui64(cidr, b.mac),)
        assert not a.ping(*b.addresses), "nobody gave them these"
        slaac = {"ip_version": 6, "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
        await world.create("subnet", network_id=port_a["network_id"], cidr=cidr, **slaac)
        await world.settle()
        assert reach_each_other(a, b)
        a.addresses = (eui64(cidr, b.mac),)
        assert not b.ping(*a.addresses), "it is not the address of its MAC"

    in_world(scenario)


def test_host_tells_its_zone_in_its_hello_and_another_one_when_it_comes_again() -> None:
    async def scenario(world: World) -> None:
        host = world.add_host("h1")
        for zone in ("", "east", "west"):
            await host.stop_agent()
            host.zone = zone
            host.start_agent()
            await world.until_registered("h1")
            await world.settle()
            (agent,) = await world.find("agent", host="h1")
            assert agent["availability_zone"] == (zone or None)

    in_world(scenario)


def test_two_machines_on_two_hosts_reach_each_other_and_nobody_else_does() -> None:
    async def scenario(world: World) -> None:
        _, a, _, b = await two_machines(world)
        assert reach_each_other(a, b)

        other = await network(world)
        _, stranger = await world.boot("h1", network_id=other["id"], name="stranger")
        await world.settle()
        assert not any(stranger.ping(ip) for ip in (*a.addresses, *b.addresses))

    in_world(scenario)


def test_the_same_seed_takes_the_same_steps() -> None:
    def history(seed: int) -> list[object]:
        seen: list[object] = []

        async def scenario(world: World) -> None:
            await two_machines(world)
            seen.extend((turn.position, turn.records) for turn in world.disk.turns)

        in_world(scenario, seed)
        return seen

    assert history(7) == history(7)
    assert history(7) != history(8)


def test_member_that_leaves_loses_access_within_an_established_connection() -> None:
    async def scenario(world: World) -> None:
        port_a, a, _, b = await two_machines(world)
        b.open_ports.add(53)
        assert a.udp(b.addresses[0], 53, source=5000)

        web = await world.create("security_group", name="web")
        await world.update("port", port_a["id"], security_groups=[web["id"]])
        await world.settle()
        assert not a.udp(b.addresses[0], 53, source=5000)
        assert not a.ping(b.addresses[0])

    in_world(scenario)


def test_one_request_id_is_logged_from_the_api_to_every_agent_concerned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr("alcor.agent.session.log", lambda event, **facts: said.append(f"{event} {facts}"))
    asked = {"X-Openstack-Request-Id": "req-11111111-2222-4333-8444-555555555555"}

    async def scenario(world: World) -> None:
        port_a, _, _, _ = await two_machines(world)
        said.clear()
        path = f"/v2.0/ports/{port_a['id']}"
        await world.client.put(path, json={"port": {"security_groups": []}}, headers=asked)
        await world.settle()

    in_world(scenario)
    told = [
        line for line in said if line.startswith("rows changed") and asked["X-Openstack-Request-Id"] in line
    ]
    assert len(told) == 2


def test_restarts_of_everything_change_no_status_and_no_flow() -> None:
    async def scenario(world: World) -> None:
        port_a, a, port_b, b = await two_machines(world)
        flows = {name: len(host.switch.dump()) for name, host in world.hosts.items()}

        for host in world.hosts.values():
            await host.stop_agent()
        await world.stop()
        assert reach_each_other(a, b)  # fail static: switches carry on alone
        await world.start()
        for host in world.hosts.values():
            host.start_agent()
        await world.settle()

        assert reach_each_other(a, b)
        assert {name: len(host.switch.dump()) for name, host in world.hosts.items()} == flows
        for port in (port_a, port_b):
            assert (await world.show("port", port["id"]))["status"] == "ACTIVE"

    in_world(scenario)


def test_switch_that_lost_its_flows_gets_them_back() -> None:
    async def scenario(world: World) -> None:
        _, a, _, b = await two_machines(world)
        await world.hosts["h1"].restart_switch()
        assert not a.ping(b.addresses[0])
        await world.settle()
        assert reach_each_other(a, b)

    in_world(scenario)


def test_cut_host_catches_up_when_the_network_is_mended() -> None:
    async def scenario(world: World) -> None:
        _, a, port_b, b = await two_machines(world)
        await world.hosts["h1"].cut()
        c_port = await world.create(
            "port", network_id=port_b["network_id"], name="c", **{"binding:host_id": "h2"}
        )
        c = world.hosts["h2"].plug(c_port)
        await world.until_active(c_port["id"])
        assert reach_each_other(b, c)
        assert reach_each_other(a, b)

        world.hosts["h1"].mend()
        await asyncio.sleep(5)
        await world.settle()
        assert reach_each_other(a, c)

    in_world(scenario)


def test_restored_backup_is_what_hosts_converge_to() -> None:
    async def scenario(world: World) -> None:
        _, a, port_b, b = await two_machines(world)
        backup = world.disk.copied()
        _, late = await world.boot("h1", network_id=port_b["network_id"], name="late")
        await world.settle()
        assert late.ping(b.addresses[0])

        world.disk.restore(backup)
        await asyncio.sleep(5)
        await world.settle()
        assert not late.ping(b.addresses[0])  # its port is not in the log any more
        assert reach_each_other(a, b)
        ports = await world.find("port")
        assert {port["name"] for port in ports} == {"a", "b"}

    in_world(scenario)


def test_unplugged_port_is_down_and_plugged_again_active() -> None:
    async def scenario(world: World) -> None:
        port_a, _, _, b = await two_machines(world)
        world.hosts["h1"].unplug(port_a["id"])
        await world.settle()
        assert (await world.show("port", port_a["id"]))["status"] == "DOWN"

        again = world.hosts["h1"].plug(port_a)
        await world.until_active(port_a["id"])
        assert reach_each_other(again, b)

    in_world(scenario)


def test_port_that_moves_to_another_host_is_reached_there() -> None:
    async def scenario(world: World) -> None:
        port_a, _, _, b = await two_machines(world)
        world.add_host("h3")
        await world.until_registered("h3")
        world.hosts["h1"].unplug(port_a["id"])
        moved = await world.update("port", port_a["id"], **{"binding:host_id": "h3"})
        a = world.hosts["h3"].plug(moved)
        await world.until_active(port_a["id"])
        await world.settle()
        assert reach_each_other(a, b)

    in_world(scenario)


def test_log_out_of_reach_refuses_and_serves_again_once_mended() -> None:
    async def scenario(world: World) -> None:
        _, a, _, b = await two_machines(world)
        world.disk.fault = "The disk is full."
        status, answer = await world.ask("POST", "networks", {"network": {}})
        assert status == 503, answer
        assert reach_each_other(a, b)
        world.disk.fault = ""
        await asyncio.sleep(5)
        await world.create("network", name="after")

    in_world(scenario)


def test_commit_whose_answer_was_lost_is_answered_as_made_once() -> None:
    async def scenario(world: World) -> None:
        world.disk.loses_next_answer = True
        made = await world.create("network", name="once")
        assert [net["id"] for net in await world.find("network")] == [made["id"]]

    in_world(scenario)


@pytest.mark.parametrize("seed", range(8))
def test_random_histories_with_faults_end_as_a_fresh_world_would(seed: int) -> None:
    async def scenario(world: World) -> None:
        net = await network(world)
        for name in ("h1", "h2", "h3"):
            world.add_host(name)
            await world.until_registered(name)
        ports: list[dict[str, Any]] = []
        for _ in range(40):
            await _random_step(world, net, ports)
        for host in world.hosts.values():
            host.mend()
            if host.agent is None:
                host.start_agent()
        await asyncio.sleep(10)
        await world.settle()
        await _assert_as_from_scratch(world)

    in_world(scenario, seed)


async def _random_step(world: World, net: dict[str, Any], ports: list[dict[str, Any]]) -> None:
    random = world.random
    host = world.hosts[random.choice(sorted(world.hosts))]
    match random.choice(
        ("boot", "boot", "boot", "delete", "move", "cut", "agent", "control", "switch", "sleep")
    ):
        case "boot":
            port = await world.create("port", network_id=net["id"], **{"binding:host_id": host.name})
            ports.append(port)
            host.plug(port)
        case "delete" if ports:
            port = ports.pop(random.randrange(len(ports)))
            await world.delete("port", port["id"])
        case "move" if ports:
            port = random.choice(ports)
            await world.update("port", port["id"], **{"binding:host_id": host.name})
            if port["id"] not in host.interfaces:
                host.plug(port)
        case "cut":
            await (host.cut() if not host.is_cut else asyncio.sleep(0))
        case "agent" if host.agent:
            await host.stop_agent()
        case "agent":
            host.start_agent()
        case "control":
            await world.stop()
            await asyncio.sleep(random.random())
            await world.start()
        case "switch":
            await host.restart_switch()
        case _:
            host.mend()
            await asyncio.sleep(random.random() * 3)


async def _assert_as_from_scratch(world: World) -> None:
    """Each switch has what an agent that starts now on an empty switch would put there."""
    for host in world.hosts.values():
        seen = {flow.identity: flow.actions for flow in host.switch.dump()}
        await host.stop_agent()
        host.switch.clear()
        host.start_agent()
        await asyncio.sleep(5)
        await world.settle()
        fresh = {flow.identity: flow.actions for flow in host.switch.dump()}
        stale = sorted(str(identity) for identity in seen if seen[identity] != fresh.get(identity))
        missing = sorted(str(identity) for identity in fresh if fresh[identity] != seen.get(identity))
        assert not stale + missing, (
            f"{host.name}: {len(stale)} stale as {stale[:1]}, {len(missing)} missing as {missing[:1]}"
        )
    for port in await world.find("port"):
        plugged: WorldHost = world.hosts[port["binding:host_id"]]
        assert port["status"] == ("ACTIVE" if port["id"] in plugged.interfaces else "DOWN")
