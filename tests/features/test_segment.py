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


async def routes_of(door: Door, subnet: dict[str, Any]) -> list[tuple[str, str]]:
    shown = await door.show("subnet", subnet["id"])
    return [(route["destination"], route["nexthop"]) for route in shown["host_routes"]]


async def test_subnets_of_segments_have_routes_to_each_other_through_their_gateways(door: Door) -> None:
    network, segments, (left, right) = await routed(door)
    assert await routes_of(door, left) == [("10.0.1.0/24", "10.0.0.1")]
    assert right["host_routes"] == [{"destination": "10.0.0.0/24", "nexthop": "10.0.1.1"}]

    beside = await in_segment(door, network, segments[0], "10.0.2.0/24")
    assert await routes_of(door, beside) == [("10.0.1.0/24", "10.0.2.1")]
    assert await routes_of(door, right) == [("10.0.0.0/24", "10.0.1.1"), ("10.0.2.0/24", "10.0.1.1")]
    assert len(await routes_of(door, left)) == 1

    six = {"network_id": network["id"], "ip_version": 6, "segment_id": segments[0]["id"]}
    other_version = await door.create("subnet", cidr="2001:db8::/64", **six)
    assert other_version["host_routes"] == []

    await door.delete("subnet", left["id"])
    assert await routes_of(door, right) == [("10.0.2.0/24", "10.0.1.1")]
    revision = (await door.show("subnet", right["id"]))["revision_number"]
    await door.delete("subnet", other_version["id"])
    assert (await door.show("subnet", right["id"]))["revision_number"] == revision


