# SPDX-License-Identifier: Apache-2.0
"""Subnets over REST: gateways, pools, overlaps, modes."""

import pytest

from tests.features.door import Door


async def subnet_of(api: Door, **given: object) -> dict:
    network = await api.create("network")
    return await api.create(
        "subnet", network_id=network["id"], **{"ip_version": 4, "cidr": "10.0.0.0/24"} | given
    )


async def test_subnet_gets_a_gateway_and_the_rest_as_pool(api: Door) -> None:
    subnet = await subnet_of(api)

    assert subnet["gateway_ip"] == "10.0.0.1"
    assert subnet["allocation_pools"] == [{"start": "10.0.0.2", "end": "10.0.0.254"}]
    assert subnet["enable_dhcp"] is True
    assert subnet["dns_nameservers"] == []
    assert subnet["host_routes"] == []
    assert (await api.show("network", subnet["network_id"]))["subnets"] == [subnet["id"]]


async def test_gateway_in_the_middle_splits_the_pool(api: Door) -> None:
    subnet = await subnet_of(api, gateway_ip="10.0.0.100")
    assert subnet["allocation_pools"] == [
        {"start": "10.0.0.1", "end": "10.0.0.99"},
        {"start": "10.0.0.101", "end": "10.0.0.254"},
    ]


async def test_null_gateway_means_none(api: Door) -> None:
    subnet = await subnet_of(api, gateway_ip=None)
    assert subnet["gateway_ip"] is None
    assert subnet["allocation_pools"] == [{"start": "10.0.0.1", "end": "10.0.0.254"}]


async def test_gateway_may_lie_outside_of_the_subnet(api: Door) -> None:
    subnet = await subnet_of(api, gateway_ip="192.168.0.1")
    assert subnet["gateway_ip"] == "192.168.0.1"
    assert subnet["allocation_pools"] == [{"start": "10.0.0.1", "end": "10.0.0.254"}]


@pytest.mark.parametrize(
    ("cidr", "gateway", "pools"),
    [
        ("10.0.0.0/31", "10.0.0.0", [{"start": "10.0.0.1", "end": "10.0.0.1"}]),
        ("10.0.0.0/32", "10.0.0.0", []),
        ("2001:db8::/127", "2001:db8::", [{"start": "2001:db8::1", "end": "2001:db8::1"}]),
        ("2001:db8::/128", "2001:db8::", []),
    ],
)
async def test_smallest_subnets_use_every_address_and_have_no_dhcp(
    api: Door, cidr: str, gateway: str, pools: list
) -> None:
    subnet = await subnet_of(api, cidr=cidr, ip_version=6 if ":" in cidr else 4, enable_dhcp=False)
    assert (subnet["gateway_ip"], subnet["allocation_pools"]) == (gateway, pools)
    body = {"subnet": {"enable_dhcp": True}}
    await api.refused("PUT", f"/v2.0/subnets/{subnet['id']}", body, 400)


async def test_pools_are_not_unset_by_null(api: Door) -> None:
    subnet = await subnet_of(api)
    await api.refused("PUT", f"/v2.0/subnets/{subnet['id']}", {"subnet": {"allocation_pools": None}}, 400)


async def test_ipv6_subnet_spares_the_router_anycast_address_as_its_gateway(api: Door) -> None:
    subnet = await subnet_of(api, ip_version=6, cidr="2001:db8::/64")
    assert subnet["gateway_ip"] == "2001:db8::"
    assert subnet["allocation_pools"] == [{"start": "2001:db8::1", "end": "2001:db8::ffff:ffff:ffff:ffff"}]


