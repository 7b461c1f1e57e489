# SPDX-License-Identifier: Apache-2.0
"""Made-up nouns that stand in relation: shelves, what other features add to them, and who sees them."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec

from alcor.base.config import Settings
from alcor.base.errors import Conflict, Invalid
from alcor.resource import parse
from alcor.resource.context import Asked, World, identity, with_implied
from alcor.resource.declare import (
    Action,
    Api,
    Context,
    Extends,
    Parent,
    Resource,
    RestFeature,
    SeenWith,
    Standard,
    Written,
    revised,
)
from alcor.resource.engine import Engine, Noun
from alcor.resource.query import parse_query
from alcor.store.declare import Index, Position, Reference, Schema, Stored, Table, own_id
from alcor.store.reader import Reader, Txn
from alcor.store.tables import Tables
from alcor.store.txn import Overlay
from tests.resource.widget import plain


class Shelf(Standard, frozen=True, kw_only=True):
    """A shelf of books."""

    name: Annotated[str, Api(put=True)] = ""
    is_public: Annotated[bool, Api()] = False


BY_PROJECT: Index[Shelf] = Index("project_id", lambda shelf: (shelf.project_id,))
PUBLIC: Index[Shelf] = Index("public", lambda shelf: (True,) if shelf.is_public else ())
SHELF: Table[Shelf] = Table("shelf", Shelf, indexes=(BY_PROJECT, PUBLIC))


class Loan(Stored, frozen=True, kw_only=True):
    """A shelf that is lent to a project."""

    shelf_id: str
    project_id: str


LOANS: Index[Loan] = Index("loan", lambda loan: ((loan.shelf_id, loan.project_id),))
LOANS_TO: Index[Loan] = Index("to", lambda loan: (loan.project_id,))
LOAN: Table[Loan] = Table(
    "loan",
    Loan,
    indexes=(LOANS, LOANS_TO),
    references=(Reference("shelf", SHELF, lambda loan: (loan.shelf_id,)),),
)


class Label(Stored, frozen=True, kw_only=True):
    """How a shelf is labelled."""

    colour: Annotated[str | None, Api(name="label:colour", put=True, max_length=5)] = None
    rank: Annotated[int, Api(put=True, set_by="admin", seen_by="owner", answer=lambda rank: f"#{rank}")] = 1
    printed: int = 0  # not of the API: how often it was written


BY_COLOUR: Index[Label] = Index("colour", lambda label: (label.colour,) if label.colour else ())
LABEL: Table[Label] = Table(
    "label", Label, indexes=(BY_COLOUR,), references=(Reference("shelf", SHELF, own_id),)
)


def on_label(txn: Txn, ctx: Context, written: Written[Shelf, Label]) -> Label:
    if written.new.colour == written.stored.name:
        raise Invalid("A shelf is not called by its colour.")
    if written.old is not None and written.old.colour == written.new.colour:
        return written.new
    return msgspec.structs.replace(
        written.new, printed=written.new.printed + (written.new.colour is not None)
    )


class Lamp(Stored, frozen=True, kw_only=True):
    """How bright it is at a shelf: brighter by default at a public one."""

    watts: Annotated[int, Api(put=True)] = 0
    changes: Annotated[int, Api(post=False)] = 0


LAMP: Table[Lamp] = Table("lamp", Lamp, references=(Reference("shelf", SHELF, own_id),))


def on_lamp(txn: Txn, ctx: Context, written: Written[Shelf, Lamp]) -> Lamp:
    if written.before is None:
        return written.new
    return msgspec.structs.replace(written.new, changes=written.new.changes + 1)


class Visitor(Standard, frozen=True, kw_only=True):
    """Who reads at a shelf that it sees; who sees the shelf as shared sees its visitors."""

    shelf_id: Annotated[str, Api(required=True)]


AT_SHELF: Index[Visitor] = Index("shelf_id", lambda visitor: (visitor.shelf_id,))
VISITORS_OF: Index[Visitor] = Index("project_id", lambda visitor: (visitor.project_id,))
VISITOR: Table[Visitor] = Table("visitor", Visitor, indexes=(AT_SHELF, VISITORS_OF))


def on_create_visitor(txn: Txn, ctx: Context, new: Visitor) -> Visitor:
    ctx.visible(txn, SHELF, new.shelf_id)
    return new


class Book(Stored, frozen=True, kw_only=True):
    """A book of a shelf: no more than what it is."""

    shelf_id: str
    title: Annotated[str, Api(required=True, put=True, max_length=20)]
    pages: Annotated[int, Api(put=True, minimum=1)] = 100


BOOKS_OF: Index[Book] = Index("shelf_id", lambda book: (book.shelf_id,))
BOOK: Table[Book] = Table(
    "book",
    Book,
    indexes=(BOOKS_OF,),
    references=(Reference("shelf", SHELF, lambda book: (book.shelf_id,), by=BOOKS_OF),),
)


class Seat(Standard, frozen=True, kw_only=True):
    """A seat at a shelf, called by its place."""

    shelf_id: Annotated[str, Api(post=False, visible=False)] = ""
    place: Annotated[str, Api(required=True)]
    is_taken: bool = False


SEATS_OF: Index[Seat] = Index("shelf_id", lambda seat: (seat.shelf_id,))
BY_PLACE: Index[Seat] = Index(
    "place",
    lambda seat: ((seat.shelf_id, seat.place),),
    unique=True,
    taken=lambda seat, key: Conflict(f"There is a seat at {seat.place}.", type="SeatExists"),
)
SEAT: Table[Seat] = Table(
    "seat",
    Seat,
    indexes=(SEATS_OF, BY_PLACE),
    references=(Reference("shelf", SHELF, lambda seat: (seat.shelf_id,), by=SEATS_OF),),
)


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `rename`."""

    name: str


