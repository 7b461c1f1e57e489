# SPDX-License-Identifier: Apache-2.0
"""Segment ranges over REST: where the numbers of networks come from, and what of a range is used and free."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.features.door import Door, open_door

TYPE, WHERE, NUMBER = "provider:network_type", "provider:physical_network", "provider:segmentation_id"
RANGES = "network_segment_ranges"
VXLAN = {"network_type": "vxlan"}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    ranges = (("one", 100, 102), ("two", 1, 0))
    async with open_door(tmp_path, network_vlan_ranges=ranges, quota_network=-1) as door:
        yield door


async def own(door: Door, project: str, minimum: int, maximum: int, **more: Any) -> dict[str, Any]:
    given = {"network_type": "vxlan", "shared": False, "project_id": project} | more
    return await door.create("network_segment_range", minimum=minimum, maximum=maximum, **given)


async def shared(door: Door, minimum: int, maximum: int, **more: Any) -> dict[str, Any]:
    return await door.create(
        "network_segment_range", minimum=minimum, maximum=maximum, **{"network_type": "vxlan", **more}
    )


async def number_of(door: Door, project: str, **asked: Any) -> int:
    made = await door.create("network", project_id=project, **asked)
    return int(made[NUMBER])


async def refused(door: Door, method: str, url: str, status: int, **fields: Any) -> str:
    body = {"network_segment_range": fields} if fields else None
    refusal = await door.refused(method, f"/v2.0/{RANGES}{url}", body, status)
    return str(refusal["type"])


def told(ranges: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("network_type", "physical_network", "minimum", "maximum")
    return sorted(tuple(each[name] for name in names) for each in ranges)


async def test_what_the_settings_give_everybody_is_shown_as_default_ranges(tmp_path: Path) -> None:
    settings = {"network_vlan_ranges": (("one", 100, 102), ("two", 1, 0)), "vni_ranges": ((1, 9), (20, 29))}
    async with open_door(tmp_path, **settings) as door:
        ranges = await door.list(RANGES)
        assert told(ranges) == [("vlan", "one", 100, 102), ("vxlan", "", 1, 9), ("vxlan", "", 20, 29)]
        assert {(each["default"], each["shared"], each["project_id"]) for each in ranges} == {
            (True, True, None)
        }
        kept = next(each for each in ranges if each["minimum"] == 20)
        url = f"/{kept['id']}"
        assert await refused(door, "PUT", url, 400, name="mine") == "NetworkSegmentRangeDefaultReadOnly"
        assert await refused(door, "DELETE", url, 400) == "NetworkSegmentRangeDefaultReadOnly"
        await own(door, "blue", 40, 49)
    async with open_door(tmp_path, vni_ranges=((20, 29), (30, 39))) as door:
        assert (await door.show("network_segment_range", kept["id"]))["maximum"] == 29
        assert told(await door.list(RANGES)) == [
            ("vxlan", "", 20, 29),
            ("vxlan", "", 30, 39),
            ("vxlan", "", 40, 49),
        ]


async def test_networks_of_a_project_take_the_numbers_of_its_ranges_and_nobody_else_does(door: Door) -> None:
    await own(door, "blue", 3, 4)
    await own(door, "red", 7, 8)
    assert [await number_of(door, "blue") for _ in range(2)] == [3, 4]
    assert [await number_of(door, "blue", **{TYPE: "vxlan"}) for _ in range(4)] == [1, 2, 5, 6]
    assert [await number_of(door, "green") for _ in range(2)] == [9, 10]
    assert await number_of(door, "red") == 7

    (network,) = [each for each in await door.list("networks") if each[NUMBER] == 4]
    await door.delete("network", network["id"])
    assert await number_of(door, "green") == 11
    assert await number_of(door, "blue") == 4
    assert await number_of(door, "green", **{TYPE: "vxlan", NUMBER: 8}) == 8


async def test_every_number_of_a_range_is_given_once_though_many_ask(door: Door) -> None:
    made = await own(door, "blue", 1001, 1008)
    numbers = await asyncio.gather(*(number_of(door, "blue") for _ in range(12)))
    assert sorted(numbers) == [1, 2, 3, 4, *range(1001, 1009)]
    shown = await door.show("network_segment_range", made["id"])
    assert shown["used"] == dict.fromkeys(map(str, range(1001, 1009)), "blue")
    assert shown["available"] == []


async def test_segments_take_numbers_of_their_networks_project(door: Door) -> None:
    await own(door, "blue", 500, 501, network_type="vlan", physical_network="one")
    segments = [{TYPE: "vlan", WHERE: "one"}, {TYPE: "vlan"}, {TYPE: "vlan"}]
    network = await door.create("network", project_id="blue", segments=segments)
    assert [each[NUMBER] for each in network["segments"]] == [500, 501, 100]
    await door.delete("network", network["id"])
    network = await door.create("network", project_id="blue")
    segment = await door.create("segment", network_id=network["id"], network_type="vlan")
    assert segment["segmentation_id"] == 500


async def test_a_range_makes_vlans_of_a_physical_network_known(door: Door) -> None:
    asked = {TYPE: "vlan", WHERE: "three"}
    body = {"network": asked}
    assert (await door.refused("POST", "/v2.0/networks", body, 400))["type"] == "InvalidInput"
    made = await shared(door, 5, 5, network_type="vlan", physical_network="three")
    assert await number_of(door, "blue", **asked) == 5
    assert (await door.refused("POST", "/v2.0/networks", body, 503))["type"] == "NoNetworkAvailable"
    assert await refused(door, "DELETE", f"/{made['id']}", 409) == "NetworkSegmentRangeReferencedByProject"


async def test_everybody_gets_numbers_of_shared_ranges_when_the_default_ones_are_full(tmp_path: Path) -> None:
    async with open_door(tmp_path, vni_ranges=((1, 1),)) as door:
        await number_of(door, "blue")
        await door.refused("POST", "/v2.0/networks", {"network": {}}, 503)
        made = await shared(door, 70, 79, project_id="")
        assert (made["shared"], made["project_id"], made["tenant_id"]) == (True, None, None)
        await own(door, "red", 90, 90)
        assert await number_of(door, "blue") == 70


@pytest.mark.parametrize(
    ("fields", "status", "type_"),
    [
        ({**VXLAN, "minimum": 15, "maximum": 25}, 409, "NetworkSegmentRangeOverlaps"),
        ({**VXLAN, "minimum": 9, "maximum": 8}, 400, "NetworkTunnelRangeError"),
        ({**VXLAN, "minimum": 9, "maximum": 1 << 24}, 400, "NetworkTunnelRangeError"),
        ({**VXLAN, "minimum": 0, "maximum": 9}, 400, "HTTPBadRequest"),
        ({**VXLAN, "minimum": 5}, 400, "HTTPBadRequest"),
        ({"network_type": "gre", "minimum": 5, "maximum": 9}, 400, "NetworkSegmentRangeNetTypeNotSupported"),
        ({"minimum": 5, "maximum": 9}, 400, "NetworkSegmentRangeNetTypeNotSupported"),
        ({"network_type": "flat", "minimum": 5, "maximum": 9}, 400, "HTTPBadRequest"),
        ({"network_type": "vlan", "minimum": 5, "maximum": 9}, 400, "BadRequest"),
        (
            {"network_type": "vlan", "physical_network": "one", "minimum": 5, "maximum": 4095},
            400,
            "NetworkVlanRangeError",
        ),
        ({**VXLAN, "shared": False, "project_id": "", "minimum": 5, "maximum": 9}, 400, "ObjectActionError"),
        ({**VXLAN, "minimum": 5, "maximum": 9, "default": True}, 400, "HTTPBadRequest"),
    ],
)
async def test_what_is_no_range_is_refused(
    door: Door, fields: dict[str, Any], status: int, type_: str
) -> None:
    await own(door, "blue", 20, 29)
    assert await refused(door, "POST", "", status, **fields) == type_
    assert len(await door.list(RANGES)) == 3


async def test_ranges_of_different_physical_networks_may_have_the_same_numbers(door: Door) -> None:
    for name in ("one", "two"):
        await own(door, "blue", 20, 29, network_type="vlan", physical_network=name)
    assert len(await door.list(RANGES, project_id="blue")) == 2
    assert len(await door.list(RANGES, physical_network="two")) == 1


async def test_a_range_changes_and_goes_while_what_is_used_stays_in_it(door: Door) -> None:
    made = await own(door, "blue", 100, 109, physical_network="any")
    assert (made["physical_network"], made["description"]) == ("", "")
    url = f"/{made['id']}"
    other = await own(door, "red", 120, 129)
    numbers = [await number_of(door, "blue") for _ in range(3)]
    assert numbers == [100, 101, 102]
    for change in ({"minimum": 101}, {"maximum": 101}, {"minimum": 110, "maximum": 111}):
        assert await refused(door, "PUT", url, 409, **change) == "NetworkSegmentRangeReferencedByProject"
    assert await refused(door, "PUT", url, 409, maximum=120) == "NetworkSegmentRangeOverlaps"
    assert await refused(door, "PUT", url, 400, maximum=1 << 30) == "NetworkTunnelRangeError"
    assert await refused(door, "DELETE", url, 409) == "NetworkSegmentRangeReferencedByProject"

    changed = await door.update("network_segment_range", made["id"], name="n", minimum=50, maximum=102)
    assert (changed["name"], changed["minimum"], changed["maximum"]) == ("n", 50, 102)
    assert changed["available"] == list(range(50, 100))
    assert changed["revision_number"] == 2
    for network in await door.list("networks"):
        await door.delete("network", network["id"])
    await door.delete("network_segment_range", made["id"])
    assert await refused(door, "GET", url, 404) == "NetworkSegmentRangeNotFound"
    await door.update("network_segment_range", other["id"], minimum=100)


async def test_of_a_large_range_the_lowest_numbers_are_told(door: Door) -> None:
    await door.create("network", project_id="blue", **{TYPE: "vxlan", NUMBER: 3})
    await door.create("network", project_id="red", **{TYPE: "vxlan", NUMBER: 16_000_000})
    (large,) = await door.list(RANGES, network_type="vxlan")
    assert large["used"] == {"3": "blue", "16000000": "red"}
    assert large["available"] == [1, 2, *range(4, 1_026)]

    await door.create_many("network", [{} for _ in range(1000)])
    shown = await door.show("network_segment_range", large["id"])
    assert len(shown["used"]) == 1002
    assert shown["available"] == list(range(1_002, 2_026))
    (short,) = await door.list(RANGES, network_type="vxlan", fields="minimum")
    assert short == {"minimum": 1}


async def test_a_block_that_is_full_is_passed_over(tmp_path: Path) -> None:
    async with open_door(tmp_path, vni_ranges=((2_040, 4_100),), quota_network=-1) as door:
        for _ in range(2):
            await door.create_many("network", [{} for _ in range(1_029)])
        (shown,) = await door.list(RANGES)
        assert shown["available"] == list(range(4_098, 4_101))
        assert sorted(map(int, shown["used"])) == list(range(2_040, 3_064))


async def test_ranges_have_tags_and_are_for_admins_only(door: Door) -> None:
    made = await own(door, "blue", 20, 29, description="left")
    status, _ = await door.ask("PUT", f"/v2.0/{RANGES}/{made['id']}/tags", {"tags": ["a"]})
    assert status == 200
    (found,) = await door.list(RANGES, tags="a")
    assert (found["id"], found["tags"], found["description"]) == (made["id"], ["a"], "left")
    assert await door.list(RANGES, as_project="blue") == []
    url = f"/v2.0/{RANGES}"
    await door.refused("GET", f"{url}/{made['id']}", None, 404, as_project="blue")
    body = {"network_segment_range": {**VXLAN, "minimum": 40, "maximum": 49}}
    await door.refused("POST", url, body, 403, as_project="blue")
    status, answer = await door.ask("GET", "/v2.0/extensions/network-segment-range")
    assert status == 200, answer


async def test_others_are_served_between_two_ranges_of_a_list(tmp_path: Path) -> None:
    ranges = tuple((10_000 * n, 10_000 * n + 4_096) for n in range(1, 61))
    async with open_door(tmp_path, slice_ms_max=1e-6, vni_ranges=ranges) as door:
        await number_of(door, "blue")
        long = asyncio.create_task(door.list(RANGES))
        for _ in range(20):
            await asyncio.sleep(0)
        await door.list("networks")
        assert not long.done()
        listed = await long
        assert sorted(each["minimum"] for each in listed) == [first for first, _ in ranges]
        assert sum(len(each["used"]) for each in listed) == 1


async def test_a_collection_is_found_with_hyphens_and_with_underscores(door: Door) -> None:
    made = await own(door, "blue", 20, 29)
    for spelled in ("network-segment-ranges", "network_segment_ranges"):
        status, answer = await door.ask("GET", f"/v2.0/{spelled}/{made['id']}")
        assert (status, answer["network_segment_range"]) == (200, made)
    for url in ("security_groups", "security-groups", "network_ip_availabilities", "qos/policies"):
        assert (await door.ask("GET", f"/v2.0/{url}"))[0] == 200
    for url in ("network_segment-ranges", "qos/policies_", "net_works"):
        assert (await door.ask("GET", f"/v2.0/{url}"))[0] == 404
