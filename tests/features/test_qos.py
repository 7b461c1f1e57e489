# SPDX-License-Identifier: Apache-2.0
"""Quality of service over REST: policies, their rules, who may have which, what a port asks of placement."""

from typing import Any
from uuid import UUID, uuid5

import pytest

from tests.features.door import Door

ABSENT = "00000000-0000-4000-8000-000000000001"
RULES = {
    "bandwidth_limit": {"max_kbps": 1000, "max_burst_kbps": 0, "direction": "egress"},
    "dscp_marking": {"dscp_mark": 26},
    "minimum_bandwidth": {"min_kbps": 500, "direction": "egress"},
    "packet_rate_limit": {"max_kpps": 10, "max_burst_kpps": 0, "direction": "egress"},
    "minimum_packet_rate": {"min_kpps": 5, "direction": "egress"},
}


async def policy(api: Door, **given: Any) -> dict[str, Any]:
    return await api.create("policy", **given)


async def rule(api: Door, policy_id: str, kind: str, **given: Any) -> dict[str, Any]:
    status, answer = await api.ask("POST", f"{under(policy_id, kind)}", {f"{kind}_rule": given})
    assert status == 201, answer
    return dict(answer[f"{kind}_rule"])


def under(policy_id: str, kind: str) -> str:
    return f"/v2.0/qos/policies/{policy_id}/{kind}_rules"


async def test_a_policy_gets_neutrons_defaults(api: Door) -> None:
    made = await policy(api, name="gold")
    assert made["name"] == "gold"
    assert (made["shared"], made["is_default"], made["rules"], made["description"]) == (False, False, [], "")
    assert made["project_id"] == made["tenant_id"]
    assert await api.show("policy", made["id"]) == made
    assert [one["id"] for one in await api.list("qos/policies", name="gold")] == [made["id"]]


@pytest.mark.parametrize("kind", RULES)
async def test_a_rule_is_made_shown_listed_changed_and_deleted_under_its_policy(api: Door, kind: str) -> None:
    made = await policy(api)
    first = next(iter(RULES[kind]))
    one = await rule(api, made["id"], kind, **{first: RULES[kind][first]})
    assert one == {"id": one["id"], **RULES[kind]}
    url = f"{under(made['id'], kind)}/{one['id']}"
    assert await api.ask("GET", url) == (200, {f"{kind}_rule": one})
    assert await api.ask("GET", under(made["id"], kind)) == (200, {f"{kind}_rules": [one]})
    shown = await api.show("policy", made["id"])
    assert shown["rules"] == [{**one, "qos_policy_id": made["id"], "type": kind}]
    assert shown["revision_number"] == made["revision_number"] + 1

    status, answer = await api.ask("PUT", url, {f"{kind}_rule": {first: 14}})
    assert (status, answer[f"{kind}_rule"][first]) == (200, 14)
    assert await api.ask("DELETE", url) == (204, None)
    assert (await api.show("policy", made["id"]))["rules"] == []
    assert (await api.refused("GET", url, None, 404))["type"] == "QosRuleNotFound"


@pytest.mark.parametrize("kind", [kind for kind in RULES if kind != "packet_rate_limit"])
async def test_a_rule_is_shown_changed_and_deleted_without_its_policys_id(api: Door, kind: str) -> None:
    made = await policy(api)
    one = await rule(api, made["id"], kind, **RULES[kind])
    noun, url = f"alias_{kind}_rule", f"/v2.0/qos/alias-{kind.replace('_', '-')}-rules/{one['id']}"
    first = next(iter(RULES[kind]))
    assert await api.ask("GET", url) == (200, {noun: one})
    assert await api.ask("PUT", url, {noun: {first: 12}}) == (200, {noun: {**one, first: 12}})
    assert await api.ask("DELETE", url) == (204, None)
    assert (await api.ask("POST", url.rpartition("/")[0], {noun: RULES[kind]}))[0] in (404, 405)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("bandwidth_limit", {}),
        ("bandwidth_limit", {"max_kbps": -1}),
        ("bandwidth_limit", {"max_kbps": 1 << 31}),
        ("bandwidth_limit", {"max_kbps": 1, "direction": "any"}),
        ("dscp_marking", {"dscp_mark": 3}),
        ("minimum_bandwidth", {"min_kbps": "much"}),
        ("packet_rate_limit", {"max_kpps": 1, "direction": "both"}),
        ("minimum_packet_rate", {"min_kpps": 1, "direction": "both"}),
    ],
)
async def test_a_rule_of_a_wrong_value_is_refused(api: Door, kind: str, given: dict[str, Any]) -> None:
    made = await policy(api)
    await api.refused("POST", under(made["id"], kind), {f"{kind}_rule": given}, 400)
    assert (await api.show("policy", made["id"]))["rules"] == []


