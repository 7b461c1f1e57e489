# SPDX-License-Identifier: Apache-2.0
"""Nouns under nouns, paths with slashes, and actions: what their URLs do, and for whom."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alcor.api.openapi import document
from alcor.base.config import Settings
from alcor.resource.engine import Engine
from alcor.store.declare import Schema
from tests.api.world import Api, running
from tests.resource.library import FEATURES, TABLES

OWNER = {"project": "p1", "roles": "member"}
OTHER = {"project": "p2", "roles": "member"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running(tmp_path, Settings(), features=FEATURES, schema=Schema(TABLES)) as api:
        yield api


async def post(api: Api, path: str, noun: str, **fields: Any) -> Any:
    answer = await api.call("POST", path, {noun: fields}, **OWNER)
    assert answer.status_code == 201, answer.text
    return answer.json()[noun]


@pytest.fixture
async def shelf(api: Api) -> str:
    """The URL of a shelf of the owner's."""
    made = await post(api, "library/shelves", "shelf", name="s")
    return f"library/shelves/{made['id']}"


async def test_path_of_a_noun_may_have_slashes(api: Api, shelf: str):
    assert (await api.get(shelf, **OWNER)).json()["shelf"]["name"] == "s"
    assert len((await api.get("library/shelves/", **OWNER)).json()["shelves"]) == 1
    assert (await api.call("PUT", shelf, {"shelf": {"name": "t"}}, **OWNER)).status_code == 200
    assert (await api.get("library")).status_code == 404
    assert (await api.get("library//")).status_code == 404


async def test_child_is_made_shown_changed_and_deleted_under_its_parent(api: Api, shelf: str):
    book = await post(api, f"{shelf}/books", "book", title="a")
    assert book == {"id": book["id"], "title": "a", "pages": 100}
    url = f"{shelf}/books/{book['id']}"
    assert (await api.get(url, **OWNER)).json() == {"book": book}
    changed = await api.call("PUT", url, {"book": {"pages": 7}}, **OWNER)
    assert changed.json() == {"book": {**book, "pages": 7}}
    assert (await api.call("DELETE", url, **OWNER)).status_code == 204
    assert (await api.refusal("GET", url, **OWNER))[:2] == (404, "BookNotFound")


async def test_children_are_listed_of_their_parent_only(api: Api, shelf: str):
    other = f"library/shelves/{(await post(api, 'library/shelves', 'shelf'))['id']}"
    mine = await post(api, f"{shelf}/books", "book", title="a")
    theirs = await post(api, f"{other}/books", "book", title="a")
    for query in (
        "",
        "?title=a",
        "?sort_key=title&sort_dir=asc",
        "?limit=5",
        f"?id={mine['id']}&id={theirs['id']}",
    ):
        for asker in (OWNER, {}):
            listed = (await api.get(f"{shelf}/books{query}", **asker)).json()["books"]
            assert listed == [mine], (query, asker)
    assert (await api.get(f"{other}/books/{mine['id']}")).status_code == 404


async def test_bulk_of_children(api: Api, shelf: str):
    body = {"books": [{"title": "a"}, {"title": "b"}]}
    made = await api.call("POST", f"{shelf}/books", body, **OWNER)
    assert [book["title"] for book in made.json()["books"]] == ["a", "b"]


async def test_parent_must_be_there_and_seen(api: Api, shelf: str):
    body = {"book": {"title": "a"}}
    for url, asker in (("library/shelves/none", OWNER), (shelf, OTHER)):
        for method, path, sent in (
            ("GET", "", None),
            ("POST", "", body),
            ("GET", "/x", None),
            ("PUT", "/x", body),
        ):
            refused = await api.refusal(method, f"{url}/books{path}", sent, **asker)
            assert refused[:2] == (404, "ShelfNotFound"), (method, url)


async def test_child_of_what_is_shared_is_read_by_others_and_changed_by_the_parents_owner(api: Api):
    shelf = f"library/shelves/{(await post(api, 'library/shelves', 'shelf', is_public=True))['id']}"
    book = await post(api, f"{shelf}/books", "book", title="a")
    assert (await api.get(f"{shelf}/books", **OTHER)).json() == {"books": [book]}
    assert (await api.get(f"{shelf}/books/{book['id']}", **OTHER)).json() == {"book": book}
    for method, path, body, rule in (
        ("POST", "books", {"book": {"title": "b"}}, "create_shelf_book"),
        ("PUT", f"books/{book['id']}", {"book": {"title": "b"}}, "update_shelf_book"),
        ("DELETE", f"books/{book['id']}", None, "delete_shelf_book"),
    ):
        refused = await api.refusal(method, f"{shelf}/{path}", body, **OTHER)
        assert refused == (403, "PolicyNotAuthorized", f"rule:{rule} is disallowed by policy")


async def test_child_may_have_a_path_of_its_own(api: Api, shelf: str):
    book = await post(api, f"{shelf}/books", "book", title="a")
    url = f"library/volumes/{book['id']}"
    assert (await api.call("PUT", url, {"volume": {"pages": 3}}, **OWNER)).json()["volume"]["pages"] == 3
    assert (await api.refusal("GET", url, **OTHER))[:2] == (404, "BookNotFound")
    assert len((await api.get("library/volumes", **OWNER)).json()["volumes"]) == 1
    assert (await api.get("library/volumes", **OTHER)).json() == {"volumes": []}


