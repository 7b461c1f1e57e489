# SPDX-License-Identifier: Apache-2.0
"""Stateless groups, address groups, templates and defaults of security groups over REST."""

import asyncio
from pathlib import Path

import pytest

from tests.features.door import Door, open_door


async def a_rule(api: Door, group: dict, **given: object) -> dict:
    return await api.create(
        "security_group_rule", security_group_id=group["id"], **{"direction": "ingress"} | given
    )


async def refused_rule(api: Door, group: dict, status: int, **given: object) -> dict[str, str]:
    body = {"security_group_rule": {"security_group_id": group["id"], "direction": "ingress"} | given}
    return await api.refused("POST", "/v2.0/security-group-rules", body, status)


async def test_rule_made_or_deleted_makes_the_next_revision_of_its_group(api: Door) -> None:
    group = await api.create("security_group", name="web")
    rule = await a_rule(api, group)
    with_rule = await api.show("security_group", group["id"])
    assert with_rule["revision_number"] > group["revision_number"]
    await api.delete("security_group_rule", rule["id"])
    assert (await api.show("security_group", group["id"]))["revision_number"] > with_rule["revision_number"]


async def test_owner_of_a_group_sees_and_deletes_what_an_admin_put_there(api: Door) -> None:
    group = await api.create("security_group", name="web", as_project="red")
    rule = await a_rule(api, group, project_id="operators")
    assert rule["project_id"] == "operators"
    listed = await api.list("security-group-rules", as_project="red")
    assert rule["id"] in {each["id"] for each in listed}
    assert rule["id"] not in {
        each["id"] for each in await api.list("security-group-rules", as_project="blue")
    }
    path = f"/v2.0/security-group-rules/{rule['id']}"
    await api.refused("DELETE", path, None, 404, as_project="blue")
    status, _ = await api.ask("DELETE", path, as_project="red")
    assert status == 204


@pytest.mark.parametrize("port", [-16, 65536, "x", ""])
async def test_value_that_is_no_port_is_refused_in_neutrons_words(api: Door, port: object) -> None:
    group = await api.create("security_group", name="web")
    refusal = await refused_rule(api, group, 400, protocol="tcp", port_range_min=port, port_range_max=80)
    assert refusal["type"] == "SecurityGroupInvalidPortValue"
    assert refusal["message"] == f"Invalid value for port {port}"


async def test_rule_is_kept_in_neutrons_form(api: Door) -> None:
    group = await api.create("security_group", name="web")
    icmp = await a_rule(api, group, ethertype="ipv6", protocol="ICMP")
    assert (icmp["ethertype"], icmp["protocol"]) == ("IPv6", "ipv6-icmp")
    full = await a_rule(api, group, protocol="tcp", port_range_min=1, port_range_max=65535)
    assert (full["port_range_min"], full["port_range_max"]) == (None, None)
    near = await a_rule(api, group, remote_ip_prefix="10.0.0.7/24")
    assert (near["remote_ip_prefix"], near["normalized_cidr"]) == ("10.0.0.7/24", "10.0.0.0/24")
    one = await a_rule(api, group, remote_ip_prefix="10.0.0.7")
    assert (one["remote_ip_prefix"], one["normalized_cidr"]) == ("10.0.0.7/32", "10.0.0.7/32")
    assert icmp["normalized_cidr"] is None
    found = await api.list("security-group-rules", normalized_cidr="10.0.0.0/24")
    assert [rule["id"] for rule in found] == [near["id"]]
    assert (await refused_rule(api, group, 409, protocol="tcp"))["type"] == "SecurityGroupRuleExists"


@pytest.mark.parametrize("remote", ["remote_group_id", "remote_address_group_id"])
async def test_empty_id_of_a_remote_names_none(api: Door, remote: str) -> None:
    group = await api.create("security_group", name="web")
    rule = await a_rule(api, group, protocol="tcp", **{remote: ""})
    assert rule[remote] is None
    assert (await refused_rule(api, group, 409, protocol="tcp"))["type"] == "SecurityGroupRuleExists"
    await refused_rule(api, group, 400, protocol="udp", **{remote: 5})


