# SPDX-License-Identifier: Apache-2.0
"""How a feature declares what is stored: tables, indexes, references, pools and guards, as values.

Nothing here holds state; `store.tables` keeps the objects and `store.txn` changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from alcor.base.errors import NotFound, Refusal

if TYPE_CHECKING:
    from alcor.store.reader import Reader

Key = Hashable


class Stored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The base of every stored struct. `id` is unique in its table and never changes."""

    id: str


def own_id(stored: Stored) -> tuple[str]:
    """The keys of an index, or of a reference, by the object's own id: it costs no memory."""
    return (stored.id,)


@dataclass(frozen=True, eq=False)
class Field:
    """The keys of an index whose one key is a field's value; many such indexes are read at once."""

    name: str
    skip_empty: bool = False  # an object whose field is empty stands under no key

    def __call__(self, stored: Stored) -> tuple[Key, ...]:
        """The key, if there is one."""
        key: Any = getattr(stored, self.name)
        return (key,) if key or not self.skip_empty else ()


T = TypeVar("T", bound=Stored)
T_contra = TypeVar("T_contra", bound=Stored, contravariant=True)


@dataclass(frozen=True, eq=False)
class Index(Generic[T]):
    """Objects by key. An object stands under every key that `keys` gives for it, possibly none.

    A unique index refuses a second object under one key with `taken(new, key)`.
    """

    name: str
    keys: Callable[[T], Iterable[Key]]
    unique: bool = False
    taken: Callable[[T, Key], Refusal] | None = None  # required if unique


@dataclass(frozen=True, eq=False)
class Reference(Generic[T]):
    """`keys(obj)` are ids in `target`: each must exist when written, and may not be deleted while referenced.

    The store keeps the reverse index itself; `by` may name an existing index whose keys are those ids.
    `missing(id)` is raised for an absent target (default: the target table's own NotFound), `in_use(target object)` on
    deletion; without `in_use` the objects that refer to it are deleted with it (cascade), refusals of their own
    references included.
    """

    name: str
    target: Table[Any]
    keys: Callable[[T], Iterable[str]]
    in_use: Callable[[Any], Refusal] | None = None
    missing: Callable[[str], Refusal] | None = None
    by: Index[T] | None = None


@dataclass(frozen=True, eq=False)
class Pool(Generic[T]):
    """Numbers of which each is held by at most one object: `holds(obj)` gives (pool key, number) pairs.

    A number is free again when no object holds it: nothing is to be released by hand.
    `taken(obj, key, number)` is raised when a second object would hold one.
    """

    name: str
    holds: Callable[[T], Iterable[tuple[Key, int]]]
    taken: Callable[[T, Key, int], Refusal]


@dataclass(frozen=True, eq=False)
class Table(Generic[T]):
    """One kind of stored object."""

    name: str  # Neutron's singular noun: "port"; also the name in the log
    kind: type[T]
    indexes: tuple[Index[T], ...] = ()
    references: tuple[Reference[T], ...] = ()
    pools: tuple[Pool[T], ...] = ()
    noun: str = ""  # as Neutron writes it in error types: "Port" in "PortNotFound"; default: from `name`
    observed: bool = False  # seen on hosts, not asked for: no input of goal
    missing: Callable[[str], Refusal] | None = (
        None  # the refusal for an id that is not there, if not the usual one
    )

    def not_found(self, id: str) -> Refusal:
        """The refusal for an id that this table does not have, in Neutron's words."""
        if self.missing is not None:
            return self.missing(id)
        noun = self.noun or "".join(word.capitalize() for word in self.name.split("_"))
        return NotFound(f"{noun} {id} could not be found.", type=f"{noun}NotFound")


class Veto(Protocol[T_contra]):
    """A guard's check: raises a Refusal, or returns. `old` is None on insert, `new` on delete."""

    def __call__(self, reader: Reader, old: T_contra | None, new: T_contra | None) -> None: ...


@dataclass(frozen=True, eq=False)
class Guard(Generic[T]):
    """A veto on changes of `table`, declared by a feature above it and checked inside the turn."""

    table: Table[T]
    check: Veto[T]


class Change(msgspec.Struct, frozen=True, gc=False):
    """One record of the log as its followers see it. Insert: `old` is None; delete: `new` is None."""

    revision: int
    table: str
    id: str
    old: Any
    new: Any
    request: str = ""  # id of the REST request that asked for it; "" if none did


@dataclass(frozen=True)
class Position:
    """A point in the log: the revision of its last record and the id of the turn that wrote it (hex of 128 bits)."""

    revision: int
    turn: str


@dataclass(frozen=True)
class Schema:
    """All that the store must know of a product: its tables and guards."""

    tables: tuple[Table[Any], ...]
    guards: tuple[Guard[Any], ...] = field(default=())
