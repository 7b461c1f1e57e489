# SPDX-License-Identifier: Apache-2.0
"""Subnet pools and address scopes over REST: bounds, prefixes, what subnets are cut from them, and who may use them."""

import pytest

from tests.features.door import Door


async def pool_of(api: Door, *prefixes: str, **given: object) -> dict:
    return await api.create("subnetpool", name="pool", prefixes=list(prefixes) or ["10.0.0.0/16"], **given)


async def refused(api: Door, method: str, path: str, body: object = None) -> tuple[int, str]:
    status, answer = await api.ask(method, f"/v2.0/{path}", body)
    return status, answer["NeutronError"]["type"]


async def call(api: Door, path: str, body: object) -> object:
    status, answer = await api.ask("PUT", f"/v2.0/{path}", body)
    assert status == 200, answer
    return answer


async def cut(api: Door, pool: dict, **given: object) -> dict:
    network = await api.create("network")
    wanted = {"network_id": network["id"], "ip_version": pool["ip_version"], "subnetpool_id": pool["id"]}
    return await api.create("subnet", **wanted | given)


async def test_pool_gets_the_bounds_of_its_ip_version_and_its_prefixes_merged(api: Door) -> None:
    pool = await pool_of(api, "10.0.1.0/24", "10.0.0.0/24", "192.168.0.0/24")
    assert pool["prefixes"] == ["10.0.0.0/23", "192.168.0.0/24"]
    assert (pool["ip_version"], pool["min_prefixlen"], pool["default_prefixlen"]) == (4, "8", "8")
    assert (pool["max_prefixlen"], pool["default_quota"], pool["is_default"]) == ("32", None, False)
    six = await pool_of(api, "2001:db8::/32")
    assert (six["ip_version"], six["min_prefixlen"], six["max_prefixlen"]) == (6, "64", "128")


@pytest.mark.parametrize(
    ("given", "type"),
    [
        ({"prefixes": []}, "EmptySubnetPoolPrefixList"),
        ({"prefixes": ["10.0.0.0/8", "2001:db8::/32"]}, "PrefixVersionMismatch"),
        ({"min_prefixlen": 24, "max_prefixlen": 20}, "IllegalSubnetPoolPrefixBounds"),
        ({"max_prefixlen": 33}, "IllegalSubnetPoolPrefixBounds"),
        ({"min_prefixlen": 24, "default_prefixlen": 20}, "IllegalSubnetPoolPrefixBounds"),
        ({"max_prefixlen": 24, "default_prefixlen": 28}, "IllegalSubnetPoolPrefixBounds"),
        ({"name": " "}, "HTTPBadRequest"),
        ({"prefixes": ["10.0.0.0/33"]}, "HTTPBadRequest"),
    ],
)
async def test_pool_that_does_not_fit_together_is_refused(api: Door, given: dict, type: str) -> None:
    body = {"name": "pool", "prefixes": ["10.0.0.0/8"]} | given
    assert await refused(api, "POST", "subnetpools", {"subnetpool": body}) == (400, type)