async def test_rules_of_default_groups_are_told_apart(api: Door) -> None:
    group = await api.create("security_group", name="web", as_project="red")
    rules = await api.list("security-group-rules", as_project="red", belongs_to_default_sg="True")
    assert len(rules) == 4
    assert group["id"] not in {rule["security_group_id"] for rule in rules}
    assert all(rule["belongs_to_default_sg"] is False for rule in group["security_group_rules"])


async def test_group_in_use_stays_stateful_and_free_ones_change(api: Door, net: dict) -> None:
    group = await api.create("security_group", name="web")
    assert (group["stateful"], group["shared"]) == (True, False)
    assert (await api.update("security_group", group["id"], stateful=False))["stateful"] is False
    port = await api.create("port", network_id=net["id"], security_groups=[group["id"]])
    path = f"/v2.0/security-groups/{group['id']}"
    refusal = await api.refused("PUT", path, {"security_group": {"stateful": True}}, 409)
    assert refusal["type"] == "SecurityGroupInUse"
    assert (await api.update("security_group", group["id"], stateful=False, name="x"))["name"] == "x"
    await api.delete("port", port["id"])
    assert (await api.update("security_group", group["id"], stateful="True"))["stateful"] is True
    assert group["id"] in {each["id"] for each in await api.list("security-groups", stateful="True")}


async def test_port_has_stateful_or_stateless_groups_and_not_both(api: Door, net: dict) -> None:
    groups = [await api.create("security_group", stateful=stateful) for stateful in (True, False)]
    ids = [group["id"] for group in groups]
    body = {"port": {"network_id": net["id"], "security_groups": ids}}
    refusal = await api.refused("POST", "/v2.0/ports", body, 409)
    assert refusal["type"] == "SecurityGroupConflict"
    assert "stateful and stateless" in refusal["message"]
    port = await api.create("port", network_id=net["id"], security_groups=ids[:1])
    await api.refused("PUT", f"/v2.0/ports/{port['id']}", {"port": {"security_groups": ids}}, 409)
    changed = await api.update("port", port["id"], security_groups=ids[1:])
    assert changed["security_groups"] == ids[1:]


async def test_address_group_takes_and_gives_up_addresses(api: Door) -> None:
    group = await api.create("address_group", name="near", addresses=["10.0.0.7/24", "fd00::/64"])
    assert group["addresses"] == ["10.0.0.0/24", "fd00::/64"]
    path = f"/v2.0/address-groups/{group['id']}"
    status, answer = await api.ask("PUT", f"{path}/add_addresses", {"addresses": ["192.0.2.1/32"]})
    assert status == 200
    assert answer["address_group"]["addresses"] == ["10.0.0.0/24", "192.0.2.1/32", "fd00::/64"]
    assert answer["address_group"] == await api.show("address_group", group["id"])
    refusal = await api.refused("PUT", f"{path}/add_addresses", {"addresses": ["192.0.2.1/32"]}, 400)
    assert refusal["type"] == "AddressesAlreadyExist"
    refusal = await api.refused("PUT", f"{path}/remove_addresses", {"addresses": ["192.0.2.2/32"]}, 404)
    assert refusal["type"] == "AddressesNotFound"
    status, answer = await api.ask("PUT", f"{path}/remove_addresses", {"addresses": ["10.0.0.9/24"]})
    assert answer["address_group"]["addresses"] == ["192.0.2.1/32", "fd00::/64"]
    await api.update("address_group", group["id"], name="far")
    await api.refused("PUT", path, {"address_group": {"addresses": []}}, 400)
    for wrong in ("10.0.0.1", "everywhere/8", 5):
        await api.refused("POST", "/v2.0/address-groups", {"address_group": {"addresses": [wrong]}}, 400)
        await api.refused("PUT", f"{path}/add_addresses", {"addresses": [f"{wrong}!"]}, 400)
    status, answer = await api.ask("PUT", f"{path}/add_addresses", {"addresses": ["10.0.0.1"]})
    assert (status, answer["address_group"]["addresses"][0]) == (200, "10.0.0.1/32")
    refusal = await api.refused("PUT", f"{path}/remove_addresses", {"addresses": ["10.0.0.2"]}, 404)
    assert refusal["type"] == "AddressesNotFound"
    missing = await api.refused("GET", "/v2.0/address-groups/none", None, 404)
    assert missing["type"] == "AddressGroupNotFound"


