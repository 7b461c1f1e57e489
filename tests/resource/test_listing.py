# SPDX-License-Identifier: Apache-2.0
"""Lists against a plain model: whatever is asked, by index, scan or page, the same objects come in the same order."""

import random
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings

from alcor.base.errors import Invalid
from alcor.resource.listing import SLICE_ROWS
from alcor.resource.query import PARAMETERS_MAX, parse_query
from alcor.store.tables import Under
from tests.resource.widget import Shop, plain

Shown = dict[str, Any]


def listed(shop: Shop, *asker: str, **query: Any) -> list[Shown]:
    asked = shop.asked(*asker)
    parsed = parse_query(shop.widgets.shape, urlencode(query, doseq=True).encode(), -1)
    found = shop.widgets.find(asked, parsed, shop.tables)
    return [
        plain(shown)
        for stored in found.slices()
        for shown in shop.widgets.answers(asked, parsed.fields, shop.tables, stored)
    ]


def stocked(count: int, seed: int = 1) -> tuple[Shop, list[Shown]]:
    """A shop with many widgets, and all of them as an admin sees them."""
    shop, chance = Shop(), random.Random(seed)
    for _ in range(count):
        shop.make(
            name=chance.choice(["", "a", "b", "c"]),
            size=chance.randint(1, 9),
            colour=chance.choice(["red", "blue", None]),
            project_id=chance.choice(["p1", "p2"]),
            is_public=chance.random() < 0.1,
            parts=[{"kind": chance.choice(["x", "y"]), "size": 1}] if chance.random() < 0.5 else [],
        )
    return shop, listed(shop)


SHOP, ALL = stocked(3 * SLICE_ROWS + 7)

FILTERS = {
    "name": (["", "a", "b", "zorp"], lambda shown, text: shown["name"] == text),
    "size": (["1", "5", "9"], lambda shown, text: str(shown["size"]) == text),
    "colour": (["red", "blue", ""], lambda shown, text: (shown["colour"] or "") == text),
    "project_id": (["p1", "p2", "p3"], lambda shown, text: shown["project_id"] == text),
    "is_public": (["true", "0"], lambda shown, text: shown["is_public"] == (text == "true")),
    "is_named": (["true", "false"], lambda shown, text: str(shown["is_named"]).lower() == text),
    "doubled": (["2", "10"], lambda shown, text: str(shown["doubled"]) == text),
    "parts": (["kind=x", "kind=y"], lambda shown, text: text[-1] in {part.kind for part in shown["parts"]}),
    "id": ([ALL[0]["id"], ALL[200]["id"], "none"], lambda shown, text: shown["id"] == text),
}
filters = strategies.fixed_dictionaries(
    {},
    optional={
        name: strategies.lists(strategies.sampled_from(texts), min_size=1, max_size=2, unique=True)
        for name, (texts, _) in FILTERS.items()
    },
)
sorts = strategies.lists(
    strategies.tuples(
        strategies.sampled_from(["name", "size", "colour", "doubled", "is_public"]),
        strategies.sampled_from(["asc", "desc"]),
    ),
    max_size=2,
    unique_by=lambda sort: sort[0],
)


def fits(shown: Shown, wanted: dict[str, list[str]]) -> bool:
    return all(any(FILTERS[name][1](shown, text) for text in texts) for name, texts in wanted.items())


def in_order(shown: list[Shown], order: list[tuple[str, str]]) -> list[Shown]:
    """Sorted by the keys; equals by id, in the direction of the list."""
    is_descending = bool(order) and all(direction == "desc" for _, direction in order)
    found = sorted(shown, key=lambda each: each["id"], reverse=is_descending)
    for name, direction in reversed(order):
        found.sort(
            key=lambda each: (
                (each[name] is not None, each[name] or 0) if each[name] is None else (True, each[name])
            ),
            reverse=direction == "desc",
        )
    return found


@given(wanted=filters, order=sorts, project=strategies.sampled_from(["admin", "p1", "p3"]))
@hypothesis_settings(max_examples=150)
def test_list_is_what_fits_in_the_order_asked_for(wanted: Any, order: Any, project: str):
    asker = ("p9", "admin") if project == "admin" else (project, "reader")
    seen = [each for each in ALL if project in ("admin", each["project_id"]) or each["is_public"]]
    expected = in_order([each for each in seen if fits(each, wanted)], order)
    found = listed(SHOP, *asker, **wanted, **asked_order(order))
    assert [each["id"] for each in found] == [each["id"] for each in expected]


