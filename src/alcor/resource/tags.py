# SPDX-License-Identifier: Apache-2.0
"""Tags of every noun that is taggable: the URLs under an object, the filters, the extensions (Neutron 29's tagging).

A tag is a text that means something to its users only. It is kept with its object: who has none pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alcor.base.errors import Invalid, NotFound
from alcor.resource.declare import Action, Context, Extension, Method, Resource, Standard, revised
from alcor.resource.parse import TAG_LENGTH_MAX, TAGS_MAX, few_tags, parse_tag, parse_tags
from alcor.store.reader import Txn

TAGS = "tags"
FILTERS = (TAGS, "tags-any", "not-tags", "not-tags-any")

_SCHEMA = {
    "type": "object",
    "properties": {
        TAGS: {
            "type": "array",
            "items": {"type": "string", "maxLength": TAG_LENGTH_MAX},
            "maxItems": TAGS_MAX,
            "uniqueItems": True,
        }
    },
    "required": [TAGS],
}
_NOTHING = {"type": "null"}


def wanted(texts: Sequence[str]) -> frozenset[str]:
    """The tags that a filter names, divided by commas."""
    return frozenset(tag for text in texts for tag in text.split(","))


def fulfils(name: str, texts: Sequence[str]) -> Callable[[Any], bool]:
    """The filter of this name as a predicate on objects."""
    asked = wanted(texts)
    if name == TAGS:
        return lambda stored: asked.issubset(stored.tags)
    if name == "tags-any":
        return lambda stored: not asked.isdisjoint(stored.tags)
    if name == "not-tags":
        return lambda stored: not asked.issubset(stored.tags)
    return lambda stored: asked.isdisjoint(stored.tags)


def actions(resource: Resource[Any]) -> tuple[Action[Any], ...]:
    """What can be done with the tags of an object of this noun."""

    def action(method: Method, perform: Callable[..., Any], **more: Any) -> Action[Any]:
        verb = {"GET": "get", "PUT": "update", "POST": "create", "DELETE": "delete"}[method]
        return Action(TAGS, method, perform, rule=f"{verb}_{resource.name}:{TAGS}", **more)

    def keep(txn: Txn, ctx: Context, stored: Standard, tags: tuple[str, ...]) -> None:
        if tags != stored.tags:
            txn.update(resource.table, revised(ctx, stored, tags=_counted(resource, tags)))

    def replaced(txn: Txn, ctx: Context, stored: Standard, body: Mapping[str, Any]) -> object:
        given = _given(resource, body)
        kept = tuple(tag for tag in stored.tags if tag in given)
        keep(txn, ctx, stored, _union(kept, given))
        return body

    def added(txn: Txn, ctx: Context, stored: Standard, body: Mapping[str, Any]) -> object:
        keep(txn, ctx, stored, _union(stored.tags, _given(resource, body)))
        return body

    def added_one(txn: Txn, ctx: Context, stored: Standard, _: Mapping[str, Any]) -> None:
        keep(txn, ctx, stored, _union(stored.tags, (_valid(ctx.child),)))

    def removed(txn: Txn, ctx: Context, stored: Standard, _: Mapping[str, Any]) -> None:
        keep(txn, ctx, stored, ())

    def removed_one(txn: Txn, ctx: Context, stored: Standard, body: Mapping[str, Any]) -> None:
        _shown_one(txn, ctx, stored, body)
        keep(txn, ctx, stored, tuple(tag for tag in stored.tags if tag != ctx.child))

    called = resource.name.replace("_", " ")
    return (
        action("GET", _shown, answers=_SCHEMA, doc=f"The tags of a {called}."),
        action("PUT", replaced, takes=_SCHEMA, answers=_SCHEMA, doc="Replaces them."),
        action("POST", added, takes=_SCHEMA, answers=_SCHEMA, doc="Adds some."),
        action("DELETE", removed, status=204, doc="Removes them all."),
        action("GET", _shown_one, of="child", status=204, doc=f"Whether a {called} has the tag."),
        action("PUT", added_one, of="child", status=201, answers=_NOTHING, doc="Adds the tag."),
        action("DELETE", removed_one, of="child", status=204, doc="Removes the tag."),
    )


def extensions(resources: Sequence[Resource[Any]]) -> tuple[Extension, ...]:
    """The extensions that these nouns make whole."""
    taggable = sorted(resource.name for resource in resources if resource.is_taggable)
    if not taggable:
        return ()
    tagging = (
        Extension(
            "standard-attr-tag",
            f"Tag support for resources with standard attribute: {', '.join(taggable)}",
            "Enables to set tag on resources with standard attribute.",
            "2017-01-01T00:00:00-00:00",
        ),
        Extension(
            "tag-creation",
            "Tag creation extension",
            "Allow to create multiple tags for a resource",
            "2024-23-07T10:00:00-00:00",  # as Neutron has it
        ),
    )
    at_create = [resource.plural for resource in resources if resource.is_tagged_at_create]
    return tagging + tuple(
        Extension(
            f"tag-{plural}-during-bulk-creation",
            f"Tag {plural.capitalize()} During Bulk Creation",
            f"Allow to tag {plural} during bulk creation",
            "2019-12-29T19:00:00-00:00",
        )
        for plural in at_create
    )


def _shown(_txn: Txn, _ctx: Context, stored: Standard, _body: Mapping[str, Any]) -> object:
    return {TAGS: stored.tags}


def _shown_one(_txn: Txn, ctx: Context, stored: Standard, _body: Mapping[str, Any]) -> None:
    if _valid(ctx.child) not in stored.tags:
        raise NotFound(f"Tag {ctx.child} could not be found.", type="TagNotFound")


def _given(resource: Resource[Any], body: Mapping[str, Any]) -> tuple[str, ...]:
    if TAGS not in body:
        raise _invalid("Invalid tags body")
    try:
        tags = parse_tags(body[TAGS])
    except ValueError as wrong:
        raise _invalid(str(wrong)) from None
    return _counted(resource, tags)


def _counted(resource: Resource[Any], tags: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return few_tags(tags)
    except ValueError as wrong:
        raise Invalid(f"Bad {resource.plural} request: {wrong}.", type="BadRequest") from None


def _valid(tag: str) -> str:
    try:
        return parse_tag(tag)
    except ValueError as wrong:
        raise _invalid(str(wrong)) from None


def _invalid(reason: str) -> Invalid:
    return Invalid(f"Invalid input for operation: {reason}.", type="InvalidInput")


def _union(tags: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*tags, *more)))
