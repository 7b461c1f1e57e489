# SPDX-License-Identifier: Apache-2.0
"""How a feature declares a REST noun: fields once, as annotations of the stored struct, and its rules as functions.

Create, update, answer, filter, sort and OpenAPI shapes derive from this; `resource.engine` does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

import msgspec

from alcor.resource.parse import parse_few_tags
from alcor.store.declare import Change, Index, Stored, Table
from alcor.store.reader import Reader, Txn

T = TypeVar("T", bound=Stored)
E = TypeVar("E", bound=Stored)
S = TypeVar("S", bound="Standard")

PROJECT_LENGTH_MAX = 255

# Who may set or see: "anyone" who sees the object at all (it may be shared), its "owner" (the project's members and
# readers), or only an "admin", who may everything.
Access = Literal["anyone", "owner", "admin"]


@dataclass(frozen=True)
class Api:
    """How one field of a stored struct stands in the API."""

    name: str = ""  # on the wire, if other than the field's own: "binding:host_id"
    post: bool = True
    put: bool = False
    required: bool = False  # in POST
    visible: bool = True
    filter: bool = True
    sort: bool = True
    # JSON value -> field value; raises ValueError(sentence). Default: by the type. Null is given to it too, unless
    # None is a value of the type.
    parse: Callable[[Any], Any] | None = None
    answer: Callable[[Any], Any] | None = (
        None  # field value -> JSON-able value. Default: as msgspec encodes it
    )
    minimum: int | None = None
    maximum: int | None = None
    max_length: int | None = None
    choices: tuple[Any, ...] = ()
    nullable: bool = (
        False  # null is taken as the default; where None is a value of the type, null is always taken
    )
    set_by: Access = "owner"  # who may give it in POST and PUT
    seen_by: Access = "anyone"
    is_ruled: bool = True  # rules of policy named after it hold; the reference has some that it never asks
    schema: Mapping[str, Any] | None = None  # OpenAPI, where the type alone does not tell
    matches: Callable[[Any, str], bool] | None = (
        None  # field value, filter text -> match; default: equality after conversion
    )
    # Filter text -> field value, or what `matches` takes; a text that it refuses (ValueError, Invalid) is refused.
    # Default: truths, and numbers that bodies may give, are so read; of others, what cannot be matches nothing.
    of_filter: Callable[[str], Any] | None = None
    # Of an object with several parts, the property that lists them, each with this field: filters ask them instead,
    # and all that name the same property ask for one part.
    parts: str = ""


class Standard(Stored, frozen=True, kw_only=True):
    """The attributes that every REST noun has. The engine keeps all of them but `description`."""

    project_id: Annotated[str, Api(set_by="admin", max_length=PROJECT_LENGTH_MAX)] = (
        ""  # another project than the caller's: admin only
    )
    description: Annotated[str, Api(put=True, max_length=255, nullable=True)] = ""
    created_at: Annotated[str, Api(post=False)] = ""
    updated_at: Annotated[str, Api(post=False)] = ""
    revision_number: Annotated[int, Api(post=False)] = 0
    tags: Annotated[
        tuple[str, ...], Api(post=False, sort=False, parse=parse_few_tags)
    ] = ()  # of taggable nouns


def revised(ctx: Context, stored: S, **changes: Any) -> S:
    """The object with these changes, as its next revision: what an action or a rule that updates it stores."""
    return msgspec.structs.replace(
        stored, **changes, revision_number=stored.revision_number + 1, updated_at=ctx.now
    )


class Context(Protocol):
    """Who asks, and the only sources of time, ids and randomness that a rule may use (a turn may be run again)."""

    project_id: str
    user_id: str
    roles: frozenset[str]
    is_admin: bool
    request_id: str
    now: str  # utc_text
    given: frozenset[str]  # field names (not wire names) that the request carried
    settings: Any  # the product's frozen settings
    under: str  # the parent's id in the URL, of a noun under a noun
    listed: str  # the project that a list is filtered by, empty: none or several
    child: str  # the last part of the URL, of an action of what is under an object

    def new_id(self) -> str:
        """A fresh UUID."""

    def random_bits(self, bits: int) -> int:
        """A number of `bits` random bits."""

    def visible(self, reader: Reader, table: Table[T], id: str) -> T:
        """The object of a noun's table. Raises the table's NotFound, also where the caller may not see it: who owns it,
        admins, and whoever it is shared with in any declared way do.
        """

    def quota_limit(self, reader: Reader, project_id: str, name: str) -> int:
        """How many objects that quota lets the project have; -1 is no bound."""

    def quotas(self) -> Sequence[str]:
        """The names of all quotas."""

    def quota_used(self, reader: Reader, project_id: str, name: str) -> int:
        """How many objects the project has of those that the quota bounds."""

    def require(self, rule: str, project_id: str) -> None:
        """Raises Forbidden where a policy rule does not let the caller act on what belongs to this project."""


@dataclass(frozen=True)
class Computed(Generic[T]):
    """An answer field that is not stored: derived when answered, from the object and current (also observed) state."""

    name: str  # wire name
    value: Callable[[Reader, T], Any]
    schema: Mapping[str, Any]
    filter: bool = True
    sort: bool = False
    visible: bool = True  # False: only a filter
    seen_by: Access = "anyone"
    index: Callable[[Reader, str], Sequence[str] | None] | None = (
        None  # filter text -> candidate ids, where an index helps
    )


IsShared = Callable[[Reader, str, T], bool]  # (reader, project that asks, object)
SharedIds = Callable[[Reader, str], Sequence[str]]  # (reader, project that asks)
QuotaLimit = Callable[
    [Reader, str, str], int | None
]  # (reader, project, name of the quota); None: no opinion


@dataclass(frozen=True)
class SeenWith(Generic[T]):
    """Who sees an object of `noun` as it is shared sees those that name it in `field` too: subnets of a network."""

    noun: str  # a Resource's name
    field: str
    index: Index[T]  # by that field


@dataclass(frozen=True)
class Parent(Generic[T]):
    """Objects of a noun that stand under one of another noun: `qos/policies/{policy_id}/bandwidth_limit_rules/{id}`.

    The field is filled from the URL; who owns and sees the parent owns and sees what is under it.
    """

    noun: str  # a Resource's name, of one that stands under none
    field: str  # the parent's id: no field of POST
    index: Index[T]  # by that field
    key: str = ""  # the field that stands in the URL instead of the id, which is not answered then
    by_key: Index[T] | None = None  # by (parent's id, key): required with `key`
    is_in_url: bool = True  # else the noun has a path of its own, and only belongs to the parent


Method = Literal["GET", "POST", "PUT", "DELETE"]


@dataclass(frozen=True)
class Action(Generic[T]):
    """What else can be done with an object: `PUT /v2.0/routers/{id}/add_router_interface`.

    `perform(txn, ctx, stored, body)` answers what JSON can say, None where there is nothing to say. Body is the JSON
    object of the request, empty where none was sent; of GET it is the query, each value a tuple of texts, and nothing
    may be written. `resource.parse.struct` reads it into a struct; `revised` makes the object's next revision.
    """

    name: str
    method: Method
    perform: Callable[[Txn, Context, Any, Mapping[str, Any]], Any]
    status: int = 200
    # Of one object, of all (`stored` is None), or of what is under an object: `{id}/{name}/{ctx.child}`.
    of: Literal["member", "collection", "child"] = "member"
    access: Access = (
        "owner"  # who may, of those that see the object; GET: all of them, unless only admins may
    )
    rule: str = ""  # of policy; default: the name
    takes: Mapping[str, Any] | None = None  # OpenAPI, of the body
    answers: Mapping[str, Any] | None = None
    doc: str = ""


@dataclass(frozen=True)
class Resource(Generic[T]):
    """One REST noun.

    `on_create` gets the completed new object (defaults filled, ids and standard attributes set), refuses or answers the
    object to insert; `after_create` runs once it is inserted. `on_update` gets old and new, answers what to store.
    `on_delete` refuses or cleans up; the engine deletes the object itself after it.
    """

    name: str  # "security_group_rule": the JSON envelope
    plural: str  # "security_group_rules"
    path: str  # "security-group-rules", "qos/policies"; under a parent: what follows the parent's id
    table: Table[T]
    aliases: tuple[str, ...] = ()  # API extensions that are whole with this noun
    tags_at: str = ""  # what its tags stand under, if not its path
    on_create: Callable[[Txn, Context, T], T] | None = None  # None: POST is 405
    after_create: Callable[[Txn, Context, T], None] | None = None
    on_bulk: Callable[[Sequence[T]], None] | None = (
        None  # refuses new objects that one request may not have together
    )
    on_update: Callable[[Txn, Context, T, T], T] | None = None  # None: PUT is 405
    on_delete: Callable[[Txn, Context, T], None] | None = None  # None: DELETE is 405
    computed: tuple[Computed[T], ...] = ()
    # Field (or `field.part`, for a filter `field=part=value`) -> index of exact values, for filters. The index may
    # leave out what is empty, zero or false. `project_id` serves isolation and quota too.
    by_field: Mapping[str, Index[T]] = field(default_factory=dict)
    is_shared: IsShared[T] | None = None  # that project sees it too, read only
    shared_ids: SharedIds | None = None  # all that it says so of, where an index knows; else lists scan
    seen_with: SeenWith[T] | None = None
    parent: Parent[T] | None = None
    is_plain: bool = False  # neither description nor times nor revision are shown or taken
    is_taggable: bool = False  # `by_field` may have an index of `tags`
    is_tagged_at_create: bool = False  # POST takes tags too, also in a bulk
    actions: tuple[Action[T], ...] = ()
    before: Callable[[Txn, Context], None] | None = (
        None  # run first in each request's turn and before lists (default group)
    )
    quota: str = ""  # name of the quota; "" has none
    # Objects of a list between two pauses, where answers are long (nothing of an answer may need that the object is
    # still there). 0: as many as were found at once.
    answered_at_once: int = 0
    is_marker_needed: bool = False  # a page after what is not there is NotFound, not the first
    is_change_masked: bool = False  # PUT of what is only shared with the caller is NotFound, not Forbidden
    access: Access = "owner"  # who may use the noun at all
    doc: str = ""


@dataclass(frozen=True)
class Extension:
    """An API extension as `/v2.0/extensions` shows it."""

    alias: str
    name: str
    description: str
    updated: str  # RFC 3339


@dataclass(frozen=True)
class Written(Generic[T, E]):
    """A write of a noun's object as a feature sees it that keeps fields of its own with that object."""

    stored: T  # the object as it was just written
    before: T | None  # what it was; None where it is created
    old: E | None  # the row of added fields as it was; None: all defaults
    new: E  # the row as asked for