async def test_address_group_that_a_rule_names_stays(api: Door) -> None:
    group = await api.create("security_group", name="web")
    near = await api.create("address_group", name="near")
    rule = await a_rule(api, group, remote_address_group_id=near["id"])
    assert rule["remote_address_group_id"] == near["id"]
    refusal = await api.refused("DELETE", f"/v2.0/address-groups/{near['id']}", None, 409)
    assert refusal["type"] == "AddressGroupInUse"
    refusal = await refused_rule(
        api, group, 400, remote_address_group_id=near["id"], remote_group_id=group["id"]
    )
    assert refusal["type"] == "SecurityGroupMultipleRemoteEntites"
    found = await api.list("security-group-rules", remote_address_group_id=near["id"])
    assert [each["id"] for each in found] == [rule["id"]]
    await api.delete("security_group_rule", rule["id"])
    await api.delete("address_group", near["id"])


async def test_rule_names_no_address_group_of_another_project(api: Door) -> None:
    near = await api.create("address_group", name="near", as_project="red")
    group = await api.create("security_group", name="web", as_project="blue")
    rule = {
        "security_group_id": group["id"],
        "direction": "ingress",
        "remote_address_group_id": near["id"],
    }
    refusal = await api.refused(
        "POST", "/v2.0/security-group-rules", {"security_group_rule": rule}, 404, as_project="blue"
    )
    assert refusal["type"] == "AddressGroupNotFound"


async def test_new_groups_get_the_rules_of_their_templates(api: Door) -> None:
    templates = await api.list("default-security-group-rules", as_project="red")
    assert len(templates) == 4
    made = await api.create(
        "default_security_group_rule",
        direction="ingress",
        protocol="tcp",
        port_range_min=22,
        port_range_max=22,
        remote_group_id="PARENT",
        used_in_default_sg=True,
        used_in_non_default_sg=True,
    )
    body = {key: value for key, value in made.items() if key in {"direction", "protocol", "remote_group_id"}}
    body |= {"port_range_min": 22, "port_range_max": 22}
    body |= {"used_in_default_sg": False, "used_in_non_default_sg": True}
    refusal = await api.refused(
        "POST", "/v2.0/default-security-group-rules", {"default_security_group_rule": body}, 409
    )
    assert refusal["type"] == "DefaultSecurityGroupRuleExists"
    for template in templates:
        await api.delete("default_security_group_rule", template["id"])

    web = await api.create("security_group", name="web", as_project="blue")
    groups = await api.list("security-groups", as_project="blue")
    assert len(groups) == 2
    for group in (web, *groups):
        [rule] = group["security_group_rules"]
        assert (rule["port_range_min"], rule["remote_group_id"]) == (22, group["id"])


async def test_templates_are_for_admins_to_make(api: Door) -> None:
    body = {"direction": "egress", "used_in_default_sg": True, "used_in_non_default_sg": False}
    path = "/v2.0/default-security-group-rules"
    await api.refused("POST", path, {"default_security_group_rule": body}, 403, as_project="red")
    [first, *_] = await api.list("default-security-group-rules")
    await api.refused("DELETE", f"{path}/{first['id']}", None, 403, as_project="red")
    await api.refused("POST", path, {"default_security_group_rule": {"direction": "egress"}}, 400)


