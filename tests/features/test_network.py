# SPDX-License-Identifier: Apache-2.0
"""Networks over REST: what may be, what is refused, and what the original got wrong."""

import asyncio

from tests.features.door import Door


async def test_network_gets_neutrons_defaults(api: Door) -> None:
    network = await api.create("network", name="blue")

    assert network["name"] == "blue"
    assert network["status"] == "ACTIVE"
    assert network["admin_state_up"] is True
    assert network["shared"] is False
    assert network["mtu"] == 1450
    assert network["subnets"] == []
    assert network["port_security_enabled"] is True
    assert network["provider:network_type"] == "vxlan"
    assert network["provider:physical_network"] is None
    assert network["tenant_id"] == network["project_id"]
    assert network["revision_number"] >= 1
    assert await api.show("network", network["id"]) == network


async def test_two_networks_never_get_one_vni(api: Door) -> None:
    networks = await asyncio.gather(*(api.create("network", name=f"n{i}") for i in range(50)))
    bulk = await api.create_many("network", [{"name": f"b{i}"} for i in range(50)])
    vnis = [network["provider:segmentation_id"] for network in [*networks, *bulk]]

    assert len(set(vnis)) == 100
    assert 0 not in vnis


async def test_vni_is_free_again_when_its_network_is_gone(tmp_path) -> None:
    from tests.features.door import open_door

    async with open_door(tmp_path, vni_ranges=((7, 8),)) as api:
        first = await api.create("network")
        second = await api.create("network")
        assert {first["provider:segmentation_id"], second["provider:segmentation_id"]} == {7, 8}
        refusal = await api.refused("POST", "/v2.0/networks", {"network": {}}, 503)
        assert refusal["type"] == "NoNetworkAvailable"

        await api.delete("network", first["id"])
        third = await api.create("network")
        assert third["provider:segmentation_id"] == first["provider:segmentation_id"]


async def test_failed_bulk_leaves_no_network_and_no_vni(tmp_path) -> None:
    from tests.features.door import open_door

    async with open_door(tmp_path, vni_ranges=((1, 3),)) as api:
        await api.refused("POST", "/v2.0/networks", {"networks": [{}, {}, {}, {}]}, 503)
        assert await api.list("networks") == []
        assert len(await api.create_many("network", [{}, {}, {}])) == 3


async def test_network_that_is_not_there_is_404_never_200(api: Door) -> None:
    absent = "00000000-0000-4000-8000-000000000001"
    for method, body in (("GET", None), ("DELETE", None), ("PUT", {"network": {"name": "x"}})):
        refusal = await api.refused(method, f"/v2.0/networks/{absent}", body, 404)
        assert refusal["type"] == "NetworkNotFound"
        assert absent in refusal["message"]


async def test_network_with_a_port_is_in_use_409_never_500(api: Door, net: dict) -> None:
    port = await api.create("port", network_id=net["id"])
    refusal = await api.refused("DELETE", f"/v2.0/networks/{net['id']}", None, 409)
    assert refusal["type"] == "NetworkInUse"

    await api.delete("port", port["id"])
    await api.delete("network", net["id"])
    assert await api.list("networks") == []
    assert await api.list("subnets") == []  # subnets go with their network, as in Neutron


async def test_rename_keeps_the_rest_and_counts_a_revision(api: Door) -> None:
    network = await api.create("network", name="old", description="d")
    changed = await api.update("network", network["id"], name="new")

    assert changed["name"] == "new"
    assert changed["description"] == "d"
    assert changed["revision_number"] == network["revision_number"] + 1
    assert changed["provider:segmentation_id"] == network["provider:segmentation_id"]


async def test_members_see_their_own_and_shared_networks_only(api: Door) -> None:
    mine = await api.create("network", name="mine", as_project="blue")
    shared = await api.create("network", name="everybody", shared=True)
    theirs = await api.create("network", name="theirs", as_project="red")

    seen = await api.list("networks", as_project="blue")
    assert {network["id"] for network in seen} == {mine["id"], shared["id"]}
    assert all("provider:segmentation_id" not in network for network in seen)
    await api.refused("GET", f"/v2.0/networks/{theirs['id']}", None, 404, as_project="blue")
    await api.refused("DELETE", f"/v2.0/networks/{shared['id']}", None, 403, as_project="blue")
    await api.refused("POST", "/v2.0/networks", {"network": {"shared": True}}, 403, as_project="blue")


async def test_if_match_refuses_another_revision(api: Door) -> None:
    network = await api.create("network")
    stale = {"If-Match": f"revision_number={network['revision_number'] + 1}"}
    refusal = await api.refused(
        "PUT", f"/v2.0/networks/{network['id']}", {"network": {"name": "x"}}, 412, headers=stale
    )
    assert refusal["type"] == "RevisionNumberConstraintFailed"


async def test_network_is_tagged(api: Door) -> None:
    network = await api.create("network")
    status, _ = await api.ask("PUT", f"/v2.0/networks/{network['id']}/tags", {"tags": ["red"]})
    assert status == 200
    assert (await api.show("network", network["id"]))["tags"] == ["red"]
    assert await api.list("networks", tags="blue") == []


async def test_update_that_changes_nothing_is_no_new_revision(api: Door) -> None:
    made = await api.create("network", name="blue")
    assert await api.update("network", made["id"]) == made
    assert await api.update("network", made["id"], name="blue") == made
    changed = await api.update("network", made["id"], name="red")
    assert changed["revision_number"] == made["revision_number"] + 1
