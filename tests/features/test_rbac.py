# SPDX-License-Identifier: Apache-2.0
"""RBAC policies over REST: who sees an object of another project, and what keeps a policy in place."""

import pytest

from tests.features.door import Door

OTHER = "0123456789abcdef0123456789abcdef"
THIRD = "fedcba9876543210fedcba9876543210"


async def share(api: Door, noun: str, id: str, target: str, action: str = "access_as_shared") -> dict:
    return await api.create(
        "rbac_policy", object_type=noun, object_id=id, target_tenant=target, action=action
    )


async def refused(api: Door, method: str, path: str, body: object = None, **caller: str) -> tuple[int, str]:
    status, answer = await api.ask(method, f"/v2.0/{path}", body, **caller)
    return status, answer["NeutronError"]["type"]


async def seen(api: Door, path: str, project: str) -> list[str]:
    return [each["id"] for each in await api.list(path, as_project=project)]


async def test_network_is_seen_and_used_by_the_project_that_it_is_shared_with_alone(api: Door) -> None:
    network = await api.create("network")
    await share(api, "network", network["id"], OTHER)
    assert await seen(api, "networks", OTHER) == [network["id"]]
    assert await seen(api, "networks", THIRD) == []
    status, answer = await api.ask("GET", f"/v2.0/networks/{network['id']}", as_project=OTHER)
    assert (status, answer["network"]["shared"]) == (200, True)
    assert (await api.show("network", network["id"]))["shared"] is False
    listed = await api.list("networks", as_project=OTHER, shared="True")
    assert [each["id"] for each in listed] == [network["id"]]
    assert (await api.create("port", network_id=network["id"], as_project=OTHER))["project_id"] == OTHER
    body = {"port": {"network_id": network["id"]}}
    assert await refused(api, "POST", "ports", body, as_project=THIRD) == (404, "NetworkNotFound")


async def test_policy_stays_while_its_target_uses_the_object(api: Door) -> None:
    network = await api.create("network")
    policy = await share(api, "network", network["id"], OTHER)
    port = await api.create("port", network_id=network["id"], as_project=OTHER)
    path = f"rbac-policies/{policy['id']}"
    assert await refused(api, "DELETE", path) == (409, "RbacPolicyInUse")
    for target in (THIRD, "*"):
        moved = {"rbac_policy": {"target_tenant": target}}
        assert await refused(api, "PUT", path, moved) == (409, "RbacPolicyInUse")
    await api.update("rbac_policy", policy["id"], target_tenant=OTHER)
    await api.delete("port", port["id"])
    await api.delete("rbac_policy", policy["id"])
    assert await seen(api, "networks", OTHER) == []


async def test_shared_and_the_policy_for_everybody_are_one_thing(api: Door) -> None:
    network = await api.create("network", shared=True)
    (policy,) = await api.list("rbac-policies", object_id=network["id"])
    assert (policy["target_tenant"], policy["action"]) == ("*", "access_as_shared")
    await api.delete("rbac_policy", policy["id"])
    assert (await api.show("network", network["id"]))["shared"] is False
    await share(api, "network", network["id"], "*")
    assert (await api.show("network", network["id"]))["shared"] is True
    await api.update("network", network["id"], shared=False)
    assert await api.list("rbac-policies", object_id=network["id"]) == []


async def test_revision_of_a_network_counts_who_may_use_it(api: Door) -> None:
    network = await api.create("network")
    revisions = [network["revision_number"]]

    async def note() -> None:
        revisions.append((await api.show("network", network["id"]))["revision_number"])

    policy = await share(api, "network", network["id"], OTHER)
    await note()
    await api.update("rbac_policy", policy["id"], target_tenant="*")
    await note()
    await api.delete("rbac_policy", policy["id"])
    await note()
    assert revisions == [1, 2, 3, 4]

    group = await api.create("security_group", name="g")
    await share(api, "security_group", group["id"], OTHER)
    assert (await api.show("security_group", group["id"]))["revision_number"] == group["revision_number"]


async def test_sharing_is_not_taken_from_a_project_with_ports_there(api: Door) -> None:
    network = await api.create("network", shared=True)
    await api.create("port", network_id=network["id"], as_project=OTHER)
    body = {"network": {"shared": False}}
    path = f"networks/{network['id']}"
    assert await refused(api, "PUT", path, body) == (409, "InvalidSharedSetting")
    await share(api, "network", network["id"], OTHER)
    await api.update("network", network["id"], shared=False)
    assert await seen(api, "networks", OTHER) == [network["id"]]


async def test_policies_go_with_their_object(api: Door) -> None:
    network = await api.create("network")
    await share(api, "network", network["id"], OTHER)
    await api.delete("network", network["id"])
    assert await api.list("rbac-policies") == []