@dataclass(frozen=True)
class Extends:
    """What a feature adds to a noun of a feature below it: stored fields, answer fields, sharing.

    Stored fields are those of `table`'s struct that have an `Api`. Its rows have the noun's ids and a cascading
    `Reference` by `own_id`; one is there only while it differs from the defaults. All of create, update, answers,
    filters, sorting and field policy takes them as it takes the noun's own, and `Context.given` names them too.
    """

    noun: str
    computed: tuple[Computed[Any], ...] = ()
    table: Table[Any] | None = None
    # What the fields are where no row is: (reader, the noun's object) -> row. Default: as the struct says.
    default: Callable[[Reader, Any], Any] | None = None
    # Refuses, or answers the row to keep.
    on_write: Callable[[Txn, Context, Written[Any, Any]], Any] | None = None
    when: Literal["given", "always"] = "given"  # on_write: a field of it is given, or any create and update
    by_field: Mapping[str, Index[Any]] = field(default_factory=dict)  # as Resource's, of `table`
    after_create: Callable[[Txn, Context, Any], None] | None = None  # as Resource's, after it
    on_update: Callable[[Txn, Context, Any, Any], None] | None = (
        None  # (old, new), once stored; by actions, too
    )
    on_delete: Callable[[Txn, Context, Any], None] | None = None  # as Resource's, before it
    # How a field of the noun (by its name in the struct) is answered to a project, and matched by its filters, or how
    # one that is computed for filters alone is matched: (reader, project that asks, object) -> field value.
    answers: Mapping[str, Callable[[Reader, str, Any], Any]] = field(default_factory=dict)
    is_shared: IsShared[Any] | None = None  # as Resource's; one that says so is enough
    shared_ids: SharedIds | None = None
    opens: tuple[str, ...] = ()  # attributes by which policy asks whether it is shared, beside `shared`


