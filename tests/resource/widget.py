# SPDX-License-Identifier: Apache-2.0
"""A made-up noun with every kind of field, for tests of the engine alone."""

from typing import Annotated, Any, Literal

import msgspec

from alcor.base.config import Settings
from alcor.base.net import Cidr, Ip, Mac
from alcor.resource.context import Asked, World, identity, with_implied
from alcor.resource.declare import Api, Computed, Extends, Resource, RestFeature, Standard
from alcor.resource.engine import Engine, Noun
from alcor.store.declare import Index, Position, Schema, Table
from alcor.store.tables import Tables
from alcor.store.txn import Overlay


class Part(msgspec.Struct, frozen=True):
    """A part of a widget."""

    kind: str
    size: int


class Widget(Standard, frozen=True, kw_only=True):
    """A widget."""

    name: Annotated[str, Api(put=True, max_length=10)] = ""
    size: Annotated[int, Api(put=True, minimum=1, maximum=9)] = 5
    colour: Annotated[Literal["red", "blue"] | None, Api(put=True)] = None
    mac: Annotated[Mac | None, Api()] = None
    ip: Annotated[Ip | None, Api()] = None
    cidr: Annotated[Cidr | None, Api()] = None
    is_open: Annotated[bool, Api(name="widget:open", put=True)] = False
    parts: Annotated[
        tuple[Part, ...], Api(sort=False, matches=lambda parts, text: has_part(parts, text))
    ] = ()
    words: Annotated[tuple[str, ...], Api(sort=False, nullable=True)] = ()
    secret: Annotated[str, Api(put=True, visible=False)] = ""
    price: Annotated[int, Api(seen_by="owner", answer=lambda price: f"{price} EUR")] = 0
    serial: Annotated[int, Api(put=True, set_by="admin", seen_by="admin")] = 0
    is_public: Annotated[bool, Api()] = False
    internal: int = 0  # not of the API


def has_part(parts: tuple[Part, ...], text: str) -> bool:
    key, _, wanted = text.partition("=")
    return any(str(getattr(part, key, None)) == wanted for part in parts)


BY_PROJECT: Index[Widget] = Index("project_id", lambda widget: (widget.project_id,))
BY_NAME: Index[Widget] = Index("name", lambda widget: (widget.name,) if widget.name else ())
BY_KIND: Index[Widget] = Index("kind", lambda widget: {part.kind for part in widget.parts})
PUBLIC: Index[Widget] = Index("public", lambda widget: (True,) if widget.is_public else ())
WIDGET: Table[Widget] = Table("widget", Widget, indexes=(BY_PROJECT, BY_NAME, BY_KIND, PUBLIC))


class Gadget(Standard, frozen=True, kw_only=True):
    """What a widget may have many of."""

    widget_id: Annotated[str, Api(required=True)]


BY_WIDGET: Index[Gadget] = Index("widget_id", lambda gadget: (gadget.widget_id,))
GADGET: Table[Gadget] = Table("gadget", Gadget, indexes=(BY_WIDGET,))

LOWER = RestFeature(
    name="widget",
    resources=(
        Resource(
            name="widget",
            plural="widgets",
            path="widgets",
            table=WIDGET,
            on_create=lambda txn, ctx, new: new,
            on_update=lambda txn, ctx, old, new: new,
            on_delete=lambda txn, ctx, old: None,
            computed=(
                Computed("doubled", lambda reader, widget: 2 * widget.size, {"type": "integer"}, sort=True),
                Computed(
                    "is_named",
                    lambda reader, widget: bool(widget.name),
                    {"type": "boolean"},
                    index=lambda reader, text: (
                        [widget.id for widget in reader.scan(WIDGET) if widget.name]
                        if text == "true"
                        else None
                    ),
                ),
            ),
            by_field={"project_id": BY_PROJECT, "name": BY_NAME, "parts.kind": BY_KIND},
            is_shared=lambda reader, project, widget: widget.is_public,
            shared_ids=lambda reader, project: [widget.id for widget in reader.find(WIDGET, PUBLIC, True)],
        ),
    ),
)
UPPER = RestFeature(
    name="gadget",
    resources=(
        Resource(
            name="gadget",
            plural="gadgets",
            path="gadgets",
            table=GADGET,
            on_create=lambda txn, ctx, new: new,
        ),
    ),
    extends=(
        Extends(
            "widget",
            (
                Computed(
                    "gadgets",
                    lambda reader, widget: reader.find(GADGET, BY_WIDGET, widget.id),
                    {"type": "array", "items": {"$ref": "#/components/schemas/gadget"}},
                    filter=False,
                ),
            ),
        ),
    ),
)


def plain(answer: Any) -> Any:
    """What an answer has under which names of the wire."""
    if isinstance(answer, list):
        return [plain(one) for one in answer]
    if not isinstance(answer, msgspec.Struct) or isinstance(answer, Part):
        return answer
    names = type(answer).__struct_encode_fields__
    return dict(zip(names, map(plain, msgspec.structs.astuple(answer)), strict=True))


class Shop:
    """An engine over tables in memory: each request is a turn of its own."""

    def __init__(self, **settings: Any) -> None:
        self.tables = Tables(Schema((WIDGET, GADGET)))
        self.world = World(Settings(**settings))
        self.engine = Engine((LOWER, UPPER))

    @property
    def widgets(self) -> Noun[Widget]:
        return self.engine.nouns["widgets"]

    def asked(self, project: str = "p1", *roles: str) -> Asked:
        return Asked(self.world, identity(project, "user", with_implied(roles or ("admin",))))

    def make(self, noun: str = "widget", *, by: Asked | None = None, **fields: Any) -> dict[str, Any]:
        made = self.turn(self.engine.nouns[noun + "s"].create(by or self.asked(), {noun: fields}))
        answer: dict[str, Any] = plain(made[noun])
        return answer

    def turn(self, request: Any) -> Any:
        overlay = Overlay(self.tables)
        answer = request(overlay)
        rows = {
            (write.plan.name, write.id): None
            if write.new is None
            else write.plan.encode(write.new, None, None)
            for write in overlay.writes
        }
        self.tables.take(overlay.net(rows), Position(self.tables.revision + len(overlay.writes), ""))
        return answer
