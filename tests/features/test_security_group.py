# SPDX-License-Identifier: Apache-2.0
"""Security groups and rules over REST."""

import asyncio

import pytest

from alcor.store.tables import Tables
from tests.features.door import Door


async def test_default_group_is_made_once_and_lets_nobody_in_from_outside(api: Door) -> None:
    lists = await asyncio.gather(*(api.list("security-groups", as_project="blue") for _ in range(20)))
    assert {group["id"] for groups in lists for group in groups} == {lists[0][0]["id"]}

    [group] = lists[0]
    assert group["name"] == "default"
    ingress = [rule for rule in group["security_group_rules"] if rule["direction"] == "ingress"]
    assert {rule["remote_group_id"] for rule in ingress} == {group["id"]}
    assert {rule["ethertype"] for rule in ingress} == {"IPv4", "IPv6"}
    egress = [rule for rule in group["security_group_rules"] if rule["direction"] == "egress"]
    assert {(rule["ethertype"], rule["remote_group_id"]) for rule in egress} == {
        ("IPv4", None),
        ("IPv6", None),
    }


async def test_new_group_lets_members_out_and_nobody_in(api: Door) -> None:
    group = await api.create("security_group", name="web")
    assert {(rule["direction"], rule["ethertype"]) for rule in group["security_group_rules"]} == {
        ("egress", "IPv4"),
        ("egress", "IPv6"),
    }


async def test_default_group_keeps_its_name_and_its_project_cannot_delete_it(api: Door) -> None:
    [group] = await api.list("security-groups", as_project="blue")
    path = f"/v2.0/security-groups/{group['id']}"
    refusal = await api.refused("PUT", path, {"security_group": {"name": "x"}}, 409, as_project="blue")
    assert refusal["type"] == "SecurityGroupCannotUpdateDefault"
    refusal = await api.refused("DELETE", path, None, 409, as_project="blue")
    assert refusal["type"] == "SecurityGroupCannotRemoveDefault"
    body = {"security_group": {"name": "default"}}
    refusal = await api.refused("POST", "/v2.0/security-groups", body, 409, as_project="blue")
    assert refusal["type"] == "SecurityGroupDefaultAlreadyExists"


async def test_group_of_a_port_is_in_use(api: Door, net: dict) -> None:
    group = await api.create("security_group", name="web")
    port = await api.create("port", network_id=net["id"], security_groups=[group["id"]])
    refusal = await api.refused("DELETE", f"/v2.0/security-groups/{group['id']}", None, 409)
    assert refusal["type"] == "SecurityGroupInUse"

    await api.delete("port", port["id"])
    await api.delete("security_group", group["id"])
    rules = await api.list("security-group-rules")
    assert all(rule["security_group_id"] != group["id"] for rule in rules)


@pytest.mark.parametrize(
    ("given", "status", "kind"),
    [
        ({"direction": "sideways"}, 400, None),
        ({"ethertype": "IPX"}, 400, None),
        ({"protocol": "carrier-pigeon"}, 400, None),
        ({"protocol": 256}, 400, None),
        ({"protocol": "\u0666"}, 400, None),
        ({"protocol": "tcp", "port_range_min": "8_0", "port_range_max": 80}, 400, None),
        ({"port_range_min": 80, "port_range_max": 80}, 400, "SecurityGroupProtocolRequiredWithPorts"),
        (
            {"protocol": "tcp", "port_range_min": 90, "port_range_max": 80},
            400,
            "SecurityGroupInvalidPortRange",
        ),
        ({"protocol": "tcp", "port_range_min": 90}, 400, "SecurityGroupInvalidPortRange"),
        (
            {"protocol": "tcp", "port_range_min": 0, "port_range_max": 80},
            400,
            "SecurityGroupInvalidPortValue",
        ),
        (
            {"protocol": "udp", "port_range_min": 1, "port_range_max": 65536},
            400,
            "SecurityGroupInvalidPortValue",
        ),
        ({"protocol": "icmp", "port_range_min": 256}, 400, "SecurityGroupInvalidIcmpValue"),
        ({"protocol": "icmp", "port_range_max": 0}, 400, "SecurityGroupMissingIcmpType"),
        ({"remote_ip_prefix": "2001:db8::/32"}, 400, "SecurityGroupRuleParameterConflict"),
        ({"remote_ip_prefix": "everywhere"}, 400, None),
        ({"protocol": "ipv6-icmp"}, 400, "SecurityGroupEthertypeConflictWithProtocol"),
        ({"protocol": 44}, 400, "SecurityGroupEthertypeConflictWithProtocol"),
        ({"remote_group_id": "00000000-0000-4000-8000-000000000001"}, 404, "SecurityGroupNotFound"),
        ({"security_group_id": "00000000-0000-4000-8000-000000000001"}, 404, "SecurityGroupNotFound"),
    ],
)
async def test_rule_without_meaning_is_refused(api: Door, given: dict, status: int, kind: str | None) -> None:
    group = await api.create("security_group", name="web")
    body = {"security_group_rule": {"security_group_id": group["id"], "direction": "ingress"} | given}
    refusal = await api.refused("POST", "/v2.0/security-group-rules", body, status)
    if kind:
        assert refusal["type"] == kind


