# SPDX-License-Identifier: Apache-2.0
"""Bounds of projects: shown, set, forced, forgotten, and held to in the turn that makes an object."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alcor.base.config import Settings
from tests.api.world import Api, running

MEMBER = {"project": "p1", "roles": "member,reader"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running(tmp_path, Settings(quota_network=7, quota_port=3)) as api:
        yield api


async def quota(api: Api, path: str, **asker: Any) -> dict[str, Any]:
    answer = await api.get(f"quotas/{path}", **asker)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["quota"]
    return found


async def put(api: Api, project: str, **limits: Any) -> dict[str, Any]:
    answer = await api.call("PUT", f"quotas/{project}", {"quota": limits})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["quota"]
    return found


async def test_a_project_has_the_settings_bounds_until_it_has_its_own(api: Api) -> None:
    default = await quota(api, "p1", **MEMBER)
    assert (default["network"], default["port"]) == (7, 3)
    changed = await put(api, "p1", network=2, subnet="10")
    assert changed == default | {"network": 2, "subnet": 10}
    assert await quota(api, "p1", **MEMBER) == changed
    assert await quota(api, "p1/default", **MEMBER) == default
    assert await put(api, "p1", network=5) == changed | {"network": 5}
    assert (await api.call("DELETE", "quotas/p1")).status_code == 204
    assert await quota(api, "p1", **MEMBER) == default


async def test_every_bounded_noun_is_named(api: Api) -> None:
    assert {"network", "subnet", "port", "security_group", "security_group_rule"} <= set(
        await quota(api, "p1")
    )


async def test_only_projects_with_bounds_of_their_own_are_listed(api: Api) -> None:
    assert (await api.get("quotas")).json() == {"quotas": []}
    await put(api, "p2", port=-1)
    (listed,) = (await api.get("quotas")).json()["quotas"]
    assert (listed["project_id"], listed["tenant_id"], listed["port"], listed["network"]) == (
        "p2",
        "p2",
        -1,
        7,
    )


async def test_list_of_bounds_has_fields_but_neither_pages_nor_filters(api: Api) -> None:
    for project in ("p1", "p2"):
        await put(api, project, port=7)
    listed = (await api.get("quotas?fields=port&limit=1&colour=red")).json()
    assert listed == {"quotas": [{"port": 7}, {"port": 7}]}
    for query in ("limit=x", "sort_key=port&sort_dir=asc", "sort_key=port"):
        assert (await api.get(f"quotas?{query}")).status_code == 400


async def test_details_tell_what_is_used(api: Api) -> None:
    for _ in range(2):
        await api.make("network", **MEMBER)
    for path in ("p1/details.json", "p1/details"):
        details = await quota(api, path, **MEMBER)
        assert details["network"] == {"limit": 7, "used": 2, "reserved": 0}


async def test_a_caller_may_ask_for_its_project(api: Api) -> None:
    assert (await api.get("quotas/project", **MEMBER)).json() == {"project": {"project_id": "p1"}}
    assert (await api.get("quotas/tenant", **MEMBER)).json() == {"tenant": {"tenant_id": "p1"}}


async def test_no_more_than_the_bound_is_made_however_many_ask_at_once(api: Api) -> None:
    await put(api, "p1", network=5)
    body = {"network": {}}
    answers = await asyncio.gather(*(api.call("POST", "networks", body, **MEMBER) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 15
    refused = await api.refusal("POST", "networks", body, **MEMBER)
    assert refused == (409, "OverQuota", "Quota exceeded for resources: ['network'].")
    bulk = await api.refusal("POST", "networks", {"networks": [{}, {}]}, **MEMBER)
    assert bulk[:2] == (409, "OverQuota")
    await put(api, "p1", network=-1)
    await api.make("network", **MEMBER)


async def test_a_bound_below_what_is_used_must_be_forced(api: Api) -> None:
    for _ in range(3):
        await api.make("network", **MEMBER)
    refused = await api.refusal("PUT", "quotas/p1", {"quota": {"network": 2, "check_limit": True}})
    assert refused[0] == 400
    assert refused[2] == "Quota limit 2 for network must be greater than or equal to already used 3"
    assert (await quota(api, "p1"))["network"] == 7
    assert (await put(api, "p1", network=2, force=True))["network"] == 2
    assert (await api.refusal("POST", "networks", {"network": {}}, **MEMBER))[1] == "OverQuota"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"quota": {"network": -2}}, "Invalid input for network"),
        ({"quota": {"network": 2**31}}, "Invalid input for network"),
        ({"quota": {"network": "many"}}, "Invalid input for network"),
        ({"quota": {"cake": 1}}, "Unrecognized attribute(s) 'cake'"),
        ({"network": 1}, "Unable to find 'quota'"),
        ({}, "Unable to find 'quota'"),
        ([], "Body contains invalid data"),
    ],
)
async def test_a_bound_that_is_none_is_refused(api: Api, body: Any, reason: str) -> None:
    refused = await api.refusal("PUT", "quotas/p1", body)
    assert refused[0] == 400
    assert reason in refused[2]


async def test_bounds_are_the_operators_to_set_and_a_projects_own_to_see(api: Api) -> None:
    for method, path, rule, body in (
        ("GET", "quotas", "get_quota", None),
        ("GET", "quotas/p2", "get_quota", None),
        ("GET", "quotas/p2/details", "get_quota", None),
        ("GET", "quotas/p2/default", "get_quota", None),
        ("PUT", "quotas/p1", "update_quota", {"quota": {"network": 9}}),
        ("DELETE", "quotas/p1", "delete_quota", None),
    ):
        refused = await api.refusal(method, path, body, **MEMBER)
        assert refused == (403, "PolicyNotAuthorized", f"rule:{rule} is disallowed by policy")


async def test_a_project_without_bounds_of_its_own_has_none_to_forget(api: Api) -> None:
    refused = await api.refusal("DELETE", "quotas/p1")
    assert refused == (404, "TenantQuotaNotFound", "Quota for project p1 could not be found.")


async def test_the_extensions_are_told(api: Api) -> None:
    told = {each["alias"] for each in (await api.get("extensions")).json()["extensions"]}
    assert {"quotas", "quota_details", "quota-check-limit", "quota-check-limit-default"} <= told
    named = {each["collection"] for each in (await api.get("")).json()["resources"]}
    assert "quotas" in named
