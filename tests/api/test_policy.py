# SPDX-License-Identifier: Apache-2.0
"""Roles and projects: who sees and changes what, and how the rest is refused."""

from pathlib import Path

import pytest

from tests.api.world import Api


async def test_projects_do_not_see_each_other(api: Api):
    mine = await api.make("network", name="mine", project="p1", roles="member")
    url = f"networks/{mine['id']}"
    assert await api.names("networks", project="p2", roles="member") == []
    for method, body in (("GET", None), ("PUT", {"network": {"name": "x"}}), ("DELETE", None)):
        refused = await api.refusal(method, url, body, project="p2", roles="member")
        assert refused[:2] == (404, "NetworkNotFound")
    assert await api.names("networks", project="p1", roles="reader") == ["mine"]
    assert await api.names("networks") == ["mine"], "an admin sees every project"


async def test_reader_reads_and_may_not_write(api: Api):
    network = await api.make("network", project="p1", roles="member")
    url = f"networks/{network['id']}"
    assert (await api.get(url, project="p1", roles="reader")).status_code == 200
    for method, path, body, rule in (
        ("POST", "networks", {"network": {}}, "create_network"),
        ("PUT", url, {"network": {"name": "x"}}, "update_network"),
        ("DELETE", url, None, "delete_network"),
    ):
        assert await api.refusal(method, path, body, project="p1", roles="reader") == (
            403,
            "PolicyNotAuthorized",
            f"rule:{rule} is disallowed by policy",
        )


async def test_caller_without_a_known_role_sees_nothing(api: Api):
    network = await api.make("network", project="p1", roles="member")
    assert await api.names("networks", project="p1", roles="stranger") == []
    assert (await api.get(f"networks/{network['id']}", project="p1", roles="stranger")).status_code == 404


async def test_caller_who_names_nothing_is_admin_in_the_default_project(api: Api):
    mine = await api.make("network")
    theirs = await api.make("network", project="p1", roles="member")
    assert theirs["project_id"] == "p1" != mine["project_id"]
    assert len(await api.names("networks")) == 2


async def test_caller_who_names_only_its_project_is_a_member_of_it(api: Api):
    theirs = await api.make("network")
    assert (await api.get(f"networks/{theirs['id']}", project="p1")).status_code == 404
    await api.make("network", project="p1")


async def test_claim_of_absurd_length_is_401(api: Api):
    answer = await api.get("networks", project="p" * 256)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Keystone")
    assert await api.names("networks", project="p" * 255) == []


async def test_roles_are_read_in_any_case_and_admin_wins(api: Api):
    await api.make("network", name="n", project="p1")
    assert await api.names("networks", project="p2", roles="reader, Admin") == ["n"]


async def test_admin_only_attribute_is_refused_to_others_unless_it_is_the_default(api: Api):
    refused = await api.refusal(
        "POST", "networks", {"network": {"shared": True}}, project="p1", roles="member"
    )
    assert refused == (
        403,
        "PolicyNotAuthorized",
        "(rule:create_network and rule:create_network:shared) is disallowed by policy",
    )
    network = await api.make("network", shared=False, project="p1", roles="member")
    for value in (True, False):
        refused = await api.refusal(
            "PUT", f"networks/{network['id']}", {"network": {"shared": value}}, project="p1", roles="member"
        )
        assert refused == (
            403,
            "PolicyNotAuthorized",
            "(rule:update_network and rule:update_network:shared) is disallowed by policy",
        )


async def test_admin_only_attributes_are_shown_to_admins_only(api: Api):
    network = await api.make("network", project="p1", roles="member")
    port = await api.make("port", network_id=network["id"], project="p1", roles="member")
    assert not [name for name in network if name.startswith("provider:")]
    assert set(port) & {"binding:host_id", "binding:profile", "binding:vif_type", "binding:vnic_type"} == {
        "binding:vnic_type"
    }
    as_admin = (await api.get(f"ports/{port['id']}")).json()["port"]
    assert {"binding:host_id", "binding:profile", "binding:vif_type"} <= set(as_admin)


async def test_nobody_learns_of_others_by_a_filter_what_it_may_not_see(api: Api):
    network = await api.make("network", shared=True, project="p1", roles="admin")
    seen = (await api.get(f"networks/{network['id']}")).json()["network"]
    query = f"networks?provider:segmentation_id={seen['provider:segmentation_id']}"
    assert len(await api.names(query)) == 1
    assert len(await api.names("networks", project="p2", roles="member")) == 1
    assert await api.names(query, project="p2", roles="member") == []
    assert len(await api.names(query, project="p1", roles="member")) == 1, "its own, as in Neutron"


async def test_nobody_learns_by_a_filter_what_a_rule_of_the_operator_shows_to_owners_only(
    api: Api, tmp_path: Path
):
    network = await api.make("network", shared=True, project="p1", roles="admin")
    seen = (await api.get(f"networks/{network['id']}")).json()["network"]
    file = tmp_path / "policy.yaml"
    file.write_text(
        '"get_network:provider:segmentation_id": "rule:owner"\n"get_network:tags": "rule:owner"\n'
    )
    api.app.parts.engine.policy.use(file)
    await api.call("PUT", f"networks/{network['id']}/tags", {"tags": ["gold"]})
    for query in (
        f"provider:segmentation_id={seen['provider:segmentation_id']}",
        "tags-any=gold",
        "not-tags=x",
    ):
        assert await api.names(f"networks?{query}", project="p2", roles="member") == [], query
        assert len(await api.names(f"networks?{query}", project="p1", roles="member")) == 1, query


