# SPDX-License-Identifier: Apache-2.0
"""Segments over REST: several ways to carry one network, and subnets that belong to one of them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.features.door import Door, open_door

TYPE, WHERE, NUMBER = "provider:network_type", "provider:physical_network", "provider:segmentation_id"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    ranges = (("one", 100, 102), ("two", 100, 102))
    async with open_door(tmp_path, network_vlan_ranges=ranges) as door:
        yield door


def way(*values: Any) -> dict[str, Any]:
    return dict(zip((TYPE, WHERE, NUMBER), values, strict=False))


async def segment_of(door: Door, network: dict[str, Any]) -> dict[str, Any]:
    (segment,) = await door.list("segments", network_id=network["id"])
    return segment


async def routed(door: Door) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """A network with a segment and a subnet in each of two physical networks, and a host at each."""
    network = await door.create("network", segments=[way("vlan", "one", 7), way("vlan", "two", 7)])
    segments = sorted(
        await door.list("segments", network_id=network["id"]), key=lambda each: each["physical_network"]
    )
    subnets = [
        await in_segment(door, network, segment, f"10.0.{n}.0/24") for n, segment in enumerate(segments)
    ]
    for host in ("one", "two"):
        await door.register_host(host, mappings={host: "br-phys"})
    await door.register_host("nowhere")
    return network, segments, subnets


async def in_segment(
    door: Door, network: dict[str, Any], segment: dict[str, Any] | None, cidr: str
) -> dict[str, Any]:
    segment_id = segment["id"] if segment else None
    return await door.create(
        "subnet", network_id=network["id"], ip_version=4, cidr=cidr, segment_id=segment_id
    )


async def refused(door: Door, noun: str, status: int, **fields: Any) -> str:
    refusal = await door.refused("POST", f"/v2.0/{noun}s", {noun: fields}, status)
    return str(refusal["type"])


async def test_network_is_made_with_its_segment(door: Door) -> None:
    network = await door.create("network", **way("vlan", "one", 7))
    segment = await segment_of(door, network)
    assert {name: segment[name] for name in ("network_type", "physical_network", "segmentation_id")} == {
        "network_type": "vlan",
        "physical_network": "one",
        "segmentation_id": 7,
    }
    assert segment["name"] is None
    assert segment["created_at"]
    changed = await door.update("segment", segment["id"], name="rack 1", description="left")
    assert (changed["name"], changed["description"]) == ("rack 1", "left")
    assert "segments" not in network


async def test_network_of_several_segments_is_answered_by_them_alone(door: Door) -> None:
    asked = [way("vlan", "one", 7), way("vlan", "two"), way("vxlan")]
    network = await door.create("network", segments=asked)
    shown = await door.show("network", network["id"])
    assert shown["segments"] == [way("vlan", "one", 7), way("vlan", "two", 100), way("vxlan", None, 1)]
    assert not {TYPE, WHERE, NUMBER} & shown.keys()
    assert shown["mtu"] == 1450
    assert len(await door.list("segments", network_id=network["id"])) == 3
    (listed,) = await door.list("networks")
    assert listed["segments"] == shown["segments"]

    one = await door.create("network", segments=[way("vlan", "one", 8)])
    assert one[NUMBER] == 8
    assert "segments" not in one
    url = f"/v2.0/networks/{one['id']}"
    await door.refused("PUT", url, {"network": {"segments": asked}}, 400)


@pytest.mark.parametrize(
    ("fields", "status", "type_"),
    [
        ({"segments": [way("vxlan")], **way("vxlan")}, 400, "SegmentsSetInConjunctionWithProviders"),
        ({"segments": [way("vlan", "one", 7)] * 2}, 400, "SegmentsContainDuplicateEntry"),
        ({"segments": [way("vlan", "one", 7), way("gre")]}, 400, "InvalidInput"),
        ({"segments": [{"network_type": "vxlan"}]}, 400, "HTTPBadRequest"),
        ({"segments": "vxlan"}, 400, "HTTPBadRequest"),
        ({"segments": [way(7)]}, 400, "HTTPBadRequest"),
    ],
)
async def test_segments_that_no_network_has_are_refused(
    door: Door, fields: dict[str, Any], status: int, type_: str
) -> None:
    assert await refused(door, "network", status, **fields) == type_
    assert not await door.list("segments")


async def test_segment_comes_and_goes_with_its_number(door: Door) -> None:
    network = await door.create("network", **way("vlan", "one", 7))
    first = await segment_of(door, network)
    made = await door.create("segment", network_id=network["id"], network_type="vxlan", segmentation_id=9)
    assert len((await door.show("network", network["id"]))["segments"]) == 2
    assert (await door.show("network", network["id"]))["mtu"] == 1450
    fields = {"network_id": network["id"], "network_type": "vxlan", "segmentation_id": 9}
    assert await refused(door, "segment", 409, **fields) == "TunnelIdInUse"

    await door.delete("segment", first["id"])
    shown = await door.show("network", network["id"])
    assert (shown[TYPE], shown[NUMBER]) == ("vxlan", 9)
    refusal = await door.refused("DELETE", f"/v2.0/segments/{made['id']}", None, 409)
    assert refusal["type"] == "SegmentInUse"
    await door.create("network", **way("vlan", "one", 7))


async def test_only_admins_know_of_segments(door: Door) -> None:
    network = await door.create("network", as_project="blue")
    assert await door.list("segments", as_project="blue") == []
    body = {"segment": {"network_id": network["id"], "network_type": "vxlan"}}
    await door.refused("POST", "/v2.0/segments", body, 403, as_project="blue")
    body = {"network": {"segments": [way("vxlan")]}}
    await door.refused("POST", "/v2.0/networks", body, 403, as_project="blue")


async def test_all_subnets_of_a_network_belong_to_segments_or_none_does(door: Door) -> None:
    network, segments, subnets = await routed(door)
    assert [subnet["segment_id"] for subnet in subnets] == [segment["id"] for segment in segments]
    assert (await door.show("network", network["id"]))["l2_adjacency"] is False
    fields = {"network_id": network["id"], "ip_version": 4, "cidr": "10.9.0.0/24"}
    assert await refused(door, "subnet", 400, **fields) == "SubnetsNotAllAssociatedWithSegments"

    other = await door.create("network", **way("vlan", "one", 9))
    fields["network_id"] = other["id"]
    assert await refused(door, "subnet", 400, **fields, segment_id=segments[0]["id"]) == "NetworkIdsDontMatch"
    assert await refused(door, "subnet", 404, **fields, segment_id=network["id"]) == "SegmentNotFound"
    refusal = await door.refused("DELETE", f"/v2.0/segments/{segments[0]['id']}", None, 409)
    assert refusal["type"] == "SegmentInUse"
    await door.delete("network", network["id"])
    assert len(await door.list("segments")) == 1


async def test_only_subnet_of_an_only_segment_may_come_to_belong_to_it(door: Door) -> None:
    network = await door.create("network", **way("vlan", "one", 9))
    subnet, segment = await in_segment(door, network, None, "10.0.0.0/24"), await segment_of(door, network)
    assert (await door.show("network", network["id"]))["l2_adjacency"] is True
    extra = await door.create("segment", network_id=network["id"], network_type="vxlan")
    url, body = f"/v2.0/subnets/{subnet['id']}", {"subnet": {"segment_id": segment["id"]}}
    refusal = await door.refused("PUT", url, body, 400)
    assert refusal["type"] == "NoUpdateSubnetWhenMultipleSegmentsOnNetwork"
    await door.delete("segment", extra["id"])
    changed = await door.update("subnet", subnet["id"], segment_id=segment["id"])
    assert changed["segment_id"] == segment["id"]
    refusal = await door.refused("PUT", url, {"subnet": {"segment_id": None}}, 400)
    assert refusal["type"] == "SubnetSegmentAssociationChangeNotAllowed"


async def test_port_of_a_routed_network_gets_its_address_with_its_host(door: Door) -> None:
    network, _, subnets = await routed(door)
    port = await door.create("port", network_id=network["id"], device_owner="compute:nova", device_id="vm")
    assert (port["fixed_ips"], port["ip_allocation"]) == ([], "deferred")
    port = await door.update("port", port["id"], **{"binding:host_id": "two"})
    assert [fixed["subnet_id"] for fixed in port["fixed_ips"]] == [subnets[1]["id"]]
    assert port["binding:vif_type"] == "ovs"

    url, move = f"/v2.0/ports/{port['id']}", {"port": {"binding:host_id": "one"}}
    assert (await door.refused("PUT", url, move, 409))["type"] == "HostNotCompatibleWithFixedIps"
    wait = {"binding": {"host": "one"}}
    assert (await door.refused("POST", f"{url}/bindings", wait, 409))[
        "type"
    ] == "HostNotCompatibleWithFixedIps"
    there = await door.create("port", network_id=network["id"], **{"binding:host_id": "one"})
    assert [fixed["subnet_id"] for fixed in there["fixed_ips"]] == [subnets[0]["id"]]
    assert there["ip_allocation"] == "immediate"


async def test_addresses_of_a_port_are_of_one_segment_that_its_host_has(door: Door) -> None:
    network, _, subnets = await routed(door)
    fixed = [{"subnet_id": subnet["id"]} for subnet in subnets]
    fields = {"network_id": network["id"]}
    assert await refused(door, "port", 400, **fields, fixed_ips=fixed) == "FixedIpsSubnetsNotOnSameSegment"
    at_one = {**fields, "binding:host_id": "one"}
    assert await refused(door, "port", 400, **at_one, fixed_ips=fixed[1:]) == "InvalidInput"
    nowhere = {**fields, "binding:host_id": "nowhere"}
    assert await refused(door, "port", 409, **nowhere) == "HostNotConnectedToAnySegment"
    port = await door.create("port", network_id=network["id"], fixed_ips=[{"ip_address": "10.0.1.9"}])
    assert port["ip_allocation"] == "immediate"


async def test_segment_that_a_bound_port_uses_stays(door: Door) -> None:
    network = await door.create("network", segments=[way("vlan", "one", 7), way("vxlan")])
    segment = next(one for one in await door.list("segments") if one["network_type"] == "vxlan")
    await door.register_host("far")
    port = await door.create("port", network_id=network["id"], **{"binding:host_id": "far"})
    assert port["binding:vif_type"] == "ovs"
    refusal = await door.refused("DELETE", f"/v2.0/segments/{segment['id']}", None, 409)
    assert port["id"] in refusal["message"]
    await door.delete("port", port["id"])
    await door.delete("segment", segment["id"])