async def test_routes_to_peers_follow_the_gateway_and_spare_what_users_routed(door: Door) -> None:
    _, _, (left, right) = await routed(door)
    await door.update("subnet", left["id"], gateway_ip="10.0.0.254", allocation_pools=[])
    assert await routes_of(door, left) == [("10.0.1.0/24", "10.0.0.254")]
    own = {"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}
    await door.update("subnet", left["id"], host_routes=[own])
    assert await routes_of(door, left) == [("192.0.2.0/24", "10.0.0.9"), ("10.0.1.0/24", "10.0.0.254")]

    wide = {"destination": "10.0.0.0/16", "nexthop": "10.0.1.7"}
    await door.update("subnet", right["id"], host_routes=[wide])
    assert await routes_of(door, right) == [("10.0.0.0/16", "10.0.1.7")]
    await door.update("subnet", left["id"], gateway_ip=None)
    assert await routes_of(door, left) == [("192.0.2.0/24", "10.0.0.9")]


async def test_subnets_without_segments_have_the_routes_that_they_were_given_alone(door: Door) -> None:
    network = await door.create("network")
    subnets = [await in_segment(door, network, None, f"10.0.{n}.0/24") for n in range(2)]
    assert [await routes_of(door, subnet) for subnet in subnets] == [[], []]


async def test_more_routes_than_a_subnet_may_have_are_refused(tmp_path: Path) -> None:
    async with open_door(
        tmp_path, host_routes_max=1, network_vlan_ranges=(("one", 1, 9), ("two", 1, 9))
    ) as door:
        ways = [way("vlan", "one"), way("vlan", "two"), way("vxlan")]
        network = await door.create("network", segments=ways)
        segments = await door.list("segments", network_id=network["id"])
        made = [
            await in_segment(door, network, each, f"10.0.{n}.0/24") for n, each in enumerate(segments[:2])
        ]
        fields = {"network_id": network["id"], "ip_version": 4, "cidr": "10.9.0.0/24"}
        third = {**fields, "segment_id": segments[2]["id"]}
        assert await refused(door, "subnet", 400, **third) == "HostRoutesExhausted"
        beside = {**third, "gateway_ip": None}
        assert await refused(door, "subnet", 400, **beside) == "HostRoutesExhausted"
        assert [len(await routes_of(door, each)) for each in made] == [1, 1]


async def test_subnet_whose_addresses_are_routed_needs_no_segment(door: Door) -> None:
    network, _, subnets = await routed(door)
    given = {"network_id": network["id"], "ip_version": 4}
    owners = ["network:routed", "network:floatingip"]
    outer = await door.create("subnet", cidr="192.0.2.0/24", service_types=owners, **given)
    assert outer["segment_id"] is None
    fields = {**given, "cidr": "10.9.0.0/24"}
    assert await refused(door, "subnet", 400, **fields) == "SubnetsNotAllAssociatedWithSegments"

    port = await door.create("port", network_id=network["id"], device_owner="compute:nova")
    assert (port["fixed_ips"], port["ip_allocation"]) == ([], "deferred")
    port = await door.update("port", port["id"], **{"binding:host_id": "one"})
    assert [fixed["subnet_id"] for fixed in port["fixed_ips"]] == [subnets[0]["id"]]
    for place in ({}, {"binding:host_id": "nowhere"}):
        floating = await door.create(
            "port", network_id=network["id"], device_owner="network:floatingip", **place
        )
        assert [fixed["subnet_id"] for fixed in floating["fixed_ips"]] == [outer["id"]]
        assert floating["ip_allocation"] == "immediate"


async def test_routed_subnet_may_come_before_those_of_segments(door: Door) -> None:
    network = await door.create("network", segments=[way("vlan", "one", 7), way("vlan", "two", 7)])
    given = {"network_id": network["id"], "ip_version": 4}
    await door.create("subnet", cidr="192.0.2.0/24", service_types=["network:routed"], **given)
    (segment, _) = await door.list("segments", network_id=network["id"])
    assert (await in_segment(door, network, segment, "10.0.0.0/24"))["segment_id"] == segment["id"]
    fields = {**given, "cidr": "10.9.0.0/24"}
    assert await refused(door, "subnet", 400, **fields) == "SubnetsNotAllAssociatedWithSegments"


async def test_ipv6_addresses_of_a_routed_network_are_made_of_the_mac_in_the_hosts_segment(
    door: Door,
) -> None:
    network, segments, _ = await routed(door)
    slaac = [
        await door.create(
            "subnet",
            network_id=network["id"],
            ip_version=6,
            cidr=f"2001:db8:{n}::/64",
            segment_id=segment["id"],
            ipv6_ra_mode="slaac",
            ipv6_address_mode="slaac",
        )
        for n, segment in enumerate(segments)
    ]
    fields = {"network_id": network["id"], "mac_address": "fa:16:3e:00:00:01"}
    port = await door.create("port", **fields)
    assert (port["fixed_ips"], port["ip_allocation"]) == ([], "deferred")
    port = await door.update("port", port["id"], **{"binding:host_id": "two"})
    (six,) = [fixed for fixed in port["fixed_ips"] if ":" in fixed["ip_address"]]
    assert six == {"subnet_id": slaac[1]["id"], "ip_address": "2001:db8:1:0:f816:3eff:fe00:1"}
    assert len(port["fixed_ips"]) == 2

    asked = await door.create("port", network_id=network["id"], fixed_ips=[{"subnet_id": slaac[0]["id"]}])
    assert {fixed["subnet_id"] for fixed in asked["fixed_ips"]} == {slaac[0]["id"]}
    url, move = f"/v2.0/ports/{asked['id']}", {"port": {"binding:host_id": "two"}}
    assert (await door.refused("PUT", url, move, 409))["type"] == "HostNotCompatibleWithFixedIps"


async def test_ports_get_the_address_of_a_slaac_subnet_that_comes_to_their_segment(door: Door) -> None:
    network, segments, subnets = await routed(door)
    fixed = [{"subnet_id": subnets[1]["id"]}]
    asked = await door.create("port", network_id=network["id"], fixed_ips=fixed)
    bound = [
        await door.create("port", network_id=network["id"], **{"binding:host_id": host})
        for host in ("one", "two")
    ]
    waiting = await door.create("port", network_id=network["id"])
    six = {"ip_version": 6, "cidr": "2001:db8::/64", "ipv6_address_mode": "slaac"}
    subnet = await door.create("subnet", network_id=network["id"], segment_id=segments[1]["id"], **six)
    found = await door.list("ports", fixed_ips=f"subnet_id={subnet['id']}")
    assert {port["id"] for port in found} == {asked["id"], bound[1]["id"]}
    assert (await door.show("port", waiting["id"]))["fixed_ips"] == []


async def test_host_whose_segment_has_no_subnet_takes_no_port(door: Door) -> None:
    network, _, subnets = await routed(door)
    await door.delete("subnet", subnets[0]["id"])
    fields = {"network_id": network["id"], "binding:host_id": "one"}
    assert await refused(door, "port", 409, **fields) == "HostNotConnectedToAnySegment"


async def test_networks_are_found_by_one_of_their_segments(door: Door) -> None:
    several = await door.create("network", segments=[way("vlan", "one", 7), way("vxlan", None, 9)])
    alone = await door.create("network", **way("vlan", "one", 8))

    async def found(**filters: str) -> set[str]:
        return {each["id"] for each in await door.list("networks", **filters)}

    assert await found(**{TYPE: "vlan"}) == {several["id"], alone["id"]}
    assert await found(**{TYPE: "vxlan"}) == {several["id"]}
    assert await found(**{TYPE: "vlan", NUMBER: "7"}) == {several["id"]}
    assert await found(**{TYPE: "vlan", NUMBER: "9"}) == set()
    assert await found(**{WHERE: "one"}) == {several["id"], alone["id"]}
    assert await found(**{WHERE: "one", NUMBER: "8"}) == {alone["id"]}
    assert await found(**{TYPE: "flat"}) == set()


async def test_subport_inherits_the_tag_of_the_segment_that_its_host_has(door: Door) -> None:
    network = await door.create("network", segments=[way("vlan", "one", 7), way("vlan", "two", 8)])
    for host in ("one", "two"):
        await door.register_host(host, mappings={host: "br-phys"})
    plain = await door.create("network", **way("flat", "two"))
    for host, tag in (("two", 8), ("", 7)):
        parent = await door.create("port", network_id=plain["id"], **{"binding:host_id": host})
        sub = await door.create("port", network_id=network["id"])
        trunk = await door.create(
            "trunk",
            port_id=parent["id"],
            sub_ports=[{"port_id": sub["id"], "segmentation_type": "inherit"}],
        )
        assert [each["segmentation_id"] for each in trunk["sub_ports"]] == [tag]


async def test_port_asks_placement_for_the_physical_network_of_the_first_segment(door: Door) -> None:
    network = await door.create("network", segments=[way("vlan", "one", 7), way("vxlan")])
    policy = await door.create("policy", name="least")
    url = f"/v2.0/qos/policies/{policy['id']}/minimum_bandwidth_rules"
    status, _ = await door.ask("POST", url, {"minimum_bandwidth_rule": {"min_kbps": 1000}})
    assert status == 201
    port = await door.create("port", network_id=network["id"], qos_policy_id=policy["id"])
    (group,) = port["resource_request"]["request_groups"]
    assert group["required"] == ["CUSTOM_PHYSNET_ONE", "CUSTOM_VNIC_TYPE_NORMAL"]
