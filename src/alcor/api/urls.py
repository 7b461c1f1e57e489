# SPDX-License-Identifier: Apache-2.0
"""Every URL of the API. `{noun}` stands for each noun's path; what a noun does not declare is 405."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alcor.api import discovery, nouns
from alcor.api.parts import Parts
from alcor.api.wire import Reply, Request
from alcor.resource.engine import Engine, Noun

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
class Map:
    """Finds the place of a path: exactly, or by all but its last part."""

    exact: dict[str, Place] = field(default_factory=dict)
    under: dict[str, Place] = field(default_factory=dict)

    def find(self, path: str) -> tuple[Place | None, tuple[str, ...]]:
        """The place, and the last part of the path where the place takes one. A slash at the end means nothing."""
        place = self.exact.get(path)
        if place is not None:
            return place, ()
        parent, _, last = path.rpartition("/")
        if last:
            return self.under.get(parent), (last,)
        return self.exact.get(parent), ()


def made(engine: Engine) -> Map:
    """The URLs of these nouns."""
    places = Map()
    for url in URLS:
        for path, methods, label in _expanded(url, engine):
            allowed = sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])})
            place = Place(methods, url.is_open, ", ".join(allowed).encode(), label)
            parent, _, last = path.rpartition("/")
            if last.startswith("{"):
                places.under[parent] = place
            else:
                places.exact[path] = place
    return places


def _expanded(url: Url, engine: Engine) -> Iterable[tuple[str, dict[str, Handler], str]]:
    if "{noun}" not in url.path:
        yield url.path, dict(url.methods), url.path
        return
    for path, noun in engine.nouns.items():
        methods = {
            method: _given(handler, noun)
            for method, handler in url.methods.items()
            if _declares(noun, method)
        }
        yield url.path.replace("{noun}", path), methods, noun.resource.name


def _given(handler: Handler, noun: Noun[Any]) -> Handler:
    def handle(parts: Parts, request: Request, *last: str) -> Awaitable[Reply]:
        return handler(parts, request, noun, *last)

    return handle


def _declares(noun: Noun[Any], method: str) -> bool:
    resource = noun.resource
    by_method = {"POST": resource.on_create, "PUT": resource.on_update, "DELETE": resource.on_delete}
    return method == "GET" or by_method[method] is not None
