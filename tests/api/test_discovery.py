# SPDX-License-Identifier: Apache-2.0
"""What clients ask first: versions, collections, extensions; and what operators ask: health and metrics."""

import json

from alcor.base.telemetry import configure_log
from tests.api.world import Api, error_of

BUILT = {
    "agent",
    "binding",
    "empty-string-filtering",
    "filter-validation",
    "ip-substring-filtering",
    "net-mtu",
    "pagination",
    "port-security",
    "port-security-groups-filtering",
    "project-id",
    "provider",
    "revision-if-match",
    "security-group",
    "sort-key-validation",
    "sorting",
    "standard-attr-description",
    "standard-attr-revisions",
    "standard-attr-timestamp",
}


async def test_versions_name_v2_and_where_it_is(api: Api):
    answer = await api.http.get("/")
    assert answer.status_code == 200
    link = {"rel": "self", "href": "http://api.test/v2.0/"}
    assert answer.json() == {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}


async def test_links_follow_the_proxy_in_front(api: Api):
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "cloud.example"}
    answer = await api.http.get("/", headers=headers)
    assert answer.json()["versions"][0]["links"][0]["href"] == "https://cloud.example/v2.0/"


async def test_collections_are_named_with_and_without_the_slash(api: Api):
    for path in ("/v2.0", "/v2.0/"):
        found = (await api.http.get(path)).json()["resources"]
        links = {resource["collection"]: resource["links"][0]["href"] for resource in found}
        assert links["security_group_rules"] == "http://api.test/v2.0/security-group-rules"
        assert {"networks", "subnets", "ports", "security_groups", "agents"} <= set(links)


async def test_extensions_are_those_that_are_whole(api: Api):
    listed = (await api.get("extensions")).json()["extensions"]
    assert {extension["alias"] for extension in listed} >= BUILT
    for extension in listed:
        assert set(extension) == {"alias", "name", "description", "updated", "links"}
        one = await api.get(f"extensions/{extension['alias']}")
        assert one.json() == {"extension": extension}


async def test_extension_that_is_not_there_is_404(api: Api):
    assert await api.refusal("GET", "extensions/router") == (
        404,
        "HTTPNotFound",
        "Extension with alias router does not exist",
    )


async def test_health_says_that_reads_are_served_and_at_which_revision(api: Api):
    await api.make("network")
    answer = await api.http.get("/healthz")
    assert answer.json() == {"status": "ok", "revision": api.store.tables.revision}


async def test_metrics_count_requests_and_refusals(api: Api):
    await api.make("network")
    await api.get("networks/none")
    await api.http.get("/nowhere")
    text = (await api.http.get("/metrics")).text
    assert 'alcor_requests_total{method="POST",resource="network",status="201"} 1.0' in text
    assert 'alcor_requests_total{method="GET",resource="network",status="404"} 1.0' in text
    assert 'alcor_requests_total{method="GET",resource="",status="404"} 1.0' in text
    assert 'alcor_refusals_total{type="NetworkNotFound"} 1.0' in text
    assert 'alcor_request_seconds_count{method="POST"} 1.0' in text


async def test_metrics_tell_of_turns_batches_the_log_and_how_far_behind_it_this_process_is(api: Api):
    bulk = await api.call("POST", "networks", {"networks": [{"name": "a"}, {"name": "b"}]})
    assert bulk.status_code == 201
    await api.get("networks")
    figures = dict(
        line.rsplit(" ", 1)
        for line in (await api.http.get("/metrics")).text.splitlines()
        if not line.startswith("#")
    )
    revision = float(api.store.tables.revision)
    assert float(figures["alcor_log_revision"]) == revision > 0
    assert float(figures["alcor_turn_records_sum"]) == revision
    assert float(figures["alcor_turns_total"]) == float(figures["alcor_turn_records_count"]) >= 1
    assert float(figures["alcor_turn_requests_sum"]) >= 1
    assert float(figures["alcor_turn_seconds_count"]) >= 1
    assert float(figures["alcor_log_lag"]) == 0


async def test_every_request_has_one_line_with_its_id(api: Api):
    lines: list[str] = []
    configure_log("info", "json", write=lines.append)
    try:
        answers = [await api.get("networks/none"), await api.call("POST", "networks", {"network": {}})]
    finally:
        configure_log("info", "text")
    said = [json.loads(line) for line in lines]
    assert [(line["event"], line["method"], line["status"]) for line in said] == [
        ("answered", "GET", 404),
        ("answered", "POST", 201),
    ]
    assert [line["request"] for line in said] == [a.headers["x-openstack-request-id"] for a in answers]


async def test_log_lines_of_a_request_carry_its_id(api: Api):
    lines: list[str] = []
    configure_log("debug", "json", write=lines.append)
    try:
        answer = await api.get("networks/none")
    finally:
        configure_log("info", "text")
    said = [json.loads(line) for line in lines]
    assert [line["event"] for line in said] == ["refused", "answered"]
    assert {line["request"] for line in said} == {answer.headers["x-openstack-request-id"]}
    assert (said[1]["path"], said[1]["status"]) == ("/v2.0/networks/none", 404)


async def test_fault_of_ours_is_500_with_the_request_id_and_the_process_stays(api: Api, monkeypatch, capsys):
    def broken(*_: object) -> None:
        raise RuntimeError("a wire came loose")

    monkeypatch.setattr(api.app.parts.engine.nouns["networks"], "show", broken)
    answer = await api.get("networks/x")
    status, kind, message = error_of(answer)
    assert (status, kind) == (500, "HTTPInternalServerError")
    assert answer.headers["x-openstack-request-id"] in message
    assert "a wire came loose" not in message
    evidence = capsys.readouterr().err
    assert "a wire came loose" in evidence
    assert answer.headers["x-openstack-request-id"] in evidence
    assert (await api.get("networks")).status_code == 200
