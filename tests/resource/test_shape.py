# SPDX-License-Identifier: Apache-2.0
"""One declaration gives what is taken, what is kept and what is answered."""

import pytest

from alcor.base.errors import Invalid
from tests.resource.widget import WIDGET, Shop, plain


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_defaults_complete_an_object(shop: Shop):
    made = shop.make()
    assert made == {
        "id": made["id"],
        "project_id": "p1",
        "tenant_id": "p1",
        "description": "",
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
        "revision_number": 1,
        "name": "",
        "size": 5,
        "colour": None,
        "mac": None,
        "ip": None,
        "cidr": None,
        "widget:open": False,
        "parts": (),
        "words": (),
        "price": "0 EUR",
        "serial": 0,
        "is_public": False,
        "doubled": 10,
        "is_named": False,
        "gadgets": [],
    }


def test_wire_name_stands_for_the_field(shop: Shop):
    made = shop.make(**{"widget:open": "yes"})
    assert made["widget:open"] is True
    with pytest.raises(Invalid, match=r"Unrecognized attribute\(s\) 'is_open'"):
        shop.make(is_open=True)


def test_field_without_annotation_is_not_of_the_api(shop: Shop):
    with pytest.raises(Invalid, match="Unrecognized"):
        shop.make(internal=1)
    assert "internal" not in shop.make()


def test_hidden_field_is_kept_and_never_answered(shop: Shop):
    made = shop.make(secret="s")
    assert "secret" not in made
    assert shop.tables.get(WIDGET, made["id"]).secret == "s"


def test_bounds_and_choices_are_held(shop: Shop):
    for fields, reason in (
        ({"size": 0}, "'0' is too small - must be at least '1'"),
        ({"size": "10"}, "'10' is too large - must be no larger than '9'"),
        ({"name": "n" * 11}, "exceeds maximum length of 10"),
        ({"colour": "green"}, "'green' is not in"),
        ({"mac": 7}, "'7' is not a valid MAC address"),
        ({"parts": [{"kind": "x"}]}, "is not valid"),
    ):
        with pytest.raises(Invalid, match=reason) as refused:
            shop.make(**fields)
        assert refused.value.message.startswith(f"Invalid input for {next(iter(fields))}. Reason: ")
        assert refused.value.message.endswith(".")


def test_null_is_none_where_the_type_has_it_and_the_default_where_it_is_nullable(shop: Shop):
    made = shop.make(colour=None, mac=None, words=None)
    assert (made["colour"], made["mac"], made["words"]) == (None, None, ())
    with pytest.raises(Invalid, match="Invalid input for parts"):
        shop.make(parts=None)


def test_objects_of_another_noun_are_answered_as_that_noun_answers_them(shop: Shop):
    widget = shop.make()
    gadget = shop.make("gadget", widget_id=widget["id"])
    shown = plain(shop.widgets.show(shop.asked(), widget["id"], (), shop.tables)["widget"])
    assert shown["gadgets"] == [gadget]


def test_who_asks_decides_which_fields_are_shown(shop: Shop):
    widget = shop.make(is_public=True, project_id="p1")

    def seen(*asker: str) -> set[str]:
        shown = plain(shop.widgets.show(shop.asked(*asker), widget["id"], (), shop.tables)["widget"])
        return set(shown) & {"price", "serial", "name"}

    assert seen("p9", "admin") == {"price", "serial", "name"}
    assert seen("p1", "reader") == {"price", "name"}
    assert seen("p2", "reader") == {"name"}


def test_choices_of_fields_are_remembered_within_a_bound(shop: Shop):
    widget = shop.make(name="n")
    for number in range(1_000):
        shown = shop.widgets.show(shop.asked(), widget["id"], ("name", f"x{number}"), shop.tables)
        assert plain(shown["widget"]) == {"name": "n"}
