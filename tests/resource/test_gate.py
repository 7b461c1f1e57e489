# SPDX-License-Identifier: Apache-2.0
"""Who sees what: its owner, admins, and the projects with which any feature shares it."""

import pytest

from alcor.base.errors import Conflict, Forbidden, NotFound
from alcor.resource.query import Query
from tests.resource.library import LOAN, Library, Loan


@pytest.fixture
def library() -> Library:
    return Library()


def lend(library: Library, shelf: str, project: str) -> None:
    library.turn(
        lambda txn: txn.insert(LOAN, Loan(id=f"{shelf}-{project}", shelf_id=shelf, project_id=project))
    )


def listed(library: Library, noun: str, project: str) -> set[str]:
    found = library.noun(noun).find(library.asked(project, "reader"), Query(), library.tables)
    assert not found.is_scan
    return {one.id for some in found.slices() for one in some}


def test_object_is_shared_with_the_project_that_asks_and_with_no_other(library: Library):
    shelf = library.make("shelf")["id"]
    lend(library, shelf, "p2")
    assert [listed(library, "shelf", project) for project in ("p1", "p2", "p3")] == [{shelf}, {shelf}, set()]
    noun = library.noun("shelf")
    assert noun.show(library.asked("p2"), shelf, (), library.tables)
    with pytest.raises(NotFound):
        noun.show(library.asked("p3"), shelf, (), library.tables)


def test_one_way_of_sharing_is_enough(library: Library):
    public = library.make("shelf", is_public=True)["id"]
    lent = library.make("shelf")["id"]
    lend(library, lent, "p2")
    assert listed(library, "shelf", "p2") == {public, lent}


def test_what_is_shared_is_read_only(library: Library):
    shelf = library.make("shelf", is_public=True)["id"]
    with pytest.raises(Forbidden, match="rule:update_shelf is disallowed"):
        library.turn(library.noun("shelf").update(library.asked("p2"), shelf, {"shelf": {"name": "x"}}, None))
    with pytest.raises(Forbidden, match="rule:delete_shelf is disallowed"):
        library.turn(library.noun("shelf").delete(library.asked("p2"), shelf, None))


def test_rule_sees_of_another_noun_what_the_caller_sees(library: Library):
    shelf = library.make("shelf")["id"]
    library.make("visitor", library.asked("p9", "admin"), shelf_id=shelf)
    with pytest.raises(NotFound, match=f"Shelf {shelf} could not be found."):
        library.make("visitor", library.asked("p2"), shelf_id=shelf)
    lend(library, shelf, "p2")
    library.make("visitor", library.asked("p2"), shelf_id=shelf)


def test_sharing_of_one_noun_follows_that_of_another(library: Library):
    shelf = library.make("shelf")["id"]
    visitor = library.make("visitor", shelf_id=shelf)["id"]
    assert listed(library, "visitor", "p2") == set()
    lend(library, shelf, "p2")
    assert listed(library, "visitor", "p2") == {visitor}
    assert library.noun("visitor").show(library.asked("p2"), visitor, (), library.tables)


def test_feature_may_say_how_much_a_project_may_have(library: Library):
    for _ in range(2):
        library.make("shelf", library.asked("p2"))
    with pytest.raises(Conflict, match="Quota exceeded"):
        library.make("shelf", library.asked("p2"))
    for _ in range(3):
        library.make("shelf", library.asked("p1"))
