# SPDX-License-Identifier: Apache-2.0
"""Tags of networks, subnets, ports and security groups, as Neutron 29 has them."""

from typing import Any

import pytest

from alcor.resource.parse import TAG_LENGTH_MAX, TAGS_MAX
from tests.api.world import Api

OWNER = {"project": "p1", "roles": "member"}


@pytest.fixture
async def url(api: Api) -> str:
    """The URL of the tags of a network of the owner's."""
    return f"networks/{(await api.make('network', **OWNER))['id']}/tags"


async def tags_of(api: Api, url: str) -> list[str]:
    answer = await api.get(url, **OWNER)
    assert answer.status_code == 200
    tags: list[str] = answer.json()["tags"]
    return tags


async def put(api: Api, url: str, *tags: str) -> None:
    assert (await api.call("PUT", url, {"tags": list(tags)}, **OWNER)).status_code == 200


async def taggable(api: Api) -> dict[str, str]:
    """The URLs of one object of each noun that takes tags."""
    network = await api.make("network", **OWNER)
    of_network = {"network_id": network["id"], **OWNER}
    subnet = await api.make("subnet", ip_version=4, cidr="10.0.0.0/24", **of_network)
    port = await api.make("port", **of_network)
    group = await api.make("security_group", name="g", **OWNER)
    paths = {"network": "networks", "subnet": "subnets", "port": "ports", "security_group": "security-groups"}
    made = {"network": network, "subnet": subnet, "port": port, "security_group": group}
    return {noun: f"{path}/{made[noun]['id']}" for noun, path in paths.items()}


async def test_each_noun_with_tags_answers_and_keeps_them(api: Api):
    for noun, one in (await taggable(api)).items():
        before = (await api.get(one, **OWNER)).json()[noun]
        assert before["tags"] == [], noun
        assert (await api.call("PUT", f"{one}/tags", {"tags": ["a"]}, **OWNER)).json() == {"tags": ["a"]}
        shown = (await api.get(one, **OWNER)).json()[noun]
        assert (shown["tags"], shown["revision_number"]) == (["a"], before["revision_number"] + 1), noun
        path, name = one.split("/")[0], noun + "s"
        assert [each["tags"] for each in (await api.get(f"{path}?tags=a", **OWNER)).json()[name]] == [["a"]]


async def test_put_replaces_post_adds_delete_removes_all(api: Api, url: str):
    await put(api, url, "a", "b")
    await put(api, url, "c", "b")
    assert sorted(await tags_of(api, url)) == ["b", "c"]
    added = await api.call("POST", url, {"tags": ["d", "b"]}, **OWNER)
    assert (added.status_code, added.json()) == (200, {"tags": ["d", "b"]})
    assert sorted(await tags_of(api, url)) == ["b", "c", "d"]
    assert (await api.call("DELETE", url, **OWNER)).status_code == 204
    assert await tags_of(api, url) == []


async def test_one_tag_is_added_asked_for_and_removed(api: Api, url: str):
    assert (await api.refusal("GET", f"{url}/red", **OWNER)) == (
        404,
        "TagNotFound",
        "Tag red could not be found.",
    )
    for _ in range(2):
        assert (await api.call("PUT", f"{url}/red", **OWNER)).status_code == 201
    assert await tags_of(api, url) == ["red"]
    assert (await api.get(f"{url}/red", **OWNER)).status_code == 204
    assert (await api.call("DELETE", f"{url}/red", **OWNER)).status_code == 204
    assert (await api.refusal("DELETE", f"{url}/red", **OWNER))[:2] == (404, "TagNotFound")


async def test_tag_may_be_any_text(api: Api, url: str):
    await put(api, url, "grün & blau", "")
    assert (await api.get(f"{url}/gr%C3%BCn%20%26%20blau", **OWNER)).status_code == 204


async def test_tagging_is_an_update_only_if_it_changes_something(api: Api, url: str):
    async def revision() -> int:
        number: int = (await api.get(url.removesuffix("/tags"), **OWNER)).json()["network"]["revision_number"]
        return number

    await put(api, url, "a")
    assert await revision() == 2
    await put(api, url, "a")
    await api.call("PUT", f"{url}/a", **OWNER)
    assert await revision() == 2


async def test_update_keeps_tags(api: Api, url: str):
    await put(api, url, "a")
    changed = await api.call("PUT", url.removesuffix("/tags"), {"network": {"name": "n"}}, **OWNER)
    assert changed.json()["network"]["tags"] == ["a"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "Invalid tags body"),
        ({"tags": "a"}, "'a' is not a list"),
        ({"tags": None}, "'None' is not a list"),
        ({"tags": ["a", "a"]}, "Duplicate items in the list: 'a'"),
        ({"tags": [1]}, "'1' is not a valid string"),
        ({"tags": ["x" * (TAG_LENGTH_MAX + 1)]}, f"exceeds maximum length of {TAG_LENGTH_MAX}"),
    ],
)
async def test_tags_without_meaning_are_refused(api: Api, url: str, body: Any, reason: str):
    for method in ("PUT", "POST"):
        status, kind, message = await api.refusal(method, url, body, **OWNER)
        assert (status, kind) == (400, "InvalidInput")
        assert message.startswith("Invalid input for operation: ")
        assert reason in message