async def test_a_policy_has_one_rule_of_a_kind_in_each_direction(api: Door) -> None:
    made = await policy(api)
    one = await rule(api, made["id"], "bandwidth_limit", max_kbps=10)
    other = await rule(api, made["id"], "bandwidth_limit", max_kbps=10, direction="ingress")
    body = {"bandwidth_limit_rule": {"max_kbps": 5}}
    error = await api.refused("POST", under(made["id"], "bandwidth_limit"), body, 409)
    assert error["type"] == "QoSRulesConflict"
    assert one["id"] in error["message"]
    url = f"{under(made['id'], 'bandwidth_limit')}/{other['id']}"
    turned = {"bandwidth_limit_rule": {"direction": "egress"}}
    assert (await api.refused("PUT", url, turned, 409))["type"] == "QoSRulesConflict"


async def test_no_less_is_allowed_than_is_granted(api: Door) -> None:
    made = await policy(api)
    least = await rule(api, made["id"], "minimum_bandwidth", min_kbps=100)
    body = {"bandwidth_limit_rule": {"max_kbps": 50}}
    error = await api.refused("POST", under(made["id"], "bandwidth_limit"), body, 409)
    assert error["type"] == "QoSRuleParameterConflict"
    assert error["message"] == (
        f"Unable to add the rule with value 50 to the policy {made['id']} as the existing rule of type"
        " minimum_bandwidth has value 100."
    )
    await rule(api, made["id"], "bandwidth_limit", max_kbps=50, direction="ingress")
    await rule(api, made["id"], "bandwidth_limit", max_kbps=200)
    url = f"{under(made['id'], 'minimum_bandwidth')}/{least['id']}"
    more = {"minimum_bandwidth_rule": {"min_kbps": 300}}
    assert (await api.refused("PUT", url, more, 409))["type"] == "QoSRuleParameterConflict"


async def test_packet_rates_of_any_direction_and_of_one_do_not_mix(api: Door) -> None:
    made = await policy(api)
    await rule(api, made["id"], "minimum_packet_rate", min_kpps=1, direction="any")
    body = {"minimum_packet_rate_rule": {"min_kpps": 1, "direction": "ingress"}}
    error = await api.refused("POST", under(made["id"], "minimum_packet_rate"), body, 409)
    assert error["type"] == "QoSRuleParameterConflict"


async def test_rules_of_another_policy_or_of_none_are_not_found(api: Door) -> None:
    one, other = await policy(api), await policy(api)
    made = await rule(api, one["id"], "dscp_marking", dscp_mark=8)
    await api.refused("GET", f"{under(other['id'], 'dscp_marking')}/{made['id']}", None, 404)
    error = await api.refused("GET", under(ABSENT, "dscp_marking"), None, 404)
    assert error == {
        "type": "QosPolicyNotFound",
        "message": f"QoS policy {ABSENT} could not be found.",
        "detail": "",
    }


async def test_policies_are_made_by_admins_and_seen_by_others_if_shared(api: Door) -> None:
    await api.refused("POST", "/v2.0/qos/policies", {"policy": {}}, 403, as_project="p1")
    shared, hidden = await policy(api, shared=True), await policy(api)
    await rule(api, shared["id"], "dscp_marking", dscp_mark=8)
    seen = await api.list("qos/policies", as_project="p1")
    assert [one["id"] for one in seen] == [shared["id"]]
    await api.refused("GET", f"/v2.0/qos/policies/{hidden['id']}", None, 404, as_project="p1")
    network = await api.create("network", as_project="p1", qos_policy_id=shared["id"])
    assert network["qos_policy_id"] == shared["id"]
    body = {"network": {"qos_policy_id": hidden["id"]}}
    refusal = await api.refused("POST", "/v2.0/networks", body, 404, as_project="p1")
    assert refusal["type"] == "QosPolicyNotFound"


async def test_a_policy_that_an_admin_gave_is_not_taken_off_by_who_may_not_see_it(api: Door) -> None:
    hidden = await policy(api)
    network = await api.create("network", as_project="p1")
    await api.update("network", network["id"], qos_policy_id=hidden["id"])
    url, body = f"/v2.0/networks/{network['id']}", {"network": {"qos_policy_id": None}}
    refusal = await api.refused("PUT", url, body, 403, as_project="p1")
    assert refusal["type"] == "PolicyRemoveAuthorizationError"
    assert (await api.update("network", network["id"], qos_policy_id=None))["qos_policy_id"] is None