def rename(txn: Txn, ctx: Context, shelf: Shelf, body: Mapping[str, Any]) -> object:
    new = revised(ctx, shelf, name=parse.struct(Wish, body).name)
    txn.update(SHELF, new)
    return {"name": new.name, "revision_number": new.revision_number}


def note(txn: Txn, ctx: Context, shelf: Shelf, body: Mapping[str, Any]) -> object:
    return {"shelf": shelf.name, "note": ctx.child, **body}


def count(txn: Txn, ctx: Context, shelf: None, body: Mapping[str, Any]) -> object:
    return {"visible": txn.count(SHELF, BY_PROJECT, ctx.project_id), **body}


def take(txn: Txn, ctx: Context, seat: Seat, body: Mapping[str, Any]) -> None:
    txn.update(SEAT, revised(ctx, seat, is_taken=True))


def limit_of(reader: Reader, project_id: str, name: str) -> int | None:
    return 2 if (project_id, name) == ("p2", "shelf") else None


OBJECT = {"type": "object"}
SHELVES = RestFeature(
    name="shelf",
    resources=(
        Resource(
            name="shelf",
            plural="shelves",
            path="library/shelves",
            table=SHELF,
            on_create=lambda txn, ctx, new: new,
            on_update=lambda txn, ctx, old, new: new,
            on_delete=lambda txn, ctx, old: None,
            by_field={"project_id": BY_PROJECT},
            is_shared=lambda reader, project_id, shelf: shelf.is_public,
            shared_ids=lambda reader, project_id: [shelf.id for shelf in reader.find(SHELF, PUBLIC, True)],
            quota="shelf",
            actions=(
                Action("rename", "PUT", rename, takes=OBJECT, answers=OBJECT),
                Action("burn", "PUT", lambda txn, ctx, shelf, body: None, access="admin", status=204),
                Action("wave", "POST", lambda txn, ctx, shelf, body: None, access="anyone", status=201),
                Action("notes", "GET", note, of="child", answers=OBJECT),
                Action("notes", "PUT", note, of="child", rule="update_shelf_notes", answers=OBJECT),
                Action("count", "GET", count, of="collection", answers=OBJECT),
                Action(
                    "count", "POST", count, of="collection", access="admin", rule="count_in", answers=OBJECT
                ),
            ),
        ),
        Resource(
            name="book",
            plural="books",
            path="books",
            table=BOOK,
            parent=Parent("shelf", "shelf_id", BOOKS_OF),
            on_create=lambda txn, ctx, new: new,
            on_update=lambda txn, ctx, old, new: new,
            on_delete=lambda txn, ctx, old: None,
        ),
        Resource(
            name="volume",
            plural="volumes",
            path="library/volumes",
            table=BOOK,
            parent=Parent("shelf", "shelf_id", BOOKS_OF, is_in_url=False),
            on_update=lambda txn, ctx, old, new: new,
        ),
        Resource(
            name="seat",
            plural="seats",
            path="seats",
            table=SEAT,
            parent=Parent("shelf", "shelf_id", SEATS_OF, key="place", by_key=BY_PLACE),
            on_create=lambda txn, ctx, new: new,
            on_delete=lambda txn, ctx, old: None,
            actions=(Action("take", "PUT", take),),
        ),
        Resource(
            name="visitor",
            plural="visitors",
            path="visitors",
            table=VISITOR,
            on_create=on_create_visitor,
            by_field={"project_id": VISITORS_OF},
            seen_with=SeenWith("shelf", "shelf_id", AT_SHELF),
        ),
    ),
)
LENDING = RestFeature(
    name="loan",
    extends=(
        Extends(
            "shelf",
            is_shared=lambda reader, project_id, shelf: bool(
                reader.count(LOAN, LOANS, (shelf.id, project_id))
            ),
            shared_ids=lambda reader, project_id: [
                loan.shelf_id for loan in reader.find(LOAN, LOANS_TO, project_id)
            ],
        ),
    ),
    quota_limit=limit_of,
)
LABELLING = RestFeature(
    name="label",
    extends=(
        Extends("shelf", table=LABEL, on_write=on_label, by_field={"colour": BY_COLOUR}),
        Extends(
            "shelf",
            table=LAMP,
            on_write=on_lamp,
            when="always",
            default=lambda reader, shelf: Lamp(id=shelf.id, watts=100 if shelf.is_public else 40),
        ),
    ),
)
FEATURES = (SHELVES, LENDING, LABELLING)
TABLES: tuple[Table[Any], ...] = (SHELF, LOAN, LABEL, LAMP, VISITOR, BOOK, SEAT)


