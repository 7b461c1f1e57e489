# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 description of the API, made from the declarations: what is taken, answered and refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import msgspec

from alcor.base.config import Settings
from alcor.resource.attribute import Attribute
from alcor.resource.declare import Action, Call
from alcor.resource.engine import Engine, Noun
from alcor.resource.query import CHANGED_SINCE
from alcor.resource.shape import PROJECT, TENANT, Shape
from alcor.resource.tags import TAGS

Schema = dict[str, Any]

_REF = "#/components/schemas/{name}"
_REFUSALS = {
    400: "The request is malformed or breaks a rule.",
    401: "Nobody knows who asks.",
    403: "The caller's roles do not allow this.",
    404: "There is no such object, or the caller may not see it.",
    405: "The URL does not take this method.",
    409: "The object is in use, the value is taken, or the quota is used up.",
    412: "If-Match named another revision.",
    413: "The body or the bulk is over a limit.",
    415: "The body is not JSON.",
    500: "An unexpected error; the log has it under the request id.",
    501: "It would have to change what another system keeps.",
    503: "The log is out of reach, or whether the change was made is not known; the message says which.",
}
_OF_READING = (400, 401, 403, 404, 405, 500, 503)
_OF_WRITING = (400, 401, 403, 404, 405, 409, 412, 413, 415, 500, 501, 503)
_OF_DISCOVERY = (401, 404, 405, 500, 503)
_HEADERS = {
    "X-Openstack-Request-Id": {
        "description": "The id of the request, in every log line about it.",
        "schema": {"type": "string"},
    },
    "X-Alcor-Revision": {
        "description": "The revision of the log at which the answer was true.",
        "schema": {"type": "integer", "minimum": 0},
    },
}
_DESCRIPTION = (
    "Networks, subnets, ports and security groups with the semantics of the OpenStack Networking API v2.0. With auth"
    " `none` the headers X-Project-Id, X-User-Id and X-Roles say who asks. Booleans and numbers are taken as text too."
)


def document(engine: Engine, settings: Settings) -> Schema:
    """The whole description."""
    paths: Schema = {}
    schemas: Schema = {"error": _error()}
    for path, noun in engine.nouns.items():
        schemas |= _schemas(noun)
        _add(paths, f"/v2.0/{path}", _collection(noun, settings))
        _add(paths, f"/v2.0/{path}/{{{noun.called}}}", _one(noun))
    for noun in engine.nouns.values():
        for action in noun.actions:
            _add(paths, f"/v2.0/{noun.path_of(action)}", {action.method.lower(): _action(noun, action)})
    for called in engine.calls:
        _add(paths, f"/v2.0/{called.call.path}", {called.call.method.lower(): _call(called.call)})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Alcor", "version": version("alcor"), "description": _DESCRIPTION},
        "paths": _discovery() | paths,
        "components": {"schemas": schemas},
    }


def _add(paths: Schema, path: str, methods: Schema) -> None:
    """Adds what a URL can, with what stands in it."""
    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]
    paths.setdefault(path, {"parameters": named} if named else {}).update(methods)


def _call(call: Call) -> Schema:
    refusals = _OF_READING if call.method == "GET" else _OF_WRITING
    answered: Schema | None = None if call.status == 204 else {"type": "object"}
    described: Schema = {
        "operationId": f"{call.method.lower()}_{re.sub(r'[^a-z]+', '_', call.path).strip('_')}",
        "summary": call.doc,
        "responses": _responses(call.status, answered, refusals),
    }
    if call.method in {"POST", "PUT"}:
        described["requestBody"] = _body({"type": "object"})
    return described


def _schemas(noun: Noun[Any]) -> Schema:
    """The noun as it is answered, created and updated, and the types of its parts."""
    shape, name = noun.shape, noun.resource.name
    kinds, parts = msgspec.json.schema_components(
        [attribute.kind for attribute in shape.attributes], ref_template=_REF, schema_hook=_anything
    )
    of_field = {
        attribute.field: _field(attribute, kind)
        for attribute, kind in zip(shape.attributes, kinds, strict=True)
    }
    answered = {one.name: of_field[one.field] for one in shape.attributes if one.api.visible}
    answered |= {one.name: dict(one.schema) for one in shape.computed if one.visible}
    created = {one.name: of_field[one.field] for one in shape.attributes if one.api.post}
    for properties in (answered, created):
        if PROJECT in properties:
            properties[TENANT] = properties[PROJECT]
    updated = {one.name: of_field[one.field] for one in shape.attributes if one.api.put}
    required = [one.name for one in shape.attributes if one.is_required]
    return {
        **parts,
        name: _object(answered) | {"description": noun.resource.doc},
        f"{name}_create": _object(created, required),
        f"{name}_update": _object(updated),
    }


