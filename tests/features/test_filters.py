# SPDX-License-Identifier: Apache-2.0
"""Filters with values that cannot be: refused where Neutron converts them, without a match elsewhere."""

from typing import Any

import pytest

from tests.features.door import Door


@pytest.mark.parametrize(
    ("path", "query", "type", "message"),
    [
        ("ports", "fixed_ips=x", "InvalidInput", "'x' is not of the form <key>=[value]"),
        ("ports", "fixed_ips==x", "InvalidInput", "'=x' is not of the form <key>=[value]"),
        ("ports", "admin_state_up=maybe", "InvalidInput", "'maybe' cannot be converted to boolean"),
        ("networks", "mtu=", "InvalidInput", "'' is not an integer"),
        ("subnets", "cidr=10.0.0.x/24", "InvalidInput", "10.0.0.x/24 is not in a CIDR format"),
        ("subnets", "shared=maybe", "InvalidInput", "'maybe' cannot be converted to boolean"),
        (
            "security-group-rules",
            "ethertype=x",
            "SecurityGroupRuleInvalidEtherType",
            "ethertype 'x' not supported",
        ),
        (
            "security-group-rules",
            "protocol=x",
            "SecurityGroupRuleInvalidProtocol",
            "protocol x not supported",
        ),
        (
            "security-group-rules",
            "port_range_min=-1",
            "SecurityGroupInvalidPortValue",
            "Invalid value for port -1",
        ),
        ("security-group-rules", "remote_ip_prefix=x", "InvalidCIDR", "Invalid CIDR x given as IP prefix."),
        ("rbac-policies", "object_type=x", "InvalidInput", "'x' is not a valid RBAC object type"),
        ("qos/rule-types", "all_rules=maybe", "InvalidInput", "'maybe' cannot be converted to boolean"),
    ],
)
async def test_filter_that_means_nothing_is_refused(
    api: Door, path: str, query: str, type: str, message: str
) -> None:
    error = await api.refused("GET", f"/v2.0/{path}?{query}", None, 400)
    assert error["type"] == type
    assert message in error["message"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("ports", "mac_address=x"),
        ("ports", "network_id=x"),
        ("subnets", "gateway_ip=x"),
        ("subnets", "ipv6_ra_mode=x"),
        ("security-group-rules", "direction=x"),
        ("networks", "revision_number=x"),
    ],
)
async def test_filter_of_what_nobody_has_finds_nothing(
    api: Door, net: dict[str, Any], path: str, query: str
) -> None:
    await api.create("port", network_id=net["id"])
    status, answer = await api.ask("GET", f"/v2.0/{path}?{query}")
    assert (status, list(answer.values())) == (200, [[]])


async def test_values_of_filters_are_read_as_those_of_bodies(api: Door, net: dict[str, Any]) -> None:
    group = await api.create("security_group", name="web")
    await api.create(
        "security_group_rule",
        security_group_id=group["id"],
        direction="ingress",
        protocol="tcp",
        ethertype="IPv4",
    )
    (rule,) = await api.list("security-group-rules", ethertype="ipv4", protocol="TCP")
    assert rule["security_group_id"] == group["id"]
    assert len(await api.list("subnets", cidr="10.0.0.0/24")) == 1
    assert await api.list("subnets", cidr="10.0.0.5/24") == []
    network = await api.create("network", shared=True)
    (policy,) = await api.list("rbac-policies", object_type="Network")
    assert policy["object_id"] == network["id"]


async def test_addresses_are_filtered_by_the_keys_that_mean_something(api: Door, net: dict[str, Any]) -> None:
    port = await api.create("port", network_id=net["id"])
    address = port["fixed_ips"][0]["ip_address"]
    found = await api.list("ports", fixed_ips=f"ip_address={address}&fixed_ips=colour=red")
    assert [each["id"] for each in found] == [port["id"]]
    assert await api.list("ports", fixed_ips="ip_address=10.0.0.250") == []


async def test_query_that_a_list_refuses_is_refused_with_one_object_too(
    api: Door, net: dict[str, Any]
) -> None:
    path = f"/v2.0/networks/{net['id']}"
    error = await api.refused("GET", f"{path}?colour=red", None, 400)
    assert error["message"] == "['colour'] is invalid attribute for filtering"
    await api.refused("GET", f"{path}?limit=x", None, 400)
    status, answer = await api.ask("GET", f"{path}?fields=name&name=other")
    assert (status, answer) == (200, {"network": {"name": "net"}})
