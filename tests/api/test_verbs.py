# SPDX-License-Identifier: Apache-2.0
"""Create, show, list, update and delete over HTTP, with Neutron's envelopes, status codes and headers."""

import re

from alcor.base.errors import Unavailable
from tests.api.world import Api, error_of

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


async def test_network_lives_from_create_to_delete(api: Api):
    made = await api.call("POST", "networks", {"network": {"name": "blue"}})
    assert made.status_code == 201
    network = made.json()["network"]
    assert network["name"] == "blue"
    assert UUID.fullmatch(network["id"])
    assert network["revision_number"] == 1
    assert network["tenant_id"] == network["project_id"] != ""
    assert network["created_at"] == network["updated_at"]

    shown = await api.get(f"networks/{network['id']}")
    assert shown.status_code == 200
    assert shown.json() == {"network": network}

    changed = await api.call("PUT", f"networks/{network['id']}", {"network": {"name": "green"}})
    assert changed.status_code == 200
    assert changed.json()["network"] == {
        **network,
        "name": "green",
        "revision_number": 2,
        "updated_at": changed.json()["network"]["updated_at"],
    }

    listed = await api.get("networks")
    assert listed.json() == {"networks": [changed.json()["network"]]}

    gone = await api.call("DELETE", f"networks/{network['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await api.get("networks")).json() == {"networks": []}


async def test_what_is_not_there_is_404_for_every_verb(api: Api):
    for method, body in (("GET", None), ("PUT", {"network": {"name": "x"}}), ("DELETE", None)):
        assert await api.refusal(method, "networks/no-such-thing", body) == (
            404,
            "NetworkNotFound",
            "Network no-such-thing could not be found.",
        )


async def test_unknown_url_is_404_in_neutrons_form(api: Api):
    for path in ("zorps", "zorps/1", "networks/1/2", "networks//"):
        assert (await api.refusal("GET", path))[:2] == (404, "HTTPNotFound")
    assert error_of(await api.http.get("/nowhere"))[0] == 404


async def test_deleting_what_is_in_use_is_409(api: Api):
    network = await api.make("network")
    await api.make("port", network_id=network["id"])
    assert (await api.refusal("DELETE", f"networks/{network['id']}"))[:2] == (409, "NetworkInUse")


async def test_verb_that_a_url_does_not_take_is_405_with_the_ones_it_takes(api: Api):
    for method, path, allow in (
        ("PUT", "networks", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "networks", "GET, HEAD, OPTIONS, POST"),
        ("POST", "networks/1", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("POST", "agents", "GET, HEAD, OPTIONS"),
        ("PUT", "security-group-rules/1", "DELETE, GET, HEAD, OPTIONS"),
        ("PATCH", "networks/1", "DELETE, GET, HEAD, OPTIONS, PUT"),
    ):
        answer = await api.call(method, path)
        assert error_of(answer)[:2] == (405, "HTTPMethodNotAllowed")
        assert answer.headers["allow"] == allow


async def test_options_says_what_is_allowed_and_head_is_get_without_a_body(api: Api):
    network = await api.make("network")
    options = await api.call("OPTIONS", "networks")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    for path in ("networks", f"networks/{network['id']}"):
        head, get = await api.call("HEAD", path), await api.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]
    assert (await api.call("HEAD", "networks/none")).status_code == 404


async def test_trailing_slash_means_nothing(api: Api):
    await api.make("network", name="n")
    assert await api.names("networks/") == ["n"]


async def test_answers_carry_the_revision_at_which_they_were_true(api: Api):
    made = await api.call("POST", "networks", {"network": {}})
    first = int(made.headers["x-alcor-revision"])
    assert first == api.store.tables.revision
    for answer in (await api.get("networks"), await api.get(f"networks/{made.json()['network']['id']}")):
        assert int(answer.headers["x-alcor-revision"]) == first
    gone = await api.call("DELETE", f"networks/{made.json()['network']['id']}")
    assert int(gone.headers["x-alcor-revision"]) > first


async def test_every_answer_has_a_request_id_and_keeps_the_callers(api: Api):
    answers = [await api.get("networks"), await api.get("networks/none"), await api.http.get("/nowhere")]
    ids = [answer.headers["x-openstack-request-id"] for answer in answers]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(f"req-{UUID.pattern}", each) for each in ids)

    mine = "req-11111111-2222-3333-4444-555555555555"
    kept = await api.get("networks", headers={"X-Openstack-Request-Id": mine})
    assert kept.headers["x-openstack-request-id"] == mine
    for other in ("req-nonsense", mine + "\tx", "x" * 500):
        answer = await api.get("networks", headers={"X-Openstack-Request-Id": other})
        assert answer.headers["x-openstack-request-id"] not in (other, mine)