def _anything(kind: type) -> Schema:
    """The schema of `object`, a value that is only kept."""
    assert kind is object, kind
    return {"description": "Any JSON value."}


def _field(attribute: Attribute, kind: Schema) -> Schema:
    api = attribute.api
    schema = dict(api.schema) if api.schema is not None else dict(kind)
    if api.choices:
        schema["enum"] = list(api.choices)
    for word, bound in (("minimum", api.minimum), ("maximum", api.maximum), ("maxLength", api.max_length)):
        if bound is not None:
            schema[word] = bound
    if attribute.is_optional:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


def _collection(noun: Noun[Any], settings: Settings) -> Schema:
    resource = noun.resource
    name, plural = resource.name, resource.plural
    listed = _object({plural: _many(name), f"{plural}_links": {"type": "array", "items": _LINK}}, [plural])
    methods: Schema = {
        "get": {
            "operationId": f"list_{plural}",
            "summary": f"List {plural}.",
            "parameters": _list_parameters(noun.shape),
            "responses": _responses(200, listed, _OF_READING),
        }
    }
    if resource.on_create is not None:
        bulk = _many(f"{name}_create") | {"minItems": 1, "maxItems": settings.bulk_max}
        methods["post"] = {
            "operationId": f"create_{name}",
            "summary": f"Create one, or a bulk of {plural} all or nothing.",
            "requestBody": _body(
                {
                    "oneOf": [
                        _object({name: _ref(f"{name}_create")}, [name]),
                        _object({plural: bulk}, [plural]),
                    ]
                }
            ),
            "responses": _responses(
                201,
                {"oneOf": [_object({name: _ref(name)}, [name]), _object({plural: _many(name)}, [plural])]},
                _OF_WRITING,
            ),
        }
    return methods


def _one(noun: Noun[Any]) -> Schema:
    resource = noun.resource
    name = resource.name
    answered = _object({name: _ref(name)}, [name])
    methods: Schema = {
        "get": {
            "operationId": f"show_{name}",
            "summary": f"Show one {name}.",
            "parameters": [_many_of("fields", {"type": "string"}, "Answer only these.")],
            "responses": _responses(200, answered, _OF_READING),
        },
    }
    if resource.on_update is not None:
        methods["put"] = {
            "operationId": f"update_{name}",
            "summary": f"Change one {name}.",
            "parameters": [_IF_MATCH],
            "requestBody": _body(_object({name: _ref(f"{name}_update")}, [name])),
            "responses": _responses(200, answered, _OF_WRITING),
        }
    if resource.on_delete is not None:
        methods["delete"] = {
            "operationId": f"delete_{name}",
            "summary": f"Delete one {name}.",
            "parameters": [_IF_MATCH],
            "responses": _responses(204, None, _OF_WRITING),
        }
    return methods


def _action(noun: Noun[Any], action: Action[Any]) -> Schema:
    is_read = action.method == "GET"
    responses = _responses(
        action.status,
        None if action.status == 204 else dict(action.answers or {"type": "null"}),
        _OF_READING if is_read else _OF_WRITING,
    )
    described: Schema = {
        "operationId": f"{action.method.lower()}_{noun.resource.name}_{action.of}_{action.name}",
        "summary": action.doc or f"{action.name.replace('_', ' ').capitalize()}.",
        "responses": responses,
    }
    if not is_read and action.of != "collection":
        described["parameters"] = [_IF_MATCH]
    if action.takes is not None:
        described["requestBody"] = _body(dict(action.takes))
    return described