async def test_too_long_a_tag_in_the_url_is_refused(api: Api, url: str):
    for method in ("GET", "PUT", "DELETE"):
        refused = await api.refusal(method, f"{url}/{'x' * (TAG_LENGTH_MAX + 1)}", **OWNER)
        assert refused[:2] == (400, "InvalidInput")


async def test_object_has_a_bounded_number_of_tags(api: Api, url: str):
    many = [str(number) for number in range(TAGS_MAX)]
    await put(api, url, *many)
    for method, path, body in (
        ("PUT", url, {"tags": [*many, "x"]}),
        ("POST", url, {"tags": ["x"]}),
        ("PUT", f"{url}/x", None),
    ):
        status, kind, message = await api.refusal(method, path, body, **OWNER)
        assert (status, kind) == (400, "BadRequest")
        assert f"per-resource limit of {TAGS_MAX}" in message


async def test_tags_of_what_is_not_there_or_not_seen_are_404(api: Api, url: str):
    for path, asker in (("networks/none/tags", OWNER), (url, {"project": "p2", "roles": "member"})):
        for method, body in (("GET", None), ("PUT", {"tags": []}), ("DELETE", None)):
            assert (await api.refusal(method, path, body, **asker))[:2] == (404, "NetworkNotFound")


async def test_who_only_sees_an_object_reads_its_tags(api: Api):
    network = await api.make("network", shared=True)
    url = f"networks/{network['id']}/tags"
    assert await tags_of(api, url) == []
    refused = await api.refusal("PUT", url, {"tags": ["a"]}, **OWNER)
    assert refused[2] == "rule:update_network:tags is disallowed by policy"


async def test_lists_are_filtered_by_tags(api: Api):
    for name, tags in (("ab", "ab"), ("a", "a"), ("b", "b"), ("none", "")):
        network = await api.make("network", name=name, **OWNER)
        await put(api, f"networks/{network['id']}/tags", *tags)
    for query, names in (
        ("tags=a", {"a", "ab"}),
        ("tags=a,b", {"ab"}),
        ("tags=a&tags=b", {"ab"}),
        ("tags-any=a,b", {"a", "b", "ab"}),
        ("not-tags=a,b", {"a", "b", "none"}),
        ("not-tags-any=a,b", {"none"}),
        ("tags=a&not-tags-any=b", {"a"}),
    ):
        assert set(await api.names(f"networks?{query}", **OWNER)) == names, query


async def test_ports_take_tags_when_they_are_made_also_in_bulk(api: Api):
    network = (await api.make("network", **OWNER))["id"]
    made = await api.make("port", network_id=network, tags=["a", "b"], **OWNER)
    assert made["tags"] == ["a", "b"]
    bulk = [{"network_id": network, "tags": ["c"]}, {"network_id": network}]
    answer = await api.call("POST", "ports", {"ports": bulk}, **OWNER)
    assert [port["tags"] for port in answer.json()["ports"]] == [["c"], []]


@pytest.mark.parametrize(
    "tags", [None, "a", ["a", "a"], [1], [str(number) for number in range(TAGS_MAX + 1)]]
)
async def test_port_with_tags_without_meaning_is_not_made(api: Api, tags: object):
    network = (await api.make("network"))["id"]
    body = {"port": {"network_id": network, "tags": tags}}
    status, _, message = await api.refusal("POST", "ports", body)
    assert status == 400
    assert message.startswith("Invalid input for tags. Reason: ")


async def test_tags_are_no_attribute_of_an_update_nor_of_other_nouns_creation(api: Api, url: str):
    network = url.removesuffix("/tags")
    refused = await api.refusal("PUT", network, {"network": {"tags": []}}, **OWNER)
    assert refused[2] == "Cannot update read-only attribute tags"
    refused = await api.refusal("POST", "networks", {"network": {"tags": []}}, **OWNER)
    assert refused[2] == "Attribute 'tags' not allowed in POST"


async def test_noun_without_tags_has_none(api: Api):
    scope = await api.make("address_scope", name="s", ip_version=4)
    assert "tags" not in scope
    assert (await api.get(f"address-scopes/{scope['id']}/tags")).status_code == 404
    assert (await api.refusal("GET", "address-scopes?tags=a"))[0] == 400


async def test_extensions_of_tags_are_announced_in_neutrons_words(api: Api):
    extensions = {one["alias"]: one for one in (await api.get("extensions")).json()["extensions"]}
    tagging = extensions["standard-attr-tag"]
    assert tagging["description"] == "Enables to set tag on resources with standard attribute."
    named = tagging["name"].removeprefix("Tag support for resources with standard attribute: ").split(", ")
    assert {"network", "port", "security_group", "subnet"} <= set(named)
    assert extensions["tag-creation"]["name"] == "Tag creation extension"
    at_create = extensions["tag-ports-during-bulk-creation"]
    assert (at_create["name"], at_create["description"]) == (
        "Tag Ports During Bulk Creation",
        "Allow to tag ports during bulk creation",
    )
