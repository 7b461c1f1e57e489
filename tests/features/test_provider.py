# SPDX-License-Identifier: Apache-2.0
"""Provider networks over REST: what may be asked for, which numbers are given, what is refused in Neutron's words."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alcor.base.config import load
from tests.features.door import Door, open_door

TYPE, WHERE, NUMBER = "provider:network_type", "provider:physical_network", "provider:segmentation_id"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    ranges = (("one", 100, 102), ("two", 1, 0), ("one", 200, 200))
    async with open_door(tmp_path, network_vlan_ranges=ranges, flat_networks=("one", "three")) as door:
        yield door


def carried(network: dict[str, Any]) -> tuple[Any, ...]:
    return network[TYPE], network[WHERE], network[NUMBER]


async def make(door: Door, *wanted: Any, **more: Any) -> dict[str, Any]:
    names = dict(zip((TYPE, WHERE, NUMBER), wanted, strict=False))
    return await door.create("network", **names, **more)


async def test_each_type_is_answered_as_it_was_asked_for(door: Door) -> None:
    assert carried(await make(door, "vxlan")) == ("vxlan", None, 1)
    assert carried(await make(door, "vxlan", None, 77)) == ("vxlan", None, 77)
    assert carried(await make(door, "vlan", "one", 7)) == ("vlan", "one", 7)
    assert carried(await make(door, "vlan", "two", 7)) == ("vlan", "two", 7)
    assert carried(await make(door, "flat", "one")) == ("flat", "one", None)
    assert carried(await make(door, "local")) == ("local", None, None)
    assert carried(await make(door, "local")) == ("local", None, None)


async def test_vlans_are_given_from_their_ranges_each_once_and_again_when_free(door: Door) -> None:
    made = [await make(door, "vlan") for _ in range(2)]
    made += await asyncio.gather(*(make(door, "vlan", "one") for _ in range(2)))
    assert {carried(each) for each in made} == {("vlan", "one", number) for number in (100, 101, 102, 200)}

    refusal = await door.refused("POST", "/v2.0/networks", {"network": {TYPE: "vlan"}}, 503)
    assert refusal["type"] == "NoNetworkAvailable"
    await door.refused("POST", "/v2.0/networks", {"network": {TYPE: "vlan", WHERE: "two"}}, 503)

    await door.delete("network", made[1]["id"])
    assert (await make(door, "vlan"))[NUMBER] == made[1][NUMBER]


@pytest.mark.parametrize(
    ("wanted", "status", "type_", "message"),
    [
        (("vxlan", None, 5), 409, "TunnelIdInUse", "The tunnel ID 5 is in use."),
        (("vlan", "one", 5), 409, "VlanIdInUse", "The VLAN 5 on physical network one is in use."),
        (("flat", "one"), 409, "FlatNetworkInUse", "Physical network one is in use."),
        (("gre",), 400, "InvalidInput", "network_type value 'gre' not supported"),
        (("vxlan", "one"), 400, "InvalidInput", "provider:physical_network specified for vxlan network"),
        (("vxlan", None, 1 << 24), 400, "InvalidInput", "segmentation_id out of range (1 through 16777215)"),
        (("vxlan", None, 0), 400, "InvalidInput", "segmentation_id out of range"),
        (("vlan", "four", 5), 400, "InvalidInput", "physical_network 'four' unknown for VLAN provider"),
        (("vlan", "one", 4095), 400, "InvalidInput", "segmentation_id out of range (1 through 4094)"),
        (("vlan", None, 5), 400, "InvalidInput", "segmentation_id requires physical_network for VLAN"),
        (("flat",), 400, "InvalidInput", "physical_network required for flat provider network"),
        (("flat", "two"), 400, "InvalidInput", "physical_network 'two' unknown for flat provider"),
        (("flat", "three", 5), 400, "InvalidInput", "segmentation_id prohibited for flat provider network"),
        (("local", "one"), 400, "InvalidInput", "physical_network prohibited for local provider network"),
        (("local", None, 5), 400, "InvalidInput", "segmentation_id prohibited for local provider network"),
    ],
)
async def test_what_cannot_be_carried_is_refused(
    door: Door, wanted: tuple[Any, ...], status: int, type_: str, message: str
) -> None:
    for taken in (("vxlan", None, 5), ("vlan", "one", 5), ("flat", "one")):
        await make(door, *taken)
    before = await door.list("networks")
    body = {"network": dict(zip((TYPE, WHERE, NUMBER), wanted, strict=False))}
    refusal = await door.refused("POST", "/v2.0/networks", body, status)
    assert refusal["type"] == type_
    assert message in refusal["message"]
    assert await door.list("networks") == before


async def test_number_or_place_without_type_is_refused(door: Door) -> None:
    for field, value in ((NUMBER, 5), (WHERE, "one")):
        refusal = await door.refused("POST", "/v2.0/networks", {"network": {field: value}}, 400)
        assert "network_type required" in refusal["message"]


async def test_flat_networks_may_be_switched_off(tmp_path: Path) -> None:
    async with open_door(tmp_path, flat_networks=()) as door:
        body = {"network": {TYPE: "flat", WHERE: "one"}}
        assert "disabled" in (await door.refused("POST", "/v2.0/networks", body, 400))["message"]


async def test_projects_get_the_types_that_the_operator_names_in_turn(tmp_path: Path) -> None:
    ranges = (("one", 100, 100),)
    settings = {"project_network_types": ("vlan", "local"), "network_vlan_ranges": ranges}
    async with open_door(tmp_path, **settings) as door:
        assert carried(await door.create("network")) == ("vlan", "one", 100)
        assert carried(await door.create("network")) == ("local", None, None)


async def test_only_admins_ask_for_a_way_to_be_carried_or_see_it(door: Door) -> None:
    for field, value in ((TYPE, "vxlan"), (WHERE, "one"), (NUMBER, 5), ("router:external", True)):
        await door.refused("POST", "/v2.0/networks", {"network": {field: value}}, 403, as_project="blue")
    mine = await door.create("network", as_project="blue")
    assert not {TYPE, WHERE, NUMBER} & mine.keys()
    await door.refused(
        "PUT", f"/v2.0/networks/{mine['id']}", {"network": {NUMBER: 9}}, 403, as_project="blue"
    )


async def test_of_what_carries_a_network_only_the_number_of_a_vlan_changes(door: Door) -> None:
    vlan, vxlan = await make(door, "vlan", "one", 5), await make(door, "vxlan")
    await make(door, "vlan", "one", 6)
    changed = await door.update("network", vlan["id"], **{NUMBER: 8, TYPE: "vlan"})
    assert carried(changed) == ("vlan", "one", 8)
    await make(door, "vlan", "one", 5)

    async def refused(network: dict[str, Any], status: int, **fields: Any) -> str:
        url = f"/v2.0/networks/{network['id']}"
        return (await door.refused("PUT", url, {"network": fields}, status))["message"]

    assert "The VLAN 6 on physical network one is in use" in await refused(vlan, 409, **{NUMBER: 6})
    assert "Only VLAN type networks" in await refused(vxlan, 400, **{NUMBER: 6})
    assert "does not support updating" in await refused(vlan, 400, **{WHERE: "two"})
    assert "does not support updating" in await refused(vxlan, 400, **{TYPE: "vlan"})
    assert carried(await door.show("network", vlan["id"])) == ("vlan", "one", 8)


async def test_lists_are_filtered_by_what_carries_a_network(door: Door) -> None:
    vlan = await make(door, "vlan", "one", 5)
    await make(door, "vlan", "two", 5)
    await make(door, "vxlan")
    assert [each["id"] for each in await door.list("networks", **{WHERE: "one", NUMBER: "5"})] == [vlan["id"]]
    assert len(await door.list("networks", **{TYPE: "vlan"})) == 2


async def test_mtu_may_be_as_long_as_what_carries_the_network_takes(door: Door) -> None:
    vxlan, vlan, local = await make(door, "vxlan"), await make(door, "vlan"), await make(door, "local")
    assert [each["mtu"] for each in (vxlan, vlan, local)] == [1450, 1500, 1500]
    assert (await make(door, "vxlan", mtu=1400))["mtu"] == 1400

    for url, body in (
        ("", {"mtu": 1451}),
        (f"/{vxlan['id']}", {"mtu": 1451}),
        (f"/{vlan['id']}", {"mtu": 1501}),
    ):
        method = "PUT" if url else "POST"
        refusal = await door.refused(method, f"/v2.0/networks{url}", {"network": body}, 400)
        assert "Requested MTU is too big, maximum is" in refusal["message"]
    assert (await door.update("network", vlan["id"], mtu=1300))["mtu"] == 1300
    assert (await door.update("network", vlan["id"], mtu=0))["mtu"] == 1500
    await door.refused("POST", "/v2.0/networks", {"network": {"mtu": -1}}, 400)


async def test_mtu_is_never_too_short_for_the_subnets_of_the_network(door: Door) -> None:
    network = await door.create("network", mtu=1000)
    url, subnet = f"/v2.0/networks/{network['id']}", {"network_id": network["id"], "enable_dhcp": False}
    body = {"subnet": {**subnet, "ip_version": 6, "cidr": "fd00::/64"}}
    assert (await door.refused("POST", "/v2.0/subnets", body, 409))["type"] == "NetworkMTUSubnetConflict"

    await door.update("network", network["id"], mtu=60)
    await door.update("network", network["id"], mtu=68)
    await door.create("subnet", **subnet, ip_version=4, cidr="10.0.0.0/24")
    refusal = await door.refused("PUT", url, {"network": {"mtu": 67}}, 409)
    assert "subnet requires a minimum of 68" in refusal["message"]

    await door.update("network", network["id"], mtu=1280)
    await door.create("subnet", **subnet, ip_version=6, cidr="fd00::/64")
    refusal = await door.refused("PUT", url, {"network": {"mtu": 1279}}, 409)
    assert "subnet requires a minimum of 1280" in refusal["message"]
    assert (await door.show("network", network["id"]))["mtu"] == 1280


async def test_external_networks_are_seen_by_all_and_marked_by_admins(door: Door) -> None:
    outside = await door.create("network", **{"router:external": True})
    inside = await door.create("network", as_project="blue")
    assert (outside["router:external"], inside["router:external"]) == (True, False)
    assert {each["id"] for each in await door.list("networks", as_project="blue")} == {
        outside["id"],
        inside["id"],
    }
    seen = await door.list("networks", as_project="blue", **{"router:external": "true"})
    assert [each["id"] for each in seen] == [outside["id"]]
    assert seen[0]["shared"] is False
    await door.update("network", outside["id"], **{"router:external": False})
    assert [each["id"] for each in await door.list("networks", as_project="blue")] == [inside["id"]]


async def test_port_is_bound_only_where_the_host_reaches_the_physical_network(door: Door) -> None:
    await door.register_host("with", mappings={"one": "br-phys"})
    await door.register_host("without")
    bound: dict[tuple[str, str], str] = {}
    for kind in (("vlan", "one", 5), ("flat", "one"), ("local",), ("vxlan",)):
        network = await make(door, *kind)
        for host in ("with", "without"):
            port = await door.create("port", network_id=network["id"], **{"binding:host_id": host})
            bound[kind[0], host] = port["binding:vif_type"]
    assert bound == {
        ("vlan", "with"): "ovs",
        ("vlan", "without"): "binding_failed",
        ("flat", "with"): "ovs",
        ("flat", "without"): "binding_failed",
        ("local", "with"): "ovs",
        ("local", "without"): "ovs",
        ("vxlan", "with"): "ovs",
        ("vxlan", "without"): "ovs",
    }
    (agent,) = await door.list("agents", host="with")
    assert agent["configurations"]["bridge_mappings"] == {"one": "br-phys"}


async def test_physical_network_without_a_range_gives_all_its_vlans(tmp_path: Path) -> None:
    ranges = load({"network_vlan_ranges": "one"}, {}).network_vlan_ranges
    async with open_door(tmp_path, network_vlan_ranges=ranges) as door:
        assert carried(await make(door, "vlan", "one")) == ("vlan", "one", 1)
