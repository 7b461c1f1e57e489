# SPDX-License-Identifier: Apache-2.0
"""How many addresses are used, over REST."""

import asyncio
from pathlib import Path

import pytest

from tests.features.door import Door, open_door

DETAILS = "ip_availability_details"


async def available(api: Door, query: str = "") -> list[dict]:
    status, answer = await api.ask("GET", f"/v2.0/network-ip-availabilities{query}")
    assert status == 200, answer
    return answer["network_ip_availabilities"]


async def test_addresses_are_counted_by_subnet_and_network(api: Door) -> None:
    network = await api.create("network", name="blue")
    given = {"network_id": network["id"]}
    four = await api.create("subnet", ip_version=4, cidr="10.0.0.0/28", **given)
    six = await api.create("subnet", ip_version=6, cidr="2001:db8::/126", **given)
    await api.create("port", **given)
    await api.create("port", fixed_ips=[{"subnet_id": four["id"]}, {"subnet_id": four["id"]}], **given)
    (shown,) = await available(api, f"?network_id={network['id']}")
    by_subnet = {each["subnet_id"]: each for each in shown["subnet_ip_availability"]}
    assert (by_subnet[four["id"]]["used_ips"], by_subnet[four["id"]]["total_ips"]) == (3, 13)
    assert (by_subnet[six["id"]]["used_ips"], by_subnet[six["id"]]["total_ips"]) == (1, 3)
    assert (shown["used_ips"], shown["total_ips"], shown["network_name"]) == (4, 16, "blue")
    status, answer = await api.ask("GET", f"/v2.0/network-ip-availabilities/{network['id']}")
    assert (status, answer["network_ip_availability"]) == (200, shown)


async def test_networks_are_filtered_and_fields_chosen(api: Door) -> None:
    blue = await api.create("network", name="blue")
    await api.create("subnet", network_id=blue["id"], ip_version=4, cidr="10.0.0.0/28")
    await api.create("network", name="red")
    assert [each["network_name"] for each in await available(api, "?network_name=blue")] == ["blue"]
    assert [each["network_name"] for each in await available(api, "?ip_version=4")] == ["blue"]
    assert await available(api, "?ip_version=6") == []
    assert await available(api, "?network_name=red&fields=used_ips") == [{"used_ips": 0}]
    assert await available(api, "?project_id=nobody") == []


async def test_networks_come_in_pages_by_their_id(api: Door) -> None:
    ids = sorted([(await api.create("network", name=name))["id"] for name in ("a", "b", "c")])
    url = "http://alcor/v2.0/network-ip-availabilities?"

    async def page(query: str) -> tuple[list[int], dict[str, str]]:
        status, answer = await api.ask("GET", f"/v2.0/network-ip-availabilities?{query}")
        assert status == 200, answer
        links = {link["rel"]: link["href"] for link in answer.get("network_ip_availabilities_links", ())}
        return [ids.index(each["network_id"]) for each in answer["network_ip_availabilities"]], links

    assert await page("") == ([0, 1, 2], {})
    assert await page(f"marker={ids[0]}") == ([0, 1, 2], {})
    assert await page("sort_key=network_id&sort_dir=desc") == ([2, 1, 0], {})
    found, links = await page("limit=2")
    assert found == [0, 1]
    assert links["next"] == f"{url}limit=2&marker={ids[1]}"
    assert await page(links["next"].removeprefix(url)) == (
        [2],
        {"previous": f"{url}limit=2&marker={ids[2]}&page_reverse=True"},
    )
    assert (await page(f"limit=2&marker={ids[2]}&page_reverse=True"))[0] == [0, 1]
    assert (await page("limit=2&page_reverse=True"))[0] == [1, 2]
    assert (await page("limit=2&marker=nobody"))[0] == []
    assert (await page(f"network_id={ids[1]}&network_id={ids[1]}&limit=5"))[0] == [1]
    few = await available(api, f"?limit=1&fields=network_name&marker={ids[0]}")
    assert [set(each) for each in few] == [{"network_name"}]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("colour=red", "['colour'] is invalid attribute for filtering"),
        ("used_ips=1", "['used_ips'] is invalid attribute for filtering"),
        ("limit=x", "Limit must be an integer 0 or greater and not 'x'"),
        ("sort_key=network_name&sort_dir=asc", "['network_name'] is invalid attribute for sort_keys"),
        ("sort_key=network_id", "The number of sort_keys and sort_dirs must be same"),
    ],
)
async def test_query_that_means_nothing_is_refused(api: Door, query: str, message: str) -> None:
    network = await api.create("network")
    for path in ("", f"/{network['id']}"):
        error = await api.refused("GET", f"/v2.0/network-ip-availabilities{path}?{query}", None, 400)
        assert message in error["message"]


async def test_only_admins_are_told(api: Door) -> None:
    status, answer = await api.ask("GET", "/v2.0/network-ip-availabilities", as_project="q")
    assert (status, answer["NeutronError"]["type"]) == (403, "PolicyNotAuthorized")
    absent = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
    status, answer = await api.ask("GET", f"/v2.0/network-ip-availabilities/{absent}")
    assert (status, answer["NeutronError"]["type"]) == (404, "NetworkNotFound")


async def test_addresses_inside_and_outside_of_pools_are_told_apart(api: Door) -> None:
    network = await api.create("network")
    given = {"network_id": network["id"]}
    pool = [{"start": "10.0.0.4", "end": "10.0.0.7"}]
    four = await api.create("subnet", ip_version=4, cidr="10.0.0.0/28", allocation_pools=pool, **given)
    await api.create("port", **given)
    await api.create("port", fixed_ips=[{"ip_address": "10.0.0.9"}, {"ip_address": "10.0.0.3"}], **given)
    six = await api.create("subnet", ip_version=6, cidr="2001:db8::/124", **given)
    await api.create("port", fixed_ips=[{"ip_address": "2001:db8::1"}], **given)
    (shown,) = await available(api, f"?network_id={network['id']}")
    own = {each["subnet_id"]: tuple(each[DETAILS].values()) for each in shown["subnet_ip_availability"]}
    assert own == {four["id"]: (14, 4, 3, 1), six["id"]: (16, 15, 1, 1)}
    assert tuple(shown[DETAILS].values()) == (30, 19, 4, 2)

    for number in range(10, 15):
        await api.create("port", fixed_ips=[{"ip_address": f"10.0.0.{number}"}], **given)
    await api.create("port", fixed_ips=[{"subnet_id": four["id"]}] * 3, **given)
    (shown,) = await available(api, f"?network_id={network['id']}&ip_version=4")
    assert tuple(shown[DETAILS].values()) == (14, 4, 11, 4)


async def test_each_network_is_listed_once(api: Door) -> None:
    await api.create_many("network", [{"name": f"n{number}"} for number in range(90)])
    assert len({each["network_id"] for each in await available(api)}) == 90


async def test_others_are_served_while_a_long_answer_is_made(tmp_path: Path) -> None:
    async with open_door(
        tmp_path, slice_ms_max=1e-6, quota_network=-1
    ) as api:  # a slice is over after each network
        (network, *_) = await api.create_many("network", [{} for _ in range(500)])
        long = asyncio.create_task(available(api))
        for _ in range(20):
            await asyncio.sleep(0)
        await api.show("network", network["id"])
        assert not long.done()
        assert len(await long) == 500