async def test_new_groups_are_stateful_or_not_as_their_project_has_it(api: Door) -> None:
    noun = "security_groups_default_statefulness"
    everywhere = await api.create(noun, project_id=None, stateful=False)
    assert set(everywhere) == {"id", "project_id", "tenant_id", "stateful"}
    assert everywhere["project_id"] is None
    [default] = await api.list("security-groups", as_project="red")
    assert default["stateful"] is False
    mine = await api.create(noun, project_id="blue", stateful=True)
    assert (await api.create("security_group", as_project="blue"))["stateful"] is True
    path = "/v2.0/security-groups-default-statefulness"
    refusal = await api.refused("POST", path, {noun: {"project_id": "blue"}}, 409)
    assert refusal["type"] == "SecurityGroupDefaultStatefulnessAlreadyExists"
    await api.refused("POST", path, {noun: {"stateful": False}}, 403, as_project="green")
    assert (await api.update(noun, mine["id"], stateful=False))["stateful"] is False
    assert (await api.create("security_group", as_project="blue"))["stateful"] is False
    assert (await api.create("security_group", as_project="blue", stateful=True))["stateful"] is True
    await api.delete(noun, mine["id"])
    await api.delete(noun, everywhere["id"])
    assert (await api.create("security_group", as_project="blue"))["stateful"] is True


@pytest.mark.parametrize("name", ["default", "Default"])
async def test_no_second_group_is_called_default(api: Door, name: str) -> None:
    refusal = await api.refused("POST", "/v2.0/security-groups", {"security_group": {"name": name}}, 409)
    assert refusal["type"] == "SecurityGroupDefaultAlreadyExists"


async def test_group_needs_room_for_its_first_rules(tmp_path: Path) -> None:
    async with open_door(tmp_path, quota_security_group_rule=5) as api:
        await api.list("security-groups", as_project="red")
        body = {"security_group": {"name": "web"}}
        refusal = await api.refused("POST", "/v2.0/security-groups", body, 409, as_project="red")
        assert refusal["type"] == "OverQuota"


async def test_many_first_requests_of_a_project_make_one_default_group(tmp_path: Path) -> None:
    """Of every kind that needs the group, at two control planes on one log."""
    async with open_door(tmp_path) as one, open_door(tmp_path) as two:
        network = await one.create("network", name="net", shared=True)
        asked = []
        for number in range(30):
            door = (one, two)[number % 2]
            asked += [
                door.list("security-groups", as_project="new"),
                door.list("security-group-rules", as_project="new"),
                door.create("port", network_id=network["id"], as_project="new"),
                door.ask("POST", "/v2.0/security-groups", {"security_group": {}}, as_project="new"),
            ]
        answers = await asyncio.gather(*asked)
        ports = [answer for answer in answers if isinstance(answer, dict)]
        [default] = await one.list("security-groups", as_project="new", name="default")
        assert len(ports) == 30
        assert {tuple(port["security_groups"]) for port in ports} == {(default["id"],)}
        assert len(default["security_group_rules"]) == 4
        assert [default] == await two.list("security-groups", as_project="new", name="default")


async def test_shared_groups_are_found_by_that(api: Door) -> None:
    group = await api.create("security_group", name="web", as_project="red")
    await api.create("security_group", name="own", as_project="blue")
    sharing = {"object_type": "security_group", "object_id": group["id"], "action": "access_as_shared"}
    await api.create("rbac_policy", **sharing, target_tenant="blue")
    shared = await api.list("security-groups", as_project="blue", shared="True")
    assert [(each["id"], each["shared"]) for each in shared] == [(group["id"], True)]
    others = await api.list("security-groups", as_project="blue", shared="False")
    assert {each["name"] for each in others} == {"default", "own"}


async def bulk(api: Door, *rules: dict, as_project: str = "") -> tuple[int, dict]:
    bodies = [{"direction": "ingress"} | rule for rule in rules]
    return await api.ask(
        "POST", "/v2.0/security-group-rules", {"security_group_rules": bodies}, as_project=as_project
    )