async def test_a_project_has_one_default_policy_which_its_new_networks_get(api: Door) -> None:
    before = await api.create("network")
    default, other = await policy(api, is_default=True), await policy(api)
    error = await api.refused("POST", "/v2.0/qos/policies", {"policy": {"is_default": True}}, 409)
    assert error["type"] == "QoSPolicyDefaultAlreadyExists"
    assert before["qos_policy_id"] is None
    assert (await api.create("network"))["qos_policy_id"] == default["id"]
    assert (await api.create("network", qos_policy_id=other["id"]))["qos_policy_id"] == other["id"]
    assert (await api.create("network", as_project="p1"))["qos_policy_id"] is None
    await api.update("policy", default["id"], is_default=False)
    assert (await api.create("network"))["qos_policy_id"] is None


async def test_a_port_shows_its_own_policy_and_its_networks(api: Door) -> None:
    own, networks = await policy(api), await policy(api)
    network = await api.create("network", qos_policy_id=networks["id"])
    port = await api.create("port", network_id=network["id"])
    assert (port["qos_policy_id"], port["qos_network_policy_id"]) == (None, networks["id"])
    port = await api.update("port", port["id"], qos_policy_id=own["id"])
    assert (port["qos_policy_id"], port["qos_network_policy_id"]) == (own["id"], networks["id"])
    await api.update("network", network["id"], qos_policy_id=None)
    assert (await api.show("port", port["id"]))["qos_network_policy_id"] is None


async def test_a_policy_in_use_is_not_deleted_and_takes_its_rules_with_it_when_it_goes(api: Door) -> None:
    made = await policy(api)
    one = await rule(api, made["id"], "dscp_marking", dscp_mark=8)
    network = await api.create("network", qos_policy_id=made["id"])
    port = await api.create("port", network_id=network["id"], qos_policy_id=made["id"])
    for noun, user in (("port", port), ("network", network)):
        error = await api.refused("DELETE", f"/v2.0/qos/policies/{made['id']}", None, 409)
        assert error["type"] == "QosPolicyInUse"
        assert error["message"] == f"QoS Policy {made['id']} is used by {noun} {user['id']}."
        await api.delete(noun, user["id"])
    await api.delete("policy", made["id"])
    await api.refused("GET", f"/v2.0/qos/alias-dscp-marking-rules/{one['id']}", None, 404)


async def test_a_port_asks_placement_for_what_the_minimum_rules_say(api: Door) -> None:
    made = await policy(api)
    network = await api.create("network", qos_policy_id=made["id"])
    port = await api.create("port", network_id=network["id"])
    assert port["resource_request"] is None
    ways = [
        await rule(api, made["id"], "minimum_bandwidth", min_kbps=number, direction=direction)
        for number, direction in ((100, "egress"), (200, "ingress"))
    ]
    rate = await rule(api, made["id"], "minimum_packet_rate", min_kpps=3, direction="any")
    request = (await api.show("port", port["id"]))["resource_request"]
    bandwidth, packets = request["request_groups"]
    assert bandwidth["resources"] == {"NET_BW_EGR_KILOBIT_PER_SEC": 100, "NET_BW_IGR_KILOBIT_PER_SEC": 200}
    assert bandwidth["required"] == ["CUSTOM_NETWORK_TUNNEL_PROVIDER", "CUSTOM_VNIC_TYPE_NORMAL"]
    assert packets["resources"] == {"NET_PACKET_RATE_KILOPACKET_PER_SEC": 3}
    assert packets["required"] == ["CUSTOM_VNIC_TYPE_NORMAL"]
    assert request["same_subtree"] == [bandwidth["id"], packets["id"]]
    assert packets["id"] == str(uuid5(UUID(port["id"]), rate["id"]))
    names = {":".join(order) for order in ([ways[0]["id"], ways[1]["id"]], [ways[1]["id"], ways[0]["id"]])}
    assert bandwidth["id"] in {str(uuid5(UUID(port["id"]), name)) for name in names}