@dataclass(frozen=True)
class Call:
    """A URL that stands for no noun: `GET /v2.0/quotas/{project_id}`.

    `perform(txn, ctx, names, body)` gets the texts of the path's `{...}`, and body as an Action's does; it asks
    `ctx.require` who may.
    """

    path: str
    method: Method
    perform: Callable[[Txn, Context, tuple[str, ...], Mapping[str, Any]], Any]
    status: int = 200
    collection: str = ""  # named so among the collections of the API, if at all
    rule: str = ""  # of policy, that `perform` asks for
    doc: str = ""


@dataclass(frozen=True)
class Many:
    """What a Call of GET may answer where there may be many: in pages, made and sent in slices."""

    name: str  # of the list in the answer
    key: str  # the field that tells entries apart, by which they are sorted, and which a marker names
    ids: Sequence[str]  # of that field, ascending
    entry: Callable[
        [str], Mapping[str, object] | None
    ]  # None: there is none of that id, or filters leave it out
    filters: Sequence[str] = ()


@dataclass(frozen=True)
class PolicyRule:
    """Who may do what by default, in oslo.policy's language. An operator's file may say otherwise."""

    name: str  # "update_port:binding:host_id"
    check: str
    scopes: tuple[str, ...] = ("project",)  # of the tokens that may fulfil it; none: any


class Notice(msgspec.Struct, frozen=True):
    """What the compute service is told: an external event of one of its servers."""

    server: str
    name: str
    tag: str
    status: str = ""


# (what is now, at least as new as the change, the change) -> what to tell, in order. Pure; may be asked again.
Notices = Callable[[Reader, Change], Iterable[Notice]]


@dataclass(frozen=True)
class RestFeature:
    """What one feature brings to the API."""

    name: str
    resources: tuple[Resource[Any], ...] = ()
    extends: tuple[Extends, ...] = ()
    extends_by: Callable[[Any], tuple[Extends, ...]] | None = None  # more of them, as the settings say
    extensions: tuple[Extension, ...] = ()
    policies: tuple[PolicyRule, ...] = ()  # in place of those that declarations imply
    calls: tuple[Call, ...] = ()
    notices: Notices | None = None  # what the compute service is told of a change
    quota_limit: QuotaLimit | None = None  # asked before the settings' default is taken