def _list_parameters(shape: Shape[Any]) -> list[Schema]:
    """Filters, order and page."""
    tenant = [TENANT] if shape.is_standard else []
    changed_since = _parameter(
        CHANGED_SINCE, {"type": "string", "format": "date-time"}, "Only those changed then or later."
    )
    filters = [one.name for one in shape.attributes if one.api.filter and one.api.visible]
    filters += [
        *(name for name in shape.tag_filters if name != TAGS),
        *tenant,
        *(one.name for one in shape.computed if one.filter),
    ]
    keys = [one.name for one in shape.attributes if one.api.sort and one.api.visible]
    keys += [*tenant, *(one.name for one in shape.computed if one.sort)]
    return [
        *(_many_of(name, {"type": "string"}, "Only those with one of these values.") for name in filters),
        *([changed_since] if shape.is_standard else []),
        _many_of("fields", {"type": "string"}, "Answer only these."),
        _many_of("sort_key", {"enum": keys}, "Sort by these, the first first; as many as sort_dir."),
        _many_of("sort_dir", {"enum": ["asc", "desc"]}, "The direction of each sort_key."),
        _parameter("limit", {"type": "integer", "minimum": 0}, "The length of a page; 0: no pages."),
        _parameter("marker", {"type": "string"}, "The id of the last object of the page before."),
        _parameter("page_reverse", {"type": "boolean"}, "The page before the marker, not the one after it."),
    ]


def _discovery() -> Schema:
    extension = {name: {"type": "string"} for name in ("alias", "name", "description", "updated")} | {
        "links": {"type": "array"}
    }
    alias = {"name": "alias", "in": "path", "required": True, "schema": {"type": "string"}}
    plain = {"type": "object"}
    return {
        "/": _read("list_versions", "The versions of the API.", plain),
        "/v2.0": _read("list_resources", "The collections.", plain),
        "/v2.0/extensions": _read(
            "list_extensions",
            "What this service can.",
            _object({"extensions": {"type": "array", "items": _object(extension)}}, ["extensions"]),
        ),
        "/v2.0/extensions/{alias}": {"parameters": [alias]}
        | _read("show_extension", "Whether it can this.", _object({"extension": _object(extension)})),
        "/healthz": _read("show_health", "200 while reads are served.", plain),
        "/metrics": {
            "get": {
                "operationId": "show_metrics",
                "summary": "Figures for Prometheus.",
                "responses": {
                    "200": {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
                }
                | _refusals(_OF_DISCOVERY),
            }
        },
        "/openapi.json": _read("show_openapi", "This description.", plain),
    }


def _read(operation: str, summary: str, schema: Schema) -> Schema:
    responses = _responses(200, schema, _OF_DISCOVERY)
    return {"get": {"operationId": operation, "summary": summary, "responses": responses}}


def _responses(status: int, schema: Schema | None, refusals: Iterable[int]) -> Schema:
    done: Schema = {"description": "Done.", "headers": _HEADERS}
    if schema is not None:
        done["content"] = {"application/json": {"schema": schema}}
    return {str(status): done} | _refusals(refusals)


def _refusals(statuses: Iterable[int]) -> Schema:
    content = {"application/json": {"schema": _ref("error")}}
    return {str(status): {"description": _REFUSALS[status], "content": content} for status in statuses}


def _error() -> Schema:
    text = {"type": "string"}
    inside = _object({"type": text, "message": text, "detail": text}, ["type", "message", "detail"])
    return _object({"NeutronError": inside}, ["NeutronError"])


def _object(properties: Mapping[str, Any], required: Iterable[str] = ()) -> Schema:
    schema: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if required := list(required):
        schema["required"] = required
    return schema


def _body(schema: Schema) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> Schema:
    return {"$ref": _REF.format(name=name)}


def _many(name: str) -> Schema:
    return {"type": "array", "items": _ref(name)}


def _parameter(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _many_of(name: str, schema: Schema, description: str) -> Schema:
    return _parameter(name, {"type": "array", "items": schema}, description)


_LINK = _object({"rel": {"enum": ["next", "previous"]}, "href": {"type": "string"}}, ["rel", "href"])
_IF_MATCH: Schema = {
    "name": "If-Match",
    "in": "header",
    "description": "`revision_number=N`: only if that is the object's revision number.",
    "schema": {"type": "string"},
}
