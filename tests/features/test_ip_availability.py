# SPDX-License-Identifier: Apache-2.0
"""How many addresses are used, over REST."""

import asyncio
from pathlib import Path

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