@given(wanted=filters, order=sorts, limit=strategies.integers(1, 150), backwards=strategies.booleans())
@hypothesis_settings(max_examples=80)
def test_pages_one_after_the_other_are_the_whole_list(wanted: Any, order: Any, limit: int, backwards: bool):
    whole = [each["id"] for each in listed(SHOP, **wanted, **asked_order(order), limit=100_000)]
    pages, marker = [], {}
    while True:
        turned = {"page_reverse": "True"} if backwards else {}
        page = [
            each["id"]
            for each in listed(SHOP, **wanted, **asked_order(order), limit=limit, **marker, **turned)
        ]
        if not page:
            break
        assert len(page) <= limit
        pages.append(page)
        marker = {"marker": page[0] if backwards else page[-1]}
    ordered = reversed(pages) if backwards else pages
    assert [each for page in ordered for each in page] == whole


def asked_order(order: list[tuple[str, str]]) -> dict[str, list[str]]:
    return {"sort_key": [name for name, _ in order], "sort_dir": [word for _, word in order]} if order else {}


def found_by(query: str, *asker: str) -> Any:
    shop = SHOP
    return shop.widgets.find(
        shop.asked(*asker), parse_query(shop.widgets.shape, query.encode(), -1), shop.tables
    )


def test_filter_with_an_index_does_not_look_at_the_whole_table():
    for query in ("name=a", "parts=kind%3Dx", "is_named=true", f"id={ALL[0]['id']}", "name=a&colour=red"):
        assert not found_by(query).is_scan, query
    assert not found_by("", "p1", "reader").is_scan
    assert not found_by("limit=10").is_scan, "a page in order of id seeks"
    for query in ("colour=red", "name=", "is_named=false", "sort_key=name&sort_dir=asc&limit=10", ""):
        assert found_by(query).is_scan, query


def test_of_two_indexes_the_one_with_fewer_objects_serves():
    found = found_by("name=a&project_id=p1").found
    assert isinstance(found, Under)
    assert found.key == "a"


def test_page_of_few_looks_at_few():
    steps = list(found_by("limit=3").slices())
    assert [len(step) for step in steps] == [3]


def test_no_step_of_a_list_looks_at_more_than_a_slice():
    for query in ("", "sort_key=size&sort_dir=desc", "colour=red", "name=a", "limit=300"):
        assert max(len(step) for step in found_by(query).slices()) <= SLICE_ROWS, query


def test_what_is_deleted_while_a_sorted_list_is_read_is_left_out():
    shop, _ = stocked(2 * SLICE_ROWS)
    parsed = parse_query(shop.widgets.shape, b"sort_key=size&sort_dir=asc", -1)
    steps = shop.widgets.find(shop.asked(), parsed, shop.tables).slices()
    first = next(step for step in steps if step)
    for widget in listed(shop):
        shop.turn(shop.widgets.delete(shop.asked(), widget["id"], None))
    assert len(first) + sum(len(step) for step in steps) == SLICE_ROWS


def test_after_a_marker_that_the_caller_does_not_see_the_list_begins_at_its_start():
    theirs = next(each for each in ALL if each["project_id"] == "p2" and not each["is_public"])
    first = listed(SHOP, "p1", "reader", limit=5)
    assert listed(SHOP, "p1", "reader", limit=5, marker=theirs["id"]) == first


def test_query_with_too_many_parameters_is_refused():
    many = "&".join("id=x" for _ in range(PARAMETERS_MAX + 1))
    with pytest.raises(Invalid, match="more than"):
        parse_query(SHOP.widgets.shape, many.encode(), -1)


@pytest.mark.parametrize("text", [b"name=%ff%fe", b"name=\xff"])
def test_query_that_is_no_utf8_is_refused(text: bytes):
    with pytest.raises(Invalid, match="UTF-8"):
        parse_query(SHOP.widgets.shape, text, -1)