@pytest.mark.parametrize(
    ("noun", "path", "given"),
    [
        ("security_group", "security-groups", {"name": "web"}),
        ("subnetpool", "subnetpools", {"name": "p", "prefixes": ["10.0.0.0/8"]}),
        ("address_scope", "address-scopes", {"name": "s", "ip_version": 4}),
        ("address_group", "address-groups", {"name": "a", "addresses": ["10.0.0.0/24"]}),
        ("qos_policy", "qos/policies", {"name": "q"}),
    ],
)
async def test_other_types_are_shared_with_one_project(api: Door, noun: str, path: str, given: dict) -> None:
    shared = await api.create("policy" if noun == "qos_policy" else noun, **given)
    assert shared["id"] not in await seen(api, path, OTHER)
    policy = await share(api, noun, shared["id"], OTHER)
    assert shared["id"] in await seen(api, path, OTHER)
    await api.delete("rbac_policy", policy["id"])
    assert shared["id"] not in await seen(api, path, OTHER)


@pytest.mark.parametrize(
    ("noun", "path", "given"),
    [
        ("subnet", "subnets", {"ip_version": 4, "cidr": "10.0.0.0/24"}),
        ("security_group", "security-groups", {"name": "web"}),
        ("subnetpool", "subnetpools", {"name": "p", "prefixes": ["10.0.0.0/8"]}),
        ("address_scope", "address-scopes", {"name": "s", "ip_version": 4}),
        ("policy", "qos/policies", {"name": "q"}),
    ],
)
async def test_what_is_shared_is_found_as_shared_by_whom_it_is_shared_with_alone(
    api: Door, noun: str, path: str, given: dict
) -> None:
    owner, shared_noun = await api.create("network"), {"subnet": "network", "policy": "qos_policy"}
    given = given | {"network_id": owner["id"]} if noun == "subnet" else given
    made = await api.create(noun, **given)
    shared_id = owner["id"] if noun == "subnet" else made["id"]

    async def is_found(flag: str, project: str = "") -> bool:
        return made["id"] in [each["id"] for each in await api.list(path, as_project=project, shared=flag)]

    assert (await is_found("False"), await is_found("True"), await is_found("True", OTHER)) == (
        True,
        False,
        False,
    )
    for_one = await share(api, shared_noun.get(noun, noun), shared_id, OTHER)
    assert (await is_found("False"), await is_found("True")) == (True, False)
    assert (await is_found("False", OTHER), await is_found("True", OTHER)) == (False, True)
    await api.update("rbac_policy", for_one["id"], target_tenant="*")
    assert (await is_found("False"), await is_found("True")) == (False, True)
    assert (await is_found("False", THIRD), await is_found("True", THIRD)) == (False, True)


async def test_group_that_is_shared_protects_ports_of_the_other_project(api: Door) -> None:
    network = await api.create("network", shared=True)
    group = await api.create("security_group", name="web")
    policy = await share(api, "security_group", group["id"], OTHER)
    port = await api.create("port", network_id=network["id"], security_groups=[group["id"]], as_project=OTHER)
    assert port["security_groups"] == [group["id"]]
    path = f"rbac-policies/{policy['id']}"
    moved = {"rbac_policy": {"target_tenant": THIRD}}
    assert await refused(api, "DELETE", path) == (409, "RbacPolicyInUse")
    assert await refused(api, "PUT", path, moved) == (409, "RbacPolicyInUse")
    await api.update("rbac_policy", policy["id"], target_tenant="*")
    assert await refused(api, "PUT", path, moved) == (409, "RbacPolicyInUse")


async def test_policies_that_make_no_sense_are_refused(api: Door) -> None:
    network = await api.create("network", as_project=OTHER)
    body = {
        "object_type": "network",
        "object_id": network["id"],
        "target_tenant": THIRD,
        "action": "access_as_shared",
    }
    path = "rbac-policies"
    assert (await refused(api, "POST", path, {"rbac_policy": body | {"object_type": "port"}}))[0] == 400
    assert (await refused(api, "POST", path, {"rbac_policy": body | {"action": "own"}}))[0] == 400
    absent = {"rbac_policy": body | {"object_id": "6ba7b810-9dad-41d1-80b4-00c04fd430c8"}}
    assert await refused(api, "POST", path, absent) == (404, "NetworkNotFound")
    to_all = {"rbac_policy": body | {"target_tenant": "*"}}
    assert (await refused(api, "POST", path, to_all, as_project=OTHER))[0] == 403
    assert (await refused(api, "POST", path, {"rbac_policy": body}, as_project=THIRD))[0] == 404
    assert (await refused(api, "POST", path, {"rbac_policy": body | {"target_tenant": " "}}))[0] == 400
    await share(api, "network", network["id"], THIRD)
    assert await refused(api, "POST", path, {"rbac_policy": body}) == (409, "DuplicateRbacPolicy")


async def test_policies_have_no_more_fields_than_in_neutron(api: Door) -> None:
    network = await api.create("network")
    policy = await share(api, "network", network["id"], OTHER)
    known = {"id", "project_id", "tenant_id", "object_type", "object_id", "target_tenant", "action"}
    assert policy.keys() == known
    body = {"rbac_policy": {"description": "why"}}
    assert (await refused(api, "PUT", f"rbac-policies/{policy['id']}", body))[0] == 400


