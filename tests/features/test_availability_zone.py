# SPDX-License-Identifier: Apache-2.0
"""Availability zones over REST: those of agents, and those that networks ask for."""

from tests.features.door import Door


async def zones(api: Door, query: str = "", as_project: str = "") -> list[dict]:
    status, answer = await api.ask("GET", f"/v2.0/availability_zones{query}", as_project=as_project)
    assert status == 200, answer
    return answer["availability_zones"]


async def test_zones_are_those_of_agents_and_are_shown_to_everybody(api: Door) -> None:
    for host, zone in (("h1", "east"), ("h2", "east"), ("h3", "west"), ("h4", "")):
        await api.register_host(host, zone=zone)
    east = {"name": "east", "resource": "network", "state": "available"}
    assert await zones(api, as_project="blue") == [east, east | {"name": "west"}]

    agents = {agent["host"]: agent for agent in await api.list("agents")}
    assert (agents["h1"]["availability_zone"], agents["h4"]["availability_zone"]) == ("east", None)
    assert [agent["host"] for agent in await api.list("agents", availability_zone="west")] == ["h3"]


async def test_zone_without_an_agent_that_is_set_up_is_unavailable(api: Door) -> None:
    for host in ("h1", "h2"):
        await api.register_host(host, zone="east")
    first, second = await api.list("agents")
    await api.update("agent", first["id"], admin_state_up=False)
    assert [zone["state"] for zone in await zones(api)] == ["available"]
    await api.update("agent", second["id"], admin_state_up=False)
    assert [zone["state"] for zone in await zones(api)] == ["unavailable"]


async def test_host_that_comes_from_another_zone_belongs_to_that_one(api: Door) -> None:
    await api.register_host("h1", zone="east")
    await api.register_host("h1", zone="west")
    assert [zone["name"] for zone in await zones(api)] == ["west"]


async def test_zones_are_filtered_and_fields_chosen(api: Door) -> None:
    await api.register_host("h1", zone="east")
    await api.register_host("h2", zone="west")
    assert await zones(api, "?name=west&fields=name") == [{"name": "west"}]
    assert await zones(api, "?resource=router") == []
    assert len(await zones(api, "?state=available&resource=network&limit=9")) == 2
    error = await api.refused("GET", "/v2.0/availability_zones?colour=red", None, 400)
    assert error["message"] == "['colour'] is invalid attribute for filtering"


async def test_network_keeps_the_zones_that_it_asks_for(api: Door) -> None:
    await api.register_host("h1", zone="east")
    made = await api.create("network", availability_zone_hints=["east"])
    assert made["availability_zone_hints"] == ["east"]
    assert (await api.show("network", made["id"]))["availability_zones"] == []
    assert (await api.create("network"))["availability_zone_hints"] == []

    body = {"network": {"availability_zone_hints": []}}
    error = await api.refused("PUT", f"/v2.0/networks/{made['id']}", body, 400)
    assert error["message"] == "Cannot update read-only attribute availability_zone_hints"


async def test_network_in_a_zone_that_no_agent_belongs_to_is_refused(api: Door) -> None:
    body = {"network": {"availability_zone_hints": ["nowhere"]}}
    error = await api.refused("POST", "/v2.0/networks", body, 404)
    assert error["type"] == "AvailabilityZoneNotFound"
    assert error["message"] == "AvailabilityZone nowhere could not be found."
    for wrong in ("east", ["east", "east"], [""], ["x" * 200, "y" * 200], [1]):
        body = {"network": {"availability_zone_hints": wrong}}
        await api.refused("POST", "/v2.0/networks", body, 400)