async def test_subnet_of_a_pool_without_an_id_is_refused(api: Door) -> None:
    network = await api.create("network")
    body = {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24", "subnetpool_id": ""}
    error = await api.refused("POST", "/v2.0/subnets", {"subnet": body}, 400)
    assert error["message"] == "Invalid input for subnetpool_id. Reason: '' is not a valid UUID."


async def test_subnets_are_cut_from_the_smallest_free_piece_and_never_overlap(api: Door) -> None:
    pool = await pool_of(api, "10.0.0.0/24", default_prefixlen=26, min_prefixlen=24)
    cidrs = [(await cut(api, pool))["cidr"] for _ in range(3)]
    assert cidrs == ["10.0.0.0/26", "10.0.0.64/26", "10.0.0.128/26"]
    small = await cut(api, pool, prefixlen=28)
    assert (small["cidr"], small["gateway_ip"]) == ("10.0.0.192/28", "10.0.0.193")
    assert (await cut(api, pool, cidr="10.0.0.224/27"))["cidr"] == "10.0.0.224/27"
    network = await api.create("network")
    body = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"]}
    assert await refused(api, "POST", "subnets", {"subnet": body}) == (409, "SubnetAllocationError")
    asked = body | {"cidr": "10.0.0.0/28"}
    assert await refused(api, "POST", "subnets", {"subnet": asked}) == (409, "SubnetAllocationError")
    assert await refused(api, "POST", "subnets", {"subnet": body | {"prefixlen": 20}}) == (
        400,
        "MinPrefixSubnetAllocationError",
    )


async def test_freed_prefix_is_cut_again_and_a_pool_in_use_stays(api: Door) -> None:
    pool = await pool_of(api, "10.0.0.0/24", default_prefixlen=24)
    subnet = await cut(api, pool)
    assert await refused(api, "DELETE", f"subnetpools/{pool['id']}") == (400, "SubnetPoolDeleteError")
    await api.delete("subnet", subnet["id"])
    assert (await cut(api, pool))["cidr"] == "10.0.0.0/24"


async def test_quota_of_a_pool_counts_addresses_of_a_project(api: Door) -> None:
    pool = await pool_of(api, "10.0.0.0/16", default_quota=300)
    await cut(api, pool, prefixlen=24)
    network = await api.create("network")
    body = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"], "prefixlen": 26}
    assert await refused(api, "POST", "subnets", {"subnet": body}) == (409, "SubnetPoolQuotaExceeded")


async def test_default_pool_is_one_for_each_ip_version_and_serves_who_asks_for_it(api: Door) -> None:
    network = await api.create("network")
    body = {"network_id": network["id"], "ip_version": 4, "use_default_subnetpool": True}
    assert await refused(api, "POST", "subnets", {"subnet": body}) == (400, "BadRequest")
    pool = await pool_of(api, is_default=True, default_prefixlen=24)
    second = {"name": "p", "prefixes": ["11.0.0.0/8"], "is_default": True}
    assert await refused(api, "POST", "subnetpools", {"subnetpool": second}) == (400, "InvalidInput")
    subnet = await api.create("subnet", **body)
    assert (subnet["subnetpool_id"], subnet["cidr"]) == (pool["id"], "10.0.0.0/24")
    assert {"prefixlen", "use_default_subnetpool"}.isdisjoint(subnet)


async def test_subnets_of_a_network_come_from_one_pool(api: Door) -> None:
    pool, other = await pool_of(api), await pool_of(api, "11.0.0.0/8")
    subnet = await cut(api, pool, prefixlen=24)
    body = {"network_id": subnet["network_id"], "ip_version": 4, "prefixlen": 24}
    for wrong in ({"subnetpool_id": other["id"]}, {"cidr": "12.0.0.0/24", "prefixlen": 24}, {}):
        assert (await refused(api, "POST", "subnets", {"subnet": body | wrong}))[0] == 400
    body = {"network_id": subnet["network_id"], "ip_version": 4, "cidr": "12.0.0.0/24"}
    assert await refused(api, "POST", "subnets", {"subnet": body}) == (400, "NetworkSubnetPoolAffinityError")


async def test_gateway_asked_for_says_which_prefix_the_subnet_gets(api: Door) -> None:
    pool, network = await pool_of(api, "10.0.0.0/16"), await api.create("network")
    asked = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"], "prefixlen": 24}
    subnet = await api.create("subnet", gateway_ip="10.0.7.1", **asked)
    assert (subnet["cidr"], subnet["gateway_ip"]) == ("10.0.7.0/24", "10.0.7.1")
    body = {"subnet": {**asked, "gateway_ip": "10.0.7.9"}}
    assert await refused(api, "POST", "subnets", body) == (409, "SubnetAllocationError")


async def test_prefixes_are_added_and_taken_out_unless_they_are_in_use(api: Door) -> None:
    pool = await pool_of(api, "10.0.0.0/24", default_prefixlen=24)
    subnet = await cut(api, pool)
    path = f"subnetpools/{pool['id']}"
    assert await call(api, f"{path}/add_prefixes", {"prefixes": ["10.0.1.0/24"]}) == {
        "prefixes": ["10.0.0.0/23"]
    }
    assert await refused(api, "PUT", f"{path}/remove_prefixes", {"prefixes": [subnet["cidr"]]}) == (
        400,
        "IllegalSubnetPoolPrefixUpdate",
    )
    left = await call(api, f"{path}/remove_prefixes", {"prefixes": ["10.0.1.0/25"]})
    assert left == {"prefixes": ["10.0.0.0/24", "10.0.1.128/25"]}
    assert (await api.show("subnetpool", pool["id"]))["prefixes"] == left["prefixes"]
    less = {"subnetpool": {"prefixes": ["10.0.0.0/24"]}}
    assert await refused(api, "PUT", path, less) == (400, "IllegalSubnetPoolPrefixUpdate")


async def test_prefixes_of_the_other_ip_version_are_neither_added_nor_taken_for_the_pools_own(
    api: Door,
) -> None:
    pool = await pool_of(api, "10.0.0.0/24")
    path = f"subnetpools/{pool['id']}"
    six = {"prefixes": ["2001:db8::/32"]}
    assert await refused(api, "PUT", f"{path}/add_prefixes", six) == (400, "PrefixVersionMismatch")
    both = {"subnetpool": {"prefixes": ["10.0.0.0/24", "2001:db8::/32"]}}
    assert await refused(api, "PUT", path, both) == (400, "PrefixVersionMismatch")
    for fewer in (["2001:db8::/32"], []):
        body = {"subnetpool": {"prefixes": fewer}}
        assert await refused(api, "PUT", path, body) == (400, "IllegalSubnetPoolPrefixUpdate")
    same_number = {"prefixes": ["::a00:0/120"]}  # as 10.0.0.0/24
    assert await call(api, f"{path}/remove_prefixes", same_number) == {"prefixes": ["10.0.0.0/24"]}


async def test_subnets_of_a_network_are_onboarded_with_their_prefixes(api: Door) -> None:
    network = await api.create("network")
    subnet = await api.create("subnet", network_id=network["id"], ip_version=4, cidr="172.16.0.0/24")
    pool = await pool_of(api)
    path = f"subnetpools/{pool['id']}/onboard_network_subnets"
    await call(api, path, {"network_id": network["id"]})
    assert (await api.show("subnet", subnet["id"]))["subnetpool_id"] == pool["id"]
    assert (await api.show("subnetpool", pool["id"]))["prefixes"] == ["10.0.0.0/16", "172.16.0.0/24"]
    assert (await refused(api, "PUT", path, {"network_id": network["id"]}))[1] == "IllegalSubnetPoolUpdate"


async def test_pools_of_one_address_scope_have_their_prefixes_alone(api: Door) -> None:
    scope = await api.create("address_scope", name="s", ip_version=4)
    pool = await pool_of(api, address_scope_id=scope["id"])
    again = {"name": "p", "prefixes": ["10.0.128.0/17"], "address_scope_id": scope["id"]}
    assert await refused(api, "POST", "subnetpools", {"subnetpool": again}) == (
        409,
        "AddressScopePrefixConflict",
    )
    six = {"name": "p", "prefixes": ["2001:db8::/32"], "address_scope_id": scope["id"]}
    assert (await refused(api, "POST", "subnetpools", {"subnetpool": six}))[0] == 400
    assert await refused(api, "DELETE", f"address-scopes/{scope['id']}") == (409, "AddressScopeInUse")

    subnet = await cut(api, pool, prefixlen=24)
    network = await api.show("network", subnet["network_id"])
    assert (network["ipv4_address_scope"], network["ipv6_address_scope"]) == (scope["id"], None)
    other = await pool_of(api, "11.0.0.0/8", address_scope_id=scope["id"])
    await api.create(
        "subnet", network_id=network["id"], ip_version=4, subnetpool_id=other["id"], prefixlen=24
    )


async def test_shared_scope_is_everybodys_and_stays_so(api: Door) -> None:
    scope = await api.create("address_scope", name="s", ip_version=4, shared=True)
    assert [each["id"] for each in await api.list("address-scopes", as_project="q")] == [scope["id"]]
    body = {"address_scope": {"shared": False}}
    assert await refused(api, "PUT", f"address-scopes/{scope['id']}", body) == (
        400,
        "AddressScopeUpdateError",
    )


async def test_pool_of_another_project_is_used_only_if_it_is_shared(api: Door) -> None:
    own, shared = await pool_of(api), await pool_of(api, "11.0.0.0/8", shared=True)
    assert [each["id"] for each in await api.list("subnetpools", as_project="q")] == [shared["id"]]
    assert {each["id"] for each in await api.list("subnetpools")} == {own["id"], shared["id"]}


async def test_ports_take_addresses_of_subnets_that_serve_their_device_owner(api: Door) -> None:
    network = await api.create("network")
    given = {"network_id": network["id"], "ip_version": 4}
    meant = await api.create("subnet", cidr="10.0.0.0/24", service_types=["compute:nova"], **given)
    of_all = await api.create("subnet", cidr="10.0.1.0/24", **given)
    vm = await api.create("port", network_id=network["id"], device_owner="compute:nova")
    other = await api.create("port", network_id=network["id"], device_owner="baremetal:none")
    assert [vm["fixed_ips"][0]["subnet_id"], other["fixed_ips"][0]["subnet_id"]] == [
        meant["id"],
        of_all["id"],
    ]
    await api.delete("port", other["id"])
    await api.delete("subnet", of_all["id"])
    body = {"port": {"network_id": network["id"]}}
    assert await refused(api, "POST", "ports", body) == (409, "IpAddressGenerationFailureNoMatchingSubnet")
    wrong = {"subnet": {"service_types": ["nonsense"]}}
    assert await refused(api, "PUT", f"subnets/{meant['id']}", wrong) == (400, "InvalidSubnetServiceType")