async def test_pool_is_shared_only_with_who_sees_its_address_scope(api: Door) -> None:
    scope = await api.create("address_scope", name="s", ip_version=4)
    pool = await api.create("subnetpool", name="p", prefixes=["10.0.0.0/8"], address_scope_id=scope["id"])
    body = {
        "rbac_policy": {
            "object_type": "subnetpool",
            "object_id": pool["id"],
            "target_tenant": OTHER,
            "action": "access_as_shared",
        }
    }
    assert await refused(api, "POST", "rbac-policies", body) == (400, "InvalidInput")
    await share(api, "address_scope", scope["id"], OTHER)
    await share(api, "subnetpool", pool["id"], OTHER)
    assert await seen(api, "subnetpools", OTHER) == [pool["id"]]


async def test_network_is_external_while_any_policy_makes_it_so_and_only_those_projects_see_it(
    api: Door,
) -> None:
    network = await api.create("network")
    for_other = await share(api, "network", network["id"], OTHER, "access_as_external")
    assert (await api.show("network", network["id"]))["router:external"] is True
    assert await seen(api, "networks", OTHER) == [network["id"]]
    assert await seen(api, "networks", THIRD) == []
    for_third = await share(api, "network", network["id"], THIRD, "access_as_external")
    await api.delete("rbac_policy", for_other["id"])
    assert (await api.show("network", network["id"]))["router:external"] is True
    assert await seen(api, "networks", OTHER) == []
    await api.update("rbac_policy", for_third["id"], target_tenant=OTHER)
    assert await seen(api, "networks", OTHER) == [network["id"]]
    await api.update("network", network["id"], **{"router:external": False})
    assert await api.list("rbac-policies", object_id=network["id"]) == []


async def test_subnets_of_an_external_network_are_seen_as_the_network_is(api: Door) -> None:
    network = await api.create("network")
    subnet = await api.create("subnet", network_id=network["id"], ip_version=4, cidr="192.0.2.0/24")
    await share(api, "network", network["id"], OTHER, "access_as_external")
    assert await seen(api, "subnets", OTHER) == [subnet["id"]]
    assert await seen(api, "subnets", THIRD) == []


async def test_there_is_one_default_external_network_and_everybody_sees_it(api: Door) -> None:
    inside = await api.create("network", is_default=True)
    assert inside["is_default"] is False
    outside = await api.create("network", **{"router:external": True, "is_default": True})
    assert outside["is_default"] is True
    (policy,) = await api.list("rbac-policies", object_id=outside["id"])
    path = f"rbac-policies/{policy['id']}"
    assert await refused(api, "DELETE", path) == (409, "RbacPolicyInUse")
    moved = {"rbac_policy": {"target_tenant": THIRD}}
    assert await refused(api, "PUT", path, moved) == (409, "RbacPolicyInUse")
    second = {"network": {"router:external": True, "is_default": True}}
    assert await refused(api, "POST", "networks", second) == (409, "DefaultExternalNetworkExists")
    found = await api.update("network", outside["id"], **{"router:external": False})
    assert found["is_default"] is False


async def test_what_is_everybodys_stays_so_while_even_its_owner_uses_it(api: Door) -> None:
    policy = await api.create("policy", shared=True)
    network = await api.create("network", qos_policy_id=policy["id"])
    body = {"policy": {"shared": False}}
    assert await refused(api, "PUT", f"qos/policies/{policy['id']}", body) == (409, "RbacPolicyInUse")
    await api.delete("network", network["id"])
    assert (await api.update("policy", policy["id"], shared=False))["shared"] is False


async def test_change_of_an_address_group_that_is_only_shared_is_not_found(api: Door) -> None:
    group = await api.create("address_group", addresses=["192.0.2.0/24"])
    await share(api, "address_group", group["id"], OTHER)
    path, body = f"address-groups/{group['id']}", {"address_group": {"name": "mine"}}
    assert await refused(api, "PUT", path, body, as_project=OTHER) == (404, "AddressGroupNotFound")
    assert await refused(api, "DELETE", path, as_project=OTHER) == (403, "PolicyNotAuthorized")
    reader = {"X-Project-Id": group["project_id"], "X-Roles": "reader"}
    status, answer = await api.ask("PUT", f"/v2.0/{path}", body, headers=reader)
    assert (status, answer["NeutronError"]["type"]) == (403, "PolicyNotAuthorized"), "its own project's"


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [({"action": "access_as_friend"}, "InvalidActionForType"), ({"target_tenant": ""}, "InvalidInput")],
)
async def test_what_no_policy_can_say_is_refused_with_neutrons_type(
    api: Door, wrong: dict[str, str], kind: str
) -> None:
    network = await api.create("network")
    given = {
        "object_type": "network",
        "object_id": network["id"],
        "action": "access_as_shared",
        "target_tenant": "q",
    }
    error = await api.refused("POST", "/v2.0/rbac-policies", {"rbac_policy": given | wrong}, 400)
    assert error["type"] == kind