class Library:
    """An engine over tables in memory: each request is a turn of its own."""

    def __init__(self) -> None:
        self.tables = Tables(Schema(TABLES))
        self.world = World(Settings())
        self.engine = Engine(FEATURES)

    def noun(self, name: str) -> Noun[Any]:
        return next(noun for noun in self.engine.nouns.values() if noun.resource.name == name)

    def asked(self, project: str = "p1", role: str = "member") -> Asked:
        return Asked(self.world, identity(project, "user", with_implied((role,))))

    def make(self, noun: str, by: Asked | None = None, **fields: Any) -> Any:
        return self.turn(self.noun(noun).create(by or self.asked(), {noun: fields}))[noun]

    def change(self, noun: str, id: str, by: Asked | None = None, **fields: Any) -> Any:
        return self.turn(self.noun(noun).update(by or self.asked(), id, {noun: fields}, None))[noun]

    def found(self, noun: str, by: Asked | None = None, **query: Any) -> Any:
        """The list that the query asks for, and whether it had to look at every object."""
        asked, one = by or self.asked(), self.noun(noun)
        parsed = parse_query(one.shape, urlencode(query, doseq=True).encode(), -1)
        found = one.find(asked, parsed, self.tables)
        shown = [
            plain(each)
            for some in found.slices()
            for each in one.answers(asked, parsed.fields, self.tables, some)
        ]
        return shown, found.is_scan

    def turn(self, request: Any) -> Any:
        """What the request answers, in plain values; what it wrote is kept."""
        overlay = Overlay(self.tables)
        answer = request(overlay)
        rows = {
            (write.plan.name, write.id): None
            if write.new is None
            else write.plan.encode(write.new, write.old, self.tables.row(write.plan.name, write.id))
            for write in overlay.writes
        }
        self.tables.take(overlay.net(rows), Position(self.tables.revision + len(overlay.writes), ""))
        return {name: plain(each) for name, each in answer.items()} if isinstance(answer, dict) else answer
