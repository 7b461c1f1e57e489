# SPDX-License-Identifier: Apache-2.0
"""What a client asks before it asks for anything: versions, extensions, the description of the API, health, metrics."""

from alcor.api.openapi import document
from alcor.api.parts import Parts
from alcor.api.wire import Reply, Request, encode, json_reply
from alcor.base.errors import NotFound
from alcor.resource.declare import Extension

PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"

# Extensions that are whole with the engine and this edge, for every noun. Names and dates are Neutron's.
EXTENSIONS = (
    Extension(
        "empty-string-filtering",
        "Empty String Filtering Extension",
        "Allow filtering by attributes with empty string value",
        "2018-05-01T10:00:00-00:00",
    ),
    Extension(
        "filter-validation",
        "Filter parameters validation",
        "Provides validation on filter parameters.",
        "2018-07-04T10:00:00-00:00",
    ),
    Extension(
        "pagination",
        "Pagination support",
        "Extension that indicates that pagination is enabled.",
        "2016-06-12T00:00:00-00:00",
    ),
    Extension(
        "project-id",
        "project_id field enabled",
        "Extension that indicates that project_id field is enabled.",
        "2016-09-09T09:09:09-09:09",
    ),
    Extension(
        "revision-if-match",
        "If-Match constraints based on revision_number",
        "Extension indicating that If-Match based on revision_number is supported.",
        "2016-12-11T00:00:00-00:00",
    ),
    Extension(
        "sort-key-validation",
        "Sort keys validation",
        "Provides validation on sort keys.",
        "2018-07-04T10:00:00-00:00",
    ),
    Extension(
        "sorting",
        "Sorting support",
        "Extension that indicates that sorting is enabled.",
        "2016-06-12T00:00:00-00:00",
    ),
    Extension(
        "standard-attr-description",
        "standard-attr-description",
        "Extension to add descriptions to standard attributes",
        "2016-02-10T10:00:00-00:00",
    ),
    Extension(
        "standard-attr-revisions",
        "Resource revision numbers",
        "This extension will display the revision number of neutron resources.",
        "2016-04-11T10:00:00-00:00",
    ),
    Extension(
        "standard-attr-timestamp",
        "Resource timestamps",
        "Adds created_at and updated_at fields to all Neutron resources that have Neutron standard attributes.",
        "2016-09-12T10:00:00-00:00",
    ),
)


async def versions(_: Parts, request: Request) -> Reply:
    """`GET /`: the versions of the API."""
    href = f"{request.base_url()}/v2.0/"
    links = [{"rel": "self", "href": href}]
    return json_reply(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]})


async def resources(parts: Parts, request: Request) -> Reply:
    """`GET /v2.0/`: the collections."""
    base = f"{request.base_url()}/v2.0"
    found = [
        {
            "name": noun.resource.name,
            "collection": noun.resource.plural,
            "links": [{"rel": "self", "href": f"{base}/{path}"}],
        }
        for path, noun in parts.engine.nouns.items()
        if not noun.gate.is_under
    ]
    for called in parts.engine.calls:
        if collection := called.call.collection:
            links = [{"rel": "self", "href": f"{base}/{called.call.path}"}]
            found.append({"name": collection.removesuffix("s"), "collection": collection, "links": links})
    return json_reply(200, {"resources": found})


async def extensions(parts: Parts, _: Request) -> Reply:
    """`GET /v2.0/extensions`: what this service can, by alias."""
    return json_reply(200, {"extensions": [_shown(extension) for extension in _all(parts).values()]})


async def extension(parts: Parts, _: Request, alias: str) -> Reply:
    """`GET /v2.0/extensions/ALIAS`."""
    known = _all(parts).get(alias)
    if known is None:
        raise NotFound(f"Extension with alias {alias} does not exist")
    return json_reply(200, {"extension": _shown(known)})


async def health(parts: Parts, _: Request) -> Reply:
    """`GET /healthz`: 200 while reads are served, with the revision that they are true at; else 503."""
    position = await parts.store.caught_up()
    return json_reply(200, {"status": "ok", "revision": position.revision}, position.revision)


async def metrics(parts: Parts, _: Request) -> Reply:
    """`GET /metrics`, for Prometheus."""
    return Reply(200, parts.meters.exposition(), kind=PROMETHEUS)


async def openapi(parts: Parts, _: Request) -> Reply:
    """`GET /openapi.json`: the description of this API, made from the declarations."""
    if not parts.openapi:
        parts.openapi = encode(document(parts.engine, parts.world.settings))
    return Reply(200, parts.openapi)


def _all(parts: Parts) -> dict[str, Extension]:
    every = (*EXTENSIONS, *parts.engine.extensions)
    return {one.alias: one for one in sorted(every, key=lambda one: one.alias)}


def _shown(one: Extension) -> dict[str, object]:
    return {
        "alias": one.alias,
        "name": one.name,
        "description": one.description,
        "updated": one.updated,
        "links": [],
    }
