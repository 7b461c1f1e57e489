# SPDX-License-Identifier: Apache-2.0
"""Bulk creation: all or nothing, in one turn."""

from tests.api.world import Api


async def test_bulk_answers_every_object_in_order(api: Api):
    answer = await api.call("POST", "networks", {"networks": [{"name": "a"}, {"name": "b"}, {"name": "c"}]})
    assert answer.status_code == 201
    made = answer.json()["networks"]
    assert [network["name"] for network in made] == ["a", "b", "c"]
    assert len({network["id"] for network in made}) == 3
    assert len({network["provider:segmentation_id"] for network in made}) == 3


async def test_bulk_takes_enveloped_objects_too(api: Api):
    answer = await api.call("POST", "networks", {"networks": [{"network": {"name": "a"}}, {"name": "b"}]})
    assert [network["name"] for network in answer.json()["networks"]] == ["a", "b"]


async def test_bulk_with_one_bad_object_creates_nothing(api: Api):
    network = await api.make("network")
    subnet = {"network_id": network["id"], "ip_version": 4}
    overlapping = {"subnets": [{**subnet, "cidr": "10.0.0.0/24"}, {**subnet, "cidr": "10.0.0.0/25"}]}
    before = api.store.tables.revision
    assert (await api.call("POST", "subnets", overlapping)).status_code == 400
    assert (await api.get("subnets")).json() == {"subnets": []}
    assert api.store.tables.revision == before


async def test_bulk_over_the_limit_is_413_and_creates_nothing(start):
    api = await start(bulk_max=3)
    status, kind, message = await api.refusal("POST", "networks", {"networks": [{}] * 4})
    assert (status, kind) == (413, "HTTPRequestEntityTooLarge")
    assert "at most 3 networks" in message
    assert await api.names("networks") == []
    assert (await api.call("POST", "networks", {"networks": [{}] * 3})).status_code == 201


async def test_all_objects_of_a_bulk_get_macs_of_their_own(api: Api):
    network = await api.make("network")
    answer = await api.call("POST", "ports", {"ports": [{"network_id": network["id"]}] * 50})
    assert len({port["mac_address"] for port in answer.json()["ports"]}) == 50


async def test_quota_counts_every_object_of_a_bulk(start):
    api = await start(quota_network=3)
    refused = await api.refusal("POST", "networks", {"networks": [{}] * 4})
    assert refused == (409, "OverQuota", "Quota exceeded for resources: ['network'].")
    assert (await api.call("POST", "networks", {"networks": [{}] * 3})).status_code == 201
    assert (await api.refusal("POST", "networks", {"network": {}}))[:2] == (409, "OverQuota")


async def test_quota_is_per_project_and_deleting_makes_room(start):
    api = await start(quota_network=1)
    mine = await api.make("network", project="p1", roles="member")
    await api.make("network", project="p2", roles="member")
    refused = await api.refusal("POST", "networks", {"network": {}}, project="p1", roles="member")
    assert refused[:2] == (409, "OverQuota")
    await api.call("DELETE", f"networks/{mine['id']}", project="p1", roles="member")
    await api.make("network", project="p1", roles="member")


async def test_quota_of_the_owner_counts_when_an_admin_creates_for_it(start):
    api = await start(quota_network=1)
    await api.make("network", project_id="p1")
    await api.make("network", project_id="p2")
    assert (await api.refusal("POST", "networks", {"network": {"project_id": "p1"}}))[0] == 409