async def test_rules_of_one_request_are_all_made_or_none(api: Door) -> None:
    group = await api.create("security_group", name="web")
    kept = await a_rule(api, group, protocol="udp")
    revision = (await api.show("security_group", group["id"]))["revision_number"]
    given = {"security_group_id": group["id"]}

    refusals = []
    for rules in (
        [{"protocol": "tcp"}, {"protocol": "6"}],
        [{"ethertype": "IPv6", "protocol": "icmp"}, {"ethertype": "IPv6", "protocol": "icmpv6"}],
        [{"protocol": "tcp"}, {"protocol": "udp"}],
        [{"protocol": "tcp"}, {"remote_group_id": "9d8c12ad-6c0c-4f1c-a0c5-4ca33ac2cf7c"}],
        [{"protocol": "tcp"}, {"remote_address_group_id": "9d8c12ad-6c0c-4f1c-a0c5-4ca33ac2cf7c"}],
        [{"protocol": "tcp"}, {"port_range_min": 1}],
    ):
        status, answer = await bulk(api, *(given | rule for rule in rules))
        refusals.append((status, answer["NeutronError"]["type"]))
    assert refusals == [
        (409, "DuplicateSecurityGroupRuleInPost"),
        (409, "DuplicateSecurityGroupRuleInPost"),
        (409, "SecurityGroupRuleExists"),
        (404, "SecurityGroupNotFound"),
        (404, "AddressGroupNotFound"),
        (400, "SecurityGroupProtocolRequiredWithPorts"),
    ]
    shown = await api.show("security_group", group["id"])
    assert shown["revision_number"] == revision
    assert kept["id"] in {rule["id"] for rule in shown["security_group_rules"]}
    assert len(shown["security_group_rules"]) == 3

    status, answer = await bulk(api, *(given | {"protocol": name} for name in ("tcp", "sctp")))
    assert (status, [rule["protocol"] for rule in answer["security_group_rules"]]) == (201, ["tcp", "sctp"])


async def test_rules_of_one_request_are_of_one_group_and_one_project(api: Door) -> None:
    one, other = [await api.create("security_group", name=name) for name in ("one", "other")]
    status, answer = await bulk(api, {"security_group_id": one["id"]}, {"security_group_id": other["id"]})
    assert (status, answer["NeutronError"]["type"]) == (400, "SecurityGroupNotSingleGroupRules")
    given = {"security_group_id": one["id"]}
    status, answer = await bulk(api, given | {"project_id": "red"}, given | {"project_id": "blue"})
    assert (status, answer["NeutronError"]["type"]) == (400, "SecurityGroupRulesNotSingleProject")
    assert len(await api.list("security-group-rules", security_group_id=one["id"])) == 2


async def test_rules_of_one_request_count_for_the_quota_together(tmp_path: Path) -> None:
    async with open_door(tmp_path, quota_security_group_rule=8) as api:
        group = await api.create(
            "security_group", name="web", as_project="red"
        )  # 4 of its default group, 2 its own
        given = [{"security_group_id": group["id"], "protocol": name} for name in ("tcp", "udp", "sctp")]
        status, answer = await bulk(api, *given, as_project="red")
        assert (status, answer["NeutronError"]["type"]) == (409, "OverQuota")
        status, answer = await bulk(api, *given[:2], as_project="red")
        assert (status, len(answer["security_group_rules"])) == (201, 2)


async def test_rules_for_a_group_of_others_are_refused_together(api: Door) -> None:
    group = await api.create("security_group", name="web", as_project="red")
    rules = [{"security_group_id": group["id"], "protocol": name} for name in ("tcp", "udp")]
    status, answer = await bulk(api, *rules, as_project="blue")
    assert (status, answer["NeutronError"]["type"]) == (404, "SecurityGroupNotFound")