ROUTE = {"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"gateway_ip": "2001:db8::1"}, "InvalidInput", "gateway_ip '2001:db8::1' does not match"),
        ({"dns_nameservers": ["2001:db8::1"]}, "InvalidInput", "dns_nameserver '2001:db8::1' does not match"),
        ({"host_routes": [{**ROUTE, "nexthop": "::1"}]}, "InvalidInput", "nexthop '::1' does not match"),
        (
            {"host_routes": [{**ROUTE, "destination": "::/0"}]},
            "InvalidInput",
            "destination '::/0' does not match",
        ),
        (
            {"host_routes": [{**ROUTE, "destination": "192.0.2.7/24"}]},
            "HTTPBadRequest",
            "'192.0.2.7/24' is not",
        ),
        ({"dns_nameservers": [f"192.0.2.{last}" for last in range(6)]}, "DNSNameServersExhausted", "limit 5"),
    ],
)
async def test_what_dhcp_could_not_tell_is_refused_when_made_and_when_changed(
    api: Door, given: dict, kind: str, said: str
) -> None:
    subnet = await subnet_of(api)
    new = {"network_id": subnet["network_id"], "ip_version": 4, "cidr": "10.1.0.0/24", **given}
    for method, url, body in (("POST", "subnets", new), ("PUT", f"subnets/{subnet['id']}", given)):
        error = await api.refused(method, f"/v2.0/{url}", {"subnet": body}, 400)
        assert error["type"] == kind
        assert said in error["message"]


