# SPDX-License-Identifier: Apache-2.0
"""Agents over REST: made by their hello, shown, set, deleted."""

from alcor.features.agent.rules import on_hello, on_life
from alcor.goal.declare import HelloFacts, Life
from tests.features.door import Door


async def test_hello_registers_an_agent_once(api: Door) -> None:
    await api.register_host("h1", tunnel_ip="10.9.0.1")
    await api.register_host("h1", tunnel_ip="10.9.0.2")
    [agent] = await api.list("agents")

    assert agent["host"] == "h1"
    assert agent["alive"] is True
    assert agent["admin_state_up"] is True
    assert agent["agent_type"] == "Open vSwitch agent"
    assert agent["configurations"]["tunneling_ip"] == "10.9.0.2"


async def test_silence_and_return_show_in_alive(api: Door) -> None:
    await api.register_host("h1")
    await api.store.submit(lambda txn: on_life(txn, Life("h1", False, "", "2026-11-22T10:00:00Z")))
    [agent] = await api.list("agents")
    assert agent["alive"] is False
    assert agent["heartbeat_timestamp"] == "2026-11-22T10:00:00Z"

    await api.store.submit(lambda txn: on_life(txn, Life("h1", True, "", "2026-11-22T10:00:09Z")))
    [agent] = await api.list("agents", alive="true")
    assert agent["alive"] is True


async def test_no_port_is_bound_to_a_host_whose_agent_is_set_down(api: Door, net: dict) -> None:
    await api.register_host("h1")
    [agent] = await api.list("agents")
    await api.update("agent", agent["id"], admin_state_up=False)
    port = await api.create("port", network_id=net["id"], **{"binding:host_id": "h1"})
    assert port["binding:vif_type"] == "binding_failed"


async def test_agents_are_for_admins(api: Door) -> None:
    await api.register_host("h1")
    [agent] = await api.list("agents")
    assert await api.list("agents", as_project="blue") == []
    await api.refused("GET", f"/v2.0/agents/{agent['id']}", None, 404, as_project="blue")
    status, _ = await api.ask("POST", "/v2.0/agents", {"agent": {"host": "x"}})
    assert status in (400, 404, 405)


async def test_deleted_agent_comes_back_with_its_hello(api: Door) -> None:
    await api.register_host("h1")
    [agent] = await api.list("agents")
    await api.delete("agent", agent["id"])
    assert await api.list("agents") == []
    await api.register_host("h1")
    [again] = await api.list("agents")
    assert again["id"] == agent["id"]


async def test_late_word_of_one_push_does_not_end_what_another_holds(api: Door) -> None:
    def hello(push: str) -> HelloFacts:
        return HelloFacts("10.9.0.1", "1", "br-int", "2026-11-22T10:00:00Z", push)

    def gone(push: str) -> Life:
        return Life("h1", False, push, "2026-11-22T10:00:20Z")

    for said in ("one", "two"):
        await api.store.submit(lambda txn, push=said: on_hello(txn, "h1", hello(push)))
    await api.store.submit(lambda txn: on_life(txn, gone("one")))
    [agent] = await api.list("agents")
    assert agent["alive"] is True

    await api.store.submit(lambda txn: on_life(txn, gone("two")))
    [agent] = await api.list("agents")
    assert agent["alive"] is False