async def test_who_may_share_with_everybody_is_the_operators_to_say(api: Api, tmp_path: Path):
    network = await api.make("network", project="p1", roles="member")
    wish = {"object_type": "network", "object_id": network["id"], "action": "access_as_shared"}
    everybody, other = ({"rbac_policy": wish | {"target_tenant": target}} for target in ("*", "p2"))
    mine = {"project": "p1", "roles": "member"}
    made = (await api.call("POST", "rbac-policies", other, **mine)).json()["rbac_policy"]
    url, change = f"rbac-policies/{made['id']}", {"rbac_policy": {"target_tenant": "*"}}
    for method, path, body in (("POST", "rbac-policies", everybody), ("PUT", url, change)):
        assert (await api.refusal(method, path, body, **mine))[:2] == (403, "PolicyNotAuthorized")

    file = tmp_path / "policy.yaml"
    file.write_text(
        '"create_rbac_policy:target_tenant": "role:member"\n"update_rbac_policy:target_tenant": "role:member"\n'
    )
    api.app.parts.engine.policy.use(file)
    assert (await api.call("PUT", url, change, **mine)).status_code == 200
    assert (await api.call("DELETE", url, **mine)).status_code == 204
    assert (await api.call("POST", "rbac-policies", everybody, **mine)).status_code == 201


async def test_on_anothers_network_policy_alone_says_what_a_port_may_be_given(api: Api, tmp_path: Path):
    network = await api.make("network", shared=True, project="p1", roles="admin")
    subnet = {"network_id": network["id"], "cidr": "10.0.0.0/24", "ip_version": 4}
    await api.make("subnet", **subnet, project="p1", roles="member")
    wishes = (
        {"mac_address": "fa:16:3e:00:00:09"},
        {"fixed_ips": [{"ip_address": "10.0.0.9"}]},
        {"allowed_address_pairs": [{"ip_address": "10.0.0.99"}]},
        {"device_owner": "network:router_gateway"},
    )
    for wish in wishes:
        body = {"port": {"network_id": network["id"], **wish}}
        refused = await api.refusal("POST", "ports", body, project="p2", roles="member")
        assert refused[:2] == (403, "PolicyNotAuthorized"), wish
        assert (await api.call("POST", "ports", body, project="p3", roles="service")).status_code == 201, wish

    port = await api.make("port", network_id=network["id"], project="p1", roles="member")
    url, other_mac = f"ports/{port['id']}", {"port": {"mac_address": "fa:16:3e:00:00:aa"}}
    refused = await api.refusal("PUT", url, other_mac, project="p1", roles="member")
    assert refused[:2] == (403, "PolicyNotAuthorized")
    assert (await api.call("PUT", url, other_mac, project="p1", roles="manager,member")).status_code == 200

    file = tmp_path / "policy.yaml"
    file.write_text(
        '"create_port:fixed_ips:ip_address": "role:member"\n"create_subnet": "role:member"\n'
        '"update_port:mac_address": "role:member"\n'
    )
    api.app.parts.engine.policy.use(file)
    wish = {"fixed_ips": [{"ip_address": "10.0.0.77"}]}
    await api.make("port", network_id=network["id"], **wish, project="p2", roles="member")
    await api.make("subnet", **subnet | {"cidr": "10.1.0.0/24"}, project="p2", roles="member")
    assert (await api.call("PUT", url, other_mac, project="p1", roles="member")).status_code == 200


async def test_shared_network_is_seen_by_all_and_changed_by_its_owner_only(api: Api):
    shared = await api.make("network", name="open", shared=True)
    url = f"networks/{shared['id']}"
    assert await api.names("networks", project="p2", roles="reader") == ["open"]
    assert (await api.get(url, project="p2", roles="reader")).json()["network"]["shared"] is True
    for method, body in (("PUT", {"network": {"name": "x"}}), ("DELETE", None)):
        refused = await api.refusal(method, url, body, project="p2", roles="member")
        assert refused[:2] == (403, "PolicyNotAuthorized")


@pytest.mark.parametrize("roles", ["member", "reader"])
async def test_admin_only_noun_is_hidden_from_others(api: Api, roles: str):
    assert (await api.get("agents", project="p1", roles=roles)).json() == {"agents": []}
    refused = await api.refusal(
        "PUT", "agents/x", {"agent": {"admin_state_up": False}}, project="p1", roles=roles
    )
    assert refused[0] == 404


async def test_first_list_of_a_project_shows_its_default_group_and_later_ones_write_nothing(api: Api):
    assert await api.names("security-groups", project="p9", roles="member") == ["default"]
    revision = api.store.tables.revision
    assert await api.names("security-groups", project="p9", roles="reader") == ["default"]
    assert api.store.tables.revision == revision


async def test_rules_inside_a_group_are_answered_as_the_rules_themselves_are(api: Api):
    group = await api.make("security_group", name="web")
    rules = (await api.get(f"security-group-rules?security_group_id={group['id']}")).json()
    inside = sorted(group["security_group_rules"], key=lambda rule: rule["id"])
    assert inside == sorted(rules["security_group_rules"], key=lambda rule: rule["id"])
    assert "number" not in inside[0]