async def test_minimum_of_a_machines_port_is_not_changed_under_it(api: Door) -> None:
    made, other = await policy(api), await policy(api)
    led = await api.create("network", qos_policy_id=other["id"])
    least = await rule(api, made["id"], "minimum_bandwidth", min_kbps=100)
    network = await api.create("network")
    given = {"device_owner": "compute:nova", "network_id": network["id"], "qos_policy_id": made["id"]}
    port = await api.create("port", **given)
    await api.create("port", device_owner="compute:nova", network_id=led["id"])

    url = f"/v2.0/qos/policies/{made['id']}/minimum_bandwidth_rules/{least['id']}"
    for method, body in (("PUT", {"minimum_bandwidth_rule": {"min_kbps": 5}}), ("DELETE", None)):
        error = await api.refused(method, url, body, 501)
        assert error["type"] == "HTTPNotImplemented"
        assert port["id"] in error["message"]
    body = {"minimum_packet_rate_rule": {"min_kpps": 5}}
    await api.refused("POST", f"/v2.0/qos/policies/{other['id']}/minimum_packet_rate_rules", body, 501)
    await rule(api, other["id"], "dscp_marking", dscp_mark=8)

    await api.delete("port", port["id"])
    assert (await api.ask("DELETE", url))[0] == 204


@pytest.mark.parametrize("is_led", [False, True])
async def test_policy_whose_minimum_nova_has_taken_stays_with_the_port(api: Door, is_led: bool) -> None:
    made = await policy(api)
    await rule(api, made["id"], "minimum_bandwidth", min_kbps=100)
    network = await api.create("network", **({"qos_policy_id": made["id"]} if is_led else {}))
    given = {} if is_led else {"qos_policy_id": made["id"]}
    port = await api.create(
        "port", network_id=network["id"], device_owner="compute:nova", **given, **{"binding:profile": {}}
    )
    noun, url = ("network", f"networks/{network['id']}") if is_led else ("port", f"ports/{port['id']}")
    await api.update("port", port["id"], **{"binding:profile": {"allocation": {"group": "provider"}}})
    error = await api.refused("PUT", f"/v2.0/{url}", {noun: {"qos_policy_id": None}}, 501)
    assert error["type"] == "HTTPNotImplemented"
    await api.update(noun, network["id"] if is_led else port["id"], qos_policy_id=made["id"])

    await api.update("port", port["id"], **{"binding:profile": {}})
    assert (await api.update(noun, network["id"] if is_led else port["id"], qos_policy_id=None))[
        "qos_policy_id"
    ] is None


async def test_rule_types_are_listed_and_their_details_shown_to_admins(api: Door) -> None:
    status, answer = await api.ask("GET", "/v2.0/qos/rule-types?all_supported=True", as_project="p1")
    assert (status, {one["type"] for one in answer["rule_types"]}) == (200, set(RULES))
    _, answer = await api.ask("GET", "/v2.0/qos/rule-types/dscp_marking")
    [driver] = answer["rule_type"]["drivers"]
    [parameter] = driver["supported_parameters"]
    assert (parameter["parameter_name"], parameter["parameter_type"]) == ("dscp_mark", "choices")
    assert 46 in parameter["parameter_values"]
    await api.refused("GET", "/v2.0/qos/rule-types/dscp_marking", None, 403, as_project="p1")


async def test_rule_types_come_in_pages_that_end(api: Door) -> None:
    _, whole = await api.ask("GET", "/v2.0/qos/rule-types")
    found, marker = [], ""
    for _ in range(len(whole["rule_types"])):
        _, page = await api.ask("GET", f"/v2.0/qos/rule-types?limit=2&marker={marker}")
        found += page["rule_types"]
        if len(page["rule_types"]) < 2:
            break
        marker = found[-1]["type"]
    assert found == whole["rule_types"]
    await api.refused("GET", "/v2.0/qos/rule-types?limit=x", None, 400)


async def test_policies_are_tagged_where_neutron_tags_them(api: Door) -> None:
    made = await policy(api)
    assert (await api.ask("PUT", f"/v2.0/policies/{made['id']}/tags/gold"))[0] == 201
    assert (await api.show("policy", made["id"]))["tags"] == ["gold"]
    assert [one["id"] for one in await api.list("qos/policies", tags="gold")] == [made["id"]]
    assert (await api.ask("GET", f"/v2.0/policies/{made['id']}/tags"))[1] == {"tags": ["gold"]}


async def test_list_after_a_policy_that_the_caller_does_not_see_begins_at_its_start(api: Door) -> None:
    theirs = await policy(api)
    mine = await policy(api, project_id="blue")
    listed = await api.list("qos/policies", as_project="blue", limit="5", marker=theirs["id"])
    assert [one["id"] for one in listed] == [mine["id"]]