async def test_number_of_a_protocol_is_kept_in_one_form(api: Door) -> None:
    group = await api.create("security_group", name="web")
    given = {"security_group_id": group["id"], "direction": "ingress", "protocol": "006"}
    assert (await api.create("security_group_rule", **given))["protocol"] == "6"


async def test_empty_remote_prefix_is_none(api: Door) -> None:
    group = await api.create("security_group", name="web")
    given = {"security_group_id": group["id"], "direction": "ingress", "remote_ip_prefix": ""}
    assert (await api.create("security_group_rule", **given))["remote_ip_prefix"] is None


async def test_rule_with_both_remotes_is_refused(api: Door) -> None:
    group = await api.create("security_group", name="web")
    rule = {"security_group_id": group["id"], "direction": "ingress", "remote_group_id": group["id"]}
    body = {"security_group_rule": rule | {"remote_ip_prefix": "10.0.0.0/8"}}
    await api.refused("POST", "/v2.0/security-group-rules", body, 400)


async def test_same_rule_twice_is_refused(api: Door) -> None:
    group = await api.create("security_group", name="web")
    rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp"}
    first = await api.create("security_group_rule", **rule)
    refusal = await api.refused(
        "POST", "/v2.0/security-group-rules", {"security_group_rule": rule | {"protocol": "6"}}, 409
    )
    assert refusal["type"] == "SecurityGroupRuleExists"
    assert first["id"] in refusal["message"]


async def test_rule_has_no_update_and_any_protocol_is_null(api: Door) -> None:
    group = await api.create("security_group", name="web")
    rule = await api.create(
        "security_group_rule", security_group_id=group["id"], direction="ingress", protocol="any"
    )
    assert rule["protocol"] is None
    path = f"/v2.0/security-group-rules/{rule['id']}"
    status, _ = await api.ask("PUT", path, {"security_group_rule": {"direction": "egress"}})
    assert status in (400, 405)
    await api.delete("security_group_rule", rule["id"])


async def test_groups_of_other_projects_do_not_exist(api: Door) -> None:
    group = await api.create("security_group", name="web", as_project="red")
    rule = {"security_group_id": group["id"], "direction": "ingress"}
    await api.refused("GET", f"/v2.0/security-groups/{group['id']}", None, 404, as_project="blue")
    await api.refused(
        "POST", "/v2.0/security-group-rules", {"security_group_rule": rule}, 404, as_project="blue"
    )


async def test_group_or_rule_that_is_not_there_is_refused_in_neutrons_words(api: Door) -> None:
    for method in ("GET", "DELETE"):
        group = await api.refused(method, "/v2.0/security-groups/none", None, 404)
        assert (group["type"], group["message"]) == (
            "SecurityGroupNotFound",
            "Security group none does not exist",
        )
        rule = await api.refused(method, "/v2.0/security-group-rules/none", None, 404)
        assert (rule["type"], rule["message"]) == (
            "SecurityGroupRuleNotFound",
            "Security group rule none does not exist",
        )


async def test_list_by_name_looks_at_no_other_group(api: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [await api.create("security_group", name=name) for name in ("web", "web", "", "mail")]

    def scanned(*_: object) -> None:
        raise AssertionError("the whole table is looked at")

    monkeypatch.setattr(Tables, "snapshot_scan", scanned)
    assert {group["id"] for group in await api.list("security-groups", name="web")} == {
        group["id"] for group in made[:2]
    }
    assert await api.list("security-groups", name="nobody") == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("security-groups", "security_group_rules"),
        ("ports", "binding:profile"),
        ("ports", "binding:vif_details"),
    ],
)
async def test_filter_on_what_holds_many_values_is_refused(api: Door, path: str, name: str) -> None:
    refusal = await api.refused("GET", f"/v2.0/{path}?{name}=x", None, 400)
    assert refusal["message"] == f"['{name}'] is invalid attribute for filtering"


async def test_admin_who_lists_the_groups_of_a_project_finds_its_default_group(api: Door) -> None:
    found = await api.list("security-groups", project_id="fresh", name="default")
    assert [group["project_id"] for group in found] == ["fresh"]
    assert await api.list("security-groups", as_project="blue", project_id="other") == []
    everybodys = {group["project_id"] for group in await api.list("security-groups")}
    assert "other" not in everybodys
