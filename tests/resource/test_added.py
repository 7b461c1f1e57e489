# SPDX-License-Identifier: Apache-2.0
"""Fields that a feature adds to another's noun are fields like any other, and cost nothing where they are not used."""

from typing import Any

import pytest

from alcor.base.errors import Forbidden, Invalid
from alcor.store.txn import Overlay
from tests.resource.library import LABEL, LAMP, Label, Library

ADMIN = ("p1", "admin")


@pytest.fixture
def library() -> Library:
    return Library()


def rows(library: Library) -> list[Label]:
    return sorted(library.tables.scan(LABEL), key=lambda label: label.id)


def test_object_without_them_answers_their_defaults_and_keeps_no_row(library: Library):
    made = library.make("shelf")
    assert (made["label:colour"], made["rank"], made["watts"]) == (None, "#1", 40)
    assert not rows(library)
    assert library.tables.size(LAMP) == 0
    assert library.noun("shelf").show(library.asked(), made["id"], (), library.tables)


def test_creation_without_them_does_not_look_at_their_tables(
    library: Library, monkeypatch: pytest.MonkeyPatch
):
    looked: list[str] = []
    peek = Overlay.peek

    def watched(overlay: Overlay, table: Any, id: str) -> Any:
        looked.append(table.name)
        return peek(overlay, table, id)

    monkeypatch.setattr(Overlay, "peek", watched)
    library.make("visitor", shelf_id=library.make("shelf")["id"])
    assert "shelf" in looked
    assert LABEL.name not in looked


def test_given_fields_are_kept_and_answered(library: Library):
    made = library.make("shelf", **{"label:colour": "red"})
    assert made["label:colour"] == "red"
    assert rows(library) == [Label(id=made["id"], colour="red", printed=1)]
    assert library.found("shelf")[0] == [made]


def test_update_of_them_is_an_update_of_the_object(library: Library):
    made = library.make("shelf", **{"label:colour": "red"})
    changed = library.change("shelf", made["id"], **{"label:colour": "blue"})
    assert (changed["label:colour"], changed["revision_number"]) == ("blue", 2)
    assert rows(library)[0].printed == 2, "what is not of the API is kept from update to update"


def test_row_goes_when_all_is_default_again(library: Library):
    made = library.make("shelf", library.asked(*ADMIN), rank=7)
    assert (made["rank"], len(rows(library))) == ("#7", 1)
    library.change("shelf", made["id"], library.asked(*ADMIN), rank=1)
    assert not rows(library)


def test_row_goes_with_its_object(library: Library):
    made = library.make("shelf", **{"label:colour": "red"})
    library.turn(library.noun("shelf").delete(library.asked(), made["id"], None))
    assert not rows(library)


def test_refusal_of_a_rule_leaves_nothing(library: Library):
    with pytest.raises(Invalid, match="not called by its colour"):
        library.make("shelf", name="red", **{"label:colour": "red"})
    made = library.make("shelf", name="red")
    with pytest.raises(Invalid, match="not called by its colour"):
        library.change("shelf", made["id"], **{"label:colour": "red"})
    library.change("shelf", made["id"], name="blue")


def test_values_and_names_are_checked_as_the_nouns_own(library: Library):
    with pytest.raises(
        Invalid, match=r"Invalid input for label:colour. Reason: .* exceeds maximum length of 5"
    ):
        library.make("shelf", **{"label:colour": "magenta"})
    with pytest.raises(Invalid, match="Unrecognized attribute"):
        library.make("shelf", printed=1)
    with pytest.raises(Invalid, match="Attribute 'changes' not allowed in POST"):
        library.make("shelf", changes=1)


def test_policy_of_fields_holds_for_them(library: Library):
    with pytest.raises(Forbidden, match="rule:create_shelf:rank"):
        library.make("shelf", rank=3)
    assert library.make("shelf", rank=1)["rank"] == "#1"
    public = library.make("shelf", is_public=True)
    (seen,) = library.found("shelf", library.asked("p2"))[0]
    assert seen["id"] == public["id"]
    assert "rank" not in seen


def test_filters_take_them_by_index_where_one_is(library: Library):
    for colour in ("red", "red", "blue", None):
        library.make("shelf", **{"label:colour": colour})
    for query, count, is_scan in (({"label:colour": "red"}, 2, False), ({"label:colour": ""}, 1, True)):
        shown, scanned = library.found("shelf", library.asked(*ADMIN), **query)
        assert (len(shown), scanned) == (count, is_scan), query
    assert len(library.found("shelf", rank=1)[0]) == 4


def test_lists_are_sorted_by_them(library: Library):
    for colour in ("red", None, "blue"):
        library.make("shelf", **{"label:colour": colour})
    shown, _ = library.found("shelf", sort_key="label:colour", sort_dir="desc", fields="label:colour")
    assert shown == [{"label:colour": colour} for colour in ("red", "blue", None)]


def test_bulk_gives_each_object_its_own(library: Library):
    body = {"shelves": [{"label:colour": "red"}, {}, {"label:colour": "blue"}]}
    made = library.turn(library.noun("shelf").create(library.asked(), body))["shelves"]
    assert [shelf["label:colour"] for shelf in made] == ["red", None, "blue"]
    assert len(rows(library)) == 2


def test_default_may_depend_on_the_object(library: Library):
    public = library.make("shelf", is_public=True)
    assert public["watts"] == 100
    assert library.tables.size(LAMP) == 0
    assert library.make("shelf", watts=100)["watts"] == 100
    assert library.tables.size(LAMP) == 1
    assert len(library.found("shelf", watts=100)[0]) == 2


def test_rule_may_want_to_see_every_write_of_the_object(library: Library):
    made = library.make("shelf")
    assert library.change("shelf", made["id"], name="x")["changes"] == 1
    assert library.change("shelf", made["id"], name="y")["changes"] == 2