async def test_update_with_the_right_revision_passes_and_with_another_is_412(api: Api):
    network = await api.make("network")
    url = f"networks/{network['id']}"
    tags = {"v": "revision_number=1", "w": '"revision_number=2"', "x": 'W/"revision_number=3"'}
    for name, tag in tags.items():
        answer = await api.call("PUT", url, {"network": {"name": name}}, headers={"If-Match": tag})
        assert answer.status_code == 200, answer.text
    for method, body in (("PUT", {"network": {"name": "y"}}), ("DELETE", None)):
        refused = await api.refusal(method, url, body, headers={"If-Match": "revision_number=1"})
        assert refused == (
            412,
            "RevisionNumberConstraintFailed",
            "Constrained to 1, but current revision is 4",
        )
    assert (await api.get(url)).json()["network"]["name"] == "x"
    gone = await api.call("DELETE", url, headers={"If-Match": "revision_number=4"})
    assert gone.status_code == 204


async def test_action_on_another_revision_is_412_and_does_nothing(api: Api):
    network = await api.make("network")
    pool = await api.make("subnetpool", name="pool", prefixes=["10.0.0.0/8"])
    tags, prefixes = f"networks/{network['id']}/tags", f"subnetpools/{pool['id']}/add_prefixes"
    for method, url, body in (
        ("PUT", tags, {"tags": ["gold"]}),
        ("PUT", f"{tags}/gold", None),
        ("DELETE", tags, None),
        ("PUT", prefixes, {"prefixes": ["11.0.0.0/8"]}),
    ):
        refused = await api.refusal(method, url, body, headers={"If-Match": "revision_number=7"})
        assert refused[:2] == (412, "RevisionNumberConstraintFailed"), url
        answer = await api.call(method, url, body, headers={"If-Match": "revision_number=1"})
        assert answer.status_code < 300 or method == "DELETE" or url.endswith("gold"), answer.text
    assert (await api.get(tags)).json() == {"tags": ["gold"]}


async def test_if_match_that_is_no_revision_is_refused_or_means_nothing(api: Api):
    network = await api.make("network")
    url, body = f"networks/{network['id']}", {"network": {"name": "x"}}
    for tag in ("revision_number=x", "revision_number=", "revision_number=1, revision_number=2"):
        assert (await api.refusal("PUT", url, body, headers={"If-Match": tag}))[:2] == (400, "BadRequest")
    assert (await api.call("PUT", url, body, headers={"If-Match": "*"})).status_code == 200


async def test_if_match_is_refused_where_nothing_has_a_revision(api: Api):
    network = await api.make("network")
    port = await api.make("port", network_id=network["id"], device_owner="compute:nova", device_id="m")
    policy = (await api.call("POST", "qos/policies", {"policy": {"name": "gold"}})).json()["policy"]
    rules = f"qos/policies/{policy['id']}/dscp_marking_rules"
    made = await api.call("POST", rules, {"dscp_marking_rule": {"dscp_mark": 10}})
    rule = f"{rules}/{made.json()['dscp_marking_rule']['id']}"
    for method, url, body in (
        ("POST", f"ports/{port['id']}/bindings", {"binding": {"host": "h1"}}),
        ("PUT", f"ports/{port['id']}/bindings/h1/activate", None),
        ("PUT", "quotas/p1", {"quota": {"network": 1}}),
        ("PUT", rule, {"dscp_marking_rule": {"dscp_mark": 12}}),
        ("DELETE", rule, None),
    ):
        refused = await api.refusal(method, url, body, headers={"If-Match": "revision_number=1"})
        assert refused[:2] == (400, "BadRequest"), url
        assert "Revision matching not supported" in refused[2]
    assert (await api.get(rule)).json()["dscp_marking_rule"]["dscp_mark"] == 10


async def test_reads_are_refused_while_the_log_is_out_of_reach(api: Api, monkeypatch):
    network = await api.make("network")

    async def unreachable():
        raise Unavailable("The log is out of reach.")

    monkeypatch.setattr(api.store, "caught_up", unreachable)
    for path in ("networks", f"networks/{network['id']}"):
        assert await api.refusal("GET", path) == (503, "ServiceUnavailable", "The log is out of reach.")
    assert (await api.http.get("/healthz")).status_code == 503


async def test_fields_choose_what_is_answered_and_unknown_ones_are_ignored(api: Api):
    network = await api.make("network", name="n")
    shown = await api.get(f"networks/{network['id']}?fields=id&fields=name&fields=zorp")
    assert shown.json() == {"network": {"id": network["id"], "name": "n"}}
    listed = await api.get("networks?fields=name&fields=status&fields=tenant_id")
    assert listed.json() == {
        "networks": [{"name": "n", "status": "ACTIVE", "tenant_id": network["tenant_id"]}]
    }
    assert (await api.get("networks?fields=zorp")).json() == {"networks": [{}]}