@pytest.mark.parametrize(
    ("given", "status", "kind"),
    [
        ({"ip_version": 6}, 400, "InvalidInput"),
        ({"cidr": "10.0.0.0"}, 400, None),
        ({"cidr": "10.0.0.7/24"}, 400, None),
        ({"gateway_ip": "10.0.0.0"}, 400, "InvalidInput"),
        ({"cidr": "10.0.0.0/31"}, 400, "InvalidInput"),
        ({"cidr": "2001:db8::/127", "ip_version": 6}, 400, "InvalidInput"),
        ({"cidr": "224.0.0.0/24"}, 400, "InvalidInput"),
        ({"cidr": "127.0.0.0/24"}, 400, "InvalidInput"),
        ({"cidr": "0.0.0.0/8"}, 400, "InvalidInput"),
        ({"allocation_pools": None}, 400, None),
        ({"gateway_ip": "10.0.0.255"}, 400, "InvalidInput"),
        ({"ip_version": 5}, 400, None),
        ({"allocation_pools": [{"start": "10.0.0.9", "end": "10.0.0.3"}]}, 400, "InvalidAllocationPool"),
        ({"allocation_pools": [{"start": "10.0.0.9", "end": "10.0.1.3"}]}, 400, "OutOfBoundsAllocationPool"),
        (
            {"allocation_pools": [{"start": "10.0.0.1", "end": "10.0.0.3"}]},
            409,
            "GatewayConflictWithAllocationPools",
        ),
        (
            {
                "allocation_pools": [
                    {"start": "10.0.0.2", "end": "10.0.0.9"},
                    {"start": "10.0.0.9", "end": "10.0.0.20"},
                ]
            },
            409,
            "OverlappingAllocationPools",
        ),
        ({"ipv6_ra_mode": "slaac"}, 400, "InvalidInput"),
        ({"dns_nameservers": ["here"]}, 400, None),
        ({"dns_nameservers": ["1.1.1.1", "1.1.1.1"]}, 400, None),
        ({"host_routes": [{"destination": "10.1.0.0/16"}]}, 400, None),
        ({"segment_id": "x"}, 400, None),
    ],
)
async def test_subnet_that_does_not_fit_is_refused(
    api: Door, given: dict, status: int, kind: str | None
) -> None:
    network = await api.create("network")
    body = {"subnet": {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24"} | given}
    refusal = await api.refused("POST", "/v2.0/subnets", body, status)
    if kind:
        assert refusal["type"] == kind
    assert await api.list("subnets") == []


async def test_overlapping_subnet_of_one_network_is_refused(api: Door, net: dict) -> None:
    body = {"subnet": {"network_id": net["id"], "ip_version": 4, "cidr": "10.0.0.128/25"}}
    refusal = await api.refused("POST", "/v2.0/subnets", body, 400)
    assert "overlaps" in refusal["message"]

    await subnet_of(api)  # another network may have the same range


async def test_slaac_wants_a_64(api: Door) -> None:
    network = await api.create("network")
    given = {
        "network_id": network["id"],
        "ip_version": 6,
        "ipv6_ra_mode": "slaac",
        "ipv6_address_mode": "slaac",
    }
    await api.refused("POST", "/v2.0/subnets", {"subnet": given | {"cidr": "2001:db8::/80"}}, 400)
    await api.create("subnet", **given, cidr="2001:db8::/64")


async def test_subnet_with_ports_cannot_be_deleted(api: Door, net: dict) -> None:
    port = await api.create("port", network_id=net["id"])
    [subnet] = await api.list("subnets")
    refusal = await api.refused("DELETE", f"/v2.0/subnets/{subnet['id']}", None, 409)
    assert refusal["type"] == "SubnetInUse"

    await api.delete("port", port["id"])
    await api.delete("subnet", subnet["id"])


async def test_subnet_on_an_absent_network_is_404(api: Door) -> None:
    absent = "00000000-0000-4000-8000-000000000001"
    body = {"subnet": {"network_id": absent, "ip_version": 4, "cidr": "10.0.0.0/24"}}
    refusal = await api.refused("POST", "/v2.0/subnets", body, 404)
    assert refusal["type"] == "NetworkNotFound"


async def test_attributes_of_dhcp_are_kept(api: Door) -> None:
    subnet = await subnet_of(
        api,
        enable_dhcp=False,
        dns_nameservers=["10.0.0.53"],
        host_routes=[{"destination": "192.168.0.0/16", "nexthop": "10.0.0.9"}],
    )
    assert subnet["enable_dhcp"] is False
    assert subnet["dns_nameservers"] == ["10.0.0.53"]
    assert subnet["host_routes"] == [{"destination": "192.168.0.0/16", "nexthop": "10.0.0.9"}]

    changed = await api.update("subnet", subnet["id"], dns_nameservers=[], name="n", gateway_ip=None)
    assert changed["dns_nameservers"] == []
    assert changed["gateway_ip"] is None


async def test_a_change_of_a_subnet_is_a_change_of_its_network(api: Door) -> None:
    subnet = await subnet_of(api)
    made = await api.show("network", subnet["network_id"])
    await api.update("subnet", subnet["id"], name="new")
    renamed = await api.show("network", subnet["network_id"])
    await api.delete("subnet", subnet["id"])
    bare = await api.show("network", subnet["network_id"])
    assert [each["revision_number"] for each in (made, renamed, bare)] == [2, 3, 4]


async def test_an_update_that_changes_nothing_of_a_subnet_is_no_change_of_its_network(api: Door) -> None:
    subnet = await subnet_of(api, name="n")
    made = await api.show("network", subnet["network_id"])
    await api.update("subnet", subnet["id"], name="n", host_routes=[])
    assert await api.show("network", subnet["network_id"]) == made


async def test_subnets_are_filtered_by_whether_their_network_is_shared(api: Door) -> None:
    shared = await api.create("network", shared=True)
    subnet = await api.create("subnet", network_id=shared["id"], ip_version=4, cidr="10.0.0.0/24")
    other = await subnet_of(api)
    assert "shared" not in subnet
    assert [each["id"] for each in await api.list("subnets", shared="True")] == [subnet["id"]]
    assert [each["id"] for each in await api.list("subnets", shared="False")] == [other["id"]]


async def test_a_slaac_subnet_goes_with_the_addresses_that_it_gave_and_leaves_the_ports(api: Door) -> None:
    slaac = await subnet_of(api, ip_version=6, cidr="2001:db8::/64", ipv6_address_mode="slaac")
    fixed = await api.create("subnet", network_id=slaac["network_id"], ip_version=6, cidr="2001:db8:1::/64")
    port = await api.create("port", network_id=slaac["network_id"])
    assert {each["subnet_id"] for each in port["fixed_ips"]} == {slaac["id"], fixed["id"]}

    await api.delete("subnet", slaac["id"])

    left = await api.show("port", port["id"])
    assert {each["subnet_id"] for each in left["fixed_ips"]} == {fixed["id"]}
    assert left["revision_number"] == port["revision_number"] + 1


async def test_allocation_pools_are_bounded(api: Door) -> None:
    network = await api.create("network")
    pools = [{"start": f"10.0.{n >> 7}.{n % 128 * 2}"} for n in range(1, 258)]
    for pool in pools:
        pool["end"] = pool["start"]
    subnet = {
        "network_id": network["id"],
        "ip_version": 4,
        "cidr": "10.0.0.0/16",
        "gateway_ip": None,
        "allocation_pools": pools,
    }
    refusal = await api.refused("POST", "/v2.0/subnets", {"subnet": subnet}, 400)
    assert "Exceeded maximum amount of allocation pools: 256" in refusal["message"]
    await api.create("subnet", **{**subnet, "allocation_pools": pools[:256]})


async def test_subnets_tell_and_are_filtered_by_whether_their_network_is_external(api: Door) -> None:
    inside = await subnet_of(api)
    network = await api.create("network", **{"router:external": True})
    outside = await api.create("subnet", network_id=network["id"], ip_version=4, cidr="10.9.0.0/24")
    assert (inside["router:external"], outside["router:external"]) == (False, True)
    listed = await api.list("subnets", **{"router:external": "False"})
    assert [each["id"] for each in listed] == [inside["id"]]


async def test_service_types_are_taken_from_a_member_as_the_reference_takes_them(api: Door) -> None:
    network = await api.create("network", as_project="p")
    subnet = await api.create(
        "subnet", network_id=network["id"], ip_version=4, cidr="10.9.0.0/24", as_project="p"
    )
    body = {"subnet": {"service_types": ["compute:", "test:type_1"]}}
    status, answer = await api.ask("PUT", f"/v2.0/subnets/{subnet['id']}", body, as_project="p")
    assert (status, answer["subnet"]["service_types"]) == (200, ["compute:", "test:type_1"])


async def test_ports_get_the_address_of_a_slaac_subnet_that_comes_after_them(api: Door) -> None:
    network = await api.create("network")
    fields = {"network_id": network["id"], "mac_address": "fa:16:3e:00:00:07"}
    port = await api.create("port", **fields)
    router = await api.create(
        "port", network_id=network["id"], device_owner="network:router_interface", device_id="r"
    )
    slaac = {"network_id": network["id"], "ip_version": 6, "ipv6_address_mode": "slaac"}
    await api.create("subnet", cidr="2001:db8:9::/64", service_types=["compute:nova"], **slaac)
    subnet = await api.create("subnet", cidr="2001:db8::/64", **slaac)
    shown = await api.show("port", port["id"])
    assert shown["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "2001:db8::f816:3eff:fe00:7"}]
    assert shown["revision_number"] == port["revision_number"] + 1
    assert (await api.show("port", router["id"]))["fixed_ips"] == []


async def test_answers_that_are_derived_are_found_by_every_word_for_true_and_false(api: Door) -> None:
    subnet = await subnet_of(api)
    for name in ("shared", "router:external"):
        for word in ("0", "false", "False", "no"):
            assert [each["id"] for each in await api.list("subnets", **{name: word})] == [subnet["id"]]
        assert await api.list("subnets", **{name: "1"}) == []
        error = await api.refused("GET", f"/v2.0/subnets?{name}=perhaps", None, 400)
        assert "'perhaps' cannot be converted to boolean" in error["message"]
