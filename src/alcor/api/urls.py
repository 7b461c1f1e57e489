# SPDX-License-Identifier: Apache-2.0
"""Every URL of the API. `{noun}` stands for each noun's path; what a noun does not declare is 405."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from alcor.api import discovery, nouns
from alcor.api.parts import Parts
from alcor.api.wire import Reply, Request
from alcor.resource.declare import Action
from alcor.resource.engine import Called, Engine, Noun

Handler = Callable[..., Awaitable[Reply]]  # (parts, request, [noun], [last part of the path])


@dataclass(frozen=True)
class Url:
    """One URL and what each method does there."""

    path: str
    methods: Mapping[str, Handler]
    is_open: bool = False  # answered to anybody, before the caller is known


URLS = (
    Url("/", {"GET": discovery.versions}, is_open=True),
    Url("/v2.0", {"GET": discovery.resources}),
    Url("/v2.0/extensions", {"GET": discovery.extensions}),
    Url("/v2.0/extensions/{alias}", {"GET": discovery.extension}),
    Url("/v2.0/{noun}", {"GET": nouns.find, "POST": nouns.create}),
    Url("/v2.0/{noun}/{id}", {"GET": nouns.show, "PUT": nouns.update, "DELETE": nouns.delete}),
    Url("/healthz", {"GET": discovery.health}, is_open=True),
    Url("/metrics", {"GET": discovery.metrics}, is_open=True),
    Url("/openapi.json", {"GET": discovery.openapi}, is_open=True),
)


@dataclass(frozen=True)
class Place:
    """A URL made ready: its handlers by method, `noun` already given to them."""

    methods: dict[str, Handler]
    is_open: bool
    allow: bytes
    label: str  # in metrics: the noun's name, or the URL


@dataclass
class Node:
    """What follows a part of a path: parts by name, and any other."""

    named: dict[str, Node] = field(default_factory=dict)
    other: Node | None = None
    place: Place | None = None


@dataclass
class Map:
    """Finds the place of a path: exactly, or part by part, where `{...}` stands for any text."""

    exact: dict[str, Place] = field(default_factory=dict)
    root: Node = field(default_factory=Node)

    def put(self, path: str, place: Place) -> None:
        """Adds a place."""
        if "{" not in path:
            self.exact[path] = place
        node = self.root
        for part in path.split("/"):
            if part.startswith("{"):
                node.other = node = node.other or Node()
            else:
                node = node.named.setdefault(part, Node())
        node.place = place

    def find(self, path: str) -> tuple[Place | None, tuple[str, ...]]:
        """The place, and the texts that stand for its `{...}`. A slash at the end means nothing."""
        place = self.exact.get(path)
        if place is not None:
            return place, ()
        node, texts = self.root, []
        for part in path.removesuffix("/").split("/"):
            following = node.named.get(part)
            if following is None:
                following = node.other if part else None
                texts.append(part)
            if following is None:
                return None, ()
            node = following
        return node.place, tuple(texts)


def made(engine: Engine) -> Map:
    """The URLs of these nouns."""
    places = Map()
    taken: set[str] = set()
    for path, methods, label, is_open in (*_all(engine), *_calls(engine)):
        template = re.sub(r"{\w+}", "{}", path)
        assert template not in taken, f"{path} is declared twice"
        taken.add(template)
        allowed = sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])})
        place = Place(methods, is_open, ", ".join(allowed).encode(), label)
        for spelled in _spellings(path):
            places.put(spelled, place)
    return places


def _spellings(path: str) -> set[str]:
    """The path, and as Neutron takes it too: the collection with hyphens or with underscores alone."""
    root, version, *rest = path.split("/")
    if not rest:
        return {path}
    collection, *more = rest
    names = {collection, collection.replace("_", "-"), collection.replace("-", "_")}
    return {"/".join((root, version, name, *more)) for name in names}


def _all(engine: Engine) -> Iterable[tuple[str, dict[str, Handler], str, bool]]:
    for url in URLS:
        if "{noun}" not in url.path:
            yield url.path, dict(url.methods), url.path, url.is_open
            continue
        for path, noun in engine.nouns.items():
            methods = {
                method: _given(handler, noun)
                for method, handler in url.methods.items()
                if _declares(noun, method)
            }
            yield url.path.replace("{noun}", path), methods, noun.resource.name, url.is_open
    for noun in engine.nouns.values():
        by_path: dict[str, dict[str, Handler]] = {}
        for action in noun.actions:
            by_path.setdefault("/v2.0/" + noun.path_of(action), {})[action.method] = _given(
                nouns.act, noun, action
            )
        for path, methods in by_path.items():
            yield path, methods, noun.resource.name, False


def _calls(engine: Engine) -> Iterable[tuple[str, dict[str, Handler], str, bool]]:
    by_path: dict[str, dict[str, Handler]] = {}
    for called in engine.calls:
        by_path.setdefault(called.call.path, {})[called.call.method] = partial(_call, called)
    for path, methods in by_path.items():
        yield f"/v2.0/{path}", methods, path.partition("/")[0], False


def _call(called: Called, parts: Parts, request: Request, *names: str) -> Awaitable[Reply]:
    return nouns.call(parts, request, called, *names)


def _given(handler: Handler, noun: Noun[Any], *action: Action[Any]) -> Handler:
    def handle(parts: Parts, request: Request, *ids: str) -> Awaitable[Reply]:
        return handler(parts, request, noun, *action, *ids)

    def handle_under(parts: Parts, request: Request, under: str, *ids: str) -> Awaitable[Reply]:
        request.known().under = under
        return handler(parts, request, noun, *action, *ids)

    return handle_under if noun.gate.is_under else handle


def _declares(noun: Noun[Any], method: str) -> bool:
    resource = noun.resource
    by_method = {"POST": resource.on_create, "PUT": resource.on_update, "DELETE": resource.on_delete}
    return method == "GET" or by_method[method] is not None