async def test_child_may_be_called_by_a_key(api: Api, shelf: str):
    made = await post(api, f"{shelf}/seats", "seat", place="window")
    assert (made["place"], made["project_id"]) == ("window", "p1")
    assert "id" not in made
    assert (await api.get(f"{shelf}/seats/window", **OWNER)).json() == {"seat": made}
    refused = await api.refusal("POST", f"{shelf}/seats", {"seat": {"place": "window"}}, **OWNER)
    assert refused[:2] == (409, "SeatExists")
    assert (await api.call("PUT", f"{shelf}/seats/window/take", **OWNER)).json() is None
    assert (await api.call("DELETE", f"{shelf}/seats/window", **OWNER)).status_code == 204
    assert (await api.get(f"{shelf}/seats/window", **OWNER)).status_code == 404


async def test_child_made_by_an_admin_is_of_its_parents_project(api: Api, shelf: str):
    made = await api.call("POST", f"{shelf}/seats", {"seat": {"place": "door"}})
    assert made.json()["seat"]["project_id"] == "p1"


async def test_action_changes_its_object(api: Api, shelf: str):
    done = await api.call("PUT", f"{shelf}/rename", {"name": "t"}, **OWNER)
    assert (done.status_code, done.json()) == (200, {"name": "t", "revision_number": 2})
    assert int(done.headers["x-alcor-revision"]) == api.store.tables.revision
    assert (await api.get(shelf, **OWNER)).json()["shelf"]["name"] == "t"


@pytest.mark.parametrize("body", [{"name": 1}, {}, {"name": "t", "more": 1}])
async def test_body_of_an_action_is_checked(api: Api, shelf: str, body: object):
    refused = await api.refusal("PUT", f"{shelf}/rename", body, **OWNER)
    assert refused[:2] == (400, "InvalidInput")


async def test_body_of_an_action_is_an_object_or_nothing(api: Api, shelf: str):
    assert (await api.refusal("PUT", f"{shelf}/rename", [1], **OWNER))[:2] == (400, "HTTPBadRequest")
    assert (await api.call("POST", f"{shelf}/wave", **OWNER)).status_code == 201


async def test_who_may_act_is_declared(api: Api, shelf: str):
    refused = await api.refusal("PUT", f"{shelf}/burn", **OWNER)
    assert refused == (403, "PolicyNotAuthorized", "rule:burn is disallowed by policy")
    assert (await api.call("PUT", f"{shelf}/burn")).status_code == 204
    assert (await api.refusal("PUT", f"{shelf}/rename", {"name": "t"}, **OTHER))[:2] == (404, "ShelfNotFound")
    reader = {"project": "p1", "roles": "reader"}
    assert (await api.refusal("PUT", f"{shelf}/rename", {"name": "t"}, **reader))[0] == 403
    assert (await api.refusal("POST", f"{shelf}/wave", **reader))[2] == "rule:wave is disallowed by policy"
    public = f"library/shelves/{(await post(api, 'library/shelves', 'shelf', is_public=True))['id']}"
    assert (await api.call("POST", f"{public}/wave", **OTHER)).status_code == 201


async def test_action_of_what_is_under_an_object(api: Api, shelf: str):
    read = await api.get(f"{shelf}/notes/7?a=1&a=2", **OWNER)
    assert read.json() == {"shelf": "s", "note": "7", "a": ["1", "2"]}
    assert (await api.call("PUT", f"{shelf}/notes/7", {"b": 1}, **OWNER)).json()["b"] == 1
    assert (await api.refusal("PUT", "library/shelves/none/notes/7", {}, **OWNER))[:2] == (
        404,
        "ShelfNotFound",
    )


async def test_action_of_all(api: Api, shelf: str):
    assert (await api.get("library/shelves/count", **OWNER)).json() == {"visible": 1}
    assert (await api.refusal("POST", "library/shelves/count", {}, **OWNER))[0] == 403
    assert (await api.call("POST", "library/shelves/count", {"x": 1})).json() == {"visible": 0, "x": 1}


async def test_other_methods_are_405_with_those_that_are_allowed(api: Api, shelf: str):
    answer = await api.call("DELETE", f"{shelf}/rename")
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, PUT")
    assert (await api.call("OPTIONS", f"{shelf}/books")).headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_part_of_a_path_that_is_no_name_is_only_text(api: Api):
    for path in ("library/shelves/{}", "library/shelves/{shelf_id}", "library/shelves/{}/books"):
        assert (await api.refusal("GET", path))[:2] == (404, "ShelfNotFound")


async def test_collections_of_the_root_are_listed(api: Api):
    listed = (await api.http.get("/v2.0")).json()["resources"]
    assert {each["collection"] for each in listed} == {"shelves", "visitors", "volumes"}


def test_description_has_children_and_actions_with_what_stands_in_their_urls() -> None:
    described = document(Engine(FEATURES), Settings())
    paths = described["paths"]
    operations = [
        operation["operationId"]
        for path in paths.values()
        for name, operation in path.items()
        if name != "parameters"
    ]
    assert len(set(operations)) == len(operations)
    child = paths["/v2.0/library/shelves/{shelf_id}/books/{book_id}"]
    assert [each["name"] for each in child["parameters"]] == ["shelf_id", "book_id"]
    assert "/v2.0/library/shelves/{shelf_id}/seats/{seat_place}/take" in paths
    assert set(paths["/v2.0/library/shelves/{shelf_id}/notes/{notes_id}"]) == {"parameters", "get", "put"}
    assert set(described["components"]["schemas"]["book"]["properties"]) == {"id", "title", "pages"}
    assert "project_id" not in described["components"]["schemas"]["book_create"]["properties"]
    assert "label:colour" in described["components"]["schemas"]["shelf_update"]["properties"]
